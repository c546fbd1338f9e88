"""`countis replay`: the requests of a trace sent again, and what is answered differently."""

from __future__ import annotations

import argparse
import math
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from countis.cli import options
from countis.words.errors import TraceError
from countis.words.notation import setting_value

if TYPE_CHECKING:
    from countis.site.replay import RecordedExchange, Verdict


def add(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `countis replay`."""
    parser.add_argument("file", metavar="FILE", help="a trace, .txt or .pcapng")
    options.add(parser, "--speed", "of the recorded rhythm; default 1")
    options.add_line(parser)
    parser.add_argument("address", type=int, nargs="?", help="slave address; default: those of the trace")


def call(args: argparse.Namespace) -> int:
    """Play a trace to a meter; exit code 1 where a reply is not as it was."""
    from countis.site.line import open_line
    from countis.site.replay import Verdict, lines, replay

    speed, seconds = options.speed(args, math.inf), options.timeout(args)
    address = None if args.address is None else options.checked_address(args.address)
    setting_value("baud", args.baud, "baud")
    recorded = _read_trace(args.file)
    line = open_line(args.target, baud=args.baud, comset=args.comset, timeout=seconds)
    count: Counter[Verdict] = Counter()
    try:
        for compared in replay(recorded, line, address, speed):
            count[compared.verdict] += 1
            print("\n".join(lines(compared)), flush=True)
    finally:
        line.close()
    verdicts = ", ".join(f"{count[verdict]} {verdict.value}" for verdict in Verdict)
    print(f"{count.total()} exchanges: {verdicts}")
    return 0 if count.total() == count[Verdict.EQUAL] else 1


def _read_trace(file: str) -> list[RecordedExchange]:
    """Return the exchanges of a trace; TraceError where it cannot be read, or has no request.

    Of a trace that was cut off, as by a crash, the whole frames are taken, with a note on standard error.
    """
    from countis.modbus.said import trace
    from countis.site.replay import exchanges

    try:
        data = Path(file).read_bytes()
        size = trace.whole(data)
        recorded = exchanges(trace.read(data[:size]))
    except OSError as error:
        raise TraceError(file, str(error.strerror), "a trace") from None
    except TraceError as error:
        raise error.inside(file) from None
    if size < len(data):
        print(f"{file}: cut off at its end, {len(data) - size} bytes are left out", file=sys.stderr)
    if not recorded:
        raise TraceError(file, "no request", "a trace with some")
    return recorded
