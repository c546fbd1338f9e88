"""The site TOML: lines with their meters, simulated or real.

Rule: values only; an error names file, line, key and what is allowed.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from countis.modbus.line.faults import Fault, read_fault
from countis.models import MODELS, Model
from countis.words.errors import SettingError, SiteError
from countis.words.notation import COMSETS, CT_RATIOS, comset, ct_ratio
from countis.words.settings import SETTINGS, Value
from countis.words.toml import KeyRule, Reader, number, one_of, text, whole

_TARGETS: Final = "pty, a device path, tcp://HOST:PORT, rtu+tcp://HOST:PORT"
MOST_METERS: Final = 247


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteMeter:
    """One meter of a line, with the keys of [[line.meter]].

    supply: a file beside the site's; None is the workshop. swapped: A and B exchanged. stale_after: s without
    samples after which it is silent.
    """

    address: int
    name: str
    model: Model
    ct: tuple[int, int]
    supply: str | None
    seed: int | None
    tariff_control: str | None
    serial_number: str | None
    swapped: bool
    stale_after: float | None
    faults: tuple[Fault, ...]

    @property
    def settings(self) -> dict[str, Value]:
        """The settings that the file gives."""
        values = {"address": self.address, "ct_primary": self.ct[0], "ct_secondary": self.ct[1],
                  "tariff_control": self.tariff_control, "serial_number": self.serial_number}
        return {symbol: value for symbol, value in values.items() if value is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteLine:
    """One line, with the keys of [[line]].

    collide: meters of one address answer at once, as on a real wire. metres, terminated, echo, noise, lost,
    doubled: of the modelled line, which paces a pty.
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
    meters: tuple[SiteMeter, ...]


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


_TOP: Final[Mapping[str, KeyRule]] = {"line": ([], _list, "[[line]]")}
_SHARE: Final = (0.0, number(0.0, 1.0), "0..1")
_NO, _YES = (False, _flag, "true or false"), (True, _flag, "true or false")
_LINE: Final[Mapping[str, KeyRule]] = {
    "target": ("pty", text, _TARGETS),
    "baud": (38400, SETTINGS["baud"].check, SETTINGS["baud"].allowed_text()),
    "comset": (("N", 1), lambda value: comset(text(value), ""), COMSETS),
    "collide": _NO,
    "metres": (10.0, number(0.0, 10_000.0), "0..10000"),
    "terminated": _YES,
    "echo": _NO,
    "noise": _SHARE,
    "lost": _SHARE,
    "doubled": _SHARE,
    "meter": ([], _list, "[[line.meter]]"),
}
_METER: Final[Mapping[str, KeyRule]] = {
    "address": (None, whole(1, 247), "1..247"),
    "name": (None, _name, "up to 60 letters, digits, blanks and _ . -, none of these first"),
    "model": (MODELS["E44"], lambda value: MODELS[value], ", ".join(MODELS)),
    "ct": ((200, 5), lambda value: ct_ratio(text(value), ""), CT_RATIOS),
    "supply": (None, text, "a supply file"),
    "seed": (None, whole(0, 2**31), "0..2147483648"),
    "tariff_control": (None, one_of("com", "dig"), "com, dig"),
    "serial_number": (None, SETTINGS["serial_number"].check, SETTINGS["serial_number"].allowed_text()),
    "swapped": _NO,
    "stale_after": (None, number(0.0, 1e6), "seconds"),
    "fault": ([], _list, "[[line.meter.fault]]"),
}


def read_site(content: str, name: str) -> tuple[SiteLine, ...]:
    """Read a site file; SiteError with file, line, key and what is allowed."""
    reader = Reader(content, name, SiteError)
    lines = reader.table(reader.document, "", 0, _TOP)["line"]
    if not lines:
        raise reader.fail("", 0, "line", "missing", "[[line]] with a [[line.meter]] each")
    plans: list[SiteLine] = []
    for index, values in enumerate(lines):
        plans.append(_line(reader, index, values, sum(len(plan.meters) for plan in plans)))
    names = Counter(meter.name for plan in plans for meter in plan.meters)
    twice = [meter for meter, count in names.items() if count > 1]
    if twice:
        raise SiteError(name, f"line.meter.name: {twice[0]!r} twice", "a name of its own for each memory")
    return tuple(plans)


def _line(reader: Reader, index: int, values: Any, before: int) -> SiteLine:
    """Read a line; before: how many meters the lines above it have."""
    row = reader.table(values, "line", index, _LINE)
    rows, (parity, stop_bits) = row.pop("meter"), row.pop("comset")
    if not 1 <= len(rows) <= MOST_METERS:
        raise reader.fail("line", index, "meter", f"{len(rows)} meters", f"1..{MOST_METERS} on a line")
    meters = tuple(_meter(reader, before + k, values) for k, values in enumerate(rows))
    addresses = [meter.address for meter in meters]
    for k, address in enumerate(addresses):
        if address in addresses[:k] and not row["collide"]:
            allowed = "each address once, or collide = true in its [[line]]"
            raise reader.fail("line.meter", before + k, "address", f"{address} is there already", allowed)
    return SiteLine(parity=parity, stop_bits=stop_bits, meters=meters, **row)


def _meter(reader: Reader, index: int, values: Any) -> SiteMeter:
    row = reader.table(values, "line.meter", index, _METER)
    if row["address"] is None:
        raise reader.fail("line.meter", index, "address", "missing", "1..247")
    row["name"] = row["name"] or f"meter-{row['address']:03}"
    faults = tuple(_fault(reader, index, fault) for fault in row.pop("fault"))
    return SiteMeter(faults=faults, **row)


def _fault(reader: Reader, index: int, values: Any) -> Fault:
    try:
        return read_fault(values if isinstance(values, dict) else {})
    except SettingError as error:
        where = f"{reader.name}:{reader.line_of('line.meter', index, 'fault')}: line.meter.{error.where}"
        raise SiteError(where, error.wrong, error.allowed) from None
