"""Ways to a slave: serial port, TCP, RTU over TCP, or a meter in this process.

Rule: a line carries one request PDU to one address and returns the reply PDU, or raises NoReply or BadReply.
It knows nothing of registers.
"""

from __future__ import annotations

import select
import socket
import termios
import time
from typing import Final, Protocol

import serial

from countis.modbus import rtu, tcp
from countis.modbus.pdu import ERROR, READ, WRITE, WRITE_MANY
from countis.words import notation
from countis.words.errors import BadReply, BusError, NoReply

_WRITE_REPLY: Final = 8
_TARGETS: Final = "a device path, tcp://HOST:PORT, rtu+tcp://HOST:PORT"


class Line(Protocol):
    """A way to slaves."""

    def exchange(self, address: int, request: bytes) -> bytes: ...

    def close(self) -> None: ...


class Responder(Protocol):
    """A meter in this process: RTU frame in, RTU frame out."""

    def rtu(self, frame: bytes) -> bytes: ...


def check_rtu_reply(address: int, request: bytes, reply: bytes) -> bytes:
    """Return the PDU of a reply frame; BadReply where CRC, address or function do not match the request."""
    if not rtu.is_whole(reply):
        raise BadReply(f"address {address}", f"wrong CRC in {reply.hex(' ')}")
    if reply[0] != address or reply[1] & 0x7F != request[0]:
        raise BadReply(f"address {address}", f"an answer of {reply[0]} to function {reply[1] & 127}")
    return reply[1:-2]


def _reply_length(head: bytes) -> int | None:
    """Return the length of an RTU reply from its first three bytes, None for fewer."""
    if len(head) < 3:
        return None
    if head[1] & ERROR:
        return 5
    return {READ: 5 + head[2], WRITE: _WRITE_REPLY, WRITE_MANY: _WRITE_REPLY}.get(head[1], 5)


class Loopback:
    """A meter in this process, reached by real frames without a socket."""

    def __init__(self, meter: Responder) -> None:
        self._meter = meter

    def exchange(self, address: int, request: bytes) -> bytes:
        reply = self._meter.rtu(rtu.frame(address, request))
        if not reply:
            raise NoReply(f"address {address}", "no reply")
        return check_rtu_reply(address, request, reply)

    def close(self) -> None:
        """Nothing is held."""


class SerialLine:
    """A serial port, or a pty."""

    def __init__(self, path: str, baud: int, comset: str, timeout: float) -> None:
        parity, stop_bits = notation.comset(comset, "--comset")
        try:  # pyserial has the letters of a comset as constants
            self._port = serial.Serial(path, baud, parity=parity, stopbits=stop_bits, timeout=timeout)
        except OSError as error:  # without a reason from pyserial where the file is no port
            reason = error.strerror or "Could not configure port"
            raise BusError(path, f"cannot be opened: {reason}", _TARGETS) from None
        except ValueError:
            raise BusError(path, f"cannot be opened at {baud} bps", _TARGETS) from None
        self._silence = rtu.silence_ns(baud, 9 + stop_bits + (parity != "N")) / 1e9

    def exchange(self, address: int, request: bytes) -> bytes:
        time.sleep(self._silence)
        try:
            self._port.reset_input_buffer()
            self._port.write(rtu.frame(address, request))
            data = self._port.read(3)
            length = _reply_length(data)
            if length is not None:
                data += self._port.read(length - len(data))
        except (OSError, termios.error) as error:
            raise BusError(self._port.port, f"gone: {error}", "a port that stays") from None
        if length is None:
            raise NoReply(f"address {address}", f"no reply on {self._port.port}")
        return check_rtu_reply(address, request, data)

    def close(self) -> None:
        self._port.close()


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error)


class _Socket:
    """A TCP connection with one time-out for each whole reply.

    After a missing or bad reply the next exchange uses a new connection, so that a late reply is not taken
    for that of another request.
    """

    def __init__(self, host: str, port: int, timeout: float) -> None:
        self.name, self._at, self._timeout = f"{host}:{port}", (host, port), timeout
        self._until = 0.0
        self._spoilt = False
        self._connect()

    def _connect(self) -> None:
        try:
            self._socket = socket.create_connection(self._at, self._timeout)
        except (OSError, UnicodeError) as error:
            raise BusError(self.name, f"cannot connect: {_reason(error)}", "a listening port") from None
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def exchange(self, address: int, request: bytes) -> bytes:
        if self._spoilt or select.select([self._socket], [], [], 0)[0]:  # late bytes
            self.close()
            self._connect()
        self._spoilt = True
        reply = self._ask(address, request)
        self._spoilt = False
        return reply

    def _ask(self, address: int, request: bytes) -> bytes:
        raise NotImplementedError

    def _send(self, data: bytes) -> None:
        self._until = time.monotonic() + self._timeout
        try:
            self._socket.sendall(data)
        except OSError as error:
            raise BusError(self.name, _reason(error)) from None

    def _receive(self, count: int) -> bytes:
        data = bytearray()
        while len(data) < count:
            self._socket.settimeout(max(0.001, self._until - time.monotonic()))
            try:
                part = self._socket.recv(count - len(data))
            except TimeoutError:
                raise NoReply(self.name, "no reply") from None
            except OSError as error:
                raise BusError(self.name, _reason(error)) from None
            if not part:
                raise NoReply(self.name, "connection closed")
            data += part
        return bytes(data)

    def close(self) -> None:
        self._socket.close()


class TcpLine(_Socket):
    """Modbus TCP."""

    _transaction = 0

    def _ask(self, address: int, request: bytes) -> bytes:
        self._transaction = self._transaction % 0xFFFF + 1
        self._send(tcp.wrap(self._transaction, address, request))
        header = self._receive(7)
        transaction, protocol, length = (int.from_bytes(header[k : k + 2], "big") for k in (0, 2, 4))
        if protocol != 0 or not tcp.MIN_LENGTH <= length <= tcp.MAX_LENGTH:
            raise BadReply(self.name, f"no Modbus TCP: {header.hex(' ')}")
        reply = self._receive(length - 1)
        if transaction != self._transaction or header[6] != address or reply[0] & 0x7F != request[0]:
            raise BadReply(self.name, f"an answer of unit {header[6]} to another request")
        return reply


class RtuTcpLine(_Socket):
    """RTU frames in a TCP stream."""

    def _ask(self, address: int, request: bytes) -> bytes:
        self._send(rtu.frame(address, request))
        data = self._receive(3)
        length = _reply_length(data) or _WRITE_REPLY
        return check_rtu_reply(address, request, data + self._receive(length - len(data)))


def open_line(target: str, *, baud: int = 38400, comset: str = "8N1", timeout: float = 1.0) -> Line:
    """Open a device path, `tcp://HOST:PORT` or `rtu+tcp://HOST:PORT`; BusError where it cannot be opened."""
    scheme, separator, rest = target.partition("://")
    if not separator:
        return SerialLine(target, baud, comset, timeout)
    if scheme not in ("tcp", "rtu+tcp"):
        raise BusError(target, "unknown kind of target", _TARGETS)
    host, port = notation.endpoint(rest, target)
    return TcpLine(host, port, timeout) if scheme == "tcp" else RtuTcpLine(host, port, timeout)
