"""The two models: what §13 of the manual prints, as data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

# Manual §13, pulse output: (lowest CT ratio, weight in Wh).
PULSE_WEIGHTS: Final = ((1, 1), (5, 5), (25, 25), (125, 125), (625, 1000), (3125, 10000))


MIN_RATE, MAX_RATE = 800, 50_000  # samples per second a meter takes
PROMISED_RATE: Final = 3200  # from here on its accuracy is promised


@dataclass(frozen=True, slots=True)
class Model:
    """One model of the family; volts to neutral, secondary amperes, hertz, watts. Source: manual §4.2 and §13."""

    name: str
    reference: str
    mid: bool
    extended_name: str  # register 50058
    un: float = 230.0
    un_max: float = 230.0
    f_nominal: tuple[int, ...] = (50,)
    i_ref: float = 1.0
    i_max: float = 6.0
    i_tr: float = 0.05
    i_min: float = 0.01  # the manual prints 0.10, above Itr (decision 15)
    i_start: float = 0.001
    v_max: float = 288.0
    v_overload: float = 300.0  # from here on it is named overload (decision 44)
    v_clip: float = 350.0  # decision 44
    i_overload: float = 120.0  # decision 44
    i_clip: float = 120.0  # 20 × Imax, decision 44
    f_range: tuple[float, float] = (45.0, 65.0)
    led_per_kwh: int = 1000  # of secondary energy, decision 10
    led_ns: int = 10_000_000  # assumed
    pulse_ns: int = 50_000_000  # decision 11
    pause_ns: int = 50_000_000  # decision 11
    missing_below: float = 0.2  # of Un, decision 17
    off_below: float = 0.5  # of Un at L1–N: self-supplied, decision 16; levels and times assumed
    on_above: float = 0.6
    hold_up_ns: int = 500_000_000
    start_up_ns: int = 1_000_000_000
    start_va: float = 0.1  # gate per phase, secondary VA: 1 mA at 0.8 Un is 0.18 VA; assumed (decision 14)


E43: Final = Model("E43", "4850 3065", False, "Countis E43", un_max=240.0, f_nominal=(50, 60), i_start=0.001)
E44: Final = Model("E44", "4850 3066", True, "Countis E44")
MODELS: Final = {model.name: model for model in (E43, E44)}


@dataclass(frozen=True, slots=True)
class Firmware:
    """What the device says it runs (manual §10.8, decision 28); the host hands in what is installed.

    cs1, cs2: checksums of the metrological files and of all others. malfunction: cs1 is not the one that was recorded.
    """

    version: tuple[int, int, int] = (0, 1, 0)
    built: tuple[int, int, int] = (2026, 11, 23)
    cs1: int = 0
    cs2: int = 0
    malfunction: bool = False


def pulse_weight(ct_primary: int, ct_secondary: int) -> int:
    """Return the weight of one output pulse in Wh, by floor(primary / secondary), at least 1 (§13, decision 33)."""
    ratio = max(1, ct_primary // ct_secondary)
    return max(weight for lowest, weight in PULSE_WEIGHTS if lowest <= ratio)
