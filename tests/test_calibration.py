"""The constants of the front end: found, applied to parts of a sample, kept, sealed."""

from __future__ import annotations

import math
import os
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from countis import E44, Meter, SetClock, SetSetting
from countis.host.running.plant import local_seconds
from countis.meter.metrology.calibration import TAPS, constants_from, filters, phasors
from countis.supply import FrontEnd, Load, Network, State, Supply
from countis.supply.network import at_terminals
from countis.words.commands import Reason, SetCalibration
from countis.words.errors import MemoryImageError, SettingError
from countis.words.settings import CHANNELS, MOST_DELAY, Calibration

from running import command

GAINS, LAGS = (1.01, 0.99, 1.005, 0.993, 1.008, 0.99), (0.3, -0.2, 0.1, 1.0, -1.0, 0.5)
PLAIN = State(Network((230.0, 228.0, 232.0)), (Load(5.0, angle=60.0),))
SKEWED = State(PLAIN.network, PLAIN.loads, front_end=FrontEnd(gain=GAINS, phase=LAGS))


def calibration(state: State = SKEWED, rate: float = 8000, seconds: float = 2.0) -> Calibration:
    samples = Supply([(0.0, state)], rate=rate).read(round(seconds * rate))
    return constants_from(phasors(samples, rate, state.network.frequency), at_terminals(state)[0], state.network.frequency)


def test_gains_and_lags_are_found() -> None:
    constants = calibration()
    assert [1.0 / g for g in constants.gain] == pytest.approx(GAINS, rel=1e-9)
    mean = sum(LAGS) / 6
    assert constants.delay == pytest.approx([(lag - mean) / 360.0 / 50.0 for lag in LAGS], abs=1e-12)


@pytest.mark.parametrize("rate", [3200.0, 8000.0, 12800.0, 50_000.0])
@pytest.mark.parametrize("f", [45.0, 50.0, 65.0])
def test_what_was_skewed_is_measured_as_if_it_were_not(rate: float, f: float) -> None:
    """1 % and 1° are 3 % at power factor 0.5; the constants found at 50 Hz hold at other frequencies."""
    constants = calibration()
    state = State(Network(PLAIN.network.volts, frequency=f), PLAIN.loads, front_end=SKEWED.front_end)
    meter, raw = Meter(E44, rate=rate), Meter(E44, rate=rate)
    assert meter.apply([SetCalibration(constants)]) is None
    for each in (meter, raw):
        each.feed(Supply([(0.0, state)], rate=rate), seconds=3)
    for k, volts in enumerate(PLAIN.network.volts, 1):
        assert meter[f"V{k}"] == pytest.approx(volts, rel=3e-7)
        assert meter[f"I{k}"] == pytest.approx(5.0, rel=3e-7)
        assert meter[f"P{k}"] == pytest.approx(volts * 2.5, rel=1e-6)
        assert meter[f"Q{k}"] == pytest.approx(volts * 5.0 * math.sqrt(0.75), rel=2e-6)
        assert raw[f"P{k}"] != pytest.approx(volts * 2.5, rel=5e-3)
    assert meter["f"] == pytest.approx(f, abs=1e-5)


@pytest.mark.parametrize("rate", [3200.0, 8000.0, 50_000.0])
@pytest.mark.parametrize("delay", [0.0, 1e-6, 55.5e-6, MOST_DELAY])
def test_a_filter_delays_by_parts_of_a_sample_and_keeps_the_gain(rate: float, delay: float) -> None:
    constants = Calibration((1.0, 1.25, 0.8, 1.0, 1.0, 1.0), (0.0, delay, -delay, 0.0, 0.0, 0.0))
    taps = filters(constants, rate)
    turns = np.exp(-2j * np.pi * 50.0 / rate * np.arange(len(taps)))
    response = turns @ taps
    assert np.abs(response) == pytest.approx(constants.gain, rel=1e-9)
    late = -np.angle(response / response[0]) / (2 * np.pi * 50.0)
    assert late == pytest.approx([0.0, -delay, delay, 0.0, 0.0, 0.0], abs=1e-12)


