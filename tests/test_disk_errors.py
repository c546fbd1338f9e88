"""A disk that fails under a real host: one line says so, exit code 2, and what was last synced is there at the next start."""

from __future__ import annotations

import ctypes
import errno
import itertools
import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from countis.__main__ import main
from countis.host.running import memory_file
from countis.host.running.memory_file import MemoryFile
from countis.host.running.runner import Runner
from countis.meter.energy.increment import Ints
from countis.meter.energy.registers import Layout
from countis.meter.memory.image import PAGE, read

from running import start

GROWS = np.r_[Layout.counters, Layout.partials, Layout.hours, Layout.time, Layout.records]
PATIENCE = 60.0
ROUNDS = 3  # that a disk takes before it fails
SITE = """
[[line]]
target = "tcp://127.0.0.1:0"
[[line.meter]]
address = 5
name = "a"
[[line.meter]]
address = 6
name = "b"
"""


def fram(folder: Path, name: str = "") -> Path:
    return folder / "data" / name / "meter.fram"


def counted(image: bytes) -> Ints:
    return read(image).row[GROWS]


class Disk:
    """Real calls of the kernel, until they are told to fail with `number`; remembers what was synced last."""

    def __init__(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.path, self.synced, self.rounds, self.number = path, b"", 0, 0
        self.pwrite, self.fdatasync, self.close = os.pwrite, os.fdatasync, os.close
        self.patch = monkeypatch.setattr
        self.patch(os, "fdatasync", self._sync)

    def _is_memory(self, file: int) -> bool:
        return os.readlink(f"/proc/self/fd/{file}") == str(self.path)

    def _sync(self, file: int) -> None:
        self.fdatasync(file)
        self.synced, self.rounds = self.path.read_bytes(), self.rounds + 1

    def after(self, rounds: int, name: str, number: int, first: Callable[..., object] | None = None) -> None:
        """Let the call `name` on the memory fail once so many rounds are synced, after `first` was done."""
        real = getattr(os, name)

        def call(file: int, *rest: Any) -> Any:
            if self.rounds < rounds or not self._is_memory(file):
                return real(file, *rest)
            if first is not None:
                first(file, *rest)
            raise OSError(number, os.strerror(number))

        self.patch(os, name, call)


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(fram(tmp_path), monkeypatch)


@pytest.fixture(autouse=True)
def switching() -> Iterator[None]:
    """Hosts in this process change how often its threads take turns."""
    interval = sys.getswitchinterval()
    yield
    sys.setswitchinterval(interval)


def host(folder: Path, monkeypatch: pytest.MonkeyPatch, *verb: str, seconds: float = PATIENCE) -> int:
    """Run a host in this process to its end, a SIGTERM after so many seconds of readiness; return its exit code."""
    ready, over = folder / "ready.json", threading.Event()
    ready.unlink(missing_ok=True)

    def end() -> None:
        while not ready.exists() and not over.wait(0.01):
            pass
        if not over.wait(seconds):
            os.kill(os.getpid(), signal.SIGTERM)

    flags = ("--data", str(folder / "data"), "--ready-file", str(ready), "--web", "none", "--speed", "100")
    monkeypatch.setattr(sys, "argv", ["countis", *(verb or ("run", "--tcp", "none", "--serial", "none")), *flags])
    stopper = threading.Thread(target=end)
    stopper.start()
    try:
        return main()
    finally:
        over.set()
        stopper.join()


def one_line(err: str, *parts: str) -> None:
    """One line for people, and nothing else."""
    assert err.startswith("countis: ")
    assert (err.count("\n"), err.endswith(")\n")) == (1, True), err
    for part in (*parts, "(allowed: "):
        assert part in err


def goes_on(folder: Path, floor: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """The memory can be loaded, has lost nothing of what was synced, and the meter starts again and counts."""
    left = counted(fram(folder).read_bytes())
    assert (left >= counted(floor)).all()
    monkeypatch.undo()
    with pytest.MonkeyPatch.context() as patch:
        assert host(folder, patch, seconds=0.1) == 0
    now = counted(fram(folder).read_bytes())
    assert (now >= left).all()
    assert (now > left).any()


def half(file: int, data: bytes, offset: int) -> None:
    """What a full disk may still take of a page."""
    os.pwritev(file, [data[: len(data) // 2]], offset)


@pytest.mark.parametrize(("call", "number", "first"), [
    ("pwrite", errno.ENOSPC, None), ("pwrite", errno.ENOSPC, half), ("pwrite", errno.EIO, None), ("pwrite", errno.EIO, half),
    ("fdatasync", errno.EIO, None), ("fdatasync", errno.ENOSPC, None),
])  # fmt: skip
def test_a_disk_that_fails_while_it_counts(call: str, number: int, first: Callable[..., object] | None, disk: Disk,
                                           tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                           capfd: pytest.CaptureFixture[str]) -> None:  # fmt: skip
    disk.after(ROUNDS, call, number, first)
    assert host(tmp_path, monkeypatch) == 2
    one_line(capfd.readouterr().err, str(disk.path), os.strerror(number))
    assert (counted(disk.synced) > 0).any()
    goes_on(tmp_path, disk.synced, monkeypatch)


@pytest.mark.parametrize("call", ["pwrite", "fdatasync"])
def test_a_disk_that_fails_at_the_last_round(call: str, disk: Disk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                             capfd: pytest.CaptureFixture[str]) -> None:  # fmt: skip
    stop = Runner.stop

    def failing_stop(runner: Runner) -> None:
        disk.after(0, call, errno.EIO)
        stop(runner)

    monkeypatch.setattr(Runner, "stop", failing_stop)
    assert host(tmp_path, monkeypatch, seconds=0.6) == 2
    one_line(capfd.readouterr().err, str(disk.path), os.strerror(errno.EIO))
    goes_on(tmp_path, disk.synced, monkeypatch)


def test_a_disk_that_takes_a_page_in_pieces(disk: Disk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = itertools.cycle((1, PAGE // 4))
    monkeypatch.setattr(os, "pwrite", lambda file, data, offset: disk.pwrite(file, data[: next(sizes)], offset))
    assert host(tmp_path, monkeypatch, seconds=0.6) == 0
    assert disk.rounds > 1
    assert (counted(disk.synced) > 0).any()
    goes_on(tmp_path, disk.synced, monkeypatch)


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC])
def test_a_disk_that_does_not_take_a_new_memory(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                capfd: pytest.CaptureFixture[str]) -> None:  # fmt: skip
    def fsync(file: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fsync)
    assert host(tmp_path, monkeypatch) == 2
    one_line(capfd.readouterr().err, str(fram(tmp_path)), os.strerror(number))
    assert not fram(tmp_path).exists()
    monkeypatch.undo()
    with pytest.MonkeyPatch.context() as patch:
        assert host(tmp_path, patch, seconds=0.1) == 0
    assert (counted(fram(tmp_path).read_bytes()) > 0).any()


@pytest.mark.parametrize(("name", "told"), [("owner", "data"), ("meter.fram", "data/meter.fram")])
def test_a_file_system_that_is_read_only(name: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                         capfd: pytest.CaptureFixture[str]) -> None:  # fmt: skip
    assert host(tmp_path, monkeypatch, seconds=0.1) == 0
    capfd.readouterr()
    before, real = fram(tmp_path).read_bytes(), os.open

    def read_only(path: Any, flags: int, *rest: Any, **more: Any) -> int:
        if str(path).endswith(name) and flags & (os.O_WRONLY | os.O_RDWR):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        return real(path, flags, *rest, **more)

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", read_only)
        assert host(tmp_path, patch) == 2
    one_line(capfd.readouterr().err, f"{tmp_path}/{told}: ", os.strerror(errno.EROFS))
    assert fram(tmp_path).read_bytes() == before
    goes_on(tmp_path, before, monkeypatch)


def test_a_memory_that_another_process_owns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                            capfd: pytest.CaptureFixture[str]) -> None:  # fmt: skip
    assert host(tmp_path, monkeypatch, seconds=0.1) == 0
    capfd.readouterr()
    before, owner = fram(tmp_path).read_bytes(), MemoryFile(tmp_path / "data")
    assert host(tmp_path, monkeypatch) == 2
    one_line(capfd.readouterr().err, f"{tmp_path}/data: in use by process {os.getpid()} ")
    assert fram(tmp_path).read_bytes() == before
    owner.close()
    goes_on(tmp_path, before, monkeypatch)


class _Libc:
    """A C library whose syncfs fails after some rounds."""

    def __init__(self, after: int) -> None:
        self.left = after

    def syncfs(self, file: int) -> int:
        self.left -= 1
        ctypes.set_errno(errno.EIO)
        return 0 if self.left >= 0 else -1


@pytest.mark.parametrize("call", ["pwrite", "syncfs"])
def test_a_bus_whose_disk_fails_keeps_all_memories(call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                   capfd: pytest.CaptureFixture[str]) -> None:  # fmt: skip
    site = tmp_path / "site.toml"
    site.write_text(SITE)
    assert host(tmp_path, monkeypatch, "bus", str(site), seconds=0.6) == 0
    assert capfd.readouterr().err == ""
    before = {name: counted(fram(tmp_path, name).read_bytes()) for name in "ab"}
    with monkeypatch.context() as patch:
        if call == "pwrite":
            Disk(fram(tmp_path, "b"), patch).after(0, "pwrite", errno.ENOSPC, half)
        else:
            patch.setattr(memory_file, "_LIBC", _Libc(ROUNDS))  # the common sync fails: each is synced by itself
        assert host(tmp_path, patch, "bus", str(site), seconds=2.0) == (2 if call == "pwrite" else 0)
    if call == "pwrite":
        one_line(capfd.readouterr().err, "/meter.fram: ", os.strerror(errno.ENOSPC))
    for name, floor in before.items():
        assert (counted(fram(tmp_path, name).read_bytes()) >= floor).all(), name
    assert host(tmp_path, monkeypatch, "bus", str(site), seconds=0.1) == 0


def test_a_file_that_is_too_large_ends_the_command(tmp_path: Path) -> None:
    """The kernel itself refuses, under a limit that a real process is given while it runs."""
    running = start(tmp_path, "--serial", "none", "--speed", "100")
    deadline = time.monotonic() + PATIENCE
    while not (counted(fram(tmp_path).read_bytes()) > 0).any():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    _, hard = resource.prlimit(running.process.pid, resource.RLIMIT_FSIZE)
    before = fram(tmp_path).read_bytes()
    resource.prlimit(running.process.pid, resource.RLIMIT_FSIZE, (0, hard))
    _, err = running.process.communicate(timeout=PATIENCE)
    assert running.process.returncode == 2
    one_line(err, str(fram(tmp_path)), os.strerror(errno.EFBIG))
    assert (counted(fram(tmp_path).read_bytes()) >= counted(before)).all()


def test_a_close_that_fails_is_told_like_any_other_failure(disk: Disk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                           capfd: pytest.CaptureFixture[str]) -> None:  # fmt: skip
    """A network file system says at close what it could not keep."""
    disk.after(ROUNDS, "close", errno.EIO, disk.close)
    assert host(tmp_path, monkeypatch, seconds=1.0) == 2
    one_line(capfd.readouterr().err, str(disk.path), os.strerror(errno.EIO))
    goes_on(tmp_path, disk.synced, monkeypatch)
