"""Replay: the requests of a trace sent again, to a real or virtual meter, and the differences of its replies.

Rule: structure (function, length, exception), settings and identity must be the same; quantities may differ,
which is reported. Exception 11 of a gateway is silence. Requests are sent at their time, at once if late.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator, Sequence
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
    """A request of a trace and its reply, as RTU frames; no bytes are silence."""

    time_us: int
    request: bytes
    reply: bytes


class Verdict(Enum):
    """How a reply compares with the recorded one."""

    EQUAL = "equal"
    DIFFERS = "differs"
    MISSING = "no reply"


class Difference(NamedTuple):
    """One difference between two replies. expected: of a quantity, which may change."""

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
    """The kind of what came back."""

    REPLY = "reply"
    SILENCE = "no reply"
    BAD = "bad reply"


class Reply(NamedTuple):
    """What came back: a PDU, silence, or what was wrong with it."""

    outcome: Outcome
    data: bytes = b""
    wrong: str = ""

    def text(self, request: bytes) -> str:
        """Return in words what came back."""
        if self.outcome is Outcome.BAD:
            return f"{self.outcome.value}, {self.wrong}"
        return explain.reply(_TABLE, request, self.data).text if self.data else self.outcome.value


def _reply(ask: Callable[[], bytes]) -> Reply:
    """Return what a call gave: its PDU, or how it failed; exception 11 of a gateway is silence."""
    try:
        data = ask()
    except NoReply:
        return Reply(Outcome.SILENCE)
    except BadReply as error:
        return Reply(Outcome.BAD, wrong=str(error))
    absent = data[0] & pdu.ERROR and data[1:] == bytes((pdu.Code.GATEWAY_TARGET,))
    return Reply(Outcome.SILENCE if absent else Outcome.REPLY, data)


def exchanges(frames: Sequence[LineFrame]) -> list[RecordedExchange]:
    """Return requests with their replies; TraceError for a reply without request, or a request too short."""
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


def replay(recorded: Sequence[RecordedExchange], line: Line, address: int | None,
           speed: float) -> Iterator[Compared]:
    """Send each request in the recorded rhythm times `speed`, and compare. address: None = as recorded."""
    due = time.monotonic()
    for before, exchange in zip((*recorded[:1], *recorded), recorded, strict=False):
        due += max(0, exchange.time_us - before.time_us) / 1e6 / speed
        time.sleep(max(0.0, due - time.monotonic()))
        unit, request = exchange.request[0], exchange.request[1:-2]
        unit = unit if address is None or unit == rtu.BROADCAST else address
        now = _reply(functools.partial(line.exchange, unit, request))
        yield Compared(exchange, unit, *compare(request, _recorded(exchange), now))


def _recorded(exchange: RecordedExchange) -> Reply:
    _, request, reply = exchange
    if not reply:
        return Reply(Outcome.SILENCE)
    if len(reply) < 4:
        return Reply(Outcome.BAD, wrong=f"{len(reply)} bytes")
    return _reply(functools.partial(check_rtu_reply, request[0], request[1:-2], reply))


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
    """Yield the differences of two replies of the same length to a read."""
    exact, named = _exact(_TABLE), set()
    before, after = (explain.reply(_TABLE, request, data).values for data in (then, now))
    for (symbol, old), (_, new) in zip(before, after, strict=True):
        if old != new:
            named.add(symbol)
            texts = value_text(symbol, old), value_text(symbol, new)
            yield Difference(symbol, *texts, expected=symbol not in exact.values())
    start = int.from_bytes(request[1:3], "big")
    for k in range(2, len(then) - 1, 2):  # a setting of which only a part was read
        word, old_word, new_word = start + (k - 2) // 2, then[k : k + 2], now[k : k + 2]
        if old_word != new_word and word in exact and exact[word] not in named:
            yield Difference(f"{exact[word]}, word {word}", old_word.hex().upper(), new_word.hex().upper())


def lines(compared: Compared) -> Iterator[str]:
    """Yield a line for an exchange, and one for each difference."""
    request = explain.request(_TABLE, compared.exchange.request[1:-2]).text
    yield f"{iso(compared.exchange.time_us)}  unit {compared.unit}  {request}: {compared.verdict.value}"
    for one in compared.differences:
        yield f"{'  ' if one.expected else '! '}{one.what}: then {one.then}, now {one.now}"
