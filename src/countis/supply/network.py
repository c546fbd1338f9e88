"""Networks, loads, wiring and the front end, and the phasors they make.

Rule: values only, and pure functions of them; `source.py` plays a list of them, one after the other.
"""

from __future__ import annotations

import cmath
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from countis.supply.profiles import PROFILES, Points
from countis.words import settings
from countis.words.quantities import SCOPES, SUM

# order -> (ratio to the fundamental, degrees at the positive zero crossing of the phase's voltage)
Harmonics = Mapping[int, tuple[float, float]]
Samples = NDArray[np.float64]  # [n, 6 channels] in V and secondary A, or columns of a recording
Phasors = NDArray[np.complex128]  # [orders, 6 channels], peak values
PHASES: Final = SCOPES[:SUM]
FULL_SCALE: Final = np.array(settings.FULL_SCALE) * math.sqrt(2.0)  # peak
FULL_SCALE_V, FULL_SCALE_I = float(FULL_SCALE[0]), float(FULL_SCALE[3])
_FLOATING: Final = 0.2  # of all admittances; where import and export leave less, nothing holds the star point


@dataclass(frozen=True, slots=True)
class Network:
    """The voltages: RMS of the fundamental to neutral in V, angles in degrees, harmonics of all three."""

    volts: tuple[float, float, float] = (230.0, 230.0, 230.0)
    angles: tuple[float, float, float] = (0.0, -120.0, 120.0)
    frequency: float = 50.0
    harmonics: Harmonics = field(default_factory=dict)

    def phasors(self, orders: Sequence[int]) -> Phasors:
        """Return the phasors of the voltages in channels 0..2."""
        out = np.zeros((len(orders), 6), complex)
        for phase, (volts, angle) in enumerate(zip(self.volts, self.angles, strict=True)):
            _put(out, orders, phase, volts, angle, angle, self.harmonics)
        return out


@dataclass(frozen=True, slots=True)
class Load:
    """One load: RMS of the fundamental in secondary A on its phases, degrees behind the voltage."""

    current: float
    phases: tuple[int, ...] = (0, 1, 2)
    angle: float = 0.0
    export: bool = False  # the current is turned round
    harmonics: Harmonics = field(default_factory=dict)  # none of a fired or bursting load
    profile: Points = PROFILES["steady"]
    fired: float = 0.0  # degrees after each zero crossing of the voltage at which a dimmer lets it through
    burst: tuple[int, int] | None = None  # whole cycles on and off, from the voltage's zero crossing on

    @property
    def switched(self) -> bool:
        """Whether its current is no sum of harmonics."""
        return self.fired > 0.0 or self.burst is not None

    def phasors(self, network: Network, orders: Sequence[int]) -> Phasors:
        """Return the phasors of its currents in channels 3..5, before any wiring; 0 for a switched load."""
        out = np.zeros((len(orders), 6), complex)
        for phase in () if self.switched else self.phases:
            zero = network.angles[phase]
            _put(out, orders, 3 + phase, self.current, zero, zero - self.angle, self.harmonics)
        return -out if self.export else out


@dataclass(frozen=True, slots=True)
class Wiring:
    """How the meter is connected: what is wrong, and what is right."""

    missing: tuple[int, ...] = ()  # phases whose voltage terminal is dead
    voltage: tuple[int, int, int] = (0, 1, 2)  # the phase on each voltage terminal
    ct: tuple[int, int, int] = (0, 1, 2)  # the phase that each current transformer embraces
    reversed: tuple[int, ...] = ()  # terminals whose CT is the wrong way round
    neutral_lost: bool = False  # broken upstream of the installation, so that the loads hold the star point

    @property
    def transformers(self) -> list[tuple[int, float]]:
        """The CTs of I1 I2 I3: (phase it embraces, factor: −1 where it is the wrong way round)."""
        return [(phase, -1.0 if k in self.reversed else 1.0) for k, phase in enumerate(self.ct)]


