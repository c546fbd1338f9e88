"""The meter: wires the stations together and owns time.

Rule: pure and deterministic. Time moves only in `feed`, `count` and `advance`; everything else that changes
the meter is a command, and its State is all that can be seen. No other file knows all the stations, and no
station knows the Meter.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from countis.meter import apply
from countis.meter.apply import refusal_of
from countis.meter.energy import counting, load_curve, periods
from countis.meter.energy.load_curve import RecordWritten
from countis.meter.energy.pulse import Pulses
from countis.meter.energy.registers import Layout
from countis.meter.front import Front
from countis.meter.memory import image
from countis.meter.memory.image import MemoryPage, Write
from countis.meter.memory.store import Store
from countis.meter.metrology.measurement import Measurement, Metrology, combine, supply_share
from countis.meter.overload import Overload
from countis.meter.panel.keys import Key
from countis.meter.slave import Slave
from countis.meter.state import State
from countis.models import E44, Firmware, Model
from countis.words.clock import SECOND
from countis.words.commands import Command, EventKind, Origin, Refusal, SetSetting
from countis.words.errors import SettingError, SupplyError
from countis.words.settings import MAX_RATE, MIN_RATE, Value, setting

_AT_ONCE: Final = 4096  # windows of a series counted at once


class Source(Protocol):
    """Where samples come from: `read(n)` gives n more of them, [n, 6], at `rate` per second."""

    @property
    def rate(self) -> float: ...

    def read(self, count: int) -> NDArray[np.float64]: ...


Event = Pulses | RecordWritten


class Meter:
    """A COUNTIS E43 or E44.

    rate: samples per second it is fed with, 800..50 000. clock: what its clock shows, in s since 2000-01-01.
    line_clock: line time in ns, for keys; by default meter time. Settings by symbol, the others at their
    factory values: `Meter(E44, ct_primary=200)`. Raises SettingError, UnknownSymbol.

    It has no lock of its own. Its owner holds one around each call and around all that reads `state`, since a
    window moves counters, live values and log together; a Snapshot is what may leave the lock.
    """

    def __init__(self, model: Model = E44, *, rate: float = 8000, firmware: Firmware | None = None,
                 clock: int = 0, line_clock: Callable[[], int] | None = None, **settings: Value) -> None:
        commands = [SetSetting(symbol, setting(symbol).check(value)) for symbol, value in settings.items()]
        refusal = refusal_of(State(model, firmware or Firmware(), {}), commands)
        if refusal is not None:
            raise refusal.error
        self.state = state = State(model, firmware or Firmware(), settings, clock)
        self.slave = Slave(state, self.apply)
        self.front = Front(state, self.apply, line_clock or (lambda: state.now))
        self.store = Store(state)
        self._overload = Overload(model)
        self._windows: list[Measurement] = []  # of the second that runs
        self._pending: list[Event] = []  # of a window that a command closed, until the next call takes them
        self._turning_ns = 0  # for how long L1–N has been too low while powered, or high enough while not
        self._stand_at(0)
        self.set_rate(rate)
        apply.follow_input(state)

    # time

    def feed(self, samples: NDArray[Any] | Source, seconds: float | None = None) -> list[Event]:
        """Take samples and count what they carry; return records that closed and trains of pulses.

        samples: [n, 6] of V1 V2 V3 (V) and I1 I2 I3 (secondary A) at `rate`, or a source of them and how many
        seconds. Raises SupplyError on NaN, another shape or rate; then nothing of that block is counted.
        """
        if isinstance(samples, np.ndarray):
            return self._feed(self._converted(samples))
        if seconds is None:
            raise SupplyError("feed", "a source needs seconds=")
        if samples.rate != self.rate:
            raise SupplyError("feed", f"the source has {samples.rate:g} samples per second", f"{self.rate:g}")
        events: list[Event] = []
        left = round(seconds * self.rate)
        while left > 0:
            block = samples.read(min(left, int(self.rate)))
            if len(block) == 0:
                break
            events += self._feed(self._converted(block))
            left -= len(block)
        return events

    def count(self, measurement: Measurement) -> list[Event]:
        """Count windows as if they had just closed, one after the other; time moves by their length."""
        events = self._end_feed()
        step = _AT_ONCE if measurement.whole.all() else 1
        for first in range(0, len(measurement), step):
            part = measurement[first : first + step]
            ends = self.now + np.cumsum(part.ns)
            turns = np.flatnonzero(ends // SECOND != (ends - part.ns) // SECOND) + 1  # windows before a turn
            last = int(turns[-1]) if len(turns) > 0 else 0
            first_of_last = int(turns[-2]) if len(turns) > 1 else 0
            events += self._count(part[:first_of_last])
            if first_of_last > 0:  # of seconds that pass at once only the last is displayed
                self._windows.clear()
            events += self._count(part[first_of_last:last])
            if last > 0:
                self._publish()
            events += self._count(part[last:])
            self._stand_at(int(ends[-1]))
        return events

    def advance(self, ns: int) -> list[Event]:
        """Let time pass without a supply: nothing is measured, the clock goes on."""
        events = self._end_feed()
        if ns <= 0:
            return events
        self._stand_at(self.now + ns)
        return events + self._dark(ns)

    def set_rate(self, rate: float) -> list[Event]:
        """Take samples at another rate from now on; the open window is counted. SettingError out of range."""
        if not MIN_RATE <= rate <= MAX_RATE:
            wrong = f"{rate:g} samples per second is not possible"
            raise SettingError("rate", wrong, f"{MIN_RATE}..{MAX_RATE}")
        events = self._end_feed()
        self.rate = float(rate)
        self._begin_metrology()
        return events

    def _begin_metrology(self) -> None:
        """Measure from here on as it is wired and calibrated now."""
        state = self.state
        self._metrology = Metrology(state.model, self.rate, state.wires, state.calibration)

    def _stand_at(self, now: int) -> None:
        """Let it be `now` in meter time, with no sample taken since."""
        self.state.now = self._base = now
        self._samples = 0

    def _end_feed(self) -> list[Event]:
        """Count the open window, as no sample will follow; return its events and those that were pending."""
        events, self._pending = self._pending, []
        if self._samples == 0:
            return events
        events += self._count(self._metrology.finish())
        self._stand_at(self.now)
        self.state.row[Layout.time] = self.now
        return events

    def _converted(self, samples: NDArray[Any]) -> NDArray[np.float64]:
        if samples.ndim != 2 or samples.shape[1] != 6:
            wrong = f"shape {samples.shape} is not possible"
            raise SupplyError("samples", wrong, "n rows of V1 V2 V3 I1 I2 I3")
        return self._metrology.converted(samples)

    def _feed(self, samples: NDArray[np.float64]) -> list[Event]:
        state = self.state
        events, self._pending = self._pending, []
        at = 0
        while at < len(samples):
            second = (state.now // SECOND + 1) * SECOND
            due = max(1, math.ceil((second - self._base) * self.rate / 1e9 - 1e-6) - self._samples)
            block = samples[at : at + due]
            events += self._count(self._metrology.feed(block))
            self._samples += len(block)
            state.now = self._base + round(self._samples * 1e9 / self.rate)
            at += len(block)
            if state.now >= second:
                self._publish()
        return events

    def _publish(self) -> None:
        """Display the second that has passed (decision 31); a meter that has just started has none yet."""
        state = self.state
        if state.powered and any(m.whole.any() for m in self._windows):
            state.live = combine(self._windows, state.model)
            state.window = state.live
            state.scale_currents(state.ratio if MemoryPage.SETTINGS not in state.lost else np.nan)
            self._windows = []
            state.changes += 1

    def _supplied(self, share: float, ns: int) -> bool:
        """Follow the voltage the meter lives on; tell whether this window is counted (decision 16)."""
        state, model = self.state, self.model
        turning = share < model.off_below if state.powered else share > model.on_above
        self._turning_ns = self._turning_ns + ns if turning else 0
        if self._turning_ns < (model.hold_up_ns if state.powered else model.start_up_ns):
            return state.powered
        state.powered, self._turning_ns = not state.powered, 0
        state.starts += 1
        state.note(EventKind.POWER, "on" if state.powered else "off")
        return False

    def _dark(self, ns: int) -> list[Event]:
        """Let time pass unmeasured: the clock goes on, and the running record will be incomplete."""
        state, row = self.state, self.state.row
        self._windows.clear()
        state.live[:] = np.nan
        state.window = state.live
        row[Layout.time] += ns
        periods.roll_over(row)
        row[Layout.demand_broken] = 1
        events: list[Event] = [*state.keep(load_curve.add(row, 0, 0, state.period, state.ct))]
        on_the_stroke = load_curve.clock_ns(row) % (state.period * SECOND) == 0
        row[Layout.demand_broken] = 0 if on_the_stroke else 1
        state.changes += 1
        return events

    def _count(self, m: Measurement) -> list[Event]:
        """Count windows that have closed, one by one while the voltage is near the power-off threshold."""
        if len(m) == 0:
            return []
        state, model = self.state, self.model
        share = supply_share(m.live, model)
        over = self._overload.is_over(m.live)
        if over or not state.powered or self._turning_ns > 0 or (share < model.off_below).any():
            if len(m) > 1:
                return [event for k in range(len(m)) for event in self._count(m[k : k + 1])]
            if not self._supplied(float(share[0]), m.total_ns):
                return self._dark(m.total_ns)
        if over:
            for change in self._overload.follow(m.live[0]):
                state.note(EventKind.OVERLOAD, *change)
        self._windows.append(m)
        state.window = m.live[-1]
        state.changes += 1
        if state.lost:
            return []
        records, trains = counting.count(state.row, m, model, state.ct, state.period, state.wires)
        return [*state.keep(records), *trains]

    # what can be seen

    @property
    def now(self) -> int:
        """Meter time in ns."""
        return self.state.now

    @property
    def model(self) -> Model:
        """Which model it is."""
        return self.state.model

    @property
    def settings(self) -> Mapping[str, Value]:
        """Settings in force, by symbol."""
        return self.state.settings

    @property
    def powered(self) -> bool:
        """Whether it has the voltage that it lives on."""
        return self.state.powered

    @property
    def clock(self) -> int:
        """Seconds since 2000-01-01 00:00."""
        return self.state.clock

    @property
    def ratio(self) -> float:
        """CT primary over secondary."""
        return self.state.ratio

    def __getitem__(self, symbol: str) -> float | int | str | None:
        """Return a quantity in SI units, or a setting; None = not available."""
        return self.state[symbol]

    def exact(self, symbol: str) -> int:
        """Return a counted quantity as an integer, see State.exact."""
        return self.state.exact(symbol)

    # what changes it

    def apply(self, commands: Sequence[Command], origin: Origin = Origin.HOST) -> Refusal | None:
        """Check all commands, then carry out all of them or none; the event log keeps who gave them.

        Where one says so, the samples of before are counted first: it rates nothing that has already flowed.
        """
        state = self.state
        refusal = refusal_of(state, commands)
        if refusal is not None:
            return refusal
        closes = any(apply.closes_window(state, command) for command in commands)
        if closes:
            self._pending = self._end_feed()
        for command in commands:
            self._pending += apply.carry_out(state, command, origin)
        if closes:
            self._begin_metrology()
        apply.follow_input(state)  # whatever a list sets, the input decides where it is to
        if commands:
            state.changes += 1
        return None

    # the front panel

    def press(self, key: Key, times: int = 1) -> None:
        """Press a key shortly, or several at once (`Key.UP | Key.ENTER`); 0.2 s of line time for each."""
        self.front.press(key, times)

    def hold(self, key: Key, seconds: float) -> None:
        """Hold a key, or several at once, then let go."""
        self.front.hold(key, round(seconds * 1e9))

    @property
    def lcd(self) -> str:
        """What the LCD shows: `MENU | SCOPE SIGNS | DIGITS UNIT | SEQUENCE SYMBOLS`; "" without power."""
        return self.front.lcd.text

    # the bus

    def rtu(self, frame: bytes) -> bytes:
        """Answer one RTU frame; b"" is silence."""
        return self.slave.rtu(frame)

    def pdu(self, request: bytes) -> bytes:
        """Answer one request without its envelope; b"" where there is not even a function."""
        return self.slave.pdu(request)

    # memory

    def writes(self) -> list[Write]:
        """Return what must be written to the memory since the last call, in the order to write it in."""
        return self.store.writes()

    def save(self) -> bytes:
        """Return the whole memory as an image."""
        return self.store.image()

    @classmethod
    def load(cls, data: bytes, *, rate: float = 8000, firmware: Firmware | None = None, model: Model = E44,
             line_clock: Callable[[], int] | None = None) -> Meter:
        """Return the meter that a memory belongs to; MemoryImageError where it cannot be read.

        model: what it is taken for where the page that tells it is lost (`state.lost`).
        """
        contents = image.read(data, model)
        meter = cls(contents.model, rate=rate, firmware=firmware, line_clock=line_clock)
        meter.store.restore(contents)
        meter._begin_metrology()  # as it was wired and calibrated
        meter._stand_at(int(meter.state.row[Layout.time]))
        apply.follow_input(meter.state)  # of two pages that belong together only one may have landed
        return meter
