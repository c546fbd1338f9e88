"""What the stand drives a meter with, and what is true of it, in closed form.

Rule: truth comes from amplitudes and angles alone, never from samples.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from countis.host.lab.typetest.points import Change, Front, Quantity
from countis.supply import FrontEnd, Load, Network, State
from countis.supply.network import FULL_SCALE_I, FULL_SCALE_V, Phasors, at_terminals

Harmonics = tuple[tuple[int, float, float], ...]  # order, ratio to the fundamental, degrees
RATE: Final = 8000  # samples per second of the stand
ALL: Final = (0, 1, 2)
FRONT_ENDS: Final = {
    Front.IDEAL: FrontEnd(),
    Front.BITS_24: FrontEnd(gain=(1.01, 0.992, 1.004, 0.99, 1.007, 1.01),
                            phase=(0.0, 0.3, -0.2, 1.0, -1.0, 0.6), noise=1e-5, bits=24),
    Front.BITS_16: FrontEnd(noise=0.5 / 2**15, bits=16),  # half an LSB
}


@dataclass(frozen=True, slots=True)
class Signal:
    """A steady signal: secondary A on some phases that lag by an angle in degrees, V of each phase, Hz."""

    current: float
    angle: float = 0.0
    phases: tuple[int, ...] = ALL
    export: bool = False
    volts: float = 230.0  # to neutral
    frequency: float = 50.0
    missing: tuple[int, ...] = ()  # phases without voltage
    reversed: bool = False  # L1-L3-L2
    v_harmonics: Harmonics = ()
    i_harmonics: Harmonics = ()
    fired: float = 0.0  # as in `supply.Load`
    burst: tuple[int, int] | None = None

    @property
    def direction(self) -> str:
        """What a report calls the direction of its energy."""
        return "export" if self.export else "import"

    def under(self, change: Change) -> Signal:
        """Return the signal as an influence changes it."""
        scaled = {name: getattr(self, name) * change[name] for name in {"volts", "frequency"} & change.keys()}
        return replace(self, **{**change, **scaled})

    def state(self, front_end: FrontEnd) -> State:
        """Return the state of a supply that makes it."""
        angles = (0.0, 120.0, -120.0) if self.reversed else (0.0, -120.0, 120.0)
        one, two, three = (0.0 if p in self.missing else self.volts for p in ALL)
        harmonics = {k: (ratio, degrees) for k, ratio, degrees in self.v_harmonics}
        load = Load(current=self.current, phases=self.phases, angle=self.angle, export=self.export,
                    harmonics={k: (ratio, degrees) for k, ratio, degrees in self.i_harmonics},
                    fired=self.fired, burst=self.burst)
        network = Network((one, two, three), angles, self.frequency, harmonics)
        return State(network, (load,) if self.current else (), front_end=front_end)

    def power(self, quantity: Quantity) -> float:
        """Return the true power in secondary W, or var of the fundamental; export is negative."""
        sign, lag = (-1.0 if self.export else 1.0), math.radians(self.angle)
        each = self.volts * self.current * sum(p not in self.missing for p in self.phases)
        if quantity is Quantity.REACTIVE:
            return sign * each * math.sin(lag)
        if self.fired:
            a = math.radians(self.fired)
            return sign * each * (1.0 - a / math.pi + math.sin(2.0 * a) / (2.0 * math.pi))
        if self.burst is not None:
            return sign * each * self.burst[0] / sum(self.burst)
        pairs = [(v, i) for v in self.v_harmonics for i in self.i_harmonics if v[0] == i[0]]
        higher = sum(v[1] * i[1] * math.cos(math.radians(v[2] - i[2])) for v, i in pairs)
        return sign * each * (math.cos(lag) + higher)


def seconds_for(signal: Signal, quantity: Quantity, front_end: FrontEnd, tolerance_pct: float) -> float:
    """Return the seconds after which five standard deviations of noise are a tolerance in % of the energy."""
    lsb = 0.0 if front_end.bits is None else 2.0 ** (1 - front_end.bits) / math.sqrt(12.0)
    noise = math.hypot(front_end.noise, lsb)
    one_phase = noise * math.hypot(signal.volts * FULL_SCALE_I, signal.current * FULL_SCALE_V)
    tolerance = abs(signal.power(quantity)) * tolerance_pct / 100.0
    return (5.0 * (one_phase * math.sqrt(len(signal.phases))) / tolerance) ** 2 / RATE


def through(states: Sequence[tuple[float, State]], rate: float, end: float) -> tuple[float, float]:
    """Return the true active and reactive energy, in Ws and vars, from the first sample to sample `end`.

    states: (seconds from which on, state); each begins half a sample before its first. Products of all orders
    are integrated over the pieces of cycles they are in; reactive energy is that of the fundamental.
    """
    first = [round(seconds * rate) for seconds, _ in states]
    bounds = [0.0, *(k - 0.5 for k in first[1:]), math.inf]
    active = reactive = turns = 0.0
    for k, (_, state) in enumerate(states):
        if k:
            turns = (turns + (first[k] - first[k - 1]) * states[k - 1][1].network.frequency / rate) % 1.0
        a, b = bounds[k], min(bounds[k + 1], end)
        if a >= b:
            break
        frequency, phasors = state.network.frequency, at_terminals(state)
        cycles = frequency / rate
        begin, stop = (2.0 * math.pi * (turns + (sample - first[k]) * cycles) for sample in (a, b))
        active += _integral(phasors, sorted(state.orders), begin, stop) / (2.0 * math.pi * frequency)
        reactive += 0.5 * float((phasors[0, :3] * phasors[0, 3:].conj()).imag.sum()) * (b - a) / rate
    return active, reactive


def _integral(phasors: Phasors, orders: Sequence[int], begin: float, stop: float) -> float:
    """Integrate Σ v·i over an angle of the fundamental; a channel is Im(phasor · exp(j·order·angle))."""
    total = 0.0
    for h, v in zip(orders, phasors[:, :3], strict=True):
        for g, i in zip(orders, phasors[:, 3:], strict=True):
            difference, both = _turned(v * i.conj(), h - g, begin, stop), _turned(v * i, h + g, begin, stop)
            total += 0.5 * float((difference - both).sum().real)
    return total


def _turned(product: Phasors, order: int, begin: float, stop: float) -> Phasors:
    if order == 0:
        return product * (stop - begin)
    return np.asarray(product * (np.exp(1j * order * stop) - np.exp(1j * order * begin)) / (1j * order))
