"""`countis map`: the Modbus table."""

from __future__ import annotations

import argparse
import csv
import json
import sys
from typing import Any, Final

from countis.cli import options
from countis.modbus.table import Row, Table
from countis.models import MODELS
from countis.words.quantities import QUANTITIES
from countis.words.settings import SETTINGS

_COLUMNS: Final = ("address", "words", "type", "unit", "access", "block", "symbol", "source", "description")


def add(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `countis map`."""
    parser.add_argument("--format", choices=("table", "csv", "json", "md"), default="table",
                        help="how to print it")
    options.add_model(parser, "whose table; default E44", "E44")
    parser.add_argument("--assumed", action="store_true", help="only what no source backs")


def call(args: argparse.Namespace) -> int:
    """Print the table."""
    modbus = MODELS[args.model].family.table
    rows = [_columns(modbus, row) for row in modbus.rows if not args.assumed or row.source == "assumed"]
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


def _columns(table: Table, row: Row) -> dict[str, Any]:
    """Return what is printed of a row, by column."""
    block = table.block_of(row.address)
    return {
        "address": row.address, "words": row.words, "type": str(row.type), "unit": row.unit,
        "access": str(row.access), "block": f"{block.start} {block.topic}", "symbol": row.symbol,
        "source": row.source, "description": _describe(row),
    }


def _describe(row: Row) -> str:
    """Say what a row holds: the name of its quantity or setting, and what the row adds."""
    symbol = row.symbol
    if symbol in QUANTITIES:
        name = QUANTITIES[symbol].name + (", without the CT ratio" if row.secondary else "")
    else:
        name = SETTINGS[symbol].name if symbol in SETTINGS else symbol.partition(".")[2].replace("_", " ")
    return "; ".join(dict.fromkeys(text for text in (name, row.description) if text))
