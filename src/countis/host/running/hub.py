"""The meters behind the ports: which one a request is for, what it answers, what is kept at hand, what goes wrong on purpose.

Rule: ports move bytes, meters answer under their lock; this decides who is asked. Line time is monotonic ns.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from countis.host.running.feeder import Feeder
from countis.modbus import pdu, rtu, tcp
from countis.modbus.line.cable import Cable, Line
from countis.modbus.line.faults import Answer, Fault, Kind, fault_row, read_fault
from countis.serve.access import Policy
from countis.words.commands import EventKind, Note
from countis.words.errors import SettingError

_ANY_UNIT: Final = (0, 255)  # reach a single meter, whatever its address (decision 35)
_AT_HAND: Final = 1000  # replies at most; a master asks for a few over and over
_MOST_FAULTS: Final = 100
_UNIT_AT: Final = 6  # of a TCP request
_SILENCE: Final = Answer(0, b"")
Speed = tuple[int, str, int]  # baud, parity, stop bits


class Exchange(NamedTuple):
    """A request and its reply, both without their envelope: Unix time, port, unit, bytes."""

    time: float
    port: str
    unit: int
    request: bytes
    reply: bytes


class Desk:
    """One meter: its requests are counted, and its faults on purpose are done to its replies.

    Replies to reads stay at hand until anything of the meter moves. They are filed under the lock and given out without it:
    each is the whole of one moment, and a read that began before the next may get it. swapped: A and B are exchanged, it
    hears nothing.
    """

    def __init__(self, feeder: Feeder, *, swapped: bool = False) -> None:
        self.feeder, self.swapped = feeder, swapped
        self.meter, self.lock, self.faults = feeder.meter, feeder.lock, feeder.faults
        self.requests = 0
        self._tcp: dict[bytes, bytes] = {}  # request -> reply, both without the transaction
        self._rtu: dict[bytes, bytes] = {}  # frames; apart, since bytes of one may look like the other
        self._moment = -1  # meter.state.changes when they were worked out
        self.heard: deque[Exchange] | None = None  # what was said, while somebody listens

    @property
    def address(self) -> int:
        """The address in force."""
        return int(self.meter.settings["address"])

    @property
    def speed(self) -> Speed:
        """Baud, parity and stop bits in force."""
        settings = self.meter.settings
        return int(settings["baud"]), str(settings["parity"]), int(settings["stop_bits"])

    @property
    def fault_rows(self) -> list[dict[str, Any]]:
        """The faults that hold or will, as tables that count from now."""
        now = self.feeder.line_now
        return [fault_row(fault, now) for fault in self.faults.list if fault.end > now]

    def set_faults(self, rows: Sequence[Any]) -> None:
        """Let other faults hold from now on; SettingError says what is allowed."""
        if len(rows) > _MOST_FAULTS:
            raise SettingError("faults", str(len(rows)), f"up to {_MOST_FAULTS}")
        now = self.feeder.line_now
        found = tuple(read_fault(row if isinstance(row, dict) else {}, now) for row in rows)
        with self.lock:
            self.meter.apply([Note(EventKind.FAULTS, "faults", _named(self.faults.list), _named(found))])
            self.faults.list = found

    def _dumb(self) -> bool:
        return self.feeder.stale or self.swapped or self.faults.on(Kind.DEAD, self.feeder.line_now) is not None

    def _file(self, replies: dict[bytes, bytes], request: bytes, reply: bytes) -> None:
        """Keep a reply at hand, under the lock; not where each request is to be counted by function 8."""
        if self.meter.state.diagnostics:
            return
        if self._moment != self.meter.state.changes or len(replies) >= _AT_HAND:
            self._tcp.clear()
            self._rtu.clear()
            self._moment = self.meter.state.changes
        replies[request] = reply

    def rtu(self, frame: bytes) -> Answer:
        """Answer an RTU frame to its address, or a broadcast."""
        if self._dumb():
            return _SILENCE
        with self.lock:
            self.requests += 1
            reply = self.meter.rtu(frame)
            if reply and frame[1] == pdu.READ:
                self._file(self._rtu, frame, reply)
        answer = Answer(0, reply)
        if self.faults.list:
            answer = self.faults.answer(self.feeder.line_now, frame[0], reply[1:-2], serial=True)
        if self.heard is not None:
            self.heard.append(Exchange(time.time(), "RTU", frame[0], frame[1:-2], answer.data[1:-2]))
        return answer

    def tcp(self, envelope: tcp.Envelope) -> Answer:
        """Answer a TCP request that is for this meter; one that cannot speak gets what a gateway would say."""
        dumb = self._dumb()
        with self.lock:
            self.requests += 1
            reply = self.meter.pdu(envelope.pdu) if self.meter.powered and not dumb else b""
            if reply and envelope.pdu[0] == pdu.READ:
                self._file(self._tcp, tcp.wrap(0, envelope.unit, envelope.pdu)[2:], tcp.wrap(0, envelope.unit, reply)[2:])
        if not reply:
            reply = pdu.exception(envelope.pdu[0], pdu.Code.GATEWAY_TARGET)
        answer = Answer(0, bytes((envelope.unit,)) + reply)
        if self.faults.list:
            answer = self.faults.answer(self.feeder.line_now, envelope.unit, reply, serial=False)
        if self.heard is not None:
            self.heard.append(Exchange(time.time(), "TCP", envelope.unit, envelope.pdu, answer.data[1:]))
        if not answer.data:
            return answer
        return Answer(answer.delay_ns, tcp.wrap(envelope.transaction, answer.data[0], answer.data[1:]))

    def tcp_at_hand(self, request: bytes) -> bytes | None:
        """Return the reply to a request without its transaction, if it is at hand."""
        return self._still(self._tcp.get(request))

    def rtu_at_hand(self, frame: bytes) -> bytes | None:
        """Return the reply to a whole frame, if it is at hand."""
        return self._still(self._rtu.get(frame))

    def _still(self, reply: bytes | None) -> bytes | None:
        """Return a reply that was at hand, if nothing has moved since, and count it."""
        if reply is None or self._moment != self.meter.state.changes or self.faults.list:
            return None
        if self.feeder.stale_after < math.inf and self.feeder.stale:
            return None
        self.requests += 1
        self.meter.state.saw_frame()
        return reply


def _named(faults: Sequence[Fault]) -> str:
    return " ".join(fault.kind.value for fault in faults) or "none"


class Hub:
    """The desks of one line. speed: of the line, meters set otherwise hear nothing of it; None: it follows its meter."""

    def __init__(self, desks: Sequence[Desk], speed: Speed | None = None, policy: Policy | None = None) -> None:
        self.desks, self.speed, self.policy = tuple(desks), speed, policy or Policy()
        self._alone = self.desks[0] if len(self.desks) == 1 else None
        self.troubles: list[str] = []  # ports that are gone, for the status line
        self._refused = 0  # requests for a unit that is not there
        self._by_address: dict[int, list[Desk]] = {}
        self._seen = -1
        self.refresh()

    def refresh(self) -> set[int]:
        """Look again who has which address; return all that there are."""
        seen = sum(desk.meter.state.setting_changes for desk in self.desks)
        if seen != self._seen:
            found: dict[int, list[Desk]] = {}
            for desk in self.desks:
                if self.speed is None or desk.speed == self.speed:
                    found.setdefault(desk.address, []).append(desk)
            self._by_address, self._seen = found, seen
        return set(self._by_address)

    @property
    def line_speed(self) -> Speed:
        """Baud, parity and stop bits of the line."""
        return self.speed or self.desks[0].speed

    @property
    def requests(self) -> int:
        """How many were answered."""
        return self._refused + sum(desk.requests for desk in self.desks)

    def rtu(self, frame: bytes) -> Answer:
        """Answer an RTU frame: all hear a broadcast; where several have one address their replies collide."""
        refusal = self.policy.refusal(frame[1:-2], time.monotonic())
        if frame[0] == rtu.BROADCAST and refusal is not None:
            return _SILENCE
        if frame[0] == rtu.BROADCAST:
            for desk in self.desks:
                desk.rtu(frame)
            return _SILENCE
        self.refresh()
        if refusal is not None and frame[0] in self._by_address:
            self._refused += 1
            return Answer(0, rtu.frame(frame[0], pdu.exception(frame[1], refusal)))
        answers = [desk.rtu(frame) for desk in self._by_address.get(frame[0], ())]
        spoken = [answer for answer in answers if answer.data]
        if len(spoken) < 2:
            return spoken[0] if spoken else _SILENCE
        return Answer(min(answer.delay_ns for answer in spoken), self._collided(spoken))

    def _collided(self, answers: Sequence[Answer]) -> bytes:
        """Return what a master hears of replies that begin together."""
        line = Line(self.line_speed[0], cable=Cable())
        first = min(answer.delay_ns for answer in answers)
        ends = [line.talk(station, answer.data, answer.delay_ns - first) for station, answer in enumerate(answers, 1)]
        heard = line.hear(0, -1, max(ends))
        return bytes({byte.at: byte.value for byte in heard}.values())

    def _unit(self, unit: int) -> Desk | None:
        """Return the desk that a unit id of TCP is for: several meters are known by their address alone (decision 35)."""
        self.refresh()
        if len(self.desks) == 1 and unit in _ANY_UNIT:
            return self.desks[0]
        found = self._by_address.get(unit, ())
        return found[0] if len(found) == 1 else None

    def tcp(self, envelope: tcp.Envelope) -> Answer:
        """Answer a TCP request; where nobody has the unit, or two have it, as a gateway does."""
        desk = self._unit(envelope.unit)
        refusal = self.policy.refusal(envelope.pdu, time.monotonic()) if desk is not None else pdu.Code.GATEWAY_TARGET
        if desk is not None and refusal is None:
            return desk.tcp(envelope)
        self._refused += 1
        reply = pdu.exception(envelope.pdu[0], refusal or pdu.Code.GATEWAY_TARGET)
        heard = self.desks[0].heard if len(self.desks) == 1 else None
        if heard is not None:
            heard.append(Exchange(time.time(), "TCP", envelope.unit, envelope.pdu, reply))
        return Answer(0, tcp.wrap(envelope.transaction, envelope.unit, reply))

    def _holder(self, unit: int) -> Desk | None:
        """Return the one desk that may have a reply at hand; a setting just changed is seen once anything has moved."""
        found = self._by_address.get(unit, ())
        return found[0] if len(found) == 1 else None

    def tcp_at_hand(self, request: bytes) -> bytes | None:
        """Return the reply to a whole TCP request, if it is at hand."""
        desk = self._alone or (self._holder(request[_UNIT_AT]) if len(request) > _UNIT_AT else None)
        if desk is None:
            return None
        reply = desk.tcp_at_hand(request[2:])
        if reply is None:
            return None
        if desk.heard is not None:
            desk.heard.append(Exchange(time.time(), "TCP", request[_UNIT_AT], request[7:], reply[5:]))
        return request[:2] + reply

    def rtu_at_hand(self, frame: bytes) -> bytes | None:
        """Return the reply to a whole RTU frame, if it is at hand."""
        desk = self._alone or self._holder(frame[0])
        if desk is None:
            return None
        reply = desk.rtu_at_hand(frame)
        if reply is not None and desk.heard is not None:
            desk.heard.append(Exchange(time.time(), "RTU", frame[0], frame[1:-2], reply[1:-2]))
        return reply
