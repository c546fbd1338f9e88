"""Recordings: real waveforms in, what a supply makes out, and broken files told in one line."""

from __future__ import annotations

import itertools
import os
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from comtrade import Comtrade
from countis import E44, Bus, Meter
from countis.host.lab.record import probe, record
from countis.host.running.sources import Raw, open_source, recording
from countis.supply import three_phase
from countis.supply.network import FULL_SCALE_I, FULL_SCALE_V
from countis.supply.recorded.comtrade_file import read_comtrade, write_comtrade
from countis.supply.recorded.formats import Recorded, read_csv, read_wav, write_csv, write_wav
from countis.supply.recorded.recordings import RawStream, Recording, choose, play, propose, resample
from countis.supply.toml_file import AtEnd, RecordingPlan, read_supply
from countis.words.errors import SupplyError
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

RELAY = Path(__file__).resolve().parents[2] / "shared" / "data" / "comtrade" / "feeder-fault.cfg"


# recordings


def relay() -> tuple[str, bytes]:
    if not RELAY.exists():
        assert not os.environ.get("CI"), f"{RELAY.name} must stand beside the clone"
        pytest.skip("the relay's recording does not stand beside the clone")
    return RELAY.read_text(), RELAY.with_suffix(".dat").read_bytes()


def relay_recorded() -> Recorded:
    cfg, dat = relay()
    return read_comtrade(cfg, dat, RELAY.name)


MAGNITUDES = {"V1": "SRC 1  Vag Mag", "V2": "SRC 1  Vbg Mag", "V3": "SRC 1  Vcg Mag"}
ANGLES = {"V1": "SRC 1  Vag Angle", "V2": "SRC 1  Vbg Angle", "V3": "SRC 1  Vcg Angle"}


def test_the_relay_s_recording_against_its_own_magnitudes() -> None:
    """Ratios of V1, V2, V3 over Modbus within two counts; the relay's magnitudes are those of the cycle before."""
    recorded = relay_recorded()
    assert recorded.rate == pytest.approx(800.2, abs=0.05)
    plan = RecordingPlan(RELAY.name, {}, v_scale=3.93, i_scale=1.0, start=0.0, end=0.28, at_end=AtEnd.LOOP)
    source = play(choose(recorded, {}, RELAY.name), recorded.rate, plan, RELAY.name)
    meter = Meter(E44, rate=source.rate)
    meter.feed(source, seconds=10)
    volts = Bus.loopback(meter)[5].read("V1", "V2", "V3", "f", "sequence")
    m = choose(recorded, MAGNITUDES, RELAY.name)[16:224, :3].mean(axis=0)
    v = [float(str(volts[f"V{k}"])) for k in (1, 2, 3)]
    assert 225 < v[0] < 235
    assert abs(v[1] - v[0] * m[1] / m[0]) <= 0.02
    assert abs(v[2] - v[0] * m[2] / m[0]) <= 0.02
    assert volts["sequence"] == 123
    assert volts["f"] == pytest.approx(50.0, abs=0.1)


def test_fundamentals_of_the_relay_s_recording() -> None:
    """Its first 14 cycles as they are played: ratios within 0.02 %, angles within 0.02°, currents by least squares."""
    recorded = relay_recorded()
    plan = RecordingPlan(RELAY.name, {}, end=0.28, at_end=AtEnd.LOOP)
    source = play(choose(recorded, {}, RELAY.name), recorded.rate, plan, RELAY.name)
    samples = source.read(round(0.28 * source.rate))
    factor = round(source.rate / recorded.rate)
    assert len(samples) == 224 * factor

    def phasors(block: NDArray[np.float64], a_cycle: int) -> NDArray[np.complex128]:
        """Least squares on sine, cosine and a constant, by numpy's solver."""
        w = 2 * np.pi * np.arange(len(block)) / a_cycle
        solution = np.linalg.lstsq(np.stack((np.cos(w), np.sin(w), np.ones_like(w)), axis=1), block, rcond=None)[0]
        found: NDArray[np.complex128] = solution[0] - 1j * solution[1]
        return found

    found = phasors(samples, 16 * factor)
    m = choose(recorded, MAGNITUDES, RELAY.name)[16:224, :3].mean(axis=0)
    angle = choose(recorded, ANGLES, RELAY.name)[16:224, :3].mean(axis=0)
    for k in (1, 2):
        assert abs(abs(found[k] / found[0]) / (m[k] / m[0]) - 1) < 2e-4
        off = np.degrees(np.angle(found[k] / found[0])) - (angle[k] - angle[0])
        assert abs((off + 180) % 360 - 180) < 0.02
    original = phasors(choose(recorded, {}, RELAY.name)[:224], 16)
    assert np.abs(found[3:] / original[3:] - 1).max() < 2e-4


