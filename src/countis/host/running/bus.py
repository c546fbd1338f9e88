"""`countis bus`: up to 247 meters on each line of a site file, in one process.

Rule: as `run`, everything that can fail is opened before anything is written. One thread feeds all meters, one syncs their
memories, one answers each serial line and each TCP port; asyncio serves the page.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TextIO

import uvloop

from countis.host.page.station import Station
from countis.host.running.console import EventPrinter, bus_greeting, show
from countis.host.running.feeder import Feeder, damage
from countis.host.running.hub import Desk, Hub
from countis.host.running.memory_file import MemoryFile
from countis.host.running.run import begin_memory, meter_of, open_port, open_web, until_ready, write_ready
from countis.host.running.runner import Runner
from countis.host.running.sources import DEFAULT, Raw, open_source, read_text, supply_document
from countis.modbus.line.cable import UNIT_LOAD, Cable, Disturbance, Line
from countis.modbus.line.faults import Faults
from countis.serve.access import Access
from countis.serve.serial_port import SerialPort, bits_of
from countis.serve.tcp_port import RtuTcpPort, TcpPort, TcpServer, raise_file_limit
from countis.serve.trace_file import hub_of, open_trace
from countis.site.line import parse_endpoint
from countis.site.site_file import LinePlan, MeterPlan, read_site
from countis.words.commands import SetDiagnostics, SetSetting, SetTariffInput
from countis.words.settings import Value

_FILES_EACH: Final = 3  # a memory, its owner, and one to spare


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line of `bus` says."""

    site: Path
    data: Path
    pace: bool
    web: tuple[str, int] | None
    token: str | None
    most: int
    diagnostics: bool
    speed: float
    ready_file: Path | None
    trace: Path | None
    access: Access
    log: bool


@dataclass(frozen=True, slots=True)
class _Seat:
    """A meter that is opened, with its memory and what the file changed of it."""

    station: Station
    memory: MemoryFile
    changed: list[str]


def _open_meter(options: Options, line: LinePlan, plan: MeterPlan, stack: contextlib.AsyncExitStack) -> _Seat:
    """Open the memory of a meter, new or as it was; what the file says is a change (decision 36)."""
    memory = MemoryFile(options.data / plan.name)
    stack.callback(memory.close)
    meter, stored = meter_of(memory, plan.model, plan.model)
    speed: dict[str, Value] = {"baud": line.baud, "parity": line.parity, "stop_bits": line.stop_bits}
    wanted = {s: v for s, v in {**speed, **plan.settings}.items() if meter.settings[s] != v}
    changed = [f"{plan.name}: {s} {meter.settings[s]} -> {v}" for s, v in wanted.items()] if stored else []
    if meter.state.lost:
        changed = [f"{plan.name}: nothing, {note}" for note in damage(meter)]
    elif (refusal := meter.apply([SetSetting(symbol, value) for symbol, value in wanted.items()])) is not None:
        raise refusal.error.inside(plan.name)
    meter.apply([SetDiagnostics(options.diagnostics)])
    supply = options.site.parent / plan.supply if plan.supply is not None else None
    seed = plan.seed if plan.seed is not None else plan.address
    source = open_source(supply, None, meter.ratio, meter.clock % 86400, Raw(), seed)
    meter.set_rate(source.rate)
    meter.apply([SetTariffInput(source.tariff_volts)])
    stale_after = plan.stale_after if plan.stale_after is not None else math.inf
    feeder = Feeder(meter, source, options.speed, faults=Faults(plan.faults, seed), stale_after=stale_after)
    desk = Desk(feeder, swapped=plan.swapped)
    named = supply.name if supply is not None else DEFAULT
    return _Seat(Station(feeder, desk, supply_document(supply), named, plan.name), memory, changed)


def _modelled(plan: LinePlan) -> Line:
    """Return the model that paces a line."""
    units = 1.0 + len(plan.meters) * UNIT_LOAD
    cable = Cable(plan.metres, plan.terminated, units, plan.echo)
    trouble = Disturbance(noise=plan.noise, lost=plan.lost, doubled=plan.doubled)
    bits = bits_of((plan.baud, plan.parity, plan.stop_bits))
    return Line(plan.baud, bits, cable=cable, troubles=(trouble,), parity=plan.parity != "N")


