"""Requests and viewers of the page, put to its server without a socket; what it answers is held to what an answer must be."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any, Final
from urllib.parse import unquote

from countis import E44, Meter
from countis.host.page.meter_view import MeterView
from countis.host.page.routes import Pages
from countis.host.running.feeder import Feeder
from countis.host.running.hub import MeterPort
from countis.host.running.runner import Runner
from countis.supply import three_phase

LONGEST: Final = 1000  # characters of a refusal
_SCOPE: Final = {"asgi": {"version": "3.0"}, "http_version": "1.1", "root_path": "", "client": ("127.0.0.1", 1),
                 "server": ("127.0.0.1", 80)}  # fmt: skip
_HEAD: Final = re.compile(rb"[-!#$%&'*+.^_`|~0-9a-zA-Z]+ [!-~]+")
_PIECE: Final = b"~~"  # between pieces of a body
_GONE: Final = b"gone"  # a piece that never comes, since the client has gone


class Refused(Exception):
    """What the page's server, or a viewer's seat, refuses."""


def _station() -> MeterView:
    """A meter that nobody feeds."""
    feeder = Feeder(Meter(E44, ct_primary=200), three_phase(230, 1.0), 1.0)
    return MeterView(feeder, MeterPort(feeder), {}, "none")


_STATION, _WATCHED = _station(), _station()


def request(data: bytes, token: str | None = None) -> None:
    """A line of method and path, lines of headers, an empty one, the body. Refused: a status from 400 on."""
    head, _, body = data.partition(b"\n\n")
    first, *others = head.split(b"\n")
    if _HEAD.fullmatch(first) is None:
        raise Refused("no head of a request")  # as h11 does
    method, _, target = first.decode("ascii").partition(" ")
    path, _, query = target.partition("?")
    pairs = [line.partition(b": ") for line in others]
    headers = [(b"host", b"localhost"), *((name.lower(), value) for name, _, value in pairs)]
    scope = {**_SCOPE, "type": "http", "scheme": "http", "method": method, "path": unquote(path), "headers": headers,
             "raw_path": path.encode(), "query_string": query.encode()}  # fmt: skip
    pieces = body.split(_PIECE)
    coming = [{"type": "http.request", "body": piece, "more_body": number < len(pieces)} if piece != _GONE
              else {"type": "http.disconnect"} for number, piece in enumerate(pieces, 1)]  # fmt: skip
    _judged(_played(scope, coming, token, _STATION), "http.response")


def viewing(data: bytes) -> None:
    """A line with the path, then a line for each message; bytes that are no text are a message of bytes."""
    path, *messages = data.split(b"\n")
    scope = {**_SCOPE, "type": "websocket", "scheme": "ws", "path": unquote(path.decode("latin-1")), "raw_path": path,
             "query_string": b"", "headers": [(b"host", b"localhost")], "subprotocols": [],
             "extensions": {"websocket.http.response": {}}}  # fmt: skip
    coming: list[dict[str, Any]] = [{"type": "websocket.connect"}]
    for message in messages:
        try:
            coming.append({"type": "websocket.receive", "text": message.decode()})
        except UnicodeDecodeError:
            coming.append({"type": "websocket.receive", "bytes": message})
    coming.append({"type": "websocket.disconnect", "code": 1001})
    sent = _played(scope, coming, None, _WATCHED)
    if sent[0]["type"] == "websocket.close":  # a path that is none
        raise Refused("not found")
    if sent[0]["type"] != "websocket.accept":
        _judged(sent, "websocket.http.response")
    for message in sent[1:]:
        assert message["type"] in ("websocket.send", "websocket.close"), message["type"]
        if message["type"] == "websocket.close":
            assert len(message["reason"].encode()) <= 123, message["reason"]
            raise Refused(f"{message['code']} {message['reason']}")
        json.loads(message["text"], parse_constant=_no_json)
    assert not coming, "ended without a word"


def _played(scope: dict[str, Any], coming: list[dict[str, Any]], token: str | None, station: MeterView) -> list[Any]:
    """Put a request, or a viewer, to a server; return what it sent. coming: what it did not take stays there."""
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return coming.pop(0) if coming else {"type": f"{scope['type']}.disconnect", "code": 1001}

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(Pages([station], Runner([]), token).app(scope, receive, send))
    assert sent, "no answer"
    return sent


def _judged(sent: list[Any], kind: str) -> None:
    """Hold an answer to what it must be; Refused where it is a refusal."""
    begun, *parts = sent
    assert begun["type"] == f"{kind}.start", begun
    assert all(part["type"] == f"{kind}.body" for part in parts), parts
    assert [part.get("more_body", False) for part in parts] == [True] * (len(parts) - 1) + [False], parts
    body, status = b"".join(part.get("body", b"") for part in parts), begun["status"]
    headers = {name.lower(): value for name, value in begun["headers"]}
    assert not any(byte in name + value for name, value in headers.items() for byte in (10, 13, 0)), headers
    assert int(headers.get(b"content-length", len(body))) == len(body), headers
    assert 200 <= status < 500 or status == 503, f"status {status}"
    text, form = body.decode(), headers.get(b"content-type", b"")
    if form.startswith(b"application/json"):
        json.loads(text, parse_constant=_no_json)
    if status >= 400:
        if not form.startswith(b"text/html"):
            assert text.endswith("\n"), text
            assert text[:-1].isprintable(), text
            assert len(text) < LONGEST, text
        raise Refused(f"{status} {text[:-1] if form.startswith(b'text/plain') else ''}")


def _no_json(name: str) -> None:
    raise AssertionError(f"{name} is no JSON")
