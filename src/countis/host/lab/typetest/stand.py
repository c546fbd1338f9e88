"""The stand: one signal on one or more meters, energy read in every way a laboratory would.

Rule: the stand keeps its own time, by the samples it has given; a meter that loses some is found out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from countis.host.lab.typetest.points import How
from countis.meter.energy.increment import FRACTION, NS_W_PER_UWH, PARTS, PARTS_OF_KIND, Ints
from countis.meter.energy.pulse import Output, Pulses
from countis.meter.energy.registers import Layout, counters
from countis.meter.meter import Meter
from countis.modbus import pdu, words
from countis.modbus.table import SIZE
from countis.models import Model
from countis.supply.network import Samples
from countis.supply.source import Supply
from countis.words.commands import SetCalibration
from countis.words.quantities import KINDS, MICRO, SUM
from countis.words.settings import Calibration

_LAST_BLOCK: Final = range(25984, 25984 + 66)  # Σ of the energies with residual
_FEWEST_PULSES: Final = 2
_SHORTEST_NS: Final = 2_000_000_000  # ten windows
_EDGE_STEP: Final = 4.0  # primary µWh by which an edge may be off: what three phases hold back, and its own
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
    """A moment of one meter."""

    stand_ns: int  # by the samples it was fed
    meter_ns: int  # by its own time
    row: Ints
    register: int  # the visible one of one kind


class Device:
    """One meter on the stand and what it has pulsed: when, and pulses of which lengths, in ns by output."""

    def __init__(self, meter: Meter) -> None:
        self.meter = meter
        self.pulses: dict[Output, list[int]] = {output: [] for output in Output}
        self.lengths: dict[Output, set[int]] = {output: set() for output in Output}
        self.samples_fed = 0

    def feed(self, samples: Samples) -> None:
        """Give it samples."""
        for event in self.meter.feed(samples):
            if isinstance(event, Pulses):
                self.pulses[event.output] += event.on.tolist()
                self.lengths[event.output].add(event.ns)
        self.samples_fed += len(samples)

    def mark(self, kind: str) -> Mark:
        """Take note of where it stands."""
        stand_ns = round(self.samples_fed * 1e9 / self.meter.rate)
        return Mark(stand_ns, self.meter.now, self.meter.state.row.copy(), self.register(kind))

    def energy(self, row: Ints, kind: str) -> float:
        """Return a counter with what it carries below its unit, in primary µWh."""
        carried = row[Layout.remainders].reshape(len(PARTS), 3)
        places = [PARTS.index(part) for part in PARTS_OF_KIND[kind]]
        return float(counters(row)[KINDS.index(kind), SUM, 0]) + float(carried[places].sum()) / FRACTION

    def register(self, kind: str) -> int:
        """Return the visible register of Σ with its residual, in steps of 0.1 Wh, as a master reads it."""
        rows = self.meter.model.family.table.rows
        unit, residual = [row for row in rows if row.symbol == kind and row.address in _LAST_BLOCK]
        count = unit.words + residual.words
        reply = self.meter.pdu(pdu.read_request(unit.address, count))
        registers = [int.from_bytes(reply[2 + 2 * k : 4 + 2 * k], "big") for k in range(count)]
        values = words.decode(unit, registers[: unit.words]), words.decode(residual, registers[unit.words :])
        return round(sum(float(value or 0.0) for value in values) / float(SIZE[residual.unit]))


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


def errors(device: Device, a: Mark, b: Mark, kind: str, power: float, limit_pct: float) -> dict[How, float]:
    """Return the errors in % of what was counted between two marks, by all ways fine enough for a limit.

    The best way is the first. power: the true one, in secondary W or var.
    """
    ratio = device.meter.ratio
    lost = (b.stand_ns - b.meter_ns) - (a.stand_ns - a.meter_ns)  # ns that the meter has not lived through
    lasted = int(b.row[Layout.time]) - int(a.row[Layout.time])
    before, after = device.energy(a.row, kind), device.energy(b.row, kind)
    true = abs(power) * ratio * (lasted + lost) / NS_W_PER_UWH  # primary µWh
    out = [(How.COUNTER, (after - before) / true - 1.0)]
    per_pulse = float(device.meter.model.family.pulse_weight(*device.meter.state.ct) * MICRO)
    for how, output, kinds, weight in (
        (How.LED, Output.LED, ("Ea+", "Ea-"), 1000.0 / device.meter.model.led_per_kwh * ratio * MICRO),
        (How.PULSES, Output.PULSE, ("Ea+",), per_pulse),
    ):
        edges = [ns for ns in device.pulses[output] if a.row[Layout.time] <= ns <= b.row[Layout.time]]
        if kind not in kinds or len(edges) < _FEWEST_PULSES:
            continue
        energy = (len(edges) - 1) * weight
        between = (edges[-1] - edges[0]) * (1.0 + lost / (b.meter_ns - a.meter_ns))
        if 2.0 * _EDGE_STEP / energy <= _EDGE_SHARE * limit_pct / 100.0 and between >= _SHORTEST_NS:
            error = energy / (abs(power) * ratio * between / NS_W_PER_UWH) - 1.0
            out.insert(0 if how is How.LED else len(out), (how, error))
    if _REGISTER_STEP / true <= _REGISTER_SHARE * limit_pct / 100.0:
        # It shows whole steps, so it is held against what an exact register would show.
        exact = (before + true) // _REGISTER_STEP - before // _REGISTER_STEP
        out.append((How.REGISTER, (b.register - a.register - exact) * _REGISTER_STEP / true))
    return {how: error * 100.0 for how, error in out}
