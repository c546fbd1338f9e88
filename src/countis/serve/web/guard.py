"""Who may ask the page's server for what, before any route is reached.

Rule: a refusal is a status and one line. Without a token the server is for this machine alone: it must be
asked by an address or as localhost, so that no foreign page can reach it under its own name (DNS rebinding).
"""

from __future__ import annotations

import hmac
import ipaddress
import time
from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import cookie_parser
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket

from countis.serve.allowance import Allowance
from countis.words.errors import printable

COOKIE: Final = "countis_token"
MAX_BODY: Final = 65_536
CHANGES_PER_SECOND: Final = 20
_LONGEST: Final = 900  # characters of a refusal
_READING: Final = ("GET", "HEAD", "OPTIONS")
_OPEN: Final = ("/login", "/healthz", "/readyz", "/static/page.css")
_HEADERS: Final = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-cache",
}
_LOGIN: Final = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>countis</title><link rel="stylesheet" href="/static/page.css"></head>
<body><main class="login"><h1>countis</h1><form method="post" action="/login">
<label>Token <input type="password" name="token" autocomplete="current-password" required></label>
<button>Open</button></form></main></body></html>
"""


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Return the address that a host is, None of a name."""
    try:
        return ipaddress.ip_address("127.0.0.1" if host == "localhost" else host.strip("[]"))
    except ValueError:
        return None


def is_local(host: str) -> bool:
    """Tell whether a host is this machine's loopback."""
    address = _address(host)
    return address is not None and address.is_loopback


class Guard:
    """Middleware: host, token, origin, rate; and the headers of every answer. The loop alone calls it."""

    def __init__(self, app: ASGIApp, token: str | None) -> None:
        self._app, self._token = app, token
        self._allowance = Allowance(CHANGES_PER_SECOND)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a refusal, or hand on."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        refusal = self._refusal(scope, Headers(scope=scope))
        if scope["type"] == "websocket":
            if refusal is None:
                await self._app(scope, receive, send)
            else:
                await WebSocket(scope, receive, send).send_denial_response(refusal)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(_HEADERS)
            await send(message)

        await (self._app if refusal is None else refusal)(scope, receive, with_headers)

    def _refusal(self, scope: Scope, headers: Headers) -> Response | None:
        """Return what is answered instead, None where the request may pass."""
        host = headers.get("host", "")
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            name = ""
        if self._token is None and _address(name) is None:
            allowed = "an address or localhost; others with --token"
            return line(f"host {name[:60]!r}: not this server (allowed: {allowed})", 400)
        if self._token is not None and scope["path"] not in _OPEN and not self._knows(headers):
            wants_page = scope["type"] == "http" and "text/html" in headers.get("accept", "")
            return HTMLResponse(_LOGIN, 401) if wants_page else line("token: missing or wrong", 401)
        if scope["type"] == "http" and scope["method"] in _READING:
            return None
        origin = headers.get("origin")
        if origin is not None and origin.partition("://")[2] != host:
            return line(f"origin {origin[:60]!r}: not this page", 403)
        client = (scope.get("client") or ("", 0))[0]
        if scope["type"] == "http" and not self._allowance.spend(client, time.monotonic()):
            return line(f"too many changes (allowed: {CHANGES_PER_SECOND} a second)", 429)
        return None

    def _knows(self, headers: Headers) -> bool:
        """Tell whether a request carries the token, in a header or a cookie."""
        scheme, _, token = headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            token = cookie_parser(headers.get("cookie", "")).get(COOKIE, "")
        return matches(self._token, token)


def matches(token: str | None, candidate: str) -> bool:
    """Compare with the token in constant time; without a token nothing does."""
    return bool(token) and hmac.compare_digest(candidate.encode(), (token or "").encode())


def line(text: str, status: int) -> Response:
    """Return a refusal: one line of text."""
    return PlainTextResponse(printable(" ".join(text.split())[:_LONGEST]) + "\n", status, headers=_HEADERS)
