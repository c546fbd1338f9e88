"""What the page's modules had to say again is what the tables say: kinds of faults, units, profiles."""

from __future__ import annotations

import re
from importlib import resources

from countis.meter.panel.frame import UNITS
from countis.modbus.line.faults import AMOUNTS, Kind
from countis.supply.profiles import PROFILES

STATIC = resources.files("countis.host.page").joinpath("static")


def listed(file: str, name: str) -> list[str]:
    """Return the strings of a constant list of a module."""
    found = re.search(rf"{name} =\s*(?:Object\.fromEntries\()?\s*\[(.*?)\]", STATIC.joinpath(file).read_text(), re.S)
    assert found is not None
    return re.findall(r'"([^"]+)"', found[1])


def test_the_kinds_of_faults_and_their_amounts_are_those_of_the_table() -> None:
    assert set(listed("bus.js", "const KINDS")) == {kind.value for kind in Kind}
    told = re.findall(r'(\w+): \["(\w+)", ([\d.]+)\]', STATIC.joinpath("bus.js").read_text())
    table = {kind.value: (name, default) for kind, (name, default, _, _) in AMOUNTS.items()}
    assert {kind: (name, float(value)) for kind, name, value in told} == table


def test_units_and_profiles_are_those_of_the_tables() -> None:
    assert listed("lcd.js", "export const UNIT_PIECES") == list(UNITS)
    assert set(listed("supply.js", "const PROFILES")) == set(PROFILES)
