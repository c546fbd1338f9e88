"""Recorded waveforms as bytes: raw samples, WAV and CSV, read and written.

Rule: bytes in, arrays out, and back; no file is opened, and nothing is believed that the bytes do not bear
out.
"""

from __future__ import annotations

import csv
import io
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from countis.supply.network import Samples
from countis.words.errors import SupplyError
from countis.words.settings import CHANNELS

RAW_FORMATS: Final = {"f32": 4, "f64": 8, "s16": 2, "s24": 3, "s32": 4}  # bytes of a number, little-endian
_WAV_PCM, _WAV_FLOAT, _WAV_EXTENSIBLE = 1, 3, 0xFFFE
_WAV_FORMATS: Final = {(_WAV_PCM, 16): "s16", (_WAV_PCM, 24): "s24", (_WAV_PCM, 32): "s32",
                       (_WAV_FLOAT, 32): "f32", (_WAV_FLOAT, 64): "f64"}
_MOST_CHANNELS: Final = 1000
_HIGHEST_RATE: Final = 1e9
_CLOCK_NAMES: Final = ("t", "time", "t_s", "time_s", "seconds")


@dataclass(frozen=True, slots=True)
class Channel:
    """One recorded channel: its name, its unit V or A, its phase A, B or C; "" for what is not recorded."""

    name: str
    unit: str = ""
    phase: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Recorded:
    """A recording as it was read: its kind in words, samples per second, channels, data [n, channels]."""

    kind: str
    rate: float
    channels: tuple[Channel, ...]
    data: Samples  # in the units of the channels, where they have one

    def __post_init__(self) -> None:
        if not 1.0 <= self.rate <= _HIGHEST_RATE:
            raise SupplyError(self.kind, f"{self.rate:g} samples per second", f"1..{_HIGHEST_RATE:g}")


