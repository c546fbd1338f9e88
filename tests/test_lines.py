"""The master's side of the cable against servers and ports that misbehave: lines, bus and reading plan."""

from __future__ import annotations

import contextlib
import os
import random
import select
import socket
import struct
import threading
import time
import tty
from collections.abc import Callable, Iterator

import pytest
from countis import E43, E44, Bus, Meter, SelectTariff, SetClock
from countis.meter.slave import identity
from countis.modbus import rtu
from countis.modbus.table import SIZE, Functions
from countis.site import plan
from countis.site.plan import plan_of
from countis.supply import three_phase
from countis.words.errors import BadReply, BusError, NoReply, Refused
from countis.words.quantities import COUNTED, COUNTED_COLUMN, QUANTITIES, QuantityKind
from countis.words.settings import SETTINGS
from hypothesis import given, settings
from hypothesis import strategies as st

from tables import BLOCKS, TABLE

PLAN = plan_of(TABLE)

UNIT, START = 5, 50520
PATIENCE = 0.25  # s, the time-out of the lines that are to wait in vain
LONG = 5.0  # s in which nothing that works takes its time
Answer = Callable[[bytes], bytes]
Talk = Callable[[socket.socket], None]
each_kind = pytest.mark.parametrize("kind", ["tcp", "rtu+tcp"])


@contextlib.contextmanager
def served(kind: str, *talks: Talk, timeout: float = LONG) -> Iterator[tuple[Bus, list[socket.socket]]]:
    """A bus to a server whose n-th connection is held by the n-th talk, and its connections; they stay open to the end."""
    accepted: list[socket.socket] = []
    threads: list[threading.Thread] = []

    def hold() -> None:
        with contextlib.suppress(OSError):
            connection, _ = listening.accept()
            accepted.append(connection)
            if len(accepted) < len(talks):
                threads.append(threading.Thread(target=hold))
                threads[-1].start()
            talks[accepted.index(connection)](connection)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        threads.append(threading.Thread(target=hold))
        threads[0].start()
        try:
            with Bus.open(f"{kind}://127.0.0.1:{listening.getsockname()[1]}", timeout=timeout) as bus:
                yield bus, accepted
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            for thread in threads:
                thread.join()
            for connection in accepted:
                connection.close()


def take(connection: socket.socket) -> bytes:
    """The next request; it comes in one piece."""
    if request := connection.recv(512):
        return request
    raise OSError("gone")


def read(bus: Bus) -> list[int]:
    return bus.read_words(UNIT, START, 2)


def says(*answers: Answer) -> Talk:
    """Answer one request after the other."""

    def talk(connection: socket.socket) -> None:
        for answer in answers:
            connection.sendall(answer(take(connection)))

    return talk


def words(*values: int) -> bytes:
    """The PDU of a reply to a read."""
    return struct.pack(f">BB{len(values)}H", 3, 2 * len(values), *values)


def reply(kind: str, pdu: bytes) -> Answer:
    """Put a PDU in the envelope that the request asks for."""
    if kind == "rtu+tcp":
        return lambda request: rtu.frame(request[0], pdu)
    return lambda request: struct.pack(">2sHHB", request[:2], 0, len(pdu) + 1, request[6]) + pdu


def right(kind: str) -> Talk:
    return says(reply(kind, words(7, 8)))


def header(transaction: int = 0, protocol: int = 0, length: int = 0, unit: int = 0, pdu: bytes = words(7, 8)) -> Answer:
    """Answer in Modbus TCP with something added to the fields of the header."""
    return lambda request: struct.pack(
        ">HHHB", int.from_bytes(request[:2], "big") + transaction, protocol, len(pdu) + 1 + length, request[6] + unit
    ) + pdu  # fmt: skip


# late and spoilt replies


@each_kind
def test_a_late_reply_is_not_taken_for_the_next(kind: str) -> None:
    given_up, sent_late = threading.Event(), threading.Event()

    def late(connection: socket.socket) -> None:
        request = take(connection)
        given_up.wait(LONG)
        connection.sendall(reply(kind, words(1, 1))(request))
        sent_late.set()

    with served(kind, late, right(kind), timeout=PATIENCE) as (bus, accepted):
        with pytest.raises(NoReply):
            read(bus)
        given_up.set()
        assert sent_late.wait(LONG)
        assert read(bus) == [7, 8]
        assert len(accepted) == 2


