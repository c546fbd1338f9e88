"""Accuracy and influence: which signals are driven, and what each tells about which limits.

Rule: a signal is driven once for all limits it can be held against; an influence moves the error against its own reference.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Final
from zlib import crc32

from countis.host.lab.typetest.points import (
    ACCURACY,
    ANGLES,
    CURRENTS,
    INFLUENCES,
    MARGINS,
    RATIOS,
    SINGLE_AGAINST_BALANCED,
    Influence,
    clause,
    limit_at,
)
from countis.host.lab.typetest.signals import ALL, FRONT_ENDS, RATE, Signal, seconds_for
from countis.host.lab.typetest.stand import Make, Stand, errors
from countis.models import Model
from countis.supply.source import Supply
from countis.words.settings import Calibration

_SETTLING: Final = 1.2  # s before the first mark
_STEP: Final = 0.4  # s: two windows, five times 2 cycles on and 2 off
_SHORT, _LED, _LONGEST = 2.4, 12.4, 5000.0  # s: ten windows and more; two flashes at 1 A; at most
_LED_FROM: Final = 1.0  # A
_QUICK: Final = 0.1  # noise is measured to this part of the margin when there is no time


@dataclass(frozen=True, slots=True)
class Point:
    """One error held against one limit.

    part: of the limit, that the house allows. at: (standard, load, factor, current, front end), where a chart puts it.
    """

    clause: str
    point: str
    error_pct: float
    limit_pct: float
    how: str
    part: float
    at: tuple[str, str, str, float, str] | None = None
    low_pct: float | None = None

    @property
    def within(self) -> bool:
        """Whether the standard's limit holds."""
        return (-self.limit_pct if self.low_pct is None else self.low_pct) <= self.error_pct <= self.limit_pct


@dataclass(frozen=True, slots=True)
class Judged:
    """A limit that a signal is held against."""

    standard: str
    quantity: str
    load: str
    factor: str
    pct: float


@dataclass(frozen=True, slots=True)
class Drive:
    """One signal on meters of one model; the limits it tells about, and the influence that moves it."""

    model: Model
    front_end: str
    signal: Signal
    seconds: float
    judged: tuple[Judged, ...]
    ratios: tuple[tuple[int, int], ...] = ((200, 5),)
    seed: int = 1
    calibration: Calibration = field(default_factory=Calibration)
    influence: Influence | None = None
    moved: tuple[Signal, ...] = ()  # what the influence makes of the signal
    wires: int = 4

    @property
    def cost(self) -> float:
        """About how long it takes, in seconds of signal."""
        return (self.seconds + _SETTLING) * (1 + len(self.ratios)) / 2 * (1 + len(self.moved))


def kind_of(quantity: str, signal: Signal) -> str:
    """Return the kind of energy a signal counts."""
    forward = signal.power(quantity) >= 0.0
    return {"active": ("Ea-", "Ea+"), "reactive": ("Er-", "Er+")}[quantity][forward]


def measured(drive: Drive, signal: Signal, make: Make) -> dict[tuple[Judged, tuple[int, int]], list[tuple[str, float]]]:
    """Drive a signal; return the errors in % by limit and CT ratio, the best way of reading first."""
    seed = crc32(repr((drive.seed, drive.front_end, signal)).encode())  # no two signals have the same noise
    source = Supply([(0.0, signal.state(FRONT_ENDS[drive.front_end]))], rate=RATE, seed=seed)
    settings = [{"ct_primary": p, "ct_secondary": s} | ({"wires": 3} if drive.wires == 3 else {}) for p, s in drive.ratios]
    stand = Stand(source, [make(drive.model, RATE, each, drive.calibration) for each in settings])
    stand.feed(_SETTLING)
    kinds = {row.quantity: kind_of(row.quantity, signal) for row in drive.judged}
    begin = [{q: device.mark(kind) for q, kind in kinds.items()} for device in stand.devices]
    stand.feed(drive.seconds)
    out = {}
    for device, ratio, marks in zip(stand.devices, drive.ratios, begin, strict=True):
        for row in drive.judged:
            kind = kinds[row.quantity]
            end = device.mark(kind)
            out[row, ratio] = errors(device, marks[row.quantity], end, kind, signal.power(row.quantity), row.pct)
    return out