@dataclass(frozen=True, slots=True)
class FrontEnd:
    """What lies between terminals and samples, by channel V1 V2 V3 I1 I2 I3."""

    gain: tuple[float, ...] = (1.0,) * 6
    offset: tuple[float, ...] = (0.0,) * 6  # V and A
    phase: tuple[float, ...] = (0.0,) * 6  # lag in degrees at 50 Hz; of harmonics as much as of a delay
    noise: float = 0.0  # RMS, of full scale
    bits: int | None = None  # of the converter, which clips at full scale; None is ideal

    def lags(self, frequency: float) -> NDArray[np.float64]:
        """Return the turns by which each channel lags at a frequency."""
        return np.array(self.phase) / 360.0 * (frequency / 50.0)


@dataclass(frozen=True, slots=True)
class State:
    """Everything a supply is at one time."""

    network: Network = field(default_factory=Network)
    loads: tuple[Load, ...] = ()
    wiring: Wiring = field(default_factory=Wiring)
    front_end: FrontEnd = field(default_factory=FrontEnd)
    tariff_volts: float = 0.0

    @property
    def orders(self) -> set[int]:
        """Every order of harmonic in it."""
        return {1, *self.network.harmonics, *(order for load in self.loads for order in load.harmonics)}

    def wired(self, phasors: Phasors, orders: Sequence[int]) -> Phasors:
        """Return what arrives at the terminals, with the phase errors of the channels."""
        wiring = self.wiring
        out = lose_neutral(phasors, orders) if wiring.neutral_lost else phasors.copy()
        out[:, :3] = out[:, list(wiring.voltage)]
        out[:, list(wiring.missing)] = 0.0
        out[:, 3:] = np.stack([factor * out[:, 3 + phase] for phase, factor in wiring.transformers], axis=1)
        out *= np.exp(-1j * (2.0 * np.pi * np.outer(orders, self.front_end.lags(self.network.frequency))))
        return out


def angle_of(pf: float) -> float:
    """Return the angle in degrees of a power factor: + lagging, − leading."""
    return math.copysign(math.degrees(math.acos(abs(pf))), pf)


def _put(phasors: Phasors, orders: Sequence[int], channel: int, rms: float, zero: float, angle: float,
         harmonics: Harmonics) -> None:
    """Fill one channel: its fundamental at `angle`, harmonics from the voltage's zero crossing `zero` on."""
    peak = rms * math.sqrt(2.0)
    phasors[orders.index(1), channel] = cmath.rect(peak, math.radians(angle))
    for order, (ratio, degrees) in harmonics.items():
        phasors[orders.index(order), channel] = cmath.rect(peak * ratio, math.radians(order * zero + degrees))


def at_terminals(state: State) -> Phasors:
    """Return the phasors at the terminals, before the front end; the fundamental is the first order."""
    network, orders = state.network, sorted(state.orders)
    total = network.phasors(orders) + sum(load.phasors(network, orders) for load in state.loads)
    return replace(state, front_end=FrontEnd()).wired(total, orders)


def lose_neutral(phasors: Phasors, orders: Sequence[int]) -> Phasors:
    """Return voltages and currents when the neutral is broken upstream and the loads hold the star point."""
    out = phasors.copy()
    volts, amperes = phasors[:, :3], phasors[:, 3:]
    first = orders.index(1)  # at which loads are admittances
    alive = np.abs(volts[first]) > 0.0
    admittances = np.where(alive, amperes[first] / np.where(alive, volts[first], 1.0), 0.0)
    total = admittances.sum()
    holds = abs(total) > _FLOATING * np.abs(admittances).sum() and abs(total) > 0.0
    star = (admittances * volts[first]).sum() / total if holds else volts[first].mean()
    out[first, :3] = volts[first] - star
    amperes = amperes.copy()
    amperes[first] = admittances * out[first, :3]
    out[:, 3:] = amperes - amperes.mean(axis=1, keepdims=True)  # without what flowed in the neutral
    return out
