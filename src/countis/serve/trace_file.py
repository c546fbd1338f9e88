"""`--trace FILE`: the frames on the ports in a file, as text or pcapng by its ending.

Rule: stands between the doors and who answers, so that each frame is kept once and as it leaves: silence,
faults and collisions too. Without a trace nothing stands there. What was flushed stays whole after a kill.
"""

from __future__ import annotations

import contextlib
import errno
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Final

from countis.modbus import rtu, tcp
from countis.modbus.line.answer import Answer
from countis.modbus.said import pcapng, trace
from countis.modbus.said.frames import Direction, Form, LineFrame, Port
from countis.modbus.said.trace import Tables
from countis.serve.answering import Answering, Speed
from countis.words.errors import SettingError, TraceError

_FLUSH: Final = 1.0  # s between flushes
_MOST: Final = 1000  # exchanges that may wait; then the one who speaks writes, and nothing is left out
_HEADER: Final = 6  # bytes of Modbus TCP before the unit


class TraceFile:
    """A file that frames are appended to. path: ends in .txt or .pcapng; what it holds already stays.

    tables: of the meters by unit id, to explain frames. report: called once, when the disk takes no more.
    The threads of all doors call `keep`, and may write; so does a thread of its own, each second.
    """

    def __init__(self, path: Path, tables: Tables, report: Callable[[str], None] = lambda text: None) -> None:
        forms = {form.value: form for form in Form}
        if path.suffix not in forms:
            allowed = f"a file that ends in {', '.join(forms)}"
            raise SettingError(f"--trace {path}", "of no known kind", allowed)
        self.path, self._form = path, forms[path.suffix]
        self._tables, self._report = tables, report
        self._waiting: deque[tuple[LineFrame, ...]] = deque()  # exchanges; appending needs no lock
        self._writing = threading.Lock()  # guards the file, its size, `_ended`, and the order of writes
        self._ended = False
        self._stop = threading.Event()
        try:
            self._size = self._size_there() if path.exists() else 0
            self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o666)
            os.ftruncate(self._fd, self._size)
        except OSError as error:
            raise TraceError(f"--trace {path}", error.strerror, "a file that can be written") from None
        self._append(trace.head(self._form))
        self._thread = threading.Thread(target=self._follow, name="trace", daemon=True)
        self._thread.start()

    def _size_there(self) -> int:
        """Return the size of what is there, without a frame that a kill cut off; TraceError: no trace."""
        if not self.path.is_file():
            raise OSError(errno.EINVAL, "no plain file")
        data = self.path.read_bytes()
        size = trace.whole(data)
        try:
            if data[:4] and (self._form is Form.PCAPNG) != pcapng.is_pcapng(data):
                raise TraceError("", "something else")
            trace.read(data[:size])
        except TraceError as error:
            raise TraceError(f"--trace {self.path}", error, "a new file, or a trace that goes on") from None
        return size

    def keep(self, port: Port, asked_us: int, request: bytes, answer: bytes, delay_ns: int) -> None:
        """Keep a request and its reply as RTU frames; no bytes are silence."""
        asked = LineFrame(asked_us, port, Direction.REQUEST, request)
        replied_us = (time.time_ns() + delay_ns) // 1000
        replied = (LineFrame(replied_us, port, Direction.REPLY, answer),) if answer else ()
        self._waiting.append((asked, *replied))
        if len(self._waiting) >= _MOST:
            self.flush()

    def flush(self) -> None:
        """Write what waits."""
        with self._writing:
            frames: list[LineFrame] = []
            while self._waiting:
                frames += self._waiting.popleft()
            if frames and not self._ended:
                self._append(trace.write(self._form, frames, self._tables))

    def _append(self, data: bytes) -> None:
        """Write to the end; a disk that takes no more ends the trace with its last whole frame."""
        at = self._size
        try:
            while data:
                written = os.pwrite(self._fd, data, at)
                data, at = data[written:], at + written
            self._size = at
        except OSError as error:
            self._ended = True
            self._report(f"trace ended: {error.strerror}")
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


class Traced:
    """Who answers, with every frame of it kept in a file; an `Answering` before another."""

    def __init__(self, inner: Answering, file: TraceFile) -> None:
        self._inner, self._file = inner, file
        self.addresses, self.report = inner.addresses, inner.report

    @property
    def speed(self) -> Speed:
        """How fast the serial line is."""
        return self._inner.speed

    def rtu(self, frame: bytes) -> Answer:
        """Answer an RTU frame, and keep both."""
        asked_us = _now_us()
        answer = self._inner.rtu(frame)
        self._file.keep(Port.RTU, asked_us, frame, answer.data, answer.delay_ns)
        return answer

    def tcp(self, envelope: tcp.Envelope) -> Answer:
        """Answer a TCP request, and keep both."""
        asked_us = _now_us()
        answer = self._inner.tcp(envelope)
        reply = _as_rtu(answer.data) if answer.data else b""
        self._file.keep(Port.TCP, asked_us, rtu.frame(envelope.unit, envelope.pdu), reply, answer.delay_ns)
        return answer

    def tcp_cached(self, request: bytes) -> bytes | None:
        """Return a reply that needs nobody, and keep both."""
        asked_us = _now_us()
        reply = self._inner.tcp_cached(request)
        if reply is not None:
            self._file.keep(Port.TCP, asked_us, _as_rtu(request), _as_rtu(reply), 0)
        return reply

    def rtu_cached(self, frame: bytes) -> bytes | None:
        """Return a reply that needs nobody, and keep both."""
        asked_us = _now_us()
        reply = self._inner.rtu_cached(frame)
        if reply is not None:
            self._file.keep(Port.RTU, asked_us, frame, reply, 0)
        return reply


def _now_us() -> int:
    return time.time_ns() // 1000


def _as_rtu(whole: bytes) -> bytes:
    """Return the request or reply of a TCP frame as an RTU frame."""
    return rtu.frame(whole[_HEADER], whole[_HEADER + 1 :])
