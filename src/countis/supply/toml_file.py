"""The supply TOML: text in, a Supply or a recording's plan out.

Rule: a key that is not known, a wrong type and a value out of range are errors with file, line and what is allowed.
"""

from __future__ import annotations

import itertools
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from math import cos, radians
from typing import Any, Final

from countis.errors import SupplyError
from countis.supply.network import PHASES, Harmonics, Load, Network, Supply, angle_of
from countis.supply.profiles import PROFILES, Points

_Row = tuple[Any, Callable[[Any], Any], str]  # default, reader (ValueError, TypeError, KeyError: not possible), what is allowed
CHANNELS: Final = ("V1", "V2", "V3", "I1", "I2", "I3")
AT_END: Final = ("stop", "loop", "off")


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
class SupplyPlan:
    """What a supply file says; `build` makes the source of samples."""

    rate: float
    network: Network
    loads: tuple[tuple[Load, float | None], ...]  # with a power in primary W instead of a current, where one is given
    noise: float
    seed: int
    tariff_volts: float
    recording: RecordingPlan | None

    def build(self, ratio: float, midnight: float = 43200.0) -> Supply:
        """Return the source for a meter whose CT ratio is `ratio`; `midnight`: seconds after midnight at its start."""
        loads = [load if power is None else _sized(load, power / ratio, self.network) for load, power in self.loads]
        return Supply(self.network, loads, rate=self.rate, noise=self.noise, seed=self.seed, tariff_volts=self.tariff_volts,
                      midnight=midnight)  # fmt: skip


def _sized(load: Load, watts: float, network: Network) -> Load:
    """Give a load the current that takes `watts` at the nominal voltages of its phases."""
    volts = sum(network.volts[p] for p in load.phases) * cos(radians(load.angle))
    return replace(load, current=watts / volts)


class _Reader:
    """One TOML file; turns values into what they must be, or raises with their line."""

    def __init__(self, text: str, name: str) -> None:
        self.name, self.lines = name, text.splitlines()
        try:
            self.document: dict[str, Any] = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            found = re.search(r"\(at (?:line (\d+), column \d+|end of document)\)", str(error))
            line = found.group(1) if found and found.group(1) else str(len(self.lines))
            raise SupplyError(f"{name}:{line}: {str(error).split(' (at')[0]} (allowed: TOML)") from None

    def line_of(self, table: str, number: int, key: str) -> int:
        """Return the line of a key in the n-th table of that name, or of the table itself; 1 where it cannot be told."""
        seen, inside, at = -1, table == "", 1
        for count, line in enumerate(self.lines, 1):
            header = re.match(r"\s*\[\[?\s*([\w.\-]+)\s*\]\]?", line)
            if header:
                seen += header.group(1) == table
                inside = header.group(1) == table and seen == number
                at = count if inside else at
            elif inside and re.match(rf"\s*[\"']?{re.escape(key)}[\"']?\s*[.=]", line):
                return count
        return at

    def fail(self, table: str, number: int, key: str, wrong: str, allowed: str) -> SupplyError:
        path = f"{table}.{key}" if table else key
        return SupplyError(f"{self.name}:{self.line_of(table, number, key)}: {path}: {wrong} (allowed: {allowed})")

    def table(self, values: Any, name: str, number: int, rows: Mapping[str, _Row]) -> dict[str, Any]:
        """Check one table against its rows, by key."""
        if not isinstance(values, dict):
            raise self.fail("", 0, name, f"{values!r} is not a table", f"[{name}]")
        for key in values:
            if key not in rows:
                raise self.fail(name, number, key, "unknown key", ", ".join(rows))
        out = {}
        for key, (default, read, allowed) in rows.items():
            if key not in values:
                out[key] = default
                continue
            try:
                out[key] = read(values[key])
            except (ValueError, TypeError, KeyError):
                raise self.fail(name, number, key, f"{values[key]!r} is not possible", allowed) from None
        return out


