"""Faults on purpose: what each does to a reply, when it holds, and how it is told."""

from __future__ import annotations

from typing import Any

import pytest
from countis.modbus import rtu
from countis.modbus.line.answer import Answer
from countis.modbus.line.faults import FOREVER, Fault, FaultKind, Faults, fault_row, read_fault
from countis.words.clock import SECOND
from countis.words.errors import SettingError

REPLY = bytes.fromhex("0304000059E2")
FRAME = rtu.frame(5, REPLY)


def spoilt(kind: str, *, serial: bool = True, reply: bytes = REPLY, **row: Any) -> Answer:
    faults = Faults([read_fault({"kind": kind, **row})])
    return faults.answer(0, 5, reply, serial=serial)


def test_without_faults_a_reply_leaves_as_it_is() -> None:
    assert Faults().answer(0, 5, REPLY, serial=True) == Answer(0, FRAME)
    assert Faults().answer(0, 5, REPLY, serial=False) == Answer(0, b"\x05" + REPLY)


@pytest.mark.parametrize(("kind", "row", "data"), [
    ("no_reply", {}, b""),
    ("dead", {}, b""),
    ("busy", {}, rtu.frame(5, b"\x83\x06")),
    ("exception", {"code": 2}, rtu.frame(5, b"\x83\x02")),
    ("id", {}, rtu.frame(6, REPLY)),
    ("function", {}, rtu.frame(5, b"\x04" + REPLY[1:])),
    ("truncated", {"bytes": 3}, FRAME[:-3]),
    ("truncated", {"bytes": 255}, FRAME[:1]),
])  # fmt: skip
def test_what_a_fault_does(kind: str, row: dict[str, Any], data: bytes) -> None:
    assert spoilt(kind, **row) == Answer(0, data)


def test_a_wrong_crc_is_wrong_in_nothing_else_and_there_is_none_on_tcp() -> None:
    answer = spoilt("crc").data
    assert answer[:-2] == FRAME[:-2]
    assert not rtu.is_whole(answer)
    assert spoilt("crc", serial=False).data == b"\x05" + REPLY


def test_extra_bytes_follow_the_frame() -> None:
    answer = spoilt("extra", bytes=7).data
    assert answer.startswith(FRAME)
    assert len(answer) == len(FRAME) + 7


def test_a_late_reply_is_whole() -> None:
    assert spoilt("late", ms=250) == Answer(250_000_000, FRAME)
    assert spoilt("late").delay_ns == 500_000_000


def test_silence_stays_silence() -> None:
    assert spoilt("extra", reply=b"") == Answer(0, b"")


@pytest.mark.parametrize("kind", ["stale", "drift"])
def test_faults_of_the_meter_leave_the_reply_alone(kind: str) -> None:
    assert spoilt(kind) == Answer(0, FRAME)


def test_a_fault_holds_for_its_time() -> None:
    faults = Faults([read_fault({"kind": "no_reply", "at": 10, "for": 5})])
    held = [second for second in range(20) if not faults.answer(second * SECOND, 5, REPLY, serial=True).data]
    assert held == [10, 11, 12, 13, 14]
    assert faults.on(FaultKind.NO_REPLY, 12 * SECOND) is not None
    assert faults.on(FaultKind.NO_REPLY, 15 * SECOND) is None


def test_a_share_of_the_replies_is_seeded() -> None:
    def pattern(seed: int) -> list[bool]:
        faults = Faults([read_fault({"kind": "no_reply", "share": 0.3})], seed)
        return [bool(faults.answer(0, 5, REPLY, serial=True).data) for _ in range(1000)]

    assert pattern(1) == pattern(1) != pattern(2)
    assert 250 < pattern(1).count(False) < 350


def test_several_faults_hold_together() -> None:
    faults = Faults([Fault(FaultKind.LATE, amount=10.0), Fault(FaultKind.BUSY), Fault(FaultKind.ADDRESS)])
    assert faults.answer(0, 247, REPLY, serial=True) == Answer(10_000_000, rtu.frame(1, b"\x83\x06"))


@pytest.mark.parametrize(("row", "told"), [
    ({}, "fault.kind: None is not possible (allowed: no_reply, late, "),
    ({"kind": []}, "fault.kind: [] is not possible (allowed: no_reply, late, "),
    ({"kind": {"late": 1}}, "fault.kind: {'late': 1} is not possible"),
    ({"kind": "slow"}, "fault.kind: 'slow' is not possible"),
    ({"kind": "late", "ms": -1}, "fault.ms: -1 is not possible (allowed: 0..60000)"),
    ({"kind": "late", "code": 1}, "fault.code: not of late (allowed: ms)"),
    ({"kind": "busy", "ms": 1}, "fault.ms: not of busy (allowed: no amount)"),
    ({"kind": "busy", "share": 2}, "fault.share: 2 is not possible (allowed: 0..1)"),
    ({"kind": "busy", "share": True}, "fault.share: True is not possible"),
    ({"kind": "busy", "at": "now"}, "fault.at: 'now' is not possible"),
    ({"kind": "busy", "then": 1}, "fault.then: unknown key (allowed: kind, at, for, share, "),
])  # fmt: skip
def test_what_is_no_fault_is_told_in_one_line(row: dict[str, Any], told: str) -> None:
    with pytest.raises(SettingError) as error:
        read_fault(row)
    assert str(error.value).startswith(told)


def test_a_row_comes_back_counting_from_now() -> None:
    fault = read_fault({"kind": "late", "at": 10, "for": 5, "share": 0.5, "ms": 20}, 100 * SECOND)
    assert fault_row(fault, 100 * SECOND) == {"kind": "late", "at": 10.0, "for": 5.0, "share": 0.5, "ms": 20.0}
    assert fault_row(fault, 112 * SECOND) == {"kind": "late", "for": 3.0, "share": 0.5, "ms": 20.0}
    assert fault_row(fault, 200 * SECOND)["for"] == 0.0
    assert fault_row(read_fault({"kind": "busy"}), 0) == {"kind": "busy"}
    assert read_fault({"kind": "busy"}).end == FOREVER


@pytest.mark.parametrize("row", [{"k\nd": 1}, {"x" * 9_999: 1}, {"kind": "y" * 9_999}, {"kind": "late", "ms": "z\n" * 9_999}])
def test_whatever_is_wrong_is_told_in_one_short_line(row: dict[str, Any]) -> None:
    with pytest.raises(SettingError) as told:
        read_fault(row)
    assert "\n" not in str(told.value)
    assert len(str(told.value)) < 300
