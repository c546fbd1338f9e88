"""The command line: words into calls, and nothing else. Every command has a help; what is wrong is said in one line."""

from __future__ import annotations

import argparse
import csv
import json
import math
import os
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

from countis import __version__
from countis.cli.bus import access, add_bus, add_faults, add_service, most
from countis.cli.events import add_events
from countis.cli.line import add_replay, add_trace, trace_path
from countis.modbus.tables import BLOCKS, ROWS, Row
from countis.models import E44, MAX_RATE, MIN_RATE, MODELS, Model
from countis.site import Bus, plan
from countis.site.line import parse_comset, parse_endpoint
from countis.words.errors import CountisError, SettingError
from countis.words.quantities import QUANTITIES
from countis.words.settings import SETTINGS, Value, setting

if TYPE_CHECKING:
    from countis.host.running.sources import Raw

_MAP_COLUMNS: Final = ("address", "words", "type", "unit", "access", "block", "symbol", "source", "description")


class _Usage(CountisError):
    """The words of a command are off."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise _Usage(
            str(self.prog.removeprefix('countis').strip() or 'usage'), str(message), f"see {self.prog} --help"
        )


def _state_folder() -> Path:
    base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(base) / "countis"


def _endpoint(text: str, option: str) -> tuple[str, int] | None:
    return None if text == "none" else parse_endpoint(text, option)


def _setting(option: str, symbol: str, text: str) -> Value:
    row = setting(symbol)
    try:
        return row.check(int(text) if isinstance(row.default, int) else text)
    except ValueError:
        raise SettingError(option, f"{text!r} is not possible", str(row.allowed_text())) from None


def _settings(args: argparse.Namespace) -> dict[str, Value]:
    """Return the settings that the flags of `run` give."""
    out: dict[str, Value] = {}
    if args.ct is not None:
        out["ct_primary"], out["ct_secondary"] = _ct(args.ct)
    if args.comset is not None:
        out["parity"], out["stop_bits"] = parse_comset(args.comset)
    for option, symbol in (
        ("address", "address"),
        ("baud", "baud"),
        ("tariff_control", "tariff_control"),
        ("serial_number", "serial_number"),
    ):
        text = getattr(args, option)
        if text is not None:
            out[symbol] = _setting(f"--{option.replace('_', '-')}", symbol, text)
    if args.sealed:
        out["sealed"] = 1
    return out


def _ct(text: str) -> tuple[Value, Value]:
    primary, slash, secondary = text.partition("/")
    if not slash:
        raise SettingError("--ct", f"{text!r} is not possible", "PRIMARY/SECONDARY, 1..12000 / 1 or 5")
    return _setting("--ct", "ct_primary", primary), _setting("--ct", "ct_secondary", secondary)


def _raw(args: argparse.Namespace) -> Raw:
    """Return how raw samples are to be taken."""
    from countis.host.running.sources import Raw

    if not MIN_RATE <= args.rate <= MAX_RATE:
        raise _Usage("--rate", f"{args.rate:g} is not possible", f"{MIN_RATE}..{MAX_RATE}")
    for option, scale in (("--v-scale", args.v_scale), ("--i-scale", args.i_scale)):
        if not 0.0 < abs(scale) <= 1e6:
            raise _Usage(option, f"{scale:g} is not possible", "up to 1e6, not 0")
    return Raw(args.rate, args.format, args.v_scale, args.i_scale)


def _run(args: argparse.Namespace) -> int:
    from countis.host.run import Options, run  # loads numba, which the other commands need not wait for

    if args.supply is not None and args.recording is not None:
        raise _Usage("run", "--supply and --recording exclude each other", "one of them")
    if args.stale_after is not None and not args.stale_after > 0.0:
        raise _Usage("--stale-after", f"{args.stale_after:g} is not possible", "above 0")
    if not (math.isfinite(args.speed) and 0.0 < args.speed <= 1000.0):
        raise _Usage("--speed", f"{args.speed:g} is not possible", "above 0, up to 1000")
    model = MODELS[args.model] if args.model is not None else None
    options = Options(
        model=model,
        settings=_settings(args),
        data=memory_folder(args.data, model),
        serial=None if args.serial == "none" else args.serial,
        tcp=_endpoint(args.tcp, "--tcp"),
        rtu_tcp=_endpoint(args.rtu_tcp, "--rtu-tcp"),
        web=_endpoint(args.web, "--web"),
        token=args.token,
        supply=Path(args.supply) if args.supply is not None else None,
        recording=args.recording,
        raw=_raw(args),
        speed=args.speed,
        ready_file=Path(args.ready_file) if args.ready_file is not None else None,
        most=most(args),
        stale_after=math.inf if args.stale_after is None else args.stale_after,
        keep_silence=args.keep_silence,
        access=access(args, _endpoint),
        diagnostics=args.diagnostics,
        log=args.log,
        trace=trace_path(args),
    )
    return run(options, E44)


def _read(args: argparse.Namespace) -> int:
    symbols = args.symbol or plan.EVERYDAY
    plan.sources(symbols)  # an unknown symbol is told before anything is sent
    if not (math.isfinite(args.timeout) and 0.0 < args.timeout <= 3600.0):
        raise _Usage("--timeout", f"{args.timeout:g} is not possible", "above 0, up to 3600 s")
    _setting("--baud", "baud", str(args.baud))
    if args.address not in range(256):
        raise SettingError("address", f"{args.address} is not possible", "1..247; 0 or 255 on TCP")
    with Bus.open(args.target, baud=args.baud, comset=args.comset, timeout=args.timeout) as bus:
        values = bus[args.address].read(*symbols)
    if args.json:
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        print(json.dumps({"target": args.target, "address": args.address, "time": now, "values": values}))
    elif args.csv:
        csv.writer(sys.stdout).writerows((("symbol", "value", "unit"), *((s, v, plan.unit(s)) for s, v in values.items())))
    else:
        width = max(map(len, values))
        for symbol, value in values.items():
            print(f"{symbol:{width}} {'----' if value is None else f'{value} {plan.unit(symbol)}'}".rstrip())
    return 0


def _block_of(row: Row) -> str:
    block = next(b for b in BLOCKS if b.start <= row.address < b.start + b.words)
    return f"{block.start} {block.topic}"


def _describe(row: Row) -> str:
    """Say what a row holds: the name of its quantity or setting, and what the row adds."""
    symbol = row.symbol
    if symbol in QUANTITIES:
        name = QUANTITIES[symbol].name + (", without the CT ratio" if row.secondary else "")
    else:
        name = SETTINGS[symbol].name if symbol in SETTINGS else symbol.partition(".")[2].replace("_", " ")
    return "; ".join(dict.fromkeys(text for text in (name, row.description) if text))


def _map(args: argparse.Namespace) -> int:
    rows: list[dict[str, Any]] = [
        {c: getattr(row, c, None) for c in _MAP_COLUMNS} | {"block": _block_of(row), "description": _describe(row)}
        for row in ROWS
        if not args.assumed or row.source == "assumed"
    ]
    table = [[str(row[c]) for c in _MAP_COLUMNS] for row in rows]
    if args.format == "csv":
        csv.writer(sys.stdout, lineterminator="\n").writerows([_MAP_COLUMNS, *table])
    elif args.format == "json":
        print(json.dumps([{c: row[c] for c in _MAP_COLUMNS} for row in rows], indent=1, ensure_ascii=False))
    elif args.format == "md":
        print("\n".join("| " + " | ".join(line) + " |" for line in (_MAP_COLUMNS, ["---"] * len(_MAP_COLUMNS), *table)))
    else:
        widths = [max(len(line[k]) for line in (_MAP_COLUMNS, *table)) for k in range(len(_MAP_COLUMNS))]
        for line in (_MAP_COLUMNS, *table):
            print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
    return 0


def _record(args: argparse.Namespace) -> int:
    from countis.host.lab.record import record
    from countis.host.running.sources import supply_plan

    plan_ = supply_plan(Path(args.supply) if args.supply is not None else None)
    if plan_.recording is not None:
        raise SettingError(
            f"--supply {args.supply}", "is a recording already", "a supply of voltages and loads"
        )
    primary, secondary = _ct(args.ct)
    print(record(plan_.build(int(primary) / int(secondary)), args.seconds, Path(args.out)))
    return 0


def _probe(args: argparse.Namespace) -> int:
    from countis.host.lab.record import probe

    print(probe(Path(args.file), _raw(args)))
    return 0


def _calibrate(args: argparse.Namespace) -> int:
    from countis.host.lab.calibrate import calibrate

    model = MODELS[args.model] if args.model is not None else None
    print(calibrate(memory_folder(args.data, model), model, Path(args.supply), args.seconds))
    return 0


def _typetest(args: argparse.Namespace) -> int:
    from countis.host.lab.typetest.run import main as typetest

    if args.jobs is not None and not 1 <= args.jobs <= 256:
        raise _Usage("--jobs", f"{args.jobs} is not possible", "1..256")
    if not 0 <= args.seed < 2**32:
        raise _Usage("--seed", f"{args.seed} is not possible", f"0..{2 ** 32 - 1}")
    files = {"html": args.html, "json_file": args.json}
    return typetest(MODELS[args.model], quick=args.quick, seed=args.seed, jobs=args.jobs,
                    **{name: Path(text) if text is not None else None for name, text in files.items()})  # fmt: skip


def _panel(args: argparse.Namespace) -> int:
    from countis.host.terminal.app import run as panel  # loads textual, which the other commands need not wait for

    return panel(args.url, args.address, args.token)


def memory_folder(data: str | None, model: Model | None) -> Path:
    """Return the folder of the memory that the flags name."""
    return Path(data) if data is not None else _state_folder() / (model or E44).name


def _check(args: argparse.Namespace) -> int:
    from countis.host.running.sources import Raw, recording, supply_plan

    path = Path(args.file)
    found = supply_plan(path)
    if found.recording is not None:
        source = recording(found.recording, path.parent, Raw(found.rate))
        print(
            f"{path}: fine: recording {found.recording.file}, {source.rate:g} samples per second, then {found.recording.at_end}"
        )
    else:
        found.build(1.0)
        state = found.states[0][1].state
        changes = f", {len(found.states) - 1} changes" if len(found.states) > 1 else ""
        what = f"{found.rate:g} samples per second, {state.network.frequency:g} Hz, loads: {len(state.loads)}{changes}"
        print(f"{path}: fine: {what}")
    return 0


def _add_raw(p: argparse.ArgumentParser) -> None:
    p.add_argument("--rate", type=float, default=8000.0, metavar="N", help="samples per second of raw input; default 8000")
    p.add_argument("--format", default="f32", metavar="F", help="of raw input, f32 f64 s16 s24 s32, little-endian; default f32")
    p.add_argument("--v-scale", type=float, default=1.0, metavar="X", help="recording to volts at the terminals")
    p.add_argument("--i-scale", type=float, default=1.0, metavar="X", help="recording to amperes on the secondary")


def _add_run(commands: Any) -> None:
    p = commands.add_parser("run", help="run a meter, with its ports, its supply and its memory")
    p.add_argument("--model", choices=sorted(MODELS), help="of a new memory: E44 (MID) or E43; default E44")
    p.add_argument("--address", metavar="N", help="slave address, 1..247; a new meter has 5")
    p.add_argument("--ct", metavar="P/S", help="current transformers, e.g. 200/5, which a new memory has")
    p.add_argument("--comset", metavar="8N1", help="parity and stop bits of the serial line")
    p.add_argument("-b", "--baud", metavar="N", help="speed of the serial line; a new meter has 38400")
    p.add_argument("--tariff-control", choices=("com", "dig"), help="tariff by the bus or by the input")
    p.add_argument("--sealed", action="store_true", help="close the seal of an E44")
    p.add_argument("--serial-number", metavar="S", help="serial number")
    p.add_argument("--data", metavar="DIR", help="folder of the memory; default: the user's state folder")
    p.add_argument("--serial", default="pty", metavar="pty|PATH|none", help="RTU on a pty (default) or a serial device")
    p.add_argument("--tcp", default="127.0.0.1:1502", metavar="HOST:PORT|none", help="Modbus TCP; default %(default)s")
    p.add_argument("--rtu-tcp", default="none", metavar="HOST:PORT|none", help="RTU over TCP; default none")
    p.add_argument("--web", default="127.0.0.1:8044", metavar="HOST:PORT|none", help="its page; default %(default)s")
    p.add_argument("--supply", metavar="FILE.toml", help="what the meter is wired to; default: a small workshop with a PV roof")
    p.add_argument(
        "--recording",
        metavar="FILE|-",
        help="COMTRADE .cfg, .wav, .csv, raw; - reads raw samples or a WAV from standard input",
    )
    _add_raw(p)
    p.add_argument("--speed", type=float, default=1.0, metavar="X", help="meter time to host time")
    p.add_argument("--stale-after", type=float, metavar="S", help="silent after so many s without samples")
    p.add_argument("--keep-silence", action="store_true", help="3.5 characters before each reply on a pty too, as on a device")
    add_service(p)
    add_trace(p)
    p.set_defaults(call=_run)


def _add_panel(commands: Any) -> None:
    p = commands.add_parser("panel", help="LCD, keys and values of a running meter, in a terminal")
    p.add_argument("url", nargs="?", default="http://127.0.0.1:8044", metavar="URL", help="of its page; default %(default)s")
    p.add_argument("--address", type=int, metavar="N", help="which meter of that page; default: the first")
    p.add_argument("--token", metavar="T", help="what the page asks for, where it does")
    p.set_defaults(call=_panel)


def _add_read(commands: Any) -> None:
    p = commands.add_parser("read", help="read a meter by symbol, real or virtual")
    p.add_argument("target", help="device path, tcp://HOST:PORT or rtu+tcp://HOST:PORT")
    p.add_argument("address", type=int, help="slave address")
    p.add_argument("symbol", nargs="*", help="U12 V1 P Ea+ Er-cap.L2.T3 ct_primary id.vendor …; default: the everyday ones")
    p.add_argument("-b", "--baud", type=int, default=38400, help="speed of a device path")
    p.add_argument("--comset", default="8N1", help="parity and stop bits of a device path")
    p.add_argument("--timeout", type=float, default=1.0, metavar="S", help="seconds to wait for an answer")
    form = p.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print JSON")
    form.add_argument("--csv", action="store_true", help="print CSV")
    p.set_defaults(call=_read)
    p = commands.add_parser("map", help="print the Modbus table")
    p.add_argument("--format", choices=("table", "csv", "json", "md"), default="table", help="how to print it")
    p.add_argument("--assumed", action="store_true", help="only what no source backs")
    p.set_defaults(call=_map)


def _parser() -> _Parser:
    parser = _Parser(prog="countis", description="The COUNTIS E43/E44 energy meter in software.")
    parser.add_argument("--version", action="version", version=f"countis {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", parser_class=_Parser)
    _add_run(commands)
    add_bus(commands, _endpoint, _state_folder)
    add_faults(commands)
    add_replay(commands)
    add_events(commands, memory_folder)
    _add_panel(commands)
    _add_read(commands)
    p = commands.add_parser("record", help="write what a supply makes as COMTRADE, WAV, CSV or raw float32")
    p.add_argument("--supply", metavar="FILE.toml", help="the supply; default: the workshop")
    p.add_argument("--seconds", type=float, required=True, metavar="N", help="how much of it")
    p.add_argument("--out", required=True, metavar="FILE", help="by its ending: .cfg .wav .csv .f32")
    p.add_argument("--ct", default="200/5", metavar="P/S", help="for loads given in primary W; default %(default)s")
    p.set_defaults(call=_record)
    p = commands.add_parser("probe", help="say what is in a recording and propose a channel map")
    p.add_argument("file", metavar="FILE", help="COMTRADE .cfg, .wav, .csv or raw")
    _add_raw(p)
    p.set_defaults(call=_probe)
    p = commands.add_parser("calibrate", help="find the constants of the front end against a reference supply, and keep them")
    p.add_argument("--supply", required=True, metavar="FILE.toml", help="the reference, steady; its [front_end] is found")
    p.add_argument("--model", choices=sorted(MODELS), help="of a new memory; default E44")
    p.add_argument("--data", metavar="DIR", help="folder of the memory; default: the user's state folder")
    p.add_argument("--seconds", type=float, default=20.0, metavar="N", help="how long to measure; default 20")
    p.set_defaults(call=_calibrate)
    p = commands.add_parser("typetest", help="the accuracy bench, against every limit; exit code 1 where one is missed")
    p.add_argument("--model", choices=sorted(MODELS), default="E44", help="E44 (default) or E43")
    p.add_argument("--quick", action="store_true", help="some points, in seconds")
    p.add_argument("--seed", type=int, default=1, metavar="N", help="of the noise; default 1")
    p.add_argument("--html", metavar="FILE", help="write the report with its charts")
    p.add_argument("--json", metavar="FILE", help="write every point and check")
    p.add_argument("--jobs", type=int, metavar="N", help="processes; default: one for each core")
    p.set_defaults(call=_typetest)
    p = commands.add_parser("check", help="check a supply file")
    p.add_argument("file", metavar="FILE.toml", help="the file")
    p.set_defaults(call=_check)
    return parser


def main(argv: Sequence[str]) -> int:
    """Run one command; return its exit code. CountisError on bad input."""
    args = _parser().parse_args(argv)
    call: Callable[[argparse.Namespace], int] = args.call
    return call(args)
