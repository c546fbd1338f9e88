"""Feeds one meter from its source at the clock's pace; keeps recent samples and pulses for displays.

Rule: the meter is touched under its lock only; samples are made outside of it.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from typing import Any, Final

from numpy.typing import NDArray

from countis.host.running.publish import Publisher
from countis.host.running.sources import Source
from countis.meter.energy.load_curve import RecordWritten
from countis.meter.meter import Event, Meter
from countis.meter.state import Snapshot, snapshot
from countis.modbus.line.faults import FaultKind, Faults
from countis.supply.source import Supply
from countis.words.clock import SECOND
from countis.words.commands import NudgeClock, SetPace, SetTariffInput

_PIECE: Final = 4000  # samples fed under the lock at once, so that no request waits long
_BEHIND: Final = 2.0  # s of host time the meter may be late before it lets the rest go
_BRIEF: Final = 0.01  # s of host time between feeds at least
_HEAD_START: Final = 2.5  # s of signal at most that are fed at once, so that there is something to read
_STALE: Final = 2.0  # s without samples after which a note says so
_LATEST: Final = 4  # blocks of samples kept for the page
_LIGHTS: Final = 64  # flashes and pulses kept for the page


class Feeder:
    """One meter and its source, at `speed` times the clock. name: of the meter, its identity in this process.

    The feeding thread calls `head_start`, `feed_due` and `publish`; who stops it calls `publish` once more.
    The threads of the memories, the doors and the page call the rest.
    """

    def __init__(
        self, meter: Meter, source: Source, speed: float, *, name: str = "", faults: Faults | None = None,
        stale_after: float = math.inf,
    ) -> None:
        self.meter, self.source, self.speed, self.name = meter, source, speed, name
        # Guards the meter, all in it, and `faults.list` where it is replaced; nobody waits while holding it.
        self.lock = threading.Lock()
        meter.apply([SetPace(speed)])
        self.faults, self.stale_after = faults or Faults(), stale_after
        self.began = time.monotonic_ns()
        # Shared without the lock: each is one value, replaced or appended to in one step.
        self.watched = False  # set by the page: whether `latest` is to be filled
        self.latest: deque[NDArray[Any]] = deque(maxlen=_LATEST)  # samples, filled by the feeding thread
        self.lights: deque[tuple[str, float]] = deque(maxlen=_LIGHTS)  # output, monotonic s; taken by pages
        self.ended = False  # the source has come to its end
        self.failure: Exception | None = None  # of source or memory, set by their threads; fed no more
        self.reached = speed  # how fast the meter really runs
        self._next: Source | None = None  # set by the page: to be fed from instead
        self._last = time.monotonic()  # when samples came
        # Of the feeding thread alone.
        self._volts = source.tariff_volts
        self._rate, self._origin, self._fed = 0.0, 0.0, 0  # samples a second; from when on; since then
        self._publishing = threading.Lock()  # guards what was published: two threads of the runner do
        self._second, self._events = meter.now // SECOND, meter.state.events  # that were published last

    def change_source(self, source: Source) -> None:
        """Feed from another source from the next feed on; between two supplies the phase is continuous."""
        self._next = source

    def fail(self, error: Exception) -> None:
        """Stop for good; the first reason stays."""
        self.failure = self.failure or error

    @property
    def idle(self) -> bool:
        """Whether nothing is fed any more."""
        return self.ended or self.failure is not None

    @property
    def line_now(self) -> int:
        """Line time in ns since the meter began, which its faults go by."""
        return time.monotonic_ns() - self.began

    @property
    def silent(self) -> float:
        """For how many s no samples have come."""
        return time.monotonic() - self._last

    @property
    def stale(self) -> bool:
        """Whether its values are too old to give out: it has failed, or no samples came for too long."""
        if self.failure is not None:
            return True
        fault = self.faults.on(FaultKind.STALE, self.line_now) if self.faults.list else None
        after = self.stale_after if fault is None else min(fault.amount, self.stale_after)
        return after < math.inf and self.silent > after

    @property
    def late(self) -> bool:
        """Whether samples do not come, or not as fast as they should."""
        return self.silent > _STALE or self.reached < 0.95 * self.speed

    @property
    def notes(self) -> list[str]:
        """What is not as it should be, in a few words."""
        if self.failure is not None:
            return [f"failed: {self.failure}"]
        notes = ["its recording has ended"] if self.ended else []
        notes += [f"no samples for {self.silent:.0f} s"] if self.silent > _STALE and not self.ended else []
        notes += [f"{self.reached:.0f} of {self.speed:g} x"] if self.reached < 0.95 * self.speed else []
        return notes + self.damage

    @property
    def damage(self) -> list[str]:
        """Which pages of its memory are lost, in a few words."""
        return [f"memory damaged: {page.name.lower()} page" for page in sorted(self.meter.state.lost)]

    def snapshot(self) -> Snapshot:
        """Return the values of the meter now."""
        with self.lock:
            return snapshot(self.meter.state)

    def head_start(self, stopped: threading.Event) -> None:
        """Feed until there is something to read."""
        left = round(_HEAD_START * self.meter.rate)
        while left > 0 and self.meter["V"] is None and not (stopped.is_set() or self.ended):
            step = min(left, round(self.meter.rate / 4))
            self._feed(step, stopped)
            left -= step

    def feed_due(self, stopped: threading.Event, slice_s: float) -> float:
        """Feed what the clock asks for; return when to come again, in monotonic s: at most a slice later.

        Earlier where a second of the meter ends. A machine that cannot keep up runs slower, not ever later.
        """
        self._take_next()
        now = time.monotonic()
        if self._rate != self.speed * self.meter.rate:
            self._rate, self._origin, self._fed = self.speed * self.meter.rate, now, 0
        due = int((now - self._origin) * self._rate) - self._fed
        if self.faults.on(FaultKind.STALE, self.line_now) is not None:
            self._origin += due / self._rate
            return now + slice_s
        if due > _BEHIND * self._rate:
            self._origin += due / self._rate - slice_s
            due = int((now - self._origin) * self._rate) - self._fed
        if due > 0:
            self._feed(due, stopped)
        self._fed += max(0, due)
        spent = time.monotonic() - now
        self.reached = self.speed if spent < slice_s else due / self.meter.rate / spent
        rest = (1.0 - self.meter.now / 1e9 % 1.0) * self.meter.rate  # samples to the end of its second
        stroke = self._origin + (self._fed + rest) / self._rate
        return min(now + slice_s, max(stroke, now + _BRIEF))

    def publish(self, publisher: Publisher) -> None:
        """Publish the second and the events that have passed since the last call."""
        state = self.meter.state
        if state.now // SECOND == self._second and state.events == self._events:
            return
        with self._publishing:
            with self.lock:
                passed = state.now // SECOND != self._second
                values = snapshot(state) if passed and publisher.has_subscribers else None
                entries = list(state.log.entries(state.events, self._events))
                self._second, self._events = state.now // SECOND, state.events
            for number, entry in entries:
                if entry is not None:
                    publisher.event(self.name, number, entry)
            if values is not None:
                publisher.second(self.name, values)

    def _feed(self, count: int, stopped: threading.Event) -> None:
        """Feed `count` samples in pieces, until the source has ended."""
        while count > 0 and not (stopped.is_set() or self.ended):
            block = self.source.read(min(count, _PIECE))
            self.ended = len(block) == 0
            if self.ended:
                return
            with self.lock:
                if self.source.tariff_volts != self._volts:
                    self._volts = self.source.tariff_volts
                    self.meter.apply([SetTariffInput(self._volts)])
                events = self.meter.feed(block)
                drift = self.faults.on(FaultKind.DRIFT, self.line_now)
                if drift is not None:
                    nudge = len(block) / self.meter.rate * 1e3 * drift.amount
                    self.meter.apply([NudgeClock(round(nudge))])
            if self.watched:
                self.latest.append(block)
            self._keep_lights(events)
            self._last = time.monotonic()
            count -= len(block)

    def _take_next(self) -> None:
        """Go over to the source that was asked for."""
        source, self._next = self._next, None
        if source is None:
            return
        self.ended = False
        if isinstance(source, Supply) and isinstance(self.source, Supply):
            if source.rate == self.source.rate:
                self.source.follow(source)
                return
            source.begin_at(self.source.turns)
        with self.lock:
            self.source = source
            if source.rate != self.meter.rate:
                self._keep_lights(self.meter.set_rate(source.rate))
        self.latest.clear()

    def _keep_lights(self, events: list[Event]) -> None:
        """Keep when flashes and pulses happened, in host time."""
        now = time.monotonic()
        for event in events:
            if not isinstance(event, RecordWritten):
                ago = (self.meter.now - event.on[-_LIGHTS:]) / 1e9 / self.speed
                self.lights.extend((event.output.value, now - float(seconds)) for seconds in ago)
