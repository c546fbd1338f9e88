"""Metrology against truth worked out by hand: waveforms, quadrants, frequency, sequence, missing phases, gating."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from countis import E43, E44, Meter
from countis.meter.metrology.measurement import F, Measurement, Metrology, V
from countis.supply import Load, Network, Supply, steady, three_phase
from countis.words.quantities import LIVE_COLUMN
from numpy.typing import NDArray

RATE = 8000


def shown(supply: Supply, seconds: float = 4.0, **settings: Any) -> Meter:
    meter = Meter(E44, rate=supply.rate, **settings)
    meter.feed(supply, seconds=seconds)
    return meter


def number(meter: Meter, symbol: str) -> float:
    value = meter[symbol]
    assert isinstance(value, float | int), symbol
    return float(value)


# reference/metrology.md, "Truth of the influence waveforms", U1 = 230 V and I1 = 1 A
WAVEFORMS = [
    ({"pf": 0.5}, 0.5, 1.0, 1.0, 0.86603),
    ({"pf": -0.8}, 0.8, 1.0, 1.0, -0.6),
    ({"v_harmonics": {5: (0.1, 0.0)}, "i_harmonics": {5: (0.4, 0.0)}}, 1.04, 1.00499, 1.07703, 0.0),
]


@pytest.mark.parametrize(("given", "p", "u_rms", "i_rms", "q"), WAVEFORMS)
@pytest.mark.parametrize("export", [False, True])
def test_influence_waveforms(given: dict[str, object], p: float, u_rms: float, i_rms: float, q: float, export: bool) -> None:
    meter = shown(three_phase(230.0, 1.0, export=export, **given))  # type: ignore[arg-type]
    sign = -1.0 if export else 1.0
    for phase in "123":
        assert number(meter, f"P{phase}") == pytest.approx(sign * 230 * p, rel=1e-7)
        assert number(meter, f"Q{phase}") == pytest.approx(sign * 230 * q, rel=6e-6, abs=1e-4)
        assert number(meter, f"V{phase}") == pytest.approx(230 * u_rms, rel=5e-6)
        assert number(meter, f"I{phase}") == pytest.approx(i_rms, rel=5e-6)
        assert number(meter, f"S{phase}") == pytest.approx(230 * u_rms * i_rms, rel=1e-5)
    lead = -1.0 if given.get("pf") == -0.8 else 1.0
    assert number(meter, "PF") == pytest.approx(lead * p / (u_rms * i_rms), rel=1e-5)


def test_reactive_power_is_that_of_the_fundamental() -> None:
    """reference/metrology.md, "Reactive power, one signal, five definitions": only the first one is right here."""
    v = {3: (0.02, 10.0), 5: (0.03, -30.0), 7: (0.01, 45.0)}
    i = {3: (0.10, -40.0), 5: (0.08, 20.0), 7: (0.05, 100.0)}
    meter = shown(three_phase(230.0, 1.0, 0.5, f=50.1, v_harmonics=v, i_harmonics=i))
    assert number(meter, "Q1") == pytest.approx(199.1858, abs=1e-4)
    assert number(meter, "P1") == pytest.approx(115.716, abs=1e-3)
    assert number(meter, "S1") == pytest.approx(232.326, abs=1e-3)


@pytest.mark.parametrize("f", [45.0, 45.3, 49.0, 50.0, 51.7, 55.0, 57.0, 60.0, 64.9, 65.0])
def test_frequency_and_power_over_the_whole_range(f: float) -> None:
    meter = shown(three_phase(230.0, 1.0, 0.5, f=f))
    if f not in (45.0, 65.0):  # at the very edge a rounding may fall outside
        assert number(meter, "f") == pytest.approx(f, abs=2e-5)
    assert number(meter, "P") == pytest.approx(345.0, rel=1e-7)
    assert number(meter, "Q") == pytest.approx(345.0 * math.sqrt(3), rel=1e-6)


@pytest.mark.parametrize("f", [30.0, 42.0, 68.0, 90.0])
def test_outside_the_range_frequency_is_not_available_and_the_rest_goes_on(f: float) -> None:
    meter = shown(three_phase(230.0, 1.0, f=f))
    assert meter["f"] is None
    assert number(meter, "V1") == pytest.approx(230.0, rel=0.01)
    assert number(meter, "P") == pytest.approx(690.0, rel=0.02)


@pytest.mark.parametrize("rate", [800, 1600, 3200, 4800, 7812.5, 12800, 50_000])
def test_any_rate_from_800_to_50_000(rate: float) -> None:
    meter = shown(three_phase(230.0, 1.0, 0.5, f=50.2, rate=rate))
    tight = rate >= 3200
    assert number(meter, "P") == pytest.approx(345.0, rel=1e-6 if tight else 1e-4)
    assert number(meter, "Q") == pytest.approx(345.0 * math.sqrt(3), rel=1e-6 if tight else 1e-4)
    assert number(meter, "f") == pytest.approx(50.2, abs=1e-4 if tight else 2e-3)


@pytest.mark.parametrize(("f", "cycles"), [(50.0, 10), (54.0, 10), (56.0, 12), (60.0, 12)])
def test_windows_hold_10_or_12_cycles_and_tile_the_time(f: float, cycles: int) -> None:
    metrology = Metrology(E43, RATE)
    windows = metrology.feed(three_phase(f=f).read(5 * RATE))
    assert windows.ns[2:].tolist() == pytest.approx([cycles / f * 1e9] * (len(windows) - 2), abs=100)
    assert windows.whole[:4].tolist() == [False, False, True, True]
    last = windows.total_ns / 1e9
    assert 5.0 - 0.25 <= last <= 5.0
    rest = metrology.finish()
    assert last + rest.total_ns / 1e9 == pytest.approx(5.0 - 1 / RATE, abs=1e-8)


@pytest.mark.parametrize("sequence", [123, 132])
def test_phase_sequence(sequence: int) -> None:
    assert shown(three_phase(sequence=sequence))["sequence"] == sequence


@pytest.mark.parametrize("volts", [(230, 0, 230), (230, 230, 40), (230, 40, 40), (230, 0, 0)])
def test_a_missing_phase_leaves_the_sequence_open(volts: tuple[float, float, float]) -> None:
    meter = shown(three_phase(volts, 1.0))
    assert meter["sequence"] is None
    assert meter.state.missing == tuple(f"L{k}" for k, v in enumerate(volts, 1) if v < 46)
    assert [number(meter, f"V{k}") for k in (1, 2, 3)] == pytest.approx(volts, abs=1e-3)
    expected = sum(volts)
    assert number(meter, "P") == pytest.approx(expected, abs=1e-3)
    assert number(meter, "f") == pytest.approx(50.0, abs=1e-4)


def test_all_phases_on_one_voltage_still_have_a_frequency() -> None:
    meter = shown(steady(Network(angles=(0.0, 0.0, 0.0)), [Load(1.0)]))
    assert number(meter, "f") == pytest.approx(50.0, abs=1e-4)
    assert meter["sequence"] is None
    assert number(meter, "U12") == pytest.approx(0.0, abs=1e-6)
    assert number(meter, "IN") == pytest.approx(3.0, rel=1e-6)


def test_means_neutral_and_voltages_between_phases() -> None:
    meter = shown(steady(Network((230.0, 220.0, 240.0)), [Load(1.0, (0,)), Load(2.0, (1,)), Load(4.0, (2,))]), ct_primary=50)
    assert number(meter, "V") == pytest.approx(230.0)
    assert number(meter, "I") == pytest.approx(70 / 3)
    turned = np.exp(-2j * np.pi / 3 * np.arange(3))
    u = np.array([230.0, 220.0, 240.0]) * turned
    assert [number(meter, s) for s in ("U12", "U23", "U31")] == pytest.approx(abs(u - np.roll(u, -1)), rel=1e-7)
    assert number(meter, "IN") == pytest.approx(abs((np.array([10.0, 20.0, 40.0]) * turned).sum()), rel=1e-7)
    assert number(meter, "S") == pytest.approx(230 * 10 + 220 * 20 + 240 * 40)


@pytest.mark.parametrize("pf", [1.0, 0.9999999])
def test_unity_power_factor_is_never_shown_as_minus_one(pf: float) -> None:
    for export in (False, True):
        assert number(shown(three_phase(pf=pf, export=export, noise=1e-5)), "PF") == pytest.approx(1.0, abs=1e-3)


# starting current and no-load, decision 14


@pytest.mark.manual("13")
@pytest.mark.parametrize(("v", "i"), [(230.0, 0.001), (207.0, 0.001), (264.0, 0.001)])
def test_counting_starts_at_1_ma(v: float, i: float) -> None:
    meter = shown(three_phase(v, i), seconds=20.0)
    expected = 3 * v * i * (20.0 - 0.25) / 3600
    assert number(meter, "Ea+") >= expected * 0.999
    assert number(meter, "Ea-") == 0


@pytest.mark.parametrize("v", [0.8 * 230, 230.0, 1.15 * 230])
def test_nothing_is_counted_with_the_current_circuit_open(v: float) -> None:
    meter = shown(three_phase(v, 0.0, noise=1e-5), seconds=20.0)
    assert number(meter, "I1") > 0  # the noise is there
    assert not meter.state.row[:180].any()


def test_one_decision_per_phase_for_all_registers() -> None:
    meter = shown(three_phase(230.0, (1.0, 0.0002, 0.0)), seconds=10.0)
    assert number(meter, "Eap.L1") > 0
    assert all(number(meter, f"{kind}.L2") == 0 for kind in ("Ea+", "Er+", "Eap"))
    assert meter.exact("Ea+") == meter.exact("Ea+.L1")


# transients: nothing dropped between windows


def energy_of(samples: NDArray[np.float64], rate: float) -> float:
    """∫P dt in Ws by the trapezoidal rule over all samples."""
    p = (samples[:, :3] * samples[:, 3:]).sum(axis=1)
    return float((p.sum() - (p[0] + p[-1]) / 2) / rate)


@pytest.mark.parametrize("kind", ["interruption", "dip", "jump"])
def test_active_energy_through_a_disturbance(kind: str) -> None:
    samples = three_phase(230.0, 5.0, 0.8, noise=1e-6).read(10 * RATE)
    at = 5 * RATE + 37
    if kind == "jump":
        samples[at:] = np.roll(samples[at:], 27, axis=0)  # 60 degrees
    else:
        samples[at : at + 1200, : (3 if kind == "interruption" else 1)] *= 0.0 if kind == "interruption" else 0.7
    metrology = Metrology(E44, RATE)
    windows = (metrology.feed(samples), metrology.finish())
    counted = sum(float(w.live[:, LIVE_COLUMN["P"]] @ w.ns) / 1e9 for w in windows)
    assert counted == pytest.approx(energy_of(samples, RATE), rel=5e-6)


# values of a second, decision 31


@pytest.mark.parametrize("pf", [1.0, 0.5, -0.8])
def test_the_first_values_shown_are_right_already(pf: float) -> None:
    """The reference settles from nothing; what it measures meanwhile counts, but is not shown."""
    meter = shown(three_phase(230.0, 5.0, pf, f=49.7), seconds=1.0)
    for k in "123":
        assert number(meter, f"V{k}") == pytest.approx(230.0, rel=2e-7)
        assert number(meter, f"I{k}") == pytest.approx(5.0, rel=2e-7)
        assert number(meter, f"P{k}") == pytest.approx(1150.0 * abs(pf), rel=2e-7)
    assert number(meter, "f") == pytest.approx(49.7, abs=2e-5)


def test_a_second_is_the_rms_and_mean_of_its_windows() -> None:
    meter = Meter(E44)
    for volts in (200.0, 220.0, 240.0, 230.0, 210.0):
        meter.count(Measurement.of(E44, seconds=0.2, v=[volts] * 3, i=[1.0] * 3, p=[volts] * 3, q=[0.0] * 3))
    expected = math.sqrt((200**2 + 220**2 + 240**2 + 230**2 + 210**2) / 5)
    assert meter["V"] == pytest.approx(expected)
    assert meter["P"] == pytest.approx(660.0)
    assert meter["PF"] == pytest.approx(220.0 / expected)


def test_frequency_is_the_mean_of_the_windows_that_have_one() -> None:
    windows = Metrology(E44, RATE).feed(three_phase(f=50.0).read(RATE))
    assert math.isnan(windows.live[0, F])
    assert windows.live[0, V] == pytest.approx(230.0, rel=1e-3)
