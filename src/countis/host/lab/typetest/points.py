"""What the standards ask: limits of error as data, values only.

Rule: the rows are those of the standards' tables; an oracle by other hands stands beside them in tests/conformance. Numbers of
clauses are those of EN 50470-3:2006, IEC 62053-21:2003 and IEC 62053-23:2003, from knowledge of the standards: assumed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

EN, IEC_ACTIVE, IEC_REACTIVE = "EN 50470-3 class C", "IEC 62053-21 class 1", "IEC 62053-23 class 2"
IEC_OUTPUT: Final = "IEC 62053-31"
HOUSE: Final = "house"  # what no standard asks and this meter holds itself to

# What a clause is about -> its number in each standard.
CLAUSES: Final = {
    "accuracy": {EN: "8.1", IEC_ACTIVE: "8.1", IEC_REACTIVE: "8.1"},
    "influence": {EN: "8.7.7", IEC_ACTIVE: "8.2", IEC_REACTIVE: "8.2"},
    "no load": {EN: "8.7.9.4", IEC_ACTIVE: "8.3.2", IEC_REACTIVE: "8.3.2"},
    "starting": {EN: "8.7.9.3", IEC_ACTIVE: "8.3.3", IEC_REACTIVE: "8.3.3"},
    "meter constant": {EN: "8.7.10", IEC_ACTIVE: "8.4"},
    "repeatability": {EN: "8.7.8"},
    "composite error": {EN: "8.5"},
    "pulse output": {IEC_OUTPUT: "4.2"},
    "disturbances": {HOUSE: "d"},
    "reactive over frequency": {HOUSE: "q"},
    "three wires": {HOUSE: "w"},
    "frequency": {HOUSE: "f"},
    "phases": {HOUSE: "p"},
}


def clause(about: str, standard: str) -> str:
    """Name a clause: the standard, its number, what it is about."""
    return f"{standard} {CLAUSES[about][standard]} {about}"


@dataclass(frozen=True, slots=True)
class Limit:
    """One row of a table of limits: error in % for currents of low..high A on the secondary, both ends included."""

    standard: str
    quantity: str  # active or reactive
    load: str  # balanced or single-phase
    low: float
    high: float
    factor: str
    pct: float


ACCURACY: Final = (
    Limit(EN, "active", "balanced", 0.010, 0.050, "1", 1.0),
    Limit(EN, "active", "balanced", 0.050, 6.0, "1", 0.5),
    Limit(EN, "active", "balanced", 0.050, 6.0, "0.5ind", 0.5),
    Limit(EN, "active", "balanced", 0.050, 6.0, "0.8cap", 0.5),
    Limit(EN, "active", "single-phase", 0.050, 6.0, "1", 1.0),
    Limit(EN, "active", "single-phase", 0.050, 6.0, "0.5ind", 1.0),
    Limit(IEC_ACTIVE, "active", "balanced", 0.020, 0.050, "1", 1.5),
    Limit(IEC_ACTIVE, "active", "balanced", 0.050, 6.0, "1", 1.0),
    Limit(IEC_ACTIVE, "active", "balanced", 0.050, 0.100, "0.5ind", 1.5),
    Limit(IEC_ACTIVE, "active", "balanced", 0.050, 0.100, "0.8cap", 1.5),
    Limit(IEC_ACTIVE, "active", "balanced", 0.100, 6.0, "0.5ind", 1.0),
    Limit(IEC_ACTIVE, "active", "balanced", 0.100, 6.0, "0.8cap", 1.0),
    Limit(IEC_ACTIVE, "active", "balanced", 0.100, 6.0, "0.25ind", 3.5),
    Limit(IEC_ACTIVE, "active", "balanced", 0.100, 6.0, "0.5cap", 2.5),
    Limit(IEC_ACTIVE, "active", "single-phase", 0.050, 6.0, "1", 2.0),
    Limit(IEC_ACTIVE, "active", "single-phase", 0.100, 6.0, "0.5ind", 2.0),
    Limit(IEC_REACTIVE, "reactive", "balanced", 0.020, 0.050, "sin 1", 2.5),
    Limit(IEC_REACTIVE, "reactive", "balanced", 0.050, 6.0, "sin 1", 2.0),
    Limit(IEC_REACTIVE, "reactive", "balanced", 0.050, 0.100, "sin 0.5", 2.5),
    Limit(IEC_REACTIVE, "reactive", "balanced", 0.100, 6.0, "sin 0.5", 2.0),
    Limit(IEC_REACTIVE, "reactive", "balanced", 0.100, 6.0, "sin 0.25", 2.5),
    Limit(IEC_REACTIVE, "reactive", "single-phase", 0.050, 6.0, "sin 1", 3.0),
    Limit(IEC_REACTIVE, "reactive", "single-phase", 0.100, 6.0, "sin 0.5", 3.0),
)
CURRENTS: Final = (0.010, 0.020, 0.050, 0.100, 0.5, 1.0, 3.0, 6.0)
RATIOS: Final = ((5, 5), (200, 5), (12000, 1))

# Degrees by which the current lags.
ANGLES: Final = {
    "1": 0.0, "0.5ind": 60.0, "0.25ind": math.degrees(math.acos(0.25)), "0.8cap": -math.degrees(math.acos(0.8)),
    "0.5cap": -60.0, "sin 1": 90.0, "sin 0.5": 30.0, "sin 0.25": math.degrees(math.asin(0.25)),
}  # fmt: skip


def limit_at(standard: str, quantity: str, load: str, factor: str, current: float) -> float | None:
    """Return the limit at a current, the tighter one at a border that two rows share; None where no row applies."""
    rows = [r.pct for r in ACCURACY if (r.standard, r.quantity, r.load, r.factor) == (standard, quantity, load, factor)
            and r.low <= current <= r.high]  # fmt: skip
    return min(rows, default=None)


@dataclass(frozen=True, slots=True)
class Influence:
    """One row of the influence quantities: how far the error may move, in %, by standard; None = no limit there."""

    name: str
    stimulus: str
    currents: tuple[float, ...]
    factor: str
    class1: float | None
    class_c: float | None
    class2_var: float | None
    low: float | None = None  # of an error that may go down to here, not only by the limit

    def limits(self) -> list[tuple[str, str, str, float]]:
        """Return (standard, quantity, factor, limit) of each standard that has one; a reactive row takes sin for cos."""
        sine = {"1": "sin 1", "0.5ind": "sin 0.5"}
        rows = [(EN, "active", self.factor, self.class_c), (IEC_ACTIVE, "active", self.factor, self.class1),
                (IEC_REACTIVE, "reactive", sine[self.factor], self.class2_var)]  # fmt: skip
        return [(standard, quantity, factor, pct) for standard, quantity, factor, pct in rows if pct is not None]


_FROM_20_MA, _FROM_50_MA = (0.02, 0.1, 1.0, 6.0), (0.05, 0.1, 1.0, 6.0)
INFLUENCES: Final = (
    Influence("voltage", "0.9 Un and 1.1 Un", _FROM_20_MA, "1", 0.7, 0.2, 1.0),
    Influence("voltage", "0.9 Un and 1.1 Un", _FROM_50_MA, "0.5ind", 1.0, 0.4, 1.5),
    Influence("voltage severe", "0.8 Un and 1.15 Un", _FROM_20_MA, "1", 2.1, 0.6, 3.0),
    Influence("voltage low", "below 0.8 Un", (1.0,), "1", 10.0, 10.0, 10.0, -100.0),
    Influence("frequency", "49 Hz and 51 Hz", _FROM_20_MA, "1", 0.5, 0.2, 2.5),
    Influence("frequency", "49 Hz and 51 Hz", _FROM_50_MA, "0.5ind", 0.7, 0.2, 2.5),
    Influence("reversed phase sequence", "L1-L3-L2", (0.1,), "1", 1.5, 0.3, None),
    Influence("voltage unbalance", "one or two phases interrupted (never L1)", (1.0,), "1", 2.0, 1.0, None),
    Influence("5th harmonic", "U5 = 10 % U1; I5 = 40 % I1; in phase at the positive zero crossing", (3.0,), "1", 0.8, 0.5,
              None),
    Influence("odd harmonics", "phase-fired at 90 degrees", (0.5,), "1", 3.0, 1.5, None),
    Influence("sub-harmonics", "burst-fired: 2 cycles on and 2 off", (0.5,), "1", 3.0, 1.5, None),
)  # fmt: skip
SINGLE_AGAINST_BALANCED: Final = {EN: None, IEC_ACTIVE: 1.5, IEC_REACTIVE: 2.5}  # % at In
MPE: Final = ((0.05, 1.0), (math.inf, 0.7))  # class C, 5..30 °C, all influences together: (below A, %)
STARTING: Final = ((EN, "active", 0.001), (IEC_ACTIVE, "active", 0.002), (IEC_REACTIVE, "reactive", 0.003))
NO_LOAD_MINUTES: Final = 302.5  # 240e3 / (k·m·U·Ist) of EN 50470-3 with k = 1000, m = 3
MOST_PULSES: Final = 7.2  # per second, at 288 V and 6 A
SHORTEST_NS: Final = 30_000_000  # pulse and pause
REPEATABLE: Final = 0.1  # of the limit, between the largest and smallest of ten; assumed

# The house's own margins: the error as a part of the standard's limit, by front end and kind of point.
MARGINS: Final = {
    "ideal": {"accuracy": 1e-4, "influence": 1e-2},
    "24 bit": {"accuracy": 1 / 50, "influence": 1 / 50},
    "16 bit": {"accuracy": 1 / 20},
}
FAILS_BELOW: Final = 10.0  # a clause fails where an error is more than so many times the house's margin
P_THROUGH, Q_THROUGH = 0.0005, 0.03  # % of the energy of a minute through a disturbance
F_ERROR_HZ: Final = 1e-4
