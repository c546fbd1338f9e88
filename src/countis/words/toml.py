"""TOML with lines: an error names file, line, key and what is allowed.

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

_REFUSED: Final = (
    # 50 parts of a dotted key: they cost time and memory by the square of their number
    (re.compile(r"""(?<![\w-])(?:(?:[\w-]+|"[^"\n]*"|'[^'\n]*')[ \t]*\.[ \t]*){50}"""), "nested too deeply"),
    # Python reads it, but cannot print it
    (re.compile(r"\b0[xob][\dA-Fa-f_]{1000}"), "a number of 1000 digits and more"),
)
KeyRule = tuple[Any, Callable[[Any], Any], str]  # default, reader (raises what is refused), what is allowed


class Reader:
    """One TOML file: checks and converts its values, and raises `error` with their line."""

    def __init__(self, text: str, name: str, error: type[CountisError] = SupplyError) -> None:
        self.name, self.lines, self._error = name, text.split("\n"), error
        self._outer: tuple[int, str] | None = None  # line and key of the value that this text is in
        for pattern, wrong in _REFUSED:
            if match := pattern.search(text):
                line = text.count("\n", 0, match.start()) + 1
                raise self._error(f"{name}:{line}", wrong, "TOML")
        try:
            self.document: dict[str, Any] = tomllib.loads(text)
        except ValueError as error:  # of TOML, or of a number too long to be one
            wrong, _, place = str(error).partition(" (at")
            at = re.match(r" line (\d+), column", place)
            line = int(at[1]) if at else len(self.lines)
            raise self._error(f"{name}:{line}", plain(wrong, 200), "TOML") from None
        except RecursionError:
            raise self._error(f"{name}:1", "nested too deeply", "TOML") from None

    def line_of(self, table: str, index: int, key: str) -> int:
        """Return the line of a key in the n-th table of that name, else of the table, else 1."""
        tables, inside, at = -1, table == "", 1
        plain_key = rf"\s*[\"']?{re.escape(key)}[\"']?\s*[.=]"
        dotted = rf"\s*{re.escape(table)}\s*(\.\s*{re.escape(key)}\s*)?="  # or an inline table
        for count, line in enumerate(self.lines, 1):
            header = re.match(r"\s*\[\[?\s*([\w.\-]+)\s*\]\]?", line)
            if header:
                if header.group(1) == (f"{table}.{key}" if table else key):
                    return count
                tables += header.group(1) == table
                inside = header.group(1) == table and tables == index
                at = count if inside else at
            elif (inside and re.match(plain_key, line)) or (tables < 0 and table and re.match(dotted, line)):
                return count
        return at

    def fail(self, table: str, index: int, key: str, wrong: str, allowed: str) -> CountisError:
        """Return the error of a key, with its file and line."""
        path = f"{table}.{plain(key)}" if table else plain(key)
        line, outer = self._outer or (self.line_of(table, index, key), "")
        return self._error(*map(printable, (f"{self.name}:{line}: {outer}{path}", wrong, allowed)))

    def inside(self, table: str, index: int, key: str) -> Reader:
        """Return a reader whose errors stand at that key and name it first."""
        inner = copy(self)
        inner._outer = (self.line_of(table, index, key), f"{table}.{key}: ")
        return inner

    def table(self, values: Any, name: str, index: int, rows: Mapping[str, KeyRule]) -> dict[str, Any]:
        """Return the values of one table by key, read or by default; raises `error` where one is refused."""
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
    return lambda value: float(_within(value, int | float, low, high))


def whole(low: int, high: int) -> Callable[[Any], int]:
    """Return a reader of whole numbers within a range."""
    return lambda value: int(_within(value, int, low, high))


def _within(value: Any, kinds: Any, low: float, high: float) -> Any:
    if isinstance(value, bool) or not isinstance(value, kinds) or not low <= value <= high:
        raise ValueError
    return value


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
