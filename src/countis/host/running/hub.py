"""The meters behind the doors of a line: which one a request is for, what it answers, its faults on purpose.

Rule: doors move bytes, meters answer under their lock; this decides who is asked.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from countis.host.running.feeder import Feeder
from countis.modbus import pdu, rtu, tcp
from countis.modbus.line.answer import SILENCE, Answer
from countis.modbus.line.cable import Cable, LineModel
from countis.modbus.line.faults import Fault, FaultKind, fault_row, read_fault
from countis.serve.access import Policy
from countis.serve.answering import Speed
from countis.words.commands import EventKind, Note
from countis.words.errors import SettingError

_ANY_UNIT: Final = (0, 255)  # reach a single meter, whatever its address (decision 35)
_MOST_CACHED: Final = 1000  # replies; a master asks for a few over and over
_MOST_FAULTS: Final = 100
_UNIT_AT: Final = 6  # of a TCP request


class Exchange(NamedTuple):
    """A request and its reply, both without their envelope: Unix time, port, unit, bytes."""

    time: float
    port: str
    unit: int
    request: bytes
    reply: bytes


class MeterPort:
    """One meter on a line, with its faults on purpose. swapped: A and B are exchanged, so it hears nothing.

    Called by the threads of all doors of its line, and by the page. Replies to reads are cached until the
    meter changes. They are filed under its lock and given out without it: each is the whole of one moment,
    and a read that began before the next may get it.
    """

    def __init__(self, feeder: Feeder, *, swapped: bool = False) -> None:
        self.feeder, self.swapped, self._state = feeder, swapped, feeder.meter.state
        self.requests = 0  # counted without a lock where the reply was cached: a display, no account
        # Written under the meter's lock, read without.
        self._tcp: dict[bytes, bytes] = {}  # request -> reply, both without the transaction
        self._rtu: dict[bytes, bytes] = {}  # frames; apart, since bytes of one may look like the other
        self._moment = -1  # state.changes when they were worked out
        self.exchanges: deque[Exchange] | None = None  # set by the page for its monitor, filled by doors

    @property
    def address(self) -> int:
        """The address in force."""
        return int(self.feeder.meter.settings["address"])

    @property
    def speed(self) -> Speed:
        """Speed and character in force."""
        settings = self.feeder.meter.settings
        return Speed(int(settings["baud"]), str(settings["parity"]), int(settings["stop_bits"]))

    @property
    def fault_rows(self) -> list[dict[str, Any]]:
        """The faults that hold or will hold, as tables whose times count from now."""
        now = self.feeder.line_now
        return [fault_row(fault, now) for fault in self.feeder.faults.list if fault.end > now]

    def set_faults(self, rows: Sequence[Any]) -> None:
        """Let other faults hold from now on; SettingError says what is allowed."""
        if len(rows) > _MOST_FAULTS:
            raise SettingError("faults", len(rows), f"up to {_MOST_FAULTS}")
        now, faults = self.feeder.line_now, self.feeder.faults
        new = tuple(read_fault(row if isinstance(row, dict) else {}, now) for row in rows)
        with self.feeder.lock:
            self.feeder.meter.apply([Note(EventKind.FAULTS, "faults", _names(faults.list), _names(new))])
            faults.list = new

    def note(self, port: str, unit: int, request: bytes, reply: bytes) -> None:
        """Keep an exchange for the monitor, if one is open."""
        if (exchanges := self.exchanges) is not None:
            exchanges.append(Exchange(time.time(), port, unit, request, reply))

    def _is_silent(self) -> bool:
        feeder = self.feeder
        return feeder.stale or self.swapped or feeder.faults.on(FaultKind.DEAD, feeder.line_now) is not None

    def _cache(self, replies: dict[bytes, bytes], request: bytes, reply: bytes) -> None:
        """Keep a reply, under the lock; not where each request is to be counted by function 8."""
        state = self.feeder.meter.state
        if state.diagnostics:
            return
        if self._moment != state.changes or len(replies) >= _MOST_CACHED:
            self._tcp.clear()
            self._rtu.clear()
            self._moment = state.changes
        replies[request] = reply

    def rtu(self, frame: bytes) -> Answer:
        """Answer an RTU frame to its address, or a broadcast."""
        if self._is_silent():
            return SILENCE
        feeder = self.feeder
        with feeder.lock:
            self.requests += 1
            reply = feeder.meter.rtu(frame)
            if reply and frame[1] == pdu.READ:
                self._cache(self._rtu, frame, reply)
            answer = Answer(0, reply)
            if feeder.faults.list:
                answer = feeder.faults.answer(feeder.line_now, frame[0], reply[1:-2], serial=True)
        self.note("RTU", frame[0], frame[1:-2], answer.data[1:-2])
        return answer

    def tcp(self, envelope: tcp.Envelope) -> Answer:
        """Answer a TCP request for this meter; while it is silent, as a gateway would."""
        feeder, silent = self.feeder, self._is_silent()
        with feeder.lock:
            self.requests += 1
            reply = feeder.meter.pdu(envelope.pdu) if feeder.meter.powered and not silent else b""
            if reply and envelope.pdu[0] == pdu.READ:
                request = tcp.wrap(0, envelope.unit, envelope.pdu)[2:]
                self._cache(self._tcp, request, tcp.wrap(0, envelope.unit, reply)[2:])
            reply = reply or pdu.exception(envelope.pdu[0], pdu.Code.GATEWAY_TARGET)
            answer = Answer(0, bytes((envelope.unit,)) + reply)
            if feeder.faults.list:
                answer = feeder.faults.answer(feeder.line_now, envelope.unit, reply, serial=False)
        self.note("TCP", envelope.unit, envelope.pdu, answer.data[1:])
        if not answer.data:
            return answer
        return Answer(answer.delay_ns, tcp.wrap(envelope.transaction, answer.data[0], answer.data[1:]))

    def tcp_cached(self, request: bytes) -> bytes | None:
        """Return the reply to a request without its transaction, if it is cached and still holds."""
        return self._if_fresh(self._tcp.get(request))

    def rtu_cached(self, frame: bytes) -> bytes | None:
        """Return the reply to a whole frame, if it is cached and still holds."""
        return self._if_fresh(self._rtu.get(frame))

    def _if_fresh(self, reply: bytes | None) -> bytes | None:
        """Return a reply that was cached, if nothing has moved since, and count it."""
        feeder, state = self.feeder, self._state
        if reply is None or self._moment != state.changes or feeder.faults.list or feeder.failure is not None:
            return None
        if feeder.stale_after < math.inf and feeder.stale:
            return None
        self.requests += 1
        state.saw_frame()
        return reply


def _names(faults: Sequence[Fault]) -> str:
    return " ".join(fault.kind.value for fault in faults) or "none"


class LineHub:
    """The meters of one line, an `Answering` for its doors. speed: of the line; None: it follows its meter.

    Meters set to another speed hear nothing of it. policy: what is refused before any meter sees it.
    Called by the threads of all doors of the line, without a lock: each field changes in one step.
    """

    def __init__(
        self, ports: Sequence[MeterPort], speed: Speed | None = None, policy: Policy | None = None
    ) -> None:
        self.ports, self._fixed_speed, self._policy = tuple(ports), speed, policy or Policy()
        self._alone = self.ports[0] if len(self.ports) == 1 else None
        self.troubles: list[str] = []  # of doors, for the status line
        self._refused = 0  # requests that were, and those for a unit that is not there; a display, no account
        # Meters that hear the line by address, and the count of setting changes when they were looked up.
        self._directory: tuple[dict[int, list[MeterPort]], int] = {}, -1
        self.addresses()

    def report(self, trouble: str, *, over: bool = False) -> None:
        """Take note of a trouble of a door, or that it is over."""
        (self.troubles.remove if over else self.troubles.append)(trouble)

    def addresses(self) -> set[int]:
        """Return the addresses that are answered, looked up again if any setting has changed."""
        changes = sum(port.feeder.meter.state.setting_changes for port in self.ports)
        if changes != self._directory[1]:
            by_address: dict[int, list[MeterPort]] = {}
            for port in self.ports:
                if self._fixed_speed is None or port.speed == self._fixed_speed:
                    by_address.setdefault(port.address, []).append(port)
            self._directory = by_address, changes
        return set(self._directory[0])

    @property
    def speed(self) -> Speed:
        """How fast the line is."""
        return self._fixed_speed or self.ports[0].speed

    @property
    def requests(self) -> int:
        """How many were answered."""
        return self._refused + sum(port.requests for port in self.ports)

    def rtu(self, frame: bytes) -> Answer:
        """Answer an RTU frame: all hear a broadcast; where several have one address their replies collide."""
        refusal = self._policy.refusal(frame[1:-2], time.monotonic())
        if frame[0] == rtu.BROADCAST:
            for port in self.ports if refusal is None else ():
                port.rtu(frame)
            return SILENCE
        self.addresses()
        addressed = self._directory[0].get(frame[0], ())
        if refusal is not None and addressed:
            self._refused += 1
            return Answer(0, rtu.frame(frame[0], pdu.exception(frame[1], refusal)))
        answers = [answer for port in addressed if (answer := port.rtu(frame)).data]
        if len(answers) < 2:
            return answers[0] if answers else SILENCE
        return Answer(min(answer.delay_ns for answer in answers), self._collided(answers))

    def _collided(self, answers: Sequence[Answer]) -> bytes:
        """Return what a master hears of replies that begin together."""
        line = LineModel(self.speed.baud, cable=Cable())
        first = min(answer.delay_ns for answer in answers)
        end = max(line.send(k, answer.data, answer.delay_ns - first) for k, answer in enumerate(answers, 1))
        return bytes({byte.at: byte.value for byte in line.received(0, -1, end)}.values())

    def _only(self, unit: int) -> MeterPort | None:
        """Return the one meter of an address, as it was when last looked up."""
        ports = self._directory[0].get(unit, ())
        return ports[0] if len(ports) == 1 else None

    def tcp(self, envelope: tcp.Envelope) -> Answer:
        """Answer a TCP request; if nobody has the unit, or two have it, as a gateway does (decision 35)."""
        self.addresses()
        port = self._alone if envelope.unit in _ANY_UNIT and self._alone else self._only(envelope.unit)
        refusal = self._policy.refusal(envelope.pdu, time.monotonic()) if port is not None else None
        if port is not None and refusal is None:
            return port.tcp(envelope)
        self._refused += 1
        reply = pdu.exception(envelope.pdu[0], refusal or pdu.Code.GATEWAY_TARGET)
        if self._alone is not None:
            self._alone.note("TCP", envelope.unit, envelope.pdu, reply)
        return Answer(0, tcp.wrap(envelope.transaction, envelope.unit, reply))

    def tcp_cached(self, request: bytes) -> bytes | None:
        """Return the reply to a whole TCP request, if it is cached and still holds."""
        port = self._alone or (self._only(request[_UNIT_AT]) if len(request) > _UNIT_AT else None)
        if port is None:
            return None
        reply = port.tcp_cached(request[2:])
        if reply is None:
            return None
        if port.exchanges is not None:
            port.note("TCP", request[_UNIT_AT], request[7:], reply[5:])
        return request[:2] + reply

    def rtu_cached(self, frame: bytes) -> bytes | None:
        """Return the reply to a whole RTU frame, if it is cached."""
        port = self._alone or self._only(frame[0])
        reply = port.rtu_cached(frame) if port is not None else None
        if port is not None and reply is not None:
            port.note("RTU", frame[0], frame[1:-2], reply[1:-2])
        return reply
