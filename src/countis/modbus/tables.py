"""The vendor's communication table V201.255 as data: 45 blocks, 444 registers and the reserved words between them.

Rule: values only, no callables. The slave, the master, `countis map`, the docs and the tests read it; an independent
transcription stands in tests/conformance. A row whose meaning the table leaves open carries the source "assumed".
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from countis.words.quantities import PARTIALS, PERIODS, SCOPES, TARIFFS, counter_symbol

TABLE: Final = "table V201.255"
Codes = tuple[tuple[int, int], ...]  # (value, code on the wire)


@dataclass(frozen=True, slots=True)
class Block:
    """A run of words that is read and written under the same rules; `functions` are those (locked, unlocked)."""

    start: int
    words: int
    kind: str
    lock: str  # NONE always open, USER only when unlocked
    functions_locked: str
    functions_unlocked: str
    topic: str
    repeat: int = 1  # the block answers this many times its words when read (load-curve records)


@dataclass(frozen=True, slots=True)
class Row:
    """One register, or a run of reserved words."""

    address: int
    words: int
    type: str  # spelt as in the vendor's table
    unit: str = "-"
    access: str = "R"
    symbol: str = ""  # quantity, setting, or a name of the slave's own (id.…, curve.…, clock.…, cmd.…)
    modulus: int = 0  # the value counts modulo this; 0: a value that does not wrap
    secondary: bool = False  # without the CT ratio
    codes: Codes = ()
    source: str = TABLE
    description: str = ""


RESERVED: Final = "RESERVED"
WORDS: Final = {"U8": 1, "U8_HEX": 1, "U16": 1, "U16_HEX": 1, "S16": 1, "U32": 2, "S32": 2, "DATETIME": 2, "DATETIME_3": 3,
                "U64_HEX": 4}  # fmt: skip
# How much of the SI unit one count of a register is.
SIZE: Final = {
    f"{mantissa} {prefix}{unit}": Fraction(mantissa) * factor
    for unit in ("Wh", "varh", "VAh", "W", "var", "VA", "V", "A", "Hz", "h", "s")
    for mantissa in ("1", "10", "0.1", "0.01", "0.001")
    for prefix, factor in (("", 1), ("k", 1000), ("M", 1_000_000))
} | {"-": Fraction(1), "0.001": Fraction(1, 1000)}

_R, _W, _RW = "READ", "WRITE", "READ+WRITE+WRITE_MANY"

_SCOPE_BASES: Final = (19840, 21888, 23936, 25984)
BLOCKS: Final[tuple[Block, ...]] = (
    *(
        block
        for base, scope in zip(_SCOPE_BASES, ("L1", "L2", "L3", "SUM"), strict=True)
        for block in (
            Block(base, 66, "Info", "NONE", _R, _R, f"energy {scope} (+residual)"),
            Block(base + 384, 33, "Info", "NONE", _R, _R, f"tariff Ea {scope}"),
            Block(base + 417, 96, "Info", "NONE", _R, _R, f"tariff Er {scope}"),
            Block(base + 513, 16, "Info", "NONE", _R, _R, f"tariff Eap {scope}"),
        )
    ),
    Block(29184, 7, "Settings", "USER", _R, _RW, "gateway network (all reserved here)"),
    Block(29952, 7, "Settings", "NONE", _R, _RW, "extended clock (all reserved here)"),
    Block(30208, 27, "Settings", "USER", _R, _RW, "SNTP (all reserved here)"),  # printed 27, has 26 words (decision 38)
    Block(32768, 48, "Info", "NONE", _R, _R, "partial Ea by tariff"),
    Block(33024, 6, "Info", "NONE", _R, _R, "net energy balance"),
    Block(36864, 11, "Info", "NONE", _R, _R, "overflow counters"),
    Block(36896, 24, "Info", "NONE", _R, _R, "period indexes coarse"),
    Block(36928, 24, "Info", "NONE", _R, _R, "period indexes fine"),
    Block(40480, 2, "Commands", "NONE", _W, _W, "set tariff"),
    Block(40512, 1, "Commands", "NONE", _W, _W, "partial/max reset"),
    Block(40544, 2, "Info", "NONE", _R, _R, "production/MID flags"),
    Block(40576, 6, "Info", "NONE", _R, _R, "secondary currents (no CT)"),
    Block(40608, 1, "Info", "NONE", _R, _R, "COM board id"),
    Block(50000, 66, "Info", "NONE", _R, _R, "identity"),
    Block(50512, 62, "Info", "NONE", _R, _R, "measurements with CT ratio (32-bit)"),
    Block(50768, 65, "Info", "NONE", _R, _R, "energies coarse (k-unit)"),
    Block(50848, 50, "Info", "NONE", _R, _R, "tariff energies coarse"),
    Block(50944, 65, "Info", "NONE", _R, _R, "energies fine (10-unit)"),
    Block(51200, 50, "Info", "NONE", _R, _R, "tariff energies fine"),
    Block(51280, 36, "Info", "NONE", _R, _R, "measurements compact 16-bit (no CT/VT ratio)"),
    Block(57344, 10, "Settings", "NONE", _RW, _RW, "electrical network / CT"),
    Block(57354, 2, "Settings", "NONE", _R, _RW, "demand period"),
    Block(57600, 6, "Date/Time command", "USER", "NONE", _W, "clock set"),
    Block(57856, 1, "Commands", "USER", "NONE", _W, "system action (reserved here)"),
    Block(57888, 5, "Commands", "NONE", "NONE", _W, "value reset"),
    Block(58368, 1, "Settings", "USER", _R, _RW, "slave address"),
    Block(61440, 1, "Command", "NONE", "WRITE_MANY", "WRITE_MANY", "load curve P+ command"),
    Block(61456, 6, "Header", "NONE", _R, _R, "load curve P+ header"),
    Block(61462, 4, "Data", "NONE", _R, _R, "load curve P+ record(s)", repeat=29),
)

_U8, _U16, _U32 = 1 << 8, 1 << 16, 1 << 32
_TEN: Final = 10**9  # a 10-unit register has nine digits (decision 26)
_RESIDUAL: Final = 10**4
_SECTION: Final = ("Ea+", "Ea-", "Er+", "Er-", "Eap", "Er+ind", "Er-ind", "Er+cap", "Er-cap")
_COARSE: Final = ("Ea+", "Er+", "Eap", "Ea-", "Er-")


def _unit(kind: str) -> str:
    kind = kind.removeprefix("par.").removeprefix("net.").split(".")[0]
    return {"Eap": "VAh", "Ea": "Wh", "Ea+": "Wh", "Ea-": "Wh"}.get(kind, "varh")


def _run(address: int, rows: list[Row]) -> Iterator[Row]:
    """Place rows one behind the other; a row's own address is how many reserved words stand before it."""
    for row in rows:
        if row.address:
            yield Row(address, row.address, RESERVED, access=row.access, description="reserved")
            address += row.address
        if row.words:
            yield Row(address, *(getattr(row, field) for field in Row.__slots__[1:]))
            address += row.words


