"""The shell of a web server: uvicorn with bounds, on a port that opens or says in one line why not.

Rule: knows no page; it is given an application.
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
_PING_S: Final = 0.75  # closes a dead viewer after 2.25 s, before a key it held for 3 s enters a setup


class _Http(H11Protocol):
    """A connection, aborted where there are too many, or where no request head came within 5 s."""

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
    """uvicorn, which leaves the signals to the plant."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _has_trace(record: logging.LogRecord) -> bool:
    """Filter the log: only exceptions here are news, not refusals and clients that vanish."""
    return record.exc_info is not None


@contextlib.asynccontextmanager
async def web_server(app: ASGIApp, at: tuple[str, int], option: str) -> AsyncIterator[str]:
    """Serve an application within the block; give HOST:PORT. BusError names the option if it cannot open."""
    listener, name = listening(*at, option, _BACKLOG, "a free port of this machine, 0 for any, none")
    config = uvicorn.Config(
        app, log_config=None, access_log=False, lifespan="off", server_header=False, proxy_headers=False,
        http=_Http, ws="websockets-sansio", ws_max_size=MAX_BODY, ws_per_message_deflate=False,
        ws_ping_interval=_PING_S, ws_ping_timeout=2 * _PING_S,
        timeout_graceful_shutdown=_GRACE_S,  # type: ignore[arg-type]
    )
    log = logging.getLogger("uvicorn.error")
    log.disabled = False
    log.addFilter(_has_trace)
    server = _Server(config)
    task = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        yield name
    finally:
        log.disabled = True  # whoever is cut off now is no news
        server.should_exit = True
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(task, 2.0)
