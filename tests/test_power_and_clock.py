"""What a supply that goes and a clock that moves may do to counts: nothing (decisions 16, 55, 65; IEC 62053-31)."""

from __future__ import annotations

import numpy as np
import pytest
from countis import E44, Measurement, Meter, SetClock
from countis.meter.energy.load_curve import Record, RecordWritten
from countis.meter.energy.registers import Layout
from countis.supply.network import Load, Network, State
from countis.supply.source import Supply
from countis.words.commands import EventKind as Kind

from trains import begins

SECOND = 1_000_000_000
NOON = 836_049_600  # 2026-06-29 12:00, a Monday: an hour, a day or a year away every period is another one
HOUR, DAY, YEAR = 3600, 86_400, 365 * 86_400


def at(volts: float, amperes: float = 5.0) -> State:
    return State(Network((volts, 230.0, 230.0)), (Load(amperes),))


def starts(meter: Meter) -> list[str]:
    entries = (entry for _, entry in meter.state.log.entries(int(meter.state.row[Layout.events])))
    return [entry.subject for entry in entries if entry is not None and entry.kind is Kind.POWER]


@pytest.mark.parametrize("seconds", [0.01, 0.02, 0.1, 0.3, 0.49, 0.9, 1.0, 2.0, 7.3])
@pytest.mark.parametrize("phase", [0.0, 0.25, 0.63])
def test_an_interruption_makes_no_pulse_of_its_own(seconds: float, phase: float) -> None:
    """Pulses are those of what was counted, before, during and after; none while it has no power."""
    begin = 4.0 + phase
    meter = Meter(E44, ct_primary=5)
    supply = Supply([(0.0, at(230.0)), (begin, at(0.0)), (begin + seconds, at(230.0))])
    events = meter.feed(supply, seconds=begin + seconds + 6.0)
    events += meter.advance(0)
    pulses, flashes = np.array(begins(events, "pulse")), np.array(begins(events, "led"))
    counted = meter.exact("Ea+")
    assert len(pulses) == meter.state.pulses == counted // (10**6 * meter.model.family.pulse_weight(*meter.state.ct))
    assert len(flashes) == counted // 10**6  # at a ratio of 1 a flash is 1 Wh
    off, on = (begin + 0.9) * SECOND, (begin + seconds) * SECOND
    assert not ((pulses > off) & (pulses < on)).any()
    assert not ((flashes > off) & (flashes < on)).any()
    assert starts(meter) == ([] if seconds <= 0.49 else ["off", "on"])


@pytest.mark.parametrize("seconds", [2.0, 20.0, 60.0])
def test_slow_ramps_switch_it_once_each_way(seconds: float) -> None:
    """L1 goes down and up again: off below 115 V, on above 138 V, without a flutter in between."""
    steps = 40
    down = [(5.0 + seconds * k / steps, at(230.0 * (1 - k / steps))) for k in range(steps + 1)]
    up = [(8.0 + seconds + seconds * k / steps, at(230.0 * k / steps)) for k in range(steps + 1)]
    meter, supply = Meter(E44, ct_primary=5), Supply([(0.0, at(230.0)), *down, *up])
    seen: list[bool] = []
    for _ in range(round(2 * seconds + 12.0)):
        meter.feed(supply, seconds=1.0)
        seen.append(meter.powered)
    turns = [k for k in range(1, len(seen)) if seen[k] != seen[k - 1]]
    assert starts(meter) == ["off", "on"]
    assert len(turns) == 2
    assert turns[0] == pytest.approx(5.0 + 0.5 * seconds + 0.5, abs=1.5)
    assert turns[1] == pytest.approx(8.0 + 1.6 * seconds + 1.0, abs=1.5 + seconds / steps)
    assert seen[-1]


@pytest.mark.parametrize("volts", [0.54, 0.5, 0.46])
def test_a_voltage_that_flutters_round_a_level_does_not_start_and_stop(volts: float) -> None:
    states = [(2.0 + 0.3 * k, at(230.0 * (volts + (0.03 if k % 2 else -0.03)))) for k in range(60)]
    meter = Meter(E44)
    meter.feed(Supply([(0.0, at(230.0)), *states, (20.0, at(230.0))]), seconds=24.0)
    assert starts(meter) in ([], ["off", "on"])
    assert meter.powered


def minutes(meter: Meter, count: int, watts: float) -> list[Record]:
    events = []
    for _ in range(count * 60):
        events += meter.count(Measurement.of(E44, seconds=1.0, v=[230.0] * 3, i=[1.0] * 3, p=[watts] * 3, q=[0.0] * 3))
    return [event.record for event in events if isinstance(event, RecordWritten)]


def energy(record: Record, seconds: int) -> float:
    """Wh of a record that was counted for so long, without the CT ratio."""
    return record.mean_mw * seconds / 3.6e6


@pytest.mark.parametrize("jump", [2, HOUR, DAY, YEAR, -2, -HOUR, -DAY, -YEAR])
@pytest.mark.parametrize("cut", [False, True])
def test_a_clock_that_jumps_loses_and_doubles_nothing(jump: int, cut: bool) -> None:
    """By bus or keys, or by a host whose clock moved while the meter was off."""
    meter = Meter(E44, demand_period=900)
    meter.apply([SetClock(NOON)])
    found = minutes(meter, 20, 300.0)
    if cut:
        meter = Meter.load(meter.save())
    meter.apply([SetClock(meter.clock + jump)])
    assert meter.clock == NOON + 1200 + jump
    found += [event.record for event in meter.advance(0) if isinstance(event, RecordWritten)]
    assert [(r.incomplete, r.time) for r in found] == [(False, NOON + 900), (True, NOON + 1200)]
    after = minutes(meter, 40, 600.0)
    assert after[0].incomplete
    assert not any(record.incomplete for record in after[1:])
    counted = 3 * (300.0 * 20 + 600.0 * 40) / 60
    assert meter["Ea+"] == pytest.approx(counted, abs=1e-3)
    first = after[0].time - (meter.clock - 2400)
    left = meter.state.row[Layout.demand_energy] / 1e6
    records = energy(found[0], 900) + energy(found[1], 300) + energy(after[0], first) + sum(energy(r, 900) for r in after[1:])
    assert records + left == pytest.approx(counted, rel=1e-5)
    if abs(jump) >= DAY:
        assert meter["day.Ea+"] == pytest.approx(3 * 600 * 40 / 60, abs=1e-3)
        assert meter["day-1.Ea+"] == pytest.approx(3 * 300 * 20 / 60, abs=1e-3)
    else:
        assert meter["day.Ea+"] == pytest.approx(counted, abs=1e-3)


def test_the_clock_goes_on_through_restarts() -> None:
    meter = Meter(E44)
    meter.apply([SetClock(NOON)])
    for k in range(5):
        minutes(meter, 1, 100.0)
        meter = Meter.load(meter.save())
        meter.advance(10 * SECOND)
        assert meter.clock == NOON + 70 * (k + 1)
