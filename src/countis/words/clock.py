"""The meter's time: ns inside, seconds since 2000-01-01 00:00 where its clock is displayed or set."""

from __future__ import annotations

from typing import Final

import numpy as np

SECOND: Final = 1_000_000_000  # ns
DAY: Final = 86_400 * SECOND
EPOCH: Final = "2000-01-01T00:00:00"  # zero of the meter's clock, without a zone (table V201.255, 50512)
EPOCH_UNIX: Final = 946_684_800  # s; EPOCH in Unix time if the zone is UTC


def text(seconds: int) -> str:
    """Write a time of the meter's clock: `2026-11-23 10:24:05`."""
    return str(np.datetime64(EPOCH, "s") + np.timedelta64(seconds, "s")).replace("T", " ")
