"""Pulse output and metrological LED, fed by increments.

Rule: integers only. Pulses × weight and the register Ea+ never drift apart, because both count the same increments.
"""

from __future__ import annotations

from dataclasses import dataclass

from countis.energy.increment import Ints
from countis.energy.registers import Layout
from countis.models import Model
from countis.quantities import MICRO


@dataclass(frozen=True, slots=True)
class Pulse:
    """One pulse with the meter times of its edges in ns; output is "pulse" (terminals 4-5) or "led"."""

    output: str
    on: int
    off: int


def _crossings(pending: int, added: int, weight: int, start: int, ns: int) -> list[int]:
    """Return the times at which `pending` + a steady flow of `added` over the window passes multiples of `weight`."""
    count = (pending + added) // weight
    return [start + max(k * weight - pending, 0) * ns // added for k in range(1, count + 1)]


def pulses(row: Ints, imported: int, start: int, ns: int, weight_wh: int, model: Model) -> list[Pulse]:
    """Return the output pulses of a window with Σ Ea+ `imported` (primary µWh), delayed where the last one is too near."""
    weight, pending = weight_wh * MICRO, int(row[Layout.pulse_pending])
    made = []
    if imported and pending + imported >= weight:
        end = int(row[Layout.pulse_end])  # 0: none yet
        for at in _crossings(pending, imported, weight, start, ns):
            on = max(at, end + model.pause_ns) if end else at
            end = on + model.pulse_ns
            made.append(Pulse("pulse", on, end))
        row[Layout.pulses] += len(made)
        row[Layout.pulse_end] = end
    row[Layout.pulse_pending] = pending + imported - len(made) * weight
    return made


def flashes(row: Ints, energy: int, start: int, ns: int, ct: tuple[int, int], model: Model) -> list[Pulse]:
    """Return the LED flashes of a window with Σ energy `energy` (primary µWh, either direction): 1000 per secondary kWh."""
    weight = 1000 * MICRO // model.led_per_kwh * ct[0]  # pending counts primary µWh × CT secondary
    pending, added = int(row[Layout.led_pending]), energy * ct[1]
    made = [] if pending + added < weight or not added else _crossings(pending, added, weight, start, ns)
    row[Layout.flashes] += len(made)
    row[Layout.led_pending] = pending + added - len(made) * weight
    return [Pulse("led", at, at + model.led_ns) for at in made]
