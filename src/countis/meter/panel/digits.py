"""Values to digits: the ladder of energies (decision 25) and those of instantaneous values (manual §13).

Rule: a ladder is a list of steps, each (decimals, unit prefix); the first whose digits suffice is taken.
"""

from __future__ import annotations

from typing import Final

from countis.words.menu import Form
from countis.words.quantities import MICRO

_PREFIX: Final = {"": 1, "k": 1000, "M": 1_000_000}
ENERGY: Final = ((3, "k"), (2, "k"), (1, "k"), (0, "k"), (2, "M"))
ENERGY_DIGITS: Final = 8
ROLLS_AT: Final = 10**6 * _PREFIX["M"] * MICRO  # µWh: 999999.99 MWh is the last the LCD can show
FINE_RATIO: Final = 4  # up to this CT ratio the ladder begins at its first step
DIGITS: Final = 4
# form -> (steps, unit, least integer digits)
LADDERS: Final[dict[Form, tuple[tuple[tuple[int, str], ...], str, int]]] = {
    Form.WATT: (((3, "k"), (2, "k"), (1, "k"), (3, "M"), (2, "M")), "W", 1),
    Form.VOLT_AMPERE: (((3, "k"), (2, "k"), (1, "k"), (3, "M"), (2, "M")), "VA", 1),
    Form.VAR: (((3, "k"), (2, "k"), (1, "k"), (3, "M"), (2, "M")), "var", 1),
    Form.VOLTAGE: (((1, ""),), "V", 3),
    Form.CURRENT: (((3, ""), (2, ""), (1, ""), (3, "k"), (2, "k")), "A", 1),
    Form.FACTOR: (((3, ""),), "PF", 1),
    Form.FREQUENCY: (((2, ""),), "Hz", 2),
}


def _pointed(number: int, width: int, decimals: int) -> str:
    text = f"{number:0{width}d}"
    return f"{text[:-decimals]}.{text[-decimals:]}" if decimals > 0 else text


def energy(micro: int, ratio: int) -> tuple[str, str]:
    """Return eight digits and the unit's prefix of an energy in µWh, without sign; `ratio`: CT, floored."""
    micro = abs(micro) % ROLLS_AT
    for decimals, prefix in ENERGY[0 if ratio <= FINE_RATIO else 1 :]:
        number = micro // (_PREFIX[prefix] * MICRO // 10**decimals)
        if number < 10**ENERGY_DIGITS:
            return _pointed(number, ENERGY_DIGITS, decimals), prefix
    raise AssertionError("the last step holds all that is below ROLLS_AT")


def instantaneous(value: float | None, form: Form) -> tuple[str, str]:
    """Return four digits and the unit of a value, without sign; `----` where there is none or too much."""
    steps, unit, least = LADDERS[form]
    if value is not None:
        for decimals, prefix in steps:
            number = int(abs(value) / _PREFIX[prefix] * 10**decimals + 0.5)
            if number < 10**DIGITS:
                return _pointed(number, least + decimals, decimals), prefix + unit
    return "-" * DIGITS, steps[0][1] + unit
