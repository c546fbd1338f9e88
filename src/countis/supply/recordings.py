"""Recorded waveforms as sources of samples: COMTRADE and raw float32.

Rule: bytes come in as arguments, or from a reader the host hands in; nothing here opens a file.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Final

import numpy as np
from comtrade import Comtrade
from numpy.typing import NDArray

from countis.errors import SupplyError
from countis.supply.toml_file import CHANNELS, RecordingPlan

Samples = NDArray[np.float64]
MIN_RATE, MAX_RATE = 800, 50_000
_UNITS: Final = {"V": 1.0, "KV": 1e3, "A": 1.0, "KA": 1e3}


class Recording:
    """Samples [n, 6] that are there already, played from their first on.

    at_end: "stop" ends the source, "loop" starts again, "off" goes on with a dead supply.
    """

    tariff_volts = 0.0

    def __init__(self, samples: Samples, rate: float, at_end: str = "stop") -> None:
        self.rate, self.at_end = rate, at_end
        self._samples, self._at = samples, 0

    def read(self, count: int) -> Samples:
        """Return the next `count` samples, fewer at the end."""
        total = len(self._samples)
        if self.at_end == "loop":
            out = np.take(self._samples, np.arange(self._at, self._at + count) % total, axis=0)
        else:
            out = self._samples[self._at : self._at + count]
            if self.at_end == "off" and len(out) < count:
                out = np.concatenate((out, np.zeros((count - len(out), 6))))
        self._at += len(out)
        return out

    @property
    def seconds(self) -> float:
        """How much has been played."""
        return self._at / self.rate


class RawStream:
    """Raw little-endian float32 V1 V2 V3 I1 I2 I3, read as they come: `pull(n)` returns at most n bytes, b"" at the end."""

    tariff_volts = 0.0
    _BYTES: Final = 24

    def __init__(self, pull: Callable[[int], bytes], rate: float = 8000, v_scale: float = 1.0, i_scale: float = 1.0) -> None:
        self.rate = rate
        self._pull = pull
        self._scale = np.array([v_scale] * 3 + [i_scale] * 3)
        self._played = 0

    @property
    def seconds(self) -> float:
        """How much has been played."""
        return self._played / self.rate

    def read(self, count: int) -> Samples:
        """Return the next `count` samples, fewer at the end; a torn last sample is an error."""
        data = bytearray()
        while len(data) < count * self._BYTES:
            part = self._pull(count * self._BYTES - len(data))
            if not part:
                break
            data += part
        if len(data) % self._BYTES:
            raise SupplyError(f"raw samples: {len(data) % self._BYTES} bytes left over (allowed: 24 bytes a sample)")
        self._played += len(data) // self._BYTES
        block: Samples = np.frombuffer(bytes(data), "<f4").reshape(-1, 6) * self._scale
        return block


def play(samples: Samples, rate: float, plan: RecordingPlan, name: str) -> Recording:
    """Cut a recording to the part the plan names and scale it to the terminals."""
    first = round(plan.start * rate)
    last = len(samples) if plan.end is None else round(plan.end * rate)
    if first >= last or last > len(samples):
        raise SupplyError(f"{name}: from {plan.start:g} to {plan.end if plan.end is not None else 'the end'} s "
                          f"(allowed: 0..{len(samples) / rate:g} s)")  # fmt: skip
    scale = np.array([plan.v_scale] * 3 + [plan.i_scale] * 3)
    return Recording(np.ascontiguousarray(samples[first:last] * scale), rate, plan.at_end)


def comtrade(cfg: str, dat: bytes, channels: Mapping[str, str], name: str) -> tuple[Samples, float]:
    """Return the samples [n, 6] and the rate of a COMTRADE recording; `channels` names what is not found by unit and phase."""
    record = Comtrade(ignore_warnings=True)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            binary = "ASCII" not in cfg.upper().split()
            record.read(cfg, dat if binary else dat.decode("ascii"))
    except Exception as error:  # the library raises whatever the broken file provokes
        raise SupplyError(f"{name}: {str(error) or type(error).__name__} (allowed: COMTRADE 1991, 1999, 2013)") from None
    rate = _rate(record, name)
    found = _channel_numbers(record, channels, name)
    columns = [np.asarray(record.analog[n], np.float64) * _unit(record, n) if n is not None else None for n in found]
    length = record.total_samples
    samples = np.stack([c if c is not None else np.zeros(length) for c in columns], axis=1)
    return samples, rate


def _rate(record: Comtrade, name: str) -> float:
    """Return the one rate of a recording: as declared, or by its time stamps where it declares none."""
    rates = [float(rate) for rate, _ in record.cfg.sample_rates]
    if rates == [0.0] and record.total_samples > 2:
        times = np.asarray(record.time, np.float64)
        steps = np.diff(times)
        mean = float(times[-1] - times[0]) / len(steps)
        if mean > 0.0 and bool((np.abs(steps - mean) < 0.5 * mean).all()):
            rates = [round(1.0 / mean, 3)]
    if len(rates) != 1 or not MIN_RATE <= rates[0] <= MAX_RATE:
        text = ", ".join(f"{rate:g}" for rate in rates) or "none"
        raise SupplyError(f"{name}: sample rate {text} (allowed: one rate, {MIN_RATE}..{MAX_RATE} per second)")
    return rates[0]


def _unit(record: Comtrade, number: int) -> float:
    return _UNITS.get(record.cfg.analog_channels[number].uu.strip().upper(), 1.0)


def _channel_numbers(record: Comtrade, wanted: Mapping[str, str], name: str) -> list[int | None]:
    """Find the analog channel of V1..I3: by the given names, else the first of that unit and phase; None = not recorded."""
    ids = [channel.name.strip() for channel in record.cfg.analog_channels]
    found: list[int | None] = []
    for symbol in CHANNELS:
        if symbol in wanted:
            if wanted[symbol] not in ids:
                raise SupplyError(f"{name}: no channel {wanted[symbol]!r} for {symbol} (allowed: {', '.join(ids)})")
            found.append(ids.index(wanted[symbol]))
            continue
        found.append(_by_phase(record, symbol))
    if all(number is None for number in found[:3]):
        raise SupplyError(
            f"{name}: no voltage found (allowed: channels of unit V and phase A, B, C, or channels = {{ V1 = … }})"
        )
    return found


def _by_phase(record: Comtrade, symbol: str) -> int | None:
    phases = {"1": ("A", "L1", "1", "R"), "2": ("B", "L2", "2", "S"), "3": ("C", "L3", "3", "T")}[symbol[1]]
    for number, channel in enumerate(record.cfg.analog_channels):
        if channel.uu.strip().upper().lstrip("K") == {"V": "V", "I": "A"}[symbol[0]] and channel.ph.strip().upper() in phases:
            return number
    return None
