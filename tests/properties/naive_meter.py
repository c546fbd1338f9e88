"""The bookkeeping of the meter in the plainest words: manual, contracts and decisions, one obvious step after the other.

Rule: whole numbers, fractions and dicts; nothing of the meter is imported.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import date, timedelta
from fractions import Fraction
from typing import Any, Final

SECOND = 10**9
PHASES = ("L1", "L2", "L3")
TARIFFS = (1, 2, 3, 4)
QUADRANTS = ("Er+ind", "Er-ind", "Er+cap", "Er-cap")
KINDS = ("Ea+", "Ea-", "Er+", "Er-", "Eap", *QUADRANTS)
COUNTERS = tuple(f"{k}{s}{t}" for k in KINDS for s in ("", ".L1", ".L2", ".L3") for t in ("", ".T1", ".T2", ".T3", ".T4"))
PARTIALS = (*(f"par.{k}" for k in KINDS[:5]), *(f"par.{k}.T{t}" for k in ("Ea+", "Ea-") for t in TARIFFS))
HOURS = tuple(f"hours.T{t}" for t in TARIFFS)
FACTORY: Final[dict[str, Any]] = {
    "address": 5, "baud": 38400, "parity": "N", "stop_bits": 1, "ct_primary": 5, "ct_secondary": 5, "tariff_control": "dig",
    "demand_period": 900, "sealed": 0, "user_lock": 0, "gain": 1.0,
}  # fmt: skip
ALLOWED: Final[dict[str, Any]] = {
    "address": range(1, 248), "baud": (1200, 2400, 4800, 9600, 19200, 38400, 57600, 115200), "parity": ("N", "O", "E"),
    "stop_bits": (1, 2), "ct_primary": range(1, 12001), "ct_secondary": (1, 5), "tariff_control": ("com", "dig"),
    "demand_period": (60, 120, 180, 240, 300, 360, 480, 600, 720, 900, 1200, 1800, 3600), "sealed": (0, 1), "user_lock": (0, 1),
    "gain": (1.0, 1.25),
}  # fmt: skip
GUARDED = ("ct_primary", "ct_secondary", "tariff_control", "gain")  # by the seal
RATING = ("ct_primary", "ct_secondary", "demand_period", "wires")  # energy is rated by these: what has flowed is counted before
Command = tuple[str, Any, Any]  # "set" symbol value; "tariff" t; "reset" symbols; "clock" seconds; "run" symbol, or not; "bad"


@dataclass
class Kept:
    """What the hot page keeps."""

    n: Counter[str] = field(default_factory=Counter)  # every counter in µWh, hours in ns
    rest: Counter[str] = field(default_factory=Counter)  # below 1 µWh, in units of 2^-30
    tariff: int = 1
    input: int = 1
    stopped: set[str] = field(default_factory=set)
    clock: int = 0  # ns since Saturday 2000-01-01, at the end of the last window
    periods: tuple[int, ...] = ()  # number of the running day, week and month


class NaiveMeter:
    """What a meter shows after what was done to it."""

    def __init__(self, mid: bool, **settings: Any) -> None:
        self.mid, self.settings, self.kept = mid, {**FACTORY, **settings}, Kept()
        self.before_rating: Callable[[], None] = lambda: None  # who measures closes what is open
        self.powered, self.turning, self.open = True, 0, 0  # open: ns of samples in no window yet
        self.kept.periods = self.calendar(0)
        self.sync()

    def sync(self, hot: bool = True, settings: bool = True) -> None:
        """Know what has reached the memory."""
        if hot:
            self.synced = deepcopy(self.kept)
        if settings:
            self.synced_settings = dict(self.settings)

    def cut(self) -> None:
        """Lose the power and find it again: everything is as it was synced last."""
        self.kept, self.settings = deepcopy(self.synced), dict(self.synced_settings)
        self.powered, self.turning, self.open = True, 0, 0

    def ratio(self) -> Fraction:
        """Return CT primary over secondary."""
        return Fraction(self.settings["ct_primary"], self.settings["ct_secondary"])

    def pass_time(self, ns: int) -> None:
        """Let the clock go on and days, weeks and months end."""
        self.kept.clock += ns
        self.turn(0)

    def calendar(self, before: int) -> tuple[int, ...]:
        """Number the day, the week from Monday and the month of the clock `before` ns ago."""
        today = date(2000, 1, 1) + timedelta(days=(self.kept.clock - before) // (86400 * SECOND))
        monday = today - timedelta(days=today.weekday())
        return today.toordinal(), monday.toordinal(), today.year * 12 + today.month

    def turn(self, before: int) -> None:
        """Begin the day, week and month in which the clock was `before` ns ago (49, 65)."""
        here = self.calendar(before)
        for period, old, new in zip(("day", "week", "month"), self.kept.periods, here, strict=True):
            for kind in ("Ea+", "Ea-") if old != new else ():
                self.kept.n[f"{period}-1.{kind}"] = self.kept.n[f"{period}.{kind}"]
                self.kept.n[f"{period}.{kind}"] = 0
        self.kept.periods = here

    def lives(self, v1: float, ns: int) -> bool:
        """Follow the voltage between L1 and neutral; tell whether this window is counted (16, 60)."""
        turns, needed = (v1 < 115, SECOND // 2) if self.powered else (v1 > 138, SECOND)
        self.turning = self.turning + ns if turns else 0
        if self.turning >= needed:
            self.powered, self.turning = not self.powered, 0
            return False
        return self.powered

    def window(self, ns: int, v1: float, p: list[float], q: list[float], s: list[float]) -> None:
        """Count one window of secondary powers by phase."""
        if not self.lives(v1, ns):
            self.pass_time(ns)
            return
        self.kept.clock += ns
        self.turn(1)
        n = self.kept.n
        for (kind, scope), units in self.increments(ns, p, q, s).items():
            dot, tariff = f".{scope}" if scope else "", f".T{self.kept.tariff}"
            n[kind + dot] += units
            n[kind + dot + tariff] += units
            for partial in (f"par.{kind}", f"par.{kind}{tariff}"):
                if not scope and partial in PARTIALS and partial not in self.kept.stopped:
                    n[partial] += units
            for period in ("day", "week", "month"):
                if not scope and kind in ("Ea+", "Ea-"):
                    n[f"{period}.{kind}"] += units
            if not scope and kind[2] in "+-" and kind not in QUADRANTS:
                n[f"net.{kind[:2]}"] += units if kind[2] == "+" else -units
        n[f"hours.T{self.kept.tariff}"] += ns
        self.turn(0)

    def increments(self, ns: int, p: list[float], q: list[float], s: list[float]) -> Counter[tuple[str, str]]:
        """Return the units each kind gains by phase and, as "", together; the sum's sign chooses its register (8, 46, 47)."""
        made: Counter[tuple[str, str]] = Counter()
        for phase, active, reactive, apparent in zip(PHASES, map(Fraction, p), map(Fraction, q), map(Fraction, s), strict=True):
            if active**2 + reactive**2 >= Fraction(0.1) ** 2:  # it has started (30, 48)
                for kind, power in (energy(active), active), (quadrant(active, reactive), reactive), ("Eap", apparent):
                    fine = round(abs(power) * ns * self.ratio() / 3_600_000 * 2**30) + self.kept.rest[kind + phase]
                    made[kind, phase], self.kept.rest[kind + phase] = divmod(fine, 2**30)
        total_p = sum(made["Ea+", phase] - made["Ea-", phase] for phase in PHASES)
        total_q = sum(made[kind, phase] * (1 if kind[2] == "+" else -1) for kind in QUADRANTS for phase in PHASES)
        made[energy(total_p), ""], made[quadrant(total_p, total_q), ""] = abs(total_p), abs(total_q)
        made["Eap", ""] = sum(made["Eap", phase] for phase in PHASES)
        for scope in (*PHASES, ""):
            for sign in "+-":
                made[f"Er{sign}", scope] = made[f"Er{sign}ind", scope] + made[f"Er{sign}cap", scope]
        return made

    def refusal(self, command: Command) -> str:
        """Tell why a command is refused: "sealed", "state" or "value"; "" if it is not."""
        name, what, value = command
        if name == "set" and what in GUARDED and self.settings["sealed"]:
            return "sealed"
        if name == "tariff" and self.settings["tariff_control"] == "dig":
            return "state"
        if name == "set":
            good = value in ALLOWED[what] and (self.mid or (what, value) != ("sealed", 1))
        else:
            good = what in TARIFFS if name == "tariff" else name != "bad"
        return "" if good else "value"

    def apply(self, commands: Iterable[Command]) -> str:
        """Do all commands or none; return why not, the seal and the state before bad values (18)."""
        commands = list(commands)
        reasons = [reason for command in commands if (reason := self.refusal(command))]
        reasons.sort(key=lambda reason: reason == "value")
        if not reasons and any(
            name == "set" and what in RATING and self.settings[what] != value for name, what, value in commands
        ):
            self.before_rating()
        for command in () if reasons else commands:
            self.do(*command)
        return reasons[0] if reasons else ""

    def do(self, name: str, what: Any, value: Any) -> None:
        """Do one command that was not refused."""
        if name == "set":
            self.settings[what] = value
            self.follow()
        elif name == "tariff":
            self.kept.tariff = what
        elif name == "reset":
            self.kept.n.update({symbol: -self.kept.n[symbol] for symbol in set(what)})
        elif name == "clock":
            self.kept.clock = what * SECOND - self.open
        elif name == "run":
            (self.kept.stopped.discard if value else self.kept.stopped.add)(what)

    def volts(self, volts: float) -> None:
        """Put a voltage on the tariff input (34)."""
        self.kept.input = 1 if volts < 20 else 2 if volts >= 80 else self.kept.input
        self.follow()

    def follow(self) -> None:
        """Let the input choose the tariff, where it does."""
        if self.settings["tariff_control"] == "dig":
            self.kept.tariff = self.kept.input


def energy(active: Fraction | int) -> str:
    """Return the register of active energy."""
    return "Ea+" if active >= 0 else "Ea-"


def quadrant(active: Fraction | int, reactive: Fraction | int) -> str:
    """Return the register of reactive energy: inductive in QI and QIII, capacitive in QII and QIV (7)."""
    return ("Er+" if reactive >= 0 else "Er-") + ("ind" if (active >= 0) == (reactive >= 0) else "cap")
