"""The three keys and what they do: one row for each line of the manual's table (§9.1, decision 2).

Rule: values only.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, Flag, auto
from typing import Final

from countis.words.clock import SECOND


class Key(Flag):
    """A key, or several held together: `Key.UP | Key.ENTER`."""

    SET = auto()
    UP = auto()
    ENTER = auto()


class Where(Enum):
    """What is on the LCD when keys are judged."""

    PAGE = "a page"
    PARTIAL = "a page of a partial"
    SETUP_PAGE = "the page SEtuP.2"
    SETUP_1 = "SETUP 1"
    SETUP_2 = "SETUP 2"
    LEAVING = "the end of a setup"


class Action(Enum):
    """What a gesture does."""

    NEXT_MENU = "next menu"
    NEXT_PAGE = "next page"
    ENTER_SETUP_1 = "go to SETUP 1"
    ENTER_SETUP_2 = "go to SETUP 2"
    CHANGE = "change the value or digit"
    CONFIRM = "confirm the value or digit"
    LEAVE = "leave the setup"
    TOGGLE_PARTIAL = "start or stop the partial"
    RESET_PARTIAL = "reset the partial"
    TEST = "display test"


@dataclass(frozen=True, slots=True)
class Gesture:
    """Keys, for how long, where, and what they do; `early`: once the time is reached, else on release."""

    keys: Key
    hold: int  # ns at least
    where: tuple[Where, ...]
    action: Action
    early: bool = False
    source: str = "manual §9.1; glyphs lost, decision 2"


_MENU_PAGES: Final = (Where.PAGE, Where.PARTIAL, Where.SETUP_PAGE)
_SETUPS: Final = (Where.SETUP_1, Where.SETUP_2)

GESTURES: Final[tuple[Gesture, ...]] = (
    Gesture(Key.ENTER, 0, _MENU_PAGES, Action.NEXT_MENU),
    Gesture(Key.UP, 0, _MENU_PAGES, Action.NEXT_PAGE),
    Gesture(Key.ENTER, 3 * SECOND, (Where.SETUP_PAGE,), Action.ENTER_SETUP_2, early=True),
    Gesture(Key.SET, 3 * SECOND, (*_MENU_PAGES, Where.SETUP_2), Action.ENTER_SETUP_1, early=True),
    Gesture(Key.UP, 0, (*_SETUPS, Where.LEAVING), Action.CHANGE),
    Gesture(Key.ENTER, 0, (*_SETUPS, Where.LEAVING), Action.CONFIRM),
    Gesture(Key.ENTER, 3 * SECOND, _SETUPS, Action.LEAVE, early=True),
    Gesture(Key.UP | Key.ENTER, 0, (Where.PARTIAL,), Action.TOGGLE_PARTIAL),
    Gesture(Key.UP | Key.ENTER, 3 * SECOND, (Where.PARTIAL,), Action.RESET_PARTIAL),
    Gesture(Key.UP | Key.ENTER, 10 * SECOND, _MENU_PAGES, Action.TEST, early=True),
)
