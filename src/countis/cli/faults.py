"""`countis faults`: lets a running meter answer wrongly on purpose, through its page."""

from __future__ import annotations

import argparse
from typing import Any

from countis.cli import options
from countis.modbus.line.faults import AMOUNT_NAMES, AMOUNTS, FaultKind


def add(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `countis faults`."""
    parser.add_argument("meter", help="its name, or its slave address where no other has that")
    parser.add_argument("kind", nargs="?", choices=[kind.value for kind in FaultKind], help="what goes wrong")
    page = f"http://{options.PAGE}"
    parser.add_argument("--url", default=page, metavar="URL", help="its page; default %(default)s")
    options.add(parser, "--token", "what the page asks for")
    parser.add_argument("--at", type=float, metavar="S", help="seconds from now")
    parser.add_argument("--for", type=float, metavar="S", help="seconds that it lasts; default: for good")
    parser.add_argument("--share", type=float, metavar="X", help="of the replies, 0..1; default 1")
    for name in AMOUNT_NAMES:
        kinds = ", ".join(kind.value for kind, row in AMOUNTS.items() if row[0] == name)
        parser.add_argument(f"--{name}", type=float, metavar="N", help=f"of {kinds}")
    parser.add_argument("--clear", action="store_true", help="end all faults")


def call(args: argparse.Namespace) -> int:
    """Change the faults of a meter as the options say, and print those in force."""
    from countis.host.terminal.client import server

    page = server(args.url, args.token)
    path = page.at(args.meter, "faults")
    where = page.url + path
    rows: list[dict[str, Any]] = [] if args.clear else page.ask("GET", path, where)
    if args.kind is not None:
        numbers = {name: getattr(args, name) for name in ("at", "for", "share", *AMOUNT_NAMES)}
        rows.append({"kind": args.kind} | {name: x for name, x in numbers.items() if x is not None})
    if args.kind is not None or args.clear:
        rows = page.ask("PUT", path, where, rows)
    for row in rows:
        print("  ".join(f"{name} {x:g}" if isinstance(x, float) else str(x) for name, x in row.items()))
    if not rows:
        print("no faults")
    return 0
