"""State of the meter <-> bytes of its FRAM.

Rule: pure; this file makes and reads bytes, the host carries writes out. A page is written to the older of its two copies,
with a sequence number and a CRC, so that a cut at any byte leaves the other copy whole.

    offset  size         what
    0       2 × 4096     hot page: the integer row of energy/registers.py
    8192    2 × 4096     settings page: JSON of model, settings and calibration
    16384   4608 × 16    ring of load-curve records, each with its CRC
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import IntEnum
from typing import Final
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from countis.energy import load_curve, registers
from countis.energy.increment import Ints
from countis.energy.load_curve import Record
from countis.errors import CountisError, MemoryImageError
from countis.models import MODELS, Model
from countis.settings import FACTORY, Calibration, Value, setting

VERSION: Final = 1  # of the layout; a higher one is refused
PAGE: Final = 4096
_MAGIC: Final = b"CTIS"
_HEAD: Final = struct.Struct("<4sHHQI")  # magic, version, page, sequence, length of the payload
_CRC: Final = struct.Struct("<I")
_RECORD: Final = struct.Struct("<IIHH")  # end, mean mW, period s, incomplete; a CRC follows
_RECORD_SIZE: Final = _RECORD.size + _CRC.size
_LOST: Final = 0xFFFFFFFF  # the mean of a record whose bytes are damaged

Write = tuple[int, bytes]


class Page(IntEnum):
    """The two kinds of page."""

    HOT = 0
    SETTINGS = 1


RING_OFFSET: Final = len(Page) * 2 * PAGE
IMAGE_SIZE: Final = RING_OFFSET + load_curve.CAPACITY * _RECORD_SIZE


@dataclass(slots=True)
class Contents:
    """What a memory holds: model, settings, calibration, integer row, ring of records, and the sequence number of each page."""

    model: Model
    settings: dict[str, Value]
    calibration: Calibration
    row: Ints
    ring: Ints
    sequences: dict[Page, int]


def page_write(page: Page, sequence: int, payload: bytes) -> Write:
    """Return the write that stores `payload` as `sequence` of a page: even numbers in the first copy, odd in the second."""
    head = _HEAD.pack(_MAGIC, VERSION, page, sequence, len(payload))
    body = (head + payload).ljust(PAGE - _CRC.size, b"\0")
    if len(body) + _CRC.size != PAGE:
        raise MemoryImageError(f"page {page.name}: {len(payload)} bytes do not fit")
    return (page * 2 + sequence % 2) * PAGE, body + _CRC.pack(crc32(body))


def hot_write(sequence: int, row: Ints) -> Write:
    """Return the write of the hot page."""
    return page_write(Page.HOT, sequence, row.astype("<i8").tobytes())


def settings_write(sequence: int, model: Model, settings: Mapping[str, Value], calibration: Calibration) -> Write:
    """Return the write of the settings page."""
    content = {"model": model.name, "settings": dict(settings), "calibration": asdict(calibration)}
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return page_write(Page.SETTINGS, sequence, text.encode("ascii"))


def record_write(number: int, record: Record) -> Write:
    """Return the write of load-curve record `number`, counted from 0."""
    mean = min(record.mean_mw, _LOST - 1) if record.mean_mw >= 0 else _LOST
    body = _RECORD.pack(record.time % 2**32, mean, record.period, record.incomplete)
    return RING_OFFSET + number % load_curve.CAPACITY * _RECORD_SIZE, body + _record_crc(number, body)


def _record_crc(number: int, body: bytes) -> bytes:
    """Return the CRC of a record and its number, so that one of another turn of the ring is known for what it is."""
    return _CRC.pack(crc32(number.to_bytes(8, "little") + body))


def image(contents: Contents) -> bytes:
    """Return a whole memory, both copies of each page written."""
    whole = bytearray(IMAGE_SIZE)
    writes: list[Write] = []
    for sequence in (contents.sequences[Page.HOT] - 1, contents.sequences[Page.HOT]):
        writes.append(hot_write(sequence, contents.row))
    for sequence in (contents.sequences[Page.SETTINGS] - 1, contents.sequences[Page.SETTINGS]):
        writes.append(settings_write(sequence, contents.model, contents.settings, contents.calibration))
    written = int(contents.row[registers.Layout.records])
    for number in range(max(0, written - load_curve.CAPACITY), written):
        time, period, incomplete, mean = (int(v) for v in contents.ring[number % load_curve.CAPACITY])
        writes.append(record_write(number, Record(time, period, bool(incomplete), mean)))
    for offset, data in writes:
        whole[offset : offset + len(data)] = data
    return bytes(whole)


def _read_copy(data: bytes, page: Page) -> tuple[int, bytes] | None:
    """Return (sequence, payload) of one copy, None if it is damaged; MemoryImageError if it is whole and of a newer version."""
    magic, version, kind, sequence, length = _HEAD.unpack_from(data)
    if magic != _MAGIC or crc32(data[: -_CRC.size]) != _CRC.unpack(data[-_CRC.size :])[0]:
        return None
    if version > VERSION:
        raise MemoryImageError(f"memory of version {version} (allowed: up to {VERSION})")
    if version != VERSION or kind != page or length > PAGE - _HEAD.size - _CRC.size:
        return None
    return sequence, data[_HEAD.size : _HEAD.size + length]


def _read_page(data: bytes, page: Page) -> tuple[int, bytes]:
    at = page * 2 * PAGE
    copies = [_read_copy(data[o : o + PAGE], page) for o in (at, at + PAGE)]
    good = [copy for copy in copies if copy is not None]
    if not good:
        raise MemoryImageError(f"both copies of the {page.name.lower()} page are damaged")
    return max(good)


def _read_settings(payload: bytes) -> tuple[Model, dict[str, Value], Calibration]:
    try:
        stored = json.loads(payload)
        settings = {**FACTORY, **{symbol: setting(symbol).check(v) for symbol, v in stored["settings"].items()}}
        constants = {name: tuple(map(float, values)) for name, values in stored["calibration"].items()}
        return MODELS[stored["model"]], settings, Calibration(**constants).checked()
    except (ValueError, KeyError, TypeError, AttributeError, CountisError) as error:
        raise MemoryImageError(f"settings page: {error}") from None


def _read_ring(data: bytes, written: int) -> NDArray[np.int64]:
    ring = np.zeros((load_curve.CAPACITY, 4), np.int64)
    for number in range(max(0, written - load_curve.CAPACITY), written):
        place = number % load_curve.CAPACITY
        body = data[place * _RECORD_SIZE : (place + 1) * _RECORD_SIZE]
        time, mean, period, incomplete = _RECORD.unpack_from(body)
        whole = _record_crc(number, body[: _RECORD.size]) == body[_RECORD.size :]
        ring[place] = (time, period, incomplete, mean if mean != _LOST else -1) if whole else (0, 0, 1, -1)
    return ring


def read(data: bytes) -> Contents:
    """Read a whole memory; MemoryImageError where it is foreign, newer or damaged beyond its second copies."""
    if len(data) != IMAGE_SIZE:
        if len(data) >= PAGE:
            _read_copy(data[:PAGE], Page.HOT)  # a newer one may have another size
        raise MemoryImageError(f"not a memory of this meter: {len(data)} bytes (allowed: {IMAGE_SIZE})")
    hot, payload = _read_page(data, Page.HOT)
    settings_sequence, stored = _read_page(data, Page.SETTINGS)
    if len(payload) != registers.SIZE * 8:
        raise MemoryImageError(f"hot page of {len(payload)} bytes (allowed: {registers.SIZE * 8})")
    row = np.frombuffer(payload, "<i8").astype(np.int64)
    model, settings, calibration = _read_settings(stored)
    ring = _read_ring(data[RING_OFFSET:], int(row[registers.Layout.records]))
    return Contents(model, settings, calibration, row, ring, {Page.HOT: hot, Page.SETTINGS: settings_sequence})
