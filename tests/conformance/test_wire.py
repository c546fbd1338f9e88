"""Requests and replies worked out by hand from the manual, the vendor's table and the decisions, never from our own encoder."""

from __future__ import annotations

import math

import numpy as np
import pytest
from countis import E43, E44, Measurement, Meter, SetClock, SetSetting
from countis.supply import three_phase
from countis.words.quantities import COUNTED_COLUMN, LIVE_COLUMN

SETTINGS = ("address", "ct_primary", "ct_secondary", "demand_period", "tariff_control", "sealed", "user_lock")
K, TEN, TENTH = 10**9, 10**7, 10**5  # µWh in 1 kWh, 10 Wh and 0.1 Wh
MIDNIGHT = 825_638_400  # 2026-03-01 is 9556 days: 26 years, 7 leap days, January and February


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
    control, sealed, locked = "dig" if state == "dig" else "com", int(state == "sealed"), int(state == "locked")
    return Meter(E44, ct_primary=200, ct_secondary=5, tariff_control=control, address=5, sealed=sealed, user_lock=locked)


def poke(meter: Meter, **counters: int) -> None:
    for symbol, value in counters.items():
        meter.state.row[COUNTED_COLUMN[symbol]] = value
    meter.state.changes += 1


def live(meter: Meter, **values: float) -> None:
    for symbol, value in values.items():
        meter.state.live[LIVE_COLUMN[symbol]] = value
    meter.state.changes += 1


def test_a_reply_a_refusal_and_silence() -> None:
    meter = a_meter()
    live(meter, V1=230.10)
    assert line("05 03 C5 58 00 02") == bytes.fromhex("05 03 C5 58 00 02 78 90")  # style.md, so that our own CRC is right
    assert meter.rtu(bytes.fromhex("05 03 C5 58 00 02 78 90")) == bytes.fromhex("05 03 04 00 00 59 E2 05 EA")
    assert meter.rtu(line("05 03 00 00 00 01")) == line("05 83 02")
    for text in ("06 03 C5 58 00 02", "F7 03 C5 58 00 02", "00 03 C5 58 00 02", "05"):  # others, everybody; too short
        assert meter.rtu(line(text)) == b""
    for text in ("05 03 C5 58 00 02 78 91", "05 03 C5 58 00 02 90 78", "05 03 C5 58 00 02", "05", ""):  # wrong or no CRC
        assert meter.rtu(bytes.fromhex(text)) == b""


def test_a_new_address_answers_from_the_next_frame_on() -> None:
    meter = a_meter()
    assert meter.rtu(line("05 06 E4 00 00 09")) == line("05 06 E4 00 00 09")
    assert meter.rtu(line("05 03 E4 00 00 01")) == b""
    assert meter.rtu(line("09 03 E4 00 00 01")) == line("09 03 02 00 09")


def test_broadcast_sets_the_tariff_and_nothing_else() -> None:
    meter, dig = a_meter(), a_meter("dig")
    poke(meter, **{"par.Ea+": 5 * K})
    for text, tariff in (("00 06 9E 21 00 03", 3), ("00 10 9E 21 00 01 02 00 04", 4), ("00 06 9E 21 00 05", 4)):
        assert meter.rtu(line(text)) == b""
        assert meter["tariff"] == tariff
    for text in ("00 06 E0 02 00 64", "00 06 E4 00 00 09", "00 06 9E 40 00 20", "00 06 E2 22 00 1F"):
        assert meter.rtu(line(text)) == b""
        assert (meter["address"], meter["ct_primary"], meter.exact("par.Ea+")) == (5, 200, 5 * K)
    assert dig.rtu(line("00 06 9E 21 00 02")) == b""  # the input rules there
    assert dig["tariff"] == 1


def minutes(meter: Meter, *watts: float, q: float = 0.0, seconds: float = 60) -> None:
    """One measurement after the other, of so many secondary watts in each phase."""
    for p in watts:
        meter.count(Measurement.of(E44, seconds=seconds, v=(230,) * 3, i=(6,) * 3, p=(p,) * 3, q=(q,) * 3))


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


