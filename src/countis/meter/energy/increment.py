"""Measurements become integer increments of energy.

Rule: floats end here. Each phase and direction has a remainder of its own below 1 µWh, in units of
2^-30 µWh, so what is small in one window is not lost and what flows back and forth does not cancel. Windows
lie along an axis of their own, before it any of meters.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from countis.words.quantities import KINDS

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Numbers = NDArray[Any]

# What a phase, or Σ, counts: two directions, four quadrants, apparent.
PARTS: Final = ("Ea+", "Ea-", "QI", "QII", "QIII", "QIV", "Eap")
PARTS_OF_KIND: Final = {
    "Ea+": ("Ea+",), "Ea-": ("Ea-",), "Er+": ("QI", "QII"), "Er-": ("QIII", "QIV"), "Er+ind": ("QI",),
    "Er-ind": ("QIII",), "Er+cap": ("QII",), "Er-cap": ("QIV",), "Eap": ("Eap",),
}
_KINDS_FROM_PARTS: Final = np.array([[p in PARTS_OF_KIND[kind] for p in PARTS] for kind in KINDS], np.int64)
_FRACTION_BITS: Final = 30
FRACTION: Final = 1 << _FRACTION_BITS
NS_W_PER_UWH: Final = 3.6e6  # 1 W for 3.6e6 ns is 1 µWh


def gated(p: Floats, q: Floats, s: Floats, start_va: float) -> tuple[Floats, Floats, Floats]:
    """Set a phase to zero below the start power, for registers, LED and pulses alike (decision 30)."""
    runs = np.hypot(p, q) >= start_va
    return np.where(runs, p, 0.0), np.where(runs, q, 0.0), np.where(runs, s, 0.0)


def split(p: Numbers, q: Numbers, s: Numbers) -> Numbers:
    """Split active, reactive, apparent [..., n] into the PARTS [..., 7, n], none negative (decision 7)."""
    backwards, q_in, q_out = p < 0, np.maximum(q, 0), np.maximum(-q, 0)
    parts = np.empty((*p.shape[:-1], len(PARTS), p.shape[-1]), p.dtype)  # np.stack takes twice as long
    parts[..., 0, :], parts[..., 1, :] = np.maximum(p, 0), np.maximum(-p, 0)
    parts[..., 2, :], parts[..., 3, :] = np.where(backwards, 0, q_in), np.where(backwards, q_in, 0)
    parts[..., 4, :], parts[..., 5, :] = np.where(backwards, q_out, 0), np.where(backwards, 0, q_out)
    parts[..., 6, :] = s
    return parts


def whole_units(energy: Floats, remainder: Ints) -> tuple[Ints, Ints]:
    """Split the energies of windows in order into whole units, and what is left after the last.

    energy: in µWh, never negative, [..., n, 7, 3]. What is below a unit goes from each window to the next;
    `remainder` [..., 7, 3] is what the first one starts with.
    """
    whole = np.floor(energy)
    fractions = np.rint((energy - whole) * FRACTION).astype(np.int64)
    fractions[..., 0, :, :] += remainder
    running = np.cumsum(fractions, axis=-3)
    carries = running >> _FRACTION_BITS  # units in the running sum up to each window
    units = whole.astype(np.int64) + carries
    units[..., 1:, :, :] -= carries[..., :-1, :, :]
    return units, running[..., -1, :, :] & (FRACTION - 1)


def increments(p: Floats, q: Floats, s: Floats, ns: int | Ints, ratio: float | Floats,
               remainder: Ints) -> tuple[Ints, Ints]:
    """Return the increments [..., n, 9 kinds, 4 scopes] of n windows in order, and the new remainders.

    Increments are in µWh, µvarh, µVAh of the primary. p, q, s: gated secondary powers by phase [..., n, 3].
    ns: length of each window. ratio: CT primary / secondary, one for each meter. remainder: [..., 7, 3].
    Σ is the signed sum of the phases' integers, and its signs choose its own registers, so that import −
    export agree (decision 8).
    """
    scale = np.asarray(ns, float) * np.asarray(ratio, float)[..., None] / NS_W_PER_UWH
    phases, remainder = whole_units(split(p, q, s) * scale[..., None, None], remainder)
    sums = phases.sum(axis=-1, keepdims=True)
    active = sums[..., 0, :] - sums[..., 1, :]
    reactive = sums[..., 2:4, :].sum(axis=-2) - sums[..., 4:6, :].sum(axis=-2)
    total = split(active, reactive, sums[..., 6, :])
    return _KINDS_FROM_PARTS @ np.concatenate((phases, total), axis=-1), remainder
