"""Counters, partials, tariffs, periods, load curve and pulses, with figures worked out by hand."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from countis import (
    E44,
    Measurement,
    Meter,
    ResetPartials,
    SelectTariff,
    SetClock,
    SetSetting,
    StartPartial,
    StopPartial,
)
from countis.meter.energy import increment, periods, registers
from countis.meter.energy.load_curve import CAPACITY, LoadCurve, Record, RecordWritten
from countis.meter.energy.pulse import Output, Pulses
from countis.meter.energy.registers import Layout
from countis.words.commands import SetTariffInput
from countis.words.quantities import PARTIALS

from trains import begins

WH = 1_000_000
UNITS = 3  # µWh that three phases may hold back in their remainders
NOON = 800_000_000 - 800_000_000 % 86400 + 43200  # some day of 2025, 12:00


def measured(p: float | tuple[float, ...], q: float | tuple[float, ...] = 0.0, seconds: float = 36.0) -> Measurement:
    """A measurement with the same or given secondary W and var by phase; 36 s of 100 W are 1 Wh."""
    ps, qs = (np.full(3, x) if isinstance(x, int | float) else np.array(x) for x in (p, q))
    return Measurement.of(E44, seconds=seconds, v=[230.0] * 3, i=np.hypot(ps, qs) / 230.0, p=list(ps), q=list(qs))


def meter_after(*measurements: Measurement, **settings: Any) -> Meter:
    meter = Meter(E44, **settings)
    for measurement in measurements:
        meter.count(measurement)
    return meter


# P, Q of one phase -> the registers that move (decision 7)
QUADRANTS = [
    (100.0, 50.0, {"Ea+": 100, "Er+": 50, "Er+ind": 50}),
    (-100.0, 50.0, {"Ea-": 100, "Er+": 50, "Er+cap": 50}),
    (-100.0, -50.0, {"Ea-": 100, "Er-": 50, "Er-ind": 50}),
    (100.0, -50.0, {"Ea+": 100, "Er-": 50, "Er-cap": 50}),
    (100.0, 0.0, {"Ea+": 100}),
    (0.0, 50.0, {"Er+": 50, "Er+ind": 50}),
]


@pytest.mark.parametrize(("p", "q", "moved"), QUADRANTS)
@pytest.mark.parametrize("phase", [0, 1, 2])
def test_quadrants(p: float, q: float, moved: dict[str, int], phase: int) -> None:
    ps, qs = [0.0] * 3, [0.0] * 3
    ps[phase], qs[phase] = p, q
    meter = meter_after(measured(tuple(ps), tuple(qs), seconds=3600.0))
    for kind in ("Ea+", "Ea-", "Er+", "Er-", "Er+ind", "Er-ind", "Er+cap", "Er-cap"):
        expected = moved.get(kind, 0) * WH
        assert meter.exact(f"{kind}.L{phase + 1}") == expected
        assert meter.exact(kind) == expected, kind
        assert meter.exact(f"{kind}.T1") == expected
        assert meter.exact(f"{kind}.L{phase + 1}.T2") == 0
    assert meter["Eap"] == pytest.approx(np.hypot(p, q), rel=1e-7)


def test_the_sum_follows_its_own_sign_and_each_phase_its_own() -> None:
    """Decision 8, by hand: +300 −100 −50 W is +150 W; +100 +50 −200 var is −50 var, in QIV because ΣP > 0."""
    meter = meter_after(measured((300.0, -100.0, -50.0), (100.0, 50.0, -200.0), seconds=3600.0))
    assert [meter[f"Ea+.L{k}"] for k in (1, 2, 3)] == [300, 0, 0]
    assert [meter[f"Ea-.L{k}"] for k in (1, 2, 3)] == [0, 100, 50]
    assert (meter["Ea+"], meter["Ea-"]) == (150, 0)
    assert (meter["Er+"], meter["Er-"], meter["Er-cap"], meter["Er-ind"]) == (0, 50, 50, 0)
    assert [meter[f"Er+ind.L{k}"] for k in (1, 2, 3)] == [100, 0, 0]
    assert [meter[f"Er+cap.L{k}"] for k in (1, 2, 3)] == [0, 50, 0]
    assert [meter[f"Er-ind.L{k}"] for k in (1, 2, 3)] == [0, 0, 200]
    assert (meter["net.Ea"], meter["net.Er"]) == (150, -50)


def test_ratio_makes_primary_energy_and_a_new_ratio_counts_from_then_on() -> None:
    meter = meter_after(measured(100.0), ct_primary=200)
    assert meter["Ea+"] == 3 * 40
    meter.apply([SetSetting("ct_primary", 5)])
    meter.count(measured(100.0))
    assert meter["Ea+"] == 3 * 40 + 3


def test_below_the_start_power_nothing_counts() -> None:
    meter = meter_after(*[measured(0.09)] * 50)
    assert meter["Ea+"] == meter["Eap"] == 0
    assert meter_after(measured((0.11, 0.0, 0.0), seconds=3600.0))["Ea+"] == pytest.approx(0.11)


def test_small_increments_are_carried() -> None:
    """0.3 µWh a window: after 10 000 windows 3000 µWh, to the unit."""
    watts = np.array([[0.3 * 3.6e6 / 1e9] * 3])  # for 1 s
    remainder = np.zeros((7, 3), np.int64)
    total = np.zeros((9, 4), np.int64)
    for _ in range(10_000):
        d, remainder = increment.increments(watts, watts * 0, watts, 1_000_000_000, 1.0, remainder)
        total += d[0]
    assert total[0].tolist() == [3000, 3000, 3000, 9000] or total[0].tolist() == [2999, 2999, 2999, 8997]
    assert ((remainder >= 0) & (remainder < 2**30)).all()


def test_a_fleet_counts_like_its_meters_one_by_one() -> None:
    rng = np.random.default_rng(5)
    fleet, single = registers.new_row((4,)), [registers.new_row() for _ in range(4)]
    tariffs, ratios = np.array([1, 2, 3, 4]), np.array([1.0, 40.0, 2400.0, 2.5])
    fleet[:, Layout.tariff] = tariffs
    fleet[2, Layout.running] = 0
    for k, row in enumerate(single):
        row[Layout.tariff] = tariffs[k]
    single[2][Layout.running] = 0
    remainders = np.zeros((4, 7, 3), np.int64)
    one = [np.zeros((7, 3), np.int64) for _ in range(4)]
    for _ in range(20):
        p, q = rng.normal(0, 500, (2, 4, 3))
        s = np.hypot(p, q)
        d, remainders = increment.increments(p[:, None], q[:, None], s[:, None], 200_000_000, ratios, remainders)
        registers.add(fleet, d[:, 0], np.full(4, 200_000_000))
        fleet[:, Layout.time] += 10**13
        periods.roll_over(fleet)
        for k, row in enumerate(single):
            di, one[k] = increment.increments(p[k : k + 1], q[k : k + 1], s[k : k + 1], 200_000_000, float(ratios[k]), one[k])
            registers.add(row, di[0], 200_000_000)
            row[Layout.time] += 10**13
            periods.roll_over(row)
    for k, row in enumerate(single):
        assert np.array_equal(fleet[k], row)


# tariffs and partials


def test_tariffs_split_the_total_and_their_hours() -> None:
    meter = Meter(E44, tariff_control="com")
    for tariff in (1, 2, 3, 4, 2):
        assert meter.apply([SelectTariff(tariff)]) is None
        meter.count(measured(100.0))
    assert [meter[f"Ea+.T{t}"] for t in (1, 2, 3, 4)] == [3, 6, 3, 3]
    assert [meter[f"hours.T{t}"] for t in (1, 2, 3, 4)] == [0.01, 0.02, 0.01, 0.01]
    assert meter["Ea+"] == 15


@pytest.mark.manual("6.2")
def test_tariff_input_by_volts() -> None:
    meter = Meter(E44)
    for volts, tariff in ((0, 1), (50, 1), (80, 2), (276, 2), (50, 2), (20, 2), (19.9, 1), (230, 2)):
        meter.apply([SetTariffInput(volts)])
        assert meter["tariff"] == tariff, volts
    meter.apply([SetSetting("tariff_control", "com")])
    meter.apply([SetTariffInput(0)])
    assert meter["tariff"] == 2
    meter.apply([SelectTariff(4), SetSetting("tariff_control", "dig")])
    assert meter["tariff"] == 1


@pytest.mark.manual("10.6")
@pytest.mark.parametrize("symbol", PARTIALS)
def test_each_partial_starts_stops_and_resets_by_itself(symbol: str) -> None:
    meter = Meter(E44, tariff_control="com")

    def one_of_each() -> None:
        for tariff in (1, 2, 3, 4):
            meter.apply([SelectTariff(tariff)])
            meter.count(measured(100.0, 50.0))
            meter.count(measured(-100.0, -50.0))

    one_of_each()
    before = {s: meter.exact(s) for s in PARTIALS}
    assert all(before.values())
    meter.apply([StopPartial(symbol)])
    assert not meter.state.runs(symbol)
    one_of_each()
    assert meter.exact(symbol) == before[symbol]
    twice = {s: abs(meter.exact(s) - 2 * before[s]) for s in PARTIALS if s != symbol}
    assert max(twice.values()) <= UNITS
    meter.apply([ResetPartials((symbol,))])
    assert meter.exact(symbol) == 0
    assert not meter.state.runs(symbol)
    meter.apply([StartPartial(symbol)])
    one_of_each()
    assert meter.exact(symbol) == pytest.approx(before[symbol], abs=UNITS)
    assert meter.exact("Ea+") == pytest.approx(3 * before["par.Ea+"], abs=UNITS)


# demand, load curve, periods


def test_load_curve_records_the_mean_of_each_period() -> None:
    meter = Meter(E44, ct_primary=50, demand_period=60)
    meter.apply([SetClock(NOON)])
    records = [
        e.record
        for k in range(30)
        for e in meter.count(measured(100.0 * (k // 6), seconds=10.0))
        if isinstance(e, RecordWritten)
    ]
    assert [r.time for r in records] == [NOON + 60 * (k + 1) for k in range(5)]
    assert [r.incomplete for r in records] == [False] * 5
    assert [r.mean_mw for r in records[1:]] == pytest.approx([300_000, 600_000, 900_000, 1_200_000], abs=2)
    assert meter["demand.P"] == pytest.approx(10 * 1200.0, abs=0.02)
    assert meter["demand.time"] == records[-1].time
    assert meter.exact("Ea+") == pytest.approx(sum(3 * 100 * (k // 6) for k in range(30)) * 10 / 3600 * 10 * WH, abs=60)


def test_a_new_clock_cuts_the_record_and_loses_nothing() -> None:
    meter = Meter(E44, demand_period=900)
    meter.apply([SetClock(NOON)])
    for _ in range(100):
        meter.count(measured(100.0, seconds=1.0))
    meter.apply([SetClock(NOON + 100)])  # it is that already: nothing is cut
    assert int(meter.state.row[Layout.records]) == 0
    meter.apply([SetClock(NOON - 86400 + 7)])
    assert meter.state.curve.record(0) == Record(NOON + 100, 900, True, 300_000)
    for _ in range(1100):
        meter.count(measured(200.0, seconds=1.0))
    assert meter.state.curve.record(1).incomplete
    assert meter.state.curve.record(1).time == NOON - 86400 + 900


def test_the_ring_holds_45_days_of_quarter_hours() -> None:
    assert CAPACITY >= 45 * 24 * 4
    curve = LoadCurve()
    written = CAPACITY + 100
    for number in range(written):
        curve.store(number, Record(number * 900, 900, False, number))
    read: list[int] = []
    while True:
        curve.fetch(written)
        if not curve.fetched:
            break
        read += [record.mean_mw for record in curve.fetched]
    assert read == list(range(100, written))
    curve.rewind()
    curve.fetch(written)
    assert [r.mean_mw for r in curve.fetched] == list(range(100, 129))


def test_day_week_and_month_turn() -> None:
    """2024-02-28 is a Wednesday; the month ends on Thursday 29, the week on Sunday 3 March."""
    meter = Meter(E44)
    start = int((np.datetime64("2024-02-28T12:00:00") - np.datetime64("2000-01-01T00:00:00")).astype(int))
    meter.apply([SetClock(start)])
    for _ in range(6 * 24):
        meter.count(measured(100.0, seconds=3600.0))
    # now it is Tuesday 5 March, 12:00; 300 Wh an hour
    assert meter["day.Ea+"] == 300 * 12
    assert meter["day-1.Ea+"] == 300 * 24
    assert meter["week.Ea+"] == 300 * (24 + 12)
    assert meter["week-1.Ea+"] == 300 * (12 + 24 * 4)
    assert meter["month.Ea+"] == 300 * (4 * 24 + 12)
    assert meter["month-1.Ea+"] == 300 * (12 + 24)
    assert meter["day.Ea-"] == 0


# pulses


@pytest.mark.manual("13")
@pytest.mark.parametrize(
    ("ct", "weight"),
    [((1, 1), 1), ((5, 5), 1), ((4, 1), 1), ((5, 1), 5), ((24, 1), 5), ((25, 1), 25), ((124, 1), 25), ((125, 1), 125),
     ((624, 1), 125), ((625, 1), 1000), ((3124, 1), 1000), ((3125, 1), 10000), ((12000, 1), 10000),
     ((200, 5), 25), ((24, 5), 1), ((1, 5), 1)],
)  # fmt: skip
def test_pulse_weights(ct: tuple[int, int], weight: int) -> None:
    assert E44.family.pulse_weight(*ct) == weight


def test_pulses_and_flashes_come_at_even_times() -> None:
    """3 × 1000 W secondary: an LED flash each 1.2 s; with 200/5 a pulse of 25 Wh each 0.75 s."""
    meter = Meter(E44, ct_primary=200)
    events = [e for _ in range(301) for e in meter.count(measured(1000.0, seconds=0.2))]
    for output, every in (("led", 1.2), ("pulse", 0.75)):
        on = [at / 1e9 for at in begins(events, output)]
        assert on == pytest.approx([every * (k + 1) for k in range(int(60 / every + 1e-9))], abs=2e-6)
    assert {e.ns for e in events if isinstance(e, Pulses) and e.output is Output.PULSE} == {50_000_000}


def test_pulses_are_never_lost_nor_merged_however_fast() -> None:
    meter = Meter(E44, ct_primary=1, ct_secondary=1)
    pulses = begins([e for _ in range(20) for e in meter.count(measured(50_000.0, seconds=0.2))], "pulse")
    assert len(pulses) == int(meter.exact("Ea+") // WH) == int(150_000 * 4 / 3600)
    assert all(b - a >= 100_000_000 for a, b in pairwise(pulses))


def test_exported_energy_flashes_but_does_not_pulse() -> None:
    meter = Meter(E44)
    events = [e for _ in range(50) for e in meter.count(measured(-1000.0, seconds=1.2))]
    assert (len(begins(events, "led")), begins(events, "pulse")) == (49, [])  # the fiftieth flash lacks a unit or two
    assert meter["par.Ea-"] == pytest.approx(50, abs=UNITS / WH)


def test_a_new_ratio_keeps_what_the_led_has_pending() -> None:
    meter = Meter(E44)
    meter.count(measured(1000.0, seconds=0.6))  # half a flash
    meter.apply([SetSetting("ct_primary", 12000)])
    events = meter.count(measured(1000.0, seconds=1.2))
    assert [round(at / 1e6) for at in begins(events, "led")] == [1200]
