"""The shell of a web server: uvicorn with bounds, on a port that opens or says in one line why not.

Rule: knows no page; it is given an application. At most so many connections, each of which must begin a request soon.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Iterator
from typing import Final

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from countis.serve.listening import listening
from countis.serve.web.guard import MAX_BODY

_MOST_CONNECTIONS: Final = 256
_BACKLOG: Final = 128
_GRACE_S: Final = 0.3  # for answers that are under way at the end
_HEAD_S: Final = 5.0  # for the head of a request
_PING_S: Final = 0.75  # a viewer gone without a word is found out after 2.25 s: a hold that enters a setup takes 3 s


class _Http(H11Protocol):
    """A connection of the server; at most so many, and each must begin a request soon."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > _MOST_CONNECTIONS:
            transport.abort()
        else:
            self.loop.call_later(_HEAD_S, self._expect_request)

    def _expect_request(self) -> None:
        if self.scope is None and not self.transport.is_closing():
            self.transport.abort()


class _Server(uvicorn.Server):
    """uvicorn, but signals are ours."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _has_trace(record: logging.LogRecord) -> bool:
    """Let through what went wrong here; refusals and clients that vanish are no news."""
    return record.exc_info is not None


@contextlib.asynccontextmanager
async def web_server(app: ASGIApp, at: tuple[str, int], option: str) -> AsyncIterator[str]:
    """Serve an application for as long as the block lasts; give HOST:PORT. BusError names the option where it cannot open."""
    listener, name = listening(*at, option, _BACKLOG, "a free port of this machine, 0 for any, none")
    config = uvicorn.Config(
        app, log_config=None, access_log=False, lifespan="off", http=_Http, ws="websockets-sansio",
        ws_max_size=MAX_BODY, ws_per_message_deflate=False, ws_ping_interval=_PING_S, ws_ping_timeout=2 * _PING_S,
        server_header=False, proxy_headers=False,
        timeout_graceful_shutdown=_GRACE_S,  # type: ignore[arg-type]
    )  # fmt: skip
    log = logging.getLogger("uvicorn.error")
    log.disabled = False
    log.addFilter(_has_trace)
    server = _Server(config)
    task = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        yield name
    finally:
        logging.getLogger("uvicorn.error").disabled = True  # whoever is cut off now is no news
        server.should_exit = True
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(task, 2.0)
