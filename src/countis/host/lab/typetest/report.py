"""The report of a run as one HTML file, for people who would rather look: charts, tables, verdicts.

Rule: nothing is fetched and nothing runs in it; charts are SVG inside the page.
"""

from __future__ import annotations

import io
from collections.abc import Collection
from html import escape
from typing import Final

import matplotlib

from countis.host.lab.typetest.outcome import Outcome, Point
from countis.host.lab.typetest.points import ACCURACY, CURRENTS, About, Front, Quantity, limit_at

matplotlib.use("svg")
from matplotlib.figure import Figure

_MARKS: Final = {Front.IDEAL: ("o", "#1b6ca8"), Front.BITS_24: ("s", "#d9822b"),
                 Front.BITS_16: ("^", "#6b4c9a")}  # and colours
_LINEAR: Final = 1e-6  # % below which the axis of errors is linear
_STYLE: Final = """
:root { color-scheme: light; font: 15px/1.5 system-ui, sans-serif; color: #1c2530; background: #f4f6f8; }
body { max-width: 1120px; margin: 0 auto; padding: 24px; }
h1 { font-size: 26px; margin: 0 0 4px; } h2 { font-size: 19px; margin: 36px 0 10px; }
.about { color: #566270; }
.verdict { font-size: 20px; font-weight: 600; padding: 12px 16px; border-radius: 8px; margin: 18px 0; }
.passed { background: #e2f3e6; color: #14532d; } .failed { background: #fbe4e4; color: #7f1d1d; }
table { border-collapse: collapse; width: 100%; background: #fff; border-radius: 8px; overflow: hidden; \
font-size: 14px; }
th, td { text-align: left; padding: 6px 10px; border-bottom: 1px solid #e5e9ee; vertical-align: top; }
th { background: #eaeef2; font-weight: 600; }
th.n, td.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
td.passed, td.failed { font-weight: 600; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(480px, 1fr)); gap: 14px; }
figure { margin: 0; background: #fff; border-radius: 8px; padding: 10px; } \
figure svg { width: 100%; height: auto; }
@media (max-width: 560px) { .charts { grid-template-columns: 1fr; } body { padding: 12px; } }
@media print { body { max-width: none; } figure { break-inside: avoid; } }
"""


def page(outcome: Outcome) -> str:
    """Return the whole report as HTML."""
    verdict = "passed" if outcome.passed else "failed"
    about = [f"seed {outcome.seed}", *(f"{name} {version}" for name, version in outcome.versions.items())]
    extent = "Quick run: some of the points" if outcome.quick else "Full run"
    counts = f"{len(outcome.points)} points, {len(outcome.checks)} checks"
    kinds = dict.fromkeys((r.standard, r.quantity, r.load, r.factor) for r in ACCURACY)
    body = [
        f"<h1>COUNTIS {outcome.model.name}: type test</h1>",
        f'<p class="about">{extent} · {counts} · {escape(" · ".join(about))}</p>',
        f'<p class="verdict {verdict}">{verdict.capitalize()}: {_summary(outcome)}</p>',
        "<p>A test of software against its own simulated front ends, not a certificate. A clause fails where"
        " a limit is missed, or where an error is ten times beyond what the meter holds itself to.</p>",
        "<h2>Verdict for each clause</h2>", _clauses(outcome),
        "<h2>Errors against the limits</h2>",
        '<p class="about">Every point of every load, import and export; the band is the limit. Note the'
        f" scale: below ±{_LINEAR:g} % it is linear, beyond it is logarithmic.</p>",
        f'<div class="charts">{"".join(_chart(outcome, *kind) for kind in kinds)}</div>',
        "<h2>Influence quantities</h2>", _worst(outcome, {About.INFLUENCE}),
        "<h2>Everything else</h2>", _worst(outcome, set(About) - {About.ACCURACY, About.INFLUENCE}),
        "<h2>Checks</h2>", _checks(outcome),
    ]
    head = ('<meta charset="utf-8"><meta name="viewport" content="width=device-width">'
            f"<title>COUNTIS {outcome.model.name}: type test</title><style>{_STYLE}</style>")
    return f'<!doctype html><html lang="en"><head>{head}</head><body>{"".join(body)}</body></html>\n'


def _summary(outcome: Outcome) -> str:
    failed = [v.clause for v in outcome.verdicts if v.failed]
    if failed:
        return escape(", ".join(failed))
    worst = {front_end: outcome.worst_of(front_end, About.ACCURACY) for front_end in Front}
    return "worst error, " + ", ".join(f"{front_end} front end 1/{1 / share:,.0f} of the limit"
                                       for front_end, share in worst.items() if share)


