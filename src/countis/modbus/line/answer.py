"""A reply as it leaves for the line."""

from __future__ import annotations

from typing import Final, NamedTuple


class Answer(NamedTuple):
    """How much later a reply leaves, and its bytes; none is silence."""

    delay_ns: int
    data: bytes


SILENCE: Final = Answer(0, b"")
