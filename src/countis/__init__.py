"""The COUNTIS E43/E44 three-phase energy meter in software.

The names are looked up when they are used, so that `import countis.site` loads neither the meter nor numba.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from countis.meter.meter import Meter
    from countis.meter.metrology.measurement import Measurement
    from countis.meter.panel.keys import Key
    from countis.models import E43, E44
    from countis.site import Bus
    from countis.words.commands import (
        ResetPartials,
        SelectTariff,
        SetClock,
        SetSetting,
        StartPartial,
        StopPartial,
    )
    from countis.words.errors import CountisError

__version__ = "0.1.0"

_HOMES = {
    "Bus": "countis.site",
    "CountisError": "countis.words.errors",
    "E43": "countis.models",
    "E44": "countis.models",
    "Key": "countis.meter.panel.keys",
    "Measurement": "countis.meter.metrology.measurement",
    "Meter": "countis.meter.meter",
    **dict.fromkeys(
        ("ResetPartials", "SelectTariff", "SetClock", "SetSetting", "StartPartial", "StopPartial"),
        "countis.words.commands",
    ),
}
__all__ = [
    "E43",
    "E44",
    "Bus",
    "CountisError",
    "Key",
    "Measurement",
    "Meter",
    "ResetPartials",
    "SelectTariff",
    "SetClock",
    "SetSetting",
    "StartPartial",
    "StopPartial",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'countis' has no attribute {name!r}")
