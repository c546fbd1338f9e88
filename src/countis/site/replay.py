"""Replay: the requests of a trace sent again, to a meter real or virtual, and what it answers differently.

Rule: replies must have the same structure (function, length, exception) and the same settings and identity; quantities are
live, they may differ and are told. A gateway's word that a unit does not answer is silence. Each request is sent when its time
has come, or at once after one that was late.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final, NamedTuple

from countis.modbus import pdu, rtu
from countis.modbus.said import explain, trace
from countis.modbus.said.trace import Direction, Said
from countis.modbus.tables import ROWS
from countis.site.line import Line, check_rtu_reply
from countis.words.errors import BadReply, NoReply, TraceError
from countis.words.settings import SETTINGS

_EXACT: Final = {at: row.symbol for row in ROWS if row.symbol in SETTINGS or row.symbol.startswith("id.")
                 for at in range(row.address, row.address + row.words)}  # fmt: skip
_SILENCE: Final = "no reply"


class Exchange(NamedTuple):
    """A request of a trace and what replied to it, as RTU frames; no bytes are silence."""

    time_us: int
    request: bytes
    reply: bytes


class Verdict(Enum):
    """How a reply compares with the recorded one."""

    EQUAL = "equal"
    DIFFERS = "differs"
    MISSING = "no reply"


class Difference(NamedTuple):
    """One thing that is not as it was; expected: a quantity, which lives."""

    what: str
    then: str
    now: str
    expected: bool = False


@dataclass(frozen=True, slots=True)
class Compared:
    """One exchange, played again."""

    exchange: Exchange
    unit: int
    verdict: Verdict
    differences: tuple[Difference, ...]


class _Heard(NamedTuple):
    """What came back: a PDU, or what was wrong."""

    data: bytes
    trouble: str = ""

    @property
    def kind(self) -> str:
        absent = self.data[1:] == bytes((pdu.Code.GATEWAY_TARGET,)) and self.data[0] & pdu.ERROR
        return _SILENCE if absent else self.trouble.partition(",")[0]

    def text(self, request: bytes) -> str:
        return self.trouble or explain.reply(request, self.data).text


def exchanges(said: Sequence[Said]) -> list[Exchange]:
    """Return requests with their replies; TraceError where a reply has no request, or a request cannot be sent."""
    found: list[Exchange] = []
    for one, before in zip(said, (None, *said), strict=False):
        if one.direction is Direction.REQUEST:
            if len(one.frame) < 4:
                raise TraceError(
                    str(trace.iso(one.time_us)), f"{len(one.frame)} bytes are no request", "4 or more"
                )
            found.append(Exchange(one.time_us, one.frame, b""))
        elif before is None or before.direction is not Direction.REQUEST:
            raise TraceError(str(trace.iso(one.time_us)), "a reply to nothing", "behind its request")
        else:
            found[-1] = found[-1]._replace(reply=one.frame)
    return found


def replay(recorded: Sequence[Exchange], line: Line, address: int | None, speed: float) -> Iterator[Compared]:
    """Send each request, in the recorded rhythm times `speed`, and compare. address: of the meter, None: as recorded."""
    due, before = time.monotonic(), None
    for exchange in recorded:
        gap = 0 if before is None else exchange.time_us - before
        before = exchange.time_us
        due += max(0, gap) / 1e6 / speed
        time.sleep(max(0.0, due - time.monotonic()))
        unit, request = exchange.request[0], exchange.request[1:-2]
        unit = unit if address is None or unit == rtu.BROADCAST else address
        then, now = _recorded(exchange), _asked(line, unit, request)
        yield Compared(exchange, unit, *compare(request, then, now))


def _recorded(exchange: Exchange) -> _Heard:
    if not exchange.reply:
        return _Heard(b"", _SILENCE)
    try:
        if len(exchange.reply) < 4:
            raise BadReply("", f"{len(exchange.reply)} bytes")
        return _Heard(check_rtu_reply(exchange.request[0], exchange.request[1:-2], exchange.reply))
    except BadReply as error:
        return _Heard(b"", f"bad reply, {error}")


def _asked(line: Line, unit: int, request: bytes) -> _Heard:
    try:
        return _Heard(line.exchange(unit, request))
    except NoReply:
        return _Heard(b"", _SILENCE)
    except BadReply as error:
        return _Heard(b"", f"bad reply, {error}")


def compare(request: bytes, then: _Heard, now: _Heard) -> tuple[Verdict, tuple[Difference, ...]]:
    """Compare two replies to one request."""
    if then.kind or now.kind:
        if then.kind == now.kind:
            return Verdict.EQUAL, ()
        verdict = Verdict.MISSING if now.kind == _SILENCE else Verdict.DIFFERS
        return verdict, (Difference("reply", then.text(request), now.text(request)),)
    if then.data[0] != pdu.READ or now.data[0] != pdu.READ or len(then.data) != len(now.data):
        texts = (then.text(request), now.text(request))
        if texts[0] == texts[1]:
            texts = (then.data.hex(" ").upper(), now.data.hex(" ").upper())
        return (Verdict.EQUAL, ()) if then.data == now.data else (Verdict.DIFFERS, (Difference("reply", *texts),))
    found = tuple(_values(request, then.data, now.data))
    return Verdict.EQUAL if all(one.expected for one in found) else Verdict.DIFFERS, found


def _values(request: bytes, then: bytes, now: bytes) -> Iterator[Difference]:
    """Yield the values that two replies to a read of the same length have different."""
    told = zip(explain.reply(request, then).values, explain.reply(request, now).values, strict=True)
    named = set()
    for (symbol, old), (_, new) in told:
        if old != new:
            named.add(symbol)
            yield Difference(symbol, trace.shown(symbol, old), trace.shown(symbol, new), symbol not in _EXACT.values())
    start = int.from_bytes(request[1:3], "big")
    for k in range(2, len(then) - 1, 2):  # a setting of which only a part was read
        word = start + (k - 2) // 2
        if then[k : k + 2] != now[k : k + 2] and word in _EXACT and _EXACT[word] not in named:
            yield Difference(f"{_EXACT[word]}, word {word}", then[k : k + 2].hex().upper(), now[k : k + 2].hex().upper())


def lines(compared: Compared) -> Iterator[str]:
    """Say how an exchange compares: a line for it, and one for each difference."""
    asked = explain.request(compared.exchange.request[1:-2]).text
    yield f"{trace.iso(compared.exchange.time_us)}  unit {compared.unit}  {asked}: {compared.verdict.value}"
    for one in compared.differences:
        yield f"{'  ' if one.expected else '! '}{one.what}: then {one.then}, now {one.now}"
