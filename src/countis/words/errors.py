"""Every error of the package, named by who is guilty.

CountisError
├── SettingError       your value is out of range, or sealed
├── UnknownSymbol      no quantity or setting has that name
├── SupplyError        a supply, a recording or samples that cannot be used
├── SiteError          a site file that cannot be used
├── TraceError         a trace of a line that cannot be read or written
├── MemoryImageError   a memory that is damaged, foreign, in use or of a newer version
└── BusError           the other end of the line
    ├── NoReply        silence
    ├── BadReply       bytes that are not the answer to the request
    └── Refused        an exception reply; `code` is its number
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class CountisError(Exception):
    """Any error of ours; its text is one line for people."""


class SettingError(CountisError, ValueError):
    """A setting was given a value that it does not take."""


class UnknownSymbol(CountisError, KeyError):
    """A symbol names nothing."""

    def __init__(self, symbol: str, known: Iterable[str]) -> None:
        names = list(known)
        same = [name for name in names if name.lower() == symbol.lower()]
        near = same or get_close_matches(symbol, names, n=3, cutoff=0.5)
        self.symbol = symbol
        meant = f", did you mean {', '.join(near)}?" if near else ""
        self.text = f"{symbol}: unknown symbol{meant} (allowed: see countis map)"
        super().__init__(self.text)

    def __str__(self) -> str:  # KeyError would print the repr
        return self.text


class SupplyError(CountisError, ValueError):
    """A supply, recording or array of samples cannot be used."""


class SiteError(CountisError, ValueError):
    """A site file cannot be used."""


class TraceError(CountisError, ValueError):
    """A trace of what was said on a line cannot be read or written."""


class MemoryImageError(CountisError):
    """A memory cannot be read; it is left untouched."""


class BusError(CountisError):
    """Something went wrong on the line."""


class NoReply(BusError):
    """The device was silent until the time-out."""


class BadReply(BusError):
    """The bytes that came are not an answer to the request."""


class Refused(BusError):
    """The device answered with an exception code."""

    def __init__(self, text: str, code: int) -> None:
        super().__init__(text)
        self.code = code
