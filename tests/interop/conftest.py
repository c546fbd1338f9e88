"""Starts `countis run` as other people's programs meet it: a process of its own, known by its ready file alone."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Final, TypedDict, cast

import pytest

COUNTIS: Final = Path(sys.executable).parent / "countis"
START: Final = 60.0  # s; the first start on a machine compiles
STOP: Final = 20.0  # s


class Ready(TypedDict):
    """The ready file."""

    pid: int
    model: str
    address: int
    serial: str
    tcp: str
    rtu_tcp: str
    web: str | None
    data: str


RunMeter = Callable[..., AbstractContextManager[Ready]]


def wait_for(process: subprocess.Popen[bytes], path: Path, log: Path) -> Ready:
    until = time.monotonic() + START
    while not path.exists():
        code = process.poll()
        assert code is None, f"countis run ended with {code} before it was ready:\n{log.read_text()}"
        assert time.monotonic() < until, f"countis run is not ready after {START:g} s:\n{log.read_text()}"
        time.sleep(0.02)
    return cast(Ready, json.loads(path.read_text()))


def stop(process: subprocess.Popen[bytes]) -> int:
    """Ask the process to end and return its exit code."""
    process.terminate()
    try:
        return process.wait(STOP)
    finally:
        process.kill()  # nothing happens to one that has ended
        process.wait()


@contextmanager
def running(folder: Path, supply: str, *flags: str) -> Iterator[Ready]:
    """Run a meter with all its ports on this supply; SIGTERM must end it with exit code 0."""
    (folder / "supply.toml").write_text(supply)
    ready, log = folder / "ready.json", folder / "run.log"
    command = [
        str(COUNTIS), "run", "--data", str(folder / "memory"), "--ready-file", str(ready), "--tcp", "127.0.0.1:0",
        "--rtu-tcp", "127.0.0.1:0", "--serial", "pty", "--web", "none", "--supply", str(folder / "supply.toml"), *flags,
    ]  # fmt: skip
    with open(log, "wb") as out:  # a pipe that nobody empties would stop the meter
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT)
    try:
        yield wait_for(process, ready, log)
    finally:
        code = stop(process)
    assert code == 0, f"countis run ended with {code} on SIGTERM:\n{log.read_text()}"


@pytest.fixture(scope="session")
def run_meter(tmp_path_factory: pytest.TempPathFactory) -> RunMeter:
    """Return what starts a meter: `with run_meter(supply_toml, "--speed", "10") as ready: ...`, each with a new memory."""
    return lambda supply, *flags: running(tmp_path_factory.mktemp("meter"), supply, *flags)
