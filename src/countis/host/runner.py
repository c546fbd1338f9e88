"""Feeds a meter in step with the clock and keeps its memory in sync, each on a thread of its own.

Rule: the meter is touched under one lock only; samples are made outside of it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

from countis.host.memory_file import MemoryFile
from countis.host.sources import Source
from countis.meter import Meter

_SLICE: Final = 0.05  # s of host time between feeds
_SYNC: Final = 0.25  # s of host time between syncs of the memory
_PIECE: Final = 1600  # samples fed under the lock at once, so that no request waits long
_BEHIND: Final = 2.0  # s of host time the meter may be late before it lets the rest go
_HEAD_START: Final = 2.5  # s of signal at most that are fed at once, so that there is something to read
_STALE: Final = 2.0  # s without samples after which it is said
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
        self._last = time.monotonic()
        self._volts = source.tariff_volts
        self._threads = [threading.Thread(target=self._guarded, args=(work,), name=name, daemon=True)
                         for name, work in (("meter", self._run), ("memory", self._keep))]  # fmt: skip

    def start(self) -> None:
        """Begin to feed."""
        for thread in self._threads:
            thread.start()

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
        rate = self.speed * self.meter.rate
        origin, fed = time.monotonic(), 0
        while not self.stopped.is_set():
            now = time.monotonic()
            due = int((now - origin) * rate) - fed
            if due > _BEHIND * rate:
                origin += due / rate - _SLICE
                due = int((now - origin) * rate) - fed
            if due > 0 and not self._feed(due):
                return False
            fed += max(0, due)
            spent = time.monotonic() - now
            self.reached = self.speed if spent < _SLICE else due / self.meter.rate / spent
            self.stopped.wait(max(0.0, _SLICE - spent))
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
                self.meter.feed(block)
            self._last = time.monotonic()
            count -= len(block)
        return True

    def _sync(self) -> None:
        """Write what has changed; the meter goes on meanwhile."""
        with self._saving:
            with self.lock:
                writes = self.meter.writes()
            self.memory.write(writes)
