"""The panel: gestures, setups, digits, flashing, light, seal; all on line time given as an argument."""

from __future__ import annotations

import pytest
from countis import E43, E44, Key, Meter, SetSetting
from countis.meter.panel import digits, texts
from countis.meter.panel.frame import DISPLAY_TEST, FULL, GLYPHS, ZONES, LcdFrame, places
from countis.meter.panel.keys import GESTURES
from countis.meter.panel.machine import Panel, Press, Release, Tick, step
from countis.models import Firmware
from countis.supply import three_phase
from countis.words.clock import SECOND
from countis.words.menu import Form, Setup

KWH = 10**9  # µWh


def fed(meter: Meter, seconds: float = 3, **supply: object) -> Meter:
    meter.feed(three_phase(**{"v": 230, "i": 1, **supply}), seconds=seconds)  # type: ignore[arg-type]
    return meter


# digits


@pytest.mark.manual("13")
@pytest.mark.parametrize(
    ("micro", "ratio", "shown"),
    [
        (0, 1, ("00000.000", "k")),
        (1_234_567 * 1000, 4, ("00001.234", "k")),
        (100_000 * KWH - 1, 1, ("99999.999", "k")),
        (100_000 * KWH, 1, ("100000.00", "k")),
        (6_220_000_000, 5, ("000006.22", "k")),
        (1_000_000 * KWH - 1, 40, ("999999.99", "k")),
        (1_000_000 * KWH, 40, ("1000000.0", "k")),
        (10_000_000 * KWH, 40, ("10000000", "k")),
        (100_000_000 * KWH - 1, 40, ("99999999", "k")),
        (100_000_000 * KWH, 40, ("100000.00", "M")),
        (10**9 * KWH - 1, 2400, ("999999.99", "M")),
        (10**9 * KWH, 2400, ("000000.00", "k")),
        (-6_220_000_000, 40, ("000006.22", "k")),
    ],
)
def test_the_ladder_of_energies(micro: int, ratio: int, shown: tuple[str, str]) -> None:
    assert digits.energy(micro, ratio) == shown


@pytest.mark.manual("13")
@pytest.mark.parametrize(
    ("value", "form", "shown"),
    [
        (0.0, "power W", ("0.000", "kW")),
        (9999.4, "power W", ("9.999", "kW")),
        (9999.5, "power W", ("10.00", "kW")),
        (-62_100.0, "power W", ("62.10", "kW")),
        (999_940.0, "power var", ("999.9", "kvar")),
        (999_960.0, "power VA", ("1.000", "MVA")),
        (99_994_000.0, "power W", ("99.99", "MW")),
        (99_996_000.0, "power W", ("----", "kW")),
        (75.7, "voltage", ("075.7", "V")),
        (999.9, "voltage", ("999.9", "V")),
        (0.0, "current", ("0.000", "A")),
        (69.67, "current", ("69.67", "A")),
        (12_000.0, "current", ("12.00", "kA")),
        (-0.8, "factor", ("0.800", "PF")),
        (50.004, "frequency", ("50.00", "Hz")),
        (None, "frequency", ("----", "Hz")),
    ],
)
def test_the_ladders_of_instantaneous_values(value: float | None, form: str, shown: tuple[str, str]) -> None:
    assert digits.instantaneous(value, Form(form)) == shown


# frames


def test_every_character_that_is_shown_has_a_glyph_of_its_own() -> None:
    menus = E44.family.menus
    written = [m.name for m in menus] + [p.code for m in menus for p in m.pages] + list(texts.LEAVING)
    written += [w for row in texts.WRITTEN.values() for w in row.values()] + [texts.CONFIRM, texts.PORT, texts.LEAVING_CODE]
    written += [Setup.ONE.value, texts.RESET_CODE, "0123456789AbCdEF-", "Addr", "bAud", "Prty", "StoP", "tAr", "CtP", "FSA"]
    assert {c for text in written for c, _ in places(text)} <= GLYPHS.keys()
    shapes = [frozenset(shape) for shape in GLYPHS.values()]
    assert len(set(shapes)) == len(shapes)
    assert all(set(shape) <= set(FULL) for shape in GLYPHS.values())


