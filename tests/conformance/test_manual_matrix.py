"""The matrix of manual §4.6.1: each ● "via communication" is a register of the vendor's table with the meter's value."""

from __future__ import annotations

import csv
import re
import struct
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest
from countis import E44, Measurement, Meter, ResetPartials, SelectTariff
from countis.supply import three_phase

CT_PRIMARY, CT_SECONDARY = 12_000, 1  # a high ratio, so that k-unit registers tell values apart
SEQUENCE = 51315  # reserved in the vendor's table; decision 23 puts the phase sequence there


@dataclass(frozen=True)
class Row:
    """One printed line: what it is called, the symbols it covers, its two dots."""

    name: str
    symbols: tuple[str, ...]
    lcd: bool
    communication: bool


def each(kinds: str, phases: str = "", tariffs: str = "") -> tuple[str, ...]:
    """Symbols by phase ("" is the sum) and tariff: each("Ea+", ",L1", "T1") is Ea+.T1 and Ea+.L1.T1."""
    return tuple(
        ".".join(part for part in (kind, phase, tariff) if part)
        for kind in kinds.split()
        for phase in phases.split(",")
        for tariff in (tariffs.split() or [""])
    )


T = "T1 T2 T3 T4"
SPLIT = "Er+ind Er-ind Er+cap Er-cap"
MATRIX = [
    Row("Phase to neutral voltage, system", ("V",), True, True),
    Row("Phase to neutral voltage", ("V1", "V2", "V3"), False, True),
    Row("Phase to phase voltage, system", ("U",), True, True),
    Row("Phase to phase voltage", ("U12", "U23", "U31"), False, True),
    Row("Current, system", ("I",), True, True),
    Row("Current", ("I1", "I2", "I3", "IN"), False, True),
    Row("Power factor, system", ("PF",), True, True),
    Row("Power factor", ("PF1", "PF2", "PF3"), False, True),
    Row("Apparent power", ("S", "S1", "S2", "S3"), True, True),
    Row("Active power", ("P", "P1", "P2", "P3"), True, True),
    Row("Reactive power", ("Q", "Q1", "Q2", "Q3"), True, True),
    Row("Frequency", ("f",), True, True),
    Row("Phase sequence", ("sequence",), True, True),
    Row("Power direction", (), True, False),
    Row("Total active and reactive energy, sum and by phase", each("Ea+ Ea- Er+ Er-", ",L1,L2,L3"), True, True),
    Row("Total apparent energy", each("Eap"), True, True),
    Row("Total apparent energy by phase", each("Eap", "L1,L2,L3"), False, True),
    Row("Total inductive and capacitive reactive energy", each(SPLIT), True, True),
    Row("Total inductive and capacitive reactive energy by phase", each(SPLIT, "L1,L2,L3"), False, True),
    Row("Active, reactive energy by tariff", each("Ea+ Ea- Er+ Er-", "", T), True, True),
    Row("Active, reactive, apparent energy by tariff, sum and by phase",
        each("Ea+ Ea- Er+ Er- Eap", ",L1,L2,L3", T), False, True),
    Row("Inductive and capacitive energy by tariff", each(SPLIT, "", T), True, True),
    Row("Inductive and capacitive energy by tariff by phase", each(SPLIT, "L1,L2,L3", T), False, True),
    Row("Active partial energy by tariff", each("par.Ea+ par.Ea-", "", T), True, True),
    Row("Active, reactive and apparent partial energy", each("par.Ea+ par.Ea- par.Er+ par.Er- par.Eap"), True, True),
    Row("Energy balance", ("net.Ea", "net.Er"), True, True),
    Row("Present tariff", ("tariff",), True, True),
    Row("Partial counters start/stop", (), True, False),
    Row("Pulse output status", (), True, False),
]  # fmt: skip
TOLD = list(dict.fromkeys(symbol for row in MATRIX if row.communication for symbol in row.symbols))