def test_the_recording_table_plays_the_relay(tmp_path: Path) -> None:
    relay()
    file = tmp_path / "feeder.toml"
    file.write_text(
        f'[recording]\nfile = "{RELAY}"\nchannels = {{ V1 = "F5-VA", V2 = "F6-VB", V3 = "F7-VC", I1 = "F1-IA" }}\n'
        'v_scale = 4.0\nfrom = 0.0\nto = 0.28\nat_end = "loop"\n'
    )
    source = open_source(file, None, 1.0, 0.0, Raw())
    assert source.rate == pytest.approx(4 * 800.2, abs=0.3)  # below the promise, so it was resampled
    block = source.read(4000)
    assert np.sqrt((block[:896, 0] ** 2).mean()) == pytest.approx(235, abs=2)
    assert np.array_equal(block[:896], block[896:1792])


@pytest.mark.parametrize("rate", [100.0, 800.0, 1000.0, 2500.0, 96_000.0, 192_000.0])
@pytest.mark.parametrize("loops", [True, False])
def test_resampling_is_band_limited(rate: float, loops: bool) -> None:
    f = 20.0 if rate == 100.0 else 50.0
    t = np.arange(round(2 * rate)) / rate
    wave = np.stack([np.sin(2 * np.pi * f * t + k) for k in range(6)], axis=1)
    out, found = resample(wave, rate, loops)
    assert 3200 <= found <= 50_000
    middle = slice(len(out) // 4, 3 * len(out) // 4)
    times = np.arange(len(out))[middle] / found
    expected = np.stack([np.sin(2 * np.pi * f * times + k) for k in range(6)], axis=1)
    assert np.abs(out[middle] - expected).max() < 2e-4
    if rate > 50_000:  # what would fold over is gone
        high = np.sin(2 * np.pi * 0.4 * rate * t)[:, None] * np.ones(6)
        assert np.abs(resample(high, rate, loops)[0][200:-200]).max() < 1e-3


def test_a_recording_within_the_promise_is_left_alone() -> None:
    samples = three_phase(rate=4800).read(1000)
    assert resample(samples, 4800.0, False)[0] is samples


@pytest.mark.parametrize(
    ("change", "wrong"),
    [
        (lambda cfg, dat: (cfg.replace("24A", "2400A"), dat), "allowed: COMTRADE"),
        (lambda cfg, dat: (cfg, dat[:1000]), "15 samples are there, 1360 are announced"),
        (lambda cfg, dat: (cfg, dat + b"x"), "1360 are announced"),
        (lambda cfg, dat: (cfg.replace("0,  1360", "0,  100000000"), dat), "100000000 are announced"),
        (lambda cfg, dat: (cfg.replace("88,24A, 64D", "4000000088,4000000024A, 64D"), dat), "allowed"),
        (lambda cfg, dat: (cfg.replace("88,24A, 64D", "88,24A, 4000000000D"), dat), "4000000000 status channels"),
        (lambda cfg, dat: (cfg.replace("BINARY", "PARQUET"), dat), "allowed"),
        (lambda cfg, dat: ("", dat), "allowed: COMTRADE"),
        (lambda cfg, dat: ("nonsense\n\n\n", dat), "allowed: COMTRADE"),
    ],
)
def test_broken_comtrade_is_one_line(change, wrong: str) -> None:  # type: ignore[no-untyped-def]
    cfg, dat = change(*relay())
    with pytest.raises(SupplyError, match=wrong) as error:
        read_comtrade(cfg, dat, "x.cfg")
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 250


def test_channels_that_are_not_there() -> None:
    with pytest.raises(SupplyError, match=r"no channel 'nope' for V2 \(allowed: F1-IA, "):
        choose(relay_recorded(), {"V2": "nope"}, "x.cfg")
    assert propose(relay_recorded()) == {
        "V1": "F5-VA",
        "V2": "F6-VB",
        "V3": "F7-VC",
        "I1": "F1-IA",
        "I2": "F2-IB",
        "I3": "F3-IC",
    }


def wav(code: int = 1, channels: int = 6, bits: int = 16, claimed: int = 24, there: int = 24) -> bytes:
    """A WAV by hand."""
    form = struct.pack("<HHIIHH", code, channels, 8000, 8000 * channels * bits // 8, channels * bits // 8, bits)
    body = b"WAVEfmt " + struct.pack("<I", 16) + form + b"data" + struct.pack("<I", claimed) + bytes(there)
    return b"RIFF" + struct.pack("<I", len(body)) + body


@pytest.mark.parametrize(
    ("data", "wrong"),
    [
        (b"RIFF", "not a WAV|ends before"),
        (b"RIFF\0\0\0\0AVI ", "not a WAV"),
        (wav(code=85), "WAV format 85"),
        (wav(bits=12), "with 12 bits"),
        (wav(channels=0), "0 channels"),
        (wav(claimed=4_000_000_000), "4000000000 are announced"),
        (wav(claimed=24, there=10), "24 are announced"),
        (wav(claimed=23), "23 are announced"),
        (wav()[:30], "ends before"),
        (b"RIFF\0\0\0\0WAVEdata\x04\0\0\0abcd", "before their format"),
    ],
)
def test_broken_wavs_are_one_line(data: bytes, wrong: str) -> None:
    with pytest.raises(SupplyError, match=wrong):
        read_wav(data, "x.wav")


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("", "0 lines"),
        ("V1,V2\n1,2\n", "2 lines"),
        ("V1,V2\n1,2\n1,x\n", "x.csv:3: not 2 numbers"),
        ("V1,V2\n1,2\n1,2,3\n", "x.csv:3: not 2 numbers"),
        ("V1,V2,V3\n1,2\n1,2\n", "2 columns under 3 names|x.csv:2"),
        ("t,V1\n0,1\n0.1,2\n0.1,3\n", "uneven"),
        ("t,V1\n0,1\n0,2\n0,3\n", "uneven"),
    ],
)
def test_broken_csvs_are_one_line(text: str, wrong: str) -> None:
    with pytest.raises(SupplyError, match=wrong):
        read_csv(text, 8000, "x.csv")


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_csv_by_time_stamps_or_by_rate(separator: str) -> None:
    rows = [[k / 4000, k, -k] for k in range(10)]
    text = separator.join(("Time", "V1", "i1")) + "\n" + "\n".join(separator.join(map(str, row)) for row in rows) + "\n"
    recorded = read_csv(text, 8000, "x.csv")
    assert recorded.rate == pytest.approx(4000)
    assert propose(recorded) == {"V1": "V1", "I1": "i1"}
    assert choose(recorded, {}, "x.csv")[:, 3].tolist() == [-k for k in range(10)]
    assert read_csv(text.replace("Time", "V2"), 8000, "x.csv").rate == 8000


