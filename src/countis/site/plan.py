"""Which registers to read for which symbols, in the fewest requests.

Rule: worked out from the table alone. Of several registers of one quantity the finest is taken: k-units with their residual,
then 10-units, then k-units.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from countis.modbus import words
from countis.modbus.pdu import MAX_READ
from countis.modbus.tables import RESERVED, ROWS, SIZE, Row
from countis.words.errors import UnknownSymbol
from countis.words.quantities import LIVE_COLUMN, QUANTITIES

Value = float | int | str | None
_RESIDUAL: Final = 10**4
_NINE_DIGITS: Final = 10**9


def _sources() -> dict[str, tuple[Row, ...]]:
    """Give each readable symbol the rows that make its value up."""
    found: dict[str, list[tuple[Row, ...]]] = {}
    ct = tuple(row for symbol in ("ct_primary", "ct_secondary") for row in ROWS if row.symbol == symbol)
    for row, following in zip(ROWS, (*ROWS[1:], None), strict=True):
        if not row.symbol or "R" not in row.access or (row.type == RESERVED and not row.codes):
            continue
        if row.modulus == _RESIDUAL and row.unit.startswith("0.1 "):
            continue
        pair = following is not None and following.symbol == row.symbol and following.modulus == _RESIDUAL
        rows = (row, following) if pair and following is not None else (row, *ct) if row.secondary else (row,)
        found.setdefault(row.symbol, []).append(rows)
    return {symbol: _finest(rows) for symbol, rows in found.items()}


def _finest(candidates: list[tuple[Row, ...]]) -> tuple[Row, ...]:
    """Return the finest register; one that wraps at nine digits together with the k-unit register that tells how often."""
    best = min(candidates, key=_coarseness)
    wide = next((rows[0] for rows in candidates if len(rows) == 1 and rows[0].modulus > best[0].modulus), None)
    return (*best, wide) if len(best) == 1 and best[0].modulus == _NINE_DIGITS and wide is not None else best


def _coarseness(rows: tuple[Row, ...]) -> tuple[bool, float, int]:
    """Order registers of one value: with the CT ratio first, then by the finest step, then the widest."""
    return rows[0].secondary, float(SIZE[rows[-1].unit]), -rows[0].words


SOURCES: Final = _sources()


def sources(symbols: Iterable[str]) -> dict[str, tuple[Row, ...]]:
    """Return the rows to read for each symbol; UnknownSymbol where the table has none."""
    chosen = {}
    for symbol in symbols:
        if symbol not in SOURCES:
            raise UnknownSymbol(symbol, SOURCES)
        chosen[symbol] = SOURCES[symbol]
    return chosen


def requests(rows: Iterable[Row]) -> list[tuple[int, int]]:
    """Return the fewest reads (address, count) that cover the rows: each spans what the table lets it."""
    spans: list[tuple[int, int]] = []
    for row in sorted(rows, key=lambda r: r.address):
        end = row.address + row.words
        if spans:
            start, count = spans[-1]
            if end - start <= MAX_READ and _readable(start, max(count, end - start)):
                spans[-1] = (start, max(count, end - start))
                continue
        spans.append((row.address, row.words))
    return spans


def _readable(address: int, count: int) -> bool:
    place = words.locate(address, count)
    return place is not None and all("READ" in block.functions_unlocked for block in words.blocks_at(place, count))


def value(rows: Sequence[Row], image: Mapping[int, int]) -> Value:
    """Return the SI value of a symbol from the words that were read, by address."""
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


def unit(symbol: str) -> str:
    """Return the SI unit of a symbol, "" where it has none."""
    quantity = QUANTITIES.get(symbol)
    return "" if quantity is None or quantity.unit == "1" else quantity.unit


EVERYDAY: Final = (*LIVE_COLUMN, "tariff", "Ea+", "Ea-", "Er+", "Er-", "Eap", "net.Ea", "demand.P", "id.extended_name")
