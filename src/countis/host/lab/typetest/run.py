"""`countis typetest`: plans the points, drives them in processes of their own, and tells the verdicts.

Rule: same seed, same figures, however many processes there are.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Final

from countis.host.lab.typetest import accuracy
from countis.host.lab.typetest.checks import CHECKS, Context
from countis.host.lab.typetest.outcome import Check, Outcome, Point, Result, composite
from countis.host.lab.typetest.points import About, Front, How
from countis.host.lab.typetest.signals import FRONT_ENDS, RATE, Signal
from countis.host.lab.typetest.stand import Make, new_meter
from countis.host.running.firmware import versions
from countis.meter.metrology.calibration import constants_from, phasors
from countis.models import Model
from countis.supply.network import at_terminals
from countis.supply.source import Supply
from countis.words.errors import SettingError
from countis.words.settings import Calibration

Task = accuracy.Drive | str  # a signal, or the name of a check
_CALIBRATION_SECONDS: Final = 60.0
_BAR: Final = 30


def calibration_of(seed: int, seconds: float) -> Calibration:
    """Return the constants of the 24-bit front end, found against a reference of 5 A at 60°."""
    signal = Signal(5.0, 60.0)
    state = signal.state(FRONT_ENDS[Front.BITS_24])
    samples = Supply([(0.0, state)], rate=RATE, seed=seed + 1000).read(round(seconds * RATE))
    return constants_from(phasors(samples, RATE, signal.frequency), at_terminals(state)[0], signal.frequency)


def plan(context: Context) -> list[Task]:
    """Return everything that is to be done, the longest first."""
    drives: list[Task] = []
    for some in (accuracy.accuracy_drives, accuracy.influence_drives):
        drives += some(context.model, context.seed, context.calibration, context.quick)
    return sorted([*CHECKS, *drives], key=cost, reverse=True)


def cost(task: Task) -> float:
    """About how long a task takes, in seconds of signal."""
    return CHECKS[task][1] if isinstance(task, str) else task.cost


def carry_out(task: Task, context: Context) -> list[Result]:
    """Do one task."""
    if isinstance(task, str):
        return list(CHECKS[task][0](context))
    drive = accuracy.drive_accuracy if task.influence is None else accuracy.drive_influence
    return [*drive(task, context.make)]


def _in_processes(tasks: Sequence[Task], context: Context, jobs: int) -> Iterator[tuple[int, list[Result]]]:
    if jobs == 1:
        yield from ((k, carry_out(task, context)) for k, task in enumerate(tasks))
        return
    with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn")) as pool:
        numbers = {pool.submit(carry_out, task, context): k for k, task in enumerate(tasks)}
        for future in as_completed(numbers):
            yield numbers[future], future.result()


def drive_all(model: Model, *, quick: bool = False, seed: int = 1, jobs: int = 1, make: Make = new_meter,
              tasks: Sequence[Task] | None = None, progress: bool = False) -> Outcome:
    """Run the bench. make: makes the meters under test. tasks: what is done, everything if None."""
    constants = calibration_of(seed, _CALIBRATION_SECONDS / 3.0 if quick else _CALIBRATION_SECONDS)
    context = Context(model, make, constants, seed, quick)
    todo = plan(context) if tasks is None else list(tasks)
    whole, done, results = sum(map(cost, todo)), 0.0, {}
    for number, of_task in _in_processes(todo, context, jobs):
        results[number] = of_task
        done += cost(todo[number])
        if progress:
            bar, end = "#" * round(done / whole * _BAR), "\n" if len(results) == len(todo) else ""
            text = f"\r[{bar:.<{_BAR}}] {len(results)} of {len(todo)} "
            print(text, end=end, file=sys.stderr, flush=True)
    every = [result for number in sorted(results) for result in results[number]]
    points = [p for p in every if isinstance(p, Point)]
    checks = [c for c in every if isinstance(c, Check)]
    return Outcome(model, quick, seed, versions(), [*points, *composite(points)], checks)


def report(outcome: Outcome) -> str:
    """Return the verdict as text, a line for each clause."""
    versions_ = ", ".join(f"{name} {version}" for name, version in outcome.versions.items())
    lines = [f"countis {outcome.model.name}, seed {outcome.seed}, {versions_}"]
    for v in outcome.verdicts:
        worst = f"worst {v.worst:.2g} of the limit" if v.worst else "all hold" if not v.failed else ""
        passed = "failed" if v.failed else "passed"
        lines.append(f"{passed}  {v.clause:45} {v.points:5} points {v.checks:3} checks  {worst}")
        lines += [f"        {text}" for text in v.failed[:5]]
        lines += [f"        … and {len(v.failed) - 5} more"] if len(v.failed) > 5 else []
    frequencies = [p for p in outcome.points if p.how is How.FREQUENCY]
    if frequencies:
        lines.append(f"frequency at worst: {max(frequencies, key=lambda p: abs(p.error_pct)).point}")
    for front_end in FRONT_ENDS:
        shares = {about: outcome.worst_of(front_end, about) for about in (About.ACCURACY, About.INFLUENCE)}
        texts = [f"{about} 1/{1 / share:.0f}" for about, share in shares.items() if share]
        lines.append(f"{front_end}: worst error, of the limit: {', '.join(texts)}")
    return "\n".join(lines)


def main(model: Model, *, quick: bool, seed: int, jobs: int | None, html: Path | None,
         json_file: Path | None) -> int:
    """Run the bench for the command line; return its exit code."""
    for option, file in (("--html", html), ("--json", json_file)):
        if file is not None:  # find out before anything is driven, and leave all as it was
            new = not file.exists()
            _write(file, "", option, "a")
            if new:
                file.unlink()
    jobs = jobs or os.cpu_count() or 1
    outcome = drive_all(model, quick=quick, seed=seed, jobs=jobs, progress=sys.stderr.isatty())
    print(report(outcome))
    if json_file is not None:
        _write(json_file, outcome.as_json(), "--json")
    if html is not None:
        from countis.host.lab.typetest.report import page

        _write(html, page(outcome), "--html")
    return 0 if outcome.passed else 1


def _write(path: Path, text: str, option: str, mode: str = "w") -> None:
    try:
        with path.open(mode, encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise SettingError(f"{option} {path}", str(error.strerror), "a file that can be written") from None
