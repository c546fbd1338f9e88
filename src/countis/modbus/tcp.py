"""Modbus TCP: PDUs behind a header of transaction, protocol, length and unit (Messaging on TCP/IP V1.0b, §3.1.3)."""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

_HEADER: Final = struct.Struct(">HHHB")
MAX_LENGTH: Final = 254  # unit and PDU
MIN_LENGTH: Final = 2


class Envelope(NamedTuple):
    """One request as it came: transaction id, unit id, PDU."""

    transaction: int
    unit: int
    pdu: bytes


def wrap(transaction: int, unit: int, pdu: bytes) -> bytes:
    """Return a PDU with its header."""
    return _HEADER.pack(transaction, 0, len(pdu) + 1, unit) + pdu


class Framer:
    """Bytes of a connection in, envelopes out; requests may come split or merged in any way.

    waiting: a request has begun and is not whole. broken: an impossible length came; what follows cannot be framed, and the
    connection is to be closed.
    """

    def __init__(self) -> None:
        self._buffer = b""  # the beginning of a request
        self.waiting = self.broken = False

    def receive(self, data: bytes) -> list[Envelope]:
        """Take bytes; return what they complete. Frames of another protocol are dropped."""
        data, found, at = self._buffer + data, [], 0
        while not self.broken and len(data) - at >= _HEADER.size:
            transaction, protocol, length, unit = _HEADER.unpack_from(data, at)
            if not MIN_LENGTH <= length <= MAX_LENGTH:
                self.broken = True
                break
            end = at + 6 + length
            if len(data) < end:
                break
            if protocol == 0:
                found.append(Envelope(transaction, unit, data[at + _HEADER.size : end]))
            at = end
        self._buffer = data[at:]
        self.waiting = len(self._buffer) > 0
        return found
