"""The accuracy bench: its limits are those of the tables, the meter passes with margins, and faults are found out."""

from __future__ import annotations

import csv
import dataclasses
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from countis import E43, E44, Meter
from countis.host.lab.typetest.accuracy import accuracy_drives
from countis.host.lab.typetest.checks import Context, disturbed
from countis.host.lab.typetest.outcome import Outcome
from countis.host.lab.typetest.points import ACCURACY, CLAUSES, INFLUENCES, MARGINS, About, Front, Quantity, clause, limit_at
from countis.host.lab.typetest.report import page
from countis.host.lab.typetest.run import Task, drive_all, plan
from countis.host.lab.typetest.signals import Signal, through
from countis.host.lab.typetest.stand import Make, new_meter
from countis.meter.energy.pulse import Output, Pulses
from countis.meter.meter import Event
from countis.models import Model
from countis.supply import Load, Network, State, Supply
from countis.words.commands import SetCalibration
from countis.words.settings import Calibration
from numpy.typing import NDArray

from running import command

CONFORMANCE = Path(__file__).parent / "conformance"


def rows(name: str) -> list[dict[str, str]]:
    with open(CONFORMANCE / name, newline="") as file:
        return list(csv.DictReader(file))


# the data


def test_the_limits_of_accuracy_are_those_of_the_tables() -> None:
    expected = [(r["standard"], r["quantity"], r["load"], float(r["I_from_A"]), float(r["I_to_A"]), r["factor"],
                 float(r["limit_pct"])) for r in rows("accuracy-limits.csv")]  # fmt: skip
    assert [dataclasses.astuple(r) for r in ACCURACY] == expected


def test_the_limits_of_influence_are_those_of_the_tables() -> None:
    def number(text: str) -> float | None:
        return None if text == "-" else float(text.split("..")[0])

    columns = ("class1_pct", "classC_pct", "class2_var_pct")
    expected = [(r["influence"], r["stimulus"], r["factor"], *(number(r[c]) for c in columns))
                for r in rows("influence-limits.csv")]  # fmt: skip
    assert [(r.name, r.stimulus, r.factor, r.class1, r.class_c, r.class2_var) for r in INFLUENCES] == expected
    for row, given in zip(INFLUENCES, rows("influence-limits.csv"), strict=True):
        low, _, high = given["I_A"].partition("..")
        assert (row.currents[0], row.currents[-1]) == (float(low), float(high or low))


def test_a_shared_border_takes_the_tighter_limit() -> None:
    assert limit_at("EN 50470-3 class C", Quantity.ACTIVE, "balanced", "1", 0.05) == 0.5
    assert limit_at("IEC 62053-21 class 1", Quantity.ACTIVE, "balanced", "0.5ind", 0.1) == 1.0
    assert limit_at("EN 50470-3 class C", Quantity.ACTIVE, "balanced", "0.5ind", 0.02) is None


# truth


@pytest.mark.parametrize(("signal", "p", "q"), [
    (Signal(2.0, 60.0), 3 * 230.0, 3 * 230 * 2 * 0.75**0.5),
    (Signal(1.0, 0.0, v_harmonics=((5, 0.1, 0.0),), i_harmonics=((5, 0.4, 0.0),)), 3 * 230 * 1.04, 0.0),
    (Signal(1.0, fired=90.0), 3 * 115.0, None), (Signal(1.0, burst=(2, 2)), 3 * 115.0, None),
    (Signal(1.0, 30.0, phases=(1,), export=True), -230.0 * 0.75**0.5, -115.0), (Signal(1.0, missing=(1, 2)), 230.0, 0.0),
])  # fmt: skip
def test_truth_by_hand(signal: Signal, p: float, q: float | None) -> None:
    assert signal.power(Quantity.ACTIVE) == pytest.approx(p)
    if q is not None:
        assert signal.power(Quantity.REACTIVE) == pytest.approx(q, abs=1e-9)


