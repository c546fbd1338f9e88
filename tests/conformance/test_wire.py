"""Requests and replies worked out by hand from the manual, the vendor's table and the decisions, never from our own encoder."""

from __future__ import annotations

import math

import numpy as np
import pytest

from countis import E43, E44, Measurement, Meter, SelectTariff, SetClock, SetSetting
from countis.quantities import COUNTED_COLUMN, LIVE_COLUMN
from countis.supply import three_phase

SETTINGS = ("address", "ct_primary", "ct_secondary", "demand_period", "tariff_control", "sealed", "user_lock")
K, TEN, TENTH = 10**9, 10**7, 10**5  # µWh in 1 kWh, 10 Wh and 0.1 Wh
NOON = 825_681_600 + 2_096  # 2026-03-01 12:34:56 = 9556 days (26 years, 7 leap days, 59 days) and 45 296 s


def crc(body: bytes) -> bytes:
    """CRC-16/Modbus bit by bit, low byte first: polynomial 0xA001, start 0xFFFF."""
    value = 0xFFFF
    for byte in body:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (0xA001 if value & 1 else 0)
    return bytes((value & 0xFF, value >> 8))


def line(text: str) -> bytes:
    return bytes.fromhex(text) + crc(bytes.fromhex(text))


def ask(meter: Meter, request: str) -> str:
    return meter.pdu(bytes.fromhex(request)).hex(" ").upper()


def hexed(text: str) -> str:
    return bytes.fromhex(text).hex(" ").upper()


def words(meter: Meter, address: int, count: int) -> str:
    """The words of a good reply, as "0000 59E2"."""
    reply = meter.pdu(bytes((3, address >> 8, address & 0xFF, 0, count)))
    assert reply[:2] == bytes((3, 2 * count)), reply.hex(" ")
    return reply[2:].hex(" ", 2).upper()


def a_meter(state: str = "open") -> Meter:
    more = {"sealed": {"sealed": 1}, "locked": {"user_lock": 1}, "dig": {"tariff_control": "dig"}}.get(state, {})
    return Meter(E44, **({"ct_primary": 200, "ct_secondary": 5, "tariff_control": "com", "address": 5} | more))


def poke(meter: Meter, **counters: int) -> None:
    for symbol, value in counters.items():
        meter.row[COUNTED_COLUMN[symbol]] = value
    meter.changes += 1


def live(meter: Meter, **values: float) -> None:
    for symbol, value in values.items():
        meter.live[LIVE_COLUMN[symbol]] = value
    meter.changes += 1


# --- frames ---------------------------------------------------------------------------------------------------------------


def test_read_v1_as_a_frame() -> None:
    meter = a_meter()
    live(meter, V1=230.10)
    assert line("05 03 C5 58 00 02") == bytes.fromhex("05 03 C5 58 00 02 78 90")  # style.md, so that our own CRC is right
    assert meter.rtu(bytes.fromhex("05 03 C5 58 00 02 78 90")) == bytes.fromhex("05 03 04 00 00 59 E2 05 EA")


def test_a_refusal_as_a_frame() -> None:
    assert a_meter().rtu(line("05 03 00 00 00 01")) == line("05 83 02")


@pytest.mark.parametrize(
    "frame",
    [
        line("06 03 C5 58 00 02"),  # another address
        line("F7 03 C5 58 00 02"),
        bytes.fromhex("05 03 C5 58 00 02 78 91"),  # CRC off by one bit
        bytes.fromhex("05 03 C5 58 00 02 90 78"),  # CRC in the wrong order
        bytes.fromhex("05 03 C5 58 00 02"),  # no CRC
        bytes.fromhex("05"),
        b"",
        line("00 03 C5 58 00 02"),  # a broadcast read has nobody to answer
    ],
)
def test_silence(frame: bytes) -> None:
    assert a_meter().rtu(frame) == b""


