"""The supply TOML: text in, a plan of states in time or of a recording out.

Rule: a key that is not known, a wrong type and a value out of range are errors with file, line and what is allowed.
"""

from __future__ import annotations

import copy
import itertools
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import cos, floor, radians
from typing import Any, Final

from countis.supply.network import PHASES, FrontEnd, Harmonics, Load, Network, State, Wiring, angle_of
from countis.supply.profiles import PROFILES, Points
from countis.supply.source import Supply
from countis.supply.synthesis import PIECE
from countis.words.errors import SupplyError, plain
from countis.words.settings import CHANNELS, MAX_RATE, MIN_RATE
from countis.words.toml import Reader, Row, number, one_of, short, text, whole

AT_END: Final = ("stop", "loop", "off")
_RAMP_STEPS: Final = 2000
_MOST_STATES, _MOST_LOADS = 100_000, 1000
_MOST_IN_ALL: Final = 1_000_000  # loads of all states together
_NO_VOLTS: Final = 1e-3  # V, below which a load of constant power takes nothing


@dataclass(frozen=True, slots=True)
class RecordingPlan:
    """The `[recording]` table: which file, which of its channels, scaled how, played from where to where."""

    file: str
    channels: Mapping[str, str]
    v_scale: float = 1.0
    i_scale: float = 1.0
    start: float = 0.0
    end: float | None = None
    at_end: str = "stop"


@dataclass(frozen=True, slots=True)
class StatePlan:
    """A state whose loads may be given by their power in primary W, which needs the CT ratio."""

    state: State
    powers: tuple[float | None, ...]

    def sized(self, ratio: float) -> State:
        """Return the state behind CTs of a ratio."""
        loads = tuple(
            load if power is None else replace(load, current=_current(power / ratio, load, self.state.network))
            for load, power in zip(self.state.loads, self.powers, strict=True)
        )
        return replace(self.state, loads=loads)


def _current(watts: float, load: Load, network: Network) -> float:
    """Return the current that takes so many watts; none where there is no voltage."""
    volts = sum(network.volts[p] for p in load.phases)
    return watts / (volts * cos(radians(load.angle))) if volts > _NO_VOLTS else 0.0


@dataclass(frozen=True, slots=True)
class SupplyPlan:
    """What a supply file says; `build` makes the source of samples. states: (seconds from which on, state)."""

    rate: float
    seed: int
    states: tuple[tuple[float, StatePlan], ...]
    recording: RecordingPlan | None

    def build(self, ratio: float, midnight: float = 43200.0) -> Supply:
        """Return the source for a meter whose CT ratio is `ratio`; `midnight`: seconds after midnight at its start."""
        states = [(seconds, plan.sized(ratio)) for seconds, plan in self.states]
        return Supply(states, rate=self.rate, seed=self.seed, midnight=midnight)


def _pair(value: Any) -> bool:
    if not isinstance(value, list) or len(value) != 2:
        raise ValueError
    return True


