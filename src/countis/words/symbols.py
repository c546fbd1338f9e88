"""What any symbol stands for, quantity or setting: its unit and its value as people read it."""

from __future__ import annotations

import json

from countis.words.quantities import QUANTITIES
from countis.words.settings import SETTINGS

NOT_AVAILABLE = "----"


def unit_of(symbol: str) -> str:
    """Return the unit of a symbol, "" where it has none."""
    quantity, setting = QUANTITIES.get(symbol), SETTINGS.get(symbol)
    unit = quantity.unit if quantity is not None else setting.unit if setting is not None else ""
    return "" if unit == "1" else unit


def value_text(symbol: str, value: float | int | str | None) -> str:
    """Write a value with its unit on one line; text stands in quotes."""
    if value is None:
        return NOT_AVAILABLE
    if isinstance(value, str):
        return json.dumps(value)
    return f"{value} {unit_of(symbol)}".rstrip()
