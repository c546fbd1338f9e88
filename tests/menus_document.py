"""`make docs/menus.md`: every page of the LCD, every gesture and every setup, from the tables of panel/."""

from __future__ import annotations

from pathlib import Path

from countis.meter.panel import digits
from countis.meter.panel.keys import GESTURES, Key
from countis.meter.panel.texts import LEAVING, WRITTEN
from countis.models import E43_E44
from countis.words.clock import SECOND
from countis.words.menu import Entry, Form, Page
from countis.words.quantities import QUANTITIES
from countis.words.settings import SETTINGS

ROOT = Path(__file__).resolve().parents[1]


def unit(page: Page) -> str:
    """Return the units a page can show, the smallest first."""
    if page.form is Form.ENERGY:
        return " ".join(dict.fromkeys(prefix + QUANTITIES[page.symbol].unit for _, prefix in digits.ENERGY))
    if page.form in digits.LADDERS:
        steps, name, _ = digits.LADDERS[page.form]
        return " ".join(dict.fromkeys(prefix + name for _, prefix in steps))
    return "A" if page.form is Form.AMPERE else ""


def shown(page: Page) -> str:
    """Return code and signs of a page."""
    own = (f"T{page.tariff}",) if page.tariff else ()
    return " ".join(part for part in (page.code, *page.signs, *own) if part)


def values(entry: Entry) -> str:
    """Return what an entry of a setup takes, as the LCD writes it."""
    row = SETTINGS.get(entry.symbol)
    if row is None:
        return "the partial, then ConF?"
    if entry.digits:
        return f"{entry.digits} digits, {row.allowed_text()}"
    assert isinstance(row.allowed, tuple)
    return " ".join(WRITTEN.get(entry.symbol, {}).get(str(value), str(value)) for value in row.allowed)


def keys(key: Key) -> str:
    """Return keys as they are named."""
    return " + ".join(str(one.name) for one in key)


def table(*rows: tuple[str, ...]) -> list[str]:
    """Return a table; its first row is the head."""
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return [lines[0], "|" + " --- |" * len(rows[0]), *lines[1:], ""]


def document() -> str:
    """Return the whole document."""
    lines = ["# The menus of the LCD", "",
             "Made by `make docs/menus.md` from `models/e43_e44_menu.py` and `meter/panel/keys.py`.", ""]
    lines += ["## Keys", "", f"{GESTURES[0].source}.", ""]
    held = [(keys(g.keys), f"{g.hold // SECOND} s" if g.hold else "short", ", ".join(w.value for w in g.where), g.action.value)
            for g in GESTURES]  # fmt: skip
    lines += table(("keys", "held", "on", "does"), *held)
    lines += ["## Pages", "", "ENTER goes to the next menu, UP to the next page; the last leads back to the first.", ""]
    pages = [(menu.name, shown(page), f"`{page.symbol}`" if page.symbol else "", unit(page), page.source)
             for menu in E43_E44.menus for page in menu.pages]  # fmt: skip
    lines += table(("menu", "code and signs", "shows", "units", "source"), *pages)
    for name, entries in E43_E44.setups.items():
        lines += [f"## {name.value}", "", f"Held ENTER ends it with {', '.join(LEAVING)}: save, drop, go on.", ""]
        codes = {e.symbol: SETTINGS[e.symbol].lcd if e.symbol in SETTINGS else "rES" for e in entries}
        rows = [(codes[e.symbol], f"`{e.symbol}`", values(e), e.source) for e in entries]
        lines += table(("code", "sets", "values", "source"), *rows)
    return "\n".join(lines).rstrip() + "\n"


if __name__ == "__main__":
    (ROOT / "docs" / "menus.md").write_text(document())
