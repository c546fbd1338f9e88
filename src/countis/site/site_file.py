"""The site TOML: lines with their meters, simulated or real.

Rule: values only; what is wrong is told with file, line, key and what is allowed.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from countis.modbus.line.faults import Fault, read_fault
from countis.models import MODELS, Model
from countis.words.errors import CountisError, SettingError, SiteError
from countis.words.notation import COMSETS, CT_RATIOS, comset, ct_ratio
from countis.words.settings import SETTINGS, Value
from countis.words.toml import Reader, Row, number, one_of, text, whole

_TARGETS: Final = "pty, a device path, tcp://HOST:PORT, rtu+tcp://HOST:PORT"
MOST_METERS: Final = 247


@dataclass(frozen=True, slots=True)
class SiteMeter:
    """One meter of a line. supply: a file beside the site's, where it is simulated; None is the workshop."""

    address: int
    name: str
    model: Model
    ct: tuple[int, int]
    supply: str | None
    seed: int | None
    tariff_control: str | None
    serial_number: str | None
    swapped: bool  # A and B exchanged
    stale_after: float | None  # s without samples after which it is silent
    faults: tuple[Fault, ...]

    @property
    def settings(self) -> dict[str, Value]:
        """The settings that the file gives."""
        given = {"tariff_control": self.tariff_control, "serial_number": self.serial_number}
        return {"address": self.address, "ct_primary": self.ct[0], "ct_secondary": self.ct[1],
                **{symbol: value for symbol, value in given.items() if value is not None}}  # fmt: skip


@dataclass(frozen=True, slots=True)
class SiteLine:
    """One line: where it is, how fast, who is on it. collide: meters of one address answer at once, as on a real wire.

    metres, terminated, echo, noise, lost, doubled: of the modelled line, which paces a pty.
    """

    target: str
    baud: int
    parity: str
    stop_bits: int
    collide: bool
    metres: float
    terminated: bool
    echo: bool
    noise: float
    lost: float
    doubled: float
    meters: tuple[SiteMeter, ...] = field(default_factory=tuple)


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError
    return value


def _name(value: Any) -> str:
    if re.fullmatch(r"[A-Za-z0-9][\w .\-]{0,59}", text(value), re.ASCII) is None:
        raise ValueError
    return str(value)


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError
    return value


_TOP: Final[Mapping[str, Row]] = {"line": ([], _list, "[[line]]")}
_SHARE: Final = (0.0, number(0.0, 1.0), "0..1")
_LINE: Final[Mapping[str, Row]] = {
    "target": ("pty", text, _TARGETS),
    "baud": (38400, SETTINGS["baud"].check, SETTINGS["baud"].allowed_text()),
    "comset": (("N", 1), lambda value: comset(text(value), ""), COMSETS),
    "collide": (False, _flag, "true or false"),
    "metres": (10.0, number(0.0, 10_000.0), "0..10000"),
    "terminated": (True, _flag, "true or false"),
    "echo": (False, _flag, "true or false"),
    "noise": _SHARE,
    "lost": _SHARE,
    "doubled": _SHARE,
    "meter": ([], _list, "[[line.meter]]"),
}
_METER: Final[Mapping[str, Row]] = {
    "address": (None, whole(1, 247), "1..247"),
    "name": (None, _name, "up to 60 letters, digits, blanks and _ . -, none of these first"),
    "model": (MODELS["E44"], lambda value: MODELS[value], ", ".join(MODELS)),
    "ct": ((200, 5), lambda value: ct_ratio(text(value), ""), CT_RATIOS),
    "supply": (None, text, "a supply file"),
    "seed": (None, whole(0, 2**31), "0..2147483648"),
    "tariff_control": (None, one_of("com", "dig"), "com, dig"),
    "serial_number": (None, SETTINGS["serial_number"].check, SETTINGS["serial_number"].allowed_text()),
    "swapped": (False, _flag, "true or false"),
    "stale_after": (None, number(0.0, 1e6), "seconds"),
    "fault": ([], _list, "[[line.meter.fault]]"),
}


def read_site(content: str, name: str) -> tuple[SiteLine, ...]:
    """Read a site file; SiteError with file, line, key and what is allowed."""
    reader = Reader(content, name, SiteError)
    lines = reader.table(reader.document, "", 0, _TOP)["line"]
    if not lines:
        raise reader.fail("", 0, "line", "missing", "[[line]] with a [[line.meter]] each")
    plans, seen = [], 0
    for index, values in enumerate(lines):
        plans.append(_line(reader, index, values, seen))
        seen += len(plans[-1].meters)
    names = Counter(meter.name for plan in plans for meter in plan.meters)
    twice = [meter for meter, count in names.items() if count > 1]
    if twice:
        raise SiteError(
            name, f"line.meter.name: {twice[0]!r} twice", "a name of its own for each memory"
        )
    return tuple(plans)


def _line(reader: Reader, index: int, values: Any, seen: int) -> SiteLine:
    row = reader.table(values, "line", index, _LINE)
    if not 1 <= len(row["meter"]) <= MOST_METERS:
        raise reader.fail("line", index, "meter", f"{len(row['meter'])} meters", f"1..{MOST_METERS} on a line")
    meters = tuple(_meter(reader, seen + k, values) for k, values in enumerate(row["meter"]))
    found: dict[int, int] = {}
    for k, meter in enumerate(meters):
        if meter.address in found and not row["collide"]:
            allowed = "each address once, or collide = true in its [[line]]"
            raise reader.fail("line.meter", seen + k, "address", f"{meter.address} is there already", allowed)
        found[meter.address] = k
    parity, stop_bits = row["comset"]
    cable = {key: row[key] for key in ("collide", "metres", "terminated", "echo", "noise", "lost", "doubled")}
    return SiteLine(row["target"], row["baud"], parity, stop_bits, meters=meters, **cable)


def _meter(reader: Reader, index: int, values: Any) -> SiteMeter:
    row = reader.table(values, "line.meter", index, _METER)
    if row["address"] is None:
        raise reader.fail("line.meter", index, "address", "missing", "1..247")
    faults = []
    for fault in row["fault"]:
        try:
            faults.append(read_fault(fault if isinstance(fault, dict) else {}))
        except SettingError as error:
            raise _fault_failure(reader, index, error) from None
    name = row["name"] or f"meter-{row['address']:03}"
    return SiteMeter(row["address"], name, row["model"], row["ct"], row["supply"], row["seed"], row["tariff_control"],
                     row["serial_number"], row["swapped"], row["stale_after"], tuple(faults))  # fmt: skip


def _fault_failure(reader: Reader, index: int, error: SettingError) -> CountisError:
    line = reader.line_of("line.meter", index, "fault")
    return SiteError(f"{reader.name}:{line}: line.meter.{error.where}", error.wrong, error.allowed)
