"""What the standards ask: limits of error as data, values only.

Rule: rows are those of the standards' tables; tests/conformance has them by other hands. Clauses are those of
EN 50470-3:2006, IEC 62053-21:2003 and IEC 62053-23:2003; their numbers are from knowledge of them: assumed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

EN, IEC_ACTIVE, IEC_REACTIVE = "EN 50470-3 class C", "IEC 62053-21 class 1", "IEC 62053-23 class 2"
IEC_OUTPUT: Final = "IEC 62053-31"
HOUSE: Final = "house"  # what no standard asks and this meter holds itself to


class About(StrEnum):
    """What a clause is about."""

    ACCURACY, INFLUENCE, NO_LOAD, STARTING = "accuracy", "influence", "no load", "starting"
    METER_CONSTANT, REPEATABILITY, COMPOSITE = "meter constant", "repeatability", "composite error"
    PULSE_OUTPUT, DISTURBANCES, THREE_WIRES = "pulse output", "disturbances", "three wires"
    REACTIVE_OVER_FREQUENCY, FREQUENCY, PHASES = "reactive over frequency", "frequency", "phases"


class Quantity(StrEnum):
    """Which power is held against a limit."""

    ACTIVE, REACTIVE = "active", "reactive"


class Front(StrEnum):
    """Which front end the meter is behind."""

    IDEAL, BITS_24, BITS_16 = "ideal", "24 bit", "16 bit"


class How(StrEnum):
    """How an error was read off the meter."""

    COUNTER, LED, PULSES, REGISTER, FREQUENCY = "counter", "LED", "pulse output", "register", "f"


CLAUSES: Final = {  # what a clause is about -> its number in each standard
    About.ACCURACY: {EN: "8.1", IEC_ACTIVE: "8.1", IEC_REACTIVE: "8.1"},
    About.INFLUENCE: {EN: "8.7.7", IEC_ACTIVE: "8.2", IEC_REACTIVE: "8.2"},
    About.NO_LOAD: {EN: "8.7.9.4", IEC_ACTIVE: "8.3.2", IEC_REACTIVE: "8.3.2"},
    About.STARTING: {EN: "8.7.9.3", IEC_ACTIVE: "8.3.3", IEC_REACTIVE: "8.3.3"},
    About.METER_CONSTANT: {EN: "8.7.10", IEC_ACTIVE: "8.4"}, About.REPEATABILITY: {EN: "8.7.8"},
    About.COMPOSITE: {EN: "8.5"}, About.PULSE_OUTPUT: {IEC_OUTPUT: "4.2"},
    About.DISTURBANCES: {HOUSE: "d"}, About.REACTIVE_OVER_FREQUENCY: {HOUSE: "q"},
    About.THREE_WIRES: {HOUSE: "w"}, About.FREQUENCY: {HOUSE: "f"}, About.PHASES: {HOUSE: "p"},
}


def clause(about: About, standard: str) -> str:
    """Name a clause: the standard, its number, what it is about."""
    return f"{standard} {CLAUSES[about][standard]} {about}"


@dataclass(frozen=True, slots=True)
class Limit:
    """One row of a table of limits: the error in % for low..high A on the secondary, both ends included."""

    standard: str
    quantity: Quantity
    load: str  # BALANCED or SINGLE
    low: float
    high: float
    factor: str
    pct: float


def _limits(standard: str, quantity: Quantity, load: str,
            *rows: tuple[float, float, str, float]) -> list[Limit]:
    """Return limits of rows (A from, A to, factor, error in %)."""
    return [Limit(standard=standard, quantity=quantity, load=load, low=low, high=high, factor=factor, pct=pct)
            for low, high, factor, pct in rows]


_ACTIVE, _REACTIVE = Quantity
BALANCED, SINGLE = "balanced", "single-phase"
ACCURACY: Final = (
    *_limits(EN, _ACTIVE, BALANCED, (0.010, 0.050, "1", 1.0), (0.050, 6.0, "1", 0.5),
             (0.050, 6.0, "0.5ind", 0.5), (0.050, 6.0, "0.8cap", 0.5)),
    *_limits(EN, _ACTIVE, SINGLE, (0.050, 6.0, "1", 1.0), (0.050, 6.0, "0.5ind", 1.0)),
    *_limits(IEC_ACTIVE, _ACTIVE, BALANCED, (0.020, 0.050, "1", 1.5), (0.050, 6.0, "1", 1.0),
             (0.050, 0.100, "0.5ind", 1.5), (0.050, 0.100, "0.8cap", 1.5), (0.100, 6.0, "0.5ind", 1.0),
             (0.100, 6.0, "0.8cap", 1.0), (0.100, 6.0, "0.25ind", 3.5), (0.100, 6.0, "0.5cap", 2.5)),
    *_limits(IEC_ACTIVE, _ACTIVE, SINGLE, (0.050, 6.0, "1", 2.0), (0.100, 6.0, "0.5ind", 2.0)),
    *_limits(IEC_REACTIVE, _REACTIVE, BALANCED, (0.020, 0.050, "sin 1", 2.5), (0.050, 6.0, "sin 1", 2.0),
             (0.050, 0.100, "sin 0.5", 2.5), (0.100, 6.0, "sin 0.5", 2.0), (0.100, 6.0, "sin 0.25", 2.5)),
    *_limits(IEC_REACTIVE, _REACTIVE, SINGLE, (0.050, 6.0, "sin 1", 3.0), (0.100, 6.0, "sin 0.5", 3.0)),
)
CURRENTS: Final = (0.010, 0.020, 0.050, 0.100, 0.5, 1.0, 3.0, 6.0)
RATIOS: Final = ((5, 5), (200, 5), (12000, 1))
ANGLES: Final = {  # degrees by which the current lags
    "1": 0.0, "0.5ind": 60.0, "0.25ind": math.degrees(math.acos(0.25)),
    "0.8cap": -math.degrees(math.acos(0.8)), "0.5cap": -60.0,
    "sin 1": 90.0, "sin 0.5": 30.0, "sin 0.25": math.degrees(math.asin(0.25)),
}


def limits_at(standard: str, quantity: Quantity, load: str, factor: str, current: float) -> list[Limit]:
    """Return the rows that apply at a current, of which there are two where they meet, the tightest first."""
    rows = [r for r in ACCURACY if r.low <= current <= r.high
            and (r.standard, r.quantity, r.load, r.factor) == (standard, quantity, load, factor)]
    return sorted(rows, key=lambda row: row.pct)


def limit_at(standard: str, quantity: Quantity, load: str, factor: str, current: float) -> float | None:
    """Return the limit in % at a current; None where no row applies."""
    return next((row.pct for row in limits_at(standard, quantity, load, factor, current)), None)


Change = Mapping[str, Any]  # fields of a signal: factors of its volts and frequency, new values of all else


@dataclass(frozen=True, slots=True)
class Influence:
    """One influence quantity: how far it may move the error in %, by standard; None where no limit is set."""

    name: str
    stimulus: str  # what is done, in the words of the standards
    changes: tuple[Change, ...]  # the same as data, each driven for itself
    currents: tuple[float, ...]
    factor: str
    class1: float | None
    class_c: float | None
    class2_var: float | None
    low: float | None = None  # of an error that may go down to here, not only by the limit

    def limits(self) -> list[Limit]:
        """Return the limit of each standard that has one; factors of var are sines."""
        sine = {"1": "sin 1", "0.5ind": "sin 0.5"}[self.factor]
        rows = [(EN, _ACTIVE, self.factor, self.class_c), (IEC_ACTIVE, _ACTIVE, self.factor, self.class1),
                (IEC_REACTIVE, _REACTIVE, sine, self.class2_var)]
        low, high = self.currents[0], self.currents[-1]
        return [limit for standard, quantity, factor, pct in rows if pct is not None
                for limit in _limits(standard, quantity, BALANCED, (low, high, factor, pct))]


def _influence(name: str, stimulus: str, changes: tuple[Change, ...],
               *rows: tuple[tuple[float, ...], str, float | None, float | None, float | None],
               low: float | None = None) -> list[Influence]:
    """Return rows of (currents in A, factor, class 1, class C, class 2 of var)."""
    return [Influence(name=name, stimulus=stimulus, changes=changes, currents=currents, factor=factor,
                      class1=class1, class_c=class_c, class2_var=class2_var, low=low)
            for currents, factor, class1, class_c, class2_var in rows]


_FROM_20_MA, _FROM_50_MA = (0.02, 0.1, 1.0, 6.0), (0.05, 0.1, 1.0, 6.0)
VOLTAGE, FREQUENCY = "voltage", "frequency"  # which class C's composite error adds to that of the load
INFLUENCES: Final = (
    *_influence(VOLTAGE, "0.9 Un and 1.1 Un", ({"volts": 0.9}, {"volts": 1.1}),
                (_FROM_20_MA, "1", 0.7, 0.2, 1.0), (_FROM_50_MA, "0.5ind", 1.0, 0.4, 1.5)),
    *_influence("voltage severe", "0.8 Un and 1.15 Un", ({"volts": 0.8}, {"volts": 1.15}),
                (_FROM_20_MA, "1", 2.1, 0.6, 3.0)),
    *_influence("voltage low", "below 0.8 Un", tuple({"volts": k} for k in (0.79, 0.7, 0.55, 0.3)),
                ((1.0,), "1", 10.0, 10.0, 10.0), low=-100.0),
    *_influence(FREQUENCY, "49 Hz and 51 Hz", ({"frequency": 0.98}, {"frequency": 1.02}),
                (_FROM_20_MA, "1", 0.5, 0.2, 2.5), (_FROM_50_MA, "0.5ind", 0.7, 0.2, 2.5)),
    *_influence("reversed phase sequence", "L1-L3-L2", ({"reversed": True},),
                ((0.1,), "1", 1.5, 0.3, None)),
    *_influence("voltage unbalance", "one or two phases interrupted (never L1)",
                ({"missing": (1,)}, {"missing": (2,)}, {"missing": (1, 2)}),
                ((1.0,), "1", 2.0, 1.0, None)),
    *_influence("5th harmonic", "U5 = 10 % U1; I5 = 40 % I1; in phase at the positive zero crossing",
                ({"v_harmonics": ((5, 0.10, 0.0),), "i_harmonics": ((5, 0.40, 0.0),)},),
                ((3.0,), "1", 0.8, 0.5, None)),
    *_influence("odd harmonics", "phase-fired at 90 degrees", ({"fired": 90.0},),
                ((0.5,), "1", 3.0, 1.5, None)),
    *_influence("sub-harmonics", "burst-fired: 2 cycles on and 2 off", ({"burst": (2, 2)},),
                ((0.5,), "1", 3.0, 1.5, None)),
)
SINGLE_AGAINST_BALANCED: Final = (  # % at In
    (IEC_ACTIVE, _ACTIVE, "1", 1.5), (IEC_REACTIVE, _REACTIVE, "sin 1", 2.5))
MPE: Final = ((0.05, 1.0), (math.inf, 0.7))  # class C, 5..30 °C, all influences together: (below A, %)
STARTING: Final = ((EN, _ACTIVE, 0.001), (IEC_ACTIVE, _ACTIVE, 0.002), (IEC_REACTIVE, _REACTIVE, 0.003))  # A
NO_LOAD_MINUTES: Final = 302.5  # 240e3 / (k·m·U·Ist) of EN 50470-3 with k = 1000, m = 3
MOST_PULSES: Final = 7.2  # per second, at 288 V and 6 A
SHORTEST_NS: Final = 30_000_000  # pulse and pause
REPEATABLE: Final = 0.1  # of the limit, between the largest and smallest of ten; assumed
MARGINS: Final = {  # of the house: the error as a part of a standard's limit, by front end and kind of point
    Front.IDEAL: {About.ACCURACY: 1e-4, About.INFLUENCE: 1e-2},
    Front.BITS_24: {About.ACCURACY: 1 / 50, About.INFLUENCE: 1 / 50},
    Front.BITS_16: {About.ACCURACY: 1 / 20},
}
FAILS_BELOW: Final = 10.0  # a clause fails where an error is more than so many times the house's margin
P_THROUGH, Q_THROUGH = 0.0005, 0.03  # % of the energy of a minute through a disturbance
F_ERROR_HZ: Final = 1e-4
