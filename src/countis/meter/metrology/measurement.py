"""What the kernel's sums mean: the `Measurement` of each window, and the value of a second made of them.

Rule: secondary amperes and volts at the terminals here; the CT ratio is applied where energy is counted and
values are shown.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from countis.meter.metrology import calibration, kernel
from countis.models import Model
from countis.words.errors import SupplyError
from countis.words.quantities import LIVE, LIVE_COLUMN
from countis.words.settings import Calibration

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

# Columns of the live values: of three that follow each other, and of single ones.
V_PHASES, U_PAIRS, I_PHASES, P_PHASES, Q_PHASES, S_PHASES, PF_PHASES = (
    slice(at, at + 3) for at in map(LIVE_COLUMN.__getitem__, ("V1", "U12", "I1", "P1", "Q1", "S1", "PF1"))
)
U, V, I, IN, P, Q, S, PF = (LIVE_COLUMN[symbol] for symbol in ("U", "V", "I", "IN", "P", "Q", "S", "PF"))
F, SEQUENCE = LIVE_COLUMN["f"], LIVE_COLUMN["sequence"]
_ALL_P, _ALL_Q, _ALL_S, _ALL_PF = (slice(total, total + 4) for total in (P, Q, S, PF))  # with their phases
_SQUARED: Final = np.r_[U_PAIRS, V_PHASES, I_PHASES, IN]
_AVERAGED: Final = np.r_[P_PHASES, Q_PHASES]
_OF_PHASES: Final = np.r_[V_PHASES, V, IN, P_PHASES, Q_PHASES, S_PHASES, PF_PHASES]
CT_COLUMNS: Final = [column for column, quantity in enumerate(LIVE) if quantity.by_ct]  # times the CT ratio
_SQRT2: Final = 2.0**0.5
_SQRT3: Final = 3.0**0.5
# Below this share of S the sign of Q says nothing about lead or lag: PF is 1.000 either way. Assumed.
_Q_DEAD_BAND: Final = 1e-3
IDEAL: Final = Calibration()
DEAD_TERMINAL: Final = 0.7  # of three wires: at the star point it divides two voltages by √3 (decision 66)
_HALF_COUNT: Final = 0.005  # Hz; 44.996 is shown as 45.00
_ROTATION_SURE: Final = 0.3  # of V², a balanced system has 2.6; assumed


@dataclass(frozen=True, slots=True, eq=False)
class Measurement:
    """The values of windows of whole cycles that follow each other; mostly of one.

    ns: their lengths, int64 [n]. live: the live quantities by LIVE_COLUMN [n, len(LIVE)], with secondary
    amperes, NaN = not available. whole: False for windows that began while the reference was settling; they
    count, but the display leaves them out.
    """

    ns: Ints
    live: Floats
    whole: NDArray[np.bool_]

    @classmethod
    def of(cls, model: Model, *, seconds: float | Sequence[float] | Floats, v: Sequence[float] | Floats,
           i: Sequence[float] | Floats, p: Sequence[float] | Floats, q: Sequence[float] | Floats,
           f: float = 50.0, sequence: float = 123.0) -> Measurement:
        """Make a measurement from V, secondary A, W and var by phase, [3] or [n, 3] of n windows.

        seconds: their length, one or [n]. U and IN are those of phases 120° apart.
        """
        parts = np.broadcast_arrays(v, i, p, q, np.asarray(seconds, float)[..., None])
        volts, amperes, watts, vars_ = (np.array(x, float).reshape(-1, 3) for x in parts[:4])
        live = np.full((len(volts), len(LIVE_COLUMN)), np.nan)
        live[:, V_PHASES], live[:, I_PHASES] = volts, amperes
        live[:, P_PHASES], live[:, Q_PHASES] = watts, vars_
        turned = volts * np.exp(-2j * np.pi / 3 * np.arange(3))
        phi = np.arctan2(vars_, watts)
        live[:, U_PAIRS] = np.abs(turned - np.roll(turned, -1, axis=-1))
        live[:, IN] = abs(np.sum(amperes * np.exp(-1j * (2 * np.pi / 3 * np.arange(3) + phi)), axis=-1))
        live[:, F], live[:, SEQUENCE] = f, sequence
        _derive(live, model)
        ns = np.rint(parts[4].reshape(-1, 3)[:, 0] * 1e9).astype(np.int64)
        return cls(ns, live, np.ones(len(live), bool))

    def __len__(self) -> int:
        return len(self.ns)

    def __getitem__(self, at: slice) -> Measurement:
        """Return some of the windows."""
        return Measurement(self.ns[at], self.live[at], self.whole[at])

    @property
    def total_ns(self) -> int:
        """How long all windows last."""
        return int(self.ns.sum())


def missing_phases(live: NDArray[np.float64], model: Model, wires: int) -> tuple[str, ...]:
    """Return the phases without voltage in the live values of a second, of L1 L2 L3 (decision 17)."""
    if wires == 3:  # the highest voltage lies opposite a dead terminal
        u12, u23, u31 = (float(u) for u in live[U_PAIRS])
        opposite = {"L3": u12, "L1": u23, "L2": u31}
        dead = max(opposite, key=lambda phase: opposite[phase])
        return (dead,) if min(u12, u23, u31) < DEAD_TERMINAL * opposite[dead] else ()
    return tuple(f"L{k}" for k, v in enumerate(live[V_PHASES], 1) if v < model.missing_below * model.un)


def supply_share(live: Floats, model: Model) -> Floats:
    """Return the share of its nominal voltage that feeds the meter: of L1–N, or of L1–L2 with three wires."""
    volts, between = live[..., V_PHASES.start], live[..., U_PAIRS.start]
    return np.where(np.isnan(volts), between / (_SQRT3 * model.un), volts / model.un)


def measure(rows: Floats, model: Model, wires: int = 4) -> Floats:
    """Turn window rows of the kernel [k, ROW] into live values [k, len(LIVE)], secondary."""
    live = np.full((len(rows), len(LIVE_COLUMN)), np.nan)
    root = np.sqrt(np.maximum(rows[:, kernel.SQUARES : kernel.ACTIVE], 0.0))
    live[:, V_PHASES], live[:, I_PHASES] = root[:, 0:3], root[:, 3:6]
    live[:, U_PAIRS], live[:, IN] = root[:, 6:9], root[:, 9]
    live[:, P_PHASES] = rows[:, kernel.ACTIVE : kernel.REACTIVE]
    live[:, Q_PHASES] = rows[:, kernel.REACTIVE : kernel.ROTATION]
    f = rows[:, kernel.FREQUENCY]
    low, high = model.f_range
    live[:, F] = np.where((f >= low - _HALF_COUNT) & (f <= high + _HALF_COUNT), f, np.nan)
    _derive(live, model)
    rotation, mean = rows[:, kernel.ROTATION], live[:, U] ** 2 / 3.0
    missing = (live[:, V_PHASES] < model.missing_below * model.un).any(axis=1)
    if wires == 3:
        highest, lowest = live[:, U_PAIRS].max(axis=1), live[:, U_PAIRS].min(axis=1)
        missing = (highest < model.missing_below * model.un * _SQRT3) | (lowest < DEAD_TERMINAL * highest)
        _forget_phases(live, model)
    sure = ~missing & (np.abs(rotation) > _ROTATION_SURE * mean)
    live[:, SEQUENCE] = np.where(sure, np.where(rotation > 0, 123.0, 132.0), np.nan)
    return live


def _forget_phases(live: Floats, model: Model) -> None:
    """Leave what two wattmeters know (decision 27); S is of the mean voltage and current (assumed)."""
    live[..., S] = _SQRT3 * live[..., U] * live[..., I]
    live[..., PF] = _power_factor(live[..., P], live[..., Q], live[..., S], model)
    live[..., _OF_PHASES] = np.nan


def _derive(live: Floats, model: Model) -> None:
    """Fill in means, sums, S and PF from V, I, P and Q by phase (decisions 4, 7, 9)."""
    live[..., S_PHASES] = live[..., V_PHASES] * live[..., I_PHASES]
    live[..., V] = np.add.reduce(live[..., V_PHASES], axis=-1) / 3.0
    live[..., U] = np.add.reduce(live[..., U_PAIRS], axis=-1) / 3.0
    live[..., I] = np.add.reduce(live[..., I_PHASES], axis=-1) / 3.0
    for total, phases in ((P, P_PHASES), (Q, Q_PHASES), (S, S_PHASES)):
        live[..., total] = np.add.reduce(live[..., phases], axis=-1)
    live[..., _ALL_PF] = _power_factor(live[..., _ALL_P], live[..., _ALL_Q], live[..., _ALL_S], model)


def _power_factor(p: Floats, q: Floats, s: Floats, model: Model) -> Floats:
    """Return P/S: + lagging, − leading; NaN where there is too little of it to say (decision 7)."""
    pf = np.full(s.shape, np.nan)
    np.divide(np.abs(p), s, out=pf, where=s >= model.start_va)
    np.minimum(pf, 1.0, out=pf)
    leading = (p * q < 0) & (np.abs(q) > _Q_DEAD_BAND * s)
    return np.where(leading, -pf, pf)


def combine(windows: Sequence[Measurement], model: Model) -> Floats:
    """Return the value of a second from the windows that closed in it, one whole at least (decision 31).

    RMS of V and I, mean of P, Q and f, each by the length of the windows; S and PF from them.
    """
    stack = np.concatenate([m.live[m.whole] for m in windows])
    live: Floats = stack[-1].copy()  # the sequence is that of the last
    if len(stack) == 1:
        return live
    weights = np.concatenate([m.ns[m.whole] for m in windows]).astype(float)
    weights /= weights.sum()
    live[_SQUARED] = np.sqrt(weights @ stack[:, _SQUARED] ** 2)
    live[_AVERAGED] = weights @ stack[:, _AVERAGED]
    known = ~np.isnan(stack[:, F])
    if known.any():
        live[F] = (stack[known, F] * weights[known]).sum() / weights[known].sum()
    _derive(live, model)
    if np.isnan(live[V]):  # three wires
        live[[P, Q]] = weights @ stack[:, [P, Q]]
        _forget_phases(live, model)
    return live


class Metrology:
    """The first station: samples in, measurements out.

    rate: samples per second, 800..50 000; accuracy is promised from 3200 on. State is carried, so chunks do
    not matter.
    """

    def __init__(self, model: Model, rate: float, wires: int = 4, constants: Calibration = IDEAL) -> None:
        self.model, self.rate, self.wires = model, float(rate), wires
        self._filters = None if constants == IDEAL else calibration.filters(constants, self.rate)
        self._coefficients = kernel.band_pass(self.rate)
        self.restart()

    def converted(self, samples: Floats) -> Floats:
        """Return samples clipped at the full scale of the converter (decision 44). SupplyError on NaN."""
        block = np.ascontiguousarray(samples, np.float64)
        peaks = _SQRT2 * self.model.v_clip, _SQRT2 * self.model.i_clip
        if kernel.within(block, *peaks):
            return block
        if not np.isfinite(block).all():
            bad = int(np.argwhere(~np.isfinite(block))[0][0])
            raise SupplyError("samples", f"sample {bad} is not a number", "finite volts and amperes")
        limit = np.repeat(peaks, 3)
        return np.clip(block, -limit, limit)

    def restart(self) -> None:
        """Forget the open window and the reference; the next sample is the first."""
        self._floats, self._integers, self._tail = kernel.new_state(self.rate)
        self._out = np.empty((3, kernel.ROW))  # room for the rows of a call
        self._edge = 0  # ns of the last window edge since the first sample
        self._fed = False

    def _corrected(self, samples: Floats, filters: Floats) -> Floats:
        """Undo the errors of the front end; before the first sample the signal is taken as constant."""
        if not self._fed:
            self._before = np.repeat(samples[:1], len(filters) - 1, axis=0)
        line = np.concatenate((self._before, samples))
        self._before = line[len(samples) :].copy()
        out = np.empty_like(samples)
        kernel.correct(line, filters, out)
        return out

    def feed(self, samples: Floats) -> Measurement:
        """Take samples [n, 6] of V1 V2 V3 I1 I2 I3; return the windows that closed, in order, if any."""
        if len(samples) == 0:
            return self._measurement(self._out[:0])
        if self._filters is not None:
            samples = self._corrected(samples, self._filters)
        self._fed = True
        if self.wires == 3:
            samples = samples.copy()
            samples[:, :3] -= samples[:, 2:3]  # voltages against L3; the third is nothing then
        most = int(len(samples) * kernel.MOST_ROWS / self.rate) + 3
        if len(self._out) < most:
            self._out = np.empty((most, kernel.ROW))
        rows = kernel.run(samples, self.rate, self._coefficients, self._floats, self._integers, self._tail,
                          self._out)
        return self._measurement(self._out[:rows])

    def finish(self) -> Measurement:
        """Close the open window at the last sample and start anew."""
        rows = 0
        if self._fed:
            rows = kernel.finish(self.rate, self._floats, self._integers, self._tail, self._out)
        measurement = self._measurement(self._out[:rows])
        self.restart()
        return measurement

    def _measurement(self, rows: Floats) -> Measurement:
        at, fraction = rows[:, kernel.EDGE], rows[:, kernel.FRACTION]
        # The whole part of an edge is an integer, so its time is exact to a nanosecond for centuries.
        seconds, samples = np.divmod(at, self.rate) if self.rate.is_integer() else (np.zeros(len(at)), at)
        part_ns = np.rint((samples + fraction) * 1e9 / self.rate).astype(np.int64)
        edges = seconds.astype(np.int64) * 1_000_000_000 + part_ns
        ns = edges.copy()  # np.diff with what was before takes as long as all the rest
        ns[1:] -= edges[:-1]
        if len(edges) > 0:
            ns[0] -= self._edge
            self._edge = int(edges[-1])
        return Measurement(ns, measure(rows, self.model, self.wires), rows[:, kernel.WHOLE] > 0.0)