def test_every_scale_and_not_available() -> None:
    meter = a_meter()  # 200/5: without CT ratio I, P, Q and S are a fortieth, U, V, f and PF as they are
    live(meter, **SEEN)
    assert words(meter, 50512, 62) == " ".join(WIDE.split())
    assert words(meter, 51280, 36) == " ".join(COMPACT.split())
    assert words(meter, 40576, 6) == "0000 09C4 0000 0001 0000 1770"  # 2.5 A, 1 mA, 6 A
    live(meter, **dict.fromkeys(SEEN, math.nan))
    assert (words(meter, 50512, 62), words(meter, 51280, 36)) == (UNKNOWN_WIDE, UNKNOWN_COMPACT)
    assert words(meter, 40576, 6) == "FFFF FFFF FFFF FFFF FFFF FFFF"


def test_phase_sequence() -> None:
    meter = a_meter()
    for sequence, word in ((123.0, "0000"), (132.0, "0001"), (math.nan, "0003")):
        live(meter, sequence=sequence)
        assert words(meter, 51315, 1) == word


@pytest.mark.parametrize(("export", "pf", "p", "q"), [(0, 0.5, 3450, 5976), (0, -0.5, 3450, -5976), (1, 1.0, -6900, 0)])
def test_signs_of_a_fed_meter(export: int, pf: float, p: int, q: int) -> None:
    meter = a_meter()  # 230 V, 2.5 A, 40:1: 69 kVA; P = 34.5 kW at PF 0.5, Q = 69 sin 60° = 59.756 kvar
    meter.feed(three_phase(v=230, i=2.5, pf=pf, f=50, export=bool(export)), seconds=3)
    found = np.array([int(w, 16) for w in words(meter, 50536, 8).split()], ">u2").view(">i4")
    assert np.abs(found[:3] - (p, q, 6900)).max() <= 1
    assert export or abs(found[3] - 1000 * pf) <= 1  # no source tells the sign of PF for pure export


SAMPLE = 123_456_789_012  # 123 kWh and 4567 tenths of a Wh; 12345 times 10 Wh
TURN = 10**9 * TEN  # where the 10-unit registers begin again
MEGA = 1000 * K


@pytest.mark.parametrize(
    ("symbol", "value", "expected"),
    [
        ("Ea+", SAMPLE, {25987: "0000 007B 11D7", 50770: "0000 007B", 50946: "0000 3039", 51311: "0000"}),
        *((s, SAMPLE, {a: "0000 007B 11D7"}) for s, a in (("Er-cap.L3", 23963), ("Eap.L2", 21903), ("par.Ea-.T4", 32801))),
        *((s, SAMPLE, {a: "0000 007B"}) for s, a in (("Er+ind.L1.T3", 20277), ("Er-cap.T4", 26487), ("Ea-.L2.T1", 22289))),
        *((s, SAMPLE, {a: "0000 3039"}) for s, a in (("Er+.T4", 51224), ("par.Ea+", 50956), ("Ea-", 50952))),
        # the residual runs 0..9999 and never rounds up
        ("Ea+", K - 1, {25987: "0000 0000 270F", 50946: "0000 0063"}),
        ("Ea+", K, {25987: "0000 0001 0000"}),
        ("Ea+", TENTH - 1, {25987: "0000 0000 0000"}),
        ("Ea+", TENTH, {25987: "0000 0000 0001", 50946: "0000 0000"}),
        # 10-unit registers: modulo 10^9, the rest is in the U8 of the roll-overs, which wraps too
        ("Ea+", TURN - 1, {50946: "3B9A C9FF", 36866: "0000"}),
        ("Ea+", TURN, {50946: "0000 0000", 36866: "0001", 50770: "0098 9680"}),  # 10^7 kWh: the k-unit goes on
        ("Er+", 2 * TURN + 7 * TEN, {50948: "0000 0007", 36867: "0002"}),
        *((s, n * TURN, {a: f"{n:04X}"}) for s, n, a in (("Ea-", 3, 36868), ("Er-", 4, 36869), ("Eap", 5, 36870))),
        *((f"Ea+.T{n}", n * TURN + TEN, {36870 + n: f"{n:04X}", 51200 + 2 * n: "0000 0001"}) for n in (1, 2, 3, 4)),
        *((s, TURN + TEN, {a: "0000 0001"}) for s, a in (("Er+.T1", 51218), ("par.Eap", 50960))),
        *(("Ea+", n * TURN, {36866: text, 50946: "0000 0000"}) for n, text in ((255, "00FF"), (256, "0000"), (257, "0001"))),
        # k-unit registers: modulo 2^32; 16-bit MWh of primary energy: modulo 2^16
        ("Ea+", 2**32 * K - 1, {50770: "FFFF FFFF", 25987: "FFFF FFFF 270F"}),
        ("Ea+", 2**32 * K + 3 * K + 5 * TENTH, {50770: "0000 0003", 25987: "0000 0003 0005"}),
        ("Ea-.L1.T4", 2**32 * K, {20247: "0000 0000"}),
        ("par.Ea+", 2**32 * K + K, {50780: "0000 0001"}),
        *((s, v, {a: t}) for s, v, a, t in (("Ea+", MEGA - 1, 51311, "0000"), ("Er+", MEGA, 51312, "0001"))),
        ("Ea-", 65536 * MEGA - 1, {51313: "FFFF"}),
        ("Er-", 65538 * MEGA, {51314: "0002"}),
        # running hours in 0.01 h = 36 s
        ("hours.T1", 12345 * 36 * 10**9 + 35_999_999_999, {50882: "0000 3039", 51234: "0000 3039"}),
        ("hours.T4", 65536 * 36 * 10**9, {50888: "0001 0000", 51240: "0001 0000"}),
        ("demand.P", 8_642_000, {50828: "21C2", 51004: "21C2"}),  # last average P+ without CT ratio: 345.68 kW / 40
        ("tariff", 3, dict.fromkeys((20224, 22272, 24320, 26368, 50849, 51201), "0003")),
    ],
)
def test_counters(symbol: str, value: int, expected: dict[int, str]) -> None:
    meter = a_meter()
    poke(meter, **{symbol: value})
    assert {address: words(meter, address, len(text.split())) for address, text in expected.items()} == expected