LIVE_NAMES = {
    **{symbol: [f"voltage {symbol}"] for symbol in ("U12", "U23", "U31", "V1", "V2", "V3")},
    **{symbol: [f"current {symbol}", f"{symbol} at CT secondary"] for symbol in ("I1", "I2", "I3")},
    **{symbol: [f"{symbol} system"] for symbol in "UVI"},
    **{f"P{n}": [f"active power phase {n}"] for n in (1, 2, 3)},
    **{f"Q{n}": [f"reactive power phase {n}"] for n in (1, 2, 3)},
    **{f"S{n}": [f"apparent power phase {n}"] for n in (1, 2, 3)},
    **{f"PF{n}": [f"power factor phase {n}"] for n in (1, 2, 3)},
    "P": ["active power total P"],
    "Q": ["reactive power total Q"],
    "S": ["apparent power total S"],
    "PF": ["power factor total"],
    "IN": ["neutral current"],
    "f": ["frequency"],
    "tariff": ["tariff in progress"],
    "net.Ea": ["net active energy"],
    "net.Er": ["net reactive energy"],
}


def names(symbol: str) -> list[str]:
    """What the vendor's table calls it; sums have two wordings, with and without SUM."""
    if symbol in LIVE_NAMES:
        return LIVE_NAMES[symbol]
    kind, *where = symbol.removeprefix("par.").split(".")
    kind = kind.replace("ind", " inductive").replace("cap", " capacitive")
    if symbol.startswith("par."):
        return [" ".join(["partial", kind, *where])]
    line = [part for part in where if part.startswith("L")]
    tariff = "".join(part for part in where if part.startswith("T")) or "total"
    return [f"{line[0]} {tariff} {kind}"] if line else [f"SUM {tariff} {kind}", f"{tariff} {kind}"]


@cache
def table() -> tuple[dict[str, str], ...]:
    with open(Path(__file__).parent / "modbus-registers.csv", newline="") as file:
        return tuple(csv.DictReader(file))


@cache
def registers() -> dict[str, list[dict[str, str]]]:
    """The table by name: the description up to its first remark. Residuals belong to the register before them."""
    found: dict[str, list[dict[str, str]]] = {}
    row: dict[str, str] = {}
    for entry in table():
        if "residual" in entry["description"]:
            row["residual"] = entry["address"]
        else:
            row = dict(entry)
            found.setdefault(re.split(r" \(| = |, | 1\.\.4", row["description"])[0], []).append(row)
    return found


def places(symbol: str) -> list[dict[str, str]]:
    if symbol == "sequence":
        return [{"address": str(SEQUENCE), "type": "U16", "unit": "-", "access": "R"}]
    return [row for name in names(symbol) for row in registers().get(name, [])]


