"""Latency on a pty, for the bench of the line: what a slave adds to a bare one of the same master, in interleaved rounds."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
import tty
from collections import defaultdict
from collections.abc import Callable
from statistics import median

from bench import peers
from bench.group import COMMAND, HERE, Group, Skipped, compiled, started

ROUNDS = 5
REQUESTS = 300
GAP_US = 4000  # between a reply and the next request, more than anybody's silence
SETTLE = 0.4
UNIT, ADDRESS, COUNT = 5, 50514, 50
SILENCE_US = 1750.0  # 3.5 characters at 38400 baud
KEPT = "countis, silence kept"
Figures = dict[str, list[float]]
Slave = tuple[Group, str, int]  # the process, what the master opens, the file it inherits for that or -1


def quantile(values: list[float], share: float) -> float:
    """Return the value that `share` of them do not exceed."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def ask(pty: str, target: str, units: tuple[int, int], requests: int, seconds: float, gap_us: int,
        inherit: int = -1) -> tuple[list[float], list[str]]:  # fmt: skip
    """Read COUNT registers of units in turn; return latencies in µs, inf without a reply, and the bodies seen."""
    words = [str(w) for w in (pty, "ask", target, *units, ADDRESS, COUNT, requests, seconds, gap_us)]
    files = (inherit,) if inherit >= 0 else ()
    lines = subprocess.run(words, check=True, capture_output=True, text=True, pass_fds=files).stdout.splitlines()
    found = [float(line) / 1000 for line in lines if line[0] != "@"]
    return [us if us >= 0 else float("inf") for us in found], [line[2:] for line in lines if line[0] == "@"]


def slaves(folder: str, stack: contextlib.ExitStack) -> dict[str, Callable[[], Slave]]:
    """How each is started. Ours and one bare slave make their pty; peers, and the other bare one, open one of ours."""

    def on_pty(*words: str) -> Slave:
        master, slave = os.openpty()
        for fd in (master, slave):
            stack.callback(os.close, fd)
        tty.setraw(slave)
        return Group([os.ttyname(slave) if word == "PTY" else word for word in words]), f"fd:{master}", master

    def ours(*words: str) -> Slave:
        group, about = started(folder, *words)
        return group, str(about["serial"]), -1

    def bare() -> Slave:
        group = Group((compiled("pty", folder), "bare", "new", str(COUNT)), read=True)
        return group, group.line(), -1

    run = (COMMAND, "run", "--data", f"{folder}/rtu", "--tcp", "none", "--web", "none")
    return {
        "bare": bare,
        "countis": lambda: ours(*run),
        KEPT: lambda: ours(sys.executable, str(HERE / "kept.py"), f"{folder}/kept"),
        "bare on ours": lambda: on_pty(compiled("pty", folder), "bare", "PTY", str(COUNT)),
        "libmodbus": lambda: on_pty(compiled("libmodbus", folder, "libmodbus"), "rtu", "PTY", str(UNIT)),
        "pymodbus": lambda: on_pty(sys.executable, "-c", peers.PYMODBUS_RTU, "PTY"),
        "modbus-tk": lambda: on_pty(sys.executable, "-c", peers.MODBUS_TK_RTU, "PTY"),
    }


def answers(pty: str, slave: Slave) -> None:
    """Wait until it answers; Skipped where it does not."""
    group, target, inherit = slave
    for _ in range(15):
        group.check()
        if ask(pty, target, (UNIT, UNIT), 1, 2.0, 100_000, inherit)[0] != [float("inf")]:
            return
    group.check()
    raise Skipped("does not answer")


def latencies(folder: str, skipped: list[str]) -> dict[str, Figures]:
    """p50 and p99 of each round in µs, less those of the bare slave of the same round on the same kind of pty."""
    figures: dict[str, Figures] = defaultdict(lambda: {"p50": [], "p99": [], "missed": []})
    pty = compiled("pty", folder)
    with contextlib.ExitStack() as stack:
        there: dict[str, Slave] = {}
        for name, start in slaves(folder, stack).items():
            try:
                slave = start()
                stack.callback(slave[0].close)
                answers(pty, slave)
                slave[0].halt()
                there[name] = slave
            except Skipped as why:
                skipped.append(f"{name} (RTU): {why}")
        for _ in range(ROUNDS):
            for name, (group, target, inherit) in there.items():
                group.go()
                time.sleep(SETTLE)
                found, _ = ask(pty, target, (UNIT, UNIT), REQUESTS, 10.0, GAP_US, inherit)
                group.halt()
                figures[name]["p50"].append(quantile(found, 0.5))
                figures[name]["p99"].append(quantile(found, 0.99))
                figures[name]["missed"].append(sum(us == float("inf") for us in found))
    return dict(figures)


def show(figures: dict[str, Figures]) -> None:
    for name, rounds in figures.items():
        echo = figures["bare" if name.startswith("countis") else "bare on ours"]
        bare = name.startswith("bare")
        added = []
        for which in ("p50", "p99"):
            less = [us - (0.0 if bare else other) for us, other in zip(rounds[which], echo[which], strict=True)]
            less = [us - SILENCE_US for us in less] if name == KEPT else less
            added.append(f"{which} {median(less):7.0f} µs ({min(less):.0f}..{max(less):.0f})")
        what = "in all" if bare else "added, less t3.5" if name == KEPT else "added"
        missed = f", {sum(rounds['missed']):.0f} without a reply" if any(rounds["missed"]) else ""
        print(f"{name:22} {added[0]}  {added[1]} {what}{missed}")