def test_the_closed_form_through_a_change_is_the_integral_of_a_fine_grid() -> None:
    rate, fine = 8000, 64
    network = Network((230.0, 220.0, 240.0), frequency=49.7, harmonics={3: (0.05, 20.0), 7: (0.02, -50.0)})
    first = State(network, (Load(3.0, (0, 1), 25.0, harmonics={3: (0.2, 10.0)}), Load(1.0, (2,), export=True)))
    second = State(dataclasses.replace(network, frequency=51.3, volts=(100.0, 230.0, 0.0)), first.loads)
    at = 0.1 - 0.5 / rate  # the change lies half a sample before a sample
    samples = Supply([(0.0, first), (at, second)], rate=rate * fine).read(round(0.237 * rate * fine))
    power = (samples[:, :3] * samples[:, 3:]).sum(axis=1)
    k = round(at * rate * fine)
    grid = sum(float(np.trapezoid(part)) for part in (power[:k], power[k:])) + (power[k - 1] + power[k]) / 2
    p, _ = through([(0.0, first), (0.1, second)], rate, (len(samples) - 1) / fine)
    assert p == pytest.approx(grid / (rate * fine), rel=1e-4)


# the meter


@pytest.fixture(scope="module")
def quick() -> Outcome:
    return drive_all(E44, quick=True, jobs=2)


def test_the_quick_run_passes_and_keeps_a_tenth_of_its_margins(quick: Outcome) -> None:
    """Where there is no noise the margins are whole: 1/10 000 of the limit at loads, 1/100 under influence."""
    assert [v.failed for v in quick.verdicts if v.failed] == []
    assert 0.0 < quick.worst_of(Front.IDEAL, About.ACCURACY) <= MARGINS[Front.IDEAL][About.ACCURACY]
    assert quick.worst_of(Front.IDEAL, About.INFLUENCE) <= MARGINS[Front.IDEAL][About.INFLUENCE]
    for front_end in (Front.BITS_24, Front.BITS_16):
        assert 0.0 < quick.worst_of(front_end, About.ACCURACY) <= 10.0 * MARGINS[front_end][About.ACCURACY]
    assert {v.clause for v in quick.verdicts} == {
        clause(about, standard) for about, standards in CLAUSES.items() for standard in standards if about != "three wires"
    }


def test_disturbances_of_the_quick_run_are_within_their_limits(quick: Outcome) -> None:
    found = [p for p in quick.points if p.clause == clause(About.DISTURBANCES, "house")]
    assert len(found) == 2 * len(disturbed()) == 20
    assert all(abs(p.error_pct) <= (0.0005 if "Ea+" in p.point else 0.03) for p in found)
    assert all(abs(p.error_pct) <= 0.005 for p in found if "interrupted" in p.point)  # 3 ms of a minute: parts of cycles count


def test_same_seed_same_figures(quick: Outcome) -> None:
    again = drive_all(E44, quick=True, jobs=1)
    assert again.points == quick.points
    assert again.checks == quick.checks


def test_the_json_is_numbers(quick: Outcome) -> None:
    found = json.loads(quick.as_json())
    assert list(found) == ["seed", "versions", "points", "checks"]
    assert re.fullmatch("[0-9A-F]{8}", found["versions"]["CS1"])
    for p in found["points"]:
        assert list(p) == ["clause", "point", "error_pct", "limit_pct", "how"]
        assert isinstance(p["error_pct"], float)
        assert isinstance(p["limit_pct"], float)
    assert all(list(c) == ["clause", "point", "ok"] and c["ok"] is True for c in found["checks"])


def test_the_report_shows_all_and_fetches_nothing(quick: Outcome) -> None:
    html = page(quick)
    charts = {(r.standard, r.load, r.factor) for r in ACCURACY}
    assert html.count("<figure") == len(charts)
    assert "<script" not in html
    assert not re.search(r'(src|href)="(?!#)', re.sub(r'xlink:href="#', 'href="#', html))
    assert all(v.clause in html for v in quick.verdicts)
    failed = dataclasses.replace(quick, checks=[dataclasses.replace(quick.checks[0], ok=False), *quick.checks[1:]])
    assert 'class="verdict failed"' in page(failed)


