"""The world around the meter, piece by piece in this process: runner, memory file, console and ports."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import io
import os
import resource
import struct
import termios
import threading
import time
import tty
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from countis import E43, E44, Meter, SetClock, SetSetting
from countis.host.running import feeder as feeder_module
from countis.host.running.console import greeting, show, status
from countis.host.running.feeder import Feeder
from countis.host.running.hub import LineHub, MeterPort
from countis.host.running.memory_file import MemoryFile
from countis.host.running.runner import Runner
from countis.host.running.sources import Source
from countis.meter.state import snapshot
from countis.modbus import rtu
from countis.modbus.tcp import Envelope
from countis.serve.tcp_port import RtuTcpRequests, TcpRequests, TcpServer
from countis.supply import three_phase
from countis.words.commands import SetTariffInput
from countis.words.errors import MemoryImageError, SupplyError
from countis.words.quantities import COUNTED
from numpy.typing import NDArray

LONG = 10.0  # s in which nothing that works takes its time
Client = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
Terminal = tuple[io.TextIOWrapper, int]
READ_V1 = struct.pack(">BHH", 3, 50520, 2)
V1 = b"\x03\x04" + struct.pack(">I", 23000)


class Tape:
    """A source of `samples` steady samples, then of what `then` does: nothing more, an error, a pause."""

    rate, tariff_volts, seconds = 8000.0, 0.0, 0.0

    def __init__(self, samples: int = 1 << 40, then: Callable[[], object] = bool, pause: float = 0.0) -> None:
        self._supply, self._left, self._then, self._pause = three_phase(230, 1.0), samples, then, pause

    def read(self, count: int) -> NDArray[np.float64]:
        time.sleep(self._pause)
        if self._left == 0:
            self._then()
        self._left -= (given := min(count, self._left))
        return self._supply.read(given)


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[MemoryFile]:
    """A memory that nobody used yet."""
    file = MemoryFile(tmp_path / "data")
    yield file
    file.close()


def running(source: Source, memory: MemoryFile, speed: float = 20.0) -> Runner:
    """A meter that is fed from a source, once there is something to read or the source is at its end."""
    meter = Meter(E44)
    memory.create(meter.save())
    runner = Runner([(Feeder(meter, source, speed), memory)])
    runner.start()
    until(lambda: runner.ready.is_set() or runner.stopped.is_set())
    return runner


def fed_by(runner: Runner) -> Feeder:
    return runner.owned[0][0]


def until(true: Callable[[], bool], patience: float = 60.0) -> None:
    deadline = time.monotonic() + patience  # the first of all compiles
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def saved(memory: MemoryFile) -> Meter:
    return Meter.load(memory.read() or b"")


def counted(meter: Meter) -> list[int]:
    return [meter.exact(quantity.symbol) for quantity in COUNTED]


# the runner


def test_a_second_at_speed_20_is_20_seconds_of_the_meter(memory: MemoryFile) -> None:
    runner = running(three_phase(230, 1.0), memory)
    began, before = time.monotonic(), fed_by(runner).meter.now
    time.sleep(1.0)
    runner.stop()
    took, passed = time.monotonic() - began, (fed_by(runner).meter.now - before) / 1e9
    assert 20 - 5 <= passed <= 20 * took + 1
    hours = fed_by(runner).meter["hours.T1"]
    assert isinstance(hours, float)
    assert hours * 3600 == pytest.approx(fed_by(runner).meter.now / 1e9, abs=0.3)  # the first cycle finds the frequency
    assert fed_by(runner).meter["Ea+"] == pytest.approx(690 * hours, rel=1e-4)
    assert (runner.failure, runner.ended) == (None, False)
    assert counted(saved(memory)) == counted(fed_by(runner).meter)


def test_stop_may_be_called_again_while_the_memory_is_held(memory: MemoryFile) -> None:
    runner = running(Tape(), memory)
    runner.stop()
    once = counted(fed_by(runner).meter)
    runner.stop()
    assert counted(saved(memory)) == counted(fed_by(runner).meter) == once


def fail() -> None:
    raise SupplyError("", "the tape is torn", "a whole tape")


@pytest.mark.parametrize("samples", [0, 4000, 30_000])
def test_a_source_that_fails_ends_the_run_and_nothing_is_written_after(memory: MemoryFile, samples: int) -> None:
    runner = running(Tape(samples, fail), memory)
    assert runner.stopped.wait(LONG)
    until(lambda: not any(thread.is_alive() for thread in runner._threads))
    before = memory.read()
    runner.stop()
    assert memory.read() == before
    assert isinstance(runner.failure, SupplyError)
    assert str(runner.failure).startswith("the tape is torn")
    assert not runner.ended


@pytest.mark.parametrize("samples", [0, 4000, 30_000])
def test_a_source_that_ends_is_counted_to_its_end(memory: MemoryFile, samples: int) -> None:
    runner = running(Tape(samples), memory)
    assert runner.stopped.wait(LONG)
    runner.stop()
    assert (runner.ended, runner.failure) == (True, None)
    assert fed_by(runner).meter.now == samples * 125_000
    assert saved(memory).now == samples * 125_000


def test_a_disk_that_takes_no_writes_ends_the_run(memory: MemoryFile) -> None:
    runner = Runner([(Feeder(Meter(E44), three_phase(230, 1.0), 1.0), memory)])  # and no file was made
    runner.start()
    assert runner.stopped.wait(60)
    runner.stop()
    assert isinstance(runner.failure, MemoryImageError)


def test_a_source_that_hangs_does_not_hold_the_end(memory: MemoryFile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeder_module, "_STALE", 0.1)
    goes_on = threading.Event()
    runner = running(Tape(30_000, lambda: goes_on.wait(LONG)), memory)
    assert [note for note in fed_by(runner).notes if "no samples" in note] == []
    until(lambda: any(note.startswith("no samples for ") for note in fed_by(runner).notes))
    began = time.monotonic()
    runner.stop()
    assert time.monotonic() - began < LONG / 2
    goes_on.set()
    until(lambda: not any(thread.is_alive() for thread in runner._threads))
    assert saved(memory).now == 30_000 * 125_000


def test_a_speed_that_is_not_reached_is_said(memory: MemoryFile) -> None:
    runner = running(Tape(pause=0.03), memory)
    assert runner.ready.is_set()
    until(lambda: fed_by(runner).notes != [])
    assert fed_by(runner).notes[0].endswith(" of 20 x")
    runner.stop()


# the memory


def test_a_file_is_made_whole(memory: MemoryFile) -> None:
    assert (memory.read(), memory.path.exists()) == (None, False)
    memory.path.with_suffix(".new").write_bytes(b"left by a process that was killed")
    memory.create(b"abcdef")
    assert (memory.read(), memory.path.exists()) == (b"abcdef", True)
    assert sorted(path.name for path in memory.path.parent.iterdir()) == ["meter.fram", "owner"]


def test_writes_are_read_again(memory: MemoryFile) -> None:
    memory.create(bytes(10))
    memory.write([(2, b"ab"), (3, b"cd"), (8, b"")])
    assert memory.read() == b"\0\0acd" + bytes(5)
    assert 0 <= memory.age_ns() < 60e9
    os.utime(memory.path, (time.time() + 1000, time.time() + 1000))
    assert memory.age_ns() == 0


def test_there_is_one_owner(tmp_path: Path) -> None:
    first = MemoryFile(tmp_path)
    with pytest.raises(MemoryImageError, match=rf"in use by process {os.getpid()} \(allowed: "):
        MemoryFile(tmp_path)
    first.close()
    MemoryFile(tmp_path).close()


@pytest.mark.parametrize("place", ["/proc/countis", "file", "file/below", "taken"])
def test_a_folder_that_cannot_be_used(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "taken" / "owner").mkdir(parents=True)
    with pytest.raises(MemoryImageError, match=rf"^/[^\n]*{place.lstrip('/')}: [^\n]+ \(allowed: [^\n]+\)\Z"):
        MemoryFile(tmp_path / place)


def test_a_file_that_cannot_be_read_or_made(memory: MemoryFile) -> None:
    memory.path.mkdir()
    for use in (memory.read, lambda: memory.create(b"abc"), lambda: memory.write([(0, b"abc")])):
        with pytest.raises(MemoryImageError, match=r"^/[^\n]+meter\.fram: [^\n]+ \(allowed: [^\n]+\)\Z"):
            use()


@contextlib.contextmanager
def full_disk() -> Iterator[None]:
    """No file may grow."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_is_told_in_one_line(memory: MemoryFile) -> None:
    memory.create(b"")
    with pytest.raises(MemoryImageError, match="allowed: a disk"), full_disk():
        memory.write([(0, b"abc")])
    with pytest.raises(MemoryImageError, match="allowed: a folder"), full_disk():
        memory.create(b"abc")
    assert memory.read() == b""


