"""What was said on a line as text and as pcapng: written, read, and kept by a running meter."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import struct
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from countis import E44, Meter
from countis.host.running.feeder import Feeder
from countis.host.running.hub import LineHub, MeterPort
from countis.modbus import pdu, rtu, tcp
from countis.modbus.said import trace
from countis.modbus.said.frames import LAST_US, Direction, Form, LineFrame, Port
from countis.serve.trace_file import Traced, TraceFile
from countis.supply import three_phase
from countis.words.errors import SettingError, TraceError
from hypothesis import given
from hypothesis import strategies as st

from running import command, start
from tables import by_unit

READ = pdu.read_request(50520, 2)
ANY = st.lists(st.builds(LineFrame, st.integers(0, LAST_US - 1), st.sampled_from(Port), st.sampled_from(Direction),
                         st.binary(min_size=1, max_size=300)), max_size=8)  # fmt: skip
BOTH = pytest.mark.parametrize("form", Form, ids=lambda form: form.value)
WROTE = 1_764_084_647_640_105


def said(frame: bytes, direction: Direction = Direction.REQUEST, at: int = WROTE, port: Port = Port.RTU) -> LineFrame:
    return LineFrame(at, port, direction, frame)


TALK = [
    said(rtu.frame(5, READ)),
    said(rtu.frame(5, bytes.fromhex("030400005A55")), Direction.REPLY, WROTE + 1),
    said(rtu.frame(5, pdu.read_request(1, 2)), port=Port.TCP),
    said(rtu.frame(5, pdu.exception(3, pdu.Code.ADDRESS)), Direction.REPLY, port=Port.TCP),
    said(rtu.frame(0, pdu.write_request(57346, [400]))),
    said(rtu.frame(5, READ)),
    said(b"\x05\x03\x04\x00", Direction.REPLY),
]
TEXT = """\
2025-11-25T15:30:47.640105Z RTU > 05 03 C5 58 00 02 78 90  read 50520 to 50521: V1
2025-11-25T15:30:47.640106Z RTU < 05 03 04 00 00 5A 55 45 6C  2 words: V1 231.25 V
2025-11-25T15:30:47.640105Z TCP > 05 03 00 01 00 02 94 4F  read 1 to 2
2025-11-25T15:30:47.640105Z TCP < 05 83 02 81 30  exception 02: illegal address
2025-11-25T15:30:47.640105Z RTU > 00 10 E0 02 00 01 02 01 90 4A 10  write 57346: ct_primary 400 A
2025-11-25T15:30:47.640105Z RTU > 05 03 C5 58 00 02 78 90  read 50520 to 50521: V1
2025-11-25T15:30:47.640105Z RTU < 05 03 04 00  no whole frame, or a wrong CRC
"""


def written(form: Form, frames: Sequence[LineFrame]) -> bytes:
    return trace.head(form) + trace.write(form, frames, by_unit)


# the two forms


@BOTH
@given(ANY)
def test_both_forms_give_back_any_frames(form: Form, frames: list[LineFrame]) -> None:
    data = written(form, frames)
    assert trace.read(data) == frames
    assert trace.whole(data) == len(data)


def test_the_text_reads_well() -> None:
    assert trace.write(Form.TEXT, TALK, by_unit).decode() == TEXT
    by_hand = [line[:34] + line[34:].partition("  ")[0].lower() for line in TEXT.splitlines()]
    assert trace.read("\r\n".join(["# by hand", "", *by_hand, ""]).encode()) == TALK


def test_what_a_meter_says_stays_on_its_line() -> None:
    asked, text = pdu.read_request(50042, 8), b"SOCO\nMEC\x1b[2J\x85\r ".ljust(16, b"x")
    data = trace.write(Form.TEXT, [said(rtu.frame(5, asked)), said(rtu.frame(5, b"\x03\x10" + text), Direction.REPLY)], by_unit)
    assert len(data.decode().splitlines()) == 2
    assert data.isascii()


@pytest.mark.parametrize(("line", "wrong"), [
    ("hello", "line 2: 'hello' is no frame (allowed: 2026-11-23T10:24:05.123456Z RTU|TCP >|< 05 03 C5 58 00 02 78 90)"),
    ("2025-02-30T15:30:47.640105Z RTU > 05", "line 2: '2025-02-30T15:30:47.640105Z RTU > 05' is no frame"),
    ("2025-11-25T15:30:47.640105Z RTU > 05 3", "line 2: "),
    ("2025-11-25T15:30:47.640105Z RTU > ", "line 2: "),
    ("2025-11-25T15:30:47.64Z RTU > 05", "line 2: "),
    ("2025-11-25T15:30:47.640105Z CAN > 05", "line 2: "),
    ("1969-12-31T15:30:47.640105Z RTU > 05", "line 2: 1969-12-31T15:30:47.640105 (allowed: from 1970 on)"),
    ("\xff\xfe", "line 2: "),
])  # fmt: skip
def test_a_damaged_line_is_named(line: str, wrong: str) -> None:
    with pytest.raises(TraceError) as error:
        trace.read(f"{TEXT.splitlines()[0]}\n{line}\n".encode("latin-1"))
    assert str(error.value).startswith(wrong)
    assert "\n" not in str(error.value)


def block(kind: int, body: bytes, order: str = "<") -> bytes:
    body += bytes(-len(body) % 4)
    return struct.pack(f"{order}II", kind, len(body) + 12) + body + struct.pack(f"{order}I", len(body) + 12)


def foreign(order: str, link: int = 252, name: bytes = b"RTU", dissector: bytes = b"mbrtu\0\0\0", flags: int = 1, cut: int = 0,
            counts: int = WROTE * 1000) -> bytes:  # fmt: skip
    """A file as another program writes it: any byte order, nanoseconds, blocks and tags that are not ours."""
    frame = struct.pack(">HH", 12, len(dissector)) + dissector + bytes.fromhex("0028000400000001") + bytes(4) + TALK[0].frame
    fixed = struct.pack(f"{order}5I", 0, counts >> 32, counts & 0xFFFFFFFF, len(frame), len(frame) + cut)
    options = struct.pack(f"{order}HH", 1, 3) + b"hey\0" + struct.pack(f"{order}HHI", 2, 4, flags)
    named = struct.pack(f"{order}HH", 2, len(name)) + name + bytes(-len(name) % 4)
    named += struct.pack(f"{order}HH", 9, 1) + b"\x09\0\0\0" + bytes(4)
    return b"".join((
        block(0x0A0D0D0A, struct.pack(f"{order}IHHq", 0x1A2B3C4D, 1, 2, -1), order), block(4, b"names", order),
        block(1, struct.pack(f"{order}HHI", link, 0, 0) + named, order),
        block(6, fixed + frame + bytes(-len(frame) % 4) + options, order), block(5, bytes(12), order),
    ))  # fmt: skip


@pytest.mark.parametrize("order", "<>")
def test_a_file_of_another_program_is_read(order: str) -> None:
    data = foreign(order) + written(Form.PCAPNG, TALK[1:]) + foreign("><"[order == ">"])
    assert trace.read(data) == [*TALK, TALK[0]]
    assert trace.whole(data) == len(data)


@pytest.mark.parametrize(("data", "wrong"), [
    (foreign("<", link=1), "offset 88: not of ours (allowed: link type 252, interfaces RTU and TCP)"),
    (foreign("<", name=b"eth0"), "offset 88: not of ours"),
    (foreign("<", dissector=b"http"), "offset 88: a frame of 'http' (allowed: 'mbrtu')"),
    (foreign("<", flags=0), "offset 88: no direction, or no bytes (allowed: both)"),
    (foreign("<", cut=1), "offset 88: 32 of 33 bytes (allowed: all)"),
    (foreign("<")[:-4], "offset 168: no whole block (allowed: a pcapng file)"),
    (foreign("<").replace(struct.pack("<HHq", 1, 2, -1), struct.pack("<HHq", 2, 0, -1)), "offset 0: another version"),
    (trace.head(Form.PCAPNG) + block(6, b"short"), "offset 92: a block too short"),
    (trace.head(Form.PCAPNG) + trace.write(Form.PCAPNG, TALK[:1], by_unit).replace(struct.pack("<I", WROTE >> 32), b"\xff" * 4),
     "offset 92: a time beyond the year 9999 (allowed: before)"),
])  # fmt: skip
def test_a_damaged_block_is_named_by_its_offset(data: bytes, wrong: str) -> None:
    with pytest.raises(TraceError) as error:
        trace.read(data)
    assert str(error.value).startswith(wrong)
    assert "\n" not in str(error.value)


@given(st.integers(0, 300), st.binary(min_size=1, max_size=8), st.sampled_from(Form))
def test_damage_is_told_and_never_a_crash(at: int, bad: bytes, form: Form) -> None:
    data = written(form, TALK)
    for damaged in (data[:at] + bad + data[at + len(bad) :], data[:at] + bad + data[at:], bad, data[:at], bad * 40):
        trace.whole(damaged)
        with contextlib.suppress(TraceError):
            trace.read(damaged)


@BOTH
@given(st.integers(0, 2000))
def test_a_file_cut_anywhere_keeps_its_whole_frames(form: Form, cut: int) -> None:
    data = written(form, TALK)[: max(4, cut)]
    kept = trace.read(data[: trace.whole(data)])
    assert kept == TALK[: len(kept)]
    ends = [len(written(form, TALK[:k])) for k in range(len(TALK) + 1)]
    assert len(kept) == max((k for k, end in enumerate(ends) if end <= len(data)), default=0)


# the recorder


class Kept(Traced):
    """A line whose frames are kept, and the line itself."""

    def __init__(self, line: LineHub, file: TraceFile) -> None:
        super().__init__(line, file)
        self.line, self.troubles = line, line.troubles


@contextmanager
def kept(path: Path, *addresses: int, faults: Sequence[dict[str, object]] = ()) -> Iterator[Kept]:
    """A line of meters whose frames are kept in a file."""
    desks = []
    for address in addresses:
        meter = Meter(E44, ct_primary=200, ct_secondary=5, address=address)
        meter.feed(three_phase(230, 1.0), seconds=2.0)
        desks.append(MeterPort(Feeder(meter, three_phase(230, 1.0), 1.0)))
        desks[-1].set_faults(faults)
    line = LineHub(desks)
    file = TraceFile(path, by_unit, line.report)
    try:
        yield Kept(line, file)
    finally:
        file.close()


@BOTH
def test_each_frame_is_kept_once_and_as_it_leaves(form: Form, tmp_path: Path) -> None:
    path, whole = tmp_path / f"t{form.value}", tcp.wrap(7, 6, READ)
    before = time.time_ns() // 1000
    with kept(path, 5, 6) as hub:
        heard = hub.rtu(rtu.frame(5, READ)).data
        assert hub.rtu_cached(rtu.frame(5, READ)) == heard
        assert hub.rtu_cached(rtu.frame(9, READ)) is None
        hub.rtu(rtu.frame(0, pdu.write_request(40481, [1])))
        hub.rtu(rtu.frame(9, READ))
        replied = hub.tcp(tcp.Envelope(7, 6, READ)).data
        assert hub.tcp_cached(whole) == replied
        hub.tcp_cached(tcp.wrap(7, 6, pdu.read_request(50522, 2)))  # not cached: the port asks again, and then it is kept
        hub.tcp(tcp.Envelope(7, 9, READ))
    found = trace.read(path.read_bytes())
    over_tcp = rtu.frame(6, replied[7:])
    assert [(one.port.value, one.direction.value, one.frame) for one in found] == [
        *[("RTU", ">", rtu.frame(5, READ)), ("RTU", "<", heard)] * 2, ("RTU", ">", rtu.frame(0, pdu.write_request(40481, [1]))),
        ("RTU", ">", rtu.frame(9, READ)), ("TCP", ">", rtu.frame(6, READ)), ("TCP", "<", over_tcp),
        ("TCP", ">", rtu.frame(6, READ)), ("TCP", "<", over_tcp),
        ("TCP", ">", rtu.frame(9, READ)), ("TCP", "<", rtu.frame(9, pdu.exception(3, pdu.Code.GATEWAY_TARGET))),
    ]  # fmt: skip
    times = [before, *(one.time_us for one in found), time.time_ns() // 1000]
    assert times == sorted(times)


def test_faults_leave_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "t.txt"
    with kept(path, 5, faults=[{"kind": "late", "ms": 1500.0}, {"kind": "crc"}]) as hub:
        answer = hub.rtu(rtu.frame(5, READ))
        hub.line.ports[0].set_faults([{"kind": "dead"}])
        hub.rtu(rtu.frame(5, READ))
    asked, reply, again = trace.read(path.read_bytes())
    assert reply.frame == answer.data
    assert not rtu.is_whole(reply.frame)
    assert 1_500_000 <= reply.time_us - asked.time_us < 2_500_000
    assert (again.direction, again.time_us < reply.time_us) == (Direction.REQUEST, True)


def test_colliding_replies_are_one(tmp_path: Path) -> None:
    with kept(tmp_path / "t.txt", 5, 5) as hub:
        heard = hub.rtu(rtu.frame(5, READ)).data
        assert hub.rtu_cached(rtu.frame(5, READ)) is None
    assert [one.frame for one in trace.read((tmp_path / "t.txt").read_bytes())] == [rtu.frame(5, READ), heard]


@BOTH
def test_a_trace_goes_on_behind_what_is_there(form: Form, tmp_path: Path) -> None:
    path = tmp_path / f"t{form.value}"
    for k in range(3):
        with kept(path, 5) as hub:
            hub.rtu(rtu.frame(5, READ))
        data = path.read_bytes()
        assert len(trace.read(data)) == 2 * (k + 1)
        path.write_bytes(data + trace.write(form, TALK[:1], by_unit)[:-3])  # as a kill in the middle of a flush leaves it
    with kept(path):
        pass
    assert len(trace.read(path.read_bytes())) == 6, "what a kill cut off is gone, though nothing was said since"


@pytest.mark.parametrize(("name", "content", "wrong"), [
    ("t.pcap", None, "of no known kind (allowed: a file that ends in .txt, .pcapng)"),
    ("t.txt", "notes of mine", "line 1: 'notes of mine' is no frame"),
    ("t.txt", "2026 was good", "line 1: "),
    ("t.pcapng", "notes of mine", "something else (allowed: a new file, or a trace that goes on)"),
    ("none/t.txt", None, "No such file or directory (allowed: a file that can be written)"),
    (".", None, "of no known kind"),
])  # fmt: skip
def test_what_is_no_trace_is_left_alone(name: str, content: str | None, wrong: str, tmp_path: Path) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_text(content)
    with pytest.raises((TraceError, SettingError)) as error:
        TraceFile(path, by_unit)
    assert str(error.value).startswith(f"--trace {path}: {wrong}")
    assert content is None or path.read_text() == content


def test_a_pipe_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "t.txt")
    with pytest.raises(TraceError, match="no plain file"):
        TraceFile(tmp_path / "t.txt", by_unit)


def test_a_full_disk_ends_the_trace_and_not_the_meter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, room = tmp_path / "t.txt", [70]
    pwrite = os.pwrite

    def full(fd: int, data: bytes, at: int) -> int:
        if not room[0]:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        part = data[: room[0]]
        room[0] -= len(part)
        return pwrite(fd, part, at)

    with kept(path, 5) as hub:
        hub.rtu(rtu.frame(5, READ))
        monkeypatch.setattr(os, "pwrite", full)
        hub._file.flush()
        assert hub.troubles == ["trace ended: No space left on device"]
        assert hub.rtu(rtu.frame(5, READ)).data
    assert path.read_bytes() == b""
    assert len(hub.troubles) == 1


def test_a_flood_is_written_by_who_makes_it(tmp_path: Path) -> None:
    path = tmp_path / "t.pcapng"
    with kept(path, 5) as hub:
        for _ in range(1000):
            hub.rtu(rtu.frame(9, READ))
        assert len(trace.read(path.read_bytes())) == 1000


@BOTH
def test_a_kill_keeps_what_was_flushed(form: Form, tmp_path: Path) -> None:
    path = tmp_path / f"t{form.value}"
    meter = start(tmp_path, "--trace", str(path))
    try:
        assert command("read", meter.target, "5", "V1").returncode == 0
        until = time.monotonic() + 20.0
        while b"\x05\x03\xc5\x58" not in path.read_bytes() and b"05 03 C5 58" not in path.read_bytes():
            assert time.monotonic() < until, "a second has passed, and nothing is written"
            time.sleep(0.05)
    finally:
        meter.process.send_signal(signal.SIGKILL)
        meter.process.communicate()
    data = path.read_bytes()
    assert trace.whole(data) == len(data)
    assert [one.direction.value for one in trace.read(data)] == [">", "<"]


def test_a_bad_trace_is_told_before_anything_runs(tmp_path: Path) -> None:
    done = command("run", "--data", str(tmp_path / "data"), "--trace", str(tmp_path / "t.pcap"))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"countis: --trace {tmp_path}/t.pcap: of no known kind (allowed: a file that ends in .txt, .pcapng)\n"