def _number(low: float, high: float) -> Callable[[Any], float]:
    def read(value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            raise ValueError
        return float(value)

    return read


def _whole(low: int, high: int) -> Callable[[Any], int]:
    def read(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise ValueError
        return value

    return read


def _one_of(*allowed: str) -> Callable[[Any], str]:
    def read(value: Any) -> str:
        if value not in allowed:
            raise ValueError
        return str(value)

    return read


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise TypeError
    return value


def _harmonics(value: Any) -> Harmonics:
    order, ratio, degrees = _whole(2, 40), _number(0.0, 10.0), _number(-360.0, 360.0)
    return {order(int(key)): (ratio(pair[0]), degrees(pair[1])) for key, pair in value.items() if _pair(pair)}


def _pair(value: Any) -> bool:
    if not isinstance(value, list) or len(value) != 2:
        raise ValueError
    return True


def _angles(value: Any) -> tuple[float, ...]:
    if not isinstance(value, list) or len(value) != 3:
        raise ValueError
    return tuple(_number(-360.0, 360.0)(v) for v in value)


def _power_factor(value: Any) -> float:
    if _number(-1.0, 1.0)(value) == 0.0:
        raise ValueError
    return float(value)


def _profile(value: Any) -> Points:
    if isinstance(value, str):
        return PROFILES[value]
    hour, factor = _number(0.0, 24.0), _number(0.0, 1000.0)
    points = tuple((hour(p[0]), factor(p[1])) for p in value if _pair(p))
    if not points or any(a[0] >= b[0] for a, b in itertools.pairwise(points)):
        raise ValueError
    return points


def _channels(value: Any) -> Mapping[str, str]:
    if not isinstance(value, dict) or any(key not in CHANNELS for key in value):
        raise ValueError
    return {key: _text(name) for key, name in value.items()}


def _as_is(value: Any) -> Any:
    return value


_VOLTS: Final[_Row] = (230.0, _number(0.0, 1000.0), "0..1000 V")
_HARMONICS: Final[_Row] = ({}, _harmonics, "order 2..40 = [ratio 0..10, degrees]")
_TOP: Final[dict[str, _Row]] = {
    "rate": (8000.0, _number(800, 50_000), "800..50000 samples per second"),
    "frequency": (50.0, _number(0.0, 400.0), "0..400 Hz"),
    "seed": (1, _whole(0, 2**31), "a whole number from 0 on"),
    "noise": (0.0, _number(0.0, 0.1), "0..0.1 of full scale"),
    **{name: ({} if name != "load" else [], _as_is, "a table") for name in ("voltage", "load", "tariff", "recording")},
}
_VOLTAGE: Final[dict[str, _Row]] = {
    **dict.fromkeys(PHASES, _VOLTS),
    "angle": ((0.0, -120.0, 120.0), _angles, "three angles in degrees"),
    "harmonics": _HARMONICS,
}
_LOAD: Final[dict[str, _Row]] = {
    "phase": ("all", _one_of("all", *PHASES), "all, L1, L2, L3"),
    "current": (None, _number(0.0, 200.0), "0..200 A on the secondary"),
    "power": (None, _number(0.0, 1e9), "0..1e9 W on the primary"),
    "angle": (None, _number(-360.0, 360.0), "-360..360 degrees"),
    "pf": (None, _power_factor, "-1..1 but 0; + lagging, - leading"),
    "direction": ("import", _one_of("import", "export"), "import, export"),
    "harmonics": _HARMONICS,
    "profile": (PROFILES["steady"], _profile, f"{', '.join(PROFILES)}, or [[hour, factor], …] with rising hours"),
}
_TARIFF: Final[dict[str, _Row]] = {"volts": (0.0, _number(0.0, 300.0), "0..300 V")}
_RECORDING: Final[dict[str, _Row]] = {
    "file": (None, _text, "a file"),
    "channels": ({}, _channels, f"{', '.join(CHANNELS)} = names of the recording's channels"),
    "v_scale": (1.0, _number(-1e6, 1e6), "-1e6..1e6"),
    "i_scale": (1.0, _number(-1e6, 1e6), "-1e6..1e6"),
    "from": (0.0, _number(0.0, 1e9), "seconds from 0 on"),
    "to": (None, _number(0.0, 1e9), "seconds after from"),
    "at_end": ("stop", _one_of(*AT_END), ", ".join(AT_END)),
}


def read_supply(text: str, name: str) -> SupplyPlan:
    """Read a supply file; SupplyError with file, line, key and what is allowed."""
    reader = _Reader(text, name)
    top = reader.table(reader.document, "", 0, _TOP)
    voltage = reader.table(top["voltage"], "voltage", 0, _VOLTAGE)
    network = Network(tuple(voltage[p] for p in PHASES), voltage["angle"], top["frequency"], voltage["harmonics"])
    tariff = reader.table(top["tariff"], "tariff", 0, _TARIFF)
    if not isinstance(top["load"], list):
        raise reader.fail("", 0, "load", "not a list of tables", "[[load]]")
    loads = tuple(_load(reader, number, values) for number, values in enumerate(top["load"]))
    recording = _recording(reader, top["recording"]) if top["recording"] != {} else None
    plan = SupplyPlan(top["rate"], network, loads, top["noise"], top["seed"], tariff["volts"], recording)
    for where, harmonics in _all_harmonics(network, loads):
        if any(order * network.frequency >= plan.rate / 2 for order in harmonics):
            raise reader.fail(*where, "harmonics", "above half of the rate", f"below {plan.rate / 2:g} Hz")
    return plan


def _all_harmonics(
    network: Network, loads: tuple[tuple[Load, float | None], ...]
) -> Iterator[tuple[tuple[str, int], Harmonics]]:
    yield ("voltage", 0), network.harmonics
    for number, (load, _) in enumerate(loads):
        yield ("load", number), load.harmonics


def _load(reader: _Reader, number: int, values: Any) -> tuple[Load, float | None]:
    row = reader.table(values, "load", number, _LOAD)
    for one, other in (("current", "power"), ("angle", "pf")):
        if row[one] is not None and row[other] is not None:
            raise reader.fail("load", number, other, f"given beside {one}", f"{one} or {other}")
    if row["current"] is None and row["power"] is None:
        raise reader.fail("load", number, "current", "missing", "current or power")
    angle = angle_of(row["pf"]) if row["pf"] is not None else row["angle"] or 0.0
    if row["power"] is not None and not -89.9 <= angle <= 89.9:
        raise reader.fail("load", number, "angle", "no power at 90 degrees and beyond", "-89.9..89.9 with power")
    phases = (0, 1, 2) if row["phase"] == "all" else (PHASES.index(row["phase"]),)
    current = row["current"] if row["current"] is not None else 0.0
    load = Load(current, phases, angle, row["direction"] == "export", row["harmonics"], row["profile"])
    return load, row["power"]


def _recording(reader: _Reader, values: Any) -> RecordingPlan:
    row = reader.table(values, "recording", 0, _RECORDING)
    if row["file"] is None:
        raise reader.fail("recording", 0, "file", "missing", "a file")
    if row["to"] is not None and row["to"] <= row["from"]:
        raise reader.fail("recording", 0, "to", f"{row['to']:g} is not after from", f"above {row['from']:g}")
    return RecordingPlan(row["file"], row["channels"], row["v_scale"], row["i_scale"], row["from"], row["to"], row["at_end"])
