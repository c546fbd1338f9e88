"""The event log: what happened to the meter beside counting; bounded, and kept in its memory.

Rule: an entry is a value with the time of the meter's clock, its texts short enough for a layout to hold them. Overload is
followed here too, since nothing but the log knows of it (decision 44).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from countis.models import E44
from countis.words.quantities import LIVE_COLUMN
from countis.words.settings import CHANNELS

CAPACITY: Final = 512  # entries that are kept; assumed
TEXT: Final = 16  # characters of a text at most
COLUMNS: Final = [LIVE_COLUMN[channel] for channel in CHANNELS]
BEYOND: Final = np.array([E44.v_max] * 3 + [E44.i_max] * 3)  # V and secondary A, of both models
OVERLOAD: Final = np.array([300.0] * 3 + [E44.i_clip] * 3)  # from here on it is named overload (decision 44)
_BACK: Final = 0.98  # of the limit, below which it is over; assumed


class Kind(IntEnum):
    """What happened."""

    POWER = 1  # off, on; start: the meter was loaded from its memory
    OVERLOAD = 2  # a channel went beyond what is measured with accuracy, or came back
    SETTING = 3  # the seal and the calibration too
    CLOCK = 4  # s since 2000-01-01
    RESET = 5  # a partial, in Wh, varh or VAh
    TARIFF = 6
    MEMORY = 7  # a damaged copy or what a cut had left was taken away
    FAULTS = 8  # faults on purpose, switched on or off


class Whence(IntEnum):
    """Who did it."""

    METER = 0
    KEYS = 1
    BUS = 2
    HOST = 3  # flags, site file, page, Python


@dataclass(frozen=True, slots=True)
class Entry:
    """One event. time: s since 2000-01-01 of the meter's clock. old, new: as text, "" where there is none."""

    time: int
    kind: Kind
    whence: Whence
    subject: str
    old: str = ""
    new: str = ""


class EventLog:
    """The last entries, by number from 0."""

    def __init__(self) -> None:
        self._ring: list[Entry | None] = [None] * CAPACITY
        self._over = np.zeros(len(CHANNELS), bool)

    def store(self, number: int, entry: Entry | None) -> None:
        """Keep an entry in its place; None is one that was lost."""
        self._ring[number % CAPACITY] = entry

    def entries(self, written: int) -> Iterator[tuple[int, Entry | None]]:
        """Give those that are kept of `written` ever, with their numbers, oldest first."""
        for number in range(max(0, written - CAPACITY), written):
            yield number, self._ring[number % CAPACITY]

    def is_over(self, windows: NDArray[np.float64]) -> bool:
        """Tell whether any channel is beyond its limit, or was, in windows [n, LIVE] of secondary values."""
        return bool(self._over.any()) or bool((windows[:, COLUMNS] > BEYOND).any())

    def overloads(self, window: NDArray[np.float64]) -> Iterator[tuple[str, str, str]]:
        """Follow one window; give what begins or ends as channel, old and new text."""
        values = window[COLUMNS]
        over = np.where(self._over, values > _BACK * BEYOND, values > BEYOND)
        for k in np.flatnonzero(over != self._over).tolist():
            text = f"{values[k]:.1f} V" if k < 3 else f"{values[k]:.2f} A"
            named = f"overload {values[k]:.0f} {'V' if k < 3 else 'A'}" if values[k] > OVERLOAD[k] else text
            yield CHANNELS[k], "" if over[k] else text, named if over[k] else ""
        self._over = over

