"""What a model is: all differences between meters, as data.

Rule: values only. A family shares its table, its menus and its constants; a model adds what §13 of the manual
prints for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from countis.modbus.table import Table
from countis.words.menu import Entry, Menu, Page, Setup
from countis.words.settings import FULL_SCALE, Value


@dataclass(frozen=True, eq=False)
class Family:
    """What models have in common. identity: constants of the table by symbol (decision 41).

    pulse_weights: (lowest CT ratio, weight of an output pulse in Wh), rising.
    """

    name: str
    table: Table
    menus: tuple[Menu, ...]
    setups: Mapping[Setup, tuple[Entry, ...]]
    identity: Mapping[str, Value]
    pulse_weights: tuple[tuple[int, int], ...]

    @cached_property
    def partial_pages(self) -> dict[str, Page]:
        """The page of each partial, by symbol."""
        return {page.symbol: page for menu in self.menus for page in menu.pages if page.partial}

    @cached_property
    def entry_digits(self) -> dict[str, int]:
        """How many digits the setups give a setting, by symbol."""
        return {entry.symbol: entry.digits for entries in self.setups.values() for entry in entries}

    def pulse_weight(self, ct_primary: int, ct_secondary: int) -> int:
        """Return the Wh of one output pulse by floor(primary / secondary), at least 1 (§13, decision 33)."""
        ratio = max(1, ct_primary // ct_secondary)
        return max(weight for lowest, weight in self.pulse_weights if lowest <= ratio)


@dataclass(frozen=True, kw_only=True)
class Model:
    """One model; volts to neutral, secondary amperes, hertz, watts. Source: manual §4.2 and §13."""

    name: str
    reference: str
    extended_name: str  # register 50058
    family: Family
    mid: bool = False
    sealable: bool = False  # its terminal cover can be sealed (decision 13)
    wires: tuple[int, ...] = (4,)  # of the networks that it measures
    plate: tuple[str, ...] = ()  # what is printed on its front, a line each
    un: float = 230.0
    un_max: float = 230.0
    f_nominal: tuple[int, ...] = (50,)
    i_ref: float = 1.0
    i_max: float = 6.0
    i_tr: float = 0.05
    i_min: float = 0.01  # the manual prints 0.10, above Itr (decision 15)
    i_start: float = 0.001
    v_max: float = 288.0
    v_overload: float = 300.0  # from here on it is named overload (decision 44)
    v_clip: float = FULL_SCALE[0]  # decision 44
    i_overload: float = FULL_SCALE[3]  # decision 44
    i_clip: float = FULL_SCALE[3]  # 20 × Imax, decision 44
    f_range: tuple[float, float] = (45.0, 65.0)
    led_per_kwh: int = 1000  # of secondary energy, decision 10
    led_ns: int = 10_000_000  # assumed
    pulse_ns: int = 50_000_000  # decision 11
    pause_ns: int = 50_000_000  # decision 11
    missing_below: float = 0.2  # of Un, decision 17
    off_below: float = 0.5  # of Un at L1–N: self-supplied, decision 16; levels and times assumed
    on_above: float = 0.6
    hold_up_ns: int = 500_000_000
    start_up_ns: int = 1_000_000_000
    start_va: float = 0.1  # gate per phase, secondary VA: 1 mA at 0.8 Un is 0.18 VA; assumed (decision 14)


@dataclass(frozen=True, slots=True)
class Firmware:
    """The firmware that the device displays (manual §10.8, decision 28); the host passes the installed one.

    cs1, cs2: checksums of the metrological files and of all others. malfunction: cs1 is not the one that was
    recorded.
    """

    version: tuple[int, int, int] = (0, 1, 0)
    built: tuple[int, int, int] = (2026, 11, 23)
    cs1: int = 0
    cs2: int = 0
    malfunction: bool = False
