"""The memory of one meter: what is to be written, and what was read.

Rule: this joins image.py to a State as the slave joins the bus. A meter of which a page was lost writes
nothing: its memory stays as it is for inspection (decision 80).
"""

from __future__ import annotations

from countis.meter.energy.registers import Layout
from countis.meter.memory import image
from countis.meter.memory.image import Contents, MemoryPage, Write
from countis.meter.state import State


class Store:
    """What one meter keeps through a power cut.

    Its owner calls it under the lock of the meter and writes outside: `writes` gives bytes of one moment.
    """

    def __init__(self, state: State) -> None:
        self._state = state
        self.version = image.VERSION  # of the layout it was read from
        self._sequences = {MemoryPage.HOT: 0, MemoryPage.SETTINGS: 0}
        self._saved_settings = -1  # setting_changes of the state when the settings page was last given out

    def writes(self) -> list[Write]:
        """Return what must be written since the last call, in order: records, entries, settings, hot page."""
        state, journal = self._state, self._state.journal
        if state.lost:
            return []
        out = [image.record_write(number, record) for number, record in journal.records]
        out += [image.entry_write(number, entry) for number, entry in journal.entries]
        journal.records.clear()
        journal.entries.clear()
        # That of the round before: a cut may let this round's hot page land without its settings page.
        state.row[Layout.settings_page] = self._sequences[MemoryPage.SETTINGS]
        if self._saved_settings != state.setting_changes:
            self._sequences[MemoryPage.SETTINGS] += 1
            self._saved_settings = state.setting_changes
            sequence = self._sequences[MemoryPage.SETTINGS]
            out.append(image.settings_write(sequence, state.model, state.settings, state.calibration))
        self._sequences[MemoryPage.HOT] += 1
        out.append(image.hot_write(self._sequences[MemoryPage.HOT], state.row))
        return out

    def image(self) -> bytes:
        """Return the whole memory."""
        state = self._state
        sequences = {page: max(1, number) for page, number in self._sequences.items()}
        return image.image(Contents(state.model, state.settings, state.calibration, state.row, state.curve,
                                    state.log, sequences))

    def restore(self, contents: Contents) -> None:
        """Take over everything that a memory holds."""
        state = self._state
        state.lost, self.version = contents.lost, contents.version
        state.settings, state.calibration, state.row = contents.settings, contents.calibration, contents.row
        state.curve, state.log = contents.curve, contents.log
        self._sequences, self._saved_settings = contents.sequences, state.setting_changes
        state.row[Layout.demand_broken] = 1