def test_the_balance_is_cut_toward_zero_with_one_sign() -> None:
    meter = Meter(E44, ct_primary=5, ct_secondary=5)
    minutes(meter, *(60 * [-411.5226]), q=-120.006)  # an hour of it is -1234.5678 Wh and -360.018 varh
    assert words(meter, 33024, 3) == "FFFF FFFF F6D7"  # -1 kWh and -234.5 Wh, not -2 and +7654
    assert words(meter, 33027, 3) == "0000 0000 F1F0"  # 0 kvarh and -360.0 varh: -3600 tenths


def test_day_week_and_month() -> None:
    meter = a_meter()
    # Wednesday 2026-03-04 23:57:00; a minute at 1380 W, 40:1 is 2.76 kWh, and midnight passes without load
    assert meter.apply([SetClock(MIDNIGHT + 4 * 86400 - 180)]) is None
    minutes(meter, 1380, 1380, 0, 0, -1380, 1380)
    fine = "0000 0228 0000 0000 0000 0114 0000 0114"  # 5.52 and 0 kWh the day before; 2.76 and 2.76 today
    total = "0000 033C 0000 0114"
    assert words(meter, 36928, 24) == f"{fine} 0000 0000 0000 0000 {total} 0000 0000 0000 0000 {total}"
    assert words(meter, 36896, 8) == "0000 0005 0000 0000 0000 0002 0000 0002"


ACROSS = {
    20246: "0002 8001 0002",  # low half of T3, then T4, of Ea- (20247)
    20248: "0002" + 8 * " FFFF" + " 0003",  # from one block into the next, both values cut in half
    20351: "FFFF FFFF 0005 0006 0000 0000",  # Er into Eap
    57353: "FFFF FFFF 04B0",
}


def test_reads_begin_and_end_anywhere() -> None:
    meter = a_meter()
    poke(meter, **{"Ea-.L1.T3": 2 * K, "Ea-.L1.T4": 0x8001_0002 * K, "Er+.L1.T1": 0x3_0004 * K, "Eap.L1.T1": 0x5_0006 * K})
    assert meter.apply([SetSetting("demand_period", 1200)]) is None
    assert {address: words(meter, address, len(text.split())) for address, text in ACROSS.items()} == ACROSS


def test_the_longest_reads_span_three_blocks_and_reserved_words() -> None:
    meter = a_meter()
    for address in (20224, 22272, 24320, 26368):
        assert words(meter, address + 20, 125).endswith("0000 0000" + 8 * " FFFF")  # to the last word of the third block
    for address, count in ((29184, 7), (29952, 7), (30208, 26), (51288, 4), (57347, 8), (25984, 3), (50512, 2)):
        assert words(meter, address, count) == " ".join(count * ["FFFF"])


