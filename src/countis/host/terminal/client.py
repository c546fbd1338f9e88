"""The other end of a running meter's page, over HTTP: for `countis panel` and `countis faults`.

Rule: no proxy is asked and no redirection followed, so that the token goes nowhere else.
"""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any, Final
from urllib.parse import quote, urlsplit

from countis.words.errors import BadReply, BusError, plain

PATIENCE: Final = 3.0  # s for an answer
_MOST: Final = 1 << 20  # bytes of an answer
_MOST_REFUSAL: Final = 300  # characters of a refusal that are passed on
_WHERE: Final = "where a countis run shows its page"


@dataclass(frozen=True, slots=True)
class Server:
    """The page's server of a `countis run` or `bus`."""

    url: str
    token: str | None

    @property
    def headers(self) -> dict[str, str]:
        """What each request carries."""
        return {} if self.token is None else {"Authorization": f"Bearer {self.token}"}

    def at(self, meter: str, what: str) -> str:
        """Return the path of something of a meter; meter: its name, or its address where that is unique."""
        return f"/api/meters/{quote(meter, safe='')}/{what}"

    def live(self, meter: str) -> str:
        """Return where a meter is shown live."""
        return f"ws{self.url.removeprefix('http')}{self.at(meter, 'live')}"

    def meters(self) -> dict[str, int]:
        """Ask for its meters: addresses by name. BusError where there is no answer, or another."""
        try:
            meters = self.ask("GET", "/api/meters", self.url)
            return {str(meter["name"]): int(meter["address"]) for meter in meters}
        except (TypeError, KeyError, ValueError):
            raise BadReply(self.url, "no countis answers there", _WHERE) from None

    def ask(self, method: str, path: str, where: str, content: object = None) -> Any:
        """Send JSON, or nothing; return the JSON of the answer. BusError names `where`, or is the refusal."""
        body = None if content is None else json.dumps(content)
        try:
            status, answer = self._exchange(method, path, body)
            if status == 200:
                return json.loads(answer)
        except (HTTPException, ValueError, RecursionError):
            raise BadReply(where, "no countis answers there", _WHERE) from None
        except OSError as error:
            raise BusError(where, reason_of(error), _WHERE) from None
        if status == 401:
            raise BusError(where, "token missing or wrong", "--token T, as countis run has it")
        if not 400 <= status < 500:
            raise BadReply(where, "no countis answers there", _WHERE)
        raise BusError("", plain(" ".join(answer.decode("utf-8", "replace").split()), _MOST_REFUSAL))

    def _exchange(self, method: str, path: str, body: str | None) -> tuple[int, bytes]:
        parts = urlsplit(self.url)
        kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
        connection = kind(parts.hostname or "", parts.port, timeout=PATIENCE)
        with contextlib.closing(connection):
            connection.request(method, parts.path + path, body, headers=self.headers)
            answer = connection.getresponse()
            return answer.status, answer.read(_MOST)


def reason_of(error: Exception) -> str:
    """Return why something failed, on one line."""
    return " ".join((getattr(error, "strerror", None) or str(error) or type(error).__name__).split())


def server(url: str, token: str | None) -> Server:
    """Return the server of an URL; BusError where that is none."""
    try:
        parts = urlsplit(url)
        possible = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        possible = False
    if not possible or set(url) & set("?#@ "):
        raise BusError(f"{url!r}", "no address of a page", "http://HOST:PORT")
    return Server(url.rstrip("/"), token)


def chosen(server: Server, meters: dict[str, int], key: str | None) -> str:
    """Return the name of a meter. key: its name or unique address, None: the first. BusError if none."""
    if meters and key is None:
        return next(iter(meters))
    if key in meters:
        return key
    at_address = [name for name, address in meters.items() if str(address) == key]
    if len(at_address) == 1:
        return at_address[0]
    if at_address:
        raise BusError(server.url, f"{len(at_address)} meters at address {key}", ", ".join(at_address))
    if (key or "").isdecimal():
        addresses = ", ".join(map(str, meters.values()))
        raise BusError(server.url, f"no meter at address {key}", addresses or "none")
    raise BusError(server.url, f"no meter {key}", ", ".join(meters) or "none")
