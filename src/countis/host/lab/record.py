"""`countis record` and `countis probe`: supplies into files for others' tools, and what is in the files of others."""

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
    if out.suffix.lower() not in _KINDS:
        raise SupplyError(f"--out {out}", "unknown kind of recording", ", ".join(_KINDS))
    count = round(seconds * supply.rate) if math.isfinite(seconds) else 0
    if not 2 <= count <= _MOST_SAMPLES:
        raise SupplyError(f"--seconds {seconds:g}", f"{count} samples", f"2..{_MOST_SAMPLES}")
    rate, frequency = supply.rate, supply.state.network.frequency
    samples = supply.read(count)
    kind, flags = out.suffix.lower(), ""
    if kind == ".cfg":
        cfg, dat = write_comtrade(samples, rate, CHANNELS, frequency)
        _write(out.with_suffix(".dat"), dat)
        _write(out, cfg)
    elif kind == ".csv":
        _write(out, write_csv(samples, rate, CHANNELS))
    elif kind == ".wav":
        if not rate.is_integer():
            raise SupplyError(
                f"--out {out}", f"a WAV holds whole rates, not {rate:g}", "another kind, another rate"
            )
        _write(out, write_wav(samples / FULL_SCALE, rate))
        flags = f" --v-scale {FULL_SCALE_V:.9g} --i-scale {FULL_SCALE_I:.9g}"
    else:
        _write(out, samples.astype("<f4").tobytes())
        flags = "" if rate == 8000 else f" --rate {rate:g}"
    return f"{out}: {count} samples at {rate:g} per second; play it back with: countis run --recording {out}{flags}"


def _write(path: Path, data: bytes) -> None:
    fresh = path.with_name(path.name + ".new")
    try:
        fresh.write_bytes(data)
        fresh.replace(path)
    except OSError as error:
        raise SupplyError(f"--out {path}", str(error.strerror), "a file that can be written") from None


def _quoted(name: str) -> str:
    """Return a name as a TOML string."""
    return json.dumps(name, ensure_ascii=False)


def probe(path: Path, raw: Raw) -> str:
    """Say what is in a recording, and propose a `[recording]` table for it."""
    recorded = read_recording(path, raw)
    count, rate = len(recorded.data), recorded.rate
    lines = [
        f"# {path}: {recorded.kind}, channels: {len(recorded.channels)}, {count / rate:g} s at {rate:g} samples per second"
    ]
    head = recorded.data[: max(2, round(_CYCLES_PROBED / 50 * rate))]
    for channel, column in zip(recorded.channels, head.T, strict=True):
        rms = float(np.sqrt(np.mean(column**2)))
        lines.append(
            f"#   {channel.name:24} {channel.unit or '?':2} {channel.phase or '-':2} RMS {rms:.6g} in its first cycles"
        )
    found = propose(recorded)
    lines += ["[recording]", f"file = {_quoted(path.name)}"]
    if found:
        lines.append("channels = { " + ", ".join(f"{symbol} = {_quoted(name)}" for symbol, name in found.items()) + " }")
    lines += [
        "v_scale = 1.0    # to volts at the terminals",
        "i_scale = 1.0    # to amperes on the secondary",
        'at_end = "stop"',
    ]
    return "\n".join(lines)
