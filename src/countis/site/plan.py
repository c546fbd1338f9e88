"""Which registers to read for which symbols, in the fewest requests.

Rule: derived from a table alone. Of several registers of one quantity the finest is read: k-units with their
residual, then 10-units, then k-units.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from itertools import zip_longest
from typing import Final

from countis.modbus import words
from countis.modbus.pdu import MAX_READ
from countis.modbus.table import SIZE, Functions, Row, Table, Type
from countis.words.errors import UnknownSymbol
from countis.words.quantities import LIVE_COLUMN

Reading = float | int | str | None
EVERYDAY: Final = (*LIVE_COLUMN, "tariff", "Ea+", "Ea-", "Er+", "Er-", "Eap", "net.Ea", "demand.P",
                   "id.extended_name")
_RESIDUAL: Final = 10**4
_NINE_DIGITS: Final = 10**9


class Plan:
    """What can be read of a table, and how."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self.sources = _sources(table)
        self.everyday = tuple(symbol for symbol in EVERYDAY if symbol in self.sources)

    def rows(self, symbols: Iterable[str]) -> dict[str, tuple[Row, ...]]:
        """Return the rows to read for each symbol; UnknownSymbol where the table has none."""
        names = list(symbols)
        for symbol in names:
            if symbol not in self.sources:
                raise UnknownSymbol(symbol, self.sources)
        return {symbol: self.sources[symbol] for symbol in names}

    def requests(self, rows: Iterable[Row]) -> list[tuple[int, int]]:
        """Return the fewest reads (address, count) that cover the rows within what the table allows."""
        spans: list[tuple[int, int]] = []
        for row in sorted(rows, key=lambda r: r.address):
            end = row.address + row.words
            if spans:
                start, count = spans[-1]
                if end - start <= MAX_READ and self._readable(start, max(count, end - start)):
                    spans[-1] = (start, max(count, end - start))
                    continue
            spans.append((row.address, row.words))
        return spans

    def _readable(self, address: int, count: int) -> bool:
        place = self._table.locate(address, count)
        if place is None:
            return False
        return all(block.unlocked & Functions.READ for block in self._table.blocks_at(place, count))


@functools.cache
def plan_of(table: Table) -> Plan:
    """Return the plan of a table, the same for all its meters."""
    return Plan(table)


def _sources(table: Table) -> dict[str, tuple[Row, ...]]:
    """Return the rows that make up the value of each readable symbol."""
    candidates: dict[str, list[tuple[Row, ...]]] = {}
    ct = tuple(row for row in map(table.row_of, ("ct_primary", "ct_secondary")) if row is not None)
    for row, following in zip_longest(table.rows, table.rows[1:]):
        reserved = row.type is Type.RESERVED and not row.codes
        if not row.symbol or not row.access.reads or reserved or row.modulus == _RESIDUAL:
            continue
        rows = (row, *ct) if row.secondary else (row,)
        if following is not None and following.symbol == row.symbol and following.modulus == _RESIDUAL:
            rows = (row, following)
        candidates.setdefault(row.symbol, []).append(rows)
    return {symbol: _finest(rows) for symbol, rows in candidates.items()}


def _finest(candidates: list[tuple[Row, ...]]) -> tuple[Row, ...]:
    """Return the finest register; one of nine digits with the k-unit register that counts its wraps."""
    best = min(candidates, key=_coarseness)
    if len(best) > 1 or best[0].modulus != _NINE_DIGITS:
        return best
    wider = [rows[0] for rows in candidates if len(rows) == 1 and rows[0].modulus > _NINE_DIGITS]
    return (*best, *wider[:1])


def _coarseness(rows: tuple[Row, ...]) -> tuple[bool, float, int]:
    """Order registers of one value: with the CT ratio first, then by the finest step, then the widest."""
    return rows[0].secondary, float(SIZE[rows[-1].unit]), -rows[0].words


def value(rows: Sequence[Row], image: Mapping[int, int]) -> Reading:
    """Return the SI value of a symbol from its rows and the words read, by address."""
    parts = [words.decode(row, [image[row.address + k] for k in range(row.words)]) for row in rows]
    first, *others = parts
    if None in parts:
        return None
    if not others or not isinstance(first, int | float):
        return first
    numbers = [float(part) for part in others if isinstance(part, int | float)]
    if rows[0].modulus == _NINE_DIGITS:
        turn = _NINE_DIGITS * float(SIZE[rows[0].unit])
        return first + turn * round((numbers[0] - first) / turn)
    return first * numbers[0] / numbers[1] if rows[0].secondary else first + numbers[0]