def _row(type_: str, symbol: str, unit: str = "-", modulus: int = 0, *, gap: int = 0, words: int = 0, access: str = "R",
         secondary: bool = False, codes: Codes = (), source: str = TABLE, text: str = "") -> Row:  # fmt: skip
    return Row(gap, words or WORDS[type_], type_, unit, access, symbol, modulus, secondary, codes, source, text)


def _gap(words: int, access: str = "R") -> Row:
    return Row(words, 0, RESERVED, access=access)


def _k_and_residual(symbol: str, gap: int = 0) -> list[Row]:
    unit = _unit(symbol)
    return [
        _row("U32", symbol, f"1 k{unit}", _U32, gap=gap),
        _row("U16", symbol, f"0.1 {unit}", _RESIDUAL, text="residual below one k-unit"),
    ]


def _tariffs(kind: str, scope: str, prefix: str, modulus: int) -> list[Row]:
    return [_row("U32", counter_symbol(kind, scope, t), f"{prefix}{_unit(kind)}", modulus) for t in TARIFFS[1:]]


def _tariff_now() -> Row:
    return _row("U16", "tariff", text="tariff in progress, 1..4")


def _scope_blocks(base: int, scope: str) -> Iterator[Row]:
    energies = [row for k in _SECTION for row in _k_and_residual(counter_symbol(k, scope))]
    yield from _run(base, [_gap(3), *energies, _gap(36)])
    by_tariff = [_tariff_now()]
    for kind in ("Ea+", "Ea-", "Er+", "Er+ind", "Er+cap", "Er-", "Er-ind", "Er-cap", "Eap"):
        by_tariff += [*_tariffs(kind, scope, "1 k", _U32), _gap(8)]
    yield from _run(base + 384, by_tariff)


def _reserved_settings() -> Iterator[Row]:
    for address, words in ((29184, 7), (29952, 7), (30208, 26)):
        yield Row(address, words, RESERVED, access="RW", description="reserved")


