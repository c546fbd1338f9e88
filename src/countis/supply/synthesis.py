"""The compiled synthesiser: phasors in, samples out.

Rule: a sample depends on its number alone, never on how many are read at once. Oscillators restart from the
exact phase every PIECE samples; noise is a hash of seed, sample and channel.
"""

from __future__ import annotations

import math
from typing import Final

import numba
import numpy as np

numba.config.SLP_VECTORIZE = 1  # type: ignore[attr-defined]

PIECE: Final = 64
_SPREAD: Final = math.sqrt(4.0 / 12.0)  # standard deviation of the sum of four uniform numbers of width 1


@numba.njit(cache=True, nogil=True, error_model="numpy", inline="always")
def _mix(z):  # type: ignore[no-untyped-def]
    """Scramble 64 bits (the finaliser of splitmix64)."""
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@numba.njit(cache=True, nogil=True, error_model="numpy")
def waves(first, turns, cycles, orders, phasors, out):  # type: ignore[no-untyped-def]
    """Write samples first.. of the sum over orders k of re·sin(kθ) + im·cos(kθ) into `out` [n, 6].

    θ/2π = turns + sample × cycles. phasors: [2, orders, 6], peak values.
    """
    n, h = out.shape[0], orders.shape[0]
    c, s, rc, rs = np.empty(h), np.empty(h), np.empty(h), np.empty(h)
    for k in range(h):
        w = 2.0 * math.pi * cycles * orders[k]
        rc[k], rs[k] = math.cos(w), math.sin(w)
    start = first - first % PIECE  # of the oscillators
    skip = first - start
    i = 0
    while i < n:
        for k in range(h):
            turned = turns + start * cycles
            phase = 2.0 * math.pi * ((turned - math.floor(turned)) * orders[k])
            c[k], s[k] = math.cos(phase), math.sin(phase)
            for _ in range(skip):
                c[k], s[k] = c[k] * rc[k] - s[k] * rs[k], c[k] * rs[k] + s[k] * rc[k]
        end = min(n, i + PIECE - skip)
        while i < end:
            x0 = x1 = x2 = x3 = x4 = x5 = 0.0
            for k in range(h):
                ck, sk = c[k], s[k]
                x0 += phasors[0, k, 0] * sk + phasors[1, k, 0] * ck
                x1 += phasors[0, k, 1] * sk + phasors[1, k, 1] * ck
                x2 += phasors[0, k, 2] * sk + phasors[1, k, 2] * ck
                x3 += phasors[0, k, 3] * sk + phasors[1, k, 3] * ck
                x4 += phasors[0, k, 4] * sk + phasors[1, k, 4] * ck
                x5 += phasors[0, k, 5] * sk + phasors[1, k, 5] * ck
                c[k], s[k] = ck * rc[k] - sk * rs[k], ck * rs[k] + sk * rc[k]
            out[i, 0], out[i, 1], out[i, 2], out[i, 3], out[i, 4], out[i, 5] = x0, x1, x2, x3, x4, x5
            i += 1
        start += PIECE
        skip = 0


@numba.njit(cache=True, nogil=True, error_model="numpy")
def add_noise(first, seed, scale, out):  # type: ignore[no-untyped-def]
    """Add noise of RMS scale[channel] to samples first.. in `out` [n, 6]: nearly normal, up to ±3.5 sigma."""
    key = _mix(np.uint64(seed) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(1))
    for i in range(out.shape[0]):
        for ch in range(6):
            number = np.uint64(first + i) * np.uint64(6) + np.uint64(ch)
            z = _mix(key + number * np.uint64(0x9E3779B97F4A7C15))
            total = 0.0
            for quarter in range(4):
                total += float((z >> np.uint64(16 * quarter)) & np.uint64(0xFFFF))
            out[i, ch] += ((total + 2.0) / 65536.0 - 2.0) / _SPREAD * scale[ch]


@numba.njit(cache=True, nogil=True, error_model="numpy")
def add_switched(first, zero, cycles, peak, lag, fired, on, off, out):  # type: ignore[no-untyped-def]
    """Add a current that flows from `fired` turns after each zero crossing, in `on` cycles of every on + off.

    A sample is the mean over its interval, as a converter takes it (a point sample would alias), with the
    droop of that mean at the fundamental undone. zero: turns of the voltage at sample 0. out: samples first..
    of one channel.
    """
    half = 0.5 * cycles
    droop = math.sin(math.pi * cycles)
    if droop <= 0.0:  # a network that stands still has no zero crossing to fire from
        return
    for i in range(out.shape[0]):
        middle = zero + (first + i) * cycles
        k = math.floor((middle - half) * 2.0)
        total = 0.0
        for crossing in range(k, k + 2):
            low, high = max(middle - half, crossing * 0.5 + fired), min(middle + half, crossing * 0.5 + 0.5)
            if high > low and (crossing // 2) % (on + off) < on:
                total += math.cos(2.0 * math.pi * (low - lag)) - math.cos(2.0 * math.pi * (high - lag))
        out[i] += peak * total / (2.0 * droop)
