"""Where masters connect over TCP: Modbus TCP, plain or behind TLS, and RTU over TCP.

Rule: a thread for each port moves bytes; framing is in modbus/, who answers stands behind `Answering`.
A client that floods, sleeps or does not read costs no more than its connection.
"""

from __future__ import annotations

import contextlib
import errno
import heapq
import os
import resource
import select
import socket
import ssl
import threading
import time
import traceback
from collections.abc import Callable
from typing import Any, Final

from countis.modbus import rtu, tcp
from countis.modbus.line.answer import Answer
from countis.serve.access import Policy
from countis.serve.answering import Answering
from countis.serve.listening import listening

MOST_CONNECTIONS: Final = 1000
_SPARE_FILES: Final = 200  # beside connections: memories, ports, the page
IDLE_S: Final = 600.0  # without a byte after which a connection is closed
_SLOW_S: Final = 10.0  # for which a client may leave its replies unread, or TLS unfinished
_SWEEP_S: Final = 5.0
_FAREWELL_S: Final = 0.2  # for what was asked before the end
_CHUNK: Final = 450  # bytes read at once; what is left is read in the next turn, after the others'
_MOST_LATE: Final = 100  # delayed replies of a connection; beyond it, no more requests are read from it
_NO_ROOM: Final = errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM
_BUSY: Final = ssl.SSLWantReadError, ssl.SSLWantWriteError


class Requests:
    """What one connection asks. late: answers with a delay, for the server to send in time."""

    def __init__(
        self, framer: tcp.Framer | rtu.SlaveFramer, cached: Callable[[bytes], bytes | None],
        ask: Callable[[Any], Answer],
    ) -> None:
        self._framer, self._cached, self._ask = framer, cached, ask
        self.late: list[Answer] = []

    @property
    def broken(self) -> bool:
        """Whether what follows cannot be framed."""
        return self._framer.broken

    def answer(self, data: bytes) -> bytes:
        """Take bytes; return the replies to what they complete."""
        if not self._framer.waiting:
            reply = self._cached(data)
            if reply is not None:
                return reply
        answers = [self._ask(request) for request in self._framer.receive(data)]
        self.late += [answer for answer in answers if answer.delay_ns]
        return b"".join(answer.data for answer in answers if not answer.delay_ns)


class TcpRequests(Requests):
    """The requests of one connection of Modbus TCP."""

    def __init__(self, answering: Answering) -> None:
        super().__init__(tcp.Framer(), answering.tcp_cached, answering.tcp)


class RtuTcpRequests(Requests):
    """The requests of one connection of RTU over TCP, where only their lengths part the frames."""

    def __init__(self, answering: Answering) -> None:
        super().__init__(rtu.SlaveFramer(timed=False), answering.rtu_cached, answering.rtu)


class Connection:
    """A client. While it does not take its replies, or many of them wait, no more is read from it."""

    def __init__(self, plain: socket.socket, requests: Requests, tls: ssl.SSLContext | None) -> None:
        self.requests = requests
        self._socket, self._is_tls = plain, tls is not None
        self._read: Callable[[int], bytes] = plain.recv
        if tls is not None:
            self._socket = tls.wrap_socket(plain, server_side=True, do_handshake_on_connect=False)
            self._read = self._decrypted
        self.fd = self._socket.fileno()
        self._rest = b""  # of replies, not sent yet
        self.unsent = False  # replies wait for the client to take them
        self.spoke = True  # since the last sweep
        self.events = select.EPOLLIN  # what is waited for
        self.late = 0  # replies that wait for their time
        self.quiet_sweeps = self.stuck_sweeps = 0

    @property
    def stuck(self) -> bool:
        """Whether the client leaves replies unread, or has not finished the handshake of TLS."""
        return self.unsent or (isinstance(self._socket, ssl.SSLSocket) and self._socket.version() is None)

    def turn(self) -> bool:
        """Read once and answer, or send what is left; tell if more is to do. OSError: the client is gone."""
        if self.unsent:
            self.send(b"")
            return True
        try:
            data = self._read(_CHUNK)
        except BlockingIOError:
            return False
        if not data:
            raise ConnectionError("closed")
        self.spoke = True
        requests = self.requests
        reply = requests.answer(data)
        if reply:
            self.send(reply)
        return bool(self.unsent or requests.late or requests.broken or (self._is_tls and self.pending))

    @property
    def pending(self) -> bool:
        """Whether TLS has decrypted bytes that epoll does not report."""
        return isinstance(self._socket, ssl.SSLSocket) and not self.unsent and self._socket.pending() > 0

    def _decrypted(self, size: int) -> bytes:
        """Read what has come of TLS; the handshake goes on by it."""
        try:
            return self._socket.recv(size)
        except _BUSY:
            raise BlockingIOError from None

    def send(self, data: bytes) -> None:
        """Send as much as the client takes, and keep the rest. OSError where it is gone."""
        data = self._rest + data if self.unsent else data
        try:
            sent = self._socket.send(data)
        except (BlockingIOError, *_BUSY):
            sent = 0
        self.unsent = sent < len(data)
        self._rest = data[sent:]

    def close(self) -> None:
        """Close the connection."""
        with contextlib.suppress(OSError, ValueError):
            if isinstance(self._socket, ssl.SSLSocket):
                self._socket.unwrap()
        self._socket.close()


