"""The event log: what is noted, from where, how it is kept, and how it is shown."""

from __future__ import annotations

import gzip
import json
import os
import signal
import socket
import time
from pathlib import Path

import numpy as np
import pytest
from countis import E43, E44, Bus, Key, Measurement, Meter, ResetPartials, SelectTariff, SetClock, SetSetting
from countis.host.running.console import EventPrinter
from countis.host.running.feeder import Feeder
from countis.host.running.hub import MeterPort
from countis.host.running.publish import Publisher
from countis.meter.energy.registers import Layout
from countis.meter.memory.event_log import CAPACITY, Entry
from countis.meter.memory.image import LOG_OFFSET, PAGE, MemoryPage
from countis.modbus import pdu
from countis.supply import three_phase
from countis.words.commands import Origin, SetCalibration, SetTariffInput
from countis.words.errors import SettingError
from countis.words.quantities import PARTIALS
from countis.words.settings import Calibration

from running import command, countis_run, start, stop
from test_memory import MEMORIES


def log(meter: Meter) -> list[Entry | None]:
    return [entry for _, entry in meter.state.log.entries(int(meter.state.row[Layout.events]))]


def told(meter: Meter) -> list[tuple[str, ...]]:
    """The log as words: kind, whence, subject, old, new."""
    return [(e.kind.name, e.origin.name, e.subject, e.old, e.new) for e in log(meter) if e is not None]


def windows(volts: float, amperes: float, seconds: float = 0.2, count: int = 1) -> list[Measurement]:
    p = volts * amperes
    return [Measurement.of(E44, seconds=seconds, v=[volts] * 3, i=[amperes] * 3, p=[p] * 3, q=[0.0] * 3) for _ in range(count)]


def test_a_new_meter_has_no_event_whatever_it_was_made_with() -> None:
    assert log(Meter(E44, ct_primary=200, tariff_control="com")) == []


def test_each_command_is_noted_with_what_was_and_whence() -> None:
    meter = Meter(E44, tariff_control="com")
    meter.count(windows(230.0, 4.0, 90.0)[0])
    meter.apply([SetSetting("ct_primary", 200), SetSetting("ct_primary", 200), SetCalibration(Calibration())])
    meter.apply([SelectTariff(2), SelectTariff(2)], Origin.BUS)
    meter.apply([ResetPartials(("par.Ea+",)), SetClock(1000)], Origin.KEYS)
    meter.apply([ResetPartials(PARTIALS)])
    meter.apply([SetSetting("sealed", 1)])
    assert meter.apply([SetSetting("ct_primary", 300)]) is not None  # refused, and no event
    assert told(meter) == [
        ("SETTING", "HOST", "ct_primary", "5", "200"), ("SETTING", "HOST", "calibration", "", ""),
        ("TARIFF", "BUS", "tariff", "1", "2"), ("RESET", "KEYS", "par.Ea+", "69", "0"),
        ("CLOCK", "KEYS", "clock", "90", "1000"),
        ("RESET", "HOST", "partials", "", ""), ("SETTING", "HOST", "sealed", "0", "1"),
    ]  # fmt: skip
    assert [e.time for e in log(meter) if e is not None] == [90] * 5 + [1000] * 2


def test_modbus_and_keys_say_whence() -> None:
    meter = Meter(E44, tariff_control="com")
    meter.pdu(pdu.write_request(57355, [600]))
    meter.pdu(bytes.fromhex("06 9E21 0003"))
    assert told(meter) == [("SETTING", "BUS", "demand_period", "900", "600"), ("TARIFF", "BUS", "tariff", "1", "3")]
    meter.feed(three_phase(230, 1.0), seconds=3)
    before = len(log(meter))
    meter.hold(Key.SET, 4.0)
    for _ in range(40):
        meter.press(Key.UP)
        meter.press(Key.ENTER)
    assert all(words[1] == "KEYS" for words in told(meter)[before:])


def test_the_tariff_input_is_noted_once_for_each_change() -> None:
    meter = Meter(E44)
    for volts in (0.0, 230.0, 230.0, 50.0, 0.0):
        meter.apply([SetTariffInput(volts)])
    assert told(meter) == [("TARIFF", "METER", "tariff", "1", "2"), ("TARIFF", "METER", "tariff", "2", "1")]


