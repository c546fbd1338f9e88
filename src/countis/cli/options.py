"""What several verbs share: each option is added here once, and each is checked here once.

Rule: `add_…` adds options to a parser; the function beside it returns what was given, and raises SettingError
where that is not possible. Modules that only some verbs need are imported where they are used.
"""

from __future__ import annotations

import argparse
import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from countis.words.errors import SettingError

if TYPE_CHECKING:
    from countis.host.running.sources import Raw
    from countis.models import Model
    from countis.serve.access import Access
    from countis.words.settings import Value

PAGE: Final = "127.0.0.1:8044"  # where `run` and `bus` have their page, and where it is looked for
_MOST_SPEED: Final = 1000.0  # meter time to host time
_MOST_TIMEOUT: Final = 3600.0  # s
_MOST_WRITES: Final = 1_000_000
_MOST_CONNECTIONS: Final = 100_000

# values


def path(text: str | None) -> Path | None:
    """Return the path that an option gives, None where it is not given."""
    return Path(text) if text is not None else None


def checked_setting(where: str, symbol: str, given: Value) -> Value:
    """Return what an option gives a setting, as a number where it is one; SettingError names `where`."""
    from countis.words.settings import setting

    row = setting(symbol)
    try:
        return row.check(int(given) if isinstance(row.default, int) else given)
    except ValueError:
        raise SettingError(where, f"{given!r} is not possible", row.allowed_text()) from None


def transformers(text: str) -> tuple[Value, Value]:
    """Return CT primary and secondary of `P/S`."""
    primary, slash, secondary = text.partition("/")
    if not slash:
        raise SettingError("--ct", f"{text!r} is not possible", "PRIMARY/SECONDARY, 1..12000 / 1 or 5")
    return checked_setting("--ct", "ct_primary", primary), checked_setting("--ct", "ct_secondary", secondary)


def checked_address(number: int) -> int:
    """Return the address of a meter that is asked, on any kind of line."""
    if number not in range(256):
        raise SettingError("address", f"{number} is not possible", "1..247; 0 or 255 on TCP")
    return number


def _bounded(option: str, value: float, most: float, unit: str = "") -> float:
    if math.isfinite(value) and 0.0 < value <= most:
        return value
    allowed = "above 0" if math.isinf(most) else f"above 0, up to {most:g}{unit}"
    raise SettingError(option, f"{value:g} is not possible", allowed)


def _counted(option: str, number: int, most: int) -> int:
    if not 1 <= number <= most:
        raise SettingError(option, f"{number} is not possible", f"1..{most}")
    return number


# time


def add_speed(parser: argparse.ArgumentParser, help: str = "meter time to host time") -> None:
    """Add `--speed`."""
    parser.add_argument("--speed", type=float, default=1.0, metavar="X", help=help)


def speed(args: argparse.Namespace, most: float = _MOST_SPEED) -> float:
    """Return `--speed`."""
    return _bounded("--speed", args.speed, most)


# meters, their memories and what they are fed from


def add_model(parser: argparse.ArgumentParser, help: str, default: str | None = None) -> None:
    """Add `--model`."""
    from countis.models import MODELS

    parser.add_argument("--model", choices=sorted(MODELS), default=default, help=help)


def model(args: argparse.Namespace) -> Model | None:
    """Return `--model`, None where it is not given."""
    from countis.models import MODELS

    return MODELS[args.model] if args.model is not None else None


def add_data(
    parser: argparse.ArgumentParser, help: str = "folder of the memory; default: the user's state folder"
) -> None:
    """Add `--data`."""
    parser.add_argument("--data", metavar="DIR", help=help)


def state_folder() -> Path:
    """Return where memories are by default."""
    base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(base) / "countis"


def memory_folder(args: argparse.Namespace) -> Path:
    """Return the folder of the one memory that `--data` or `--model` names."""
    from countis.models import E44

    return path(args.data) or state_folder() / (model(args) or E44).name


def add_ct(parser: argparse.ArgumentParser, help: str, default: str | None = None) -> None:
    """Add `--ct`."""
    parser.add_argument("--ct", default=default, metavar="P/S", help=help)


def add_supply(parser: argparse.ArgumentParser, help: str, required: bool = False) -> None:
    """Add `--supply`."""
    parser.add_argument("--supply", required=required, metavar="FILE.toml", help=help)


def add_raw(parser: argparse.ArgumentParser) -> None:
    """Add how raw samples are to be taken."""
    parser.add_argument(
        "--rate",
        type=float,
        default=8000.0,
        metavar="N",
        help="samples per second of raw input; default 8000",
    )
    parser.add_argument(
        "--format",
        default="f32",
        metavar="F",
        help="of raw input, f32 f64 s16 s24 s32, little-endian; default f32",
    )
    for option, what in (("--v-scale", "volts at the terminals"), ("--i-scale", "amperes on the secondary")):
        parser.add_argument(option, type=float, default=1.0, metavar="X", help=f"recording to {what}")


