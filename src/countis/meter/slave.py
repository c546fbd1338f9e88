"""The Modbus slave: requests become reads of the encoded state row, or commands.

Rule: it never raises on bytes. It answers, answers with an exception code, or is silent. It reads the state
and keeps an encoded copy, so its owner calls it under the lock of the meter: a reply is of one moment.
"""

from __future__ import annotations

import calendar
from typing import Final

import numpy as np

from countis.meter.apply import refusal_of
from countis.meter.energy.load_curve import LoadCurve
from countis.meter.energy.registers import PARTIAL_TARIFF
from countis.meter.memory.image import MemoryPage
from countis.meter.state import State
from countis.modbus import diagnostics, pdu, rtu, words
from countis.modbus.pdu import Code, Malformed, Request
from countis.modbus.table import Functions, Lock, Type
from countis.words.clock import EPOCH
from countis.words.commands import (
    Apply,
    Command,
    FetchLoadCurve,
    Origin,
    Reason,
    ResetPartials,
    RewindLoadCurve,
    SelectTariff,
    SetClock,
    SetSetting,
)
from countis.words.quantities import PARTIALS, TARIFFS
from countis.words.settings import SETTINGS, Value

_CLOCK_PARTS: Final = {
    "clock.day": range(1, 32), "clock.month": range(1, 13), "clock.year": range(2000, 2100),
    "clock.hour": range(24), "clock.minute": range(60), "clock.second": range(60),
}
_TARIFF: Final = "cmd.tariff"
# Registers in which each value is an order of its own; 01 of cmd.reset would be for a maximum of P.
_ORDERS: Final[dict[str, dict[int, tuple[Command, ...]]]] = {
    "cmd.reset": {0x00: (), 0x01: (), 0x20: (ResetPartials(PARTIALS),), 0x21: (ResetPartials(PARTIALS),)},
    "cmd.reset_tariffs": {0xFFFF: (ResetPartials(tuple(s for s, t in PARTIAL_TARIFF.items() if t != "")),)},
    "cmd.curve": {0x0001: (RewindLoadCurve(),), 0xFFFE: (FetchLoadCurve(),)},
    "id.network": {5: ()},
}
# Register -> the bits in it that each reset a partial.
_RESET_BITS: Final = {
    "cmd.reset_partials": {"par.Ea+": 1, "par.Er+": 2, "par.Eap": 4, "par.Ea-": 8, "par.Er-": 16},
    "cmd.reset_tariffs": {s: 1 << TARIFFS.index(t) - 1 for s, t in PARTIAL_TARIFF.items() if t != ""},
}
_RECORD_WORDS: Final = 4
# Any of these lets a function through to a block; function 16 writes where 6 may (assumed).
_NEEDED: Final = {pdu.READ: Functions.READ, pdu.WRITE: Functions.WRITE,
                  pdu.WRITE_MANY: Functions.WRITE | Functions.WRITE_MANY}


def identity(state: State) -> dict[str, Value]:
    """Return the constants of the table by symbol, those of the family and of this meter (decision 41)."""
    major, minor, revision = state.firmware.version
    year, month, day = state.firmware.built
    week, site, run = serial_words(str(state.settings["serial_number"]))
    return {
        **state.model.family.identity,
        "id.software": major * 100 + minor, "id.build_date": (year - 2000) << 40 | month << 32 | day << 24,
        "id.serial_week": week, "id.serial_site": site, "id.serial_run": run,
        "id.product_major": major, "id.product_minor": minor, "id.product_revision": revision,
        "id.base_major": major, "id.base_minor": minor, "id.base_revision": revision, "id.board_major": major,
        "id.extended_name": state.model.extended_name, "id.mid": int(state.model.mid),
        "id.tariffs": 4 if state.settings["tariff_control"] == "com" else 2,
    }


def serial_words(text: str) -> tuple[int, int, int]:
    """Return year/week, site/line and running number of a serial number YYWWSSLLnnnnn, else 0 (assumed)."""
    head, run = text[:8], text[8:]
    if len(head) == 8 and head.isdigit() and run.isdigit() and int(run) <= 0xFFFF:
        return int(head[:4], 16), int(head[4:], 16), int(run)
    return 0, 0, int(text) if text.isdigit() and int(text) <= 0xFFFF else 0