def decode(data: bytes, form: str) -> Samples:
    """Return raw numbers as floats; integers are parts of full scale, −1..1."""
    if form in ("f32", "f64"):
        with np.errstate(invalid="ignore"):  # bits that are no number stay so for `choose` to find
            return np.frombuffer(data, f"<f{RAW_FORMATS[form]}").astype(np.float64)
    if form == "s24":
        wide = np.zeros((len(data) // 3, 4), np.uint8)
        wide[:, 1:] = np.frombuffer(data, np.uint8).reshape(-1, 3)
        return wide.view("<i4").ravel() / 2.0**31
    return np.frombuffer(data, f"<i{RAW_FORMATS[form]}") / 2.0 ** (8 * RAW_FORMATS[form] - 1)


def read_raw(data: bytes, rate: float, form: str, name: str) -> Recorded:
    """Read interleaved V1 V2 V3 I1 I2 I3."""
    size = 6 * RAW_FORMATS[form]
    if not data or len(data) % size:
        raise SupplyError(name, f"{len(data)} bytes", f"{size} bytes a sample, {form} V1 V2 V3 I1 I2 I3")
    channels = tuple(Channel(symbol, unit) for symbol, unit in zip(CHANNELS, "VVVAAA", strict=True))
    return Recorded(f"raw {form}", rate, channels, decode(data, form).reshape(-1, 6))


@dataclass(frozen=True, slots=True)
class WavHead:
    """What stands before the samples of a WAV."""

    form: str
    channels: int
    rate: float
    start: int  # of the samples
    claimed: int  # bytes of samples


def wav_head(data: bytes, name: str) -> WavHead | None:
    """Read the head of a WAV from its first bytes; None while they do not reach the samples."""
    if data[:4] != b"RIFF" or data[8:12] not in (b"WAVE", b""):
        raise SupplyError(name, "not a WAV", "RIFF WAVE")
    start, form = 12, None  # start: of a chunk
    while len(data) >= start + 8:
        chunk, size = data[start : start + 4], int.from_bytes(data[start + 4 : start + 8], "little")
        start += 8  # of its content
        if chunk == b"data":
            if form is None:
                raise SupplyError(name, "samples before their format", "a fmt chunk first")
            return WavHead(*form, start=start, claimed=size)
        if chunk == b"fmt ":
            if len(data) < start + min(size, 40):
                return None
            form = _wav_format(data[start : start + size], name)
        start += size + size % 2
    return None


def _wav_format(chunk: bytes, name: str) -> tuple[str, int, float]:
    if len(chunk) < 16:
        raise SupplyError(name, f"a format chunk of {len(chunk)} bytes", "16 and more")
    code, channels, rate, _, _, bits = struct.unpack_from("<HHIIHH", chunk)
    if code == _WAV_EXTENSIBLE and len(chunk) >= 26:
        code = int.from_bytes(chunk[24:26], "little")
    form = _WAV_FORMATS.get((code, bits))
    if form is None:
        wrong = f"WAV format {code} with {bits} bits"
        raise SupplyError(name, wrong, "PCM of 16, 24, 32 bits, float of 32, 64")
    if not 1 <= channels <= _MOST_CHANNELS:
        raise SupplyError(name, f"{channels} channels", f"1..{_MOST_CHANNELS}")
    return form, channels, float(rate)


def read_wav(data: bytes, name: str) -> Recorded:
    """Read a WAV; its channels are named by their number, from 1 on."""
    head = wav_head(data, name)
    if head is None:
        raise SupplyError(name, "ends before its samples", "a whole WAV")
    size = head.channels * RAW_FORMATS[head.form]
    there = len(data) - head.start
    if head.claimed > there or head.claimed % size or head.claimed == 0:
        raise SupplyError(name, f"{there} bytes of samples where {head.claimed} are announced", "a whole WAV")
    block = decode(data[head.start : head.start + head.claimed], head.form)
    channels = tuple(Channel(str(k + 1)) for k in range(head.channels))
    return Recorded(f"WAV {head.form}", head.rate, channels, block.reshape(-1, head.channels))


def write_wav(samples: Samples, rate: float) -> bytes:
    """Return a WAV of 32-bit floats, as they are; the rate must be a whole number."""
    body = samples.astype("<f4").tobytes()
    channels, whole = samples.shape[1], round(rate)
    form = struct.pack("<HHIIHHH", _WAV_FLOAT, channels, whole, whole * channels * 4, channels * 4, 32, 0)
    head = b"WAVE" + b"fmt " + struct.pack("<I", len(form)) + form + b"data" + struct.pack("<I", len(body))
    return b"RIFF" + struct.pack("<I", len(head) + len(body)) + head + body


def read_csv(text: str, rate: float, name: str) -> Recorded:
    """Read a CSV with a head of names; a column t or time (s) gives the rate, else it is the one given."""
    lines = text.splitlines()
    if len(lines) < 3:
        raise SupplyError(name, f"{len(lines)} lines", "a head of names and samples")
    separator = max(",;\t", key=lines[0].count)
    try:
        names = [cell.strip() for cell in next(csv.reader([lines[0]], delimiter=separator))]
    except csv.Error as error:
        raise SupplyError(f"{name}:1", error, "a head of names") from None
    if not any(line.strip() for line in text.split("\n")[1:]):
        raise SupplyError(name, "no samples", "a head of names and samples")
    try:
        data = np.loadtxt(io.StringIO(text), delimiter=separator, skiprows=1, ndmin=2, comments=None)
    except ValueError:
        line = _bad_line(lines, separator, len(names))
        raise SupplyError(f"{name}:{line}", f"not {len(names)} numbers", "numbers") from None
    if data.shape[1] != len(names):
        raise SupplyError(name, f"{data.shape[1]} columns under {len(names)} names", "as many")
    clock = next((k for k, n in enumerate(names) if n.lower() in _CLOCK_NAMES), None)
    if clock is not None:
        rate = _rate_of(data[:, clock], name)
        data = np.delete(data, clock, axis=1)
        del names[clock]
    channels = tuple(Channel(n, {"V": "V", "I": "A"}.get(n[:1].upper(), "")) for n in names)
    return Recorded("CSV", rate, channels, data)


def _bad_line(lines: Sequence[str], separator: str, columns: int) -> int:
    """Return the number of the first line that is not so many numbers."""
    for number, line in enumerate(lines[1:], 2):
        try:
            if len([float(cell) for cell in line.split(separator)]) != columns:
                return number
        except ValueError:
            return number
    return len(lines)


def _rate_of(times: Samples, name: str) -> float:
    """Return the rate of even time stamps in seconds."""
    if not np.isfinite(times).all():
        raise SupplyError(name, "a time stamp is not a number", "one rate")
    with np.errstate(over="ignore", invalid="ignore"):  # what that makes is uneven too
        steps = np.diff(times)
        mean = float(times[-1] - times[0]) / max(1, len(steps))
        apart = np.abs(steps - mean)
    if not mean > 0.0 or not bool((apart <= 0.5 * mean).all()):
        raise SupplyError(name, "time stamps are uneven", "one rate")
    return float(f"{1.0 / max(mean, 1e-300):.9g}")


def write_csv(samples: Samples, rate: float, names: Sequence[str]) -> bytes:
    """Return a CSV with a column of time, nine digits to a number."""
    out = io.StringIO()
    out.write(",".join(("t", *names)) + "\n")
    times = np.arange(len(samples)) / rate
    np.savetxt(out, np.column_stack((times, samples)), fmt="%.9g", delimiter=",")
    return out.getvalue().encode("ascii")