def test_a_full_disk_takes_no_owner(tmp_path: Path) -> None:
    with pytest.raises(MemoryImageError, match="allowed: "), full_disk():
        MemoryFile(tmp_path)


# what is printed


def fed(v: float | tuple[float, float, float], i: float, seconds: float = 3.0) -> Meter:
    meter = Meter(E44, ct_primary=200)
    meter.feed(three_phase(v, i), seconds=seconds)
    return meter


@pytest.mark.parametrize(("v", "i", "then"), [
    ((230, 230, 10), 1.0, "requests  L3 missing"), ((230, 0, 0), 1.0, "requests  L2 missing  L3 missing"),
    (230, 0.0, "PF ----  f"), (230, 2.5, "V 230.0 V  I 100.00 A  P 69.00 kW  PF 1.000  f 50.00 Hz  Ea+ 0.05"),
])  # fmt: skip
def test_what_is_missing_is_said(v: float | tuple[float, float, float], i: float, then: str) -> None:
    assert then in status(snapshot(fed(v, i).state), 0)


def test_a_meter_without_power_says_so() -> None:
    dashes = "V ---- V  I ---- A  P ---- kW  PF ----  f ---- Hz  Ea+ 0.00"
    assert status(snapshot(Meter(E44).state), 0).startswith(dashes)
    meter = fed(230, 0.1)
    meter.feed(three_phase(0.0, 0.0), seconds=2)
    assert status(snapshot(meter.state), 0).startswith(dashes)
    assert status(snapshot(meter.state), 0).endswith("0 requests  no power at L1-N")


