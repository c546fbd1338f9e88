"""The one compiled loop: samples of 3 voltages and 3 secondary currents in, sums over whole cycles out.

Rule: everything the loop knows between two calls is in the arrays of its state, so that feeding samples one
by one or a million at once gives the same bits.

Theory of operation
-------------------
*Reference.* r = v1 − v2/2 − v3/4 passes a band-pass of 40..75 Hz; where it rises through zero (with
hysteresis) a cycle ends. The weights differ so that r lives whichever phase is missing, and also when all
three carry the same voltage.

*Edges.* A cycle ends between two samples. The sums of whole samples are completed by a term C that is a
weighted sum of the four samples around the edge: the trapezoidal rule up to the edge, its first
Euler–Maclaurin correction by the slope of the cubic through the four samples, and the integral of that cubic.
What is added at the end of one cycle is taken off at the start of the next, so no part of the signal is
counted twice or lost. To have both neighbours of an edge at hand, it is put one sample before the crossing; a
band-pass shifts it anyway, and a whole cycle is a whole cycle wherever it starts. The first sample and the
last before `finish` have no neighbours: there the rule is the plain trapezoid.

*Fundamental.* An oscillator of the last cycle's period, restarted at each edge, correlates with voltages and
currents; the product of both is taken cycle by cycle (decision 6). A fragment of a cycle is given the
reactive power of the last whole cycle (after an interruption: of the next), scaled by its V².

*Windows.* 10 cycles (12 above 55 Hz). A cycle outside 44..66 Hz, or none for 1/35 s, ends the window at once;
until the next whole cycle, windows run free for 0.2 s. So windows tile the time from the first sample on
(decision 29).
"""

from __future__ import annotations

import math
from typing import Any, Final

import numba
import numpy as np
from numpy.typing import NDArray

# The vectoriser for straight-line code doubles the speed and changes no bit; set before compiling.
numba.config.SLP_VECTORIZE = 1  # type: ignore[attr-defined]

# Columns of a window row: the edge it ends at in samples, its fraction, samples, Hz or NaN, 0 while settling.
EDGE, FRACTION, LENGTH, FREQUENCY, WHOLE = range(5)
# Means over the window: squares in V² or A², powers in W and var.
SQUARES: Final = 5  # V1 V2 V3 I1 I2 I3 U12 U23 U31 IN
ACTIVE: Final = 15  # P1 P2 P3
REACTIVE: Final = 18  # Q1 Q2 Q3
ROTATION: Final = 21  # + for 123, − for 132, about 2.6 V² when balanced
ROW: Final = 22

N_SUMS: Final = 13  # ten squares, three products
N_CORRELATIONS: Final = 12  # cos and sin of V1 V2 V3 I1 I2 I3
N_STATE: Final = 68

# Places in the float state.
_Z1, _Z2, _Y, _COS, _SIN, _ROTC, _ROTS, _OMEGA, _D, _DEFERRED, _LENGTH, _PERIODS = range(12)
_SUM = 12  # running sums of this piece
_COR = _SUM + N_SUMS  # running correlations of this piece
_WIN = _COR + N_CORRELATIONS  # sums of this window: 13 sums, 3 reactive, rotation
_V2 = _WIN + N_SUMS + 4  # squares of V1 V2 V3 over this piece
_WAITING = _V2 + 3  # and over the piece before, if its reactive energy waits for a whole cycle
_PER_V2 = _WAITING + 3  # reactive energy of each phase, and rotation, per V² of the last whole cycle
_GUESS = _PER_V2 + 4  # mean reactive power and rotation of a piece that waits, by itself
# Places in the integer state.
_N, _ARMED, _LAST, _LAST_CROSSED, _SYNCED, _CYCLES, _TARGET, _LIMIT, _SETTLED, _KNOWN = range(10)
N_INTEGERS: Final = 10
assert (_SUM, _COR, _WIN, _GUESS + 4) == (12, 25, 37, N_STATE)  # the loop of `run` takes them by number

