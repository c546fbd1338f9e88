"""The source of samples: plays states one after the other, with no step in the phase of the network.

Rule: a sample depends on its number alone, never on how many are asked for at once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np

from countis.supply import synthesis
from countis.supply.network import FULL_SCALE, FrontEnd, Harmonics, Load, Network, Samples, State, angle_of
from countis.supply.profiles import factor
from countis.words.errors import SupplyError

_CHANGES_PER_SECOND: Final = 5  # of loads with a profile


class _Segment:
    """One state from a sample on: its phasors, and how far the network has turned when it begins."""

    def __init__(self, start: int, turns: float, state: State, rate: float) -> None:
        self.start, self.turns, self.state = start, turns, state
        self.cycles = state.network.frequency / rate
        self._orders = orders = sorted(state.orders)
        self.orders = np.array(orders, np.int64)
        if orders[-1] * state.network.frequency >= rate / 2:
            raise SupplyError("", f"harmonic {orders[-1]} lies above half of {rate:g} samples per second")
        self._volts = state.network.phasors(orders)
        self._amperes = [load.phasors(state.network, orders) for load in state.loads]
        if not all(np.isfinite(phasors).all() for phasors in (self._volts, *self._amperes)):
            raise SupplyError("", "a voltage or a current beyond all numbers", "finite ones")
        self.varies = any(len(load.profile) > 1 for load in state.loads)
        self.switched = [(n, load) for n, load in enumerate(state.loads) if load.switched]
        self._fixed: Samples | None = None
        if not self.varies:
            self._fixed = self.phasors([1.0 * load.profile[0][1] for load in state.loads])

    def phasors(self, factors: Sequence[float]) -> Samples:
        """Return real and imaginary peak values at the terminals [2, orders, 6]; one factor for each load."""
        if self._fixed is not None:
            return self._fixed
        total = self._volts + sum(k * phasors for k, phasors in zip(factors, self._amperes, strict=True))
        wired = self.state.wired(total, self._orders)
        return np.ascontiguousarray(np.stack((wired.real, wired.imag)))

    def add_switched(self, load: Load, factor: float, first: int, out: Samples) -> None:
        """Add a fired or bursting load to samples first.. of the segment, where CTs embrace its phases."""
        state, (on, off) = self.state, load.burst or (1, 0)
        lags = state.front_end.lags(state.network.frequency)
        for channel, (phase, ct) in enumerate(state.wiring.transformers, 3):
            if phase in load.phases:
                zero = self.turns + state.network.angles[phase] / 360.0 - lags[channel]
                peak = (-1.0 if load.export else 1.0) * ct * factor * load.current * math.sqrt(2.0)
                synthesis.add_switched(first, zero, self.cycles, peak, load.angle / 360.0, load.fired / 360.0,
                                       on, off, out[:, channel])


class Supply:
    """A source of samples [n, 6], V1 V2 V3 (V) and I1 I2 I3 (secondary A); chunks of any size give the same.

    states: (seconds from which on, state), the first at 0. rate: samples per second. seed: of the noise and
    of the wander of the loads. midnight: seconds after midnight at sample 0.
    """

    def __init__(self, states: Sequence[tuple[float, State]], *, rate: float = 8000, seed: int = 1,
                 midnight: float = 43200.0) -> None:
        self.rate, self.seed, self.midnight = float(rate), seed, midnight
        self.position = 0
        self._segments: list[_Segment] = []
        turns = 0.0
        for seconds, state in states:
            start = round(seconds * self.rate)
            if self._segments:
                last = self._segments[-1]
                turns = (last.turns + (start - last.start) * last.cycles) % 1.0
            self._segments.append(_Segment(start, turns, state, self.rate))
        self._current = 0
        self._block = synthesis.PIECE * max(1, round(self.rate / _CHANGES_PER_SECOND / synthesis.PIECE))

    @property
    def state(self) -> State:
        """What the supply is now."""
        return self._segments[self._current].state

    @property
    def seconds(self) -> float:
        """How much has been played."""
        return self.position / self.rate

    @property
    def tariff_volts(self) -> float:
        """The voltage on the tariff input now."""
        return self.state.tariff_volts

    def read(self, count: int) -> Samples:
        """Return the next `count` samples."""
        out = np.empty((count, 6))
        done = 0
        while done < count:
            while self.position >= self._next_start():
                self._current += 1
            n = min(count - done, self._ends() - self.position)
            self._make(out[done : done + n])
            done += n
            self.position += n
        return out

    @property
    def turns(self) -> float:
        """How far the network has turned."""
        here = self._segments[self._current]
        return (here.turns + (self.position - here.start) * here.cycles) % 1.0

    def begin_at(self, turns: float) -> None:
        """Let the network have turned so far at the beginning; before the first sample is read."""
        for segment in self._segments:
            segment.turns = (segment.turns + turns) % 1.0

    def follow(self, other: Supply) -> None:
        """Play the states of another supply of the same rate from here on, with no step in the phase."""
        other.begin_at(self.turns)
        for segment in other._segments:
            segment.start += self.position
        self._segments, self._current = other._segments, 0
        self.seed = other.seed

    def _next_start(self) -> int:
        return self._segments[self._current + 1].start if self._current + 1 < len(self._segments) else 1 << 62

    def _ends(self) -> int:
        """Return the sample before which nothing changes."""
        block_ends = self.position + self._block - self.position % self._block
        varies = self._segments[self._current].varies
        return min(self._next_start(), block_ends) if varies else self._next_start()

    def _make(self, out: Samples) -> None:
        """Make samples from the position on, which lie in one segment and in one block of loads that vary."""
        segment, state = self._segments[self._current], self.state
        first = self.position - segment.start
        seconds = self.midnight + (self.position // self._block + 0.5) * self._block / self.rate
        factors = [factor(load.profile, self.seed * 1000 + n, seconds) for n, load in enumerate(state.loads)]
        synthesis.waves(first, segment.turns, segment.cycles, segment.orders, segment.phasors(factors), out)
        for number, load in segment.switched:
            segment.add_switched(load, factors[number], first, out)
        convert(state.front_end, self.position, self.seed, out)


def convert(front_end: FrontEnd, first: int, seed: int, samples: Samples) -> None:
    """Do to samples first.. what the front end does but for its phase errors, in place."""
    if front_end.gain != (1.0,) * 6:
        samples *= np.array(front_end.gain)
    if any(front_end.offset):
        samples += np.array(front_end.offset)
    if front_end.noise > 0.0:
        synthesis.add_noise(first, seed, front_end.noise * FULL_SCALE, samples)
    if front_end.bits is not None:
        steps = 2.0 ** (front_end.bits - 1)
        np.rint(samples * (steps / FULL_SCALE), out=samples)
        np.clip(samples, -steps, steps - 1.0, out=samples)
        samples *= FULL_SCALE / steps


def steady(network: Network, loads: Sequence[Load], *, noise: float = 0.0, tariff_volts: float = 0.0,
           rate: float = 8000, seed: int = 1, midnight: float = 43200.0) -> Supply:
    """Return a supply that stays what it is, but for the profiles of its loads."""
    state = State(network, tuple(loads), front_end=FrontEnd(noise=noise), tariff_volts=tariff_volts)
    return Supply([(0.0, state)], rate=rate, seed=seed, midnight=midnight)


def three_phase(v: float | Sequence[float] = 230.0, i: float | Sequence[float] = 1.0,
                pf: float | Sequence[float] = 1.0, *, f: float = 50.0, export: bool = False,
                sequence: int = 123, v_harmonics: Harmonics | None = None,
                i_harmonics: Harmonics | None = None, noise: float = 0.0, seed: int = 1,
                rate: float = 8000) -> Supply:
    """Return a steady supply of V to neutral, secondary A and power factor (+ lagging), of all or of each."""
    volts, amperes, factors = (_three(name, value) for name, value in (("v", v), ("i", i), ("pf", pf)))
    if not all(0.0 < abs(p) <= 1.0 for p in factors):
        raise SupplyError("pf", f"{pf} is not possible", "−1..1 but 0; + lagging, − leading")
    angles = (0.0, -120.0, 120.0) if sequence == 123 else (0.0, 120.0, -120.0)
    loads = [Load(amperes[p], (p,), angle_of(factors[p]), export, dict(i_harmonics or {}))
             for p in range(3) if amperes[p] != 0.0]
    network = Network(volts, angles, f, dict(v_harmonics or {}))
    return steady(network, loads, noise=noise, rate=rate, seed=seed)


def _three(name: str, value: float | Sequence[float]) -> tuple[float, float, float]:
    values = [value] * 3 if isinstance(value, int | float) else value
    if len(values) != 3:
        raise SupplyError(name, f"{len(values)} values", "one, or one for each phase")
    return float(values[0]), float(values[1]), float(values[2])
