"""A socket that listens, opened in one way by every door."""

from __future__ import annotations

import os
import socket

from countis.words.errors import BusError


def listening(host: str, port: int, option: str, backlog: int, allowed: str) -> tuple[socket.socket, str]:
    """Return a socket that listens, and where as HOST:PORT; BusError names the option where it cannot be opened."""
    try:
        family, _, _, _, at = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        listener = socket.create_server((str(at[0]), port), family=family, backlog=backlog)
    except (OSError, UnicodeError) as error:
        number = getattr(error, "errno", None)
        reason = os.strerror(number) if number and number > 0 else str(error)
        raise BusError(f"{option} {host}:{port}", reason, allowed) from None
    listener.setblocking(False)
    name, number = listener.getsockname()[:2]
    return listener, f"[{name}]:{number}" if ":" in name else f"{name}:{number}"
