"""The commands of the line: `bus` and `faults`."""

from __future__ import annotations

import argparse
import json
import math
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from countis.cli.line import add_trace, trace_path
from countis.modbus.line.faults import AMOUNTS, Kind
from countis.words.errors import BusError, SettingError

_PAGE: Final = "http://127.0.0.1:8044"
_AMOUNTS: Final = tuple(dict.fromkeys(name for name, *_ in AMOUNTS.values()))
Endpoint = Callable[[str, str], "tuple[str, int] | None"]


def add_bus(commands: Any, endpoint: Endpoint, state_folder: Callable[[], Path]) -> None:
    """Add `countis bus`; endpoint reads HOST:PORT, state_folder is where memories are by default."""
    p = commands.add_parser("bus", help="run up to 247 meters on each line of a site file")
    p.add_argument("site", metavar="SITE.toml", help="lines and their meters")
    p.add_argument("--pace", action="store_true", help="let bytes on a pty take their time, with what spoils them on the line")
    p.add_argument("--data", metavar="DIR", help="folder of the memories, one for each name; default: the user's state folder")
    p.add_argument("--web", default="127.0.0.1:8044", metavar="HOST:PORT|none", help="the page; default %(default)s")
    p.add_argument("--speed", type=float, default=1.0, metavar="X", help="meter time to host time")
    add_service(p)
    add_trace(p)

    def call(args: argparse.Namespace) -> int:
        from countis.host.bus import Options, run

        if not (math.isfinite(args.speed) and 0.0 < args.speed <= 1000.0):
            raise SettingError("--speed", f"{args.speed:g} is not possible", "above 0, up to 1000")
        data = Path(args.data) if args.data is not None else state_folder() / "bus" / Path(args.site).stem
        ready = Path(args.ready_file) if args.ready_file is not None else None
        web, trace = endpoint(args.web, "--web"), trace_path(args)
        return run(Options(site=Path(args.site), data=data, pace=args.pace, web=web, token=args.token, most=most(args),
                           diagnostics=args.diagnostics, speed=args.speed, ready_file=ready, trace=trace,
                           access=access(args, endpoint), log=args.log))  # fmt: skip

    p.set_defaults(call=call)


def add_service(p: argparse.ArgumentParser) -> None:
    """Add what `run` and `bus` have in common."""
    p.add_argument("--token", metavar="T", help="what the page asks for; needed where --web is no loopback address")
    p.add_argument("--max-connections", type=int, default=1000, metavar="N", help="on each TCP port; default %(default)s")
    p.add_argument("--diagnostics", action="store_true", help="answer functions 8 and 43/14, which the device does not have")
    p.add_argument("--log", action="store_true", help="print each event on standard error as it happens")
    p.add_argument("--ready-file", metavar="FILE", help="written as JSON once every port answers")
    p.add_argument("--allow", action="append", default=[], metavar="NET", help="who may connect over TCP, again for more")
    p.add_argument("--read-only", action="store_true", help="refuse every write over the bus")
    p.add_argument("--max-writes", type=int, metavar="N", help="writes a second over the bus; default: no bound")
    p.add_argument("--tls", default="none", metavar="HOST:PORT|none", help="Modbus/TCP Security, its port is 802; default none")
    for what, name in (("cert", "the server's certificate"), ("key", "its key"), ("ca", "the authority of the clients")):
        p.add_argument(f"--tls-{what}", metavar="FILE", help=f"{name}, PEM")


def access(args: argparse.Namespace, endpoint: Endpoint) -> Any:
    """Return who may reach the bus ports; SettingError where the flags do not fit together."""
    from countis.serve.access import Access, Policy, read_networks, tls_context

    if args.max_writes is not None and not 1 <= args.max_writes <= 1_000_000:
        raise SettingError("--max-writes", f"{args.max_writes} is not possible", "1..1000000")
    policy = Policy(read_networks(args.allow), args.read_only, args.max_writes)
    at = endpoint(args.tls, "--tls")
    files = [args.tls_cert, args.tls_key, args.tls_ca]
    if at is None and files == [None] * 3:
        return Access(policy)
    if at is None or None in files:
        raise SettingError(
            "--tls", "not without the others", "--tls, --tls-cert, --tls-key and --tls-ca together"
        )
    return Access(policy, at, tls_context(*(Path(file) for file in files)))


def most(args: argparse.Namespace) -> int:
    """Return how many connections a port takes; SettingError where that is none."""
    if not 1 <= args.max_connections <= 100_000:
        raise SettingError("--max-connections", f"{args.max_connections} is not possible", "1..100000")
    return int(args.max_connections)


def add_faults(commands: Any) -> None:
    """Add `countis faults`."""
    p = commands.add_parser("faults", help="let a running meter answer wrongly on purpose; without a kind: say what holds")
    p.add_argument("address", type=int, help="slave address")
    p.add_argument("kind", nargs="?", choices=[kind.value for kind in Kind], help="what goes wrong")
    p.add_argument("--url", default=_PAGE, metavar="URL", help="its page; default %(default)s")
    p.add_argument("--token", metavar="T", help="what the page asks for")
    p.add_argument("--at", type=float, metavar="S", help="seconds from now")
    p.add_argument("--for", type=float, metavar="S", help="seconds that it lasts; default: for good")
    p.add_argument("--share", type=float, metavar="X", help="of the replies, 0..1; default 1")
    for name in _AMOUNTS:
        kinds = ", ".join(kind.value for kind, row in AMOUNTS.items() if row[0] == name)
        p.add_argument(f"--{name}", type=float, metavar="N", help=f"of {kinds}")
    p.add_argument("--clear", action="store_true", help="end all faults")
    p.set_defaults(call=_faults)


def _faults(args: argparse.Namespace) -> int:
    where = f"{args.url.rstrip('/')}/api/meters/{args.address}/faults"
    rows: list[dict[str, Any]] = [] if args.clear else _asked(where, args.token)
    if args.kind is not None:
        given = {name: getattr(args, name) for name in ("at", "for", "share", *_AMOUNTS)}
        rows.append({"kind": args.kind, **{name: value for name, value in given.items() if value is not None}})
    if args.kind is not None or args.clear:
        rows = _asked(where, args.token, rows)
    for row in rows:
        print("  ".join(f"{name} {value:g}" if isinstance(value, float) else str(value) for name, value in row.items()))
    if not rows:
        print("no faults")
    return 0


def _asked(where: str, token: str | None, rows: list[dict[str, Any]] | None = None) -> list[dict[str, Any]]:
    """Ask the server, or tell it; return its faults. BusError in one line."""
    headers = {"authorization": f"Bearer {token}"} if token is not None else {}
    body = None if rows is None else json.dumps(rows).encode()
    try:
        request = urllib.request.Request(where, body, headers, method="GET" if body is None else "PUT")
        with urllib.request.urlopen(request, timeout=5.0) as answer:
            found: list[dict[str, Any]] = json.load(answer)
            return found
    except urllib.error.HTTPError as error:
        raise BusError("", error.read(300).decode("utf-8", "replace").strip() or f"{where}: {error.code}") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        raise BusError(where, reason, "the page of a running countis") from None
