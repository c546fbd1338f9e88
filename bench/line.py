"""`make bench-line`: a meter beside other slaves on the same line, in interleaved rounds; the others stand still meanwhile.

Over TCP: requests per second, and CPU per request of the whole process group. On a pty: latency that the slave adds to that of
a bare one. Other programs share the machine: ratios are those of the same round, medians with their spread.
`python -m bench.line FILE` writes every round to FILE.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

from bench import peers, rtu
from bench.group import COMMAND, Group, Skipped, compiled, cpu, free_port, started
from countis import Bus

ROUNDS = 5
SECONDS = 1.0  # of each measure
SETTLE = 0.4  # s for a meter that stood still to catch up
UNIT = 5
CONNECTIONS = (1, 16)
READS = {2: 50514, 50: 50514, 125: 26368}  # count -> from which address: measurements, energies by tariff
OURS = "countis"
Figures = dict[str, list[float]]
Start = Callable[[str], tuple[Group, int]]


class Witness:
    """Another connection, which reads the same registers meanwhile and keeps what it saw and when."""

    def __init__(self, port: int, address: int, count: int) -> None:
        self._bus, self._what = Bus.open(f"tcp://127.0.0.1:{port}"), (address, count)
        self.seen: list[tuple[float, str]] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def look(self) -> None:
        words = self._bus.read_words(UNIT, *self._what)
        self.seen.append((time.monotonic(), "".join(f"{word:04x}" for word in words)))

    def _watch(self) -> None:
        while not self._stop.wait(0.04):
            self.look()

    def __enter__(self) -> Witness:
        self.look()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self.look()
        self._bus.close()

    def agrees(self, lines: list[str]) -> None:
        """Hold the replies of a load against it: what lasted, it has seen in the same second."""
        moments = [(float(at), body) for at, body in (line.split() for line in lines)]
        ends = [at for at, _ in moments[1:]] + [self.seen[-1][0]]
        for (at, body), end in zip(moments, ends, strict=True):
            if end - at > 0.2 and not any(at - 1.0 < when < end + 1.0 and body == other for when, other in self.seen):
                raise SystemExit(f"bench: the load was given at {at:.3f} what no other connection saw: {body}")


def hold_against_bus(port: int, load: str) -> None:
    """Hold replies to a load against what the library reads before and after, by symbol."""
    with Bus.open(f"tcp://127.0.0.1:{port}") as bus:
        for _ in range(5):
            before = bus[UNIT].read("U12", "I1", "f")
            moments = measure(load, port, 1, 50, 0.01)[2]
            after = bus[UNIT].read("U12", "I1", "f")
            if before == after and len(moments) == 1:  # all in one second
                body = bytes.fromhex(moments[0].split()[1])
                raw = [int.from_bytes(body[2 * k : 2 * k + 4], "big") for k in (0, 14, 12)]
                if [float(before[symbol] or 0) for symbol in ("U12", "I1", "f")] != [raw[0] / 100, raw[1] / 1000, raw[2] / 100]:
                    raise SystemExit(f"bench: replies {raw} are not {before}")
                return
    raise SystemExit("bench: no two reads within one second")


def measure(load: str, port: int, connections: int, count: int, seconds: float) -> tuple[float, int, list[str]]:
    """Load a server; return seconds, requests and the bodies that were seen."""
    words = (load, port, connections, 10_000_000, UNIT, READS[count], count, seconds)
    lines = subprocess.run([str(w) for w in words], check=True, capture_output=True, text=True).stdout.splitlines()
    took, answered = lines[0].split()
    return float(took), int(answered), lines[1:]


def tcp_servers(folder: str) -> dict[str, Start]:
    def ours(_: str) -> tuple[Group, int]:
        words = ("--data", f"{folder}/tcp", "--serial", "none", "--web", "none", "--tcp", "127.0.0.1:0")
        group, about = started(folder, COMMAND, "run", *words)
        return group, int(about["tcp"].rpartition(":")[2])

    def other(*words: str) -> tuple[Group, int]:
        port = free_port()
        return Group([str(port) if word == "PORT" else word for word in words]), port

    return {
        OURS: ours,
        "libmodbus": lambda f: other(compiled("libmodbus", f, "libmodbus"), "tcp", "PORT", str(UNIT)),
        "pymodbus": lambda _: other(sys.executable, "-c", peers.PYMODBUS_TCP, "PORT"),
        "bare C": lambda f: other(compiled("bare", f), "PORT", "0"),
    }


def answers(group: Group, port: int) -> None:
    """Wait until it answers; Skipped where it does not."""
    deadline = time.monotonic() + 30
    while True:
        group.check()
        with contextlib.suppress(Exception), Bus.open(f"tcp://127.0.0.1:{port}") as bus:
            bus.read_words(UNIT, READS[2], 2)
            return
        if time.monotonic() > deadline:
            raise Skipped("does not answer")
        time.sleep(0.1)


@contextlib.contextmanager
def running(folder: str, skipped: list[str]) -> Iterator[dict[str, tuple[Group, int]]]:
    """The servers that can be had, each standing still."""
    with contextlib.ExitStack() as stack:
        servers: dict[str, tuple[Group, int]] = {}
        for name, start in tcp_servers(folder).items():
            try:
                group, port = start(folder)
                stack.callback(group.close)
                answers(group, port)
                group.halt()
                servers[name] = group, port
            except Skipped as why:
                skipped.append(f"{name} (TCP): {why}")
        yield servers


def measured(name: str, group: Group, port: int, load: str, connections: int, count: int) -> tuple[float, float]:
    """Let a server go on for one measure; return requests per second, and µs of CPU for each."""
    group.go()
    time.sleep(SETTLE)
    if name == OURS:
        hold_against_bus(port, load)
    measure(load, port, connections, count, 0.1)
    with Witness(port, READS[count], count) if name == OURS else contextlib.nullcontext() as witness:
        used = cpu(group.pid)
        seconds, requests, moments = measure(load, port, connections, count, SECONDS)
        used = cpu(group.pid) - used
    group.halt()
    if witness is not None:
        witness.agrees(moments)
    return requests / seconds, 1e6 * used / requests


def over_tcp(folder: str, skipped: list[str]) -> Figures:
    """What is measured, of every round."""
    figures: Figures = defaultdict(list)
    load = compiled("load", folder)
    with running(folder, skipped) as servers:
        for _ in range(ROUNDS):
            for connections, count in itertools.product(CONNECTIONS, READS):
                for name, (group, port) in servers.items():
                    rate, used = measured(name, group, port, load, connections, count)
                    figures[f"{name} {connections} x {count}"].append(rate)
                    figures[f"{name} {connections} x {count}, CPU"].append(used)
    return dict(figures)


def ratio(figures: Figures, ours: str, other: str) -> str:
    """The median of the ratios of each round, and how far they lie apart."""
    found = [a / b for a, b in zip(figures[ours], figures[other], strict=True)]
    return f"{median(found):.2f} ({min(found):.2f}..{max(found):.2f})"


def show_tcp(figures: Figures) -> None:
    for connections, count in itertools.product(CONNECTIONS, READS):
        ours = f"{OURS} {connections} x {count}"
        for name in ("bare C", "pymodbus", "libmodbus", OURS):
            key = f"{name} {connections} x {count}"
            if key not in figures:
                continue
            text = f"{key:20} {median(figures[key]):8.0f} requests/s {median(figures[f'{key}, CPU']):7.1f} µs CPU"
            if name != OURS:
                text += f"   countis: {ratio(figures, ours, key)} x the rate"
                text += f", {ratio(figures, f'{ours}, CPU', f'{key}, CPU')} x the CPU"
            print(text, flush=True)


def main() -> None:
    skipped: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        tcp = over_tcp(folder, skipped)
        show_tcp(tcp)
        serial = rtu.latencies(folder, skipped)
        rtu.show(serial)
    for why in skipped:
        print(f"skipped    {why}")
    if len(sys.argv) > 1:
        Path(sys.argv[1]).write_text(json.dumps({"rounds": ROUNDS, "tcp": tcp, "rtu": serial, "skipped": skipped}, indent=1))


if __name__ == "__main__":
    main()
