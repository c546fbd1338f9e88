"""Framing, planning and words: the parts that both ends share."""

from __future__ import annotations

from itertools import pairwise

import pytest
from countis import E44, Meter
from countis.modbus import pdu, rtu, tcp, words
from countis.modbus.table import Functions, Row
from countis.site.plan import plan_of
from countis.words.errors import SettingError, UnknownSymbol
from countis.words.notation import comset, endpoint

from tables import BLOCKS, ROWS, TABLE

PLAN = plan_of(TABLE)

V1 = bytes.fromhex("0503C55800027890")  # read V1 of address 5, by hand


def test_a_frame_by_hand() -> None:
    assert rtu.frame(5, pdu.read_request(50520, 2)) == V1
    assert rtu.is_whole(V1)
    assert not rtu.is_whole(V1[:-1] + b"\x91")


@pytest.mark.parametrize("at", range(1, 8))
def test_half_a_frame_is_dropped_by_silence_and_the_next_one_heard(at: int) -> None:
    framer = rtu.SlaveFramer({5})
    assert framer.receive(V1[:at]) == []
    assert framer.waiting
    assert framer.silence() == []
    assert framer.receive(V1) == [V1]
    assert not framer.waiting


def test_a_wrong_crc_costs_what_follows_until_silence() -> None:
    framer = rtu.SlaveFramer({5})
    assert framer.receive(V1[:-1] + b"\x00" + V1) == []
    assert framer.silence() == []
    assert framer.receive(V1) == [V1]


def test_an_unknown_function_ends_with_silence() -> None:
    framer = rtu.SlaveFramer({5})
    strange = rtu.frame(5, bytes((0x41, 1, 2)))
    assert framer.receive(strange) == []
    assert framer.silence() == [strange]


def test_requests_behind_each_other_are_all_heard() -> None:
    many = rtu.frame(5, pdu.write_request(57345, [5, 200])) + V1 + rtu.frame(0, pdu.write_request(40481, [2])) + V1
    for timed in (True, False):
        assert len(rtu.SlaveFramer({5}, timed=timed).receive(many)) == 4


def test_a_stream_parts_requests_by_length_and_breaks_on_noise() -> None:
    framer = rtu.SlaveFramer({5}, timed=False)
    other = rtu.frame(6, pdu.read_request(50514, 2))
    assert framer.receive(other + V1) == [other, V1]  # the slave is silent to the first
    assert Meter(E44).rtu(other) == b""
    assert not framer.broken
    assert framer.receive(b"\x05\x03\x00\x00\x00\x01\x00\x00" + V1) == []
    assert framer.broken


@pytest.mark.manual("8.3")
@pytest.mark.parametrize(("baud", "bits", "ms"), [(1200, 11, 32.08), (9600, 11, 4.01), (19200, 11, 2.01), (38400, 10, 1.75)])
def test_silence_is_three_and_a_half_characters(baud: int, bits: int, ms: float) -> None:
    assert rtu.silence_ns(baud, bits) / 1e6 == pytest.approx(ms, abs=0.006)


def test_tcp_requests_split_and_merged() -> None:
    one, two = tcp.wrap(1, 5, b"\x03\xc5\x52\x00\x02"), tcp.wrap(2, 5, b"\x03\xc5\x58\x00\x02")
    framer = tcp.Framer()
    assert framer.receive(one[:5]) == []
    assert [e.transaction for e in framer.receive(one[5:] + two)] == [1, 2]
    other = bytearray(one)
    other[2] = 1
    assert [e.transaction for e in framer.receive(bytes(other) + two)] == [2]  # another protocol is dropped
    assert not framer.broken


@pytest.mark.parametrize("length", [0, 1, 255, 0xFFFF])
def test_an_impossible_length_breaks_the_connection_after_what_came_before(length: int) -> None:
    one = tcp.wrap(1, 5, b"\x03\xc5\x52\x00\x02")
    framer = tcp.Framer()
    assert len(framer.receive(one + b"\0\x02\0\0" + length.to_bytes(2, "big") + b"\x05")) == 1
    assert framer.broken
    assert framer.receive(one) == []


