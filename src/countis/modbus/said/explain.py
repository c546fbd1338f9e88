"""What an exchange says, for people: function, symbols and values of a request and its reply.

Rule: any bytes are taken; what cannot be read is told in words.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from countis.modbus import pdu, words
from countis.modbus.table import Table

FUNCTIONS: Final = {pdu.READ: "read", pdu.WRITE: "write", pdu.WRITE_MANY: "write"}
EXCEPTIONS: Final = {1: "illegal function", 2: "illegal address", 3: "illegal value", 11: "unit does not answer"}
SymbolValue = tuple[str, float | int | str | None]


@dataclass(frozen=True, slots=True)
class Explained:
    """One frame: its function by number, what it says in a line, symbols with their values, the exception if it is one."""

    function: int
    text: str
    values: tuple[SymbolValue, ...] = ()
    exception: int | None = None


def _values(table: Table, address: int, raw: tuple[int, ...]) -> tuple[SymbolValue, ...]:
    """Return symbols and SI values of the rows that lie whole within the words."""
    out = []
    for offset in range(len(raw)):
        row = table.row_at(address + offset)
        starts = row is not None and row.symbol and row.address == address + offset
        if row is not None and starts and offset + row.words <= len(raw):
            out.append((row.symbol, words.decode(row, raw[offset : offset + row.words])))
    return tuple(out)


def request(table: Table, data: bytes) -> Explained:
    """Say what a request asks for."""
    if not data:
        return Explained(0, "nothing")
    try:
        asked = pdu.parse_request(data)
    except pdu.Malformed as error:
        return Explained(error.function, f"function {error.function}, which is not possible so")
    many = f" to {asked.address + asked.count - 1}" if asked.count > 1 else ""
    text = f"{FUNCTIONS[asked.function]} {asked.address}{many}"
    if asked.values:
        return Explained(asked.function, text, _values(table, asked.address, asked.values))
    named = [symbol for symbol, _ in _values(table, asked.address, (0,) * asked.count)]
    return Explained(asked.function, text, tuple((symbol, None) for symbol in named))


def reply(table: Table, asked: bytes, data: bytes) -> Explained:
    """Say what a reply says to a request; no bytes are silence."""
    if not data:
        return Explained(asked[0] if asked else 0, "silence")
    if data[0] & pdu.ERROR:
        code = data[1] if len(data) > 1 else 0
        return Explained(data[0] & ~pdu.ERROR, f"exception {code:02}: {EXCEPTIONS.get(code, 'unknown')}", exception=code)
    if data[0] == pdu.READ and len(data) > 1 and len(data) == 2 + data[1] and data[1] % 2 == 0 and len(asked) == 5:
        raw = struct.unpack(f">{data[1] // 2}H", data[2:])
        return Explained(pdu.READ, f"{len(raw)} words", _values(table, int.from_bytes(asked[1:3], "big"), raw))
    return Explained(data[0], "written" if data[0] in FUNCTIONS else f"function {data[0]}")
