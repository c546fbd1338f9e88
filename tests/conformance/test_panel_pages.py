"""The pages of the front panel, typed from manual §10.1 to §10.8: order, signs, units, and their digits against Modbus.

Keys and LCD are used as a person uses them, the bus by request bytes; addresses are the vendor's, typed again.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from functools import cache
from itertools import pairwise
from typing import Any, NamedTuple

import pytest
from countis import E43, E44, Key, Measurement, Meter
from countis.supply import Supply, three_phase

from conformance.test_manual_matrix import MATRIX


class Page(NamedTuple):
    """A page as printed: menu, scope and signs, unit without its prefix, and the quantity (or what stands there).

    ⇄ is → or ← by the sign of the value, ± is ind or cap.
    """

    menu: str
    signs: str
    unit: str
    symbol: str


PHASES = ("L1", "L2", "L3")
TARIFFS = ("T1", "T2", "T3", "T4")
BY_TARIFF = [
    ("→ Ea", "Wh", "Ea+"), ("← Ea", "Wh", "Ea-"), ("→ Er ind", "varh", "Er+ind"), ("← Er ind", "varh", "Er-ind"),
    ("→ Er cap", "varh", "Er+cap"), ("← Er cap", "varh", "Er-cap"), ("→ Er", "varh", "Er+"), ("← Er", "varh", "Er-"),
]  # fmt: skip
PAGES = [
    *(  # §10.1 to §10.4
        Page(f"Tar.{n}", f"Σ {signs} T{n}", unit, f"{kind}.T{n}") for n in (1, 2, 3, 4) for signs, unit, kind in BY_TARIFF
    ),
    *(Page("tot", f"{L} → Ea", "Wh", f"Ea+.{L}") for L in PHASES),  # §10.5
    Page("tot", "Σ → Ea", "Wh", "Ea+"),
    *(Page("tot", f"{L} ← Ea", "Wh", f"Ea-.{L}") for L in PHASES),
    Page("tot", "Σ ← Ea", "Wh", "Ea-"),
    Page("tot", "Σ Eap", "VAh", "Eap"),
    Page("tot", "Σ → Er ind", "varh", "Er+ind"),
    Page("tot", "Σ ← Er ind", "varh", "Er-ind"),
    Page("tot", "Σ → Er cap", "varh", "Er+cap"),
    Page("tot", "Σ ← Er cap", "varh", "Er-cap"),
    *(Page("tot", f"{L} → Er", "varh", f"Er+.{L}") for L in PHASES),
    Page("tot", "Σ → Er", "varh", "Er+"),
    *(Page("tot", f"{L} ← Er", "varh", f"Er-.{L}") for L in PHASES),
    Page("tot", "Σ ← Er", "varh", "Er-"),
    *(Page("Par.b", f"Σ → Ea par {T}", "Wh", f"par.Ea+.{T}") for T in TARIFFS),  # §10.6
    Page("Par.b", "Σ → Ea par", "Wh", "par.Ea+"),
    *(Page("Par.b", f"Σ ← Ea par {T}", "Wh", f"par.Ea-.{T}") for T in TARIFFS),
    Page("Par.b", "Σ ← Ea par", "Wh", "par.Ea-"),
    Page("Par.b", "Σ Eap par", "VAh", "par.Eap"),
    Page("Par.b", "Σ → Er par", "varh", "par.Er+"),
    Page("Par.b", "Σ ← Er par", "varh", "par.Er-"),
    Page("Par.b", "Σ Ea bal", "Wh", "net.Ea"),
    Page("Par.b", "Σ Er bal", "varh", "net.Er"),
    *(Page("rt", f"L{n} ⇄", "W", f"P{n}") for n in (1, 2, 3)),  # §10.7
    Page("rt", "Σ ⇄", "W", "P"),
    *(Page("rt", f"L{n}", "VA", f"S{n}") for n in (1, 2, 3)),
    Page("rt", "Σ", "VA", "S"),
    *(Page("rt", f"L{n} ⇄", "var", f"Q{n}") for n in (1, 2, 3)),
    Page("rt", "Σ ⇄", "var", "Q"),
    Page("rt", "Σ L12 23 31", "V", "U"),
    Page("rt", "Σ L1 2 3", "V", "V"),
    Page("rt", "Σ", "A", "I"),
    Page("rt", "Σ ±", "PF", "PF"),
    Page("rt", "", "Hz", "f"),
    Page("inFo", "rEL1", "", "0.1.0"),  # §10.8
    Page("inFo", "rEL2", "", "0.1.0"),
    Page("inFo", "CS1", "", "00000000"),  # of a meter that no host has handed its checksums
    Page("inFo", "CS2", "", "00000000"),
    Page("inFo", "port", "", "rS485"),
    Page("inFo", "CtP", "A", "ct_primary"),
    Page("inFo", "FSA", "A", "ct_secondary"),
    Page("SEtuP.2", "", "", ""),
]
MENUS = ("Tar.1", "Tar.2", "Tar.3", "Tar.4", "tot", "Par.b", "rt", "inFo", "SEtuP.2")
MEASURING = [page for page in PAGES if page.menu not in ("inFo", "SEtuP.2")]
SEATS = [(5, 5, 1), (1, 5, 14), (20, 5, 3), (25, 5, 4), (200, 5, 5), (1250, 1, 6), (12_000, 5, 7), (12_000, 1, 8)]

# Where the bus tells the same: the first address and what one count is worth. An energy of RESIDUAL has its rest two words on.
KINDS = ("Ea+", "Ea-", "Er+", "Er-", "Eap", "Er+ind", "Er-ind", "Er+cap", "Er-cap")
RESIDUAL = {
    **{f"{kind}.L1": 19843 + 3 * n for n, kind in enumerate(KINDS)},
    **{f"{kind}.L2": 21891 + 3 * n for n, kind in enumerate(KINDS)},
    **{f"{kind}.L3": 23939 + 3 * n for n, kind in enumerate(KINDS)},
    **{kind: 25987 + 3 * n for n, kind in enumerate(KINDS)},
    **{f"par.Ea+.{T}": 32768 + 3 * n for n, T in enumerate(TARIFFS)},
    **{f"par.Ea-.{T}": 32792 + 3 * n for n, T in enumerate(TARIFFS)},
    **{name: 33024 + 3 * n for n, name in enumerate(("net.Ea", "net.Er"))},
}


def run(first: int, count: int, pattern: str, names: Iterable[str]) -> list[tuple[str, int, int]]:
    """Registers of two words, one after the other."""
    return [(pattern.format(name), first + 2 * n, count) for n, name in enumerate(names)]


FIVE = ("Ea+", "Er+", "Eap", "Ea-", "Er-")
WHOLE = [
    *run(50770, 1000, "{}", FIVE), *run(50780, 1000, "par.{}", FIVE),
    *run(50946, 10, "{}", FIVE), *run(50956, 10, "par.{}", FIVE),
    *run(50850, 1000, "Ea+.{}", TARIFFS), *run(50866, 1000, "Er+.{}", TARIFFS),
    *run(51202, 10, "Ea+.{}", TARIFFS), *run(51218, 10, "Er+.{}", TARIFFS),
    *run(26369, 1000, "Ea+.{}", TARIFFS), *run(26385, 1000, "Ea-.{}", TARIFFS),
    *run(26401, 1000, "Er+.{}", TARIFFS), *run(26449, 1000, "Er-.{}", TARIFFS),
    *run(26417, 1000, "Er+ind.{}", TARIFFS), *run(26433, 1000, "Er+cap.{}", TARIFFS),
    *run(26465, 1000, "Er-ind.{}", TARIFFS), *run(26481, 1000, "Er-cap.{}", TARIFFS),
]  # fmt: skip
LIVE = {
    "f": (50526, ">I", "0.01"), "P": (50536, ">i", "10"), "Q": (50538, ">i", "10"), "S": (50540, ">I", "10"),
    "PF": (50542, ">i", "0.001"), "P1": (50544, ">i", "10"), "P2": (50546, ">i", "10"), "P3": (50548, ">i", "10"),
    "Q1": (50550, ">i", "10"), "Q2": (50552, ">i", "10"), "Q3": (50554, ">i", "10"), "S1": (50556, ">I", "10"),
    "S2": (50558, ">I", "10"), "S3": (50560, ">I", "10"), "I": (50568, ">I", "0.001"), "U": (50570, ">I", "0.01"),
    "V": (50572, ">I", "0.01"),
}  # fmt: skip
SCALE = {"": 1, "k": 1000, "M": 1_000_000}
# §13: decimals and prefix of the finest display on, each until its digits are full; energies by decision 25.
FORMS = {
    **dict.fromkeys(("Wh", "varh", "VAh"), ((3, "k"), (2, "k"), (1, "k"), (0, "k"), (2, "M"))),
    **dict.fromkeys(("W", "var", "VA"), ((3, "k"), (2, "k"), (1, "k"), (3, "M"), (2, "M"))),
    "A": ((3, ""), (2, ""), (1, ""), (3, "k"), (2, "k")), "V": ((1, ""),), "PF": ((3, ""),), "Hz": ((2, ""),),
}  # fmt: skip


class Value(NamedTuple):
    """A number of whole steps, in V, A, W, Wh, …"""

    exact: Fraction
    step: Fraction


def word(meter: Meter, address: int, form: str) -> int:
    """Read one register by a request of its own."""
    size = struct.calcsize(form)
    reply = meter.pdu(struct.pack(">BHH", 3, address, size // 2))
    assert reply[:2] == bytes((3, size))
    return int(struct.unpack(form, reply[2:])[0])


def told(meter: Meter, symbol: str) -> list[Value]:
    """What the bus says of a quantity, in all its places."""
    if symbol in LIVE:
        address, form, step = LIVE[symbol]
        return [Value(word(meter, address, form) * Fraction(step), Fraction(step))]
    whole = [(address, Fraction(count)) for name, address, count in WHOLE if name == symbol]
    found = [Value(word(meter, address, ">I") * count, count) for address, count in whole]
    if symbol in RESIDUAL:
        address = RESIDUAL[symbol]
        forms = (">i", ">h") if symbol.startswith("net.") else (">I", ">H")
        k_units, rest = word(meter, address, forms[0]), word(meter, address + 2, forms[1])
        found.append(Value(k_units * 1000 + rest * Fraction(1, 10), Fraction(1, 10)))
    return found


def shown(page: Page, text: str) -> Value:
    """The number on the LCD, with the sign that its digits, arrow or ind and cap give it."""
    _, signs, number, _ = (field.strip() for field in text.split("|"))
    digits, unit = number.split()
    _, _, decimals = digits.partition(".")
    step = Fraction(SCALE[unit.removesuffix(page.unit)], 10 ** len(decimals))
    negative = page.menu == "rt" and signs.endswith(("←", "cap"))
    return Value(int(digits.replace(".", "")) * (-step if negative else step), step)


def written(page: Page, value: Fraction, ratio: float) -> str:
    """The digits and unit that §13 and decision 25 ask for: energies cut and rolling over, the rest rounded."""
    energy = page.unit.endswith("h")
    places, size = (8, abs(value) % 10**12) if energy else (4, abs(value))
    for decimals, prefix in FORMS[page.unit][1 if energy and int(ratio) > 4 else 0 :]:
        step = Fraction(SCALE[prefix], 10**decimals)
        count = size // step if energy else round(size / step)
        if count < 10**places:
            break
    digits = f"{count:0{places}d}"
    point = f"{digits[:-decimals]}.{digits[-decimals:]}" if decimals else digits
    return f"{'-' if energy and value < 0 and count else ''}{point} {prefix}{page.unit}"


def exactly(meter: Meter, symbol: str) -> Fraction:
    """The value of the meter itself."""
    if symbol not in LIVE:
        return Fraction(meter.exact(symbol), 1_000_000)
    return Fraction(float(meter[symbol] or 0))


def walk(meter: Meter) -> Iterator[tuple[Page, str]]:
    """Through all menus from the first page of the first, by ENTER and UP; each page of the list with what is shown there."""
    meter.press(Key.ENTER, len(MENUS))  # once round: the sign of an earlier reading has gone out
    start = meter.lcd
    for menu in MENUS:
        first = meter.lcd
        for page in (page for page in PAGES if page.menu == menu):
            yield page, meter.lcd
            meter.press(Key.UP)
        assert meter.lcd == first, f"{menu} does not come back to its first page"
        meter.press(Key.ENTER)
    assert meter.lcd == start, "after the last menu comes the first"


def write(meter: Meter, text: str) -> None:
    """Write over the bus; it must not be refused."""
    assert meter.pdu(bytes.fromhex(text))[0] == int(text[:2], 16)


def hours(meter: Meter, rng: random.Random, quadrant: int, scale: float) -> None:
    """Some hours in a quadrant, I to IV, each phase with powers of its own."""
    forward, reactive = (1, -1, -1, 1)[quadrant - 1], (1, 1, -1, -1)[quadrant - 1]
    p = [forward * scale * rng.uniform(100, 900) for _ in PHASES]
    q = [reactive * scale * rng.uniform(100, 900) for _ in PHASES]
    i = [scale * rng.uniform(4.4, 6) for _ in PHASES]
    seconds = round(3600 * rng.uniform(400, 1400) / max(1, meter.ratio**0.8))
    meter.count(Measurement.of(meter.model, seconds=seconds, v=(230,) * 3, i=i, p=p, q=q))


def network(rng: random.Random, f: float) -> Supply:
    """Three phases of which no two are alike, lagging or leading, importing or exporting."""
    v = [rng.uniform(200, 260) for _ in PHASES]
    i = [rng.uniform(0.5, 6) for _ in PHASES]
    pf = [rng.choice((1, -1)) * rng.uniform(0.3, 0.95) for _ in PHASES]
    return three_phase(v=v, i=i, pf=pf, f=f, export=rng.random() < 0.5)


@cache
def seated(primary: int, secondary: int, seed: int) -> Meter:
    """A meter that has seen each quadrant in each tariff, its partials begun again on the way; it now shows a live network."""
    rng = random.Random(seed)
    meter = Meter(E44 if seed % 2 else E43, ct_primary=primary, ct_secondary=secondary, tariff_control="com")
    for tariff in (1, 2, 3, 4):
        write(meter, f"06 9E 21 00 {tariff:02X}")
        for quadrant in rng.sample((1, 2, 3, 4), 4):
            hours(meter, rng, quadrant, 1 if (quadrant in (2, 3)) == (seed % 3 == 0) else 0.4)
        write(meter, f"10 E2 24 00 01 02 00 {1 << tariff - 1:02X}")  # the partials of this tariff begin again
        if tariff == 2:
            write(meter, "10 E2 22 00 01 02 00 1F")  # those of all tariffs
        hours(meter, rng, 1, 0.3)
        hours(meter, rng, 3, 0.3)
    write(meter, f"06 9E 21 00 {seed % 4 + 1:02X}")
    meter.feed(network(rng, 49.37 + seed / 10), seconds=3)
    return meter


@pytest.mark.manual("10")
@pytest.mark.parametrize("seat", SEATS)
def test_the_walk_meets_exactly_the_pages_of_the_manual(seat: tuple[int, int, int]) -> None:
    """Whole frames, digit for digit, and nothing between them."""
    meter = seated(*seat)
    tariff = f"T{seat[2] % 4 + 1}"
    what_stands = {"ct_primary": f"{seat[0]:05d} A", "ct_secondary": f"{seat[1]} A"}
    for page, text in walk(meter):
        if page in MEASURING:
            value = exactly(meter, page.symbol)
            turned = page.signs.replace("⇄", "←").replace("±", "cap")
            first = page.signs.replace("⇄", "→").replace("±", "ind") if value >= 0 else turned
            middle = written(page, value, meter.ratio)
        else:
            first, middle = page.signs, what_stands.get(page.symbol, page.symbol)
        other_tariff = "" if tariff == "T1" or page.signs.endswith(TARIFFS) else f" {tariff}"
        fields = [page.menu, first, middle, f"123{other_tariff}"]
        assert [field.strip() for field in text.split("|")] == fields


@pytest.mark.manual("10")
def test_enter_leads_to_the_next_menu_from_every_page() -> None:
    meter = seated(*SEATS[0])
    firsts = []
    for _ in MENUS:
        firsts.append(meter.lcd)
        meter.press(Key.ENTER)
    for menu, first, following in zip(MENUS, firsts, firsts[1:] + firsts[:1], strict=True):
        for page in range(sum(page.menu == menu for page in PAGES)):
            meter.press(Key.UP, page)
            meter.press(Key.ENTER)
            assert meter.lcd == following
            meter.press(Key.ENTER, len(MENUS) - 1)
            assert meter.lcd == first
        meter.press(Key.ENTER)


@pytest.mark.manual("10")
@pytest.mark.parametrize("seat", SEATS)
def test_the_lcd_says_what_the_bus_says(seat: tuple[int, int, int]) -> None:
    """Cut or rounded to the coarser of both, as decimal numbers; the bus by its bytes."""
    meter = seated(*seat)
    for page, text in list(walk(meter)):
        places = told(meter, page.symbol)
        assert bool(places) == (page in MEASURING), page
        for modbus in places:
            lcd = shown(page, text)
            if page.symbol in LIVE:
                assert 2 * abs(lcd.exact - modbus.exact) <= lcd.step + modbus.step, (page, text, modbus)
            else:
                coarse = max(lcd.step, modbus.step)
                assert int(lcd.exact / coarse) == int(modbus.exact / coarse), (page, text, modbus)  # toward 0, decision 42


@pytest.mark.parametrize("seat", SEATS)
def test_a_swapped_page_would_be_seen(seat: tuple[int, int, int]) -> None:
    """Of one unit no two quantities are nearer than a step of their LCD and finest register, and none is nearly 0."""
    meter = seated(*seat)
    said: dict[str, list[tuple[Fraction, Fraction]]] = {}
    for page, text in list(walk(meter)):
        if page in MEASURING:
            finest = min(told(meter, page.symbol), key=lambda value: value.step)
            step = max(finest.step, shown(page, text).step)
            said.setdefault(page.unit, [(Fraction(0), step)]).append((abs(finest.exact), step))
    for values in said.values():
        assert all(b - a >= max(step_a, step_b) for (a, step_a), (b, step_b) in pairwise(sorted(values)))


def test_the_seats_show_both_directions_and_every_form() -> None:
    meters = [seated(*seat) for seat in SEATS]
    for symbol in ("P", "Q", "PF", "Q1", "net.Ea", "net.Er"):
        assert {exactly(meter, symbol) > 0 for meter in meters} == {True, False}, symbol
    written_units = {text.split("|")[2].split()[1] for meter in meters for page, text in walk(meter) if page in MEASURING}
    assert written_units >= {"kWh", "kvarh", "kVAh", "kW", "MW", "kvar", "Mvar", "kVA", "MVA", "V", "A", "kA", "PF", "Hz"}


def new(*path: tuple[Key, int], **supply: Any) -> Meter:
    """A meter behind a network, with nothing to show but that, and the page that keys lead to."""
    meter = Meter(E44, tariff_control="com")
    meter.feed(three_phase(**{"i": 0, **supply}), seconds=3)
    for key, times in path:
        meter.press(key, times)
    return meter


def directions() -> list[str]:
    return [new((Key.ENTER, 6), (Key.UP, 3), i=2, export=export).lcd for export in (False, True)]


def sequences() -> list[str]:
    return [new(**supply).lcd for supply in ({}, {"sequence": 132}, {"v": (230, 230, 0)})]


def tariffs() -> Iterator[str]:
    meter = new((Key.ENTER, 5), (Key.UP, 13))
    for tariff in (1, 2, 3, 4):
        write(meter, f"06 9E 21 00 {tariff:02X}")
        yield meter.lcd.removesuffix(" com")


def stopped_and_started() -> Iterator[str]:
    meter = new((Key.ENTER, 5))
    for _ in range(3):
        yield meter.lcd
        meter.press(Key.UP | Key.ENTER)


def pulses() -> Iterator[str]:
    """Before any pulse, in the second after one, and later (decision 43); 3450 W give a pulse of 1 Wh each 1.04 s."""
    meter = new()
    yield meter.lcd
    meter.feed(three_phase(i=5), seconds=1.5)
    yield meter.lcd
    meter.feed(three_phase(i=0), seconds=1.5)
    yield meter.lcd


PULSES = (("00000.000 kWh", ""), ("00000.001 kWh", " pulse"), ("00000.001 kWh", ""))
PAR = "Par.b | Σ → Ea par{} T1 | 00000.000 kWh | 123"
SIGNS: dict[str, tuple[Callable[[], Iterable[str]], list[str]]] = {
    "Power direction": (directions, ["rt | Σ → | 1.380 kW | 123", "rt | Σ ← | 1.380 kW | 123"]),
    "Phase sequence": (sequences, [f"Tar.1 | Σ → Ea T1 | 00000.000 kWh | {sign}" for sign in ("123", "132", "!")]),
    "Present tariff": (tariffs, [f"Par.b | Σ Ea bal | 00000.000 kWh | 123{T}" for T in ("", " T2", " T3", " T4")]),
    "Partial counters start/stop": (stopped_and_started, [PAR.format(""), PAR.format("*"), PAR.format("")]),
    "Pulse output status": (pulses, [f"Tar.1 | Σ → Ea T1 | {wh} | 123{sign}" for wh, sign in PULSES]),
}


@pytest.mark.manual("4.6.1")
@pytest.mark.parametrize("name", SIGNS)
def test_a_sign_of_the_matrix_is_on_the_lcd(name: str) -> None:
    look, texts = SIGNS[name]
    assert list(look()) == texts


@pytest.mark.manual("4.6.1")
def test_all_that_the_matrix_has_on_the_lcd_has_its_page_or_its_sign() -> None:
    rows = [row for row in MATRIX if row.lcd]
    pages = {page.symbol for page in MEASURING}
    by_sign = {row.name for row in rows if not set(row.symbols) & pages}
    assert by_sign == set(SIGNS)
    assert {symbol for row in rows if row.name not in by_sign for symbol in row.symbols} == pages