def test_harmonics_to_the_13th_pass_the_filter() -> None:
    taps = filters(Calibration(delay=(62.5e-6, 0.0, 0.0, 0.0, 0.0, 0.0)), 8000.0)  # half a sample, the worst
    for order in range(1, 14):
        response = np.exp(-2j * np.pi * order * 50.0 / 8000.0 * np.arange(len(taps))) @ taps
        assert np.abs(response) == pytest.approx(np.ones(6), abs=2e-5)


def test_ideal_constants_change_no_bit_and_cost_no_sample() -> None:
    samples = Supply([(0.0, PLAIN)]).read(8000)
    plain, ideal = Meter(E44), Meter(E44)
    assert ideal.apply([SetCalibration(Calibration())]) is None
    assert plain.feed(samples) == ideal.feed(samples) == []
    assert plain.state.live.tobytes() == ideal.state.live.tobytes()


def test_a_calibrated_meter_takes_samples_in_any_chunks() -> None:
    samples = Supply([(0.0, SKEWED)]).read(6000)
    whole, cut = Meter(E44), Meter(E44)
    for meter in (whole, cut):
        meter.apply([SetCalibration(calibration())])
    whole.feed(samples)
    for a, b in pairwise([0, 1, 2, TAPS, 9, 700, 701, 3333, 6000]):
        cut.feed(samples[a:b])
    assert cut.save() == whole.save()


def test_the_first_samples_are_not_lost() -> None:
    """Before the first sample the signal is taken as it is there: what counts is late by less than a millisecond."""
    ideal, late = Meter(E44), Meter(E44)
    late.apply([SetCalibration(Calibration(delay=(0.0, 0.0, 0.0, 1e-9, 1e-9, 1e-9)))])
    for meter in (ideal, late):
        meter.feed(Supply([(0.0, PLAIN)]), seconds=2)
        meter.advance(0)
    assert late.exact("Ea+") == pytest.approx(ideal.exact("Ea+"), rel=1e-3 / 2)


def test_a_loaded_meter_measures_with_its_constants() -> None:
    meter = Meter(E44)
    meter.apply([SetCalibration(calibration())])
    again = Meter.load(meter.save())
    for each in (meter, again):
        each.feed(Supply([(0.0, SKEWED)]), seconds=2)
    assert again.state.live.tobytes() == meter.state.live.tobytes()
    assert again["P1"] == pytest.approx(575.0, rel=1e-6)


def test_constants_last_and_the_seal_guards_them() -> None:
    meter, constants = Meter(E44), calibration()
    meter.apply([SetCalibration(constants), SetSetting("sealed", 1)])
    again = Meter.load(meter.save())
    assert again.state.calibration == constants
    refusal = again.apply([SetCalibration(Calibration())])
    assert refusal is not None
    assert refusal.reason is Reason.SEALED
    assert meter.save().count(b'"calibration"') == 2
    fresh = Meter(E44)
    fresh.writes()
    fresh.apply([SetCalibration(constants)])
    assert any(b'"calibration"' in data for _, data in fresh.writes())


@pytest.mark.parametrize("constants", [
    Calibration(gain=(1.0,) * 5), Calibration(gain=(2.01,) + (1.0,) * 5), Calibration(gain=(math.nan,) + (1.0,) * 5),
    Calibration(delay=(0.0,) * 7), Calibration(delay=(0.0,) * 5 + (201e-6,)), Calibration(delay=(-math.inf,) + (0.0,) * 5),
])  # fmt: skip
def test_constants_out_of_range_are_refused(constants: Calibration) -> None:
    meter = Meter(E44)
    refusal = meter.apply([SetCalibration(constants)])
    assert refusal is not None
    assert refusal.reason is Reason.VALUE
    assert meter.state.calibration == Calibration()


@pytest.mark.parametrize("content", [b'"gain":[1.0]', b'"gain":"no"', b'"gain":[9.0,1.0,1.0,1.0,1.0,1.0]', b'"other":[1.0]'])
def test_a_memory_with_bad_constants_is_not_taken(content: bytes) -> None:
    from countis.meter.memory import image as memory

    good = memory.settings_write(1, E44, {}, Calibration())[1]
    payload = good[20:].rstrip(b"\0")  # whatever it ends with
    text = payload[: payload.rindex(b"}") + 1].replace(b'"gain":[1.0,1.0,1.0,1.0,1.0,1.0]', content)
    with pytest.raises(MemoryImageError, match="settings page"):
        memory._read_settings(text)


