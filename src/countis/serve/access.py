"""Who may connect to the bus ports, and who may write.

Rule: Modbus itself protects nothing. What is refused gets an exception or no connection; no meter sees it.
"""

from __future__ import annotations

import ipaddress
import ssl
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from countis.modbus import pdu
from countis.serve.allowance import Allowance
from countis.words.errors import SettingError

_WRITES: Final = (pdu.WRITE, pdu.WRITE_MANY)
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Policy:
    """What a line lets in. allow: networks that may connect, () is all. writes: a second, None is any number.

    All doors of a process share it, each calling from its own thread.
    """

    def __init__(
        self, allow: tuple[Network, ...] = (), read_only: bool = False, writes: int | None = None
    ) -> None:
        self._allow, self._read_only = allow, read_only
        self._writes = None if writes is None else Allowance(writes)
        self._lock = threading.Lock()  # guards the allowance alone; the rest never changes

    def admits(self, peer: str) -> bool:
        """Tell whether an address may connect."""
        if not self._allow:
            return True
        try:
            address = ipaddress.ip_address(peer.partition("%")[0])
        except ValueError:
            return False
        mapped = getattr(address, "ipv4_mapped", None)
        return any((mapped or address) in network for network in self._allow)

    def refusal(self, request: bytes, now: float) -> int | None:
        """Return the exception code that refuses a request PDU, None where it may pass. now: monotonic s."""
        if not request or request[0] not in _WRITES:
            return None
        if self._read_only:
            return pdu.Code.FUNCTION
        if self._writes is None:
            return None
        with self._lock:
            return None if self._writes.spend("", now) else pdu.Code.BUSY


@dataclass(frozen=True, slots=True)
class Access:
    """Who may reach the bus ports: the policy, where Modbus/TCP Security listens, and its certificates."""

    policy: Policy = field(default_factory=Policy)
    tls_at: tuple[str, int] | None = None
    tls: ssl.SSLContext | None = None


def read_networks(texts: Sequence[str]) -> tuple[Network, ...]:
    """Read addresses and networks, e.g. 10.0.0.0/8; SettingError names the first that is neither."""
    out = []
    for text in texts:
        try:
            out.append(ipaddress.ip_network(text))
        except ValueError:
            wrong = f"{text!r} is not possible"
            raise SettingError("--allow", wrong, "an address or a network, 10.0.0.0/8") from None
    return tuple(out)


def tls_context(certificate: Path, key: Path, authority: Path) -> ssl.SSLContext:
    """Return the TLS of Modbus/TCP Security: 1.2 or later, clients certified by `authority`.

    SettingError names the file that cannot be used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_mode = ssl.CERT_REQUIRED
    for option, path in (("--tls-cert", certificate), ("--tls-key", key), ("--tls-ca", authority)):
        if not path.is_file():
            raise SettingError(f"{option} {path}", "not a file", "PEM")
    try:
        context.load_cert_chain(certificate, key)
        context.load_verify_locations(authority)
    except (ssl.SSLError, OSError) as error:
        reason = getattr(error, "reason", None) or error
        allowed = "a certificate, its key, an authority"
        raise SettingError(f"--tls-cert {certificate}", reason, allowed) from None
    return context
