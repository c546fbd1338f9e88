"""The panel as a pure reducer: `step(panel, event, view, now) -> (panel, commands)`.

Rule: `now` is line time in ns. What keys do is looked up in keys.py, what is on a page in the menus of the
model. Keys are judged here: a hold when its time is reached, everything else on release. Nothing of a setup
is in force before it is left with Y.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, Protocol

from countis.meter.panel.keys import GESTURES, Action, Gesture, Key, Where
from countis.meter.panel.texts import LEAVING
from countis.models import Firmware, Model
from countis.words.clock import SECOND
from countis.words.commands import Command, ResetPartials, SetSetting, StartPartial, StopPartial
from countis.words.menu import Entry, Menu, Page
from countis.words.menu import Setup as SetupName
from countis.words.settings import SETTINGS, Value, setting

LIGHT_NS: Final = 10 * SECOND  # manual §13
LIT_NS: Final = SECOND  # communication and pulse (decision 43)
TEST_NS: Final = 3 * SECOND  # the display test stays so long at least; assumed
_NEVER: Final = -1
NO_KEY: Final = Key(0)


class View(Protocol):
    """What the panel can see of its meter."""

    @property
    def model(self) -> Model: ...
    @property
    def firmware(self) -> Firmware: ...
    @property
    def malfunction(self) -> bool: ...
    @property
    def settings(self) -> Mapping[str, Value]: ...
    @property
    def powered(self) -> bool: ...
    @property
    def missing(self) -> tuple[str, ...]: ...
    @property
    def frames(self) -> int: ...
    @property
    def pulses(self) -> int: ...
    @property
    def ages(self) -> tuple[float, float]: ...
    @property
    def starts(self) -> int: ...
    @property
    def ratio(self) -> float: ...
    def __getitem__(self, symbol: str) -> float | int | str | None: ...
    def exact(self, symbol: str) -> int: ...
    def runs(self, partial: str) -> bool: ...


@dataclass(frozen=True, slots=True)
class Press:
    """A key went down."""

    key: Key


@dataclass(frozen=True, slots=True)
class Release:
    """A key went up."""

    key: Key


@dataclass(frozen=True, slots=True)
class Tick:
    """Time passed."""


KeyEvent = Press | Release | Tick


@dataclass(frozen=True, slots=True)
class Setup:
    """A setup that is open: where it stands, the value being changed, what was confirmed and waits."""

    name: SetupName
    place: int = 0
    draft: str = ""  # digits, a choice, or "confirm" of a partial to reset
    digit: int = 0
    edits: tuple[tuple[str, Value], ...] = ()
    resets: frozenset[str] = frozenset()
    leaving: int | None = None  # which of Y N C is offered


@dataclass(frozen=True, slots=True)
class Panel:
    """Everything the panel knows: where it is, which keys are down, what is lit until when."""

    menu: int = 0
    page: int = 0
    setup: Setup | None = None
    down: Key = NO_KEY
    chord: Key = NO_KEY  # the most keys that were down together since all were up
    since: int = 0  # from when on the chord was whole
    spent: bool = False  # it has acted; nothing more until all keys are up
    light_until: int = _NEVER
    test_until: int = _NEVER
    testing: bool = False  # the keys of a display test are still down
    starts: int = _NEVER  # how often the power went or came, when last looked
    frames: int = _NEVER  # frames and pulses when last looked, and until when their signs are lit
    com_until: int = _NEVER
    pulses: int = _NEVER
    pulse_until: int = _NEVER

    def tests(self, now: int) -> bool:
        """Tell whether the display test is on: for its time, and while its keys are down."""
        return self.testing or self.test_until > now


Outcome = tuple[Panel, tuple[Command, ...]]  # the panel after an event, and what it commands


def menu_of(panel: Panel, view: View) -> Menu:
    """Return the menu that is shown, or waits behind a setup."""
    return view.model.family.menus[panel.menu]


def page_of(panel: Panel, view: View) -> Page:
    """Return the page of the menus that is shown, or waits behind a setup."""
    return menu_of(panel, view).pages[panel.page]


def entry_of(setup: Setup, view: View) -> Entry:
    """Return the page that a setup stands at."""
    return view.model.family.setups[setup.name][setup.place]


def _where(panel: Panel, view: View) -> Where:
    """Return what kind of page keys meet."""
    if panel.setup is not None:
        named = Where.SETUP_1 if panel.setup.name is SetupName.ONE else Where.SETUP_2
        return named if panel.setup.leaving is None else Where.LEAVING
    if menu_of(panel, view).setup is not None:
        return Where.SETUP_PAGE
    return Where.PARTIAL if page_of(panel, view).partial else Where.PAGE


def step(panel: Panel, event: KeyEvent, view: View, now: int) -> Outcome:
    """Return the panel after an event at `now`, and the commands it gives; without power it starts anew."""
    if not view.powered:
        return Panel(), ()
    if panel.starts != view.starts:
        panel = Panel(starts=view.starts) if panel.starts != _NEVER else replace(panel, starts=view.starts)
    panel = _noticed(panel, view, now)
    panel, commands = _reached(panel, view, now)
    match event:
        case Press(key) if key not in panel.down:
            down = panel.down | key
            whole = replace(panel, down=down, light_until=now + LIGHT_NS)
            return (whole if panel.spent else replace(whole, chord=down, since=now)), commands
        case Release(key) if key in panel.down:
            released, more = _released(panel, view, now)
            left = released.down & ~key
            up = replace(released, down=left, testing=False, light_until=now + LIGHT_NS)
            up = replace(up, spent=True) if left else replace(up, chord=NO_KEY, spent=False)
            return up, (*commands, *more)
    return panel, commands


def _noticed(panel: Panel, view: View, now: int) -> Panel:
    """Follow what happens beside the keys: frames, pulses, a seal that closes while SETUP 1 is open."""
    frame_age, pulse_age = view.ages
    if view.frames != panel.frames:
        panel = replace(panel, frames=view.frames, com_until=now + LIT_NS - round(frame_age))
    if view.pulses != panel.pulses:
        panel = replace(panel, pulses=view.pulses, pulse_until=now + LIT_NS - round(pulse_age))
    if panel.setup is not None and panel.setup.name is SetupName.ONE and view.settings["sealed"] == 1:
        panel = replace(panel, setup=None)
    return panel


def _gesture(panel: Panel, view: View, early: bool, held: int) -> Gesture | None:
    """Return what the keys that are down stand for: of several the one with the longest hold."""
    where = _where(panel, view)
    of_keys = [g for g in GESTURES if g.keys == panel.chord and where in g.where and g.early is early]
    return max((g for g in of_keys if held >= g.hold), key=lambda g: g.hold, default=None)


def _reached(panel: Panel, view: View, now: int) -> Outcome:
    """Act on a hold whose time has come."""
    if panel.spent or panel.down != panel.chord or panel.down == NO_KEY:
        return panel, ()
    gesture = _gesture(panel, view, True, now - panel.since)
    if gesture is None:
        return panel, ()
    return _act(gesture.action, replace(panel, spent=True), view, panel.since + gesture.hold)


def _released(panel: Panel, view: View, now: int) -> Outcome:
    """Act on what was pressed, now that the first of its keys goes up."""
    gesture = None if panel.spent else _gesture(panel, view, False, now - panel.since)
    return (panel, ()) if gesture is None else _act(gesture.action, panel, view, now)


def _act(action: Action, panel: Panel, view: View, now: int) -> Outcome:
    """Do what a gesture stands for."""
    match action:
        case Action.NEXT_MENU:
            return replace(panel, menu=(panel.menu + 1) % len(view.model.family.menus), page=0), ()
        case Action.NEXT_PAGE:
            return replace(panel, page=(panel.page + 1) % len(menu_of(panel, view).pages)), ()
        case Action.ENTER_SETUP_1 if view.settings["sealed"] == 1:  # decision 13
            return panel, ()
        case Action.ENTER_SETUP_1 | Action.ENTER_SETUP_2:
            name = SetupName.ONE if action is Action.ENTER_SETUP_1 else SetupName.TWO
            return replace(panel, setup=_at(Setup(name), 0, view)), ()
        case Action.TOGGLE_PARTIAL:
            symbol = page_of(panel, view).symbol
            return panel, (StopPartial(symbol) if view.runs(symbol) else StartPartial(symbol),)
        case Action.RESET_PARTIAL:
            return panel, (ResetPartials((page_of(panel, view).symbol,)),)
        case Action.TEST:
            return replace(panel, test_until=now + TEST_NS, testing=True), ()
    setup = panel.setup
    assert setup is not None  # what is left is done in a setup
    match action:
        case Action.CHANGE:
            return replace(panel, setup=_changed(setup, view)), ()
        case Action.LEAVE:
            return replace(panel, setup=replace(setup, leaving=0)), ()
        case Action.CONFIRM if setup.leaving is None:
            return replace(panel, setup=_confirmed(setup, view)), ()
    return _left(panel, setup, view)


def _at(setup: Setup, place: int, view: View) -> Setup:
    """Return the setup at a page, with what was confirmed there or is in force."""
    setup = replace(setup, place=place % len(view.model.family.setups[setup.name]), digit=0, leaving=None)
    entry = entry_of(setup, view)
    if entry.symbol not in SETTINGS:
        return replace(setup, draft="confirm" if entry.symbol in setup.resets else "")
    value = dict(setup.edits).get(entry.symbol, view.settings[entry.symbol])
    return replace(setup, draft=f"{value:0{entry.digits}d}" if entry.digits > 0 else str(value))


def _changed(setup: Setup, view: View) -> Setup:
    """Turn the digit, the choice or the answer to the next one."""
    if setup.leaving is not None:
        return replace(setup, leaving=(setup.leaving + 1) % len(LEAVING))
    entry = entry_of(setup, view)
    if entry.symbol not in SETTINGS:
        return replace(setup, draft="" if setup.draft else "confirm")
    if entry.digits > 0:
        at = setup.digit
        turned = (int(setup.draft[at]) + 1) % 10
        return replace(setup, draft=f"{setup.draft[:at]}{turned}{setup.draft[at + 1 :]}")
    allowed = setting(entry.symbol).allowed
    assert isinstance(allowed, tuple)
    choices = [str(choice) for choice in allowed]
    return replace(setup, draft=choices[(choices.index(setup.draft) + 1) % len(choices)])


def _confirmed(setup: Setup, view: View) -> Setup:
    """Go to the next digit; after the last keep the value, if it is allowed, and go to the next page."""
    entry = entry_of(setup, view)
    if entry.symbol not in SETTINGS:
        resets = setup.resets | {entry.symbol} if setup.draft else setup.resets - {entry.symbol}
        return _at(replace(setup, resets=resets), setup.place + 1, view)
    if setup.digit + 1 < entry.digits:
        return replace(setup, digit=setup.digit + 1)
    row = setting(entry.symbol)
    value: Value = int(setup.draft) if isinstance(row.default, int) else setup.draft
    assert row.allowed is not None
    if value not in row.allowed:  # it cannot be confirmed: back to its first digit
        return replace(setup, digit=0)
    edits = {**dict(setup.edits), entry.symbol: value}
    return _at(replace(setup, edits=tuple(edits.items())), setup.place + 1, view)


def _left(panel: Panel, setup: Setup, view: View) -> Outcome:
    """Save and leave, leave, or go on with what was edited."""
    assert setup.leaving is not None
    choice = LEAVING[setup.leaving]
    if choice == "C":
        return replace(panel, setup=_at(setup, 0, view)), ()
    panel = replace(panel, setup=None)
    if choice == "N":
        return panel, ()
    changed = [SetSetting(symbol, value) for symbol, value in setup.edits if view.settings[symbol] != value]
    resets = [ResetPartials(tuple(sorted(setup.resets)))] if setup.resets else []
    return panel, (*changed, *resets)
