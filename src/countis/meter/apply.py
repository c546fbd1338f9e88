"""What each command does to a meter, and when it is refused.

Rule: keys and Modbus writes end here, so that the LCD and the bus cannot disagree and the seal is checked in one place.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from countis.meter.energy import load_curve
from countis.meter.energy.load_curve import SECOND
from countis.meter.energy.registers import Layout
from countis.meter.memory.event_log import Kind, Whence
from countis.words.commands import (
    Command,
    FetchLoadCurve,
    Reason,
    Refusal,
    ResetPartials,
    RewindLoadCurve,
    SelectTariff,
    SetCalibration,
    SetClock,
    SetSetting,
    StartPartial,
    StopPartial,
)
from countis.words.errors import SettingError, UnknownSymbol
from countis.words.quantities import COUNTED_COLUMN, MICRO, PARTIALS
from countis.words.settings import Value, setting

if TYPE_CHECKING:
    from countis.meter.meter import Meter


def check(meter: Meter, command: Command) -> Refusal | None:
    """Tell why a command cannot be carried out now; None if it can."""
    if meter.store.lost:
        return Refusal(Reason.STATE, "the memory is damaged (allowed: another memory)")
    match command:
        case SetSetting(symbol, value):
            row = setting(symbol)
            if row.sealed and meter.settings["sealed"] == 1:
                return Refusal(Reason.SEALED, f"{symbol}: the meter is sealed (allowed: after breaking the seal)")
            if symbol == "sealed" and value == 1 and not meter.model.mid:
                return Refusal(Reason.VALUE, f"sealed: the {meter.model.name} has no seal (allowed: E44)")
            if symbol == "wires" and value == 3 and meter.model.mid:
                return Refusal(Reason.VALUE, f"wires: the {meter.model.name} measures four (allowed: 4, or an E43)")
            try:
                row.check(value)
            except SettingError as error:
                return Refusal(Reason.VALUE, str(error))
        case SetCalibration(calibration):
            if meter.settings["sealed"] == 1:
                return Refusal(Reason.SEALED, "calibration: the meter is sealed (allowed: after breaking the seal)")
            try:
                calibration.checked()
            except SettingError as error:
                return Refusal(Reason.VALUE, str(error))
        case SelectTariff(tariff):
            if meter.settings["tariff_control"] != "com":
                return Refusal(Reason.STATE, "tariff: set by the input (allowed: with tariff_control com)")
            if tariff not in range(1, 5):
                return Refusal(Reason.VALUE, f"tariff: {tariff} is not possible (allowed: 1..4)")
        case StartPartial(symbol) | StopPartial(symbol):
            partial_number(symbol)
        case ResetPartials(symbols):
            for symbol in symbols:
                partial_number(symbol)
        case SetClock(seconds):
            if not 0 <= seconds < 2**32:
                return Refusal(Reason.VALUE, f"clock: {seconds} s is not possible (allowed: 0..{2**32 - 1})")
    return None


def carry_out(meter: Meter, command: Command, whence: Whence) -> None:
    """Do what a checked command says."""
    row = meter.row
    match command:
        case SetSetting(symbol, value):
            if value != meter.settings[symbol]:
                meter.store.note(Kind.SETTING, symbol, str(meter.settings[symbol]), str(value), whence)
                _set(meter, symbol, value)
        case SetCalibration(calibration):
            meter.store.note(Kind.SETTING, "calibration", whence=whence)
            meter.calibration = calibration
            meter.setting_changes += 1
            meter.owed = meter.set_rate(meter.rate)  # the open window is counted as it was measured
        case SelectTariff(tariff):
            _set_tariff(meter, tariff, whence)
        case StartPartial(symbol):
            row[Layout.running.start + partial_number(symbol)] = 1
        case StopPartial(symbol):
            row[Layout.running.start + partial_number(symbol)] = 0
        case ResetPartials(symbols):
            _reset(meter, symbols, whence)
        case SetClock(seconds):
            _set_clock(meter, seconds, whence)
        case RewindLoadCurve():
            meter.curve.rewind()
        case FetchLoadCurve():
            meter.curve.fetch(int(row[Layout.records]))


def _reset(meter: Meter, symbols: Sequence[str], whence: Whence) -> None:
    """Set partials to zero; all at once are one entry of the log."""
    if set(symbols) == set(PARTIALS):
        meter.store.note(Kind.RESET, "partials", whence=whence)
    for symbol in symbols:
        if set(symbols) != set(PARTIALS):
            meter.store.note(Kind.RESET, symbol, str(meter.exact(symbol) // MICRO), "0", whence)
        meter.row[COUNTED_COLUMN[symbol]] = 0


def _set_tariff(meter: Meter, tariff: int, whence: Whence) -> None:
    before = int(meter.row[Layout.tariff])
    if tariff != before:
        meter.store.note(Kind.TARIFF, "tariff", str(before), str(tariff), whence)
        meter.row[Layout.tariff] = tariff


def _set(meter: Meter, symbol: str, value: Value) -> None:
    before, ct, ratio = meter.period, meter.ct, meter.ratio
    meter.settings[symbol] = value
    meter.setting_changes += 1
    if symbol in ("demand_period", "ct_primary", "ct_secondary"):
        _cut_record(meter, before, ct, meter.clock)
    if symbol in ("ct_primary", "ct_secondary"):
        meter.scale_currents(meter.ratio / ratio)
    if symbol == "ct_primary":  # what the LED has pending stays the same part of a flash
        meter.row[Layout.led_pending] = int(meter.row[Layout.led_pending]) * meter.ct[0] // ct[0]
    elif symbol == "tariff_control":
        follow_input(meter)
    elif symbol == "wires":
        meter.owed = meter.set_rate(meter.rate)  # the open window is counted as it was wired


def follow_input(meter: Meter) -> None:
    """Put the tariff of the input in force, where the input decides."""
    if meter.settings["tariff_control"] == "dig" and meter.row[Layout.tariff] != meter.row[Layout.tariff_input]:
        _set_tariff(meter, int(meter.row[Layout.tariff_input]), Whence.METER)
        meter.changes += 1


def _set_clock(meter: Meter, seconds: int, whence: Whence) -> None:
    zero = seconds * SECOND - meter.now
    moved = abs(zero - int(meter.row[Layout.clock_zero])) > SECOND  # less moves no record
    before = meter.clock
    meter.store.note(Kind.CLOCK, "clock", str(before), str(seconds), whence)
    meter.row[Layout.clock_zero] = zero
    if moved:
        _cut_record(meter, meter.period, meter.ct, before)


def _cut_record(meter: Meter, period: int, ct: tuple[int, int], clock: int) -> None:
    """Close the running record as incomplete, with the period, CTs and clock that were in force until now."""
    following = load_curve.clock_ns(meter.row) // (meter.period * SECOND)
    record = load_curve.close(meter.row, period, ct, following, cut=clock)
    meter.owed += meter.keep([] if record is None else [record])


def partial_number(symbol: str) -> int:
    """Return the place of a partial; UnknownSymbol if there is none of that name."""
    if symbol not in PARTIALS:
        raise UnknownSymbol(symbol, PARTIALS)
    return PARTIALS.index(symbol)