MOST_ROWS: Final = 140  # a second: at worst every good cycle is followed by a bad one
SETTLING: Final = 0.2  # s in which the band-pass still moves edges, from the first sample; 22 time constants
HYSTERESIS: Final = 4.6  # V, 1 % of twice Un
STENCIL: Final = 4


def band_pass(rate: float) -> NDArray[np.float64]:
    """Return b0, a1, a2 of the second-order band-pass of 40..75 Hz at `rate` samples per second."""
    centre, width = math.sqrt(40.0 * 75.0), 35.0
    w = 2.0 * math.pi * centre / rate
    alpha = math.sin(w) * width / (2.0 * centre)
    return np.array([alpha, -2.0 * math.cos(w), 1.0 - alpha]) / (1.0 + alpha)


def new_state(rate: float) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.float64]]:
    """Return the state of a kernel before its first sample: floats, integers, and the last three samples."""
    floats = np.zeros(N_STATE)
    omega = 2.0 * math.pi * 50.0 / rate
    floats[[_COS, _ROTC, _ROTS, _OMEGA]] = 1.0, math.cos(omega), math.sin(omega), omega
    integers = np.zeros(N_INTEGERS, np.int64)
    integers[_TARGET] = 10
    integers[_LIMIT] = int(rate / 5)
    return floats, integers, np.zeros((STENCIL - 1, 6))


def _jit(**options: Any) -> Any:
    return numba.njit(cache=True, nogil=True, error_model="numpy", **options)


@_jit()
def within(x, v_peak, i_peak):  # type: ignore[no-untyped-def]
    """Tell whether all samples [n, 6] lie within the peaks of the converter; NaN does not."""
    outside = 0
    for i in range(x.shape[0]):
        for k in range(3):
            outside += (not abs(x[i, k]) <= v_peak) + (not abs(x[i, 3 + k]) <= i_peak)
    return outside == 0


@_jit()
def correct(line, filters, out):  # type: ignore[no-untyped-def]
    """Filter `line` [n + taps − 1, 6] by the filters [taps, 6], newest sample first, into `out` [n, 6]."""
    taps = filters.shape[0]
    for i in range(out.shape[0]):
        x0 = x1 = x2 = x3 = x4 = x5 = 0.0
        for k in range(taps):
            row, w = line[i + taps - 1 - k], filters[k]
            x0, x1, x2 = x0 + w[0] * row[0], x1 + w[1] * row[1], x2 + w[2] * row[2]
            x3, x4, x5 = x3 + w[3] * row[3], x4 + w[4] * row[4], x5 + w[5] * row[5]
        out[i, 0], out[i, 1], out[i, 2], out[i, 3], out[i, 4], out[i, 5] = x0, x1, x2, x3, x4, x5


@_jit()
def _edge_weights(d):  # type: ignore[no-untyped-def]
    """Weights of the samples n−3, n−2, n−1, n that complete sums through n to an edge at n − 2 + d."""
    d2, d3, d4 = d * d, d * d * d, d * d * d * d
    return (
        2.0 / 72.0 - (0.25 * d4 - d3 + d2) / 6.0,
        -0.5 + 3.0 / 72.0 + (0.25 * d4 - 2.0 * d3 / 3.0 - 0.5 * d2 + 2.0 * d) / 2.0,
        -1.0 - 6.0 / 72.0 - (0.25 * d4 - d3 / 3.0 - d2) / 2.0,
        -1.0 + 1.0 / 72.0 + (0.25 * d4 - 0.5 * d2) / 6.0,
    )


@_jit(inline="always")
def _add_products(s, row, w):  # type: ignore[no-untyped-def]
    for k in range(3):
        v, i, u = row[k], row[3 + k], row[k] - row[(k + 1) % 3]
        s[k] += w * v * v
        s[3 + k] += w * i * i
        s[6 + k] += w * u * u
        s[10 + k] += w * v * i
    i_n = row[3] + row[4] + row[5]
    s[9] += w * i_n * i_n


@_jit(inline="always")
def _add_correlations(s, row, wc, ws):  # type: ignore[no-untyped-def]
    for k in range(6):
        s[k] += wc * row[k]
        s[6 + k] += ws * row[k]