def describe(drive: Drive, row: Judged, ratio: tuple[int, int]) -> str:
    """Name a point in words."""
    s = drive.signal
    load = row.load if s.phases == ALL else "L" + "+".join(str(p + 1) for p in s.phases)
    network = f"{s.volts:g} V {s.frequency:g} Hz"
    current = f"{s.current * 1000:g} mA" if s.current < 1.0 else f"{s.current:g} A"
    direction = "export" if s.export else "import"
    return f"{drive.front_end}, {load}, {row.factor}, {current}, {direction}, CT {ratio[0]}/{ratio[1]}, {network}"


def drive_accuracy(drive: Drive, make: Make) -> list[Point]:
    """Hold a signal against the limits of the tables."""
    part = MARGINS[drive.front_end]["accuracy"]
    points = []
    for (row, ratio), found in measured(drive, drive.signal, make).items():
        at = (row.standard, row.load, row.factor, drive.signal.current, drive.front_end)
        name = describe(drive, row, ratio)
        for how, error in found:
            points.append(Point(clause("accuracy", row.standard), name, error, row.pct, how, part, at))
    return points


def drive_influence(drive: Drive, make: Make) -> list[Point]:
    """Hold the change of the error by an influence against its limits."""
    assert drive.influence is not None
    low, name = drive.influence.low, drive.influence.name
    part = MARGINS[drive.front_end]["influence"] if low is None else 1.0
    still = measured(drive, drive.signal, make)
    points = []
    for signal in drive.moved:
        for (row, ratio), found in measured(drive, signal, make).items():
            error = dict(found)["counter"] - (dict(still[row, ratio])["counter"] if low is None else 0.0)
            text = f"{name}: {describe(replace(drive, signal=signal), row, ratio)}{_oddity(signal)}"
            at = (row.standard, name, row.factor, signal.current, drive.front_end)
            points.append(Point(clause("influence", row.standard), text, error, row.pct, "counter", part, at, low))
    return points


def _oddity(signal: Signal) -> str:
    without = "".join(f", L{p + 1} interrupted" for p in signal.missing)
    return without + (", L1-L3-L2" if signal.reversed else "")


def drive_difference(drives: Sequence[Drive], make: Make) -> list[Point]:
    """Hold single-phase loads against the balanced load at In: `drives` are the balanced one and one for each phase."""
    balanced, *single = [measured(drive, drive.signal, make) for drive in drives]
    points = []
    for drive, found in zip(drives[1:], single, strict=True):
        for (row, ratio), ways in found.items():
            limit = SINGLE_AGAINST_BALANCED[row.standard]
            same = next((of for (other, _), of in balanced.items() if other.standard == row.standard), None)
            if limit is not None and same is not None:
                error = dict(ways)["counter"] - dict(same)["counter"]
                name = f"{describe(drive, row, ratio)}, against balanced"
                part = MARGINS[drive.front_end]["accuracy"]
                points.append(Point(clause("accuracy", row.standard), name, error, limit, "counter", part))
    return points


# which signals


def networks(model: Model) -> tuple[tuple[float, float], ...]:
    """Return the (V, Hz) a model is tested at."""
    return (*((model.un, float(f)) for f in model.f_nominal), *((v, 50.0) for v in (model.un_max,) if v != model.un))


def _judged(load: str, factor: str, current: float) -> tuple[Judged, ...]:
    found = []
    for standard, quantity in dict.fromkeys((r.standard, r.quantity) for r in ACCURACY):
        pct = limit_at(standard, quantity, load, factor, current)
        if pct is not None:
            found.append(Judged(standard, quantity, load, factor, pct))
    return tuple(found)


