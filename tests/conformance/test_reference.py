"""The compiled kernel against a plain reference in extended precision, written from its theory of operation alone.

Rule: signals come from closed forms in here, and nothing of the kernel's arithmetic is used: only its rows and their edges.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
from countis.meter.metrology import kernel
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Longs = NDArray[np.longdouble]
Phasors = NDArray[np.complex128]

RATE = 8000
LENGTH = 3 * RATE
ORDERS = 40
SIGNALS = range(20)
QUIET = range(14)  # those after them have noise
NOISE = 1e-3

# Relative bounds, the worst found beside them. The integrals are exact to rounding. What is left against the closed forms is
# where a window ends: harmonics of 1 % up to the 40th bend the reference between two samples, by some thousandths of one.
SAME_INTEGRAL = 1e-12  # 7e-16
RUN = {"V": 3e-7, "I": 3e-7, "U": 3e-7, "IN": 1e-6, "P": 5e-7, "f": 2e-7}  # 1.1e-7, 1.4e-7, 6e-8, 3.8e-7, 1.9e-7, 8e-8
WINDOW = {"V": 6e-6, "I": 6e-6, "U": 4e-6, "IN": 1e-5, "P": 6e-6, "f": 4e-6}  # 2.8e-6, 2.2e-6, 1.5e-6, 5.5e-6, 2.6e-6, 1.7e-6
REACTIVE = 1e-5  # 5.5e-6 without noise, 3.1e-6 with
ROTATION = 4e-6  # 1.4e-6


@dataclass(frozen=True)
class Case:
    """A signal, by what it is made of, and the rows of its windows."""

    f: float
    phasors: Phasors  # [ORDERS + 1, 6], RMS
    samples: Floats
    rows: Floats

    @property
    def whole(self) -> Floats:
        rows: Floats = self.rows[self.rows[:, kernel.WHOLE] == 1.0]
        return rows


def rows_of(samples: Floats, to_the_end: bool = False) -> Floats:
    """Return the rows of all windows; `to_the_end` with the one that the last sample closes."""
    state = kernel.new_state(float(RATE))
    out = np.empty((len(samples) * kernel.MOST_ROWS // RATE + 3, kernel.ROW))
    count = kernel.run(samples, float(RATE), kernel.band_pass(float(RATE)), *state, out)
    if to_the_end:
        count += kernel.finish(float(RATE), *state, out[count:])
    return out[:count].copy()


def random_phasors(rng: np.random.Generator) -> Phasors:
    """Unbalanced, either sequence, power in any quadrant; each channel has harmonics of its own."""
    size = np.concatenate((230.0 * rng.uniform(0.85, 1.1, 3), rng.uniform(1.0, 6.0, 3)))
    volts = rng.choice([-1.0, 1.0]) * np.array([0.0, 1.0, 2.0]) * 2.0 * np.pi / 3.0 + rng.uniform(-0.15, 0.15, 3)
    turn = np.concatenate((volts, volts + rng.uniform(-np.pi, np.pi, 3)))
    share = rng.uniform(0.01, 0.06, (ORDERS + 1, 6)) / np.sqrt(np.maximum(np.arange(ORDERS + 1), 1))[:, None]
    phasors: Phasors = size * share * np.exp(1j * rng.uniform(-np.pi, np.pi, share.shape))
    phasors[0], phasors[1] = 0.0, size * np.exp(1j * turn)
    return phasors


def turns(f: float, at: Longs, orders: int = ORDERS) -> NDArray[np.clongdouble]:
    """Return exp(jhωt) of the orders 0..`orders`, [len(at), orders + 1], `at` in samples."""
    angle = 2 * np.pi * np.longdouble(1) * ((at * np.longdouble(f) / RATE) % 1)
    steps = np.repeat(np.exp(1j * angle)[:, None], orders + 1, axis=1)
    steps[:, 0] = 1
    return np.cumprod(steps, axis=1)


@cache
def case(number: int) -> Case:
    rng = np.random.default_rng([44, number])
    f, phasors = float(rng.uniform(45.0, 65.0)), random_phasors(rng)
    oscillations = turns(f, np.arange(LENGTH, dtype=np.longdouble)).astype(np.complex128)
    samples = np.sqrt(2.0) * (oscillations @ phasors).real
    if number not in QUIET:
        samples += NOISE * abs(phasors[1]) * rng.standard_normal(samples.shape)
    return Case(f, phasors, samples, rows_of(samples))


def products(samples: Floats) -> Longs:
    """Return the squares of V1..V3, I1..I3, U12 U23 U31 and IN, and v·i by phase, sample by sample."""
    x = samples.astype(np.longdouble)
    v, i = x[:, :3], x[:, 3:]
    signals = np.column_stack((x, v - np.roll(v, -1, axis=1), i.sum(axis=1)))
    both: Longs = np.column_stack((signals**2, v * i))
    return both


def completion(y: Longs, at: int, fraction: float) -> Longs:
    """Return what completes the trapezoidal sum up to sample `at` to the integral up to `at` + `fraction`.

    One cubic goes through the two samples before the edge and the two after. Its integral is the piece beyond `at`, and its
    slope at `at` is that of the Euler–Maclaurin correction. (A central difference of two or four samples is 7e-6 off the
    kernel in these signals.) A cubic obeys that rule exactly, so counting from the sample after the edge gives the same.
    """
    before, here, after, beyond = y[at - 1 : at + 3]
    slope = after - before / 3 - here / 2 - beyond / 6
    bend = (before - 2 * here + after) / 2
    twist = (beyond - before) / 6 - (after - here) / 2
    d = np.longdouble(fraction)
    piece: Longs = d * (here + d * (slope / 2 + d * (bend / 3 + d * twist / 4)))
    completed: Longs = piece - slope / 12
    return completed


def means(y: Longs, start: Floats, row: Floats) -> Longs:
    """Return the means of `y` between the edge of the row before, `start`, and that of `row`."""
    (a, b), (c, d) = ((int(edge[kernel.EDGE]), float(edge[kernel.FRACTION])) for edge in (start, row))
    whole = y[a : c + 1].sum(axis=0) - (y[a] + y[c]) / 2
    total: Longs = whole + completion(y, c, d) - completion(y, a, b)
    mean: Longs = total / (np.longdouble(c - a) + np.longdouble(d) - np.longdouble(b))
    return mean


def natural(squares: Longs | Floats) -> Longs | Floats:
    """Return the scale of the ten squares and of P by phase: the squares themselves, and V·I."""
    return np.concatenate((squares, np.sqrt(squares[:3] * squares[3:6])))


def agree(samples: Floats, rows: Floats) -> None:
    y = products(samples)
    for start, row in pairwise(rows):
        expected = means(y, start, row)
        found = row[kernel.SQUARES : kernel.REACTIVE]
        assert (abs(found - expected) <= SAME_INTEGRAL * natural(expected[:10])).all()


@pytest.mark.parametrize("number", SIGNALS)
def test_squares_and_products_are_the_integrals_of_the_samples(number: int) -> None:
    assert len(case(number).whole) >= 11
    agree(case(number).samples, case(number).rows)  # those that are not whole as well, but the first has no edge before it


def closed_form(phasors: Phasors) -> dict[str, Floats]:
    v, i = phasors[:, :3], phasors[:, 3:]
    signals = {"V": v, "I": i, "U": v - np.roll(v, -1, axis=1), "IN": i.sum(axis=1, keepdims=True)}
    rms = {name: np.sqrt((abs(signal) ** 2).sum(axis=0)) for name, signal in signals.items()}
    return rms | {"P": (v * i.conj()).real.sum(axis=0)}


def shown(row: Floats) -> dict[str, Floats]:
    root, p = np.sqrt(row[kernel.SQUARES : kernel.ACTIVE]), row[kernel.ACTIVE : kernel.REACTIVE]
    f = row[[kernel.FREQUENCY]]
    return {"V": root[:3], "I": root[3:6], "U": root[6:9], "IN": root[9:], "P": p, "f": f}


def errors(row: Floats, of: Case) -> dict[str, float]:
    """Return the worst relative error of each quantity; of P in V·I, of IN in the mean of I."""
    expected = closed_form(of.phasors) | {"f": np.array([of.f])}
    scale = expected | {"P": expected["V"] * expected["I"], "IN": expected["I"].mean(keepdims=True)}
    return {name: float((abs(value - expected[name]) / scale[name]).max()) for name, value in shown(row).items()}


@pytest.mark.parametrize("number", QUIET)
def test_closed_forms(number: int) -> None:
    of = case(number)
    lengths = of.whole[:, kernel.LENGTH]
    for name, error in errors(lengths @ of.whole / lengths.sum(), of).items():
        assert error <= RUN[name], name
    for row in of.whole:
        for name, error in errors(row, of).items():
            assert error <= WINDOW[name], name


def fitted(of: Case, start: Floats, row: Floats) -> Phasors:
    """Return the fundamentals that fit the samples between two edges best, with a constant and all harmonics beside them."""
    between = slice(int(start[kernel.EDGE]) + 1, int(row[kernel.EDGE]) + 1)
    x = of.samples[between].astype(np.longdouble)
    oscillations = turns(of.f, np.arange(between.start, between.stop, dtype=np.longdouble))
    basis = np.column_stack((oscillations.real, oscillations[:, 1:].imag))
    rough = basis.astype(np.float64)
    gram = rough.T @ rough
    fit = np.linalg.solve(gram, rough.T @ of.samples[between]).astype(np.longdouble)
    fit += np.linalg.solve(gram, rough.T @ (x - basis @ fit).astype(np.float64))
    fundamentals: Phasors = (fit[1] - 1j * fit[ORDERS + 1]).astype(np.complex128) / np.sqrt(2.0)
    return fundamentals


def reactive(fundamental: Phasors) -> Floats:
    q: Floats = (fundamental[:3] * fundamental[3:].conj()).imag
    return q


def far_from(q: Floats, row: Floats) -> float:
    """Return how far the reactive powers of a row are from `q` at worst, in V·I."""
    v, i = np.sqrt(row[kernel.SQUARES : kernel.SQUARES + 6]).reshape(2, 3)
    return float((abs(row[kernel.REACTIVE : kernel.ROTATION] - q) / (v * i)).max())


@pytest.mark.parametrize("number", QUIET)
def test_reactive_power_is_that_of_the_fundamental(number: int) -> None:
    of = case(number)
    expected = reactive(of.phasors[1])
    assert reactive(fitted(of, *of.rows[-2:])) == pytest.approx(expected, rel=1e-12)  # the fit below is to be trusted
    for row in of.whole:
        assert far_from(expected, row) <= REACTIVE


@pytest.mark.parametrize("number", [number for number in SIGNALS if number not in QUIET])
def test_reactive_power_is_that_of_the_fundamental_in_the_noise(number: int) -> None:
    of = case(number)
    for start, row in pairwise(of.rows):
        if row[kernel.WHOLE] == 1.0:
            assert far_from(reactive(fitted(of, start, row)), row) <= REACTIVE


@pytest.mark.parametrize("number", QUIET)
def test_rotation_is_that_of_the_fundamental(number: int) -> None:
    """Each voltage across the next: 3·V²·sin 120° when balanced, with the sign of the sequence."""
    v = case(number).phasors[1, :3]
    expected = (v * np.roll(v, -1).conj()).imag.sum()
    found = case(number).whole[:, kernel.ROTATION]
    assert (abs(found - expected) <= ROTATION * (abs(v) ** 2).sum()).all()


def tiles(rows: Floats) -> None:
    """Whole parts and fractions are compared apart, so that nothing is lost to rounding."""
    steps = np.diff(rows, axis=0, prepend=np.zeros((1, kernel.ROW)))
    lengths = steps[:, kernel.EDGE] + steps[:, kernel.FRACTION]
    assert (abs(lengths - rows[:, kernel.LENGTH]) <= 1e-9).all()
    assert (rows[:, kernel.LENGTH] > 0.0).all()
    assert (rows[:, kernel.EDGE] % 1.0 == 0.0).all()
    assert ((rows[:, kernel.FRACTION] >= 0.0) & (rows[:, kernel.FRACTION] < 1.0)).all()


@pytest.mark.parametrize("number", SIGNALS)
def test_windows_tile_the_time(number: int) -> None:
    tiles(case(number).rows)


@pytest.mark.parametrize("left", [0.0, 1e-3, 0.5])
def test_through_a_dip_from_the_first_sample_to_the_last(left: float) -> None:
    samples = case(0).samples.copy()
    samples[12_345:18_000] *= left
    rows = rows_of(samples, to_the_end=True)
    assert rows[-1, kernel.EDGE] == LENGTH - 1
    tiles(rows)
    agree(samples, rows[:-1])  # nothing is known beyond the last sample