@pytest.mark.parametrize(("form", "step"), [("f32", 1e-7), ("f64", 0.0), ("s16", 2**-15), ("s24", 2**-23), ("s32", 2**-31)])
def test_every_raw_format_on_a_stream(form: str, step: float) -> None:
    """Written by numpy, not by us; integers are parts of full scale."""
    parts = three_phase(230, 5.0).read(800) / np.array([500.0] * 3 + [10.0] * 3)
    if form[0] == "f":
        data = parts.astype(f"<{form[0]}{int(form[1:]) // 8}").tobytes()
    else:
        whole = np.rint(parts * 2 ** (int(form[1:]) - 1)).astype("<i4")
        data = whole.astype("<i2").tobytes() if form == "s16" else whole.tobytes()
        if form == "s24":
            data = whole.view(np.uint8).reshape(-1, 4)[:, :3].tobytes()
    pieces = iter([data[k : k + 777] for k in range(0, len(data), 777)])
    stream = RawStream(lambda n: next(pieces, b""), form=form, v_scale=500.0, i_scale=10.0)
    played = np.concatenate([stream.read(100) for _ in range(8)])
    assert np.abs(played / np.array([500.0] * 3 + [10.0] * 3) - parts).max() <= step * 0.51 + 1e-12
    assert stream.seconds == 0.1


