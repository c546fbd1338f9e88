"""The serial port on ptys: silence, echoes, late replies, speeds changed live, an adapter that is pulled out, pacing."""

from __future__ import annotations

import os
import select
import time
import tty
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from countis import E44, Meter, SetSetting
from countis.host.running.feeder import Feeder
from countis.host.running.hub import LineHub, MeterPort
from countis.modbus import pdu, rtu
from countis.modbus.line.cable import Cable, LineModel
from countis.modbus.line.faults import read_fault
from countis.serve.serial_port import SerialPort
from countis.serve.tcp_port import raise_file_limit
from countis.supply import three_phase
from countis.words.errors import BusError

READ = rtu.frame(5, pdu.read_request(50000, 4))
REPLY = rtu.frame(5, bytes.fromhex("0308 0053 004F 0043 004F"))
WRITE = rtu.frame(5, bytes.fromhex("06 9E21 0002"))  # tariff 2, answered by the same bytes
PATIENCE = 5.0  # s


def desk(**settings: Any) -> MeterPort:
    meter = Meter(E44, tariff_control="com", **settings)
    meter.feed(three_phase(230, 1.0), seconds=2)
    return MeterPort(Feeder(meter, three_phase(230, 1.0), 1.0))


@pytest.fixture
def opened() -> Iterator[Callable[..., tuple[int, LineHub]]]:
    """Opens a port on a pty and gives the master's end of it."""
    ports: list[SerialPort] = []
    ends: list[int] = []

    def open_port(*desks: MeterPort, **options: Any) -> tuple[int, LineHub]:
        hub = LineHub(desks or [desk()], options.pop("speed", None))
        port = SerialPort(hub, "pty", **options)
        ports.append(port)
        port.start()
        ends.append(os.open(port.name, os.O_RDWR | os.O_NOCTTY))
        tty.setraw(ends[-1])
        return ends[-1], hub

    yield open_port
    for end in ends:
        os.close(end)
    for port in ports:
        port.close()


def heard(end: int, count: int, patience: float = PATIENCE) -> bytes:
    """Read until `count` bytes are there, or nothing comes any more."""
    data, until = b"", time.monotonic() + patience
    while len(data) < count and select.select([end], [], [], max(0.0, until - time.monotonic()))[0]:
        data += os.read(end, 512)
    return data


def asked(end: int, request: bytes, count: int, patience: float = PATIENCE) -> bytes:
    os.write(end, request)
    return heard(end, count, patience)


Opened = Callable[..., tuple[int, LineHub]]


def test_a_reply_keeps_the_silence_where_it_is_asked_to(opened: Opened) -> None:
    slow, _ = opened(desk(baud=1200), keep_silence=True)
    began = time.monotonic()
    assert asked(slow, READ, len(REPLY)) == REPLY
    assert time.monotonic() - began >= 3.5 * 10 / 1200


def test_a_late_reply_comes_late_and_others_do_not_wait_for_it(opened: Opened) -> None:
    late, prompt = desk(), desk(address=6)
    late.feeder.faults.list = (read_fault({"kind": "late", "ms": 300}),)
    end, _ = opened(late, prompt)
    other = rtu.frame(6, READ[1:-2])
    began = time.monotonic()
    os.write(end, READ)
    time.sleep(0.02)
    assert asked(end, other, len(REPLY))[0] == 6
    assert heard(end, len(REPLY)) == REPLY
    assert time.monotonic() - began >= 0.3


def test_an_echo_is_not_answered_once_it_is_known(opened: Opened) -> None:
    end, hub = opened()
    assert asked(end, READ, len(REPLY)) == REPLY
    os.write(end, REPLY)  # the adapter gives it back
    time.sleep(0.05)
    assert asked(end, WRITE, len(WRITE)) == WRITE
    os.write(end, WRITE)
    assert heard(end, 1, 0.1) == b""
    assert hub.requests == 2
    assert asked(end, READ, len(REPLY)) == REPLY


def test_a_write_repeated_at_once_is_no_echo_on_a_line_that_has_none(opened: Opened) -> None:
    end, hub = opened()
    for _ in range(5):
        assert asked(end, WRITE, len(WRITE)) == WRITE
    assert asked(end, READ, len(REPLY)) == REPLY
    for _ in range(5):
        assert asked(end, WRITE, len(WRITE)) == WRITE
    assert hub.requests == 11


def test_meters_that_share_an_address_collide(opened: Opened) -> None:
    one, two = desk(serial_number="12345"), desk(serial_number="2")
    end, _ = opened(one, two, speed=one.speed)
    answer = asked(end, rtu.frame(5, pdu.read_request(50008, 4)), 13, 0.5)
    assert answer
    assert not rtu.is_whole(answer)


def test_a_meter_of_another_speed_hears_nothing_of_the_line(opened: Opened) -> None:
    meter = desk(baud=9600)
    end, _ = opened(meter, desk(address=6, baud=9600), speed=(9600, "N", 1))
    assert asked(end, READ, len(REPLY)) == REPLY
    meter.feeder.meter.apply([SetSetting("baud", 19200)])
    assert asked(end, READ, 1, 0.2) == b""
    meter.feeder.meter.apply([SetSetting("baud", 9600)])
    assert asked(end, READ, len(REPLY)) == REPLY


