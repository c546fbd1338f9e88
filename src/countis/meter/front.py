"""The front panel of one meter: keys in, commands to the meter, frames out.

Rule: the panel is the pure reducer of panel/; this joins it to a meter as the slave joins the bus. Line time
is an argument; where none is given it is that of the clock the owner has handed in.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from countis.meter.panel.draw import REFRESH_NS, draw, phase
from countis.meter.panel.frame import LcdFrame
from countis.meter.panel.keys import Key
from countis.meter.panel.machine import KeyEvent, Panel, Press, Release, Tick, step
from countis.meter.state import State
from countis.words.commands import Apply, Origin

_PRESS_NS: Final = 100_000_000  # how long a short press takes, and the pause after it


class Front:
    """LCD and keys of one meter; whatever it is called from, the lock of the meter's owner is held."""

    def __init__(self, state: State, apply: Apply, clock: Callable[[], int]) -> None:
        """clock: line time in ns, of whoever owns the meter; what keys pressed here take is added to it."""
        self._state, self._apply, self._clock = state, apply, clock
        self.panel = Panel()
        self._ahead = 0  # what key presses took, in ns: press and hold do not wait, they count line time on
        self._drawn: tuple[object, LcdFrame] | None = None  # the last frame and what it depends on

    def event(self, event: KeyEvent, now: int) -> None:
        """Take an event at `now` in ns of line time; what it commands is applied."""
        self.panel, commands = step(self.panel, event, self._state, now)
        if commands:
            self._apply(commands, Origin.KEYS)

    def let_go(self, keys: Key, now: int) -> None:
        """Let keys go up without having pressed anything, as when whoever held them is gone."""
        self.event(Tick(), now)
        left = self.panel.down & ~keys
        self.panel = replace(self.panel, down=left, chord=left, spent=bool(left), testing=False)

    def frame(self, now: int) -> LcdFrame:
        """Return what the LCD shows at `now`: values move once a second (manual §13), keys act at once."""
        self.event(Tick(), now)
        panel = self.panel
        lit = panel.light_until > now, panel.com_until > now, panel.pulse_until > now, panel.tests(now)
        cause = now // REFRESH_NS, panel, self._state.powered, lit  # what it takes to draw anew
        if self._drawn is None or self._drawn[0] != cause:
            self._drawn = cause, draw(panel, self._state, now)
        drawn = self._drawn[1]
        return replace(drawn, phase=phase(now)) if drawn.flashing else drawn

    @property
    def now(self) -> int:
        """Line time: the owner's clock, and what key presses took."""
        return self._clock() + self._ahead

    def press(self, key: Key, times: int) -> None:
        """Press keys shortly, so many times."""
        for _ in range(times):
            self.hold(key, _PRESS_NS)
            self._ahead += _PRESS_NS

    def hold(self, key: Key, ns: int) -> None:
        """Hold keys for a time, then let go."""
        for one in key:
            self.event(Press(one), self.now)
        self._ahead += ns
        self.event(Tick(), self.now)
        for one in key:
            self.event(Release(one), self.now)

    @property
    def lcd(self) -> LcdFrame:
        """What the LCD would show if it were refreshed now."""
        self.event(Tick(), self.now)
        return draw(self.panel, self._state, self.now)
