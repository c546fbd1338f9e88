"""Days, weeks and months: what was used in the running one and in the one before.

Rule: a period ends when the clock enters another one, forwards or backwards; it becomes "the one before".
"""

from __future__ import annotations

from typing import Final

import numpy as np

from countis.meter.energy.increment import Ints
from countis.meter.energy.registers import Layout
from countis.words.clock import DAY, EPOCH
from countis.words.quantities import PERIODS

_EPOCH: Final = np.datetime64(EPOCH, "D")  # a Saturday
_FIRST_MONTH: Final = int(_EPOCH.astype("M8[M]").astype(np.int64))  # so that a new row stands in month 0
_DAYS_TO_MONDAY: Final = 5  # so that weeks change on Monday (ISO 8601; assumed)


def period_ids(clock_ns: Ints) -> Ints:
    """Return the numbers [..., 3] of day, week and month at a clock in nanoseconds since 2000-01-01."""
    day = clock_ns // DAY
    month = (_EPOCH + day.astype("m8[D]")).astype("M8[M]").astype(np.int64) - _FIRST_MONTH
    return np.stack((day, (day + _DAYS_TO_MONDAY) // 7, month), axis=-1)


def roll_over(row: Ints, lag_ns: int = 0) -> None:
    """Close the periods that the clock has left, looked at `lag_ns` ago.

    Called with 1 before the energy of a window is added and with 0 after, so that a window which ends on the
    stroke of midnight counts to the day that ends.
    """
    clock = row[..., Layout.time] + row[..., Layout.clock_zero] - lag_ns
    if not (clock // DAY != row[..., Layout.period_ids.start]).any():
        return
    ids = period_ids(clock)
    left = ids != row[..., Layout.period_ids]
    values = row[..., Layout.periods].reshape(*row.shape[:-1], len(PERIODS), 2, 2)
    values[..., 1, :] = np.where(left[..., None], values[..., 0, :], values[..., 1, :])
    values[..., 0, :] = np.where(left[..., None], 0, values[..., 0, :])
    row[..., Layout.period_ids] = ids
