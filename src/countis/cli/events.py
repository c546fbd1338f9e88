"""`countis events`: the event log of a memory, also while its meter runs."""

from __future__ import annotations

import argparse
import csv
import json
import sys
from typing import Final

from countis.cli import options
from countis.words.errors import MemoryImageError

_COLUMNS: Final = ("number", "time", "kind", "whence", "subject", "old", "new")


def add(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `countis events`."""
    options.add(parser, "--data", "folder of the memory; default: that of `countis run`")
    options.add_model(parser, "whose default folder; default E44")
    parser.add_argument("--format", choices=("text", "csv", "json"), default="text", help="default text")


def call(args: argparse.Namespace) -> int:
    """Print the event log."""
    from countis.host.running.events import event_line, event_rows
    from countis.meter.energy.registers import Layout
    from countis.meter.memory.image import MemoryPage, read

    path = options.memory_folder(args) / "meter.fram"
    try:
        contents = read(path.read_bytes())
    except OSError as error:
        raise MemoryImageError(path, str(error.strerror), "the memory of a meter") from None
    except MemoryImageError as error:
        raise error.inside(path) from None
    if MemoryPage.HOT in contents.lost:
        wrong = "the hot page is damaged, which numbers the events"
        raise MemoryImageError(path, wrong, "a memory that is whole")
    rows = event_rows(contents.log, int(contents.row[Layout.events]))
    if args.format == "json":
        print(json.dumps(rows, indent=1))
    elif args.format == "csv":
        table = csv.DictWriter(sys.stdout, _COLUMNS, lineterminator="\n")
        table.writeheader()
        table.writerows(rows)
    else:
        print("\n".join(f"{row['number']:6}  {event_line(row)}" for row in rows) or "no events")
    return 0
