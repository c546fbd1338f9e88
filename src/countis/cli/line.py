"""The commands of what was said on a line: `--trace` of those that answer, and `replay`."""

from __future__ import annotations

import argparse
import math
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from countis.modbus.said import trace
from countis.site.line import open_line
from countis.site.replay import Verdict, exchanges, lines, replay
from countis.words.errors import SettingError, TraceError
from countis.words.settings import setting


def add_trace(p: argparse.ArgumentParser) -> None:
    """Add `--trace` to a command that answers masters."""
    p.add_argument("--trace", metavar="FILE", help="append each Modbus frame with its time; by its ending: .txt or .pcapng")


def trace_path(args: argparse.Namespace) -> Path | None:
    """Return the file of `--trace`."""
    return Path(args.trace) if args.trace is not None else None


def add_replay(commands: Any) -> None:
    """Add `countis replay`."""
    p = commands.add_parser("replay", help="send the requests of a trace, writes too, and show what is answered differently")
    p.add_argument("file", metavar="FILE", help="a trace, .txt or .pcapng")
    p.add_argument("target", help="device path, tcp://HOST:PORT or rtu+tcp://HOST:PORT")
    p.add_argument("address", type=int, nargs="?", help="slave address; default: those of the trace")
    p.add_argument("--speed", type=float, default=1.0, metavar="X", help="of the recorded rhythm; default 1")
    p.add_argument("-b", "--baud", type=int, default=38400, help="speed of a device path")
    p.add_argument("--comset", default="8N1", help="parity and stop bits of a device path")
    p.add_argument("--timeout", type=float, default=1.0, metavar="S", help="seconds to wait for an answer")
    p.set_defaults(call=_replay)


def _replay(args: argparse.Namespace) -> int:
    if not (math.isfinite(args.speed) and args.speed > 0.0):
        raise SettingError("--speed", f"{args.speed:g} is not possible", "above 0")
    if not (math.isfinite(args.timeout) and 0.0 < args.timeout <= 3600.0):
        raise SettingError("--timeout", f"{args.timeout:g} is not possible", "above 0, up to 3600 s")
    if args.address is not None and args.address not in range(256):
        raise SettingError("address", f"{args.address} is not possible", "1..247; 0 or 255 on TCP")
    setting("baud").check(args.baud)
    try:
        data = Path(args.file).read_bytes()
        size = trace.whole(data)
        recorded = exchanges(trace.read(data[:size]))
    except OSError as error:
        raise TraceError(args.file, str(error.strerror), "a trace") from None
    except TraceError as error:
        raise error.inside(args.file) from None
    if size < len(data):
        print(f"{args.file}: cut off at its end, {len(data) - size} bytes are left out", file=sys.stderr)
    if not recorded:
        raise TraceError(args.file, "no request", "a trace with some")
    line = open_line(args.target, baud=args.baud, comset=args.comset, timeout=args.timeout)
    found: Counter[Verdict] = Counter()
    try:
        for compared in replay(recorded, line, args.address, args.speed):
            found[compared.verdict] += 1
            print("\n".join(lines(compared)), flush=True)
    finally:
        line.close()
    print(f"{found.total()} exchanges: {', '.join(f'{found[verdict]} {verdict.value}' for verdict in Verdict)}")
    return 0 if found.total() == found[Verdict.EQUAL] else 1
