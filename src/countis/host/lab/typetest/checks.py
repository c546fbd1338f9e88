"""What is no error at a load: starting, no load, constants, pulses, phases, frequency, disturbances and more.

Rule: each check is a function of the bench's context that yields points and checks; nothing is shared between
them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Final

import numpy as np

from countis.host.lab.typetest import points
from countis.host.lab.typetest.accuracy import Drive, counter_error, describe, kind_of
from countis.host.lab.typetest.outcome import Check, Point, Result
from countis.host.lab.typetest.points import EN, HOUSE, IEC_ACTIVE, IEC_REACTIVE, About, Front, How, Quantity
from countis.host.lab.typetest.signals import ALL, FRONT_ENDS, RATE, Signal, seconds_for, through
from countis.host.lab.typetest.stand import Device, Make, Stand
from countis.meter.energy.pulse import Output
from countis.meter.energy.registers import Layout, counters
from countis.meter.metrology.measurement import F, Metrology
from countis.models import Model
from countis.supply.network import Load, Network, State
from countis.supply.source import Supply
from countis.words.quantities import MICRO
from countis.words.settings import Calibration

_SLOW_RATE: Final = 3200  # samples per second of the tests that take hours
_ALL_F: Final = range(45, 66)


@dataclass(frozen=True, slots=True)
class Context:
    """What every check needs."""

    model: Model
    make: Make
    calibration: Calibration  # of the 24-bit front end
    seed: int
    quick: bool

    def stand(self, states: list[tuple[float, State]], rate: float = RATE, front_end: Front = Front.IDEAL,
              **settings: int) -> Stand:
        """Return a stand with one meter."""
        constants = self.calibration if front_end is Front.BITS_24 else Calibration()
        meter = self.make(self.model, rate, {"ct_primary": 5, "ct_secondary": 5} | settings, constants)
        return Stand(Supply(states, rate=rate, seed=self.seed), [meter])

    def steady(self, signal: Signal, front_end: Front, rate: float = RATE, **settings: int) -> Stand:
        """Return a stand with one meter and a signal that stays."""
        return self.stand([(0.0, signal.state(FRONT_ENDS[front_end]))], rate, front_end, **settings)

    def fed(self, seconds: float, signal: Signal, front_end: Front, **settings: int) -> Device:
        """Return a meter that has had a signal for so many seconds."""
        stand = self.steady(signal, front_end, **settings)
        stand.feed(seconds)
        return stand.devices[0]

    def drive(self, signal: Signal, row: points.Limit, wires: int = 4) -> Drive:
        """Return a short drive behind the ideal front end."""
        return Drive(model=self.model, front_end=Front.IDEAL, signal=signal, seconds=2.4, limits=(row,),
                     seed=self.seed, wires=wires)


def starting(c: Context) -> Iterator[Result]:
    """At the starting current the meter starts and goes on; where there is time, the LED tells in its own."""
    for standard, quantity, current in points.STARTING:
        active = quantity is Quantity.ACTIVE
        signal = Signal(current, 0.0 if active else 90.0)
        period = 3.6e6 / signal.power(quantity) if active else math.inf
        slow = not c.quick and active
        rate = _SLOW_RATE if slow else RATE
        stand = c.steady(signal, Front.BITS_24, rate)
        device = stand.devices[0]
        energies = []
        for _ in range(5):
            stand.feed(6.0)
            energies.append(device.energy(device.meter.state.row, kind_of(quantity, signal)))
        expected = abs(signal.power(quantity)) * 6.0 / 3.6e-3  # µWh
        goes_on = all(0.5 * expected < b - a < 1.5 * expected for a, b in pairwise(energies))
        name = f"{quantity}, {current * 1000:g} mA"
        yield Check(standard, About.STARTING, f"{name}: starts and goes on", goes_on)
        if slow:
            flashes = device.pulses[Output.LED]
            while len(flashes) < 2 and device.samples_fed < 3.1 * period * rate and goes_on:
                stand.feed(60.0)
            waits = [(b - a) / 1e9 for a, b in pairwise([0, *flashes[:2]])]
            on_time = len(waits) == 2 and max(waits) <= 1.5 * period
            name = f"{name}: two flashes, each within 1.5 periods of {period:.0f} s"
            yield Check(standard, About.STARTING, name, on_time)


def no_load(c: Context) -> Iterator[Result]:
    """With open current circuits nothing is counted, whatever the front end makes of it."""
    longest = 60.0 if c.quick else points.NO_LOAD_MINUTES * 60.0
    for share, part in ((1.15, 1.0), (0.8, 60.0), (1.0, 60.0), (1.1, 60.0)):
        seconds = longest / part
        device = c.fed(max(seconds, 5.0), Signal(0.0, volts=share * c.model.un), Front.BITS_24)
        silent = not counters(device.meter.state.row).any() and not any(device.pulses.values())
        name = f"{share:g} Un, {seconds / 60.0:g} min: nothing is counted"
        for standard in (EN, IEC_ACTIVE, IEC_REACTIVE):
            yield Check(standard, About.NO_LOAD, name, silent)


def meter_constant(c: Context) -> Iterator[Result]:
    """As many flashes as the counters say, on every CT."""
    for primary, secondary in ((5, 5), (200, 5), (12000, 1), (7, 5)):
        for export in (False, True):
            signal = Signal(6.0, export=export)
            device = c.fed(30.0, signal, Front.IDEAL, ct_primary=primary, ct_secondary=secondary)
            meter, flashes = device.meter, len(device.pulses[Output.LED])
            flash = primary * 1000 * MICRO // meter.model.led_per_kwh
            counted = (meter.exact("Ea+") + meter.exact("Ea-")) * secondary // flash
            ct = f"CT {primary}/{secondary}, {signal.direction}"
            name = f"{ct}: {flashes} flashes, the counters say {counted}"
            for standard in (EN, IEC_ACTIVE):
                yield Check(standard, About.METER_CONSTANT, name, flashes == counted and flashes > 20)


def pulse_output(c: Context) -> Iterator[Result]:
    """Every weight at 288 V and 6 A: pulses and pauses long enough, not too many, none lost, none doubled."""
    family = c.model.family
    for lowest, weight in family.pulse_weights:
        highest = max(p for p in range(lowest, 12001) if family.pulse_weight(p, 1) == weight)
        device = c.fed(30.0, Signal(6.0, volts=288.0), Front.IDEAL, ct_primary=highest, ct_secondary=1)
        edges, lengths = device.pulses[Output.PULSE], device.lengths[Output.PULSE]
        as_many = len(edges) == device.meter.exact("Ea+") // (weight * MICRO) and len(edges) > 20
        apart = min(b - a for a, b in pairwise(edges)) if len(edges) > 1 else 0
        shortest, longest = min(lengths, default=0), max(lengths, default=0)
        long_enough = shortest >= points.SHORTEST_NS and apart - longest >= points.SHORTEST_NS
        pace = (len(edges) - 1) / ((edges[-1] - edges[0]) / 1e9) if len(edges) > 1 else math.inf
        for name, ok in (
            ("pulses × weight are the register", as_many),
            (f"pulse {shortest / 1e6:g} ms, pause at least 30 ms", long_enough),
            (f"{pace:.2f} a second at 288 V, 6 A, CT {highest}/1", pace < points.MOST_PULSES),
        ):
            yield Check(points.IEC_OUTPUT, About.PULSE_OUTPUT, f"{weight} Wh: {name}", ok)


def repeatability(c: Context) -> Iterator[Result]:
    """The same measured ten times, with other noise each time."""
    for current, factor in ((0.1, "1"), (1.0, "0.5ind")):
        row = points.limits_at(EN, Quantity.ACTIVE, points.BALANCED, factor, current)[0]
        signal, limit = Signal(current, points.ANGLES[factor]), row.pct * points.REPEATABLE
        seconds = max(2.4, seconds_for(signal, row.quantity, FRONT_ENDS[Front.BITS_24], limit / 2.0))
        drive = replace(c.drive(signal, row), front_end=Front.BITS_24, seconds=seconds,
                        calibration=c.calibration)
        seeds = [c.seed + 100 + k for k in range(3 if c.quick else 10)]
        errors = [counter_error(replace(drive, seed=seed), c.make) for seed in seeds]
        name = f"24 bit, balanced, {factor}, {current:g} A: widest of {len(errors)} runs"
        yield Point(EN, About.REPEATABILITY, name, error_pct=max(errors) - min(errors), limit_pct=limit,
                    margin=1.0)


def reactive_over_frequency(c: Context) -> Iterator[Result]:
    """Reactive energy at sin φ 0.5 and 0.25 from 45 to 65 Hz; a fixed delay would err by the frequency."""
    margin = points.MARGINS[Front.IDEAL][About.INFLUENCE]
    for factor in ("sin 0.5", "sin 0.25"):
        row = points.limits_at(IEC_REACTIVE, Quantity.REACTIVE, points.BALANCED, factor, 1.0)[0]
        for f in _ALL_F[:: 5 if c.quick else 1]:
            drive = c.drive(Signal(1.0, points.ANGLES[factor], frequency=float(f)), row)
            yield Point(HOUSE, About.REACTIVE_OVER_FREQUENCY, f"ideal, balanced, {factor}, 1 A, {f} Hz",
                        error_pct=counter_error(drive, c.make), limit_pct=row.pct, margin=margin)


def three_wires(c: Context) -> Iterator[Result]:
    """Two wattmeters, on a model that knows them."""
    if 3 not in c.model.wires:
        return
    margin, active = points.MARGINS[Front.IDEAL][About.ACCURACY], Quantity.ACTIVE
    for standard, quantity, factor in ((EN, active, "1"), (EN, active, "0.5ind"), (EN, active, "0.8cap"),
                                       (IEC_REACTIVE, Quantity.REACTIVE, "sin 0.5")):
        row = points.limits_at(standard, quantity, points.BALANCED, factor, 1.0)[0]
        for current in (0.05, 1.0, 6.0):
            for export in (False, True):
                signal = Signal(current, points.ANGLES[factor], export=export)
                yield Point(HOUSE, About.THREE_WIRES, f"ideal, {factor}, {current:g} A, {signal.direction}",
                            error_pct=counter_error(c.drive(signal, row, wires=3), c.make), limit_pct=row.pct,
                            margin=margin)


def frequency(c: Context) -> Iterator[Result]:
    """The frequency shown with the 24-bit front end, and how far windows scatter about it."""
    seconds = 3 if c.quick else 10
    for f in _ALL_F[:: 4 if c.quick else 1]:
        for fraction in (0.0,) if c.quick else (0.0, 0.37):
            true = min(f + fraction, 65.0)
            signal = Signal(1.0, frequency=true)
            stand = c.steady(signal, Front.BITS_24)
            worst = 0.0
            for _ in range(seconds):
                stand.feed(1.0)
                worst = max(worst, abs(float(stand.devices[0].meter["f"] or math.inf) - true))
            supply = Supply([(0.0, signal.state(FRONT_ENDS[Front.BITS_24]))], seed=c.seed)
            windows = Metrology(c.model, RATE, 4, c.calibration).feed(supply.read(seconds * RATE))
            scatter = float(np.std(windows.live[windows.whole, F])) * 1e6
            yield Point(HOUSE, About.FREQUENCY, f"24 bit, {true:g} Hz; windows scatter by {scatter:.2f} µHz",
                        error_pct=worst / true * 100.0, limit_pct=points.F_ERROR_HZ / true * 100.0,
                        margin=1.0, how=How.FREQUENCY)


def phases(c: Context) -> Iterator[Result]:
    """What is shown of the sequence and of missing phases."""
    cases: list[tuple[str, Signal, int | None, tuple[str, ...]]] = [
        ("123", Signal(1.0), 123, ()),
        ("132", Signal(1.0, reversed=True), 132, ()),
        *((f"L{p + 1} missing", Signal(1.0, missing=(p,)), None, (f"L{p + 1}",)) for p in (1, 2)),
        ("L2 and L3 missing", Signal(1.0, missing=(1, 2)), None, ("L2", "L3")),
    ]
    for name, signal, sequence, missing in cases:
        meter = c.fed(3.0, signal, Front.BITS_24).meter
        ok = meter["sequence"] == sequence and meter.state.missing == missing
        yield Check(HOUSE, About.PHASES, name, ok)
    dead = c.fed(3.0, Signal(1.0, missing=(0,)), Front.IDEAL).meter
    yield Check(HOUSE, About.PHASES, "L1 missing: without supply", not dead.powered)


def disturbances(c: Context) -> Iterator[Result]:
    """The energy of a minute with a disturbance in it, against the closed form, at the last window's edge."""
    for name, states in disturbed().items():
        stand = c.stand(states)
        stand.feed(60.0)
        device = stand.devices[0]
        row = device.meter.state.row
        lost = device.samples_fed / RATE - device.meter.now / 1e9
        active, reactive = through(states, RATE, (int(row[Layout.time]) / 1e9 + lost) * RATE)
        for kind, true, limit in (("Ea+", active, points.P_THROUGH), ("Er+", reactive, points.Q_THROUGH)):
            error = (device.energy(row, kind) / MICRO * 3600.0 / true - 1.0) * 100.0
            of = f"{name}: {kind} of 60 s"
            yield Point(HOUSE, About.DISTURBANCES, of, error_pct=error, limit_pct=limit, margin=1.0)