def test_a_new_address_answers_from_the_next_frame_on() -> None:
    meter = a_meter()
    assert meter.rtu(line("05 06 E4 00 00 09")) == line("05 06 E4 00 00 09")
    assert meter.rtu(line("05 03 E4 00 00 01")) == b""
    assert meter.rtu(line("09 03 E4 00 00 01")) == line("09 03 02 00 09")


@pytest.mark.parametrize(
    ("state", "frame", "tariff"),
    [
        ("open", "00 06 9E 21 00 03", 3),
        ("open", "00 10 9E 21 00 01 02 00 04", 4),
        ("open", "00 06 9E 21 00 05", 1),  # no such tariff: nothing, and no exception either
        ("dig", "00 06 9E 21 00 02", 1),  # the input rules
    ],
)
def test_broadcast_of_the_tariff(state: str, frame: str, tariff: int) -> None:
    meter = a_meter(state)
    assert meter.rtu(line(frame)) == b""
    assert meter["tariff"] == tariff


@pytest.mark.parametrize("frame", ["00 06 E0 02 00 64", "00 06 E4 00 00 09", "00 06 9E 40 00 20", "00 06 E2 22 00 1F"])
def test_any_other_broadcast_is_ignored(frame: str) -> None:
    meter = a_meter()
    poke(meter, **{"par.Ea+": 5 * K})
    assert meter.rtu(line(frame)) == b""
    assert (meter["address"], meter["ct_primary"], meter.exact("par.Ea+")) == (5, 200, 5 * K)


# --- live values ----------------------------------------------------------------------------------------------------------

SEEN = {  # primary values; what the wire must show is below, block by block
    "U12": 398.55, "U23": 400.0, "U31": 401.25, "V1": 230.10, "V2": 0.07, "V3": 287.99, "f": 49.98, "U": 399.93, "V": 172.72,
    "I1": 100.0, "I2": 0.04, "I3": 240.0, "IN": 12.345, "I": 80.0, "P": 92e3, "Q": -46e3, "S": 102.8e3, "PF": 0.895,
    "P1": -30e3, "P2": 60.8e3, "P3": 10.0, "Q1": 8e3, "Q2": -400.0, "Q3": 4.8e6, "S1": 31.2e3, "S2": 60.8e3, "S3": 400.0,
    "PF1": -0.5, "PF2": 1.0, "PF3": -1.0, "sequence": 123.0,
}  # fmt: skip
WIDE = """FFFF FFFF
    0000 9BAF 0000 9C40 0000 9CBD 0000 59E2 0000 0007 0000 707F  0000 1386
    0001 86A0 0000 0028 0003 A980 0000 3039  0000 23F0 FFFF EE08 0000 2828 0000 037F
    FFFF F448 0000 17C0 0000 0001  0000 0320 FFFF FFD8 0007 5300  0000 0C30 0000 17C0 0000 0028
    FFFF FE0C 0000 03E8 FFFF FC18  0001 3880 0000 9C39 0000 4378"""
COMPACT = """FFFF 9BAF 9C40 9CBD 59E2 0007 707F 1386 FFFF FFFF FFFF FFFF
    00E6 FF8D 0101 037F  FFB5 0098 0000  0014 FFFF 2EE0  004E 0098 0001  FE0C 03E8 FC18
    07D0 9C39 4378  0000 0000 0000 0000  0000"""
UNKNOWN_WIDE = "FFFF FFFF" + 11 * " FFFF FFFF" + 2 * " 7FFF FFFF" + " FFFF FFFF" + 7 * " 7FFF FFFF"
UNKNOWN_WIDE += 3 * " FFFF FFFF" + 3 * " 7FFF FFFF" + 3 * " FFFF FFFF"
UNKNOWN_COMPACT = 12 * "FFFF " + "7FFF 7FFF FFFF 7FFF " + 6 * "7FFF " + 3 * "FFFF " + 3 * "7FFF " + 3 * "FFFF "
UNKNOWN_COMPACT += "0000 0000 0000 0000 0003"  # energies are always known; the sequence is "not determined"


