"""The fuzzer of docs/reliability.md, at a size that fits: nothing is found, and the same seed gives the same replies."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[1]
FRAMES = 200_000


def fuzz(count: int, seed: int) -> str:
    """Run it and return its line; what it finds is told here."""
    done = subprocess.run([sys.executable, "-m", "fuzz.slave", str(count), str(seed)], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") == 1, done.stdout
    return done.stdout


def figures(line: str) -> dict[str, int]:
    return {name: int(number) for number, name in re.findall(r"(\d+) (frames|replies|silences|writes)  ", line)}


def test_nothing_is_found_and_the_digest_is_repeatable() -> None:
    first, second, other = fuzz(FRAMES, 1), fuzz(FRAMES, 1), fuzz(FRAMES // 10, 2)
    digests = [re.findall(r"digest ([0-9a-f]{16})\b", line) for line in (first, second, other)]
    assert digests[0] == digests[1] != digests[2]
    assert len(digests[0]) == 1
    told = figures(first)
    assert told == figures(second)
    assert FRAMES <= told["frames"] < FRAMES + 10
    for what, share in (("replies", 0.3), ("silences", 0.03), ("writes", 0.05)):  # what lies behind framing is reached
        assert told[what] > share * FRAMES, first


@pytest.mark.skipif(importlib.util.find_spec("atheris") is None, reason="no atheris here; `make fuzz` installs it")
def test_atheris_searches_with_the_same_entry_point() -> None:
    found = re.search(r"guided: (\d+) runs, (\d+) branches, nothing found", fuzz(1000, 3))
    assert found is not None
    assert int(found[1]) >= 1000
    assert int(found[2]) > 300  # the slave is among what it sees
