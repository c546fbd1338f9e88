"""What is not an error at a load: starting, no load, constants, pulses, repeatability, phases, frequency, disturbances.

Rule: each check is a function of the bench's context that yields points and checks; nothing is shared between them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final

import numpy as np

from countis.host.lab.typetest.accuracy import Drive, Judged, Point, drive_difference, kind_of, measured
from countis.host.lab.typetest.points import (
    ANGLES,
    EN,
    F_ERROR_HZ,
    HOUSE,
    IEC_ACTIVE,
    IEC_OUTPUT,
    IEC_REACTIVE,
    MARGINS,
    MOST_PULSES,
    NO_LOAD_MINUTES,
    P_THROUGH,
    Q_THROUGH,
    REPEATABLE,
    SHORTEST_NS,
    STARTING,
    clause,
    limit_at,
)
from countis.host.lab.typetest.signals import FRONT_ENDS, RATE, Signal, seconds_for, through
from countis.host.lab.typetest.stand import Make, Stand
from countis.meter.energy.pulse import Output
from countis.meter.energy.registers import Layout, counters
from countis.meter.metrology.measurement import F, Metrology
from countis.models import Model
from countis.supply.network import FrontEnd, Load, Network, State
from countis.supply.source import Supply
from countis.words.quantities import MICRO
from countis.words.settings import Calibration

_SLOW_RATE: Final = 3200  # samples per second of the tests that take hours
_ALL_F: Final = range(45, 66)


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that holds or does not."""

    clause: str
    point: str
    ok: bool


@dataclass(frozen=True, slots=True)
class Context:
    """What every check needs: the model, how to make a meter, constants of the 24-bit front end, and how much time there is."""

    model: Model
    make: Make
    calibration: Calibration
    seed: int
    quick: bool

    def stand(self, states: list[tuple[float, State]], rate: float = RATE, front_end: str = "ideal", **settings: int) -> Stand:
        """Return a stand with one meter."""
        constants = self.calibration if front_end == "24 bit" else Calibration()
        given = {"ct_primary": 5, "ct_secondary": 5} | settings
        return Stand(Supply(states, rate=rate, seed=self.seed), [self.make(self.model, rate, given, constants)])


Found = Iterator[Point | Check]


def starting(c: Context) -> Found:
    """At the starting current the meter starts and goes on; the LED tells, in its own time, where there is time for it."""
    for standard, quantity, current in STARTING:
        signal = Signal(current, 0.0 if quantity == "active" else 90.0)
        period = 3.6e6 / signal.power("active") if quantity == "active" else math.inf
        slow = not c.quick and quantity == "active"
        rate = _SLOW_RATE if slow else RATE
        stand = c.stand([(0.0, signal.state(FRONT_ENDS["24 bit"]))], rate, "24 bit")
        device = stand.devices[0]
        name = clause("starting", standard)
        energies = []
        for _ in range(5):
            stand.feed(6.0)
            energies.append(device.energy(device.meter.state.row, kind_of(quantity, signal)))
        steps = [b - a for a, b in pairwise(energies)]
        expected = abs(signal.power(quantity)) * 6.0 / 3.6e-3  # µWh
        goes_on = all(0.5 * expected < step < 1.5 * expected for step in steps)
        yield Check(name, f"{quantity}, {current * 1000:g} mA: starts and goes on", goes_on)
        if slow:
            flashes = device.pulses[Output.LED]
            while len(flashes) < 2 and device.given < 3.1 * period * rate and goes_on:
                stand.feed(60.0)
            on_time = len(flashes) >= 2 and flashes[0] / 1e9 <= 1.5 * period and (flashes[1] - flashes[0]) / 1e9 <= 1.5 * period
            yield Check(name, f"active, {current * 1000:g} mA: two flashes, each within 1.5 periods of {period:.0f} s", on_time)


