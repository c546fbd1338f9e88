"""State of the meter <-> bytes of its FRAM.

Rule: pure; this file makes and reads bytes, the host carries writes out. A page is written to the older of
its two copies, with a sequence number and a CRC, so that a cut at any byte leaves the other copy whole.

    offset  size         what
    0       2 × 4096     hot page: the integer row of energy/registers.py
    8192    2 × 4096     settings page: JSON of model, settings and calibration
    16384   4608 × 16    ring of load-curve records, each with its CRC
    90112   512 × 64     ring of the event log, each entry with its CRC; from version 2 on
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from enum import IntEnum
from typing import Any, Final, NamedTuple
from zlib import crc32

import numpy as np

from countis.meter.energy import load_curve, registers
from countis.meter.energy.increment import Ints
from countis.meter.energy.load_curve import LoadCurve, Record
from countis.meter.memory import event_log
from countis.meter.memory.event_log import TEXT, Entry, EventLog
from countis.models import E44, MODELS, Model
from countis.words.commands import EventKind, Origin
from countis.words.errors import MemoryImageError, printable
from countis.words.settings import FACTORY, Calibration, Value, setting

VERSION: Final = 2  # of the layout; a higher one is refused, a lower one is read and written anew
PAGE: Final = 4096
_MAGIC: Final = b"CTIS"
_HEAD: Final = struct.Struct("<4sHHQI")  # magic, version, page, sequence, length of the payload
_CRC: Final = struct.Struct("<I")
_LOST: Final = 0xFFFFFFFF  # the mean of a record whose bytes are damaged

Write = tuple[int, bytes]


class MemoryPage(IntEnum):
    """The two kinds of page."""

    HOT = 0
    SETTINGS = 1


class _Ring(NamedTuple):
    """Where numbered pieces lie: number n at place n modulo `capacity`, its fields followed by their CRC."""

    offset: int
    fields: struct.Struct
    capacity: int

    @property
    def size(self) -> int:
        """Bytes of a piece."""
        return self.fields.size + _CRC.size

    def at(self, number: int) -> int:
        """Return the offset of a piece."""
        return self.offset + number % self.capacity * self.size

    def newest(self, written: int) -> range:
        """Return the numbers that are still in it of `written` ever."""
        return range(max(0, written - self.capacity), written)

    def write(self, number: int, *values: object) -> Write:
        """Return the write of a piece."""
        body = self.fields.pack(*values)
        return self.at(number), body + _record_crc(number, body)

    def read(self, data: bytes, number: int) -> tuple[Any, ...] | None:
        """Return the values of a piece, None where it is damaged or of another number."""
        piece = data[self.at(number) : self.at(number) + self.size]
        body, crc = piece[: self.fields.size], piece[self.fields.size :]
        return self.fields.unpack(body) if _record_crc(number, body) == crc else None


_RECORD: Final = struct.Struct("<IIHH")  # end of the period, mean mW, period s, incomplete
_ENTRY: Final = struct.Struct(f"<IBB2x{TEXT}s{TEXT}s{TEXT}s4x")  # time, kind, origin, subject, old, new
RING_OFFSET: Final = len(MemoryPage) * 2 * PAGE
_RECORDS: Final = _Ring(RING_OFFSET, _RECORD, load_curve.CAPACITY)
LOG_OFFSET: Final = RING_OFFSET + load_curve.CAPACITY * _RECORDS.size
_EVENTS: Final = _Ring(LOG_OFFSET, _ENTRY, event_log.CAPACITY)
IMAGE_SIZE: Final = LOG_OFFSET + event_log.CAPACITY * _EVENTS.size
# Version of the layout -> bytes of a memory, integers of its row: as numbers, since such memories exist.
# A longer row takes a new version; the row of an older one is its beginning.
LAYOUTS: Final = {1: (90112, 264), 2: (122880, 266)}
assert LAYOUTS[VERSION] == (IMAGE_SIZE, registers.SIZE)


@dataclass(slots=True)
class Contents:
    """What a memory holds.

    log: an entry is None where it is damaged. sequences: of the newest copy of each page. lost: pages of
    which both copies are damaged; what they held stands at its factory value. version: of the layout.
    """

    model: Model
    settings: dict[str, Value]
    calibration: Calibration
    row: Ints
    curve: LoadCurve
    log: EventLog
    sequences: dict[MemoryPage, int]
    lost: frozenset[MemoryPage] = field(default=frozenset())
    version: int = VERSION


def page_write(page: MemoryPage, sequence: int, payload: bytes) -> Write:
    """Return the write of `payload` as `sequence` of a page: even in the first copy, odd in the second."""
    head = _HEAD.pack(_MAGIC, VERSION, page, sequence, len(payload))
    body = (head + payload).ljust(PAGE - _CRC.size, b"\0")
    if len(body) + _CRC.size != PAGE:
        raise MemoryImageError(f"page {page.name}", f"{len(payload)} bytes do not fit")
    return (page * 2 + sequence % 2) * PAGE, body + _CRC.pack(crc32(body))


def hot_write(sequence: int, row: Ints) -> Write:
    """Return the write of the hot page."""
    return page_write(MemoryPage.HOT, sequence, row.astype("<i8").tobytes())


def settings_write(sequence: int, model: Model, settings: Mapping[str, Value],
                   calibration: Calibration) -> Write:
    """Return the write of the settings page."""
    content = {"model": model.name, "settings": dict(settings), "calibration": asdict(calibration)}
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return page_write(MemoryPage.SETTINGS, sequence, text.encode("ascii"))


def record_write(number: int, record: Record) -> Write:
    """Return the write of load-curve record `number`, counted from 0."""
    mean = min(record.mean_mw, _LOST - 1) if record.mean_mw >= 0 else _LOST
    return _RECORDS.write(number, record.time % 2**32, mean, record.period, record.incomplete)


def entry_write(number: int, entry: Entry) -> Write:
    """Return the write of entry `number` of the event log, counted from 0."""
    texts = (text.encode("ascii", "replace") for text in (entry.subject, entry.old, entry.new))
    return _EVENTS.write(number, entry.time % 2**32, entry.kind, entry.origin, *texts)


def _record_crc(number: int, body: bytes) -> bytes:
    """Return the CRC of a piece and its number, by which a piece of an earlier lap of the ring is stale."""
    return _CRC.pack(crc32(number.to_bytes(8, "little") + body))


def image(contents: Contents) -> bytes:
    """Return a whole memory, both copies of each page written."""
    hot, stored = contents.sequences[MemoryPage.HOT], contents.sequences[MemoryPage.SETTINGS]
    writes = [hot_write(sequence, contents.row) for sequence in (hot - 1, hot)]
    writes += [settings_write(sequence, contents.model, contents.settings, contents.calibration)
               for sequence in (stored - 1, stored)]
    records = _RECORDS.newest(int(contents.row[registers.Layout.records]))
    writes += [record_write(number, contents.curve.record(number)) for number in records]
    entries = contents.log.entries(int(contents.row[registers.Layout.events]))
    writes += [entry_write(number, entry) for number, entry in entries if entry is not None]
    whole = bytearray(IMAGE_SIZE)
    for offset, data in writes:
        whole[offset : offset + len(data)] = data
    return bytes(whole)


def _read_copy(data: bytes, page: MemoryPage) -> tuple[int, bytes] | None:
    """Return sequence and payload of one copy, None if it is damaged.

    Raises MemoryImageError if it is whole and of a newer version.
    """
    magic, version, kind, sequence, length = _HEAD.unpack_from(data)
    if magic != _MAGIC or crc32(data[: -_CRC.size]) != _CRC.unpack(data[-_CRC.size :])[0]:
        return None
    if version > VERSION:
        raise MemoryImageError("", f"memory of version {version}", f"up to {VERSION}")
    if kind != page or length > PAGE - _HEAD.size - _CRC.size:
        return None
    return sequence, data[_HEAD.size : _HEAD.size + length]


def _copies(data: bytes, page: MemoryPage) -> list[tuple[int, bytes] | None]:
    """Return both copies of a page, None for a damaged one."""
    at = page * 2 * PAGE
    return [_read_copy(data[o : o + PAGE], page) for o in (at, at + PAGE)]


def _read_page(data: bytes, page: MemoryPage) -> tuple[int, bytes] | None:
    """Return the newest copy of a page that is whole, None where both are damaged."""
    return max((copy for copy in _copies(data, page) if copy is not None), default=None)


def _read_settings(payload: bytes) -> tuple[Model, dict[str, Value], Calibration]:
    try:
        stored = json.loads(payload)
        settings = {**FACTORY, **{name: setting(name).check(v) for name, v in stored["settings"].items()}}
        constants = {name: tuple(map(float, values)) for name, values in stored["calibration"].items()}
        return MODELS[stored["model"]], settings, Calibration(**constants).checked()
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError) as error:
        raise MemoryImageError("settings page", printable(str(error)[:200])) from None


def _read_row(payload: bytes, integers: int) -> Ints:
    if len(payload) != integers * 8:
        raise MemoryImageError("", f"hot page of {len(payload)} bytes", str(integers * 8))
    row = registers.new_row()
    row[:integers] = np.frombuffer(payload, "<i8")
    if not registers.possible(row):
        raise MemoryImageError("hot page", "holds what no meter counts", "what this program wrote")
    return row


def _read_curve(data: bytes, written: int) -> LoadCurve:
    curve = LoadCurve()
    for number in _RECORDS.newest(written):
        time, mean, period, incomplete = _RECORDS.read(data, number) or (0, _LOST, 0, 1)
        curve.store(number, Record(time, period, bool(incomplete), mean if mean != _LOST else -1))
    return curve


def _read_log(data: bytes, written: int) -> EventLog:
    log = EventLog()
    for number in _EVENTS.newest(written):
        values = _EVENTS.read(data, number)
        log.store(number, _entry(*values) if values is not None else None)
    return log


def _entry(time: int, kind: int, origin: int, *texts: bytes) -> Entry | None:
    try:
        subject, old, new = (text.rstrip(b"\0").decode("ascii") for text in texts)
        return Entry(time, EventKind(kind), Origin(origin), subject, old, new)
    except ValueError:  # the CRC is right, but no version of this program writes such an entry
        return None


def read(data: bytes, model: Model = E44) -> Contents:
    """Read a whole memory, also of an earlier layout.

    model: what the meter is taken for where the page that tells it is lost. Raises MemoryImageError where the
    memory is foreign, newer, or no page of it is whole.
    """
    version = next((v for v, (size, _) in LAYOUTS.items() if size == len(data)), None)
    if version is None:
        if len(data) >= PAGE:
            _read_copy(data[:PAGE], MemoryPage.HOT)  # a newer one may have another size
        raise MemoryImageError("not a memory of this meter", f"{len(data)} bytes", str(IMAGE_SIZE))
    pages = {page: _read_page(data, page) for page in MemoryPage}
    hot, stored = pages[MemoryPage.HOT], pages[MemoryPage.SETTINGS]
    if hot is None and stored is None:
        raise MemoryImageError("not a memory of this meter", "no page of it is whole")
    row = _read_row(hot[1], LAYOUTS[version][1]) if hot is not None else registers.new_row()
    if stored is not None and stored[0] < row[registers.Layout.settings_page]:
        # The newest copy is damaged, and the one before is not what was in force.
        stored = pages[MemoryPage.SETTINGS] = None
    settings, calibration = dict(FACTORY), Calibration()
    if stored is not None:
        model, settings, calibration = _read_settings(stored[1])
    curve = _read_curve(data, int(row[registers.Layout.records]))
    log = _read_log(data, int(row[registers.Layout.events]))
    sequences = {page: copy[0] if copy is not None else 0 for page, copy in pages.items()}
    lost = frozenset(page for page, copy in pages.items() if copy is None)
    return Contents(model, settings, calibration, row, curve, log, sequences, lost, version)


def stale_fragments(data: bytes) -> Iterator[tuple[str, Write]]:
    """Yield each piece that an interrupted write left: the name of its ring or page, and an erasing write.

    A damaged copy, and records of a life whose hot page did not land: the next life's bytes could make them
    whole again. Nothing where a page is lost.
    """
    contents = read(data)
    if contents.lost:
        return
    for page in MemoryPage:
        for k, copy in enumerate(_copies(data, page)):
            at = (page * 2 + k) * PAGE
            if copy is None and any(data[at : at + PAGE]):
                yield page.name.lower(), (at, bytes(PAGE))
    counts = contents.row[[registers.Layout.records, registers.Layout.events]].tolist()
    for name, ring, written in zip(("records", "events"), (_RECORDS, _EVENTS), counts, strict=True):
        for number in range(written, written + ring.capacity):
            if ring.read(data, number) is not None:
                yield name, (ring.at(number), bytes(ring.size))
