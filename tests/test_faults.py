"""What a real meter shows when it is wired wrongly or its supply fails, with figures worked out by hand."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from countis import E43, E44, Bus, Measurement, Meter
from countis.modbus import pdu
from countis.supply import FrontEnd, Load, Network, State, Supply, Wiring, three_phase
from countis.supply.network import FULL_SCALE_I, FULL_SCALE_V
from countis.supply.source import steady
from countis.supply.toml_file import read_supply
from countis.words.errors import NoReply

from trains import begins

LOADS = (Load(1.0, (0,)), Load(2.0, (1,)), Load(3.0, (2,)))  # 230, 460 and 690 W at 230 V


def wired(wiring: Wiring, loads: tuple[Load, ...] = LOADS, seconds: float = 3.0) -> Meter:
    meter = Meter(E44)
    meter.feed(Supply([(0.0, State(Network(), loads, wiring))]), seconds=seconds)
    return meter


def shown(meter: Meter, *symbols: str) -> list[float | None]:
    return [None if (v := meter[s]) is None else float(v) for s in symbols]


def test_a_reversed_ct_counts_the_other_way() -> None:
    meter = wired(Wiring(reversed=(2,)))
    assert shown(meter, "P1", "P2", "P3", "P") == pytest.approx([230, 460, -690, 0], abs=1e-5)
    assert meter["Ea+.L3"] == 0
    assert meter["Ea-.L3"] == pytest.approx(690 * 2.8 / 3600, rel=0.1)
    assert meter["IN"] == pytest.approx(abs(1 + 2 * np.exp(-2j * np.pi / 3) - 3 * np.exp(2j * np.pi / 3)))
    assert meter["sequence"] == 123


def test_swapped_voltages_turn_the_sequence_and_the_power() -> None:
    """L1 and L2 exchanged at the voltage terminals: both currents are 120° off, cos 120° = −½."""
    meter = wired(Wiring(voltage=(1, 0, 2)))
    assert meter["sequence"] == 132
    assert shown(meter, "U12", "U23", "V1") == pytest.approx([230 * math.sqrt(3), 230 * math.sqrt(3), 230])
    assert shown(meter, "P1", "P2", "P3") == pytest.approx([-115, -230, 690])
    assert shown(meter, "Q1", "Q2") == pytest.approx([-230 * math.sqrt(3) / 2, 460 * math.sqrt(3) / 2], rel=1e-4)


def test_cts_on_the_wrong_phases() -> None:
    """The CTs of L1 and L2 exchanged: 2 A and 1 A, each 120° off; the sequence of the voltages is right."""
    meter = wired(Wiring(ct=(1, 0, 2)))
    assert meter["sequence"] == 123
    assert shown(meter, "I1", "I2", "I3") == pytest.approx([2, 1, 3])
    assert shown(meter, "P1", "P2", "P3") == pytest.approx([-230, -115, 690])


def test_a_missing_phase() -> None:
    meter = wired(Wiring(missing=(1,)))
    assert meter.state.missing == ("L2",)
    assert meter["sequence"] is None
    assert shown(meter, "V2", "U12", "U23", "I2", "P2") == pytest.approx([0, 230, 230, 2, 0], abs=1e-6)
    assert meter["P"] == pytest.approx(230 + 690)


def test_voltage_on_one_phase_only() -> None:
    meter = wired(Wiring(missing=(1, 2)))
    assert meter.state.missing == ("L2", "L3")
    assert shown(meter, "V1", "V2", "U12", "U23", "U31", "P", "f") == pytest.approx([230, 0, 230, 0, 230, 230, 50], abs=1e-4)


def test_a_lost_neutral_shifts_the_star_point() -> None:
    """By hand: Y = 1, 2, 3 A / 230 V; the star point lies at (1∠0 + 2∠−120 + 3∠120)·230/6 = −57.5 + j33.198 V."""
    meter = wired(Wiring(neutral_lost=True))
    assert meter["IN"] == pytest.approx(0, abs=1e-9)
    assert shown(meter, "V1", "V2", "V3") == pytest.approx([289.410, 239.392, 175.665], abs=1e-3)
    assert shown(meter, "I1", "I2", "I3") == pytest.approx([289.410 / 230, 2 * 239.392 / 230, 3 * 175.665 / 230], abs=1e-5)
    assert shown(meter, "U12", "U31") == pytest.approx([230 * math.sqrt(3)] * 2)
    balanced = wired(Wiring(neutral_lost=True), (Load(2.0, harmonics={3: (0.2, 0.0)}),))
    assert shown(balanced, "V1", "I1", "IN") == pytest.approx([230, 2, 0], abs=1e-9)  # the third harmonic has no way back


def test_three_wires_know_no_phases() -> None:
    """Decision 27: 10 A at 30° lag on 3 × 400 V: P = √3·U·I·cos φ by two wattmeters."""
    meter = Meter(E43, wires=3)
    meter.feed(three_phase(230.0, 5.0, math.cos(math.radians(30))), seconds=4)
    u = 230 * math.sqrt(3)
    assert shown(meter, "U12", "U23", "U31") == pytest.approx([u] * 3)
    assert shown(meter, "P", "Q", "S", "PF") == pytest.approx([3 * 1150 * 0.8660254, 1725, 3450, 0.8660254], rel=1e-5)
    assert all(meter[s] is None for s in ("V1", "V", "IN", "P1", "Q2", "S3", "PF1"))
    assert shown(meter, "sequence", "I") == pytest.approx([123, 5])
    assert meter["Ea+"] == pytest.approx(3 * 1150 * 0.8660254 * 3.9 / 3600, rel=0.03)
    assert meter["Ea+.L1"] == 0
    assert Bus.loopback(meter)[5].read("V1", "P1", "P") == {"V1": None, "P1": None, "P": 2990}
    unbalanced = Meter(E43, wires=3)
    unbalanced.feed(Supply([(0.0, State(Network(), (Load(1.0, (0,)), Load(2.0, (1,)), Load(3.0, (2,))),
                                        Wiring(neutral_lost=True)))]), seconds=3)  # fmt: skip
    assert unbalanced["P"] == pytest.approx(1265.0)  # the sum of what the phases took in the test above
    assert Meter(E44).settings["wires"] == 4
    with pytest.raises(ValueError, match="wires: the E44 does not measure with 3"):
        Meter(E44, wires=3)


@pytest.mark.manual("4.6.1")
def test_a_loaded_meter_of_three_wires_measures_three_wires() -> None:
    again = Meter.load(Meter(E43, wires=3).save())
    again.feed(three_phase(230.0, 2.0), seconds=2)
    assert again["V1"] is None
    assert again["P"] == pytest.approx(1380.0, rel=1e-6)


# power, decision 16


def interrupted(seconds: float, phases: tuple[int, ...] = (0, 1, 2), share: float = 0.0) -> tuple[Meter, list[int], Supply]:
    """A meter that has run for 5 s when the voltage drops for a while."""
    dip = tuple(230.0 * (share if p in phases else 1.0) for p in range(3))
    normal = State(Network(), (Load(5.0),))
    supply = Supply([(0.0, normal), (5.0, State(Network((dip[0], dip[1], dip[2])), (Load(5.0),))), (5.0 + seconds, normal)])
    meter = Meter(E44, ct_primary=5)
    pulses = begins(meter.feed(supply, seconds=5.0 + seconds), "led")
    return meter, pulses, supply


@pytest.mark.parametrize("seconds", [0.02, 0.1, 0.4])
def test_a_short_interruption_is_bridged(seconds: float) -> None:
    meter, _, supply = interrupted(seconds)
    assert meter.powered
    meter.feed(supply, seconds=2.0)
    assert meter.powered
    assert meter["V1"] == pytest.approx(230, rel=1e-6)
    assert meter["Ea+"] == pytest.approx(3450 * 6.9 / 3600, rel=0.02)


def test_a_long_one_switches_it_off_and_it_takes_a_second_to_start() -> None:
    meter, pulses, supply = interrupted(3.0)
    assert not meter.powered
    assert meter["V1"] is None
    counted = meter.exact("Ea+")
    assert counted == pytest.approx(3450 * 5 / 3600 * 1e6, rel=0.001)
    assert meter.rtu(bytes.fromhex("0503C55800027890")) == b""
    assert meter.pdu(pdu.read_request(50520, 2)) == b""
    with pytest.raises(NoReply):
        Bus.loopback(meter)[5].read("V1")
    assert all(at < 5.3e9 for at in pulses)
    late = meter.feed(supply, seconds=0.9)
    assert (meter.powered, late, meter.exact("Ea+")) == (False, [], counted)
    meter.feed(supply, seconds=3.0)
    assert meter.powered
    assert meter["V1"] == pytest.approx(230, rel=1e-6)
    assert counted < meter.exact("Ea+") < counted + 3450 * 3.0 / 3600 * 1e6


@pytest.mark.parametrize(("share", "powered"), [(0.55, True), (0.45, False)])
def test_off_below_half_of_un_and_on_above_six_tenths(share: float, powered: bool) -> None:
    meter, _, _ = interrupted(5.0, share=share)
    assert meter.powered is powered


def test_between_the_levels_it_stays_as_it_was() -> None:
    normal, low, between = (State(Network((v, 230.0, 230.0)), (Load(1.0),)) for v in (230.0, 100.0, 0.55 * 230))
    meter = Meter(E44)
    meter.feed(Supply([(0.0, normal), (2.0, between), (4.0, low), (6.0, between), (12.0, normal)]), seconds=4.0)
    assert meter.powered
    supply = Supply([(0.0, normal), (2.0, low), (4.0, between), (10.0, normal)])
    meter = Meter(E44)
    for seconds, powered in ((2.0, True), (2.0, False), (6.0, False), (3.0, True)):
        meter.feed(supply, seconds=seconds)
        assert meter.powered is powered


def test_it_lives_on_l1_alone() -> None:
    assert interrupted(5.0, (1, 2))[0].powered
    assert not interrupted(5.0, (0,))[0].powered


def test_a_record_with_a_cut_in_it_is_incomplete() -> None:
    meter = Meter(E44, demand_period=60)
    for k in range(40):
        v = 0.0 if 5 <= k < 10 else 230.0
        meter.count(Measurement.of(E44, seconds=3.0, v=[v] * 3, i=[1.0] * 3, p=[v] * 3, q=[0.0] * 3))
    assert [meter.state.curve.record(k).incomplete for k in range(2)] == [True, False]


# things that change in time


def test_a_dip_on_one_phase() -> None:
    """70 % on L1 for 70 ms of the second: by hand √((0.93 + 0.07·0.49)·230²) = 225.9 V over that second."""
    text = '[[load]]\ncurrent = 1\n[[event]]\nat = 2.3\nfor = 0.07\nset = { "voltage.L1" = 161.0 }\n'
    meter = Meter(E44)
    meter.feed(read_supply(text, "a.toml").build(1.0), seconds=3.0)
    assert meter["V1"] == pytest.approx(230 * math.sqrt(0.93 + 0.07 * 0.49), rel=0.002)
    assert meter["V2"] == pytest.approx(230, rel=1e-4)


def test_a_frequency_ramp_and_a_phase_jump() -> None:
    text = """
    [[load]]
    current = 1
    [[event]]
    at = 2.0
    over = 1.0
    set = { frequency = 51.0 }
    [[event]]
    at = 5.3
    set = { "voltage.angle" = [60, -60, 180] }
    """
    meter, supply = Meter(E44), read_supply(text, "a.toml").build(1.0)
    meter.feed(supply, seconds=3.0)
    assert meter["f"] == pytest.approx(50.36, abs=0.05)  # its windows began 0.15 s before the ramp, and end before it
    meter.feed(supply, seconds=2.0)
    assert meter["f"] == pytest.approx(51.0, abs=1e-4)
    meter.feed(supply, seconds=5.0)
    assert meter["f"] == pytest.approx(51.0, abs=1e-4)
    assert meter["Ea+"] == pytest.approx(690 * 9.9 / 3600, rel=0.02)
    assert meter["P"] == pytest.approx(690)


def test_load_steps_by_name_and_the_tariff_input() -> None:
    text = """
    [[load]]
    name = "oven"
    current = 1
    [[load]]
    phase = "L1"
    current = 2
    [[event]]
    at = 2
    set = { "load.oven.current" = 3, "load.2.current" = 0, "tariff.volts" = 230, "wiring.reversed" = ["L3"] }
    """
    meter, supply = Meter(E44), read_supply(text, "a.toml").build(1.0)
    meter.feed(supply, seconds=2)
    assert supply.tariff_volts == 0
    assert shown(meter, "P1", "P3") == pytest.approx([690, 230])
    meter.feed(supply, seconds=2)
    assert supply.tariff_volts == 230
    assert shown(meter, "P1", "P3") == pytest.approx([690, -690])


@pytest.mark.parametrize(("load", "p", "i", "q"), [
    (Load(1.0, fired=90.0), 0.5, 0.70711, 0.31831),
    (Load(1.0, fired=60.0), 0.80450, 0.89694, 0.23873),
])  # fmt: skip
def test_phase_fired_loads(load: Load, p: float, i: float, q: float) -> None:
    """By hand for α = 60°: P = 1 − α/π + sin 2α/2π, I² = P, Q = (1 − cos 2α)/2π."""
    meter = wired(Wiring(), (load,))
    assert meter["P1"] == pytest.approx(230 * p, rel=1e-4)
    assert meter["I1"] == pytest.approx(i, rel=0.01)  # what lies above half the rate is not in the samples
    assert meter["Q1"] == pytest.approx(230 * q, rel=1e-3)


def test_burst_fired_loads() -> None:
    """2 cycles on, 2 off: half the power over a multiple of 20 cycles."""
    meter = Meter(E44)
    supply = Supply([(0.0, State(Network(), (Load(2.0, burst=(2, 2)),)))])
    meter.feed(supply, seconds=2)
    begin = meter.exact("Ea+"), meter.exact("hours.T1")
    meter.feed(supply, seconds=40)
    power = (meter.exact("Ea+") - begin[0]) * 3.6e6 / (meter.exact("hours.T1") - begin[1])
    assert power == pytest.approx(690, rel=1e-3)


def test_harmonics_to_the_fortieth() -> None:
    orders: dict[int, tuple[float, float]] = {k: (0.02, 10.0 * k) for k in range(2, 41)}
    meter = Meter(E44)
    meter.feed(three_phase(230.0, 1.0, v_harmonics=orders, i_harmonics=orders), seconds=3)
    assert meter["P1"] == pytest.approx(230 * (1 + 39 * 0.0004), rel=2e-6)
    assert meter["V1"] == pytest.approx(230 * math.sqrt(1 + 39 * 0.0004), rel=2e-6)


# the front end


def test_gain_and_phase_errors() -> None:
    """1 % of gain on V1, 1° of lag on I2: P2 at PF 0.5 becomes cos 61°."""
    front = FrontEnd(gain=(1.01, 1, 1, 1, 1, 1), phase=(0, 0, 0, 0, 1, 0))
    meter = Meter(E44)
    meter.feed(Supply([(0.0, State(Network(), (Load(1.0, angle=60.0),), front_end=front))]), seconds=3)
    assert shown(meter, "V1", "P1", "P2") == pytest.approx([232.3, 116.15, 230 * math.cos(math.radians(61))])


@pytest.mark.parametrize(("bits", "volts"), [(16, 2 * FULL_SCALE_V / 65536), (24, 2 * FULL_SCALE_V / 2**24)])
def test_conversion_rounds_to_its_step(bits: int, volts: float) -> None:
    front = FrontEnd(bits=bits)
    ideal = steady(Network(), [Load(1.0)]).read(4000)
    coarse = Supply([(0.0, State(Network(), (Load(1.0),), front_end=front))]).read(4000)
    assert 0.4 * volts < np.abs(ideal - coarse)[:, 0].max() <= 0.5001 * volts
    steps = coarse[:, 0] / volts
    assert np.abs(steps - np.rint(steps)).max() < 1e-6


def test_the_converter_clips_at_full_scale() -> None:
    """Decision 44: 350 V and 120 A; a sine of twice the peak is clipped to it."""
    state = State(Network((700.0, 230.0, 230.0)), (Load(240.0, (0,)),), front_end=FrontEnd(bits=24))
    samples = Supply([(0.0, state)]).read(8000)
    assert samples[:, 0].max() == pytest.approx(FULL_SCALE_V, rel=1e-6)
    assert samples[:, 3].min() == pytest.approx(-FULL_SCALE_I, rel=1e-6)


def test_offset_is_seen_in_rms_and_not_in_power() -> None:
    front = FrontEnd(offset=(2.3, 0, 0, 0, 0, 0))
    meter = Meter(E44)
    meter.feed(Supply([(0.0, State(Network(), (Load(1.0),), front_end=front))]), seconds=3)
    assert meter["V1"] == pytest.approx(math.hypot(230, 2.3))
    assert meter["P1"] == pytest.approx(230)


EVENTS: list[tuple[str, int, str]] = [
    ("[[event]]\nset = { frequency = 51 }", 1, "event.at"),
    ("[[event]]\nat = 1", 1, "event.set"),
    ("[[event]]\nat = -1\nset = { frequency = 51 }", 2, "event.at"),
    ("[[event]]\nat = 1\nset = { rate = 4000 }", 3, "nothing to set at 'rate'"),
    ("[[event]]\nat = 1\nset = { \"voltage.L9\" = 1 }", 3, "nothing to set at 'voltage.L9'"),
    ("[[event]]\nat = 1\nset = { \"load.oven.current\" = 1 }", 3, "no load 'oven'"),
    ("[[event]]\nat = 1\nset = { \"voltage.L1\" = \"low\" }", 3, "voltage.L1: 'low' is not possible"),
    ("[[event]]\nat = 1\nover = 2\nset = { \"voltage.angle\" = [0, 0, 0] }", 3, "is no number"),
    ("[[load]]\ncurrent = 1\nfired = 90\nharmonics = { 3 = [0.1, 0] }", 4, "load.harmonics"),
    ("[wiring]\nswapped = [\"L1\"]", 2, "wiring.swapped"),
    ("[wiring]\nct = [\"L1\", \"L2\"]", 2, "wiring.ct"),
    ("[wiring]\nmissing = \"L1\"", 2, "wiring.missing"),
    ("[wiring]\nneutral = \"gone\"", 2, "wiring.neutral"),
    ("[front_end]\nbits = 64", 2, "front_end.bits"),
    ("[[load]]\ncurrent = 1\nfired = 9\n[wiring]\nneutral = \"lost\"", 5, "wiring.neutral"),
    ("[[event]]\nat = 1\nover = 1\nset = { frequency = 1" + "0" * 400 + " }", 4, "event.set"),
    ("[recording]\nfile = \"a.cfg\"\n[voltage]\nL1 = 230", 3, "voltage"),
    ("noise = 0.1\n[recording]\nfile = \"a.cfg\"", 1, "noise"),
    ("[front_end]\ngain = [1]", 2, "front_end.gain"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "line", "told"), EVENTS)
def test_what_is_wrong_with_an_event_is_told_with_its_line(text: str, line: int, told: str) -> None:
    with pytest.raises(ValueError, match="allowed: ") as error:
        read_supply(text, "site.toml")
    assert str(error.value).startswith(f"site.toml:{line}: ")
    assert told in str(error.value)


@pytest.mark.parametrize("terminal", [0, 1, 2])
def test_a_dead_terminal_of_three_wires(terminal: int) -> None:
    """It lies at the star point: two voltages fall to 230 V, the one opposite stays (decision 66)."""
    meter = Meter(E43, wires=3)
    meter.feed(Supply([(0.0, State(Network(), (Load(1.0),), Wiring(missing=(terminal,))))]), seconds=3)
    assert meter.state.missing == (f"L{terminal + 1}",)
    assert meter["sequence"] is None
    whole = Meter(E43, wires=3)
    whole.feed(three_phase(), seconds=3)
    assert (whole.state.missing, whole["sequence"]) == ((), 123)


def test_a_lost_neutral_with_export_stays_within_reason() -> None:
    loads = (Load(1.0, (0,)), Load(0.99, (1,), export=True), Load(0.001, (2,)))
    samples = Supply([(0.0, State(Network(), loads, Wiring(neutral_lost=True)))]).read(400)
    assert np.abs(samples[:, :3]).max() < 600
    assert np.abs(samples[:, 3:].sum(axis=1)).max() < 1e-9


def test_a_network_that_stands_still_makes_numbers() -> None:
    for load in (Load(1.0, fired=90.0), Load(1.0, burst=(1, 1))):
        assert np.isfinite(Supply([(0.0, State(Network(frequency=0.0), (load,)))]).read(100)).all()


def test_ramps_that_overlap_do_not_disturb_each_other() -> None:
    text = """
    [[event]]
    at = 2
    over = 2
    set = { "voltage.L1" = 130 }
    [[event]]
    at = 0
    over = 2000
    set = { "tariff.volts" = 200 }
    """
    plan = read_supply(text, "a.toml")
    volts = {t: s.state.network.volts[0] for t, s in plan.states}
    times = sorted(volts)
    assert all(volts[a] >= volts[b] - 1e-9 for a, b in itertools.pairwise(times))
    for t, v in volts.items():
        assert v == pytest.approx(min(230.0, max(130.0, 230 - 50 * (t - 2))), abs=0.5), t


def test_scenarios_are_the_same_in_any_chunks() -> None:
    text = """
    noise = 1e-4
    [[load]]
    current = 2
    profile = "workshop"
    [[load]]
    current = 1
    fired = 45
    [[load]]
    current = 1
    burst = [3, 2]
    [[event]]
    at = 0.3
    over = 0.5
    set = { frequency = 53, "voltage.L2" = 100 }
    [[event]]
    at = 0.61
    for = 0.11
    set = { "wiring.reversed" = ["L2"] }
    """
    plan: Any = read_supply(text, "a.toml")
    whole = plan.build(1.0).read(12_000)
    source, rng = plan.build(1.0), np.random.default_rng(3)
    parts = []
    while source.position < 12_000:
        parts.append(source.read(min(int(rng.integers(1, 300)), 12_000 - source.position)))
    assert np.concatenate(parts).tobytes() == whole.tobytes()
