"""Every value that can be read: its symbol, unit, name and the column of the state row that holds it.

Rule: the state row of a meter is two arrays and this file is their only index. LIVE values are float64 in SI
units (NaN = not available); COUNTED values are int64, `per_si` to one SI unit. All else knows symbols only.

The order of COUNTED is a file format, the integer row of memories. A new value comes at the end, with a new
version of the layout (meter/memory/image.py); tests/test_memory.py holds the order.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

SCOPES: Final = ("L1", "L2", "L3", "Σ")
TARIFFS: Final = ("", "T1", "T2", "T3", "T4")
PHASES: Final = (1, 2, 3)
PERIODS: Final = ("day", "week", "month")
SUM: Final = 3  # index of Σ in SCOPES

MICRO: Final = 1_000_000  # counters hold µWh, µvarh, µVAh
ROLL_OVER: Final = 10**10 * MICRO  # where a 10 Wh register of nine digits wraps (decision 26)


class QuantityKind(Enum):
    """What a value is."""

    LIVE = "live"
    COUNTER = "counter"
    PARTIAL = "partial"
    NET = "net"
    HOURS = "hours"
    DEMAND = "demand"
    PERIOD = "period"
    ROLL = "roll"  # how often the 10 Wh register of a counter has wrapped
    STATE = "state"


@dataclass(frozen=True, slots=True)
class Quantity:
    """One value that can be read."""

    symbol: str
    name: str
    unit: str  # SI, as everywhere outside the core
    label: str  # what the LCD and tables print
    kind: QuantityKind
    per_si: int = 1  # integers of the state row to one SI unit; 1 for live values
    obis: str = ""  # IEC 62056-6-1
    by_ct: bool = False  # a live value measured on the secondary, displayed times the CT ratio
    rolls_of: str = ""  # the counter whose roll-overs it counts


# name, unit, group of the OBIS code
_ENERGY: Final = {
    "Ea+": ("imported active energy", "Wh", 1),
    "Ea-": ("exported active energy", "Wh", 2),
    "Er+": ("imported reactive energy", "varh", 3),
    "Er-": ("exported reactive energy", "varh", 4),
    "Er+ind": ("imported inductive reactive energy", "varh", 5),
    "Er-ind": ("exported inductive reactive energy", "varh", 7),
    "Er+cap": ("imported capacitive reactive energy", "varh", 6),
    "Er-cap": ("exported capacitive reactive energy", "varh", 8),
    "Eap": ("apparent energy", "VAh", 9),
}
KINDS: Final = tuple(_ENERGY)


def _live(symbol: str, name: str, unit: str, obis: int = 0, by_ct: bool = False) -> Quantity:
    """Return a live value; obis: its group, 0 where it has none."""
    code = f"{obis}.7" if obis else ""
    return Quantity(symbol, name, unit, symbol, QuantityKind.LIVE, obis=code, by_ct=by_ct)


def _by_phase(symbol: str, name: str, unit: str, obis: int, by_ct: bool = True) -> list[Quantity]:
    """Return a live value of each phase; {} in its name is the phase. obis: that of phase p is 20 p more."""
    return [_live(f"{symbol}{p}", name.format(f"phase {p}"), unit, obis + 20 * p, by_ct) for p in PHASES]


def _power(symbol: str, name: str, unit: str, obis: int) -> list[Quantity]:
    """Return a power of the system and of each phase."""
    total = _live(symbol, f"total {name}", unit, obis, by_ct=True)
    return [total, *_by_phase(symbol, f"{name} of {{}}", unit, obis)]


LIVE: Final[tuple[Quantity, ...]] = (
    *(_live(f"U{a}{b}", f"voltage between phases {a} and {b}", "V") for a, b in ("12", "23", "31")),
    _live("U", "mean phase-to-phase voltage", "V"),
    *_by_phase("V", "voltage of {} to neutral", "V", 12, by_ct=False),
    _live("V", "mean phase-to-neutral voltage", "V", 12),
    *_by_phase("I", "current of {}", "A", 11),
    _live("IN", "neutral current", "A", 91, by_ct=True),
    _live("I", "mean current", "A", 11, by_ct=True),
    *_power("P", "active power", "W", 16),
    *_power("Q", "reactive power of the fundamental", "var", 3),
    *_power("S", "apparent power", "VA", 9),
    _live("PF", "system power factor (+ lagging, − leading)", "1", 13),
    *_by_phase("PF", "power factor (+ lagging, − leading) of {}", "1", 13, by_ct=False),
    _live("f", "frequency", "Hz", 14),
    _live("sequence", "phase sequence, 123 or 132", "1"),
)


def counter_symbol(kind: str, scope: str = "Σ", tariff: str = "") -> str:
    """Write the symbol of a counter: `Ea+`, `Ea+.L1`, `Er-cap.L2.T3`; Σ is not written."""
    return ".".join(part for part in (kind, "" if scope == "Σ" else scope, tariff) if part)


def _counter(kind: str, scope: str, tariff: str) -> Quantity:
    name, unit, group = _ENERGY[kind]
    name += (f" of {scope}" if scope != "Σ" else "") + (f" in tariff {tariff[1]}" if tariff else "")
    group += 20 * (SCOPES.index(scope) + 1) % 80  # 20, 40, 60 more for L1, L2, L3
    symbol, obis = counter_symbol(kind, scope, tariff), f"{group}.8.{tariff[1:] or '0'}"
    return Quantity(symbol, name, unit, kind, QuantityKind.COUNTER, MICRO, obis=obis)


_ACTIVE: Final = ("Ea+", "Ea-")
PARTIALS: Final = (
    "par.Ea+", "par.Ea-", "par.Er+", "par.Er-", "par.Eap",
    *(f"par.{kind}.{t}" for kind in _ACTIVE for t in TARIFFS[1:]),
)


def _partial(symbol: str) -> Quantity:
    _, kind, *tariff = symbol.split(".")
    name, unit, _ = _ENERGY[kind]
    name = f"partial {name}" + (f" in tariff {tariff[0][1]}" if tariff else "")
    return Quantity(symbol, name, unit, kind, QuantityKind.PARTIAL, MICRO)


def _period(symbol: str, period: str, which: str, kind: str) -> Quantity:
    return Quantity(symbol, f"{_ENERGY[kind][0]} of {which} {period}", "Wh", kind, QuantityKind.PERIOD, MICRO)


_HOUR: Final = 3_600_000_000_000  # ns
_WHICH: Final = (("", "this"), ("-1", "the last"))
COUNTED: Final[tuple[Quantity, ...]] = (
    *(_counter(k, s, t) for k in KINDS for s in SCOPES for t in TARIFFS),  # an array comes first
    *map(_partial, PARTIALS),
    Quantity("net.Ea", "balance of active energy, import − export", "Wh", "net", QuantityKind.NET, MICRO),
    Quantity("net.Er", "balance of reactive energy, import − export", "varh", "net", QuantityKind.NET, MICRO),
    *(Quantity(f"hours.{t}", f"running time of tariff {t[1]}", "h", t, QuantityKind.HOURS, _HOUR)
      for t in TARIFFS[1:]),
    *(_period(f"{period}{ago}.{kind}", period, which, kind)
      for period in PERIODS for ago, which in _WHICH for kind in _ACTIVE),
    Quantity("demand.P", "mean imported active power of the last demand period", "W", "P",
             QuantityKind.DEMAND, 1000, obis="1.5"),
    Quantity("demand.time", "end of the last demand period, seconds since 2000-01-01", "s", "time",
             QuantityKind.DEMAND),
    Quantity("tariff", "tariff in force", "1", "T", QuantityKind.STATE),
)

ROLLS: Final[tuple[Quantity, ...]] = tuple(
    Quantity(f"roll.{s}", f"roll-overs of the 10 Wh register of {s}", "1", s, QuantityKind.ROLL, rolls_of=s)
    for s in ("Ea+", "Er+", "Ea-", "Er-", "Eap", "Ea+.T1", "Ea+.T2", "Ea+.T3", "Ea+.T4")
)

QUANTITIES: Final[dict[str, Quantity]] = {q.symbol: q for q in (*LIVE, *COUNTED, *ROLLS)}
LIVE_COLUMN: Final[dict[str, int]] = {q.symbol: i for i, q in enumerate(LIVE)}
COUNTED_COLUMN: Final[dict[str, int]] = {q.symbol: i for i, q in enumerate(COUNTED)}
