"""The events of a supply file: which tables they change, and to what, as time goes on.

Rule: no table is changed in place; what no event touches stays the very object that was read of the file.
"""

from __future__ import annotations

import json
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import floor, inf
from typing import Any, Final

from countis.supply.synthesis import PIECE
from countis.words.errors import CountisError, SupplyError, plain
from countis.words.toml import KeyRule, Reader, number, short

_RAMP_STEPS: Final = 2000
_SETTABLE: Final = "frequency, noise, voltage.…, load.NAME.…, wiring.…, front_end.…, tariff.volts"


def _changes(value: Any) -> dict[str, Any]:
    """Read what an event sets; the page is told all of it as JSON, also what is never in force."""
    if not isinstance(value, dict):
        raise TypeError
    json.dumps(value, allow_nan=False)
    return value


_EVENT: Final[dict[str, KeyRule]] = {
    "at": (None, number(0.0, 1e9), "seconds from 0 on"),
    "for": (None, number(0.0, 1e9), "seconds, or nothing for good"),
    "over": (0.0, number(0.0, 1e6), "seconds that a ramp takes"),
    "set": (None, _changes, '{ "voltage.L1" = 161.0, … }'),
}


@dataclass(frozen=True, slots=True)
class _Event:
    """One `[[event]]`: its number, its begin, its end and the length of its ramp in s, new values by path."""

    index: int
    begin: float
    end: float
    ramp: float
    changes: Mapping[str, Any]

    def step(self, rate: float) -> float:
        """Return how long a ramp stays at one value, in s."""
        return max(PIECE / rate, self.ramp / _RAMP_STEPS)

    def share(self, time: float, rate: float) -> float:
        """Return how far a ramp has come in the middle of its step at `time`; 1 when it is over or none."""
        if time >= self.begin + self.ramp - 1e-9:
            return 1.0
        step = self.step(rate)
        return min(1.0, (floor((time - self.begin) / step + 1e-6) + 0.5) * step / self.ramp)


class Timeline:
    """The tables of a supply file as its events change them. rows: of all that may be set, by table."""

    def __init__(self, reader: Reader, rate: float, rows: Mapping[str, Mapping[str, KeyRule]]) -> None:
        self._reader, self._rate, self._rows = reader, rate, rows
        self._events: list[_Event] = []
        for index, table in enumerate(reader.document.get("event", [])):
            row = reader.table(table, "event", index, _EVENT)
            for key in ("at", "set"):
                if row[key] is None:
                    raise reader.fail("event", index, key, "missing", _EVENT[key][2])
            end = inf if row["for"] is None else row["at"] + row["for"]
            self._events.append(_Event(index, row["at"], end, row["over"], row["set"]))

    def documents(self, most: int) -> Iterator[tuple[float, dict[str, Any], int]]:
        """Yield (time, tables from it on, number of the last event in force or 0), of up to `most` times."""
        edges = defaultdict(list)  # time -> numbers of the events that begin or end then
        for event in self._events:
            edges[event.begin].append(event.index)
            edges[event.end].append(event.index)
        in_force: list[int] = []  # in the order of the file: each event sets what those before it have left
        after = [self._reader.document]  # the tables after so many of the events in force
        ramping: list[int] = []
        for time in self._times(most):
            turned = edges.get(time, ())
            for index in turned:
                place = bisect_left(in_force, index)
                if index in in_force[place : place + 1]:
                    del in_force[place]
                else:
                    in_force.insert(place, index)
            same = bisect_left(in_force, min([*ramping, *turned], default=len(self._events)))
            del after[same + 1 :]  # what the first of those makes that begin, end or ramp, and all after it
            shares = {index: self._events[index].share(time, self._rate) for index in in_force[same:]}
            for index, share in shares.items():
                after.append(self._applied(self._events[index], after[-1], share))
            ramping = [index for index, share in shares.items() if share < 1.0]
            yield time, after[-1], in_force[-1] if in_force else 0

    def _times(self, most: int) -> list[float]:
        times = {time for event in self._events for time in (event.begin, event.end) if time != inf}
        for event in self._events:
            step = event.step(self._rate)
            times |= {event.begin + k * step for k in range(int(event.ramp / step))}
            times.add(event.begin + event.ramp)
            if len(times) > most:
                raise SupplyError(self._reader.name, f"{len(times)} changes and more", f"up to {most}")
        return sorted(times)

    def _applied(self, event: _Event, document: dict[str, Any], share: float) -> dict[str, Any]:
        """Return the tables with what an event sets; a share below 1 is on the way from what was there."""
        out = dict(document)
        for path, value in event.changes.items():
            *_, key = parts = path.split(".")
            table, rows = out, self._rows[""]
            match parts:
                case [_]:
                    pass
                case ["load", name, _]:
                    rows, loads = self._rows["load"], list(out.get("load", []))
                    names = [str(load.get("name", n)) for n, load in enumerate(loads, 1)]
                    if name not in names:
                        allowed = plain(", ".join(names), 200) or "a load first"
                        raise self._fail(event, "set", f"no load {short(name)}", allowed)
                    table = loads[names.index(name)] = dict(loads[names.index(name)])
                    out["load"] = loads
                case [name, _] if name in self._rows and name not in ("", "load"):
                    rows = self._rows[name]
                    table = out[name] = dict(out.get(name, {}))
                case _:
                    rows = {}
            if key not in rows:
                raise self._fail(event, "set", f"nothing to set at {short(path)}", _SETTABLE)
            before = table.get(key, rows[key][0])
            table[key] = self._between(event, path, rows[key], before, value, share) if share < 1.0 else value
        return out

    def _between(self, event: _Event, path: str, row: KeyRule, before: Any, value: Any, share: float) -> Any:
        """Return what a ramp has come to that goes from one number to another."""
        try:
            row[1](value)
        except (ValueError, TypeError, KeyError, AttributeError):
            raise self._fail(event, "set", f"{path} {short(value)} is not possible", row[2]) from None
        if not all(isinstance(v, int | float) and not isinstance(v, bool) for v in (before, value)):
            raise self._fail(event, "over", f"{path} is no number", "numbers that go from one to the other")
        return before + (value - before) * share

    def _fail(self, event: _Event, key: str, wrong: str, allowed: str) -> CountisError:
        return self._reader.fail("event", event.index, key, wrong, allowed)