def test_every_scale_with_ct_ratio() -> None:
    meter = a_meter()
    live(meter, **SEEN)
    assert words(meter, 50512, 62) == " ".join(WIDE.split())


def test_every_scale_without_ct_ratio() -> None:
    meter = a_meter()  # 200/5: I, P, Q and S are a fortieth, U, V, f and PF as they are
    live(meter, **SEEN)
    assert words(meter, 51280, 36) == " ".join(COMPACT.split())
    assert words(meter, 40576, 6) == "0000 09C4 0000 0001 0000 1770"  # 2.5 A, 1 mA, 6 A


def test_not_available() -> None:
    meter = a_meter()
    live(meter, **dict.fromkeys(SEEN, math.nan))
    assert words(meter, 50512, 62) == UNKNOWN_WIDE
    assert words(meter, 51280, 36) == UNKNOWN_COMPACT
    assert words(meter, 40576, 6) == "FFFF FFFF FFFF FFFF FFFF FFFF"


@pytest.mark.parametrize(("sequence", "word"), [(123.0, "0000"), (132.0, "0001"), (math.nan, "0003")])
def test_phase_sequence(sequence: float, word: str) -> None:
    meter = a_meter()
    live(meter, sequence=sequence)
    assert words(meter, 51315, 1) == word


@pytest.mark.parametrize(
    ("export", "pf", "p", "q", "power_factor"),
    [(False, 0.5, 3450, 5976, 500), (False, -0.5, 3450, -5976, -500), (True, 1.0, -6900, 0, None)],
)
def test_signs_of_a_fed_meter(export: bool, pf: float, p: int, q: int, power_factor: int | None) -> None:
    meter = a_meter()  # 230 V, 2.5 A, 40:1: 69 kVA; P = 34.5 kW at PF 0.5, Q = 69 sin 60° = 59.756 kvar
    meter.feed(three_phase(v=230, i=2.5, pf=pf, f=50, export=export), seconds=3)
    found = np.array([int(w, 16) for w in words(meter, 50536, 8).split()], ">u2").view(">i4")
    assert abs(found[0] - p) <= 1
    assert abs(found[1] - q) <= 1
    assert abs(found[2] - 6900) <= 1
    assert power_factor is None or abs(found[3] - power_factor) <= 1


