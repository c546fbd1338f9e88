"""Calibration: what the front end does to amplitude and time of each channel, determined and undone.

Rule: a channel's errors are a gain and a delay. They are undone on its samples, before anything is measured,
so that squares, products, harmonics and phase sequence are right together.

Theory of operation
-------------------
*Delay.* Class C's whole 0.5 % at power factor 0.5 is 0.165°, 0.07 of a sample at 8 kHz, so delays are parts
of a sample. Each channel passes a filter of Lagrange's kind with eight taps around the point where it is
read; at 50 Hz it is exact to 1e-11, at the 13th harmonic to 1e-5. All channels are then late by the same few
samples, which only the clock could tell.

*Constants.* A reference tells the true phasors of the fundamental. Those of the samples are a correlation
under a Hann window; the ratio is gain and lag. The lags' common part is time that no meter can see, and is
left out.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from countis.words.errors import SettingError
from countis.words.settings import CHANNELS, Calibration

Floats = NDArray[np.float64]
Phasors = NDArray[np.complex128]

TAPS: Final = 8
_BEFORE: Final = 3  # taps that come later than the point between them
_WEAKEST: Final = 1e-6  # of the largest of its kind; a channel below this cannot be calibrated
_CYCLES: Final = 10.0  # at least, so that the Hann window parts the fundamental from DC and its harmonics


def filters(calibration: Calibration, rate: float) -> Floats:
    """Return the filters [taps, 6], first tap for the newest sample; with its channel each delays alike."""
    late = np.array(calibration.delay) * rate
    wait = math.ceil(late.max()) + _BEFORE + 1.0 - late  # samples by which to delay each channel still
    first = np.floor(wait).astype(int) - _BEFORE
    out = np.zeros((int(first.max()) + TAPS, len(CHANNELS)))
    for channel, (start, delay, gain) in enumerate(zip(first, wait - first, calibration.gain, strict=True)):
        out[start : start + TAPS, channel] = gain * _lagrange(delay)
    return out


def _lagrange(delay: float) -> Floats:
    """Return the taps that read a signal `delay` samples ago by the polynomial through TAPS of them."""
    places = np.arange(TAPS)
    return np.array([np.prod([(delay - j) / (k - j) for j in places if j != k]) for k in places])


def phasors(samples: Floats, rate: float, frequency: float) -> Phasors:
    """Return the peak phasors [6] of the fundamental in samples [n, 6], as cosines at sample 0.

    Raises SettingError if there are too few samples.
    """
    n = len(samples)
    if n * frequency < _CYCLES * rate:
        raise SettingError("samples", f"{n} are too few to calibrate with", f"{_CYCLES:g} cycles and more")
    k = np.arange(n)
    window = 1.0 - np.cos(2.0 * np.pi * (k + 0.5) / n)
    out: Phasors = 2.0 / window.sum() * (window * np.exp(-2j * np.pi * frequency / rate * k)) @ samples
    return out


def constants_from(measured: Phasors, true: Phasors, frequency: float) -> Calibration:
    """Return the gains and delays that map measured phasors [6] onto true ones.

    Raises SettingError where a channel has no signal or its constants are out of bounds.
    """
    for kind in (slice(0, 3), slice(3, 6)):
        weak = np.abs(true[kind]) <= _WEAKEST * np.abs(true[kind]).max(initial=_WEAKEST)
        if weak.any():
            name = CHANNELS[kind][int(np.flatnonzero(weak)[0])]
            raise SettingError(name, "the reference has no signal there", "all voltages and currents")
    turned = true / measured
    turned /= (turned / np.abs(turned)).sum()  # the common part may be any angle
    lag = np.angle(turned)
    delay = (lag - lag.mean()) / (2.0 * math.pi * frequency)
    return Calibration(tuple((np.abs(true) / np.abs(measured)).tolist()), tuple(delay.tolist())).checked()
