"""A trace of a line: frames with their times, as text or pcapng, written and read.

Rule: bytes in, frames out, and back; no file, no clock. Both forms keep whole microseconds, so that either
gives back the same frames. In text each frame is explained by the table of its meter.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Final

import numpy as np

from countis.modbus import rtu
from countis.modbus.said import explain, pcapng
from countis.modbus.said.frames import Direction, Form, LineFrame, Port, iso
from countis.modbus.table import Table
from countis.words.errors import TraceError
from countis.words.symbols import value_text

Tables = Callable[[int], Table]  # from a unit id
_ALLOWED: Final = "2026-11-23T10:24:05.123456Z RTU|TCP >|< 05 03 C5 58 00 02 78 90"
_TIME: Final = r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6})Z"
_BYTES: Final = r"((?:[\dA-Fa-f]{2} )*[\dA-Fa-f]{2})"
_LINE: Final = re.compile(rf"{_TIME} (RTU|TCP) ([<>]) {_BYTES}(?:  .*| *)", re.ASCII)
_LINE_BEGINS: Final = re.compile(rb"[\d-]{,10}\Z|\d{4}-\d\d-\d\dT")  # as a line does that was cut off


def write(form: Form, frames: Iterable[LineFrame], tables: Tables) -> bytes:
    """Return frames in a format, without its head. A reply is explained by the request before it."""
    if form is Form.PCAPNG:
        return b"".join(map(pcapng.packet, frames))
    return "".join(_lines(frames, tables)).encode()


def head(form: Form) -> bytes:
    """Return what stands before the frames of a run."""
    return pcapng.HEAD if form is Form.PCAPNG else b""


def read(data: bytes) -> list[LineFrame]:
    """Return the frames of either format; TraceError with the line or offset where it is damaged."""
    return list(pcapng.frames(data) if pcapng.is_pcapng(data) else _frames(data))


def whole(data: bytes) -> int:
    """Return the length up to the last whole frame; a kill may have cut off the one behind it."""
    if pcapng.is_pcapng(data):
        return pcapng.whole(data)
    end = data.rfind(b"\n") + 1
    return end if _LINE_BEGINS.match(data, end) else len(data)


def explained(frame: LineFrame, request: bytes, table: Table) -> str:
    """Explain a frame in a line; request: the PDU that it replies to."""
    if not rtu.is_whole(frame.frame):
        return "no whole frame, or a wrong CRC"
    pdu, asks = frame.frame[1:-2], frame.direction is Direction.REQUEST
    meaning = explain.request(table, pdu) if asks else explain.reply(table, request, pdu)
    values = ", ".join(s if asks and v is None else f"{s} {value_text(s, v)}" for s, v in meaning.values)
    return meaning.text + (f": {values}" if values else "")


def _lines(frames: Iterable[LineFrame], tables: Tables) -> Iterator[str]:
    request = b""
    for frame in frames:
        if frame.direction is Direction.REQUEST:
            request = frame.frame[1:-2]
        data, text = frame.frame.hex(" ").upper(), explained(frame, request, tables(frame.frame[0]))
        yield f"{iso(frame.time_us)} {frame.port.value} {frame.direction.value} {data}  {text}\n"


def _frames(data: bytes) -> Iterator[LineFrame]:
    """Yield the frames of a text; empty lines and those that begin with # are skipped."""
    for number, raw in enumerate(data.split(b"\n"), 1):
        line = raw.decode("utf-8", "replace").rstrip("\r")
        if not line.strip() or line.startswith("#"):
            continue
        match = _LINE.fullmatch(line)
        try:
            if match is None:
                raise ValueError
            time_us = int(np.datetime64(match[1], "us").astype(np.int64))
        except ValueError:
            raise TraceError(f"line {number}", f"{line[:60]!r} is no frame", _ALLOWED) from None
        if time_us < 0:
            raise TraceError(f"line {number}", match[1], "from 1970 on")
        yield LineFrame(time_us, Port(match[2]), Direction(match[3]), bytes.fromhex(match[4]))
