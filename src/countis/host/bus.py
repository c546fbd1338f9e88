"""`countis bus`: a plan of the lines and meters of a site file, and how that presents itself."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from countis.host.page.routes import page_server
from countis.host.running.console import bus_greeting
from countis.host.running.plan import Door, DoorKind, LinePlan, MeterPlan, Plan, Service
from countis.host.running.plant import OpenLine, Plant, run_plan
from countis.host.running.sources import read_text
from countis.modbus.line.cable import UNIT_LOAD, Cable, Disturbance, LineModel
from countis.serve.answering import Speed
from countis.site.site_file import SiteLine, SiteMeter, read_site
from countis.words.notation import endpoint
from countis.words.settings import Value

_SCHEMES: Final = {"rtu+tcp://": DoorKind.RTU_TCP, "tcp://": DoorKind.TCP}
_ADDRESSES: Final = 247  # what is added to a seed that another meter of the site has already


def plan_of(site: Path, pace: bool, service: Service) -> Plan:
    """Return the plan that a site file describes; SiteError or SupplyError where it cannot be used."""
    lines = read_site(read_text(site), str(site))
    seeds = _seeds(lines)
    plans = []
    for line in lines:
        speed = Speed(line.baud, line.parity, line.stop_bits)
        plans.append(LinePlan(
            meters=tuple(_meter(line, m, site.parent, service.data, seeds[m.name]) for m in line.meters),
            doors=tuple(_doors(line, service)), speed=speed, paced=_modelled(line, speed) if pace else None,
        ))
    return Plan(lines=tuple(plans), service=service)


def _seeds(lines: tuple[SiteLine, ...]) -> dict[str, int]:
    """Return a seed for each meter by name: the file's, else its address, raised where another has that."""
    meters = [meter for line in lines for meter in line.meters]
    seeds = {meter.name: meter.seed for meter in meters if meter.seed is not None}
    for meter in meters:
        seed = meter.address
        while meter.name not in seeds and seed in seeds.values():
            seed += _ADDRESSES
        seeds.setdefault(meter.name, seed)
    return seeds


def _meter(line: SiteLine, meter: SiteMeter, supplies: Path, memories: Path, seed: int) -> MeterPlan:
    common: dict[str, Value] = {"baud": line.baud, "parity": line.parity, "stop_bits": line.stop_bits}
    return MeterPlan(
        name=meter.name, folder=memories / meter.name, default=meter.model, model=meter.model,
        settings={**common, **meter.settings}, seed=seed,
        supply=supplies / meter.supply if meter.supply is not None else None,
        stale_after=meter.stale_after if meter.stale_after is not None else math.inf,
        faults=meter.faults, swapped=meter.swapped,
    )


def _doors(line: SiteLine, service: Service) -> Iterator[Door]:
    """Yield where a line is reached: at its target, and with --tls a Modbus TCP line also behind TLS."""
    scheme = next((scheme for scheme in _SCHEMES if line.target.startswith(scheme)), None)
    if scheme is None:
        yield Door(DoorKind.SERIAL, line.target, "line.target")
        return
    at = endpoint(line.target.removeprefix(scheme), "line.target")
    yield Door(_SCHEMES[scheme], at, "line.target")
    if _SCHEMES[scheme] is DoorKind.TCP and service.access.tls_at is not None:
        yield Door(DoorKind.TLS, service.access.tls_at, "--tls")


def _modelled(line: SiteLine, speed: Speed) -> LineModel:
    """Return the model that paces a line."""
    cable = Cable(line.metres, line.terminated, 1.0 + len(line.meters) * UNIT_LOAD, line.echo)
    trouble = Disturbance(noise=line.noise, lost=line.lost, doubled=line.doubled)
    return LineModel(line.baud, speed.bits, cable=cable, troubles=(trouble,), parity=line.parity != "N")


class Bus:
    """Many meters: their number and what is wrong as the status, lines and their speeds as the greeting."""

    def greeting(self, plant: Plant) -> str:
        """Return where the lines are."""
        lines = [(_target(line), _speed_text(line.plan), len(line.plan.meters)) for line in plant.lines]
        changed = [f"{meter.feeder.name}: {text}" for meter in plant.meters for text in meter.changed]
        damaged = [f"{m.feeder.name}: nothing, {note}" for m in plant.meters for note in m.feeder.damage]
        return bus_greeting(lines, plant.web, plant.plan.service.data, [*changed, *damaged])

    def ready(self, plant: Plant) -> Mapping[str, object]:
        """Return the first door of each kind, and all lines with their addresses."""
        first: dict[str, object] = {
            kind.value: next((line.doors[kind].name for line in plant.lines if kind in line.doors), None)
            for kind in (DoorKind.SERIAL, DoorKind.TCP, DoorKind.RTU_TCP)
        }
        lines = [
            {
                "target": _target(line),
                "baud": line.plan.speed.baud if line.plan.speed is not None else None,
                "addresses": [meter.settings["address"] for meter in line.plan.meters],
            }
            for line in plant.lines
        ]
        return {**first, "web": plant.web, "lines": lines}

    def status(self, plant: Plant) -> str:
        """Return counts, and what is wrong."""
        feeders = [meter.feeder for meter in plant.meters]
        damaged = [f"{feeder.name}: {note}" for feeder in feeders for note in feeder.damage]
        late = sum(feeder.late and not feeder.idle for feeder in feeders)
        ended = [f"{feeder.name}: its recording has ended" for feeder in feeders if feeder.ended]
        counts = [f"{len(feeders)} meters", f"{plant.requests} requests"]
        troubles = [*plant.troubles, *plant.runner.troubles, *ended, *damaged]
        return "  ".join([*counts, *troubles, *([f"{late} meters are late"] if late else [])])

    def farewell(self, plant: Plant) -> str:
        """Return why nothing runs any more."""
        return "every source has ended"


def _target(line: OpenLine) -> str:
    """Return where a line is, as a target that a master can be given."""
    for scheme, kind in _SCHEMES.items():
        if kind in line.doors:
            return f"{scheme}{line.doors[kind].name}"
    return line.doors[DoorKind.SERIAL].name


def _speed_text(line: LinePlan) -> str:
    return f"{line.speed.baud} {line.speed.comset}" if line.speed is not None else ""


def run(site: Path, pace: bool, service: Service) -> int:
    """Run a bus in this process."""
    return run_plan(plan_of(site, pace, service), Bus(), page_server)
