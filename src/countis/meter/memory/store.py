"""The memory of one meter: what is to be written, and what was lost.

Rule: this joins memory.py to a meter as the slave joins the bus. A meter of which a page was lost writes nothing: its memory
stays as it is for inspection (decision 80).
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from countis.meter.energy import load_curve
from countis.meter.energy.load_curve import Record
from countis.meter.energy.registers import Layout
from countis.meter.memory import image as memory
from countis.meter.memory.event_log import CAPACITY, TEXT, Entry, Kind, Whence
from countis.meter.memory.image import Contents, Page, Write

if TYPE_CHECKING:
    from countis.meter.meter import Meter


class Store:
    """What one meter keeps through a power cut."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self.lost: frozenset[Page] = frozenset()
        self.version = memory.VERSION  # of the layout it was read from
        self._sequences = {Page.HOT: 0, Page.SETTINGS: 0}
        self._saved_settings = -1
        self._records: deque[tuple[int, Record]] = deque(maxlen=load_curve.CAPACITY)
        self._entries: deque[tuple[int, Entry]] = deque(maxlen=CAPACITY)

    def keep(self, number: int, record: Record) -> None:
        """Write a record of the load curve in the next round."""
        self._records.append((number, record))

    def note(self, kind: Kind, subject: str, old: str = "", new: str = "", whence: Whence = Whence.METER) -> None:
        """Put an entry into the event log; texts are cut to 16 characters."""
        meter = self._meter
        if self.lost:
            return
        number, time = int(meter.row[Layout.events]), load_curve.clock_ns(meter.row) // load_curve.SECOND
        entry = Entry(time, kind, whence, *(text[:TEXT] for text in (subject, old, new)))
        meter.log.store(number, entry)
        meter.row[Layout.events] += 1
        self._entries.append((number, entry))

    def begin(self) -> None:
        """Forget what was noted: settings a meter is made with are no event."""
        self._meter.row[Layout.events] = 0
        self._entries.clear()

    def writes(self) -> list[Write]:
        """Return what must be written since the last call, in order: records, entries, settings, hot page."""
        meter = self._meter
        if self.lost:
            return []
        out = [memory.record_write(number, record) for number, record in self._records]
        out += [memory.entry_write(number, entry) for number, entry in self._entries]
        self._records.clear()
        self._entries.clear()
        meter.row[Layout.settings_page] = self._sequences[Page.SETTINGS]  # the one of this round may not land with it
        if self._saved_settings != meter.setting_changes:
            self._sequences[Page.SETTINGS] += 1
            self._saved_settings = meter.setting_changes
            sequence = self._sequences[Page.SETTINGS]
            out.append(memory.settings_write(sequence, meter.model, meter.settings, meter.calibration))
        self._sequences[Page.HOT] += 1
        out.append(memory.hot_write(self._sequences[Page.HOT], meter.row))
        return out

    def image(self) -> bytes:
        """Return the whole memory."""
        meter, sequences = self._meter, {page: max(1, number) for page, number in self._sequences.items()}
        entries = dict(meter.log.entries(int(meter.row[Layout.events])))
        return memory.image(Contents(meter.model, meter.settings, meter.calibration, meter.row, meter.curve.ring, entries,
                                     sequences))  # fmt: skip

    def take(self, contents: Contents) -> None:
        """Be the memory that was read."""
        meter = self._meter
        self.lost, self.version = contents.lost, contents.version
        meter.settings, meter.calibration, meter.row = contents.settings, contents.calibration, contents.row
        meter.curve.ring = contents.ring
        for number, entry in contents.entries.items():
            meter.log.store(number, entry)
        self._sequences, self._saved_settings = contents.sequences, meter.setting_changes
        meter.row[Layout.demand_broken] = 1
