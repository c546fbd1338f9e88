"""Networks and loads, and the source of samples they make.

Rule: values only in Network and Load; `Supply` turns them into phasors, block by block of 0.2 s, and those into samples.
"""

from __future__ import annotations

import cmath
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from countis.errors import SupplyError
from countis.models import E44
from countis.supply import synthesis
from countis.supply.profiles import PROFILES, Points, factor

# order -> (ratio to the fundamental, degrees at the positive zero crossing of the phase's voltage)
Harmonics = Mapping[int, tuple[float, float]]
PHASES: Final = ("L1", "L2", "L3")
FULL_SCALE_V: Final = E44.v_clip * math.sqrt(2.0)  # peak, decision 44
FULL_SCALE_I: Final = E44.i_clip * math.sqrt(2.0)
_PIECES_PER_SECOND: Final = 5  # loads move this often


@dataclass(frozen=True, slots=True)
class Network:
    """The voltages: RMS of the fundamental to neutral in V, angles in degrees, harmonics of all three."""

    volts: tuple[float, float, float] = (230.0, 230.0, 230.0)
    angles: tuple[float, float, float] = (0.0, -120.0, 120.0)
    frequency: float = 50.0
    harmonics: Harmonics = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Load:
    """One load: RMS of the fundamental in secondary A on its phases, degrees behind the voltage, export turns it round."""

    current: float
    phases: tuple[int, ...] = (0, 1, 2)
    angle: float = 0.0
    export: bool = False
    harmonics: Harmonics = field(default_factory=dict)
    profile: Points = PROFILES["steady"]


def angle_of(pf: float) -> float:
    """Return the angle in degrees of a power factor: + lagging, − leading."""
    return math.copysign(math.degrees(math.acos(abs(pf))), pf)


class Supply:
    """A source of samples [n, 6], V1 V2 V3 (V) and I1 I2 I3 (secondary A).

    rate: samples per second. noise: RMS, of full scale. seed: of the noise and of the wander of the loads. midnight: seconds
    after midnight at sample 0. tariff_volts: on the tariff input. Chunks of any size give the same samples.
    """

    def __init__(self, network: Network, loads: Sequence[Load], *, rate: float = 8000, noise: float = 0.0, seed: int = 1,
                 tariff_volts: float = 0.0, midnight: float = 43200.0) -> None:  # fmt: skip
        self.network, self.loads = network, tuple(loads)
        self.rate, self.noise, self.seed = float(rate), noise, seed
        self.tariff_volts, self.midnight = tariff_volts, midnight
        self.position = 0
        orders = {1, *network.harmonics, *(order for load in self.loads for order in load.harmonics)}
        self._orders = np.array(sorted(orders), np.int64)
        if self._orders[-1] * network.frequency >= self.rate / 2:
            raise SupplyError(f"harmonic {self._orders[-1]} lies above half of {self.rate:g} samples per second")
        self._voltage = self._voltage_phasors()
        self._currents = [self._load_phasors(load) for load in self.loads]
        self._steady = all(len(load.profile) == 1 for load in self.loads)
        self._block = synthesis.PIECE * max(1, round(self.rate / _PIECES_PER_SECOND / synthesis.PIECE))
        self._scale = np.array([noise * FULL_SCALE_V] * 3 + [noise * FULL_SCALE_I] * 3)

    def read(self, count: int) -> NDArray[np.float64]:
        """Return the next `count` samples."""
        out = np.empty((count, 6))
        first, done = self.position, 0
        while done < count:
            at = first + done
            block = at // self._block
            n = count if self._steady else min(count, done + self._block - at % self._block)
            part = out[done:n]
            cycles = self.network.frequency / self.rate
            synthesis.waves(at, cycles, self._orders, self._phasors(block), part)
            if self.noise > 0.0:
                synthesis.add_noise(at, self.seed, self._scale, part)
            done = n
        self.position += count
        return out

    def _phasors(self, block: int) -> NDArray[np.float64]:
        """Return real and imaginary peak values [2, orders, 6] of a block."""
        total = self._voltage.copy()
        seconds = self.midnight + (block + 0.5) * self._block / self.rate
        for number, (load, phasors) in enumerate(zip(self.loads, self._currents, strict=True)):
            total += factor(load.profile, self.seed * 1000 + number, seconds) * phasors
        return np.ascontiguousarray(np.stack((total.real, total.imag)))

    def _voltage_phasors(self) -> NDArray[np.complex128]:
        phasors = np.zeros((len(self._orders), 6), complex)
        for phase, (volts, angle) in enumerate(zip(self.network.volts, self.network.angles, strict=True)):
            self._put(phasors, phase, volts, angle, angle, self.network.harmonics)
        return phasors

    def _load_phasors(self, load: Load) -> NDArray[np.complex128]:
        phasors = np.zeros((len(self._orders), 6), complex)
        for phase in load.phases:
            voltage = self.network.angles[phase]
            self._put(phasors, 3 + phase, load.current, voltage, voltage - load.angle, load.harmonics)
        return -phasors if load.export else phasors

    def _put(self, phasors: NDArray[np.complex128], channel: int, rms: float, zero: float, angle: float,
             harmonics: Harmonics) -> None:  # fmt: skip
        """Place one channel: its fundamental at `angle`, harmonics counted from the voltage's zero crossing `zero`."""
        peak = rms * math.sqrt(2.0)
        phasors[self._row(1), channel] = cmath.rect(peak, math.radians(angle))
        for order, (ratio, degrees) in harmonics.items():
            phasors[self._row(order), channel] = cmath.rect(peak * ratio, math.radians(order * zero + degrees))

    def _row(self, order: int) -> int:
        return int(np.searchsorted(self._orders, order))


def three_phase(
    v: float | Sequence[float] = 230.0,
    i: float | Sequence[float] = 1.0,
    pf: float | Sequence[float] = 1.0,
    *,
    f: float = 50.0,
    export: bool = False,
    sequence: int = 123,
    v_harmonics: Harmonics | None = None,
    i_harmonics: Harmonics | None = None,
    noise: float = 0.0,
    seed: int = 1,
    rate: float = 8000,
) -> Supply:
    """Return a steady supply: V to neutral, secondary A and power factor (+ lagging, − leading), for all phases or each."""
    volts, amperes, factors = (_three(name, value) for name, value in (("v", v), ("i", i), ("pf", pf)))
    if not all(0.0 < abs(p) <= 1.0 for p in factors):
        raise SupplyError(f"pf: {pf} is not possible (allowed: −1..1 but 0; + lagging, − leading)")
    angles = (0.0, -120.0, 120.0) if sequence == 123 else (0.0, 120.0, -120.0)
    loads = [
        Load(amperes[p], (p,), angle_of(factors[p]), export, dict(i_harmonics or {})) for p in range(3) if amperes[p] != 0.0
    ]
    return Supply(Network(volts, angles, f, dict(v_harmonics or {})), loads, rate=rate, noise=noise, seed=seed)


def _three(name: str, value: float | Sequence[float]) -> tuple[float, float, float]:
    if isinstance(value, int | float):
        return float(value), float(value), float(value)
    if len(value) != 3:
        raise SupplyError(f"{name}: {len(value)} values (allowed: one, or one for each phase)")
    return float(value[0]), float(value[1]), float(value[2])