def disturbed() -> dict[str, list[tuple[float, State]]]:
    """Return what may happen to 230 V with 5 A at power factor 0.8, by name, as states in time."""
    normal = State(Network(), (Load(5.0, angle=points.ANGLES["0.8cap"] * -1.0),))
    begin = 20.0037  # s, within a cycle

    def network(**changes: Any) -> State:
        return replace(normal, network=replace(normal.network, **changes))

    out = {"dip to 70 % for 3.5 cycles": [(begin, network(volts=(0.7 * 230.0,) * 3)), (begin + 0.07, normal)]}
    for seconds in (0.02, 0.1, 0.4):
        for which, volts in (("L2 and L3", (230.0, 0.0, 0.0)), ("all phases", (0.0, 0.0, 0.0))):
            name = f"{which} interrupted for {seconds * 1000:g} ms"
            out[name] = [(begin, network(volts=volts)), (begin + seconds, normal)]
    ramp = [(begin + 0.02 * k, network(frequency=50.0 + 0.02 * k)) for k in range(101)]
    out["frequency ramp of 1 Hz/s from 50 to 52 Hz"] = ramp
    out["phase jump of 60°"] = [(begin, network(angles=(60.0, -60.0, 180.0)))]
    smaller = replace(normal, loads=(replace(normal.loads[0], current=1.0),))
    out["load step within a cycle"] = [(begin, smaller)]
    return {name: [(0.0, normal), *states] for name, states in out.items()}


