"""A start of the command loads what its verb needs and nothing else."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import countis.cli
import pytest
from countis.cli.main import VERBS, module_of, parse
from countis.modbus import pdu, rtu
from countis.modbus.said import trace
from countis.modbus.said.frames import Direction, Form, LineFrame, Port

from running import command
from tables import by_unit

NOWHERE = "tcp://127.0.0.1:1"  # where nobody listens
COMPILER, METER = ("numba", "llvmlite"), ("countis.meter",)
SHARED = {"countis.cli", "countis.cli.main", "countis.cli.options"}
MODULES_AT_END = """
import sys
from countis.__main__ import main
try:
    code = main()
except SystemExit as end:
    code = end.code
print(*sys.modules, file=sys.stderr)
sys.exit(code)
"""


class Ended(NamedTuple):
    """How a command ended, and what it had loaded."""

    code: int
    out: str
    modules: set[str]

    def of(self, *packages: str) -> set[str]:
        """The loaded modules of some packages."""
        return {name for name in self.modules for package in packages if f"{name}.".startswith(f"{package}.")}


def run(*words: str) -> Ended:
    line = [sys.executable, "-c", MODULES_AT_END, *words]
    done = subprocess.run(line, capture_output=True, text=True, timeout=60)
    return Ended(done.returncode, done.stdout, set(done.stderr.splitlines()[-1].split()))


@pytest.mark.parametrize(("words", "code"), [(("--version",), 0), (("--help",), 0), (("walk",), 2), ((), 2)])
def test_without_a_verb_no_verb_is_loaded(words: tuple[str, ...], code: int) -> None:
    ended = run(*words)
    assert ended.code == code
    assert ended.of("countis.cli") == {"countis.cli", "countis.cli.main"}
    assert ended.of("numpy", *COMPILER, *METER) == set()


@pytest.mark.parametrize("verb", VERBS)
def test_a_help_loads_its_verb_alone(verb: str) -> None:
    ended = run(verb, "--help")
    assert (ended.code, ended.out.split()[:3]) == (0, ["usage:", "countis", verb])
    own = f"countis.cli.{VERBS[verb].module}"
    assert own in ended.modules
    assert ended.of("countis.cli") - SHARED == {own}
    assert ended.of(*COMPILER, *METER, "countis.host", "countis.supply", "countis.serve") == set()
    if verb != "faults":  # the kinds of fault stand beside what makes them
        assert ended.of("numpy") == set()


def one_request(folder: Path) -> str:
    """A trace with one request."""
    file = folder / "t.txt"
    frame = rtu.frame(5, pdu.read_request(50520, 2))
    file.write_bytes(trace.write(Form.TEXT, [LineFrame(0, Port.TCP, Direction.REQUEST, frame)], by_unit))
    return str(file)


@pytest.mark.parametrize(("words", "code", "worked"), [
    (("read", NOWHERE, "5", "V1"), 2, "countis.site.line"),
    (("read", NOWHERE, "300"), 2, "countis.words.settings"),
    (("map",), 0, "countis.modbus.table"),
    (("replay", "TRACE", NOWHERE), 2, "countis.site.replay"),
    (("replay", "not-there.txt", NOWHERE), 2, "countis.site.replay"),
    (("faults", "5", "late", "--url", "http://127.0.0.1:1"), 2, "countis.host.terminal.client"),
])  # fmt: skip
def test_what_asks_from_afar_loads_no_meter(
    words: tuple[str, ...], code: int, worked: str, tmp_path: Path
) -> None:
    """They are done as far as they come; `worked` is a module that shows how far that was."""
    ended = run(*(one_request(tmp_path) if word == "TRACE" else word for word in words))
    assert ended.code == code
    assert worked in ended.modules
    assert ended.of(*COMPILER, *METER) == set()


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_has_a_help_line_and_a_module(verb: str) -> None:
    assert VERBS[verb].help == VERBS[verb].help.strip().splitlines()[0]
    module = module_of(verb)
    assert callable(module.call)
    parser = argparse.ArgumentParser()
    parser.set_defaults(verb=verb)
    before = parser.format_help()
    module.add(parser)
    assert parser.format_help() != before


def test_the_list_is_the_table() -> None:
    listed = " ".join(command("--help").stdout.partition("COMMAND\n")[2].partition("\noptions:")[0].split())
    assert listed == " ".join(f"{name} {verb.help}" for name, verb in VERBS.items())


def test_a_wrong_verb_is_told_which_there_are() -> None:
    ended = command("walk")
    assert (ended.returncode, ended.stdout, ended.stderr.count("\n")) == (2, "", 1)
    assert all(f"'{name}'" in ended.stderr or f" {name}" in ended.stderr for name in VERBS)


def test_one_verb_makes_one_parser(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    make = argparse.ArgumentParser.__init__

    def count(parser: argparse.ArgumentParser, **options: object) -> None:
        make(parser, **options)  # type: ignore[arg-type]
        made.append(parser.prog)

    monkeypatch.setattr(argparse.ArgumentParser, "__init__", count)
    assert parse(["map", "--assumed"]).assumed
    assert made == ["countis", "countis map"]


def test_an_option_before_the_verb_asks_for_the_list() -> None:
    assert command("--help", "map").stdout == command("--help").stdout


def test_every_file_is_of_a_verb() -> None:
    folder = Path(next(iter(countis.cli.__path__)))
    files = {path.stem for path in folder.rglob("*.py")}
    assert files == {"__init__", "main", "options"} | {verb.module for verb in VERBS.values()}
    assert len(files) <= 12
