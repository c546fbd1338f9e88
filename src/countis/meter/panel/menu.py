"""The menu tree as data, in the order of the LCD (manual §10), and the pages of both setups (manual §9.1).

Rule: values only. A page names what it shows by symbol; `machine.py` walks the tree, `draw.py` writes the page.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from countis.words.quantities import PARTIALS, SCOPES, SUM, counter_symbol

_ARROW: Final = {"+": "→", "-": "←"}  # imported, exported (manual §4.4, 16)


@dataclass(frozen=True, slots=True)
class Page:
    """One page of the LCD.

    symbol: a quantity, a setting, or an item of the firmware. form: how its value is written, a row of digits.py, or "text".
    signs: what is lit beside the value. tariff: the page's own, 0 = none. code: of a setting or an item.
    """

    symbol: str
    form: str
    signs: tuple[str, ...] = ()
    tariff: int = 0
    code: str = ""
    source: str = "manual §10"

    @property
    def partial(self) -> bool:
        """Whether it shows a partial, which keys start, stop and reset."""
        return self.symbol.startswith("par.")


@dataclass(frozen=True, slots=True)
class Menu:
    """One menu: what the LCD calls it, and its pages."""

    name: str
    pages: tuple[Page, ...]


def _energy(kind: str, scope: str = "Σ", tariff: int = 0, lead: str = "") -> Page:
    """Return the page of a counter or a partial."""
    symbol = f"{lead}{counter_symbol(kind, scope, f'T{tariff}' if tariff else '')}"
    arrow = (_ARROW[kind[2]],) if kind[2] in _ARROW else ()
    nature = (kind[3:],) if kind[3:] in ("ind", "cap") else ()
    name = kind.rstrip("+-") if kind == "Eap" or not nature else kind[:2]
    return Page(symbol, "energy", (scope, *arrow, name, *nature, *(("par",) if lead else ())), tariff)


_TARIFF_KINDS: Final = ("Ea+", "Ea-", "Er+ind", "Er-ind", "Er+cap", "Er-cap", "Er+", "Er-")


def _totals() -> Iterator[Page]:
    for kind in ("Ea+", "Ea-", "Eap", "Er+ind", "Er-ind", "Er+cap", "Er-cap", "Er+", "Er-"):
        by_phase = kind in ("Ea+", "Ea-", "Er+", "Er-")
        yield from (_energy(kind, scope) for scope in (SCOPES if by_phase else SCOPES[SUM:]))


def _partials() -> Iterator[Page]:
    for kind in ("Ea+", "Ea-"):
        yield from (_energy(kind, tariff=t, lead="par.") for t in (1, 2, 3, 4))
        yield _energy(kind, lead="par.")
    yield from (_energy(kind, lead="par.") for kind in ("Eap", "Er+", "Er-"))
    yield from (Page(f"net.{name}", "energy", ("Σ", name, "bal")) for name in ("Ea", "Er"))


def _realtime() -> Iterator[Page]:
    for symbol, form in (("P", "power W"), ("S", "power VA"), ("Q", "power var")):
        yield from (Page(f"{symbol}{k}", form, (f"L{k}",)) for k in (1, 2, 3))
        yield Page(symbol, form, ("Σ",))
    yield Page("U", "voltage", ("Σ", "L12 23 31"))
    yield Page("V", "voltage", ("Σ", "L1 2 3"))
    yield Page("I", "current", ("Σ",))
    yield Page("PF", "factor", ("Σ",))
    yield Page("f", "frequency")


_FIRMWARE: Final = (("rEL1", "rEL1"), ("rEL2", "rEL2"), ("CS1", "CS1"), ("CS2", "CS2"), ("port", "port"))
SETUP_1, SETUP_2 = "SEtuP.1", "SEtuP.2"

MENUS: Final[tuple[Menu, ...]] = (
    *(Menu(f"Tar.{t}", tuple(_energy(kind, tariff=t) for kind in _TARIFF_KINDS)) for t in (1, 2, 3, 4)),
    Menu("tot", tuple(_totals())),
    Menu("Par.b", tuple(_partials())),
    Menu("rt", tuple(_realtime())),
    Menu("inFo", (
        *(Page(symbol, "text", code=code, source="manual §10.8") for symbol, code in _FIRMWARE),
        Page("ct_primary", "ampere", code="CtP", source="manual §10.8"),
        Page("ct_secondary", "ampere", code="FSA", source="manual §10.8"),
    )),
    Menu(SETUP_2, (Page("", "text", source="manual §9.1"),)),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Entry:
    """One page of a setup: a setting, digit by digit (`digits` of them) or by choice (0), or a partial to reset."""

    symbol: str
    digits: int = 0
    source: str = "manual §9.1"


SETUPS: Final[dict[str, tuple[Entry, ...]]] = {
    SETUP_1: (Entry("ct_secondary"), Entry("ct_primary", 5), Entry("tariff_control")),
    SETUP_2: (
        Entry("address", 3), Entry("baud"), Entry("parity"), Entry("stop_bits"),
        *(Entry(page.symbol) for page in _partials() if page.partial),
    ),
}  # fmt: skip
PARTIAL_PAGES: Final = {page.symbol: page for page in MENUS[5].pages if page.partial}
# How the LCD writes what can be chosen (manual §14); what is not here is written as it is.
WRITTEN: Final = {"parity": {"N": "n", "O": "o", "E": "E"}, "tariff_control": {"com": "COM", "dig": "diG"}}
LEAVING: Final = ("Y", "N", "C")  # save and exit, exit without saving, continue
LEAVING_CODE: Final = "EXit"  # assumed
CONFIRM: Final = "ConF?"
PORT: Final = "rS485"  # assumed

assert {page.symbol for page in PARTIAL_PAGES.values()} == set(PARTIALS)
