"""Everything that changes the meter, as values; keys, Modbus writes and the host all end in these.

Rule: `Meter.apply([...])` checks all of a list, then carries out all or none, and returns a Refusal or None.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum, IntEnum
from typing import ClassVar

from countis.words.errors import SettingError
from countis.words.settings import Calibration, Value, setting


class Origin(IntEnum):
    """Who gave a command, as the event log and the memory keep it."""

    METER = 0
    KEYS = 1
    BUS = 2
    HOST = 3  # flags, site file, page, Python


class EventKind(IntEnum):
    """What an entry of the event log is about; the numbers are those in the memory."""

    POWER = 1  # off, on; start: the meter was loaded from its memory
    OVERLOAD = 2  # a channel went beyond what is measured with accuracy, or came back
    SETTING = 3  # the seal and the calibration too
    CLOCK = 4  # s since 2000-01-01
    RESET = 5  # a partial, in Wh, varh or VAh
    TARIFF = 6
    MEMORY = 7  # a damaged copy, or the rest of an interrupted write, was removed
    FAULTS = 8  # faults on purpose, switched on or off


class _Command:
    """What holds for commands in general.

    needs_memory: a meter with a damaged memory refuses it. closes_window: samples so far are counted first.
    """

    __slots__ = ()
    needs_memory: ClassVar[bool] = True

    @property
    def closes_window(self) -> bool:
        return False


class _WithoutMemory(_Command):
    """A command that a meter with a damaged memory takes too."""

    __slots__ = ()
    needs_memory: ClassVar[bool] = False


@dataclass(frozen=True, slots=True)
class SetSetting(_Command):
    """Set one setting."""

    symbol: str
    value: Value

    @property
    def closes_window(self) -> bool:
        return setting(self.symbol).rates


@dataclass(frozen=True, slots=True)
class SetCalibration(_Command):
    """Set the constants of the front end; the open window was measured with those before."""

    calibration: Calibration

    @property
    def closes_window(self) -> bool:
        return True


@dataclass(frozen=True, slots=True)
class SelectTariff(_Command):
    """Put a tariff, 1..4, in force; only where the bus controls the tariff."""

    tariff: int


@dataclass(frozen=True, slots=True)
class SetTariffInput(_WithoutMemory):
    """Put a voltage on terminals 6-7: 0 V is T1, 80..276 V is T2; 20..80 V changes nothing (decision 34)."""

    volts: float


@dataclass(frozen=True, slots=True)
class StartPartial(_Command):
    """Let a partial count."""

    symbol: str


@dataclass(frozen=True, slots=True)
class StopPartial(_Command):
    """Let a partial stand still."""

    symbol: str


@dataclass(frozen=True, slots=True)
class ResetPartials(_Command):
    """Set partials to zero; those that run go on running."""

    symbols: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SetClock(_Command):
    """Set the clock, in seconds since 2000-01-01 00:00."""

    seconds: int


@dataclass(frozen=True, slots=True)
class NudgeClock(_WithoutMemory):
    """Move the clock by some ns, as drift does; the event log does not note it."""

    ns: int


@dataclass(frozen=True, slots=True)
class RewindLoadCurve(_Command):
    """Put the read pointer of the load curve before its oldest record."""


@dataclass(frozen=True, slots=True)
class FetchLoadCurve(_Command):
    """Take the next records, 29 at most, into the answer of block 61462."""


@dataclass(frozen=True, slots=True)
class SetPace(_WithoutMemory):
    """Tell the panel how many times faster than real time the meter is fed; counting ignores it."""

    pace: float


@dataclass(frozen=True, slots=True)
class SetDiagnostics(_WithoutMemory):
    """Switch functions 8 and 43/14, which the device does not have, on or off."""

    on: bool


@dataclass(frozen=True, slots=True)
class Note(_WithoutMemory):
    """Put an event from outside the meter into its log; texts are cut to 16 characters."""

    kind: EventKind
    subject: str
    old: str = ""
    new: str = ""


Command = (
    SetSetting | SetCalibration | SelectTariff | SetTariffInput | StartPartial | StopPartial | ResetPartials
    | SetClock | NudgeClock | RewindLoadCurve | FetchLoadCurve | SetPace | SetDiagnostics | Note
)


class Reason(Enum):
    """Why a command was refused."""

    SEALED = "sealed"
    STATE = "not in this state"
    VALUE = "bad value"


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why no command of a list was carried out; where, wrong, allowed: as in SettingError."""

    reason: Reason
    where: str
    wrong: str
    allowed: str

    @property
    def error(self) -> SettingError:
        """The refusal as an exception."""
        return SettingError(self.where, self.wrong, self.allowed)


Apply = Callable[[Sequence[Command], Origin], Refusal | None]  # as Meter.apply: all of a list, or none
