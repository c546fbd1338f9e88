"""Edges that a change by one count would cross unseen elsewhere."""

from __future__ import annotations

import math

import numpy as np
import pytest
from countis import E44, Bus, Measurement, Meter, SetClock, SetSetting
from countis.meter.metrology import kernel
from countis.meter.metrology.measurement import Metrology, combine, measure
from countis.modbus import pdu
from countis.supply import three_phase
from countis.words.errors import UnknownSymbol
from countis.words.quantities import COUNTED_COLUMN
from countis.words.quantities import LIVE_COLUMN as COLUMN

NOON = 800_000_000 - 800_000_000 % 86400 + 43200


def row(**values: float) -> np.ndarray:
    """A kernel row of a steady 230 V, 1 A, PF 1 window, with some columns changed by name."""
    out = np.zeros((1, kernel.ROW))
    out[0, kernel.SQUARES : kernel.SQUARES + 6] = [230.0**2] * 3 + [1.0] * 3
    out[0, kernel.SQUARES + 6 : kernel.SQUARES + 9] = 3 * 230.0**2
    out[0, kernel.ACTIVE : kernel.ACTIVE + 3] = 230.0
    out[0, kernel.FREQUENCY], out[0, kernel.ROTATION] = 50.0, 2.6 * 230.0**2
    for name, value in values.items():
        out[0, getattr(kernel, name)] = value
    return out


@pytest.mark.parametrize(
    ("f", "shown"), [(44.99, False), (44.996, True), (45.0, True), (65.0, True), (65.004, True), (65.01, False), (66.5, False)]
)
def test_frequency_is_available_from_45_to_65(f: float, shown: bool) -> None:
    assert math.isnan(measure(row(FREQUENCY=f), E44)[0, COLUMN["f"]]) is not shown


@pytest.mark.parametrize("rate", [1234.567, 3200.0, 8000.0, 50_000.0])
@pytest.mark.parametrize("f", [45.0, 65.0])
def test_an_ideal_signal_at_the_border_is_within_it(rate: float, f: float) -> None:
    windows = Metrology(E44, rate).feed(three_phase(f=f, rate=rate).read(int(3 * rate)))
    assert not np.isnan(windows.live[windows.whole, COLUMN["f"]]).any()


@pytest.mark.parametrize(("share", "sequence"), [(2.6, 123), (0.5, 123), (0.2, None), (-0.2, None), (-0.5, 132)])
def test_the_sequence_must_be_sure(share: float, sequence: int | None) -> None:
    found = measure(row(ROTATION=share * 230.0**2), E44)[0, COLUMN["sequence"]]
    assert (None if math.isnan(found) else found) == sequence


@pytest.mark.parametrize(("q", "lags"), [(-0.1, True), (-1.0, False), (-5.0, False), (1.0, True)])
def test_a_little_leading_current_already_shows(q: float, lags: bool) -> None:
    """230 VA: from 0.23 var on, a thousandth, the sign is that of Q."""
    found = measure(row(REACTIVE=q), E44)[0, COLUMN["PF1"]]
    assert bool(found > 0) is lags


def test_windows_weigh_by_their_length() -> None:
    long = Measurement.of(E44, seconds=0.3, v=[200.0] * 3, i=[1.0] * 3, p=[200.0] * 3, q=[0.0] * 3, f=50.0)
    short = Measurement.of(E44, seconds=0.1, v=[240.0] * 3, i=[1.0] * 3, p=[240.0] * 3, q=[0.0] * 3, f=51.0)
    live = combine([long, short], E44)
    assert live[COLUMN["V1"]] == pytest.approx(math.sqrt((3 * 200**2 + 240**2) / 4))
    assert live[COLUMN["P"]] == pytest.approx(3 * 210)
    assert live[COLUMN["f"]] == pytest.approx(50.25)


@pytest.mark.parametrize(("milliseconds", "tolerance"), [(10, 0.6), (20, 0.1), (40, 0.05)])
def test_reactive_energy_of_short_pieces_is_not_lost(milliseconds: int, tolerance: float) -> None:
    """A supply in pieces of a cycle or two, each a new start: Q is as good as a correlation over them can be."""
    meter, supply = Meter(E44), three_phase(230, 5.0, 0.5)
    for _ in range(100):
        meter.feed(supply, seconds=milliseconds / 1000)
        meter.advance(1)
    flowed = 3 * 1150 * math.sqrt(0.75) * 0.1 * (milliseconds - 0.125) / 3600
    assert meter["Er+"] == pytest.approx(flowed, rel=tolerance)
    assert meter["Ea+"] == pytest.approx(flowed / math.sqrt(3), rel=tolerance)


