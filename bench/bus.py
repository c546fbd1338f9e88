"""Reply latency of a whole line: 50 registers of each address in turn, beside a bare slave in the same run.

`make bench-bus`, `python -m bench.bus [READY [LAST [SECONDS]]]`: READY is the ready file of a running `countis bus` or
`countis run`, whose pty is read, or its TCP port where it has no pty; without it a bus of 247 meters is started. Addresses
1..LAST (247), for SECONDS (60) in ten pieces with the bare one between.
"""

from __future__ import annotations

import json
import math
import sys
import tempfile
import time
from pathlib import Path

from bench.group import COMMAND, Group, compiled, cpu, free_port, rss, started
from bench.rtu import ask, quantile

PIECES = 10
GAP_US = {"serial": 4000, "tcp": 0}  # a line wants its silence
_MANY = 100_000_000
_COUNT = "50"


def bare_slave(folder: str, kind: str) -> tuple[Group, str]:
    """Start a slave that does nothing else, on a pty of its own or on TCP."""
    if kind == "serial":
        group = Group((compiled("pty", folder), "bare", "new", _COUNT), read=True)
        return group, group.line()
    port = free_port()
    group = Group((compiled("bare", folder), str(port), _COUNT))
    time.sleep(0.2)
    return group, f"tcp:{port}"


def measure(ready: Path, seconds: float = 60.0, last: int = 247) -> dict[str, float]:
    """Read a line for so long; print and return latencies in µs, share of a CPU, and memory."""
    about = json.loads(ready.read_text())
    kind = "serial" if about.get("serial") else "tcp"
    target = about["serial"] if kind == "serial" else "tcp:" + about["tcp"].rpartition(":")[2]
    line: list[float] = []
    bare: list[float] = []
    used = 0.0
    with tempfile.TemporaryDirectory() as folder:
        pty = compiled("pty", folder)
        group, other = bare_slave(folder, kind)
        try:
            for _ in range(PIECES):
                before = cpu(about["pid"])
                line += ask(pty, target, (1, last), _MANY, seconds / PIECES, GAP_US[kind])[0]
                used += cpu(about["pid"]) - before
                group.go()
                bare += ask(pty, other, (1, last), _MANY, seconds / PIECES / 4, GAP_US[kind])[0]
                group.halt()
        finally:
            group.close()
    return shown(line, bare, used / seconds, rss(about["pid"]))


def shown(line: list[float], bare: list[float], share: float, memory: float) -> dict[str, float]:
    """Print what was found, and return it."""
    found: dict[str, float] = {"CPU": share, "MB": memory}
    for name, values in (("line", line), ("bare", bare)):
        replies = [us for us in values if us < math.inf]
        found |= {f"{name} p{100 * q:g}": quantile(replies, q) for q in (0.5, 0.99, 0.999)}
        found |= {f"{name} requests": len(values), f"{name} missed": len(values) - len(replies)}
        text = "  ".join(f"p{100 * q:g} {found[f'{name} p{100 * q:g}']:.0f} µs" for q in (0.5, 0.99, 0.999))
        print(f"{name:6} {text}  of {len(values)} requests, {len(values) - len(replies)} without a reply")
    print(f"       {share:.1%} of a CPU, {memory:.0f} MB, the whole group")
    return found


def whole_bus() -> None:
    """Start 247 meters on one pty, each with its own supply and memory, and measure them."""
    meters = (f'[[line.meter]]\naddress = {a}\nserial_number = "S{a}"\n' for a in range(1, 248))
    with tempfile.TemporaryDirectory() as folder:
        site = Path(folder) / "site.toml"
        site.write_text('[[line]]\ntarget = "pty"\nbaud = 115200\n' + "".join(meters))
        group, about = started(folder, COMMAND, "bus", str(site), "--data", f"{folder}/data", "--web", "none")
        try:
            ready = Path(folder) / "ready.json"
            ready.write_text(json.dumps(about))
            measure(ready)
        finally:
            group.close()


def main() -> None:
    if len(sys.argv) < 2:
        whole_bus()
        return
    last = int(sys.argv[2]) if len(sys.argv) > 2 else 247
    measure(Path(sys.argv[1]), float(sys.argv[3]) if len(sys.argv) > 3 else 60.0, last)


if __name__ == "__main__":
    main()
