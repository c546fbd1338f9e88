"""`kill -9` at any moment of a real host, again and again: what its memory held is there, and what it counted goes on from it.

What is written survives the process: so no counter may be lower than in the memory just before the kill, nor than what was
read half a second before it (the memory is written every 0.25 s, by a round that takes its time).
"""

from __future__ import annotations

import json
import os
import random
import signal
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from countis import E44, Bus, Meter
from countis.meter.energy.increment import Ints
from countis.meter.energy.registers import Layout
from countis.meter.memory.image import Contents, read
from countis.site.plan import plan_of
from countis.words.quantities import COUNTED, PARTIALS

from nursery import Nursery
from running import Running, start

pytestmark = pytest.mark.slow
KILLS, BIRTHS, COMMANDS, RESTARTS = 200, 40, 5, 25
GROWS = np.r_[Layout.counters, Layout.partials, Layout.hours, Layout.time, Layout.pulses, Layout.flashes, Layout.records]
COUNTERS = [q.symbol for q in COUNTED if q.kind.value in ("counter", "hours")]
READ = [symbol for symbol in (*COUNTERS, *PARTIALS) if symbol in plan_of(E44.family.table).sources]
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
PATIENCE = 60.0


def memory_of(folder: Path) -> Contents:
    """What the memory on disk holds, by the loader that a start uses."""
    return read((folder / "data" / "meter.fram").read_bytes())


def counted(folder: Path) -> Ints:
    return memory_of(folder).row[GROWS]


def words(folder: Path, speed: int) -> list[str]:
    """The command line of a host on a memory in this folder."""
    supply = folder / "restless.toml"
    if not supply.exists():
        supply.write_text(RESTLESS)
    return ["run", "--data", str(folder / "data"), "--ready-file", str(folder / "ready.json"), "--tcp", "127.0.0.1:0",
            "--web", "none", "--serial", "none", "--speed", str(speed), "--supply", str(supply)]  # fmt: skip


def fork(nursery: Nursery, folder: Path, speed: int) -> tuple[int, str]:
    """Start a host and wait until it is ready; return its process id and where it answers."""
    ready = folder / "ready.json"
    ready.unlink(missing_ok=True)
    child = nursery.fork(*words(folder, speed))
    deadline = time.monotonic() + PATIENCE
    while not ready.exists():
        assert time.monotonic() < deadline
        time.sleep(0.002)
    return child, f"tcp://{json.loads(ready.read_text())['tcp']}"


def asked(target: str) -> dict[str, float]:
    """Every counter that can be read."""
    with Bus.open(target) as bus:
        return {symbol: float(str(value)) for symbol, value in bus[5].read(*READ).items()}


def lower(now: dict[str, float], floor: dict[str, float]) -> dict[str, tuple[float, float]]:
    """What is less now than it was."""
    return {symbol: (now[symbol], value) for symbol, value in floor.items() if now[symbol] < value}


def rounded(row: Ints) -> dict[str, float]:
    """What the bus must show at least of a row that was kept."""
    meter = Meter(E44, ct_primary=200)
    meter.state.row[:] = row
    with Bus.loopback(meter) as bus:
        return {symbol: float(str(value)) for symbol, value in bus[5].read(*READ).items()}


def test_200_kills_take_nothing_that_was_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    chance, began = random.Random(200), time.monotonic()
    floor, read_before, rounds = np.zeros(len(GROWS), np.int64), dict[str, float](), 0
    with Nursery() as nursery:
        for kill in range(KILLS):
            child, target = fork(nursery, tmp_path, chance.choice((50, 200)))
            ready, now = counted(tmp_path), asked(target)
            assert lower(now, read_before) == {}, f"kill {kill}: less on the bus than the memory held"
            time.sleep(chance.uniform(0.05, 0.4))
            before = memory_of(tmp_path)
            os.kill(child, signal.SIGKILL)
            assert os.WTERMSIG(nursery.wait()) == signal.SIGKILL
            after = memory_of(tmp_path)
            assert (before.row[GROWS] >= floor).all(), f"kill {kill}: a life began below the one before"
            assert (after.row[GROWS] >= before.row[GROWS]).all(), f"kill {kill}: a counter went back"
            rounds += int((before.row[GROWS] > ready).any())
            floor, read_before = after.row[GROWS], rounded(after.row)
    with capsys.disabled():
        took = time.monotonic() - began
        print(f"\n{KILLS} kills in {took:.0f} s, {rounds} of them after a round; {read_before['Eap']:.0f} VAh")
    assert rounds > KILLS // 5
    assert memory_of(tmp_path).settings["ct_primary"] == 200