def _table(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise TypeError
    return value


def _changes(value: Any) -> dict[str, Any]:
    """Read what an event sets; the page is told all of it, also what is never in force."""
    changes = _table(value)
    json.dumps(changes, allow_nan=False)
    return changes


def _harmonics(value: Any) -> Harmonics:
    order, ratio, degrees = whole(2, 40), number(0.0, 10.0), number(-360.0, 360.0)
    read = {order(int(key)): (ratio(pair[0]), degrees(pair[1])) for key, pair in _table(value).items() if _pair(pair)}
    if len(read) != len(value):  # 5 and 05 are one
        raise ValueError
    return read


def _numbers(count: int, low: float, high: float) -> Any:
    def read(value: Any) -> tuple[float, ...]:
        if not isinstance(value, list) or len(value) != count:
            raise ValueError
        return tuple(number(low, high)(v) for v in value)

    return read


def _power_factor(value: Any) -> float:
    if number(-1.0, 1.0)(value) == 0.0:
        raise ValueError
    return float(value)


def _profile(value: Any) -> Points:
    if isinstance(value, str):
        return PROFILES[value]
    hour, factor = number(0.0, 24.0), number(0.0, 1000.0)
    points = tuple((hour(p[0]), factor(p[1])) for p in list(value) if _pair(p))
    if not points or any(a[0] >= b[0] for a, b in itertools.pairwise(points)):
        raise ValueError
    return points


def _phase_names(value: Any) -> tuple[int, ...]:
    if not isinstance(value, list) or len(set(value)) != len(value):
        raise ValueError
    return tuple(PHASES.index(name) for name in value)


def _two_phases(value: Any) -> tuple[int, ...]:
    if len(phases := _phase_names(value)) != 2:
        raise ValueError
    return phases


def _three_phases(value: Any) -> tuple[int, ...]:
    if len(phases := tuple(PHASES.index(name) for name in list(value))) != 3:
        raise ValueError
    return phases


def _burst(value: Any) -> tuple[int, int]:
    cycles = whole(1, 10_000)
    return (cycles(value[0]), cycles(value[1])) if _pair(value) else (1, 1)


def _channels(value: Any) -> Mapping[str, str]:
    if not isinstance(value, dict) or any(key not in CHANNELS for key in value):
        raise ValueError
    return {key: text(name) for key, name in value.items()}


def _as_is(value: Any) -> Any:
    return value


_VOLTS: Final[Row] = (230.0, number(0.0, 1000.0), "0..1000 V")
_HARMONICS: Final[Row] = ({}, _harmonics, "order 2..40 = [ratio 0..10, degrees]")
_TABLES: Final = ("voltage", "wiring", "front_end", "tariff", "recording")
_TOP: Final[dict[str, Row]] = {
    "rate": (8000.0, number(MIN_RATE, MAX_RATE), f"{MIN_RATE}..{MAX_RATE} samples per second"),
    "frequency": (50.0, number(0.0, 400.0), "0..400 Hz"),
    "seed": (1, whole(0, 2**31), "a whole number from 0 on"),
    "noise": (0.0, number(0.0, 0.1), "0..0.1 of full scale"),
    **{name: ({}, _as_is, f"[{name}]") for name in _TABLES},
    **{name: ([], _as_is, f"[[{name}]]") for name in ("load", "event")},
}
_VOLTAGE: Final[dict[str, Row]] = {
    **dict.fromkeys(PHASES, _VOLTS),
    "angle": ((0.0, -120.0, 120.0), _numbers(3, -360.0, 360.0), "three angles in degrees"),
    "harmonics": _HARMONICS,
}
_LOAD: Final[dict[str, Row]] = {
    "name": (None, text, "a name for events"),
    "phase": ("all", one_of("all", *PHASES), "all, L1, L2, L3"),
    "current": (None, number(0.0, 200.0), "0..200 A on the secondary"),
    "power": (None, number(0.0, 1e9), "0..1e9 W on the primary"),
    "angle": (None, number(-360.0, 360.0), "-360..360 degrees"),
    "pf": (None, _power_factor, "-1..1 but 0; + lagging, - leading"),
    "direction": ("import", one_of("import", "export"), "import, export"),
    "harmonics": _HARMONICS,
    "profile": (PROFILES["steady"], _profile, f"{', '.join(PROFILES)}, or [[hour, factor], …] with rising hours"),
    "fired": (0.0, number(0.0, 179.0), "0..179 degrees after the zero crossing"),
    "burst": (None, _burst, "[cycles on, cycles off]"),
}
_WIRING: Final[dict[str, Row]] = {
    "missing": ((), _phase_names, "a list of L1, L2, L3"),
    "swapped": ((), _two_phases, "two of L1, L2, L3"),
    "ct": ((0, 1, 2), _three_phases, 'the phase of each CT, e.g. ["L2", "L1", "L3"]'),
    "reversed": ((), _phase_names, "a list of L1, L2, L3"),
    "neutral": ("ok", one_of("ok", "lost"), "ok, lost"),
}
_SIX_ONES, _SIX_ZEROS = (1.0,) * 6, (0.0,) * 6
_FRONT_END: Final[dict[str, Row]] = {
    "gain": (_SIX_ONES, _numbers(6, 0.0, 10.0), "six factors 0..10, V1 V2 V3 I1 I2 I3"),
    "offset": (_SIX_ZEROS, _numbers(6, -1000.0, 1000.0), "six offsets in V and A"),
    "phase": (_SIX_ZEROS, _numbers(6, -90.0, 90.0), "six lags in degrees of the fundamental"),
    "bits": (None, whole(8, 32), "8..32"),
}
_TARIFF: Final[dict[str, Row]] = {"volts": (0.0, number(0.0, 300.0), "0..300 V")}
_EVENT: Final[dict[str, Row]] = {
    "at": (None, number(0.0, 1e9), "seconds from 0 on"),
    "for": (None, number(0.0, 1e9), "seconds, or nothing for good"),
    "over": (0.0, number(0.0, 1e6), "seconds that a ramp takes"),
    "set": (None, _changes, '{ "voltage.L1" = 161.0, … }'),
}
_RECORDING: Final[dict[str, Row]] = {
    "file": (None, text, "a file"),
    "channels": ({}, _channels, f"{', '.join(CHANNELS)} = names of the recording's channels"),
    "v_scale": (1.0, number(-1e6, 1e6), "-1e6..1e6"),
    "i_scale": (1.0, number(-1e6, 1e6), "-1e6..1e6"),
    "from": (0.0, number(0.0, 1e9), "seconds from 0 on"),
    "to": (None, number(0.0, 1e9), "seconds after from"),
    "at_end": ("stop", one_of(*AT_END), ", ".join(AT_END)),
}


def read_supply(content: str, name: str, most_states: int = _MOST_STATES, most_loads: int = _MOST_LOADS) -> SupplyPlan:
    """Read a supply file; SupplyError with file, line, key and what is allowed."""
    reader = Reader(content, name)
    top = reader.table(reader.document, "", 0, _TOP)
    for key in ("load", "event"):
        if not isinstance(top[key], list):
            raise reader.fail("", 0, key, "not a list of tables", f"[[{key}]]")
    if len(top["load"]) > most_loads:
        raise reader.fail("", 0, "load", f"{len(top['load'])} of them", f"up to {most_loads}")
    recording = _recording(reader, top["recording"]) if "recording" in reader.document else None
    beside = [key for key in ("voltage", "load", "wiring", "front_end", "event", "noise") if key in reader.document]
    if recording is not None and beside:
        raise reader.fail("", 0, beside[0], "beside a recording", "[recording] instead of voltage and load")
    first = _state(reader, reader.document, top["rate"])
    most_states = min(most_states, _MOST_IN_ALL // max(1, len(top["load"])))
    states = ((0.0, first), *_later_states(reader, top["event"], top["rate"], most_states))
    return SupplyPlan(top["rate"], top["seed"], states, recording)


def _state(reader: Reader, document: Mapping[str, Any], rate: float) -> StatePlan:
    """Read everything that a supply is at one time."""
    top = reader.table({k: v for k, v in document.items() if k != "event"}, "", 0, _TOP)
    voltage = reader.table(top["voltage"], "voltage", 0, _VOLTAGE)
    network = Network(tuple(voltage[p] for p in PHASES), voltage["angle"], top["frequency"], voltage["harmonics"])
    loads = [_load(reader, index, values) for index, values in enumerate(top["load"])]
    wired = reader.table(top["wiring"], "wiring", 0, _WIRING)
    order = [0, 1, 2]
    if wired["swapped"]:
        a, b = wired["swapped"]
        order[a], order[b] = b, a
    wiring = Wiring(
        wired["missing"], (order[0], order[1], order[2]), wired["ct"], wired["reversed"], wired["neutral"] == "lost"
    )
    if wiring.neutral_lost and any(load.switched for load, _ in loads):
        raise reader.fail("wiring", 0, "neutral", "lost with a fired or bursting load", "lost with steady loads")
    front = reader.table(top["front_end"], "front_end", 0, _FRONT_END)
    front_end = FrontEnd(front["gain"], front["offset"], front["phase"], top["noise"], front["bits"])
    tariff = reader.table(top["tariff"], "tariff", 0, _TARIFF)
    state = State(network, tuple(load for load, _ in loads), wiring, front_end, tariff["volts"])
    if network.frequency >= rate / 2:
        raise reader.fail("", 0, "frequency", "above half of the rate", f"below {rate / 2:g} Hz")
    for table, index, harmonics in (
        ("voltage", 0, network.harmonics),
        *(("load", n, x.harmonics) for n, (x, _) in enumerate(loads)),
    ):
        if any(k * network.frequency >= rate / 2 for k in harmonics):
            raise reader.fail(table, index, "harmonics", "above half of the rate", f"below {rate / 2:g} Hz")
    return StatePlan(state, tuple(power for _, power in loads))


def _load(reader: Reader, index: int, values: Any) -> tuple[Load, float | None]:
    row = reader.table(values, "load", index, _LOAD)
    for one, other in (("current", "power"), ("angle", "pf")):
        if row[one] is not None and row[other] is not None:
            raise reader.fail("load", index, other, f"given beside {one}", f"{one} or {other}")
    if row["current"] is None and row["power"] is None:
        raise reader.fail("load", index, "current", "missing", "current or power")
    if row["harmonics"] and (row["fired"] or row["burst"]):
        raise reader.fail("load", index, "harmonics", "of a fired or bursting load", "none: its switching makes them")
    angle = angle_of(row["pf"]) if row["pf"] is not None else row["angle"] or 0.0
    if row["power"] is not None and not -89.9 <= angle <= 89.9:
        raise reader.fail("load", index, "angle", "no power at 90 degrees and beyond", "-89.9..89.9 with power")
    phases = (0, 1, 2) if row["phase"] == "all" else (PHASES.index(row["phase"]),)
    current = row["current"] if row["current"] is not None else 0.0
    export = row["direction"] == "export"
    return Load(current, phases, angle, export, row["harmonics"], row["profile"], row["fired"], row["burst"]), row["power"]


@dataclass(frozen=True, slots=True)
class _Event:
    index: int
    at: float
    until: float
    over: float
    set: dict[str, Any]

    def step(self, rate: float) -> float:
        """How long a ramp stays at one value, in s."""
        return max(PIECE / rate, self.over / _RAMP_STEPS)

    def share(self, time: float, rate: float) -> float:
        """How far a ramp has come in the middle of its step at `time`; 1 at its end, and where there is none."""
        step = self.step(rate)
        done = (floor((time - self.at) / step + 1e-6) + 0.5) * step
        return 1.0 if time >= self.at + self.over - 1e-9 else min(1.0, done / self.over)


def _events(reader: Reader, values: list[Any]) -> list[_Event]:
    events = []
    for index, table in enumerate(values):
        row = reader.table(table, "event", index, _EVENT)
        for key in ("at", "set"):
            if row[key] is None:
                raise reader.fail("event", index, key, "missing", _EVENT[key][2])
        until = float("inf") if row["for"] is None else row["at"] + row["for"]
        events.append(_Event(index, row["at"], until, row["over"], row["set"]))
    return events


def _later_states(reader: Reader, values: list[Any], rate: float, most: int) -> list[tuple[float, StatePlan]]:
    """Return the states that events make, each from its time on."""
    events = _events(reader, values)
    times = {time for event in events for time in (event.at, event.until) if time != float("inf")}
    for event in events:
        step = event.step(rate)
        times |= {event.at + k * step for k in range(int(event.over / step))} | {event.at + event.over}
        if len(times) > most:
            raise SupplyError(reader.name, f"{len(times)} changes and more", f"up to {most}")
    return [(time, _state_at(reader, events, time, rate)) for time in sorted(times)]


def _state_at(reader: Reader, events: list[_Event], time: float, rate: float) -> StatePlan:
    document = copy.deepcopy({k: v for k, v in reader.document.items() if k != "event"})
    active = [event for event in events if event.at <= time < event.until]
    for event in active:
        share = event.share(time, rate)
        for path, value in event.set.items():
            _set(reader, event, document, path, value, share)
    return _state(reader.inside("event", active[-1].index, "set") if active else reader, document, rate)


def _set(reader: Reader, event: _Event, document: dict[str, Any], path: str, value: Any, share: float) -> None:
    """Put a value at a path of the document; a share below 1 is on the way there from what it was."""
    *tables, key = path.split(".")
    place: Any = document
    rows: Mapping[str, Row] = _TOP
    if tables[:1] == ["load"] and len(tables) == 2:
        loads = document.get("load", [])
        names = [str(load.get("name", n)) if isinstance(load, dict) else "" for n, load in enumerate(loads, 1)]
        if tables[1] not in names:
            allowed = plain(", ".join(names), 200) or "a load first"
            raise reader.fail("event", event.index, "set", f"no load {short(tables[1])}", allowed)
        place, rows = loads[names.index(tables[1])], _LOAD
    elif len(tables) == 1 and tables[0] in _TABLES[:-1]:
        place = document.setdefault(tables[0], {})
        rows = {"voltage": _VOLTAGE, "wiring": _WIRING, "front_end": _FRONT_END, "tariff": _TARIFF}[tables[0]]
    if (tables and place is document) or key not in rows or (not tables and key not in ("frequency", "noise")):
        allowed = "frequency, noise, voltage.…, load.NAME.…, wiring.…, front_end.…, tariff.volts"
        raise reader.fail("event", event.index, "set", f"nothing to set at {short(path)}", allowed)
    before = place.get(key, rows[key][0])
    if share < 1.0:
        try:
            rows[key][1](value)
        except (ValueError, TypeError, KeyError, AttributeError):
            raise reader.fail("event", event.index, "set", f"{path} {short(value)} is not possible", rows[key][2]) from None
        if not all(isinstance(v, int | float) and not isinstance(v, bool) for v in (before, value)):
            raise reader.fail("event", event.index, "over", f"{path} is no number", "numbers that go from one to the other")
        value = before + (value - before) * share
    place[key] = value


def _recording(reader: Reader, values: Any) -> RecordingPlan:
    row = reader.table(values, "recording", 0, _RECORDING)
    if row["file"] is None:
        raise reader.fail("recording", 0, "file", "missing", "a file")
    if row["to"] is not None and row["to"] <= row["from"]:
        raise reader.fail("recording", 0, "to", f"{row['to']:g} is not after from", f"above {row['from']:g}")
    return RecordingPlan(row["file"], row["channels"], row["v_scale"], row["i_scale"], row["from"], row["to"], row["at_end"])
