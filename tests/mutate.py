"""Faults of one line put into a copy of the tree, to see that the tests see them; `python tests/mutate.py` lists them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LIMIT = 120.0  # s for the tests of one fault, on a machine that is busy
GREEN, RED = 0, 1  # exit codes of pytest; any other means that no test has run


@dataclass(frozen=True)
class Mutation:
    """A line of a file, what it becomes, what that breaks, and the tests that must see it."""

    file: str
    old: str
    new: str
    breaks: str
    tests: tuple[str, ...]

    def __str__(self) -> str:
        return f"{Path(self.file).stem}: {self.breaks}"


def read(path: Path = ROOT / "tests" / "mutations.toml") -> list[Mutation]:
    """All faults of the list."""
    return [Mutation(**{**entry, "tests": tuple(entry["tests"])}) for entry in tomllib.loads(path.read_text())["mutation"]]


def mutated(text: str, mutation: Mutation) -> str:
    """The text with its one line changed; LookupError where the line does not stand there exactly once."""
    lines = text.splitlines(keepends=True)
    found = [k for k, line in enumerate(lines) if line.strip() == mutation.old]
    if len(found) != 1:
        raise LookupError(f"{mutation.file}: {len(found)} lines are {mutation.old!r} (allowed: 1)")
    lines[found[0]] = lines[found[0]].replace(mutation.old, mutation.new)
    return "".join(lines)


def copy(to: Path) -> Path:
    """Copy what the tests need. What Numba has compiled comes along, what Python has does not: it might outlive a change."""
    for name in ("src", "tests"):
        shutil.copytree(ROOT / name, to / name, ignore=shutil.ignore_patterns("*.pyc", "*.egg-info", "node_modules"))
    shutil.copy2(ROOT / "pyproject.toml", to)
    return to


@contextmanager
def applied(tree: Path, mutation: Mutation) -> Iterator[None]:
    """The fault is in the tree for the length of a block."""
    path = tree / mutation.file
    text = path.read_text()
    path.write_text(mutated(text, mutation))
    try:
        yield
    finally:
        path.write_text(text)


def python(tree: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run Python in the tree, with its source before any that is installed."""
    environment = {**os.environ, "PYTHONPATH": str(tree / "src"), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run([sys.executable, *words], cwd=tree, env=environment, capture_output=True, text=True, timeout=LIMIT)


def home(tree: Path) -> Path:
    """Where the package comes from that the tests in the tree test."""
    return Path(python(tree, "-c", "import countis; print(countis.__file__)").stdout.strip())


def run(tree: Path, tests: Sequence[str]) -> tuple[int, str]:
    """Run tests in the tree to the first that fails; return the exit code of pytest and what it says."""
    done = python(tree, "-m", "pytest", "-q", "-x", "--tb=line", "-p", "no:cacheprovider", *tests)
    return done.returncode, done.stdout + done.stderr


def seen(tree: Path, mutation: Mutation) -> str:
    """Return the test that sees the fault, "" if it survives; AssertionError where no test has run."""
    with applied(tree, mutation):
        code, text = run(tree, mutation.tests)
    assert code in (GREEN, RED), f"{mutation}: pytest ended with {code}\n{text}"
    failed = [line[7:].split(" - ")[0] for line in text.splitlines() if line.startswith("FAILED ")]
    assert code == GREEN or failed, f"{mutation}: no test has failed\n{text}"
    return failed[0] if failed else ""


def main() -> int:
    survivors = 0
    with tempfile.TemporaryDirectory() as folder:
        tree = copy(Path(folder))
        for mutation in read():
            began = time.monotonic()
            by = seen(tree, mutation)
            survivors += not by
            told = f"seen by {by}" if by else "SURVIVES"
            print(f"{time.monotonic() - began:5.1f} s  {mutation}\n         {told}", flush=True)
    return survivors


if __name__ == "__main__":
    sys.exit(main())