def _seconds(signal: Signal, rows: Sequence[Judged], front_end: str, kind: str, quick: bool) -> float:
    part = MARGINS[front_end][kind] / (_QUICK if quick else 1.0)
    needed = max(seconds_for(signal, row.quantity, FRONT_ENDS[front_end], row.pct * part) for row in rows)
    least = _LED if signal.current >= _LED_FROM and front_end == "ideal" else _SHORT
    return -(-min(max(least, needed), _LONGEST) // _STEP) * _STEP


def accuracy_drives(model: Model, seed: int, calibration: Calibration, quick: bool) -> Iterator[Drive]:
    """Every signal of the tables of accuracy, on every front end; a few of them where it is to be quick."""
    for front_end in FRONT_ENDS:
        ratios = RATIOS if front_end == "ideal" and not quick else ((200, 5),)
        constants = calibration if front_end == "24 bit" else Calibration()
        for volts, f in networks(model)[: 1 if quick else None]:
            for load, factor in dict.fromkeys((r.load, r.factor) for r in ACCURACY):
                for phases in (ALL,) if load == "balanced" else ((0,), (1,), (2,)):
                    for current in CURRENTS:
                        rows = _judged(load, factor, current)
                        if not rows or (quick and _skipped(front_end, phases, factor, current)):
                            continue
                        for export in (False, True):
                            if quick and export and (current != 1.0 or phases != ALL):
                                continue
                            signal = Signal(current, ANGLES[factor], phases, export, volts, f)
                            yield Drive(model, front_end, signal, _seconds(signal, rows, front_end, "accuracy", quick), rows,
                                        ratios, seed, constants)  # fmt: skip


def _skipped(front_end: str, phases: tuple[int, ...], factor: str, current: float) -> bool:
    """Leave out what a quick run has no time for."""
    if front_end == "ideal":
        return current not in ((0.010, 0.020, 0.050, 0.100, 1.0, 6.0) if phases == ALL else (0.100, 6.0))
    return phases not in (ALL, (2,)) or factor not in ("1", "0.5ind", "sin 0.5") or current not in (0.050, 0.100, 1.0, 6.0)


def _stimuli(row: Influence, base: Signal) -> list[Signal]:
    match row.name:
        case "voltage":
            return [replace(base, volts=base.volts * k) for k in (0.9, 1.1)]
        case "voltage severe":
            return [replace(base, volts=base.volts * k) for k in (0.8, 1.15)]
        case "voltage low":
            return [replace(base, volts=base.volts * k) for k in (0.79, 0.7, 0.55, 0.3)]
        case "frequency":
            return [replace(base, frequency=base.frequency * k) for k in (0.98, 1.02)]
        case "reversed phase sequence":
            return [replace(base, reversed=True)]
        case "voltage unbalance":
            return [replace(base, missing=gone) for gone in ((1,), (2,), (1, 2))]
        case "5th harmonic":
            return [replace(base, v_harmonics=((5, 0.10, 0.0),), i_harmonics=((5, 0.40, 0.0),))]
        case "odd harmonics":
            return [replace(base, fired=90.0)]
        case "sub-harmonics":
            return [replace(base, burst=(2, 2))]
    raise ValueError(row.name)


def influence_drives(model: Model, seed: int, calibration: Calibration, quick: bool) -> Iterator[Drive]:
    """Every influence quantity at its currents; on the ideal front end, and where there is time on the real ones."""
    for front_end in ("ideal",) if quick else ("ideal", "24 bit"):
        constants = calibration if front_end == "24 bit" else Calibration()
        for volts, f in networks(model)[: 1 if quick else None]:
            for row in INFLUENCES:
                for current in row.currents[-1:] if quick else row.currents:
                    for factor in dict.fromkeys(factor for _, _, factor, _ in row.limits()):
                        base = Signal(current, ANGLES[factor], volts=volts, frequency=f)
                        judged = tuple(Judged(s, q, "balanced", factor, pct) for s, q, of, pct in row.limits() if of == factor)
                        seconds = _seconds(base, judged, front_end, "influence", quick) * (1.0 if front_end == "ideal" else 2.0)
                        yield Drive(model, front_end, base, min(seconds, _LONGEST), judged, ((200, 5),), seed, constants,
                                    row, tuple(_stimuli(row, base)))  # fmt: skip
