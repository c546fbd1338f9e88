"""`--trace FILE`: keeps what is said on the ports in a file, as text or pcapng by its ending.

Rule: listens where the ports ask their hub, so that each frame is kept once and as it leaves: silence, faults and collisions
too. A hub without a trace is the plain one and does nothing for it. What is flushed each second stays whole after a kill.
"""

from __future__ import annotations

import contextlib
import errno
import os
import threading
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from countis.host.running.hub import Desk, Hub, Speed
from countis.modbus import rtu, tcp
from countis.modbus.line.faults import Answer
from countis.modbus.said import trace
from countis.modbus.said.trace import Direction, Form, Port, Said
from countis.words.errors import SettingError, TraceError

_FLUSH: Final = 1.0  # s between flushes
_MOST: Final = 1000  # exchanges that may wait; then the one who speaks writes, and nothing is left out
_HEADER: Final = 6  # bytes of Modbus TCP before the unit


class TraceFile:
    """A file that frames are appended to. path: ends in .txt or .pcapng; what it holds already stays."""

    def __init__(self, path: Path) -> None:
        forms = {form.value: form for form in Form}
        if path.suffix not in forms:
            raise SettingError(
                f"--trace {path}", "of no known kind", f"a file that ends in {', '.join(forms)}"
            )
        self.path, self._form = path, forms[path.suffix]
        self.status: list[list[str]] = []  # where it is told that the disk is full: in the first
        self._ended = False
        self._waiting: deque[tuple[Said, ...]] = deque()  # exchanges
        self._writing, self._stop = threading.Lock(), threading.Event()
        try:
            self._size = self._kept() if path.exists() else 0
            self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o666)
            os.ftruncate(self._fd, self._size)
        except OSError as error:
            raise TraceError(f"--trace {path}", str(error.strerror), "a file that can be written") from None
        self._append(trace.head(self._form))
        self._thread = threading.Thread(target=self._follow, name="trace", daemon=True)
        self._thread.start()

    def _kept(self) -> int:
        """Return the size of what is there, without a frame that a kill cut off; TraceError where it is no trace."""
        if not self.path.is_file():
            raise OSError(errno.EINVAL, "no plain file")
        data = self.path.read_bytes()
        size = trace.whole(data)
        try:
            if data[:4] and (self._form is Form.PCAPNG) != trace.is_pcapng(data):
                raise TraceError("", "something else")
            trace.read(data[:size])
        except TraceError as error:
            raise TraceError(f"--trace {self.path}", error, "a new file, or a trace that goes on") from None
        return size

    def keep(self, port: Port, asked_us: int, request: bytes, answer: bytes, delay_ns: int) -> None:
        """Keep a request and its reply as RTU frames; no bytes are silence."""
        asked = Said(asked_us, port, Direction.REQUEST, request)
        replied = (Said((time.time_ns() + delay_ns) // 1000, port, Direction.REPLY, answer),) if answer else ()
        self._waiting.append((asked, *replied))
        if len(self._waiting) >= _MOST:
            self.flush()

    def flush(self) -> None:
        """Write what waits."""
        with self._writing:
            said: list[Said] = []
            while self._waiting:
                said += self._waiting.popleft()
            if said and not self._ended:
                self._append(trace.write(self._form, said))

    def _append(self, data: bytes) -> None:
        """Write to the end; a disk that takes no more ends the trace with its last whole frame, and the meter goes on."""
        at = self._size
        try:
            while data:
                written = os.pwrite(self._fd, data, at)
                data, at = data[written:], at + written
            self._size = at
        except OSError as error:
            self._ended = True
            for troubles in self.status[:1]:
                troubles.append(f"trace ended: {error.strerror}")
            with contextlib.suppress(OSError):
                os.ftruncate(self._fd, self._size)

    def _follow(self) -> None:
        while not self._stop.wait(_FLUSH):
            self.flush()

    def close(self) -> None:
        """Write what waits, and end."""
        self._stop.set()
        self._thread.join()
        self.flush()
        self._ended = True
        os.close(self._fd)


class TracedHub(Hub):
    """A hub whose frames are kept."""

    def __init__(self, desks: Sequence[Desk], speed: Speed | None, file: TraceFile) -> None:
        super().__init__(desks, speed)
        self._file = file
        file.status.append(self.troubles)

    def rtu(self, frame: bytes) -> Answer:
        """Answer an RTU frame, and keep both."""
        asked = time.time_ns() // 1000
        answer = super().rtu(frame)
        self._file.keep(Port.RTU, asked, frame, answer.data, answer.delay_ns)
        return answer

    def tcp(self, envelope: tcp.Envelope) -> Answer:
        """Answer a TCP request, and keep both."""
        asked = time.time_ns() // 1000
        answer = super().tcp(envelope)
        reply = _as_rtu(answer.data) if answer.data else b""
        self._file.keep(Port.TCP, asked, rtu.frame(envelope.unit, envelope.pdu), reply, answer.delay_ns)
        return answer

    def tcp_at_hand(self, request: bytes) -> bytes | None:
        """Return a reply that is at hand, and keep both."""
        asked = time.time_ns() // 1000
        reply = super().tcp_at_hand(request)
        if reply is not None:
            self._file.keep(Port.TCP, asked, _as_rtu(request), _as_rtu(reply), 0)
        return reply

    def rtu_at_hand(self, frame: bytes) -> bytes | None:
        """Return a reply that is at hand, and keep both."""
        asked = time.time_ns() // 1000
        reply = super().rtu_at_hand(frame)
        if reply is not None:
            self._file.keep(Port.RTU, asked, frame, reply, 0)
        return reply


def _as_rtu(whole: bytes) -> bytes:
    """Return what is said in a TCP frame as an RTU frame."""
    return rtu.frame(whole[_HEADER], whole[_HEADER + 1 :])


def open_trace(stack: contextlib.AsyncExitStack, path: Path | None) -> TraceFile | None:
    """Open the file of `--trace`, if it is wanted; SettingError or TraceError where it cannot be."""
    if path is None:
        return None
    file = TraceFile(path)
    stack.callback(file.close)
    return file


def hub_of(desks: Sequence[Desk], file: TraceFile | None, speed: Speed | None = None) -> Hub:
    """Return the hub of a line, one that is kept where there is a file for it."""
    return Hub(desks, speed) if file is None else TracedHub(desks, speed, file)
