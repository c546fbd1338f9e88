"""What was said on a line: each frame with its time, as text and as pcapng, written and read.

Rule: bytes in, frames out, and back; no file, no clock. Both forms keep whole microseconds, so that either gives back the same
frames. A frame stands as on RTU: unit, PDU, CRC. A reply stands behind its request; a request without one met silence.

pcapng is written from its specification (IETF draft-ietf-opsawg-pcapng), an interface for each port. Link type 252 is a frame
behind tags that name its dissector, so that tshark decodes Modbus RTU without an option.
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Final, NamedTuple

import numpy as np

from countis.modbus import rtu
from countis.modbus.said import explain
from countis.words.errors import TraceError
from countis.words.quantities import QUANTITIES
from countis.words.settings import SETTINGS

LAST_US: Final = 253_402_300_800_000_000  # the year 10000
_ALLOWED: Final = "2026-11-23T10:24:05.123456Z RTU|TCP >|< 05 03 C5 58 00 02 78 90"
_LINE: Final = re.compile(
    r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6})Z (RTU|TCP) ([<>]) ((?:[\dA-Fa-f]{2} )*[\dA-Fa-f]{2})(?:  .*| *)", re.ASCII
)


_BEGUN: Final = re.compile(rb"[\d-]{,10}\Z|\d{4}-\d\d-\d\dT")  # what a line that was cut off begins with


class Port(Enum):
    """Where a frame was said; on TCP it had no CRC, which is added."""

    RTU = "RTU"
    TCP = "TCP"


class Direction(Enum):
    """Who said it: the master a request, the meter a reply."""

    REQUEST = ">"
    REPLY = "<"


@dataclass(frozen=True, slots=True)
class Said:
    """One frame. time_us: µs since 1970 UTC. frame: at least a byte, and what the line made of it."""

    time_us: int
    port: Port
    direction: Direction
    frame: bytes


class Form(Enum):
    """The two forms, by the ending of a file."""

    TEXT = ".txt"
    PCAPNG = ".pcapng"


def write(form: Form, said: Iterable[Said]) -> bytes:
    """Return frames in a form; a file of pcapng begins with `head`. Replies are explained by the request before them."""
    return b"".join(map(_packet, said)) if form is Form.PCAPNG else "".join(_lines(said)).encode()


def head(form: Form) -> bytes:
    """Return what stands before the frames of a run."""
    return _HEAD if form is Form.PCAPNG else b""


def read(data: bytes) -> list[Said]:
    """Return the frames of either form; TraceError says in which line or at which offset it is damaged."""
    return list(_frames(data) if is_pcapng(data) else _said(data))


def is_pcapng(data: bytes) -> bool:
    """Tell by the first bytes which form it is."""
    return data[:4] == _SECTION.to_bytes(4, "little")


def whole(data: bytes) -> int:
    """Return how many bytes at the beginning end with a whole frame; a kill may have cut the last one off."""
    if not is_pcapng(data):
        end = data.rfind(b"\n") + 1
        return end if _BEGUN.match(data, end) else len(data)
    at, order = 0, "<"
    while len(data) - at >= 12:
        order = _order(data, at, order)
        length = struct.unpack_from(f"{order}I", data, at + 4)[0]
        if length < 12 or length > _LONGEST:
            return len(data)  # damaged, which is not for us to cut off
        if at + length > len(data):
            break
        at += length
    return at


# text


def iso(time_us: int) -> str:
    """Return a time as text, UTC with microseconds."""
    return f"{np.datetime64(time_us, 'us')}Z"


def shown(symbol: str, value: float | int | str | None) -> str:
    """Return a value with its unit, for people."""
    if isinstance(value, str):
        return json.dumps(value)  # whatever is in it, it stays on its line
    quantity, setting = QUANTITIES.get(symbol), SETTINGS.get(symbol)
    unit = quantity.unit if quantity is not None else setting.unit if setting is not None else ""
    return "----" if value is None else f"{value} {unit if unit != '1' else ''}".rstrip()


def tell(said: Said, asked: bytes) -> str:
    """Say what a frame says; asked: the PDU that it replies to."""
    if not rtu.is_whole(said.frame):
        return "no whole frame, or a wrong CRC"
    pdu, asks = said.frame[1:-2], said.direction is Direction.REQUEST
    told = explain.request(pdu) if asks else explain.reply(asked, pdu)
    values = ", ".join(s if asks and v is None else f"{s} {shown(s, v)}" for s, v in told.values)
    return told.text + (f": {values}" if values else "")


def _lines(said: Iterable[Said]) -> Iterator[str]:
    asked = b""
    for one in said:
        if one.direction is Direction.REQUEST:
            asked = one.frame[1:-2]
        signs = f"{iso(one.time_us)} {one.port.value} {one.direction.value} {one.frame.hex(' ').upper()}"
        yield f"{signs}  {tell(one, asked)}\n"


def _said(data: bytes) -> Iterator[Said]:
    """Yield the frames of a text; empty lines and those that begin with # are none."""
    for number, raw in enumerate(data.split(b"\n"), 1):
        line = raw.decode("utf-8", "replace").rstrip("\r")
        if not line.strip() or line.startswith("#"):
            continue
        found = _LINE.fullmatch(line)
        try:
            if found is None:
                raise ValueError
            time_us = int(np.datetime64(found[1], "us").astype(np.int64))
        except ValueError:
            raise TraceError(f"line {number}", f"{line[:60]!r} is no frame", str(_ALLOWED)) from None
        if time_us < 0:
            raise TraceError(f"line {number}", str(found[1]), "from 1970 on")
        yield Said(time_us, Port(found[2]), Direction(found[3]), bytes.fromhex(found[4]))