def test_the_greeting_has_what_is_there() -> None:
    meter = Meter(E43, address=17, parity="E", baud=9600)
    meter.apply([SetClock(86400 + 3600)])
    none: dict[str, str | None] = {"serial": None, "tcp": None, "rtu_tcp": None, "web": None}
    short = greeting(meter, none, Path("/m"), ["address 5 -> 17"]).splitlines()
    assert short == ["countis E43, address 17, CT 5/5, clock 2000-01-02 01:00", "  memory   /m", "  changed  address 5 -> 17"]
    ports = {"serial": "/dev/x", "tcp": "[::1]:502", "rtu_tcp": "127.0.0.1:503", "web": "127.0.0.1:8044"}
    long = greeting(meter, ports, Path("/m"))
    assert "  page     http://127.0.0.1:8044/" in long
    for part in ("RTU      /dev/x  9600 8E1, ", "mbpoll -m rtu -a 17 -b 9600 -P even ", "read tcp://[::1]:502 17 U12"):
        assert part in long
    assert long.endswith("read rtu+tcp://127.0.0.1:503 17")


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    """A terminal of 40 columns to print on, and its other end."""
    master, slave = os.openpty()
    tty.setraw(slave)
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 25, 40, 0, 0))
    with os.fdopen(slave, "w") as out:
        yield out, master
    os.close(master)


@pytest.mark.parametrize("standard", [True, False], ids=["standard output", "another terminal"])
def test_a_line_is_cut_to_its_terminal(terminal: Terminal, monkeypatch: pytest.MonkeyPatch, standard: bool) -> None:
    out, master = terminal
    monkeypatch.delenv("COLUMNS", raising=False)
    with monkeypatch.context() as patch:
        if standard:
            patch.setattr("sys.__stdout__", out)
        show("x" * 100, out)
        show("y", out)
    seen = b""
    while not seen.endswith(b"y"):
        seen += os.read(master, 512)
    assert seen == b"\r\x1b[K" + b"x" * 39 + b"\r\x1b[Ky"


# the ports


def desk() -> At:
    return At([MeterPort(Feeder(fed(230, 1.0), three_phase(230, 1.0), 1.0))])