def test_a_wav_on_a_stream_says_what_it_is() -> None:
    """As arecord writes it: stereo, a length that is not true; V1 and I1."""
    body = (np.arange(200, dtype="<i2")).tobytes()
    data = wav(channels=2, claimed=0x7FFFFFFF, there=0) + body
    pieces = iter([data[k : k + 13] for k in range(0, len(data), 13)])
    stream = RawStream(lambda n: next(pieces, b""), rate=9999.0, v_scale=32768.0)
    assert stream.rate == 8000
    block = stream.read(100)
    assert block[:3, 0].tolist() == [0.0, 2.0, 4.0]
    assert block[:3, 3] == pytest.approx([1 / 32768, 3 / 32768, 5 / 32768])
    assert not block[:, 1].any()


MIXED = """
noise = 1e-4
[[load]]
current = 2
pf = 0.8
harmonics = { 5 = [0.2, 30] }
[[load]]
phase = "L2"
current = 4
direction = "export"
"""


def test_what_stands_behind_the_samples_of_a_wav_is_not_played() -> None:
    """A LIST chunk after the data, and the pad byte of an odd one."""
    data = wav(channels=1, bits=24, claimed=15, there=15) + b"\0LIST\x04\0\0\0abcd"
    pieces = iter([data])
    stream = RawStream(lambda n: next(pieces, b""))
    assert [len(stream.read(4)) for _ in range(3)] == [4, 1, 0]
    assert len(read_wav(data, "x").data) == 5


def test_a_byte_order_mark_changes_nothing(tmp_path: Path) -> None:
    text = write_csv(three_phase(rate=16_000).read(1600), 16_000, ("V1", "V2", "V3", "I1", "I2", "I3"))
    (tmp_path / "plain.csv").write_bytes(text)
    (tmp_path / "excel.csv").write_bytes(b"\xef\xbb\xbf" + text)
    plain, excel = (open_source(None, str(tmp_path / f"{n}.csv"), 1.0, 0.0, Raw()) for n in ("plain", "excel"))
    assert plain.rate == excel.rate == 16_000
    assert np.array_equal(plain.read(100), excel.read(100))


def test_the_tariff_input_goes_with_a_recording(tmp_path: Path) -> None:
    (tmp_path / "a.f32").write_bytes(three_phase().read(800).astype("<f4").tobytes())
    (tmp_path / "a.toml").write_text('[tariff]\nvolts = 230\n[recording]\nfile = "a.f32"\n')
    assert open_source(tmp_path / "a.toml", None, 1.0, 0.0, Raw()).tariff_volts == 230


def test_a_skewed_channel_is_brought_back() -> None:
    """I1 taken 100 µs late and said to be: it is where it was to one part in a thousand."""
    t = np.arange(800) / 8000
    late = np.zeros((800, 6))
    late[:, 0], late[:, 3] = np.sin(2 * np.pi * 50 * t), np.sin(2 * np.pi * 50 * (t + 1e-4))
    cfg, dat = write_comtrade(late, 8000, ("V1", "V2", "V3", "I1", "I2", "I3"), 50.0)
    lines = cfg.decode().split("\r\n")
    lines[5] = lines[5].replace("1.0,0.0,0.0,", "1.0,0.0,100.0,")
    data = read_comtrade("\r\n".join(lines), dat, "x").data
    assert np.abs(data[5:-5, 3] - data[5:-5, 0]).max() < 1e-3


