"""tshark reads a trace of `countis run` as Modbus RTU: functions, units, CRC, registers, exceptions.

Rule: what was asked and answered is known from the client's side (pymodbus); of countis only the file is looked at.
"""

from __future__ import annotations

import shutil
import struct
import subprocess
from pathlib import Path
from typing import Final

import pytest
from countis.modbus.said import trace
from pymodbus.client import ModbusTcpClient
from pymodbus.framer import FramerType

from interop.conftest import RunMeter

TSHARK: Final = shutil.which("tshark")
pytestmark = pytest.mark.skipif(TSHARK is None, reason="tshark is not installed")

SUPPLY: Final = "[voltage]\nL1 = 230.0\nL2 = 230.0\nL3 = 230.0\n"
FIELDS: Final = ("frame.interface_name", "frame.p2p_dir", "mbrtu.unit_id", "mbrtu.crc16.status", "modbus.func_code",
                 "modbus.reference_num", "modbus.word_cnt", "modbus.regnum16", "modbus.regval_uint16",
                 "modbus.exception_code")  # fmt: skip
Rows = list[list[str]]


def tshark(path: Path, *options: str, fields: tuple[str, ...] = FIELDS) -> Rows:
    """Return the fields of each frame as tshark sees them."""
    wanted = [word for name in fields for word in ("-e", name)]
    done = subprocess.run([str(TSHARK), "-r", str(path), "-T", "fields", *wanted, *options], capture_output=True, text=True,
                          check=True)  # fmt: skip
    return [line.split("\t") for line in done.stdout.splitlines()]


@pytest.fixture(scope="module")
def sitting(run_meter: RunMeter, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[int]]:
    """A sitting of a master with a meter: the trace, and the words that it read."""
    path = tmp_path_factory.mktemp("tshark") / "sitting.pcapng"
    with run_meter(SUPPLY, "--trace", str(path)) as ready:
        host, port = ready["tcp"].split(":")
        with ModbusTcpClient(host, port=int(port)) as master:
            read = master.read_holding_registers(50514, count=12, device_id=5).registers
            assert not master.write_registers(57355, [600], device_id=5).isError()
            assert master.read_holding_registers(1, count=2, device_id=5).exception_code == 2
            assert not master.write_register(57355, 900, device_id=5).isError()
            assert master.read_coils(1, count=1, device_id=5).exception_code == 1
        host, port = ready["rtu_tcp"].split(":")
        with ModbusTcpClient(host, port=int(port), framer=FramerType.RTU) as master:
            assert master.read_holding_registers(57346, count=1, device_id=5).registers == [200]
    return path, read


def test_tshark_needs_no_option(sitting: tuple[Path, list[int]]) -> None:
    path, read = sitting
    rows = tshark(path)
    numbers, values = ",".join(str(50514 + k) for k in range(12)), ",".join(map(str, read))
    at = [row[:3] + row[4:] for row in rows]
    assert at[:4] == [
        ["TCP", "1", "5", "3", "50514", "12", "", "", ""],
        ["TCP", "0", "5", "3", "", "", numbers, values, ""],
        ["TCP", "1", "5", "16", "57355", "1", "57355", "600", ""],
        ["TCP", "0", "5", "16", "57355", "1", "", "", ""],
    ]
    assert at[4:6] == [["TCP", "1", "5", "3", "1", "2", "", "", ""], ["TCP", "0", "5", "3", "", "", "", "", "2"]]
    assert [row[:4] for row in at[6:8]] == [["TCP", "1", "5", "6"], ["TCP", "0", "5", "6"]]
    assert [row[3::5] for row in at[8:10]] == [["1", ""], ["1", "1"]]
    assert at[10:] == [["RTU", "1", "5", "3", "57346", "1", "", "", ""], ["RTU", "0", "5", "3", "", "", "57346", "200", ""]]


def test_tshark_finds_every_crc_right(sitting: tuple[Path, list[int]], tmp_path: Path) -> None:
    verify = ("-o", "mbrtu.crc_verification:TRUE")
    rows = tshark(sitting[0], *verify)
    assert {row[3] for row in rows} == {"1"}
    assert len(rows) == 12
    bad, data = tmp_path / "bad.pcapng", sitting[0].read_bytes()
    frame = trace.read(data)[0].frame
    assert data.count(frame) == 1
    bad.write_bytes(data.replace(frame, frame[:-1] + bytes((frame[-1] ^ 1,))))
    assert [row[3] for row in tshark(bad, *verify)] == ["0"] + ["1"] * 11


def test_with_its_port_tshark_tells_a_write_of_one_word_from_its_echo(sitting: tuple[Path, list[int]]) -> None:
    rows = tshark(sitting[0], "-o", "mbrtu.tcp.port:502", "-Y", "modbus.func_code == 6", fields=("_ws.col.Info", "ip.src"))
    assert [row[0].split(":")[0].strip() for row in rows] == ["Query", "Response"]


def test_times_and_ends_are_those_of_the_trace(sitting: tuple[Path, list[int]]) -> None:
    said = trace.read(sitting[0].read_bytes())
    rows = tshark(sitting[0], fields=("frame.time_epoch", "_ws.col.Source", "_ws.col.Destination"))
    assert [row[0] for row in rows] == [f"{one.time_us // 10**6}.{one.time_us % 10**6:06}000" for one in said]
    assert [row[1:] for row in rows[:2]] == [["0.0.0.0", "0.0.0.5"], ["0.0.0.5", "0.0.0.0"]]


def test_what_tshark_writes_is_read_again(sitting: tuple[Path, list[int]], tmp_path: Path) -> None:
    path = tmp_path / "again.pcapng"
    subprocess.run([str(TSHARK), "-r", str(sitting[0]), "-w", str(path)], capture_output=True, check=True)
    assert trace.read(path.read_bytes()) == trace.read(sitting[0].read_bytes())


def test_two_runs_in_one_file_are_one_trace(sitting: tuple[Path, list[int]], tmp_path: Path) -> None:
    path = tmp_path / "twice.pcapng"
    path.write_bytes(2 * sitting[0].read_bytes())
    assert len(tshark(path)) == 24


def test_a_frame_is_as_long_as_the_meter_said(sitting: tuple[Path, list[int]]) -> None:
    reply = trace.read(sitting[0].read_bytes())[1].frame
    assert reply[:3] == bytes((5, 3, 24))
    assert list(struct.unpack(">12H", reply[3:-2])) == sitting[1]
