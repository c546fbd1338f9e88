"""Modbus requests and replies without the envelope of RTU or TCP (Application Protocol V1.1b3, §6)."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

READ, WRITE, WRITE_MANY = 3, 6, 16
MAX_READ: Final = 125  # the manual says 128, which no byte count can hold (decision 3)
MAX_WRITE: Final = 123
ERROR: Final = 0x80


class Code(IntEnum):
    """Exception codes."""

    FUNCTION = 1
    ADDRESS = 2
    VALUE = 3
    BUSY = 6
    GATEWAY_TARGET = 11


@dataclass(frozen=True, slots=True)
class Request:
    """A well-formed request to read `count` words from `address`, or to write `values` there."""

    function: int
    address: int
    count: int
    values: tuple[int, ...] = ()


class Malformed(Exception):
    """A request that gets an exception reply with `code`; function: of the request."""

    def __init__(self, function: int, code: Code) -> None:
        super().__init__(f"function {function}: exception {code}")
        self.function, self.code = function, code


def parse_request(pdu: bytes) -> Request:
    """Parse a request; Malformed in the order of decision 18: function 01, then count or byte count 03."""
    function = pdu[0]
    if function not in (READ, WRITE, WRITE_MANY):
        raise Malformed(function, Code.FUNCTION)
    if len(pdu) < 5:
        raise Malformed(function, Code.VALUE)
    address, second = struct.unpack_from(">HH", pdu, 1)
    if function == WRITE and len(pdu) == 5:
        return Request(function, address, 1, (second,))
    if function == READ and len(pdu) == 5 and 1 <= second <= MAX_READ:
        return Request(function, address, second)
    whole = len(pdu) == 6 + 2 * second and pdu[5] == 2 * second
    if function == WRITE_MANY and whole and 1 <= second <= MAX_WRITE:
        return Request(function, address, second, struct.unpack_from(f">{second}H", pdu, 6))
    raise Malformed(function, Code.VALUE)


def exception(function: int, code: int) -> bytes:
    """Return an exception reply."""
    return bytes((function & 0x7F | ERROR, code))


def read_request(address: int, count: int) -> bytes:
    """Return a request to read words."""
    return struct.pack(">BHH", READ, address, count)


def write_request(address: int, values: Sequence[int]) -> bytes:
    """Return a request to write words, with FC16."""
    n = len(values)
    return struct.pack(f">BHHB{n}H", WRITE_MANY, address, n, 2 * n, *values)
