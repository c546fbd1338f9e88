"""The page's server: meters as JSON, their panel live over a WebSocket, the supply they are wired to.

Rule: a bad request gets 400 and one line; who may ask at all is decided in guard.py.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import socket
from collections.abc import AsyncIterator, Iterator, Sequence
from importlib import resources
from typing import Any, Final
from urllib.parse import parse_qsl

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from countis.errors import BusError, CountisError, SupplyError
from countis.host.audience import Audience, Viewer
from countis.host.guard import COOKIE, MAX_BODY, Guard, line, matches
from countis.host.runner import Runner
from countis.host.station import Station, lcd

MOST_VIEWERS: Final = 64
_TYPES: Final = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
_STATIC: Final = resources.files("countis.host").joinpath("static")


class TooLarge(CountisError):
    """A body that is longer than is taken."""


class Pages:
    """The routes."""

    def __init__(self, stations: Sequence[Station], runner: Runner, token: str | None) -> None:
        self._runner = runner
        self.audiences = [Audience(station) for station in stations]
        at = "/api/meters/{address:int}"
        self.app = Starlette(
            routes=[
                Route("/", self.page),
                Route("/static/{name}", self.file),
                Route("/login", self.login, methods=["POST"]),
                Route("/api/meters", self.meters),
                Route(at, self.meter),
                Route(f"{at}/supply", self.supply),
                Route(f"{at}/supply", self.wire, methods=["PUT"]),
                Route(f"{at}/seal", self.seal, methods=["PUT"]),
                WebSocketRoute(f"{at}/live", self.live),
                Route("/healthz", self.healthz),
                Route("/readyz", self.readyz),
            ],
            middleware=[Middleware(Guard, token=token)],
            exception_handlers={CountisError: _bad, TooLarge: _too_large, HTTPException: _refused},
        )
        self._token = token

    def _audience(self, address: int) -> Audience:
        for audience in self.audiences:
            if audience.station.address == address:
                return audience
        raise HTTPException(404, f"no meter at address {address}")

    def _station(self, request: Request) -> Station:
        return self._audience(request.path_params["address"]).station

    async def page(self, request: Request) -> Response:
        """Return the page."""
        return _file("index.html")

    async def file(self, request: Request) -> Response:
        """Return a file of the page."""
        return _file(request.path_params["name"])

    async def login(self, request: Request) -> Response:
        """Give the cookie for the token."""
        given = dict(parse_qsl((await _body(request)).decode("utf-8", "replace"))).get("token", "")
        if not matches(self._token, given):
            raise HTTPException(401, "token: wrong")
        answer = RedirectResponse("/", 303)
        answer.set_cookie(COOKIE, given, httponly=True, samesite="strict")
        return answer

    async def meters(self, request: Request) -> Response:
        """List the meters."""
        stations = [audience.station for audience in self.audiences]
        return JSONResponse([{"address": s.address, "model": s.meter.model.name, "lcd": s.frame().text} for s in stations])

    async def meter(self, request: Request) -> Response:
        """Return everything of one meter."""
        station = self._station(request)
        return JSONResponse({**station.state(), "lcd": lcd(station.frame())})

    async def supply(self, request: Request) -> Response:
        """Return what a meter is wired to."""
        station = self._station(request)
        return JSONResponse({"name": station.supply_name, "document": station.supply})

    async def wire(self, request: Request) -> Response:
        """Wire a meter to a supply, given as JSON or as TOML."""
        station, body = self._station(request), await _body(request)
        try:
            text = body.decode()
        except UnicodeDecodeError as error:
            raise SupplyError(f"supply: byte {error.start} is not UTF-8 (allowed: UTF-8)") from None
        if request.headers.get("content-type", "").startswith("application/json"):
            station.wire(_object(text), "page")
        else:
            station.wire_text(text, "scenario")
        return JSONResponse({"name": station.supply_name, "document": station.supply})

    async def seal(self, request: Request) -> Response:
        """Close or break the seal."""
        station, content = self._station(request), _object((await _body(request)).decode("utf-8", "replace"))
        if content.keys() != {"sealed"} or not isinstance(content["sealed"], bool):
            raise SupplyError('seal: not a seal (allowed: {"sealed": true})')
        refusal = station.seal(content["sealed"])
        if refusal is not None:
            raise HTTPException(400, refusal.text)
        return JSONResponse({"sealed": content["sealed"]})

    async def live(self, websocket: WebSocket) -> None:
        """Show a meter, and take its keys, until the viewer goes."""
        try:
            audience = self._audience(websocket.path_params["address"])
        except HTTPException as error:
            await websocket.send_denial_response(line(error.detail, error.status_code))
            return
        if sum(len(a.viewers) for a in self.audiences) >= MOST_VIEWERS:
            await websocket.send_denial_response(line(f"too many viewers (allowed: {MOST_VIEWERS})", 503))
            return
        await websocket.accept()
        with audience.seat() as viewer:
            sending = asyncio.create_task(_send_waiting(websocket, viewer))
            try:
                await _take_keys(websocket, audience, viewer)
            finally:
                sending.cancel()
                with contextlib.suppress(asyncio.CancelledError, RuntimeError, WebSocketDisconnect):
                    await sending

    async def healthz(self, request: Request) -> Response:
        """Tell that the process lives."""
        return PlainTextResponse("ok\n")

    async def readyz(self, request: Request) -> Response:
        """Tell whether every meter measures and has power to keep what it counts."""
        runner = self._runner
        fine = runner.ready.is_set() and runner.failure is None and not runner.stopped.is_set()
        return PlainTextResponse("ready\n") if fine else PlainTextResponse("not ready\n", 503)


async def _send_waiting(websocket: WebSocket, viewer: Viewer) -> None:
    """Send what waits; a viewer that fell behind is closed."""
    while (text := await viewer.waiting.get()) is not None:
        await websocket.send_text(text)
    await websocket.close(1013, "too slow")


async def _take_keys(websocket: WebSocket, audience: Audience, viewer: Viewer) -> None:
    """Take messages until the viewer goes or sends something else."""
    with contextlib.suppress(WebSocketDisconnect):
        while True:
            message = await websocket.receive()
            if message["type"] == "websocket.disconnect":
                return
            try:
                audience.take(viewer, message.get("text") or "")
            except (ValueError, RecursionError) as error:
                await websocket.close(1008, str(error)[:120] if not isinstance(error, json.JSONDecodeError) else "not JSON")
                return


async def _body(request: Request) -> bytes:
    """Return a body of at most 64 kB; TooLarge beyond."""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > MAX_BODY:
            raise TooLarge(f"body: longer than {MAX_BODY} bytes")
    return body


def _object(text: str) -> dict[str, Any]:
    """Read a JSON object; SupplyError in one line where it is none."""
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        raise SupplyError("body: not JSON (allowed: a JSON object)") from None
    if not isinstance(content, dict):
        raise SupplyError("body: not an object (allowed: a JSON object)")
    return content


def _file(name: str) -> Response:
    """Return a file of the page, by a name that is one of its files."""
    for file in _STATIC.iterdir():
        if file.name == name and (kind := _TYPES.get(name.rsplit(".", 1)[-1])) is not None:
            return Response(file.read_bytes(), media_type=kind)
    raise HTTPException(404, "no such file")


def _bad(request: Request, error: Exception) -> Response:
    return line(str(error), 400)


def _too_large(request: Request, error: Exception) -> Response:
    return line(str(error), 413)


def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return line(error.detail, error.status_code)


def _has_trace(record: logging.LogRecord) -> bool:
    """Let through what went wrong here; refusals and clients that vanish are no news."""
    return record.exc_info is not None


class _Server(uvicorn.Server):
    """uvicorn, but signals are ours."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@contextlib.asynccontextmanager
async def serving(
    stations: Sequence[Station], runner: Runner, host: str, port: int, token: str | None
) -> AsyncIterator[str]:
    """Serve the page for as long as the block lasts; give HOST:PORT. BusError where the port cannot be opened."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listener = socket.create_server((host, port), family=family, backlog=128)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise BusError(f"--web {host}:{port}: {reason} (allowed: a free port of this machine, 0 for any, none)") from None
    config = uvicorn.Config(
        Pages(stations, runner, token).app, log_config=None, access_log=False, lifespan="off", ws="websockets-sansio",
        ws_max_size=MAX_BODY, ws_per_message_deflate=False, server_header=False, timeout_graceful_shutdown=1,
    )  # fmt: skip
    logging.getLogger("uvicorn.error").addFilter(_has_trace)
    server = _Server(config)
    task = asyncio.create_task(server.serve(sockets=[listener]))
    name, number = listener.getsockname()[:2]
    try:
        yield f"[{name}]:{number}" if ":" in name else f"{name}:{number}"
    finally:
        server.should_exit = True
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(task, 2.0)
