"""Counters that go over: LCD and every register of the table, at each edge, by counting and by feeding.

Words are worked out here from the vendor's table and decisions 25, 26 and 42, not by our encoder. Energies are in µWh.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from pathlib import Path

import pytest
from countis import E44, Key, Measurement, Meter, SelectTariff
from countis.meter.energy.registers import Layout
from countis.supply import three_phase
from countis.words.quantities import COUNTED, COUNTED_COLUMN

WH = 10**6
KWH, MWH = 1000 * WH, 10**6 * WH
TEN_TURNS = 10**9 * 10 * WH  # a 10 Wh register of nine digits
LCD_TURNS = 10**6 * MWH  # behind 999999.99 MWh
EDGES = {
    "10^9 x 10 Wh": TEN_TURNS,
    "65 536 MWh": 65536 * MWH,
    "999999.99 MWh": LCD_TURNS,
    "256 roll-overs": 256 * TEN_TURNS,
    "2^32 kWh": 2**32 * KWH,
}
TABLE = Path(__file__).parent / "conformance" / "modbus-registers.csv"
SCOPE = {"L1": ".L1", "L2": ".L2", "L3": ".L3", "SUM": "", "": ""}
NATURE = {"": "", " inductive": "ind", " capacitive": "cap"}
ENERGY = re.compile(r"(?:(L1|L2|L3|SUM) )?(?:total |(T[1-4]) )(E\S+)( inductive| capacitive)?(?: residual.*)?")
PARTIAL = re.compile(r"partial (E\S+)(?: (T[1-4]))?(?: residual.*)?")
ROLLS = re.compile(r"roll-overs of (?:total )?(E\S+)(?: (T[1-4]))?")
PERIOD = re.compile(r"(Ea[+-]) (previous|current) (day|week|month)")
# per count of a register, and where it begins again
COARSE, FINE, MEGA, RESIDUAL, ROLL = (KWH, 2**32), (10 * WH, 10**9), (MWH, 2**16), (WH // 10, 10**4), (TEN_TURNS, 256)
# what a window of each quadrant counts, beside Eap: signs of P and Q
QUADRANTS = {(1, 1): ("Ea+", "Er+", "Er+ind"), (-1, 1): ("Ea-", "Er+", "Er+cap"),
             (-1, -1): ("Ea-", "Er-", "Er-ind"), (1, -1): ("Ea+", "Er-", "Er-cap")}  # fmt: skip


def symbol_of(text: str) -> str:
    """The counter that a description of the vendor's table means; "" if it is none."""
    if found := ROLLS.fullmatch(text):
        kind, tariff = found.groups(default="")
        return (kind if kind != "Ea" else "Ea+") + (f".{tariff}" if tariff else "")
    if found := ENERGY.fullmatch(text):
        scope, tariff, kind, nature = found.groups(default="")
        return kind + NATURE[nature] + SCOPE[scope] + (f".{tariff}" if tariff else "")
    if found := PARTIAL.fullmatch(text):
        kind, tariff = found.groups(default="")
        return f"par.{kind}" + (f".{tariff}" if tariff else "")
    if found := PERIOD.fullmatch(text):
        kind, ago, period = found.groups()
        return f"{period}{'-1' if ago == 'previous' else ''}.{kind}"
    return {"net active": "net.Ea", "net reactive": "net.Er"}.get(text.split(" energy")[0], "")


def views() -> list[tuple[int, int, str, int, int]]:
    """Every register that shows an energy: address, words, symbol, size of a count, modulus."""
    out = []
    with TABLE.open(newline="") as file:
        for address, _, words, type_, unit, access, text in list(csv.reader(file))[1:]:
            symbol = symbol_of(text)
            if not symbol or access != "R":
                continue
            number, _, letters = unit.partition(" ")
            prefix = letters[:1] if letters[:1] in "kM" else ""
            size, modulus = {"1k": COARSE, "10": FINE, "1M": MEGA, "0.1": RESIDUAL, "-": ROLL}[number + prefix]
            out.append((int(address), int(words), symbol, size, modulus if type_ != "S32" else 2**31))
    return out


VIEWS = views()


