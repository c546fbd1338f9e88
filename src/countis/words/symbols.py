"""Units and values of any symbol, quantity or setting, as people read them."""

from __future__ import annotations

import json

from countis.words.quantities import QUANTITIES
from countis.words.settings import SETTINGS

NOT_AVAILABLE = "----"


def unit_of(symbol: str) -> str:
    """Return the unit of a symbol, "" where it has none."""
    row = QUANTITIES.get(symbol) or SETTINGS.get(symbol)
    return "" if row is None or row.unit == "1" else row.unit


def value_text(symbol: str, value: float | int | str | None) -> str:
    """Write a value with its unit on one line: text in quotes, None as `----`."""
    if value is None:
        return NOT_AVAILABLE
    if isinstance(value, str):
        return json.dumps(value)
    return f"{value} {unit_of(symbol)}".rstrip()
