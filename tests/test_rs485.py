"""The modelled line: times of bytes, and everything that spoils them; seeded, so that it is the same each time."""

from __future__ import annotations

import pytest
from countis.modbus import pdu, rtu
from countis.modbus.line.cable import UNIT_LOAD, Cable, Disturbance, LineModel
from countis.modbus.line.chance import chance
from countis.words.errors import SettingError

MS = 1_000_000
ALL = 1 << 60
TEXT = bytes(range(256))

# Minimum time of a read in ms, 8N1 and 8E1, from the vendor's paper: request + 3.5 characters + answer + 3.5 characters.
MINIMUM = {
    (1200, 2): (200, 220), (1200, 50): (1000, 1100), (1200, 125): (2250, 2475),
    (9600, 2): (25, 27.5), (9600, 50): (125, 137.5), (9600, 125): (281, 309),
    (19200, 2): (12.5, 13.7), (19200, 50): (62.5, 68.7), (19200, 125): (141, 155),
    (38400, 2): (7.9, 8.4), (38400, 50): (32.9, 35.9), (38400, 125): (72, 78.8),
    (115200, 2): (5.0, 5.1), (115200, 50): (13.3, 14.3), (115200, 125): (26.3, 28.6),
}  # fmt: skip


def exchange(line: LineModel, count: int) -> int:
    """Let a master read and a slave answer as soon as each may; return when the next request may begin, in ns."""
    request = rtu.frame(5, pdu.read_request(50514, count))
    heard = line.received(1, -1, line.send(0, request, 0))
    framer = rtu.SlaveFramer({5})
    frames = framer.receive(bytes(byte.value for byte in heard))
    assert frames == [request]
    reply = rtu.frame(5, bytes((3, 2 * count)) + bytes(2 * count))
    over = line.send(1, reply, heard[-1].at + line.silence_ns)
    answered = line.received(0, heard[-1].at, over)
    assert bytes(byte.value for byte in answered) == reply
    return answered[-1].at + line.silence_ns


@pytest.mark.manual("8.3")
@pytest.mark.parametrize(("baud", "count"), MINIMUM)
@pytest.mark.parametrize("bits", [10, 11])
def test_minimum_times_are_those_of_the_table(baud: int, count: int, bits: int) -> None:
    printed = MINIMUM[baud, count][bits - 10]
    steps = 0.05 if printed < 100 else 0.5  # as printed
    assert abs(exchange(LineModel(baud, bits), count) / MS - printed) <= 0.01 * printed + steps


ROUNDS = [(32, 11, 9600, 9.5), (247, 11, 38400, 18.8), (247, 11, 1200, 589)]  # meters, bits, baud, s as printed


@pytest.mark.parametrize(("meters", "bits", "baud", "printed"), ROUNDS)
def test_a_round_over_many_meters_takes_what_the_table_says(meters: int, bits: int, baud: int, printed: float) -> None:
    assert meters * exchange(LineModel(baud, bits), 120) / 1e9 == pytest.approx(printed, rel=0.01)


def test_chunks_of_time_do_not_matter() -> None:
    line = LineModel(9600, troubles=(Disturbance(noise=0.1, lost=0.1, doubled=0.1),), parity=True)
    over = line.send(0, TEXT, 0)
    whole = line.received(1, -1, over)
    step = 7 * MS + 13
    pieces = [byte for start in range(-1, over, step) for byte in line.received(1, start, min(over, start + step))]
    assert pieces == whole
    assert len(whole) not in (0, 256)


def test_the_same_seed_spoils_the_same_and_another_does_not() -> None:
    def heard(seed: int) -> list[object]:
        line = LineModel(9600, troubles=(Disturbance(noise=0.2),), seed=seed)
        return [byte.value for byte in line.received(1, -1, line.send(0, TEXT, 0))]

    assert heard(1) == heard(1) != heard(2)


