"""Everything that changes the meter, as values; keys, Modbus writes and the host end in these.

Rule: `Meter.apply([...])` checks all of them, then carries out all or none, and returns a Refusal or None. A command says
itself whether the open window of samples is closed first, and whether a meter with a damaged memory takes it.
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
    """What the event log tells of; the numbers are those in the memory."""

    POWER = 1  # off, on; start: the meter was loaded from its memory
    OVERLOAD = 2  # a channel went beyond what is measured with accuracy, or came back
    SETTING = 3  # the seal and the calibration too
    CLOCK = 4  # s since 2000-01-01
    RESET = 5  # a partial, in Wh, varh or VAh
    TARIFF = 6
    MEMORY = 7  # a damaged copy or what a cut had left was taken away
    FAULTS = 8  # faults on purpose, switched on or off


class _Command:
    """What commands say of themselves; these are the rule, and a few say otherwise."""

    __slots__ = ()
    needs_memory: ClassVar[bool] = True

    @property
    def closes_window(self) -> bool:
        """Whether the samples of before are counted before it is carried out."""
        return False


@dataclass(frozen=True, slots=True)
class SetSetting(_Command):
    """Set one setting."""

    symbol: str
    value: Value

    @property
    def closes_window(self) -> bool:
        """Whether energy is rated by this setting."""
        return setting(self.symbol).rates


@dataclass(frozen=True, slots=True)
class SetCalibration(_Command):
    """Set the constants of the front end."""

    calibration: Calibration

    @property
    def closes_window(self) -> bool:
        """The window that is open was measured with the constants of before."""
        return True


@dataclass(frozen=True, slots=True)
class SelectTariff(_Command):
    """Put a tariff, 1..4, in force; only where the tariff is controlled by the bus."""

    tariff: int


@dataclass(frozen=True, slots=True)
class SetTariffInput(_Command):
    """Put a voltage on terminals 6-7: 0 V is T1, 80..276 V is T2, between 20 and 80 V nothing changes (decision 34)."""

    needs_memory: ClassVar[bool] = False
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
    """Set partials to zero; whether they run is not changed."""

    symbols: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SetClock(_Command):
    """Set the clock, in seconds since 2000-01-01 00:00."""

    seconds: int


@dataclass(frozen=True, slots=True)
class NudgeClock(_Command):
    """Let the clock go wrong by some ns, as a drifting one does; nothing is noted of it."""

    needs_memory: ClassVar[bool] = False
    ns: int


@dataclass(frozen=True, slots=True)
class RewindLoadCurve(_Command):
    """Put the read pointer of the load curve before its oldest record."""



@dataclass(frozen=True, slots=True)
class FetchLoadCurve(_Command):
    """Take the next records, 29 at most, into the answer of block 61462."""



@dataclass(frozen=True, slots=True)
class SetPace(_Command):
    """Tell the panel how much faster than its own time the meter is fed; what is counted does not depend on it."""

    needs_memory: ClassVar[bool] = False
    pace: float


@dataclass(frozen=True, slots=True)
class SetDiagnostics(_Command):
    """Switch functions 8 and 43/14 on or off, which the device does not have."""

    needs_memory: ClassVar[bool] = False
    on: bool


@dataclass(frozen=True, slots=True)
class Note(_Command):
    """Put an entry into the event log of what befell the meter from outside; texts are cut to 16 characters."""

    needs_memory: ClassVar[bool] = False
    kind: EventKind
    subject: str
    old: str = ""
    new: str = ""


Command = (
    SetSetting | SetCalibration | SelectTariff | SetTariffInput | StartPartial | StopPartial | ResetPartials
    | SetClock | NudgeClock | RewindLoadCurve | FetchLoadCurve | SetPace | SetDiagnostics | Note
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
    where: str
    wrong: str
    allowed: str

    @property
    def error(self) -> SettingError:
        """What to raise where a refusal is the end of it."""
        return SettingError(self.where, self.wrong, self.allowed)


Apply = Callable[[Sequence[Command], Origin], Refusal | None]  # all of a list or none, as Meter.apply
