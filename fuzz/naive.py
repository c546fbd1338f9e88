"""A naive reading of the bytes, by other hands than the slave's: which frames they are, and which writes those ask for.

Rule: nothing of countis is imported. Typed from the Modbus specification, the vendor's block list and decisions 3, 18, 19, 40
and 53. It keeps the bytes since the last silence and reads what is left of them anew each time.
"""

from __future__ import annotations

import calendar
import datetime
from dataclasses import dataclass, field
from typing import Final

# First word, words, what may be done, "u" where the USER lock takes writing away, "m" where function 16 alone
# writes. Adjoining blocks may be read together.
BLOCKS: Final = (
    (19840, 66, "r"), (20224, 33, "r"), (20257, 96, "r"), (20353, 16, "r"), (21888, 66, "r"), (22272, 33, "r"),
    (22305, 96, "r"), (22401, 16, "r"), (23936, 66, "r"), (24320, 33, "r"), (24353, 96, "r"), (24449, 16, "r"),
    (25984, 66, "r"), (26368, 33, "r"), (26401, 96, "r"), (26497, 16, "r"), (29184, 7, "rwu"), (29952, 7, "rw"),
    (30208, 26, "rwu"), (32768, 48, "r"), (33024, 6, "r"), (36864, 11, "r"), (36896, 24, "r"), (36928, 24, "r"),
    (40480, 2, "w"), (40512, 1, "w"), (40544, 2, "r"), (40576, 6, "r"), (40608, 1, "r"), (50000, 66, "r"), (50512, 62, "r"),
    (50768, 65, "r"), (50848, 50, "r"), (50944, 65, "r"), (51200, 50, "r"), (51280, 36, "r"), (57344, 10, "rw"),
    (57354, 2, "rw"), (57600, 6, "wu"), (57856, 1, "wu"), (57888, 5, "w"), (58368, 1, "rwu"), (61440, 1, "wm"),
    (61456, 6, "r"), (61462, 116, "r"),
)  # fmt: skip
MAY: Final = {start + k: may for start, words, may in BLOCKS for k in range(words)}
PERIODS: Final = (60, 120, 180, 240, 300, 360, 480, 600, 720, 900, 1200, 1800, 3600)
PARTIALS: Final = ("Ea+", "Ea-", "Er+", "Er-", "Eap", *(f"{kind}.T{t}" for kind in ("Ea+", "Ea-") for t in (1, 2, 3, 4)))
TOTALS: Final = ("Ea+", "Er+", "Eap", "Ea-", "Er-")  # bits 0 to 4 of 57890
GATEWAY: Final = 11


def _crc_table() -> list[int]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ 0xA001 if value & 1 else value >> 1
        table.append(value)
    return table


_CRC: Final = _crc_table()


def crc(data: bytes) -> bytes:
    """Return the two bytes that follow `data` on the line."""
    value = 0xFFFF
    for byte in data:
        value = value >> 8 ^ _CRC[(value ^ byte) & 0xFF]
    return bytes((value & 0xFF, value >> 8))


def length_of(frame: bytes) -> int:
    """Return how long the RTU request at the beginning of `frame` is; 0: not to be told yet, −1: only silence tells."""
    if len(frame) < 2:
        return 0
    function = frame[1]
    if function in (1, 2, 3, 4, 5, 6, 8):
        return 8
    if function in (7, 11, 12, 17):
        return 4
    if function in (22, 24, 43):
        return {22: 10, 24: 6, 43: 7}[function]
    counted = {15: (6, 9), 16: (6, 9), 20: (2, 5), 21: (2, 5), 23: (10, 13)}.get(function)
    if counted is None:
        return -1
    at, others = counted
    return others + frame[at] if len(frame) > at else 0