@pytest.mark.parametrize(("mid", "name"), [("0000", b"Countis E43"), ("0001", b"Countis E44")])
def test_identity(mid: str, name: bytes) -> None:
    meter = Meter(E43 if name.endswith(b"3") else E44)
    assert words(meter, 50000, 7) == "0053 004F 0043 004F 0064 0000 0065"  # one character a word; family 100, id 0, table 1.01
    strings = bytes.fromhex(words(meter, 50042, 24))  # two characters a word; how the rest is filled is not published
    assert [strings[k : k + 16].rstrip(b"\0 ") for k in (0, 16, 32)] == [b"SOCOMEC", b"COUNTIS E43/E44", name]
    assert (words(meter, 40545, 1), words(meter, 40608, 1), words(meter, 36864, 2)) == (mid, "0001", "3B9A C9FF")
    assert words(meter, 57344, 3) == "0005 0005 0005"  # factory CT 5/5
    assert words(meter, 58368, 1) == "0005"
    assert words(meter, 50848, 2) == words(meter, 51200, 2) == "0002 0001"  # two tariffs by the input
    assert words(a_meter(), 50848, 2) == words(a_meter(), 51200, 2) == "0004 0001"  # four by communication


def test_accepted_writes_are_echoed_and_seen() -> None:
    meter = a_meter()
    assert ask(meter, "10 E000 000C 18 0005 0001 0BB8" + 8 * "1234" + "04B0") == hexed("10 E000 000C")  # adjoining blocks
    assert words(meter, 57344, 12) == "0005 0001 0BB8" + 8 * " FFFF" + " 04B0"
    assert (meter["ct_secondary"], meter["ct_primary"], meter["demand_period"]) == (1, 3000, 1200)
    assert ask(meter, "10 9E20 0002 04 1234 0003") == hexed("10 9E20 0002")  # a reserved word before the tariff
    assert words(meter, 50849, 1) == "0003"


def test_clock_in_pieces_and_in_one_act() -> None:
    meter = a_meter()
    assert meter.apply([SetClock(1000)]) is None
    for request in ("06 E100 0001", "06 E101 0003", "06 E102 07EA", "06 E103 000C", "06 E104 0022"):
        assert ask(meter, request) == hexed(request)
        assert meter.clock == 1000
    assert ask(meter, "06 E105 0038") == hexed("06 E105 0038")
    assert meter.clock == MIDNIGHT + 45_296
    assert ask(meter, "10 E100 0006 0C 001D 0002 07E8 0017 003B 003B") == hexed("10 E100 0006")
    assert meter.clock == 762_566_399  # 2024-02-29 23:59:59 = 8825 days and 86 399 s
    for request in ("06 E100 001F", "06 E101 0004", "06 E102 07EA", "06 E103 000C", "06 E104 0022"):
        ask(meter, request)
    assert ask(meter, "06 E105 0000") == "86 03"  # 31 April
    assert meter.clock == 762_566_399


PARTIALS = ["par.Ea+", "par.Er+", "par.Eap", "par.Ea-", "par.Er-"]
BY_TARIFF = [[f"par.Ea+.T{n}", f"par.Ea-.T{n}"] for n in (1, 2, 3, 4)]
ALL_TARIFFS = [symbol for pair in BY_TARIFF for symbol in pair]


@pytest.mark.parametrize(
    ("request_", "reset"),
    [
        *((f"06 E222 {1 << k:04X}", [symbol]) for k, symbol in enumerate(PARTIALS)),
        *(("06 E222 001F", PARTIALS), ("06 E222 0009", ["par.Ea+", "par.Ea-"])),
        *((f"06 E224 {1 << k:04X}", pair) for k, pair in enumerate(BY_TARIFF)),
        ("06 E224 FFFF", ALL_TARIFFS),
        ("10 E220 0005 0A 0000 0000 0001 0000 0002", ["par.Ea+", *BY_TARIFF[1]]),
        ("06 9E40 0020", PARTIALS + ALL_TARIFFS),
        *((nothing, []) for nothing in ("06 E220 FFFF", "06 E223 FFFF", "06 9E40 0001")),
    ],
)
def test_resets(request_: str, reset: list[str]) -> None:
    meter = a_meter("sealed")  # partials are not sealed; totals are never touched
    everything = PARTIALS + ALL_TARIFFS
    poke(meter, **dict.fromkeys([*everything, "Ea+", "Ea+.T1", "Er-"], 7 * K))
    assert ask(meter, request_) == hexed(request_)[:14]
    assert {s for s in everything if meter.exact(s) == 0} == set(reset)
    assert {meter.exact(s) for s in [*(set(everything) - set(reset)), "Ea+", "Ea+.T1", "Er-"]} == {7 * K}


