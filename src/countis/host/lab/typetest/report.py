"""The report of a run as one HTML file: charts, tables and a verdict for each clause, for people who would rather look.

Rule: nothing is fetched and nothing runs in it; charts are SVG inside the page.
"""

from __future__ import annotations

import io
from html import escape
from typing import TYPE_CHECKING, Final

import matplotlib

from countis.host.lab.typetest.points import ACCURACY, CURRENTS, limit_at
from countis.host.lab.typetest.signals import FRONT_ENDS

if TYPE_CHECKING:
    from countis.host.lab.typetest.accuracy import Point
    from countis.host.lab.typetest.run import Outcome

matplotlib.use("svg")
from matplotlib.figure import Figure

_COLOURS: Final = {"ideal": "#1b6ca8", "24 bit": "#d9822b", "16 bit": "#6b4c9a"}
_MARKS: Final = {"ideal": "o", "24 bit": "s", "16 bit": "^"}
_LINEAR: Final = 1e-6  # % below which the axis of errors is linear
_STYLE: Final = """
:root { color-scheme: light; font: 15px/1.5 system-ui, sans-serif; color: #1c2530; background: #f4f6f8; }
body { max-width: 1120px; margin: 0 auto; padding: 24px; }
h1 { font-size: 26px; margin: 0 0 4px; } h2 { font-size: 19px; margin: 36px 0 10px; }
.about { color: #566270; }
.verdict { font-size: 20px; font-weight: 600; padding: 12px 16px; border-radius: 8px; margin: 18px 0; }
.passed { background: #e2f3e6; color: #14532d; } .failed { background: #fbe4e4; color: #7f1d1d; }
table { border-collapse: collapse; width: 100%; background: #fff; border-radius: 8px; overflow: hidden; font-size: 14px; }
th, td { text-align: left; padding: 6px 10px; border-bottom: 1px solid #e5e9ee; vertical-align: top; }
th { background: #eaeef2; font-weight: 600; }
th.n, td.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
td.passed, td.failed { font-weight: 600; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(480px, 1fr)); gap: 14px; }
figure { margin: 0; background: #fff; border-radius: 8px; padding: 10px; } figure svg { width: 100%; height: auto; }
@media (max-width: 560px) { .charts { grid-template-columns: 1fr; } body { padding: 12px; } }
@media print { body { max-width: none; } figure { break-inside: avoid; } }
"""


def page(outcome: Outcome) -> str:
    """Return the whole report as HTML."""
    verdict = "passed" if outcome.passed else "failed"
    about = f"seed {outcome.seed}" + "".join(f" · {name} {version}" for name, version in outcome.versions.items())
    extent = "Quick run: some of the points" if outcome.quick else "Full run"
    parts = [
        f"<h1>COUNTIS {outcome.model.name}: type test</h1>",
        f'<p class="about">{extent} · {len(outcome.points)} points, {len(outcome.checks)} checks · {escape(about)}</p>',
        f'<p class="verdict {verdict}">{verdict.capitalize()}: {_sum(outcome)}</p>',
        "<p>A test of software against its own simulated front ends, not a certificate. A clause fails where a limit is missed,"
        " or where an error is ten times beyond what the meter holds itself to.</p>",
        "<h2>Verdict for each clause</h2>", _clauses(outcome),
        "<h2>Errors against the limits</h2>",
        '<p class="about">Every point of every load, import and export; the band is the limit. Note the scale: below'
        f" ±{_LINEAR:g} % it is linear, beyond it is logarithmic.</p>",
        f'<div class="charts">{"".join(_charts(outcome))}</div>',
        "<h2>Influence quantities</h2>", _worst(outcome, "influence"),
        "<h2>Everything else</h2>", _worst(outcome, ""),
        "<h2>Checks</h2>", _checks(outcome),
    ]  # fmt: skip
    title = f"<title>COUNTIS {outcome.model.name}: type test</title>"
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width">{title}'
    return f'<!doctype html><html lang="en"><head>{head}<style>{_STYLE}</style></head><body>{"".join(parts)}</body></html>\n'


def _sum(outcome: Outcome) -> str:
    failed = [v.clause for v in outcome.verdicts if v.failed]
    if failed:
        return escape(", ".join(failed))
    worst = {name: outcome.worst_of(name, "accuracy") for name in FRONT_ENDS}
    return "worst error, " + ", ".join(f"{name} front end 1/{1 / w:,.0f} of the limit" for name, w in worst.items() if w)


