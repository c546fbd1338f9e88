"""Options that several verbs share: each is added here once and checked here once.

Rule: `add…` adds options to a parser; the function beside it returns the value, and raises SettingError where
it is not possible. Modules that only some verbs need are imported where they are used.
"""

from __future__ import annotations

import argparse
import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from countis.words import notation
from countis.words.errors import SettingError

if TYPE_CHECKING:
    from countis.host.running.plan import Service
    from countis.host.running.sources import Raw
    from countis.models import Model
    from countis.serve.access import Access

PAGE: Final = "127.0.0.1:8044"  # where `run` and `bus` have their page, and where it is looked for
STATE: Final = "the user's state folder"
MEMORY: Final = f"folder of the memory; default: {STATE}"
SPEED: Final = "meter time to host time"
_MOST_SPEED: Final = 1000.0
_MOST_TIMEOUT: Final = 3600.0  # s
_MOST_WRITES: Final = 1_000_000
_MOST_CONNECTIONS: Final = 100_000
_SHARED: Final[dict[str, dict[str, Any]]] = {
    "--speed": {"type": float, "default": 1.0, "metavar": "X"},
    "--data": {"metavar": "DIR"},
    "--ct": {"metavar": "P/S"},
    "--supply": {"metavar": "FILE.toml"},
    "--token": {"metavar": "T"},
}


def add(parser: argparse.ArgumentParser, option: str, help: str, **more: Any) -> None:
    """Add an option of the table above."""
    parser.add_argument(option, help=help, **_SHARED[option], **more)


# values


def path(text: str | None) -> Path | None:
    """Return the path that an option gives, None without one."""
    return Path(text) if text is not None else None


def checked_address(number: int) -> int:
    """Return the address of a meter on any kind of line."""
    if number not in range(256):
        raise SettingError("address", f"{number} is not possible", "1..247; 0 or 255 on TCP")
    return number


def bounded(option: str, value: float, most: float, unit: str = "") -> float:
    """Return a number above 0 and up to `most`."""
    if math.isfinite(value) and 0.0 < value <= most:
        return value
    allowed = "above 0" if math.isinf(most) else f"above 0, up to {most:g}{unit}"
    raise SettingError(option, f"{value:g} is not possible", allowed)


def counted(option: str, number: int, most: int, least: int = 1) -> int:
    """Return a whole number within a range."""
    if not least <= number <= most:
        raise SettingError(option, f"{number} is not possible", f"{least}..{most}")
    return number


def speed(args: argparse.Namespace, most: float = _MOST_SPEED) -> float:
    """Return `--speed`."""
    return bounded("--speed", args.speed, most)


# meters, their memories and their samples


def add_model(parser: argparse.ArgumentParser, help: str, default: str | None = None) -> None:
    """Add `--model`."""
    from countis.models import MODELS

    parser.add_argument("--model", choices=sorted(MODELS), default=default, help=help)


def model(args: argparse.Namespace) -> Model | None:
    """Return `--model`, None where it is not given."""
    from countis.models import MODELS

    return MODELS[args.model] if args.model is not None else None


def state_folder() -> Path:
    """Return where memories are by default."""
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "countis"


def memory_folder(args: argparse.Namespace) -> Path:
    """Return the folder of the one memory that `--data` or `--model` names."""
    from countis.models import E44

    return path(args.data) or state_folder() / (model(args) or E44).name


def add_raw(parser: argparse.ArgumentParser) -> None:
    """Add the format of raw samples."""
    parser.add_argument("--rate", type=float, default=8000.0, metavar="N",
                        help="samples per second of raw input; default 8000")
    parser.add_argument("--format", default="f32", metavar="F",
                        help="of raw input, f32 f64 s16 s24 s32, little-endian; default f32")
    for option, what in (("--v-scale", "volts at the terminals"), ("--i-scale", "amperes on the secondary")):
        parser.add_argument(option, type=float, default=1.0, metavar="X", help=f"recording to {what}")


