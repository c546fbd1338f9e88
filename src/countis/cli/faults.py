"""`countis faults`: lets a running meter answer wrongly on purpose, through its page."""

from __future__ import annotations

import argparse
import json
from typing import Any, Final
from urllib.parse import quote

from countis.cli import options
from countis.modbus.line.faults import AMOUNTS, Kind
from countis.words.errors import BusError

_PATIENCE: Final = 5.0  # s that the page has to answer
_AMOUNTS: Final = tuple(dict.fromkeys(name for name, *_ in AMOUNTS.values()))

Rows = list[dict[str, Any]]  # faults, as the page has them


def add(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `countis faults`."""
    parser.add_argument("meter", help="its name, or its slave address where no other has that")
    parser.add_argument("kind", nargs="?", choices=[kind.value for kind in Kind], help="what goes wrong")
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
    url = f"{args.url.rstrip('/')}/api/meters/{quote(args.meter, safe='')}/faults"
    rows: Rows = [] if args.clear else _exchange(url, args.token)
    if args.kind is not None:
        given = {name: getattr(args, name) for name in ("at", "for", "share", *_AMOUNTS)}
        amounts = {name: value for name, value in given.items() if value is not None}
        rows.append({"kind": args.kind, **amounts})
    if args.kind is not None or args.clear:
        rows = _exchange(url, args.token, rows)
    for row in rows:
        words = (
            f"{name} {value:g}" if isinstance(value, float) else str(value) for name, value in row.items()
        )
        print("  ".join(words))
    if not rows:
        print("no faults")
    return 0


def _exchange(url: str, token: str | None, rows: Rows | None = None) -> Rows:
    """Put faults, or ask for them where rows is None; return those that hold. BusError in one line."""
    import urllib.error  # which loads TLS, that a help need not wait for
    import urllib.request

    headers = {"authorization": f"Bearer {token}"} if token is not None else {}
    body = None if rows is None else json.dumps(rows).encode()
    try:
        request = urllib.request.Request(url, body, headers, method="GET" if body is None else "PUT")
        with urllib.request.urlopen(request, timeout=_PATIENCE) as reply:
            holding: Rows = json.load(reply)
            return holding
    except urllib.error.HTTPError as error:
        answer = error.read(300).decode("utf-8", "replace").strip()
        raise BusError("", answer or f"{url}: {error.code}") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        raise BusError(url, reason, "the page of a running countis") from None
