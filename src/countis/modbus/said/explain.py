"""Requests and replies in words: function, symbols and values.

Rule: any bytes are accepted; what cannot be parsed is described in words.
"""

from __future__ import annotations

import struct
from dataclasses import astuple, dataclass
from typing import Final

from countis.modbus import pdu, words
from countis.modbus.table import Table

FUNCTIONS: Final = {pdu.READ: "read", pdu.WRITE: "write", pdu.WRITE_MANY: "write"}
EXCEPTIONS: Final = {1: "illegal function", 2: "illegal address", 3: "illegal value",
                     11: "unit does not answer"}
SymbolValue = tuple[str, float | int | str | None]


@dataclass(frozen=True, slots=True)
class Explained:
    """One frame in words. function, exception: numbers, None where it is no exception; text: one line."""

    function: int
    text: str
    values: tuple[SymbolValue, ...] = ()
    exception: int | None = None


def _values(table: Table, address: int, raw: tuple[int, ...]) -> tuple[SymbolValue, ...]:
    """Return symbols and SI values of the rows that lie whole within the words."""
    out = []
    for offset in range(len(raw)):
        row = table.row_at(address + offset)
        if row is None or not row.symbol or row.address != address + offset:
            continue
        if offset + row.words <= len(raw):
            out.append((row.symbol, words.decode(row, raw[offset : offset + row.words])))
    return tuple(out)


def request(table: Table, data: bytes) -> Explained:
    """Explain a request PDU."""
    if not data:
        return Explained(0, "nothing")
    try:
        function, address, count, raw = astuple(pdu.parse_request(data))
    except pdu.Malformed as error:
        return Explained(error.function, f"function {error.function}, which is not possible so")
    text = f"{FUNCTIONS[function]} {address}" + (f" to {address + count - 1}" if count > 1 else "")
    values = _values(table, address, raw or (0,) * count)
    return Explained(function, text, values if raw else tuple((symbol, None) for symbol, _ in values))


def reply(table: Table, request: bytes, data: bytes) -> Explained:
    """Explain the reply PDU to a request; no bytes are silence."""
    if not data:
        return Explained(request[0] if request else 0, "silence")
    function, body = data[0], data[2:]
    if function & pdu.ERROR:
        code = data[1] if len(data) > 1 else 0
        text = f"exception {code:02}: {EXCEPTIONS.get(code, 'unknown')}"
        return Explained(function & ~pdu.ERROR, text, exception=code)
    whole = len(data) > 1 and len(body) == data[1] and data[1] % 2 == 0
    if function == pdu.READ and whole and len(request) == 5:
        address, raw = int.from_bytes(request[1:3], "big"), struct.unpack(f">{len(body) // 2}H", body)
        return Explained(pdu.READ, f"{len(raw)} words", _values(table, address, raw))
    return Explained(function, "written" if function in FUNCTIONS else f"function {function}")
