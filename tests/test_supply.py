"""Supplies: what the TOML says comes out as samples, and what it must not say is told with its line."""

from __future__ import annotations

import os
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from countis import E44, Bus, Meter
from countis.errors import SupplyError
from countis.host.sources import open_source, recording, supply_plan
from countis.supply import Load, Network, steady, three_phase
from countis.supply.network import FULL_SCALE_I, FULL_SCALE_V
from countis.supply.profiles import PROFILES, factor
from countis.supply.recordings import RawStream, Recording, comtrade, play
from countis.supply.toml_file import RecordingPlan, read_supply

RELAY = Path(__file__).resolve().parents[2] / "shared" / "data" / "comtrade" / "feeder-fault.cfg"

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
    assert "\n" not in told


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


# recordings


def relay() -> tuple[str, bytes]:
    if not RELAY.exists():
        assert not os.environ.get("CI"), f"{RELAY.name} must stand beside the clone"
        pytest.skip("the relay's recording does not stand beside the clone")
    return RELAY.read_text(), RELAY.with_suffix(".dat").read_bytes()


def test_the_relay_s_recording_against_its_own_magnitudes() -> None:
    """Ratios of V1, V2, V3 over Modbus within two counts; the relay's magnitudes are those of the cycle before."""
    cfg, dat = relay()
    plan = RecordingPlan(RELAY.name, {}, v_scale=3.93, i_scale=1.0, start=0.0, end=0.28, at_end="loop")
    samples, rate = comtrade(cfg, dat, plan.channels, RELAY.name)
    assert rate == pytest.approx(800.2, abs=0.05)
    meter = Meter(E44, rate=rate)
    meter.feed(play(samples, rate, plan, RELAY.name), seconds=10)
    volts = Bus.loopback(meter)[5].read("V1", "V2", "V3", "f", "sequence")
    named = {"M1": "SRC 1  Vag Mag", "M2": "SRC 1  Vbg Mag", "M3": "SRC 1  Vcg Mag"}
    magnitudes, _ = comtrade(cfg, dat, {"V1": named["M1"], "V2": named["M2"], "V3": named["M3"]}, RELAY.name)
    m = magnitudes[16:224, :3].mean(axis=0)
    v = [float(str(volts[f"V{k}"])) for k in (1, 2, 3)]
    assert 225 < v[0] < 235
    assert abs(v[1] - v[0] * m[1] / m[0]) <= 0.02
    assert abs(v[2] - v[0] * m[2] / m[0]) <= 0.02
    assert volts["sequence"] == 123
    assert volts["f"] == pytest.approx(50.0, abs=0.1)


def test_the_recording_table_plays_the_relay(tmp_path: Path) -> None:
    relay()
    file = tmp_path / "feeder.toml"
    file.write_text(
        f'[recording]\nfile = "{RELAY}"\nchannels = {{ V1 = "F5-VA", V2 = "F6-VB", V3 = "F7-VC", I1 = "F1-IA" }}\n'
        'v_scale = 4.0\nfrom = 0.0\nto = 0.28\nat_end = "loop"\n'
    )
    source = open_source(file, None, 1.0, 0.0, None, 1.0, 1.0)
    assert source.read(2000).shape == (2000, 6)
    block = source.read(1000)
    assert np.sqrt((block[:, 0] ** 2).mean()) == pytest.approx(235, abs=2)
    assert np.array_equal(block[:224], block[224:448])


@pytest.mark.parametrize(
    ("change", "wrong"),
    [
        (lambda cfg, dat: (cfg.replace("24A", "2400A"), dat), "allowed: COMTRADE"),
        (lambda cfg, dat: (cfg, dat[:1000]), "allowed"),
        (lambda cfg, dat: ("", dat), "allowed: COMTRADE"),
        (lambda cfg, dat: ("nonsense\n\n\n", dat), "allowed: COMTRADE"),
    ],
)
def test_broken_comtrade_is_one_line(change, wrong: str) -> None:  # type: ignore[no-untyped-def]
    cfg, dat = change(*relay())
    with pytest.raises(SupplyError, match=wrong) as error:
        comtrade(cfg, dat, {}, "x.cfg")
    assert "\n" not in str(error.value)


def test_channels_that_are_not_there() -> None:
    cfg, dat = relay()
    with pytest.raises(SupplyError, match=r"no channel 'nope' for V2 \(allowed: F1-IA, "):
        comtrade(cfg, dat, {"V2": "nope"}, "x.cfg")


@pytest.mark.parametrize(("start", "end"), [(0.0, 1e6), (5.0, None)])
def test_parts_beyond_the_recording(start: float, end: float | None) -> None:
    with pytest.raises(SupplyError, match=r"allowed: 0\.\.1 s"):
        play(np.zeros((8000, 6)), 8000, RecordingPlan("x", {}, start=start, end=end), "x.raw")


def test_what_comes_after_the_end() -> None:
    samples = np.arange(60.0).reshape(10, 6)
    stop, loop, off = (Recording(samples, 8000, at_end) for at_end in ("stop", "loop", "off"))
    assert [len(stop.read(7)) for _ in range(3)] == [7, 3, 0]
    assert loop.read(25)[20:].tolist() == samples[:5].tolist()
    assert off.read(12)[10:].tolist() == [[0.0] * 6] * 2


def test_raw_float32_plays_like_the_supply_it_came_from(tmp_path: Path) -> None:
    samples = three_phase(230, 2.0, 0.8).read(24_000)
    path = tmp_path / "field.f32"
    path.write_bytes(samples.astype("<f4").tobytes())
    direct, played = Meter(E44), Meter(E44)
    direct.feed(samples)
    played.feed(recording(RecordingPlan("field.f32", {}), tmp_path, 8000), seconds=3)
    assert played["P"] == pytest.approx(direct["P"], rel=1e-7)
    assert played["Ea+"] == pytest.approx(direct["Ea+"], rel=1e-6)


def test_a_stream_comes_in_any_pieces_and_must_not_end_inside_a_sample() -> None:
    samples = three_phase().read(100).astype("<f4")
    data = samples.tobytes()
    pieces = iter([data[:7], data[7:1000], data[1000:], b"", b""])
    stream = RawStream(lambda n: next(pieces), v_scale=2.0)
    assert np.array_equal(stream.read(100), samples * np.array([2.0] * 3 + [1.0] * 3))
    assert len(stream.read(1)) == 0
    torn = iter([data[:25], b""])
    with pytest.raises(SupplyError, match="24 bytes a sample"):
        RawStream(lambda n: next(torn)).read(2)


@pytest.mark.parametrize(
    ("name", "content", "wrong"),
    [
        ("a.f32", b"x" * 25, "allowed: 24 bytes a sample"),
        ("a.f32", b"", "allowed: 24 bytes a sample"),
        ("a.f32", np.full(6, np.nan, "<f4").tobytes(), "sample 0 is not a number"),
        ("a.mp3", b"x", "unknown kind of recording"),
        ("a.cfg", b"x", "No such file"),
    ],
)
def test_bad_recordings_are_one_line(tmp_path: Path, name: str, content: bytes, wrong: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SupplyError, match=wrong):
        recording(RecordingPlan(name, {}), tmp_path, 8000)
