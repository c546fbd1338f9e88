"""The event log: what happened to the meter beside counting; bounded, and kept in its memory.

Rule: an entry is a value with the time of the meter's clock, its texts short enough for a layout to hold
them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from countis.words.commands import EventKind, Origin

CAPACITY: Final = 512  # entries that are kept; assumed
TEXT: Final = 16  # characters of a text at most


@dataclass(frozen=True, slots=True)
class Entry:
    """One event. time: s since 2000-01-01 of the meter's clock. old, new: as text, "" where there is none."""

    time: int
    kind: EventKind
    origin: Origin
    subject: str
    old: str = ""
    new: str = ""


class EventLog:
    """The last entries, by number from 0."""

    def __init__(self) -> None:
        self._ring: list[Entry | None] = [None] * CAPACITY

    def store(self, number: int, entry: Entry | None) -> None:
        """Keep an entry in its place; None is one that was lost."""
        self._ring[number % CAPACITY] = entry

    def entries(self, written: int, first: int = 0) -> Iterator[tuple[int, Entry | None]]:
        """Give those that are kept of `written` ever, with their numbers from `first` on, oldest first."""
        for number in range(max(first, written - CAPACITY), written):
            yield number, self._ring[number % CAPACITY]