def read(meter: Meter, address: int, words: int) -> str:
    reply = meter.pdu(bytes((3, address >> 8, address & 0xFF, 0, words)))
    assert reply[:2] == bytes((3, 2 * words)), (address, reply.hex())
    text: str = reply[2:].hex(" ", 2).upper()
    return text


def hexed(value: int, words: int) -> str:
    data: bytes = (value % int(2 ** (16 * words))).to_bytes(2 * words, "big")
    return data.hex(" ", 2).upper()


def expected(micro: int, words: int, size: int, modulus: int) -> str:
    shown = abs(micro) // size % modulus
    return hexed(-shown if micro < 0 else shown, words)


def loaded(ct_primary: int = 5, **counters: int) -> Meter:
    """A meter from a memory in which counters stand somewhere."""
    meter = Meter(E44, tariff_control="com", ct_primary=ct_primary)
    for symbol, value in counters.items():
        meter.state.row[COUNTED_COLUMN[symbol]] = value
    return Meter.load(meter.save())


def count(meter: Meter, p: float, q: float = 0.0, s: float = 0.0, seconds: float = 1.0) -> None:
    """A window of the same on each phase."""
    meter.count(Measurement.of(E44, seconds=seconds, v=[200.0] * 3, i=[(s or abs(p)) / 200.0] * 3, p=[p] * 3, q=[q] * 3))


def energies() -> list[str]:
    return [q.symbol for q in COUNTED if q.kind.value in ("counter", "partial", "net", "period")]


def gains() -> list[tuple[int, int, int, Counter[str]]]:
    """In each tariff one window of each quadrant, 3 Wh, 4 varh and 5 VAh a phase; with it all that it counts."""
    out = []
    for tariff in (1, 2, 3, 4):
        for (p, q), kinds in QUADRANTS.items():
            gained: Counter[str] = Counter()
            for kind in (*kinds, "Eap"):
                each = {"Ea": 3, "Er": 4}.get(kind[:2] if kind != "Eap" else "", 5) * WH
                for scope, units in ((".L1", each), (".L2", each), (".L3", each), ("", 3 * each)):
                    gained.update({f"{kind}{scope}": units, f"{kind}{scope}.T{tariff}": units})
                gained[f"par.{kind}"] = 3 * each
                gained[f"par.{kind}.T{tariff}"] = 3 * each
            for period in ("day", "week", "month"):
                gained[f"{period}.{kinds[0]}"] = 9 * WH
            gained.update({"net.Ea": p * 9 * WH, "net.Er": q * 12 * WH})
            out.append((tariff, p, q, gained))
    return out


def test_the_table_has_all_these_views() -> None:
    by_modulus = Counter(modulus for *_, modulus in VIEWS)
    # 4 scopes x (9 + 9 x 4) and 8 + 12 + 10 + 8 others in k; 12 + 10 + 8 in 10; 4 in M; 4 x 9 + 8 + 2 residuals
    assert by_modulus == {2**32: 180 + 38, 2**31: 2, 10**9: 30, 2**16: 4, 10**4: 46, 256: 9}
    assert {symbol for _, _, symbol, _, _ in VIEWS} == set(energies())


@pytest.mark.parametrize("edge", EDGES.values(), ids=EDGES)
def test_every_register_goes_over(edge: int) -> None:
    """All counters stand 1 Wh below the edge; each window takes some over it, the last has taken all."""
    stands = dict.fromkeys(energies(), edge - WH)
    meter = loaded(**stands)
    crossed = set()
    for tariff, p, q, gained in [(1, 0, 0, Counter[str]()), *gains()]:
        assert meter.apply([SelectTariff(tariff)]) is None
        if p:
            count(meter, 3600.0 * p, 4800.0 * q, 6000.0, seconds=3.0)
        for symbol in stands:
            stands[symbol] += gained[symbol]
            assert meter.exact(symbol) == stands[symbol], symbol
        crossed |= {symbol for symbol, micro in stands.items() if micro >= edge}
        for address, words, symbol, size, modulus in VIEWS:
            wanted = expected(stands[symbol], words, size, modulus)
            assert read(meter, address, words) == wanted, (address, symbol, stands[symbol])
    assert set(stands) - crossed == {f"{period}-1.{kind}" for period in ("day", "week", "month") for kind in ("Ea+", "Ea-")}


