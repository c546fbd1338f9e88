"""COMTRADE recordings: read by a library once their sizes have been checked, and written.

Rule: what the configuration claims is compared with the bytes that are there before memory is taken for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from comtrade import Cfg, Comtrade

from countis.supply.network import Samples
from countis.supply.recorded.formats import Channel, Recorded
from countis.words.errors import SupplyError, plain
from countis.words.toml import short

_UNITS: Final = {"V": ("V", 1.0), "KV": ("V", 1e3), "MV": ("V", 1e-3),
                 "A": ("A", 1.0), "KA": ("A", 1e3), "MA": ("A", 1e-3)}
_PHASES: Final = {name: phase for phase, names in {"A": ("A", "L1", "R", "1"), "B": ("B", "L2", "S", "2"),
                                                   "C": ("C", "L3", "T", "3")}.items() for name in names}
_WIDTHS: Final = {"BINARY": 2, "BINARY32": 4, "FLOAT32": 4}  # bytes of an analog value
_ALLOWED: Final = "COMTRADE 1991, 1999, 2013"
_MOST_CHANNELS: Final = 10_000


def read_comtrade(cfg: str, dat: bytes, name: str) -> Recorded:
    """Read a recording; analog channels become V and A on the secondary side."""
    try:
        _check_counts(cfg, name)
        head = Cfg(ignore_warnings=True)
        head.read(cfg)
        _check_size(head, dat, name)
        record = Comtrade(ignore_warnings=True)
        record.read(cfg, dat if head.ft.upper() in _WIDTHS else dat.decode("ascii"))
        data = np.array([np.asarray(column, np.float64) for column in record.analog]).T
        times = np.asarray(record.time, np.float64)
    except SupplyError:
        raise
    except Exception as error:  # the library raises whatever the broken file provokes
        reason = " ".join(str(error).split()) or type(error).__name__
        raise SupplyError(name, plain(reason, 120), _ALLOWED) from None
    if data.ndim != 2 or len(data) < 2:
        raise SupplyError(name, f"{len(times)} samples", "two and more, with analog channels")
    with np.errstate(over="ignore", invalid="ignore"):  # who chooses a channel finds out what is no number
        return _on_the_secondary(head, record, data, times, name)


def _on_the_secondary(head: Cfg, record: Comtrade, data: Samples, times: Samples, name: str) -> Recorded:
    """Return analog channels in V and A, with the skew of their sampling taken out."""
    channels, scales = [], []
    for column, analog in enumerate(record.cfg.analog_channels):
        if analog.skew:  # taken so many µs late; brought back in a straight line between samples
            data[:, column] = np.interp(times, times + analog.skew * 1e-6, data[:, column])
        unit, scale = _UNITS.get(analog.uu.strip().upper(), ("", 1.0))
        primary = analog.pors.strip().upper() == "P" and unit and analog.primary and analog.secondary
        scales.append(scale * (analog.secondary / analog.primary if primary else 1.0))
        channels.append(Channel(analog.name.strip(), unit, _PHASES.get(analog.ph.strip().upper(), "")))
    kind = f"COMTRADE {plain(head.rev_year, 10)} {head.ft}"
    return Recorded(kind, _rate(head, times, name), tuple(channels), data * np.array(scales))


def _check_counts(cfg: str, name: str) -> None:
    """Compare the channels that are claimed with what is possible: the library makes room for all at once."""
    cells = [cell.strip() for cell in "".join(cfg.split("\n", 2)[1:2]).split(",")]
    analog, status = (int(cell[:-1]) if cell else 0 for cell in (*cells[1:3], "", "")[:2])
    if max(analog, status) > _MOST_CHANNELS:
        counts = f"{short(analog)} analog, {short(status)} status channels"
        raise SupplyError(name, counts, f"1..{_MOST_CHANNELS}")


def _check_size(head: Cfg, dat: bytes, name: str) -> None:
    """Compare the samples that are claimed with the bytes that are there."""
    if head.analog_count < 1 or head.status_count < 0:
        counts = f"{head.analog_count} analog, {head.status_count} status channels"
        raise SupplyError(name, counts, f"1..{_MOST_CHANNELS}")
    if len(head.sample_rates) != 1:  # the library looks through all of them for each sample
        raise SupplyError(name, f"{len(head.sample_rates)} sample rates", "one rate, or even time stamps")
    claimed = int(head.sample_rates[0][1])
    form = head.ft.upper()
    if form not in (*_WIDTHS, "ASCII"):
        raise SupplyError(name, f"data file of type {short(head.ft)}", f"ASCII, {', '.join(_WIDTHS)}")
    if form in _WIDTHS:
        size = 8 + _WIDTHS[form] * head.analog_count + 2 * -(-head.status_count // 16)
        there, rest = divmod(len(dat), size)
    else:
        there, rest = len([line for line in dat.splitlines() if line.strip(b" \x1a")]), 0
        if dat.count(b",") < there * (1 + head.analog_count + head.status_count):
            raise SupplyError(name, "lines with too few values", "number, time and all channels")
    if claimed < 1 or there != claimed or rest:
        wrong = f"{there} samples are there, {short(claimed)} are announced"
        raise SupplyError(name, wrong, "a whole recording")


def _rate(head: Cfg, times: Samples, name: str) -> float:
    """Return the one rate of a recording: as declared, or by its time stamps where it declares none."""
    rate = float(head.sample_rates[0][0])
    if rate == 0.0:
        steps = np.diff(times)
        mean = float(times[-1] - times[0]) / len(steps)
        if mean > 0.0 and bool((np.abs(steps - mean) < 0.5 * mean).all()):
            return round(1.0 / mean, 3)
    if not rate > 0.0:
        raise SupplyError(name, f"sample rate {rate:g}", "one rate, or even time stamps")
    return rate


def write_comtrade(samples: Samples, rate: float, names: Sequence[str],
                   frequency: float) -> tuple[bytes, bytes]:
    """Return cfg and dat of a recording by the standard of 2013, with values as 32-bit floats in V and A."""
    units = ["V" if name.startswith("V") else "A" for name in names]
    lines = ["countis,supply,2013", f"{len(names)},{len(names)}A,0D"]
    for number, (name, unit) in enumerate(zip(names, units, strict=True), 1):
        lines.append(f"{number},{name},{'ABC'[int(name[1]) - 1]},,{unit},1.0,0.0,0.0,-99999,99999,1.0,1.0,S")
    stamp = "01/01/2000,00:00:00.000000"
    lines += [f"{frequency:g}", "1", f"{rate:.9g},{len(samples)}", stamp, stamp, "FLOAT32", "1", "0,0", "0,0"]
    record = np.zeros(len(samples), np.dtype([("n", "<u4"), ("t", "<u4"), ("x", "<f4", (len(names),))]))
    record["n"] = np.arange(1, len(samples) + 1)
    record["t"] = np.minimum(np.rint(np.arange(len(samples)) * 1e6 / rate), 0xFFFFFFFE)
    record["x"] = samples
    return ("\r\n".join(lines) + "\r\n").encode("ascii"), record.tobytes()
