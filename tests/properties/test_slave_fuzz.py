"""Any bytes into the framers and the slave: silence or a well-formed reply, and no change nobody asked for."""

from __future__ import annotations

import numpy as np
from countis import E44, Meter
from countis.modbus import pdu, rtu, tcp
from countis.supply import three_phase
from hypothesis import given, settings
from hypothesis import strategies as st

from tables import ROWS

METER = Meter(E44, ct_primary=200, tariff_control="com")
METER.feed(three_phase(230, 2.5, 0.9), seconds=3)
ADDRESSES = st.one_of(
    st.integers(0, 0xFFFF), st.sampled_from([19840, 20224, 50514, 50000, 57345, 57600, 58367, 61440, 61456, 61462, 61577])
)
REQUESTS = st.one_of(
    st.binary(min_size=1, max_size=60),
    st.builds(pdu.read_request, ADDRESSES, st.integers(0, 300)),
    st.builds(lambda a, v: b"\x06" + a.to_bytes(2, "big") + v.to_bytes(2, "big"), ADDRESSES, st.integers(0, 0xFFFF)),
    st.builds(pdu.write_request, ADDRESSES, st.lists(st.integers(0, 0xFFFF), max_size=123)),
)


def check_reply(request: bytes, reply: bytes) -> None:
    """A reply is an exception with a known code, the words asked for, or the echo of a write."""
    if reply[0] & 0x80:
        assert len(reply) == 2
        assert reply[0] == request[0] | 0x80
        assert reply[1] in (1, 2, 3)
    elif request[0] == pdu.READ:
        count = int.from_bytes(request[3:5], "big")
        assert reply[:2] == bytes((3, 2 * count))
        assert len(reply) == 2 + 2 * count
    else:
        assert request[0] in (pdu.WRITE, pdu.WRITE_MANY)
        assert reply == request[:5]


def changes(meter: Meter) -> tuple[bytes, dict[str, object]]:
    return meter.state.row.tobytes(), dict(meter.settings)


@given(REQUESTS)
@settings(max_examples=1500)
def test_every_request_gets_a_well_formed_reply(request: bytes) -> None:
    before = changes(METER)
    reply = METER.pdu(request)
    check_reply(request, reply)
    if reply[0] & 0x80 or request[0] == pdu.READ:
        assert changes(METER) == before
    METER.state.settings["address"] = 5  # a write may have moved it


@given(st.binary(max_size=300), st.booleans())
@settings(max_examples=800)
def test_any_bytes_on_a_line(data: bytes, timed: bool) -> None:
    before = changes(METER)
    framer = rtu.SlaveFramer({5}, timed=timed)
    for frame in [*framer.receive(data), *framer.silence()]:
        reply = METER.rtu(frame)
        if reply:
            assert rtu.is_whole(reply)
            assert reply[0] == frame[0] == 5
            check_reply(frame[1:-2], reply[1:-2])
    assert len(METER.rtu(data)) >= 0
    if not any(data[k] in (0, 5) for k in range(len(data))):
        assert changes(METER) == before


@given(
    st.lists(st.one_of(st.binary(max_size=40), st.builds(tcp.wrap, st.integers(0, 65535), st.just(5), REQUESTS)), max_size=5)
)
@settings(max_examples=400)
def test_any_bytes_on_a_connection(parts: list[bytes]) -> None:
    framer = tcp.Framer()
    for envelope in framer.receive(b"".join(parts)):
        assert 1 <= len(envelope.pdu) <= 253
        check_reply(envelope.pdu, METER.pdu(envelope.pdu))
    METER.state.settings["address"] = 5


@given(st.integers(0, 0xFFFF), st.integers(1, 125), st.integers(1, 125))
@settings(max_examples=600)
def test_two_reads_that_touch_are_one_read(address: int, first: int, second: int) -> None:
    a, b = METER.pdu(pdu.read_request(address, first)), METER.pdu(pdu.read_request(min(0xFFFF, address + first), second))
    if first + second <= 125:
        both = METER.pdu(pdu.read_request(address, first + second))
        if not (a[0] | b[0]) & 0x80:
            assert both[2:] == a[2:] + b[2:]
        elif address + first <= 0xFFFF:
            assert both[0] & 0x80


def test_every_word_alone_is_the_word_in_its_block() -> None:
    words: dict[int, bytes] = {}
    for address in range(0x10000):
        reply = METER.pdu(pdu.read_request(address, 1))
        if not reply[0] & 0x80:
            words[address] = reply[2:]
    runs = np.split(np.array(sorted(words)), np.where(np.diff(sorted(words)) != 1)[0] + 1)
    for run in runs:
        start, count = int(run[0]), min(125, len(run))
        assert METER.pdu(pdu.read_request(start, count))[2:] == b"".join(words[start + k] for k in range(count))
    assert len(words) == sum(row.words for row in ROWS if row.access.reads) + 28 * 4


@given(st.lists(st.tuples(st.integers(0, 7), st.binary(max_size=20)), max_size=8))
@settings(max_examples=300)
def test_foreign_traffic_is_never_searched_for_frames(noise: list[tuple[int, bytes]]) -> None:
    """A write to us that stands inside another slave's traffic is not carried out; after silence it is."""
    write = rtu.frame(5, pdu.write_request(57346, [123]))
    for address, data in noise:
        if address in (0, 5):
            continue
        framer = rtu.SlaveFramer({5})
        assert framer.receive(bytes((address,)) + data + write) == []
        assert framer.silence() == []
        assert framer.receive(write) == [write]