def single_against_balanced(c: Context) -> Iterator[Result]:
    """A load on one phase errs like a balanced one, at In."""
    margin = points.MARGINS[Front.IDEAL][About.ACCURACY]
    for standard, quantity, factor, limit in points.SINGLE_AGAINST_BALANCED:
        angle, kind = points.ANGLES[factor], (standard, quantity)
        balanced = c.drive(Signal(1.0, angle), points.limits_at(*kind, points.BALANCED, factor, 1.0)[0])
        single = points.limits_at(*kind, points.SINGLE, factor, 1.0)[0]
        of_balanced = counter_error(balanced, c.make)
        for phase in ALL:
            drive = c.drive(Signal(1.0, angle, (phase,)), single)
            name = f"{describe(drive, drive.signal, single, drive.ratios[0])}, against balanced"
            error = counter_error(drive, c.make) - of_balanced
            yield Point(standard, About.ACCURACY, name, error_pct=error, limit_pct=limit, margin=margin)


CHECKS: Final[dict[str, tuple[Callable[[Context], Iterator[Result]], float]]] = {  # and about how long, in s
    "no load": (no_load, 20000.0), "starting": (starting, 12000.0), "repeatability": (repeatability, 900.0),
    "disturbances": (disturbances, 600.0), "frequency": (frequency, 800.0),
    "pulse output": (pulse_output, 200.0), "meter constant": (meter_constant, 250.0),
    "reactive over frequency": (reactive_over_frequency, 150.0), "three wires": (three_wires, 90.0),
    "phases": (phases, 20.0), "single-phase": (single_against_balanced, 30.0),
}