# Σ Ea+ before the edge and 2 Wh behind it: total in k, k and residual, 10 Wh, MWh, roll-overs
BY_HAND = {
    "10^9 x 10 Wh": (
        "0098 967F | 0098 967F 2706 | 3B9A C9FF | 270F | 0000",
        "0098 9680 | 0098 9680 0014 | 0000 0000 | 2710 | 0001",
    ),
    "65 536 MWh": (
        "03E7 FFFF | 03E7 FFFF 2706 | 20FF 43FF | FFFF | 0006",
        "03E8 0000 | 03E8 0000 0014 | 20FF 4400 | 0000 | 0006",
    ),
    "999999.99 MWh": (
        "3B9A C9FF | 3B9A C9FF 2706 | 3B9A C9FF | 423F | 0063",
        "3B9A CA00 | 3B9A CA00 0014 | 0000 0000 | 4240 | 0064",
    ),
    "256 roll-overs": (
        "9896 7FFF | 9896 7FFF 2706 | 3B9A C9FF | 0FFF | 00FF",
        "9896 8000 | 9896 8000 0014 | 0000 0000 | 1000 | 0000",
    ),
    "2^32 kWh": (
        "FFFF FFFF | FFFF FFFF 2706 | 1D9B 7DFF | 8937 | 00AD",
        "0000 0000 | 0000 0000 0014 | 1D9B 7E00 | 8937 | 00AD",
    ),
}
PLACES = ((50770, 2), (25987, 3), (50946, 2), (51311, 1), (36866, 1))


@pytest.mark.parametrize("edge", EDGES)
def test_words_worked_out_by_hand(edge: str) -> None:
    meter = loaded(**{"Ea+": EDGES[edge] - WH})
    assert " | ".join(read(meter, *place) for place in PLACES) == BY_HAND[edge][0]
    count(meter, 3600.0)  # 1 Wh a phase
    assert " | ".join(read(meter, *place) for place in PLACES) == BY_HAND[edge][1]


@pytest.mark.parametrize("sign", [1, -1])
def test_the_balance_keeps_its_sign_where_it_goes_over(sign: int) -> None:
    """A signed register has 31 bits for it (assumed: no source says what comes behind them)."""
    meter = loaded(**{"net.Ea": sign * (2**31 * KWH - WH)})
    assert read(meter, 33024, 3) == ("7FFF FFFF 2706" if sign > 0 else "8000 0001 D8FA")
    count(meter, sign * 3600.0)
    assert read(meter, 33024, 3) == ("0000 0000 0014" if sign > 0 else "0000 0000 FFEC")


def shown(meter: Meter) -> str:
    """Digits and unit of the LCD."""
    return meter.lcd.split(" | ")[2]


LADDER = [  # CT primary, Wh, before, and 1 Wh later
    (5, 99_999_999, "99999.999 kWh", "100000.00 kWh"),
    (5, 999_999_999, "999999.99 kWh", "1000000.0 kWh"),
    (5, 9_999_999_999, "9999999.9 kWh", "10000000 kWh"),
    (5, 99_999_999_999, "99999999 kWh", "100000.00 MWh"),
    (5, 999_999_999_999, "999999.99 MWh", "00000.000 kWh"),
    (5, 1_000_099_999_999, "99999.999 kWh", "100000.00 kWh"),
    (5, 65_535_999_999, "65535999 kWh", "65536000 kWh"),
    (5, 2_559_999_999_999, "559999.99 MWh", "560000.00 MWh"),
    (5, 4_294_967_295_999, "294967.29 MWh", "294967.29 MWh"),
    (5, 4_999_999_999_999, "999999.99 MWh", "00000.000 kWh"),
    (20, 99_999_999, "99999.999 kWh", "100000.00 kWh"),
    (25, 99_999_999, "099999.99 kWh", "100000.00 kWh"),
    (200, 99_999_999, "099999.99 kWh", "100000.00 kWh"),
    (200, 999_999_999, "999999.99 kWh", "1000000.0 kWh"),
    (200, 99_999_999_999, "99999999 kWh", "100000.00 MWh"),
    (200, 999_999_999_999, "999999.99 MWh", "000000.00 kWh"),
]


