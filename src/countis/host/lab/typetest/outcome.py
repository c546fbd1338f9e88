"""What a run has found: points and checks, and the verdict on each clause that comes of them."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass

from countis.host.lab.typetest import points
from countis.host.lab.typetest.points import BALANCED, EN, FREQUENCY, VOLTAGE, About, Front, How, clause
from countis.models import Model


@dataclass(frozen=True, slots=True)
class Result:
    """What was found about one clause of one standard. point: what was tried, in words."""

    standard: str
    about: About
    point: str

    @property
    def clause(self) -> str:
        """The name of the clause."""
        return clause(self.about, self.standard)


@dataclass(frozen=True, slots=True)
class Check(Result):
    """One thing that holds or does not."""

    ok: bool


@dataclass(frozen=True, slots=True)
class ChartKey:
    """Where a chart of a standard puts a point. series: of a load or an influence. current: secondary A."""

    series: str
    factor: str
    current: float
    front_end: Front


@dataclass(frozen=True, slots=True)
class Point(Result):
    """One error held against one limit."""

    error_pct: float
    limit_pct: float
    margin: float  # part of the limit that the house allows
    how: How = How.COUNTER
    chart: ChartKey | None = None
    low_pct: float | None = None  # the limit below zero, where it is another

    @property
    def share(self) -> float:
        """The error as a part of its limit."""
        return abs(self.error_pct) / self.limit_pct

    @property
    def passes(self) -> bool:
        """Whether it is within its limit, and not ten times beyond the house's margin."""
        if self.low_pct is not None:
            return self.low_pct <= self.error_pct <= self.limit_pct
        return abs(self.error_pct) <= min(1.0, points.FAILS_BELOW * self.margin) * self.limit_pct


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of a clause."""

    clause: str
    points: int  # how many
    checks: int
    worst: float  # error, as a part of its limit
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
        return [self._verdict(name) for name in sorted({r.clause for r in (*self.points, *self.checks)})]

    @property
    def passed(self) -> bool:
        """Whether no clause has failed."""
        return not any(verdict.failed for verdict in self.verdicts)

    def _verdict(self, name: str) -> Verdict:
        of_clause = [p for p in self.points if p.clause == name]
        checks = [c for c in self.checks if c.clause == name]
        failed = [f"{p.point}, {p.how}: {p.error_pct:+.3g} %" for p in of_clause if not p.passes]
        failed += [c.point for c in checks if not c.ok]
        worst = max((p.share for p in of_clause if p.low_pct is None), default=0.0)
        return Verdict(name, len(of_clause), len(checks), worst, tuple(failed))

    def worst_of(self, front_end: Front, about: About) -> float:
        """Return the worst error of a front end in clauses about something, as a part of the limit."""
        return max((p.share for p in self.points if p.about is about and p.low_pct is None
                    and p.chart is not None and p.chart.front_end is front_end), default=0.0)

    def as_json(self) -> str:
        """Return seed, versions, points and checks as JSON."""
        points = [{"clause": p.clause, "point": p.point, "error_pct": p.error_pct, "limit_pct": p.limit_pct,
                   "how": p.how} for p in self.points]
        checks = [{"clause": c.clause, "point": c.point, "ok": c.ok} for c in self.checks]
        document = {"seed": self.seed, "versions": self.versions, "points": points, "checks": checks}
        return json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False)


def composite(driven: Sequence[Point]) -> list[Point]:
    """Return class C's composite errors against the legal limit: of load, voltage and frequency together."""
    series = (BALANCED, VOLTAGE, FREQUENCY)
    worst: dict[tuple[Front, str, float], dict[str, float]] = {}  # in %, of each series
    for p in driven:
        if p.chart is not None and p.standard == EN and p.how is How.COUNTER and p.chart.series in series:
            errors = worst.setdefault((p.chart.front_end, p.chart.factor, p.chart.current), {})
            errors[p.chart.series] = max(errors.get(p.chart.series, 0.0), abs(p.error_pct))
    out = []
    for (front_end, factor, current), errors in sorted(worst.items()):
        if len(errors) == len(series):
            name = f"{front_end}, {factor}, {current:g} A: load, voltage and frequency together"
            error = math.hypot(*(errors[name] for name in series))
            limit = next(pct for below, pct in points.MPE if current < below)
            margin = points.MARGINS[front_end][About.ACCURACY]
            out.append(Point(EN, About.COMPOSITE, name, error_pct=error, limit_pct=limit, margin=margin))
    return out
