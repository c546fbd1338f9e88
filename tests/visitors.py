"""Clients of the page's server for tests: polite ones, and ones that are raw sockets."""

from __future__ import annotations

import http.client
import json
import socket
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from running import Running

AT = "/api/meters/5"
_KEY = "Sec-WebSocket-Key: " + "A" * 22 + "=="
UPGRADE = ("Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13", _KEY, "")


class Answer(NamedTuple):
    """What came back."""

    status: int
    text: str
    headers: dict[str, str]

    @property
    def json(self) -> Any:
        return json.loads(self.text)

    def refuses(self, status: int, part: str = "") -> bool:
        """Whether it is this status and one line that says so."""
        return self.status == status and part in self.text and self.text.endswith("\n") and self.text.count("\n") == 1


class Site:
    """A running server as its clients see it."""

    def __init__(self, running: Running, token: str | None = None) -> None:
        self.running, self.port = running, int(running.ready["web"].rsplit(":", 1)[1])
        self.host, self.headers = f"127.0.0.1:{self.port}", {} if token is None else {"authorization": f"Bearer {token}"}

    def ask(self, method: str, path: str, body: Any = None, headers: Any = None, *, rate: bool = True, **more: Any) -> Answer:
        """Ask; where too many changes were made, wait and ask again."""
        while True:
            line = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
            try:
                line.request(method, path, body, {**self.headers, **(headers or {})}, **more)
                got = line.getresponse()
                answer = Answer(got.status, got.read().decode(), {k.lower(): v for k, v in got.getheaders()})
            finally:
                line.close()
            if answer.status != 429 or not rate:
                return answer
            time.sleep(1.0)

    def live(self, address: int = 5, **more: Any) -> ClientConnection:
        viewer: ClientConnection = connect(f"ws://{self.host}/api/meters/{address}/live",
                                           **{"additional_headers": self.headers, **more})  # fmt: skip
        return viewer

    def raw(self, *lines: str, small: bool = False) -> socket.socket:
        """A socket on which a request was begun, as nobody's library would."""
        line = socket.socket()
        if small:
            line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        line.settimeout(10)
        line.connect(("127.0.0.1", self.port))
        line.sendall("".join(f"{text}\r\n" for text in lines).encode("latin-1"))
        return line

    def deaf(self, small: bool = False) -> socket.socket:
        """A viewer that answers no ping and reads no further than its welcome: a host that has gone without a word."""
        who = [f"{name}: {value}" for name, value in self.headers.items()]
        line = self.raw(f"GET {AT}/live HTTP/1.1", f"Host: {self.host}", *who, *UPGRADE, small=small)
        assert line.recv(12) == b"HTTP/1.1 101"
        return line


def key(name: str, down: bool, n: int) -> str:
    return json.dumps({"key": name, "down": down, "n": n})


def masked(text: str) -> bytes:
    return bytes((0x81, 0x80 | len(text))) + bytes(4) + text.encode()


def closed(viewer: ClientConnection) -> tuple[int, str]:
    """Read on until it is closed; code and reason."""
    for _ in range(1000):
        try:
            viewer.recv(10)
        except ConnectionClosed as told:
            return (told.rcvd.code, told.rcvd.reason) if told.rcvd is not None else (0, "no close frame")
    return 0, "it goes on"


def next_of(viewer: ClientConnection, right: Callable[[dict[str, Any]], Any], patience: float = 8.0) -> dict[str, Any]:
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        message: dict[str, Any] = json.loads(viewer.recv(patience))
        if right(message):
            return message
    raise AssertionError("no such message")
