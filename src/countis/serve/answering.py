"""What stands behind a door: meters of this process, a gateway to real ones, or a simulated line.

Rule: each door moves bytes on a thread of its own and calls from it; whatever answers guards its own state.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

from countis.modbus import tcp
from countis.modbus.line.answer import Answer


class Speed(NamedTuple):
    """Speed and character of a serial line; parity is N, E or O."""

    baud: int
    parity: str
    stop_bits: int

    @property
    def bits(self) -> int:
        """Bits of a character: start, 8 data, parity, stop."""
        return 9 + self.stop_bits + (self.parity != "N")

    @property
    def comset(self) -> str:
        """Parity and stop bits as people write them, 8N1."""
        return f"8{self.parity}{self.stop_bits}"


class Answering(Protocol):
    """Who answers on a line; every method may be called by the threads of several doors at once."""

    def rtu(self, frame: bytes) -> Answer:
        """Answer a whole RTU frame, addressed or broadcast."""

    def tcp(self, envelope: tcp.Envelope) -> Answer:
        """Answer a request of Modbus TCP; the bytes are the whole reply with its header."""

    def rtu_cached(self, frame: bytes) -> bytes | None:
        """Return the reply to a whole frame if it can be given without asking anybody, else None."""

    def tcp_cached(self, request: bytes) -> bytes | None:
        """Return the reply to a whole TCP request if it can be given without asking anybody, else None."""

    def addresses(self) -> set[int]:
        """Return the addresses that are answered on a serial line now."""

    @property
    def speed(self) -> Speed:
        """How fast the serial line is to be."""

    def report(self, trouble: str, *, over: bool = False) -> None:
        """Take note of a trouble of a door for whoever watches, or that it is over."""
