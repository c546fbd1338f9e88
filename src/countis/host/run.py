"""`countis run`: a plan of one line and one meter, and how that presents itself."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final

from countis.host.page.routes import page_server
from countis.host.running.console import greeting, status
from countis.host.running.plan import Door, DoorKind, LinePlan, MeterPlan, Plan, Service
from countis.host.running.plant import Plant, run_plan

_STREAM_PATIENCE: Final = 2.0  # s for standard input to say something before the ports are announced


def plan_of(meter: MeterPlan, doors: Sequence[Door], keep_silence: bool, service: Service) -> Plan:
    """Return the plan of one meter on a line of its own."""
    if service.access.tls_at is not None:
        doors = (*doors, Door(DoorKind.TLS, service.access.tls_at, "--tls"))
    line = LinePlan(doors=tuple(doors), meters=(meter,), keep_silence=keep_silence)
    patience = _STREAM_PATIENCE if meter.recording == "-" else math.inf
    return Plan(lines=(line,), service=service, patience=patience)


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


def run(meter: MeterPlan, doors: Sequence[Door], keep_silence: bool, service: Service) -> int:
    """Run a meter in this process."""
    return run_plan(plan_of(meter, doors, keep_silence, service), OneMeter(), page_server)
