"""Measurements into the integer row: every window of a meter with power is counted here, and nowhere else.

Rule: windows may come one by one or a year at once and leave the same row. They are added up by demand
period; days, weeks and months change on its strokes too, since all its lengths divide the day.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from countis.meter.energy import load_curve, periods, pulse, registers
from countis.meter.energy.increment import Floats, Ints, gated, increments
from countis.meter.energy.load_curve import Record
from countis.meter.energy.pulse import Pulses
from countis.meter.energy.registers import Layout
from countis.meter.metrology.measurement import P_PHASES, Q_PHASES, S_PHASES, Measurement, P, Q, S
from countis.models import Model
from countis.words.clock import SECOND
from countis.words.quantities import SUM

_TOTALS: Final = (P, Q, S)
_PHASES: Final = (P_PHASES, Q_PHASES, S_PHASES)


def count(row: Ints, m: Measurement, model: Model, ct: tuple[int, int], period: int,
          wires: int) -> tuple[list[Record], list[Pulses]]:
    """Count the windows of `m` into the row of one meter; return the records that closed and the pulses.

    ct: primary and secondary in A. period: of the demand, in s. wires: 4, or 3.
    """
    p, q, s = _of_two_wattmeters(m.live) if wires == 3 else (m.live[:, phases] for phases in _PHASES)
    remainders = row[Layout.remainders].reshape(-1, 3)
    d, remainders[...] = increments(*gated(p, q, s, model.start_va), m.ns, ct[0] / ct[1], remainders)
    if wires == 3:
        d[..., :SUM] = 0
    end = int(row[Layout.time]) + np.cumsum(m.ns)
    records = []
    for part in _by_period(end + int(row[Layout.clock_zero]), period):
        added, ns = d[part].sum(axis=0), int(m.ns[part].sum())
        row[Layout.time] = end[part.stop - 1]
        periods.roll_over(row, lag_ns=1)
        registers.add(row, added, ns)
        periods.roll_over(row)
        records += load_curve.add(row, int(added[0, SUM]), ns, period, ct)
    imported, start = d[:, 0, SUM], end - m.ns
    trains = pulse.pulses(row, imported, start, m.ns, model.family.pulse_weight(*ct), model)
    return records, trains + pulse.flashes(row, imported + d[:, 1, SUM], start, m.ns, ct, model)


def _of_two_wattmeters(live: Floats) -> tuple[Floats, ...]:
    """Two wattmeters know no phases: the total stands for the first (decision 27)."""
    nothing = np.zeros(len(live))
    return tuple(np.stack((live[:, total], nothing, nothing), axis=-1) for total in _TOTALS)


def _by_period(clock: Ints, period: int) -> Iterator[slice]:
    """Part windows that end at `clock` (ns) by the demand period they count to."""
    number = (clock - 1) // (period * SECOND)
    cuts = (np.flatnonzero(number[1:] != number[:-1]) + 1).tolist()
    for first, last in zip([0, *cuts], [*cuts, len(clock)], strict=True):
        yield slice(first, last)
