"""`countis bus`: up to 247 meters on each line of a site file."""

from __future__ import annotations

import argparse
from pathlib import Path

from countis.cli import options


def add(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `countis bus`."""
    parser.add_argument("site", metavar="SITE.toml", help="lines and their meters")
    parser.add_argument("--pace", action="store_true",
                        help="let bytes on a pty take their time, with what spoils them on the line")
    options.add(parser, "--data", f"folder of the memories, one for each name; default: {options.STATE}")
    options.add_endpoint(parser, "--web", "the page; default %(default)s", options.PAGE)
    options.add(parser, "--speed", options.SPEED)
    options.add_service(parser)


def call(args: argparse.Namespace) -> int:
    """Run the meters of a site file until a signal ends them."""
    from countis.host.bus import run

    site = Path(args.site)
    data = options.path(args.data) or options.state_folder() / "bus" / site.stem
    return run(site, args.pace, options.service(args, data))
