"""A serial port or a pty, answered by a thread; silence is the time-out of its wait for bytes.

Rule: a frame is answered when it is whole: on a device after 3.5 characters of silence, on a pty at once
unless it is paced. A paced pty goes through modbus/line/cable.py, where bytes take time and are disturbed.
"""

from __future__ import annotations

import heapq
import os
import select
import threading
import time
import traceback
import tty
from typing import Final

import serial

from countis.modbus import pdu, rtu
from countis.modbus.line.answer import Answer
from countis.modbus.line.cable import LineModel
from countis.serve.answering import Answering
from countis.words.errors import BusError

_WAKE: Final = 0.2  # s between looks at whether to stop, on a quiet line
_CHUNK: Final = 4096
_SELECTABLE: Final = 1024  # files below it are known to `select`
_AGAIN: Final = 1.0  # s between attempts to find an adapter that is gone
_SPIN: Final = 0.00015  # s before its time at which waiting becomes looking at the clock
_MASTER, _METERS = 0, 1  # stations of the modelled line


class SerialPort:
    """One line. path: `pty` or a device. keep_silence: 3.5 characters before a reply. line: paces a pty.

    Everything in it belongs to its thread; others call start, stop and close, and `_stop` alone is shared.
    """

    def __init__(
        self, answering: Answering, path: str, *, keep_silence: bool = False, line: LineModel | None = None
    ) -> None:
        self._answering, self._path, self._line = answering, path, line
        self.keep_silence = keep_silence or path != "pty" or line is not None
        self._stop = threading.Event()
        self._port: serial.Serial | None = None
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)  # ends the wait for bytes
        self._waiting: list[tuple[float, int, bytes]] = []  # replies by the time they are due
        self._order = 0
        self._echo = b""  # what an adapter that echoes is about to give back
        self._echo_until = 0.0
        self._echoes: bool | None = None  # whether it does; None before a reply that can be no request
        self._free_at = 0  # line time at which the modelled line is free
        if path == "pty":
            self._fd, self._slave = os.openpty()  # its end stays open, so that clients may come and go
            tty.setraw(self._slave)
            self.name = os.ttyname(self._slave)
            self._listen()
        else:
            self.name = path
            self._open_device()
        self._thread = threading.Thread(target=self._answer, name=f"line {self.name}", daemon=True)

    def _open_device(self) -> None:
        """Open the device at the speed of the line; BusError where it cannot be."""
        baud, parity, stop_bits = self._speed = self._answering.speed
        try:
            self._port = serial.Serial(
                self._path, baud, parity=parity, stopbits=stop_bits, timeout=0, exclusive=True
            )
        except (OSError, ValueError) as error:
            number = getattr(error, "errno", None)
            reason = os.strerror(number) if number else str(error)
            raise BusError(f"--serial {self._path}", reason, "pty, a serial device, none") from None
        self._fd = self._port.fileno()
        self._listen()

    def _listen(self) -> None:
        os.set_blocking(self._fd, False)
        self._poll, self._room = select.poll(), select.poll()
        self._poll.register(self._fd, select.POLLIN)
        self._poll.register(self._wake, select.POLLIN)
        self._room.register(self._fd, select.POLLOUT)

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def _silence(self) -> float:
        speed = self._answering.speed
        return rtu.silence_ns(speed.baud, speed.bits) / 1e9

    def _answer(self) -> None:
        framer = rtu.SlaveFramer(self._answering.addresses())
        while not self._stop.is_set():
            try:
                self._follow_settings()
                self._turn(framer)
            except BlockingIOError:
                continue
            except (OSError, serial.SerialException):
                if self._port is None or not self._find_again():
                    return
                framer = rtu.SlaveFramer(self._answering.addresses())
            except Exception:  # a fault of ours costs a frame, not the line
                traceback.print_exc()
                framer = rtu.SlaveFramer(self._answering.addresses())

    def _turn(self, framer: rtu.SlaveFramer) -> None:
        """Wait for bytes, silence or the time of a late reply, and act on what comes first."""
        if self._bytes_come(framer):
            data = os.read(self._fd, _CHUNK)
            if not data:
                raise OSError("hung up")
            arrived = time.monotonic_ns()
            self._take(framer, self._without_echo(self._through_line(data)), arrived)
        elif framer.waiting:
            for frame in framer.silence():
                self._queue(self._answering.rtu(frame), time.monotonic_ns())
        if self._waiting:
            now = time.monotonic()
            while self._waiting and self._waiting[0][0] <= now:
                self._write(heapq.heappop(self._waiting)[2])

    def _take(self, framer: rtu.SlaveFramer, data: bytes, arrived: int) -> None:
        """Answer what bytes complete; a frame whose reply is cached is not looked into."""
        if not data:
            return
        if not framer.waiting:
            reply = self._answering.rtu_cached(data)
            if reply is not None:
                self._queue(Answer(0, reply), arrived)
                return
            framer.addresses = self._answering.addresses()
        for frame in framer.receive(data):
            self._queue(self._answering.rtu(frame), arrived)

    def _bytes_come(self, framer: rtu.SlaveFramer) -> bool:
        """Wait for bytes, not beyond the silence and the next late reply; its last moment is spent here."""
        if not (framer.waiting or self._waiting):
            return bool(self._poll.poll(_WAKE * 1000))
        patience = self._silence() if framer.waiting else _WAKE
        if self._waiting:
            left = self._waiting[0][0] - time.monotonic()
            if left <= _SPIN:
                while time.monotonic() < self._waiting[0][0]:
                    pass
                left = _SPIN
            patience = min(patience, left - _SPIN)
        return self._ready(self._poll, patience)

    def _ready(self, poll: select.poll, seconds: float) -> bool:
        """Wait to the µs where `select` can, which knows files up to 1023, else to the ms."""
        if self._fd >= _SELECTABLE:
            return bool(poll.poll(seconds * 1000))
        reading = poll is self._poll
        return any(select.select([self._fd] if reading else [], [] if reading else [self._fd], [], seconds))

    def _queue(self, answer: Answer, arrived: int) -> None:
        """Send a reply, or let it wait for its delay and for the silence since the request arrived, in ns."""
        if not answer.data:
            return
        if self._line is not None:
            self._queue_on_line(self._line, answer)
            return
        wait = answer.delay_ns + (self._silence() * 1e9 if self.keep_silence else 0.0)
        if wait == 0 and not self._waiting:
            self._write(answer.data)
        else:
            self._send_at(arrived + round(wait), answer.data)

    def _send_at(self, at: int, data: bytes) -> None:
        """Let bytes wait until a time in monotonic ns."""
        self._order += 1
        heapq.heappush(self._waiting, (at / 1e9, self._order, data))

    # the modelled line

    def _through_line(self, data: bytes) -> bytes:
        """Let the master's bytes take their time on the modelled line; return those that reach the meters."""
        line = self._line
        if line is None:
            return data
        start = max(time.monotonic_ns(), self._free_at)
        end = self._free_at = line.send(_MASTER, data, start)
        received = line.received(_METERS, start, end)
        if line.cable.echo:
            self._send_at(end, bytes(byte.value for byte in line.received(_MASTER, start, end)))
        line.forget(start - line.silence_ns)
        while (left := end - time.monotonic_ns()) > 0 and not self._stop.wait(max(0.0, left / 1e9 - _SPIN)):
            pass  # the last moment is spent looking at the clock, since waiting is not so exact
        return bytes(byte.value for byte in received if not byte.spoilt)

    def _queue_on_line(self, line: LineModel, answer: Answer) -> None:
        """Let a reply go out over the modelled line: after silence, at its speed, as the master hears it."""
        start = max(time.monotonic_ns(), self._free_at) + line.silence_ns + answer.delay_ns
        end = self._free_at = line.send(_METERS, answer.data, start)
        received = bytes(byte.value for byte in line.received(_MASTER, start, end))
        line.forget(start)
        self._send_at(end, received)

    # adapters

    def _without_echo(self, data: bytes) -> bytes:
        """Take away our own reply where the adapter gives it back.

        Known from a reply that can be no request; until there was one, from bytes that arrived too soon.
        """
        if not self._echo:
            return data
        sent, known = self._echo, self._echoes
        common = min(len(sent), len(data))
        same = data[:common] == sent[:common]
        if known is None:
            no_request = common > 2 and (sent[1] == pdu.READ or sent[1] & pdu.ERROR != 0)
            too_soon = self._port is not None and time.monotonic() < self._echo_until
            known = same and (no_request or too_soon)
            self._echoes = known if no_request else None
        if not (known and same):
            self._echo = b""
            return data
        self._echo = sent[common:]
        return data[common:]

    def _follow_settings(self) -> None:
        """Let the device follow a speed that was changed by keys."""
        if self._port is not None and self._answering.speed != self._speed:
            self._speed = self._answering.speed
            self._port.baudrate, self._port.parity, self._port.stopbits = self._speed

    def _find_again(self) -> bool:
        """Wait until an adapter that is gone is there again; False when asked to stop."""
        trouble = f"{self.name} is gone"
        self._answering.report(trouble)
        if self._port is not None:
            self._port.close()
        while not self._stop.wait(_AGAIN):
            try:
                self._open_device()
            except BusError:
                continue
            self._answering.report(trouble, over=True)
            self._waiting.clear()
            self._echo, self._echoes = b"", None
            return True
        return False

    def _write(self, reply: bytes) -> None:
        """Write a reply; what a line that nobody reads does not take is lost, as on a real one."""
        if self._line is None and self._echoes is not False:
            self._echo = reply
            if self._port is not None:
                speed = self._answering.speed
                on_line = (len(reply) + 8) * speed.bits / speed.baud
                self._echo_until = time.monotonic() + on_line + self._silence()
        while reply and not self._stop.is_set():
            try:
                reply = reply[os.write(self._fd, reply) :]
            except BlockingIOError:
                if not self._ready(self._room, _WAKE):
                    return

    def stop(self) -> None:
        """Ask the thread to end."""
        self._stop.set()
        os.eventfd_write(self._wake, 1)

    def close(self) -> None:
        """Stop answering and close the port."""
        self.stop()
        if self._thread.ident is not None:
            self._thread.join()
        if self._port is not None:
            self._port.close()
        else:
            os.close(self._fd)
            os.close(self._slave)
        os.close(self._wake)
