"""Where masters connect: Modbus TCP and RTU over TCP on asyncio, a serial port or pty on a thread of its own.

Rule: ports move bytes; framing is in modbus/, answers are the meter's, asked under its lock.
"""

from __future__ import annotations

import asyncio
import os
import select
import threading
import time
import tty
from collections import deque
from collections.abc import Callable
from typing import Final, NamedTuple, cast

import serial

from countis.errors import BusError
from countis.meter import Meter
from countis.modbus import pdu, rtu, tcp

_ANY_UNIT: Final = (0, 255)  # reach a single meter, whatever its address (decision 35)
_WAKE: Final = 0.2  # s between looks at whether to stop, on a quiet line
_CHUNK: Final = 4096
_AT_HAND: Final = 1000  # replies at most; a master asks for a few over and over


class Exchange(NamedTuple):
    """A request and its reply, both without their envelope: Unix time, port, unit, bytes."""

    time: float
    port: str
    unit: int
    request: bytes
    reply: bytes


class Desk:
    """The meter behind all ports: one request at a time, counted.

    Replies to reads over TCP stay at hand until anything of the meter moves. Only the loop's thread touches them; each is
    the whole of one moment, so that they are given out without the lock.
    """

    def __init__(self, meter: Meter, lock: threading.Lock) -> None:
        self.meter, self.lock = meter, lock
        self._worked_out = self._given_out = 0
        self._replies: dict[bytes, bytes] = {}  # request -> reply, both without the transaction
        self._moment = -1  # meter.changes when they were worked out
        self.troubles: list[str] = []  # ports that are gone, for the status line
        self.heard: deque[Exchange] | None = None  # what was said, while somebody listens

    def rtu(self, frame: bytes) -> bytes:
        """Answer an RTU frame."""
        with self.lock:
            self._worked_out += 1
            reply = self.meter.rtu(frame)
        if self.heard is not None:
            self.heard.append(Exchange(time.time(), "RTU", frame[0], frame[1:-2], reply[1:-2]))
        return reply

    def tcp(self, envelope: tcp.Envelope) -> bytes:
        """Answer a TCP request; another unit, or a meter without power, gets what a gateway would say."""
        with self.lock:
            self._worked_out += 1
            if self._moment != self.meter.changes or len(self._replies) > _AT_HAND:
                self._replies.clear()
                self._moment = self.meter.changes
            if envelope.unit not in (*_ANY_UNIT, self.meter.settings["address"]) or not self.meter.powered:
                reply = pdu.exception(envelope.pdu[0], pdu.Code.GATEWAY_TARGET)
            else:
                reply = self.meter.pdu(envelope.pdu)
        whole = tcp.wrap(envelope.transaction, envelope.unit, reply)
        if envelope.pdu[0] == pdu.READ:
            self._replies[tcp.wrap(0, envelope.unit, envelope.pdu)[2:]] = whole[2:]
        if self.heard is not None:
            self.heard.append(Exchange(time.time(), "TCP", envelope.unit, envelope.pdu, reply))
        return whole

    def at_hand(self, request: bytes) -> bytes | None:
        """Return the reply to a whole TCP request, if it is at hand."""
        reply = self._replies.get(request[2:])
        if reply is None or self._moment != self.meter.changes:
            return None
        self._given_out += 1
        self.meter.frames += 1
        if self.heard is not None:
            self.heard.append(Exchange(time.time(), "TCP", request[6], request[7:], reply[5:]))
        return request[:2] + reply

    @property
    def requests(self) -> int:
        """How many were answered."""
        return self._worked_out + self._given_out

    def address(self) -> int:
        """The address in force."""
        return int(self.meter.settings["address"])


class _Connection(asyncio.Protocol):
    """A client; while it does not take its replies, no more requests are read from it."""

    _transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def pause_writing(self) -> None:
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        if not self._transport.is_closing():
            self._transport.resume_reading()