def no_load(c: Context) -> Found:
    """With open current circuits nothing is counted, whatever the front end makes of it."""
    longest = 60.0 if c.quick else NO_LOAD_MINUTES * 60.0
    for share, seconds in ((1.15, longest), (0.8, longest / 60.0), (1.0, longest / 60.0), (1.1, longest / 60.0)):
        state = Signal(0.0, volts=share * c.model.un).state(FRONT_ENDS["24 bit"])
        stand = c.stand([(0.0, state)], RATE, "24 bit")
        stand.feed(max(seconds, 5.0))
        device = stand.devices[0]
        silent = not counters(device.meter.state.row).any() and not any(device.pulses.values())
        for standard in (EN, IEC_ACTIVE, IEC_REACTIVE):
            yield Check(clause("no load", standard), f"{share:g} Un, {seconds / 60.0:g} min: nothing is counted", silent)


def meter_constant(c: Context) -> Found:
    """As many flashes as the counters say, on every CT."""
    for primary, secondary in ((5, 5), (200, 5), (12000, 1), (7, 5)):
        for export in (False, True):
            stand = c.stand([(0.0, Signal(6.0, export=export).state(FrontEnd()))], ct_primary=primary, ct_secondary=secondary)
            stand.feed(30.0)
            meter, flashes = stand.devices[0].meter, len(stand.devices[0].pulses[Output.LED])
            flash = primary * 1000 * MICRO // meter.model.led_per_kwh
            counted = (meter.exact("Ea+") + meter.exact("Ea-")) * secondary // flash
            direction = "export" if export else "import"
            name = f"CT {primary}/{secondary}, {direction}: {flashes} flashes, the counters say {counted}"
            for standard in (EN, IEC_ACTIVE):
                yield Check(clause("meter constant", standard), name, flashes == counted and flashes > 20)


def pulse_output(c: Context) -> Found:
    """Every weight at 288 V and 6 A: pulses and pauses long enough, never more often than said, none lost, none doubled."""
    name = clause("pulse output", IEC_OUTPUT)
    family = c.model.family
    for lowest, weight in family.pulse_weights:
        highest = max(p for p in range(lowest, 12001) if family.pulse_weight(p, 1) == weight)
        stand = c.stand([(0.0, Signal(6.0, volts=288.0).state(FrontEnd()))], ct_primary=highest, ct_secondary=1)
        device = stand.devices[0]
        stand.feed(30.0)
        at, lengths = device.pulses[Output.PULSE], device.lengths[Output.PULSE]
        energy = device.meter.exact("Ea+")
        as_many = len(at) == energy // (weight * MICRO) and len(at) > 20
        yield Check(name, f"{weight} Wh: pulses × weight are the register", as_many)
        apart = min(b - a for a, b in pairwise(at)) if len(at) > 1 else 0
        long_enough = bool(lengths) and min(lengths) >= SHORTEST_NS and apart - max(lengths, default=0) >= SHORTEST_NS
        yield Check(name, f"{weight} Wh: pulse {min(lengths, default=0) / 1e6:g} ms, pause at least 30 ms", long_enough)
        pace = (len(at) - 1) / ((at[-1] - at[0]) / 1e9) if len(at) > 1 else math.inf
        yield Check(name, f"{weight} Wh: {pace:.2f} a second at 288 V, 6 A, CT {highest}/1", pace < MOST_PULSES)


def repeatability(c: Context) -> Found:
    """The same measured ten times, with other noise each time."""
    for current, factor in ((0.1, "1"), (1.0, "0.5ind")):
        limit = limit_at(EN, "active", "balanced", factor, current)
        assert limit is not None
        row = Judged(EN, "active", "balanced", factor, limit)
        signal = Signal(current, ANGLES[factor])
        seconds = max(2.4, seconds_for(signal, "active", FRONT_ENDS["24 bit"], limit * REPEATABLE / 2.0))
        found = []
        for k in range(3 if c.quick else 10):
            drive = Drive(c.model, "24 bit", signal, seconds, (row,), seed=c.seed + 100 + k, calibration=c.calibration)
            found.append(dict(measured(drive, signal, c.make)[row, (200, 5)])["counter"])
        name = f"24 bit, balanced, {factor}, {current:g} A: widest of {len(found)} runs"
        yield Point(clause("repeatability", EN), name, max(found) - min(found), limit * REPEATABLE, "counter", 1.0)


