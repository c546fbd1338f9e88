"""The memory of one meter on disk.

Rule: one owner at a time; a new file appears whole or not at all; the writes of one call are synced together.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from countis.meter.memory.image import Write
from countis.words.errors import MemoryImageError

_LIBC = ctypes.CDLL(None, use_errno=True)
_FOLDER: Final = "a folder that can be written"
_DISK: Final = "a disk that takes writes"


@contextlib.contextmanager
def _disk_errors(where: Path, allowed: str) -> Iterator[None]:
    """Let what the disk refuses in the block be a MemoryImageError."""
    try:
        yield
    except OSError as error:
        raise MemoryImageError(where, error.strerror, allowed) from None


class MemoryFile:
    """`DIR/meter.fram`, held by this process through a lock on `DIR/owner`.

    Raises MemoryImageError where the folder cannot be used or another process owns it. Not for two threads
    at once: while a meter runs, only the runner calls, under its lock for a round of writes.
    """

    def __init__(self, folder: Path) -> None:
        self.path, self._folder = folder / "meter.fram", folder
        self._file: int | None = None
        with _disk_errors(folder, _FOLDER):
            folder.mkdir(mode=0o755, parents=True, exist_ok=True)
            self._owner = os.open(folder / "owner", os.O_RDWR | os.O_CREAT, 0o644)
        with contextlib.ExitStack() as undo, _disk_errors(folder, _DISK):
            undo.callback(os.close, self._owner)
            try:
                fcntl.flock(self._owner, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                pid = os.read(self._owner, 32).decode("ascii", "replace").strip() or "unknown"
                wrong = f"in use by process {pid}"
                raise MemoryImageError(folder, wrong, "one owner, or another --data") from None
            os.ftruncate(self._owner, 0)
            os.pwrite(self._owner, f"{os.getpid()}\n".encode(), 0)
            undo.pop_all()

    def read(self) -> bytes | None:
        """Return the image, None where there is none yet."""
        with _disk_errors(self.path, "a file that can be read"):
            with contextlib.suppress(FileNotFoundError):
                return self.path.read_bytes()
            return None

    def age_ns(self) -> int:
        """Return how long ago the memory was last written."""
        return max(0, time.time_ns() - self.path.stat().st_mtime_ns)

    def create(self, image: bytes) -> None:
        """Make the file: written beside, synced, renamed, the folder synced too."""
        with _disk_errors(self.path, _FOLDER):
            fresh = self.path.with_suffix(".new")
            with open(fresh, "wb", opener=lambda path, flags: os.open(path, flags, 0o644)) as file:
                file.write(image)
                file.flush()
                os.fsync(file.fileno())
            os.rename(fresh, self.path)
            directory = os.open(self._folder, os.O_RDONLY)
            os.fsync(directory)
            os.close(directory)

    def write(self, writes: list[Write], *, sync: bool = True) -> None:
        """Carry out writes in order, and sync them; MemoryImageError if the disk does not take them."""
        with _disk_errors(self.path, _DISK):
            if self._file is None:
                self._file = os.open(self.path, os.O_WRONLY)
            for offset, data in writes:
                done = 0
                while done < len(data):
                    done += os.pwrite(self._file, data[done:], offset + done)
        if sync:
            self.sync()

    def sync(self) -> None:
        """Wait until what was written is on the disk."""
        if self._file is not None:
            with _disk_errors(self.path, _DISK):
                os.fdatasync(self._file)

    def sync_with_others(self) -> None:
        """Sync everything on the disk of this memory: one call for the memories of many meters (syncfs)."""
        if self._file is not None and _LIBC.syncfs(self._file) != 0:
            raise MemoryImageError(self.path, os.strerror(ctypes.get_errno()), _DISK)

    def close(self) -> None:
        """Let go of the memory; MemoryImageError if the disk tells only now that it did not take it."""
        file, self._file = self._file, None
        try:
            with _disk_errors(self.path, _DISK):
                if file is not None:
                    os.close(file)
        finally:
            os.close(self._owner)
