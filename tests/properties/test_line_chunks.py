"""Bytes of a line in any pieces, silences between any of them: the same frames and the same replies, functions 8 and 43 too.

The bytes are valid frames, what becomes of them, and noise. Cut at every byte is the reference; a cut is never a silence.
"""

from __future__ import annotations

from itertools import pairwise

from countis import E44, Meter
from countis.modbus import pdu, rtu, tcp
from countis.supply import three_phase
from hypothesis import assume, event, given, settings
from hypothesis import strategies as st

METER = Meter(E44, ct_primary=200, tariff_control="com")
METER.feed(three_phase(230, 2.5, 0.9), seconds=3)
START = METER.save()
UNIT = 5
SMALL = st.integers(0, 7)
WORD = st.integers(0, 0xFFFF).map(lambda n: n.to_bytes(2, "big"))
REQUESTS = st.one_of(
    st.builds(pdu.read_request, st.sampled_from([50514, 50000, 57345, 61456, 7]), st.sampled_from([0, 1, 2, 40, 125, 126])),
    st.builds(lambda a, v: b"\x06" + a.to_bytes(2, "big") + v, st.sampled_from([57346, 40481, 57355, 50514]), WORD),
    st.builds(pdu.write_request, st.sampled_from([57345, 57600, 57890]), st.lists(st.integers(0, 40), min_size=1, max_size=6)),
    st.builds(lambda sub, data: b"\x08\x00" + bytes((sub,)) + data, st.sampled_from([0, 1, 10, 11, 13, 14]), WORD),
    st.builds(lambda mei, code, first: bytes((43, mei, code, first)), st.sampled_from([13, 14]), SMALL, SMALL),
    st.binary(min_size=1, max_size=12),
)
ADDRESSES = st.sampled_from([UNIT, UNIT, UNIT, 0, 9])


def spoil(data: bytes, at: int, what: int) -> bytes:
    """Cut a frame short, change, double or drop a byte, or leave it."""
    at %= len(data)
    return (data, data, data[:at], data[:at] + bytes((data[at] ^ 1,)) + data[at + 1 :], data[: at + 1] + data[at:],
            data[:at] + data[at + 1 :])[what]  # fmt: skip


WRAPPED = st.builds(tcp.wrap, st.integers(0, 0xFFFF), st.sampled_from([UNIT, 0, 9]), REQUESTS)
FRAMES = st.builds(spoil, st.builds(rtu.frame, ADDRESSES, REQUESTS), st.integers(0, 300), st.integers(0, 5))
ENVELOPES = st.builds(spoil, WRAPPED, st.integers(0, 300), st.integers(0, 5))
SWITCHED = st.sampled_from([b"\x08\x00\x00\xab\xcd", b"\x08\x00\x0b\x00\x00", b"\x2b\x0e\x01\x00", b"\x2b\x0e\x04\x04"])
NOISE = st.binary(max_size=20)
SEGMENTS = st.lists(st.lists(st.one_of(FRAMES, FRAMES, NOISE), max_size=4).map(b"".join), max_size=4)  # parted by silence
CUTS = st.lists(st.integers(0, 1 << 16), max_size=8)


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    at = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[a:b] for a, b in pairwise(at)]


def meter(diagnostics: bool) -> Meter:
    fresh = Meter.load(START)
    fresh.state.diagnostics = diagnostics
    return fresh


def on_line(segments: list[list[bytes]], diagnostics: bool) -> tuple[list[bytes], list[bytes], bytes]:
    """Return frames, replies and the row after pieces with a silence after each segment."""
    framer, slave = rtu.SlaveFramer({UNIT}), meter(diagnostics)
    frames: list[bytes] = []
    for segment in segments:
        for piece in segment:
            frames += framer.receive(piece)
        frames += framer.silence()
        assert not framer.waiting
    return frames, [slave.rtu(frame) for frame in frames], slave.state.row.tobytes()


