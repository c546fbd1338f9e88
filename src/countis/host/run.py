"""`countis run`: one meter against the clock, with its ports, its supply and its memory.

Rule: the meter is touched under one lock only. One thread feeds it, one answers the serial line, asyncio answers TCP.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TextIO

from countis.commands import SetClock, SetSetting
from countis.errors import MemoryImageError, SettingError
from countis.host.memory_file import MemoryFile
from countis.host.ports import Desk, RtuTcpPort, SerialPort, TcpPort, listen
from countis.host.sources import Source, open_source
from countis.meter import Meter
from countis.models import Model
from countis.settings import Value

_SLICE: Final = 0.05  # s of host time between feeds
_SYNC: Final = 0.25  # s of host time between syncs of the memory
_PIECE: Final = 1600  # samples fed under the lock at once, so that no request waits long
_STARTS_PER_SECOND: Final = 4
_STARTS: Final = 10
_BEHIND: Final = 2.0  # s of host time the meter may be late before it lets the rest go
_EPOCH: Final = 946_684_800  # 2000-01-01 in Unix time
_NEW_CT: Final[dict[str, Value]] = {"ct_primary": 200, "ct_secondary": 5}  # of a new memory (decision 22)


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line of `run` says; None = not given."""

    model: Model | None
    settings: dict[str, Value]
    data: Path
    serial: str | None
    tcp: tuple[str, int] | None
    rtu_tcp: tuple[str, int] | None
    supply: Path | None
    recording: str | None
    rate: float | None
    v_scale: float
    i_scale: float
    speed: float
    ready_file: Path | None


def local_seconds() -> int:
    """Return the local wall clock in seconds since 2000-01-01 00:00."""
    now = time.time()
    return int(now + time.localtime(now).tm_gmtoff) - _EPOCH


def open_meter(options: Options, memory: MemoryFile, default: Model) -> tuple[Meter, Source]:
    """Return the meter of this memory, new or as it was, with the flags applied as changes (decision 36), and its supply."""
    image = memory.read()
    try:
        stored = Meter.load(image) if image is not None else None
    except MemoryImageError as error:
        raise MemoryImageError(f"{memory.path}: {error}") from None
    model = options.model or (stored.model if stored is not None else default)
    if stored is not None and stored.model is not model:
        raise MemoryImageError(f"{memory.path}: belongs to an {stored.model.name} (allowed: its model, or another --data)")
    settings = dict(options.settings) if stored is not None else {**_NEW_CT, **options.settings}
    meter = stored or Meter(model)
    refusal = meter.apply([SetSetting(symbol, value) for symbol, value in settings.items()])
    if refusal is not None:
        raise SettingError(refusal.text)
    clock = meter.clock + memory.age_ns() // 10**9 if stored is not None else local_seconds()
    source = open_source(
        options.supply, options.recording, meter.ratio, clock % 86400, options.rate, options.v_scale, options.i_scale
    )
    meter.set_rate(source.rate)
    meter.apply([SetClock(clock)])
    meter.tariff_input(source.tariff_volts)
    return meter, source


class Runner:
    """Feeds the meter in step with the clock and keeps its memory in sync, on a thread of its own."""

    def __init__(self, meter: Meter, source: Source, memory: MemoryFile, speed: float) -> None:
        self.meter, self.source, self.memory, self.speed = meter, source, memory, speed
        self.lock = threading.Lock()
        self.stopped = threading.Event()
        self.failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="meter", daemon=True)

    def start(self) -> None:
        """Feed until there is something to read, two seconds at most, then follow the clock."""
        for _ in range(_STARTS):
            if self.meter["V"] is None:
                self._feed(round(self.meter.rate / _STARTS_PER_SECOND))
        self._thread.start()

    def stop(self) -> None:
        """Stop feeding and save."""
        self.stopped.set()
        self._thread.join(timeout=2.0)  # it may be waiting for standard input
        self._sync()

    def _run(self) -> None:
        try:
            self._follow()
        except BaseException as error:  # the main thread reports it
            self.failure = error
        self.stopped.set()

    def _follow(self) -> None:
        """Feed what the clock asks for; a machine that cannot keep up runs slower instead of ever later."""
        origin, fed, synced = time.monotonic(), 0, 0.0
        while not self.stopped.is_set():
            now = time.monotonic()
            due = int((now - origin) * self.speed * self.meter.rate) - fed
            if due > _BEHIND * self.speed * self.meter.rate:
                skipped = due - int(_SLICE * self.speed * self.meter.rate)
                origin += skipped / (self.speed * self.meter.rate)
                due -= skipped
            if due > 0 and not self._feed(due):
                return
            fed += max(0, due)
            if now - synced >= _SYNC:
                self._sync()
                synced = now
            self.stopped.wait(max(0.0, _SLICE - (time.monotonic() - now)))

    def _feed(self, count: int) -> bool:
        """Feed `count` samples in pieces; False when the source has ended."""
        while count > 0 and not self.stopped.is_set():
            block = self.source.read(min(count, _PIECE))
            if len(block) == 0:
                return False
            with self.lock:
                self.meter.feed(block)
            count -= len(block)
        return True

    def _sync(self) -> None:
        with self.lock:
            writes = self.meter.writes()
        self.memory.write(writes)