@_jit()
def _close_piece(fs, x, tail, i, weights):  # type: ignore[no-untyped-def]
    """Complete the running sums to the edge, add them to the window, and start the next piece behind it."""
    sums, cors, win = fs[_SUM:_COR], fs[_COR:_WIN], fs[_WIN : _WIN + N_SUMS + 4]
    carried = np.zeros(N_SUMS)
    c, s, rc, rs = fs[_COS], fs[_SIN], fs[_ROTC], fs[_ROTS]
    for k in range(STENCIL):  # from sample i backwards
        j = i - k
        row = x[j] if j >= 0 else tail[STENCIL - 1 + j]
        w = weights[STENCIL - 1 - k]
        _add_products(carried, row, w)
        _add_correlations(cors, row, w * c, w * s)
        c, s = c * rc + s * rs, s * rc - c * rs
    for k in range(N_SUMS):
        piece = sums[k] + carried[k]
        if k < 3:
            fs[_V2 + k] = piece
        win[k] += piece
        sums[k] = -carried[k]


@_jit()
def _correlated(cors, p, length):  # type: ignore[no-untyped-def]
    """Mean reactive power of phase p over a piece; for p = 3 the rotation of the three voltages."""
    total = 0.0
    for v in range(3) if p == 3 else range(p, p + 1):
        other = (v + 1) % 3 if p == 3 else 3 + v
        total += cors[v] * cors[6 + other] - cors[6 + v] * cors[other]
    return 2.0 * total / (length * length)


@_jit()
def _reactive(fs, ns, length, cycle, last):  # type: ignore[no-untyped-def]
    """Add this piece's reactive energy and rotation to the window; `cycle`: whether it is a whole one."""
    cors, win, v2 = fs[_COR:_WIN], fs[_WIN + N_SUMS : _V2], fs[_V2:_WAITING]
    waiting, per_v2, guess = fs[_WAITING:_PER_V2], fs[_PER_V2:_GUESS], fs[_GUESS:]
    if cycle:
        for p in range(4):
            energy = _correlated(cors, p, length) * length
            per_v2[p] = energy / v2[p % 3] if v2[p % 3] > 0.0 else 0.0
            win[p] += energy + per_v2[p] * waiting[p % 3]
        ns[_KNOWN] = 1
    elif ns[_KNOWN] == 1 and (last or ns[_LAST_CROSSED] == 1):
        for p in range(4):
            win[p] += per_v2[p] * v2[p % 3]
    else:
        for p in range(4):
            guess[p] = _correlated(cors, p, length) if length > fs[_DEFERRED] else guess[p]
            win[p] += guess[p] * (length + fs[_DEFERRED]) if last else 0.0
    waits = not cycle and ns[_KNOWN] * ns[_LAST_CROSSED] == 0
    for p in range(3):
        waiting[p] = v2[p] if waits else 0.0
    fs[_DEFERRED] = length if waits else 0.0
    cors[:] = 0.0


@_jit()
def _restart_oscillator(fs, x, tail, i, d, weights):  # type: ignore[no-untyped-def]
    """Start the oscillator with phase 0 at the edge, and give back what already lies behind the edge."""
    omega = fs[_OMEGA]
    fs[_ROTC], fs[_ROTS] = math.cos(omega), math.sin(omega)
    phase = omega * (2.0 - d)
    c, s = math.cos(phase), math.sin(phase)
    fs[_COS], fs[_SIN] = c, s
    cors = fs[_COR:_WIN]
    for k in range(STENCIL):
        j = i - k
        row = x[j] if j >= 0 else tail[STENCIL - 1 + j]
        w = -weights[STENCIL - 1 - k]
        _add_correlations(cors, row, w * c, w * s)
        c, s = c * fs[_ROTC] + s * fs[_ROTS], s * fs[_ROTC] - c * fs[_ROTS]


