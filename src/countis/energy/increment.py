"""One measurement becomes integer increments of energy.

Rule: floats end here. Each phase and direction has a remainder of its own below 1 µWh, in units of 2^-30 µWh, so what is
small in one window is not lost and what flows back and forth does not cancel. Works along any leading axis of meters.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from countis.quantities import KINDS, SUM

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

# What a phase counts by itself: two directions, four quadrants, apparent.
PARTS: Final = ("Ea+", "Ea-", "QI", "QII", "QIII", "QIV", "Eap")
_FRACTION_BITS: Final = 30
_FRACTION: Final = 1 << _FRACTION_BITS
_NS_W_PER_UWH: Final = 3.6e6  # 1 W for 3.6e6 ns is 1 µWh
_EA_IN, _EA_OUT, _ER_IN, _ER_OUT, _ER_IN_IND, _ER_OUT_IND, _ER_IN_CAP, _ER_OUT_CAP, _EAP = range(len(KINDS))


def gated(p: Floats, q: Floats, s: Floats, start_va: float) -> tuple[Floats, Floats, Floats]:
    """Set a phase to zero where it is below the start power: one decision for registers, LED and pulses (decision 30)."""
    runs = np.hypot(p, q) >= start_va
    return np.where(runs, p, 0.0), np.where(runs, q, 0.0), np.where(runs, s, 0.0)


def phase_parts(p: Floats, q: Floats, s: Floats) -> Floats:
    """Split powers by phase [..., 3] into the PARTS [..., 7, 3], none of them negative (decision 7)."""
    backwards = p < 0.0
    q_in, q_out = np.maximum(q, 0.0), np.maximum(-q, 0.0)
    return np.stack(
        (
            np.maximum(p, 0.0),
            np.maximum(-p, 0.0),
            np.where(backwards, 0.0, q_in),
            np.where(backwards, q_in, 0.0),
            np.where(backwards, q_out, 0.0),
            np.where(backwards, 0.0, q_out),
            s,
        ),
        axis=-2,
    )


def whole_units(energy: Floats, remainder: Ints) -> tuple[Ints, Ints]:
    """Split energy in µWh (never negative) into whole units and what is carried to the next window."""
    whole = np.floor(energy)
    carried = remainder + np.rint((energy - whole) * _FRACTION).astype(np.int64)
    return whole.astype(np.int64) + (carried >> _FRACTION_BITS), carried & (_FRACTION - 1)


def increments(p: Floats, q: Floats, s: Floats, ns: int | Ints, ratio: float | Floats, remainder: Ints) -> tuple[Ints, Ints]:
    """Return the increments [..., 9 kinds, 4 scopes] of a window in µWh, µvarh, µVAh of the primary, and the new remainders.

    p, q, s: gated secondary powers by phase [..., 3]. ns: length of the window. ratio: CT primary / secondary, one for each
    meter. remainder: [..., 7, 3]. Σ is the signed sum of the phases' integers, so that import − export agree (decision 8).
    """
    scale = np.asarray(ns, float) * np.asarray(ratio, float) / _NS_W_PER_UWH
    parts, remainder = whole_units(phase_parts(p, q, s) * scale[..., None, None], remainder)
    d = np.empty((*parts.shape[:-2], len(KINDS), 4), np.int64)
    d[..., _EA_IN, :SUM] = parts[..., 0, :]
    d[..., _EA_OUT, :SUM] = parts[..., 1, :]
    d[..., _ER_IN, :SUM] = parts[..., 2, :] + parts[..., 3, :]
    d[..., _ER_OUT, :SUM] = parts[..., 4, :] + parts[..., 5, :]
    d[..., _ER_IN_IND, :SUM] = parts[..., 2, :]
    d[..., _ER_OUT_IND, :SUM] = parts[..., 4, :]
    d[..., _ER_IN_CAP, :SUM] = parts[..., 3, :]
    d[..., _ER_OUT_CAP, :SUM] = parts[..., 5, :]
    d[..., _EAP, :SUM] = parts[..., 6, :]
    sums = d[..., :SUM].sum(axis=-1)
    active, reactive = sums[..., _EA_IN] - sums[..., _EA_OUT], sums[..., _ER_IN] - sums[..., _ER_OUT]
    q_in, q_out = np.maximum(reactive, 0), np.maximum(-reactive, 0)
    backwards = p.sum(axis=-1) < 0.0
    d[..., _EA_IN, SUM] = np.maximum(active, 0)
    d[..., _EA_OUT, SUM] = np.maximum(-active, 0)
    d[..., _ER_IN, SUM] = q_in
    d[..., _ER_OUT, SUM] = q_out
    d[..., _ER_IN_IND, SUM] = np.where(backwards, 0, q_in)
    d[..., _ER_OUT_IND, SUM] = np.where(backwards, q_out, 0)
    d[..., _ER_IN_CAP, SUM] = np.where(backwards, q_in, 0)
    d[..., _ER_OUT_CAP, SUM] = np.where(backwards, 0, q_out)
    d[..., _EAP, SUM] = sums[..., _EAP]
    return d, remainder