# --- counters -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("symbol", "value", "address", "expected"),
    [
        # 123.456 789 012 kWh in each of its clothes
        ("Ea+", 123_456_789_012, 25987, "0000 007B 11D7"),  # 123 and 456.7 Wh
        ("Ea+", 123_456_789_012, 50770, "0000 007B"),
        ("Ea+", 123_456_789_012, 50946, "0000 3039"),  # 12345 x 10 Wh
        ("Er-cap.L3", 123_456_789_012, 23967, "0000 007B 11D7"),
        ("Eap.L2", 123_456_789_012, 21903, "0000 007B 11D7"),
        ("Er+ind.L1.T3", 123_456_789_012, 20277, "0000 007B"),
        ("Er-cap.T4", 123_456_789_012, 26487, "0000 007B"),
        ("Eap.L3.T2", 123_456_789_012, 24451, "0000 007B"),
        ("Ea-.L2.T1", 123_456_789_012, 22289, "0000 007B"),
        ("Ea+.T2", 123_456_789_012, 50852, "0000 007B"),
        ("Er+.T4", 123_456_789_012, 51224, "0000 3039"),
        ("par.Ea+", 123_456_789_012, 50956, "0000 3039"),
        ("par.Er-", 123_456_789_012, 50788, "0000 007B"),
        ("par.Ea+.T2", 123_456_789_012, 32771, "0000 007B 11D7"),
        ("par.Ea-.T4", 123_456_789_012, 32801, "0000 007B 11D7"),
        # the residual runs 0..9999 and never rounds up
        ("Ea+", K - 1, 25987, "0000 0000 270F"),
        ("Ea+", K, 25987, "0000 0001 0000"),
        ("Ea+", TENTH - 1, 25987, "0000 0000 0000"),
        ("Ea+", TENTH, 25987, "0000 0000 0001"),
        # 10-unit registers: modulo 10^9, the rest is in the roll-over registers
        ("Ea+", TEN - 1, 50946, "0000 0000"),
        ("Ea+", 10**9 * TEN - 1, 50946, "3B9A C9FF"),
        ("Ea+", 10**9 * TEN - 1, 36866, "0000"),
        ("Ea+", 10**9 * TEN, 50946, "0000 0000"),
        ("Ea+", 10**9 * TEN, 36866, "0001"),
        ("Ea+", 10**9 * TEN, 50770, "0098 9680"),  # 10^7 kWh: the k-unit has not wrapped
        ("Er+", 2 * 10**9 * TEN + 7 * TEN, 50948, "0000 0007"),
        ("Er+", 2 * 10**9 * TEN + 7 * TEN, 36867, "0002"),
        ("Ea-", 3 * 10**9 * TEN, 36868, "0003"),
        ("Er-", 4 * 10**9 * TEN, 36869, "0004"),
        ("Eap", 5 * 10**9 * TEN, 36870, "0005"),
        ("Ea+.T1", 6 * 10**9 * TEN, 36871, "0006"),
        ("Ea+.T4", 9 * 10**9 * TEN, 36874, "0009"),
        ("Ea+.T4", 9 * 10**9 * TEN + TEN, 51208, "0000 0001"),
        ("Er+.T1", 10**9 * TEN + TEN, 51218, "0000 0001"),
        ("par.Eap", 10**9 * TEN + TEN, 50960, "0000 0001"),
        ("Ea+", 255 * 10**9 * TEN, 36866, "00FF"),
        ("Ea+", 256 * 10**9 * TEN, 36866, "0000"),  # U8 wraps
        ("Ea+", 257 * 10**9 * TEN, 36866, "0001"),
        # k-unit registers: modulo 2^32
        ("Ea+", 2**32 * K - 1, 50770, "FFFF FFFF"),
        ("Ea+", 2**32 * K - 1, 25987, "FFFF FFFF 270F"),
        ("Ea+", 2**32 * K, 50770, "0000 0000"),
        ("Ea+", 2**32 * K + 3 * K + 5 * TENTH, 25987, "0000 0003 0005"),
        ("Ea-.L1.T4", 2**32 * K + 3 * K, 20247, "0000 0003"),
        # 16-bit MWh of primary energy: modulo 2^16
        ("Ea+", 1000 * K - 1, 51311, "0000"),
        ("Er+", 1000 * K, 51312, "0001"),
        ("Ea-", 65536 * 1000 * K - 1, 51313, "FFFF"),
        ("Er-", 65536 * 1000 * K + 2000 * K, 51314, "0002"),
        # running hours in 0.01 h = 36 s
        ("hours.T1", 12345 * 36_000_000_000 + 35_999_999_999, 50882, "0000 3039"),
        ("hours.T4", 65536 * 36_000_000_000, 51240, "0001 0000"),
        # last average P+ without CT ratio: 345.68 kW / 40
        ("demand.P", 345_680_000, 50828, "21C2"),
        ("demand.P", 345_680_000, 51004, "21C2"),
        ("tariff", 3, 50849, "0003"),
        ("tariff", 3, 51201, "0003"),
        ("tariff", 3, 20224, "0003"),
        ("tariff", 4, 26368, "0004"),
    ],
)
def test_counters(symbol: str, value: int, address: int, expected: str) -> None:
    meter = a_meter()
    poke(meter, **{symbol: value})
    assert words(meter, address, len(expected.split())) == expected


