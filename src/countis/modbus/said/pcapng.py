"""Frames of a line as pcapng, written and read.

Rule: bytes in, frames out, and back, from the specification (IETF draft-ietf-opsawg-pcapng), an interface for
each port. Link type 252 is a frame behind tags that name its dissector, so that tshark decodes Modbus RTU
without an option.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

from countis.modbus.said.frames import LAST_US, Direction, LineFrame, Port
from countis.words.errors import TraceError

_SECTION: Final = 0x0A0D0D0A
_INTERFACE, _PACKET = 1, 6
_MAGIC: Final = 0x1A2B3C4D
_LONGEST: Final = 1 << 24
_NAME, _RESOLUTION, _FLAGS = 2, 9, 2  # options: if_name, if_tsresol, epb_flags
_WAY: Final = {Direction.REQUEST: 1, Direction.REPLY: 2}  # inbound and outbound, as the meter sees it
UPPER_PDU: Final = 252
# tags; addresses and ports tell master and meter apart
_DISSECTOR, _FROM, _TO, _KIND, _FROM_PORT, _TO_PORT = 12, 20, 21, 24, 25, 26
_TCP: Final = 2
_MODBUS: Final = 502
_DISSECTS: Final = b"mbrtu"


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


def _block(kind: int, body: bytes) -> bytes:
    length = len(body) + 12
    return struct.pack("<II", kind, length) + body + struct.pack("<I", length)


def _option(code: int, value: bytes) -> bytes:
    return struct.pack("<HH", code, len(value)) + _padded(value)


def _tag(code: int, value: bytes) -> bytes:
    return struct.pack(">HH", code, len(_padded(value))) + _padded(value)


_END: Final = bytes(4)
_LINK: Final = struct.pack("<HHI", UPPER_PDU, 0, 0)
HEAD: Final = _block(_SECTION, struct.pack("<IHHq", _MAGIC, 1, 0, -1)) + b"".join(
    _block(_INTERFACE, _LINK + _option(_NAME, port.value.encode()) + _END) for port in Port
)


def packet(frame: LineFrame) -> bytes:
    """Return the block of a frame; the meter of unit 5 is 0.0.0.5 port 502, the master 0.0.0.0 port 0."""
    meter, master = (frame.frame[0], _MODBUS), (0, 0)
    source, to = (master, meter) if frame.direction is Direction.REQUEST else (meter, master)
    numbers = ((_FROM, source[0]), (_TO, to[0]), (_KIND, _TCP), (_FROM_PORT, source[1]), (_TO_PORT, to[1]))
    tags = _tag(_DISSECTOR, _DISSECTS) + b"".join(_tag(code, n.to_bytes(4, "big")) for code, n in numbers)
    data = tags + _tag(0, b"") + frame.frame
    high, low = divmod(frame.time_us, 1 << 32)
    fixed = struct.pack("<IIIII", list(Port).index(frame.port), high, low, len(data), len(data))
    flags = _option(_FLAGS, struct.pack("<I", _WAY[frame.direction]))
    return _block(_PACKET, fixed + _padded(data) + flags + _END)


class _Interface(NamedTuple):
    link: int
    port: Port | None
    per_second: int  # counts of its clock


def _byte_order(data: bytes, at: int, before: str) -> str:
    """Return the byte order of the block at an offset, `before` unless it begins a section."""
    if struct.unpack_from("<I", data, at)[0] != _SECTION:
        return before
    return ">" if struct.unpack_from(">I", data, at + 8)[0] == _MAGIC else "<"


def _blocks(data: bytes) -> Iterator[tuple[int, str, int, bytes]]:
    """Yield the blocks of a file: offset, byte order, kind, body."""
    at, order = 0, "<"
    while at < len(data):
        left = len(data) - at
        kind = length = 0
        if left >= 12:
            order = _byte_order(data, at, order)
            kind, length = struct.unpack_from(f"{order}II", data, at)
        whole = length >= 12 and length % 4 == 0 and length <= left
        if not whole or data[at + 4 : at + 8] != data[at + length - 4 : at + length]:
            raise TraceError(f"offset {at}", "no whole block", "a pcapng file")
        yield at, order, kind, data[at + 8 : at + length - 4]
        at += length


def _options(body: bytes, order: str) -> dict[int, bytes]:
    """Return the options that a block ends with."""
    options: dict[int, bytes] = {}
    at = 0
    while len(body) - at >= 4:
        code, length = struct.unpack_from(f"{order}HH", body, at)
        if code == 0:
            break
        options[code] = body[at + 4 : at + 4 + length]
        at += 4 + length + -length % 4
    return options


def frames(data: bytes) -> Iterator[LineFrame]:
    """Yield the frames of a pcapng file; blocks of other kinds are skipped."""
    interfaces: list[_Interface] = []
    for at, order, kind, body in _blocks(data):
        try:
            if kind == _SECTION:
                if struct.unpack_from(f"{order}IH", body) != (_MAGIC, 1):
                    raise TraceError("", "another version", "1")
                interfaces = []
            elif kind == _INTERFACE:
                interfaces.append(_interface(body, order))
            elif kind == _PACKET:
                yield _frame(body, order, interfaces)
        except (struct.error, IndexError):
            raise TraceError(f"offset {at}", "a block too short", "a pcapng file") from None
        except TraceError as error:
            raise error.inside(f"offset {at}") from None


def _interface(body: bytes, order: str) -> _Interface:
    (link,) = struct.unpack_from(f"{order}H", body)
    options = _options(body[8:], order)
    named = {port.value.encode(): port for port in Port}
    digits = options.get(_RESOLUTION, b"\x06")[0]
    per_second = 2 ** (digits & 127) if digits & 128 else 10**digits
    return _Interface(link, named.get(options.get(_NAME, b"").rstrip(b"\0")), per_second)


def _frame(body: bytes, order: str, interfaces: list[_Interface]) -> LineFrame:
    """Return the frame of a packet; TraceError where it is not one of ours, or not whole."""
    number, high, low, size, length = struct.unpack_from(f"{order}IIIII", body)
    link, port, per_second = interfaces[number] if number < len(interfaces) else _Interface(0, None, 1)
    if link != UPPER_PDU or port is None:
        ports = " and ".join(port.value for port in Port)
        raise TraceError("", "not of ours", f"link type {UPPER_PDU}, interfaces {ports}")
    if size != length or 20 + size > len(body):
        raise TraceError("", f"{size} of {length} bytes", "all")
    options = _options(body[20 + size + -size % 4 :], order)
    flags = int.from_bytes(options.get(_FLAGS, b""), "big" if order == ">" else "little")
    way = next((direction for direction, bits in _WAY.items() if bits == flags & 3), None)
    frame = _untagged(body[20 : 20 + size])
    if way is None or not frame:
        raise TraceError("", "no direction, or no bytes", "both")
    time_us = (high << 32 | low) * 1_000_000 // per_second
    if time_us >= LAST_US:
        raise TraceError("", "a time beyond the year 9999", "before")
    return LineFrame(time_us, port, way, frame)


def _untagged(data: bytes) -> bytes:
    """Return the frame behind the tags; TraceError where they name another dissector."""
    at, named = 0, b""
    while True:
        code, length = struct.unpack_from(">HH", data, at)
        if code == _DISSECTOR:
            named = data[at + 4 : at + 4 + length].rstrip(b"\0")
        at += 4 + length
        if code == 0:
            break
    if named != _DISSECTS:
        name = named[:40].decode("ascii", "replace")
        raise TraceError("", f"a frame of {name!r}", f"{_DISSECTS.decode()!r}")
    return data[at:]


def is_pcapng(data: bytes) -> bool:
    """Tell by the first bytes whether this is one."""
    return data[:4] == _SECTION.to_bytes(4, "little")


def whole(data: bytes) -> int:
    """Return how many bytes at the beginning end with a whole block."""
    at, order = 0, "<"
    while len(data) - at >= 12:
        order = _byte_order(data, at, order)
        length = struct.unpack_from(f"{order}I", data, at + 4)[0]
        if length < 12 or length > _LONGEST:
            return len(data)  # damaged, which is not for us to cut off
        if at + length > len(data):
            break
        at += length
    return at