class At(LineHub):
    """A hub whose answers are never late."""

    @property
    def meter(self) -> Meter:
        return self.ports[0].feeder.meter

    def said(self, envelope: Envelope) -> bytes:
        return self.tcp(envelope).data


def request(number: int, pdu: bytes = READ_V1, unit: int = 5, protocol: int = 0) -> bytes:
    return struct.pack(">HHHB", number, protocol, len(pdu) + 1, unit) + pdu


@pytest.mark.parametrize("unit", [0, 5, 255, 6, 1, 247])
def test_units_that_reach_the_meter(unit: int) -> None:
    at = desk()
    pdu = V1 if unit in (0, 5, 255) else b"\x83\x0b"
    assert at.said(Envelope(300, unit, READ_V1)) == request(300, pdu, unit)
    assert at.requests == 1


def test_a_reply_at_hand_is_the_one_worked_out() -> None:
    at, asked = desk(), Envelope(300, 5, READ_V1)
    assert at.tcp_cached(request(300)) is None
    reply = at.said(asked)
    assert at.tcp_cached(request(300)) == reply
    assert at.tcp_cached(request(301)) == request(301, V1)  # another transaction
    for other in (request(300, unit=6), request(300, protocol=1), request(300)[:-1]):
        assert at.tcp_cached(other) is None
    assert at.requests == 3


MOVES: list[Callable[[Meter], object]] = [
    lambda m: m.apply([SetSetting("ct_primary", 300)]), lambda m: m.apply([SetSetting("address", 6)]),
    lambda m: m.feed(three_phase(200.0, 1.0), seconds=1), lambda m: m.feed(three_phase(0.0, 0.0), seconds=2),
    lambda m: m.advance(1), lambda m: m.apply([SetTariffInput(230.0)]), lambda m: m.set_rate(4000),
]  # fmt: skip


@pytest.mark.parametrize("move", MOVES)
def test_no_reply_is_at_hand_once_anything_moved(move: Callable[[Meter], object]) -> None:
    at = desk()
    reads = [Envelope(1, 5, struct.pack(">BHH", 3, start, 100)) for start in (50512, 36864)]
    for read in reads:
        at.said(read)
    move(at.meter)
    for read in reads:
        told = at.tcp_cached(request(1, read.pdu))
        assert told is None or told == at.said(read)
    again = At([MeterPort(at.ports[0].feeder)])
    assert [at.said(read) for read in reads] == [again.said(read) for read in reads]


@pytest.mark.parametrize("move", MOVES)
def test_no_frame_is_at_hand_once_anything_moved(move: Callable[[Meter], object]) -> None:
    at, frame = desk(), rtu.frame(5, READ_V1)
    assert at.rtu_cached(frame) is None
    assert at.rtu(frame).data == at.rtu_cached(frame) == rtu.frame(5, V1)
    assert at.rtu_cached(rtu.frame(6, READ_V1)) is at.rtu_cached(frame[:-1]) is at.rtu_cached(frame + b"\0") is None
    assert at.requests == 2
    move(at.meter)
    told = at.rtu_cached(frame)
    assert told is None or told == at.rtu(frame).data


def test_a_frame_of_one_kind_is_never_taken_for_one_of_the_other() -> None:
    at, frame = desk(), rtu.frame(5, READ_V1)
    at.rtu(frame)
    at.said(Envelope(300, 5, READ_V1))
    assert at.rtu_cached(frame) is not None
    assert at.tcp_cached(request(300)) is not None
    assert at.tcp_cached(b"\x01\x02" + frame) is None
    assert at.rtu_cached(request(300)[2:]) is None


def test_what_function_8_counts_is_never_cached() -> None:
    at = desk()
    at.meter.state.diagnostics = True
    for _ in range(2):
        at.said(Envelope(1, 5, READ_V1))
        assert at.tcp_cached(request(1)) is None


