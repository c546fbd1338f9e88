"""Faults on purpose: what a meter does to its replies, so that masters can be tested against it.

Rule: pure and seeded; the same seed, requests and times give the same faults. Times are ns of line time since
the meter began.
"""

from __future__ import annotations

import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from countis.modbus import pdu, rtu
from countis.modbus.line.answer import SILENCE, Answer
from countis.modbus.line.chance import chance
from countis.words.clock import SECOND
from countis.words.errors import SettingError, printable
from countis.words.toml import number

FOREVER: Final = 1 << 62


class FaultKind(Enum):
    """What goes wrong; the comment is the unit of its amount, if it has one."""

    NO_REPLY = "no_reply"
    LATE = "late"  # ms
    CRC = "crc"
    ADDRESS = "id"
    FUNCTION = "function"
    TRUNCATED = "truncated"  # bytes that are missing
    EXTRA = "extra"  # bytes too many
    EXCEPTION = "exception"  # its code
    BUSY = "busy"
    DEAD = "dead"
    STALE = "stale"  # samples stop; s without any after which it is silent
    DRIFT = "drift"  # of the clock, parts per million


# kind -> name of its amount, default, lowest, highest
AMOUNTS: Final[dict[FaultKind, tuple[str, float, float, float]]] = {
    FaultKind.LATE: ("ms", 500.0, 0.0, 60_000.0),
    FaultKind.TRUNCATED: ("bytes", 1.0, 1.0, 255.0),
    FaultKind.EXTRA: ("bytes", 1.0, 1.0, 64.0),
    FaultKind.EXCEPTION: ("code", 4.0, 1.0, 255.0),
    FaultKind.STALE: ("after", 5.0, 0.0, 1e6),
    FaultKind.DRIFT: ("ppm", 100.0, -100_000.0, 100_000.0),
}
AMOUNT_NAMES: Final = tuple(dict.fromkeys(name for name, *_ in AMOUNTS.values()))
_KEYS: Final = ("kind", "at", "for", "share", *AMOUNT_NAMES)


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault, from start to end, on a share of the replies."""

    kind: FaultKind
    start: int = 0
    end: int = FOREVER
    share: float = 1.0
    amount: float = 0.0

    def holds(self, now: int) -> bool:
        """Tell whether it is in force."""
        return self.start <= now < self.end


def read_fault(row: Mapping[str, Any], now: int = 0) -> Fault:
    """Read one fault of a TOML or JSON table, whose `at` counts from `now`."""
    unknown = [key for key in row if key not in _KEYS]
    if unknown:
        key = printable(str(unknown[0])[:40])
        raise SettingError(f"fault.{key}", "unknown key", ", ".join(_KEYS))
    kind = next((kind for kind in FaultKind if kind.value == row.get("kind")), None)  # a list has no hash
    if kind is None:
        allowed = ", ".join(kind.value for kind in FaultKind)
        raise SettingError("fault.kind", f"{reprlib.repr(row.get('kind'))} is not possible", allowed)
    name, default, low, high = AMOUNTS.get(kind, ("", 0.0, 0.0, 0.0))
    for key in AMOUNT_NAMES:
        if key in row and key != name:
            raise SettingError(f"fault.{key}", f"not of {kind.value}", name or "no amount")
    at, length = _number(row, "at", 0.0, 0.0, 1e9), _number(row, "for", 1e9, 0.0, 1e9)
    amount = _number(row, name, default, low, high) if name else 0.0
    start = now + round(at * SECOND)
    end = FOREVER if "for" not in row else start + round(length * SECOND)
    return Fault(kind, start, end, _number(row, "share", 1.0, 0.0, 1.0), amount)


def fault_row(fault: Fault, now: int) -> dict[str, Any]:
    """Return a fault as a table whose times count from `now`; one that is over has `for` 0."""
    row: dict[str, Any] = {"kind": fault.kind.value}
    if fault.start > now:
        row["at"] = (fault.start - now) / SECOND
    if fault.end != FOREVER:
        row["for"] = max(0.0, (fault.end - max(now, fault.start)) / SECOND)
    if fault.share < 1.0:
        row["share"] = fault.share
    if fault.kind in AMOUNTS:
        row[AMOUNTS[fault.kind][0]] = fault.amount
    return row


def _number(row: Mapping[str, Any], key: str, default: float, low: float, high: float) -> float:
    value = row.get(key, default)
    try:
        return number(low, high)(value)
    except ValueError:
        wrong = f"{reprlib.repr(value)} is not possible"
        raise SettingError(f"fault.{key}", wrong, f"{low:g}..{high:g}") from None


class Faults:
    """The faults of one meter. `list` may be replaced at any time."""

    def __init__(self, faults: Sequence[Fault] = (), seed: int = 1) -> None:
        self.list, self.seed = tuple(faults), seed
        self._replies = 0

    def on(self, kind: FaultKind, now: int) -> Fault | None:
        """Return the fault of a kind that is in force, if any."""
        return next((fault for fault in self.list if fault.kind is kind and fault.holds(now)), None)

    def answer(self, now: int, address: int, reply: bytes, *, serial: bool) -> Answer:
        """Return what leaves in place of a reply PDU: an RTU frame, on TCP unit and PDU. Silence stays."""
        if not reply:
            return SILENCE
        self._replies += 1
        amounts = {fault.kind: fault.amount for place, fault in enumerate(self.list)
                   if fault.holds(now) and chance(self.seed, self._replies, place) < fault.share}
        if amounts.keys() & {FaultKind.NO_REPLY, FaultKind.DEAD}:
            return SILENCE
        if FaultKind.BUSY in amounts:
            reply = bytes((reply[0] | pdu.ERROR, pdu.Code.BUSY))
        elif FaultKind.EXCEPTION in amounts:
            reply = bytes((reply[0] | pdu.ERROR, int(amounts[FaultKind.EXCEPTION])))
        if FaultKind.FUNCTION in amounts:
            reply = bytes((reply[0] ^ 0x07,)) + reply[1:]
        unit = address % 247 + 1 if FaultKind.ADDRESS in amounts else address
        whole = rtu.frame(unit, reply) if serial else bytes((unit,)) + reply
        if FaultKind.CRC in amounts and serial:
            whole = whole[:-1] + bytes((whole[-1] ^ 0x5A,))
        if FaultKind.TRUNCATED in amounts:
            whole = whole[: max(1, len(whole) - int(amounts[FaultKind.TRUNCATED]))]
        draws = range(100, 100 + int(amounts.get(FaultKind.EXTRA, 0)))
        whole += bytes(int(256 * chance(self.seed, self._replies, draw)) for draw in draws)
        return Answer(round(amounts.get(FaultKind.LATE, 0.0) * 1e6), whole)
