"""The meter: wires the stations together and owns time.

Rule: pure and deterministic. Time moves only in `feed`, `count` and `advance`; everything else that changes the meter is a
command, and a row of state is all that can be seen.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from countis.meter import apply as applying
from countis.meter.energy import counting, load_curve, periods, registers
from countis.meter.energy.load_curve import SECOND, LoadCurve, Record, RecordWritten
from countis.meter.energy.pulse import Pulses
from countis.meter.energy.registers import Layout
from countis.meter.front import Front
from countis.meter.memory import image as memory
from countis.meter.memory.event_log import EventLog, Kind, Whence
from countis.meter.memory.image import Page, Write
from countis.meter.memory.store import Store
from countis.meter.metrology.measurement import (
    CT_COLUMNS,
    Measurement,
    Metrology,
    combine,
    missing_phases,
    supply_share,
)
from countis.meter.panel.keys import Key
from countis.meter.slave import Slave
from countis.models import E44, MAX_RATE, MIN_RATE, Firmware, Model
from countis.words.commands import Command, Reason, Refusal, SetSetting
from countis.words.errors import SettingError, SupplyError, UnknownSymbol
from countis.words.quantities import COUNTED_COLUMN, LIVE, LIVE_COLUMN, QUANTITIES, ROLL_OVER
from countis.words.settings import FACTORY, SETTINGS, Calibration, Value, setting

_T1_BELOW, _T2_FROM = 20.0, 80.0  # V on the tariff input; between them it keeps what it was (decision 34)
_AT_ONCE: Final = 4096  # windows of a series counted at once


class Source(Protocol):
    """Where samples come from: `read(n)` gives n more of them, [n, 6], at `rate` per second."""

    @property
    def rate(self) -> float: ...

    def read(self, count: int) -> NDArray[np.float64]: ...


Event = Pulses | RecordWritten


class Meter:
    """A COUNTIS E43 or E44.

    rate: samples per second it is fed with, 800..50 000. Settings by symbol, e.g. `Meter(E44, ct_primary=200)`; what is not
    given has its factory value. Raises SettingError, UnknownSymbol.
    """

    def __init__(self, model: Model = E44, *, rate: float = 8000, firmware: Firmware | None = None, **settings: Value) -> None:
        self.model = model
        self.firmware = firmware or Firmware()
        self.settings: dict[str, Value] = dict(FACTORY)
        self.calibration = Calibration()
        self.row = registers.new_row()
        self.live = np.full(len(LIVE), np.nan)
        self.curve = LoadCurve()
        self.changes = self.setting_changes = 0  # count what moved, for whoever keeps a copy
        self.frames, self._frame_at = 0, -SECOND  # requests of its own that it has seen, and when the last
        self.starts = 0  # how often its power went or came
        self.pace = 1.0  # meter time to line time, where samples are played faster
        self.log = EventLog()
        self.slave, self.front, self.store = Slave(self), Front(self), Store(self)
        self._second: list[Measurement] = []
        self.owed: list[Event] = []  # of a window that a command closed; told with the next that time brings
        self.powered = True
        self._turning_ns = 0  # for how long L1–N has been too low while powered, or high enough while not
        self._rest(0)
        self.set_rate(rate)
        for symbol, value in settings.items():
            refusal = self.apply([SetSetting(symbol, setting(symbol).check(value))])
            if refusal is not None:
                raise SettingError(refusal.text)
        self.store.begin()

    # time

    def feed(self, samples: NDArray[Any] | Source, seconds: float | None = None) -> list[Event]:
        """Take samples and count what they carry.

        samples: [n, 6] of V1 V2 V3 (V) and I1 I2 I3 (secondary A) at `rate`, or a source of them and how many seconds.
        Returns records that closed and trains of pulses. Raises SupplyError on NaN, another shape or another rate; then nothing
        of that block is counted.
        """
        if isinstance(samples, np.ndarray):
            return self._feed(self._converted(samples))
        if seconds is None:
            raise SupplyError("feed: a source needs seconds=")
        if samples.rate != self.rate:
            raise SupplyError(f"feed: the source has {samples.rate:g} samples per second (allowed: {self.rate:g})")
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
            turns = [0, 0, *(np.flatnonzero(ends // SECOND != (ends - part.ns) // SECOND) + 1).tolist()]
            unseen, shown = turns[-2:]  # of seconds that pass at once only the last is seen
            events += self._count(part[:unseen])
            if unseen:
                self._second.clear()
            events += self._count(part[unseen:shown])
            if shown:
                self._publish()
            events += self._count(part[shown:])
            self._rest(int(ends[-1]))
        return events

    def advance(self, ns: int) -> list[Event]:
        """Let time pass without a supply: nothing is measured, the clock goes on."""
        events = self._end_feed()
        if ns <= 0:
            return events
        self._rest(self.now + ns)
        return events + self._dark(ns)

    def set_rate(self, rate: float) -> list[Event]:
        """Take samples at another rate from now on; the open window is counted. SettingError outside 800..50 000 per second."""
        if not MIN_RATE <= rate <= MAX_RATE:
            raise SettingError(f"rate: {rate:g} samples per second is not possible (allowed: {MIN_RATE}..{MAX_RATE})")
        events = self._end_feed()
        self.rate = float(rate)
        self._metrology = Metrology(self.model, self.rate, int(self.settings["wires"]), self.calibration)
        return events

    def _rest(self, now: int) -> None:
        """Stand at `now` with no sample taken."""
        self.now = self._base = now
        self._samples = 0

    def _end_feed(self) -> list[Event]:
        """Count the open window, because no sample will follow; return its events and those that were owed."""
        events, self.owed = self.owed, []
        if self._samples == 0:
            return events
        events += self._count(self._metrology.finish())
        self._rest(self.now)
        self.row[Layout.time] = self.now
        return events

    def _converted(self, samples: NDArray[Any]) -> NDArray[np.float64]:
        if samples.ndim != 2 or samples.shape[1] != 6:
            raise SupplyError(f"samples: shape {samples.shape} is not possible (allowed: n rows of V1 V2 V3 I1 I2 I3)")
        return self._metrology.converted(samples)

    def _feed(self, samples: NDArray[np.float64]) -> list[Event]:
        events, self.owed = self.owed, []
        at = 0
        while at < len(samples):
            second = (self.now // SECOND + 1) * SECOND
            due = max(1, math.ceil((second - self._base) * self.rate / 1e9 - 1e-6) - self._samples)
            block = samples[at : at + due]
            events += self._count(self._metrology.feed(block))
            self._samples += len(block)
            self.now = self._base + round(self._samples * 1e9 / self.rate)
            at += len(block)
            if self.now >= second:
                self._publish()
        return events

    def _publish(self) -> None:
        """Show the second that has passed (decision 31); a meter that has just started shows nothing yet."""
        if self.powered and any(m.whole.any() for m in self._second):
            self.live = combine(self._second, self.model)
            self.live[CT_COLUMNS] *= self.ratio if Page.SETTINGS not in self.store.lost else np.nan
            self._second = []
            self.changes += 1

    def _supplied(self, share: float, ns: int) -> bool:
        """Follow the voltage the meter lives on; tell whether this window is counted (decision 16)."""
        turning = share < self.model.off_below if self.powered else share > self.model.on_above
        self._turning_ns = self._turning_ns + ns if turning else 0
        if self._turning_ns < (self.model.hold_up_ns if self.powered else self.model.start_up_ns):
            return self.powered
        self.powered, self._turning_ns = not self.powered, 0
        self.starts += 1
        self.store.note(Kind.POWER, "on" if self.powered else "off")
        return False

    def _dark(self, ns: int) -> list[Event]:
        """Let time pass in which nothing is measured: the clock goes on, the running record will be incomplete."""
        self._second.clear()
        self.live[:] = np.nan
        self.row[Layout.time] += ns
        periods.turn(self.row)
        self.row[Layout.demand_broken] = 1
        events = self.keep(load_curve.add(self.row, 0, 0, self.period, self.ct))
        on_the_stroke = load_curve.clock_ns(self.row) % (self.period * SECOND) == 0
        self.row[Layout.demand_broken] = 0 if on_the_stroke else 1
        self.changes += 1
        return events

    def _count(self, m: Measurement) -> list[Event]:
        """Count windows that have closed, if any; one by one while the supply is not sure."""
        if len(m) == 0:
            return []
        share = supply_share(m.live, self.model)
        over = self.log.is_over(m.live)
        if over or not self.powered or self._turning_ns > 0 or (share < self.model.off_below).any():
            if len(m) > 1:
                return [event for k in range(len(m)) for event in self._count(m[k : k + 1])]
            if not self._supplied(float(share[0]), m.total_ns):
                return self._dark(m.total_ns)
        if over:
            for told in self.log.overloads(m.live[0]):
                self.store.note(Kind.OVERLOAD, *told)
        self._second.append(m)
        if self.store.lost:
            self.changes += 1
            return []
        records, trains = counting.count(self.row, m, self.model, self.ct, self.period, int(self.settings["wires"]))
        self.changes += 1
        return [*self.keep(records), *trains]

    def keep(self, records: Sequence[Record]) -> list[Event]:
        """Keep records of the load curve that were just closed, here and for the memory."""
        first = int(self.row[Layout.records]) - len(records)
        for number, record in enumerate(records, first):
            self.curve.store(number, record)
            self.store.keep(number, record)
        return [RecordWritten(number, record) for number, record in enumerate(records, first)]

    # what can be seen

    @property
    def ct(self) -> tuple[int, int]:
        """CT primary and secondary in A."""
        return int(self.settings["ct_primary"]), int(self.settings["ct_secondary"])

    @property
    def ratio(self) -> float:
        """CT primary over secondary."""
        primary, secondary = self.ct
        return primary / secondary

    @property
    def clock(self) -> int:
        """Seconds since 2000-01-01 00:00."""
        return (self.now + int(self.row[Layout.clock_zero])) // SECOND

    @property
    def period(self) -> int:
        """Length of the demand period in s."""
        return int(self.settings["demand_period"])

    def __getitem__(self, symbol: str) -> float | int | str | None:
        """Return a quantity in SI units, or a setting; None = not available."""
        if symbol in LIVE_COLUMN:
            value = float(self.live[LIVE_COLUMN[symbol]])
            return None if math.isnan(value) else value
        if symbol in SETTINGS:
            return self.settings[symbol] if Page.SETTINGS not in self.store.lost else None
        quantity = QUANTITIES.get(symbol)
        if quantity is None:
            raise UnknownSymbol(symbol, [*QUANTITIES, *SETTINGS])
        exact = self.exact(symbol)
        if Page.HOT in self.store.lost or (quantity.kind == "demand" and exact < 0):
            return None
        if symbol == "demand.P":  # kept without the CT ratio, as the bus shows it
            return exact * self.ratio / quantity.per_si
        return exact if quantity.per_si == 1 else exact / quantity.per_si

    def nudge_clock(self, ns: int) -> None:
        """Let the clock go wrong by a little, as a drifting one does."""
        self.row[Layout.clock_zero] += ns

    def scale_currents(self, factor: float) -> None:
        """Show currents and powers of another CT ratio, until the next second brings its own."""
        self.live[CT_COLUMNS] *= factor

    def exact(self, symbol: str) -> int:
        """Return a counted quantity as an integer: energies in µWh, µvarh or µVAh, hours in ns, demand in secondary mW."""
        if symbol.startswith("roll."):
            return int(self.row[COUNTED_COLUMN[symbol.removeprefix("roll.")]]) // ROLL_OVER % 256
        if symbol not in COUNTED_COLUMN:
            raise UnknownSymbol(symbol, COUNTED_COLUMN)
        return int(self.row[COUNTED_COLUMN[symbol]])

    @property
    def missing(self) -> tuple[str, ...]:
        """Phases without voltage, of L1 L2 L3 (decision 17); none before there is a measurement."""
        newest = self._second[-1].live[-1] if self._second else self.live
        return missing_phases(newest, self.model, int(self.settings["wires"]))

    @property
    def malfunction(self) -> bool:
        """Whether its metrological files are not those recorded (decision 28), or its memory has lost a page (decision 80)."""
        return self.firmware.malfunction or bool(self.store.lost)

    @property
    def pulses(self) -> int:
        """How many pulses the output has given."""
        return int(self.row[Layout.pulses])

    @property
    def ages(self) -> tuple[float, float]:
        """How long ago the last frame and the last pulse were, in ns of line time."""
        pulse = int(self.row[Layout.pulse_end]) if self.pulses else self.now - SECOND
        return (self.now - self._frame_at) / self.pace, (self.now - pulse) / self.pace

    def saw_frame(self) -> None:
        """Know that a frame of its own was on the bus."""
        self.frames, self._frame_at = self.frames + 1, self.now

    def runs(self, partial: str) -> bool:
        """Tell whether a partial counts."""
        return bool(self.row[Layout.running.start + applying.partial_number(partial)])

    # what changes it

    def tariff_input(self, volts: float) -> None:
        """Put a voltage on terminals 6-7: 0 V is T1, 80..276 V is T2, between 20 and 80 V nothing changes (decision 34)."""
        if volts < _T1_BELOW or volts >= _T2_FROM:
            self.row[Layout.tariff_input] = 1 if volts < _T1_BELOW else 2
            applying.follow_input(self)

    def check(self, commands: Sequence[Command]) -> Refusal | None:
        """Tell why commands cannot be carried out together, the seal and the state before bad values; None if they can."""
        refusals = [refusal for command in commands if (refusal := applying.check(self, command)) is not None]
        return min(refusals, key=lambda refusal: refusal.reason is Reason.VALUE, default=None)

    def apply(self, commands: Sequence[Command], whence: Whence = Whence.HOST) -> Refusal | None:
        """Check all commands, then carry out all of them or none; the event log keeps whence they came."""
        refusal = self.check(commands)
        if refusal is not None:
            return refusal
        for command in commands:
            applying.carry_out(self, command, whence)
        applying.follow_input(self)  # whatever a list sets, the input decides where it is to
        if commands:
            self.changes += 1
        return None

    # the front panel

    def press(self, key: Key, times: int = 1) -> None:
        """Press a key shortly, or several at once (`Key.UP | Key.ENTER`); line time goes on by 0.2 s each time."""
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
        """Return what must be written to the memory since the last call, in order: records, events, settings, hot page."""
        return self.store.writes()

    def save(self) -> bytes:
        """Return the whole memory as an image."""
        return self.store.image()

    @classmethod
    def load(cls, image: bytes, *, rate: float = 8000, firmware: Firmware | None = None, model: Model = E44) -> Meter:
        """Return the meter that a memory belongs to; MemoryImageError where it cannot be read.

        model: what it is taken for where the page that tells it is lost (`store.lost`).
        """
        contents = memory.read(image, model)
        meter = cls(contents.model, rate=rate, firmware=firmware)
        meter.store.take(contents)
        meter.set_rate(rate)  # wires and calibration are in force
        meter._rest(int(meter.row[Layout.time]))
        applying.follow_input(meter)  # of two pages that belong together only one may have landed
        return meter