def test_the_model_with_three_wires_and_60_hz() -> None:
    drives = list(accuracy_drives(E43, 1, Calibration(), False))
    assert {(d.signal.volts, d.signal.frequency) for d in drives} == {(230.0, 50.0), (230.0, 60.0), (240.0, 50.0)}
    some = [d for d in drives if d.front_end == "ideal" and d.signal.current == 6.0 and d.signal.frequency == 60.0][:6]
    outcome = drive_all(E43, quick=True, tasks=["three wires", *some])
    assert outcome.passed
    assert any(v.clause.endswith("three wires") and v.points == 24 for v in outcome.verdicts)
    assert {"counter", "LED", "register", "pulse output"} == {p.how for p in outcome.points}
    assert max(abs(p.error_pct) / p.limit_pct for p in outcome.points) <= 1e-4


def test_every_point_of_the_tables_is_in_the_full_plan() -> None:
    context = Context(E44, new_meter, Calibration(), 1, False)
    drives = [t for t in plan(context) if not isinstance(t, str)]
    for row in ACCURACY:
        at = {d.signal.current for d in drives for j in d.limits
              if (j.standard, j.load, j.factor) == (row.standard, row.load, row.factor) and d.front_end == "ideal"}  # fmt: skip
        assert {i for i in (0.01, 0.02, 0.05, 0.1, 0.5, 1.0, 3.0, 6.0) if row.low <= i <= row.high} <= at
    assert {d.influence.name for d in drives if d.influence} == {row.name for row in INFLUENCES}
    assert {r for d in drives for r in d.ratios} == {(5, 5), (200, 5), (12000, 1)}
    assert {d.signal.export for d in drives} == {False, True}
    assert {d.signal.phases for d in drives} >= {(0,), (1,), (2,), (0, 1, 2)}


# faults of the meter


class LosesSamples(Meter):
    """Loses one sample a second."""

    def feed(self, samples: Any, seconds: float | None = None) -> list[Event]:
        return super().feed(np.delete(samples, 4000, axis=0) if len(samples) > 4000 else samples, seconds)


class DoublesPulses(Meter):
    """Gives a pulse twice in each block of samples."""

    output = Output.PULSE

    def feed(self, samples: NDArray[Any], seconds: float | None = None) -> list[Event]:  # type: ignore[override]
        events = super().feed(samples, seconds)
        for k, event in enumerate(events):
            if isinstance(event, Pulses) and event.output is self.output:
                events[k] = Pulses(event.output, np.repeat(event.on, [2, *[1] * (len(event) - 1)]), event.ns)
        return events


class DoublesFlashes(DoublesPulses):
    """Gives flashes twice."""

    output = Output.LED


def of_kind(kind: type[Meter], constants: Calibration = Calibration(), **changes: float) -> Make:  # noqa: B008
    def make(model: Model, rate: float, settings: dict[str, Any], calibration: Calibration) -> Meter:
        meter = kind(dataclasses.replace(model, **changes), rate=rate, **settings)  # type: ignore[arg-type]
        gain = tuple(a * b for a, b in zip(calibration.gain, constants.gain, strict=True))
        delay = tuple(a + b for a, b in zip(calibration.delay, constants.delay, strict=True))
        meter.apply([SetCalibration(Calibration(gain, delay))])
        return meter

    return make


