"""`countis typetest`: plans the points, drives them in processes of their own, and comes to a verdict for each clause.

Rule: same seed, same figures, however many processes there are.
"""

from __future__ import annotations

import json
import math
import multiprocessing
import os
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from countis.host.firmware import versions
from countis.host.lab.typetest.accuracy import (
    Drive,
    Point,
    accuracy_drives,
    drive_accuracy,
    drive_influence,
    influence_drives,
)
from countis.host.lab.typetest.checks import CHECKS, Check, Context
from countis.host.lab.typetest.points import EN, FAILS_BELOW, MPE, clause
from countis.host.lab.typetest.signals import FRONT_ENDS, RATE, Signal
from countis.host.lab.typetest.stand import Make, new_meter
from countis.meter.metrology.calibration import constants_from, phasors
from countis.models import Model
from countis.supply.network import at_terminals
from countis.supply.source import Supply
from countis.words.errors import SettingError
from countis.words.settings import Calibration

Task = Drive | str  # a signal, or the name of a check
Result = Point | Check
_CALIBRATION_SECONDS: Final = 60.0
_BAR: Final = 30


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of a clause: how many points and checks, the worst error as a part of its limit, and what failed."""

    clause: str
    points: int
    checks: int
    worst: float
    failed: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """Everything a run has found."""

    model: Model
    quick: bool
    seed: int
    versions: dict[str, str]
    points: list[Point]
    checks: list[Check]

    @property
    def verdicts(self) -> list[Verdict]:
        """One verdict for each clause, in the order of their names."""
        names = sorted({p.clause for p in self.points} | {c.clause for c in self.checks})
        return [self._verdict(name) for name in names]

    @property
    def passed(self) -> bool:
        """Whether no clause has failed."""
        return not any(verdict.failed for verdict in self.verdicts)

    def _verdict(self, name: str) -> Verdict:
        points = [p for p in self.points if p.clause == name]
        checks = [c for c in self.checks if c.clause == name]
        failed = [f"{p.point}, {p.how}: {p.error_pct:+.3g} %" for p in points if not passes(p)]
        worst = max((abs(p.error_pct) / p.limit_pct for p in points if p.low_pct is None), default=0.0)
        return Verdict(name, len(points), len(checks), worst, (*failed, *(c.point for c in checks if not c.ok)))

    def worst_of(self, front_end: str, about: str) -> float:
        """Return the worst error of a front end in clauses about something, as a part of the limit."""
        parts = [abs(p.error_pct) / p.limit_pct for p in self.points
                 if p.at is not None and p.at[4] == front_end and p.clause.endswith(about) and p.low_pct is None]  # fmt: skip
        return max(parts, default=0.0)

    def as_json(self) -> str:
        """Return seed, versions, points and checks as JSON."""
        points = [{"clause": p.clause, "point": p.point, "error_pct": p.error_pct, "limit_pct": p.limit_pct, "how": p.how}
                  for p in self.points]  # fmt: skip
        checks = [{"clause": c.clause, "point": c.point, "ok": c.ok} for c in self.checks]
        return json.dumps({"seed": self.seed, "versions": self.versions, "points": points, "checks": checks}, indent=1,
                          ensure_ascii=False, allow_nan=False)  # fmt: skip


def passes(p: Point) -> bool:
    """Tell whether a point is within its limit, and not ten times beyond the house's margin."""
    return p.within and (p.low_pct is not None or abs(p.error_pct) <= FAILS_BELOW * p.part * p.limit_pct)


def calibration_of(seed: int, seconds: float) -> Calibration:
    """Return the constants of the 24-bit front end, found against a reference of 5 A at 60°."""
    signal = Signal(5.0, 60.0)
    state = signal.state(FRONT_ENDS["24 bit"])
    samples = Supply([(0.0, state)], rate=RATE, seed=seed + 1000).read(round(seconds * RATE))
    return constants_from(phasors(samples, RATE, signal.frequency), at_terminals(state)[0], signal.frequency)


def plan(context: Context) -> list[Task]:
    """Return everything that is to be done, the longest first."""
    drives: list[Task] = [
        *accuracy_drives(context.model, context.seed, context.calibration, context.quick),
        *influence_drives(context.model, context.seed, context.calibration, context.quick),
    ]
    return sorted([*CHECKS, *drives], key=cost, reverse=True)


def cost(task: Task) -> float:
    """About how long a task takes, in seconds of signal."""
    return CHECKS[task][1] if isinstance(task, str) else task.cost


def carry_out(task: Task, context: Context) -> list[Result]:
    """Do one task."""
    if isinstance(task, str):
        return list(CHECKS[task][0](context))
    return [*(drive_influence if task.influence is not None else drive_accuracy)(task, context.make)]


def _in_processes(tasks: Sequence[Task], context: Context, jobs: int) -> Iterator[tuple[int, list[Result]]]:
    if jobs == 1:
        yield from ((k, carry_out(task, context)) for k, task in enumerate(tasks))
        return
    with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn")) as pool:
        numbers = {pool.submit(carry_out, task, context): k for k, task in enumerate(tasks)}
        for future in as_completed(numbers):
            yield numbers[future], future.result()


