"""Feeds meters in step with the clock and keeps their memories in sync, each on a thread of its own.

Rule: one thread feeds all meters, one after the other, spread over the slice; one round saves all memories.
A meter whose source or memory fails stops alone; when none is left, the runner stops.
"""

from __future__ import annotations

import heapq
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Final

from countis.host.running.feeder import Feeder
from countis.host.running.memory_file import MemoryFile
from countis.host.running.publish import Publisher
from countis.words.errors import CountisError

_SLICE, _LONGEST = 0.05, 0.5  # s of host time between feeds of a meter: of a few, of very many
_EACH: Final = 0.002  # s of a slice for each meter; larger feeds cost less a sample
_FEW: Final = 4  # memories that are written without a pause between them
_SYNC: Final = 0.25  # s of host time between syncs of the memories
_JOIN: Final = 0.5  # s to wait for the thread at the end; it may hang on standard input
_SWITCH: Final = 0.0001  # s after which Python lets another thread run, so that no reply waits for a feed

Owned = tuple[Feeder, MemoryFile]


class Runner:
    """Meters with their memories; `owned` pairs them. The main thread calls; two of its own do the work."""

    def __init__(self, owned: Sequence[Owned], publisher: Publisher | None = None) -> None:
        self.owned, self.publisher = tuple(owned), publisher or Publisher()
        self._saving = threading.Lock()  # guards the memories: one round of writes and syncs at a time
        self.ready, self.stopped = threading.Event(), threading.Event()  # values can be read; nothing is fed
        self._broken: BaseException | None = None  # what ended a thread; set by it before `stopped`
        self._slice = min(_LONGEST, max(_SLICE, _EACH * len(self.owned)))
        self._threads = [
            threading.Thread(target=self._guarded, args=(work,), name=name, daemon=True)
            for name, work in (("meter", self._run), ("memory", self._save_rounds))
        ]

    @property
    def ended(self) -> bool:
        """Whether every source has come to its end."""
        return all(feeder.ended for feeder, _ in self.owned)

    @property
    def _idle(self) -> bool:
        """Whether nothing is fed any more."""
        return all(feeder.idle for feeder, _ in self.owned)

    @property
    def failure(self) -> BaseException | None:
        """What ended it all: a fault of its own, or the first meter's if every one has failed or ended."""
        failures = [feeder.failure for feeder, _ in self.owned if feeder.failure is not None]
        return self._broken or (failures[0] if failures and self._idle else None)

    @property
    def troubles(self) -> list[str]:
        """Meters that have failed, each with why."""
        return [f"{feeder.name}: {feeder.failure}" for feeder, _ in self.owned if feeder.failure is not None]

    def start(self) -> None:
        """Begin to feed."""
        sys.setswitchinterval(_SWITCH)
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Stop feeding, count the open windows and save, if it was started; a failed meter is not written."""
        self.stopped.set()
        if self._threads[0].ident is None:
            return
        for thread in self._threads:
            thread.join(timeout=_JOIN)
        if self._broken is None:
            for feeder, _ in self._healthy():
                with self._isolated(feeder), feeder.lock:
                    feeder.meter.advance(0)
            healthy = self._healthy()
            self._save()
            lost = [feeder.failure for feeder, _ in healthy if feeder.failure is not None]
            self._broken = lost[0] if lost else None  # no status line tells of it any more

    def _healthy(self) -> list[Owned]:
        return [(feeder, memory) for feeder, memory in self.owned if feeder.failure is None]

    @contextmanager
    def _isolated(self, feeder: Feeder) -> Iterator[None]:
        """Let what goes wrong in the block be the end of one meter."""
        try:
            yield
        except Exception as error:
            feeder.fail(error)
            if not isinstance(error, CountisError) and len(self.owned) > 1:
                traceback.print_exc()  # a fault of ours, which no status line has room for

    def _guarded(self, work: Callable[[], None]) -> None:
        """Do a thread's work; what ends it is left for the main thread to raise."""
        try:
            work()
        except BaseException as error:
            self._broken = error
        self.stopped.set()

    def _run(self) -> None:
        """Feed each meter when its time has come, until all sources have ended."""
        for feeder, _ in self.owned:
            with self._isolated(feeder):
                feeder.head_start(self.stopped)
        self.ready.set()
        began, share = time.monotonic(), self._slice / max(1, len(self.owned))
        due = [(began + k * share, k) for k in range(len(self.owned))]
        while not (self.stopped.is_set() or self._idle):
            at, k = due[0]
            self.stopped.wait(max(0.0, at - time.monotonic()))
            feeder, next_at = self.owned[k][0], time.monotonic() + self._slice
            if feeder.failure is None:
                with self._isolated(feeder):
                    next_at = feeder.feed_due(self.stopped, self._slice)
            feeder.publish(self.publisher)
            heapq.heapreplace(due, (next_at, k))

    def _save_rounds(self) -> None:
        """Save the memories, whether samples come or not; many are spread over most of a round."""
        pause = 0.8 * _SYNC / len(self.owned) if len(self.owned) > _FEW else 0.0
        while not self.stopped.wait(_SYNC - pause * len(self.owned)):
            self._save(pause)
            if not self._healthy():
                return

    def _save(self, pause: float = 0.0) -> None:
        """Write what has changed, then sync; the meters go on meanwhile. pause: s between two memories."""
        with self._saving:
            for feeder, memory in self._healthy():
                with self._isolated(feeder):
                    with feeder.lock:
                        writes = feeder.meter.writes()
                    memory.write(writes, sync=False)
                feeder.publish(self.publisher)  # of one whose source says nothing, too
                if pause > 0.0:
                    self.stopped.wait(pause)
            healthy = self._healthy()
            if len(healthy) > 1:  # in folders of one disk
                with suppress(CountisError):  # only each can tell which of them the disk has refused
                    healthy[0][1].sync_with_others()
                    return
            for feeder, memory in healthy:
                with self._isolated(feeder):
                    memory.sync()
