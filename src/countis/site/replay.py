"""Replay: the requests of a trace sent again, to a meter real or virtual, and what it answers differently.

Rule: replies must have the same structure (function, length, exception) and the same settings and identity;
quantities are live, they may differ and are told. A gateway's word that a unit does not answer is silence.
Each request is sent when its time has come, or at once after one that was late.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from countis.modbus import pdu, rtu
from countis.modbus.said import explain
from countis.modbus.said.frames import Direction, LineFrame, iso
from countis.modbus.table import Table
from countis.models import E44
from countis.site.line import Line, check_rtu_reply
from countis.words.errors import BadReply, NoReply, TraceError
from countis.words.settings import SETTINGS
from countis.words.symbols import value_text

_TABLE = E44.family.table


class RecordedExchange(NamedTuple):
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

    exchange: RecordedExchange
    unit: int
    verdict: Verdict
    differences: tuple[Difference, ...]


class Outcome(Enum):
    """What came of a request."""

    REPLY = "reply"
    SILENCE = "no reply"
    BAD = "bad reply"


class Reply(NamedTuple):
    """What came back: a PDU, silence, or what was wrong with it."""

    outcome: Outcome
    data: bytes = b""
    wrong: str = ""

    def text(self, request: bytes) -> str:
        """Say what came back."""
        if self.outcome is Outcome.BAD:
            return f"{self.outcome.value}, {self.wrong}"
        return explain.reply(_TABLE, request, self.data).text if self.data else self.outcome.value


def _reply(data: bytes) -> Reply:
    """Take a PDU; a gateway's word that nobody answers is silence."""
    absent = data[0] & pdu.ERROR and data[1:] == bytes((pdu.Code.GATEWAY_TARGET,))
    return Reply(Outcome.SILENCE if absent else Outcome.REPLY, data)


def exchanges(frames: Sequence[LineFrame]) -> list[RecordedExchange]:
    """Return requests with their replies; TraceError where a reply has no request, or a request cannot be sent."""
    pairs: list[RecordedExchange] = []
    for frame, before in zip(frames, (None, *frames), strict=False):
        if frame.direction is Direction.REQUEST:
            if len(frame.frame) < 4:
                raise TraceError(iso(frame.time_us), f"{len(frame.frame)} bytes are no request", "4 or more")
            pairs.append(RecordedExchange(frame.time_us, frame.frame, b""))
        elif before is None or before.direction is not Direction.REQUEST:
            raise TraceError(iso(frame.time_us), "a reply to nothing", "behind its request")
        else:
            pairs[-1] = pairs[-1]._replace(reply=frame.frame)
    return pairs


def replay(recorded: Sequence[RecordedExchange], line: Line, address: int | None, speed: float) -> Iterator[Compared]:
    """Send each request, in the recorded rhythm times `speed`, and compare. address: of the meter, None: as recorded."""
    due, before = time.monotonic(), None
    for exchange in recorded:
        gap = 0 if before is None else exchange.time_us - before
        before = exchange.time_us
        due += max(0, gap) / 1e6 / speed
        time.sleep(max(0.0, due - time.monotonic()))
        unit, request = exchange.request[0], exchange.request[1:-2]
        unit = unit if address is None or unit == rtu.BROADCAST else address
        yield Compared(exchange, unit, *compare(request, _recorded(exchange), _asked(line, unit, request)))


def _recorded(exchange: RecordedExchange) -> Reply:
    if not exchange.reply:
        return Reply(Outcome.SILENCE)
    if len(exchange.reply) < 4:
        return Reply(Outcome.BAD, wrong=f"{len(exchange.reply)} bytes")
    try:
        return _reply(check_rtu_reply(exchange.request[0], exchange.request[1:-2], exchange.reply))
    except BadReply as error:
        return Reply(Outcome.BAD, wrong=str(error))


def _asked(line: Line, unit: int, request: bytes) -> Reply:
    try:
        return _reply(line.exchange(unit, request))
    except NoReply:
        return Reply(Outcome.SILENCE)
    except BadReply as error:
        return Reply(Outcome.BAD, wrong=str(error))


def compare(request: bytes, then: Reply, now: Reply) -> tuple[Verdict, tuple[Difference, ...]]:
    """Compare two replies to one request."""
    texts = then.text(request), now.text(request)
    if then.outcome is not now.outcome:
        verdict = Verdict.MISSING if now.outcome is Outcome.SILENCE else Verdict.DIFFERS
        return verdict, (Difference("reply", *texts),)
    if then.outcome is not Outcome.REPLY:
        return Verdict.EQUAL, ()
    if then.data[0] != pdu.READ or now.data[0] != pdu.READ or len(then.data) != len(now.data):
        if then.data == now.data:
            return Verdict.EQUAL, ()
        if texts[0] == texts[1]:
            texts = then.data.hex(" ").upper(), now.data.hex(" ").upper()
        return Verdict.DIFFERS, (Difference("reply", *texts),)
    differences = tuple(_values(request, then.data, now.data))
    return Verdict.EQUAL if all(one.expected for one in differences) else Verdict.DIFFERS, differences


@functools.cache
def _exact(table: Table) -> dict[int, str]:
    """Return the symbol of each word that must read the same: settings and identity."""
    rows = [row for row in table.rows if row.symbol in SETTINGS or row.device]
    return {at: row.symbol for row in rows for at in range(row.address, row.address + row.words)}


def _values(request: bytes, then: bytes, now: bytes) -> Iterator[Difference]:
    """Yield the values that two replies to a read of the same length have different."""
    exact, named = _exact(_TABLE), set()
    before, after = (explain.reply(_TABLE, request, data).values for data in (then, now))
    for (symbol, old), (_, new) in zip(before, after, strict=True):
        if old != new:
            named.add(symbol)
            yield Difference(symbol, value_text(symbol, old), value_text(symbol, new), symbol not in exact.values())
    start = int.from_bytes(request[1:3], "big")
    for k in range(2, len(then) - 1, 2):  # a setting of which only a part was read
        word = start + (k - 2) // 2
        if then[k : k + 2] != now[k : k + 2] and word in exact and exact[word] not in named:
            yield Difference(f"{exact[word]}, word {word}", then[k : k + 2].hex().upper(), now[k : k + 2].hex().upper())


def lines(compared: Compared) -> Iterator[str]:
    """Say how an exchange compares: a line for it, and one for each difference."""
    asked = explain.request(_TABLE, compared.exchange.request[1:-2]).text
    yield f"{iso(compared.exchange.time_us)}  unit {compared.unit}  {asked}: {compared.verdict.value}"
    for one in compared.differences:
        yield f"{'  ' if one.expected else '! '}{one.what}: then {one.then}, now {one.now}"