def reactive_over_frequency(c: Context) -> Found:
    """Reactive energy at sin φ 0.5 and 0.25 from 45 to 65 Hz, where a fixed delay would err by the frequency."""
    for factor in ("sin 0.5", "sin 0.25"):
        limit = limit_at(IEC_REACTIVE, "reactive", "balanced", factor, 1.0)
        assert limit is not None
        for f in _ALL_F[:: 5 if c.quick else 1]:
            row = Judged(IEC_REACTIVE, "reactive", "balanced", factor, limit)
            drive = Drive(c.model, "ideal", Signal(1.0, ANGLES[factor], frequency=float(f)), 2.4, (row,), seed=c.seed)
            error = dict(measured(drive, drive.signal, c.make)[row, (200, 5)])["counter"]
            name = f"ideal, balanced, {factor}, 1 A, {f} Hz"
            yield Point(clause("reactive over frequency", HOUSE), name, error, limit, "counter", MARGINS["ideal"]["influence"])


def three_wires(c: Context) -> Found:
    """Two wattmeters, on a model that knows them."""
    if 3 not in c.model.wires:
        return
    for factor in ("1", "0.5ind", "0.8cap", "sin 0.5"):
        quantity, standard = ("reactive", IEC_REACTIVE) if factor.startswith("sin") else ("active", EN)
        limit = limit_at(standard, quantity, "balanced", factor, 1.0)
        assert limit is not None
        for current in (0.05, 1.0, 6.0):
            for export in (False, True):
                row = Judged(standard, quantity, "balanced", factor, limit)
                signal = Signal(current, ANGLES[factor], export=export)
                drive = Drive(c.model, "ideal", signal, 2.4, (row,), seed=c.seed, wires=3)
                error = dict(measured(drive, drive.signal, c.make)[row, (200, 5)])["counter"]
                name = f"ideal, {factor}, {current:g} A, {'export' if export else 'import'}"
                yield Point(clause("three wires", HOUSE), name, error, limit, "counter", MARGINS["ideal"]["accuracy"])


def frequency(c: Context) -> Found:
    """The frequency shown with the 24-bit front end, and how far windows scatter about it."""
    seconds = 3 if c.quick else 10
    for f in _ALL_F[:: 4 if c.quick else 1]:
        for part in (0.0,) if c.quick else (0.0, 0.37):
            true = min(f + part, 65.0)
            state = Signal(1.0, frequency=true).state(FRONT_ENDS["24 bit"])
            stand = c.stand([(0.0, state)], RATE, "24 bit")
            worst = 0.0
            for _ in range(seconds):
                stand.feed(1.0)
                worst = max(worst, abs(float(stand.devices[0].meter["f"] or math.inf) - true))
            windows = Metrology(c.model, RATE, 4, c.calibration).feed(Supply([(0.0, state)], seed=c.seed).read(seconds * RATE))
            scatter = float(np.std(windows.live[windows.whole, F]))
            name = f"24 bit, {true:g} Hz; windows scatter by {scatter * 1e6:.2f} µHz"
            yield Point(clause("frequency", HOUSE), name, worst / true * 100.0, F_ERROR_HZ / true * 100.0, "f", 1.0)


def phases(c: Context) -> Found:
    """What is shown of the sequence and of missing phases."""
    cases: list[tuple[str, Signal, int | None, tuple[str, ...]]] = [
        ("123", Signal(1.0), 123, ()),
        ("132", Signal(1.0, reversed=True), 132, ()),
        *((f"L{p + 1} missing", Signal(1.0, missing=(p,)), None, (f"L{p + 1}",)) for p in (1, 2)),
        ("L2 and L3 missing", Signal(1.0, missing=(1, 2)), None, ("L2", "L3")),
    ]
    for name, signal, sequence, missing in cases:
        stand = c.stand([(0.0, signal.state(FRONT_ENDS["24 bit"]))], RATE, "24 bit")
        stand.feed(3.0)
        meter = stand.devices[0].meter
        yield Check(clause("phases", HOUSE), name, meter["sequence"] == sequence and meter.state.missing == missing)
    stand = c.stand([(0.0, Signal(1.0, missing=(0,)).state(FrontEnd()))])
    stand.feed(3.0)
    yield Check(clause("phases", HOUSE), "L1 missing: without supply", not stand.devices[0].meter.powered)


