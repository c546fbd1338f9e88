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
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect
from uvicorn.protocols.http.h11_impl import H11Protocol

from countis.host.page.audience import Audience, Viewer
from countis.host.page.station import Station, lcd
from countis.host.running.runner import Runner
from countis.serve.web.guard import COOKIE, MAX_BODY, Guard, line, matches
from countis.words.errors import BusError, CountisError, SupplyError

MOST_VIEWERS: Final = 64
_MOST_CONNECTIONS: Final = 256
_GRACE_S: Final = 0.3  # for answers that are under way at the end
_HEAD_S: Final = 5.0  # for the head of a request
_PING_S: Final = 0.75  # a viewer gone without a word is found out after 2.25 s: a hold that enters a setup takes 3 s
_TYPES: Final = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
_STATIC: Final = resources.files("countis.host.page").joinpath("static")


class TooLarge(CountisError):
    """A body that is longer than is taken."""


class Pages:
    """The routes."""

    def __init__(self, stations: Sequence[Station], runner: Runner, token: str | None) -> None:
        self._runner = runner
        self._wiring = asyncio.Lock()  # one change of supply at a time
        self.audiences = [Audience(station) for station in stations]
        at = "/api/meters/{address}"
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
                Route(f"{at}/faults", self.faults, methods=["GET", "PUT"]),
                Route(f"{at}/events", self.events),
                WebSocketRoute(f"{at}/live", self.live),
                Route("/healthz", self.healthz),
                Route("/readyz", self.readyz),
            ],
            middleware=[Middleware(Guard, token=token)],
            exception_handlers={CountisError: _bad, TooLarge: _too_large, HTTPException: _refused},
        )
        self._token = token

    def _audience(self, address: str) -> Audience:
        for audience in self.audiences:
            if str(audience.station.address) == address:
                return audience
        raise HTTPException(404, f"no meter at address {address[:20]}")

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
        return JSONResponse([station.summary() for station in stations])

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
        audience, body = self._audience(request.path_params["address"]), await _body(request)
        station = audience.station
        try:
            text = body.decode()
        except UnicodeDecodeError as error:
            raise SupplyError("supply", f"byte {error.start} is not UTF-8", "UTF-8") from None
        async with self._wiring:
            if request.headers.get("content-type", "").startswith("application/json"):
                await asyncio.to_thread(station.wire, _object(text), "page")
            else:
                await asyncio.to_thread(station.wire_text, text, "scenario")
        audience.tell_supply()
        return JSONResponse({"name": station.supply_name, "document": station.supply})

    async def seal(self, request: Request) -> Response:
        """Close or break the seal."""
        station, content = self._station(request), _object((await _body(request)).decode("utf-8", "replace"))
        if content.keys() != {"sealed"} or not isinstance(content["sealed"], bool):
            raise SupplyError("seal", "not a seal", '{"sealed": true}')
        refusal = station.seal(content["sealed"])
        if refusal is not None:
            raise HTTPException(400, str(refusal.error))
        return JSONResponse({"sealed": content["sealed"]})

    async def events(self, request: Request) -> Response:
        """Return the event log of a meter, newest first."""
        return JSONResponse(self._station(request).events())

    async def faults(self, request: Request) -> Response:
        """Return the faults on purpose of a meter, or let others hold."""
        desk = self._station(request).desk
        if request.method == "PUT":
            rows = _json((await _body(request)).decode("utf-8", "replace"))
            if not isinstance(rows, list):
                raise SupplyError("faults", "not a list", "a list of faults")
            desk.set_faults(rows)
        return JSONResponse(desk.fault_rows)

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
            works = (_send_waiting(websocket, viewer), _take_keys(websocket, audience, viewer), viewer.late.wait())
            doing: list[asyncio.Task[Any]] = [asyncio.create_task(work) for work in works]
            try:
                await asyncio.wait(doing, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in doing:
                    task.cancel()
                await asyncio.gather(*doing, return_exceptions=True)
        if viewer.late.is_set():
            with contextlib.suppress(RuntimeError, WebSocketDisconnect):
                await asyncio.wait_for(websocket.close(1013, "too slow"), 1.0)

    async def healthz(self, request: Request) -> Response:
        """Tell that the process lives."""
        return PlainTextResponse("ok\n")

    async def readyz(self, request: Request) -> Response:
        """Tell whether every meter measures and has power to keep what it counts."""
        runner = self._runner
        fine = runner.ready.is_set() and runner.failure is None and not runner.stopped.is_set()
        return PlainTextResponse("ready\n") if fine else PlainTextResponse("not ready\n", 503)


async def _send_waiting(websocket: WebSocket, viewer: Viewer) -> None:
    """Send what waits."""
    while True:
        await websocket.send_text(await viewer.waiting.get())


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
    try:
        async for part in request.stream():
            body += part
            if len(body) > MAX_BODY:
                raise TooLarge("body", f"longer than {MAX_BODY} bytes")
    except ClientDisconnect:
        raise HTTPException(400, "body: broken off") from None
    return body


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise SupplyError("body", "not JSON", "JSON") from None


def _object(text: str) -> dict[str, Any]:
    """Read a JSON object; SupplyError in one line where it is none."""
    content = _json(text)
    if not isinstance(content, dict):
        raise SupplyError("body", "not an object", "a JSON object")
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


class _Http(H11Protocol):
    """A connection of the page's server; at most so many, and each must begin a request soon."""

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
        raise BusError(f"--web {host}:{port}", reason, "a free port of this machine, 0 for any, none") from None
    config = uvicorn.Config(
        Pages(stations, runner, token).app, log_config=None, access_log=False, lifespan="off", http=_Http,
        ws="websockets-sansio", ws_max_size=MAX_BODY, ws_per_message_deflate=False, ws_ping_interval=_PING_S,
        ws_ping_timeout=2 * _PING_S, server_header=False, proxy_headers=False,
        timeout_graceful_shutdown=_GRACE_S,  # type: ignore[arg-type]
    )  # fmt: skip
    log = logging.getLogger("uvicorn.error")
    log.disabled = False
    log.addFilter(_has_trace)
    server = _Server(config)
    task = asyncio.create_task(server.serve(sockets=[listener]))
    name, number = listener.getsockname()[:2]
    try:
        yield f"[{name}]:{number}" if ":" in name else f"{name}:{number}"
    finally:
        logging.getLogger("uvicorn.error").disabled = True  # whoever is cut off now is no news
        server.should_exit = True
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(task, 2.0)