@each_kind
def test_a_reply_that_comes_twice_is_not_taken_for_the_next(kind: str) -> None:
    """A second copy lies there before the next request is sent: an error or the right answer, never the old value."""
    sent_twice = threading.Event()

    def twice(connection: socket.socket) -> None:
        connection.sendall(2 * reply(kind, words(1, 1))(take(connection)))
        sent_twice.set()
        connection.sendall(reply(kind, words(7, 8))(take(connection)))

    with served(kind, twice, right(kind), timeout=1.0) as (bus, _):
        assert read(bus) == [1, 1]
        assert sent_twice.wait(LONG)
        with contextlib.suppress(BusError):
            assert read(bus) == [7, 8]


SPOILT: dict[str, tuple[str, Answer]] = {
    "another transaction": ("tcp", header(transaction=1)),
    "another unit": ("tcp", header(unit=1)),
    "another function": ("tcp", header(pdu=b"\x04" + words(7, 8)[1:])),
    "an exception of another function": ("tcp", header(pdu=b"\x90\x02")),
    "another protocol": ("tcp", header(protocol=1)),
    "length 0": ("tcp", header(length=-7)),
    "length 1": ("tcp", header(length=-6)),
    "length 255": ("tcp", header(length=248)),
    "length 65535": ("tcp", header(length=65528)),
    "wrong CRC": ("rtu+tcp", lambda request: rtu.frame(request[0], words(7, 8))[:-1] + b"\x00"),
    "another address": ("rtu+tcp", lambda request: rtu.frame(request[0] + 1, words(7, 8))),
    "another function in RTU": ("rtu+tcp", lambda request: rtu.frame(request[0], b"\x06" + words(7, 8)[1:5])),
    "an unknown function in RTU": ("rtu+tcp", lambda request: rtu.frame(request[0], b"\x41\x00")),
    "text": ("rtu+tcp", lambda _: b"HTTP/1.1 400 Bad Request\r\n\r\n" * 8),
    "text for Modbus TCP": ("tcp", lambda _: b"HTTP/1.1 400 Bad Request\r\n\r\n"),
}


@pytest.mark.parametrize("what", SPOILT)
def test_a_spoilt_reply_is_refused_and_the_next_is_asked_anew(what: str) -> None:
    kind, answer = SPOILT[what]
    with served(kind, says(answer), right(kind)) as (bus, accepted):
        with pytest.raises(BadReply):
            read(bus)
        assert read(bus) == [7, 8]
        assert len(accepted) == 2


@each_kind
@pytest.mark.parametrize(("kept", "asked"), [(0, False), (0, True), (1, True), (3, True), (7, True), (8, True)])
def test_a_server_that_closes_early_has_not_replied(kind: str, kept: int, asked: bool) -> None:
    """Within its reply, or before it was asked; the next is asked on a new connection."""

    def cut(connection: socket.socket) -> None:
        if asked:
            connection.sendall(reply(kind, words(7, 8))(take(connection))[:kept])
        connection.shutdown(socket.SHUT_RDWR)

    with served(kind, cut, right(kind)) as (bus, _):
        with pytest.raises(NoReply if asked else BusError):
            read(bus)
        assert read(bus) == [7, 8]