def _cells(kind: str, *texts: str, tag: str = "td") -> list[str]:
    """Return cells of a kind: n for numbers, passed, failed."""
    return [f'<{tag} class="{kind}">{text}</{tag}>' for text in texts]


def _table(heads: list[str], rows: list[list[str]]) -> str:
    """Return a table of cells, or of texts that are put into plain ones."""
    lines = [f"<tr>{''.join(c if c.startswith('<t') else f'<{tag}>{c}</{tag}>' for c in cells)}</tr>"
             for tag, cells in (("th", heads), *(("td", row) for row in rows))]
    return f"<table>{''.join(lines)}</table>"


def _clauses(outcome: Outcome) -> str:
    rows = []
    for v in outcome.verdicts:
        verdict = "failed" if v.failed else "passed"
        counts = _cells("n", str(v.points), str(v.checks), f"{v.worst:.2g}" if v.points else "")
        failed = "<br>".join(escape(text) for text in v.failed[:5])
        rows.append([escape(v.clause), *_cells(verdict, verdict), *counts, failed])
    heads = _cells("n", "points", "checks", "worst, of the limit", tag="th")
    return _table(["clause", "verdict", *heads, "what failed"], rows)


def _chart(outcome: Outcome, standard: str, quantity: Quantity, load: str, factor: str) -> str:
    """Draw the errors of one load and power factor over the current."""
    figure = Figure(figsize=(5.4, 3.3), layout="constrained")
    axes = figure.subplots()
    limits = {i: limit_at(standard, quantity, load, factor, i) for i in CURRENTS}
    currents = [i for i, limit in limits.items() if limit is not None]
    pct = [limit for limit in limits.values() if limit is not None]
    axes.fill_between(currents, [-p for p in pct], pct, step="post", color="#dfe7ee", label="limit",
                      linewidth=0)
    for front_end, (mark, colour) in _MARKS.items():
        errors = [(p.chart.current, p.error_pct) for p in outcome.points
                  if p.chart is not None and p.about is About.ACCURACY and p.standard == standard
                  and (p.chart.series, p.chart.factor, p.chart.front_end) == (load, factor, front_end)]
        axes.plot([i for i, _ in errors], [e for _, e in errors], mark, color=colour, markersize=3.6,
                  alpha=0.7, label=front_end)
    axes.set_xscale("log")
    axes.set_yscale("symlog", linthresh=_LINEAR)
    axes.set(xlim=(0.8 * min(currents), 1.25 * max(currents)), ylim=(-60.0 * max(pct), 60.0 * max(pct)),
             yticks=[-1.0, -1e-2, -1e-4, 0.0, 1e-4, 1e-2, 1.0])
    axes.set_xticks(currents, [f"{i:g}" for i in currents])
    axes.minorticks_off()
    axes.grid(color="#eef1f4", linewidth=0.8)
    axes.set_title(f"{standard}: {load}, {factor}", fontsize=10)
    axes.set_xlabel("A on the secondary", fontsize=9)
    axes.set_ylabel("error in %", fontsize=9)
    axes.tick_params(labelsize=8)
    axes.legend(fontsize=7, ncols=4, loc="upper center", frameon=False)
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    svg = text.getvalue()
    label = escape(f"{standard}, {load}, {factor}")
    return f'<figure role="img" aria-label="{label}">{svg[svg.index("<svg") :]}</figure>'


def _worst(outcome: Outcome, abouts: Collection[About]) -> str:
    """Tabulate the points about something, of each influence and front end only the worst."""
    worst: dict[tuple[str, ...], Point] = {}
    for p in outcome.points:
        if p.about in abouts:
            key = (p.clause, p.point) if p.chart is None else (p.clause, p.chart.series, p.chart.front_end)
            worst[key] = max(worst.get(key, p), p, key=lambda point: point.share)
    rows = []
    for p in worst.values():
        low = f"{p.low_pct:+g} … " if p.low_pct is not None else "±"
        figures = _cells("n", f"{p.error_pct:+.2e}", f"{low}{p.limit_pct:.4g}")
        rows.append([escape(p.clause), escape(p.point), *figures, p.how])
    return _table(["clause", "worst point", *_cells("n", "error %", "limit %", tag="th"), "how"], rows)


def _checks(outcome: Outcome) -> str:
    cells = {ok: _cells(verdict, verdict) for ok, verdict in ((True, "passed"), (False, "failed"))}
    rows = [[escape(c.clause), escape(c.point), *cells[c.ok]] for c in outcome.checks]
    return _table(["clause", "check", "verdict"], rows)