def test_replies_at_hand_stay_few() -> None:
    at = desk()
    for k in range(5000):
        at.said(Envelope(1, 5, struct.pack(">BHH", 3, 50512 + k % 50, 1 + k // 50)))
    assert len(at.ports[0]._tcp) <= 1000


def test_a_meter_without_power_answers_as_a_gateway_would() -> None:
    at = desk()
    at.meter.feed(three_phase(0.0, 0.0), seconds=2)
    assert at.said(Envelope(1, 5, READ_V1)) == request(1, b"\x83\x0b")
    assert at.said(Envelope(1, 5, b"\x90\x00")) == request(1, b"\x90\x0b")
    assert at.rtu(rtu.frame(5, READ_V1)).data == b""


def on_port(kind: type[TcpRequests | RtuTcpRequests], client: Client, clients: int = 1, **limits: float) -> At:
    """Let clients talk to a port of this process, all at once."""
    at = desk()

    async def one(host: str, port: int) -> None:
        reader, writer = await asyncio.open_connection(host, port)
        await asyncio.wait_for(client(reader, writer), LONG)
        writer.close()
        await writer.wait_closed()

    async def every() -> None:
        server = TcpServer(at, kind, ("127.0.0.1", 0), "--tcp", **limits)  # type: ignore[arg-type]
        server.start()
        host, port = server.name.split(":")
        try:
            await asyncio.gather(*(one(host, int(port)) for _ in range(clients)))
        finally:
            server.close()

    asyncio.run(every())
    return at


TALKS = {
    TcpRequests: (b"".join(request(n) for n in range(3)), b"".join(request(n, V1) for n in range(3))),
    RtuTcpRequests: (3 * rtu.frame(5, READ_V1), 3 * rtu.frame(5, V1)),
}
(SENT, ANSWERED), (FRAMES, FRAMES_ANSWERED) = TALKS.values()
each_kind = pytest.mark.parametrize("kind", TALKS)


def says(sent: bytes, answered: bytes, size: int = 1 << 20, times: int = 1, closes: bool = False) -> Client:
    """A client that sends in pieces and expects an answer, and the end where it is to come."""

    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(times):
            for at in range(0, len(sent), size):
                writer.write(sent[at : at + size])
                await asyncio.sleep(0.001)
            assert await (reader.read(-1) if closes else reader.readexactly(len(answered))) == answered

    return client


@pytest.mark.parametrize("size", [1, 5, 13, 1000])
@each_kind
def test_requests_may_come_split_and_merged(kind: type[TcpRequests | RtuTcpRequests], size: int) -> None:
    assert on_port(kind, says(*TALKS[kind], size)).requests == 3


@each_kind
def test_fifty_masters_at_once(kind: type[TcpRequests | RtuTcpRequests]) -> None:
    assert on_port(kind, says(*TALKS[kind], times=4), 50).requests == 600


def test_another_protocol_is_dropped() -> None:
    assert on_port(TcpRequests, says(request(1, protocol=1) + request(2), request(2, V1))).requests == 1


ENDS: dict[str, tuple[type[TcpRequests | RtuTcpRequests], bytes, bytes]] = {
    "length 0": (TcpRequests, SENT + struct.pack(">HHHB", 9, 0, 0, 5), ANSWERED),
    "length 1": (TcpRequests, SENT + struct.pack(">HHHB", 9, 0, 1, 5), ANSWERED),
    "length 255": (TcpRequests, SENT + struct.pack(">HHHB", 9, 0, 255, 5), ANSWERED),
    "text": (TcpRequests, b"GET / HTTP/1.1\r\n\r\n", b""),
    "noise in RTU": (RtuTcpRequests, FRAMES + b"\x05\x99\x00\x00" + FRAMES, FRAMES_ANSWERED),
    "wrong CRC": (RtuTcpRequests, FRAMES + rtu.frame(5, READ_V1)[:-1] + b"\x00" + FRAMES, FRAMES_ANSWERED),
}


@pytest.mark.parametrize("what", ENDS)
def test_what_cannot_be_framed_closes_after_the_answers_before_it(what: str) -> None:
    kind, sent, answered = ENDS[what]
    on_port(kind, says(sent, answered, closes=True))


def test_a_client_that_reads_late_loses_no_reply() -> None:
    wide = struct.pack(">BHH", 3, 50512, 62)
    sent, answered = (b"".join(request(n, pdu) for n in range(20_000)) for pdu in (wide, fed(230, 1.0).pdu(wide)))
    assert on_port(TcpRequests, says(sent, answered)).requests == 20_000