def test_a_meter_with_a_and_b_exchanged_is_silent(opened: Opened) -> None:
    swapped = desk()
    swapped.swapped = True
    end, _ = opened(swapped, desk(address=6))
    assert asked(end, READ, 1, 0.2) == b""
    assert asked(end, rtu.frame(6, READ[1:-2]), len(REPLY))[0] == 6


def test_a_broadcast_reaches_every_meter_and_none_answers(opened: Opened) -> None:
    desks = [desk(address=address) for address in (5, 6, 7)]
    end, _ = opened(*desks)
    assert asked(end, rtu.frame(0, WRITE[1:-2]), 1, 0.2) == b""
    assert [d.feeder.meter["tariff"] for d in desks] == [2, 2, 2]


def test_a_paced_line_takes_its_time(opened: Opened) -> None:
    line = LineModel(1200)
    end, _ = opened(desk(baud=1200), line=line)
    began = time.monotonic()
    assert asked(end, READ, len(REPLY)) == REPLY
    took = time.monotonic() - began
    least = (len(READ) + 3.5 + len(REPLY)) * 10 / 1200
    assert least - 0.001 <= took < 3 * least


def test_a_paced_line_echoes_where_its_adapter_does(opened: Opened) -> None:
    end, _ = opened(desk(baud=115200), line=LineModel(115200, cable=Cable(echo=True)))
    assert asked(end, READ, len(READ) + len(REPLY)) == READ + REPLY


def test_a_paced_line_that_loses_everything_is_silent(opened: Opened) -> None:
    end, _ = opened(desk(baud=115200), line=LineModel(115200, cable=Cable(broken=frozenset({1}))))
    assert asked(end, READ, 1, 0.2) == b""


class Adapter:
    """A device that is a link to a pty, so that it can be pulled out and plugged in again."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "ttyUSB0"
        self.plug()

    def plug(self) -> None:
        self.end, self._slave = os.openpty()
        tty.setraw(self._slave)
        self.path.symlink_to(os.ttyname(self._slave))

    def pull(self) -> None:
        self.path.unlink()
        os.close(self.end)
        os.close(self._slave)


def test_an_adapter_that_is_pulled_out_is_found_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("countis.serve.serial_port._AGAIN", 0.05)
    adapter = Adapter(tmp_path)
    hub = LineHub([desk()])
    port = SerialPort(hub, str(adapter.path))
    port.start()
    try:
        assert asked(adapter.end, READ, len(REPLY)) == REPLY
        adapter.pull()
        until = time.monotonic() + PATIENCE
        while not hub.troubles:
            assert time.monotonic() < until
            time.sleep(0.01)
        assert hub.troubles == [f"{adapter.path} is gone"]
        adapter.plug()
        while hub.troubles:
            assert time.monotonic() < until
            time.sleep(0.01)
        assert asked(adapter.end, READ, len(REPLY)) == REPLY
    finally:
        port.close()


def test_a_device_follows_a_speed_that_was_changed_by_keys(tmp_path: Path) -> None:
    adapter = Adapter(tmp_path)
    one = desk()
    port = SerialPort(LineHub([one]), str(adapter.path))
    port.start()
    try:
        assert asked(adapter.end, READ, len(REPLY)) == REPLY
        one.feeder.meter.apply([SetSetting("baud", 1200), SetSetting("stop_bits", 2)])
        began = time.monotonic()
        assert asked(adapter.end, READ, len(REPLY)) == REPLY
        assert asked(adapter.end, READ, len(REPLY)) == REPLY
        assert time.monotonic() - began >= 3.5 * 11 / 1200
        assert port._port is not None
        assert (port._port.baudrate, port._port.stopbits) == (1200, 2)
    finally:
        port.close()


def test_a_device_that_is_not_there_is_told_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(BusError, match=r"^--serial /.*/none: No such file or directory \(allowed: pty, "):
        SerialPort(LineHub([desk()]), str(tmp_path / "none"))


def test_a_line_whose_file_has_a_high_number_is_answered_in_pieces_too() -> None:
    """`select` knows files up to 1023 only."""
    raise_file_limit(1200)
    held = [os.open("/dev/null", os.O_RDONLY)]
    while held[-1] < 1030:
        held.append(os.dup(held[0]))
    port = SerialPort(LineHub([desk()]), "pty")
    try:
        port.start()
        line = os.open(port.name, os.O_RDWR | os.O_NOCTTY)
        frame = rtu.frame(5, pdu.read_request(50520, 2))
        for pieces in ((frame,), (frame[:3], frame[3:]), (frame,)):
            for piece in pieces:
                os.write(line, piece)
                time.sleep(0.0005)
            reader = select.poll()
            reader.register(line, select.POLLIN)
            assert reader.poll(5000), pieces
            time.sleep(0.05)
            assert os.read(line, 100)[:3] == b"\x05\x03\x04"
        os.close(line)
    finally:
        port.close()
        for fd in held:
            os.close(fd)
