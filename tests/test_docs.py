"""The docs are true: what is generated is current, what the README says works, what is decided has its record."""

from __future__ import annotations

import re
import tomllib
from graphlib import TopologicalSorter
from pathlib import Path

import pytest
from countis import __version__
from countis.host.running.firmware import RECORDED, checksums, installed
from countis.models import Firmware
from countis.supply.toml_file import read_supply
from countis.words.settings import SETTINGS

import menus_document as menus
import trace_document as trace
from drawing import arrows, drawn
from running import command
from tables import ROWS

ROOT = Path(__file__).resolve().parents[1]
DECISIONS = ROOT / "docs" / "decisions"


def test_the_table_of_registers_is_current() -> None:
    text = (ROOT / "docs" / "registers.md").read_text()
    assert text.endswith(command("map", "--format", "md").stdout), "make docs/registers.md writes it anew"


def test_the_menus_are_current() -> None:
    assert (ROOT / "docs" / "menus.md").read_text() == menus.document(), "make docs/menus.md writes it anew"


def test_the_trace_is_current_and_names_what_is_there() -> None:
    assert (ROOT / "docs" / "trace.md").read_text() == trace.document(), "make docs/trace.md writes it anew"
    for _, code, test in trace.of_the_standards():
        path, function = code.split(": ")
        assert f"def {function}(" in (ROOT / "src" / "countis" / path).read_text()
        assert f"def {test.split(': ')[1]}(" in (ROOT / "tests" / "test_typetest.py").read_text()


def test_the_library_example_of_the_readme_runs() -> None:
    (code,) = [c for c in re.findall(r"```python\n(.+?)```", (ROOT / "README.md").read_text(), re.S) if "Meter(" in c]
    names: dict[str, object] = {}
    exec(compile(code, "README.md", "exec"), names)
    assert isinstance(names["image"], bytes)


def test_the_supply_of_the_readme_is_fine(tmp_path: Path) -> None:
    supply, recording = re.findall(r"```toml\n(.+?)```", (ROOT / "README.md").read_text(), re.S)
    file = tmp_path / "readme.toml"
    file.write_text(supply)
    done = command("check", str(file))
    assert (done.returncode, done.stderr) == (0, "")
    assert read_supply(recording, "readme.toml").recording is not None


def test_every_option_the_readme_uses_is_there() -> None:
    text = (ROOT / "README.md").read_text()
    known = command("run", "--help").stdout + command("read", "--help").stdout
    used = set(re.findall(r"countis (?:run|read)[^\n]*", text))
    options = {option for line in used for option in re.findall(r"(?<=\s)--[a-z][a-z-]*", line)}
    assert {"--recording", "--v-scale", "--rate"} <= options
    assert [o for o in options if o not in known and o != "--help"] == []


@pytest.mark.parametrize("path", [*sorted((ROOT / "src").rglob("*.py")), ROOT / "ARCHITECTURE.md"], ids=lambda p: p.name)
def test_decisions_named_in_the_source_have_their_record(path: Path) -> None:
    numbers = {int(n) for n in re.findall(r"decisions? (\d+)", path.read_text())}
    assert [n for n in numbers if not list(DECISIONS.glob(f"{n:04}-*.md"))] == []


def test_files_named_in_a_decision_are_there() -> None:
    for path in DECISIONS.glob("0*.md"):
        for name in re.findall(r"`([a-z0-9_/]+\.py)`", path.read_text()):
            assert (ROOT / "src" / "countis" / name).exists() or (ROOT / name).exists(), f"{path.name}: {name}"


def test_there_is_one_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["version"] == __version__ == ".".join(map(str, Firmware().version))
    assert f"## {__version__}" in (ROOT / "CHANGELOG.md").read_text()


def test_links_between_the_docs_lead_somewhere() -> None:
    for path in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")):
        for target in re.findall(r"\]\(([^)#:]+)\)", path.read_text()):
            assert (path.parent / target).exists(), f"{path.name}: {target}"


def test_what_is_assumed_says_so() -> None:
    assert all(row.source for row in ROWS)
    assert all("assumed" in row.source or "manual" in row.source or "table" in row.source for row in SETTINGS.values())
    listed = command("map", "--assumed", "--format", "csv").stdout
    assert all(str(row.address) in listed for row in ROWS if row.source == "assumed")


def test_the_readme_says_what_the_values_are_worth() -> None:
    text = (ROOT / "README.md").read_text()
    first_screen = "\n".join(text.splitlines()[:32])
    assert "make run" in first_screen
    assert "make test" in first_screen
    assert "no legal value" in first_screen
    assert "not the vendor's" in first_screen


def test_the_recorded_checksum_is_that_of_the_metrological_files() -> None:
    assert RECORDED.read_text() == f"{checksums()[0]:08X}\n", "make cs1 records it anew"
    assert not installed().malfunction


def test_another_checksum_is_a_malfunction(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    other = tmp_path / "CS1"
    monkeypatch.setattr("countis.host.running.firmware.RECORDED", other)
    assert installed.__wrapped__().malfunction
    other.write_text("00000000\n")
    assert installed.__wrapped__().malfunction


def test_the_drawing_of_the_rooms_is_current() -> None:
    page = (ROOT / "ARCHITECTURE.md").read_text()
    assert "```mermaid" in page
    assert page == drawn(page), "make docs/architecture draws it anew"


def test_the_map_of_the_house_names_every_file_and_no_other() -> None:
    page = (ROOT / "ARCHITECTURE.md").read_text()
    source = ROOT / "src" / "countis"
    files = {path.relative_to(source).as_posix() for path in source.rglob("*.py") if not path.name.startswith("__")}
    table = page.partition("## Files")[2].partition("\n## ")[0]
    named: set[str] = set()
    for line in table.splitlines():
        cells = line.split("|")
        if len(cells) > 2 and "`" in cells[1]:
            room, *names = re.findall(r"`([^`]+)`", cells[1])
            named |= {f"{room}{name}.py" for name in names}
    assert named == files


def test_arrows_between_rooms_go_one_way() -> None:
    graph: dict[str, set[str]] = {}
    for room, other in arrows():
        graph.setdefault(room, set()).add(other)
    TopologicalSorter(graph).prepare()  # CycleError names a circle