REFUSED = f"""
# function other than 3, 6, 16
open 01: 01 C558 0002, 04 C558 0002, 05 9E21 FF00, 17 C558 0002 E001 0001 02 0005, 2B 0E 01 00
# count (0, 126, the manual's 128, 124) or byte count, also where the address is wrong too
open 03: 03 C558 0000, 03 C558 007E, 03 C558 0080, 03 0000 007E, 10 E001 0000 00, 10 E001 007C F8 {124 * "0005"}
open 03: 10 E001 0001 04 0005, 10 E001 0002 02 0005, 10 0000 0001 03 0005 00
# any word outside the table: past 50573, before 50512, past the end of the address space, 30234
open 02: 03 0000 0001, 03 C58D 0002, 03 C54F 0002, 03 FFFF 0002, 03 761A 0001, 03 7600 001B, 03 4FF0 0001
open 02: 06 0000 0001, 06 761A 0000, 10 C58D 0002 04 0000 0000, 10 E000 007B F6 {123 * "0005"}
sealed 02: 10 E00B 0002 04 0001 0001
# blocks which only take, blocks which only give
open 01: 03 9E20 0001, 03 9E21 0001, 03 9E40 0001, 03 E100 0006, 03 E105 0001, 03 E200 0001, 03 E222 0001, 03 F000 0001
open 01: 06 C558 0001, 06 C550 0000, 06 C350 0053, 06 4D83 0000, 06 8000 0000, 06 9000 0001, 06 9E60 0001, 06 C873 0000
open 01: 06 F010 0001, 06 F016 0001, 10 C552 0002 04 0000 0000, 10 8000 0002 04 0000 0000
# sealed, locked, wrong state: before the value is looked at, and even where the value is the old one
sealed 01: 06 E001 0001, 06 E002 0064, 06 E002 0000, 10 E001 0002 04 0005 00C8
locked 01: 06 E400 0009, 06 E400 0000, 10 E100 0006 0C 0001 0003 07EA 000C 0022 0038, 06 E105 0038, 06 E105 003C
locked 01: 06 7200 0001, 06 E200 0001
dig 01: 06 9E21 0002, 06 9E21 0009, 10 9E21 0001 02 0002
# bad values
open 03: 06 9E21 0000, 06 9E21 0005, 06 E000 0004, 06 E001 0000, 06 E001 0002, 06 E001 0105, 06 E002 0000, 06 E002 2EE1
open 03: 06 E00B 003D, 06 E00B 0000, 06 E400 0000, 06 E400 00F8, 10 F000 0001 02 0002
# one bad word among good ones: a good secondary and a primary of 0; the last of twelve words
open 03: 10 E001 0002 04 0001 0000, 10 E000 000C 18 0005 0001 0064 {8 * "0000"} 003D
# 30 February 2024, 29 February 2023, 24:00:00
open 03: 10 E100 0006 0C 001E 0002 07E8 000C 0022 0038, 10 E100 0006 0C 001D 0002 07E7 000C 0022 0038
open 03: 10 E100 0006 0C 0001 0003 07EA 0018 0000 0000
"""
ACCEPTED = """
open: E000 0005, E001 0001, E002 2EE0, E002 0001, E003 1234, E00A 1234, E00B 0E10, E400 00F7, 9E21 0004
open: 9E20 0009, 7200 0001, 7500 0001, 7600 0001, 7619 FFFF, E200 0001
# blocks without lock; the seal covers the CT only
locked: E00B 04B0, 7500 0001, E002 0064, E222 001F
sealed: E00B 04B0, E400 0009
"""


def rows(table: str) -> list[tuple[str, str]]:
    """What stands before the colon, with each of the comma-separated things behind it."""
    lines = [text.split(":") for text in table.strip().splitlines() if not text.startswith("#")]
    return [(head, item.strip()) for head, items in lines for item in items.split(",")]