def test_ascii_comtrade_on_the_primary_side() -> None:
    """By hand: 2 channels, a·x + b, kV and A of the primary behind a VT of 20 kV / 100 V and a CT of 200/5."""
    cfg = "\r\n".join((
        "yard,7,1999", "2,2A,0D", "1,UA,A,,kV,0.001,0.5,0,-32767,32767,20000,100,P", "2,IA,A,,A,0.1,0,0,-32767,32767,200,5,P",
        "50", "1", "4000,3", "01/01/2020,00:00:00.000000", "01/01/2020,00:00:00.000000", "ASCII", "1", "",
    ))  # fmt: skip
    dat = b"1,0,1500,100\r\n2,250,-500,-200\r\n3,500,0,0\r\n"
    recorded = read_comtrade(cfg, dat, "x.cfg")
    assert recorded.kind == "COMTRADE 1999 ASCII"
    assert [(c.name, c.unit, c.phase) for c in recorded.channels] == [("UA", "V", "A"), ("IA", "A", "A")]
    assert recorded.data[:, 0] == pytest.approx([10.0, 0.0, 2.5])  # 2 kV, 0 kV, 0.5 kV × 100/20000
    assert recorded.data[:, 1] == pytest.approx([0.25, -0.5, 0.0])  # 10, −20, 0 A × 5/200
    with pytest.raises(SupplyError, match="2 samples are there, 3 are announced"):
        read_comtrade(cfg, dat[:31], "x.cfg")


def test_ascii_comtrade_without_its_values_is_not_made_room_for() -> None:
    cfg = "a,b,1999\n3000,3000A,0D\n" + "1\n" * 3000 + "50\n1\n8000,2000\n,\n,\nASCII\n1\n"
    with pytest.raises(SupplyError, match="lines with too few values"):
        read_comtrade(cfg, b"1\n" * 2000, "x.cfg")


def test_many_rates_are_not_looked_through_for_each_sample() -> None:
    cfg = "a,b,1999\n1,1A,0D\n1,V1,,,V,1\n50\n30000\n" + "8000,0\n" * 29_999 + "8000,30000\n,\n,\nASCII\n1\n"
    with pytest.raises(SupplyError, match="30000 sample rates") as error:
        read_comtrade(cfg, b"1,1,1\n" * 30_000, "x.cfg")
    assert len(str(error.value)) < 250


@pytest.mark.parametrize(("text", "wrong"), [
    ("a" * 200_000 + ",V1\n1,2\n1,2\n", "x:1: field larger"), ("t\n\n\n\n", "no samples"), ("t,V1\n \n\t\n", "no samples"),
    ("t,V1\n-1e308,1\n1e308,1\n", "uneven"), ("x" * 9999 + ",\x1b[31m\n1,2\n1,2\n1,3\n", "no channel 'V9'"),
])  # fmt: skip
def test_a_csv_that_is_none_is_one_short_line(text: str, wrong: str) -> None:
    with pytest.raises(SupplyError, match=wrong) as error:
        choose(read_csv(text, 8000, "x"), {"V1": "V9"}, "x")
    assert str(error.value).isprintable()
    assert len(str(error.value)) < 250


@pytest.mark.parametrize("rate", [1000.0, 8000.0])
def test_samples_too_large_to_be_scaled_are_told(rate: float) -> None:
    with pytest.raises(SupplyError, match="too large"):
        play(np.full((100, 6), 1e305), rate, RecordingPlan("x", {}, v_scale=1e6), "x")


