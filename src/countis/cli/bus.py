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
    from countis.host.bus import Options, run

    site = Path(args.site)
    return run(Options(
        speed=options.speed(args), site=site, pace=args.pace,
        data=options.path(args.data) or options.state_folder() / "bus" / site.stem,
        web=options.endpoint(args.web, "--web"), token=args.token,
        most=options.connections(args), access=options.access(args), diagnostics=args.diagnostics,
        ready_file=options.path(args.ready_file), trace=options.path(args.trace), log=args.log,
    ))