def raw(args: argparse.Namespace) -> Raw:
    """Return how raw samples are to be taken."""
    from countis.host.running.sources import Raw
    from countis.words.settings import MAX_RATE, MIN_RATE

    if not MIN_RATE <= args.rate <= MAX_RATE:
        raise SettingError("--rate", f"{args.rate:g} is not possible", f"{MIN_RATE}..{MAX_RATE}")
    for option, scale in (("--v-scale", args.v_scale), ("--i-scale", args.i_scale)):
        if not 0.0 < abs(scale) <= 1e6:
            raise SettingError(option, f"{scale:g} is not possible", "up to 1e6, not 0")
    return Raw(args.rate, args.format, args.v_scale, args.i_scale)


# asking meters over a line, and their page


def add_target(parser: argparse.ArgumentParser) -> None:
    """Add where a meter is reached."""
    parser.add_argument("target", help="device path, tcp://HOST:PORT or rtu+tcp://HOST:PORT")


def add_line(parser: argparse.ArgumentParser) -> None:
    """Add how a target is spoken to."""
    parser.add_argument("-b", "--baud", type=int, default=38400, help="speed of a device path")
    parser.add_argument("--comset", default="8N1", help="parity and stop bits of a device path")
    parser.add_argument(
        "--timeout", type=float, default=1.0, metavar="S", help="seconds to wait for an answer"
    )


def timeout(args: argparse.Namespace) -> float:
    """Return `--timeout`."""
    return _bounded("--timeout", args.timeout, _MOST_TIMEOUT, " s")


def add_token(parser: argparse.ArgumentParser, help: str) -> None:
    """Add `--token`."""
    parser.add_argument("--token", metavar="T", help=help)


# answering: what `run` and `bus` share


def add_endpoint(parser: argparse.ArgumentParser, option: str, help: str, default: str = "none") -> None:
    """Add an option that takes `HOST:PORT` or `none`."""
    parser.add_argument(option, default=default, metavar="HOST:PORT|none", help=help)


def endpoint(text: str, option: str) -> tuple[str, int] | None:
    """Return host and port of `HOST:PORT`, None of `none`; BusError tells what is allowed."""
    from countis.site.line import parse_endpoint

    return None if text == "none" else parse_endpoint(text, option)


def add_service(parser: argparse.ArgumentParser) -> None:
    """Add who may reach a service, how much of it, and what it tells."""
    add_token(parser, "what the page asks for; needed where --web is no loopback address")
    parser.add_argument(
        "--max-connections", type=int, default=1000, metavar="N", help="on each TCP port; default %(default)s"
    )
    parser.add_argument(
        "--diagnostics",
        action="store_true",
        help="answer functions 8 and 43/14, which the device does not have",
    )
    parser.add_argument("--log", action="store_true", help="print each event on standard error as it happens")
    parser.add_argument("--ready-file", metavar="FILE", help="written as JSON once every port answers")
    parser.add_argument(
        "--allow", action="append", default=[], metavar="NET", help="who may connect over TCP, again for more"
    )
    parser.add_argument("--read-only", action="store_true", help="refuse every write over the bus")
    parser.add_argument(
        "--max-writes", type=int, metavar="N", help="writes a second over the bus; default: no bound"
    )
    add_endpoint(parser, "--tls", "Modbus/TCP Security, its port is 802; default none")
    files = {"cert": "the server's certificate", "key": "its key", "ca": "the authority of the clients"}
    for name, what in files.items():
        parser.add_argument(f"--tls-{name}", metavar="FILE", help=f"{what}, PEM")
    parser.add_argument(
        "--trace",
        metavar="FILE",
        help="append each Modbus frame with its time; by its ending: .txt or .pcapng",
    )


def connections(args: argparse.Namespace) -> int:
    """Return how many connections a port takes."""
    return _counted("--max-connections", args.max_connections, _MOST_CONNECTIONS)


def access(args: argparse.Namespace) -> Access:
    """Return who may reach the bus ports; SettingError where the options do not fit together."""
    from countis.serve.access import Access, Policy, read_networks, tls_context

    if args.max_writes is not None:
        _counted("--max-writes", args.max_writes, _MOST_WRITES)
    policy = Policy(read_networks(args.allow), args.read_only, args.max_writes)
    at = endpoint(args.tls, "--tls")
    files = [args.tls_cert, args.tls_key, args.tls_ca]
    if at is None and files == [None] * 3:
        return Access(policy)
    if at is None or None in files:
        together = "--tls, --tls-cert, --tls-key and --tls-ca together"
        raise SettingError("--tls", "not without the others", together)
    return Access(policy, at, tls_context(*(Path(file) for file in files)))