@cache
def fed() -> Meter:
    """An hour in each tariff and quadrant, never twice with the same powers, partials begun again on the way; then samples."""
    meter = Meter(E44, ct_primary=CT_PRIMARY, ct_secondary=CT_SECONDARY, tariff_control="com")
    for step in range(16):
        assert meter.apply([SelectTariff(step // 4 + 1)]) is None
        forward, inductive = (1, 1, -1, -1)[step % 4], (1, -1, 1, -1)[step % 4]
        scale = 1 + 0.07 * step + 0.0121 * step * step
        p = [forward * scale * watts for watts in (201.0, 257.0, 293.0)]
        q = [inductive * forward * scale * var for var in (109.0, 131.0, 167.0)]
        i = [scale * amperes for amperes in (1.07, 1.27, 1.49)]
        meter.count(Measurement.of(E44, seconds=3600, v=(230,) * 3, i=i, p=p, q=q))
        if step == 2:
            assert meter.apply([ResetPartials(("par.Ea+", "par.Ea-", "par.Er+", "par.Er-", "par.Eap"))]) is None
        if step % 4 in (0, 2):  # the second hour of each direction is what the partials of the tariff show
            direction = "+" if forward > 0 else "-"
            assert meter.apply([ResetPartials((f"par.Ea{direction}.T{step // 4 + 1}",))]) is None
    meter.feed(three_phase(v=(228, 231, 235), i=(2, 2.5, 3.1), pf=(0.9, -0.8, 0.5), f=50), seconds=3)
    return meter


def read(address: int, kind: str) -> int:
    """One register of the fed meter, by a request of its own."""
    form = {"U8": ">H", "U16": ">H", "S16": ">h", "U32": ">I", "S32": ">i"}[kind]
    reply = fed().pdu(struct.pack(">BHH", 3, address, struct.calcsize(form) // 2))
    assert reply[:2] == bytes((3, struct.calcsize(form)))
    return int(struct.unpack(form, reply[2:])[0])


UNITS = {"0.01 V": 0.01, "0.001 A": 0.001, "0.01 Hz": 0.01, "0.001": 0.001, "-": 1.0, "10 Wh": 10, "10 varh": 10, "10 VAh": 10}
UNITS |= {"10 W": 10, "10 var": 10, "10 VA": 10, "1 kWh": 1e3, "1 kvarh": 1e3, "1 kVAh": 1e3, "1 MWh": 1e6, "1 Mvarh": 1e6}


def count_of(row: dict[str, str]) -> float:
    """What one count is worth on the primary; blocks 40576 and 51280 tell currents and powers without the CT ratio."""
    without = 40576 <= int(row["address"]) < 40582 or 51280 <= int(row["address"]) < 51311
    return UNITS[row["unit"]] * (
        CT_PRIMARY / CT_SECONDARY if without and row["unit"].split()[-1] in ("A", "W", "var", "VA") else 1
    )


@pytest.mark.parametrize("symbol", TOLD)
def test_what_is_told_has_a_readable_register(symbol: str) -> None:
    assert places(symbol)
    assert all("R" in row["access"] for row in places(symbol))


@pytest.mark.parametrize("symbol", TOLD)
def test_each_of_its_registers_tells_the_meters_value(symbol: str) -> None:
    value = fed()[symbol]
    assert isinstance(value, (int, float))
    truth = {123: 0, 132: 1}[int(value)] if symbol == "sequence" else float(value)
    for row in places(symbol):
        count, told = count_of(row), read(int(row["address"]), row["type"]) * count_of(row)
        if "residual" in row:
            count, told = 0.1, told + 0.1 * read(int(row["residual"]), "S16" if row["type"] == "S32" else "U16")
        assert abs(told - truth) <= count * 1.000_001, row


def test_the_fed_meter_can_tell_a_mix_up() -> None:
    """Two symbols with one value would hide that their registers are swapped: all differ, energies by more than two k-units."""
    energies = sorted(float(fed()[s] or 0) for s in TOLD if s not in LIVE_NAMES and s != "sequence")
    assert fed()["Er+ind.L1.T1"] == 109 * 12_000  # the first hour, by hand: no other hour is QI of this phase in T1
    assert energies[0] > 2000
    assert min(b - a for a, b in pairwise(energies)) > 2000
    live = [fed()[s] for s in LIVE_NAMES if s != "tariff"]
    assert None not in live
    assert len(set(live)) == len(live)
    assert fed()["tariff"] == 4


def test_only_three_lines_are_for_the_lcd_alone() -> None:
    assert all(row.lcd or row.communication for row in MATRIX)
    assert [row.name for row in MATRIX if not row.communication] == [row.name for row in MATRIX if not row.symbols]
    assert not any(word in name for name in registers() for word in ("pulse", "start", "direction"))


def test_the_vendors_table_has_no_sequence() -> None:
    """Why decision 23 was needed: the manual has the dot, the table has reserved words at the place."""
    assert [row["type"] for row in table() if int(row["address"]) == SEQUENCE] == ["RESERVED"]
    assert not any("sequence" in name for name in registers())
