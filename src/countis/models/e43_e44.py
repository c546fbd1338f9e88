"""The COUNTIS E43 and E44: their family and what the manual prints for each (§4.2, §13)."""

from __future__ import annotations

from typing import Final

from countis.models.e43_e44_menu import MENUS, SETUPS
from countis.models.e43_e44_table import TABLE
from countis.models.model import Family, Model
from countis.words.quantities import MICRO, ROLL_OVER

E43_E44: Final = Family(
    name="COUNTIS E43/E44",
    table=TABLE,
    menus=MENUS,
    setups=SETUPS,
    identity={
        "id.signature": "SOCO", "id.family": 100, "id.table_version": 101, "id.serial_reserve": 0,
        "id.hardware": 0, "id.customised": 0, "id.product_build": 0, "id.custom_minor": 0,
        "id.product_part": "", "id.custom_part": "", "id.base_part": "", "id.vendor": "SOCOMEC",
        "id.product": "COUNTIS E43/E44", "id.production": 0, "id.board": 1,
        "id.network": 5, "id.roll_over": ROLL_OVER // (10 * MICRO) - 1,
    },
    pulse_weights=((1, 1), (5, 5), (25, 25), (125, 125), (625, 1000), (3125, 10000)),
)

_PLATE: Final = ("0.01-1(6) A   CT …/1 …/5 A", "IP51 front  IP20 case  −25…+55 °C")

E43: Final = Model(
    name="E43", reference="4850 3065", extended_name="Countis E43", family=E43_E44, wires=(4, 3),
    un_max=240.0, f_nominal=(50, 60),
    plate=("3×230/400 … 3×240/415 V   50/60 Hz", _PLATE[0], "Class C accuracy  EN 50470-3", _PLATE[1]),
)
E44: Final = Model(
    name="E44", reference="4850 3066", extended_name="Countis E44", family=E43_E44, mid=True, sealable=True,
    plate=("3×230/400 V   50 Hz", _PLATE[0], "Class C  EN 50470-1/-3", _PLATE[1]),
)
