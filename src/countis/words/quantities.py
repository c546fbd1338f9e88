"""Every value that can be seen: its symbol, unit, name and the column of the state row that holds it.

Rule: the state row of a meter is two arrays and this file is their only index. LIVE values are float64 in SI units (NaN =
not available); COUNTED values are int64, `per_si` of them to one SI unit. LCD, Modbus, memory and CLI know symbols only.

The order of COUNTED is a file format: memories keep the integer row as it lies. A new one goes behind the last and takes a
new version of the layout with it (meter/memory/image.py); tests/test_memory.py holds the order.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

KINDS: Final = ("Ea+", "Ea-", "Er+", "Er-", "Er+ind", "Er-ind", "Er+cap", "Er-cap", "Eap")
SCOPES: Final = ("L1", "L2", "L3", "Σ")
TARIFFS: Final = ("", "T1", "T2", "T3", "T4")
PHASES: Final = (1, 2, 3)
PERIODS: Final = ("day", "week", "month")
SUM: Final = 3  # index of Σ in SCOPES

MICRO: Final = 1_000_000  # counters hold µWh, µvarh, µVAh
ROLL_OVER: Final = 10**10 * MICRO  # a 10 Wh register of nine digits starts again here (decision 26)


class QuantityKind(Enum):
    """What a value is."""

    LIVE = "live"
    COUNTER = "counter"
    PARTIAL = "partial"
    NET = "net"
    HOURS = "hours"
    DEMAND = "demand"
    PERIOD = "period"
    ROLL = "roll"  # how often the 10 Wh register of a counter began again
    STATE = "state"


@dataclass(frozen=True, slots=True)
class Quantity:
    """One value that can be seen."""

    symbol: str
    name: str
    unit: str  # SI, as everywhere outside the core
    label: str  # what the LCD and tables print
    kind: QuantityKind
    per_si: int = 1  # integers of the state row to one SI unit; live values are SI
    obis: str = ""  # IEC 62056-6-1
    by_ct: bool = False  # a live value that is measured on the secondary and shown times the CT ratio
    rolls_of: str = ""  # the counter whose roll-overs it tells


_ENERGY_NAME: Final = {
    "Ea+": ("imported active energy", "Wh", "1.8"),
    "Ea-": ("exported active energy", "Wh", "2.8"),
    "Er+": ("imported reactive energy", "varh", "3.8"),
    "Er-": ("exported reactive energy", "varh", "4.8"),
    "Er+ind": ("imported inductive reactive energy", "varh", "5.8"),
    "Er-ind": ("exported inductive reactive energy", "varh", "7.8"),
    "Er+cap": ("imported capacitive reactive energy", "varh", "6.8"),
    "Er-cap": ("exported capacitive reactive energy", "varh", "8.8"),
    "Eap": ("apparent energy", "VAh", "9.8"),
}


def _by_phase(symbol: str, name: str, unit: str, obis: tuple[str, ...], total: str, by_ct: bool = True) -> list[Quantity]:
    head = Quantity(symbol, f"{total} {name}", unit, symbol, QuantityKind.LIVE, obis=obis[0], by_ct=by_ct)
    return [head] + [
        Quantity(f"{symbol}{p}", f"{name} of phase {p}", unit, f"{symbol}{p}", QuantityKind.LIVE, obis=obis[p], by_ct=by_ct)
        for p in PHASES
    ]


LIVE: Final[tuple[Quantity, ...]] = (
    *(Quantity(f"U{ab}", f"voltage between phases {ab[0]} and {ab[1]}", "V", f"U{ab}", QuantityKind.LIVE) for ab in ("12", "23", "31")),
    Quantity("U", "mean phase-to-phase voltage", "V", "U", QuantityKind.LIVE),
    *(Quantity(f"V{p}", f"voltage of phase {p} to neutral", "V", f"V{p}", QuantityKind.LIVE, obis=f"{12 + 20 * p}.7") for p in PHASES),
    Quantity("V", "mean phase-to-neutral voltage", "V", "V", QuantityKind.LIVE, obis="12.7"),
    *(Quantity(f"I{p}", f"current of phase {p}", "A", f"I{p}", QuantityKind.LIVE, obis=f"{11 + 20 * p}.7", by_ct=True) for p in PHASES),
    Quantity("IN", "neutral current", "A", "IN", QuantityKind.LIVE, obis="91.7", by_ct=True),
    Quantity("I", "mean current", "A", "I", QuantityKind.LIVE, obis="11.7", by_ct=True),
    *_by_phase("P", "active power", "W", ("16.7", "36.7", "56.7", "76.7"), "total"),
    *_by_phase("Q", "reactive power of the fundamental", "var", ("3.7", "23.7", "43.7", "63.7"), "total"),
    *_by_phase("S", "apparent power", "VA", ("9.7", "29.7", "49.7", "69.7"), "total"),
    *_by_phase("PF", "power factor (+ lagging, − leading)", "1", ("13.7", "33.7", "53.7", "73.7"), "system", by_ct=False),
    Quantity("f", "frequency", "Hz", "f", QuantityKind.LIVE, obis="14.7"),
    Quantity("sequence", "phase sequence, 123 or 132", "1", "sequence", QuantityKind.LIVE),
)


def counter_symbol(kind: str, scope: str = "Σ", tariff: str = "") -> str:
    """Write the symbol of a counter: `Ea+`, `Ea+.L1`, `Er-cap.L2.T3`; Σ is not written."""
    return ".".join(part for part in (kind, "" if scope == "Σ" else scope, tariff) if part)


def _counter(kind: str, scope: str, tariff: str) -> Quantity:
    name, unit, obis = _ENERGY_NAME[kind]
    words = [name] + ([f"of {scope}"] if scope != "Σ" else []) + ([f"in tariff {tariff[1]}"] if tariff else [])
    value, _, rest = obis.partition(".")
    group = int(value) + 20 * (SCOPES.index(scope) + 1) % 80  # +20, +40, +60 for L1, L2, L3
    symbol = counter_symbol(kind, scope, tariff)
    return Quantity(symbol, " ".join(words), unit, kind, QuantityKind.COUNTER, MICRO, f"{group}.{rest}.{tariff[1:] or '0'}")


PARTIALS: Final = (
    "par.Ea+", "par.Ea-", "par.Er+", "par.Er-", "par.Eap",
    *(f"par.{kind}.{t}" for kind in ("Ea+", "Ea-") for t in TARIFFS[1:]),
)  # fmt: skip


def _partial(symbol: str) -> Quantity:
    _, kind, *tariff = symbol.split(".")
    name, unit, _ = _ENERGY_NAME[kind]
    return Quantity(symbol, f"partial {name}" + (f" in tariff {tariff[0][1]}" if tariff else ""), unit, kind, QuantityKind.PARTIAL, MICRO)


COUNTED: Final[tuple[Quantity, ...]] = (
    *(_counter(k, s, t) for k in KINDS for s in SCOPES for t in TARIFFS),  # the [kind, scope, tariff] array comes first
    *map(_partial, PARTIALS),
    Quantity("net.Ea", "balance of active energy, import − export", "Wh", "net", QuantityKind.NET, MICRO),
    Quantity("net.Er", "balance of reactive energy, import − export", "varh", "net", QuantityKind.NET, MICRO),
    *(Quantity(f"hours.{t}", f"running time of tariff {t[1]}", "h", t, QuantityKind.HOURS, 3_600_000_000_000) for t in TARIFFS[1:]),
    *(
        Quantity(f"{period}{ago}.{kind}", f"{_ENERGY_NAME[kind][0]} of {which} {period}", "Wh", kind, QuantityKind.PERIOD, MICRO)
        for period in PERIODS
        for ago, which in (("", "this"), ("-1", "the last"))
        for kind in ("Ea+", "Ea-")
    ),
    Quantity("demand.P", "mean imported active power of the last demand period", "W", "P", QuantityKind.DEMAND, 1000, "1.5"),
    Quantity("demand.time", "end of the last demand period, seconds since 2000-01-01", "s", "time", QuantityKind.DEMAND),
    Quantity("tariff", "tariff in force", "1", "T", QuantityKind.STATE),
)

ROLLS: Final[tuple[Quantity, ...]] = tuple(
    Quantity(f"roll.{s}", f"roll-overs of the 10 Wh register of {s}", "1", s, QuantityKind.ROLL, rolls_of=s)
    for s in ("Ea+", "Er+", "Ea-", "Er-", "Eap", "Ea+.T1", "Ea+.T2", "Ea+.T3", "Ea+.T4")
)

QUANTITIES: Final[dict[str, Quantity]] = {q.symbol: q for q in (*LIVE, *COUNTED, *ROLLS)}
LIVE_COLUMN: Final[dict[str, int]] = {q.symbol: i for i, q in enumerate(LIVE)}
COUNTED_COLUMN: Final[dict[str, int]] = {q.symbol: i for i, q in enumerate(COUNTED)}