def drips(answer: Answer, pause: float) -> Talk:
    def talk(connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in answer(take(connection)):
            connection.sendall(bytes((byte,)))
            time.sleep(pause)

    return talk


@each_kind
def test_a_reply_may_come_byte_by_byte(kind: str) -> None:
    with served(kind, drips(reply(kind, words(7, 8)), 0.002)) as (bus, _):
        assert read(bus) == [7, 8]


@each_kind
def test_the_time_out_is_for_the_whole_reply(kind: str) -> None:
    """A byte now and then does not prolong it."""
    with served(kind, drips(reply(kind, words(*range(120))), 0.05), timeout=PATIENCE) as (bus, _):
        began = time.monotonic()
        with pytest.raises(NoReply):
            bus.read_words(UNIT, START, 120)
        assert PATIENCE * 0.9 < time.monotonic() - began < LONG


COUNTS = {"none": b"\x03\x00", "too few": words(7), "too many": words(7, 8, 9), "odd": b"\x03\x03\x00\x07\x00",
          "belied": b"\x03\x02\x00\x07\x00\x08"}  # fmt: skip


@each_kind
@pytest.mark.parametrize("what", COUNTS)
def test_a_read_with_another_number_of_bytes_is_refused(kind: str, what: str) -> None:
    with served(kind, says(reply(kind, COUNTS[what]))) as (bus, _), pytest.raises(BadReply):
        read(bus)


@each_kind
def test_exceptions_are_refusals_and_leave_the_line_whole(kind: str) -> None:
    codes = (1, 2, 3, 11)
    answers = [*(reply(kind, bytes((0x83, code))) for code in codes), reply(kind, words(7, 8))]
    with served(kind, says(*answers)) as (bus, accepted):
        for code in codes:
            with pytest.raises(Refused, match=f"exception {code}, ") as refusal:
                read(bus)
            assert refusal.value.code == code
        assert read(bus) == [7, 8]
        assert len(accepted) == 1


@each_kind
def test_a_port_where_nobody_listens(kind: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(BusError, match=r"cannot connect: .*\(allowed: "):
        Bus.open(f"{kind}://127.0.0.1:{port}")


# a serial port


@contextlib.contextmanager
def on_pty(*answers: Answer, stale: bytes = b"") -> Iterator[Bus]:
    """A bus on a port, with bytes that lie there already; a thread answers at its other end."""
    master, slave = os.openpty()
    tty.setraw(slave)

    def talk() -> None:
        for answer in answers:
            if select.select([master], [], [], LONG)[0]:
                os.write(master, answer(os.read(master, 512)))

    thread = threading.Thread(target=talk)
    try:
        with Bus.open(os.ttyname(slave), timeout=PATIENCE) as bus:
            if stale:
                os.write(master, stale)
                assert select.select([slave], [], [], LONG)[0]
            thread.start()
            yield bus
    finally:
        thread.join()
        os.close(master)
        os.close(slave)


GOOD = reply("rtu+tcp", words(7, 8))


def test_silence_on_a_port() -> None:
    with on_pty() as bus:
        began = time.monotonic()
        with pytest.raises(NoReply):
            read(bus)
        assert PATIENCE * 0.9 < time.monotonic() - began < LONG


ON_A_PORT: dict[str, Answer] = {
    "wrong CRC": SPOILT["wrong CRC"][1],
    "another address": SPOILT["another address"][1],
    "another function": SPOILT["another function in RTU"][1],
    "half a reply": lambda request: GOOD(request)[:6],
    "too many words": reply("rtu+tcp", words(7, 8, 9)),
    "an echo of the request alone": lambda request: request,
    "an echo before the reply": lambda request: request + GOOD(request),  # adapters must have their echo off
}


@pytest.mark.parametrize("what", ON_A_PORT)
def test_a_spoilt_reply_on_a_port_does_not_spoil_the_next(what: str) -> None:
    with on_pty(ON_A_PORT[what], GOOD) as bus:
        with pytest.raises(BadReply):
            read(bus)
        assert read(bus) == [7, 8]


def test_an_echo_of_a_write_is_not_its_confirmation() -> None:
    with on_pty(lambda request: request) as bus, pytest.raises(BadReply):
        bus.write_words(UNIT, 57346, [300])


@pytest.mark.parametrize("stale", [b"\x00", b"\x05\x03", rtu.frame(UNIT, words(1, 1)), 40 * b"\xff"])
def test_what_lay_in_the_buffer_is_not_the_reply(stale: bytes) -> None:
    with on_pty(GOOD, stale=stale) as bus:
        assert read(bus) == [7, 8]


class Deaf:
    """A meter that answers reads, and writes with what it is told to, without doing them."""

    def __init__(self, answer: Callable[[bytes], bytes]) -> None:
        self._meter, self._answer = Meter(E44), answer

    def rtu(self, frame: bytes) -> bytes:
        return self._meter.rtu(frame) if frame[1] == 3 else rtu.frame(frame[0], self._answer(frame[1:6]))


@pytest.mark.parametrize(("kept", "told"), [(2, "does not repeat"), (4, "does not repeat"), (5, "reads 5 after 300 was")])
def test_a_write_that_is_answered_wrong_or_not_done(kept: int, told: str) -> None:
    """Another address, another count, or the right answer and nothing behind it."""
    with pytest.raises(BadReply, match=told):
        Bus.loopback(Deaf(lambda sent: sent[:kept] + b"\x09\x09\x09\x09\x09"[kept:]))[UNIT].write(ct_primary=300)


def test_the_everyday_symbols_are_read_where_none_is_named() -> None:
    meter = Meter(E44, ct_primary=200)
    meter.feed(three_phase(230, 2.5, 0.9), seconds=3)
    found = Bus.loopback(meter)[UNIT].read()
    assert tuple(found) == plan.EVERYDAY
    assert found["V1"] == 230
    assert found["id.extended_name"] == "Countis E44"


# the reading plan


@pytest.fixture(scope="module")
def full() -> Meter:
    """A meter that was fed in two tariffs past a demand period, with counters as after a long life."""
    meter = Meter(E43, rate=1600, ct_primary=300, ct_secondary=5, tariff_control="com", demand_period=60, user_lock=1)
    meter.apply([SetClock(800_000_000 - 800_000_000 % 60)])
    source = three_phase((230, 225, 240), (1, 2, 3), (0.9, -0.8, 0.5), rate=1600, f=50.3)
    meter.feed(source, seconds=70)
    meter.apply([SelectTariff(3)])
    meter.feed(source, seconds=70)
    chance = random.Random(6)
    for quantity in COUNTED:
        if quantity.kind not in (QuantityKind.DEMAND, QuantityKind.STATE):
            low, high = (-2 * 10**18, 2 * 10**18) if quantity.kind is QuantityKind.NET else (0, 4 * 10**18)
            meter.state.row[COUNTED_COLUMN[quantity.symbol]] = chance.randrange(low, high) // 10 ** chance.randrange(10)
    meter.state.changes += 1
    return meter


@pytest.fixture(scope="module")
def singly(full: Meter) -> dict[str, plan.Reading]:
    """Each symbol read by requests of its own."""
    remote = Bus.loopback(full)[UNIT]
    return {symbol: remote.read(symbol)[symbol] for symbol in PLAN.sources}


def test_what_is_read_is_what_the_meter_holds(full: Meter, singly: dict[str, plan.Reading]) -> None:
    for symbol, found in singly.items():
        if symbol not in QUANTITIES and symbol not in SETTINGS:
            continue
        held, rows = full[symbol], PLAN.sources[symbol]
        last = rows[1] if len(rows) == 2 and rows[1].modulus == 10_000 else rows[0]
        if isinstance(held, int | float) and isinstance(found, int | float):
            step = float(SIZE[last.unit]) * (full.ratio if last.secondary else 1)
            assert abs(held - found) <= step * (0 if last.unit == "-" else 1) + 1e-9 * abs(held), (symbol, held, found)
        else:
            assert found == held, symbol
    assert full["demand.P"] is not None
    wide = {"id.roll_over": 9_999_999_990}  # the register counts in 10 Wh
    assert {s: v for s, v in singly.items() if s.startswith("id.")} == {**identity(full.state), **wide}


def test_a_load_curve_that_was_not_fetched_is_not_available(singly: dict[str, plan.Reading]) -> None:
    assert singly["curve.count"] == 0
    assert [singly[s] for s in ("curve.time", "curve.incomplete", "curve.mean")] == [None, None, None]


READABLE = {b.start + k for b in BLOCKS if b.locked & Functions.READ for k in range(b.words * b.repeat)}


@settings(max_examples=60)
@given(st.sets(st.sampled_from(sorted(PLAN.sources)), min_size=1, max_size=60))
def test_a_plan_reads_what_single_reads_do(full: Meter, singly: dict[str, plan.Reading], symbols: set[str]) -> None:
    rows = {row for symbol in symbols for row in PLAN.sources[symbol]}
    spans = PLAN.requests(rows)
    touched = [{start + k for k in range(count)} for start, count in spans]
    assert all(1 <= count <= 125 for _, count in spans)
    assert set().union(*touched) <= READABLE
    assert all(any({row.address + k for k in range(row.words)} <= span for span in touched) for row in rows)
    assert Bus.loopback(full)[UNIT].read(*symbols) == {symbol: singly[symbol] for symbol in symbols}
