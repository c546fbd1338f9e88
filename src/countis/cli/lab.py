"""The verbs of the laboratory: `countis record`, `probe`, `calibrate`, `typetest` and `check`."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Final

from countis.cli import options
from countis.words.errors import SettingError
from countis.words.notation import ct_ratio

_MOST_JOBS: Final = 256
_MOST_SEED: Final = 2**32 - 1


def add(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the verb that the parser is made for."""
    add_arguments, _ = _VERBS[parser.get_default("verb")]
    add_arguments(parser)


def call(args: argparse.Namespace) -> int:
    """Do what the verb asks for."""
    _, do = _VERBS[args.verb]
    return do(args)


def _add_record(parser: argparse.ArgumentParser) -> None:
    options.add(parser, "--supply", "the supply; default: the workshop")
    parser.add_argument("--seconds", type=float, required=True, metavar="N", help="how much of it")
    parser.add_argument("--out", required=True, metavar="FILE", help="by its ending: .cfg .wav .csv .f32")
    options.add(parser, "--ct", "for loads given in primary W; default %(default)s", default="200/5")


def _record(args: argparse.Namespace) -> int:
    from countis.host.lab.record import record
    from countis.host.running.sources import supply_plan

    plan = supply_plan(options.path(args.supply))
    if plan.recording is not None:
        where, allowed = f"--supply {args.supply}", "a supply of voltages and loads"
        raise SettingError(where, "is a recording already", allowed)
    primary, secondary = ct_ratio(args.ct, "--ct")
    print(record(plan.build(primary / secondary), args.seconds, Path(args.out)))
    return 0


def _add_probe(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help="COMTRADE .cfg, .wav, .csv or raw")
    options.add_raw(parser)


def _probe(args: argparse.Namespace) -> int:
    from countis.host.lab.record import probe

    print(probe(Path(args.file), options.raw(args)))
    return 0


def _add_calibrate(parser: argparse.ArgumentParser) -> None:
    options.add(parser, "--supply", "the reference, steady; its [front_end] is found", required=True)
    options.add_model(parser, "of a new memory; default E44")
    options.add(parser, "--data", options.MEMORY)
    parser.add_argument("--seconds", type=float, default=20.0, metavar="N",
                        help="how long to measure; default 20")


def _calibrate(args: argparse.Namespace) -> int:
    from countis.host.lab.calibrate import calibrate

    print(calibrate(options.memory_folder(args), options.model(args), Path(args.supply), args.seconds))
    return 0


def _add_typetest(parser: argparse.ArgumentParser) -> None:
    options.add_model(parser, "E44 (default) or E43", "E44")
    parser.add_argument("--quick", action="store_true", help="some points, in seconds")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="of the noise; default 1")
    parser.add_argument("--html", metavar="FILE", help="write the report with its charts")
    parser.add_argument("--json", metavar="FILE", help="write every point and check")
    parser.add_argument("--jobs", type=int, metavar="N", help="processes; default: one for each core")


def _typetest(args: argparse.Namespace) -> int:
    from countis.host.lab.typetest.run import main
    from countis.models import MODELS

    if args.jobs is not None:
        options.counted("--jobs", args.jobs, _MOST_JOBS)
    options.counted("--seed", args.seed, _MOST_SEED, least=0)
    return main(MODELS[args.model], quick=args.quick, seed=args.seed, jobs=args.jobs,
                html=options.path(args.html), json_file=options.path(args.json))


def _add_check(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE.toml", help="the file")


def _check(args: argparse.Namespace) -> int:
    from countis.host.running.sources import Raw, recording, supply_plan

    path = Path(args.file)
    plan = supply_plan(path)
    if plan.recording is not None:
        rate = recording(plan.recording, path.parent, Raw(plan.rate)).rate
        what = f"recording {plan.recording.file}, {rate:g} samples per second, then {plan.recording.at_end}"
    else:
        plan.build(1.0)
        state = plan.states[0][1].state
        changes = f", {len(plan.states) - 1} changes" if len(plan.states) > 1 else ""
        loads = f"loads: {len(state.loads)}{changes}"
        what = f"{plan.rate:g} samples per second, {state.network.frequency:g} Hz, {loads}"
    print(f"{path}: fine: {what}")
    return 0


_Verb = tuple[Callable[[argparse.ArgumentParser], None], Callable[[argparse.Namespace], int]]
_VERBS: Final[dict[str, _Verb]] = {
    "record": (_add_record, _record),
    "probe": (_add_probe, _probe),
    "calibrate": (_add_calibrate, _calibrate),
    "typetest": (_add_typetest, _typetest),
    "check": (_add_check, _check),
}