class Slave:
    """The communication board of one meter."""

    def __init__(self, state: State, apply: Apply) -> None:
        self._state, self._apply = state, apply
        self._table = state.model.family.table
        self._encoder = words.encoder(self._table)
        self._image = np.full(self._table.words, words.RESERVED_WORD, np.uint16)
        self._bytes = b""
        self._encoded = (-1, -1)  # changes and setting_changes of the state that the image shows
        self._counts = diagnostics.Counts()
        self._clock: dict[str, int] = {}  # parts written and not yet in force (decision 40)

    def rtu(self, frame: bytes) -> bytes:
        """Answer one RTU frame; b"" is silence: wrong CRC, another address, broadcast, no power."""
        if not self._state.powered or not rtu.is_whole(frame) or len(frame) > rtu.MAX_FRAME:
            return b""
        address, request = frame[0], frame[1:-2]
        if address == rtu.BROADCAST:
            self.broadcast(request)
            return b""
        if address != self._state.settings["address"]:
            return b""
        return rtu.frame(address, self.pdu(request))

    def broadcast(self, request: bytes) -> None:
        """Carry out a broadcast: a write of the tariff, nothing else (decision 19)."""
        try:
            parsed = pdu.parse_request(request)
        except Malformed:
            return
        if parsed.values and self._is_tariff(parsed):
            self._state.saw_frame()
            self._write(parsed)

    def _is_tariff(self, request: Request) -> bool:
        """Tell whether a request writes the one register that takes a broadcast (manual §8.3)."""
        row = self._table.row_at(request.address)
        return row is not None and row.symbol == _TARIFF and request.count == 1

    def pdu(self, request: bytes) -> bytes:
        """Answer one request, always by a well-formed reply; b"" to no bytes at all, and without power."""
        if not request or not self._state.powered:
            return b""
        self._state.saw_frame()
        self._counts.messages += 1
        if self._state.diagnostics and request[0] in (diagnostics.DIAGNOSTICS, diagnostics.ENCAPSULATED):
            reply = diagnostics.answer(request, self._counts, self._objects())
        else:
            reply = self._answer(request)
        if reply[0] & pdu.ERROR != 0:
            self._counts.exceptions += 1
        else:
            self._counts.served += 1
        return reply

    def _objects(self) -> list[str]:
        """Return the objects of device identification."""
        constants = identity(self._state)
        vendor, product = str(constants["id.vendor"]), str(constants["id.product"])
        version = ".".join(map(str, self._state.firmware.version))
        return [vendor, self._state.model.reference, version, "", product, str(constants["id.extended_name"])]

    def _answer(self, request: bytes) -> bytes:
        """Answer a request of the functions that the device has."""
        try:
            parsed = pdu.parse_request(request)
        except Malformed as error:
            return pdu.exception(error.function, error.code)
        place = self._table.locate(parsed.address, parsed.count)
        code = self._refusal(parsed, place)
        if code is None and parsed.values:
            code = self._write(parsed)
        if code is not None or place is None:
            return pdu.exception(parsed.function, code or Code.ADDRESS)
        if parsed.values:
            return request[:5]
        self._encode()
        return bytes((pdu.READ, 2 * parsed.count)) + self._bytes[2 * place : 2 * (place + parsed.count)]

    def _refusal(self, request: Request, place: int | None) -> Code | None:
        """Check address and access in the order of decision 18."""
        if place is None:
            return Code.ADDRESS
        closed = self._state.settings["user_lock"] == 1
        for block in self._table.blocks_at(place, request.count):
            functions = block.locked if block.lock is Lock.USER and closed else block.unlocked
            if not functions & _NEEDED[request.function]:
                return Code.FUNCTION
        return None

    def _encode(self) -> None:
        """Bring the image up to date if anything moved since the last read: many reads cost one encoding."""
        state = self._state
        if self._encoded == (state.changes, state.setting_changes):
            return
        if self._encoded[1] != state.setting_changes:
            self._encoder.encode_fixed({**identity(state), **_numbers(state)}, self._image)
        self._encoder.encode(state.live, state.row, state.ct, self._image)
        if MemoryPage.HOT in state.lost:
            self._encoder.lose_counted(self._image)
        self._encode_curve()
        self._bytes = self._image.astype(">u2").tobytes()
        self._encoded = state.changes, state.setting_changes

    def _encode_curve(self) -> None:
        """Put header and records of the load curve where the table has them, if it has."""
        head = self._table.row_of("curve.count")
        if head is not None:
            at = int(self._table.places[head.address])
            curve = _curve_words(self._state.curve, self._state.ct, self._state.period)
            self._image[at : at + len(curve)] = curve

    def _write(self, request: Request) -> Code | None:
        """Turn words into commands and apply them, all or none; access is refused before a bad value."""
        clock = dict(self._clock)  # its parts are kept only if nothing of the request is refused
        commands: list[Command] = []
        bad: Code | None = None
        for offset, value in enumerate(request.values):
            row = self._table.row_at(request.address + offset)
            symbol = row.symbol if row is not None else ""
            part = _clock_part(clock, symbol, value) if symbol in _CLOCK_PARTS else _commands(symbol, value)
            if isinstance(part, Code):
                bad = bad or part
            else:
                commands += part
        refusal = refusal_of(self._state, commands) if bad is not None else self._apply(commands, Origin.BUS)
        if refusal is not None and refusal.reason is not Reason.VALUE:
            return Code.FUNCTION
        if refusal is not None or bad is not None:
            return Code.VALUE
        self._clock = {} if any(isinstance(c, SetClock) for c in commands) else clock
        return None


