"""A host in this process, with clients that come and go: when it has stopped, nothing of it is left."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import os
import random
import signal
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvloop
from countis import Bus
from countis.__main__ import main
from countis.modbus import pdu, tcp
from websockets.sync.client import connect

pytestmark = pytest.mark.slow
WARM, LENGTH = 1.0, 20.0  # s that the host runs
PATIENCE = 60.0
KINDS = 7
SITE = """
[[line]]
target = "tcp://127.0.0.1:0"
[[line.meter]]
address = 5
[[line.meter]]
address = 6
name = "another"
[[line]]
target = "rtu+tcp://127.0.0.1:0"
[[line.meter]]
address = 7
name = "behind RTU"
[[line]]
target = "pty"
[[line.meter]]
address = 8
name = "on a line"
"""


def open_files() -> dict[str, str]:
    """Every descriptor of this process and what it is."""
    found = {}
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):
            found[name] = os.readlink(f"/proc/self/fd/{name}")
    return found


class Visitors:
    """Clients of one host from a thread of their own: polite, rude, and some that stay to its end."""

    def __init__(self, ready: Path, length: float) -> None:
        self.ready, self.length, self.came, self.failed = ready, length, 0, ""
        self.staying: list[socket.socket] = []
        self.over = threading.Event()  # there is no host to be stopped any more
        self.thread = threading.Thread(target=self._guarded, name="visitors")

    def _guarded(self) -> None:
        try:
            self._visit()
        except BaseException as error:
            self.failed = repr(error)
        if not self.over.is_set():
            os.kill(os.getpid(), signal.SIGTERM)

    def _visit(self) -> None:
        deadline = time.monotonic() + PATIENCE
        while not self.ready.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        about = json.loads(self.ready.read_text())
        chance, until = random.Random(1), time.monotonic() + self.length
        while time.monotonic() < until:
            self._one(chance.randrange(KINDS) if self.came >= KINDS else self.came, about, chance)
            self.came += 1
            time.sleep(chance.uniform(0.0, 0.05))
        self.staying.append(self._socket(about["tcp"], b"\x00\x01\x00\x00\x00\x06\x05"))

    @staticmethod
    def _socket(at: str, data: bytes) -> socket.socket:
        host, _, port = at.rpartition(":")
        line = socket.create_connection((host, int(port)), timeout=PATIENCE)
        line.sendall(data)
        return line

    def _one(self, kind: int, about: dict[str, Any], chance: random.Random) -> None:
        address = 5
        if kind == 0:  # reads and leaves
            with Bus.open(f"tcp://{about['tcp']}") as bus:
                assert bus[address].read("V1")["V1"] is not None
        elif kind == 1:  # half a request, then gone
            self._socket(about["tcp"], b"\x00\x01\x00\x00").close()
        elif kind == 2:  # asks and resets the connection before the answer
            line = self._socket(about["tcp"], tcp.wrap(1, address, pdu.read_request(50514, 2)))
            line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            line.close()
        elif kind == 3:  # noise on RTU over TCP
            self._socket(about["rtu_tcp"], chance.randbytes(40)).close()
        elif kind == 4:  # a page that is not read to its end
            self._socket(about["web"], b"GET /api/meters HTTP/1.1\r\nHost: " + about["web"].encode() + b"\r\n\r\n").close()
        elif kind == 5:  # a viewer that goes without a word
            with connect(f"ws://{about['web']}/api/meters/{address}/live") as viewer:
                viewer.recv(timeout=PATIENCE)
                viewer.socket.shutdown(socket.SHUT_RDWR)
        elif len(self.staying) < 20:  # says nothing and stays
            self.staying.append(self._socket(about["web" if self.came % 2 else "tcp"], b""))

    def leave(self) -> None:
        self.thread.join(PATIENCE)
        for line in self.staying:
            line.close()
        assert (self.failed, self.thread.is_alive()) == ("", False)


@pytest.fixture
def tasks(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Which tasks are left in the loop of a host when it says that it has ended."""
    left: list[str] = []
    interval = sys.getswitchinterval()
    original: Callable[..., int] = uvloop.run

    async def watched(work: Coroutine[Any, Any, int]) -> int:
        code = await work
        left.extend(repr(task) for task in asyncio.all_tasks() - {asyncio.current_task()})
        return code

    monkeypatch.setattr(uvloop, "run", lambda work: original(watched(work)))
    yield left
    sys.setswitchinterval(interval)


def hosted(folder: Path, words: list[str], length: float, monkeypatch: pytest.MonkeyPatch) -> int:
    """Run a host in this thread while visitors come and go; return how many came."""
    folder.mkdir()
    ready = folder / "ready.json"
    monkeypatch.setattr(sys, "argv", ["countis", *words, "--data", str(folder / "data"), "--ready-file", str(ready),
                                      "--web", "127.0.0.1:0"])  # fmt: skip
    visitors = Visitors(ready, length)
    visitors.thread.start()
    try:
        code = main()
    finally:
        visitors.over.set()
        visitors.leave()
    assert code == 0
    return visitors.came


@pytest.mark.parametrize("verb", ["run", "bus"])
def test_nothing_is_left_of_a_host(verb: str, tasks: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                   capfd: pytest.CaptureFixture[str]) -> None:  # fmt: skip
    site = tmp_path / "site.toml"
    site.write_text(SITE)
    words = ["bus", str(site)] if verb == "bus" else ["run", "--tcp", "127.0.0.1:0", "--rtu-tcp", "127.0.0.1:0"]
    hosted(tmp_path / "warm", words, WARM, monkeypatch)
    gc.collect()
    files, threads = open_files(), set(threading.enumerate())
    came = hosted(tmp_path / "long", words, LENGTH, monkeypatch)
    gc.collect()
    left = {name: what for name, what in open_files().items() if name not in files}
    with capfd.disabled():
        print(f"\ncountis {verb}: {came} clients came; {len(files)} files open before and {len(open_files())} after")
    assert (tasks, left, len(open_files())) == ([], {}, len(files))
    assert set(threading.enumerate()) - threads == set()
    assert came > 50