@pytest.mark.parametrize(("trouble", "low", "high"), [
    (Disturbance(lost=0.25), 155, 225), (Disturbance(doubled=0.25), 290, 350), (Disturbance(lost=1.0), 0, 0),
    (Disturbance(), 256, 256),
])  # fmt: skip
def test_bytes_are_lost_and_doubled(trouble: Disturbance, low: int, high: int) -> None:
    line = LineModel(9600, troubles=(trouble,))
    assert low <= len(line.received(1, -1, line.send(0, TEXT, 0))) <= high


def test_a_burst_of_noise_spoils_its_time_alone() -> None:
    line = LineModel(9600, troubles=(Disturbance(start=50 * MS, end=100 * MS, noise=1.0),))
    heard = line.received(1, -1, line.send(0, TEXT, 0))
    for sent, byte in zip(TEXT, heard, strict=True):
        assert (byte.value != sent) == (50 * MS <= byte.at <= 100 * MS)


def test_parity_finds_an_odd_number_of_wrong_bits() -> None:
    line = LineModel(9600, 11, troubles=(Disturbance(noise=1.0),), parity=True)
    for sent, byte in zip(TEXT, line.received(1, -1, line.send(0, TEXT, 0)), strict=True):
        assert byte.spoilt == ((sent ^ byte.value).bit_count() % 2 == 1)


def test_two_who_talk_at_once_spoil_what_overlaps() -> None:
    line = LineModel(9600)
    line.send(1, b"\x55" * 10, 0)
    over = line.send(2, b"\x33" * 10, 5 * MS)
    heard = line.received(0, -1, over + ALL)
    assert [byte.value for byte in heard if byte.at < 5 * MS] == [0x55] * 4
    assert {byte.value for byte in heard if byte.spoilt} == {0x11}
    assert line.busy(4 * MS)
    assert not line.busy(over)


def test_an_adapter_that_echoes_hears_itself_and_no_other_does() -> None:
    for echo in (True, False):
        line = LineModel(9600, cable=Cable(echo=echo))
        over = line.send(0, b"abc", 0)
        assert bytes(byte.value for byte in line.received(0, -1, over)) == (b"abc" if echo else b"")


@pytest.mark.parametrize("cable", [Cable(broken=frozenset({1})), Cable(swapped=frozenset({1}))])
def test_who_is_cut_off_or_swapped_hears_and_says_nothing(cable: Cable) -> None:
    line = LineModel(9600, cable=cable)
    over = line.send(0, b"abc", 0)
    assert line.received(1, -1, over) == []
    assert len(line.received(2, -1, over)) == 3
    assert line.received(2, over, line.send(1, b"abc", over)) == []


@pytest.mark.manual("8.2")
def test_the_cable_spoils_bits_by_length_speed_and_load() -> None:
    def share(baud: int, **cable: object) -> float:
        return LineModel(baud, cable=Cable(**cable)).error_share()  # type: ignore[arg-type]

    assert share(115200, metres=1200) == 0.0
    assert share(9600, metres=100, terminated=False) == 0.0
    assert 0.0 < share(9600, metres=1200, terminated=False) < share(115200, metres=1200, terminated=False)
    assert share(9600, metres=1300) > 0.0
    assert share(9600, units=256 * UNIT_LOAD) == 0.0
    assert share(9600, units=264 * UNIT_LOAD) > 0.0
    line = LineModel(115200, cable=Cable(metres=1200, terminated=False))
    assert bytes(byte.value for byte in line.received(1, -1, line.send(0, TEXT, 0))) != TEXT


def test_what_is_over_can_be_forgotten() -> None:
    line = LineModel(9600)
    over = line.send(0, b"abc", 0)
    line.forget(over)
    assert line.received(1, -1, over) == []


def test_a_share_that_is_none_is_told() -> None:
    with pytest.raises(SettingError, match=r"lost: 1.5 is not possible \(allowed: 0..1\)"):
        LineModel(9600, troubles=(Disturbance(lost=1.5),))


def test_chance_is_even() -> None:
    drawn = [chance(1, number, 0) for number in range(10_000)]
    assert abs(sum(drawn) / len(drawn) - 0.5) < 0.02
    assert len(set(drawn)) == len(drawn)
