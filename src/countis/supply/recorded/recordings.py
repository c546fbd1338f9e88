"""Recorded waveforms as sources of samples: which channel is which, which part is played, at which rate.

Rule: a recording at a rate outside the promise of the metrology is resampled, band-limited; else nothing
changes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np

from countis.supply.network import Samples
from countis.supply.recorded.formats import RAW_FORMATS, Channel, Recorded, decode, wav_head
from countis.supply.toml_file import AtEnd, RecordingPlan
from countis.words.errors import SupplyError, plain
from countis.words.settings import CHANNELS, MAX_RATE, MIN_RATE, PROMISED_RATE
from countis.words.toml import short

_REACH: Final = 32  # samples of the slower rate on each side that a resampled one is made of
_MOST_UP, _MOST_DOWN = 64, 8  # 50 to 400 000 samples per second
_STREAM: Final = "standard input"
_HEAD_LIMIT: Final = 65_536
_LENGTH_UNKNOWN: Final = 0x7FFFF000  # what recorders write before they know
_SMALL: Final = {1: (0,), 2: (0, 3), 3: (0, 1, 2), 4: (0, 1, 2, 3)}  # columns of so many unnamed channels


def propose(recorded: Recorded) -> dict[str, str]:
    """Return a channel map: by name, else by unit and phase, else (channels without a unit) by place."""
    proposed: dict[str, str] = {}
    channels = recorded.channels
    for symbol in CHANNELS:
        place = {"V": "V", "I": "A"}[symbol[0]], "ABC"[int(symbol[1]) - 1]
        named = [c.name for c in channels if c.name.upper() == symbol]
        if fits := named or [c.name for c in channels if (c.unit, c.phase) == place]:
            proposed[symbol] = fits[0]
    if not proposed and all(c.unit == "" for c in channels):
        places = _SMALL.get(len(channels), range(min(6, len(channels))))
        return {CHANNELS[place]: channel.name for place, channel in zip(places, channels, strict=False)}
    return proposed


def choose(recorded: Recorded, channel_map: Mapping[str, str], name: str) -> Samples:
    """Return samples [n, 6] of V1 V2 V3 I1 I2 I3; zero for what is not recorded."""
    names = [channel.name for channel in recorded.channels]
    chosen = {**propose(recorded), **channel_map}
    for symbol, channel in channel_map.items():
        if channel not in names:
            raise SupplyError(name, f"no channel {short(channel)} for {symbol}", _listed(recorded.channels))
    if not any(symbol in chosen for symbol in CHANNELS[:3]):
        allowed = f"channels = {{ V1 = … }} with {_listed(recorded.channels)}"
        raise SupplyError(name, "no voltage found", allowed)
    samples = np.zeros((len(recorded.data), 6))
    for column, symbol in enumerate(CHANNELS):
        if symbol in chosen:
            samples[:, column] = recorded.data[:, names.index(chosen[symbol])]
    if not np.isfinite(samples).all():
        bad = int(np.argwhere(~np.isfinite(samples))[0][0])
        raise SupplyError(name, f"sample {bad} is not a number", "finite volts and amperes")
    return samples


def _listed(channels: tuple[Channel, ...]) -> str:
    names = [plain(channel.name) for channel in channels]
    return plain(", ".join(names[:24]) + (", …" if len(names) > 24 else ""), 400)


class Recording:
    """Samples [n, 6] that are there already, played from their first on."""

    def __init__(self, samples: Samples, rate: float, at_end: AtEnd = AtEnd.STOP,
                 tariff_volts: float = 0.0) -> None:
        self.rate, self.at_end, self.tariff_volts = rate, at_end, tariff_volts
        self._samples, self._played = samples, 0

    def read(self, count: int) -> Samples:
        """Return the next `count` samples, fewer at the end."""
        total = len(self._samples)
        if self.at_end is AtEnd.LOOP:
            out = np.take(self._samples, np.arange(self._played, self._played + count) % total, axis=0)
        else:
            out = self._samples[self._played : self._played + count]
            if self.at_end is AtEnd.OFF and len(out) < count:
                out = np.concatenate((out, np.zeros((count - len(out), 6))))
        self._played += len(out)
        return out

    @property
    def seconds(self) -> float:
        """How much has been played."""
        return self._played / self.rate


def play(samples: Samples, rate: float, plan: RecordingPlan, name: str,
         tariff_volts: float = 0.0) -> Recording:
    """Return as a source what a plan takes of a recording, scaled to the terminals."""
    first = round(plan.start * rate)
    last = len(samples) if plan.end is None else round(plan.end * rate)
    if first >= last or last > len(samples):
        end = "the end" if plan.end is None else f"{plan.end:g} s"
        raise SupplyError(name, f"from {plan.start:g} s to {end}", f"0..{len(samples) / rate:g} s")
    with np.errstate(over="ignore", invalid="ignore"):
        scaled = samples[first:last] * np.array([plan.v_scale] * 3 + [plan.i_scale] * 3)
        played, rate = resample(np.ascontiguousarray(scaled), rate, plan.at_end is AtEnd.LOOP)
    if not np.isfinite(played).all():
        raise SupplyError(name, "samples too large to be scaled", "finite volts and amperes")
    if not MIN_RATE <= rate <= MAX_RATE:
        raise SupplyError(name, f"{rate:g} samples per second", f"50..{_MOST_DOWN * MAX_RATE}")
    return Recording(played, rate, plan.at_end, tariff_volts)


def resample(samples: Samples, rate: float, loops: bool) -> tuple[Samples, float]:
    """Return samples at a rate within the promise: a multiple of a lower, a whole part of a higher one."""
    if PROMISED_RATE <= rate <= MAX_RATE or rate <= 0.0:
        return samples, rate
    up = int(max(1, -(-PROMISED_RATE // rate)) if rate < PROMISED_RATE else 1)
    down = int(max(1, -(-rate // MAX_RATE)))
    reach = min(_REACH * down, len(samples) - 1)
    if reach < 1 or up > _MOST_UP or down > _MOST_DOWN:
        return samples, rate
    around = ((reach, reach), (0, 0))  # beyond the ends lies the other end of a loop, else a mirror
    padded = (np.pad(samples, around, mode="wrap") if loops
              else np.pad(samples, around, mode="reflect", reflect_type="odd"))
    window = np.kaiser(2 * reach * up + 1, 9.0)
    offsets = np.arange(-reach * up, reach * up + 1) / up
    kernel = window * np.sinc(offsets / down) / down
    out = np.empty((len(samples), up, samples.shape[1]))
    for k in range(up):
        taps = kernel[k::up] / kernel[k::up].sum()
        for channel in range(samples.shape[1]):
            run = np.convolve(padded[:, channel], taps, "valid")
            out[:, k, channel] = run[1 : len(samples) + 1] if k else run[: len(samples)]
    whole = out.reshape(-1, samples.shape[1])[::down]
    return np.ascontiguousarray(whole), rate * up / down


class RawStream:
    """Raw samples V1 V2 V3 I1 I2 I3 as they come, or a WAV if they begin with RIFF.

    pull(n) returns at most n bytes, b"" at the end. form: f32 f64 s16 s24 s32, little-endian; integers are
    parts of full scale. rate: samples per second; a WAV says its own.
    """

    tariff_volts = 0.0

    def __init__(self, pull: Callable[[int], bytes], rate: float = 8000, form: str = "f32",
                 v_scale: float = 1.0, i_scale: float = 1.0) -> None:
        self._pull, self.rate, self._form = pull, rate, form
        self._channels = 6
        self._scale = np.array([v_scale] * 3 + [i_scale] * 3)
        self._pending = b""
        self._left = 1 << 62  # bytes of samples still to come; a WAV may say how many
        self._played = 0
        self._open()

    @property
    def seconds(self) -> float:
        """How much has been played."""
        return self._played / self.rate

    def _open(self) -> None:
        """Look at the first bytes: a WAV says what it is."""
        self._fill(4)
        head, more = None, True
        while self._pending[:4] == b"RIFF" and head is None:
            if not more or len(self._pending) > _HEAD_LIMIT:
                raise SupplyError(_STREAM, "ends before its samples", "a whole WAV")
            more = self._fill(max(12, 2 * len(self._pending)))  # twice as much, as each look begins anew
            head = wav_head(self._pending, _STREAM) if len(self._pending) >= 12 else None
        if head is not None:
            self.rate, self._form, self._channels = head.rate, head.form, head.channels
            self._pending = self._pending[head.start :]
            if 0 < head.claimed < _LENGTH_UNKNOWN:
                self._left = head.claimed
        if not MIN_RATE <= self.rate <= MAX_RATE:
            raise SupplyError(_STREAM, f"{self.rate:g} samples per second", f"{MIN_RATE}..{MAX_RATE}")

    def _fill(self, count: int) -> bool:
        """Pull until `count` bytes are pending; False at the end."""
        while len(self._pending) < count:
            pulled = self._pull(count - len(self._pending))
            if not pulled:
                return False
            self._pending += pulled
        return True

    def read(self, count: int) -> Samples:
        """Return the next `count` samples, fewer at the end; a torn last sample is an error."""
        size = self._channels * RAW_FORMATS[self._form]
        most = min(count * size, self._left)
        self._fill(most)
        data, self._pending = self._pending[:most], self._pending[most:]
        self._left -= len(data)
        if len(data) % size:
            raise SupplyError(_STREAM, f"{len(data) % size} bytes left over", f"{size} bytes a sample")
        self._played += len(data) // size
        block = decode(data, self._form).reshape(-1, self._channels)
        samples = np.zeros((len(block), 6))
        places = _SMALL.get(self._channels, range(min(6, self._channels)))
        samples[:, list(places)] = block[:, : len(places)]
        with np.errstate(over="ignore", invalid="ignore"):  # the meter refuses what is not finite
            samples *= self._scale
        return samples
