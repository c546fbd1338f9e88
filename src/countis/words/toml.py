"""TOML with lines: what is wrong with a file is told with file, line, key and what is allowed.

Rule: knows no key of its own; tables are checked against rows of (default, reader, what is allowed).
"""

from __future__ import annotations

import re
import reprlib
import tomllib
from collections.abc import Callable, Mapping
from copy import copy
from typing import Any, Final

from countis.words.errors import CountisError, SupplyError, plain, printable

_MANY_PARTS: Final = re.compile(r"""(?<![\w-])(?:(?:[\w-]+|"[^"\n]*"|'[^'\n]*')[ \t]*\.[ \t]*){50}""")  # of a dotted key
_LONG_NUMBER: Final = re.compile(r"\b0[xob][\dA-Fa-f_]{1000}")  # which Python reads, but cannot say
Row = tuple[Any, Callable[[Any], Any], str]  # default, reader (ValueError, TypeError, KeyError: not possible), what is allowed


class Reader:
    """One TOML file; turns values into what they must be, or raises with their line."""

    def __init__(self, text: str, name: str, error: type[CountisError] = SupplyError) -> None:
        self.name, self.lines, self._error = name, text.split("\n"), error
        self._outer: tuple[int, str] | None = None  # line and key that everything is inside of
        many = _MANY_PARTS.search(text)
        if many is not None:  # which costs time and memory by the square of its length
            line = text.count("\n", 0, many.start()) + 1
            raise self._error(f"{name}:{line}", "nested too deeply", "TOML")
        long = _LONG_NUMBER.search(text)
        if long is not None:
            line = text.count("\n", 0, long.start()) + 1
            raise self._error(f"{name}:{line}", "a number of 1000 digits and more", "TOML")
        try:
            self.document: dict[str, Any] = tomllib.loads(text)
        except ValueError as error:  # of TOML, or of a number too long to be one
            found = re.search(r"\(at (?:line (\d+), column \d+|end of document)\)", str(error))
            place = found.group(1) if found and found.group(1) else str(len(self.lines))
            raise self._error(f"{name}:{place}", plain(str(error).split(" (at")[0], 200), "TOML") from None
        except RecursionError:
            raise self._error(f"{name}:1", "nested too deeply", "TOML") from None

    def line_of(self, table: str, index: int, key: str) -> int:
        """Return the line of a key in the n-th table of that name, or of the table itself; 1 where it cannot be told."""
        seen, inside, at = -1, table == "", 1
        for count, line in enumerate(self.lines, 1):
            header = re.match(r"\s*\[\[?\s*([\w.\-]+)\s*\]\]?", line)
            if header:
                if header.group(1) == (f"{table}.{key}" if table else key):
                    return count
                seen += header.group(1) == table
                inside = header.group(1) == table and seen == index
                at = count if inside else at
            elif inside and re.match(rf"\s*[\"']?{re.escape(key)}[\"']?\s*[.=]", line):
                return count
            elif seen < 0 and table and re.match(rf"\s*{re.escape(table)}\s*(\.\s*{re.escape(key)}\s*)?=", line):
                return count  # a dotted key or an inline table
        return at

    def fail(self, table: str, index: int, key: str, wrong: str, allowed: str) -> CountisError:
        """Return the error of a key: where it stands, what is wrong with it, what is allowed."""
        path = f"{table}.{plain(key)}" if table else plain(key)
        line, outer = self._outer or (self.line_of(table, index, key), "")
        return self._error(printable(f"{self.name}:{line}: {outer}{path}"), printable(wrong), printable(allowed))

    def inside(self, table: str, index: int, key: str) -> Reader:
        """Return a reader that tells of whatever is wrong as being inside that key."""
        inner = copy(self)
        inner._outer = (self.line_of(table, index, key), f"{table}.{key}: ")
        return inner

    def table(self, values: Any, name: str, index: int, rows: Mapping[str, Row]) -> dict[str, Any]:
        """Check one table against its rows, by key."""
        if not isinstance(values, dict):
            raise self.fail("", 0, name, f"{short(values)} is not a table", f"[{name}]")
        for key in values:
            if key not in rows:
                raise self.fail(name, index, key, "unknown key", ", ".join(rows))
        out = {}
        for key, (default, read, allowed) in rows.items():
            if key not in values:
                out[key] = default
                continue
            try:
                out[key] = read(values[key])
            except (ValueError, TypeError, KeyError, AttributeError):
                raise self.fail(name, index, key, f"{short(values[key])} is not possible", allowed) from None
        return out


def short(value: Any) -> str:
    """Return a value as text of bounded length, on one line."""
    return reprlib.repr(value).replace("\n", " ")


def number(low: float, high: float) -> Callable[[Any], float]:
    """Return a reader of numbers within a range; NaN is in none."""

    def read(value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            raise ValueError
        return float(value)

    return read


def whole(low: int, high: int) -> Callable[[Any], int]:
    """Return a reader of whole numbers within a range."""

    def read(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise ValueError
        return value

    return read


def one_of(*allowed: str) -> Callable[[Any], str]:
    """Return a reader of one of some words."""

    def read(value: Any) -> str:
        if value not in allowed:
            raise ValueError
        return str(value)

    return read


def text(value: Any) -> str:
    """Read a text that is not empty."""
    if not isinstance(value, str) or not value:
        raise TypeError
    return value
