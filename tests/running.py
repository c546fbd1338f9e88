"""A `countis run` of its own for a test: started, waited for, stopped."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

COMMAND = str(Path(sys.executable).parent / "countis")
START_LIMIT = 90.0  # s; the first start of all compiles


@dataclass
class Running:
    """A process, what its ready file says, and how long it took to be ready."""

    process: subprocess.Popen[str]
    ready: dict[str, Any]
    seconds: float

    @property
    def target(self) -> str:
        return f"tcp://{self.ready['tcp']}"


def start(folder: Path, *flags: str, command: tuple[str, ...] = (COMMAND,), verb: tuple[str, ...] = ()) -> Running:
    """Start `countis run` on a memory in `folder`, with any free ports and whatever flags say; wait until it answers."""
    folder.mkdir(parents=True, exist_ok=True)
    ready_file = folder / "ready.json"
    ready_file.unlink(missing_ok=True)
    ports = () if verb else ("--tcp", "127.0.0.1:0")
    base = (*command, *(verb or ("run",)), "--data", str(folder / "data"), "--ready-file", str(ready_file), *ports, "--web",
            "127.0.0.1:0")
    began = time.monotonic()
    process = subprocess.Popen((*base, *flags), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while not ready_file.exists():
        if process.poll() is not None or time.monotonic() - began > START_LIMIT:
            process.kill()
            out, err = process.communicate()
            raise AssertionError(f"countis run did not get ready: {out}{err}")
        time.sleep(0.01)
    return Running(process, json.loads(ready_file.read_text()), time.monotonic() - began)


def stop(running: Running, number: int = signal.SIGTERM) -> tuple[int, str, str]:
    """Send a signal and wait; return exit code, stdout and stderr."""
    running.process.send_signal(number)
    out, err = running.process.communicate(timeout=20)
    return running.process.returncode, out, err


@contextmanager
def countis_run(folder: Path, *flags: str) -> Iterator[Running]:
    """A running meter for the length of a block; it must end well."""
    running = start(folder, *flags)
    try:
        yield running
    finally:
        code, _, err = stop(running)
    assert (code, err) == (0, ""), err


def command(*words: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run one command to its end."""
    return subprocess.run([COMMAND, *words], capture_output=True, text=True, timeout=120, **options)
