"""A vendor's communication table: its blocks and registers, and the place of each word.

Rule: values only, no callables in rows. A table belongs to a family of meters (models/); slave, planner,
`countis map` and monitor take it as an argument.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import Enum, Flag, StrEnum, auto
from fractions import Fraction
from functools import cached_property
from typing import Final, NamedTuple


class Functions(Flag):
    """What a block allows. WRITE: with functions 6 and 16; WRITE_MANY: with 16 alone."""

    NONE = 0
    READ = auto()
    WRITE = auto()
    WRITE_MANY = auto()


class BlockKind(Enum):
    """What a block is for, spelt as in the vendor's table."""

    INFO = "Info"
    SETTINGS = "Settings"
    COMMANDS = "Commands"
    COMMAND = "Command"
    CLOCK = "Date/Time command"
    HEADER = "Header"
    DATA = "Data"


class Lock(Enum):
    """What closes a block: nothing, or the USER lock (decision 21)."""

    NONE = "NONE"
    USER = "USER"


class Type(Enum):
    """How a value lies in words, spelt as in the vendor's table.

    words: 0 where the row says it. missing: the code of "not available" (decision 20), assumed for U8 and
    DATETIME; -1 for none.
    """

    U8 = ("U8", 1, 0xFF)
    U8_HEX = ("U8_HEX", 1, -1)
    U16 = ("U16", 1, 0xFFFF)
    U16_HEX = ("U16_HEX", 1, -1)
    S16 = ("S16", 1, 0x7FFF)
    U32 = ("U32", 2, 0xFFFFFFFF)
    S32 = ("S32", 2, 0x7FFFFFFF)
    U64_HEX = ("U64_HEX", 4, -1)
    DATETIME = ("DATETIME", 2, 0xFFFFFFFF)
    DATETIME_3 = ("DATETIME_3", 3, -1)
    STRING_16 = ("STRING_16", 0, -1)  # a character in each word
    STRING_NORM = ("STRING_NORM", 0, -1)  # two characters in each word
    RESERVED = ("RESERVED", 0, -1)

    def __init__(self, spelling: str, words: int, missing: int) -> None:
        self.spelling, self.words, self.missing = spelling, words, missing

    def __str__(self) -> str:
        return self.spelling

    @property
    def signed(self) -> bool:
        """Whether its highest bit is a sign."""
        return self in (Type.S16, Type.S32)


class Access(StrEnum):
    """Whether a row may be read or written, as in the vendor's table."""

    R = "R"
    W = "W"
    RW = "RW"

    @property
    def reads(self) -> bool:
        """Whether it can be read."""
        return self is not Access.W

    @property
    def writes(self) -> bool:
        """Whether it can be written."""
        return self is not Access.R


@dataclass(frozen=True, slots=True)
class Block:
    """A run of words under the same rules. locked, unlocked: what it allows by the state of the USER lock."""

    start: int
    words: int
    kind: BlockKind
    lock: Lock
    locked: Functions
    unlocked: Functions
    topic: str
    repeat: int = 1  # the block answers this many times its words when read (load-curve records)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One register, or a run of reserved words.

    symbol: a quantity, a setting, or a name of the slave's own (id.…, curve.…, clock.…, cmd.…). modulus: the
    value counts modulo this; 0: it does not wrap. secondary: without the CT ratio. gaps: all ones where there
    is no value. device: what the device is, which does not change.
    """

    address: int = 0
    words: int
    type: Type
    unit: str = "-"
    access: Access = Access.R
    symbol: str = ""
    modulus: int = 0
    secondary: bool = False
    gaps: bool = False
    device: bool = False
    codes: tuple[tuple[int, int], ...] = ()  # (value, code on the wire)
    source: str = ""
    description: str = ""


class Gap(NamedTuple):
    """Reserved words between rows."""

    words: int
    access: Access = Access.R


def placed(address: int, rows: Sequence[Row | Gap], source: str) -> Iterator[Row]:
    """Give rows their addresses, one behind the other; source: of the gaps between them."""
    for row in rows:
        if isinstance(row, Gap):
            yield Row(address=address, words=row.words, type=Type.RESERVED, access=row.access, source=source,
                      description="reserved")
        else:
            yield replace(row, address=address)
        address += row.words


# unit of a register -> SI units in one count
SIZE: Final = {
    f"{mantissa} {prefix}{unit}": Fraction(mantissa) * factor
    for unit in ("Wh", "varh", "VAh", "W", "var", "VA", "V", "A", "Hz", "h", "s")
    for mantissa in ("1", "10", "0.1", "0.01", "0.001")
    for prefix, factor in (("", 1), ("k", 1000), ("M", 1_000_000))
} | {"-": Fraction(1), "0.001": Fraction(1, 1000)}


@dataclass(frozen=True, eq=False)
class Table:
    """Blocks and rows of one family, and the place of each word in the image that the slave keeps.

    Rows are in the order of their addresses and fill every block; adjoining blocks have adjoining places.
    """

    name: str
    blocks: tuple[Block, ...]
    rows: tuple[Row, ...]

    @cached_property
    def places(self) -> array[int]:
        """Place of each address, −1 where there is none."""
        places = array("i", [-1]) * (1 << 16)
        runs = [(row.address, row.words) for row in self.rows]
        runs += [(block.start + block.words, block.words * (block.repeat - 1)) for block in self.blocks]
        at = 0
        for address, words in runs:
            places[address : address + words] = array("i", range(at, at + words))
            at += words
        return places

    @cached_property
    def words(self) -> int:
        """How many words the whole image has."""
        return max(self.places) + 1

    @cached_property
    def _block_of(self) -> array[int]:
        numbers = array("i", [-1]) * self.words
        for number, block in enumerate(self.blocks):
            for place in self.places[block.start : block.start + block.words * block.repeat]:
                if place >= 0:
                    numbers[place] = number
        return numbers

    @cached_property
    def _row_at(self) -> dict[int, Row]:
        return {row.address + k: row for row in self.rows for k in range(row.words)}

    @cached_property
    def _by_symbol(self) -> dict[str, Row]:
        return {row.symbol: row for row in self.rows if row.symbol}

    def row_at(self, address: int) -> Row | None:
        """Return the row that a word belongs to, None where there is none."""
        return self._row_at.get(address)

    def row_of(self, symbol: str) -> Row | None:
        """Return the row of a symbol, the last where it has several, None where it has none."""
        return self._by_symbol.get(symbol)

    def locate(self, address: int, count: int) -> int | None:
        """Return the place of `count` words from `address` on, None if any of them lies outside the table."""
        places, last = self.places, address + count - 1
        if last > 0xFFFF or places[address] < 0 or places[last] - places[address] != count - 1:
            return None
        return places[address]

    def blocks_at(self, place: int, count: int) -> list[Block]:
        """Return the blocks that `count` words from a place of the image on touch."""
        return [self.blocks[n] for n in dict.fromkeys(self._block_of[place : place + count])]

    def block_of(self, address: int) -> Block:
        """Return the block that a word lies in."""
        return next(block for block in self.blocks if block.start <= address < block.start + block.words)