def raw(args: argparse.Namespace) -> Raw:
    """Return the format of raw samples."""
    from countis.host.running.sources import Raw
    from countis.words.settings import MAX_RATE, MIN_RATE

    if not MIN_RATE <= args.rate <= MAX_RATE:
        raise SettingError("--rate", f"{args.rate:g} is not possible", f"{MIN_RATE}..{MAX_RATE}")
    for option, scale in (("--v-scale", args.v_scale), ("--i-scale", args.i_scale)):
        if not 0.0 < abs(scale) <= 1e6:
            raise SettingError(option, f"{scale:g} is not possible", "up to 1e6, not 0")
    return Raw(args.rate, args.format, args.v_scale, args.i_scale)


# requests to meters over a line


def add_line(parser: argparse.ArgumentParser) -> None:
    """Add where a meter is reached, and the parameters of a line."""
    parser.add_argument("target", help="device path, tcp://HOST:PORT or rtu+tcp://HOST:PORT")
    parser.add_argument("-b", "--baud", type=int, default=38400, help="speed of a device path")
    parser.add_argument("--comset", default="8N1", help="parity and stop bits of a device path")
    parser.add_argument("--timeout", type=float, default=1.0, metavar="S",
                        help="seconds to wait for an answer")


def timeout(args: argparse.Namespace) -> float:
    """Return `--timeout`."""
    return bounded("--timeout", args.timeout, _MOST_TIMEOUT, " s")


# services: what `run` and `bus` share


def add_endpoint(parser: argparse.ArgumentParser, option: str, help: str, default: str = "none") -> None:
    """Add an option that takes `HOST:PORT` or `none`."""
    parser.add_argument(option, default=default, metavar="HOST:PORT|none", help=help)


def endpoint(text: str, option: str) -> tuple[str, int] | None:
    """Return host and port of `HOST:PORT`, None of `none`."""
    return None if text == "none" else notation.endpoint(text, option)


def add_service(parser: argparse.ArgumentParser) -> None:
    """Add access, limits and logs of a service."""
    option = parser.add_argument
    add(parser, "--token", "what the page asks for; needed where --web is no loopback address")
    option("--max-connections", type=int, default=1000, metavar="N",
           help="on each TCP port; default %(default)s")
    option("--diagnostics", action="store_true",
           help="answer functions 8 and 43/14, which the device does not have")
    option("--log", action="store_true", help="print each event on standard error as it happens")
    option("--ready-file", metavar="FILE", help="written as JSON once every port answers")
    option("--allow", action="append", default=[], metavar="NET",
           help="who may connect over TCP, again for more")
    option("--read-only", action="store_true", help="refuse every write over the bus")
    option("--max-writes", type=int, metavar="N", help="writes a second over the bus; default: no bound")
    add_endpoint(parser, "--tls", "Modbus/TCP Security, its port is 802; default none")
    files = {"cert": "the server's certificate", "key": "its key", "ca": "the authority of the clients"}
    for name, what in files.items():
        option(f"--tls-{name}", metavar="FILE", help=f"{what}, PEM")
    option("--trace", metavar="FILE",
           help="append each Modbus frame with its time; by its ending: .txt or .pcapng")


def service(args: argparse.Namespace, data: Path) -> Service:
    """Return what the process is asked for beside its meters; data: the folder of its memories."""
    from countis.host.running.plan import Service

    return Service(
        data=data, web=endpoint(args.web, "--web"), token=args.token, speed=speed(args),
        most=counted("--max-connections", args.max_connections, _MOST_CONNECTIONS), access=_access(args),
        trace=path(args.trace), ready_file=path(args.ready_file), diagnostics=args.diagnostics, log=args.log,
    )


def _access(args: argparse.Namespace) -> Access:
    """Return who may reach the bus ports; SettingError where the options do not fit together."""
    from countis.serve.access import Access, Policy, read_networks, tls_context

    if args.max_writes is not None:
        counted("--max-writes", args.max_writes, _MOST_WRITES)
    policy = Policy(read_networks(args.allow), args.read_only, args.max_writes)
    at = endpoint(args.tls, "--tls")
    files = [args.tls_cert, args.tls_key, args.tls_ca]
    if at is None and files == [None] * 3:
        return Access(policy)
    if at is None or None in files:
        allowed = "--tls, --tls-cert, --tls-key and --tls-ca together"
        raise SettingError("--tls", "not without the others", allowed)
    return Access(policy, at, tls_context(*(Path(file) for file in files)))
