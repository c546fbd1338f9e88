"""The wheel in an empty environment."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from statistics import median

import pytest
from countis import Bus
from countis.words.errors import BusError

from running import start, stop

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[1]


def test_the_wheel_runs_in_an_empty_environment(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Builds the wheel, installs it beside its pinned libraries alone, and starts it cold and warm."""
    source, environment = tmp_path / "source", tmp_path / "env"
    source.mkdir()
    for name in ("src", "requirements", "pyproject.toml", "README.md", "LICENSE"):
        place = ROOT / name
        if place.is_dir():
            shutil.copytree(place, source / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
        else:
            shutil.copy(place, source / name)

    def run(*words: str) -> None:
        done = subprocess.run(words, capture_output=True, text=True, cwd=tmp_path)
        assert done.returncode == 0, done.stderr

    run(sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-w", str(tmp_path), str(source))
    (wheel,) = tmp_path.glob("countis-*.whl")
    run(sys.executable, "-m", "venv", str(environment))
    pip = str(environment / "bin" / "pip")
    run(pip, "install", "--require-hashes", "-r", str(ROOT / "requirements" / "run.txt"))
    run(pip, "install", "--no-deps", str(wheel))
    seconds = []
    for _ in range(4):
        running = start(tmp_path / "meter", command=(str(environment / "bin" / "countis"),))
        try:
            with Bus.open(running.target) as bus:
                assert bus[5].read("id.vendor", "V1")["id.vendor"] == "SOCOMEC"
        except BusError:
            stop(running)
            raise
        seconds.append(running.seconds)
        assert stop(running)[0] == 0
    warm = median(seconds[1:])
    with capsys.disabled():
        print(f"\nstart to answer: {seconds[0]:.1f} s when it compiles, {warm:.1f} s once compiled")
    assert warm < 3.0