@_jit()
def _emit(fs, ns, rate, frequency, out):  # type: ignore[no-untyped-def]
    """Write the window that ends at the last edge as a row of means, and open the next."""
    length = fs[_LENGTH]
    out[EDGE], out[FRACTION], out[LENGTH], out[FREQUENCY] = ns[_LAST], fs[_D], length, frequency
    out[WHOLE] = ns[_SETTLED]
    for k in range(N_SUMS + 4):
        out[SQUARES + k] = fs[_WIN + k] / length
        fs[_WIN + k] = 0.0
    fs[_LENGTH] = fs[_PERIODS] = 0.0
    ns[_CYCLES] = 0
    ns[_SETTLED] = 1 if ns[_LAST] >= SETTLING * rate else 0


@_jit()
def _edge(fs, ns, x, tail, i, d, crossed, rate, out):  # type: ignore[no-untyped-def]
    """End a piece at an edge, and the window if it is time; return 1 if a row was written."""
    at = ns[_N] - 3  # sample i is number ns[_N] − 1, the edge lies behind the second before it
    length = float(at - ns[_LAST]) + (d - fs[_D])
    weights = _edge_weights(d)
    _close_piece(fs, x, tail, i, weights)
    cycle = crossed and ns[_LAST_CROSSED] == 1
    _reactive(fs, ns, length, cycle and length * fs[_OMEGA] >= 1.5 * math.pi, False)
    if cycle and rate / 75.0 <= length <= rate / 35.0:
        fs[_OMEGA] = 2.0 * math.pi / length
    _restart_oscillator(fs, x, tail, i, d, weights)
    ns[_LAST], fs[_D], ns[_LAST_CROSSED] = at, d, 1 if crossed else 0
    fs[_LENGTH] += length
    good = cycle and rate / 66.0 <= length <= rate / 44.0
    written = 0
    if good and ns[_SYNCED] == 1:
        ns[_CYCLES] += 1
        fs[_PERIODS] += length
        if ns[_CYCLES] >= ns[_TARGET]:
            _emit(fs, ns, rate, ns[_CYCLES] * rate / fs[_PERIODS], out)
            ns[_TARGET] = 10 if length > rate / 55.0 else 12
            written = 1
    elif good or ns[_SYNCED] == 1 or fs[_LENGTH] >= rate / 5.0 - 1.0:
        _emit(fs, ns, rate, math.nan, out)
        ns[_SYNCED] = 1 if good else 0
        ns[_TARGET] = 10 if length > rate / 55.0 else 12
        written = 1
    ns[_LIMIT] = int(rate / 35.0) if crossed else int(rate / 5.0)
    return written


@_jit()
def _first_sample(fs, x):  # type: ignore[no-untyped-def]
    """The integral starts at the first sample, which therefore weighs one half."""
    _add_products(fs[_SUM:_COR], x[0], -0.5)
    _add_correlations(fs[_COR:_WIN], x[0], -0.5, 0.0)
    fs[_COS], fs[_SIN] = fs[_ROTC], -fs[_ROTS]  # one step back: the loop turns before it adds


