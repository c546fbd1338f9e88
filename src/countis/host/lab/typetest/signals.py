"""What the stand drives a meter with, and what is true of it, in closed form.

Rule: truth comes from amplitudes and angles alone, never from samples.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from countis.supply.network import FULL_SCALE_I, FULL_SCALE_V, FrontEnd, Load, Network, State, at_terminals

Harmonics = tuple[tuple[int, float, float], ...]  # order, ratio, degrees
RATE: Final = 8000  # samples per second of the stand
ALL: Final = (0, 1, 2)
_HALF_LSB: Final = 0.5 / 2**15
FRONT_ENDS: Final = {
    "ideal": FrontEnd(),
    "24 bit": FrontEnd(gain=(1.01, 0.992, 1.004, 0.99, 1.007, 1.01), phase=(0.0, 0.3, -0.2, 1.0, -1.0, 0.6),
                       noise=1e-5, bits=24),
    "16 bit": FrontEnd(noise=_HALF_LSB, bits=16),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Signal:
    """A steady signal: V to neutral, Hz, secondary A on some phases, degrees by which they lag, and what is odd about it.

    volts: of each phase. missing: phases without voltage. fired and burst as in `supply.Load`.
    """

    current: float
    angle: float = 0.0
    phases: tuple[int, ...] = ALL
    export: bool = False
    volts: float = 230.0
    frequency: float = 50.0
    missing: tuple[int, ...] = ()
    reversed: bool = False
    v_harmonics: Harmonics = ()
    i_harmonics: Harmonics = ()
    fired: float = 0.0
    burst: tuple[int, int] | None = None

    def state(self, front_end: FrontEnd) -> State:
        """Return the state of a supply that makes it."""
        angles = (0.0, 120.0, -120.0) if self.reversed else (0.0, -120.0, 120.0)
        volts = [0.0 if p in self.missing else self.volts for p in ALL]
        network = Network((volts[0], volts[1], volts[2]), angles, self.frequency, {k: (r, d) for k, r, d in self.v_harmonics})
        load = Load(self.current, self.phases, self.angle, self.export, {k: (r, d) for k, r, d in self.i_harmonics},
                    fired=self.fired, burst=self.burst)  # fmt: skip
        return State(network, (load,) if self.current else (), front_end=front_end)

    def power(self, quantity: str) -> float:
        """Return the true active or reactive power in secondary W or var; reactive of the fundamental; export is negative."""
        sign, lag = (-1.0 if self.export else 1.0), math.radians(self.angle)
        each = self.volts * self.current * sum(p not in self.missing for p in self.phases)
        if quantity == "reactive":
            return sign * each * math.sin(lag)
        if self.fired:
            a = math.radians(self.fired)
            return sign * each * (1.0 - a / math.pi + math.sin(2.0 * a) / (2.0 * math.pi))
        if self.burst is not None:
            return sign * each * self.burst[0] / sum(self.burst)
        pairs = [(v, i) for v in self.v_harmonics for i in self.i_harmonics if v[0] == i[0]]
        higher = sum(v[1] * i[1] * math.cos(math.radians(v[2] - i[2])) for v, i in pairs)
        return sign * each * (math.cos(lag) + higher)


def seconds_for(signal: Signal, quantity: str, front_end: FrontEnd, part_pct: float) -> float:
    """Return how long to measure until noise is below `part_pct` % of the energy, by five standard deviations."""
    lsb = 0.0 if front_end.bits is None else 2.0 ** (1 - front_end.bits) / math.sqrt(12.0)
    noise = math.hypot(front_end.noise, lsb)
    both = noise * math.hypot(signal.volts * FULL_SCALE_I, signal.current * FULL_SCALE_V) * math.sqrt(len(signal.phases))
    wanted = abs(signal.power(quantity)) * part_pct / 100.0
    return (5.0 * both / wanted) ** 2 / RATE


# disturbances


def through(states: Sequence[tuple[float, State]], rate: float, end: float) -> tuple[float, float]:
    """Return the true active and reactive energy in Ws and vars from the first sample to `end` in samples.

    states: (seconds from which on, state); each begins half a sample before its first. Products of all orders are integrated
    over the pieces of cycles they are in; reactive energy is that of the fundamental.
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
        cycles = state.network.frequency / rate
        begin, stop = (2.0 * math.pi * (turns + (at - first[k]) * cycles) for at in (a, b))
        phasors = at_terminals(state)
        active += _integral(phasors, np.array(sorted(state.orders)), begin, stop) / (2.0 * math.pi * state.network.frequency)
        reactive += 0.5 * float((phasors[0, :3] * phasors[0, 3:].conj()).imag.sum()) * (b - a) / rate
    return active, reactive


def _integral(phasors: NDArray[np.complex128], orders: NDArray[np.int64], begin: float, stop: float) -> float:
    """Return the integral of Σ v·i over an angle of the fundamental; channels are Im(phasor · exp(j·order·angle))."""
    total = 0.0
    for h, v in zip(orders, phasors[:, :3], strict=True):
        for g, i in zip(orders, phasors[:, 3:], strict=True):
            total += 0.5 * float((_turned(v * i.conj(), h - g, begin, stop) - _turned(v * i, h + g, begin, stop)).sum().real)
    return total


def _turned(product: NDArray[np.complex128], order: int, begin: float, stop: float) -> NDArray[np.complex128]:
    if order == 0:
        return product * (stop - begin)
    return np.asarray(product * (np.exp(1j * order * stop) - np.exp(1j * order * begin)) / (1j * order))