ACTIVE_1A = [
    d
    for d in accuracy_drives(E44, 1, Calibration(), False)
    if d.front_end == "ideal" and (d.signal.current, d.signal.phases, d.signal.export) == (1.0, (0, 1, 2), False)
]
ACCURATE, PULSING = clause(About.ACCURACY, "EN 50470-3 class C"), clause(About.PULSE_OUTPUT, "IEC 62053-31")
STARTING, CONSTANT = clause(About.STARTING, "EN 50470-3 class C"), clause(About.METER_CONSTANT, "EN 50470-3 class C")
MORE, LATE = Calibration(gain=(1.0,) * 3 + (1.002,) * 3), Calibration(delay=(0.0,) * 3 + (0.02 / 360 / 50,) * 3)
# What is driven, the clause that fails, words of what fails in it, words that are in nothing that fails.
FAULTS: dict[str, tuple[Make, Sequence[Task], str, str, str]] = {
    "gain of 1.002": (of_kind(Meter, MORE), ACTIVE_1A, ACCURATE, "balanced, 1, 1 A", "nothing"),
    "phase error of 0.02°": (of_kind(Meter, LATE), ACTIVE_1A, ACCURATE, "balanced, 0.5ind, 1 A", "balanced, 1, 1 A"),
    "a sample lost each second": (of_kind(LosesSamples), ACTIVE_1A, ACCURATE, "balanced, 1, 1 A", "nothing"),
    "threshold at 2 mA": (of_kind(Meter, start_va=0.45), ["starting"], STARTING, "1 mA", "2 mA"),
    "a pulse doubled": (of_kind(DoublesPulses), ["pulse output", "meter constant"], PULSING, "pulses × weight", "flashes"),
    "a flash doubled": (of_kind(DoublesFlashes), ["meter constant", "pulse output"], CONSTANT, "flashes", "Wh:"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_fails_the_right_clause(fault: str) -> None:
    make, tasks, name, point, not_point = FAULTS[fault]
    outcome = drive_all(E44, quick=True, make=make, tasks=tasks)
    assert not outcome.passed
    failed = {v.clause: v.failed for v in outcome.verdicts if v.failed}
    assert any(point in text for text in failed[name])
    assert not any(not_point in text for texts in failed.values() for text in texts)


@pytest.mark.parametrize("tasks", [ACTIVE_1A, ["starting"], ["pulse output", "meter constant"]])
def test_without_the_fault_the_same_passes(tasks: Sequence[Task]) -> None:
    assert drive_all(E44, quick=True, tasks=tasks).passed


def test_a_front_end_off_by_1_percent_and_1_degree_needs_its_calibration() -> None:
    drives = [d for d in accuracy_drives(E44, 1, Calibration(), True) if d.front_end == "24 bit"]
    assert not drive_all(E44, quick=True, tasks=drives).passed


# the command


@pytest.mark.parametrize(("words", "said"), [
    (("--jobs", "0"), "--jobs: 0"), (("--seed", "-1"), "--seed: -1"), (("--model", "E45"), "--model"),
    (("--json", "/nowhere/x.json"), "--json /nowhere/x.json: No such file"), (("--html", "/"), "--html /: Is a directory"),
])  # fmt: skip
def test_bad_words_are_told_before_anything_is_driven(words: tuple[str, ...], said: str) -> None:
    done = command("typetest", *words)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert said in done.stderr


def test_files_are_as_they_were_when_words_are_bad(tmp_path: Path) -> None:
    (tmp_path / "old.json").write_text("kept")
    done = command("typetest", "--json", str(tmp_path / "old.json"), "--html", str(tmp_path / "no" / "x.html"))
    assert done.returncode == 2
    done = command("typetest", "--html", str(tmp_path / "new.html"), "--json", str(tmp_path / "no" / "x.json"))
    assert done.returncode == 2
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("old.json", "kept")]


def test_the_command_writes_what_it_found(tmp_path: Path) -> None:
    done = command("typetest", "--quick", "--seed", "7", "--json", str(tmp_path / "a.json"), "--html", str(tmp_path / "a.html"))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("passed  ") == len(set(re.findall(r"passed  (.{45})", done.stdout))) > 15
    assert json.loads((tmp_path / "a.json").read_text())["seed"] == 7
    assert (tmp_path / "a.html").read_text().startswith("<!doctype html>")


@pytest.mark.slow
@pytest.mark.parametrize("model", [E44, E43], ids=lambda m: m.name)
def test_the_full_run_keeps_its_margins_whole(model: Model) -> None:
    outcome = drive_all(model, jobs=2)
    assert [v.failed for v in outcome.verdicts if v.failed] == []
    for front_end, parts in MARGINS.items():
        for about, part in parts.items():
            assert outcome.worst_of(front_end, about) <= part, (front_end, about)
    assert len(outcome.checks) > 50
