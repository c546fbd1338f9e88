"""The Modbus slave: requests become reads of the encoded state row, or commands.

Rule: it never raises on bytes. It answers, answers with an exception code, or is silent.
"""

from __future__ import annotations

import calendar
from typing import Final

import numpy as np

from countis.meter.apply import refusal_of
from countis.meter.energy.load_curve import LoadCurve
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
from countis.words.quantities import PARTIALS
from countis.words.settings import SETTINGS, Value

_CLOCK_PARTS: Final = {"clock.day": range(1, 32), "clock.month": range(1, 13), "clock.year": range(2000, 2100),
                       "clock.hour": range(24), "clock.minute": range(60), "clock.second": range(60)}  # fmt: skip
_TARIFF: Final = "cmd.tariff"
_TOTAL_BITS: Final = {0x01: "par.Ea+", 0x02: "par.Er+", 0x04: "par.Eap", 0x08: "par.Ea-", 0x10: "par.Er-"}
_RECORD_WORDS: Final = 4
# What each function of a request needs of its blocks, any of these; function 16 writes what 6 may (assumed).
_NEEDED: Final = {
    pdu.READ: Functions.READ,
    pdu.WRITE: Functions.WRITE,
    pdu.WRITE_MANY: Functions.WRITE | Functions.WRITE_MANY,
}


def identity(state: State) -> dict[str, Value]:
    """Return the constants of the table by symbol (decision 41): those of the family, and what is this meter's own."""
    major, minor, revision = state.firmware.version
    year, month, day = state.firmware.built
    week, site, run = serial_words(str(state.settings["serial_number"]))
    return {
        **state.model.family.identity,
        "id.software": major * 100 + minor, "id.serial_week": week, "id.serial_site": site, "id.serial_run": run,
        "id.product_major": major, "id.product_minor": minor, "id.product_revision": revision,
        "id.build_date": (year - 2000) << 40 | month << 32 | day << 24, "id.base_major": major, "id.base_minor": minor,
        "id.base_revision": revision, "id.board_major": major, "id.extended_name": state.model.extended_name,
        "id.mid": int(state.model.mid), "id.tariffs": 4 if state.settings["tariff_control"] == "com" else 2,
    }  # fmt: skip


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
        self._seen = (-1, -1)
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
        """Tell whether a request writes the one register that takes a broadcast (manual §8.3), and nothing else."""
        row = self._table.row_at(request.address)
        return row is not None and row.symbol == _TARIFF and request.count == 1

    def pdu(self, request: bytes) -> bytes:
        """Answer one request; always a well-formed reply, but b"" to no bytes at all, and without power."""
        if not request or not self._state.powered:
            return b""
        self._state.saw_frame()
        self._counts.messages += 1
        if self._state.diagnostics and request[0] in (diagnostics.DIAGNOSTICS, diagnostics.ENCAPSULATED):
            reply = diagnostics.answer(request, self._counts, self._objects())
        else:
            reply = self._answer(request)
        if reply[0] & pdu.ERROR:
            self._counts.exceptions += 1
        else:
            self._counts.served += 1
        return reply

    def _objects(self) -> list[str]:
        """Return the objects of device identification."""
        named = identity(self._state)
        version = ".".join(map(str, self._state.firmware.version))
        return [str(named["id.vendor"]), self._state.model.reference, version, "", str(named["id.product"]),
                str(named["id.extended_name"])]  # fmt: skip

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
        return bytes((pdu.READ, 2 * parsed.count)) + self._read(place, parsed.count)

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

    def _read(self, place: int, count: int) -> bytes:
        self._encode()
        return self._bytes[2 * place : 2 * (place + count)]

    def _encode(self) -> None:
        """Bring the image up to date, if anything moved since the last read."""
        state = self._state
        seen = (state.changes, state.setting_changes)
        if seen == self._seen:
            return
        if seen[1] != self._seen[1]:
            self._encoder.encode_fixed({**identity(state), **_numbers(state)}, self._image)
        ct = state.ct
        self._encoder.encode(state.live, state.row, ct, self._image)
        if MemoryPage.HOT in state.lost:
            self._encoder.lose_counted(self._image)
        self._encode_curve()
        self._bytes = self._image.astype(">u2").tobytes()
        self._seen = seen

    def _encode_curve(self) -> None:
        """Put header and records of the load curve where the table has them, if it has."""
        head = self._table.row_of("curve.count")
        if head is not None:
            at = int(self._table.places[head.address])
            curve = _curve_words(self._state.curve, self._state.ct, self._state.period)
            self._image[at : at + len(curve)] = curve

    def _write(self, request: Request) -> Code | None:
        """Turn words into commands and apply them, all or none."""
        clock = dict(self._clock)
        commands: list[Command] = []
        bad: Code | None = None
        for offset, value in enumerate(request.values):
            row = self._table.row_at(request.address + offset)
            symbol = row.symbol if row is not None else ""
            made = _clock_part(clock, symbol, value) if symbol in _CLOCK_PARTS else _command(symbol, value)
            if isinstance(made, Code):
                bad = bad or made
            else:
                commands += made
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
    return {symbol: -1 if lost else value for symbol, value in state.settings.items() if isinstance(value, int)}


