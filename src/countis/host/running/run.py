"""`countis run`: one meter against the clock, with its ports, its supply and its memory.

Rule: everything that can fail is opened before anything is written, and at the end ports are closed before the last sync, so
that nothing that was answered is lost. One thread feeds the meter, one answers each port, asyncio serves the page.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import os
import signal
import ssl
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TextIO

import uvloop

from countis.host.firmware import installed
from countis.host.page.routes import serving
from countis.host.page.station import Station
from countis.host.running.console import EventPrinter, greeting, show, status
from countis.host.running.feeder import Feeder
from countis.host.running.hub import Desk, Hub
from countis.host.running.memory_file import MemoryFile
from countis.host.running.runner import Runner
from countis.host.running.sources import DEFAULT, Raw, Source, open_source, supply_document
from countis.meter.memory.image import VERSION, stale_fragments
from countis.meter.meter import Meter
from countis.models import Model
from countis.serve.access import Access
from countis.serve.serial_port import SerialPort
from countis.serve.tcp_port import MOST_CONNECTIONS, RtuTcpPort, TcpPort, TcpServer, raise_file_limit
from countis.serve.trace_file import hub_of, open_trace
from countis.serve.web.guard import is_local
from countis.words.clock import EPOCH_UNIX
from countis.words.commands import EventKind, Note, Origin, SetDiagnostics, SetSetting, SetTariffInput
from countis.words.errors import MemoryImageError, SettingError
from countis.words.settings import Value

_STREAM_PATIENCE: Final = 2.0  # s for standard input to say something before the ports are announced
_PORTS: Final = ("serial", "tcp", "rtu_tcp", "web", "tls")  # by their names in the ready file
_NEW_CT: Final = (200, 5)  # of a new memory (decision 22)


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line of `run` says; None = not given."""

    model: Model | None
    settings: dict[str, Value]
    data: Path
    serial: str | None
    tcp: tuple[str, int] | None
    rtu_tcp: tuple[str, int] | None
    web: tuple[str, int] | None
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


def local_seconds() -> int:
    """Return the local wall clock in seconds since 2000-01-01 00:00."""
    now = time.time()
    return int(now + time.localtime(now).tm_gmtoff) - EPOCH_UNIX


line_ns: Final = time.monotonic_ns  # line time of meters that run


def meter_of(memory: MemoryFile, model: Model | None, default: Model) -> tuple[Meter, bool]:
    """Return the meter of a memory, as it is now, or a new one; and whether it was stored. MemoryImageError."""
    image = memory.read()
    if image is None:
        return Meter(model or default, firmware=installed(), clock=local_seconds(), line_clock=line_ns,
                     ct_primary=_NEW_CT[0], ct_secondary=_NEW_CT[1]), False
    try:
        meter = Meter.load(image, firmware=installed(), model=model or default, line_clock=line_ns)
    except MemoryImageError as error:
        raise error.inside(memory.path) from None
    if model is not None and meter.model is not model:
        raise MemoryImageError(
            memory.path, f"belongs to an {meter.model.name}", "its model, or another --data"
        )
    meter.advance(memory.age_ns())  # the power was off, the clock went on (decision 55)
    meter.apply([Note(EventKind.POWER, "start")], Origin.METER)
    return meter, True


def begin_memory(memory: MemoryFile, meter: Meter) -> None:
    """Let a memory be what its meter is now: made, freed of what a cut has left, or written anew from an earlier layout."""
    image = memory.read()
    if meter.state.lost:
        return
    if image is None or meter.store.version < VERSION:
        if image is not None:
            meter.apply([Note(EventKind.MEMORY, "layout", str(meter.store.version), str(VERSION))], Origin.METER)
        memory.create(meter.save())
        return
    left = list(stale_fragments(image))
    for name in dict.fromkeys(name for name, _ in left):
        meter.apply([Note(EventKind.MEMORY, name, new="cleaned")], Origin.METER)
    if left:
        memory.write([write for _, write in left])  # synced before anything else, or the next bytes could make them whole
    memory.write(meter.writes())


def open_meter(options: Options, memory: MemoryFile, default: Model) -> tuple[Meter, Source, list[str]]:
    """Return the meter of this memory, new or as it was, its supply, and what the flags changed (decision 36)."""
    meter, stored = meter_of(memory, options.model, default)
    before = dict(meter.settings)
    if not meter.state.lost:  # it takes no command; what is asked for may be what was lost
        refusal = meter.apply([SetSetting(symbol, value) for symbol, value in options.settings.items()])
        if refusal is not None:
            raise refusal.error
    source = open_source(options.supply, options.recording, meter.ratio, meter.clock % 86400, options.raw)
    meter.set_rate(source.rate)
    meter.apply([SetTariffInput(source.tariff_volts)])
    meter.apply([SetDiagnostics(options.diagnostics)])
    changed = [f"{s} {before[s]} -> {v}" for s, v in meter.settings.items() if stored and before[s] != v]
    return meter, source, changed


def write_ready(path: Path, content: dict[str, object] | None) -> None:
    """Write the ready file whole; None takes an old one away, and tells early whether the new one can be written."""
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
        raise SettingError(f"--ready-file {path}", str(error.strerror), "a file that can be written") from None