@pytest.mark.parametrize("channel", range(6))
def test_a_reference_without_a_signal_is_named(channel: int) -> None:
    true = at_terminals(PLAIN)[0].copy()
    true[channel] = 0.0
    with pytest.raises(SettingError, match=f"^{CHANNELS[channel]}: "):
        constants_from(true, true, 50.0)


def test_too_few_samples_are_named() -> None:
    with pytest.raises(SettingError, match="too few"):
        phasors(np.zeros((1000, 6)), 8000.0, 50.0)


# the command

REFERENCE = """noise = 1e-5
[voltage]
L1 = 230.0
L2 = 230.0
L3 = 230.0
[[load]]
current = 5.0
angle = 60
[front_end]
gain = [1.01, 0.99, 1.005, 0.993, 1.008, 0.99]
phase = [0.3, -0.2, 0.1, 1.0, -1.0, 0.5]
bits = 24
"""


def test_the_command_finds_keeps_and_tells(tmp_path: Path) -> None:
    (tmp_path / "reference.toml").write_text(REFERENCE)
    words = ("calibrate", "--supply", str(tmp_path / "reference.toml"), "--data", str(tmp_path / "m"), "--seconds", "5")
    done = command(*words)
    assert (done.returncode, done.stderr) == (0, "")
    rows = {line[:10].strip(): [float(x) for x in line[10:].split()] for line in done.stdout.splitlines()[1:-1]}
    assert rows["V1 %"][0] == pytest.approx(1.0, abs=1e-3)
    assert rows["I1 to V1 °"][0] == pytest.approx(0.7, abs=1e-3)
    assert all(abs(after) < 1e-3 for _, after in rows.values())
    kept = Meter.load((tmp_path / "m" / "meter.fram").read_bytes())
    assert [1.0 / g for g in kept.state.calibration.gain] == pytest.approx(GAINS, rel=1e-5)
    assert kept["Ea+"] == 0
    assert (kept.state.ct, abs(kept.clock - local_seconds()) < 60) == ((200, 5), True)  # as `run` would make it


def test_calibrating_does_not_stop_the_clock_of_a_meter_that_is_off(tmp_path: Path) -> None:
    (tmp_path / "reference.toml").write_text(REFERENCE)
    meter = Meter(E44, ct_primary=50)
    meter.apply([SetClock(800_000_000)])
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "meter.fram").write_bytes(meter.save())
    long_ago = time.time() - 7200
    os.utime(tmp_path / "m" / "meter.fram", (long_ago, long_ago))
    done = command("calibrate", "--supply", str(tmp_path / "reference.toml"), "--data", str(tmp_path / "m"), "--seconds", "2")
    assert done.returncode == 0
    kept = Meter.load((tmp_path / "m" / "meter.fram").read_bytes())
    assert 800_007_200 <= kept.clock <= 800_007_260
    assert kept.state.ct == (50, 5)


def test_a_damaged_memory_is_named_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "reference.toml").write_text(REFERENCE)
    (tmp_path / "meter.fram").write_bytes(b"no memory" * 1000)
    done = command("calibrate", "--supply", str(tmp_path / "reference.toml"), "--data", str(tmp_path))
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert str(tmp_path / "meter.fram") in done.stderr
    assert (tmp_path / "meter.fram").read_bytes() == b"no memory" * 1000


@pytest.mark.parametrize(("toml", "said"), [
    (REFERENCE.replace("current = 5.0", "current = 5.0\nprofile = 'pv'"), "its loads vary"),
    (REFERENCE.replace("current = 5.0\nangle = 60", "current = 5.0\nphase = 'L2'"), "I1: the reference has no signal"),
    (REFERENCE + "[[event]]\nat = 1.0\nset = { frequency = 51.0 }\n", "is not steady"),
    (REFERENCE.replace("1.01, 0.99,", "2.5, 0.99,").replace("bits = 24", ""), "gain of V1"),
])  # fmt: skip
def test_what_cannot_be_calibrated_is_said_and_nothing_is_kept(toml: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "reference.toml").write_text(toml)
    done = command("calibrate", "--supply", str(tmp_path / "reference.toml"), "--data", str(tmp_path / "m"))
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "m" / "meter.fram").exists()