def _command(symbol: str, value: int) -> list[Command] | Code:
    """Return the commands one written word stands for; a code where it cannot be."""
    if symbol in SETTINGS:
        return [SetSetting(symbol, value)]
    if symbol == _TARIFF:
        return [SelectTariff(value)]
    if symbol == "cmd.reset":
        return Code.VALUE if value & ~0x21 else [ResetPartials(PARTIALS)] if value & 0x20 else []
    if symbol == "cmd.reset_partials":
        chosen = tuple(s for bit, s in _TOTAL_BITS.items() if value & bit)
        return Code.VALUE if value & ~0x1F else [ResetPartials(chosen)]
    if symbol == "cmd.reset_tariffs":
        bits = 0xF if value == 0xFFFF else value
        chosen = tuple(s for s in PARTIALS if s[-2] == "T" and bits >> int(s[-1]) - 1 & 1)
        return Code.VALUE if bits & ~0xF else [ResetPartials(chosen)]
    if symbol == "cmd.curve":
        return [RewindLoadCurve()] if value == 0x0001 else [FetchLoadCurve()] if value == 0xFFFE else Code.VALUE
    if symbol == "id.network":
        return [] if value == 5 else Code.VALUE
    return []  # reserved words of writable blocks take writes without effect


def _clock_part(parts: dict[str, int], symbol: str, value: int) -> list[Command] | Code:
    """Keep one part of the clock; the second puts all six in force."""
    if value not in _CLOCK_PARTS[symbol]:
        return Code.VALUE
    parts[symbol] = value
    if symbol != "clock.second":
        return []
    if parts.keys() != _CLOCK_PARTS.keys():
        return Code.VALUE
    day, month, year, hour, minute, second = (parts[name] for name in _CLOCK_PARTS)
    if day > calendar.monthrange(year, month)[1]:
        return Code.VALUE
    moment = np.datetime64(f"{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}", "s")
    return [SetClock(int((moment - np.datetime64(EPOCH, "s")).astype(np.int64)))]


def _curve_words(curve: LoadCurve, ct: tuple[int, int], period: int) -> list[int]:
    """Return header and records of the load curve; places without a record are reserved words."""
    records = curve.fetched
    out = [len(records), _RECORD_WORDS, records[0].period if records else period, 0, ct[0], ct[1]]
    for record in records:
        last = Type.U16.missing
        mean = min(round(record.mean_mw / 1000), last - 1) if record.mean_mw >= 0 else last
        out += [record.time >> 16 & 0xFFFF, record.time & 0xFFFF, int(record.incomplete), mean]
    return out + [words.RESERVED_WORD] * (_RECORD_WORDS * (LoadCurve.BATCH - len(records)))
