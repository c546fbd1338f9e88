"""The vendor's communication table V201.255 as data: 45 blocks, 444 registers and the words between.

Rule: values only; an independent transcription stands in tests/conformance. A row whose meaning the table
leaves open carries the source "assumed".
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Final

from countis.modbus.table import Access, Block, BlockKind, Functions, Gap, Lock, Row, Table, Type, placed
from countis.words.quantities import PARTIALS, PERIODS, SCOPES, TARIFFS, counter_symbol

SOURCE: Final = "table V201.255"
_NO, _R, _W, _MANY = Functions.NONE, Functions.READ, Functions.WRITE, Functions.WRITE_MANY
_RW: Final = _R | _W | _MANY
_INFO, _SETTINGS, _COMMANDS = BlockKind.INFO, BlockKind.SETTINGS, BlockKind.COMMANDS
_OPEN, _USER = Lock.NONE, Lock.USER

_SCOPE_BASES: Final = (19840, 21888, 23936, 25984)
_ENERGY: Final = ((0, 66, "energy {} (+residual)"), (384, 33, "tariff Ea {}"), (417, 96, "tariff Er {}"),
                  (513, 16, "tariff Eap {}"))
_BLOCKS: Final[tuple[Block, ...]] = (
    *(Block(base + offset, words, _INFO, _OPEN, _R, _R, topic.format(scope))
      for base, scope in zip(_SCOPE_BASES, ("L1", "L2", "L3", "SUM"), strict=True)
      for offset, words, topic in _ENERGY),
    Block(29184, 7, _SETTINGS, _USER, _R, _RW, "gateway network (all reserved here)"),
    Block(29952, 7, _SETTINGS, _OPEN, _R, _RW, "extended clock (all reserved here)"),
    Block(30208, 27, _SETTINGS, _USER, _R, _RW, "SNTP (all reserved here)"),  # has 26 words (decision 38)
    Block(32768, 48, _INFO, _OPEN, _R, _R, "partial Ea by tariff"),
    Block(33024, 6, _INFO, _OPEN, _R, _R, "net energy balance"),
    Block(36864, 11, _INFO, _OPEN, _R, _R, "overflow counters"),
    Block(36896, 24, _INFO, _OPEN, _R, _R, "period indexes coarse"),
    Block(36928, 24, _INFO, _OPEN, _R, _R, "period indexes fine"),
    Block(40480, 2, _COMMANDS, _OPEN, _W, _W, "set tariff"),
    Block(40512, 1, _COMMANDS, _OPEN, _W, _W, "partial/max reset"),
    Block(40544, 2, _INFO, _OPEN, _R, _R, "production/MID flags"),
    Block(40576, 6, _INFO, _OPEN, _R, _R, "secondary currents (no CT)"),
    Block(40608, 1, _INFO, _OPEN, _R, _R, "COM board id"),
    Block(50000, 66, _INFO, _OPEN, _R, _R, "identity"),
    Block(50512, 62, _INFO, _OPEN, _R, _R, "measurements with CT ratio (32-bit)"),
    Block(50768, 65, _INFO, _OPEN, _R, _R, "energies coarse (k-unit)"),
    Block(50848, 50, _INFO, _OPEN, _R, _R, "tariff energies coarse"),
    Block(50944, 65, _INFO, _OPEN, _R, _R, "energies fine (10-unit)"),
    Block(51200, 50, _INFO, _OPEN, _R, _R, "tariff energies fine"),
    Block(51280, 36, _INFO, _OPEN, _R, _R, "measurements compact 16-bit (no CT/VT ratio)"),
    Block(57344, 10, _SETTINGS, _OPEN, _RW, _RW, "electrical network / CT"),
    Block(57354, 2, _SETTINGS, _OPEN, _R, _RW, "demand period"),
    Block(57600, 6, BlockKind.CLOCK, _USER, _NO, _W, "clock set"),
    Block(57856, 1, _COMMANDS, _USER, _NO, _W, "system action (reserved here)"),
    Block(57888, 5, _COMMANDS, _OPEN, _NO, _W, "value reset"),
    Block(58368, 1, _SETTINGS, _USER, _R, _RW, "slave address"),
    Block(61440, 1, BlockKind.COMMAND, _OPEN, _MANY, _MANY, "load curve P+ command"),
    Block(61456, 6, BlockKind.HEADER, _OPEN, _R, _R, "load curve P+ header"),
    Block(61462, 4, BlockKind.DATA, _OPEN, _R, _R, "load curve P+ record(s)", repeat=29),
)

_U8, _U16, _U32 = 1 << 8, 1 << 16, 1 << 32
_TEN: Final = 10**9  # a 10-unit register has nine digits (decision 26)
_RESIDUAL: Final = 10**4
_SECTION: Final = ("Ea+", "Ea-", "Er+", "Er-", "Eap", "Er+ind", "Er-ind", "Er+cap", "Er-cap")
_COARSE: Final = ("Ea+", "Er+", "Eap", "Ea-", "Er-")


def _unit(kind: str) -> str:
    kind = kind.removeprefix("par.").removeprefix("net.").split(".")[0]
    return {"Eap": "VAh", "Ea": "Wh", "Ea+": "Wh", "Ea-": "Wh"}.get(kind, "varh")


def _row(type_: Type, symbol: str, unit: str = "-", modulus: int = 0, *, words: int = 0,
         access: Access = Access.R, secondary: bool = False, gaps: bool = False,
         codes: tuple[tuple[int, int], ...] = (), source: str = SOURCE, text: str = "") -> Row:
    """Return a row that has no address yet."""
    return Row(words=words or type_.words, type=type_, unit=unit, access=access, symbol=symbol,
               modulus=modulus, secondary=secondary, gaps=gaps, device=symbol.startswith("id."), codes=codes,
               source=source, description=text)


def _command(type_: Type, name: str, text: str) -> Row:
    return _row(type_, f"cmd.{name}", access=Access.W, text=text)


_placed: Final = functools.partial(placed, source=SOURCE)


def _k_and_residual(symbol: str) -> list[Row]:
    unit = _unit(symbol)
    return [
        _row(Type.U32, symbol, f"1 k{unit}", _U32),
        _row(Type.U16, symbol, f"0.1 {unit}", _RESIDUAL, text="residual below one k-unit"),
    ]


def _tariffs(kind: str, scope: str, prefix: str, modulus: int) -> list[Row]:
    unit = prefix + _unit(kind)
    return [_row(Type.U32, counter_symbol(kind, scope, t), unit, modulus) for t in TARIFFS[1:]]


def _scope_blocks(base: int, scope: str) -> Iterator[Row]:
    energies = [row for k in _SECTION for row in _k_and_residual(counter_symbol(k, scope))]
    yield from _placed(base, [Gap(3), *energies, Gap(36)])
    by_tariff: list[Row | Gap] = [_row(Type.U16, "tariff", text="tariff in progress, 1..4")]
    for kind in ("Ea+", "Ea-", "Er+", "Er+ind", "Er+cap", "Er-", "Er-ind", "Er-cap", "Eap"):
        by_tariff += _tariffs(kind, scope, "1 k", _U32)
        by_tariff.append(Gap(8))
    yield from _placed(base + 384, by_tariff)


def _gaps() -> Iterator[Row]:
    for address, words in ((29184, 7), (29952, 7), (30208, 26)):
        yield from _placed(address, [Gap(words, Access.RW)])
    for address in (40480, 57856):
        yield from _placed(address, [Gap(1, Access.W)])


def _partials_and_rolls() -> Iterator[Row]:
    by_tariff = [s for s in PARTIALS if s.count(".") == 2]
    imported = [row for s in by_tariff[:4] for row in _k_and_residual(s)]
    exported = [row for s in by_tariff[4:] for row in _k_and_residual(s)]
    yield from _placed(32768, [*imported, Gap(12), *exported, Gap(12)])
    for address, symbol in ((33024, "net.Ea"), (33027, "net.Er")):
        unit = _unit(symbol)
        yield from _placed(address, [
            _row(Type.S32, symbol, f"1 k{unit}", _U32 // 2),
            _row(Type.S16, symbol, f"0.1 {unit}", _RESIDUAL, text="residual, same sign, toward zero"),
        ])
    rolls = ("Ea+", "Er+", "Ea-", "Er-", "Eap", *(f"Ea+.{t}" for t in TARIFFS[1:]))
    yield from _placed(36864, [
        _row(Type.U32, "id.roll_over", "10 Wh", text="the highest value of the 10-unit registers"),
        *(_row(Type.U8, f"roll.{s}", "-", _U8) for s in rolls),
    ])


def _commands_and_flags() -> Iterator[Row]:
    yield from _placed(40481, [_command(Type.U8, "tariff", "tariff to set, 1..4; taken as a broadcast too")])
    reset = "01 maximum of P (none here), 20 all partials"
    yield from _placed(40512, [_command(Type.U8_HEX, "reset", reset)])
    yield from _placed(40544, [_row(Type.U8, "id.production", text="production mode flag"),
                               _row(Type.U8, "id.mid", text="1 on a MID product")])
    yield from _placed(40576, [_row(Type.U32, f"I{p}", "0.001 A", secondary=True) for p in (1, 2, 3)])
    yield from _placed(40608, [_row(Type.U8, "id.board", text="communication board, 1 = E3x/E4x")])


def _identity() -> Iterator[Row]:
    def text(words: int, name: str, type_: Type = Type.STRING_NORM) -> Row:
        return _row(type_, f"id.{name}", words=words)

    def number(name: str, type_: Type = Type.U16, source: str = SOURCE) -> Row:
        return _row(type_, f"id.{name}", source=source)

    yield from _placed(50000, [
        text(4, "signature", Type.STRING_16), number("family"),
        _row(Type.U16, "product_id", source="assumed"), number("table_version"), number("software"),
        number("serial_week", Type.U16_HEX), number("serial_site", Type.U16_HEX), number("serial_run"),
        number("serial_reserve", Type.U32), number("hardware", Type.U64_HEX), number("customised", Type.U8),
        number("product_major"), number("product_minor"), number("product_revision"), number("product_build"),
        number("build_date", Type.DATETIME_3, "assumed"), number("base_major"), number("base_minor"),
        number("base_revision"), number("board_major"), number("custom_minor"), text(4, "product_part"),
        text(4, "custom_part"), text(4, "base_part"), text(8, "vendor"), text(8, "product"),
        text(8, "extended_name"),
    ])


_LIVE_UNIT: Final = {"U": "0.01 V", "V": "0.01 V", "f": "0.01 Hz", "I": "0.001 A", "P": "10 W", "Q": "10 var",
                     "S": "10 VA", "PF": "0.001"}
_WIDTHS: Final = {(16, False): Type.U16, (16, True): Type.S16, (32, False): Type.U32, (32, True): Type.S32}


def _live(symbol: str, bits: int, secondary: bool = False) -> Row:
    name = symbol.rstrip("N123")
    return _row(_WIDTHS[bits, name in ("P", "Q", "PF")], symbol, _LIVE_UNIT[name], secondary=secondary)


def _measurements() -> Iterator[Row]:
    voltages = ("U12", "U23", "U31", "V1", "V2", "V3", "f")
    names = ("P", "Q", "S", "PF")
    powers = (*names, *(f"{name}{p}" for name in names for p in (1, 2, 3)), "I", "U", "V")
    wide = (*voltages, "I1", "I2", "I3", "IN", *powers)
    yield from _placed(50512, [Gap(2), *(_live(s, 32) for s in wide)])
    narrow: list[Row | Gap] = [_live(s, 16, True) for s in voltages]
    narrow += [Gap(4), *(_live(s, 16, True) for s in powers)]
    mega = [_row(Type.U16, k, f"1 M{_unit(k)}", _U16, source="assumed") for k in ("Ea+", "Er+", "Ea-", "Er-")]
    # 51315 is reserved by the table; the manual promises the phase sequence (decision 23).
    sequence = _row(Type.RESERVED, "sequence", words=1, codes=((123, 0), (132, 1)), source="assumed",
                    text="0 123, 1 132, 3 ?")
    yield from _placed(51280, [Gap(1), *narrow, *mega, sequence])


def _energies() -> Iterator[Row]:
    indexes = [f"{period}.{kind}" for p in PERIODS for period in (f"{p}-1", p) for kind in ("Ea+", "Ea-")]
    end = "end of the last demand period, s since 2000-01-01"
    coarse = ((36896, 50768, 50848), "1 k", _U32, Type.DATETIME)
    fine = ((36928, 50944, 51200), "10 ", _TEN, Type.U32)
    for (periods, totals, tariffs), prefix, modulus, stamp in (coarse, fine):
        yield from _placed(periods, [_row(Type.U32, s, f"{prefix}Wh", modulus) for s in indexes])
        counters = [*_COARSE, *(f"par.{kind}" for kind in _COARSE)]
        yield from _placed(totals, [
            Gap(2), *(_row(Type.U32, s, f"{prefix}{_unit(s)}", modulus) for s in counters), Gap(36),
            _row(stamp, "demand.time", gaps=True, text=end),
            _row(Type.U16, "demand.P", "1 W", gaps=True, secondary=True), Gap(4),
        ])
        yield from _placed(tariffs, [
            _row(Type.U8, "id.tariffs", text="number of tariffs"),
            _row(Type.U8, "tariff", text="tariff in progress, 1..4"),
            *_tariffs("Ea+", "Σ", prefix, modulus), Gap(8), *_tariffs("Er+", "Σ", prefix, modulus), Gap(8),
            *(_row(Type.U32, f"hours.{t}", "0.01 h", _U32) for t in TARIFFS[1:]), Gap(8),
        ])


def _settings() -> Iterator[Row]:
    yield from _placed(57344, [
        _row(Type.U8, "id.network", access=Access.RW, text="network type, only 5 = 3P+N unbalanced"),
        _row(Type.U8, "ct_secondary", access=Access.RW, text="CT secondary, 1 or 5 A"),
        _row(Type.U16, "ct_primary", "1 A", access=Access.RW, text="CT primary, 1..12000 A"),
        Gap(7, Access.RW),
    ])
    yield from _placed(57354, [Gap(1, Access.RW), _row(Type.U16, "demand_period", "1 s", access=Access.RW)])
    clock = ("day", "month", "year", "hour", "minute", "second")
    yield from _placed(57600, [_row(Type.U16 if part == "year" else Type.U8, f"clock.{part}", access=Access.W)
                               for part in clock])
    yield from _placed(57888, [
        Gap(2, Access.W),
        _command(Type.U16_HEX, "reset_partials", "bits: 01 Ea+, 02 Er+, 04 Eap, 08 Ea-, 10 Er-, 1F all"),
        Gap(1, Access.W),
        _command(Type.U16_HEX, "reset_tariffs", "bits: 1 T1, 2 T2, 4 T3, 8 T4, FFFF all"),
    ])
    yield from _placed(58368, [_row(Type.U8, "address", access=Access.RW, text="slave address, 1..247")])


def _load_curve() -> Iterator[Row]:
    yield from _placed(61440, [_command(Type.U16_HEX, "curve", "0001 rewind, FFFE fetch the next records")])
    yield from _placed(61456, [
        _row(Type.U8, "curve.count", gaps=True, text="records in the answer, 29 at most"),
        _row(Type.U8, "curve.words", "1 W", gaps=True, text="words per record, 4"),
        _row(Type.U16, "curve.period", "1 s", gaps=True, text="integration period"),
        _row(Type.U8, "curve.unit", gaps=True, text="physical unit, 0 = W"),
        _row(Type.U16, "curve.numerator", gaps=True, source="assumed", text="CT primary"),
        _row(Type.U16, "curve.denominator", gaps=True, source="assumed", text="CT secondary"),
        _row(Type.DATETIME, "curve.time", gaps=True,
             text="end of the record's period; further records follow, 4 words each"),
        _row(Type.U8, "curve.incomplete", gaps=True, text="0 a full period, 1 incomplete"),
        _row(Type.U16, "curve.mean", "1 W", gaps=True, secondary=True, text="mean P+ without the CT ratio"),
    ])


_ROWS: Final = (
    *(row for base, scope in zip(_SCOPE_BASES, SCOPES, strict=True) for row in _scope_blocks(base, scope)),
    *_gaps(), *_partials_and_rolls(), *_commands_and_flags(), *_identity(), *_measurements(),
    *_energies(), *_settings(), *_load_curve(),
)

TABLE: Final = Table(SOURCE, _BLOCKS, tuple(sorted(_ROWS, key=lambda row: row.address)))