def test_a_memory_is_born_whole_or_not_at_all(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Killed in the first moments of its first start: there is no memory, or one that can be loaded, and it starts again."""
    chance, born = random.Random(40), 0
    with Nursery() as nursery:
        for birth in range(BIRTHS):
            folder = tmp_path / str(birth)
            folder.mkdir()
            child = nursery.fork(*words(folder, 10))
            time.sleep(chance.uniform(0.0, 0.08))
            os.kill(child, signal.SIGKILL)
            nursery.wait()
            if (folder / "data" / "meter.fram").exists():
                born += 1
                assert memory_of(folder).model.name == "E44"
        child, target = fork(nursery, tmp_path / "0", 10)
        assert asked(target)["hours.T1"] >= 0
        os.kill(child, signal.SIGKILL)
        nursery.wait()
    with capsys.disabled():
        print(f"\n{born} of {BIRTHS} memories were born before the kill")
    assert 0 < born < BIRTHS


def read_until_killed(running: Running, after: float) -> Sequence[tuple[float, dict[str, float]]]:
    """Read all counters over and over, kill in the middle of it; return what was read, and how long before the kill."""
    seen: list[tuple[float, dict[str, float]]] = []
    deadline = time.monotonic() + after
    while time.monotonic() < deadline:
        at = time.monotonic()
        seen.append((at, asked(running.target)))
    running.process.kill()
    killed = time.monotonic()
    running.process.communicate()
    return [(killed - at, values) for at, values in seen]


@pytest.mark.parametrize("speed", ["1", "30"])
def test_kill_9_loses_at_most_half_a_second(speed: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    chance = random.Random(int(speed))
    supply = tmp_path / "restless.toml"
    supply.write_text(RESTLESS)
    floor: dict[str, float] = {}
    compared, grown = 0, 0.0
    for _ in range(RESTARTS):
        running = start(tmp_path, "--serial", "none", "--speed", speed, "--supply", str(supply))
        assert lower(asked(running.target), floor) == {}
        compared += len(floor)
        old = [values for age, values in read_until_killed(running, chance.uniform(0.7, 1.4)) if age >= 0.5]
        assert old
        floor = old[-1]
        grown = floor["Eap"]
    with capsys.disabled():
        print(f"\nkill -9 at --speed {speed}: {RESTARTS} times, {compared} registers compared, none lower, {grown:.1f} VAh")
    assert grown > 0


def test_the_command_keeps_what_was_read_half_a_second_before(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As a user starts it, with all of its ports: what was read before the last whole round is there after the next start."""
    chance, floor, compared = random.Random(5), dict[str, float](), 0
    supply = tmp_path / "restless.toml"
    supply.write_text(RESTLESS)
    for _ in range(COMMANDS):
        running = start(tmp_path, "--speed", "100", "--supply", str(supply))
        assert lower(asked(running.target), floor) == {}
        compared += len(floor)
        seen = read_until_killed(running, chance.uniform(0.7, 1.2))
        floor = [values for age, values in seen if age >= 0.5][-1]
        assert lower(rounded(memory_of(tmp_path).row), floor) == {}
    with capsys.disabled():
        print(f"\n{COMMANDS} kills of the command, {compared} registers compared; {floor['Eap']:.0f} VAh")
    assert floor["Eap"] > 0
