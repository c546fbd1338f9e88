"""The menus of the COUNTIS E43/E44 in the order of the LCD (manual §10), and both setups (manual §9.1).

Rule: values only. A page names what it shows by symbol; meter/panel walks the tree and writes the page.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from countis.words.menu import Entry, Form, Menu, Page, Setup
from countis.words.quantities import PARTIALS, SCOPES, SUM, counter_symbol

_ARROW: Final = {"+": "→", "-": "←"}  # imported, exported (manual §4.4, 16)
_INFO: Final = "manual §10.8"
_TARIFF_KINDS: Final = ("Ea+", "Ea-", "Er+ind", "Er-ind", "Er+cap", "Er-cap", "Er+", "Er-")


def _energy(kind: str, scope: str = "Σ", tariff: int = 0, partial: bool = False) -> Page:
    """Return the page of a counter or a partial."""
    symbol = f"{'par.' if partial else ''}{counter_symbol(kind, scope, f'T{tariff}' if tariff else '')}"
    arrow = (_ARROW[kind[2]],) if kind[2] in _ARROW else ()
    nature = (kind[3:],) if kind[3:] in ("ind", "cap") else ()
    name = kind.rstrip("+-") if kind == "Eap" or not nature else kind[:2]
    signs = (scope, *arrow, name, *nature, *(("par",) if partial else ()))
    return Page(symbol, Form.ENERGY, signs, tariff, partial=partial)


def _totals() -> Iterator[Page]:
    for kind in ("Ea+", "Ea-", "Eap", "Er+ind", "Er-ind", "Er+cap", "Er-cap", "Er+", "Er-"):
        by_phase = kind in ("Ea+", "Ea-", "Er+", "Er-")
        yield from (_energy(kind, scope) for scope in (SCOPES if by_phase else SCOPES[SUM:]))


def _partials() -> Iterator[Page]:
    for kind in ("Ea+", "Ea-"):
        yield from (_energy(kind, tariff=t, partial=True) for t in (1, 2, 3, 4))
        yield _energy(kind, partial=True)
    yield from (_energy(kind, partial=True) for kind in ("Eap", "Er+", "Er-"))


def _realtime() -> Iterator[Page]:
    for symbol, form in (("P", Form.WATT), ("S", Form.VOLT_AMPERE), ("Q", Form.VAR)):
        yield from (Page(f"{symbol}{k}", form, (f"L{k}",)) for k in (1, 2, 3))
        yield Page(symbol, form, ("Σ",))
    yield Page("U", Form.VOLTAGE, ("Σ", "L12 23 31"))
    yield Page("V", Form.VOLTAGE, ("Σ", "L1 2 3"))
    yield Page("I", Form.CURRENT, ("Σ",))
    yield Page("PF", Form.FACTOR, ("Σ",))
    yield Page("f", Form.FREQUENCY)


_FIRMWARE: Final = ("rEL1", "rEL2", "CS1", "CS2", "port")  # symbols, which are their codes too
_BALANCE: Final = tuple(Page(f"net.{name}", Form.ENERGY, ("Σ", name, "bal")) for name in ("Ea", "Er"))

MENUS: Final[tuple[Menu, ...]] = (
    *(Menu(f"Tar.{t}", tuple(_energy(kind, tariff=t) for kind in _TARIFF_KINDS)) for t in (1, 2, 3, 4)),
    Menu("tot", tuple(_totals())),
    Menu("Par.b", (*_partials(), *_BALANCE)),
    Menu("rt", tuple(_realtime())),
    Menu("inFo", (
        *(Page(name, Form.TEXT, code=name, source=_INFO) for name in _FIRMWARE),
        Page("ct_primary", Form.AMPERE, code="CtP", source=_INFO),
        Page("ct_secondary", Form.AMPERE, code="FSA", source=_INFO),
    )),
    Menu(Setup.TWO.value, (Page("", Form.TEXT, source="manual §9.1"),), Setup.TWO),
)

SETUPS: Final[dict[Setup, tuple[Entry, ...]]] = {
    Setup.ONE: (Entry("ct_secondary"), Entry("ct_primary", 5), Entry("tariff_control")),
    Setup.TWO: (
        Entry("address", 3), Entry("baud"), Entry("parity"), Entry("stop_bits"),
        *(Entry(page.symbol) for page in _partials()),
    ),
}

assert {page.symbol for page in _partials()} == set(PARTIALS)
