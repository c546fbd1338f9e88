"""`countis panel`: LCD, keys and values of a running meter, in a terminal."""

from __future__ import annotations

import argparse

from countis.cli import options


def add(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `countis panel`."""
    page = f"http://{options.PAGE}"
    parser.add_argument("url", nargs="?", default=page, metavar="URL",
                        help="of its page; default %(default)s")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--address", type=int, metavar="N",
                       help="which meter of that page; default: the first")
    which.add_argument("--meter", metavar="NAME", help="which meter of that page, by its name")
    options.add(parser, "--token", "what the page asks for, where it does")


def call(args: argparse.Namespace) -> int:
    """Show the panel until it is left."""
    from countis.host.terminal.app import run

    return run(args.url, args.meter if args.address is None else str(args.address), args.token)
