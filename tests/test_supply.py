"""Supplies: what the TOML says comes out as samples, and what it must not say is told with its line."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from countis import E44, Meter
from countis.host.running.sources import supply_plan
from countis.supply import Load, Network, steady, three_phase
from countis.supply.network import FULL_SCALE_I, FULL_SCALE_V
from countis.supply.profiles import PROFILES, factor
from countis.supply.toml_file import read_supply
from countis.words.errors import SupplyError

WHOLE = """
rate = 6400
frequency = 49.8
seed = 7
noise = 1e-4
[voltage]
L1 = 231.0
L2 = 229.0
L3 = 230.0
angle = [0, -121, 119]
harmonics = { 5 = [0.02, 30] }
[[load]]
phase = "L2"
current = 2.0
angle = 60
direction = "export"
harmonics = { 3 = [0.1, -40] }
[[load]]
power = 6900
pf = -0.5
profile = [[6, 0.5], [12, 1.0]]
[tariff]
volts = 230
"""


def test_a_supply_file_is_what_it_says() -> None:
    plan = read_supply(WHOLE, "a.toml")
    supply = plan.build(ratio=10.0)
    assert (supply.rate, supply.seed, supply.state.front_end.noise, supply.tariff_volts) == (6400.0, 7, 1e-4, 230.0)
    first, second = supply.state.loads
    assert first == Load(2.0, (1,), 60.0, True, {3: (0.1, -40.0)})
    assert second.phases == (0, 1, 2)
    assert second.angle == pytest.approx(-60.0)
    assert second.current == pytest.approx(690.0 / (690.0 * 0.5))
    assert supply.state.network == Network((231.0, 229.0, 230.0), (0.0, -121.0, 119.0), 49.8, {5: (0.02, 30.0)})


def test_power_is_that_of_the_primary() -> None:
    plan = read_supply("[[load]]\npower = 12000\npf = 0.8\n", "a.toml")
    meter = Meter(E44, ct_primary=200)
    meter.feed(plan.build(meter.ratio), seconds=3)
    assert meter["P"] == pytest.approx(12000.0)
    assert meter["Q"] == pytest.approx(9000.0)


# text, line, key, what is allowed
WRONG = [
    ("rate = 8000\nfoo = 1", 2, "foo", "unknown key"),
    ("rate = 700", 1, "rate", "800..50000"),
    ('rate = "fast"', 1, "rate", "800..50000"),
    ("rate = true", 1, "rate", "800..50000"),
    ("rate = nan", 1, "rate", "800..50000"),
    ("frequency = -1", 1, "frequency", "0..400 Hz"),
    ("noise = 2", 1, "noise", "0..0.1"),
    ("\n\nseed = 1.5", 3, "seed", "whole number"),
    ("voltage = 230", 1, "voltage", "[voltage]"),
    ("[voltage]\nL1 = 230\nL4 = 230", 3, "voltage.L4", "unknown key"),
    ("[voltage]\nL1 = 9e9", 2, "voltage.L1", "0..1000 V"),
    ("[voltage]\nangle = [0, 1]", 2, "voltage.angle", "three angles"),
    ("[voltage]\nharmonics = { 5 = 0.1 }", 2, "voltage.harmonics", "order 2..40"),
    ("[voltage]\nharmonics = { 41 = [0.1, 0] }", 2, "voltage.harmonics", "order 2..40"),
    ("[voltage]\nharmonics = { fifth = [0.1, 0] }", 2, "voltage.harmonics", "order 2..40"),
    ("[load]\ncurrent = 1", 1, "load", "[[load]]"),
    ("[[load]]\ncurrent = 1\n[[load]]\nphase = 'L5'\ncurrent = 1", 4, "load.phase", "all, L1, L2, L3"),
    ("[[load]]\nphase = 'L1'", 1, "load.current", "current or power"),
    ("[[load]]\ncurrent = 1\npower = 100", 3, "load.power", "current or power"),
    ("[[load]]\ncurrent = 1\nangle = 10\npf = 0.5", 4, "load.pf", "angle or pf"),
    ("[[load]]\ncurrent = 1\npf = 0", 3, "load.pf", "-1..1 but 0"),
    ("[[load]]\npower = 100\nangle = 90", 3, "load.angle", "-89.9..89.9"),
    ("[[load]]\ncurrent = 1\ndirection = 'out'", 3, "load.direction", "import, export"),
    ("[[load]]\ncurrent = 1\nprofile = 'factory'", 3, "load.profile", "steady, workshop, house, heat_pump, ev, pv"),
    ("[[load]]\ncurrent = 1\nprofile = [[5, 1], [4, 1]]", 3, "load.profile", "rising hours"),
    ("[[load]]\ncurrent = 1\nprofile = []", 3, "load.profile", "rising hours"),
    ("rate = 800\n[voltage]\nL1 = 230\nharmonics = { 9 = [0.1, 0] }", 4, "voltage.harmonics", "below 400 Hz"),
    ("rate = 800\n[[load]]\ncurrent = 1\nharmonics = { 9 = [0.1, 0] }", 4, "load.harmonics", "below 400 Hz"),
    ("[recording]\nv_scale = 1", 1, "recording.file", "a file"),
    ("[recording]\nfile = 'a.cfg'\nat_end = 'explode'", 3, "recording.at_end", "stop, loop, off"),
    ("[recording]\nfile = 'a.cfg'\nchannels = { V4 = 'x' }", 3, "recording.channels", "V1, V2"),
    ("[recording]\nfile = 'a.cfg'\nfrom = 2.0\nto = 1.0", 4, "recording.to", "above 2"),
    ("[[event]]\nat = 1\nfor = 0\nset = { frequency = nan }", 4, "event.set", "voltage.L1"),
    ("[[event]]\nat = 1\nfor = 0\nset = { frequency = 1979-05-27 }", 4, "event.set", "voltage.L1"),
    ("rate = 8000\nseed = 0x" + "f" * 5000, 2, "", "TOML"),
    ("[[event]]\nat = 1\nset = [[1, 2]]", 3, "event.set", "voltage.L1"),
    ("[voltage]\nharmonics = [['5', [0.1, 0]]]", 2, "voltage.harmonics", "order 2..40"),
    ("rate = 8000\n" + "a." * 4000 + "a = 1", 2, "", "TOML"),
    ("rate = 8000\n[" + "'x y' . " * 4000 + "a]", 2, "", "TOML"),
    ("k" * 100_000 + " = 1", 1, "kkk", "voltage"),
    ("[" + "a" * 100_000 + "]\n[" + "a" * 100_000 + "]", 2, "", "TOML"),
    ("load = [" + "{ current = 1 }, " * 1001 + "]", 1, "load", "up to 1000"),
    ("rate = 8000\nrate = 9000", 2, "", "TOML"),
    ("[voltage\nL1 = 230", 1, "", "TOML"),
    ("[voltage]\nL1 = ", 2, "", "TOML"),
]


@pytest.mark.parametrize(("text", "line", "key", "allowed"), WRONG)
def test_what_is_wrong_is_told_with_line_and_key(text: str, line: int, key: str, allowed: str) -> None:
    with pytest.raises(SupplyError) as error:
        read_supply(text, "site.toml")
    told = str(error.value)
    assert told.startswith(f"site.toml:{line}: {key}"), told
    assert allowed in told
    assert "allowed: " in told
    assert told.isprintable()
    assert len(told) < 500


def test_harmonics_count_from_the_voltage_s_zero_crossing() -> None:
    """By hand: V1 = √2·230·sin(ωt), I3 = √2·0.1·sin(3ωt − 40°), whatever the angle of the load."""
    supply = steady(Network(), [Load(1.0, (0,), 60.0, False, {3: (0.1, -40.0)})], rate=8000)
    t = np.arange(400) / 8000
    w = 2 * np.pi * 50
    expected = np.sqrt(2) * (np.sin(w * t - np.pi / 3) + 0.1 * np.sin(3 * w * t - np.radians(40)))
    samples = supply.read(400)
    assert samples[:, 3] == pytest.approx(expected, abs=1e-9)
    assert samples[:, 0] == pytest.approx(np.sqrt(2) * 230 * np.sin(w * t), abs=1e-7)
    assert not samples[:, 4:].any()


def test_noise_is_of_full_scale_white_and_seeded() -> None:
    quiet, noisy = three_phase(i=0.0).read(80_000), three_phase(i=0.0, noise=1e-3, seed=5).read(80_000)
    noise = noisy - quiet
    assert noise[:, 0].std() == pytest.approx(1e-3 * FULL_SCALE_V, rel=0.02)
    assert noise[:, 5].std() == pytest.approx(1e-3 * FULL_SCALE_I, rel=0.02)
    assert abs(noise.mean(axis=0)).max() < 0.008  # 4.5 sigma
    correlation = np.corrcoef(np.vstack((noise.T, np.roll(noise, 1, axis=0).T))) - np.eye(12)
    assert abs(correlation).max() < 0.02
    assert np.array_equal(noisy, three_phase(i=0.0, noise=1e-3, seed=5).read(80_000))
    assert not np.array_equal(noisy, three_phase(i=0.0, noise=1e-3, seed=6).read(80_000))


@pytest.mark.parametrize("profile", ["workshop", "house", "pv"])
def test_profiles_are_smooth_and_never_negative(profile: str) -> None:
    day = [factor(PROFILES[profile], 44, s) for s in range(0, 86_400 + 600)]
    assert min(day) >= 0
    assert 0.9 <= max(day) <= 1.1
    assert max(abs(a - b) for a, b in pairwise(day)) < 0.01
    assert day[50_000] != factor(PROFILES[profile], 45, 50_000)


def test_the_workshop_lives_with_import_and_export() -> None:
    plan = supply_plan(None)
    powers = {}
    for hour in (3, 10, 13):
        meter = Meter(E44, ct_primary=200)
        meter.feed(plan.build(meter.ratio, midnight=hour * 3600.0), seconds=2)
        powers[hour] = meter["P"]
        assert 228 < float(str(meter["V"])) < 233
    assert 2000 < float(str(powers[3])) < 8000
    assert float(str(powers[10])) > 10_000
    assert float(str(powers[13])) < -3000
