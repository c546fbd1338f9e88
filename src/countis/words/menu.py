"""What a front panel shows, in the words of its menus: pages by symbol, setups by what they set.

Rule: shapes only; the menus of a family of meters stand with the family (models/), what walks and draws them in meter/panel.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Form(Enum):
    """How a value is written: each a row of panel/digits.py, or a rule of its own."""

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
    """The two setups, by what the LCD calls them."""

    ONE = "SEtuP.1"
    TWO = "SEtuP.2"


@dataclass(frozen=True, slots=True)
class Page:
    """One page of the LCD.

    symbol: a quantity, a setting, or an item of the firmware. signs: what is lit beside the value. tariff: the page's own,
    0 = none. code: of a setting or an item. partial: keys start, stop and reset what it shows.
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
    """One menu: what the LCD calls it, its pages, and the setup that keys enter from it."""

    name: str
    pages: tuple[Page, ...]
    setup: Setup | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """One page of a setup: a setting, digit by digit (`digits` of them) or by choice (0), or a partial to reset."""

    symbol: str
    digits: int = 0
    source: str = "manual §9.1"