@given(SEGMENTS, CUTS, st.booleans())
@settings(max_examples=300)
def test_a_timed_line_does_not_see_pieces(segments: list[bytes], cuts: list[int], diagnostics: bool) -> None:
    cut = on_line([pieces(segment, cuts) for segment in segments], diagnostics)
    assert cut == on_line([[bytes((byte,)) for byte in segment] for segment in segments], diagnostics)
    assert cut == on_line([[segment] for segment in segments], diagnostics)
    event(f"{min(3, len(cut[0]))} frames")
    for frame, reply in zip(*cut[:2], strict=True):
        assert rtu.is_whole(frame)
        assert (reply == b"") == (frame[0] == 0)
        assert reply == b"" or rtu.is_whole(reply)


@given(SEGMENTS, CUTS, st.integers(0, 1 << 16))
@settings(max_examples=300)
def test_a_silence_within_a_frame_ends_it_whatever_the_pieces(segments: list[bytes], cuts: list[int], at: int) -> None:
    """A silence more, at any place: what comes before and after it are told as if each had come alone."""
    data = b"".join(segments)
    assume(data)
    at %= len(data)
    whole = on_line([pieces(data[:at], cuts), pieces(data[at:], cuts)], False)[0]
    assert whole == on_line([[data[:at]]], False)[0] + on_line([[data[at:]]], False)[0]


@given(st.lists(st.one_of(FRAMES, FRAMES, NOISE), max_size=5).map(b"".join), CUTS, st.booleans())
@settings(max_examples=300)
def test_a_stream_of_rtu_frames_does_not_see_pieces(data: bytes, cuts: list[int], diagnostics: bool) -> None:
    def follow(parts: list[bytes]) -> tuple[list[bytes], bool, list[bytes]]:
        framer, slave = rtu.SlaveFramer(timed=False), meter(diagnostics)
        frames = [frame for part in parts for frame in framer.receive(part)]
        return frames, framer.broken, [slave.rtu(frame) for frame in frames]

    cut = follow(pieces(data, cuts))
    assert cut == follow([bytes((byte,)) for byte in data]) == follow([data])
    assert not cut[0] or data.startswith(b"".join(cut[0]))  # nothing was passed over


@given(st.lists(st.one_of(ENVELOPES, ENVELOPES, NOISE), max_size=5).map(b"".join), CUTS, st.booleans())
@settings(max_examples=300)
def test_a_connection_does_not_see_pieces(data: bytes, cuts: list[int], diagnostics: bool) -> None:
    def follow(parts: list[bytes]) -> tuple[list[tcp.Envelope], bool, list[bytes]]:
        framer, slave = tcp.Framer(), meter(diagnostics)
        found = [envelope for part in parts for envelope in framer.receive(part)]
        return found, framer.broken, [slave.pdu(envelope.pdu) for envelope in found]

    cut = follow(pieces(data, cuts))
    assert cut == follow([bytes((byte,)) for byte in data]) == follow([data])
    for envelope, reply in zip(cut[0], cut[2], strict=True):
        assert reply
        assert reply[0] & 0x7F == envelope.pdu[0] & 0x7F


@given(SWITCHED, st.integers(1, 8))
def test_functions_8_and_43_are_refused_unless_they_are_switched_on(request: bytes, size: int) -> None:
    whole = rtu.frame(UNIT, request)
    parts = [whole[at : at + size] for at in range(0, len(whole), size)]
    refused, answered = on_line([parts], False)[1], on_line([parts], True)[1]
    assert refused == [rtu.frame(UNIT, bytes((request[0] | 0x80, 1)))]
    assert len(answered) == 1
    assert answered[0][1] == request[0]
    for timed in (True, False):  # known by their length, so that neither needs a silence
        framer = rtu.SlaveFramer({UNIT}, timed=timed)
        assert [frame for part in parts for frame in framer.receive(part)] == [whole]
        assert not framer.broken
