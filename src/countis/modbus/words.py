"""Values to words of a table and back, by one formula.

Rule: raw = floor(value / size) mod modulus for what counts, round(value / size) for instantaneous values,
toward zero for the signed balance. The k-unit register, its residual, the 10-unit register and the roll-over
counter are the same row with other constants.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from countis.modbus.table import SIZE, Row, Table, Type
from countis.words.quantities import COUNTED_COLUMN, LIVE_COLUMN, QUANTITIES, ROLL_OVER, QuantityKind

Words = NDArray[np.uint16]
RESERVED_WORD: Final = 0xFFFF
UNKNOWN_CODE: Final = 3  # of a row with codes


class _Columns:
    """Constants of the rows of one kind, an array each: columns to read, factors, places to write."""

    def __init__(self, table: Table, rows: Sequence[Row], column: Callable[[Row], int]) -> None:
        self.place = np.array([table.places[row.address] for row in rows], np.intp)
        self.column = np.array([column(row) for row in rows], np.intp)
        self.shift = np.array([16 * (row.words - 1) for row in rows], np.int64)
        self.size = np.array([float(SIZE[row.unit]) for row in rows])
        self.missing = np.array([max(0, row.type.missing) for row in rows], np.int64)
        # A live value beyond its register becomes the last one that does not mean "not available".
        self.highest = self.missing - 1.0
        self.lowest = np.array([1.0 - row.type.missing if row.type.signed else 0.0 for row in rows])
        self.secondary = np.array([row.secondary and QUANTITIES[row.symbol].by_ct for row in rows], bool)
        self.modulus = np.array([row.modulus or 1 << 16 * row.words for row in rows], np.int64)
        self.divisor = np.array([_divisor(row) for row in rows], np.int64)
        self.low = self.place + self.shift // 16

    def put(self, image: Words, raw: NDArray[np.int64]) -> None:
        image[self.place] = raw >> self.shift & 0xFFFF
        image[self.low] = raw & 0xFFFF


def _divisor(row: Row) -> int:
    """Return how many integers of the state row make one count of the register."""
    quantity = QUANTITIES[row.symbol]
    return ROLL_OVER if quantity.kind is QuantityKind.ROLL else max(1, int(SIZE[row.unit] * quantity.per_si))


def _counted_column(row: Row) -> int:
    return COUNTED_COLUMN[QUANTITIES[row.symbol].rolls_of or row.symbol]


class Encoder:
    """Writes the values of a meter into the words of a table."""

    def __init__(self, table: Table) -> None:
        self._table = table
        rows = [row for row in table.rows if row.symbol in QUANTITIES and not row.codes]
        live = [row for row in rows if row.symbol in LIVE_COLUMN]
        counted = [row for row in rows if row.symbol not in LIVE_COLUMN]
        self._live = _Columns(table, live, lambda row: LIVE_COLUMN[row.symbol])
        self._counted = _Columns(table, [row for row in counted if not row.secondary], _counted_column)
        self._demand = _Columns(table, [row for row in counted if row.secondary], _counted_column)
        self._coded = [row for row in table.rows if row.codes]

    def encode(self, live: NDArray[np.float64], counted: NDArray[np.int64], ct: tuple[int, int],
               image: Words) -> None:
        """Write every quantity of the table into `image`.

        live: by LIVE_COLUMN, primary. counted: by COUNTED_COLUMN. ct: CT primary and secondary.
        """
        primary, secondary = ct
        value = live[self._live.column]
        value = np.where(self._live.secondary, value * (secondary / primary), value) / self._live.size
        missing = np.isnan(value)
        rounded = np.rint(np.where(missing, 0.0, value))
        raw = np.clip(rounded, self._live.lowest, self._live.highest).astype(np.int64)
        self._live.put(image, np.where(missing, self._live.missing, raw))
        for row in self._coded:
            codes = dict(row.codes)
            image[self._table.places[row.address]] = codes.get(live[LIVE_COLUMN[row.symbol]], UNKNOWN_CODE)
        integers = counted[self._counted.column]  # −1, a demand time not available, becomes FFFFFFFF
        magnitude = np.abs(integers) // self._counted.divisor % self._counted.modulus
        self._counted.put(image, np.sign(integers) * magnitude)
        demand = counted[self._demand.column]  # kept without the CT ratio
        raw = (2 * demand + self._demand.divisor) // (2 * self._demand.divisor)
        raw = np.minimum(raw, self._demand.highest.astype(np.int64))
        self._demand.put(image, np.where(demand < 0, self._demand.missing, raw))

    def lose_counted(self, image: Words) -> None:
        """Write "not available" in place of everything that was counted."""
        for columns in (self._counted, self._demand):
            columns.put(image, columns.missing)

    def encode_fixed(self, values: Mapping[str, int | str], image: Words) -> None:
        """Write settings and constants, by symbol, wherever the table has them."""
        for row in self._table.rows:
            if row.symbol in values:
                place = self._table.places[row.address]
                image[place : place + row.words] = encode_fixed(row, values[row.symbol])


@functools.cache
def encoder(table: Table) -> Encoder:
    """Return the encoder of a table, the same for all its meters."""
    return Encoder(table)


def encode_fixed(row: Row, value: int | str) -> list[int]:
    """Return the words of a row that holds a setting or a constant."""
    if isinstance(value, str):
        text = value.encode("ascii").ljust(row.words * 2, b"\0")
        if row.type is Type.STRING_16:
            return [text[k] for k in range(row.words)]
        return [text[2 * k] << 8 | text[2 * k + 1] for k in range(row.words)]
    return [value >> 16 * k & 0xFFFF for k in reversed(range(row.words))]


def decode(row: Row, words: Sequence[int]) -> float | int | str | None:
    """Return the SI value of a row from its words; None = not available. Strings lose their padding."""
    if row.type is Type.STRING_16:
        return "".join(chr(w & 0xFF) for w in words).rstrip("\0 ")
    if row.type is Type.STRING_NORM:
        return b"".join(w.to_bytes(2, "big") for w in words).decode("ascii", "replace").rstrip("\0 ")
    raw = 0
    for word in words:
        raw = raw << 16 | word
    if row.codes:
        return {code: value for value, code in row.codes}.get(raw)
    if row.gaps and raw == (1 << 16 * len(words)) - 1:
        return None
    if raw == row.type.missing and (row.symbol in LIVE_COLUMN or raw >= row.modulus > 0):
        return None  # of a counter only where its register never gets so far
    if row.type.signed and raw >> 16 * len(words) - 1:
        raw -= 1 << 16 * len(words)
    scaled = raw * SIZE[row.unit]
    return int(scaled) if scaled.denominator == 1 else float(scaled)
