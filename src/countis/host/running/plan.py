"""What is to run: lines with their doors and meters, as values; `run` has one line and one meter, `bus` many.

Rule: everything that the command line and a site file say ends here; plant.py opens it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from countis.host.running.sources import Raw
from countis.modbus.line.cable import LineModel
from countis.modbus.line.faults import Fault
from countis.models import Model
from countis.serve.access import Access
from countis.serve.answering import Speed
from countis.serve.tcp_port import MOST_CONNECTIONS
from countis.words.settings import Value

Endpoint = tuple[str, int]


class DoorKind(Enum):
    """Where masters come in; the values are the names in the ready file."""

    SERIAL = "serial"
    TCP = "tcp"
    RTU_TCP = "rtu_tcp"
    TLS = "tls"


@dataclass(frozen=True, slots=True)
class Door:
    """One way to a line. at: `pty`, a device, or host and port. option: the flag or key that asks for it."""

    kind: DoorKind
    at: str | Endpoint
    option: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MeterPlan:
    """One meter. model: that its memory must be of, None: any; default: of a new memory.

    name: its identity in this process, "" is its model's. supply: None is the workshop; recording: instead.
    """

    name: str
    folder: Path
    default: Model
    model: Model | None = None
    settings: Mapping[str, Value] = field(default_factory=dict)
    supply: Path | None = None
    recording: str | None = None
    raw: Raw = field(default_factory=Raw)
    seed: int | None = None
    faults: tuple[Fault, ...] = ()
    stale_after: float = math.inf
    swapped: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LinePlan:
    """One line. speed: None is that of its meter. paced: the model of a pty. keep_silence: also on a pty."""

    doors: tuple[Door, ...]
    meters: tuple[MeterPlan, ...]
    speed: Speed | None = None
    paced: LineModel | None = None
    keep_silence: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """What a process is asked for beside its meters; `run` and `bus` have the same flags for it."""

    data: Path  # the folder that the ready file names
    web: Endpoint | None = None
    token: str | None = None
    speed: float = 1.0  # meter time to host time
    ready_file: Path | None = None
    most: int = MOST_CONNECTIONS  # on each TCP port
    access: Access = field(default_factory=Access)
    trace: Path | None = None
    diagnostics: bool = False
    log: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """All that one process runs. patience: s to wait for the first values."""

    lines: tuple[LinePlan, ...]
    service: Service
    patience: float = math.inf