def disturbances(c: Context) -> Found:
    """The energy of a minute with a disturbance in it, against the closed form, at the last window's edge."""
    for name, states in disturbed().items():
        stand = c.stand(states)
        stand.feed(60.0)
        device = stand.devices[0]
        row = device.meter.state.row
        lost = device.given / RATE - device.meter.now / 1e9
        p, q = through(states, RATE, (int(row[Layout.time]) / 1e9 + lost) * RATE)
        for kind, true, limit in (("Ea+", p, P_THROUGH), ("Er+", q, Q_THROUGH)):
            error = (device.energy(row, kind) / MICRO * 3600.0 / true - 1.0) * 100.0
            yield Point(clause("disturbances", HOUSE), f"{name}: {kind} of 60 s", error, limit, "counter", 1.0)


def disturbed() -> dict[str, list[tuple[float, State]]]:
    """Return what may happen to a network of 230 V with 5 A at power factor 0.8, by name."""
    normal = State(Network(), (Load(5.0, angle=ANGLES["0.8cap"] * -1.0),))
    at, out = 20.0037, {}

    def volts(*shares: float) -> State:
        return replace(normal, network=replace(normal.network, volts=(230.0 * shares[0], 230.0 * shares[1], 230.0 * shares[2])))

    out["dip to 70 % for 3.5 cycles"] = [(0.0, normal), (at, volts(0.7, 0.7, 0.7)), (at + 0.07, normal)]
    for seconds in (0.02, 0.1, 0.4):
        out[f"L2 and L3 interrupted for {seconds * 1000:g} ms"] = [(0.0, normal), (at, volts(1, 0, 0)), (at + seconds, normal)]
        out[f"all phases interrupted for {seconds * 1000:g} ms"] = [(0.0, normal), (at, volts(0, 0, 0)), (at + seconds, normal)]
    ramp = [(at + 0.02 * k, replace(normal, network=replace(normal.network, frequency=50.0 + 0.02 * k))) for k in range(101)]
    out["frequency ramp of 1 Hz/s from 50 to 52 Hz"] = [(0.0, normal), *ramp]
    jumped = replace(normal, network=replace(normal.network, angles=(60.0, -60.0, 180.0)))
    out["phase jump of 60°"] = [(0.0, normal), (at, jumped)]
    out["load step within a cycle"] = [(0.0, normal), (at, replace(normal, loads=(replace(normal.loads[0], current=1.0),)))]
    return out


def single_against_balanced(c: Context) -> Found:
    """A load on one phase errs like a balanced one, at In."""
    for quantity, factor, standard in (("active", "1", IEC_ACTIVE), ("reactive", "sin 1", IEC_REACTIVE)):
        drives = []
        for load, on in (("balanced", (0, 1, 2)), ("single-phase", (0,)), ("single-phase", (1,)), ("single-phase", (2,))):
            limit = limit_at(standard, quantity, load, factor, 1.0)
            assert limit is not None
            row = Judged(standard, quantity, load, factor, limit)
            drives.append(Drive(c.model, "ideal", Signal(1.0, ANGLES[factor], on), 2.4, (row,), seed=c.seed))
        yield from drive_difference(drives, c.make)


CHECKS: Final[dict[str, tuple[Callable[[Context], Found], float]]] = {  # and about how long each takes, in s of signal
    "no load": (no_load, 20000.0), "starting": (starting, 12000.0), "repeatability": (repeatability, 900.0),
    "disturbances": (disturbances, 600.0), "frequency": (frequency, 800.0), "pulse output": (pulse_output, 200.0),
    "meter constant": (meter_constant, 250.0), "reactive over frequency": (reactive_over_frequency, 150.0),
    "three wires": (three_wires, 90.0), "phases": (phases, 20.0), "single-phase": (single_against_balanced, 30.0),
}  # fmt: skip