# pcapng: blocks and options of the specification, then the tags of link type 252

_SECTION: Final = 0x0A0D0D0A
_INTERFACE, _PACKET = 1, 6
_MAGIC: Final = 0x1A2B3C4D
_LONGEST: Final = 1 << 24
_NAME, _RESOLUTION, _FLAGS = 2, 9, 2  # options: if_name, if_tsresol, epb_flags
_WAY: Final = {Direction.REQUEST: 1, Direction.REPLY: 2}  # inbound and outbound, as the meter sees it
UPPER_PDU: Final = 252
_DISSECTOR, _FROM, _TO, _KIND, _FROM_PORT, _TO_PORT = 12, 20, 21, 24, 25, 26  # tags; addresses and ports part who is who
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
_HEAD: Final = _block(_SECTION, struct.pack("<IHHq", _MAGIC, 1, 0, -1)) + b"".join(
    _block(_INTERFACE, struct.pack("<HHI", UPPER_PDU, 0, 0) + _option(_NAME, port.value.encode()) + _END) for port in Port
)
_NUMBER: Final = {port: number for number, port in enumerate(Port)}


def _packet(said: Said) -> bytes:
    """Return the block of a frame; the meter of unit 5 is 0.0.0.5 port 502, the master 0.0.0.0 port 0."""
    meter, master = (bytes((0, 0, 0, said.frame[0])), _MODBUS), (bytes(4), 0)
    source, to = (master, meter) if said.direction is Direction.REQUEST else (meter, master)
    tags = _tag(_DISSECTOR, _DISSECTS) + _tag(_FROM, source[0]) + _tag(_TO, to[0]) + _tag(_KIND, _TCP.to_bytes(4, "big"))
    tags += _tag(_FROM_PORT, source[1].to_bytes(4, "big")) + _tag(_TO_PORT, to[1].to_bytes(4, "big")) + _tag(0, b"")
    data = tags + said.frame
    high, low = divmod(said.time_us, 1 << 32)
    fixed = struct.pack("<IIIII", _NUMBER[said.port], high, low, len(data), len(data))
    return _block(_PACKET, fixed + _padded(data) + _option(_FLAGS, struct.pack("<I", _WAY[said.direction])) + _END)


class _Interface(NamedTuple):
    link: int
    port: Port | None
    per_second: int  # counts of its clock


def _order(data: bytes, at: int, before: str) -> str:
    """Return the byte order of the block at an offset: each section says its own."""
    if struct.unpack_from("<I", data, at)[0] != _SECTION:
        return before
    return ">" if struct.unpack_from(">I", data, at + 8)[0] == _MAGIC else "<"


def _blocks(data: bytes) -> Iterator[tuple[int, str, int, bytes]]:
    """Yield the blocks of a file: offset, byte order, kind, body."""
    at, order = 0, "<"
    while at < len(data):
        left = len(data) - at
        order = _order(data, at, order) if left >= 12 else order
        kind, length = struct.unpack_from(f"{order}II", data, at) if left >= 12 else (0, 0)
        if length < 12 or length % 4 or length > left or data[at + 4 : at + 8] != data[at + length - 4 : at + length]:
            raise TraceError(f"offset {at}", "no whole block", "a pcapng file")
        yield at, order, kind, data[at + 8 : at + length - 4]
        at += length


def _options(body: bytes, order: str) -> dict[int, bytes]:
    """Return the options that a block ends with."""
    found, at = {}, 0
    while len(body) - at >= 4:
        code, length = struct.unpack_from(f"{order}HH", body, at)
        if code == 0:
            break
        found[code] = body[at + 4 : at + 4 + length]
        at += 4 + length + -length % 4
    return found


def _frames(data: bytes) -> Iterator[Said]:
    """Yield the frames of a pcapng file; blocks of kinds that are not ours are passed over."""
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


def _frame(body: bytes, order: str, interfaces: list[_Interface]) -> Said:
    """Read one packet; ValueError says what it lacks."""
    number, high, low, kept, length = struct.unpack_from(f"{order}IIIII", body)
    link, port, per_second = interfaces[number] if number < len(interfaces) else _Interface(0, None, 1)
    if link != UPPER_PDU or port is None:
        raise TraceError("", "not of ours", f"link type {UPPER_PDU}, interfaces {' and '.join(p.value for p in Port)}")
    if kept != length or 20 + kept > len(body):
        raise TraceError("", f"{kept} of {length} bytes", "all")
    data = body[20 : 20 + kept]
    flags = int.from_bytes(_options(body[20 + kept + -kept % 4 :], order).get(_FLAGS, b""), "big" if order == ">" else "little")
    way = next((direction for direction, bits in _WAY.items() if bits == flags & 3), None)
    frame = _untagged(data)
    if way is None or not frame:
        raise TraceError("", "no direction, or no bytes", "both")
    time_us = (high << 32 | low) * 1_000_000 // per_second
    if time_us >= LAST_US:
        raise TraceError("", "a time beyond the year 9999", "before")
    return Said(time_us, port, way, frame)


def _untagged(data: bytes) -> bytes:
    """Return the frame behind the tags; ValueError where they name another dissector."""
    at, named = 0, b""
    while True:
        code, length = struct.unpack_from(">HH", data, at)
        if code == _DISSECTOR:
            named = data[at + 4 : at + 4 + length].rstrip(b"\0")
        at += 4 + length
        if code == 0:
            break
    if named != _DISSECTS:
        raise TraceError("", f"a frame of {named[:40].decode('ascii', 'replace')!r}", f"{_DISSECTS.decode()!r}")
    return data[at:]
