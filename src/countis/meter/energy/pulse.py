"""Pulse output and metrological LED, fed by increments.

Rule: integers only. Pulses × weight and the register Ea+ never drift apart: both count the same increments.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

import numpy as np

from countis.meter.energy.increment import Ints
from countis.meter.energy.registers import Layout
from countis.models import Model
from countis.words.quantities import MICRO

_NONE: Final = np.zeros(0, np.int64)


class Output(Enum):
    """Where pulses come out."""

    PULSE = "pulse"  # terminals 4-5
    LED = "led"


@dataclass(frozen=True, slots=True, eq=False)
class Pulses:
    """A train of pulses of one output."""

    output: Output
    on: Ints  # meter times in ns at which each begins
    ns: int  # how long each lasts

    def __len__(self) -> int:
        return len(self.on)


def _crossings(pending: int, added: Ints, weight: int, start: Ints, ns: Ints) -> Ints:
    """Return the ns at which `pending` and the steady flow of `added` in each window pass each `weight`."""
    if pending + int(added.sum()) < weight:
        return _NONE
    flows = added > 0
    added, start, ns = added[flows], start[flows], ns[flows]
    after = pending + np.cumsum(added)
    count = int(after[-1]) // weight if len(after) > 0 else 0
    steps = np.arange(1, count + 1, dtype=np.int64) * weight
    window = np.searchsorted(after, steps)
    into = np.maximum(steps - (after - added)[window], 0)
    return start[window] + np.floor(into / added[window] * ns[window]).astype(np.int64)


def pulses(row: Ints, imported: Ints, start: Ints, ns: Ints, weight_wh: int, model: Model) -> list[Pulses]:
    """Return the pulses of windows with Σ Ea+ `imported` (primary µWh), late where the last is too near."""
    weight, pending, end = weight_wh * MICRO, int(row[Layout.pulse_pending]), int(row[Layout.pulse_end])
    at = _crossings(pending, imported, weight, start, ns)
    row[Layout.pulse_pending] = pending + int(imported.sum()) - len(at) * weight
    if len(at) == 0:
        return []
    if end != 0:  # there was one before; 0 is the row of a meter that has never pulsed
        at[0] = max(at[0], end + model.pause_ns)
    apart = np.arange(len(at)) * (model.pulse_ns + model.pause_ns)
    on = np.maximum.accumulate(at - apart) + apart
    row[Layout.pulses] += len(on)
    row[Layout.pulse_end] = on[-1] + model.pulse_ns
    return [Pulses(Output.PULSE, on, model.pulse_ns)]


def flashes(row: Ints, energy: Ints, start: Ints, ns: Ints, ct: tuple[int, int],
            model: Model) -> list[Pulses]:
    """Return the LED flashes, 1000 per secondary kWh, of windows with Σ `energy` (primary µWh, both ways)."""
    weight = 1000 * MICRO // model.led_per_kwh * ct[0]  # pending counts primary µWh × CT secondary
    pending, added = int(row[Layout.led_pending]), energy * ct[1]
    on = _crossings(pending, added, weight, start, ns)
    row[Layout.flashes] += len(on)
    row[Layout.led_pending] = pending + int(added.sum()) - len(on) * weight
    return [Pulses(Output.LED, on, model.led_ns)] if len(on) > 0 else []
