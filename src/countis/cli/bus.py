"""`countis bus`: up to 247 meters on each line of a site file."""

from __future__ import annotations

import argparse
from pathlib import Path

from countis.cli import options


def add(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `countis bus`."""
    parser.add_argument("site", metavar="SITE.toml", help="lines and their meters")
    parser.add_argument(
        "--pace",
        action="store_true",
        help="let bytes on a pty take their time, with what spoils them on the line",
    )
    options.add_data(parser, "folder of the memories, one for each name; default: the user's state folder")
    options.add_endpoint(parser, "--web", "the page; default %(default)s", options.PAGE)
    options.add_speed(parser)
    options.add_service(parser)


def call(args: argparse.Namespace) -> int:
    """Run the meters of a site file until a signal ends them."""
    from countis.host.bus import Options, run

    site = Path(args.site)
    return run(
        Options(
            speed=options.speed(args),
            site=site,
            data=options.path(args.data) or options.state_folder() / "bus" / site.stem,
            pace=args.pace,
            web=options.endpoint(args.web, "--web"),
            token=args.token,
            most=options.connections(args),
            diagnostics=args.diagnostics,
            ready_file=options.path(args.ready_file),
            trace=options.path(args.trace),
            access=options.access(args),
            log=args.log,
        )
    )