def _partials_and_periods() -> Iterator[Row]:
    by_tariff = [s for s in PARTIALS if s.count(".") == 2]
    imported = [row for s in by_tariff[:4] for row in _k_and_residual(s)]
    exported = [row for s in by_tariff[4:] for row in _k_and_residual(s)]
    yield from _run(32768, [*imported, _gap(12), *exported, _gap(12)])
    for address, symbol in ((33024, "net.Ea"), (33027, "net.Er")):
        unit = _unit(symbol)
        yield from _run(address, [
            _row("S32", symbol, f"1 k{unit}", _U32 // 2),
            _row("S16", symbol, f"0.1 {unit}", _RESIDUAL, text="residual, same sign, toward zero"),
        ])  # fmt: skip
    rolls = ("Ea+", "Er+", "Ea-", "Er-", "Eap", *(f"Ea+.{t}" for t in TARIFFS[1:]))
    yield from _run(36864, [
        _row("U32", "id.roll_over", "10 Wh", text="the highest value of the 10-unit registers"),
        *(_row("U8", f"roll.{s}", "-", _U8) for s in rolls),
    ])  # fmt: skip
    for address, prefix, modulus in ((36896, "1 k", _U32), (36928, "10 ", _TEN)):
        indexes = [f"{period}{ago}.{kind}" for period in PERIODS for ago in ("-1", "") for kind in ("Ea+", "Ea-")]
        yield from _run(address, [_row("U32", s, f"{prefix}Wh", modulus) for s in indexes])


def _commands_and_flags() -> Iterator[Row]:
    yield Row(40480, 1, RESERVED, access="W", description="reserved")
    yield Row(40481, 1, "U8", access="W", symbol="cmd.tariff", description="tariff to set, 1..4; taken as a broadcast too")
    yield Row(40512, 1, "U8_HEX", access="W", symbol="cmd.reset", description="01 maximum of P (none here), 20 all partials")
    yield from _run(40544, [
        _row("U8", "id.production", text="production mode flag"),
        _row("U8", "id.mid", text="1 on a MID product"),
    ])  # fmt: skip
    yield from _run(40576, [_row("U32", f"I{p}", "0.001 A", secondary=True) for p in (1, 2, 3)])
    yield Row(40608, 1, "U8", symbol="id.board", description="communication board, 1 = E3x/E4x")


def _identity() -> Iterator[Row]:
    def text(words: int, name: str, type_: str = "STRING_NORM") -> Row:
        return _row(type_, f"id.{name}", words=words)

    def number(name: str, type_: str = "U16", source: str = TABLE) -> Row:
        return _row(type_, f"id.{name}", source=source)

    yield from _run(50000, [
        text(4, "signature", "STRING_16"), number("family"), _row("U16", "product_id", source="assumed"),
        number("table_version"),
        number("software"), number("serial_week", "U16_HEX"), number("serial_site", "U16_HEX"), number("serial_run"),
        number("serial_reserve", "U32"), number("hardware", "U64_HEX"), number("customised", "U8"), number("product_major"),
        number("product_minor"), number("product_revision"), number("product_build"),
        number("build_date", "DATETIME_3", "assumed"), number("base_major"), number("base_minor"), number("base_revision"),
        number("board_major"), number("custom_minor"), text(4, "product_part"), text(4, "custom_part"), text(4, "base_part"),
        text(8, "vendor"), text(8, "product"), text(8, "extended_name"),
    ])  # fmt: skip


_BY_PHASE: Final = ("P1", "P2", "P3", "Q1", "Q2", "Q3", "S1", "S2", "S3", "PF1", "PF2", "PF3")
_LIVE_UNIT: Final = {"U": "0.01 V", "V": "0.01 V", "f": "0.01 Hz", "I": "0.001 A", "P": "10 W", "Q": "10 var", "S": "10 VA",
                     "PF": "0.001"}  # fmt: skip


def _live(symbol: str, bits: int, secondary: bool = False, gap: int = 0) -> Row:
    quantity = symbol.rstrip("N123")
    sign = "S" if quantity in ("P", "Q", "PF") else "U"
    return _row(f"{sign}{bits}", symbol, _LIVE_UNIT[quantity], gap=gap, secondary=secondary)


def _measurements() -> Iterator[Row]:
    voltages = ("U12", "U23", "U31", "V1", "V2", "V3", "f")
    means = ("I", "U", "V")
    wide = [*voltages, "I1", "I2", "I3", "IN", "P", "Q", "S", "PF", *_BY_PHASE, *means]
    yield from _run(50512, [_gap(2), *(_live(s, 32) for s in wide)])
    narrow = [*(_live(s, 16, True) for s in voltages), _gap(4),
              *(_live(s, 16, True) for s in ("P", "Q", "S", "PF", *_BY_PHASE, *means))]  # fmt: skip
    mega = [_row("U16", k, f"1 M{_unit(k)}", _U16, source="assumed") for k in ("Ea+", "Er+", "Ea-", "Er-")]
    # 51315 is reserved by the table; the manual promises the phase sequence (decision 23).
    sequence = _row(RESERVED, "sequence", words=1, codes=((123, 0), (132, 1)), source="assumed", text="0 123, 1 132, 3 ?")
    yield from _run(51280, [_gap(1), *narrow, *mega, sequence])


def _energies() -> Iterator[Row]:
    for base, prefix, modulus, stamp in ((50768, "1 k", _U32, "DATETIME"), (50944, "10 ", _TEN, "U32")):
        totals = [_row("U32", k, f"{prefix}{_unit(k)}", modulus) for k in _COARSE]
        partials = [_row("U32", f"par.{k}", f"{prefix}{_unit(k)}", modulus) for k in _COARSE]
        demand = [_row(stamp, "demand.time", text="end of the last demand period, s since 2000-01-01"),
                  _row("U16", "demand.P", "1 W", secondary=True)]  # fmt: skip
        yield from _run(base, [_gap(2), *totals, *partials, _gap(36), *demand, _gap(4)])
    for base, prefix, modulus in ((50848, "1 k", _U32), (51200, "10 ", _TEN)):
        yield from _run(base, [
            _row("U8", "id.tariffs", text="number of tariffs"), _row("U8", "tariff", text="tariff in progress, 1..4"),
            *_tariffs("Ea+", "Σ", prefix, modulus), _gap(8), *_tariffs("Er+", "Σ", prefix, modulus), _gap(8),
            *(_row("U32", f"hours.{t}", "0.01 h", _U32) for t in TARIFFS[1:]), _gap(8),
        ])  # fmt: skip


def _settings() -> Iterator[Row]:
    yield from _run(57344, [
        _row("U8", "id.network", access="RW", text="network type, only 5 = 3P+N unbalanced"),
        _row("U8", "ct_secondary", access="RW", text="CT secondary, 1 or 5 A"),
        _row("U16", "ct_primary", "1 A", access="RW", text="CT primary, 1..12000 A"),
        _gap(7, "RW"),
    ])  # fmt: skip
    yield from _run(57354, [_gap(1, "RW"), _row("U16", "demand_period", "1 s", access="RW")])
    clock = (("day", "U8"), ("month", "U8"), ("year", "U16"), ("hour", "U8"), ("minute", "U8"), ("second", "U8"))
    yield from _run(57600, [_row(type_, f"clock.{part}", access="W") for part, type_ in clock])
    yield Row(57856, 1, RESERVED, access="W", description="reserved")
    yield from _run(57888, [
        _gap(2, "W"),
        _row("U16_HEX", "cmd.reset_partials", access="W", text="bits: 01 Ea+, 02 Er+, 04 Eap, 08 Ea-, 10 Er-, 1F all"),
        _gap(1, "W"),
        _row("U16_HEX", "cmd.reset_tariffs", access="W", text="bits: 1 T1, 2 T2, 4 T3, 8 T4, FFFF all"),
    ])  # fmt: skip
    yield Row(58368, 1, "U8", access="RW", symbol="address", description="slave address, 1..247")


def _load_curve() -> Iterator[Row]:
    yield Row(61440, 1, "U16_HEX", access="W", symbol="cmd.curve", description="0001 rewind, FFFE fetch the next records")
    yield from _run(61456, [
        _row("U8", "curve.count", text="records in the answer, 29 at most"),
        _row("U8", "curve.words", "1 W", text="words per record, 4"),
        _row("U16", "curve.period", "1 s", text="integration period"),
        _row("U8", "curve.unit", text="physical unit, 0 = W"),
        _row("U16", "curve.numerator", source="assumed", text="CT primary"),
        _row("U16", "curve.denominator", source="assumed", text="CT secondary"),
        _row("DATETIME", "curve.time", text="end of the record's period; further records follow, 4 words each"),
        _row("U8", "curve.incomplete", text="0 a full period, 1 incomplete"),
        _row("U16", "curve.mean", "1 W", secondary=True, text="mean P+ without the CT ratio"),
    ])  # fmt: skip


ROWS: Final[tuple[Row, ...]] = tuple(
    sorted(
        (
            *(row for base, scope in zip(_SCOPE_BASES, SCOPES, strict=True) for row in _scope_blocks(base, scope)),
            *_reserved_settings(), *_partials_and_periods(), *_commands_and_flags(), *_identity(), *_measurements(),
            *_energies(), *_settings(), *_load_curve(),
        ),
        key=lambda row: row.address,
    )
)  # fmt: skip