def test_a_head_that_never_ends_is_not_read_from_its_beginning_for_each_byte() -> None:
    told = iter(b"RIFF\0\0\0\0WAVE" + b"junk\0\0\0\0" * 8000)
    pulls = 0

    def pull(count: int) -> bytes:
        nonlocal pulls
        pulls += 1
        return bytes(itertools.islice(told, count))

    with pytest.raises(SupplyError, match="ends before its samples"):
        RawStream(pull)
    assert pulls < 30


@pytest.mark.parametrize("rate", ["inf", "5e-324", "0", "nan", "-8000", "1e12"])
def test_absurd_rates_are_told(rate: str) -> None:
    cfg, dat = write_comtrade(np.ones((4, 6)), 8000, ("V1", "V2", "V3", "I1", "I2", "I3"), 50.0)
    with pytest.raises(SupplyError, match="allowed"):
        read_comtrade(cfg.decode().replace("8000,4", f"{rate},4"), dat, "x")


def test_a_rate_far_beyond_the_promise_is_told_at_once() -> None:
    with pytest.raises(SupplyError, match=r"allowed: 50\.\.400000"):
        play(np.zeros((100_000, 6)), 2e8, RecordingPlan("x", {}), "x")


def test_a_proposed_table_is_toml_whatever_the_names(tmp_path: Path) -> None:
    cfg, dat = write_comtrade(three_phase().read(80), 8000, ("V1", "V2", "V3", "I1", "I2", "I3"), 50.0)
    (tmp_path / "q.cfg").write_bytes(cfg.replace(b",V1,A", b',U\\A "x",A'))
    (tmp_path / "q.dat").write_bytes(dat)
    plan = read_supply(probe(tmp_path / "q.cfg", Raw()), "q.toml").recording
    assert plan is not None
    assert plan.channels["V1"] == 'U\\A "x"'


SCALES = RecordingPlan("x", {}, v_scale=FULL_SCALE_V, i_scale=FULL_SCALE_I)


@pytest.mark.parametrize(
    ("name", "scaled", "tolerance"),
    [("a.cfg", False, 2e-7), ("a.csv", False, 1e-8), ("a.wav", True, 2e-7), ("a.f32", False, 2e-7)],
)
def test_what_is_recorded_counts_like_the_supply(name: str, scaled: bool, tolerance: float, tmp_path: Path) -> None:
    plan = read_supply(MIXED, "a.toml")
    told = record(plan.build(1.0), 5.0, tmp_path / name)
    assert f"countis run --recording {tmp_path / name}" in told
    scale = RecordingPlan(name, {}, SCALES.v_scale if scaled else 1.0, SCALES.i_scale if scaled else 1.0)
    direct, played = Meter(E44), Meter(E44)
    direct.feed(plan.build(1.0), seconds=5)
    played.feed(recording(scale, tmp_path, Raw()), seconds=5)
    for kind in ("Ea+", "Ea-.L2", "Er+", "Eap", "Ea+.L1"):
        assert played[kind] == pytest.approx(direct[kind], rel=tolerance, abs=4e-6), kind
    assert played["P"] == pytest.approx(direct["P"], rel=tolerance)


def test_others_read_what_is_recorded(tmp_path: Path) -> None:
    """The COMTRADE library's own loader, and the wave module's idea of a head."""
    supply = three_phase(230, 2.0)
    record(supply, 0.1, tmp_path / "a.cfg")
    theirs = Comtrade(ignore_warnings=True)
    theirs.load(str(tmp_path / "a.cfg"))
    assert theirs.analog_channel_ids == ["V1", "V2", "V3", "I1", "I2", "I3"]
    assert pytest.approx(three_phase(230, 2.0).read(800), rel=1e-6, abs=1e-5) == np.array(theirs.analog).T
    assert theirs.cfg.sample_rates == [[8000.0, 800]]
    head = write_wav(np.zeros((10, 6)), 8000)
    assert (head[:4], head[8:16], len(head)) == (b"RIFF", b"WAVEfmt ", int.from_bytes(head[4:8], "little") + 8)


