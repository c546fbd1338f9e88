"""The stand: one signal on one or more meters, energy read in every way a laboratory would.

Rule: the stand keeps its own time, by the samples it has given; a meter that loses some is found out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from countis.meter.energy.increment import FRACTION, NS_W_PER_UWH, PARTS, PARTS_OF_KIND, Ints
from countis.meter.energy.pulse import Output, Pulses
from countis.meter.energy.registers import Layout, counters
from countis.meter.meter import Meter
from countis.modbus import pdu, words
from countis.modbus.table import SIZE, Row
from countis.models import E44, Model
from countis.supply.source import Supply
from countis.words.commands import SetCalibration
from countis.words.quantities import KINDS, MICRO, SUM
from countis.words.settings import Calibration

_LAST_BLOCK: Final = 25984  # Σ of the energies with residual
_FEWEST_PULSES: Final = 2
_SHORTEST_NS: Final = 2_000_000_000  # ten windows
_EDGE_STEP: Final = 4.0  # µWh of the primary by which an edge may be off: what three phases hold back, and its own
_EDGE_SHARE: Final = 2e-5  # of the limit, that two edges may be off together where energy is taken from them
_REGISTER_STEP: Final = 0.1 * MICRO  # µWh
_REGISTER_SHARE: Final = 1 / 200  # of the limit, that a step of a register may be

Make = Callable[[Model, float, dict[str, Any], Calibration], Meter]


def new_meter(model: Model, rate: float, settings: dict[str, Any], calibration: Calibration) -> Meter:
    """Return a meter as it is delivered, with the constants of its front end."""
    meter = Meter(model, rate=rate, **settings)
    meter.apply([SetCalibration(calibration)])
    return meter


@dataclass(frozen=True, slots=True)
class Mark:
    """A moment of one meter: the stand's time in ns, the meter's, its row, and the visible register of one kind."""

    stand: int
    meter: int
    row: Ints
    register: int


class Device:
    """One meter on the stand, what it has pulsed, and what it has shown."""

    def __init__(self, meter: Meter) -> None:
        self.meter = meter
        self.pulses: dict[Output, list[int]] = {output: [] for output in Output}
        self.lengths: dict[Output, set[int]] = {output: set() for output in Output}
        self.given = 0

    def feed(self, samples: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> None:
        """Give it samples."""
        for event in self.meter.feed(samples):
            if isinstance(event, Pulses):
                self.pulses[event.output] += event.on.tolist()
                self.lengths[event.output].add(event.ns)
        self.given += len(samples)

    def mark(self, kind: str) -> Mark:
        """Take note of where it stands."""
        return Mark(round(self.given * 1e9 / self.meter.rate), self.meter.now, self.meter.state.row.copy(), self.register(kind))

    def energy(self, row: Ints, kind: str) -> float:
        """Return a counter with what it carries below its unit, in primary µWh."""
        carried = row[Layout.remainders].reshape(len(PARTS), 3)
        parts = [PARTS.index(part) for part in PARTS_OF_KIND[kind]]
        return float(counters(row)[KINDS.index(kind), SUM, 0]) + float(carried[parts].sum()) / FRACTION

    def register(self, kind: str) -> int:
        """Return the visible register of Σ with its residual, in steps of 0.1 Wh, as a master reads it."""
        unit, residual = _register_rows(kind)
        reply = self.meter.pdu(pdu.read_request(unit.address, unit.words + residual.words))
        shown = [int.from_bytes(reply[2 + 2 * k : 4 + 2 * k], "big") for k in range(unit.words + residual.words)]
        values = words.decode(unit, shown[: unit.words]), words.decode(residual, shown[unit.words :])
        return round(sum(float(value or 0.0) for value in values) / float(SIZE[residual.unit]))


def _register_rows(kind: str) -> tuple[Row, Row]:
    unit, residual = [row for row in E44.family.table.rows if row.symbol == kind and _LAST_BLOCK <= row.address < _LAST_BLOCK + 66]
    return unit, residual


class Stand:
    """A supply and the meters behind it."""

    def __init__(self, supply: Supply, meters: Sequence[Meter]) -> None:
        self.supply, self.devices = supply, [Device(meter) for meter in meters]

    def feed(self, seconds: float) -> None:
        """Let time pass, a second at a time."""
        left = round(seconds * self.supply.rate)
        while left > 0:
            block = self.supply.read(min(left, round(self.supply.rate)))
            for device in self.devices:
                device.feed(block)
            left -= len(block)


def errors(device: Device, a: Mark, b: Mark, kind: str, power: float, limit_pct: float) -> list[tuple[str, float]]:
    """Return (how, error in %) of what was counted between two marks, in every way fine enough for a limit; the best first.

    power: the true one, in secondary W or var.
    """
    ratio = device.meter.ratio
    gone = (b.stand - b.meter) - (a.stand - a.meter)  # what the meter's time has lost
    lasted = int(b.row[Layout.time]) - int(a.row[Layout.time])
    before, after = device.energy(a.row, kind), device.energy(b.row, kind)
    true = abs(power) * ratio * (lasted + gone) / NS_W_PER_UWH  # primary µWh
    out = [("counter", (after - before) / true - 1.0)]
    for how, output, weight in (
        ("LED", Output.LED, 1000.0 / device.meter.model.led_per_kwh * ratio * MICRO),
        ("pulse output", Output.PULSE, float(device.meter.model.family.pulse_weight(*device.meter.state.ct) * MICRO)),
    ):
        edges = [at for at in device.pulses[output] if a.row[Layout.time] <= at <= b.row[Layout.time]]
        if not kind.startswith("Ea") or (output is Output.PULSE and kind != "Ea+") or len(edges) < _FEWEST_PULSES:
            continue
        energy, between = (len(edges) - 1) * weight, (edges[-1] - edges[0]) * (1.0 + gone / (b.meter - a.meter))
        if 2.0 * _EDGE_STEP / energy <= _EDGE_SHARE * limit_pct / 100.0 and between >= _SHORTEST_NS:
            error = energy / (abs(power) * ratio * between / NS_W_PER_UWH) - 1.0
            out.insert(0 if how == "LED" else len(out), (how, error))
    if _REGISTER_STEP / true <= _REGISTER_SHARE * limit_pct / 100.0:
        # It shows whole steps, so it is held against what an exact register would show.
        exact = (before + true) // _REGISTER_STEP - before // _REGISTER_STEP
        out.append(("register", (b.register - a.register - exact) * _REGISTER_STEP / true))
    return [(how, error * 100.0) for how, error in out]
