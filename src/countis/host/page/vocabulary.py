"""What the page needs to know of the tables, so that it repeats none of them: `/api/vocabulary`.

Rule: values only, all of them from where they are declared.
"""

from __future__ import annotations

from typing import Any, Final

from countis.meter.panel.frame import UNITS
from countis.modbus.line.faults import AMOUNTS, FaultKind
from countis.models import MODELS
from countis.supply.network import PHASES
from countis.supply.profiles import PROFILES
from countis.words.quantities import KINDS, PARTIALS, QUANTITIES, TARIFFS

# What a form offers: low, high and step; a supply file may go beyond.
_LIMITS: Final = {"voltage": (0, 300, 0.1), "frequency": (40, 70, 0.01), "tariff": (0, 300, 1)}
# Rows of the table of instantaneous values: symbol, how many SI units are shown as one, prefix, decimals.
_LIVE: Final = (
    ("V", 1, "", 1), ("U", 1, "", 1), ("I", 1, "", 2),
    ("P", 1000, "k", 3), ("Q", 1000, "k", 3), ("S", 1000, "k", 3),
    ("PF", 1, "", 3),
)


def vocabulary() -> dict[str, Any]:
    """Return the words of the page, ready for JSON."""
    live = [
        {
            "symbol": symbol, "ends": ["12", "23", "31"] if symbol == "U" else ["1", "2", "3"],
            "scale": scale,
            "unit": "" if QUANTITIES[symbol].unit == "1" else prefix + QUANTITIES[symbol].unit,
            "digits": digits,
        }
        for symbol, scale, prefix, digits in _LIVE
    ]
    return {
        "models": {
            name: {"reference": of.reference, "mid": of.mid, "sealable": of.sealable, "plate": of.plate}
            for name, of in MODELS.items()
        },
        "faults": {kind.value: _amount(kind) for kind in FaultKind},
        "phases": PHASES,
        "profiles": list(PROFILES),
        "limits": _LIMITS,
        "lcd_units": UNITS,
        "live": live,
        "energies": [{"symbol": kind, "unit": f"k{QUANTITIES[kind].unit}"} for kind in KINDS],
        "partials": PARTIALS,
        "tariffs": TARIFFS[1:],
    }


def _amount(kind: FaultKind) -> dict[str, Any] | None:
    if kind not in AMOUNTS:
        return None
    name, default, low, high = AMOUNTS[kind]
    return {"name": name, "default": default, "low": low, "high": high}