def _numbers(state: State) -> dict[str, Value]:
    """Return settings that are numbers; all ones, which is not available, where they are lost."""
    lost = MemoryPage.SETTINGS in state.lost
    return {name: -1 if lost else value for name, value in state.settings.items() if isinstance(value, int)}


def _commands(symbol: str, value: int) -> tuple[Command, ...] | Code:
    """Return the commands that one written word stands for; a code where it stands for none."""
    if symbol in SETTINGS:
        return (SetSetting(symbol, value),)
    if symbol == _TARIFF:
        return (SelectTariff(value),)
    orders, bits = _ORDERS.get(symbol, {}), _RESET_BITS.get(symbol, {})
    if value in orders:
        return orders[value]
    if bits and value < 2 * max(bits.values()):
        return (ResetPartials(tuple(partial for partial, bit in bits.items() if value & bit != 0)),)
    return Code.VALUE if orders or bits else ()  # reserved words of writable blocks take all, without effect


def _clock_part(parts: dict[str, int], symbol: str, value: int) -> tuple[Command, ...] | Code:
    """Keep one part of the clock; the second puts all six in force."""
    if value not in _CLOCK_PARTS[symbol]:
        return Code.VALUE
    parts[symbol] = value
    if symbol != "clock.second":
        return ()
    if parts.keys() != _CLOCK_PARTS.keys():
        return Code.VALUE
    day, month, year, hour, minute, second = (parts[name] for name in _CLOCK_PARTS)
    if day > calendar.monthrange(year, month)[1]:
        return Code.VALUE
    moment = np.datetime64(f"{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}", "s")
    return (SetClock(int((moment - np.datetime64(EPOCH, "s")).astype(np.int64))),)


def _curve_words(curve: LoadCurve, ct: tuple[int, int], period: int) -> list[int]:
    """Return header and records of the load curve; places without a record are reserved words."""
    records = curve.fetched
    out = [len(records), _RECORD_WORDS, records[0].period if records else period, 0, ct[0], ct[1]]
    for record in records:
        last = Type.U16.missing
        mean = min(round(record.mean_mw / 1000), last - 1) if record.mean_mw >= 0 else last
        out += [record.time >> 16 & 0xFFFF, record.time & 0xFFFF, int(record.incomplete), mean]
    return out + [words.RESERVED_WORD] * (_RECORD_WORDS * (LoadCurve.BATCH - len(records)))
