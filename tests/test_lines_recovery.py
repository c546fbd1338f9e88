"""What other slaves fail at (peers.md, "How they fail"), against a real `countis run` on TCP, RTU over TCP and a pty.

Whether the meter is silent is told by the next request: its answer must be the first that comes.
"""

from __future__ import annotations

import os
import random
import resource
import select
import socket
import struct
import time
import tty
from collections.abc import Iterator

import pytest
from countis.modbus import rtu

from running import Running, countis_run

UNIT, ABSENT = 5, (1, 2, 3, 4)
LONG = 10.0  # s in which nothing that works takes its time
GAP = 0.015  # s of silence, where 1.75 ms would do on a machine that does nothing else
LOST = 1.0  # s after which a request on the line counts as lost
TRIES = 4
SLOW = 1200  # baud, at which a character of 10 bits takes 8.3 ms
CHARACTER = 10 / SLOW
READ = struct.pack(">BHH", 3, 50520, 2)
CT, TARIFF = struct.pack(">BHH", 3, 57346, 1), struct.pack(">BHH", 3, 50849, 1)
MOST, VALUE, GATEWAY = 1000, 3, 11  # connections on a port; exception codes


def write(address: int, *values: int) -> bytes:
    return struct.pack(f">BHHB{len(values)}H", 16, address, len(values), 2 * len(values), *values)


def exception(request: bytes, code: int) -> bytes:
    return bytes((request[0] | 0x80, code))


def size_of(reply: bytes) -> int:
    """How long the PDU is that begins here."""
    return 2 if reply[0] & 0x80 else 2 + reply[1] if reply[0] == 3 else 5


class Port:
    """One end of a line or connection. Envelopes are RTU's unless the class says otherwise."""

    def __init__(self, fd: int) -> None:
        self.fd, self._heard = fd, b""

    def send(self, data: bytes) -> None:
        while data:
            data = data[os.write(self.fd, data) :]

    def envelope(self, request: bytes, unit: int = UNIT) -> bytes:
        return rtu.frame(unit, request)

    def _take(self, count: int) -> bytes:
        """Wait for so many bytes; fewer where the other end closed."""
        until = time.monotonic() + LONG
        while len(self._heard) < count:
            assert select.select([self.fd], [], [], max(0.0, until - time.monotonic()))[0], f"heard {self._heard.hex()} only"
            try:
                data = os.read(self.fd, 4096)
            except ConnectionResetError:
                data = b""
            if not data:
                break
            self._heard += data
        taken, self._heard = self._heard[:count], self._heard[count:]
        return taken

    def reply(self) -> bytes:
        """Return the PDU that comes next, its envelope checked."""
        head = self._take(3)
        whole = head + self._take(size_of(head[1:]))
        assert rtu.is_whole(whole), whole.hex()
        assert whole[0] == UNIT
        return whole[1:-2]

    def ask(self, request: bytes, unit: int = UNIT) -> bytes:
        self.send(self.envelope(request, unit))
        return self.reply()

    def quiet(self) -> bool:
        """Whether nothing came that nobody took."""
        return not self._heard and not select.select([self.fd], [], [], GAP)[0]

    def closed(self) -> bool:
        return self._take(1) == b""


class Line(Port):
    """The pty of a meter. What is lost is said again, up to TRIES times after longer silences: on a busy machine the kernel may
    hand over bytes before and after a silence together. What the framer loses it loses each time, for it knows no chance."""

    def __init__(self, running: Running) -> None:
        super().__init__(os.open(running.ready["serial"], os.O_RDWR | os.O_NOCTTY))
        tty.setraw(self.fd)
        self.said = self.again = 0
        time.sleep(GAP)

    def hears_after(self, *said: bytes) -> bool:
        """Whether a request is answered after these bytes, each of them followed by silence."""
        self.said += 1
        for trial in range(TRIES):
            for data in said:
                self.send(data)
                time.sleep(GAP * 2**trial)
            self.send(self.envelope(READ))
            if select.select([self.fd], [], [], LOST)[0]:
                return self.reply()[:2] == b"\x03\x04"
            self.again += 1
        return False

    def close(self) -> None:
        assert self.quiet() and self.again <= 1 + self.said // 10, f"{self.again} of {self.said} said again"  # noqa: PT018
        os.close(self.fd)


