"""`countis faults`: lets a running meter answer wrongly on purpose, through its page."""

from __future__ import annotations

import argparse
from typing import Any, Final

from countis.cli import options
from countis.modbus.line.faults import AMOUNTS, FaultKind

_AMOUNTS: Final = tuple(dict.fromkeys(name for name, *_ in AMOUNTS.values()))

Rows = list[dict[str, Any]]  # faults, as the page has them


def add(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `countis faults`."""
    parser.add_argument("meter", help="its name, or its slave address where no other has that")
    parser.add_argument("kind", nargs="?", choices=[kind.value for kind in FaultKind], help="what goes wrong")
    parser.add_argument(
        "--url", default=f"http://{options.PAGE}", metavar="URL", help="its page; default %(default)s"
    )
    options.add_token(parser, "what the page asks for")
    parser.add_argument("--at", type=float, metavar="S", help="seconds from now")
    parser.add_argument("--for", type=float, metavar="S", help="seconds that it lasts; default: for good")
    parser.add_argument("--share", type=float, metavar="X", help="of the replies, 0..1; default 1")
    for name in _AMOUNTS:
        kinds = ", ".join(kind.value for kind, row in AMOUNTS.items() if row[0] == name)
        parser.add_argument(f"--{name}", type=float, metavar="N", help=f"of {kinds}")
    parser.add_argument("--clear", action="store_true", help="end all faults")


def call(args: argparse.Namespace) -> int:
    """Change the faults of a meter where that is asked for, and print those that hold."""
    from countis.host.terminal.client import server

    page = server(args.url, args.token)
    path = page.at(args.meter, "faults")
    where = page.url + path
    rows: Rows = [] if args.clear else page.ask("GET", path, where)
    if args.kind is not None:
        given = {name: getattr(args, name) for name in ("at", "for", "share", *_AMOUNTS)}
        amounts = {name: value for name, value in given.items() if value is not None}
        rows.append({"kind": args.kind, **amounts})
    if args.kind is not None or args.clear:
        rows = page.ask("PUT", path, where, rows)
    for row in rows:
        words = (
            f"{name} {value:g}" if isinstance(value, float) else str(value) for name, value in row.items()
        )
        print("  ".join(words))
    if not rows:
        print("no faults")
    return 0
