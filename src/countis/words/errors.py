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
from typing import Self


def printable(text: str) -> str:
    """Return a text on one line, with `?` for each character that cannot be printed."""
    return "".join(ch if ch.isprintable() else "?" for ch in text)


def plain(text: str, most: int = 60) -> str:
    """Return a foreign text as printable text of at most `most` characters."""
    return printable(text if len(text) <= most else f"{text[: most - 1]}…")


class CountisError(Exception):
    """Any error of ours; its text is one line for people: `WHERE: what is wrong (allowed: …)`.

    where: an option, a file with its line, a setting, a channel. allowed: what is possible instead, or "".
    """

    def __init__(self, where: object, wrong: object, allowed: object = "") -> None:
        self.where, self.wrong, self.allowed = str(where), str(wrong), str(allowed)
        super().__init__(where, wrong, allowed)

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where else ""
        return f"{place}{self.wrong}" + (f" (allowed: {self.allowed})" if self.allowed else "")

    def inside(self, where: object) -> Self:
        """Return the same error with an outer place before its own, such as the file of a key."""
        outer = self.__class__.__new__(self.__class__)  # a subclass may be made of other arguments
        outer.__dict__.update(self.__dict__)
        outer.where = f"{where}: {self.where}" if self.where else str(where)
        return outer


class SettingError(CountisError, ValueError):
    """A setting does not take a value."""


class UnknownSymbol(CountisError, KeyError):
    """A symbol names nothing."""

    def __init__(self, symbol: str, known: Iterable[str]) -> None:
        names = list(known)
        same = [name for name in names if name.lower() == symbol.lower()]
        near = same or get_close_matches(symbol, names, n=3, cutoff=0.5)
        meant = f", did you mean {', '.join(near)}?" if near else ""
        super().__init__(symbol, f"unknown symbol{meant}", "see countis map")
        self.symbol = symbol


class SupplyError(CountisError, ValueError):
    """A supply, recording or array of samples cannot be used."""


class SiteError(CountisError, ValueError):
    """A site file cannot be used."""


class TraceError(CountisError, ValueError):
    """A trace of a line cannot be read or written."""


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

    def __init__(self, where: object, wrong: object, code: int) -> None:
        super().__init__(where, wrong)
        self.code = code