@_jit()
def run(x, rate, coefficients, fs, ns, tail, out, reactive=True):  # type: ignore[no-untyped-def]
    """Take samples `x` [n, 6] (V, A at the terminals), write finished windows to `out` [k, ROW], return k.

    fs, ns, tail: the state of `new_state`. out: MOST_ROWS rows for each second of samples and two more.
    reactive: False leaves Q and the phase sequence out, to measure what they cost.
    Longer than other functions on purpose: its running values must be local names to stay in registers.
    """
    n, rows, i = x.shape[0], 0, 0
    b0, a1, a2 = coefficients[0], coefficients[1], coefficients[2]
    if n > 0 and ns[_N] == 0:
        _first_sample(fs, x)
    shortest = max(STENCIL, int(rate / 400.0))
    while i < n:
        z1, z2, y, c, s, rc, rs = fs[_Z1], fs[_Z2], fs[_Y], fs[_COS], fs[_SIN], fs[_ROTC], fs[_ROTS]
        s0, s1, s2, s3, s4, s5, s6 = fs[12], fs[13], fs[14], fs[15], fs[16], fs[17], fs[18]
        s7, s8, s9, s10, s11, s12 = fs[19], fs[20], fs[21], fs[22], fs[23], fs[24]
        c0, c1, c2, c3, c4, c5 = fs[25], fs[26], fs[27], fs[28], fs[29], fs[30]
        k0, k1, k2, k3, k4, k5 = fs[31], fs[32], fs[33], fs[34], fs[35], fs[36]
        since = ns[_N] - ns[_LAST]
        armed, limit, crossed, before = ns[_ARMED], ns[_LIMIT] + 3, False, y
        start = i
        while i < n:
            v1, v2, v3, i1, i2, i3 = x[i, 0], x[i, 1], x[i, 2], x[i, 3], x[i, 4], x[i, 5]
            r = b0 * (v1 - 0.5 * v2 - 0.25 * v3)
            before = y
            y = r + z1
            z1 = z2 - a1 * y
            z2 = -r - a2 * y
            u12, u23, u31, i_n = v1 - v2, v2 - v3, v3 - v1, i1 + i2 + i3
            s0, s1, s2 = s0 + v1 * v1, s1 + v2 * v2, s2 + v3 * v3
            s3, s4, s5 = s3 + i1 * i1, s4 + i2 * i2, s5 + i3 * i3
            s6, s7, s8 = s6 + u12 * u12, s7 + u23 * u23, s8 + u31 * u31
            s9 += i_n * i_n
            s10, s11, s12 = s10 + v1 * i1, s11 + v2 * i2, s12 + v3 * i3
            if reactive:
                c, s = c * rc - s * rs, c * rs + s * rc
                c0, c1, c2 = c0 + c * v1, c1 + c * v2, c2 + c * v3
                c3, c4, c5 = c3 + c * i1, c4 + c * i2, c5 + c * i3
                k0, k1, k2 = k0 + s * v1, k1 + s * v2, k2 + s * v3
                k3, k4, k5 = k3 + s * i1, k4 + s * i2, k5 + s * i3
            i += 1
            since += 1
            if y < -HYSTERESIS:
                armed = 1
            elif armed == 1 and y >= 0.0:
                armed = 0
                if since >= shortest:
                    crossed = True
                    break
            if since >= limit:
                break
        fs[_Z1], fs[_Z2], fs[_Y], fs[_COS], fs[_SIN] = z1, z2, y, c, s
        fs[12], fs[13], fs[14], fs[15], fs[16], fs[17], fs[18] = s0, s1, s2, s3, s4, s5, s6
        fs[19], fs[20], fs[21], fs[22], fs[23], fs[24] = s7, s8, s9, s10, s11, s12
        fs[25], fs[26], fs[27], fs[28], fs[29], fs[30] = c0, c1, c2, c3, c4, c5
        fs[31], fs[32], fs[33], fs[34], fs[35], fs[36] = k0, k1, k2, k3, k4, k5
        ns[_N] += i - start
        ns[_ARMED] = armed
        if crossed:
            rows += _edge(fs, ns, x, tail, i - 1, before / (before - y), True, rate, out[rows])
        elif since >= limit:
            rows += _edge(fs, ns, x, tail, i - 1, 0.0, False, rate, out[rows])
    for k in range(max(0, STENCIL - 1 - n)):
        tail[k] = tail[k + n]
    for k in range(max(0, STENCIL - 1 - n), STENCIL - 1):
        tail[k] = x[n - (STENCIL - 1) + k]
    return rows


@_jit()
def finish(rate, fs, ns, tail, out):  # type: ignore[no-untyped-def]
    """Close the open window at the last sample, where the supply ends; return 1 if there was one."""
    at = ns[_N] - 1
    length = float(at - ns[_LAST]) - fs[_D]
    if length <= 0.0:
        return 0
    _close_piece(fs, tail[STENCIL - 2 :], tail, 0, (0.0, 0.0, 0.0, -0.5))
    _reactive(fs, ns, length, False, True)
    ns[_LAST], fs[_D] = at, 0.0
    fs[_LENGTH] += length
    _emit(fs, ns, rate, math.nan, out[0])
    return 1
