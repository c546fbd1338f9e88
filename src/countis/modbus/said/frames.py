"""A frame on a line: when, where, by whom, and its bytes.

Rule: a frame stands as on RTU: unit, PDU, CRC. A reply stands behind its request; a request without one met
silence.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

import numpy as np

LAST_US: Final = 253_402_300_800_000_000  # the year 10000


class Port(Enum):
    """Where a frame was sent; on TCP it has no CRC, which is added."""

    RTU = "RTU"
    TCP = "TCP"


class Direction(Enum):
    """Who sent it: the master a request, the meter a reply."""

    REQUEST = ">"
    REPLY = "<"


@dataclass(frozen=True, slots=True)
class LineFrame:
    """One frame. time_us: µs since 1970 UTC. frame: at least a byte, as it came over the line."""

    time_us: int
    port: Port
    direction: Direction
    frame: bytes


class Form(Enum):
    """The two formats of a trace, by the ending of the file."""

    TEXT = ".txt"
    PCAPNG = ".pcapng"


def iso(time_us: int) -> str:
    """Return a time as text, UTC with microseconds."""
    return f"{np.datetime64(time_us, 'us')}Z"