@pytest.mark.parametrize("milliseconds", [1003, 1007, 1012, 1017])
def test_the_part_of_a_cycle_at_the_end_counts_like_the_cycle_before(milliseconds: int) -> None:
    meter = Meter(E44)
    meter.feed(three_phase(230, 5.0, 0.5), seconds=milliseconds / 1000)
    meter.advance(0)
    flowed = 3 * 1150 * math.sqrt(0.75) * (milliseconds / 1000 - 1 / 8000) / 3600
    assert meter["Er+"] == pytest.approx(flowed, rel=2e-4)


def test_a_start_between_two_crossings_counts_its_reactive_energy() -> None:
    """Windows before the second crossing hold a part of a cycle; its Q is that of the cycle behind it."""
    for degrees in range(0, 360, 30):
        samples = three_phase(230, 5.0, 0.5).read(8000)[degrees * 160 // 360 :]
        windows = Metrology(E44, 8000).feed(samples)
        counted = float(windows.live[:, COLUMN["Q"]] @ windows.ns)
        assert counted == pytest.approx(3 * 1150 * math.sqrt(0.75) * windows.total_ns, rel=3e-3)


# records


def minutes(meter: Meter, watts: float, seconds: float, count: int) -> None:
    for _ in range(count):
        meter.count(Measurement.of(E44, seconds=seconds, v=[230.0] * 3, i=[1.0] * 3, p=[watts] * 3, q=[0.0] * 3))


def test_a_record_over_a_restart_is_incomplete_and_the_next_is_not() -> None:
    meter = Meter(E44, demand_period=60)
    meter.apply([SetClock(NOON)])
    minutes(meter, 100, 10.0, 3)
    meter = Meter.load(meter.save())
    minutes(meter, 100, 10.0, 9)
    assert [(meter.state.curve.record(k).incomplete, meter.state.curve.record(k).mean_mw) for k in range(2)] == [
        (True, 300_000),
        (False, 300_000),
    ]


@pytest.mark.parametrize(("missing", "incomplete"), [(0.3, False), (0.9, True)])
def test_half_a_second_may_lack(missing: float, incomplete: bool) -> None:
    meter = Meter(E44, demand_period=60)
    meter.apply([SetClock(NOON)])
    minutes(meter, 100, 60.0 - missing, 1)
    minutes(meter, 100, missing + 0.2, 1)
    assert meter.state.curve.record(0).incomplete is incomplete


def test_a_window_longer_than_the_period_is_no_whole_record() -> None:
    meter = Meter(E44, demand_period=60)
    meter.apply([SetClock(NOON)])
    minutes(meter, 100, 30.0, 1)
    minutes(meter, 100, 150.0, 1)
    assert [meter.state.curve.record(k).incomplete for k in range(2)] == [True, True]


@pytest.mark.parametrize(("seconds", "cut"), [(2, True), (1, False), (-1, False), (-2, True)])
def test_a_clock_moved_by_more_than_a_second_cuts(seconds: int, cut: bool) -> None:
    meter = Meter(E44, demand_period=900)
    meter.apply([SetClock(NOON)])
    minutes(meter, 100, 10.0, 1)
    meter.apply([SetClock(NOON + 10 + seconds)])
    assert (meter["demand.time"] is not None) is cut


def test_a_new_ct_cuts_the_record_with_the_old_one() -> None:
    meter = Meter(E44, demand_period=60)
    meter.apply([SetClock(NOON)])
    minutes(meter, 1000 / 3, 10.0, 3)
    meter.apply([SetSetting("ct_primary", 200)])
    assert meter.state.live[COLUMN["P"]] == pytest.approx(40_000)  # the value shown follows at once
    minutes(meter, 1000 / 3, 10.0, 3)
    records = [meter.state.curve.record(k) for k in range(2)]
    assert [(r.mean_mw, r.incomplete) for r in records] == [(1_000_000, True), (1_000_000, True)]
    assert meter["demand.P"] == pytest.approx(40_000)
    assert meter.pdu(pdu.read_request(50828, 1))[2:] == (1000).to_bytes(2, "big")


def test_dark_time_in_one_step_or_two() -> None:
    def cut(*steps: float) -> Meter:
        meter = Meter(E44, demand_period=60)
        meter.apply([SetClock(NOON)])
        minutes(meter, 100, 59.8, 1)
        for step in steps:
            meter.advance(round(step * 1e9))
        return meter

    assert cut(0.3).save() == cut(0.1, 0.2).save()
    on_the_stroke = cut(0.2)
    minutes(on_the_stroke, 100, 60.0, 1)
    assert [on_the_stroke.state.curve.record(k).incomplete for k in range(2)] == [True, False]


# words


@pytest.mark.parametrize(("mw", "register"), [(1499, 1), (1500, 2), (65_533_400, 65533), (65_535_000, 65534), (10**8, 65534)])
def test_the_last_average_rounds_and_stays_within_its_register(mw: int, register: int) -> None:
    meter = Meter(E44)
    meter.state.row[COUNTED_COLUMN["demand.P"]] = mw
    meter.state.changes += 1
    assert int.from_bytes(meter.pdu(pdu.read_request(50828, 1))[2:], "big") == register


@pytest.mark.parametrize(("symbol", "address", "value", "register"), [
    ("V1", 51284, 655.33, 65533), ("V1", 51284, 655.34, 65534), ("V1", 51284, 700.0, 65534),
    ("P", 51292, 327_660.0, 32766), ("P", 51292, 400_000.0, 32766), ("P", 51292, -400_000.0, 65536 - 32766),
])  # fmt: skip
def test_a_value_too_large_stays_below_not_available(symbol: str, address: int, value: float, register: int) -> None:
    meter = Meter(E44, ct_primary=5)
    meter.state.live[COLUMN[symbol]] = value
    meter.state.changes += 1
    assert int.from_bytes(meter.pdu(pdu.read_request(address, 1))[2:], "big") == register


@pytest.mark.parametrize("value", [0x0010, 0x00FF, 0xFFFE, 0x8000])
def test_reset_bits_that_mean_nothing_are_refused(value: int) -> None:
    assert Meter(E44).pdu(pdu.write_request(57892, [value])) == b"\x90\x03"


def test_a_second_alone_after_a_set_clock_is_refused() -> None:
    meter = Meter(E44)
    assert meter.pdu(pdu.write_request(57600, [23, 11, 2026, 10, 30, 5]))[0] == 16
    clock = meter.clock
    assert meter.pdu(pdu.write_request(57605, [7])) == b"\x90\x03"
    assert meter.clock == clock


def test_a_seal_is_told_before_a_bad_value() -> None:
    meter = Meter(E44, sealed=1)
    assert meter.pdu(pdu.write_request(57344, [7, 1, 5])) == b"\x90\x01"
    assert meter.pdu(pdu.write_request(57344, [7])) == b"\x90\x03"


def test_a_loaded_meter_writes_no_settings_that_did_not_change() -> None:
    again = Meter.load(Meter(E44).save())
    assert len(again.writes()) == 1
    again.apply([SetSetting("address", 9)])
    assert len(again.writes()) == 3  # with its entry in the log


def test_samples_are_clipped_where_the_converter_clips() -> None:
    """Decision 44: 350 V and 120 A; a sine of a million volts is a square of √2 · 350 V."""
    meter = Meter(E44)
    meter.feed(three_phase(1e6, 1e6).read(24_000))
    assert meter["V1"] == pytest.approx(350 * math.sqrt(2), rel=0.01)
    assert meter["I1"] == pytest.approx(120 * math.sqrt(2), rel=0.01)


@pytest.mark.parametrize("symbol", ["Ea+", "Ea+.T1", "par.Ea+", "day.Ea+", "Er+.T2"])
def test_twelve_gigawatt_hours_are_read_as_such(symbol: str) -> None:
    meter = Meter(E44)
    meter.state.row[COUNTED_COLUMN[symbol]] = 12_345_678_912_340_000
    meter.state.changes += 1
    assert Bus.loopback(meter)[5].read(symbol)[symbol] == pytest.approx(12_345_678_910, abs=10)


def test_an_error_is_put_into_an_outer_place_whatever_it_is_made_of() -> None:
    unknown = UnknownSymbol("V4", ["V1", "P"])
    assert str(unknown.inside("site.toml")) == "site.toml: V4: unknown symbol, did you mean V1? (allowed: see countis map)"
    assert str(unknown).startswith("V4: ")
    assert isinstance(unknown.inside("x"), UnknownSymbol)
