"""Long runs: a month of 32 meters by measurements, ten minutes of them by samples, a host with clients that come and go."""

from __future__ import annotations

import cmath
import ctypes
import gc
import math
import random
import resource
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import numpy as np
import pytest
from countis import E43, E44, Bus, Measurement, Meter, ResetPartials, SetClock, StartPartial, StopPartial
from countis.meter.energy.load_curve import CAPACITY
from countis.meter.energy.registers import Layout
from countis.supply.network import Load, Network
from countis.supply.source import steady
from countis.words.quantities import KINDS, PARTIALS, SCOPES, counter_symbol
from numpy.typing import NDArray

from ledger import WATT, Ints, Ledger

pytestmark = pytest.mark.slow
METERS, DAYS, WARM_DAYS = 32, 30, 6
PART = 3  # hours that pass between two visits
Floats = NDArray[np.float64]
SECONDS, WARM_SECONDS = 600, 60
MOST = 1024  # kB of growth
CTS = ((5, 5), (200, 5), (600, 5), (1000, 5), (100, 1))
VOLTS = 230
HOUR = 3_600_000_000_000  # ns


def memory_in_use() -> int:
    """The pages of this process in kB, without what its allocator holds back."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() // 1024


def edge(meter: Meter) -> int:
    """Up to which ns of meter time energy is counted: the end of the last window."""
    return int(meter.state.row[Layout.time])


# a month


@dataclass
class Place:
    """One meter, what it must have counted, its disk as last synced, and its life."""

    number: int
    meter: Meter = field(init=False)
    cuts: int = 0
    lost: int = 0  # windows that a power cut took
    asked: int = 0
    jumps: int = 0
    dips: int = 0

    def __post_init__(self) -> None:
        self.chance = random.Random(self.number)
        self.draw = np.random.default_rng(self.number)
        ct, wires = CTS[self.number % len(CTS)], 3 if self.number % 8 == 7 else 4
        model = E43 if self.number % 2 else E44
        self.meter = Meter(model, tariff_control="com", ct_primary=ct[0], ct_secondary=ct[1], address=1 + self.number,
                           wires=wires)  # fmt: skip
        self.meter.apply([SetClock(800_000_000 + 7777 * self.number)])
        self.meter.state.row[Layout.records] = CAPACITY  # a full ring of load-curve records: all of it is in use from the start
        self.meter.state.curve.ring.fill(0)
        self.ledger, self.disk = Ledger(wires), bytearray(self.meter.save())
        self.kept = self.ledger.copy()
        self.base = self.draw.uniform(-1200, 1200, (2, 3))  # W and var by phase: a supply of its own

    def live(self) -> None:
        """Be asked, count, be synced, lose the power, go on."""
        self.ask()
        self.count()
        if self.chance.random() < 0.7:
            self.sync()
        if self.chance.random() < 0.15:
            self.cut()

    def ask(self) -> None:
        """Read and write over Modbus, and let the clock jump."""
        chance, meter, ledger = self.chance, self.meter, self.ledger
        bus = Bus.loopback(meter)
        with bus:
            there = bus[int(meter.settings["address"])]
            read = there.read("V1", "Ea+", "Ea-", "par.Ea+", "Eap", f"hours.T{ledger.tariff}")
            for symbol, value in ledger.expected(("Ea+", "Ea-", "par.Ea+", "Eap")).items():
                assert value / 1e6 - 10 < float(str(read[symbol])) <= value / 1e6
            if chance.random() < 0.4:
                ledger.tariff = chance.randint(1, 4)
                there.select_tariff(ledger.tariff)
            if chance.random() < 0.02:
                bus.write_words(there.address, 40512, [0x20])  # all partials
                ledger.partials = dict.fromkeys(PARTIALS, 0)
            if chance.random() < 0.02:
                there.write(ct_primary=chance.choice((100, 250, 500)))
        self.asked += 1
        if chance.random() < 0.1:
            self.jumps += 1
            jump = chance.choice((-3600, 3600, -86400, 86400, 40 * 86400, chance.randint(-1000, 1000)))
            assert meter.apply([SetClock(meter.clock + jump)]) is None
        if chance.random() < 0.1:
            self.switch(chance.choice(PARTIALS))

    def switch(self, symbol: str) -> None:
        """Stop, start or reset one partial by the keys' commands."""
        kind = self.chance.choice((StopPartial, StartPartial, ResetPartials))
        if kind is ResetPartials:
            assert self.meter.apply([ResetPartials((symbol,))]) is None
            self.ledger.partials[symbol] = 0
        else:
            assert self.meter.apply([kind(symbol)]) is None  # type: ignore[arg-type]
            (self.ledger.stopped.add if kind is StopPartial else self.ledger.stopped.discard)(symbol)

    def powers(self, count: int) -> tuple[Ints, Ints, Ints]:
        """W, var and VA by phase in units of 2⁻¹¹, by the hour of the day and by chance; at times a phase is all but off."""
        hour = (self.meter.clock / 3600 + PART * np.arange(count) / count)[:, None]
        factor = 0.6 + 0.4 * np.sin(hour * np.pi / 12) + self.draw.normal(0, 0.2, (count, 3))
        p, q = (np.rint(base * factor * WATT).astype(np.int64) for base in self.base)
        idle = self.draw.random((count, 3)) < 0.1
        p, q = (np.where(idle, self.draw.integers(-300, 301, (count, 3)), x) for x in (p, q))  # around the start power
        amperes = np.ceil(np.hypot(p, q) / VOLTS).astype(np.int64) + 1
        return p, q, amperes * VOLTS

    def count(self) -> None:
        """Let three hours pass, by windows of 36 or 3.6 s, as one series or in pieces; at times V1 fails for a while."""
        tenth = self.chance.random() < 0.03
        ns, count = (3_600_000_000, PART * 1000) if tenth else (36_000_000_000, PART * 100)
        p, q, s = self.powers(count)
        volts, counted = np.full((count, 3), float(VOLTS)), np.ones(count, bool)
        if not tenth and self.chance.random() < 0.05:
            self.dips += 1
            first = self.chance.randrange(count - 60)
            last = first + self.chance.randint(1, 50)
            volts[first:last, 0] = 0.0
            counted[first : last + 1] = False  # and the window in which it starts again (decision 16)
        watts, vars_, amperes = p / WATT, q / WATT, s / (WATT * VOLTS)
        m = Measurement.of(self.meter.model, seconds=ns / 1e9, v=volts, i=amperes, p=watts, q=vars_)
        step = self.chance.choice((1 if self.number == 0 else 100, count, count, count))
        for at in range(0, count, step):
            self.meter.count(m[at : at + step])
        self.ledger.count(p[counted], q[counted], s[counted], ns, int(self.meter.ratio))

    def sync(self) -> None:
        """Write what has changed to the disk."""
        for offset, data in self.meter.writes():
            self.disk[offset : offset + len(data)] = data
        self.kept = self.ledger.copy()

    def cut(self) -> None:
        """Lose the power while the memory is written, after any byte of it; go on from what has landed, later."""
        writes = self.meter.writes()
        size, whole = sum(len(data) for _, data in writes), bytearray(self.disk)
        left = self.chance.choice((0, size, self.chance.randrange(size)))
        for offset, data in writes:
            whole[offset : offset + len(data)] = data
            part = data[: max(0, left)]
            self.disk[offset : offset + len(part)] = part
            left -= len(data)
        if self.disk == whole:
            self.kept = self.ledger.copy()
        self.cuts, self.lost = self.cuts + 1, self.lost + self.ledger.windows - self.kept.windows
        self.meter, self.ledger = Meter.load(bytes(self.disk)), self.kept.copy()
        self.meter.advance(self.chance.choice((0, 1, 20 * HOUR, self.chance.randrange(HOUR))))


