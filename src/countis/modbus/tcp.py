"""Modbus TCP: PDUs behind a header of transaction, protocol, length, unit (TCP/IP V1.0b, §3.1.3)."""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

_HEADER: Final = struct.Struct(">HHHB")
MAX_LENGTH: Final = 254  # unit and PDU
MIN_LENGTH: Final = 2


class Envelope(NamedTuple):
    """One request: transaction id, unit id, PDU."""

    transaction: int
    unit: int
    pdu: bytes


def wrap(transaction: int, unit: int, pdu: bytes) -> bytes:
    """Return a PDU with its header."""
    return _HEADER.pack(transaction, 0, len(pdu) + 1, unit) + pdu


class Framer:
    """Bytes of a connection in, envelopes out, however the bytes are split.

    waiting: a request is not whole yet. broken: an impossible length came, so that the rest cannot be framed;
    the connection is to be closed.
    """

    def __init__(self) -> None:
        self._buffer = b""  # the beginning of a request
        self.waiting = self.broken = False

    def receive(self, data: bytes) -> list[Envelope]:
        """Take bytes; return the requests they complete. Those of another protocol are dropped."""
        data, envelopes, at = self._buffer + data, [], 0
        while not self.broken and len(data) - at >= _HEADER.size:
            transaction, protocol, length, unit = _HEADER.unpack_from(data, at)
            if not MIN_LENGTH <= length <= MAX_LENGTH:
                self.broken = True
                break
            end = at + 6 + length
            if len(data) < end:
                break
            if protocol == 0:
                envelopes.append(Envelope(transaction, unit, data[at + _HEADER.size : end]))
            at = end
        self._buffer = data[at:]
        self.waiting = len(self._buffer) > 0
        return envelopes
