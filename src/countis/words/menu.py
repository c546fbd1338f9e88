"""The parts of a front panel's menus: pages by symbol, setups by the settings they change.

Rule: shapes only. The menus of a family stand with the family (models/); meter/panel walks and draws them.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Form(Enum):
    """How the LCD writes a value: a row of panel/digits.py, or a rule of its own."""

    ENERGY = "energy"
    AMPERE = "ampere"  # a CT, digit by digit
    TEXT = "text"
    WATT = "power W"
    VOLT_AMPERE = "power VA"
    VAR = "power var"
    VOLTAGE = "voltage"
    CURRENT = "current"
    FACTOR = "factor"
    FREQUENCY = "frequency"


class Setup(Enum):
    """The two setups, by their name on the LCD."""

    ONE = "SEtuP.1"
    TWO = "SEtuP.2"


@dataclass(frozen=True, slots=True)
class Page:
    """One page of the LCD.

    symbol: a quantity, a setting, or an item of the firmware. signs: the symbols lit beside the value.
    tariff: 1..4, 0 = none. code: of a setting or an item. partial: keys start, stop and reset the value.
    """

    symbol: str
    form: Form
    signs: tuple[str, ...] = ()
    tariff: int = 0
    code: str = ""
    partial: bool = False
    source: str = "manual §10"


@dataclass(frozen=True, slots=True)
class Menu:
    """One menu: its name on the LCD, its pages, and the setup that keys enter from it."""

    name: str
    pages: tuple[Page, ...]
    setup: Setup | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """One page of a setup: a setting, or a partial to reset. digits: how many are keyed in; 0: a list."""

    symbol: str
    digits: int = 0
    source: str = "manual §9.1"
