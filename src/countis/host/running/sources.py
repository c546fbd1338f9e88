"""Opens what a meter is fed from: supply files, recordings, standard input."""

from __future__ import annotations

import functools
import os
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Final, Protocol

from countis.meter.meter import Source as Samples
from countis.supply.recorded.comtrade_file import read_comtrade
from countis.supply.recorded.formats import RAW_FORMATS, Recorded, read_csv, read_raw, read_wav
from countis.supply.recorded.recordings import RawStream, choose, play
from countis.supply.toml_file import RecordingPlan, SupplyPlan, read_supply
from countis.words.errors import SupplyError

DEFAULT: Final = "workshop.toml"
_ALLOWED: Final = (
    "COMTRADE .cfg beside its .dat, .wav, .csv, raw .f32 .f64 .s16 .s24 .s32 .raw, - for standard input"
)


class Source(Samples, Protocol):
    """Samples, with the volts at the tariff input and the seconds played."""

    @property
    def tariff_volts(self) -> float: ...

    @property
    def seconds(self) -> float: ...


def read_file(path: Path) -> bytes:
    """Return the bytes of a file; SupplyError where it cannot be read."""
    try:
        return path.read_bytes()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise SupplyError(path, reason, "a file that can be read") from None


def read_text(path: Path) -> str:
    """Return the text of a UTF-8 file; SupplyError where it is none."""
    try:
        return read_file(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SupplyError(path, f"byte {error.start} is not UTF-8", "UTF-8 text") from None


@functools.cache
def supply_plan(path: Path | None) -> SupplyPlan:
    """Return the plan of a supply file, or of the packaged workshop; a file is read once."""
    packaged = resources.files("countis.supply").joinpath(DEFAULT)
    text = packaged.read_text("utf-8") if path is None else read_text(path)
    return read_supply(text, DEFAULT if path is None else str(path))


def supply_name(path: Path | None, recording: str | None) -> str:
    """Return what a supply or a recording is called."""
    if recording is not None:
        return "standard input" if recording == "-" else Path(recording).name
    return path.name if path is not None else DEFAULT


@dataclass(frozen=True, slots=True)
class Raw:
    """How raw samples are taken: samples per second, f32 f64 s16 s24 s32, scales to V and secondary A."""

    rate: float = 8000.0
    form: str = "f32"
    v_scale: float = 1.0
    i_scale: float = 1.0

    def __post_init__(self) -> None:
        if self.form not in RAW_FORMATS:
            raise SupplyError("--format", f"{self.form!r} is not possible", ", ".join(RAW_FORMATS))


def read_recording(path: Path, raw: Raw) -> Recorded:
    """Read a recorded file, by its ending; SupplyError in one line where it cannot be."""
    kind, name = path.suffix.lower().lstrip("."), str(path)
    if kind == "cfg":
        lower, upper = path.with_suffix(".dat"), path.with_suffix(".DAT")
        data = upper if upper.exists() and not lower.exists() else lower
        cfg = read_file(path)
        try:
            text = cfg.decode("utf-8-sig")
        except UnicodeDecodeError:
            text = cfg.decode("latin-1")  # older ones name their channels in it
        return read_comtrade(text, read_file(data), name)
    if kind == "wav":
        return read_wav(read_file(path), name)
    if kind == "csv":
        return read_csv(read_text(path), raw.rate, name)
    if kind == "raw" or kind in RAW_FORMATS:
        return read_raw(read_file(path), raw.rate, raw.form if kind == "raw" else kind, name)
    raise SupplyError(path, "unknown kind of recording", _ALLOWED)


def recording(plan: RecordingPlan, beside: Path, raw: Raw, tariff_volts: float = 0.0) -> Source:
    """Open the recording of a plan; its file is looked up beside the supply file."""
    path = beside / plan.file
    recorded = read_recording(path, raw)
    return play(choose(recorded, plan.channels, str(path)), recorded.rate, plan, str(path), tariff_volts)


def _pull(count: int) -> bytes:
    """Read standard input as it comes."""
    try:
        return os.read(0, count)
    except OSError as error:
        raise SupplyError("standard input", error.strerror, "raw samples or a WAV") from None


def open_source(
    supply: Path | None, recorded: str | None, ratio: float, midnight: float, raw: Raw,
    seed: int | None = None,
) -> Source:
    """Open what `--supply` or `--recording` name, the workshop without either. seed: instead of the supply's.

    ratio: of the CTs; midnight: seconds since then; raw: how raw samples are to be taken. SupplyError.
    """
    if recorded == "-":
        return RawStream(_pull, raw.rate, raw.form, raw.v_scale, raw.i_scale)
    if recorded is not None:
        return recording(RecordingPlan(recorded, {}, raw.v_scale, raw.i_scale), Path(), raw)
    plan = supply_plan(supply)
    if plan.recording is not None:
        beside = supply.parent if supply is not None else Path()
        volts = plan.states[0][1].state.tariff_volts
        return recording(plan.recording, beside, replace(raw, rate=plan.rate), volts)
    return (plan if seed is None else replace(plan, seed=seed)).build(ratio, midnight)
