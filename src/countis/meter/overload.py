"""Overload: which channels are beyond what the meter measures with accuracy (decision 44).

Rule: follows windows one by one and says what begins and what ends; a channel that was beyond its limit is
over again a little below.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from countis.meter.energy.increment import Floats
from countis.models import Model
from countis.words.quantities import LIVE_COLUMN
from countis.words.settings import CHANNELS

_COLUMNS: Final = [LIVE_COLUMN[channel] for channel in CHANNELS]
_RELEASE: Final = 0.98  # of the limit, below which it is over; assumed


class Overload:
    """The channels V1 V2 V3 I1 I2 I3 of one meter. Values are V and secondary A."""

    def __init__(self, model: Model) -> None:
        self._rated = np.repeat((model.v_max, model.i_max), 3)
        self._named = np.repeat((model.v_overload, model.i_overload), 3)  # from here on it is named overload
        self._over = np.zeros(len(CHANNELS), bool)

    def is_over(self, windows: Floats) -> bool:
        """Tell whether any channel is beyond its limit, or was, in windows [n, LIVE]."""
        return bool(self._over.any()) or bool((windows[:, _COLUMNS] > self._rated).any())

    def follow(self, window: Floats) -> Iterator[tuple[str, str, str]]:
        """Take one window [LIVE]; give what begins or ends as channel, old and new text."""
        values = window[_COLUMNS]
        over = np.where(self._over, values > _RELEASE * self._rated, values > self._rated)
        for k in np.flatnonzero(over != self._over).tolist():
            unit, decimals = ("V", 1) if k < 3 else ("A", 2)
            text = f"{values[k]:.{decimals}f} {unit}"
            named = f"overload {values[k]:.0f} {unit}" if values[k] > self._named[k] else text
            yield CHANNELS[k], "" if over[k] else text, named if over[k] else ""
        self._over = over
