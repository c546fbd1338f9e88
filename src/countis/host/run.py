"""`countis run`: a plan of one line and one meter, and how that presents itself."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from countis.host.page.routes import page_server
from countis.host.running.console import greeting, status
from countis.host.running.plan import Door, DoorKind, Endpoint, LinePlan, MeterPlan, Plan
from countis.host.running.plant import Plant, run_plan
from countis.host.running.sources import Raw
from countis.models import Model
from countis.serve.access import Access
from countis.serve.tcp_port import MOST_CONNECTIONS
from countis.words.settings import Value

_STREAM_PATIENCE: Final = 2.0  # s for standard input to say something before the ports are announced


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the command line of `run` says; None = not given."""

    model: Model | None
    settings: dict[str, Value]
    data: Path
    serial: str | None
    tcp: Endpoint | None
    rtu_tcp: Endpoint | None
    web: Endpoint | None
    token: str | None
    supply: Path | None
    recording: str | None
    raw: Raw
    speed: float
    ready_file: Path | None
    most: int = MOST_CONNECTIONS
    stale_after: float = math.inf
    keep_silence: bool = False
    access: Access = field(default_factory=Access)
    diagnostics: bool = False
    log: bool = False
    trace: Path | None = None


def plan_of(options: Options, default: Model) -> Plan:
    """Return the plan that the flags of `run` describe; default: of a new memory."""
    doors = (
        (DoorKind.TCP, options.tcp, "--tcp"),
        (DoorKind.RTU_TCP, options.rtu_tcp, "--rtu-tcp"),
        (DoorKind.TLS, options.access.tls_at, "--tls"),
        (DoorKind.SERIAL, options.serial, "--serial"),
    )
    meter = MeterPlan(
        name="", folder=options.data, default=default, model=options.model, settings=options.settings,
        supply=options.supply, recording=options.recording, raw=options.raw, stale_after=options.stale_after,
    )
    asked = tuple(Door(kind, at, option) for kind, at, option in doors if at is not None)
    line = LinePlan(doors=asked, meters=(meter,), keep_silence=options.keep_silence)
    return Plan(
        lines=(line,), data=options.data, web=options.web, token=options.token, speed=options.speed,
        ready_file=options.ready_file, most=options.most, access=options.access, trace=options.trace,
        diagnostics=options.diagnostics, log=options.log,
        patience=_STREAM_PATIENCE if options.recording == "-" else math.inf,
    )


class OneMeter:
    """One meter: its values as the status, lines ready to copy as the greeting."""

    def greeting(self, plant: Plant) -> str:
        """Return where to connect."""
        only = plant.meters[0]
        return greeting(only.meter, self._names(plant), only.memory.path, only.changed)

    def ready(self, plant: Plant) -> Mapping[str, object]:
        """Return model, address and ports."""
        meter = plant.meters[0].meter
        return {"model": meter.model.name, "address": meter.settings["address"], **self._names(plant)}

    def status(self, plant: Plant) -> str:
        """Return what is measured now."""
        feeder = plant.meters[0].feeder
        return status(feeder.snapshot(), plant.requests, [*feeder.notes, *plant.troubles])

    def farewell(self, plant: Plant) -> str:
        """Return how much was played."""
        return f"the recording has ended, {plant.meters[0].feeder.source.seconds:.1f} s were played"

    def _names(self, plant: Plant) -> dict[str, str | None]:
        """Return where each door and the page is, by its name in the ready file; None where there is none."""
        doors = plant.lines[0].doors
        names = {kind.value: doors[kind].name if kind in doors else None for kind in DoorKind}
        return {name: names.get(name, plant.web) for name in ("serial", "tcp", "rtu_tcp", "web", "tls")}


def run(options: Options, default: Model) -> int:
    """Run a meter in this process."""
    return run_plan(plan_of(options, default), OneMeter(), page_server)
