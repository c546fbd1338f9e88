"""`countis run`: a meter, with its ports, its supply and its memory."""

from __future__ import annotations

import argparse
import math
from typing import TYPE_CHECKING

from countis.cli import options
from countis.words import notation
from countis.words.errors import SettingError
from countis.words.settings import Value

if TYPE_CHECKING:
    from countis.host.running.plan import Door


def add(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `countis run`."""
    _add_meter(parser)
    _add_ports(parser)
    options.add(parser, "--supply", "what the meter is wired to; default: a small workshop with a PV roof")
    files = "COMTRADE .cfg, .wav, .csv, raw; - reads raw samples or a WAV from standard input"
    parser.add_argument("--recording", metavar="FILE|-", help=files)
    options.add_raw(parser)
    options.add(parser, "--speed", options.SPEED)
    parser.add_argument("--stale-after", type=float, metavar="S",
                        help="silent after so many s without samples")
    parser.add_argument("--keep-silence", action="store_true",
                        help="3.5 characters before each reply on a pty too, as on a device")
    options.add_service(parser)


def _add_meter(parser: argparse.ArgumentParser) -> None:
    """Add the settings of a meter and the folder of its memory."""
    options.add_model(parser, "of a new memory: E44 (MID) or E43; default E44")
    parser.add_argument("--address", metavar="N", help="slave address, 1..247; a new meter has 5")
    options.add(parser, "--ct", "current transformers, e.g. 200/5, which a new memory has")
    parser.add_argument("--comset", metavar="8N1", help="parity and stop bits of the serial line")
    parser.add_argument("-b", "--baud", metavar="N", help="speed of the serial line; a new meter has 38400")
    parser.add_argument("--tariff-control", choices=("com", "dig"), help="tariff by the bus or by the input")
    parser.add_argument("--sealed", action="store_true", help="close the seal of an E44")
    parser.add_argument("--serial-number", metavar="S", help="serial number")
    options.add(parser, "--data", options.MEMORY)


def _add_ports(parser: argparse.ArgumentParser) -> None:
    """Add where a meter answers."""
    parser.add_argument("--serial", default="pty", metavar="pty|PATH|none",
                        help="RTU on a pty (default) or a serial device")
    options.add_endpoint(parser, "--tcp", "Modbus TCP; default %(default)s", "127.0.0.1:1502")
    options.add_endpoint(parser, "--rtu-tcp", "RTU over TCP; default none")
    options.add_endpoint(parser, "--web", "its page; default %(default)s", options.PAGE)


def call(args: argparse.Namespace) -> int:
    """Run a meter until a signal ends it, or its recording does."""
    from countis.host.run import run
    from countis.host.running.plan import MeterPlan
    from countis.models import E44

    if args.supply is not None and args.recording is not None:
        raise SettingError("run", "--supply and --recording exclude each other", "one of them")
    if args.stale_after is not None and not args.stale_after > 0.0:
        raise SettingError("--stale-after", f"{args.stale_after:g} is not possible", "above 0")
    service = options.service(args, options.memory_folder(args))
    meter = MeterPlan(
        name="", folder=service.data, default=E44, model=options.model(args), settings=_settings(args),
        supply=options.path(args.supply), recording=args.recording, raw=options.raw(args),
        stale_after=math.inf if args.stale_after is None else args.stale_after,
    )
    return run(meter, _doors(args), args.keep_silence, service)


def _doors(args: argparse.Namespace) -> list[Door]:
    """Return where masters come in, without TLS."""
    from countis.host.running.plan import Door, DoorKind

    doors: list[tuple[DoorKind, str | tuple[str, int] | None, str]] = [
        (DoorKind.TCP, options.endpoint(args.tcp, "--tcp"), "--tcp"),
        (DoorKind.RTU_TCP, options.endpoint(args.rtu_tcp, "--rtu-tcp"), "--rtu-tcp"),
        (DoorKind.SERIAL, None if args.serial == "none" else args.serial, "--serial"),
    ]
    return [Door(kind, at, option) for kind, at, option in doors if at is not None]


def _settings(args: argparse.Namespace) -> dict[str, Value]:
    """Return the settings that the options give."""
    settings: dict[str, Value] = {}
    if args.ct is not None:
        settings["ct_primary"], settings["ct_secondary"] = notation.ct_ratio(args.ct, "--ct")
    if args.comset is not None:
        settings["parity"], settings["stop_bits"] = notation.comset(args.comset, "--comset")
    for symbol in ("address", "baud", "tariff_control", "serial_number"):
        text = getattr(args, symbol)
        if text is not None:
            settings[symbol] = notation.setting_value(symbol, text, f"--{symbol.replace('_', '-')}")
    if args.sealed:
        settings["sealed"] = 1
    return settings