def test_power_that_goes_and_comes() -> None:
    meter = Meter(E44)
    for volts, count in ((230.0, 10), (0.0, 10), (230.0, 10), (100.0, 2), (230.0, 10)):  # the hold-up bridges 0.4 s
        for window in windows(volts, 1.0, count=count):
            meter.count(window)
    assert told(meter) == [("POWER", "METER", "off", "", ""), ("POWER", "METER", "on", "", "")]


@pytest.mark.parametrize("at_once", [False, True])
def test_overload_is_noted_when_it_begins_and_ends(at_once: bool) -> None:
    meter = Meter(E44)
    values = ((230, 1), (289, 1), (287, 1), (281, 1), (310, 7), (310, 121), (230, 1), (230, 130))
    found = [window for volts, amperes in values for window in windows(float(volts), float(amperes))]
    if at_once:
        parts = [np.concatenate([getattr(window, name) for window in found]) for name in ("ns", "live", "whole")]
        meter.count(Measurement(*parts))
    else:
        for window in found:
            meter.count(window)
    first = [words for words in told(meter) if words[2] in ("V1", "I3")]
    assert first == [
        ("OVERLOAD", "METER", "V1", "", "289.0 V"), ("OVERLOAD", "METER", "V1", "281.0 V", ""),
        ("OVERLOAD", "METER", "V1", "", "overload 310 V"), ("OVERLOAD", "METER", "I3", "", "7.00 A"),
        ("OVERLOAD", "METER", "V1", "230.0 V", ""), ("OVERLOAD", "METER", "I3", "1.00 A", ""),
        ("OVERLOAD", "METER", "I3", "", "overload 130 A"),
    ]  # fmt: skip


def test_faults_on_purpose_are_noted() -> None:
    desk = MeterPort(Feeder(Meter(E44), three_phase(230, 1.0), 1.0))
    desk.set_faults([{"kind": "busy"}, {"kind": "crc"}])
    with pytest.raises(SettingError):
        desk.set_faults([{"kind": "none of these"}])
    desk.set_faults([])
    assert [words[2:] for words in told(desk.feeder.meter)] == [("faults", "none", "busy crc"), ("faults", "busy crc", "none")]


def test_the_log_survives_is_bounded_and_knows_what_is_damaged() -> None:
    meter = Meter(E43, tariff_control="com")
    for k in range(CAPACITY + 10):
        meter.apply([SetSetting("product_id", k + 1)])
    disk = bytearray(Meter(E43).save())
    for offset, data in meter.writes():
        disk[offset : offset + len(data)] = data
    again = Meter.load(bytes(disk))
    assert again["product_id"] == CAPACITY + 10
    assert log(again) == log(meter) == log(Meter.load(meter.save()))
    assert len(log(again)) == CAPACITY
    assert told(again)[0][3:] == ("10", "11")
    disk[LOG_OFFSET + 64 * 10 + 20] ^= 1  # the oldest that is left: number 10 stands at the tenth place
    assert log(Meter.load(bytes(disk)))[0] is None
    assert log(Meter.load(bytes(disk)))[1:] == log(meter)[1:]


def damaged(folder: Path, *places: int) -> tuple[Path, bytes]:
    """The memory of a meter that ran, with a bit of some of its bytes turned over."""
    with countis_run(folder, "--serial", "none"):
        pass
    path = folder / "data" / "meter.fram"
    image = bytearray(path.read_bytes())
    for place in places:
        image[place] ^= 1
    path.write_bytes(image)
    return path, bytes(image)


def test_a_start_and_what_it_mends_are_noted(tmp_path: Path) -> None:
    path, _ = damaged(tmp_path, 100)
    with countis_run(tmp_path, "--serial", "none", "--tariff-control", "com"):
        pass
    rows = json.loads(command("events", "--data", str(path.parent), "--format", "json").stdout)
    assert [(row["kind"], row["subject"], row["new"]) for row in rows] == [
        ("power", "start", ""), ("setting", "tariff_control", "com"), ("memory", "hot", "cleaned")]  # fmt: skip
    assert Meter.load(path.read_bytes())["tariff_control"] == "com"
    text = command("events", "--data", str(path.parent)).stdout.splitlines()
    assert [line.split()[3:] for line in text] == [
        ["power", "meter", "start"], ["setting", "host", "tariff_control", "dig", "->", "com"],
        ["memory", "meter", "hot", "cleaned"]]  # fmt: skip
    table = command("events", "--data", str(path.parent), "--format", "csv").stdout.splitlines()
    assert table[0] == "number,time,kind,whence,subject,old,new"
    assert len(table) == 4


