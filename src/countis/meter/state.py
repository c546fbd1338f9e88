"""All that a meter is, read by symbol; what it has to write; nothing that takes time.

Rule: whoever looks at a meter reads it here. Only apply.py changes it by commands, and only meter.py lets its
time pass; this file knows neither of them, nor panel, slave and store, which are given a State.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from countis.meter.energy import load_curve, registers
from countis.meter.energy.increment import Floats, Ints
from countis.meter.energy.load_curve import LoadCurve, Record, RecordWritten
from countis.meter.energy.registers import RUNNING_COLUMN, Layout
from countis.meter.memory import event_log
from countis.meter.memory.event_log import Entry, EventLog
from countis.meter.memory.image import MemoryPage
from countis.meter.metrology.measurement import CT_COLUMNS, missing_phases
from countis.models import Firmware, Model
from countis.words.clock import SECOND
from countis.words.commands import EventKind, Origin
from countis.words.errors import UnknownSymbol
from countis.words.quantities import COUNTED_COLUMN, LIVE, LIVE_COLUMN, QUANTITIES, ROLL_OVER, QuantityKind
from countis.words.settings import FACTORY, SETTINGS, Calibration, Value


@dataclass(slots=True)
class Journal:
    """Records and log entries that no memory has yet, each with its number; the oldest give way."""

    records: deque[tuple[int, Record]] = field(default_factory=lambda: deque(maxlen=load_curve.CAPACITY))
    entries: deque[tuple[int, Entry]] = field(default_factory=lambda: deque(maxlen=event_log.CAPACITY))


class Readable:
    """What is read by symbol: of a State, or of a Snapshot of it."""

    __slots__ = ()
    live: Floats
    row: Ints
    settings: Mapping[str, Value]
    lost: frozenset[MemoryPage]

    def __getitem__(self, symbol: str) -> float | int | str | None:
        """Return a quantity in SI units, or a setting; None = not available."""
        if symbol in LIVE_COLUMN:
            value = float(self.live[LIVE_COLUMN[symbol]])
            return None if math.isnan(value) else value
        if symbol in SETTINGS:
            return self.settings[symbol] if MemoryPage.SETTINGS not in self.lost else None
        quantity = QUANTITIES.get(symbol)
        if quantity is None:
            raise UnknownSymbol(symbol, [*QUANTITIES, *SETTINGS])
        exact = self.exact(symbol)
        if MemoryPage.HOT in self.lost or (quantity.kind is QuantityKind.DEMAND and exact < 0):
            return None
        if symbol == "demand.P":  # the row has it without the CT ratio, as the bus does
            ratio = int(self.settings["ct_primary"]) / int(self.settings["ct_secondary"])
            return exact * ratio / quantity.per_si
        return exact if quantity.per_si == 1 else exact / quantity.per_si

    def exact(self, symbol: str) -> int:
        """Return a counted quantity as an integer: µWh, µvarh, µVAh, hours in ns, demand in secondary mW."""
        if symbol in COUNTED_COLUMN:
            return int(self.row[COUNTED_COLUMN[symbol]])
        if symbol not in QUANTITIES or not QUANTITIES[symbol].rolls_of:
            raise UnknownSymbol(symbol, COUNTED_COLUMN)
        return int(self.row[COUNTED_COLUMN[QUANTITIES[symbol].rolls_of]]) // ROLL_OVER % 256


class State(Readable):
    """What one meter is at a moment.

    row: what is counted, int64 by registers.Layout. live: the values of the last second, float64 by
    LIVE_COLUMN, primary SI, NaN = not available. lost: pages of its memory that were damaged. changes,
    setting_changes: how often anything moved; slave and store encode only what is new since their copy.
    It is read and changed under one lock, that of the meter's owner; other threads get a Snapshot.
    """

    def __init__(self, model: Model, firmware: Firmware, settings: Mapping[str, Value],
                 seconds: int = 0) -> None:
        """Take settings as they are; seconds: since 2000-01-01, what the clock shows."""
        self.model, self.firmware = model, firmware
        self.settings: dict[str, Value] = {**FACTORY, **settings}
        self.calibration = Calibration()
        self.row = registers.new_row()
        self.row[Layout.clock_zero] = seconds * SECOND
        self.row[Layout.demand_id] = seconds // self.period
        self.live = np.full(len(LIVE), np.nan)
        self.window: Floats = self.live  # live values of the newest window, secondary
        self.curve, self.log, self.journal = LoadCurve(), EventLog(), Journal()
        self.lost: frozenset[MemoryPage] = frozenset()
        self.changes = self.setting_changes = 0
        self.now = 0  # meter time in ns, which Meter alone moves
        self.pace = 1.0  # meter time to line time, where samples are played faster
        self.powered, self.starts = True, 0  # and how often its power went or came
        self.frames, self._frame_at = 0, -SECOND  # requests to its address, and when the last one came
        self.diagnostics = False  # whether functions 8 and 43/14 are answered, which the device does not have

    # what can be seen

    @property
    def ct(self) -> tuple[int, int]:
        """CT primary and secondary in A."""
        return int(self.settings["ct_primary"]), int(self.settings["ct_secondary"])

    @property
    def ratio(self) -> float:
        """CT primary over secondary."""
        primary, secondary = self.ct
        return primary / secondary

    @property
    def wires(self) -> int:
        """Wires of the network, 4 or 3."""
        return int(self.settings["wires"])

    @property
    def clock(self) -> int:
        """Seconds since 2000-01-01 00:00."""
        return (self.now + int(self.row[Layout.clock_zero])) // SECOND

    @property
    def period(self) -> int:
        """Length of the demand period in s."""
        return int(self.settings["demand_period"])

    @property
    def missing(self) -> tuple[str, ...]:
        """Phases without voltage, of L1 L2 L3 (decision 17); none before there is a measurement."""
        return missing_phases(self.window, self.model, self.wires)

    @property
    def malfunction(self) -> bool:
        """Whether metrological files are not those recorded (decision 28) or a page is lost (decision 80)."""
        return self.firmware.malfunction or bool(self.lost)

    @property
    def pulses(self) -> int:
        """How many pulses the output has given."""
        return int(self.row[Layout.pulses])

    @property
    def ages(self) -> tuple[float, float]:
        """How long ago the last frame and the last pulse were, in ns of line time."""
        pulse = int(self.row[Layout.pulse_end]) if self.pulses > 0 else self.now - SECOND
        return (self.now - self._frame_at) / self.pace, (self.now - pulse) / self.pace

    def runs(self, partial: str) -> bool:
        """Tell whether a partial counts; UnknownSymbol where there is none of that name."""
        return bool(self.row[partial_column(partial)])

    @property
    def events(self) -> int:
        """How many entries the log has ever had."""
        return int(self.row[Layout.events])

    # what its stations put into it

    def saw_frame(self) -> None:
        """Count a frame of its own on the bus, and remember when it was."""
        self.frames, self._frame_at = self.frames + 1, self.now

    def set_setting(self, symbol: str, value: Value) -> None:
        """Put a value in force; what follows from it is for who commands it."""
        self.settings[symbol] = value
        self.setting_changes += 1

    def scale_currents(self, factor: float) -> None:
        """Bring live currents and powers to another CT ratio, until the next second brings its own."""
        self.live[CT_COLUMNS] *= factor

    def keep(self, records: Sequence[Record]) -> list[RecordWritten]:
        """Store records of the load curve that the row has just counted, here and for the memory."""
        first = int(self.row[Layout.records]) - len(records)
        written = [RecordWritten(number, record) for number, record in enumerate(records, first)]
        for event in written:
            self.curve.store(event.number, event.record)
            self.journal.records.append((event.number, event.record))
        return written

    def note(self, kind: EventKind, subject: str, old: str = "", new: str = "",
             origin: Origin = Origin.METER) -> None:
        """Put an entry into the event log, here and for the memory; texts are cut to 16 characters."""
        if self.lost:
            return
        number, time = self.events, load_curve.clock_ns(self.row) // SECOND
        entry = Entry(time, kind, origin, *(text[: event_log.TEXT] for text in (subject, old, new)))
        self.log.store(number, entry)
        self.row[Layout.events] += 1
        self.journal.entries.append((number, entry))


def partial_column(symbol: str) -> int:
    """Return where the row keeps whether a partial counts; UnknownSymbol if there is none of that name."""
    if symbol not in RUNNING_COLUMN:
        raise UnknownSymbol(symbol, RUNNING_COLUMN)
    return RUNNING_COLUMN[symbol]


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot(Readable):
    """What a meter was when a second had passed: a copy, read by symbol as a State is, from any thread."""

    model: Model
    live: Floats
    row: Ints
    settings: Mapping[str, Value]
    lost: frozenset[MemoryPage]
    powered: bool
    missing: tuple[str, ...]
    clock: int


def snapshot(state: State) -> Snapshot:
    """Return a copy of what can be seen of a meter now; its owner's lock is held meanwhile."""
    return Snapshot(state.model, state.live.copy(), state.row.copy(), dict(state.settings), state.lost,
                    state.powered, state.missing, state.clock)
