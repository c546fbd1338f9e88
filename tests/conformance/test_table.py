"""The table against the vendor's, row by row, from a transcription by other hands."""

from __future__ import annotations

import csv
from pathlib import Path

from countis.modbus.table import Functions, Type

from tables import BLOCKS, ROWS

HERE = Path(__file__).parent


def rows(name: str) -> list[dict[str, str]]:
    with open(HERE / name, newline="") as file:
        return list(csv.DictReader(file))


def spelt(functions: Functions) -> str:
    """Write functions as the vendor does."""
    return "+".join(str(one.name) for one in functions) or "NONE"


def test_444_registers_and_the_reserved_words_between() -> None:
    theirs = [(int(r["address"]), int(r["words"]), r["type"], r["unit"], r["access"]) for r in rows("modbus-registers.csv")]
    ours = [(r.address, r.words, str(r.type), r.unit, str(r.access)) for r in ROWS]
    assert ours == theirs
    assert sum(r.type is not Type.RESERVED for r in ROWS) == 444


def test_45_blocks() -> None:
    fields = ("kind", "lock_level", "functions_locked", "functions_unlocked", "topic")
    theirs = [(int(r["start"]), int(r["words"]), *(r[f] for f in fields)) for r in rows("modbus-blocks.csv")]
    ours = [(b.start, b.words, b.kind.value, b.lock.value, spelt(b.locked), spelt(b.unlocked), b.topic) for b in BLOCKS]
    assert ours == theirs
    assert len(ours) == 45


def test_rows_tile_their_blocks() -> None:
    for block in BLOCKS:
        inside = [row for row in ROWS if block.start <= row.address < block.start + block.words]
        assert sum(row.words for row in inside) == (26 if block.start == 30208 else block.words)  # decision 38


def test_what_a_description_names_is_what_our_symbol_names() -> None:
    """The descriptions are by other hands too: kind, phase and tariff of each energy are read out of them."""
    kinds = {"Er+ inductive": "Er+ind", "Er- inductive": "Er-ind", "Er+ capacitive": "Er+cap", "Er- capacitive": "Er-cap"}
    compared = 0
    for theirs, ours in zip(rows("modbus-registers.csv"), ROWS, strict=True):
        text = theirs["description"].removesuffix(" residual below 1 k-unit (0..9999)").removesuffix(" residual (0..9999)")
        words = text.split(" ", 2)
        if words[0] in ("L1", "L2", "L3", "SUM") and words[1] in ("total", "T1", "T2", "T3", "T4"):
            kind = kinds.get(words[2], words[2])
            parts = [kind, *([] if words[0] == "SUM" else [words[0]]), *([] if words[1] == "total" else [words[1]])]
            assert ours.symbol == ".".join(parts), theirs
            compared += 1
        elif words[0] in ("T1", "T2", "T3", "T4") and words[1] in ("Ea+", "Er+"):
            assert ours.symbol == f"{words[1]}.{words[0]}", theirs
            compared += 1
        elif words[0] == "partial":
            assert ours.symbol == f"par.{'.'.join(words[1:])}", theirs
            compared += 1
    assert compared == 4 * (18 + 36) + 16 + 26


def test_every_type_has_its_width() -> None:
    assert all(row.type.words in (0, row.words) for row in ROWS)