async def serve(options: Options, default: Model, out: TextIO | None) -> int:
    """Run until a signal or the end of the recording; return the exit code."""
    asked = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, asked.set)
    async with contextlib.AsyncExitStack() as stack:
        memory = MemoryFile(options.data)
        stack.callback(memory.close)
        if options.ready_file is not None:
            write_ready(options.ready_file, None)
        meter, source, changed = open_meter(options, memory, default)
        feeder = Feeder(meter, source, options.speed, stale_after=options.stale_after)
        runner = Runner([(feeder, memory)])
        stack.callback(runner.stop)
        desk = Desk(feeder)
        hub = hub_of([desk], open_trace(stack, options.trace))
        ports = _open_ports(stack, options, hub)
        web = await open_web(stack, options.web, options.token, [Station(feeder, desk, *_wired(options))], runner)
        begin_memory(memory, meter)
        for port in ports.values():
            port.start()
        runner.start()
        await until_ready(runner, asked, _STREAM_PATIENCE if options.recording == "-" else math.inf)
        names = {**dict.fromkeys(_PORTS), **{kind: port.name for kind, port in ports.items()}, "web": web}
        if runner.failure is None and not asked.is_set():
            print(greeting(meter, names, memory.path, changed), file=out, flush=True)
            if options.ready_file is not None:
                about = {"pid": os.getpid(), "model": meter.model.name, "address": meter.settings["address"]}
                write_ready(options.ready_file, {**about, **names, "data": str(options.data)})
            await _watch(runner, feeder, hub, asked, out, EventPrinter([("", meter)] if options.log else []))
        for port in ports.values():
            port.stop()
    if runner.failure is not None:
        raise runner.failure
    if runner.ended:
        print(f"the recording has ended, {source.seconds:.1f} s were played", file=out)
    return 0


def _open_ports(stack: contextlib.AsyncExitStack, options: Options, hub: Hub) -> dict[str, SerialPort | TcpServer]:
    """Open the ports of the bus that are wanted, by their names in the ready file; who may reach them is known before."""
    access = options.access
    hub.policy = access.policy
    raise_file_limit(options.most * sum(at is not None for at in (options.tcp, options.rtu_tcp, access.tls_at)))
    found: dict[str, SerialPort | TcpServer | None] = {
        "tcp": open_port(stack, TcpPort, hub, options.tcp, "--tcp", options.most),
        "rtu_tcp": open_port(stack, RtuTcpPort, hub, options.rtu_tcp, "--rtu-tcp", options.most),
        "tls": open_port(stack, TcpPort, hub, access.tls_at, "--tls", options.most, access.tls),
    }
    if options.serial is not None:
        serial = found["serial"] = SerialPort(hub, options.serial, keep_silence=options.keep_silence)
        stack.callback(serial.close)
    return {name: port for name, port in found.items() if port is not None}


def _wired(options: Options) -> tuple[dict[str, Any] | None, str]:
    """Return the document of the supply, None for a recording, and what it is called."""
    if options.recording is not None:
        return None, "standard input" if options.recording == "-" else Path(options.recording).name
    return supply_document(options.supply), options.supply.name if options.supply is not None else DEFAULT


async def open_web(stack: contextlib.AsyncExitStack, at: tuple[str, int] | None, token: str | None,
                   stations: Sequence[Station], runner: Runner) -> str | None:  # fmt: skip
    """Serve the page, if it is wanted; SettingError where others than this machine could reach it without a token."""
    if at is None:
        return None
    host, port = at
    if token == "":
        raise SettingError("--token", "empty", "a secret, or no --token on loopback")
    if token is None and not is_local(host):
        raise SettingError(
            f"--web {host}:{port}", "reached from elsewhere", "127.0.0.1, localhost, or with --token"
        )
    return await stack.enter_async_context(serving(stations, runner, host, port, token))


def open_port(stack: contextlib.AsyncExitStack, kind: type[TcpPort | RtuTcpPort], hub: Hub, at: tuple[str, int] | None,
              option: str, most: int, tls: ssl.SSLContext | None = None) -> TcpServer | None:  # fmt: skip
    """Open a TCP port, if it is wanted."""
    if at is None:
        return None
    server = TcpServer(hub, kind, at, option, most=most, tls=tls)
    stack.callback(server.close)
    return server


async def until_ready(runner: Runner, asked: asyncio.Event, patience: float) -> None:
    """Wait until there is something to read, or for as long as the source may be silent."""
    deadline = time.monotonic() + patience
    while not (runner.ready.is_set() or runner.stopped.is_set() or asked.is_set()) and time.monotonic() < deadline:
        await asyncio.sleep(0.01)


async def _watch(runner: Runner, feeder: Feeder, hub: Hub, asked: asyncio.Event, out: TextIO | None,
                 events: EventPrinter) -> None:  # fmt: skip
    """Print the status, and what is new in the log, each second until the runner stops or a signal asks for it."""
    while not asked.is_set() and not runner.stopped.is_set():
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asked.wait(), 1.0)
        with feeder.lock:
            text = status(feeder.meter, hub.requests, [*feeder.notes, *hub.troubles])
        events.show()
        show(text, out)
    if out is not None and out.isatty():
        print(file=out)


def run(options: Options, default: Model) -> int:
    """Run a meter in this process."""
    return uvloop.run(serve(options, default, sys.stdout))