def drive_all(model: Model, *, quick: bool = False, seed: int = 1, jobs: int = 1, make: Make = new_meter,
              tasks: Sequence[Task] | None = None, progress: bool = False) -> Outcome:  # fmt: skip
    """Run the bench; `make` makes the meters under test, `tasks` is what is done, everything if None."""
    constants = calibration_of(seed, _CALIBRATION_SECONDS / 3.0 if quick else _CALIBRATION_SECONDS)
    context = Context(model, make, constants, seed, quick)
    todo = plan(context) if tasks is None else list(tasks)
    whole, done, results = sum(map(cost, todo)), 0.0, {}
    for number, found_ in _in_processes(todo, context, jobs):
        results[number] = found_
        done += cost(todo[number])
        if progress:
            _show(done / whole, len(results), len(todo))
    every = [result for number in sorted(results) for result in results[number]]
    points = [p for p in every if isinstance(p, Point)]
    checks = [c for c in every if isinstance(c, Check)]
    return Outcome(model, quick, seed, versions(), [*points, *composite(points)], checks)


def _show(share: float, done: int, total: int) -> None:
    filled = round(share * _BAR)
    end = "\n" if done == total else ""
    print(f"\r[{'#' * filled}{'.' * (_BAR - filled)}] {done} of {total} ", end=end, file=sys.stderr, flush=True)


def composite(points: Sequence[Point]) -> list[Point]:
    """Return class C's composite errors: the error at a load with what voltage and frequency add, against the legal limit."""
    best: dict[tuple[str, str, float, str], list[Point]] = {}
    for p in points:
        if p.at is not None and p.at[0] == EN and p.at[1] in ("balanced", "voltage", "frequency") and p.how == "counter":
            best.setdefault((p.at[4], p.at[2], p.at[3], p.at[1]), []).append(p)
    out = []
    for (front_end, factor, current, load), found_ in sorted(best.items()):
        others = [best.get((front_end, factor, current, name)) for name in ("voltage", "frequency")]
        if load != "balanced" or not all(others):
            continue
        parts = [max(abs(p.error_pct) for p in group) for group in (found_, *(o for o in others if o))]
        limit = next(pct for below, pct in MPE if current < below)
        name = f"{front_end}, {factor}, {current:g} A: load, voltage and frequency together"
        out.append(Point(clause("composite error", EN), name, math.hypot(*parts), limit, "counter", found_[0].part))
    return out


def report(outcome: Outcome) -> str:
    """Return the verdict as text, a line for each clause."""
    lines = [f"countis {outcome.model.name}, seed {outcome.seed}, {', '.join(f'{k} {v}' for k, v in outcome.versions.items())}"]
    for v in outcome.verdicts:
        of = f"worst {v.worst:.2g} of the limit" if v.worst else "all hold" if not v.failed else ""
        lines.append(f"{'failed' if v.failed else 'passed'}  {v.clause:45} {v.points:5} points {v.checks:3} checks  {of}")
        lines += [f"        {text}" for text in v.failed[:5]]
        lines += [f"        … and {len(v.failed) - 5} more"] if len(v.failed) > 5 else []
    shown = [p for p in outcome.points if p.how == "f"]
    if shown:
        lines.append(f"frequency at worst: {max(shown, key=lambda p: abs(p.error_pct)).point}")
    for front_end in FRONT_ENDS:
        worst = {about: outcome.worst_of(front_end, about) for about in ("accuracy", "influence")}
        parts = [f"{about} 1/{1 / part:.0f}" for about, part in worst.items() if part]
        lines.append(f"{front_end}: worst error, of the limit: {', '.join(parts)}")
    return "\n".join(lines)


def main(model: Model, *, quick: bool, seed: int, jobs: int | None, html: Path | None, json_file: Path | None) -> int:
    """Run the bench for the command line; return its exit code."""
    for option, file in (("--html", html), ("--json", json_file)):
        if file is not None:
            _try(file, option)
    outcome = drive_all(model, quick=quick, seed=seed, jobs=jobs or os.cpu_count() or 1, progress=sys.stderr.isatty())
    print(report(outcome))
    if json_file is not None:
        _write(json_file, outcome.as_json(), "--json")
    if html is not None:
        from countis.host.lab.typetest.report import page

        _write(html, page(outcome), "--html")
    return 0 if outcome.passed else 1


def _try(path: Path, option: str) -> None:
    """Find out before anything is driven whether a file can be written; leave all as it was."""
    new = not path.exists()
    _write(path, "", option, "a")
    if new:
        path.unlink()


def _write(path: Path, text: str, option: str, mode: str = "w") -> None:
    try:
        with path.open(mode, encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise SettingError(f"{option} {path}", str(error.strerror), "a file that can be written") from None