class Tcp(Port):
    """Modbus TCP, with a transaction of its own for each request."""

    sent = answered = 0

    def envelope(self, request: bytes, unit: int = UNIT, protocol: int = 0, length: int | None = None) -> bytes:
        self.sent += 1
        return struct.pack(">HHHB", self.sent, protocol, len(request) + 1 if length is None else length, unit) + request

    def reply(self) -> bytes:
        transaction, protocol, length, _ = struct.unpack(">HHHB", self._take(7))
        assert protocol == 0
        assert transaction > self.answered
        self.answered = transaction
        return self._take(length - 1)


@pytest.fixture(scope="module")
def meter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    flags = ("--tariff-control", "com", "--rtu-tcp", "127.0.0.1:0")
    with countis_run(tmp_path_factory.mktemp("recovery"), *flags) as running:
        yield running


def connect(where: str) -> socket.socket:
    host, port = where.split(":")
    connection = socket.create_connection((host, int(port)), timeout=LONG)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


@pytest.fixture
def line(meter: Running) -> Iterator[Line]:
    line = Line(meter)
    yield line
    line.close()


@pytest.fixture
def tcp(meter: Running) -> Iterator[Tcp]:
    with connect(meter.ready["tcp"]) as connection:
        yield Tcp(connection.fileno())


@pytest.fixture(params=["tcp", "rtu_tcp", "serial"])
def port(meter: Running, request: pytest.FixtureRequest) -> Iterator[Port]:
    """Each of the three ports; what was sent before is silent long enough."""
    if request.param == "serial":
        yield request.getfixturevalue("line")
        return
    with connect(meter.ready[request.param]) as connection:
        port = (Tcp if request.param == "tcp" else Port)(connection.fileno())
        yield port
        assert port.quiet()


def works(port: Port) -> bool:
    """Whether the next read is answered, and by nothing else before it."""
    told = port.ask(READ)
    return told[:2] == b"\x03\x04" and len(told) == 6


def test_five_requests_at_once_get_five_answers(port: Port) -> None:
    """pymodbus answers one."""
    port.send(b"".join(port.envelope(READ) for _ in range(5)))
    assert [port.reply()[:2] for _ in range(5)] == 5 * [b"\x03\x04"]


@pytest.mark.parametrize("count", [0, 126, 127, 128, 129, 250, 255, 256, 0x7FFF, 0xFFFF])
def test_a_count_that_cannot_be_is_refused_and_kills_nothing(port: Port, count: int) -> None:
    """pymodbus answers function 0x80, jsmodbus dies from 128 on."""
    request = struct.pack(">BHH", 3, 50520, count)
    assert port.ask(request) == exception(request, VALUE)
    assert works(port)


@pytest.mark.parametrize("count", [0, 1, 3, 124, 128, 0xFFFF])
def test_a_byte_count_that_belies_the_count_is_refused(port: Port, count: int) -> None:
    """uModbus writes; here two words come."""
    before, request = port.ask(CT), struct.pack(">BHHB2H", 16, 57345, count, 4, 1, 77)
    assert port.ask(request) == exception(request, VALUE)
    assert port.ask(CT) == before


@pytest.mark.parametrize("words", [(5, 1, 12001), (5, 7, 300), (4, 1, 300), (5, 1, 300, 0, 0, 0, 0, 0, 0, 0, 0, 61)])
def test_one_bad_word_among_good_ones_writes_none(port: Port, words: tuple[int, ...]) -> None:
    before, request = port.ask(struct.pack(">BHH", 3, 57344, 12)), write(57344, *words)
    assert port.ask(request) == exception(request, VALUE)
    assert port.ask(struct.pack(">BHH", 3, 57344, 12)) == before


def test_good_words_are_all_written(port: Port) -> None:
    for words in ((1, 300), (5, 5)):
        assert port.ask(write(57345, *words)) == write(57345, *words)[:5]
        assert port.ask(struct.pack(">BHH", 3, 57345, 2)) == struct.pack(">BBHH", 3, 4, *words)


