"""Cases made of valid frames and what becomes of them on a bad line; the same seed makes the same cases.

A case is bytes: the port, then operations as `slave.py` reads them. Most frames are valid and for the meter, so that what lies
behind framing and checks is reached; the rest is mutated, cut, joined, sent to others or no frame at all.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final

from fuzz.naive import BLOCKS, PERIODS, crc

RTU, TCP, RTU_TCP = range(3)
SILENCE, FEED, OPERATOR = 255, 254, 253
LONGEST: Final = 252  # bytes of one operation
_WORDS: Final = (0, 1, 2, 3, 4, 5, 6, 8, 15, 16, 31, 32, 33, 200, 247, 248, 900, 12000, 12001, 0x7FFF, 0x8000, 0xFFFE, 0xFFFF)
_COUNTS: Final = (0, 1, 2, 50, 124, 125, 126, 127, 128, 255, 256, 0x7FFF, 0xFFFF)
_WRITABLE: Final = (29184, 40480, 40481, 40512, 57344, 57345, 57346, 57347, 57355, 57600, 57605, 57888, 57890, 57892, 58368,
                    61440)  # fmt: skip
_OTHERS: Final = (1, 2, 4, 5, 7, 8, 11, 12, 15, 17, 20, 21, 22, 23, 24, 43, 0, 65, 0x83, 0x90, 255)
_GOOD: Final[dict[int, tuple[int, ...]]] = {
    40481: (1, 2, 3, 4), 40512: (0, 1, 0x20), 57344: (5,), 57345: (1, 5), 57346: (5, 200, 400, 12000), 57355: PERIODS,
    57890: (1, 2, 4, 8, 16, 31), 57892: (1, 2, 4, 8, 0xFFFF), 58368: (1, 5, 7, 247), 61440: (1, 0xFFFE),
}  # fmt: skip


def word(value: int) -> bytes:
    """Return two bytes, high first."""
    return bytes((value >> 8 & 0xFF, value & 0xFF))


class Frames:
    """Makes cases one after the other; `count` frames so far."""

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)
        self._random = self._chance.random
        self.count = 0
        self._address, self._last = 5, b"\x03\xc5\x52\0\x02"
        self._makers: tuple[Callable[[], bytes], ...] = (
            self._read, self._read, self._read, self._read, self._single, self._single, self._many, self._many, self._clock,
            self._tariff, self._other, self._long, self._again,
        )  # fmt: skip

    def _of(self, choices: tuple[int, ...]) -> int:
        return choices[int(self._random() * len(choices))]

    def _below(self, end: int) -> int:
        return int(self._random() * end)

    def case(self) -> bytes:
        """Return the next case."""
        self._address = 5
        if self._random() < 0.02:  # no structure at all
            self.count += 1
            return self._chance.randbytes(self._below(120))
        port = self._of((RTU, RTU, RTU, TCP, RTU_TCP))
        out = bytearray((port,))
        joined = b""
        for _ in range(1 + self._below(6)):
            self.count += 1
            joined += self._spoilt(self._envelope(port, self._makers[self._below(len(self._makers))]()), port)
            if self._random() < 0.2:  # the next one follows without a pause, in the same piece
                continue
            self._pieces(out, joined, port)
            joined = b""
            if port == RTU and self._random() < 0.8:
                out.append(SILENCE)
            if self._random() < 0.02:
                out += bytes((FEED,)) if self._random() < 0.7 else bytes((OPERATOR, self._below(256)))
        self._pieces(out, joined, port)
        return bytes(out) + (bytes((SILENCE,)) if port == RTU else b"")

    def _pieces(self, out: bytearray, data: bytes, port: int) -> None:
        """Append bytes as operations: whole, in pieces, with silences between them now and then."""
        while data:
            size = LONGEST if self._random() < 0.7 else 1 + self._below(len(data))
            piece, data = data[:size][:LONGEST], data[size:] if size <= LONGEST else data[LONGEST:]
            out.append(len(piece))
            out += piece
            if data and self._random() < (0.2 if port == RTU else 0.02):
                out.append(SILENCE)

    # requests

    def _again(self) -> bytes:
        """The last read that was well-formed: its reply may be cached, and must not be a stale one."""
        return self._last

    def _read(self) -> bytes:
        start, words, _ = BLOCKS[self._below(len(BLOCKS))]
        chance = self._random()
        if chance < 0.85:
            offset = self._below(words)
            self._last = b"\x03" + word(start + offset) + word(1 + self._below(min(20, words - offset)))
            return self._last
        count = self._of(_COUNTS) if chance < 0.95 else self._below(126)
        return b"\x03" + word(start - 2 if chance < 0.88 else start) + word(count)

    def _value(self, address: int) -> int:
        if self._random() < 0.7:
            value = self._of(_GOOD.get(address, _WORDS))
            if address == 58368:
                if self._random() < 0.9:
                    return 5
                self._address = self._of((5, value))
            return value
        return self._of(_WORDS) if self._random() < 0.8 else self._below(0x10000)

    def _where(self) -> int:
        return self._of(_WRITABLE) if self._random() < 0.9 else BLOCKS[self._below(len(BLOCKS))][0] + self._below(3)

    def _single(self) -> bytes:
        address = self._where()
        return b"\x06" + word(address) + word(self._value(address))

    def _many(self) -> bytes:
        address = self._where()
        count = 1 if self._random() < 0.5 else 1 + self._below(6)
        values = b"".join(word(self._value(address + k)) for k in range(count))
        count += self._random() < 0.03
        size = self._below(256) if self._random() < 0.03 else 2 * count
        return b"\x10" + word(address) + word(count) + bytes((size & 0xFF,)) + values

    def _clock(self) -> bytes:
        below, last_second = self._below, 60 if self._random() < 0.9 else 70
        parts = (1 + below(31), 1 + below(12), 2000 + below(100), below(24), below(60), below(last_second))
        first = 0 if self._random() < 0.7 else below(6)
        last = 6 if self._random() < 0.7 else first + 1 + below(6 - first)
        values = b"".join(map(word, parts[first:last]))
        return b"\x10" + word(57600 + first) + word(last - first) + bytes((len(values),)) + values

    def _tariff(self) -> bytes:
        value = word(self._value(40481))
        return (b"\x06\x9e\x21" if self._random() < 0.5 else b"\x10\x9e\x21\0\x01\x02") + value

    def _other(self) -> bytes:
        function = self._of(_OTHERS)
        if function == 8 and self._random() < 0.6:
            return b"\x08\0" + bytes((self._of((0, 10, 11, 12, 13, 14)),)) + word(self._of((0, 0, 0, 1, 0xABCD)))
        if function == 43:
            return b"\x2b" + bytes((14 if self._random() < 0.9 else 13, self._below(6), self._below(8)))
        if function in (1, 2, 4, 5, 8):
            return bytes((function,)) + self._chance.randbytes(4)
        if function in (7, 11, 12, 17):
            return bytes((function,))
        return bytes((function,)) + self._chance.randbytes(self._below(14))

    def _long(self) -> bytes:
        if self._random() < 0.8:
            return self._read()
        count = self._of((10, 60, 122, 123, 124, 127))
        return b"\x10" + word(self._where()) + word(count) + bytes((2 * count & 0xFF,)) + self._chance.randbytes(2 * count)

    # on the line

    def _envelope(self, port: int, request: bytes) -> bytes:
        chance = self._random()
        if port == TCP:
            unit = self._address if chance < 0.8 else self._of((0, 255, 5, 6, self._below(256)))
            length = len(request) + 1 if chance < 0.99 else self._of((0, 1, 2, 254, 255, 0xFFFF))
            protocol = 0 if self._random() < 0.97 else self._below(0x10000)
            return word(self._below(0x10000)) + word(protocol) + word(length) + bytes((unit,)) + request
        if request[1:3] == b"\x9e\x21" and chance < 0.5:
            unit = 0
        else:
            unit = self._address if chance < 0.9 else self._of((0, 0, 6, self._below(256)))
        body = bytes((unit,)) + request
        return body + crc(body)

    def _spoilt(self, data: bytes, port: int) -> bytes:
        """Let something happen to a frame, now and then; with its CRC made good again half the time."""
        chance = self._random()
        if chance > 0.3 or (port != RTU and chance > 0.06):
            return data
        out, at = bytearray(data), self._below(len(data))
        kind = self._below(9)
        if kind == 0:
            out[at] ^= 1 << self._below(8)
        elif kind == 1:
            del out[at]
        elif kind == 2:
            out.insert(at, self._below(256))
        elif kind == 3:
            del out[at:]
        elif kind == 4:
            out += out[at:]
        elif kind == 5:
            out[at] = self._of((0, 1, 5, 0x7F, 0x80, 0xFF))
        elif kind == 6:  # inside foreign traffic
            return bytes((self._below(256),)) + self._chance.randbytes(self._below(12)) + data
        elif kind == 7:
            return self._chance.randbytes(1 + self._below(40))
        else:
            out[at:at] = self._chance.randbytes(self._below(6))
        if port != TCP and len(out) > 3 and self._random() < 0.5:
            out[-2:] = crc(bytes(out[:-2]))
        return bytes(out)