def test_points_belong_to_the_character_before_them() -> None:
    assert places("0.1.0") == [("0", True), ("1", True), ("0", False)]
    assert places(".5") == [(" ", True), ("5", False)]


def test_the_display_test_lights_everything() -> None:
    lit = DISPLAY_TEST.segments
    assert len(lit) == len(set(lit))
    for zone, width in ZONES.items():
        assert {f"{zone}.{k}.{s}" for k in range(width) for s in (*FULL, "point")} <= set(lit)
    assert LcdFrame().segments == []
    assert LcdFrame().text == ""


def test_digits_stand_at_the_right_and_flash_by_place() -> None:
    frame = LcdFrame(digits="005", flashing=frozenset({"digits.6"}))
    assert {name.split(".")[1] for name in frame.segments} == {"5", "6", "7"}
    assert set(frame.flashes) == {f"digits.6.{s}" for s in GLYPHS["0"]}


# gestures


@pytest.mark.manual("9.1")
def test_a_gesture_acts_on_release_and_a_hold_when_its_time_has_come() -> None:
    meter = Meter(E44)
    panel, _ = step(Panel(menu=8), Press(Key.ENTER), meter.state, 0)
    assert panel.menu == 8
    early, _ = step(panel, Tick(), meter.state, 3 * SECOND - 1)
    assert early.setup is None
    opened, _ = step(panel, Tick(), meter.state, 3 * SECOND)
    assert opened.setup is not None
    released, _ = step(opened, Release(Key.ENTER), meter.state, 4 * SECOND)
    assert released.setup == opened.setup
    short, _ = step(early, Release(Key.ENTER), meter.state, 3 * SECOND - 1)
    assert short.menu == 0
    late, _ = step(panel, Release(Key.ENTER), meter.state, 5 * SECOND)  # nobody ticked in between
    assert late.setup == opened.setup


def test_keys_held_together_act_once_when_the_first_goes_up() -> None:
    meter = Meter(E44)
    panel = Panel(menu=5)
    for at, event in enumerate((Press(Key.UP), Press(Key.ENTER))):
        panel, commands = step(panel, event, meter.state, at)
        assert not commands
    panel, commands = step(panel, Release(Key.UP), meter.state, SECOND)
    assert len(commands) == 1
    panel, commands = step(panel, Press(Key.UP), meter.state, SECOND + 1)  # ENTER is still down
    assert not commands
    for key in (Key.UP, Key.ENTER):
        panel, commands = step(panel, Release(key), meter.state, 2 * SECOND)
        assert not commands
    assert (panel.menu, panel.page, panel.down, panel.spent) == (5, 0, Key(0), False)


def test_a_key_that_is_down_already_is_no_new_press_and_one_that_is_up_no_release() -> None:
    meter = Meter(E44)
    panel, _ = step(Panel(), Press(Key.UP), meter.state, 0)
    again, _ = step(panel, Press(Key.UP), meter.state, SECOND)
    assert again.since == 0
    assert step(again, Release(Key.SET), meter.state, SECOND)[0].down == Key.UP


def test_all_three_keys_mean_nothing() -> None:
    meter = fed(Meter(E44))
    meter.hold(Key.SET | Key.UP | Key.ENTER, 12)
    assert meter.lcd.startswith("Tar.1 | Σ → Ea")


@pytest.mark.manual("9.1")
def test_the_display_test_comes_at_ten_seconds_and_is_nothing_else() -> None:
    meter = fed(Meter(E44), seconds=60)
    meter.press(Key.ENTER, 5)
    before = meter.exact("par.Ea+.T1")
    meter.hold(Key.UP | Key.ENTER, 10)
    assert meter.lcd.startswith("8.8.8.8.8.8.8. | ")
    assert meter.exact("par.Ea+.T1") == before
    assert meter.state.runs("par.Ea+.T1")
    meter.advance(4 * SECOND)
    assert meter.lcd.startswith("Par.b | Σ → Ea par T1")
    meter.hold(Key.UP | Key.ENTER, 15)
    assert meter.lcd.startswith("Par.b | Σ → Ea par T1")  # its three seconds were over when the keys went up


