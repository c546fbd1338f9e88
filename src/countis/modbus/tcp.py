"""Modbus TCP: PDUs behind a header of transaction, protocol, length and unit (Messaging on TCP/IP V1.0b, §3.1.3)."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

_HEADER: Final = struct.Struct(">HHHB")
MAX_LENGTH: Final = 254  # unit and PDU
MIN_LENGTH: Final = 2


@dataclass(frozen=True, slots=True)
class Envelope:
    """One request as it came: transaction id, unit id, PDU."""

    transaction: int
    unit: int
    pdu: bytes


def wrap(transaction: int, unit: int, pdu: bytes) -> bytes:
    """Return a PDU with its header."""
    return _HEADER.pack(transaction, 0, len(pdu) + 1, unit) + pdu


class Framer:
    """Bytes of a connection in, envelopes out; requests may come split or merged in any way.

    broken: an impossible length came; what follows cannot be framed, and the connection is to be closed.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()
        self.broken = False

    def receive(self, data: bytes) -> list[Envelope]:
        """Take bytes; return what they complete. Frames of another protocol are dropped."""
        buffer, found, at = self._buffer, [], 0
        buffer += data
        while not self.broken and len(buffer) - at >= _HEADER.size:
            transaction, protocol, length, unit = _HEADER.unpack_from(buffer, at)
            if not MIN_LENGTH <= length <= MAX_LENGTH:
                self.broken = True
                break
            end = at + 6 + length
            if len(buffer) < end:
                break
            if protocol == 0:
                found.append(Envelope(transaction, unit, bytes(buffer[at + _HEADER.size : end])))
            at = end
        del buffer[:at]
        return found
