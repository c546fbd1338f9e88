"""`countis record` and `countis probe`: supplies into files for others' tools, and what is in theirs."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Final

import numpy as np

from countis.host.running.sources import Raw, read_recording
from countis.supply.network import FULL_SCALE, FULL_SCALE_I, FULL_SCALE_V
from countis.supply.recorded.comtrade_file import write_comtrade
from countis.supply.recorded.formats import write_csv, write_wav
from countis.supply.recorded.recordings import propose
from countis.supply.source import Supply
from countis.words.errors import SupplyError
from countis.words.settings import CHANNELS

_KINDS: Final = (".cfg", ".wav", ".csv", ".f32")
_MOST_SAMPLES: Final = 50_000_000
_CYCLES_PROBED: Final = 10


def record(supply: Supply, seconds: float, out: Path) -> str:
    """Write what a supply makes; return how it is played back. SupplyError where it cannot be written."""
    kind, flags = out.suffix.lower(), ""
    if kind not in _KINDS:
        raise SupplyError(f"--out {out}", "unknown kind of recording", ", ".join(_KINDS))
    count = round(seconds * supply.rate) if math.isfinite(seconds) else 0
    if not 2 <= count <= _MOST_SAMPLES:
        raise SupplyError(f"--seconds {seconds:g}", f"{count} samples", f"2..{_MOST_SAMPLES}")
    rate, frequency = supply.rate, supply.state.network.frequency
    samples = supply.read(count)
    if kind == ".cfg":
        cfg, dat = write_comtrade(samples, rate, CHANNELS, frequency)
        _write(out.with_suffix(".dat"), dat)
        _write(out, cfg)
    elif kind == ".csv":
        _write(out, write_csv(samples, rate, CHANNELS))
    elif kind == ".wav":
        if not rate.is_integer():
            wrong = f"a WAV holds whole rates, not {rate:g}"
            raise SupplyError(f"--out {out}", wrong, "another kind, another rate")
        _write(out, write_wav(samples / FULL_SCALE, rate))
        flags = f" --v-scale {FULL_SCALE_V:.9g} --i-scale {FULL_SCALE_I:.9g}"
    else:
        _write(out, samples.astype("<f4").tobytes())
        flags = "" if rate == 8000 else f" --rate {rate:g}"
    command = f"countis run --recording {out}{flags}"
    return f"{out}: {count} samples at {rate:g} per second; play it back with: {command}"


def _write(path: Path, data: bytes) -> None:
    fresh = path.with_name(path.name + ".new")
    try:
        fresh.write_bytes(data)
        fresh.replace(path)
    except OSError as error:
        raise SupplyError(f"--out {path}", str(error.strerror), "a file that can be written") from None


def probe(path: Path, raw: Raw) -> str:
    """Say what is in a recording, and propose a `[recording]` table for it."""
    recorded = read_recording(path, raw)
    count, rate = len(recorded.data), recorded.rate
    head = recorded.data[: max(2, round(_CYCLES_PROBED / 50 * rate))]
    lines = [f"# {path}: {recorded.kind}, channels: {len(recorded.channels)}, "
             f"{count / rate:g} s at {rate:g} samples per second"]
    for channel, column in zip(recorded.channels, head.T, strict=True):
        rms = float(np.sqrt(np.mean(column**2)))
        unit, phase = channel.unit or "?", channel.phase or "-"
        lines.append(f"#   {channel.name:24} {unit:2} {phase:2} RMS {rms:.6g} in its first cycles")
    lines += ["[recording]", f"file = {json.dumps(path.name, ensure_ascii=False)}"]
    if proposed := propose(recorded):
        channels = (f"{symbol} = {json.dumps(name, ensure_ascii=False)}" for symbol, name in proposed.items())
        lines.append("channels = { " + ", ".join(channels) + " }")
    return "\n".join([*lines, "v_scale = 1.0    # to volts at the terminals",
                      "i_scale = 1.0    # to amperes on the secondary", 'at_end = "stop"'])
