"""Opens what a plan says, runs it until a signal or the end of its sources, and closes it.

Rule: what can fail is opened before anything is written, and doors are closed before the last sync, so that
nothing that was answered is lost. One thread feeds all meters, one saves their memories, one answers each
door; the main thread has the loop, which serves the page and prints.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol, TextIO

import uvloop

from countis.host.running.console import EventPrinter, show
from countis.host.running.feeder import Feeder
from countis.host.running.firmware import installed
from countis.host.running.hub import LineHub, MeterPort
from countis.host.running.memory_file import MemoryFile
from countis.host.running.plan import Door, DoorKind, Endpoint, LinePlan, MeterPlan, Plan
from countis.host.running.publish import Publisher
from countis.host.running.runner import Runner
from countis.host.running.sources import open_source, supply_name, supply_plan
from countis.meter.memory.image import VERSION, stale_fragments
from countis.meter.meter import Meter
from countis.modbus.line.faults import Faults
from countis.modbus.table import Table
from countis.models import Model
from countis.serve.answering import Answering
from countis.serve.serial_port import SerialPort
from countis.serve.tcp_port import RtuTcpRequests, TcpRequests, TcpServer, raise_file_limit
from countis.serve.trace_file import Traced, TraceFile
from countis.serve.web.guard import is_local
from countis.words.clock import EPOCH_UNIX
from countis.words.commands import EventKind, Note, Origin, SetDiagnostics, SetSetting, SetTariffInput
from countis.words.errors import MemoryImageError, SettingError

_NEW_CT: Final = (200, 5)  # of a new memory (decision 22)
_FILES_EACH: Final = 3  # a memory, its owner, and one to spare
OpenDoor = SerialPort | TcpServer


@dataclass(frozen=True, slots=True)
class OpenMeter:
    """A meter with its port and its memory. supply: the tables it is fed from, None of a recording.

    changed: what the plan changed of the settings that were stored.
    """

    feeder: Feeder
    port: MeterPort
    memory: MemoryFile
    supply: dict[str, Any] | None
    supply_name: str
    changed: list[str]

    @property
    def meter(self) -> Meter:
        """The meter."""
        return self.feeder.meter


@dataclass(frozen=True, slots=True)
class OpenLine:
    """A line with its doors open; who connects is answered once they are started."""

    plan: LinePlan
    hub: LineHub
    doors: dict[DoorKind, OpenDoor]


@dataclass(frozen=True, slots=True)
class Plant:
    """Everything that is open. web: where the page is."""

    plan: Plan
    lines: list[OpenLine]
    meters: list[OpenMeter]
    runner: Runner
    web: str | None

    @property
    def doors(self) -> list[OpenDoor]:
        """Every door."""
        return [door for line in self.lines for door in line.doors.values()]

    @property
    def requests(self) -> int:
        """How many were answered on all lines."""
        return sum(line.hub.requests for line in self.lines)

    @property
    def troubles(self) -> list[str]:
        """What is wrong with doors."""
        return [text for line in self.lines for text in line.hub.troubles]


# Serves a page of these meters at an endpoint, behind a token if there is one; it gives HOST:PORT.
PageServer = Callable[[Sequence[OpenMeter], Runner, Endpoint, str | None], AbstractAsyncContextManager[str]]


class Face(Protocol):
    """How one command of those that run meters presents itself."""

    def greeting(self, plant: Plant) -> str:
        """Return what is printed when everything answers."""

    def ready(self, plant: Plant) -> Mapping[str, object]:
        """Return what the ready file says."""

    def status(self, plant: Plant) -> str:
        """Return the line that is printed each second."""

    def farewell(self, plant: Plant) -> str:
        """Return what is printed when all sources have come to their end."""


def local_seconds() -> int:
    """Return the local wall clock in seconds since 2000-01-01 00:00."""
    now = time.time()
    return int(now + time.localtime(now).tm_gmtoff) - EPOCH_UNIX


def load_or_create(memory: MemoryFile, model: Model | None, default: Model) -> tuple[Meter, bool]:
    """Return the meter of a memory as it is now, or a new one; and whether it was stored."""
    image, line_clock = memory.read(), time.monotonic_ns
    if image is None:
        primary, secondary = _NEW_CT
        meter = Meter(
            model or default, firmware=installed(), clock=local_seconds(), line_clock=line_clock,
            ct_primary=primary, ct_secondary=secondary,
        )
        return meter, False
    try:
        meter = Meter.load(image, firmware=installed(), model=model or default, line_clock=line_clock)
    except MemoryImageError as error:
        raise error.inside(memory.path) from None
    if model is not None and meter.model is not model:
        wrong = f"belongs to an {meter.model.name}"
        raise MemoryImageError(memory.path, wrong, "its model, or another --data")
    meter.advance(memory.age_ns())  # the power was off, the clock went on (decision 55)
    meter.apply([Note(EventKind.POWER, "start")], Origin.METER)
    return meter, True


def prepare_memory(memory: MemoryFile, meter: Meter) -> None:
    """Let a memory be what its meter is: made, freed of what a cut has left, or in the present layout."""
    if meter.state.lost:
        return
    image = memory.read()
    version = meter.store.version
    if image is None or version < VERSION:
        if image is not None:
            meter.apply([Note(EventKind.MEMORY, "layout", str(version), str(VERSION))], Origin.METER)
        memory.create(meter.save())
        return
    stale = list(stale_fragments(image))
    names = dict.fromkeys(name for name, _ in stale)
    meter.apply([Note(EventKind.MEMORY, name, new="cleaned") for name in names], Origin.METER)
    if stale:
        memory.write([write for _, write in stale])  # synced first, or the next bytes could make them whole
    memory.write(meter.writes())


def _open_meter(plan: Plan, at: MeterPlan, stack: contextlib.AsyncExitStack) -> OpenMeter:
    """Open the memory of a meter, new or as it was; what the plan says is a change (decision 36)."""
    memory = MemoryFile(at.folder)
    stack.callback(memory.close)
    meter, stored = load_or_create(memory, at.model, at.default)
    before = dict(meter.settings)
    if not meter.state.lost:  # it takes no command; what is asked for may be what was lost
        asked = [SetSetting(s, value) for s, value in at.settings.items() if before[s] != value]
        refusal = meter.apply(asked)  # of a sealed meter too, what it is set to already may be said again
        if refusal is not None:
            raise refusal.error.inside(at.name) if at.name else refusal.error
    changed = [f"{s} {before[s]} -> {v}" for s, v in meter.settings.items() if stored and before[s] != v]
    source = open_source(at.supply, at.recording, meter.ratio, meter.clock % 86400, at.raw, at.seed)
    meter.set_rate(source.rate)
    meter.apply([SetTariffInput(source.tariff_volts), SetDiagnostics(plan.service.diagnostics)])
    faults = Faults(at.faults, at.seed if at.seed is not None else 1)
    name = at.name or meter.model.name
    feeder = Feeder(meter, source, plan.service.speed, name=name, faults=faults, stale_after=at.stale_after)
    supply = supply_plan(at.supply) if at.recording is None else None
    document = supply.document if supply is not None and supply.recording is None else None
    port = MeterPort(feeder, swapped=at.swapped)
    return OpenMeter(feeder, port, memory, document, supply_name(at.supply, at.recording), changed)


def _open_door(plan: Plan, line: LinePlan, door: Door, answering: Answering) -> OpenDoor:
    if isinstance(door.at, str):
        return SerialPort(answering, door.at, keep_silence=line.keep_silence, line=line.paced)
    kind = RtuTcpRequests if door.kind is DoorKind.RTU_TCP else TcpRequests
    access, most = plan.service.access, plan.service.most
    tls = access.tls if door.kind is DoorKind.TLS else None
    return TcpServer(answering, kind, door.at, door.option, most=most, tls=tls, policy=access.policy)


def _check_token(web: Endpoint, token: str | None) -> None:
    """Refuse a page that others than this machine could reach without a token; SettingError."""
    host, port = web
    if token == "":
        raise SettingError("--token", "empty", "a secret, or no --token on loopback")
    if token is None and not is_local(host):
        allowed = "127.0.0.1, localhost, or with --token"
        raise SettingError(f"--web {host}:{port}", "reached from elsewhere", allowed)


async def open_plant(plan: Plan, page: PageServer, stack: contextlib.AsyncExitStack) -> Plant:
    """Open everything, to be closed in opposite order; what fails is one line and leaves all as it was."""
    if plan.service.ready_file is not None:
        write_ready(plan.service.ready_file, None)
    doors = sum(door.kind is not DoorKind.SERIAL for line in plan.lines for door in line.doors)
    raise_file_limit(plan.service.most * doors + _FILES_EACH * sum(len(line.meters) for line in plan.lines))
    groups = [[_open_meter(plan, meter, stack) for meter in line.meters] for line in plan.lines]
    meters = [meter for group in groups for meter in group]
    hubs = [
        LineHub([meter.port for meter in group], line.speed, plan.service.access.policy)
        for line, group in zip(plan.lines, groups, strict=True)
    ]
    answering: list[Answering] = [*hubs]
    if plan.service.trace is not None:
        file = TraceFile(plan.service.trace, lambda unit: _table_of(hubs, unit), hubs[0].report)
        stack.callback(file.close)
        answering = [Traced(hub, file) for hub in hubs]
    runner = Runner([(meter.feeder, meter.memory) for meter in meters], Publisher())
    stack.callback(runner.stop)
    lines = [OpenLine(line, hub, {}) for line, hub in zip(plan.lines, hubs, strict=True)]
    for line, behind in zip(lines, answering, strict=True):
        for door in line.plan.doors:
            line.doors[door.kind] = _open_door(plan, line.plan, door, behind)
            stack.callback(line.doors[door.kind].close)
    web = None
    if plan.service.web is not None:
        _check_token(plan.service.web, plan.service.token)
        web = await stack.enter_async_context(page(meters, runner, plan.service.web, plan.service.token))
    return Plant(plan, lines, meters, runner, web)


def _table_of(hubs: Sequence[LineHub], unit: int) -> Table:
    """Return the table that explains frames of a unit: of the first meter with it, or of the first of all."""
    ports = [port for hub in hubs for port in hub.ports]
    port = next((port for port in ports if port.address == unit), ports[0])
    return port.feeder.meter.model.family.table


def write_ready(path: Path, content: Mapping[str, object] | None) -> None:
    """Write the ready file whole; None removes an old one, and fails if a new one could not be written."""
    fresh = path.with_name(path.name + ".new")
    try:
        if content is None:
            path.unlink(missing_ok=True)
            fresh.touch()
            fresh.unlink()
        else:
            fresh.write_text(json.dumps(content) + "\n")
            os.replace(fresh, path)
    except OSError as error:
        raise SettingError(f"--ready-file {path}", error.strerror, "a file that can be written") from None


async def serve(plan: Plan, face: Face, page: PageServer, out: TextIO | None) -> int:
    """Run until a signal, or until nothing is fed any more; return the exit code."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with contextlib.AsyncExitStack() as stack:
        plant = await open_plant(plan, page, stack)
        runner = plant.runner
        for meter in plant.meters:
            prepare_memory(meter.memory, meter.meter)
        for door in plant.doors:
            door.start()
        runner.start()
        await _until_ready(runner, stop, plan.patience)
        if runner.failure is None and not stop.is_set():
            print(face.greeting(plant), file=out, flush=True)
            if plan.service.ready_file is not None:
                ready = {"pid": os.getpid(), **face.ready(plant), "data": str(plan.service.data)}
                write_ready(plan.service.ready_file, ready)
            await _watch(plant, face, stop, out)
        for door in plant.doors:
            door.stop()
    if runner.failure is not None:
        raise runner.failure
    if runner.ended:
        print(face.farewell(plant), file=out)
    return 0


async def _until_ready(runner: Runner, stop: asyncio.Event, patience: float) -> None:
    """Wait until there is something to read, or for as long as the source may be silent."""
    deadline, over = time.monotonic() + patience, (runner.ready, runner.stopped, stop)
    while not any(event.is_set() for event in over) and time.monotonic() < deadline:
        await asyncio.sleep(0.01)


async def _watch(plant: Plant, face: Face, stop: asyncio.Event, out: TextIO | None) -> None:
    """Print the status and the events each second, until the runner stops or a signal comes."""
    runner, events = plant.runner, EventPrinter(len(plant.meters) > 1)
    if plant.plan.service.log:
        runner.publisher.subscribe(events)
    while not stop.is_set() and not runner.stopped.is_set():
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), 1.0)
        events.show()
        show(face.status(plant), out)
    if out is not None and out.isatty():
        print(file=out)


def run_plan(plan: Plan, face: Face, page: PageServer) -> int:
    """Run a plan in this process; return the exit code."""
    return int(uvloop.run(serve(plan, face, page, sys.stdout)))