@pytest.mark.parametrize("request_", [
    struct.pack(">BHH", 3, 50520, 0), struct.pack(">BHH", 3, 50520, 200), struct.pack(">BHH", 3, 7, 1),
    struct.pack(">BHH", 4, 1, 1), struct.pack(">BHHB2H", 16, 57345, 9, 4, 1, 77),
])  # fmt: skip
def test_refusals_come_at_once(port: Port, request_: bytes) -> None:
    """libmodbus waits for half a second; the best of some tells, because this machine does other things too."""
    took = []
    for _ in range(8):
        began = time.monotonic()
        assert port.ask(request_)[0] == request_[0] | 0x80
        took.append(time.monotonic() - began)
    assert min(took) < 0.1


def test_another_protocol_is_dropped_and_the_next_is_answered(tcp: Tcp) -> None:
    """pymodbus says nothing any more."""
    tcp.send(tcp.envelope(READ, protocol=1) + tcp.envelope(CT))
    assert tcp.reply()[:2] == b"\x03\x02"
    assert tcp.answered == 2
    tcp.send(tcp.envelope(READ, protocol=0x4854))
    assert works(tcp)
    assert tcp.answered == 4


@pytest.mark.parametrize("length", [0, 1, 255, 0xFFFF])
def test_a_bad_length_closes_that_connection_only(meter: Running, tcp: Tcp, length: int) -> None:
    with connect(meter.ready["tcp"]) as other:
        bad = Tcp(other.fileno())
        assert works(bad)
        bad.send(bad.envelope(READ) + bad.envelope(READ, length=length) + bad.envelope(READ))
        assert bad.reply()[:2] == b"\x03\x04"
        assert bad.closed()
    assert works(tcp)


@pytest.mark.parametrize("size", [0, 2, 3, 5, 255])
def test_a_byte_count_that_belies_the_words_is_refused(tcp: Tcp, size: int) -> None:
    """On the line such a frame has no CRC where its end is."""
    before, request = tcp.ask(CT), struct.pack(">BHHB2H", 16, 57345, 2, size, 1, 77)
    assert tcp.ask(request) == exception(request, VALUE)
    assert tcp.ask(CT) == before


def test_a_unit_that_is_not_there_gets_what_a_gateway_says(tcp: Tcp) -> None:
    for unit in (1, 4, 6, 247, 248, 254):
        assert tcp.ask(READ, unit) == exception(READ, GATEWAY)
    assert works(tcp)


def test_a_thousand_connections_at_once_and_not_one_more(meter: Running) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST + 200
    if 0 <= hard < wanted:  # −1 is no limit
        pytest.skip(f"this system lets a process open {hard} files only")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    connections: list[socket.socket] = []
    try:
        connections += (connect(meter.ready["tcp"]) for _ in range(MOST))
        ports = [Tcp(connection.fileno()) for connection in connections]
        for port in ports:
            port.send(port.envelope(READ))
        assert {port.reply()[:2] for port in ports} == {b"\x03\x04"}
        with connect(meter.ready["tcp"]) as one_more:
            assert Tcp(one_more.fileno()).closed()
        assert all(works(port) for port in ports)
        connections.pop().close()
        time.sleep(0.2)  # it takes the meter a moment to see that one has gone
        connections.append(connect(meter.ready["tcp"]))
        assert works(Tcp(connections[-1].fileno()))
    finally:
        for connection in connections:
            connection.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_foreign_units_are_never_answered(line: Line) -> None:
    """pymodbus and uModbus answer them, and collide."""
    for unit in (*ABSENT, 6, 7, 127, 247, 255):
        for request in (READ, CT, write(57346, 77), b"\x2b\x0e\x01\x00", b"\x63"):
            assert line.hears_after(line.envelope(request, unit))


