"""The way out for values: each second and each event of every meter of this process, to its subscribers.

Rule: subscribers are called from the threads that feed and save the meters, for each meter one at a time, and
without the lock of a meter. They return at once; what takes time they hand on to a thread or a loop of their
own. One that fails is reported, and stops neither the others nor a meter.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable
from typing import Protocol

from countis.meter.memory.event_log import Entry
from countis.meter.state import Snapshot


class Subscriber(Protocol):
    """Who is told. name: of the meter, its identity in this process."""

    def on_second(self, name: str, snapshot: Snapshot) -> None:
        """Take the values of a second that has passed in meter time."""

    def on_event(self, name: str, number: int, entry: Entry) -> None:
        """Take an entry of the log; numbers rise by one; skipped is what came faster than the log is long."""


class Publisher:
    """Hands on to its subscribers, of whom the main thread may add more at any time."""

    def __init__(self) -> None:
        self._subscribers: tuple[Subscriber, ...] = ()  # replaced, never changed: reading it needs no lock

    def subscribe(self, subscriber: Subscriber) -> None:
        """Tell one more of everything from now on."""
        self._subscribers = (*self._subscribers, subscriber)

    @property
    def has_subscribers(self) -> bool:
        """Whether there is anybody to tell."""
        return bool(self._subscribers)

    def second(self, name: str, snapshot: Snapshot) -> None:
        """Tell of the values of a second."""
        self._tell(lambda subscriber: subscriber.on_second(name, snapshot))

    def event(self, name: str, number: int, entry: Entry) -> None:
        """Tell of an entry of the event log."""
        self._tell(lambda subscriber: subscriber.on_event(name, number, entry))

    def _tell(self, call: Callable[[Subscriber], None]) -> None:
        for subscriber in self._subscribers:
            try:
                call(subscriber)
            except Exception:
                traceback.print_exc(file=sys.stderr)
