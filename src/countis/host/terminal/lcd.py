"""The LCD in half blocks, two pixels to a cell: characters of fourteen segments, signs, units.

Rule: a glass holds places by the names of panel/frame.py and knows no glyph; a frame says which are lit, the
others stay faintly visible. Each segment has a pixel of its own, so that what is drawn can be read back.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import groupby
from typing import Any, Final, NamedTuple

from rich.segment import Segment
from rich.style import Style
from textual.geometry import Size
from textual.reactive import reactive
from textual.strip import Strip
from textual.widget import Widget

from countis.meter.panel import frame as signs

Pixel = tuple[int, int]  # column, half row
_SMALL: Final = (5, 7)  # width and height of a character of the menu and the code, in pixels
_UNIT_COLUMNS: Final = (0, 6, 11)  # energies, powers, what is left: six units below each other
_TOP: Final = (signs.SEQUENCES, (signs.SCOPES[3], *signs.SCOPES[:3], *signs.SCOPES[4:]), signs.STATES)
_BOTTOM: Final = ((*signs.ARROWS, *signs.NATURES), signs.TARIFFS)
_PRINTED: Final = {"123": "↻123", "132": "↻132"}
DARK, LIGHT = False, True


class Colours(NamedTuple):
    """What a glass is drawn with; apart in 256 colours too."""

    ink: str
    print: str  # signs and units that are not lit
    faint: str  # segments that are not lit
    spoke: str  # those within a character, which would fill it
    ground: str


_COLOURS: Final = {
    DARK: Colours("#10150f", "#6b7464", "#737d6b", "#7d8875", "#848f7b"),
    LIGHT: Colours("#0c160a", "#8fae80", "#a8c494", "#b4cc9e", "#bfd4a8"),
}
_SPOKES: Final = tuple(f".{letter}" for letter in "ijklmn")


def character(width: int, height: int) -> dict[str, list[Pixel]]:
    """Return the pixels of the fourteen segments and of the point; width and height are odd."""
    right, bottom, middle, half = width - 1, height - 1, width // 2, height // 2
    across, down = range(1, right), range(1, half)
    spoke = [(1 + (y - 1) * (middle - 1) // (half - 1), y) for y in range(1, half + 1)]
    return {
        "a": [(x, 0) for x in across], "d": [(x, bottom) for x in across],
        "f": [(0, y) for y in down], "b": [(right, y) for y in down],
        "e": [(0, bottom - y) for y in down], "c": [(right, bottom - y) for y in down],
        "g": [(x, half) for x in range(1, middle + 1)], "h": [(x, half) for x in range(middle, right)],
        "j": [(middle, y) for y in range(1, half + 1)], "m": [(middle, y) for y in range(half, bottom)],
        "i": spoke, "k": [(right - x, y) for x, y in spoke],
        "l": [(x, bottom - y) for x, y in spoke], "n": [(right - x, bottom - y) for x, y in spoke],
        "point": [(width, bottom)],
    }  # fmt: skip


class Word(NamedTuple):
    """A sign or a unit that is printed, and the name of what lights it."""

    row: int
    column: int
    text: str
    name: str


class Glass:
    """Where everything is, for one size of the digits."""

    def __init__(self, digit: tuple[int, int]) -> None:
        self.pixels: dict[Pixel, set[str]] = {}
        self.words: list[Word] = []
        pitch, small, first = digit[0] + 2, _SMALL[0] + 1, 5
        units = first + signs.ZONES["digits"] * pitch
        middle = 1 + (_SMALL[1] + 1) // 2
        self.width, self.rows = units + 14, middle + (digit[1] + 1) // 2 + 1
        self._zone("menu", _SMALL, 1, 1, small)
        self._zone("code", _SMALL, self.width - 1 - signs.ZONES["code"] * small, 1, small)
        self._zone("digits", digit, first, middle, pitch)
        self._put({f"sign.{signs.MINUS}": [(x, digit[1] // 2) for x in range(3)]}, 1, middle)
        for number, unit in enumerate(signs.UNITS):
            column, row = _UNIT_COLUMNS[number // 6], middle + number % 6
            self.words.append(Word(row, units + column, unit, f"unit.{unit}"))
        self._line(0, _TOP)
        self._line(self.rows - 1, _BOTTOM)

    def _put(self, parts: Mapping[str, list[Pixel]], column: int, row: int) -> None:
        for name, pixels in parts.items():
            for x, y in pixels:
                self.pixels.setdefault((column + x, 2 * row + y), set()).add(name)

    def _zone(self, zone: str, size: tuple[int, int], column: int, row: int, pitch: int) -> None:
        shapes = character(*size)
        for place in range(signs.ZONES[zone]):
            parts = {f"{zone}.{place}.{part}": at for part, at in shapes.items()}
            self._put(parts, column + place * pitch, row)

    def _line(self, row: int, groups: tuple[tuple[str, ...], ...]) -> None:
        """Print groups of signs, the first at the left, the last at the right."""
        spaced = ((piece for name in group for piece in (*_pieces(name), (" ", ""))) for group in groups)
        printed = [[*pieces][:-1] for pieces in spaced]
        lengths = [sum(len(text) for text, _ in pieces) for pieces in printed]
        spare, column = (self.width - 2 - sum(lengths)) // (len(groups) - 1), 1
        for pieces in printed:
            for text, name in pieces:
                self.words += [Word(row, column, text, name)] if name else []
                column += len(text)
            column += spare

    def draw(self, lit: set[str], light: bool) -> list[Strip]:
        """Return the rows of the glass."""
        at = _COLOURS[light]
        words: dict[Pixel, tuple[str, Style]] = {}
        for word in self.words:
            on = word.name in lit
            style = Style(color=at.ink if on else at.print, bgcolor=at.ground, bold=on)
            words.update({(word.column + k, word.row): (char, style) for k, char in enumerate(word.text)})

        def shade(x: int, y: int) -> str:
            names = self.pixels.get((x, y))
            if names is None:
                return at.ground
            if not names.isdisjoint(lit):
                return at.ink
            return at.spoke if all(name.endswith(_SPOKES) for name in names) else at.faint

        def cells(row: int) -> Iterator[tuple[str, Style]]:
            for x in range(self.width):
                word = words.get((x, row))
                yield word or _half(shade(x, 2 * row), shade(x, 2 * row + 1), at.ink)

        return [_strip(cells(row), self.width) for row in range(self.rows)]


def _pieces(name: str) -> list[tuple[str, str]]:
    """Return what is printed for a sign, each with what lights it; a tariff is framed (decision 71)."""
    sign, edge = (_PRINTED.get(name, name), f"sign.{name}"), f"{signs.OWN}.{name}"
    return [("[", edge), sign, ("]", edge)] if name in signs.TARIFFS else [sign]


def _half(upper: str, lower: str, ink: str) -> tuple[str, Style]:
    """Return a cell of two pixels; the one that is lit is the one that is printed."""
    if upper == lower:
        return ("█", Style(color=ink, bgcolor=ink)) if upper == ink else (" ", Style(bgcolor=upper))
    if lower == ink:
        return "▄", Style(color=lower, bgcolor=upper)
    return "▀", Style(color=upper, bgcolor=lower)


def _strip(cells: Iterator[tuple[str, Style]], width: int) -> Strip:
    runs = groupby(cells, key=lambda cell: cell[1])
    return Strip([Segment("".join(char for char, _ in run), style) for style, run in runs], width)


SMALL, LARGE = Glass((5, 11)), Glass((7, 13))


def lit(frame: Mapping[str, Any]) -> set[str]:
    """Return what is dark on the glass now: the segments of a frame without those that flash and are off."""
    names = set(frame["segments"]) - (set() if frame["phase"] else set(frame["flashes"]))
    framed = signs.TARIFFS if f"sign.{signs.OWN}" in names else ()
    return names | {f"{signs.OWN}.{tariff}" for tariff in framed if f"sign.{tariff}" in names}


class Lcd(Widget):
    """The LCD of the meter; `frame` is what the server says of it, None while nobody does."""

    frame: reactive[Mapping[str, Any] | None] = reactive(None)
    glass: reactive[Glass] = reactive(SMALL, layout=True)

    def __init__(self) -> None:
        super().__init__(id="lcd")
        self._drawn = SMALL.draw(set(), DARK)

    def watch_frame(self) -> None:
        """Draw what has changed."""
        frame = self.frame or {"segments": (), "flashes": (), "phase": True, "light": DARK}
        self._drawn = self.glass.draw(lit(frame), frame["light"])

    def watch_glass(self) -> None:
        """Draw in another size."""
        self.watch_frame()

    def get_content_width(self, container: Size, viewport: Size) -> int:
        """Return the width of the glass."""
        return self.glass.width

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        """Return the height of the glass."""
        return self.glass.rows

    def render_line(self, y: int) -> Strip:
        """Return a row of the glass."""
        return self._drawn[y] if y < len(self._drawn) else Strip.blank(self.glass.width)
