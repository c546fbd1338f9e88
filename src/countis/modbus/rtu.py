"""RTU frames: CRC, length by function, silence.

Rule: nothing here knows the time; the owner of the line calls `silence()` when it has lasted 3.5 characters.
A frame begins after silence or after a frame to us; foreign traffic is skipped until the next silence.
"""

from __future__ import annotations

from typing import Final

from fastcrc import crc16

from countis.modbus.pdu import WRITE_MANY

MAX_FRAME: Final = 256
BROADCAST: Final = 0
_FIXED: Final = {1: 8, 2: 8, 3: 8, 4: 8, 5: 8, 6: 8, 7: 4, 8: 8, 11: 4, 12: 4, 17: 4, 22: 10, 24: 6, 43: 7}
_COUNTED: Final = {15: 6, WRITE_MANY: 6, 20: 2, 21: 2, 23: 10}  # function -> where its byte count stands


def frame(address: int, pdu: bytes) -> bytes:
    """Return address + PDU + CRC, low byte first."""
    body = bytes((address,)) + pdu
    return body + crc16.modbus(body).to_bytes(2, "little")


def is_whole(data: bytes) -> bool:
    """Tell whether the last two bytes are the CRC of those before."""
    return len(data) >= 4 and crc16.modbus(data[:-2]) == int.from_bytes(data[-2:], "little")


def request_length(data: bytes | bytearray) -> int | None:
    """Return the length of a request from its beginning; 0: more bytes needed, None: only silence ends it."""
    if len(data) < 2:
        return 0
    if data[1] in _FIXED:
        return _FIXED[data[1]]
    if data[1] in _COUNTED:
        at = _COUNTED[data[1]]
        return at + 3 + data[at] if len(data) > at else 0
    return None


def silence_ns(baud: int, bits: int) -> int:
    """Return 3.5 characters in ns, 1.75 ms above 19200 baud (Modbus over Serial Line V1.02, §2.5.1.1)."""
    return 1_750_000 if baud > 19200 else round(3.5 * bits * 1e9 / baud)


class SlaveFramer:
    """Bytes of a line in, whole frames out, however the bytes are split.

    addresses: ours; on a timed line frames to others are skipped. timed: the line has silence (RS485, pty).
    An untimed line (RTU over TCP) is divided by lengths alone, for all addresses.
    """

    def __init__(self, addresses: set[int] | None = None, *, timed: bool = True) -> None:
        self.addresses, self.timed = addresses or set(), timed
        self._buffer = bytearray()
        self._skipping = False

    @property
    def broken(self) -> bool:
        """Whether an untimed line can be framed no further, so that its connection is to be closed."""
        return self._skipping and not self.timed

    def receive(self, data: bytes) -> list[bytes]:
        """Take bytes as they come; return the frames they complete, CRC checked."""
        frames = []
        for byte in data:
            if self._skipping:
                break
            self._buffer.append(byte)
            done = self._look()
            if done is not None:
                frames.append(done)
        return frames

    def silence(self) -> list[bytes]:
        """End the frame after 3.5 characters of silence; return one whose length only silence could end."""
        data, skipping = bytes(self._buffer), self._skipping
        self._buffer.clear()
        self._skipping = False
        unknown = not skipping and request_length(data) is None
        return [data] if unknown and self._ours(data) and is_whole(data) else []

    @property
    def waiting(self) -> bool:
        """Whether silence would change anything."""
        return self._skipping or bool(self._buffer)

    def _ours(self, data: bytes | bytearray) -> bool:
        return data[0] in self.addresses or data[0] == BROADCAST

    def _look(self) -> bytes | None:
        """Return the frame that the newest byte completed, if any; skip what cannot become one."""
        buffer = self._buffer
        foreign = self.timed and not self._ours(buffer)
        length = None if foreign else request_length(buffer)
        if length is None and self.timed and not foreign and len(buffer) <= MAX_FRAME:
            return None
        if length is not None and (length == 0 or len(buffer) < length):
            return None
        data = bytes(buffer)
        buffer.clear()
        if length is not None and length <= MAX_FRAME and is_whole(data):
            return data
        self._skipping = True
        return None