def test_the_display_test_stays_while_its_keys_are_held() -> None:
    meter, panel = Meter(E44), Panel()
    for at in range(200):
        for event in (Press(Key.UP), Press(Key.ENTER)) if at == 0 else (Tick(),):
            panel, _ = step(panel, event, meter.state, at * SECOND // 10)
        assert panel.tests(at * SECOND // 10) == (at >= 100)


def test_a_loss_of_power_that_nobody_saw_leads_back_to_the_first_page() -> None:
    meter = fed(Meter(E44))
    meter.press(Key.ENTER, 6)
    fed(meter, v=(0, 230, 230))
    fed(meter, seconds=5)
    assert meter.lcd.startswith("Tar.1 |")


def test_a_balance_that_shows_nothing_has_no_sign() -> None:
    meter = fed(Meter(E44, ct_primary=200), i=0.01, export=True, seconds=4)
    meter.press(Key.ENTER, 5)
    meter.press(Key.UP, 13)
    assert "-" not in meter.lcd
    assert meter["net.Ea"] < 0  # type: ignore[operator]
    fed(meter, i=5, export=True, seconds=10)
    assert meter.lcd.startswith("Par.b | Σ Ea bal | -000000.")


@pytest.mark.manual("9.1")
def test_no_two_gestures_are_the_same_keys_at_the_same_place() -> None:
    met = [(g.keys, g.hold, where) for g in GESTURES for where in g.where]
    assert len(set(met)) == len(met)


@pytest.mark.manual("13")
def test_the_backlight_burns_ten_seconds_after_a_key() -> None:
    meter = fed(Meter(E44))
    assert not meter.front.frame(0).light
    meter.front.event(Press(Key.UP), SECOND)
    meter.front.event(Release(Key.UP), SECOND)
    assert meter.front.frame(11 * SECOND - 1).light
    assert not meter.front.frame(11 * SECOND).light


@pytest.mark.manual("13")
def test_values_move_once_a_second_and_keys_at_once() -> None:
    meter = fed(Meter(E44, ct_primary=12000), seconds=10)
    first = meter.front.frame(5 * SECOND).text
    fed(meter, seconds=1)
    assert meter.front.frame(6 * SECOND - 1).text == first
    assert meter.front.frame(6 * SECOND).text != first
    meter.front.event(Press(Key.UP), 6 * SECOND)
    meter.front.event(Release(Key.UP), 6 * SECOND + 1)
    assert " ← " in meter.front.frame(6 * SECOND + 2).text


def test_what_flashes_is_seen_half_of_the_time() -> None:
    meter = fed(Meter(E44), v=(230, 0, 230))
    seen = [meter.front.frame(k * SECOND // 10).phase for k in range(10)]
    assert seen == [True] * 5 + [False] * 5
    assert "!" in meter.front.frame(0).flashing


# setups


@pytest.mark.manual("9.1.1")
def test_setup_1_changes_the_cts_and_the_tariff_control_with_y_alone() -> None:
    meter = Meter(E44)
    meter.hold(Key.SET, 3)
    assert meter.lcd == "SEtuP.1 | FSA | 5 A"
    meter.press(Key.UP)
    meter.press(Key.ENTER)
    assert meter.lcd == "SEtuP.1 | CtP | 00005 A"
    for turns in (1, 2, 0, 0, 5):
        meter.press(Key.UP, turns)
        meter.press(Key.ENTER)
    assert meter.lcd == "SEtuP.1 | tAr | diG"
    meter.press(Key.UP)
    assert meter.lcd == "SEtuP.1 | tAr | COM"
    meter.press(Key.ENTER)
    meter.hold(Key.ENTER, 3)
    assert (meter["ct_primary"], meter["ct_secondary"], meter["tariff_control"]) == (5, 5, "dig")
    meter.press(Key.ENTER)
    assert (meter["ct_primary"], meter["ct_secondary"], meter["tariff_control"]) == (12000, 1, "com")
    assert meter.lcd.startswith("Tar.1")


@pytest.mark.manual("9.1.1")
def test_n_leaves_everything_as_it_was_and_c_goes_on_with_what_was_edited() -> None:
    meter = Meter(E44)
    meter.hold(Key.SET, 3)
    meter.press(Key.UP)
    meter.press(Key.ENTER)
    meter.hold(Key.ENTER, 3)
    meter.press(Key.UP, 2)
    assert meter.lcd == "SEtuP.1 | EXit | C"
    meter.press(Key.ENTER)
    assert meter.lcd == "SEtuP.1 | FSA | 1 A"
    meter.hold(Key.ENTER, 3)
    meter.press(Key.UP)
    assert meter.lcd == "SEtuP.1 | EXit | N"
    meter.press(Key.ENTER)
    assert meter["ct_secondary"] == 5
    meter.hold(Key.SET, 3)
    assert meter.lcd == "SEtuP.1 | FSA | 5 A"


@pytest.mark.manual("9.1.3")
@pytest.mark.parametrize("address", ["000", "248", "999"])
def test_an_address_out_of_range_cannot_be_confirmed(address: str) -> None:
    meter = Meter(E44)
    meter.press(Key.ENTER, 8)
    meter.hold(Key.ENTER, 3)
    for was, wanted in zip("005", address, strict=True):
        meter.press(Key.UP, (int(wanted) - int(was)) % 10)
        meter.press(Key.ENTER)
    assert meter.lcd == f"SEtuP.2 | Addr | {address}"
    meter.hold(Key.ENTER, 3)
    meter.press(Key.ENTER)
    assert meter["address"] == 5


@pytest.mark.manual("7")
def test_the_seal_keeps_setup_1_shut_and_throws_out_who_is_in_it() -> None:
    meter = Meter(E44)
    meter.hold(Key.SET, 3)
    meter.apply([SetSetting("sealed", 1)])
    assert meter.lcd.startswith("Tar.1")
    meter.hold(Key.SET, 3)
    assert meter.lcd.startswith("Tar.1")
    meter.press(Key.ENTER, 8)
    meter.hold(Key.ENTER, 3)
    assert meter.lcd == "SEtuP.2 | Addr | 005"
    meter.hold(Key.SET, 3)
    assert meter.lcd == "SEtuP.2 | Addr | 005"


def test_set_goes_from_setup_2_to_setup_1_and_drops_the_edits() -> None:
    meter = Meter(E43)
    meter.press(Key.ENTER, 8)
    meter.hold(Key.ENTER, 3)
    meter.press(Key.UP)
    meter.hold(Key.SET, 3)
    assert meter.lcd == "SEtuP.1 | FSA | 5 A"
    meter.hold(Key.ENTER, 3)
    meter.press(Key.ENTER)
    assert meter["address"] == 5


# states


def test_a_viewer_that_goes_lets_go_of_its_keys() -> None:
    meter = Meter(E44)
    meter.front.event(Press(Key.SET), 0)
    meter.front.event(Press(Key.UP), 0)
    meter.front.let_go(Key.SET | Key.UP, SECOND)
    assert meter.front.panel.down == Key(0)


@pytest.mark.manual("4.4")
def test_the_pulse_sign_is_lit_for_a_second_after_a_pulse() -> None:
    meter = Meter(E44)
    assert " pulse" not in meter.lcd
    fed(meter, seconds=11, i=0.5)  # 345 W: a pulse of 1 Wh each 10.4 s
    assert meter.state.pulses == 1
    assert meter.lcd.endswith(" pulse")
    fed(meter, seconds=1, i=0.5)
    assert not meter.lcd.endswith(" pulse")


def test_the_sign_of_communication_counts_from_the_frame() -> None:
    meter = fed(Meter(E44))
    meter.pdu(bytes.fromhex("03C5580002"))
    assert meter.lcd.endswith(" com")
    meter.pdu(bytes.fromhex("03C5580002"))
    fed(meter, seconds=2)
    assert not meter.lcd.endswith(" com")


@pytest.mark.manual("11.3")
def test_a_checksum_that_is_not_the_recorded_one_is_a_malfunction() -> None:
    assert Meter(E44, firmware=Firmware(malfunction=True)).lcd.endswith(" fault")
    assert "fault" not in Meter(E44).lcd
