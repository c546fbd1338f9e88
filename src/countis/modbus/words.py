"""Values <-> words of the table, by one formula.

Rule: raw = floor(value / size) mod modulus for what counts, round(value / size) for instantaneous values, toward zero for
the signed balance. The k-unit register, its residual, the 10-unit register and the roll-over counter are the same row with
other constants. Encoding works along any leading axis of meters.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from countis.modbus.tables import BLOCKS, RESERVED, ROWS, SIZE, WORDS, Block, Row
from countis.words.quantities import COUNTED, COUNTED_COLUMN, LIVE_COLUMN, QUANTITIES, ROLL_OVER

Words = NDArray[np.uint16]
NOT_AVAILABLE: Final = {"U8": 0xFF, "U16": 0xFFFF, "U32": 0xFFFFFFFF, "S16": 0x7FFF, "S32": 0x7FFFFFFF,
                        "DATETIME": 0xFFFFFFFF}  # fmt: skip # decision 20; U8 and DATETIME assumed
RESERVED_WORD: Final = 0xFFFF
UNKNOWN_CODE: Final = 3  # of a row with codes


def _addresses() -> tuple[NDArray[np.int32], int]:
    """Give each word of the table its place in the image, −1 where there is none; adjoining blocks are adjoining places."""
    place = np.full(1 << 16, -1, np.int32)
    at = 0
    for row in ROWS:
        place[row.address : row.address + row.words] = np.arange(at, at + row.words)
        at += row.words
    for block in BLOCKS:
        extra = block.words * (block.repeat - 1)
        end = block.start + block.words
        place[end : end + extra] = np.arange(at, at + extra)
        at += extra
    return place, at


PLACE, IMAGE_WORDS = _addresses()
ADDRESS: Final = {row.symbol: row.address for row in ROWS if row.symbol}  # where a symbol has one register only
_BLOCK_OF: Final = np.full(IMAGE_WORDS, -1, np.int16)
for _number, _block in enumerate(BLOCKS):
    _inside = PLACE[_block.start : _block.start + _block.words * _block.repeat]
    _BLOCK_OF[_inside[_inside >= 0]] = _number


def locate(address: int, count: int) -> int | None:
    """Return the place of `count` words from `address` on, None if any of them lies outside the table."""
    last = address + count - 1
    if last > 0xFFFF or PLACE[address] < 0 or PLACE[last] - PLACE[address] != count - 1:
        return None
    return int(PLACE[address])


def blocks_at(place: int, count: int) -> list[Block]:
    """Return the blocks that `count` words from a place of the image on touch."""
    return [BLOCKS[n] for n in dict.fromkeys(_BLOCK_OF[place : place + count].tolist())]


class _Plan:
    """Constants of the rows of one width, as arrays: where from, by what, to where."""

    def __init__(self, rows: Sequence[Row], column: Callable[[Row], int]) -> None:
        self.place = np.array([PLACE[row.address] for row in rows], np.intp)
        self.column = np.array([column(row) for row in rows], np.intp)
        self.shift = np.array([16 * (row.words - 1) for row in rows])
        self.size = np.array([float(SIZE[row.unit]) for row in rows])
        self.missing = np.array([NOT_AVAILABLE.get(row.type, 0) for row in rows], np.int64)
        # An instantaneous value beyond its register stays at the last that is not "not available".
        self.highest = np.array([NOT_AVAILABLE.get(row.type, 0) - 1.0 for row in rows])
        self.lowest = np.array([-top if row.type[0] == "S" else 0.0 for row, top in zip(rows, self.highest, strict=True)])
        self.secondary = np.array([row.secondary and row.symbol[0] in "IPQS" and row.symbol[:2] != "PF" for row in rows])
        self.modulus = np.array([row.modulus or 1 << 16 * row.words for row in rows], np.int64)
        self.divisor = np.array([_divisor(row) for row in rows], np.int64)
        self.low = self.place + self.shift // 16

    def put(self, image: Words, raw: NDArray[np.int64]) -> None:
        image[..., self.place] = raw >> self.shift & 0xFFFF
        image[..., self.low] = raw & 0xFFFF


def _divisor(row: Row) -> int:
    """How many integers of the state row are one count of the register."""
    if row.symbol.startswith("roll."):
        return ROLL_OVER
    quantity = QUANTITIES[row.symbol]
    return max(1, int(SIZE[row.unit] * quantity.per_si))


def _counted_column(row: Row) -> int:
    return COUNTED_COLUMN[row.symbol.removeprefix("roll.")]


_LIVE: Final = _Plan([r for r in ROWS if r.symbol in LIVE_COLUMN and not r.codes], lambda r: LIVE_COLUMN[r.symbol])
_CODED: Final = [r for r in ROWS if r.codes]
_COUNTED_ROWS: Final = [r for r in ROWS if r.symbol.startswith("roll.") or (r.symbol in COUNTED_COLUMN and not r.secondary)]
_COUNTED: Final = _Plan(_COUNTED_ROWS, _counted_column)
_DEMAND: Final = _Plan([r for r in ROWS if r.symbol in COUNTED_COLUMN and r.secondary], _counted_column)


def encode(live: NDArray[np.float64], counted: NDArray[np.int64], ct: tuple[NDArray[np.int64] | int, NDArray[np.int64] | int],
           image: Words) -> None:  # fmt: skip
    """Write every quantity of the table into `image` [..., IMAGE_WORDS].

    live: [..., len(LIVE)], primary. counted: [..., ≥ len(COUNTED)]. ct: CT primary and secondary, one for each meter.
    """
    primary, secondary = np.asarray(ct[0], np.int64)[..., None], np.asarray(ct[1], np.int64)[..., None]
    value = live[..., _LIVE.column]
    value = np.where(_LIVE.secondary, value * (secondary / primary), value) / _LIVE.size
    missing = np.isnan(value)
    raw = np.clip(np.rint(np.where(missing, 0.0, value)), _LIVE.lowest, _LIVE.highest).astype(np.int64)
    _LIVE.put(image, np.where(missing, _LIVE.missing, raw))
    for row in _CODED:
        code = np.full(live.shape[:-1], UNKNOWN_CODE, np.int64)
        for known, number in row.codes:
            code = np.where(live[..., LIVE_COLUMN[row.symbol]] == known, number, code)
        image[..., PLACE[row.address]] = code
    integers = counted[..., _COUNTED.column]  # −1, a demand time not available, becomes FFFFFFFF
    _COUNTED.put(image, np.sign(integers) * (np.abs(integers) // _COUNTED.divisor % _COUNTED.modulus))
    demand = counted[..., _DEMAND.column]  # kept without the CT ratio
    rounded = np.minimum((2 * demand + _DEMAND.divisor) // (2 * _DEMAND.divisor), _DEMAND.highest.astype(np.int64))
    _DEMAND.put(image, np.where(demand < 0, _DEMAND.missing, rounded))


def lose_counted(image: Words) -> None:
    """Write "not available" in place of everything that was counted."""
    for plan in (_COUNTED, _DEMAND):
        plan.put(image, np.broadcast_to(plan.missing, (*image.shape[:-1], len(plan.missing))))


def encode_fixed(row: Row, value: int | str) -> list[int]:
    """Return the words of a row that holds a setting or a constant."""
    if isinstance(value, str):
        text = value.encode("ascii").ljust(row.words * 2, b"\0")
        if row.type == "STRING_16":
            return [text[k] for k in range(row.words)]
        return [text[2 * k] << 8 | text[2 * k + 1] for k in range(row.words)]
    return [value >> 16 * k & 0xFFFF for k in reversed(range(row.words))]


def fixed_rows(values: Mapping[str, int | str]) -> dict[int, list[int]]:
    """Return place -> words for every row whose symbol is in `values`."""
    return {int(PLACE[row.address]): encode_fixed(row, values[row.symbol]) for row in ROWS if row.symbol in values}


def decode(row: Row, words: Sequence[int]) -> float | int | str | None:
    """Return the value of a row in SI units from its words; None = not available. Strings lose their padding."""
    if row.type == "STRING_16":
        return "".join(chr(w & 0xFF) for w in words).rstrip("\0 ")
    if row.type == "STRING_NORM":
        return b"".join(w.to_bytes(2, "big") for w in words).decode("ascii", "replace").rstrip("\0 ")
    raw = 0
    for word in words:
        raw = raw << 16 | word
    if row.codes:
        return {code: value for value, code in row.codes}.get(raw)
    if row.symbol.startswith(("demand.", "curve.")) and raw == (1 << 16 * len(words)) - 1:
        return None
    if raw == NOT_AVAILABLE.get(row.type) and (row.symbol in LIVE_COLUMN or raw >= row.modulus > 0):
        return None  # of a counter only where its register cannot count so far
    if row.type.startswith("S") and raw >> 16 * len(words) - 1:
        raw -= 1 << 16 * len(words)
    size = SIZE[row.unit]
    scaled = raw * size
    return int(scaled) if scaled.denominator == 1 else float(scaled)


assert len(COUNTED_COLUMN) == len(COUNTED)
assert all(row.type in WORDS or row.type in (RESERVED, "STRING_16", "STRING_NORM") for row in ROWS)
