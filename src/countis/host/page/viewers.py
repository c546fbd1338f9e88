"""The viewers of a meter: what each is shown, at what pace, and the keys it holds.

Rule: a message is made once for all viewers; nobody waits for a slow one. The meter judges how long a key was
held. Everything runs on the loop, except `show_state`, which the threads of the runner call.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import logging
import operator
from collections.abc import Iterator
from typing import Final

from countis.host.page.meter_view import MeterView, lcd
from countis.meter.panel.keys import Key
from countis.serve.allowance import Allowance

_TICK: Final = 0.05  # s between looks at the LCD
_WAVES, _SECOND, _SOON = 5, 20, 16  # ticks between scopes; between states at most, and at least
_WAITING: Final = 200  # messages that may wait for a viewer
_MESSAGES: Final = 40  # of keys a second: 20 presses
_KEYS: Final = {str(key.name): key for key in Key}


def dumps(content: object) -> str:
    """Write JSON without needless blanks."""
    return json.dumps(content, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


class Viewer:
    """One page that is open: what waits to be sent to it, which keys it holds."""

    def __init__(self) -> None:
        self.waiting: asyncio.Queue[str] = asyncio.Queue(_WAITING)
        self.late = asyncio.Event()  # it does not keep up, and is to be closed
        self.held = Key(0)
        self.last = 0  # the number of its last key message
        self.allowance = Allowance(_MESSAGES)

    def send(self, text: str) -> None:
        """Let a message wait for it; one that does not keep up is ended."""
        if self.waiting.full():
            self.late.set()
        else:
            self.waiting.put_nowait(text)


class Viewers:
    """The viewers of one meter, and the task that shows it to them while there are any."""

    def __init__(self, view: MeterView) -> None:
        self.view = view
        self.viewers: set[Viewer] = set()
        self._task: asyncio.Task[None] | None = None
        self._lcd = ""
        self._due = False  # a second has passed, or an event: the one field that the feeding thread sets
        self._stated = 0  # tick of the last state

    @contextlib.contextmanager
    def seat(self) -> Iterator[Viewer]:
        """Let one more viewer in; when it goes, its keys go up."""
        viewer = Viewer()
        self.viewers.add(viewer)
        try:
            if self._task is None:
                self.view.start_monitor()
                self._task = asyncio.create_task(self._show())
            self._lcd = dumps({"type": "lcd", **lcd(self.view.frame())})
            viewer.send(dumps({"type": "state", **self.view.state()}))
            viewer.send(self._lcd)
            yield viewer
        finally:
            self.viewers.discard(viewer)
            if released := viewer.held & ~self._held():
                self.view.let_go(released)
            if not self.viewers and self._task is not None:
                self._task.cancel()
                self._task = None
                self.view.stop_monitor()

    def _held(self) -> Key:
        """Return the keys that viewers hold."""
        return functools.reduce(operator.or_, (viewer.held for viewer in self.viewers), Key(0))

    async def _show(self) -> None:
        """Send what has changed, each kind at its own pace; the next tick is no worse for one that failed."""
        tick = self._stated = 0
        while True:
            await asyncio.sleep(_TICK)
            tick += 1
            try:
                self._show_tick(tick)
            except Exception:
                logging.getLogger(__name__).exception("page")

    def _show_tick(self, tick: int) -> None:
        self._show_lcd()
        if tick % _WAVES == 0:
            scope, lights, frames = self.view.scope(), self.view.lights(), self.view.new_frames()
            content = {"scope": scope, "lights": lights, "frames": frames}
            self._send(dumps({"type": "now", **{name: value for name, value in content.items() if value}}))
        since = tick - self._stated
        if since >= _SECOND or (self._due and since >= _SOON):
            self._due, self._stated = False, tick
            self._send(dumps({"type": "state", **self.view.state()}))

    def show_state(self) -> None:
        """Show all values at the next tick; called by the threads that feed and save."""
        self._due = True

    def _show_lcd(self) -> None:
        text = dumps({"type": "lcd", **lcd(self.view.frame())})
        if text != self._lcd:
            self._lcd = text
            self._send(text)

    def _send(self, text: str) -> None:
        for viewer in self.viewers:
            viewer.send(text)

    def take(self, viewer: Viewer, text: str) -> None:
        """Take `{"key": "ENTER", "down": true, "n": 17}`; ValueError where it is something else."""
        message = json.loads(text)
        whole = isinstance(message, dict) and message.keys() == {"key", "down", "n"}
        if not whole or str(message["key"]) not in _KEYS:
            raise ValueError('not a key (allowed: {"key": "SET|UP|ENTER", "down": true, "n": 1})')
        key, down, number = _KEYS[str(message["key"])], message["down"], message["n"]
        if type(down) is not bool or type(number) is not int or number <= viewer.last:
            raise ValueError(f"down true or false, n above {viewer.last}")
        viewer.last = number
        if not viewer.allowance.spend("", asyncio.get_running_loop().time()):
            raise ValueError("too many keys (allowed: 20 a second)")
        if down == bool(viewer.held & key):
            return
        viewer.held ^= key
        if down or not self._held() & key:  # it is up when nobody holds it
            self.view.key(key, down)
            self._show_lcd()

    def show_supply(self) -> None:
        """Let every viewer know that the meter is wired otherwise."""
        self._send(dumps({"type": "supply", "name": self.view.supply_name}))