class TcpPort(_Connection):
    """One connection of Modbus TCP."""

    def __init__(self, desk: Desk) -> None:
        self._desk, self._framer = desk, tcp.Framer()

    def data_received(self, data: bytes) -> None:
        reply = None if self._framer.waiting else self._desk.at_hand(data)
        if reply is not None:
            self._transport.write(reply)
            return
        replies = [self._desk.tcp(envelope) for envelope in self._framer.receive(data)]
        if replies:
            self._transport.write(b"".join(replies))
        if self._framer.broken:
            self._transport.close()


class RtuTcpPort(_Connection):
    """One connection of RTU over TCP: lengths alone part the frames."""

    def __init__(self, desk: Desk) -> None:
        self._desk, self._framer = desk, rtu.SlaveFramer(timed=False)

    def data_received(self, data: bytes) -> None:
        for frame in self._framer.receive(data):
            self._transport.write(self._desk.rtu(frame))
        if self._framer.broken:
            self._transport.close()


async def listen(kind: Callable[[Desk], asyncio.Protocol], desk: Desk, host: str, port: int, option: str) -> asyncio.Server:
    """Open a TCP port; BusError names the option where it cannot be opened."""
    try:
        return await asyncio.get_running_loop().create_server(lambda: kind(desk), host, port)
    except (OSError, UnicodeError) as error:
        number = getattr(error, "errno", None)
        reason = os.strerror(number) if number and number > 0 else str(error)
        raise BusError(f"{option} {host}:{port}: {reason} (allowed: a free port of this machine, 0 for any)") from None


class SerialPort:
    """A serial port or a pty, answered by a thread: blocking reads, and silence told by the time-out of `select`."""

    def __init__(self, desk: Desk, path: str) -> None:
        self._desk = desk
        self._stop = threading.Event()
        self._port: serial.Serial | None = None
        self._slave: int | None = None
        settings = desk.meter.settings
        if path == "pty":
            self._fd, self._slave = os.openpty()  # the slave's end stays open, so that clients may come and go
            tty.setraw(self._slave)
            self.name = os.ttyname(self._slave)
        else:
            try:
                self._port = serial.Serial(path, int(settings["baud"]), parity=str(settings["parity"]),
                                           stopbits=int(settings["stop_bits"]), timeout=0, exclusive=True)  # fmt: skip
            except (OSError, ValueError) as error:
                number = getattr(error, "errno", None)
                reason = os.strerror(number) if number else str(error)
                raise BusError(f"--serial {path}: {reason} (allowed: pty, a serial device, none)") from None
            self._fd, self.name = self._port.fileno(), path
        os.set_blocking(self._fd, False)
        self._thread = threading.Thread(target=self._answer, name=f"line {self.name}", daemon=True)

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def _silence(self) -> float:
        settings = self._desk.meter.settings
        bits = 9 + int(settings["stop_bits"]) + (settings["parity"] != "N")
        return rtu.silence_ns(int(settings["baud"]), bits) / 1e9

    def _answer(self) -> None:
        framer = rtu.SlaveFramer({self._desk.address()})
        while not self._stop.is_set():
            ready, _, _ = select.select([self._fd], [], [], self._silence() if framer.waiting else _WAKE)
            try:
                data = os.read(self._fd, _CHUNK) if ready else b""
                if ready and not data:
                    raise OSError("hung up")
                for frame in framer.receive(data) if ready else framer.silence():
                    self._write(self._desk.rtu(frame))
            except BlockingIOError:
                continue
            except OSError:
                self._desk.troubles.append(f"{self.name} is gone")
                return
            framer.addresses = {self._desk.address()}

    def _write(self, reply: bytes) -> None:
        """Write a reply; what a line that nobody reads does not take is lost, as on a real one."""
        while reply and not self._stop.is_set():
            _, writable, _ = select.select([], [self._fd], [], _WAKE)
            if not writable:
                return
            reply = reply[os.write(self._fd, reply) :]

    def close(self) -> None:
        """Stop answering and close the port."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join()
        if self._port is not None:
            self._port.close()
        else:
            os.close(self._fd)
        if self._slave is not None:
            os.close(self._slave)
