"""`countis map`: the Modbus table."""

from __future__ import annotations

import argparse
import csv
import json
import sys
from typing import Any, Final

from countis.modbus.tables import BLOCKS, ROWS, Row
from countis.words.quantities import QUANTITIES
from countis.words.settings import SETTINGS

_COLUMNS: Final = ("address", "words", "type", "unit", "access", "block", "symbol", "source", "description")


def add(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `countis map`."""
    parser.add_argument(
        "--format", choices=("table", "csv", "json", "md"), default="table", help="how to print it"
    )
    parser.add_argument("--assumed", action="store_true", help="only what no source backs")


def call(args: argparse.Namespace) -> int:
    """Print the table."""
    rows = [_columns(row) for row in ROWS if not args.assumed or row.source == "assumed"]
    table = [[str(row[name]) for name in _COLUMNS] for row in rows]
    if args.format == "csv":
        csv.writer(sys.stdout, lineterminator="\n").writerows([_COLUMNS, *table])
    elif args.format == "json":
        print(json.dumps(rows, indent=1, ensure_ascii=False))
    elif args.format == "md":
        lines = (_COLUMNS, ["---"] * len(_COLUMNS), *table)
        print("\n".join("| " + " | ".join(line) + " |" for line in lines))
    else:
        widths = [max(map(len, column)) for column in zip(_COLUMNS, *table, strict=True)]
        for line in (_COLUMNS, *table):
            print("  ".join(map(str.ljust, line, widths)).rstrip())
    return 0


def _columns(row: Row) -> dict[str, Any]:
    """Return what is printed of a row, by column."""
    known = {"block": _block_of(row), "description": _describe(row)}
    return {name: known[name] if name in known else getattr(row, name, None) for name in _COLUMNS}


def _block_of(row: Row) -> str:
    block = next(b for b in BLOCKS if b.start <= row.address < b.start + b.words)
    return f"{block.start} {block.topic}"


def _describe(row: Row) -> str:
    """Say what a row holds: the name of its quantity or setting, and what the row adds."""
    symbol = row.symbol
    if symbol in QUANTITIES:
        name = QUANTITIES[symbol].name + (", without the CT ratio" if row.secondary else "")
    else:
        name = SETTINGS[symbol].name if symbol in SETTINGS else symbol.partition(".")[2].replace("_", " ")
    return "; ".join(dict.fromkeys(text for text in (name, row.description) if text))
