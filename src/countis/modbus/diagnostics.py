"""Functions 8 (diagnostics) and 43/14 (identification), which the device does not have; off by default.

Source: Modbus Application Protocol V1.1b3, §6.8 and §6.21. Only the sub-functions that make sense here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from countis.modbus import pdu

DIAGNOSTICS, ENCAPSULATED = 8, 43
_IDENTIFICATION: Final = 14
_ECHO, _CLEAR, _MESSAGES, _EXCEPTIONS, _SERVED = 0, 10, 11, 13, 14
_BASIC: Final = 3  # vendor, product, revision
_CONFORMITY: Final = 0x82  # regular objects, by stream and one by one
_ROOM: Final = 240  # bytes of objects in one reply


@dataclass(slots=True)
class Counts:
    """What function 8 counts since the start or the last clear, modulo 65536."""

    messages: int = 0
    exceptions: int = 0
    served: int = 0


def answer(request: bytes, counts: Counts, objects: Sequence[str]) -> bytes:
    """Answer a request of function 8 or 43. objects: vendor, product, revision, URL, name, model."""
    return _diagnose(request, counts) if request[0] == DIAGNOSTICS else _identify(request, objects)


def _diagnose(request: bytes, counts: Counts) -> bytes:
    if len(request) < 5:
        return pdu.exception(DIAGNOSTICS, pdu.Code.VALUE)
    sub, data = int.from_bytes(request[1:3], "big"), int.from_bytes(request[3:5], "big")
    if sub == _ECHO:
        return request
    values = {_MESSAGES: counts.messages, _EXCEPTIONS: counts.exceptions, _SERVED: counts.served}
    if sub != _CLEAR and sub not in values:
        return pdu.exception(DIAGNOSTICS, pdu.Code.FUNCTION)
    if data != 0 or len(request) != 5:
        return pdu.exception(DIAGNOSTICS, pdu.Code.VALUE)
    if sub == _CLEAR:
        counts.messages = counts.exceptions = counts.served = 0
        return request
    return request[:3] + (values[sub] % 65536).to_bytes(2, "big")


def _identify(request: bytes, objects: Sequence[str]) -> bytes:
    if len(request) != 4 or request[1] != _IDENTIFICATION:
        known = request[1:2] == bytes((_IDENTIFICATION,))
        return pdu.exception(ENCAPSULATED, pdu.Code.VALUE if known else pdu.Code.FUNCTION)
    code, first = request[2], request[3]
    if code not in (1, 2, 3, 4):
        return pdu.exception(ENCAPSULATED, pdu.Code.VALUE)
    last = _BASIC if code == 1 else len(objects)
    if code == 4 and first >= len(objects):
        return pdu.exception(ENCAPSULATED, pdu.Code.ADDRESS)
    numbers = [first] if code == 4 else list(range(first if first < last else 0, last))
    written, count, more = b"", 0, 0
    for number in numbers:
        value = objects[number].encode("ascii", "replace")[:200]
        if len(written) + 2 + len(value) > _ROOM:
            more = number
            break
        written += bytes((number, len(value))) + value
        count += 1
    head = (ENCAPSULATED, _IDENTIFICATION, code, _CONFORMITY, 0xFF if more else 0, more, count)
    return bytes(head) + written
