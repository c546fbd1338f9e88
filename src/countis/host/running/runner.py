"""Feeds meters in step with the clock and keeps their memories in sync, each on a thread of its own.

Rule: one thread feeds all meters, one after the other, spread over the slice; one sync round serves all memories.
"""

from __future__ import annotations

import heapq
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import Final

from countis.host.running.feeder import Feeder
from countis.host.running.memory_file import MemoryFile, sync_all

_SLICE, _LONGEST = 0.05, 0.5  # s of host time between feeds of a meter: of a few, of very many
_EACH: Final = 0.002  # s of a slice for each meter; what is fed at once costs less for each sample
_FEW: Final = 4
_SYNC: Final = 0.25  # s of host time between syncs of the memories
_JOIN: Final = 0.5  # s to wait for the thread at the end; it may hang on standard input
_SWITCH: Final = 0.0001  # s after which Python lets another thread run, so that no reply waits for what is fed


class Runner:
    """Meters with their memories; `owned` pairs them."""

    def __init__(self, owned: Sequence[tuple[Feeder, MemoryFile]]) -> None:
        self.owned = tuple(owned)
        self._saving = threading.Lock()
        self.ready = threading.Event()  # there are values to read
        self.stopped = threading.Event()
        self.failure: BaseException | None = None
        self._slice = min(_LONGEST, max(_SLICE, _EACH * len(self.owned)))
        self._threads = [threading.Thread(target=self._guarded, args=(work,), name=name, daemon=True)
                         for name, work in (("meter", self._run), ("memory", self._keep))]  # fmt: skip

    @property
    def ended(self) -> bool:
        """Whether every source has come to its end."""
        return all(feeder.ended for feeder, _ in self.owned)

    def start(self) -> None:
        """Begin to feed."""
        sys.setswitchinterval(_SWITCH)
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Stop feeding, count the open windows and save; nothing is written after a failure, or where nothing has begun."""
        self.stopped.set()
        if self._threads[0].ident is None:
            return
        for thread in self._threads:
            thread.join(timeout=_JOIN)
        if self.failure is None:
            for feeder, _ in self.owned:
                with feeder.lock:
                    feeder.meter.advance(0)
            self._sync()

    def _guarded(self, work: Callable[[], None]) -> None:
        """Run a thread's work; the main thread reports what fails."""
        try:
            work()
        except BaseException as error:
            self.failure = error
        self.stopped.set()

    def _run(self) -> None:
        """Feed each meter when its time has come, until all sources have ended."""
        for feeder, _ in self.owned:
            feeder.head_start(self.stopped)
        self.ready.set()
        began, share = time.monotonic(), self._slice / len(self.owned)
        due = [(began + k * share, k) for k in range(len(self.owned))]
        while not (self.stopped.is_set() or self.ended):
            at, k = due[0]
            self.stopped.wait(max(0.0, at - time.monotonic()))
            heapq.heapreplace(due, (self.owned[k][0].follow(self.stopped, self._slice), k))

    def _keep(self) -> None:
        """Sync the memories, whether samples come or not; of many, one after the other over most of a round."""
        pause = 0.8 * _SYNC / len(self.owned) if len(self.owned) > _FEW else 0.0
        while not self.stopped.wait(_SYNC - pause * len(self.owned)):
            self._sync(pause)

    def _sync(self, pause: float = 0.0) -> None:
        """Write what has changed, in one sync round; the meters go on meanwhile."""
        with self._saving:
            for feeder, memory in self.owned:
                with feeder.lock:
                    writes = feeder.meter.writes()
                memory.write(writes, sync=False)
                if pause > 0.0:
                    self.stopped.wait(pause)
            sync_all([memory for _, memory in self.owned])
