"""What takes minutes: kills while counting, and the wheel in an empty environment."""

from __future__ import annotations

import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

import pytest
from running import Running, start, stop

from countis import Bus
from countis.errors import BusError
from countis.quantities import COUNTED, PARTIALS
from countis.site.plan import SOURCES

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[1]
KILLS = 50
# Everything that only ever grows in this test and that the bus can read.
GROWING = [q.symbol for q in COUNTED if q.kind in ("counter", "hours") and q.symbol in SOURCES] + [
    s for s in PARTIALS if s in SOURCES
]
RESTLESS = """
[[load]]
phase = "L1"
current = 6
angle = 35
[[load]]
phase = "L2"
current = 5
angle = 20
direction = "export"
[[load]]
phase = "L3"
current = 4
angle = -50
"""


def read_until_killed(running: Running, after: float) -> list[tuple[float, dict[str, float]]]:
    """Read all counters over and over, kill -9 in the middle of it; return what was read and when."""
    seen: list[tuple[float, dict[str, float]]] = []
    deadline = time.monotonic() + after
    with Bus.open(running.target) as bus:
        while time.monotonic() < deadline:
            values = {s: float(str(v)) for s, v in bus[5].read(*GROWING).items()}
            seen.append((time.monotonic(), values))
    running.process.send_signal(signal.SIGKILL)
    killed = time.monotonic()
    running.process.communicate()
    return [(killed - at, values) for at, values in seen]


@pytest.mark.parametrize("speed", ["1", "30"])
def test_kill_9_loses_at_most_half_a_second(speed: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    chance = random.Random(int(speed))
    supply = tmp_path / "restless.toml"
    supply.write_text(RESTLESS)
    flags = ("--serial", "none", "--speed", speed, "--supply", str(supply))
    floor: dict[str, float] = {}
    compared, grown = 0, 0.0
    for _ in range(KILLS // 2):
        running = start(tmp_path, *flags)
        with Bus.open(running.target) as bus:
            now = {s: float(str(v)) for s, v in bus[5].read(*GROWING).items()}
        lower = {s: (now[s], value) for s, value in floor.items() if now[s] < value}
        assert lower == {}
        compared += len(floor)
        seen = read_until_killed(running, chance.uniform(0.7, 1.4))
        old = [values for age, values in seen if age >= 0.5]
        assert old
        floor = old[-1]
        grown = floor["Eap"]
    with capsys.disabled():
        print(f"\nkill -9 at --speed {speed}: {KILLS // 2} times, {compared} registers compared, none lower, {grown:.1f} VAh")
    assert grown > 0


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