@pytest.mark.parametrize(
    ("seconds", "name", "wrong"),
    [
        (1.0, "a.mp3", "unknown kind"),
        (0.0, "a.csv", "allowed: 2"),
        (1e9, "a.csv", "allowed: 2"),
        (1.0, "no/a.csv", "No such file"),
    ],
)
def test_what_cannot_be_recorded(seconds: float, name: str, wrong: str, tmp_path: Path) -> None:
    with pytest.raises(SupplyError, match=wrong):
        record(three_phase(), seconds, tmp_path / name)
    assert list(tmp_path.iterdir()) == []


@given(st.integers(0, 4000), st.binary(max_size=30), st.integers(0, 10))
@settings(max_examples=150)
def test_foreign_bytes_are_refused_in_one_line(at: int, garbage: bytes, kind: int) -> None:
    """Whatever is done to a recording: it is read, or told in one line."""
    samples = three_phase(230, 1.0).read(40)
    cfg, dat = write_comtrade(samples, 8000, ("V1", "V2", "V3", "I1", "I2", "I3"), 50.0)

    def spoilt(data: bytes) -> bytes:
        place = at % (len(data) + 1)
        return data[:place] + garbage + data[place + len(garbage) :]

    readers: list[Callable[[], Recorded]] = [
        lambda: read_comtrade(spoilt(cfg).decode("latin-1"), dat, "x"),
        lambda: read_comtrade(cfg.decode(), spoilt(dat)[: at % 2000], "x"),
        lambda: read_wav(spoilt(write_wav(samples, 8000)), "x"),
        lambda: read_csv(spoilt(write_csv(samples, 8000, ("V1", "V2", "V3", "I1", "I2", "I3"))).decode("latin-1"), 8000, "x"),
    ]
    told = ""
    try:
        recorded = readers[kind % 4]()
        source = play(choose(recorded, {}, "x"), recorded.rate, RecordingPlan("x", {}), "x")
        assert source.read(10).shape[1] == 6
    except SupplyError as error:
        told = str(error)
    assert told == "" or ("allowed" in told and "\n" not in told)


@pytest.mark.parametrize(("start", "end"), [(0.0, 1e6), (5.0, None)])
def test_parts_beyond_the_recording(start: float, end: float | None) -> None:
    with pytest.raises(SupplyError, match=r"allowed: 0\.\.1 s"):
        play(np.zeros((8000, 6)), 8000, RecordingPlan("x", {}, start=start, end=end), "x.raw")


def test_what_comes_after_the_end() -> None:
    samples = np.arange(60.0).reshape(10, 6)
    stop, loop, off = (Recording(samples, 8000, at_end) for at_end in (AtEnd.STOP, AtEnd.LOOP, AtEnd.OFF))
    assert [len(stop.read(7)) for _ in range(3)] == [7, 3, 0]
    assert loop.read(25)[20:].tolist() == samples[:5].tolist()
    assert off.read(12)[10:].tolist() == [[0.0] * 6] * 2


def test_raw_float32_plays_like_the_supply_it_came_from(tmp_path: Path) -> None:
    samples = three_phase(230, 2.0, 0.8).read(24_000)
    path = tmp_path / "field.f32"
    path.write_bytes(samples.astype("<f4").tobytes())
    direct, played = Meter(E44), Meter(E44)
    direct.feed(samples)
    played.feed(recording(RecordingPlan("field.f32", {}), tmp_path, Raw()), seconds=3)
    assert played["P"] == pytest.approx(direct["P"], rel=1e-7)
    assert played["Ea+"] == pytest.approx(direct["Ea+"], rel=1e-6)


def test_a_stream_comes_in_any_pieces_and_must_not_end_inside_a_sample() -> None:
    samples = three_phase().read(100).astype("<f4")
    data = samples.tobytes()
    pieces = iter([data[:7], data[7:1000], data[1000:], b"", b""])
    stream = RawStream(lambda n: next(pieces), v_scale=2.0)
    assert np.array_equal(stream.read(100), samples.astype(float) * np.array([2.0] * 3 + [1.0] * 3))
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
        recording(RecordingPlan(name, {}), tmp_path, Raw())