def _row(cells: list[str], tag: str = "td") -> str:
    return "<tr>" + "".join(c if c.startswith("<t") else f"<{tag}>{c}</{tag}>" for c in cells) + "</tr>"


def _number(text: str) -> str:
    return f'<td class="n">{text}</td>'


def _heading(text: str) -> str:
    return f'<th class="n">{text}</th>'


def _clauses(outcome: Outcome) -> str:
    rows = [_row(["clause", "verdict", *map(_heading, ("points", "checks", "worst, of the limit")), "what failed"], "th")]
    for v in outcome.verdicts:
        verdict = "failed" if v.failed else "passed"
        worst = f"{v.worst:.2g}" if v.points else ""
        counts = _number(str(v.points)), _number(str(v.checks)), _number(worst)
        failed = "<br>".join(escape(text) for text in v.failed[:5])
        rows.append(_row([escape(v.clause), f'<td class="{verdict}">{verdict}</td>', *counts, failed]))
    return f"<table>{''.join(rows)}</table>"


def _charts(outcome: Outcome) -> list[str]:
    kinds = dict.fromkeys((r.standard, r.quantity, r.load, r.factor) for r in ACCURACY)
    return [_chart(outcome, *kind) for kind in kinds]


def _chart(outcome: Outcome, standard: str, quantity: str, load: str, factor: str) -> str:
    """Draw the errors of one load and power factor over the current."""
    figure = Figure(figsize=(5.4, 3.3), layout="constrained")
    axes = figure.subplots()
    limits = {i: limit_at(standard, quantity, load, factor, i) for i in CURRENTS}
    at = [i for i, limit in limits.items() if limit is not None]
    pct = [limit for limit in limits.values() if limit is not None]
    axes.fill_between(at, [-p for p in pct], pct, step="post", color="#dfe7ee", label="limit", linewidth=0)
    for front_end, colour in _COLOURS.items():
        found = [(p.at[3], p.error_pct) for p in outcome.points if p.at is not None and p.clause.endswith("accuracy")
                 and (p.at[0], p.at[1], p.at[2], p.at[4]) == (standard, load, factor, front_end)]  # fmt: skip
        axes.plot([i for i, _ in found], [e for _, e in found], _MARKS[front_end], color=colour, markersize=3.6, alpha=0.7,
                  label=front_end)  # fmt: skip
    axes.set_xscale("log")
    axes.set_yscale("symlog", linthresh=_LINEAR)
    axes.set_xlim(0.8 * min(at), 1.25 * max(at))
    axes.set_ylim(-60.0 * max(pct), 60.0 * max(pct))
    axes.set_yticks([-1.0, -1e-2, -1e-4, 0.0, 1e-4, 1e-2, 1.0])
    axes.set_xticks(at, [f"{i:g}" for i in at])
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
    return f'<figure role="img" aria-label="{escape(f"{standard}, {load}, {factor}")}">{svg[svg.index("<svg") :]}</figure>'


def _worst(outcome: Outcome, about: str) -> str:
    """Tabulate points, for each name the worst: those of influences, or all that are neither influence nor accuracy."""
    if about:
        points = [p for p in outcome.points if p.clause.endswith(about)]
    else:
        points = [p for p in outcome.points if not p.clause.endswith(("accuracy", "influence"))]
    best: dict[tuple[str, str], Point] = {}
    for p in points:
        key = (p.clause, p.point.split(",")[0] if about else p.point)
        if key not in best or abs(p.error_pct) / p.limit_pct > abs(best[key].error_pct) / best[key].limit_pct:
            best[key] = p
    rows = [_row(["clause", "worst point", *map(_heading, ("error %", "limit %")), "how"], "th")]
    for p in best.values():
        low = f"{p.low_pct:+g} … " if p.low_pct is not None else "±"
        figures = _number(f"{p.error_pct:+.2e}"), _number(f"{low}{p.limit_pct:.4g}")
        rows.append(_row([escape(p.clause), escape(p.point), *figures, p.how]))
    return f"<table>{''.join(rows)}</table>"


def _checks(outcome: Outcome) -> str:
    rows = [_row(["clause", "check", "verdict"], "th")]
    for c in outcome.checks:
        verdict = "passed" if c.ok else "failed"
        rows.append(_row([escape(c.clause), escape(c.point), f'<td class="{verdict}">{verdict}</td>']))
    return f"<table>{''.join(rows)}</table>"
