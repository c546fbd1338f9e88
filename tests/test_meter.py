"""The meter as its users meet it: the library's calls, commands, refusals, the seal."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from countis import (
    E43,
    E44,
    Bus,
    Meter,
    ResetPartials,
    SelectTariff,
    SetClock,
    SetSetting,
    StartPartial,
    StopPartial,
)
from countis.meter.energy.load_curve import RecordWritten
from countis.meter.energy.pulse import Output, Pulses
from countis.meter.memory.image import PAGE
from countis.meter.metrology.measurement import Metrology
from countis.supply import Supply, three_phase
from countis.words.commands import Command, Reason, SetCalibration
from countis.words.errors import BadReply, NoReply, Refused, SettingError, SupplyError, UnknownSymbol
from countis.words.quantities import COUNTED, LIVE, QUANTITIES, ROLLS
from countis.words.settings import SETTINGS, Calibration

from trains import begins


def test_the_example_of_the_readme() -> None:
    meter = Meter(E44, ct_primary=200, ct_secondary=5)
    meter.feed(three_phase(v=230, i=2.5, pf=0.9), seconds=60)
    assert meter["P"] == pytest.approx(62100)
    energy = meter["Ea+"]
    assert isinstance(energy, float)
    assert 62100 * 59.75 / 3600 <= energy <= 62100 * 60 / 3600


def test_feed_and_count_of_the_same_measurements_give_the_same_counters() -> None:
    samples = three_phase((230, 225, 240), (1.0, 2.0, 3.0), (0.9, -0.8, 0.5), noise=1e-4).read(20 * 8000)
    fed, counted = Meter(E44, ct_primary=120), Meter(E44, ct_primary=120)
    events = fed.feed(samples)
    windows = Metrology(E44, 8000).feed(samples)
    again = [e for k in range(len(windows)) for e in counted.count(windows[k : k + 1])]
    assert np.array_equal(fed.state.row, counted.state.row)
    for output in ("pulse", "led"):
        assert begins(again, output) == begins(events, output)
        assert len(begins(events, output)) > 3


def test_counters_are_the_integral_of_the_supply_at_window_edges() -> None:
    meter = Meter(E44, ct_primary=5)
    windows = Metrology(E44, 8000).feed(three_phase(230, 2.0, 0.5).read(30 * 8000))
    meter.count(windows)
    seconds = windows.total_ns / 1e9
    assert meter["Ea+"] == pytest.approx(690 * seconds / 3600, abs=3e-6)  # three phases hold back less than 1 µWh each
    assert meter["Er+ind"] == pytest.approx(690 * 3**0.5 * seconds / 3600, rel=1e-5)
    assert meter["Eap"] == pytest.approx(1380 * seconds / 3600, rel=1e-5)


def test_registers_are_at_most_a_quarter_second_behind() -> None:
    meter = Meter(E44)
    supply = three_phase(230, 6.0)
    for k in range(1, 400):
        meter.feed(supply, seconds=0.01)
        behind = k * 0.01 - meter.exact("hours.T1") / 1e9
        assert 0 <= behind <= 0.25


def test_every_symbol_can_be_read() -> None:
    meter = Meter(E43)
    meter.feed(three_phase(230, 1.0), seconds=2)
    for quantity in (*LIVE, *COUNTED, *ROLLS):
        assert (meter[quantity.symbol] is None) == (quantity.kind.value == "demand"), quantity
    for symbol in SETTINGS:
        assert meter[symbol] == SETTINGS[symbol].default
    assert len(QUANTITIES) == len(LIVE) + len(COUNTED) + len(ROLLS)
    with pytest.raises(UnknownSymbol, match=r"did you mean .*Ea\+"):
        _ = meter["Ea*"]
    with pytest.raises(UnknownSymbol):
        meter.exact("P")


@pytest.mark.parametrize(
    ("samples", "wrong"),
    [
        (np.full((10, 6), np.nan), "sample 0 is not a number"),
        (np.array([[0.0] * 6, [0.0] * 6, [0, np.nan, 0, 0, 0, 0]]), "sample 2 is not a number"),
        (np.array([[0.0] * 6, [0, 0, 0, 0, 0, np.nan]]), "sample 1 is not a number"),
        (np.array([[0.0] * 6, [0, 0, np.inf, 0, 0, 0]]), "sample 1 is not a number"),
        (np.zeros((10, 5)), "shape"),
        (np.zeros(60), "shape"),
    ],
)
def test_samples_that_cannot_be_are_refused_whole(samples: np.ndarray, wrong: str) -> None:
    meter = Meter(E44)
    with pytest.raises(SupplyError, match=wrong):
        meter.feed(samples)
    assert meter.now == 0


@pytest.mark.parametrize("rate", [799, 50_001, 0, -8000, float("nan")])
def test_rates_out_of_range(rate: float) -> None:
    with pytest.raises(SettingError, match=r"allowed: 800\.\.50000"):
        Meter(E44, rate=rate)


def test_a_source_of_another_rate_or_without_an_end() -> None:
    with pytest.raises(SupplyError, match="allowed: 8000"):
        Meter(E44).feed(three_phase(rate=3200), seconds=1)
    with pytest.raises(SupplyError, match="seconds"):
        Meter(E44).feed(three_phase())


def test_integer_and_float32_samples_are_taken() -> None:
    samples = three_phase(230, 5.0).read(16000)
    exact, single = Meter(E44), Meter(E44)
    exact.feed(samples)
    single.feed(samples.astype(np.float32))
    assert single["P"] == pytest.approx(exact["P"], rel=1e-6)


# commands


REFUSED: list[tuple[dict[str, int | str], Command, Reason]] = [
    ({}, SetSetting("ct_primary", 0), Reason.VALUE),
    ({}, SetSetting("ct_primary", 12001), Reason.VALUE),
    ({}, SetSetting("ct_secondary", 2), Reason.VALUE),
    ({}, SetSetting("address", 248), Reason.VALUE),
    ({}, SetSetting("address", "5"), Reason.VALUE),
    ({}, SetSetting("baud", 38401), Reason.VALUE),
    ({}, SetSetting("demand_period", 61), Reason.VALUE),
    ({}, SetSetting("serial_number", "x" * 17), Reason.VALUE),
    ({}, SelectTariff(2), Reason.STATE),
    ({"tariff_control": "com"}, SelectTariff(5), Reason.VALUE),
    ({"tariff_control": "com"}, SelectTariff(0), Reason.VALUE),
    ({"sealed": 1}, SetSetting("ct_primary", 100), Reason.SEALED),
    ({"sealed": 1}, SetSetting("ct_secondary", 1), Reason.SEALED),
    ({"sealed": 1}, SetSetting("tariff_control", "com"), Reason.SEALED),
    ({}, SetClock(-1), Reason.VALUE),
    ({}, SetClock(2**32), Reason.VALUE),
]


@pytest.mark.parametrize(("settings", "command", "reason"), REFUSED)
def test_refusals_change_nothing(settings: dict[str, Any], command: Command, reason: Reason) -> None:
    meter = Meter(E44, **settings)
    before = meter.save()
    refusal = meter.apply([SetSetting("address", 9), command, StopPartial("par.Ea+")])
    assert refusal is not None
    assert refusal.reason is reason
    assert "allowed" in str(refusal.error)
    assert meter.save() == before


def test_commands_together_are_done_together() -> None:
    meter = Meter(E44, tariff_control="com")
    assert meter.apply([SetSetting("ct_primary", 400), SelectTariff(2), StopPartial("par.Ea+"), SetClock(10**9)]) is None
    assert (meter.state.ct, meter["tariff"], meter.state.runs("par.Ea+"), meter.clock) == ((400, 5), 2, False, 10**9)
    assert meter.apply([StartPartial("par.Ea+")]) is None
    assert meter.state.runs("par.Ea+")
    assert meter.apply([]) is None


def test_no_command_resets_a_total() -> None:
    with pytest.raises(UnknownSymbol):
        Meter(E43).apply([ResetPartials(("Ea+",))])


def test_the_seal_is_the_e44_s_and_can_be_broken() -> None:
    refusal = Meter(E43).apply([SetSetting("sealed", 1)])
    assert refusal is not None
    assert refusal.reason is Reason.VALUE
    meter = Meter(E44, sealed=1)
    assert meter.apply([SetSetting("address", 12)]) is None  # SETUP 2 is not behind the seal
    assert meter.apply([SetSetting("sealed", 0)]) is None
    assert meter.apply([SetSetting("ct_primary", 100)]) is None


@pytest.mark.parametrize(
    ("settings", "error"), [({"ct_primary": 0}, SettingError), ({"ct": 5}, UnknownSymbol), ({"baud": 1}, SettingError)]
)
def test_bad_settings_at_birth(settings: dict[str, int], error: type[Exception]) -> None:
    with pytest.raises(error):
        Meter(E44, **settings)  # type: ignore[arg-type]


def test_without_a_supply_values_are_not_available_and_the_clock_goes_on() -> None:
    meter = Meter(E44)
    meter.apply([SetClock(1000)])
    meter.feed(three_phase(), seconds=3)
    counted = meter.exact("Ea+")
    meter.advance(10 * 10**9)
    assert meter.clock == 1013
    assert meter["V1"] is None
    assert meter.exact("Ea+") >= counted  # the open window was counted
    assert meter.exact("hours.T1") == pytest.approx(3e9, abs=2e5)
    meter.feed(three_phase(), seconds=3)
    assert meter["V1"] == pytest.approx(230.0)


# the bus, by loopback


def test_reading_and_writing_by_symbol() -> None:
    meter = Meter(E44, ct_primary=200, tariff_control="com")
    meter.feed(three_phase(231.0, 2.5, 0.9), seconds=10)
    with Bus.loopback(meter) as bus:
        values = bus[5].read("V1", "P", "Ea+", "sequence", "id.signature", "ct_primary", "demand.P", "PF")
        assert values == {
            "V1": 231.0, "P": pytest.approx(62370, abs=5), "Ea+": pytest.approx(meter["Ea+"], abs=0.1), "sequence": 123,
            "id.signature": "SOCO", "ct_primary": 200, "demand.P": None, "PF": 0.9,
        }  # fmt: skip
        bus[5].write(ct_primary=400, ct_secondary=1)
        assert meter.state.ct == (400, 1)
        bus[5].select_tariff(4)
        assert bus[5].read("tariff") == {"tariff": 4}
        bus[5].write(address=9)
        assert bus[9].read("address") == {"address": 9}
        with pytest.raises(NoReply):
            bus[5].read("P")


def test_what_the_bus_refuses() -> None:
    meter = Meter(E44, sealed=1)
    bus = Bus.loopback(meter)
    with pytest.raises(Refused, match="exception 1"):
        bus[5].write(ct_primary=100)
    with pytest.raises(SettingError, match=r"1\.\.12000"):
        bus[5].write(ct_primary=0)
    with pytest.raises(SettingError, match="keys of the meter"):
        bus[5].write(baud=9600)
    with pytest.raises(UnknownSymbol, match="did you mean"):
        bus[5].read("V4")
    with pytest.raises(Refused) as refused:
        bus[5].select_tariff(2)
    assert refused.value.code == 1
    assert meter["ct_primary"] == 5


def test_not_available_is_none_and_never_0() -> None:
    values = Bus.loopback(Meter(E44))[5].read("V1", "P", "PF", "f", "sequence", "Ea+")
    assert values == {"V1": None, "P": None, "PF": None, "f": None, "sequence": None, "Ea+": 0.0}


class Liar:
    """A meter that answers something else."""

    def __init__(self, reply: bytes) -> None:
        self.reply = reply

    def rtu(self, frame: bytes) -> bytes:
        return self.reply


@pytest.mark.parametrize(
    "reply", [bytes.fromhex("0503020001"), bytes.fromhex("050302000188451f"), bytes.fromhex("0603020001cd84")]
)
def test_bad_replies_are_told(reply: bytes) -> None:
    with pytest.raises(BadReply):
        Bus.loopback(Liar(reply))[5].read("V1")


def test_the_supply_is_a_source() -> None:
    source = three_phase()
    assert isinstance(source, Supply)
    assert source.read(10).shape == (10, 6)


def test_no_pulse_is_lost_where_a_command_closes_the_open_window() -> None:
    for command in (SetCalibration(Calibration()), SetSetting("wires", 3)):
        meter = Meter(E43)
        events = meter.feed(three_phase(230, 6.0), seconds=3.49)
        meter.apply([command])
        meter.apply([command])
        events += meter.advance(0)
        told = [event.on for event in events if isinstance(event, Pulses) and event.output is Output.PULSE]
        assert sum(map(len, told)) == meter.state.pulses > 3


def test_a_record_that_a_command_closes_is_told() -> None:
    meter = Meter(E44, demand_period=60)
    meter.feed(three_phase(230, 1.0), seconds=2)
    meter.apply([SetClock(5000)])
    assert [event.number for event in meter.advance(0) if isinstance(event, RecordWritten)] == [0]


def test_the_input_decides_the_tariff_whatever_a_list_or_a_cut_has_left() -> None:
    meter = Meter(E44, tariff_control="com")
    assert meter.apply([SetSetting("tariff_control", "dig"), SelectTariff(4)]) is None
    assert meter["tariff"] == 1
    meter = Meter.load(Meter(E44, tariff_control="com").save())
    meter.apply([SelectTariff(3)])
    disk = bytearray(meter.save())
    meter = Meter.load(bytes(disk))
    meter.apply([SetSetting("tariff_control", "dig")])
    (offset, page), *_ = [write for write in meter.writes() if 2 * PAGE <= write[0] < 4 * PAGE]  # the hot page did not land
    disk[offset : offset + PAGE] = page
    again = Meter.load(bytes(disk))
    assert (again["tariff_control"], again["tariff"]) == ("dig", 1)
