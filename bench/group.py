"""Servers of the bench in process groups of their own: stopped but while they are measured; their CPU and memory."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

COMMAND = str(Path(sys.executable).parent / "countis")
HERE = Path(__file__).parent


class Skipped(Exception):
    """A peer that is not here, and why."""


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def compiled(name: str, folder: str, *libraries: str) -> str:
    """Compile a program of this folder; Skipped where it cannot be."""
    out = Path(folder) / name
    if not out.exists():
        words = [os.environ.get("CC", "cc"), "-O2", "-o", str(out), str(HERE / (name + ".c"))]
        try:
            if libraries:
                asked = ("pkg-config", "--cflags", "--libs", *libraries)
                words += subprocess.run(asked, check=True, capture_output=True, text=True).stdout.split()
            subprocess.run(words, check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError) as error:
            raise Skipped(f"{name}: cannot be compiled, {error}") from None
    return str(out)


def _stat(pid: str) -> list[str]:
    """The fields of a process after its name: state, parent, group, …"""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return []


def members(pid: int) -> list[str]:
    """The processes of the group of `pid`; where that is this program's own, those that descend from `pid`."""
    stats = {name: fields for name in os.listdir("/proc") if name.isdigit() and (fields := _stat(name))}
    group = os.getpgid(pid)
    if group != os.getpgrp():
        return [name for name, fields in stats.items() if int(fields[2]) == group]
    found = [str(pid)]
    for one in found:
        found += [name for name, fields in stats.items() if fields[1] == one]
    return found


def cpu(pid: int) -> float:
    """CPU seconds of the whole group so far, to the ns where the kernel tells."""
    spent = 0.0
    for one in members(pid):
        try:
            tasks = [task.read_text().split() for task in Path(f"/proc/{one}/task").glob("*/schedstat")]
            spent += sum(int(fields[0]) for fields in tasks) / 1e9
        except OSError:  # it is gone
            continue
    return spent


def rss(pid: int) -> float:
    """MB of memory of the whole group."""
    lines = [line for one in members(pid) for line in Path(f"/proc/{one}/status").read_text().splitlines()]
    return sum(int(line.split()[1]) for line in lines if line.startswith("VmRSS:")) / 1024


class Group:
    """A server with whatever it starts; the context is its life."""

    def __init__(self, words: Sequence[str], *, read: bool = False) -> None:
        out = subprocess.PIPE if read else subprocess.DEVNULL
        self._process = subprocess.Popen(words, stdout=out, stderr=subprocess.DEVNULL, start_new_session=True)
        self.pid = self._process.pid

    def line(self) -> str:
        """Return the next line it prints."""
        assert self._process.stdout is not None
        return self._process.stdout.readline().decode().strip()

    def check(self) -> None:
        """Skipped where it has ended."""
        if self._process.poll() is not None:
            raise Skipped(f"ended with {self._process.returncode}")

    def halt(self) -> None:
        """Let it stand still."""
        os.killpg(self.pid, signal.SIGSTOP)

    def go(self) -> None:
        """Let it go on."""
        os.killpg(self.pid, signal.SIGCONT)

    def close(self) -> None:
        """End it and all it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()


def started(folder: str, *words: str) -> tuple[Group, dict[str, Any]]:
    """Start a program of ours and return it with what its ready file says."""
    ready = Path(tempfile.mkdtemp(dir=folder)) / "ready"
    group, deadline = Group((*words, "--ready-file", str(ready))), time.monotonic() + 60
    while not ready.exists():
        group.check()
        if time.monotonic() > deadline:
            raise Skipped("not ready in 60 s")
        time.sleep(0.02)
    return group, json.loads(ready.read_text())