@dataclass
class Line:
    """What a slave hears on RS485, or, with `timed` false, on a stream of RTU frames."""

    timed: bool = True
    heard: bytes = b""
    at: int = 0  # what was read of it
    lost: bool = False  # nothing counts before silence; without silence the stream is at its end

    def take(self, data: bytes, address: int) -> list[bytes]:
        """Return the frames that end in these bytes."""
        self.heard += data
        found = []
        while data and not self.lost and self.at < len(self.heard):
            rest = self.heard[self.at :]
            length = length_of(rest)
            if self.timed and rest[0] not in (0, address):
                self.lost = True
            elif length < 0:
                self.lost = not self.timed or len(rest) > 256
                break
            elif length == 0 or len(rest) < length:
                break
            elif length > 256 or crc(rest[: length - 2]) != rest[length - 2 : length]:
                self.lost = True
            else:
                found.append(rest[:length])
                self.at += length
        return found

    def silence(self, address: int) -> list[bytes]:
        """Return what silence makes a frame."""
        rest = b"" if self.lost else self.heard[self.at :]
        self.heard, self.at, self.lost = b"", 0, False
        whole = len(rest) >= 4 and length_of(rest) < 0 and rest[0] in (0, address) and crc(rest[:-2]) == rest[-2:]
        return [rest] if whole else []


@dataclass
class Stream:
    """What a slave hears on a connection of Modbus TCP."""

    heard: bytes = b""
    lost: bool = False

    def take(self, data: bytes) -> list[tuple[bytes, int, bytes]]:
        """Return transaction, unit and PDU of the requests that end in these bytes."""
        self.heard += data
        found = []
        while len(self.heard) >= 7 and not self.lost:
            head, length = self.heard[:7], int.from_bytes(self.heard[4:6], "big")
            self.lost = not 2 <= length <= 254
            if self.lost or len(self.heard) < 6 + length:
                break
            if head[2:4] == b"\0\0":
                found.append((head[:2], head[6], self.heard[7 : 6 + length]))
            self.heard = self.heard[6 + length :]
        return found


@dataclass
class Effect:
    """What a request does: its exception code or 0, and what changes by it."""

    code: int = 0
    settings: dict[str, int] = field(default_factory=dict)
    tariff: int = 0
    resets: set[str] = field(default_factory=set)
    clock: int = -1  # s since 2000
    curve: list[str] = field(default_factory=list)


def _diagnostics(request: bytes) -> int:
    """Return the code of function 8 (Modbus Application Protocol V1.1b3, §6.8): 0 is an echo, 10 clears, 11 13 14 count."""
    sub = int.from_bytes(request[1:3], "big")
    if len(request) < 5 or sub == 0:
        return 3 if len(request) < 5 else 0
    return 1 if sub not in (10, 11, 13, 14) else 0 if request[3:] == b"\0\0" else 3


def _identification(request: bytes) -> int:
    """Return the code of function 43/14 (§6.21): stream access 1 to 3, one object 4, of six."""
    if request[1:2] != b"\x0e" or len(request) != 4:
        return 1 if request[1:2] != b"\x0e" else 3
    return 3 if request[2] not in (1, 2, 3, 4) else 2 if request[2] == 4 and request[3] > 5 else 0


def identified(request: bytes, objects: list[str]) -> bytes:
    """Return the reply to function 43/14 of a device with these objects."""
    last = 3 if request[2] == 1 else len(objects)
    first = request[3] if request[3] < last or request[2] == 4 else 0
    numbers = [first] if request[2] == 4 else list(range(first, last))
    told = b"".join(bytes((n, len(objects[n]))) + objects[n].encode() for n in numbers)
    return b"\x2b\x0e" + bytes((request[2], 0x82, 0, 0, len(numbers))) + told


