"""What each command does to a meter, and when it is refused.

Rule: keys and Modbus writes end here, so that the LCD and the bus cannot disagree and the seal is checked in
one place. What counts is done by meter.py: it closes the open window before, where a command says so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from countis.meter.energy import load_curve
from countis.meter.energy.load_curve import RecordWritten
from countis.meter.energy.registers import Layout
from countis.meter.state import State, partial_column
from countis.words.clock import SECOND
from countis.words.commands import (
    Command,
    EventKind,
    FetchLoadCurve,
    Note,
    NudgeClock,
    Origin,
    Reason,
    Refusal,
    ResetPartials,
    RewindLoadCurve,
    SelectTariff,
    SetCalibration,
    SetClock,
    SetDiagnostics,
    SetPace,
    SetSetting,
    SetTariffInput,
    StartPartial,
    StopPartial,
)
from countis.words.errors import SettingError
from countis.words.quantities import COUNTED_COLUMN, MICRO, PARTIALS
from countis.words.settings import Value, setting

_T1_BELOW, _T2_FROM = 20.0, 80.0  # V on the tariff input, which between them does not change (decision 34)
_CT: Final = ("ct_primary", "ct_secondary")


def refusal_of(state: State, commands: Sequence[Command]) -> Refusal | None:
    """Tell why commands cannot be carried out together, seal and state before values; None if they can."""
    refusals = [refusal for command in commands if (refusal := _refusal(state, command)) is not None]
    return min(refusals, key=lambda refusal: refusal.reason is Reason.VALUE, default=None)


def _refusal(state: State, command: Command) -> Refusal | None:
    """Tell why a command cannot be carried out now; None if it can."""
    if state.lost and command.needs_memory:
        return Refusal(Reason.STATE, "", "the memory is damaged", "another memory")
    match command:
        case SetSetting():
            return _setting_refusal(state, command)
        case SetCalibration(calibration):
            if state.settings["sealed"] == 1:
                return Refusal(Reason.SEALED, "calibration", "the meter is sealed", "after breaking the seal")
            return _refusal_of_value(calibration.checked)
        case SelectTariff(tariff):
            if state.settings["tariff_control"] != "com":
                return Refusal(Reason.STATE, "tariff", "set by the input", "with tariff_control com")
            if tariff not in range(1, 5):
                return Refusal(Reason.VALUE, "tariff", f"{tariff} is not possible", "1..4")
        case StartPartial(symbol) | StopPartial(symbol):
            partial_column(symbol)
        case ResetPartials(symbols):
            for symbol in symbols:
                partial_column(symbol)
        case SetClock(seconds):
            if not 0 <= seconds < 2**32:
                return Refusal(Reason.VALUE, "clock", f"{seconds} s is not possible", f"0..{2 ** 32 - 1}")
    return None


def _setting_refusal(state: State, command: SetSetting) -> Refusal | None:
    row, model = setting(command.symbol), state.model
    if row.sealed and state.settings["sealed"] == 1:
        return Refusal(Reason.SEALED, str(row.symbol), "the meter is sealed", "after breaking the seal")
    if row.symbol == "sealed" and command.value == 1 and not model.sealable:
        return Refusal(Reason.VALUE, "sealed", f"the {model.name} has no seal", "a model that can be sealed")
    if row.symbol == "wires" and command.value in (3, 4) and command.value not in model.wires:
        allowed = ", ".join(map(str, model.wires))
        wrong = f"the {model.name} does not measure with {command.value}"
        return Refusal(Reason.VALUE, "wires", wrong, allowed)
    return _refusal_of_value(lambda: row.check(command.value))


def _refusal_of_value(check: Callable[[], object]) -> Refusal | None:
    try:
        check()
    except SettingError as error:
        return Refusal(Reason.VALUE, error.where, error.wrong, error.allowed)
    return None


def closes_window(state: State, command: Command) -> bool:
    """Tell whether the samples of before are to be counted before a command is carried out."""
    same = isinstance(command, SetSetting) and state.settings[command.symbol] == command.value
    return command.closes_window and not same


def carry_out(state: State, command: Command, origin: Origin) -> list[RecordWritten]:
    """Do what a checked command says; return the record of the load curve that it cut short, if any."""
    row = state.row
    match command:
        case SetSetting(symbol, value):
            if value != state.settings[symbol]:
                state.note(EventKind.SETTING, symbol, str(state.settings[symbol]), str(value), origin)
                return _set(state, symbol, value)
        case SetCalibration(calibration):
            state.note(EventKind.SETTING, "calibration", origin=origin)
            state.calibration = calibration
            state.setting_changes += 1
        case SelectTariff(tariff):
            _set_tariff(state, tariff, origin)
        case SetTariffInput(volts):
            if volts < _T1_BELOW or volts >= _T2_FROM:
                row[Layout.tariff_input] = 1 if volts < _T1_BELOW else 2
        case StartPartial(symbol):
            row[partial_column(symbol)] = 1
        case StopPartial(symbol):
            row[partial_column(symbol)] = 0
        case ResetPartials(symbols):
            _reset(state, symbols, origin)
        case SetClock(seconds):
            return _set_clock(state, seconds, origin)
        case _:
            _put_down(state, command, origin)
    return []


def _put_down(state: State, command: Command, origin: Origin) -> None:
    """Carry out what changes nothing that is counted."""
    match command:
        case NudgeClock(ns):
            state.row[Layout.clock_zero] += ns
        case RewindLoadCurve():
            state.curve.rewind()
        case FetchLoadCurve():
            state.curve.fetch(int(state.row[Layout.records]))
        case SetPace(pace):
            state.pace = pace
        case SetDiagnostics(on):
            state.diagnostics = on
        case Note(kind, subject, old, new):
            state.note(kind, subject, old, new, origin)


def _reset(state: State, symbols: Sequence[str], origin: Origin) -> None:
    """Set partials to zero; all at once are one entry of the log."""
    whole = set(symbols) == set(PARTIALS)
    if whole:
        state.note(EventKind.RESET, "partials", origin=origin)
    for symbol in symbols:
        if not whole:
            state.note(EventKind.RESET, symbol, str(state.exact(symbol) // MICRO), "0", origin)
        state.row[COUNTED_COLUMN[symbol]] = 0


def _set_tariff(state: State, tariff: int, origin: Origin) -> None:
    before = int(state.row[Layout.tariff])
    if tariff != before:
        state.note(EventKind.TARIFF, "tariff", str(before), str(tariff), origin)
        state.row[Layout.tariff] = tariff


def _set(state: State, symbol: str, value: Value) -> list[RecordWritten]:
    period, ct, ratio = state.period, state.ct, state.ratio
    state.set_setting(symbol, value)
    if symbol in _CT:
        state.scale_currents(state.ratio / ratio)
    if symbol == "ct_primary":  # what the LED has pending stays the same part of a flash
        state.row[Layout.led_pending] = int(state.row[Layout.led_pending]) * state.ct[0] // ct[0]
    cuts = symbol == "demand_period" or symbol in _CT
    return _cut_record(state, period, ct, state.clock) if cuts else []


def follow_input(state: State) -> None:
    """Put the tariff of the input in force, where the input decides."""
    tariff = int(state.row[Layout.tariff_input])
    if state.settings["tariff_control"] == "dig" and state.row[Layout.tariff] != tariff:
        _set_tariff(state, tariff, Origin.METER)
        state.changes += 1


def _set_clock(state: State, seconds: int, origin: Origin) -> list[RecordWritten]:
    zero, before = seconds * SECOND - state.now, state.clock
    moved = abs(zero - int(state.row[Layout.clock_zero])) > SECOND  # less moves no record
    state.note(EventKind.CLOCK, "clock", str(before), str(seconds), origin)
    state.row[Layout.clock_zero] = zero
    return _cut_record(state, state.period, state.ct, before) if moved else []


def _cut_record(state: State, period: int, ct: tuple[int, int], clock: int) -> list[RecordWritten]:
    """Close the running record as incomplete, with the period, CTs and clock that were in force until now."""
    following = load_curve.clock_ns(state.row) // (state.period * SECOND)
    record = load_curve.close(state.row, period, ct, following, cut=clock)
    return state.keep([] if record is None else [record])
