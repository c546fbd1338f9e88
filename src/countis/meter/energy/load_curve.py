"""Demand and load curve: the mean imported active power of each period, in a ring (block 61440 of the table).

Rule: a period ends when the clock enters another one. Its record is complete only if it was counted from
its first second to its last, without a cut of the power, a clock set by more than a second or a new length.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from countis.meter.energy.increment import Ints
from countis.meter.energy.registers import Layout
from countis.words.clock import SECOND

CAPACITY: Final = 4608  # 48 days of quarter hours
_SHORT: Final = SECOND // 2  # windows reach over the ends of a period by less than this


@dataclass(frozen=True, slots=True)
class Record:
    """One record: end of its period (s since 2000-01-01), length in s, whether incomplete, mean P+ in mW.

    The power is secondary: the record is without the CT ratio.
    """

    time: int
    period: int
    incomplete: bool
    mean_mw: int


@dataclass(frozen=True, slots=True)
class RecordWritten:
    """A record of the load curve was closed; `number` counts from 0."""

    number: int
    record: Record


def clock_ns(row: Ints) -> int:
    """Return the clock of one meter in nanoseconds since 2000-01-01."""
    return int(row[Layout.time]) + int(row[Layout.clock_zero])


def add(row: Ints, energy: int, ns: int, period: int, ct: tuple[int, int]) -> list[Record]:
    """Count a window's Σ Ea+ (µWh) of one meter; return the records of periods that ended.

    The clock of the row stands at the end of the window, which counts to the period in which it ends.
    """
    end = clock_ns(row)
    last, following = (end - 1) // (period * SECOND), end // (period * SECOND)
    records = []
    if last != row[Layout.demand_id]:
        records.append(close(row, period, ct, last))
    row[Layout.demand_energy] += energy
    row[Layout.demand_ns] += ns
    if following != last:  # the window ended on the stroke
        records.append(close(row, period, ct, following))
    return [record for record in records if record is not None]


def close(row: Ints, period: int, ct: tuple[int, int], following: int,
          cut: int | None = None) -> Record | None:
    """End the running period and start number `following`; None if nothing was counted in it.

    cut: the clock in s at which a new clock or length cut it short; its record is incomplete and ends there.
    """
    number, counted = int(row[Layout.demand_id]), int(row[Layout.demand_ns])
    record = None
    if counted > 0:
        broken = cut is not None or following != number + 1 or bool(row[Layout.demand_broken])
        incomplete = broken or abs(counted - period * SECOND) > _SHORT
        seconds = counted / SECOND if incomplete else float(period)
        # 1 µWh is 3.6 mJ.
        mean = round(int(row[Layout.demand_energy]) * 3.6 * ct[1] / (ct[0] * seconds))
        record = Record((number + 1) * period if cut is None else cut, period, incomplete, mean)
        row[Layout.demand_p] = mean
        row[Layout.demand_time] = record.time
        row[Layout.records] += 1
    row[Layout.demand_broken] = 0
    row[Layout.demand_id] = following
    row[Layout.demand_energy] = row[Layout.demand_ns] = 0
    return record


class LoadCurve:
    """The ring of records, and the read pointer of block 61440.

    ring: int64 [CAPACITY, 4] of time, period, incomplete, mean_mw.
    """

    BATCH: Final = 29  # records in one answer

    def __init__(self) -> None:
        self.ring = np.zeros((CAPACITY, 4), np.int64)
        self.pointer = 0  # number of the next record to fetch
        self.fetched: tuple[Record, ...] = ()

    def store(self, number: int, record: Record) -> None:
        """Put record `number`, counted from 0, in its place of the ring."""
        self.ring[number % CAPACITY] = record.time, record.period, record.incomplete, record.mean_mw

    def record(self, number: int) -> Record:
        """Return record `number`."""
        time, period, incomplete, mean = (int(v) for v in self.ring[number % CAPACITY])
        return Record(time, period, bool(incomplete), mean)

    def rewind(self) -> None:
        """Put the read pointer before the oldest record; nothing is fetched."""
        self.pointer, self.fetched = 0, ()

    def fetch(self, written: int) -> None:
        """Take the next records of one period length, oldest first, 29 at most; none when all were read."""
        first = max(self.pointer, written - CAPACITY)
        records: list[Record] = []
        while len(records) < self.BATCH and first + len(records) < written:
            record = self.record(first + len(records))
            if records and record.period != records[0].period:  # the header has one period for all
                break
            records.append(record)
        self.pointer, self.fetched = first + len(records), tuple(records)
