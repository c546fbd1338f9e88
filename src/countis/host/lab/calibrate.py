"""`countis calibrate`: measures the constants of the front end on a reference supply; the memory keeps them.

Rule: the meter that is calibrated counts nothing of it; constants are checked by measuring again.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np

from countis.host.running.memory_file import MemoryFile
from countis.host.running.plant import load_or_create
from countis.host.running.sources import supply_plan
from countis.meter.meter import Meter
from countis.meter.metrology.calibration import constants_from, phasors
from countis.models import E44, Model
from countis.supply.network import at_terminals
from countis.supply.source import Supply
from countis.words.commands import SetCalibration
from countis.words.errors import SettingError
from countis.words.settings import CHANNELS, Calibration

_SECONDS: Final = (2.0, 600.0)
_P, _Q = ("P1", "P2", "P3"), ("Q1", "Q2", "Q3")
_ROWS: Final = (*(f"{channel} %" for channel in CHANNELS), *(f"I{p} to V{p} °" for p in (1, 2, 3)))


def calibrate(folder: Path, model: Model | None, file: Path, seconds: float) -> str:
    """Calibrate the meter of a memory, or a new one; return the table of its errors before and after.

    Raises MemoryImageError, SupplyError, SettingError; then nothing is kept.
    """
    if not _SECONDS[0] <= seconds <= _SECONDS[1]:
        raise SettingError("--seconds", f"{seconds:g} is not possible", f"{_SECONDS[0]:g}..{_SECONDS[1]:g}")
    plan = supply_plan(file)
    if plan.recording is not None or len(plan.states) > 1:
        raise SettingError(file, "is not steady", "voltages and loads without recording or event")
    memory = MemoryFile(folder)
    try:
        meter, _ = load_or_create(memory, model, E44)
        before = meter.state.calibration
        constants = _constants(plan.build(meter.ratio), file, seconds)
        refusal = meter.apply([SetCalibration(constants)])
        if refusal is not None:
            raise refusal.error
        errors = [_errors(meter.model, plan.build(meter.ratio), c, seconds) for c in (before, constants)]
        memory.create(meter.save())
    finally:
        memory.close()
    lines = [f"{name:10} {old:10.5f} {new:10.5f}" for name, old, new in zip(_ROWS, *errors, strict=True)]
    return "\n".join([f"{'error of':10} {'before':>10} {'after':>10}", *lines, f"kept in {memory.path}"])


def _constants(source: Supply, file: Path, seconds: float) -> Calibration:
    state = source.state
    if any(len(load.profile) > 1 or load.switched for load in state.loads):
        raise SettingError(file, "its loads vary", "steady ones")
    frequency = state.network.frequency
    measured = phasors(source.read(round(seconds * source.rate)), source.rate, frequency)
    return constants_from(measured, at_terminals(state)[0], frequency)


def _errors(model: Model, source: Supply, constants: Calibration, seconds: float) -> list[float]:
    """Return what a meter with these constants errs in: V and I in %, the angles between them in degrees."""
    meter = Meter(model, rate=source.rate)
    meter.apply([SetCalibration(constants)])
    meter.feed(source, seconds=seconds)
    true = at_terminals(source.state)
    rms, p, q = (np.array([float(meter[s] or 0.0) for s in symbols]) for symbols in (CHANNELS, _P, _Q))
    true_rms = np.sqrt((np.abs(true) ** 2).sum(axis=0) / 2.0)
    lag = np.degrees(np.arctan2(q, p) - np.angle(true[0, :3] / true[0, 3:]))
    return [*((rms / true_rms - 1.0) * 100.0).tolist(), *((lag + 180.0) % 360.0 - 180.0).tolist()]