def test_half_a_write_and_silence_lose_none_of_three_requests(line: Line) -> None:
    """pymodbus loses all three."""
    before, whole = line.ask(CT), line.envelope(write(57345, 1, 77))
    for kept in (2, 7, len(whole) // 2, len(whole) - 1):
        assert line.hears_after(whole[:kept])
        assert works(line)
        assert works(line)
    assert line.ask(CT) == before


def test_a_broadcast_is_carried_out_in_silence(line: Line) -> None:
    """pymodbus and uModbus answer."""
    for tariff in (3, 2, 4, 1):
        request = write(40481, tariff) if tariff % 2 else struct.pack(">BHH", 6, 40481, tariff)
        line.send(line.envelope(request, 0))
        assert line.ask(TARIFF) == struct.pack(">BBH", 3, 2, tariff)
    before = line.ask(CT)
    line.send(line.envelope(write(57346, 77), 0) + line.envelope(READ, 0))  # a write of anything else is not
    assert line.ask(CT) == before


def test_absent_slaves_starve_nobody(line: Line) -> None:
    """libmodbus, which waits for the answers of others, answers 0 of 5."""
    polled = [line.envelope(READ, unit) for unit in ABSENT]
    assert [line.hears_after(*polled) for _ in range(50)] == 50 * [True]


def noise(chance: random.Random) -> bytes:
    """Bytes as a line makes them: at random, or what might be taken for the beginning of a frame."""
    head = chance.choice([b"", b"\x05", b"\x05\x03", b"\x05\x10\xe0", b"\x00", b"\x00\x10", b"\xff", b"\x05\x2b", b"\x05\x63"])
    return head + chance.randbytes(chance.randrange(1, 30))


def test_noise_before_a_request_loses_none_of_200(line: Line) -> None:
    """libmodbus loses more than five requests to one burst."""
    chance = random.Random(1)
    assert [line.hears_after(noise(chance)) for _ in range(200)] == 200 * [True]


def test_noise_after_a_request_does_not_touch_its_answer(line: Line) -> None:
    chance = random.Random(2)
    for at_once in (True, False) * 10:
        line.send(line.envelope(READ) + (noise(chance) if at_once else b""))
        assert line.reply()[:2] == b"\x03\x04"
        assert line.hears_after(noise(chance))


def test_what_another_slave_says_is_passed_over(line: Line) -> None:
    """Request and answer of unit 9, as they are heard on a shared line; the answer holds a write to us, whole and valid."""
    before, single = line.ask(CT), struct.pack(">BHH", 6, 57346, 78)
    embedded = line.envelope(write(57346, 77)) + line.envelope(single) + line.envelope(write(40481, 2), 0)
    for count in (len(embedded) // 2, 60, 125):
        answer = line.envelope(bytes((3, 2 * count)) + embedded[: 2 * count].ljust(2 * count, b"\x05"), 9)
        assert line.hears_after(line.envelope(struct.pack(">BHH", 3, 100, count), 9), answer)
    closely = line.envelope(READ, 9) + line.envelope(bytes((3, 4, 0, 0, 0, 0)), 9) + line.envelope(write(57346, 79))
    assert line.hears_after(closely)
    assert line.ask(CT) == before
    assert line.ask(TARIFF) == struct.pack(">BBH", 3, 2, 1)


@pytest.fixture(scope="module")
def slow_line(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Line]:
    """A meter at 1200 baud, where 3.5 characters are 29 ms."""
    with countis_run(tmp_path_factory.mktemp("slow"), "-b", str(SLOW)) as running:
        line = Line(running)
        yield line
        line.close()


def split(port: Port, request: bytes, at: int, characters: float) -> float:
    """Send a request with a pause in it; return how many characters it became."""
    whole = port.envelope(request)
    time.sleep(8 * CHARACTER)
    port.send(whole[:at])
    began = time.monotonic()
    time.sleep(characters * CHARACTER)
    port.send(whole[at:])
    return (time.monotonic() - began) / CHARACTER


@pytest.mark.parametrize("at", [1, 2, 4, 7])
def test_a_pause_of_up_to_3_characters_is_tolerated(slow_line: Line, at: int) -> None:
    for _ in range(50):
        if split(slow_line, READ, at, 2.5) <= 3.0:  # else this machine slept too long, and the frame may be dropped
            assert slow_line.reply()[:2] == b"\x03\x04"
            return
        time.sleep(8 * CHARACTER)
        if not slow_line.quiet():
            slow_line.reply()
    pytest.skip("this machine cannot sleep for 2.5 characters of 8.3 ms")


@pytest.mark.parametrize("at", [1, 2, 4, 7])
def test_a_longer_pause_drops_the_frame(slow_line: Line, at: int) -> None:
    split(slow_line, READ, at, 9.0)
    time.sleep(8 * CHARACTER)
    assert slow_line.quiet()
    assert works(slow_line)