def _shown(value: object, digits: int, unit: str) -> str:
    return f"---- {unit}" if not isinstance(value, int | float) else f"{value:.{digits}f} {unit}"


def status(meter: Meter, requests: int) -> str:
    """Return the line that `run` prints each second."""
    power, energy = meter["P"], meter["Ea+"]
    kilo = power / 1000 if isinstance(power, float) else None
    return "  ".join((
        f"V {_shown(meter['V'], 1, 'V')}", f"I {_shown(meter['I'], 2, 'A')}", f"P {_shown(kilo, 2, 'kW')}",
        f"PF {_shown(meter['PF'], 3, '')}".rstrip(), f"f {_shown(meter['f'], 2, 'Hz')}",
        f"Ea+ {energy / 1000 if isinstance(energy, float) else 0:.2f} kWh", f"T{meter['tariff']}", f"{requests} requests",
        *(f"{phase} missing" for phase in meter.missing),
    ))  # fmt: skip


def greeting(meter: Meter, serial: str | None, tcp: str | None, rtu_tcp: str | None, memory: Path) -> str:
    """Return what `run` prints when everything answers: where to connect, and lines ready to copy."""
    s = meter.settings
    address, baud = s["address"], s["baud"]
    parity = {"N": "none", "E": "even", "O": "odd"}[str(s["parity"])]
    read = "-0 -1 -t 4:int -B -r 50514 -c 3"  # U12, U23, U31
    lines = [f"countis {meter.model.name}, address {address}, CT {s['ct_primary']}/{s['ct_secondary']}, memory {memory}"]
    if serial is not None:
        lines.append(f"  RTU   {serial}  {baud} 8{s['parity']}{s['stop_bits']}")
        lines.append(f"        mbpoll -m rtu -a {address} -b {baud} -P {parity} {read} {serial}")
    if tcp is not None:
        host, port = tcp.rsplit(":", 1)
        lines.append(f"  TCP   {tcp}")
        lines.append(f"        mbpoll -m tcp -p {port} -a {address} {read} {host}")
        lines.append(f"        countis read tcp://{tcp} {address} U12 V1 I1 P PF f Ea+")
    if rtu_tcp is not None:
        lines.append(f"  RTU over TCP   {rtu_tcp}")
        lines.append(f"        countis read rtu+tcp://{rtu_tcp} {address}")
    return "\n".join(lines)


def _write_ready(path: Path, content: dict[str, object]) -> None:
    fresh = path.with_name(path.name + ".new")
    fresh.write_text(json.dumps(content) + "\n")
    os.replace(fresh, path)


def _endpoint(server: asyncio.Server | None) -> str | None:
    if server is None:
        return None
    host, port = server.sockets[0].getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


async def serve(options: Options, default: Model, out: TextIO) -> int:
    """Run until a signal or the end of the recording; return the exit code."""
    asked = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, asked.set)
    with contextlib.ExitStack() as stack:
        memory = MemoryFile(options.data)
        stack.callback(memory.close)
        meter, source = open_meter(options, memory, default)
        runner = Runner(meter, source, memory, options.speed)
        desk = Desk(meter, runner.lock)
        ports = ((TcpPort, options.tcp, "--tcp"), (RtuTcpPort, options.rtu_tcp, "--rtu-tcp"))
        servers = [await listen(kind, desk, *at, option) if at is not None else None for kind, at, option in ports]
        line = SerialPort(desk, options.serial) if options.serial is not None else None
        if line is not None:
            stack.callback(line.close)
        if memory.exists():
            memory.write(meter.writes())
        else:
            memory.create(meter.save())
        runner.start()
        stack.callback(runner.stop)
        tcp, rtu_tcp = map(_endpoint, servers)
        print(greeting(meter, line.name if line else None, tcp, rtu_tcp, memory.path), file=out, flush=True)
        if options.ready_file is not None:
            _write_ready(options.ready_file, {
                "pid": os.getpid(), "model": meter.model.name, "address": meter.settings["address"],
                "serial": line.name if line else None, "tcp": tcp, "rtu_tcp": rtu_tcp, "web": None, "data": str(options.data),
            })  # fmt: skip
        await _watch(runner, desk, asked, out)
        for server in servers:
            if server is not None:
                server.close()
    if runner.failure is not None:
        raise runner.failure
    return 0


async def _watch(runner: Runner, desk: Desk, asked: asyncio.Event, out: TextIO) -> None:
    """Print the status each second until the runner stops or a signal asks for it."""
    rewrite = out.isatty()
    while not asked.is_set() and not runner.stopped.is_set():
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asked.wait(), 1.0)
        with runner.lock:
            text = status(runner.meter, desk.requests)
        print(f"\r\x1b[K{text}" if rewrite else text, end="" if rewrite else "\n", file=out, flush=True)
    if rewrite:
        print(file=out)


def run(options: Options, default: Model) -> int:
    """Run a meter in this process."""
    return asyncio.run(serve(options, default, sys.stdout))