def test_the_balance_is_cut_toward_zero_with_one_sign() -> None:
    meter = Meter(E44, ct_primary=5, ct_secondary=5)
    p, q = (-411.5226,) * 3, (-100.0,) * 3  # an hour of it is -1234.5678 Wh and -300 varh
    for _ in range(60):
        meter.count(Measurement.of(E44, seconds=60, v=(230,) * 3, i=(1.842,) * 3, p=p, q=q))
    assert words(meter, 33024, 3) == "FFFF FFFF F6D7"  # -1 kWh and -234.5 Wh, not -2 and +7654
    assert words(meter, 33027, 3) == "0000 0000 F448"  # 0 kvarh and -300.0 varh: -3000 tenths


def test_day_week_and_month() -> None:
    meter = a_meter()
    # Wednesday 2026-03-04 23:57:00; a minute at 230 V, 6 A, 40:1 is 2.76 kWh, and midnight passes without load
    assert meter.apply([SetClock((9556 + 3) * 86400 + 23 * 3600 + 57 * 60)]) is None
    for amperes in (6.0, 6.0, 0.0, 0.0, -6.0, 6.0):
        p = (230 * amperes,) * 3
        meter.count(Measurement.of(E44, seconds=60, v=(230,) * 3, i=(abs(amperes),) * 3, p=p, q=(0,) * 3))
    fine = "0000 0228 0000 0000 0000 0114 0000 0114"  # 5.52 and 0 kWh the day before; 2.76 and 2.76 today
    total = "0000 033C 0000 0114"
    assert words(meter, 36928, 24) == f"{fine} 0000 0000 0000 0000 {total} 0000 0000 0000 0000 {total}"
    assert words(meter, 36896, 8) == "0000 0005 0000 0000 0000 0002 0000 0002"


# --- reading anywhere -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        (20246, "0002 8001 0002"),  # low half of T3, then T4, of Ea- (20247)
        (20248, "0002" + 8 * " FFFF" + " 0003"),  # through the end of one block into the next, both values cut in half
        (20256, "FFFF 0003 0004"),
        (20351, "FFFF FFFF 0005 0006 0000 0000"),  # Er into Eap
        (57353, "FFFF FFFF 0384"),
    ],
)
def test_reads_begin_and_end_anywhere(address: int, expected: str) -> None:
    meter = a_meter()
    poke(meter, **{"Ea-.L1.T3": 2 * K, "Ea-.L1.T4": 0x8001_0002 * K, "Er+.L1.T1": 0x3_0004 * K, "Eap.L1.T1": 0x5_0006 * K})
    assert meter.apply([SetSetting("demand_period", 900)]) is None
    assert words(meter, address, len(expected.split())) == expected


@pytest.mark.parametrize("address", [20224, 22272, 24320, 26368])
def test_the_longest_read_spans_three_blocks(address: int) -> None:
    found = words(a_meter(), address + 20, 125)  # ends with the last word of the third block
    assert found.endswith("0000 0000" + 8 * " FFFF")


@pytest.mark.parametrize(("address", "count"), [(29184, 7), (29952, 7), (30208, 26), (51288, 4), (57347, 8), (25984, 3), (50512, 2)])
def test_reserved_words(address: int, count: int) -> None:
    assert words(a_meter(), address, count) == " ".join(count * ["FFFF"])


@pytest.mark.parametrize(("model", "mid", "name"), [(E43, "0000", b"Countis E43"), (E44, "0001", b"Countis E44")])
def test_identity(model: object, mid: str, name: bytes) -> None:
    meter = Meter(E43 if model is E43 else E44)
    assert words(meter, 50000, 7) == "0053 004F 0043 004F 0064 0000 0065"  # one character a word; family 100, id 0, table 1.01
    strings = bytes.fromhex(words(meter, 50042, 24))  # two characters a word; how the rest is filled is not published
    assert [strings[k : k + 16].rstrip(b"\0 ") for k in (0, 16, 32)] == [b"SOCOMEC", b"COUNTIS E43/E44", name]
    assert words(meter, 40545, 1) == mid
    assert words(meter, 40608, 1) == "0001"
    assert words(meter, 36864, 2) == "3B9A C9FF"
    assert words(meter, 57344, 3) == "0005 0005 0005"  # factory CT 5/5
    assert words(meter, 58368, 1) == "0005"