def test_events_are_logged_where_it_is_asked_for(tmp_path: Path) -> None:
    said = []
    for flags in ((), ("--log",)):
        running = start(tmp_path, "--serial", "none", "--tariff-control", "com", *flags)
        with Bus.open(running.target) as bus:
            bus[5].select_tariff(3 if flags else 2)
        time.sleep(1.2)
        said.append(stop(running)[2])
    assert said[0] == ""
    assert [line.split()[2:] for line in said[1].splitlines()] == [["tariff", "bus", "tariff", "2", "->", "3"]]


def test_a_log_that_nobody_reads_holds_up_nobody(tmp_path: Path) -> None:
    running = start(tmp_path, "--serial", "none", "--tariff-control", "com", "--log")
    with Bus.open(running.target) as bus:
        for k in range(4000):  # more than a pipe holds
            bus[5].select_tariff(1 + k % 2)
        time.sleep(1.2)
        assert bus[5].read("tariff") == {"tariff": 2}
    running.process.send_signal(signal.SIGTERM)
    assert running.process.wait(5) == 0
    running.process.communicate()


def test_what_is_printed_is_printed_once_and_what_was_missed_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    meter = Meter(E44, tariff_control="com")
    feeder, publisher, printer = Feeder(meter, three_phase(230, 1.0), 1.0, name="a"), Publisher(), EventPrinter(True)
    publisher.subscribe(printer)
    meter.apply([SelectTariff(2)])
    feeder.publish(publisher)
    for k in range(CAPACITY + 100):
        meter.apply([SelectTariff(2 - k % 2)])
        meter.apply([SelectTariff(1 + k % 2)])
    feeder.publish(publisher)
    printer.show()
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == f"{meter.state.events - CAPACITY} more before"
    assert len(lines) == 1 + CAPACITY
    printer.show()
    assert capsys.readouterr().err == ""


def test_a_start_that_fails_changes_nothing_and_loses_no_time(tmp_path: Path) -> None:
    path, image = damaged(tmp_path, 100)
    os.utime(path, (time.time() - 36_000,) * 2)
    before = path.stat().st_mtime_ns
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = command("run", "--data", str(path.parent), "--serial", "none", "--tcp", f"127.0.0.1:{taken.getsockname()[1]}")
    assert done.returncode == 2
    assert (path.read_bytes(), path.stat().st_mtime_ns) == (image, before)
    was = Meter.load(image).clock
    with countis_run(tmp_path, "--serial", "none"):
        pass
    assert Meter.load(path.read_bytes()).clock - was > 35_000


@pytest.mark.parametrize("page", MemoryPage)
def test_a_meter_that_lost_a_page_starts_with_its_usual_flags_and_its_file_stays(page: MemoryPage, tmp_path: Path) -> None:
    path, image = damaged(tmp_path, *((page * 2 + copy) * PAGE + 100 for copy in (0, 1)))
    with countis_run(tmp_path, "--serial", "none", "--ct", "50/5") as running, Bus.open(running.target) as bus:
        assert (bus[5].read("Ea+")["Ea+"] is None) is (page is MemoryPage.HOT)
    assert path.read_bytes() == image


def test_a_memory_of_the_first_layout_is_written_anew_and_told(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    old = gzip.decompress((MEMORIES / "v1.fram.gz").read_bytes())
    (folder / "meter.fram").write_bytes(old)
    with countis_run(tmp_path, "--serial", "none"):
        pass
    again = Meter.load((folder / "meter.fram").read_bytes())
    assert again.store.version == 2
    assert [words[2:] for words in told(again)] == [("start", "", ""), ("layout", "1", "2")]
    assert again["serial_number"] == "2645123400042"


@pytest.mark.parametrize("content", [None, b"", b"x" * 100])
def test_a_memory_that_is_none_is_one_line(content: bytes | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "meter.fram").write_bytes(content)
    done = command("events", "--data", str(tmp_path))
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert "allowed: " in done.stderr