@pytest.mark.parametrize(("ct", "wh", "before", "after"), LADDER)
def test_the_lcd_goes_over(ct: int, wh: int, before: str, after: str) -> None:
    meter = loaded(ct, **{"Ea+": wh * WH})
    meter.press(Key.ENTER, 4)
    meter.press(Key.UP, 3)
    assert meter.lcd.startswith("tot | Σ → Ea |")
    assert shown(meter) == before
    share = Measurement.of(E44, seconds=1.0, v=[230.0] * 3, i=[1.0] * 3, p=[3600.0 * 5 / ct, 0, 0], q=[0.0] * 3)
    meter.count(share)
    assert meter.exact("Ea+") == (wh + 1) * WH
    assert shown(meter) == after


def page_symbol(text: str) -> str:
    """The counter that a page of the LCD says it shows."""
    parts = text.split(" | ")[1].split()
    tariff = next((f".{p}" for p in parts if p in ("T1", "T2", "T3", "T4")), "")
    kind = next(p for p in parts if p in ("Ea", "Er", "Eap"))
    if "bal" in parts:
        return f"net.{kind}"
    sign = "+" if "→" in parts else "-" if "←" in parts else ""
    nature = next((p for p in parts if p in ("ind", "cap")), "")
    scope = next((f".{p}" for p in parts if p in ("L1", "L2", "L3")), "")
    return ("par." if "par" in parts else "") + kind + sign + nature + scope + tariff


def pages(meter: Meter) -> dict[str, str]:
    """Digits and prefix of the unit of every page with an energy, by symbol; ends where it began."""
    out: dict[str, str] = {}
    for menu in range(9):
        for _ in range({4: 21, 5: 15}.get(menu, 8) if menu < 6 else 0):
            out[page_symbol(meter.lcd)] = re.split("(?<=[kM])", shown(meter))[0]
            meter.press(Key.UP)
        meter.press(Key.ENTER)
    return out


def test_every_page_of_the_lcd_rolls_over() -> None:
    stands = {symbol: LCD_TURNS - WH for symbol in energies() if not symbol.startswith(("day", "week", "month"))}
    meter = loaded(**stands)
    before = pages(meter)
    assert len(before) == 4 * 8 + 21 + 15
    assert set(before.values()) == {"999999.99 M"}
    for tariff, p, q, gained in gains():
        assert meter.apply([SelectTariff(tariff)]) is None
        count(meter, 3600.0 * p, 4800.0 * q, 6000.0, seconds=3.0)
        for symbol in stands:
            stands[symbol] += gained[symbol]
    for symbol, text in pages(meter).items():
        over = (stands[symbol] - LCD_TURNS) // WH
        wanted = f"00000.{over:03d} k" if over >= 0 else "999999.99 M"  # the balance comes back to where it was
        assert text == wanted, symbol
        assert (over < 0) == symbol.startswith("net."), symbol


def test_feeding_over_the_edge_never_goes_back() -> None:
    """Samples: roll-overs and 10 Wh register together, k and residual together, only ever grow, and say the same."""
    meter, supply = loaded(**{"Ea+": TEN_TURNS - 2 * WH, "Ea+.T1": TEN_TURNS - 2 * WH}), three_phase(230.0, 6.0)
    seen = []
    for _ in range(40):
        meter.feed(supply, seconds=0.1)
        places = ((36866, 1), (50946, 2), (25987, 2), (25989, 1))
        rolls, ten, k, tenths = (int(read(meter, *place).replace(" ", ""), 16) for place in places)
        assert rolls * 10**9 + ten == (k * 10_000 + tenths) // 100
        assert (read(meter, 36871, 1), read(meter, 51202, 2)) == (read(meter, 36866, 1), read(meter, 50946, 2))
        seen.append((k, tenths, rolls))
    assert seen == sorted(seen)
    assert (seen[0][2], seen[-1][2]) == (0, 1)
    assert meter.state.row[Layout.pulses] == 4  # 4140 W for 4 s: 4.6 Wh, and 1 Wh a pulse