class TcpServer:
    """A listening port and its connections; the idle and those that do not read are closed.

    Everything in it belongs to its thread; others call start, stop and close, and `_stop` alone is shared.
    """

    def __init__(
        self, answering: Answering, kind: Callable[[Answering], Requests], at: tuple[str, int], option: str,
        *, most: int = MOST_CONNECTIONS, idle_s: float = IDLE_S, tls: ssl.SSLContext | None = None,
        policy: Policy | None = None,
    ) -> None:
        """Open the port; BusError names the option if it cannot. policy: who may connect, None is all."""
        self._answering, self._kind, self._tls = answering, kind, tls
        self._most, self._idle_s = most, idle_s
        self._policy = policy or Policy()
        self.connections: dict[int, Connection] = {}  # by file number
        self._late: list[tuple[float, int, Connection, bytes]] = []  # replies by the time they are due
        self._again: list[Connection] = []  # have more to read than their sockets tell
        self._order = 0
        allowed = "a free port of this machine, 0 for any"
        self._listener, self.name = listening(*at, option, min(most, 1024), allowed)
        self._stop = False
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)  # ends the wait for clients
        self._epoll = select.epoll()
        for fd in (self._listener.fileno(), self._wake):
            self._epoll.register(fd, select.EPOLLIN)
        self._thread = threading.Thread(target=self._serve, name=f"port {self.name}", daemon=True)

    def start(self) -> None:
        """Begin to answer; who connected before is answered then."""
        self._thread.start()

    def _serve(self) -> None:
        """Answer until asked to stop; then what was asked before."""
        poll, sweep = self._epoll.poll, time.monotonic() + _SWEEP_S
        while not self._stop:
            now = time.monotonic()
            if now >= sweep:
                sweep = now + _SWEEP_S
                self._sweep()
            if self._late:
                self._reply_late(now)
            until = min(sweep, self._late[0][0]) if self._late else sweep
            again, self._again = self._again, []
            for fd, _ in poll(max(0.0, until - now) if not again else 0):
                self._turn(fd)
            for connection in again:
                if self.connections.get(connection.fd) is connection:
                    self._turn(connection.fd)
        self._epoll.unregister(self._listener.fileno())
        self._epoll.unregister(self._wake)
        end = time.monotonic() + _FAREWELL_S
        while (ready := poll(0)) and time.monotonic() < end:
            for fd, _ in ready:
                self._turn(fd)
        for connection in list(self.connections.values()):
            self._drop(connection)

    def _turn(self, fd: int) -> None:
        """Do what a file asks for; whatever happens there costs no more than that connection."""
        connection = self.connections.get(fd)
        if connection is None:
            if fd == self._listener.fileno():
                self._accept()
            return
        try:
            if connection.turn():
                self._reschedule(connection)
        except OSError:
            self._drop(connection)
        except Exception:
            traceback.print_exc()
            self._drop(connection)

    def _reschedule(self, connection: Connection) -> None:
        """Queue delayed replies, choose what epoll waits for, close what cannot be framed any more."""
        requests, now = connection.requests, time.monotonic()
        for answer in requests.late:
            self._order += 1
            heapq.heappush(self._late, (now + answer.delay_ns / 1e9, self._order, connection, answer.data))
        connection.late += len(requests.late)
        requests.late.clear()
        if connection.pending and connection.late < _MOST_LATE:
            self._again.append(connection)
        reading = select.EPOLLIN if connection.late < _MOST_LATE else 0
        events = select.EPOLLOUT if connection.unsent else reading
        if events != connection.events:
            connection.events = events
            self._epoll.modify(connection.fd, events)
        if requests.broken and not connection.unsent:
            self._drop(connection)

    def _accept(self) -> None:
        """Take one more connection, if it comes from where it may and there is room for it."""
        try:
            client, peer = self._listener.accept()
        except OSError as error:
            if error.errno in _NO_ROOM:  # those who wait are looked at in the next sweep
                self._epoll.modify(self._listener.fileno(), 0)
            return
        if not self._policy.admits(peer[0]) or len(self.connections) >= self._most:
            client.close()
            return
        client.setblocking(False)
        try:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection = Connection(client, self._kind(self._answering), self._tls)
        except OSError:
            client.close()
            return
        self.connections[connection.fd] = connection
        self._epoll.register(connection.fd, select.EPOLLIN)

    def _reply_late(self, now: float) -> None:
        """Send what is due to those who are still there, a bounded number a turn."""
        for _ in range(_MOST_LATE):
            if not self._late or self._late[0][0] > now:
                return
            _, _, connection, data = heapq.heappop(self._late)
            connection.late -= 1
            if self.connections.get(connection.fd) is not connection:
                continue
            try:
                connection.send(data)
            except OSError:
                self._drop(connection)
            else:
                self._reschedule(connection)

    def _sweep(self) -> None:
        """Close connections that were quiet for long, or are stuck; look again for new ones."""
        self._epoll.modify(self._listener.fileno(), select.EPOLLIN)
        for connection in list(self.connections.values()):
            connection.quiet_sweeps = 0 if connection.spoke else connection.quiet_sweeps + 1
            connection.spoke = False
            connection.stuck_sweeps = connection.stuck_sweeps + 1 if connection.stuck else 0
            idle = connection.quiet_sweeps * _SWEEP_S > self._idle_s
            if idle or connection.stuck_sweeps * _SWEEP_S > _SLOW_S:
                self._drop(connection)

    def _drop(self, connection: Connection) -> None:
        """Close a connection."""
        del self.connections[connection.fd]
        connection.close()

    def stop(self) -> None:
        """Ask the thread to end."""
        self._stop = True
        os.eventfd_write(self._wake, 1)

    def close(self) -> None:
        """Take no more connections, answer what was asked, and close those there are."""
        self.stop()
        if self._thread.ident is not None:
            self._thread.join()
        self._listener.close()
        self._epoll.close()
        os.close(self._wake)


def raise_file_limit(connections: int) -> None:
    """Let this process open as many files as it needs, as far as the system lets it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = connections + _SPARE_FILES
    if soft < needed:
        limit = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
