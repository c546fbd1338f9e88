"""`make docs/trace.md`: clause -> code -> test, of the manual and of the standards, with the holes shown."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

from countis.host.lab.typetest.points import CLAUSES, clause

ROOT = Path(__file__).resolve().parents[1]
MARK = re.compile(r'@pytest\.mark\.manual\("([\d.]+)"\)(?:\n@.*|\n[^\S\n].*|\n\).*)*\ndef (\w+)')
PASSES = "test_the_quick_run_passes_and_keeps_a_tenth_of_its_margins"
# What a clause of the standards is about -> where it is driven, and the test that shows the bench finds a fault in it.
BENCH = {
    "accuracy": ("accuracy.py: drive_accuracy", "test_a_fault_fails_the_right_clause"),
    "influence": ("accuracy.py: drive_influence", PASSES),
    "no load": ("checks.py: no_load", PASSES),
    "starting": ("checks.py: starting", "test_a_fault_fails_the_right_clause"),
    "meter constant": ("checks.py: meter_constant", "test_a_fault_fails_the_right_clause"),
    "repeatability": ("checks.py: repeatability", PASSES),
    "composite error": ("outcome.py: composite", PASSES),
    "pulse output": ("checks.py: pulse_output", "test_a_fault_fails_the_right_clause"),
    "disturbances": ("checks.py: disturbances", "test_disturbances_of_the_quick_run_are_within_their_limits"),
    "reactive over frequency": ("checks.py: reactive_over_frequency", PASSES),
    "three wires": ("checks.py: three_wires", "test_the_model_with_three_wires_and_60_hz"),
    "frequency": ("checks.py: frequency", PASSES),
    "phases": ("checks.py: phases", PASSES),
}


def of_the_manual() -> list[tuple[str, str, str]]:
    """Return (clause, code, tests) for every clause that source or tests name."""
    code, tests = defaultdict(set), defaultdict(set)
    for path in sorted((ROOT / "src").rglob("*.py")):
        if path.parent.name == "modbus":  # its clauses are those of Modbus
            continue
        for number in re.findall(r"§(\d+(?:\.\d+)*)", path.read_text()):
            code[number].add(path.relative_to(ROOT / "src/countis").as_posix())
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for number, name in MARK.findall(path.read_text()):
            tests[number].add(f"{path.name}: {name}")
    for path in sorted((ROOT / "tests/transcripts").glob("*.txt")):
        for number in re.findall(r"manual §(\d+(?:\.\d+)*)", path.read_text()):
            tests[number].add(f"transcripts/{path.name}")
    numbers = sorted(code.keys() | tests.keys(), key=lambda n: [int(part) for part in n.split(".")])
    return [(f"§{n}", "<br>".join(sorted(code[n])) or "hole", "<br>".join(sorted(tests[n])) or "hole") for n in numbers]


def of_the_standards() -> list[tuple[str, str, str]]:
    """Return (clause, code, test) for every clause of the type test."""
    rows = [(clause(about, standard), *BENCH[about]) for about, standards in CLAUSES.items() for standard in standards]
    return [(name, f"host/lab/typetest/{code}", f"test_typetest.py: {test}") for name, code, test in sorted(rows)]


def document() -> str:
    """Return the whole document."""
    lines = ["# Clause, code, test", "", "Made by `make docs/trace.md`. A hole is what one side names and the other does not."]
    for title, rows in (("The manual", of_the_manual()), ("The standards", of_the_standards())):
        lines += ["", f"## {title}", "", "| clause | code | test |", "| --- | --- | --- |"]
        lines += [f"| {a} | {b} | {c} |" for a, b, c in rows]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    (ROOT / "docs" / "trace.md").write_text(document())
