"""Opens what a meter is fed from: supply files, recordings, standard input."""

from __future__ import annotations

import os
import sys
from importlib import resources
from pathlib import Path
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from countis.errors import SupplyError
from countis.supply.recordings import MAX_RATE, MIN_RATE, RawStream, comtrade, play
from countis.supply.toml_file import RecordingPlan, SupplyPlan, read_supply

DEFAULT: Final = "workshop.toml"
_ALLOWED: Final = "COMTRADE .cfg beside its .dat, raw float32 as .f32 or .raw, - for standard input"


class Source(Protocol):
    """Samples with what else the supply says."""

    @property
    def tariff_volts(self) -> float: ...

    @property
    def seconds(self) -> float: ...

    @property
    def rate(self) -> float: ...

    def read(self, count: int) -> NDArray[np.float64]: ...


def read_file(path: Path) -> bytes:
    """Return the bytes of a file; SupplyError where it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise SupplyError(f"{path}: {error.strerror} (allowed: a file that can be read)") from None


def read_text(path: Path) -> str:
    """Return the text of a UTF-8 file; SupplyError where it is none."""
    try:
        return read_file(path).decode("utf-8")
    except UnicodeDecodeError as error:
        raise SupplyError(f"{path}: byte {error.start} is not UTF-8 (allowed: UTF-8 text)") from None


def supply_plan(path: Path | None) -> SupplyPlan:
    """Read a supply file, or the workshop that comes with the package."""
    if path is None:
        text = resources.files("countis.supply").joinpath(DEFAULT).read_text("utf-8")
        return read_supply(text, DEFAULT)
    return read_supply(read_text(path), str(path))


def recording(plan: RecordingPlan, beside: Path, rate: float) -> Source:
    """Open the recording of a plan; its file is looked up beside the supply file."""
    path = beside / plan.file
    if path.suffix.lower() == ".cfg":
        data = next((p for p in (path.with_suffix(".dat"), path.with_suffix(".DAT")) if p.exists()), path.with_suffix(".dat"))
        cfg = read_file(path).decode("utf-8", "replace")
        samples, found = comtrade(cfg, read_file(data), plan.channels, str(path))
        return play(samples, found, plan, str(path))
    if path.suffix.lower() not in (".f32", ".raw"):
        raise SupplyError(f"{path}: unknown kind of recording (allowed: {_ALLOWED})")
    data_bytes = read_file(path)
    if len(data_bytes) % 24 or not data_bytes:
        raise SupplyError(f"{path}: {len(data_bytes)} bytes (allowed: 24 bytes a sample, float32 V1 V2 V3 I1 I2 I3)")
    raw = np.frombuffer(data_bytes, "<f4").reshape(-1, 6).astype(np.float64)
    if not np.isfinite(raw).all():
        bad = int(np.argwhere(~np.isfinite(raw))[0][0])
        raise SupplyError(f"{path}: sample {bad} is not a number (allowed: finite volts and amperes)")
    return play(raw, rate, plan, str(path))


def _pull(count: int) -> bytes:
    """Read standard input as it comes."""
    return os.read(sys.stdin.fileno(), count)


def open_source(supply: Path | None, recorded: str | None, ratio: float, midnight: float, rate: float | None,
                v_scale: float, i_scale: float) -> Source:  # fmt: skip
    """Open what `--supply` or `--recording` name; the workshop where neither is given."""
    if rate is not None and not MIN_RATE <= rate <= MAX_RATE:
        raise SupplyError(f"--rate: {rate:g} is not possible (allowed: {MIN_RATE}..{MAX_RATE})")
    if recorded == "-":
        return RawStream(_pull, rate or 8000, v_scale, i_scale)
    if recorded is not None:
        plan = RecordingPlan(recorded, {}, v_scale, i_scale)
        return recording(plan, Path(), rate or 8000)
    described = supply_plan(supply)
    if described.recording is not None:
        return recording(described.recording, supply.parent if supply is not None else Path(), described.rate)
    return described.build(ratio, midnight)
