"""The supply TOML: text in, a plan of states in time or of a recording out.

Rule: an unknown key, a wrong type and a value out of range are errors with file, line and what is allowed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import partial
from itertools import pairwise
from math import cos, radians
from typing import Any, Final

from countis.supply.events import Timeline
from countis.supply.network import PHASES, FrontEnd, Harmonics, Load, Network, State, Wiring, angle_of
from countis.supply.profiles import PROFILES, Points
from countis.supply.source import Supply
from countis.words.errors import SupplyError
from countis.words.settings import CHANNELS, MAX_RATE, MIN_RATE
from countis.words.toml import KeyRule, Reader, number, text, whole

_MOST_STATES, _MOST_LOADS = 100_000, 1000
_MOST_IN_ALL: Final = 1_000_000  # loads of all states together
_NO_VOLTS: Final = 1e-3  # V, below which a load of constant power takes nothing


class AtEnd(StrEnum):
    """What comes after the end of a recording: nothing, its beginning, a dead supply."""

    STOP, LOOP, OFF = "stop", "loop", "off"


@dataclass(frozen=True, slots=True)
class RecordingPlan:
    """The `[recording]` table: which file, which of its channels, scaled how, played from where to where."""

    file: str
    channels: Mapping[str, str]
    v_scale: float = 1.0
    i_scale: float = 1.0
    start: float = 0.0
    end: float | None = None
    at_end: AtEnd = AtEnd.STOP


@dataclass(frozen=True, slots=True)
class StatePlan:
    """A state whose loads may be given by their power in primary W, which needs the CT ratio."""

    state: State
    powers: tuple[float | None, ...]

    def sized(self, ratio: float) -> State:
        """Return the state behind CTs of a ratio."""
        loads = []
        for load, power in zip(self.state.loads, self.powers, strict=True):
            volts = sum(self.state.network.volts[p] for p in load.phases)
            if power is not None:
                current = power / ratio / (volts * cos(radians(load.angle))) if volts > _NO_VOLTS else 0.0
                load = replace(load, current=current)
            loads.append(load)
        return replace(self.state, loads=tuple(loads))


@dataclass(frozen=True, slots=True)
class SupplyPlan:
    """What a supply file says: states, each with the seconds from which on it holds, or a recording.

    document: the tables as they stand in the file.
    """

    rate: float
    seed: int
    states: tuple[tuple[float, StatePlan], ...]
    recording: RecordingPlan | None
    document: dict[str, Any]

    def build(self, ratio: float, midnight: float = 43200.0) -> Supply:
        """Return the samples behind CTs of a ratio. midnight: seconds after midnight at the first of them."""
        states = [(seconds, plan.sized(ratio)) for seconds, plan in self.states]
        return Supply(states, rate=self.rate, seed=self.seed, midnight=midnight)


def _list_of(*readers: Callable[[Any], Any]) -> Callable[[Any], tuple[Any, ...]]:
    """Return a reader of a list with a value for each reader."""

    def read(value: Any) -> tuple[Any, ...]:
        if not isinstance(value, list):
            raise TypeError
        return tuple(reader(v) for reader, v in zip(readers, value, strict=True))

    return read


def _harmonics(value: Any) -> Harmonics:
    if not isinstance(value, dict):
        raise TypeError
    order, ratio_and_degrees = whole(2, 40), _list_of(number(0.0, 10.0), number(-360.0, 360.0))
    read = {order(int(key)): ratio_and_degrees(pair) for key, pair in value.items()}
    if len(read) != len(value):  # 5 and 05 are one
        raise ValueError
    return read


def _power_factor(value: Any) -> float:
    if number(-1.0, 1.0)(value) == 0.0:
        raise ValueError
    return float(value)


def _profile(value: Any) -> Points:
    if isinstance(value, str):
        return PROFILES[value]
    hour_and_factor = _list_of(number(0.0, 24.0), number(0.0, 1000.0))
    points = tuple(hour_and_factor(point) for point in list(value))
    if not points or any(a[0] >= b[0] for a, b in pairwise(points)):
        raise ValueError
    return points


def _phase_names(value: Any) -> tuple[int, ...]:
    if not isinstance(value, list) or len(set(value)) != len(value):
        raise ValueError
    return tuple(PHASES.index(name) for name in value)


def _swapped(value: Any) -> tuple[int, ...]:
    """Read two phases whose voltages are exchanged; return which phase is on each terminal."""
    one, other = _phase_names(value)
    return tuple({one: other, other: one}.get(phase, phase) for phase in range(3))


def _three_phases(value: Any) -> tuple[int, int, int]:
    first, second, third = (PHASES.index(name) for name in list(value))
    return first, second, third


def _channels(value: Any) -> Mapping[str, str]:
    if not isinstance(value, dict) or any(key not in CHANNELS for key in value):
        raise ValueError
    return {key: text(name) for key, name in value.items()}


# Words of the file -> what they mean; any other word is a KeyError, as `Reader` takes it.
_PHASES_OF_LOAD: Final[dict[str, tuple[int, ...]]] = {"all": (0, 1, 2), "L1": (0,), "L2": (1,), "L3": (2,)}
_EXPORTS: Final = {"import": False, "export": True}
_LOST: Final = {"ok": False, "lost": True}
_HARMONICS: Final[KeyRule] = ({}, _harmonics, "order 2..40 = [ratio 0..10, degrees]")
_TOP: Final[dict[str, KeyRule]] = {
    "rate": (8000.0, number(MIN_RATE, MAX_RATE), f"{MIN_RATE}..{MAX_RATE} samples per second"),
    "frequency": (50.0, number(0.0, 400.0), "0..400 Hz"),
    "seed": (1, whole(0, 2**31), "a whole number from 0 on"),
    "noise": (0.0, number(0.0, 0.1), "0..0.1 of full scale"),
    **{name: ({}, lambda table: table, f"[{name}]")
       for name in ("voltage", "wiring", "front_end", "tariff", "recording")},
    **{name: ([], lambda tables: tables, f"[[{name}]]") for name in ("load", "event")},
}
_VOLTAGE: Final[dict[str, KeyRule]] = {
    **dict.fromkeys(PHASES, (230.0, number(0.0, 1000.0), "0..1000 V")),
    "angle": ((0.0, -120.0, 120.0), _list_of(*[number(-360.0, 360.0)] * 3), "three angles in degrees"),
    "harmonics": _HARMONICS,
}
_LOAD: Final[dict[str, KeyRule]] = {
    "name": (None, text, "a name for events"),
    "phase": ((0, 1, 2), _PHASES_OF_LOAD.__getitem__, ", ".join(_PHASES_OF_LOAD)),
    "current": (None, number(0.0, 200.0), "0..200 A on the secondary"),
    "power": (None, number(0.0, 1e9), "0..1e9 W on the primary"),
    "angle": (None, number(-360.0, 360.0), "-360..360 degrees"),
    "pf": (None, _power_factor, "-1..1 but 0; + lagging, - leading"),
    "direction": (False, _EXPORTS.__getitem__, ", ".join(_EXPORTS)),
    "harmonics": _HARMONICS,
    "profile": (PROFILES["steady"], _profile,
                f"{', '.join(PROFILES)}, or [[hour, factor], …] with rising hours"),
    "fired": (0.0, number(0.0, 179.0), "0..179 degrees after the zero crossing"),
    "burst": (None, _list_of(whole(1, 10_000), whole(1, 10_000)), "[cycles on, cycles off]"),
}
_WIRING: Final[dict[str, KeyRule]] = {
    "missing": ((), _phase_names, "a list of L1, L2, L3"),
    "swapped": ((0, 1, 2), _swapped, "two of L1, L2, L3"),
    "ct": ((0, 1, 2), _three_phases, 'the phase of each CT, e.g. ["L2", "L1", "L3"]'),
    "reversed": ((), _phase_names, "a list of L1, L2, L3"),
    "neutral": (False, _LOST.__getitem__, ", ".join(_LOST)),
}
_FRONT_END: Final[dict[str, KeyRule]] = {
    "gain": ((1.0,) * 6, _list_of(*[number(0.0, 10.0)] * 6), "six factors 0..10, V1 V2 V3 I1 I2 I3"),
    "offset": ((0.0,) * 6, _list_of(*[number(-1000.0, 1000.0)] * 6), "six offsets in V and A"),
    "phase": ((0.0,) * 6, _list_of(*[number(-90.0, 90.0)] * 6), "six lags in degrees of the fundamental"),
    "bits": (None, whole(8, 32), "8..32"),
}
_TARIFF: Final[dict[str, KeyRule]] = {"volts": (0.0, number(0.0, 300.0), "0..300 V")}
_RECORDING: Final[dict[str, KeyRule]] = {
    "file": (None, text, "a file"),
    "channels": ({}, _channels, f"{', '.join(CHANNELS)} = names of the recording's channels"),
    "v_scale": (1.0, number(-1e6, 1e6), "-1e6..1e6"),
    "i_scale": (1.0, number(-1e6, 1e6), "-1e6..1e6"),
    "from": (0.0, number(0.0, 1e9), "seconds from 0 on"),
    "to": (None, number(0.0, 1e9), "seconds after from"),
    "at_end": (AtEnd.STOP, AtEnd, ", ".join(AtEnd)),
}
_ROWS: Final = {"voltage": _VOLTAGE, "load": _LOAD, "wiring": _WIRING, "front_end": _FRONT_END,
                "tariff": _TARIFF}
# What an event may set: keys of the file itself, of its tables, of any load.
_SETTABLE: Final = {"": {key: _TOP[key] for key in ("frequency", "noise")}, **_ROWS}


Known = dict[tuple[str, int], tuple[Any, Any]]  # name, number of a table -> the table, what was read of it


def read_supply(content: str, name: str, most_states: int = _MOST_STATES,
                most_loads: int = _MOST_LOADS) -> SupplyPlan:
    """Read a supply file; SupplyError with file, line, key and what is allowed."""
    reader = Reader(content, name)
    top = reader.table(reader.document, "", 0, _TOP)
    for key in ("load", "event"):
        if not isinstance(top[key], list):
            raise reader.fail("", 0, key, "not a list of tables", f"[[{key}]]")
    if len(top["load"]) > most_loads:
        raise reader.fail("", 0, "load", f"{len(top['load'])} of them", f"up to {most_loads}")
    recording = _recording(reader, top["recording"]) if "recording" in reader.document else None
    for key in ("voltage", "load", "wiring", "front_end", "event", "noise"):
        if recording is not None and key in reader.document:
            raise reader.fail("", 0, key, "beside a recording", "[recording] instead of voltage and load")
    known: Known = {}
    states = [(0.0, _state(reader, reader.document, top["rate"], known))]
    most_states = min(most_states, _MOST_IN_ALL // max(1, len(top["load"])))
    for time, document, event in Timeline(reader, top["rate"], _SETTABLE).documents(most_states):
        try:
            state = _state(reader, document, top["rate"], known)
        except SupplyError:  # raised again with the line of the event: only now is the file searched for it
            state = _state(reader.inside("event", event, "set"), document, top["rate"], known)
        states.append((time, state))
    return SupplyPlan(top["rate"], top["seed"], tuple(states), recording, reader.document)


def _state(reader: Reader, document: Mapping[str, Any], rate: float, known: Known) -> StatePlan:
    """Read all that a supply is at one time; a table that is the very object in `known` is not read again."""

    def once(name: str, values: Any, index: int = 0) -> Any:
        if (name, index) not in known or known[name, index][0] is not values:
            read = partial(_load, reader) if name == "load" else reader.table
            known[name, index] = values, read(values, name, index, _ROWS[name])
        return known[name, index][1]

    top = reader.table(document, "", 0, _TOP)
    frequency, highest = top["frequency"], f"below {rate / 2:g} Hz"
    voltage = once("voltage", top["voltage"])
    network = Network(tuple(voltage[p] for p in PHASES), voltage["angle"], frequency, voltage["harmonics"])
    loads = [once("load", values, n) for n, values in enumerate(top["load"])]
    wired = once("wiring", top["wiring"])
    if wired["neutral"] and any(load.switched for load, _ in loads):
        wrong = "lost with a fired or bursting load"
        raise reader.fail("wiring", 0, "neutral", wrong, "lost with steady loads")
    wiring = Wiring(wired["missing"], wired["swapped"], wired["ct"], wired["reversed"], wired["neutral"])
    front = once("front_end", top["front_end"])
    front_end = FrontEnd(front["gain"], front["offset"], front["phase"], top["noise"], front["bits"])
    tariff = once("tariff", top["tariff"])
    if frequency >= rate / 2:
        raise reader.fail("", 0, "frequency", "above half of the rate", highest)
    harmonics = [("load", n, load.harmonics) for n, (load, _) in enumerate(loads)]
    for name, index, orders in (("voltage", 0, network.harmonics), *harmonics):
        if any(k * frequency >= rate / 2 for k in orders):
            raise reader.fail(name, index, "harmonics", "above half of the rate", highest)
    state = State(network, tuple(load for load, _ in loads), wiring, front_end, tariff["volts"])
    return StatePlan(state, tuple(power for _, power in loads))


def _load(reader: Reader, values: Any, name: str, index: int,
          rows: Mapping[str, KeyRule]) -> tuple[Load, float | None]:
    """Read a load; with it the power it is given by, if it is."""
    row = reader.table(values, name, index, rows)
    fail = partial(reader.fail, name, index)
    for one, other in (("current", "power"), ("angle", "pf")):
        if row[one] is not None and row[other] is not None:
            raise fail(other, f"given beside {one}", f"{one} or {other}")
    if row["current"] is None and row["power"] is None:
        raise fail("current", "missing", "current or power")
    if row["harmonics"] and (row["fired"] or row["burst"]):
        raise fail("harmonics", "of a fired or bursting load", "none: its switching makes them")
    angle = angle_of(row["pf"]) if row["pf"] is not None else row["angle"] or 0.0
    if row["power"] is not None and not -89.9 <= angle <= 89.9:
        raise fail("angle", "no power at 90 degrees and beyond", "-89.9..89.9 with power")
    current = 0.0 if row["current"] is None else row["current"]
    load = Load(current=current, phases=row["phase"], angle=angle, export=row["direction"],
                harmonics=row["harmonics"], profile=row["profile"], fired=row["fired"], burst=row["burst"])
    return load, row["power"]


def _recording(reader: Reader, values: Any) -> RecordingPlan:
    row = reader.table(values, "recording", 0, _RECORDING)
    if row["file"] is None:
        raise reader.fail("recording", 0, "file", "missing", "a file")
    if row["to"] is not None and row["to"] <= row["from"]:
        raise reader.fail("recording", 0, "to", f"{row['to']:g} is not after from", f"above {row['from']:g}")
    return RecordingPlan(file=row["file"], channels=row["channels"], v_scale=row["v_scale"],
                         i_scale=row["i_scale"], start=row["from"], end=row["to"], at_end=row["at_end"])
