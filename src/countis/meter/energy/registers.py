"""The integer state row of a meter: the visible counters first, then what only the meter itself knows.

Rule: one int64 vector holds all that must survive a power cut but settings and the load curve; the hot page
of the memory is made of it. `Layout` is its only index. Functions work along any leading axis of meters.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from countis.meter.energy.increment import PARTS, Ints
from countis.words.quantities import COUNTED, COUNTED_COLUMN, KINDS, PARTIALS, PERIODS, SCOPES, SUM, TARIFFS


class Layout:
    """Slices and columns of the integer row; quantities.COUNTED_COLUMN has the visible ones by symbol."""

    counters = slice(0, len(KINDS) * len(SCOPES) * len(TARIFFS))
    partials = slice(COUNTED_COLUMN[PARTIALS[0]], COUNTED_COLUMN[PARTIALS[-1]] + 1)
    hours = slice(COUNTED_COLUMN["hours.T1"], COUNTED_COLUMN["hours.T4"] + 1)
    # [period, this or last, Ea+ or Ea-]
    periods = slice(COUNTED_COLUMN["day.Ea+"], COUNTED_COLUMN["month-1.Ea-"] + 1)
    net_ea, net_er = COUNTED_COLUMN["net.Ea"], COUNTED_COLUMN["net.Er"]
    demand_p, demand_time = COUNTED_COLUMN["demand.P"], COUNTED_COLUMN["demand.time"]
    tariff = COUNTED_COLUMN["tariff"]
    # What only the meter itself knows follows; the order is a file format as that of COUNTED is.
    remainders = slice(len(COUNTED), len(COUNTED) + len(PARTS) * 3)
    running = slice(remainders.stop, remainders.stop + len(PARTIALS))  # 1 = the partial counts
    period_ids = slice(running.stop, running.stop + len(PERIODS))  # number of the running day, week and month
    (
        demand_id, demand_energy, demand_ns,  # number of the running period, µWh, ns counted
        demand_broken,  # 1 = the power was off in it
        pulse_pending, pulses, pulse_end,  # µWh not yet pulsed, pulses so far, meter time when the last ended
        led_pending, flashes,  # secondary µWh × CT primary not yet flashed, flashes so far
        time, clock_zero,  # meter time; nanoseconds since 2000-01-01 at meter time 0
        tariff_input,
        records, events,  # load-curve records and entries of the event log ever written
        settings_page,  # sequence number of the settings page that a round before this one wrote
        size,
    ) = range(period_ids.stop, period_ids.stop + 16)


SIZE: Final = Layout.size
_EA_IN, _EA_OUT, _ER_IN, _ER_OUT = (KINDS.index(kind) for kind in ("Ea+", "Ea-", "Er+", "Er-"))
_PARTIAL_KIND: Final = np.array([KINDS.index(symbol.split(".")[1]) for symbol in PARTIALS])
# Partial -> the tariff it counts in; "" for all of them.
PARTIAL_TARIFF: Final = {s: next((t for t in TARIFFS[1:] if s.endswith(f".{t}")), "") for s in PARTIALS}
_PARTIAL_COUNTS: Final = np.array([[t in ("", now) for t in PARTIAL_TARIFF.values()] for now in TARIFFS], int)
_IN_FORCE: Final = np.eye(len(TARIFFS), dtype=np.int64)
_IN_FORCE[:, 0] = 1  # the total always counts
RUNNING_COLUMN: Final[dict[str, int]] = {s: Layout.running.start + k for k, s in enumerate(PARTIALS)}


def new_row(meters: tuple[int, ...] = ()) -> Ints:
    """Return the row of a new meter, or of a fleet [*meters, size]: zero, tariff 1, all partials running."""
    row = np.zeros((*meters, SIZE), np.int64)
    row[..., Layout.tariff] = row[..., Layout.tariff_input] = 1
    row[..., Layout.running] = 1
    row[..., [Layout.demand_p, Layout.demand_time]] = -1  # not available before the first record
    return row


_COUNTS: Final = np.r_[Layout.counters, Layout.hours, Layout.time, Layout.records, Layout.events,
                       Layout.pulses, Layout.flashes]
_MOST: Final = (1 << 63) - (1 << 58)  # µWh: a thousand years at 1 MW
_PENDING: Final = [Layout.pulse_pending, Layout.led_pending, Layout.records, Layout.events]


def possible(row: Ints) -> bool:
    """Tell whether a row can be that of a meter: some of its cells are indices, some count up from 0."""
    chosen = 1 <= row[Layout.tariff] < len(TARIFFS) and 1 <= row[Layout.tariff_input] <= 2
    running = bool(np.isin(row[Layout.running], (0, 1)).all())
    pending = row[_PENDING]
    counts = bool((row[_COUNTS] >= 0).all() and (pending >= 0).all() and (pending < 1 << 40).all())
    return chosen and running and counts and bool((row < _MOST).all() and (row > -_MOST).all())


def counters(row: Ints) -> Ints:
    """Return the counters [..., kind, scope, tariff] as a view of the row, in µWh, µvarh, µVAh."""
    return row[..., Layout.counters].reshape(*row.shape[:-1], len(KINDS), len(SCOPES), len(TARIFFS))


def add(row: Ints, d: Ints, ns: int | Ints) -> None:
    """Add the increments d [..., kind, scope] of a window of `ns` to all that is counted but demand."""
    tariff = row[..., Layout.tariff]
    sums = d[..., SUM]
    counters(row)[...] += d[..., None] * _IN_FORCE[tariff][..., None, None, :]
    row[..., Layout.net_ea] += sums[..., _EA_IN] - sums[..., _EA_OUT]
    row[..., Layout.net_er] += sums[..., _ER_IN] - sums[..., _ER_OUT]
    row[..., Layout.partials] += sums[..., _PARTIAL_KIND] * _PARTIAL_COUNTS[tariff] * row[..., Layout.running]
    row[..., Layout.hours] += _IN_FORCE[tariff][..., 1:] * np.asarray(ns)[..., None]
    periods = row[..., Layout.periods].reshape(*row.shape[:-1], len(PERIODS), 2, 2)
    periods[..., 0, :] += sums[..., None, _EA_IN : _EA_OUT + 1]