@dataclass
class Expected:
    """What the meter must be like; whoever changes it otherwise changes this too."""

    address: int = 5
    user_lock: int = 0
    sealed: int = 0
    com: bool = True
    powered: bool = True
    diagnostics: bool = False  # functions 8 and 43
    parts: dict[int, int] = field(default_factory=dict)  # of a clock that is not in force yet

    def read(self, request: bytes) -> Effect:
        """Say what a request asks for, in the order of decision 18, and remember parts of the clock."""
        function, values, address, count = request[0], [], 0, 0
        if function in (8, 43) and self.diagnostics:
            return Effect(_diagnostics(request) if function == 8 else _identification(request))
        if function not in (3, 6, 16):
            return Effect(1)
        if len(request) >= 5:
            address, count = int.from_bytes(request[1:3], "big"), int.from_bytes(request[3:5], "big")
        if function == 3 and (len(request) != 5 or not 1 <= count <= 125):
            return Effect(3)
        if function == 6:
            if len(request) != 5:
                return Effect(3)
            values, count = [count], 1
        if function == 16:
            if not (1 <= count <= 123 and len(request) == 6 + 2 * count and request[5] == 2 * count):
                return Effect(3)
            values = [int.from_bytes(request[k : k + 2], "big") for k in range(6, len(request), 2)]
        may = [MAY.get(address + k) for k in range(count)]
        if None in may:
            return Effect(2)
        for allowed in set(may):
            if ("w" if values else "r") not in str(allowed) or (values and self.user_lock and "u" in str(allowed)):
                return Effect(1)
            if function == 6 and "m" in str(allowed):
                return Effect(1)
        return self._write(address, values) if values else Effect()

    def _write(self, address: int, values: list[int]) -> Effect:
        effect, parts = Effect(), dict(self.parts)
        codes = {self._word(effect, parts, address + k, value) for k, value in enumerate(values)}
        if codes & {1, 3}:
            return Effect(1 if 1 in codes else 3)
        self.parts = {} if effect.clock >= 0 else parts
        self.address = effect.settings.get("address", self.address)
        return effect

    def _word(self, effect: Effect, parts: dict[int, int], at: int, value: int) -> int:
        """Add what one word asks for to the effect; return the code that refuses it, or 0."""
        if at == 40481:
            effect.tariff = value
            return 1 if not self.com else 0 if 1 <= value <= 4 else 3
        if at in (57345, 57346):
            effect.settings["ct_secondary" if at == 57345 else "ct_primary"] = value
            right = value in (1, 5) if at == 57345 else 1 <= value <= 12000
            return 1 if self.sealed else 0 if right else 3
        if at == 57344:
            return 0 if value == 5 else 3
        if at == 57355:
            effect.settings["demand_period"] = value
            return 0 if value in PERIODS else 3
        if at == 58368:
            effect.settings["address"] = value
            return 0 if 1 <= value <= 247 else 3
        if 57600 <= at <= 57605:
            return self._clock(effect, parts, at - 57600, value)
        if at == 61440:
            effect.curve.append({1: "rewind", 0xFFFE: "fetch"}.get(value, ""))
            return 0 if effect.curve[-1] else 3
        return self._reset(effect, at, value)

    def _reset(self, effect: Effect, at: int, value: int) -> int:
        if at == 40512:
            effect.resets.update(PARTIALS if value & 0x20 else ())
            return 0 if value in (0x00, 0x01, 0x20, 0x21) else 3
        if at == 57890:
            effect.resets.update(name for bit, name in enumerate(TOTALS) if value >> bit & 1)
            return 0 if value < 0x20 else 3
        if at == 57892:
            bits = 0xF if value == 0xFFFF else value
            effect.resets.update(name for name in PARTIALS if "T" in name and bits >> int(name[-1]) - 1 & 1)
            return 0 if bits < 0x10 else 3
        return 0  # reserved

    def _clock(self, effect: Effect, parts: dict[int, int], part: int, value: int) -> int:
        low, high = ((1, 31), (1, 12), (2000, 2099), (0, 23), (0, 59), (0, 59))[part]
        if not low <= value <= high:
            return 3
        parts[part] = value
        if part < 5:
            return 0
        if len(parts) < 6 or parts[0] > calendar.monthrange(parts[2], parts[1])[1]:
            return 3
        moment = datetime.datetime(parts[2], parts[1], parts[0], parts[3], parts[4], parts[5])
        effect.clock = round((moment - datetime.datetime(2000, 1, 1)).total_seconds())
        return 0