def _open_line(options: Options, plan: LinePlan, hub: Hub,
               stack: contextlib.AsyncExitStack) -> tuple[str, list[TcpServer | SerialPort]]:  # fmt: skip
    """Open where a line is reached; return its name and its ports."""
    for scheme, kind in (("rtu+tcp://", RtuTcpPort), ("tcp://", TcpPort)):
        if plan.target.startswith(scheme):
            at, access = parse_endpoint(plan.target.removeprefix(scheme), "line.target"), options.access
            ports = [open_port(stack, kind, hub, at, "line.target", options.most)]
            if kind is TcpPort:
                ports.append(open_port(stack, kind, hub, access.tls_at, "--tls", options.most, access.tls))
            found = [port for port in ports if port is not None]
            return f"{scheme}{found[0].name}", [*found]
    port = SerialPort(hub, plan.target, line=_modelled(plan) if options.pace else None)
    stack.callback(port.close)
    return port.name, [port]


async def serve(options: Options, out: TextIO | None) -> int:
    """Run until a signal; return the exit code."""
    plans = read_site(read_text(options.site), str(options.site))
    count = sum(len(plan.meters) for plan in plans)
    raise_file_limit(2 * options.most * len(plans) + _FILES_EACH * count)  # a port and one behind TLS for each line
    asked = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, asked.set)
    async with contextlib.AsyncExitStack() as stack:
        if options.ready_file is not None:
            write_ready(options.ready_file, None)
        rows = [[_open_meter(options, plan, meter, stack) for meter in plan.meters] for plan in plans]
        seats = [seat for row in rows for seat in row]
        file = open_trace(stack, options.trace)
        hubs = [hub_of([seat.station.desk for seat in row], file, (plan.baud, plan.parity, plan.stop_bits))
                for plan, row in zip(plans, rows, strict=True)]  # fmt: skip
        for hub in hubs:
            hub.policy = options.access.policy
        runner = Runner([(seat.station.feeder, seat.memory) for seat in seats])
        stack.callback(runner.stop)
        opened = [_open_line(options, plan, hub, stack) for plan, hub in zip(plans, hubs, strict=True)]
        web = await open_web(stack, options.web, options.token, [seat.station for seat in seats], runner)
        for seat in seats:
            begin_memory(seat.memory, seat.station.meter)
        for _, ports in opened:
            for port in ports:
                port.start()
        runner.start()
        await until_ready(runner, asked, math.inf)
        if runner.failure is None and not asked.is_set():
            _announce(options, plans, [name for name, _ in opened], web, seats, out)
            named = [(f"{seat.station.name}  ", seat.station.meter) for seat in seats] if options.log else []
            await _watch(runner, hubs, seats, asked, out, EventPrinter(named))
        for _, ports in opened:
            for port in ports:
                port.stop()
    if runner.failure is not None:
        raise runner.failure
    return 0


def _announce(options: Options, plans: Sequence[LinePlan], names: list[str], web: str | None, seats: Sequence[_Seat],
              out: TextIO | None) -> None:  # fmt: skip
    """Print where everything is, and write the ready file."""
    told = [(name, f"{p.baud} 8{p.parity}{p.stop_bits}", len(p.meters)) for name, p in zip(names, plans, strict=True)]
    print(bus_greeting(told, web, options.data, [text for seat in seats for text in seat.changed]), file=out, flush=True)
    if options.ready_file is None:
        return
    lines = [{"target": name, "baud": plan.baud, "addresses": [meter.address for meter in plan.meters]}
             for name, plan in zip(names, plans, strict=True)]  # fmt: skip
    serial = next((name for name in names if not name.startswith(("tcp://", "rtu+tcp://"))), None)
    tcp = next((name.removeprefix("tcp://") for name in names if name.startswith("tcp://")), None)
    rtu_tcp = next((name.removeprefix("rtu+tcp://") for name in names if name.startswith("rtu+tcp://")), None)
    write_ready(options.ready_file, {"pid": os.getpid(), "serial": serial, "tcp": tcp, "rtu_tcp": rtu_tcp, "web": web,
                                     "lines": lines, "data": str(options.data)})  # fmt: skip


async def _watch(runner: Runner, hubs: Sequence[Hub], seats: Sequence[_Seat], asked: asyncio.Event, out: TextIO | None,
                 events: EventPrinter) -> None:  # fmt: skip
    """Print how it goes, and what is new in the logs, each second until the runner stops or a signal asks for it."""
    while not asked.is_set() and not runner.stopped.is_set():
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asked.wait(), 1.0)
        events.show()
        damaged = [f"{seat.station.name}: {note}" for seat in seats for note in damage(seat.station.meter)]
        late = sum(seat.station.feeder.late for seat in seats)
        troubles = [text for hub in hubs for text in hub.troubles] + damaged + ([f"{late} meters are late"] if late else [])
        show("  ".join([f"{len(seats)} meters", f"{sum(hub.requests for hub in hubs)} requests", *troubles]), out)
    if out is not None and out.isatty():
        print(file=out)


def run(options: Options) -> int:
    """Run a bus in this process."""
    return uvloop.run(serve(options, sys.stdout))
