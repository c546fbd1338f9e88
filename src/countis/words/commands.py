"""Everything that changes the meter, as values; keys and Modbus writes end in these.

Rule: `Meter.apply([...])` checks all of them, then carries out all or none, and returns a Refusal or None.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from countis.words.settings import Calibration, Value


@dataclass(frozen=True, slots=True)
class SetSetting:
    """Set one setting."""

    symbol: str
    value: Value


@dataclass(frozen=True, slots=True)
class SetCalibration:
    """Set the constants of the front end."""

    calibration: Calibration


@dataclass(frozen=True, slots=True)
class SelectTariff:
    """Put a tariff, 1..4, in force; only where the tariff is controlled by the bus."""

    tariff: int


@dataclass(frozen=True, slots=True)
class StartPartial:
    """Let a partial count."""

    symbol: str


@dataclass(frozen=True, slots=True)
class StopPartial:
    """Let a partial stand still."""

    symbol: str


@dataclass(frozen=True, slots=True)
class ResetPartials:
    """Set partials to zero; whether they run is not changed."""

    symbols: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SetClock:
    """Set the clock, in seconds since 2000-01-01 00:00."""

    seconds: int


@dataclass(frozen=True, slots=True)
class RewindLoadCurve:
    """Put the read pointer of the load curve before its oldest record."""


@dataclass(frozen=True, slots=True)
class FetchLoadCurve:
    """Take the next records, 29 at most, into the answer of block 61462."""


Command = (
    SetSetting | SetCalibration | SelectTariff | StartPartial | StopPartial | ResetPartials | SetClock
    | RewindLoadCurve | FetchLoadCurve
)  # fmt: skip


class Reason(Enum):
    """Why a command was refused."""

    SEALED = "sealed"
    STATE = "not in this state"
    VALUE = "bad value"


@dataclass(frozen=True, slots=True)
class Refusal:
    """A command that was not carried out, and none of those beside it."""

    reason: Reason
    text: str