def test_a_month_of_32_meters_is_counted_to_the_unit(capsys: pytest.CaptureFixture[str]) -> None:
    """What is counted is kept in whole µWh against integers of another hand; what a cut takes back is what was not synced."""
    places = [Place(number) for number in range(METERS)]
    used = []
    for day in range(DAYS):
        for _ in range(24 // PART):
            for place in places:
                place.live()
        wrong = {place.number: found for place in places if (found := place.ledger.differs(place.meter))}
        assert wrong == {}, f"day {day}"
        used.append(memory_in_use())
    growth = round(median(used[-WARM_DAYS:]) - median(used[WARM_DAYS : 2 * WARM_DAYS]))  # one day differs from the next
    for place in places:
        place.sync()
        assert place.ledger.differs(Meter.load(bytes(place.disk))) == {}, place.number
    told = {name: sum(getattr(place, name) for place in places) for name in ("cuts", "lost", "asked", "jumps", "dips")}
    windows = sum(place.ledger.windows for place in places)
    with capsys.disabled():
        print(f"\n{windows} windows kept, {told}; growth {growth} kB {used}")
    assert all(told.values())
    assert growth < MOST


# ten minutes by samples


@dataclass(frozen=True)
class Wired:
    """A steady supply and what is true of it in closed form, by phase: W, var of the fundamental, VA; secondary."""

    network: Network
    loads: tuple[Load, ...]

    @classmethod
    def of(cls, number: int) -> Wired:
        """A supply of its own for each meter; ten minutes hold whole cycles of it."""
        chance = random.Random(number)
        volts = [chance.uniform(200.0, 250.0) for _ in range(3)]
        angles = (0.0, -120.0 + chance.uniform(-3, 3), 120.0 + chance.uniform(-3, 3))
        network = Network((volts[0], volts[1], volts[2]), angles, round(chance.uniform(48.0, 62.0), 2),
                          {3: (0.02, chance.uniform(0, 360)), 5: (0.05, 180.0), 11: (0.01, 7.0)})  # fmt: skip
        harmonics = {3: (0.3, chance.uniform(0, 360)), 5: (0.2, chance.uniform(0, 360)), 7: (0.1, 0.0), 11: (0.05, 3.0)}
        every = Load(chance.uniform(0.5, 2.0), (0, 1, 2), chance.uniform(-60, 60), chance.random() < 0.4, harmonics)
        one = Load(chance.uniform(0.1, 3.0), (chance.randrange(3),), chance.uniform(-80, 80), chance.random() < 0.5)
        return cls(network, (every, one))

    def phase(self, n: int) -> tuple[float, float, float]:
        """W, var and VA of a phase, from V and I of each order as complex RMS at the voltage's zero crossing."""
        zero = self.network.angles[n]
        volts = {1: cmath.rect(1.0, math.radians(zero))}
        volts |= {k: cmath.rect(ratio, math.radians(k * zero + deg)) for k, (ratio, deg) in self.network.harmonics.items()}
        volts = {k: v * self.network.volts[n] for k, v in volts.items()}
        amperes: dict[int, complex] = dict.fromkeys(volts, 0j)
        for load in (load for load in self.loads if n in load.phases):
            rms = -load.current if load.export else load.current
            amperes[1] += rms * cmath.rect(1.0, math.radians(zero - load.angle))
            for k, (ratio, deg) in load.harmonics.items():
                amperes[k] = amperes.get(k, 0j) + rms * ratio * cmath.rect(1.0, math.radians(k * zero + deg))
        power = sum((volts.get(k, 0j) * current.conjugate()).real for k, current in amperes.items())
        var = (volts[1] * amperes[1].conjugate()).imag
        return power, var, math.prod(math.sqrt(sum(abs(x) ** 2 for x in channel.values())) for channel in (volts, amperes))

    def energies(self, seconds: float, ratio: float) -> dict[str, float]:
        """Every energy by symbol that must not be zero after so long: Wh, varh, VAh of the primary."""
        phases = [self.phase(n) for n in range(3)]
        scopes = {**{f".L{n + 1}": values for n, values in enumerate(phases)}, "": tuple(map(sum, zip(*phases, strict=True)))}
        found = {}
        for scope, (p, q, s) in scopes.items():
            quadrant = "ind" if p * q > 0 else "cap"
            found[f"Ea{'-' if p < 0 else '+'}{scope}"] = abs(p)
            found[f"Er{'-' if q < 0 else '+'}{scope}"] = found[f"Er{'-' if q < 0 else '+'}{quadrant}{scope}"] = abs(q)
            found[f"Eap{scope}"] = s
        return {symbol: value * ratio * seconds / 3600.0 for symbol, value in found.items()}


ENERGIES = tuple(counter_symbol(kind, scope) for kind in KINDS for scope in SCOPES)


def worst_error(wired: Wired, meter: Meter, before: dict[str, int], seconds: float) -> float:
    """The worst relative error of all energies since `before`; what must stand still has error 1 where it moved."""
    true = wired.energies(seconds, meter.ratio)
    made = {symbol: (meter.exact(symbol) - before.get(symbol, 0)) / 1e6 for symbol in ENERGIES}
    return max(abs(made[s] / true[s] - 1.0) if s in true else float(made[s] != 0.0) for s in ENERGIES)


def worst_from_the_first_sample(wired: Wired, meter: Meter, ends: Sequence[Floats]) -> float:
    """The worst relative error of net active energy from the first sample to the last, by phase and of all."""
    true = [wired.phase(n)[0] * SECONDS for n in range(3)]
    true = [energy - (ends[0][n] + ends[1][n]) / 2.0 / meter.rate for n, energy in enumerate(true)]
    scopes = {"": sum(true), **{f".L{n + 1}": energy for n, energy in enumerate(true)}}
    made = {scope: (meter.exact(f"Ea+{scope}") - meter.exact(f"Ea-{scope}")) / 1e6 * 3600.0 / meter.ratio for scope in scopes}
    return max(abs(made[scope] / energy - 1.0) for scope, energy in scopes.items())


def test_ten_minutes_of_32_meters_are_the_integral_of_their_supplies(capsys: pytest.CaptureFixture[str]) -> None:
    """All energies within 1e-6, from the last window edge of the first second on; active ones from the first sample too.

    While the filter settles windows are no whole cycles, and reactive and apparent energy are no integrals of samples: so the
    first second is left out there. Active energy has no start-up, but n samples are n − 1 intervals: half an interval at
    either end belongs to no window, and is taken from what is expected.
    """
    wires = [Wired.of(number) for number in range(METERS)]
    fleet = [(wired, steady(wired.network, wired.loads), Meter(E44, ct_primary=200)) for wired in wires]
    starts: list[tuple[int, dict[str, int]]] = []
    ends: list[list[Floats]] = [[] for _ in fleet]
    before = 0
    for second in range(SECONDS):
        for kept, (_, supply, meter) in zip(ends, fleet, strict=True):
            block = supply.read(int(meter.rate))
            meter.feed(block)
            if second in (0, SECONDS - 1):
                kept.append(block[-1 if kept else 0, :3] * block[-1 if kept else 0, 3:])
        if second == 0:
            starts = [(edge(meter), {s: meter.exact(s) for s in ENERGIES}) for _, _, meter in fleet]
        if second == WARM_SECONDS:
            before = memory_in_use()
    growth = memory_in_use() - before
    settled = max(worst_error(wired, meter, first, (edge(meter) - since) / 1e9)
                  for (wired, _, meter), (since, first) in zip(fleet, starts, strict=True))  # fmt: skip
    for _, _, meter in fleet:
        meter.advance(0)
        assert edge(meter) == meter.now == SECONDS * 10**9
    active = max(worst_from_the_first_sample(wired, meter, kept) for (wired, _, meter), kept in zip(fleet, ends, strict=True))
    with capsys.disabled():
        print(f"\nworst relative error: {settled:.1e} of all once settled, {active:.1e} of active energy from the first")
        print(f"sample on; growth {growth} kB")
    assert settled < 1e-6
    assert active < 1e-6
    assert growth < MOST
