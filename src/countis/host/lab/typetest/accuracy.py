"""Accuracy and influence: which signals are driven, and what each tells about which limits.

Rule: a signal is driven once for all its limits; an influence is held against the same signal without it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final
from zlib import crc32

from countis.host.lab.typetest import points
from countis.host.lab.typetest.outcome import ChartKey, Point
from countis.host.lab.typetest.points import About, Front, How, Influence, Limit, Quantity
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
Ratio = tuple[int, int]  # of a CT: primary and secondary A
Errors = dict[tuple[Limit, Ratio], dict[How, float]]  # in %; the best way of reading first


@dataclass(frozen=True, slots=True, kw_only=True)
class Drive:
    """One signal on meters of one model, each with a CT ratio, and the limits it is held against."""

    model: Model
    front_end: Front
    signal: Signal
    seconds: float
    limits: tuple[Limit, ...]
    ratios: tuple[Ratio, ...] = ((200, 5),)
    seed: int = 1
    calibration: Calibration = field(default_factory=Calibration)
    influence: Influence | None = None
    stimuli: tuple[Signal, ...] = ()  # what the influence makes of the signal
    wires: int = 4

    @property
    def cost(self) -> float:
        """About how long it takes, in seconds of signal."""
        return (self.seconds + _SETTLING) * (1 + len(self.ratios)) / 2 * (1 + len(self.stimuli))


def kind_of(quantity: Quantity, signal: Signal) -> str:
    """Return the kind of energy a signal counts."""
    kinds = {Quantity.ACTIVE: ("Ea-", "Ea+"), Quantity.REACTIVE: ("Er-", "Er+")}[quantity]
    return kinds[signal.power(quantity) >= 0.0]


def measure(drive: Drive, signal: Signal, make: Make) -> Errors:
    """Drive a signal on the meters of a drive; return the errors by limit and CT ratio."""
    seed = crc32(repr((drive.seed, drive.front_end.value, signal)).encode())  # no two signals have one noise
    source = Supply([(0.0, signal.state(FRONT_ENDS[drive.front_end]))], rate=RATE, seed=seed)
    wires = {"wires": 3} if drive.wires == 3 else {}
    settings = [{"ct_primary": p, "ct_secondary": s} | wires for p, s in drive.ratios]
    stand = Stand(source, [make(drive.model, RATE, each, drive.calibration) for each in settings])
    stand.feed(_SETTLING)
    kinds = {row.quantity: kind_of(row.quantity, signal) for row in drive.limits}
    begin = [{quantity: device.mark(kind) for quantity, kind in kinds.items()} for device in stand.devices]
    stand.feed(drive.seconds)
    out = {}
    for device, ratio, marks in zip(stand.devices, drive.ratios, begin, strict=True):
        for row in drive.limits:
            kind, power = kinds[row.quantity], signal.power(row.quantity)
            out[row, ratio] = errors(device, marks[row.quantity], device.mark(kind), kind, power, row.pct)
    return out


def counter_error(drive: Drive, make: Make) -> float:
    """Return the error of the counters in %, of a drive with one limit and one CT ratio."""
    (by_how,) = measure(drive, drive.signal, make).values()
    return by_how[How.COUNTER]


def describe(drive: Drive, signal: Signal, row: Limit, ratio: Ratio) -> str:
    """Name a point in words: a signal of a drive, held against a limit."""
    load = row.load if signal.phases == ALL else "L" + "+".join(str(p + 1) for p in signal.phases)
    current = f"{signal.current * 1000:g} mA" if signal.current < 1.0 else f"{signal.current:g} A"
    oddities = [f", L{p + 1} interrupted" for p in signal.missing] + [", L1-L3-L2"] * signal.reversed
    network = f"{signal.volts:g} V {signal.frequency:g} Hz{''.join(oddities)}"
    ct = f"CT {ratio[0]}/{ratio[1]}"
    return f"{drive.front_end}, {load}, {row.factor}, {current}, {signal.direction}, {ct}, {network}"


def drive_accuracy(drive: Drive, make: Make) -> list[Point]:
    """Hold a signal against the limits of the tables."""
    margin = points.MARGINS[drive.front_end][About.ACCURACY]
    out = []
    for (row, ratio), by_how in measure(drive, drive.signal, make).items():
        name = describe(drive, drive.signal, row, ratio)
        chart = ChartKey(row.load, row.factor, drive.signal.current, drive.front_end)
        out += [Point(row.standard, About.ACCURACY, name, error_pct=error, limit_pct=row.pct, margin=margin,
                      how=how, chart=chart) for how, error in by_how.items()]
    return out


def drive_influence(drive: Drive, make: Make) -> list[Point]:
    """Hold the change of the error by an influence against its limits; the error, where it may go low."""
    assert drive.influence is not None
    low, series = drive.influence.low, drive.influence.name
    margin = points.MARGINS[drive.front_end][About.INFLUENCE] if low is None else 1.0
    still = measure(drive, drive.signal, make)
    out = []
    for signal in drive.stimuli:
        for (row, ratio), by_how in measure(drive, signal, make).items():
            error = by_how[How.COUNTER] - (still[row, ratio][How.COUNTER] if low is None else 0.0)
            name = f"{series}: {describe(drive, signal, row, ratio)}"
            chart = ChartKey(series, row.factor, signal.current, drive.front_end)
            out.append(Point(row.standard, About.INFLUENCE, name, error_pct=error, limit_pct=row.pct,
                             margin=margin, chart=chart, low_pct=low))
    return out


def _networks(model: Model, quick: bool) -> list[tuple[float, float]]:
    """Return the (V, Hz) a model is tested at."""
    highest = [(model.un_max, 50.0)] if model.un_max != model.un else []
    return [*((model.un, float(f)) for f in model.f_nominal), *highest][: 1 if quick else None]


def _limits(load: str, factor: str, current: float) -> tuple[Limit, ...]:
    """Return the tightest limit of each standard that has one."""
    kinds = dict.fromkeys((r.standard, r.quantity) for r in points.ACCURACY)
    return tuple(row for kind in kinds for row in points.limits_at(*kind, load, factor, current)[:1])


def _seconds(signal: Signal, rows: Sequence[Limit], front_end: Front, about: About, quick: bool) -> float:
    margin = points.MARGINS[front_end][about] / (_QUICK if quick else 1.0)
    needed = max(seconds_for(signal, row.quantity, FRONT_ENDS[front_end], row.pct * margin) for row in rows)
    least = _LED if signal.current >= _LED_FROM and front_end is Front.IDEAL else _SHORT
    return -(-min(max(least, needed), _LONGEST) // _STEP) * _STEP


def accuracy_drives(model: Model, seed: int, calibration: Calibration, quick: bool) -> Iterator[Drive]:
    """Every signal of the tables of accuracy, on every front end; a few of them where it is to be quick."""
    for front_end in FRONT_ENDS:
        ratios = points.RATIOS if front_end is Front.IDEAL and not quick else ((200, 5),)
        constants = calibration if front_end is Front.BITS_24 else Calibration()
        for volts, f in _networks(model, quick):
            for load, factor in dict.fromkeys((r.load, r.factor) for r in points.ACCURACY):
                for phases in (ALL,) if load == points.BALANCED else ((0,), (1,), (2,)):
                    for current in points.CURRENTS:
                        rows = _limits(load, factor, current)
                        if not rows or (quick and _skipped(front_end, phases, factor, current)):
                            continue
                        for export in (False, True):
                            if quick and export and (current != 1.0 or phases != ALL):
                                continue
                            signal = Signal(current, points.ANGLES[factor], phases, export, volts, f)
                            yield Drive(model=model, front_end=front_end, signal=signal, limits=rows,
                                        seconds=_seconds(signal, rows, front_end, About.ACCURACY, quick),
                                        ratios=ratios, seed=seed, calibration=constants)


def _skipped(front_end: Front, phases: tuple[int, ...], factor: str, current: float) -> bool:
    """Leave out what a quick run has no time for."""
    if front_end is Front.IDEAL:
        return current not in ((0.010, 0.020, 0.050, 0.100, 1.0, 6.0) if phases == ALL else (0.100, 6.0))
    return (phases not in (ALL, (2,)) or factor not in ("1", "0.5ind", "sin 0.5")
            or current not in (0.050, 0.100, 1.0, 6.0))


def influence_drives(model: Model, seed: int, calibration: Calibration, quick: bool) -> Iterator[Drive]:
    """Every influence quantity at its currents, on the ideal front end and, if there is time, a real one."""
    for front_end in (Front.IDEAL,) if quick else (Front.IDEAL, Front.BITS_24):
        constants, longer = (calibration, 2.0) if front_end is Front.BITS_24 else (Calibration(), 1.0)
        for volts, f in _networks(model, quick):
            for row in points.INFLUENCES:
                for current in row.currents[-1:] if quick else row.currents:
                    for factor in dict.fromkeys(limit.factor for limit in row.limits()):
                        base = Signal(current, points.ANGLES[factor], volts=volts, frequency=f)
                        limits = tuple(limit for limit in row.limits() if limit.factor == factor)
                        seconds = _seconds(base, limits, front_end, About.INFLUENCE, quick)
                        yield Drive(model=model, front_end=front_end, signal=base, limits=limits,
                                    seconds=min(seconds * longer, _LONGEST),
                                    seed=seed, calibration=constants, influence=row,
                                    stimuli=tuple(base.under(change) for change in row.changes))
