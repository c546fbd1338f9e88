"""Feeds a meter in step with the clock and keeps its memory in sync, each on a thread of its own.

Rule: the meter is touched under one lock only; samples are made outside of it.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from numpy.typing import NDArray

from countis.host.memory_file import MemoryFile
from countis.host.sources import Source
from countis.meter import Event, Meter, RecordWritten
from countis.supply.source import Supply

_SLICE: Final = 0.05  # s of host time between feeds
_BRIEF: Final = 0.01  # s of host time between feeds at least
_SYNC: Final = 0.25  # s of host time between syncs of the memory
_PIECE: Final = 1600  # samples fed under the lock at once, so that no request waits long
_BEHIND: Final = 2.0  # s of host time the meter may be late before it lets the rest go
_HEAD_START: Final = 2.5  # s of signal at most that are fed at once, so that there is something to read
_STALE: Final = 2.0  # s without samples after which it is said
_LATEST: Final = 4  # blocks of samples that are kept for whoever looks
_LIGHTS: Final = 64  # flashes and pulses that are kept
_JOIN: Final = 0.5  # s to wait for the thread at the end; it may hang on standard input


class Runner:
    """One meter, its source and its memory, at `speed` times the clock."""

    def __init__(self, meter: Meter, source: Source, memory: MemoryFile, speed: float) -> None:
        self.meter, self.source, self.memory, self.speed = meter, source, memory, speed
        self.lock, self._saving = threading.Lock(), threading.Lock()
        self.ready = threading.Event()  # there are values to read
        self.stopped = threading.Event()
        self.failure: BaseException | None = None
        self.ended = False  # the source has come to its end
        self.reached = speed  # the speed that is kept
        self.latest: deque[NDArray[Any]] = deque(maxlen=_LATEST)  # the last samples
        self.lights: deque[tuple[str, float]] = deque(maxlen=_LIGHTS)  # output and monotonic time of flashes and pulses
        self._wanted: Source | None = None  # what to be fed from instead
        self._last = time.monotonic()
        self._volts = source.tariff_volts
        self._threads = [threading.Thread(target=self._guarded, args=(work,), name=name, daemon=True)
                         for name, work in (("meter", self._run), ("memory", self._keep))]  # fmt: skip

    def start(self) -> None:
        """Begin to feed."""
        for thread in self._threads:
            thread.start()

    def change(self, source: Source) -> None:
        """Feed from another source as soon as may be; a supply goes on where the last one stood in its cycle."""
        self._wanted = source

    def stop(self) -> None:
        """Stop feeding, count the open window and save; nothing is written after a failure."""
        self.stopped.set()
        for thread in self._threads:
            thread.join(timeout=_JOIN)
        if self.failure is None:
            with self.lock:
                self.meter.advance(0)
            self._sync()

    @property
    def notes(self) -> list[str]:
        """What is not as it should be, in a few words."""
        silent = time.monotonic() - self._last
        notes = [f"no samples for {silent:.0f} s"] if silent > _STALE else []
        return notes + ([f"{self.reached:.0f} of {self.speed:g} x"] if self.reached < 0.95 * self.speed else [])

    def _guarded(self, work: Callable[[], None]) -> None:
        """Run a thread's work; the main thread reports what fails."""
        try:
            work()
        except BaseException as error:
            self.failure = error
        self.stopped.set()

    def _run(self) -> None:
        self.ended = not (self._head_start() and self._follow())

    def _keep(self) -> None:
        """Sync the memory, whether samples come or not."""
        while not self.stopped.wait(_SYNC):
            self._sync()

    def _head_start(self) -> bool:
        """Feed until there is something to read; False when the source has ended."""
        left = round(_HEAD_START * self.meter.rate)
        while left > 0 and self.meter["V"] is None and not self.stopped.is_set():
            step = min(left, round(self.meter.rate / 4))
            if not self._feed(step):
                return False
            left -= step
        self.ready.set()
        return True

    def _follow(self) -> bool:
        """Feed what the clock asks for; False when the source has ended.

        A machine that cannot keep up runs slower instead of ever later.
        """
        rate, origin, fed = 0.0, 0.0, 0
        while not self.stopped.is_set():
            self._take_wanted()
            now = time.monotonic()
            if rate != self.speed * self.meter.rate:
                rate, origin, fed = self.speed * self.meter.rate, now, 0
            due = int((now - origin) * rate) - fed
            if due > _BEHIND * rate:
                origin += due / rate - _SLICE
                due = int((now - origin) * rate) - fed
            if due > 0 and not self._feed(due):
                return False
            fed += max(0, due)
            spent = time.monotonic() - now
            self.reached = self.speed if spent < _SLICE else due / self.meter.rate / spent
            stroke = origin + (fed + (1.0 - self.meter.now / 1e9 % 1.0) * self.meter.rate) / rate  # the second is shown on time
            self.stopped.wait(max(0.0, min(now + _SLICE, max(stroke, now + _BRIEF)) - now - spent))
        return True

    def _feed(self, count: int) -> bool:
        """Feed `count` samples in pieces; False when the source has ended."""
        while count > 0 and not self.stopped.is_set():
            block = self.source.read(min(count, _PIECE))
            if len(block) == 0:
                return False
            with self.lock:
                if self.source.tariff_volts != self._volts:
                    self._volts = self.source.tariff_volts
                    self.meter.tariff_input(self._volts)
                events = self.meter.feed(block)
            self.latest.append(block)
            self._show(events)
            self._last = time.monotonic()
            count -= len(block)
        return True

    def _take_wanted(self) -> None:
        """Go over to the source that was asked for."""
        wanted, self._wanted = self._wanted, None
        if wanted is None:
            return
        if isinstance(wanted, Supply) and isinstance(self.source, Supply) and wanted.rate == self.source.rate:
            self.source.follow(wanted)
            return
        with self.lock:
            self.source = wanted
            if wanted.rate != self.meter.rate:
                self._show(self.meter.set_rate(wanted.rate))
        self.latest.clear()

    def _show(self, events: list[Event]) -> None:
        """Keep when flashes and pulses happened, in host time."""
        now = time.monotonic()
        for event in events:
            if not isinstance(event, RecordWritten):
                ago = (self.meter.now - event.on[-_LIGHTS:]) / 1e9 / self.speed
                self.lights.extend((event.output, now - float(seconds)) for seconds in ago)

    def _sync(self) -> None:
        """Write what has changed; the meter goes on meanwhile."""
        with self._saving:
            with self.lock:
                writes = self.meter.writes()
            self.memory.write(writes)
