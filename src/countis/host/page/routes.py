"""The page's server: meters as JSON, their panel live over a WebSocket, the supply they are wired to.

Rule: a bad request gets 400 and one line; who may ask at all is decided in serve/web/guard.py.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Sequence
from importlib import resources
from typing import Any, Final
from urllib.parse import parse_qsl

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from countis.host.page.meter_view import MeterView, lcd
from countis.host.page.viewers import Viewer, Viewers
from countis.host.page.vocabulary import vocabulary
from countis.host.running.plan import Endpoint
from countis.host.running.plant import OpenMeter
from countis.host.running.runner import Runner
from countis.meter.memory.event_log import Entry
from countis.meter.state import Snapshot
from countis.serve.web.guard import COOKIE, MAX_BODY, Guard, line, matches
from countis.serve.web.server import web_server
from countis.words.errors import CountisError, SupplyError, printable

MOST_VIEWERS: Final = 64
_TYPES: Final = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
_STATIC: Final = resources.files("countis.host.page").joinpath("static")


class TooLarge(CountisError):
    """A body that is longer than is taken."""


class Pages:
    """The routes. The loop runs them all, except a change of supply, which a thread of the pool works out."""

    def __init__(self, views: Sequence[MeterView], runner: Runner, token: str | None) -> None:
        self._runner, self._token = runner, token
        self._supplying = asyncio.Lock()  # guards the threads of the pool: one change of supply at a time
        self.viewers = [Viewers(view) for view in views]
        self._by_name = {viewers.view.name: viewers for viewers in self.viewers}
        runner.publisher.subscribe(self)
        at = "/api/meters/{meter}"
        self.app = Starlette(
            routes=[
                Route("/", self.file),
                Route("/static/{name}", self.file),
                Route("/login", self.login, methods=["POST"]),
                Route("/api/vocabulary", self.vocabulary),
                Route("/api/meters", self.meters),
                Route(at, self.meter),
                Route(f"{at}/supply", self.supply),
                Route(f"{at}/supply", self.set_supply, methods=["PUT"]),
                Route(f"{at}/seal", self.seal, methods=["PUT"]),
                Route(f"{at}/faults", self.faults, methods=["GET", "PUT"]),
                Route(f"{at}/events", self.events),
                WebSocketRoute(f"{at}/live", self.live),
                Route("/healthz", self.healthz),
                Route("/readyz", self.readyz),
            ],
            middleware=[Middleware(Guard, token=token)],
            exception_handlers={CountisError: _bad, HTTPException: _refused},
        )

    def on_second(self, name: str, snapshot: Snapshot) -> None:
        """Show the values of a second that has passed."""
        self._by_name[name].show_state()

    def on_event(self, name: str, number: int, entry: Entry) -> None:
        """Show that there is an event."""
        self._by_name[name].show_state()

    def _viewers(self, key: str) -> Viewers:
        """Return those of a meter by its name, or by its address where that is unique."""
        if key in self._by_name:
            return self._by_name[key]
        at_address = [viewers for viewers in self.viewers if str(viewers.view.address) == key]
        if len(at_address) == 1:
            return at_address[0]
        if at_address:
            raise HTTPException(409, f"{len(at_address)} meters at address {key} (allowed: a name)")
        which = f"at address {key[:20]}" if key.isdecimal() else key[:60]
        raise HTTPException(404, f"no meter {which}")

    def _view(self, request: Request) -> MeterView:
        return self._viewers(request.path_params["meter"]).view

    async def file(self, request: Request) -> Response:
        """Return a file of the page, by a name that is one of its files; without a name the page."""
        name = request.path_params.get("name", "index.html")
        for file in _STATIC.iterdir():
            if file.name == name and (kind := _TYPES.get(name.rsplit(".", 1)[-1])) is not None:
                return Response(file.read_bytes(), media_type=kind)
        raise HTTPException(404, "no such file")

    async def login(self, request: Request) -> Response:
        """Give the cookie for the token."""
        token = dict(parse_qsl(await _text(request))).get("token", "")
        if not matches(self._token, token):
            raise HTTPException(401, "token: wrong")
        answer = RedirectResponse("/", 303)
        answer.set_cookie(COOKIE, token, httponly=True, samesite="strict")
        return answer

    async def vocabulary(self, request: Request) -> Response:
        """Return kinds, units, profiles, limits and models from the tables."""
        return JSONResponse(vocabulary())

    async def meters(self, request: Request) -> Response:
        """List the meters."""
        return JSONResponse([viewers.view.summary() for viewers in self.viewers])

    async def meter(self, request: Request) -> Response:
        """Return everything of one meter."""
        view = self._view(request)
        return JSONResponse({**view.state(), "lcd": lcd(view.frame())})

    async def supply(self, request: Request) -> Response:
        """Return what a meter is wired to."""
        view = self._view(request)
        return JSONResponse({"name": view.supply_name, "document": view.supply})

    async def set_supply(self, request: Request) -> Response:
        """Feed a meter from a supply, given as JSON or as TOML."""
        viewers, body = self._viewers(request.path_params["meter"]), await _body(request)
        view = viewers.view
        try:
            text = body.decode()
        except UnicodeDecodeError as error:
            raise SupplyError("supply", f"byte {error.start} is not UTF-8", "UTF-8") from None
        async with self._supplying:
            if request.headers.get("content-type", "").startswith("application/json"):
                await asyncio.to_thread(view.set_supply, _object(text), "page")
            else:
                await asyncio.to_thread(view.set_supply_text, text, "scenario")
        viewers.show_supply()
        return JSONResponse({"name": view.supply_name, "document": view.supply})

    async def seal(self, request: Request) -> Response:
        """Close or break the seal."""
        view, content = self._view(request), _object(await _text(request))
        if content.keys() != {"sealed"} or not isinstance(content["sealed"], bool):
            raise SupplyError("seal", "not a seal", '{"sealed": true}')
        refusal = view.seal(content["sealed"])
        if refusal is not None:
            raise HTTPException(400, str(refusal.error))
        return JSONResponse(content)

    async def events(self, request: Request) -> Response:
        """Return the event log of a meter, newest first."""
        return JSONResponse(self._view(request).events())

    async def faults(self, request: Request) -> Response:
        """Return the faults on purpose of a meter, or let others hold."""
        port = self._view(request).port
        if request.method == "PUT":
            rows = _json(await _text(request))
            if not isinstance(rows, list):
                raise SupplyError("faults", "not a list", "a list of faults")
            port.set_faults(rows)
        return JSONResponse(port.fault_rows)

    async def live(self, websocket: WebSocket) -> None:
        """Show a meter, and take its keys, until the viewer goes."""
        try:
            viewers = self._viewers(websocket.path_params["meter"])
        except HTTPException as error:
            await websocket.send_denial_response(line(error.detail, error.status_code))
            return
        if sum(len(each.viewers) for each in self.viewers) >= MOST_VIEWERS:
            await websocket.send_denial_response(line(f"too many viewers (allowed: {MOST_VIEWERS})", 503))
            return
        await websocket.accept()
        with viewers.seat() as viewer:
            sending, taking = _send_waiting(websocket, viewer), _take_keys(websocket, viewers, viewer)
            works = (sending, taking, viewer.late.wait())
            tasks: list[asyncio.Task[Any]] = [asyncio.create_task(work) for work in works]
            try:
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
        if viewer.late.is_set():
            with contextlib.suppress(RuntimeError, WebSocketDisconnect):
                await asyncio.wait_for(websocket.close(1013, "too slow"), 1.0)

    async def healthz(self, request: Request) -> Response:
        """Tell that the process lives."""
        return PlainTextResponse("ok\n")

    async def readyz(self, request: Request) -> Response:
        """Tell whether every meter measures and is saved; those that do not are named, a line each."""
        runner = self._runner
        if not runner.ready.is_set() or runner.failure is not None or runner.stopped.is_set():
            return PlainTextResponse("not ready\n", 503)
        troubles = "".join(f"not ready: {printable(text)}\n" for text in runner.troubles)
        return PlainTextResponse(troubles or "ready\n", 503 if troubles else 200)


def page_server(
    meters: Sequence[OpenMeter], runner: Runner, at: Endpoint, token: str | None
) -> contextlib.AbstractAsyncContextManager[str]:
    """Serve the page of these meters for as long as the block lasts; give HOST:PORT."""
    views = [MeterView(meter.feeder, meter.port, meter.supply, meter.supply_name) for meter in meters]
    return web_server(Pages(views, runner, token).app, at, "--web")


async def _send_waiting(websocket: WebSocket, viewer: Viewer) -> None:
    """Send what waits."""
    while True:
        await websocket.send_text(await viewer.waiting.get())


async def _take_keys(websocket: WebSocket, viewers: Viewers, viewer: Viewer) -> None:
    """Take messages until the viewer goes or sends something else."""
    with contextlib.suppress(WebSocketDisconnect):
        while True:
            message = await websocket.receive()
            if message["type"] == "websocket.disconnect":
                return
            try:
                viewers.take(viewer, message.get("text") or "")
            except (ValueError, RecursionError) as error:
                reason = "not JSON" if isinstance(error, json.JSONDecodeError) else str(error)[:120]
                await websocket.close(1008, reason)
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


async def _text(request: Request) -> str:
    return (await _body(request)).decode("utf-8", "replace")


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


def _bad(request: Request, error: Exception) -> Response:
    return line(str(error), 413 if isinstance(error, TooLarge) else 400)


def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return line(error.detail, error.status_code)
