"""The memory of one meter on disk.

Rule: one owner at a time; a new file appears whole or not at all; the writes of one call are synced together.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import time
from pathlib import Path

from countis.meter.memory.image import Write
from countis.words.errors import MemoryImageError

_LIBC = ctypes.CDLL(None, use_errno=True)


class MemoryFile:
    """`DIR/meter.fram`, held by this process through a lock on `DIR/owner`.

    Raises MemoryImageError where the folder cannot be used or another process owns it.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / "meter.fram"
        self._folder = folder
        self._file: int | None = None
        try:
            folder.mkdir(mode=0o755, parents=True, exist_ok=True)
            self._owner = os.open(folder / "owner", os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise MemoryImageError(folder, str(error.strerror), "a folder that can be written") from None
        try:
            fcntl.flock(self._owner, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(self._owner, 0)
            os.pwrite(self._owner, f"{os.getpid()}\n".encode(), 0)
        except BlockingIOError:
            pid = os.read(self._owner, 32).decode("ascii", "replace").strip() or "unknown"
            os.close(self._owner)
            raise MemoryImageError(folder, f"in use by process {pid}", "one owner, or another --data") from None
        except OSError as error:
            os.close(self._owner)
            raise MemoryImageError(folder, str(error.strerror), "a disk that takes writes") from None

    def read(self) -> bytes | None:
        """Return the image, None where there is none yet."""
        try:
            return self.path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise MemoryImageError(self.path, str(error.strerror), "a file that can be read") from None

    def age_ns(self) -> int:
        """Return how long ago the memory was last written."""
        return max(0, time.time_ns() - self.path.stat().st_mtime_ns)

    def create(self, image: bytes) -> None:
        """Make the file: written beside, synced, renamed, the folder synced too."""
        try:
            fresh = self.path.with_suffix(".new")
            with open(fresh, "wb", opener=lambda path, flags: os.open(path, flags, 0o644)) as file:
                file.write(image)
                file.flush()
                os.fsync(file.fileno())
            os.rename(fresh, self.path)
            directory = os.open(self._folder, os.O_RDONLY)
            os.fsync(directory)
            os.close(directory)
        except OSError as error:
            raise MemoryImageError(self.path, str(error.strerror), "a folder that can be written") from None

    def write(self, writes: list[Write], *, sync: bool = True) -> None:
        """Carry out writes in order, and sync them; MemoryImageError if the disk does not take them."""
        try:
            if self._file is None:
                self._file = os.open(self.path, os.O_WRONLY)
            for offset, data in writes:
                done = 0
                while done < len(data):
                    done += os.pwrite(self._file, data[done:], offset + done)
        except OSError as error:
            raise MemoryImageError(self.path, str(error.strerror), "a disk that takes writes") from None
        if sync:
            self.sync()

    def sync(self) -> None:
        """Wait until what was written is on the disk."""
        try:
            if self._file is not None:
                os.fdatasync(self._file)
        except OSError as error:
            raise MemoryImageError(self.path, str(error.strerror), "a disk that takes writes") from None

    def sync_with_others(self) -> None:
        """Sync everything on the disk of this memory: one call for the memories of many meters (syncfs)."""
        if self._file is not None and _LIBC.syncfs(self._file) != 0:
            raise MemoryImageError(
                self.path, str(os.strerror(ctypes.get_errno())), "a disk that takes writes"
            )

    def close(self) -> None:
        """Let go of the memory; MemoryImageError if the disk tells only now that it did not take it."""
        file, self._file = self._file, None
        try:
            if file is not None:
                os.close(file)
        except OSError as error:
            raise MemoryImageError(self.path, str(error.strerror), "a disk that takes writes") from None
        finally:
            os.close(self._owner)
