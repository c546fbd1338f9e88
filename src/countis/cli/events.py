"""The command of the event log: `countis events`."""

from __future__ import annotations

import argparse
import csv
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from countis.meter.memory.image import Page
from countis.meter.meter import Meter
from countis.models import MODELS, Model
from countis.words.errors import MemoryImageError

_COLUMNS: Final = ("number", "time", "kind", "whence", "subject", "old", "new")


def add_events(commands: Any, folder: Callable[[str | None, Model | None], Path]) -> None:
    """Add `countis events`; `folder` finds the memory that flags name."""
    p = commands.add_parser("events", help="show the event log of a memory, also while its meter runs")
    p.add_argument("--data", metavar="DIR", help="folder of the memory; default: that of `countis run`")
    p.add_argument("--model", choices=sorted(MODELS), help="whose default folder; default E44")
    p.add_argument("--format", choices=("text", "csv", "json"), default="text", help="default text")
    p.set_defaults(call=_events, folder=folder)


def _events(args: argparse.Namespace) -> int:
    from countis.host.running.events import event_line, event_rows

    path = args.folder(args.data, MODELS[args.model] if args.model is not None else None) / "meter.fram"
    try:
        meter = Meter.load(path.read_bytes())
    except OSError as error:
        raise MemoryImageError(path, str(error.strerror), "the memory of a meter") from None
    except MemoryImageError as error:
        raise error.inside(path) from None
    if Page.HOT in meter.state.lost:
        raise MemoryImageError(
            path, "the hot page is damaged, which numbers the events", "a memory that is whole"
        )
    rows = event_rows(meter.state)
    if args.format == "json":
        print(json.dumps(rows, indent=1))
    elif args.format == "csv":
        table = csv.DictWriter(sys.stdout, _COLUMNS, lineterminator="\n")
        table.writeheader()
        table.writerows(rows)
    else:
        print("\n".join(f"{row['number']:6}  {event_line(row)}" for row in rows) or "no events")
    return 0
