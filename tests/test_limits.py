"""What is bounded: how old values may be, how many connections there are, how long they idle or leave replies unread."""

from __future__ import annotations

import contextlib
import errno
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from countis import E44, Meter
from countis.host.running.feeder import Feeder
from countis.host.running.hub import LineHub, MeterPort
from countis.modbus import pdu, rtu, tcp
from countis.modbus.line.faults import Faults, read_fault
from countis.modbus.tcp import Envelope
from countis.serve import tcp_port as ports
from countis.serve.tcp_port import RtuTcpRequests, TcpRequests, TcpServer
from countis.supply import three_phase
from countis.words.errors import SupplyError

READ = pdu.read_request(50512, 62)
FRAME = tcp.wrap(1, 5, READ)
NEVER = threading.Event()


def feeder(*rows: dict[str, Any], **options: Any) -> Feeder:
    return Feeder(Meter(E44), three_phase(230, 1.0), 1.0, faults=Faults([read_fault(row) for row in rows]), **options)


def follow(one: Feeder, seconds: float) -> None:
    """Let a feeder follow the clock for a while."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        one.feed_due(NEVER, 0.02)
        time.sleep(0.02)


# values that are too old


def test_a_source_that_stalls_makes_the_meter_silent_and_comes_back() -> None:
    one = feeder()
    desk = MeterPort(one)
    one.head_start(NEVER)
    assert desk.rtu(rtu.frame(5, READ)).data
    desk.set_faults([{"kind": "stale", "for": 0.5, "after": 0.2}])
    follow(one, 0.4)
    fed = one.meter.now
    assert one.stale
    assert desk.rtu(rtu.frame(5, READ)).data == b""
    assert desk.tcp(Envelope(1, 5, READ)).data[7:] == b"\x83\x0b"  # what a gateway would say
    assert LineHub([desk]).tcp_cached(FRAME) is None
    follow(one, 0.3)
    assert one.meter.now > fed
    assert not one.stale
    assert desk.rtu(rtu.frame(5, READ)).data


def test_what_was_held_back_is_not_made_up_for() -> None:
    one = feeder()
    one.head_start(NEVER)
    began = one.meter.now
    one.faults.list = (read_fault({"kind": "stale", "for": 0.5}, one.line_now),)
    follow(one, 0.8)
    assert one.meter.now - began < 0.5e9


def test_a_source_that_stalls_by_itself_is_judged_by_when_samples_came() -> None:
    one = feeder(stale_after=0.1)
    follow(one, 0.1)
    assert not one.stale
    time.sleep(0.15)
    assert one.stale
    assert MeterPort(one).rtu(rtu.frame(5, READ)).data == b""
    assert not feeder().stale  # without a limit old values are given out, and said on the status line


def test_the_clock_drifts_by_parts_per_million() -> None:
    straight, drifting = feeder(), feeder({"kind": "drift", "ppm": 100_000})
    for one in (straight, drifting):
        one.head_start(NEVER)
        one._feed(80_000, NEVER)
    assert drifting.meter.now == straight.meter.now
    assert drifting.meter.clock - straight.meter.clock == 1


def test_the_meter_is_dead_for_its_time() -> None:
    one = feeder()
    desk = MeterPort(one)
    one.head_start(NEVER)
    desk.set_faults([{"kind": "dead", "for": 0.2}])
    assert desk.rtu(rtu.frame(5, READ)).data == b""
    time.sleep(0.25)
    assert desk.rtu(rtu.frame(5, READ)).data


def test_a_voltage_beyond_all_numbers_is_told() -> None:
    with pytest.raises(SupplyError, match="beyond all numbers"):
        three_phase(1.7e308, 1.0)


# connections


def served(kind: Any, work: Callable[[str, int], None], **limits: Any) -> TcpServer:
    """Serve a port while `work` talks to it."""
    one = feeder()
    one.head_start(NEVER)
    server = TcpServer(LineHub([MeterPort(one)]), kind, ("127.0.0.1", 0), "--tcp", **limits)
    server.start()
    host, port = server.name.split(":")
    try:
        work(host, int(port))
    finally:
        server.close()
    return server


def talk(line: socket.socket, request: bytes = FRAME) -> bytes:
    line.settimeout(5)
    line.sendall(request)
    return line.recv(512)


@pytest.mark.parametrize("kind", [TcpRequests, RtuTcpRequests])
def test_one_connection_too_many_is_closed_and_the_others_go_on(kind: Any) -> None:
    request = FRAME if kind is TcpRequests else rtu.frame(5, READ)

    def work(host: str, port: int) -> None:
        lines = [socket.create_connection((host, port)) for _ in range(3)]
        assert all(talk(line, request) for line in lines)
        with socket.create_connection((host, port)) as late, pytest.raises((ConnectionError, AssertionError)):
            assert talk(late, request)
        assert all(talk(line, request) for line in lines)
        lines.pop().close()
        time.sleep(0.05)
        with socket.create_connection((host, port)) as again:
            assert talk(again, request)
        for line in lines:
            line.close()

    served(kind, work, most=3)


def test_a_connection_that_says_nothing_is_closed_and_one_that_speaks_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "_SWEEP_S", 0.05)

    def work(host: str, port: int) -> None:
        with socket.create_connection((host, port)) as idle, socket.create_connection((host, port)) as busy:
            for _ in range(12):
                assert talk(busy)
                time.sleep(0.05)
            idle.settimeout(5)
            assert idle.recv(1) == b""
            assert talk(busy)

    served(TcpRequests, work, idle_s=0.3)


def test_a_client_that_leaves_its_replies_unread_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "_SWEEP_S", 0.05)
    monkeypatch.setattr(ports, "_SLOW_S", 0.2)

    def work(host: str, port: int) -> None:
        with socket.create_connection((host, port)) as deaf:
            deaf.settimeout(5)
            with pytest.raises(ConnectionError):
                deaf.sendall(FRAME * 4_000_000)
            time.sleep(0.3)

    assert served(TcpRequests, work).connections == {}


def test_without_files_to_open_those_who_wait_are_taken_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "_SWEEP_S", 0.05)
    real, refusals = socket.socket.accept, [OSError(errno.EMFILE, "Too many open files")] * 2

    def accept(listener: socket.socket) -> Any:
        if refusals:
            raise refusals.pop()
        return real(listener)

    monkeypatch.setattr(socket.socket, "accept", accept)

    def work(host: str, port: int) -> None:
        with socket.create_connection((host, port)) as line:
            assert talk(line)

    served(TcpRequests, work)
    assert refusals == []


def test_late_replies_are_few_and_hold_up_nobody() -> None:
    """A client that floods a meter whose replies are late gets as far as its share, and no other waits for it."""
    one = feeder({"kind": "late", "ms": 300})
    one.head_start(NEVER)
    server = TcpServer(LineHub([MeterPort(one)]), TcpRequests, ("127.0.0.1", 0), "--tcp")
    server.start()
    host, port = server.name.split(":")
    try:
        with socket.create_connection((host, int(port))) as flood, socket.create_connection((host, int(port))) as other:
            flood.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                while True:
                    flood.send(FRAME * 1000)
            assert talk(other)
            assert len(server._late) < 2 * ports._MOST_LATE
            one.faults.list = ()
            assert talk(other)
    finally:
        server.close()


def test_a_fault_of_ours_costs_its_connection_and_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real, faults = LineHub.tcp, [ZeroDivisionError("ours")]

    def tcp(hub: LineHub, envelope: Envelope) -> Any:
        if faults:
            raise faults.pop()
        return real(hub, envelope)

    monkeypatch.setattr(LineHub, "tcp", tcp)

    def work(host: str, port: int) -> None:
        with socket.create_connection((host, port)) as first, socket.create_connection((host, port)) as second:
            assert talk(first) == b""
            assert talk(second)

    served(TcpRequests, work)
    assert "ZeroDivisionError: ours" in capsys.readouterr().err


def test_the_end_sends_what_was_answered() -> None:
    one = feeder()
    one.head_start(NEVER)
    server = TcpServer(LineHub([MeterPort(one)]), TcpRequests, ("127.0.0.1", 0), "--tcp")
    server.start()
    host, port = server.name.split(":")
    with socket.create_connection((host, int(port)), timeout=5) as line:
        line.sendall(FRAME * 1000)
        said = line.recv(133)
        server.close()
        while piece := line.recv(65536):
            said += piece
    assert len(said) == 133 * 1000
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((host, int(port)))
