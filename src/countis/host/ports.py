"""Where masters connect over TCP: Modbus TCP and RTU over TCP, on asyncio.

Rule: ports move bytes; framing is in modbus/, who answers is decided at the hub. A client that floods, sleeps or does not read
costs no more than its connection.
"""

from __future__ import annotations

import asyncio
import os
import resource
import ssl
from collections.abc import Callable
from typing import Final, cast

from countis.errors import BusError
from countis.faults import Answer
from countis.host.desk import Hub
from countis.modbus import rtu, tcp

MOST_CONNECTIONS: Final = 1000
_SPARE_FILES: Final = 200  # beside connections: memories, ports, the page
IDLE_S: Final = 600.0  # without a byte after which a connection is closed
_SLOW_S: Final = 10.0  # for which a client may leave its replies unread
_SWEEP_S: Final = 5.0


class _Connection(asyncio.Protocol):
    """A client; while it does not take its replies, no more requests are read from it."""

    _transport: asyncio.Transport

    def __init__(self, server: TcpServer) -> None:
        self._server, self._hub = server, server.hub
        self.spoke = True  # since the last sweep
        self.quiet_sweeps = self.unread_sweeps = 0
        self.unread = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        peer = self._transport.get_extra_info("peername")
        if not self._server.admit(self, peer[0] if peer else ""):
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._server.connections.discard(self)

    def pause_writing(self) -> None:
        self.unread = True
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        self.unread, self.unread_sweeps = False, 0
        if not self._transport.is_closing():
            self._transport.resume_reading()

    def close(self, *, now: bool = False) -> None:
        """Close the connection; `now` drops what was not sent."""
        (self._transport.abort if now else self._transport.close)()

    def reply(self, answer: Answer) -> None:
        """Send a reply, later if it is to be late."""
        if answer.delay_ns:
            asyncio.get_running_loop().call_later(answer.delay_ns / 1e9, self._write, answer.data)
        elif answer.data:
            self._transport.write(answer.data)

    def _write(self, data: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(data)


class TcpPort(_Connection):
    """One connection of Modbus TCP."""

    def __init__(self, server: TcpServer) -> None:
        super().__init__(server)
        self._framer = tcp.Framer()

    def data_received(self, data: bytes) -> None:
        self.spoke = True
        reply = None if self._framer.waiting else self._hub.at_hand(data)
        if reply is not None:
            self._transport.write(reply)
            return
        answers = [self._hub.tcp(envelope) for envelope in self._framer.receive(data)]
        together = b"".join(answer.data for answer in answers if not answer.delay_ns)
        if together:
            self._transport.write(together)
        for answer in answers:
            if answer.delay_ns:
                self.reply(answer)
        if self._framer.broken:
            self._transport.close()


class RtuTcpPort(_Connection):
    """One connection of RTU over TCP: lengths alone part the frames."""

    def __init__(self, server: TcpServer) -> None:
        super().__init__(server)
        self._framer = rtu.SlaveFramer(timed=False)

    def data_received(self, data: bytes) -> None:
        self.spoke = True
        for frame in self._framer.receive(data):
            self.reply(self._hub.rtu(frame))
        if self._framer.broken:
            self._transport.close()


class TcpServer:
    """A listening port and its connections, at most so many; the idle and those that do not read are closed."""

    def __init__(self, hub: Hub, most: int = MOST_CONNECTIONS, idle_s: float = IDLE_S) -> None:
        self.hub, self.most, self.idle_s = hub, most, idle_s
        self.connections: set[_Connection] = set()
        self._server: asyncio.Server | None = None
        self._sweeper: asyncio.Task[None] | None = None

    async def listen(self, kind: Callable[[TcpServer], _Connection], host: str, port: int, option: str,
                     tls: ssl.SSLContext | None = None) -> str:  # fmt: skip
        """Open the port and return where it is; BusError names the option where it cannot be opened."""
        raise_file_limit(self.most)
        loop = asyncio.get_running_loop()
        try:
            self._server = await loop.create_server(lambda: kind(self), host, port, ssl=tls, backlog=min(self.most, 1024))
        except (OSError, UnicodeError) as error:
            number = getattr(error, "errno", None)
            reason = os.strerror(number) if number and number > 0 else str(error)
            raise BusError(f"{option} {host}:{port}: {reason} (allowed: a free port of this machine, 0 for any)") from None
        self._sweeper = asyncio.create_task(self._sweep())
        name, number = self._server.sockets[0].getsockname()[:2]
        return f"[{name}]:{number}" if ":" in name else f"{name}:{number}"

    def admit(self, connection: _Connection, peer: str) -> bool:
        """Take one more connection; False when there are too many, or it comes from where nobody may."""
        if not self.hub.policy.admits(peer):
            return False
        if len(self.connections) >= self.most:
            return False
        self.connections.add(connection)
        return True

    async def _sweep(self) -> None:
        """Close connections that said nothing for long, or did not take their replies."""
        while True:
            await asyncio.sleep(_SWEEP_S)
            for connection in list(self.connections):
                connection.quiet_sweeps = 0 if connection.spoke else connection.quiet_sweeps + 1
                connection.spoke = False
                connection.unread_sweeps += connection.unread
                if connection.quiet_sweeps * _SWEEP_S > self.idle_s:
                    connection.close()
                elif connection.unread_sweeps * _SWEEP_S > _SLOW_S:
                    connection.close(now=True)

    def close(self) -> None:
        """Take no more connections, and close those there are once their replies are sent."""
        if self._sweeper is not None:
            self._sweeper.cancel()
        if self._server is not None:
            self._server.close()
        for connection in list(self.connections):
            connection.close()


def raise_file_limit(connections: int) -> None:
    """Let this process open as many files as it needs, as far as the system lets it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + _SPARE_FILES
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, hard) if hard != resource.RLIM_INFINITY else wanted, hard))