@pytest.mark.parametrize(("head", "request_"), rows(REFUSED))
def test_refusals_in_their_order_change_nothing(head: str, request_: str) -> None:
    state, code = head.split()
    meter = a_meter(state)
    poke(meter, **{"par.Ea+": 7 * K})
    before = (meter.state.row.tobytes(), meter.clock, [meter[s] for s in SETTINGS])
    assert ask(meter, request_) == f"{int(request_[:2], 16) + 0x80:02X} {code}"
    assert (meter.state.row.tobytes(), meter.clock, [meter[s] for s in SETTINGS]) == before


@pytest.mark.parametrize(("state", "write"), rows(ACCEPTED))
def test_one_word_by_either_function(state: str, write: str) -> None:
    assert ask(a_meter(state), f"06 {write}") == hexed(f"06 {write}")
    assert ask(a_meter(state), f"10 {write[:4]} 0001 02 {write[5:]}") == hexed(f"10 {write[:4]} 0001")


def test_function_six_writes_where_the_table_lists_it() -> None:
    meter = a_meter()
    assert ask(meter, "06 F000 0001") == "86 01", "61440 takes function 16 alone"
    assert ask(meter, "10 F000 0001 02 0001") == hexed("10 F000 0001")
    assert ask(meter, "06 9E21 0002") == hexed("06 9E21 0002"), "40481 takes both"


@pytest.mark.parametrize("write", ["E000 0003 06 0005 0001 2EE0", "E001 0001 02 0001", "E002 0001 02 2EE0"])
def test_a_new_ct_rates_nothing_of_before(write: str) -> None:
    meter = Meter(E44, tariff_control="com")
    meter.feed(three_phase(v=230, i=6), seconds=10.15)
    assert ask(meter, f"10 {write}") == hexed(f"10 {write[:9]}")
    meter.feed(three_phase(v=230, i=0), seconds=1)
    assert meter.exact("Ea+") / 1e6 == pytest.approx(3 * 230 * 6 * 10.15 / 3600, rel=1e-3)


def fetch(meter: Meter, *actions: str) -> list[list[int]]:
    """The records which the header promises after these actions: high and low word of the time, completeness, mean P+."""
    for action in actions:
        assert ask(meter, f"10 F000 0001 02 {action}") == hexed("10 F000 0001")
    count = int(words(meter, 61456, 1), 16)
    found = [int(w, 16) for w in words(meter, 61462, 4 * count).split()]
    return [found[k : k + 4] for k in range(0, len(found), 4)]


def test_load_curve() -> None:
    meter = a_meter()
    assert meter.apply([SetSetting("demand_period", 60), SetClock(MIDNIGHT)]) is None
    minutes(meter, *(-200.0 if k == 7 else 100.0 + k for k in range(31)))  # a minute of export is no P+
    first = fetch(meter, "0001", "FFFE")
    assert words(meter, 61456, 6) == "001D 0004 003C 0000 00C8 0005"  # 29 records of 4 words, 60 s, watt, ratio 200/5
    second = fetch(meter, "FFFE")  # the two that are left
    assert words(meter, 61470, 108) == " ".join(108 * ["FFFF"])  # places of the 3rd to the 29th record are empty now
    assert ask(meter, "03 F08A 0001") == "83 02"  # and behind the 29th the table ends
    records = first + second
    assert [r[3] for r in records] == [0 if k == 7 else 300 + 3 * k for k in range(31)]  # secondary watts, oldest first
    assert [r[2] for r in records[1:]] == 30 * [0]
    times = [(high << 16) + low for high, low, _, _ in records]
    assert [t - times[0] for t in times] == list(range(0, 31 * 60, 60))
    assert times[0] - MIDNIGHT in (0, 60)  # begin or end of the period: not published
    assert words(meter, 50826, 3) == f"{records[-1][0]:04X} {records[-1][1]:04X} 0186"  # the last: 390 W
    assert fetch(meter, "0001", "FFFE") == first


def test_a_period_measured_from_its_first_to_its_last_second_is_complete() -> None:
    meter = a_meter()
    assert meter.apply([SetSetting("demand_period", 60), SetClock(MIDNIGHT)]) is None
    minutes(meter, 230.0)
    assert [r[2:] for r in fetch(meter, "0001", "FFFE")] == [[0, 690]]


def test_a_cut_period_is_marked() -> None:
    meter = a_meter()
    assert meter.apply([SetSetting("demand_period", 60), SetClock(MIDNIGHT + 30)]) is None
    minutes(meter, 230.0, seconds=30)
    minutes(meter, 230.0)
    assert [r[2] for r in fetch(meter, "0001", "FFFE")] == [1, 0]
