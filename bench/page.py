"""`make bench-page`: what viewers of the page cost, in interleaved rounds against the same meter without any.

CPU of the process with and without one viewer; and by how much the registers' second is late, with none and with 20 viewers.
Lateness is counted from the earliest of all strokes of a process, so that it needs no clock of the meter.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from countis.modbus import pdu, tcp
from websockets.asyncio.client import connect

COMMAND = str(Path(sys.executable).parent / "countis")
SECONDS = int(os.environ.get("SECONDS_EACH", "20"))
ROUNDS = 3
MANY = 20
READ = tcp.wrap(1, 5, pdu.read_request(50536, 12))  # powers, which wander each second
POLL = 0.002  # s between polls


def cpu(pid: int) -> float:
    """CPU seconds of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def watch(web: str) -> None:
    """Be a viewer: read everything, do nothing with it."""
    async with connect(f"ws://{web}/api/meters/5/live", max_size=None) as socket_:
        async for _ in socket_:
            pass


def strokes(address: str, seconds: float) -> list[float]:
    """Return the times at which the registers of power moved."""
    host, port = address.rsplit(":", 1)
    moved, last, until = [], b"", time.monotonic() + seconds
    with socket.create_connection((host, int(port))) as line:
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while (now := time.monotonic()) < until:
            line.sendall(READ)
            reply = line.recv(300)
            if last and reply != last:
                moved.append(now)
            last = reply
            time.sleep(POLL)
    return moved


async def measured(ready: dict[str, str], viewers: int, poll: bool) -> tuple[float, list[float]]:
    """Return the share of a core that the process took, and the strokes that were seen."""
    tasks = [asyncio.create_task(watch(ready["web"])) for _ in range(viewers)]
    await asyncio.sleep(1.0)
    before, began = cpu(int(ready["pid"])), time.monotonic()
    seen: list[float] = []
    if poll:
        seen = await asyncio.to_thread(strokes, ready["tcp"], SECONDS)
    else:
        await asyncio.sleep(SECONDS)
    share = (cpu(int(ready["pid"])) - before) / (time.monotonic() - began)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return share, seen


def late(seen: list[float], others: list[float]) -> list[float]:
    """Return by how many ms each stroke came after the earliest of its process, by their place in the second."""
    phases = [t % 1.0 for t in others]
    first = min(((p - phases[0] + 0.5) % 1.0 for p in phases), default=0.0)
    return sorted(1000.0 * ((t % 1.0 - phases[0] + 0.5) % 1.0 - first) for t in seen)


async def rounds(ready: dict[str, str]) -> None:
    shares: dict[int, list[float]] = {0: [], 1: []}
    seen: dict[int, list[float]] = {0: [], MANY: []}
    for _ in range(ROUNDS):
        for viewers in (0, 1):
            shares[viewers].append((await measured(ready, viewers, False))[0])
        for viewers in (0, MANY):
            seen[viewers] += (await measured(ready, viewers, True))[1]
    m = {viewers: median(values) for viewers, values in shares.items()}
    print(f"CPU of the process over {ROUNDS} x {SECONDS} s: {m[0]:.2%} of a core, with one viewer {m[1]:.2%}, "
          f"{m[1] - m[0]:.2%} more")  # fmt: skip
    everything = seen[0] + seen[MANY]
    for viewers, times in seen.items():
        ms = late(times, everything)
        print(f"registers' second with {viewers} viewers: {len(ms)} strokes, late by {ms[len(ms) // 2]:.1f} ms at the median, "
              f"{ms[int(0.99 * (len(ms) - 1))]:.1f} ms at p99")  # fmt: skip


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        ready = Path(folder) / "ready.json"
        ports = ("--tcp", "127.0.0.1:0", "--web", "127.0.0.1:0", "--serial", "none")
        flags = ("--data", folder, *ports, "--ready-file", str(ready))
        with subprocess.Popen((COMMAND, "run", *flags), stdout=subprocess.DEVNULL) as process:
            while not ready.exists():
                time.sleep(0.05)
            try:
                asyncio.run(rounds(json.loads(ready.read_text())))
            finally:
                process.terminate()


if __name__ == "__main__":
    main()