@pytest.mark.parametrize(("state", "count"), [("dig", "0002"), ("open", "0004")])
def test_number_of_tariffs(state: str, count: str) -> None:
    assert words(a_meter(state), 50848, 2) == words(a_meter(state), 51200, 2) == f"{count} 0001"


# --- writing --------------------------------------------------------------------------------------------------------------


def test_accepted_writes_are_echoed_and_seen() -> None:
    meter = a_meter()
    assert ask(meter, "10 E000 000C 18 0005 0001 0BB8" + 8 * "1234" + "0384") == hexed("10 E000 000C")  # adjoining blocks
    assert words(meter, 57344, 12) == "0005 0001 0BB8" + 8 * " FFFF" + " 0384"
    assert (meter["ct_secondary"], meter["ct_primary"], meter["demand_period"]) == (1, 3000, 900)
    assert ask(meter, "10 9E20 0002 04 1234 0003") == hexed("10 9E20 0002")  # a reserved word before the tariff
    assert words(meter, 50849, 1) == "0003"


def test_clock_in_pieces_and_in_one_act() -> None:
    meter = a_meter()
    assert meter.apply([SetClock(1000)]) is None
    for request in ("06 E100 0001", "06 E101 0003", "06 E102 07EA", "06 E103 000C", "06 E104 0022"):
        assert ask(meter, request) == hexed(request)
        assert meter.clock == 1000
    assert ask(meter, "06 E105 0038") == hexed("06 E105 0038")
    assert meter.clock == NOON
    assert ask(meter, "10 E100 0006 0C 001D 0002 07E8 0017 003B 003B") == hexed("10 E100 0006")
    assert meter.clock == 762_566_399  # 2024-02-29 23:59:59 = 8825 days and 86 399 s
    for request in ("06 E100 001F", "06 E101 0004", "06 E102 07EA", "06 E103 000C", "06 E104 0022"):
        ask(meter, request)
    assert ask(meter, "06 E105 0000") == "86 03"  # 31 April
    assert meter.clock == 762_566_399


PARTIALS = ["par.Ea+", "par.Er+", "par.Eap", "par.Ea-", "par.Er-"]
BY_TARIFF = [[f"par.Ea+.T{n}", f"par.Ea-.T{n}"] for n in (1, 2, 3, 4)]


@pytest.mark.parametrize(
    ("request_", "reset"),
    [
        *((f"06 E222 {1 << k:04X}", [symbol]) for k, symbol in enumerate(PARTIALS)),
        ("06 E222 001F", PARTIALS),
        ("06 E222 0009", ["par.Ea+", "par.Ea-"]),
        *((f"06 E224 {1 << k:04X}", pair) for k, pair in enumerate(BY_TARIFF)),
        ("06 E224 FFFF", sum(BY_TARIFF, [])),
        ("10 E220 0005 0A 0000 0000 0001 0000 0002", ["par.Ea+", *BY_TARIFF[1]]),
        ("06 E220 FFFF", []),
        ("06 E223 FFFF", []),
        ("06 9E40 0020", PARTIALS + sum(BY_TARIFF, [])),
        ("06 9E40 0001", []),
    ],
)
def test_resets(request_: str, reset: list[str]) -> None:
    meter = a_meter("sealed")  # partials are not sealed; totals are never touched
    everything = PARTIALS + sum(BY_TARIFF, [])
    poke(meter, **dict.fromkeys([*everything, "Ea+", "Ea+.T1", "Er-"], 7 * K))
    assert ask(meter, request_) == hexed(request_)[:14 if request_[0] == "0" else 17 - 3]
    assert {s for s in everything if meter.exact(s) == 0} == set(reset)
    assert {meter.exact(s) for s in [*(set(everything) - set(reset)), "Ea+", "Ea+.T1", "Er-"]} == {7 * K}
