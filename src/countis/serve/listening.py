"""A socket that listens, opened in one way by every door."""

from __future__ import annotations

import os
import socket

from countis.words.errors import BusError


def listening(host: str, port: int, option: str, backlog: int, allowed: str) -> tuple[socket.socket, str]:
    """Return a listening socket and its HOST:PORT; BusError names the option where it cannot be opened."""
    try:
        first, *_ = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        listener = socket.create_server((str(first[4][0]), port), family=first[0], backlog=backlog)
    except (OSError, UnicodeError) as error:
        number = getattr(error, "errno", None)
        reason = os.strerror(number) if number and number > 0 else getattr(error, "strerror", None) or error
        raise BusError(f"{option} {host}:{port}", reason, allowed) from None
    listener.setblocking(False)
    name, number = listener.getsockname()[:2]
    return listener, f"[{name}]:{number}" if ":" in name else f"{name}:{number}"