def test_the_table_s_places_adjoin_where_its_addresses_do() -> None:
    assert TABLE.locate(50514, 60) is not None
    assert TABLE.locate(50514, 61) is None
    assert TABLE.locate(20224, 125) is not None
    assert TABLE.locate(30233, 1) is not None
    assert TABLE.locate(30234, 1) is None
    assert TABLE.locate(61456, 6 + 116) is not None
    assert TABLE.locate(61456, 6 + 117) is None
    assert TABLE.locate(0xFFFF, 2) is None
    assert {b.start for b in TABLE.blocks_at(int(TABLE.places[57353]), 2)} == {57344, 57354}
    assert len({row.address for row in ROWS}) == len(ROWS)


def test_plans_take_the_finest_register_in_the_fewest_requests() -> None:
    rows = PLAN.rows(["U12", "P", "f", "Ea+", "Ea+.L1"])
    assert [r.address for r in rows["Ea+"]] == [25987, 25989]
    assert [r.address for r in rows["Ea+.L1"]] == [19843, 19845]
    wanted = {r for some in rows.values() for r in some}
    assert PLAN.requests(wanted) == [(19843, 3), (25987, 3), (50514, 24)]
    every = PLAN.requests({r for symbol in PLAN.sources for r in PLAN.sources[symbol]})
    assert all(1 <= count <= 125 for _, count in every)
    with pytest.raises(UnknownSymbol, match="V4: unknown symbol, did you mean V"):
        PLAN.rows(["V4"])


def test_plans_never_touch_what_cannot_be_read() -> None:
    for start, count in PLAN.requests(ROWS[k] for k in range(len(ROWS)) if ROWS[k].access.reads):
        place = TABLE.locate(start, count)
        assert place is not None
        assert all(block.unlocked & Functions.READ for block in TABLE.blocks_at(place, count))


def row_of(symbol: str, type_: str) -> Row:
    return next(row for row in ROWS if row.symbol == symbol and str(row.type) == type_)


@pytest.mark.parametrize(
    ("symbol", "type_", "raw", "value"),
    [
        ("V1", "U32", [0, 0x59E2], 230.1), ("V1", "U16", [0x59E2], 230.1), ("V1", "U16", [0xFFFF], None),
        ("P", "S32", [0xFFFF, 0xFFFE], -20), ("P", "S32", [0x7FFF, 0xFFFF], None), ("PF", "S16", [0xFF38], -0.2),
        ("demand.P", "U16", [0xFFFF], None), ("demand.time", "DATETIME", [0xFFFF, 0xFFFF], None),
        ("Ea+", "U32", [1, 0], 65536000), ("hours.T1", "U32", [0, 150], 1.5), ("sequence", "RESERVED", [1], 132),
        ("sequence", "RESERVED", [3], None), ("Ea+", "U16", [7], 0.7), ("net.Ea", "S32", [0xFFFF, 0xFFFF], -1000),
        ("id.signature", "STRING_16", [0x53, 0x4F, 0x43, 0x4F], "SOCO"),
        ("id.vendor", "STRING_NORM", [0x534F, 0x434F, 0x4D45, 0x4300, 0, 0, 0, 0], "SOCOMEC"),
    ],
)  # fmt: skip
def test_decoding_by_hand(symbol: str, type_: str, raw: list[int], value: float | str | None) -> None:
    assert words.decode(row_of(symbol, type_), raw) == value


@pytest.mark.parametrize("text", ["7E1", "8X1", "8N3", "", "8N"])
def test_bad_comsets(text: str) -> None:
    with pytest.raises(SettingError, match="allowed: 8N1"):
        comset(text, "--comset")
    assert comset("8e2", "--comset") == ("E", 2)


@pytest.mark.parametrize("text", ["localhost", ":502", "host:port", "host:70000", "host:-1"])
def test_bad_endpoints(text: str) -> None:
    with pytest.raises(SettingError, match="allowed: HOST:PORT"):
        endpoint(text, "--tcp")
    assert endpoint("[::1]:502", "--tcp") == ("::1", 502)


def test_blocks_do_not_overlap() -> None:
    assert all(a.start + a.words * a.repeat <= b.start for a, b in pairwise(BLOCKS) if a.start != 30208)
