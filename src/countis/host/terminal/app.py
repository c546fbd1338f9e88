"""`countis panel`: a meter that runs somewhere, with its LCD, its three keys and its values, in a terminal.

Rule: it shows what the server sends, and sends keys as they go down and up; the meter judges how long one was
held. A terminal reports no key that goes up, so letters stand for whole gestures; the mouse holds a key.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time
from collections import deque
from collections.abc import Mapping
from typing import Any, ClassVar, Final

from rich.text import Text
from textual import events
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.widgets import Static
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus, WebSocketException

from countis.host.terminal import values as bench
from countis.host.terminal.client import PATIENCE, Server, chosen, reason_of, server
from countis.host.terminal.lcd import LARGE, SMALL, Lcd
from countis.meter.panel.keys import Key
from countis.words.errors import BusError

_AGAIN: Final = 0.5  # s between tries to connect
_PAUSE: Final = 0.02  # s between two gestures
_GESTURES_WAITING: Final = 10  # that wait; what a keyboard repeats beyond is left out
_FRAMES_KEPT: Final = 200
_ROOM_FOR_LARGE: Final = (LARGE.width + 4, 34)  # of the terminal
_WIDE: Final = 117  # columns, in which three blocks of values stand beside each other
_SHORT, _HOLD, _TEST = 0.1, 3.2, 10.2  # s
_BOTH: Final = Key.UP | Key.ENTER
GESTURES: Final = {
    "s": (Key.SET, _SHORT), "u": (Key.UP, _SHORT), "up": (Key.UP, _SHORT), "e": (Key.ENTER, _SHORT),
    "enter": (Key.ENTER, _SHORT), "S": (Key.SET, _HOLD), "U": (Key.UP, _HOLD), "E": (Key.ENTER, _HOLD),
    "b": (_BOTH, _SHORT), "B": (_BOTH, _HOLD), "t": (_BOTH, _TEST),
}
_HELP: Final = (
    ("s u e", "press"), ("S U E", "hold 3 s"), ("b B", "UP+ENTER press, hold"), ("t", "test"),
    ("PgDn", "more"), ("q", "quit"),
)


class KeyButton(Static):
    """A key that the mouse can hold."""

    ALLOW_SELECT = False

    def __init__(self, key: Key, hint: str) -> None:
        super().__init__(Text.assemble((str(key.name), "bold"), f" {hint}"), id=str(key.name))
        self.key = key

    async def on_mouse_down(self, event: events.MouseDown) -> None:
        """Press it."""
        self.capture_mouse()
        await self.terminal.turn(self.key, True)

    async def on_mouse_up(self, event: events.MouseUp) -> None:
        """Let it go, wherever the mouse is."""
        self.release_mouse()
        await self.terminal.turn(self.key, False)

    @property
    def terminal(self) -> Terminal:
        """Whose key it is."""
        assert isinstance(self.app, Terminal)
        return self.app


class Terminal(App[None]):
    """One meter on the screen; `name` of the one that is shown, which stays while keys change its address."""

    ENABLE_COMMAND_PALETTE = False
    CSS = """
    Screen { background: #191c1a; color: #d7dcd6; }
    #front { height: auto; align-horizontal: center; background: #2b302c; }
    .large #front { padding: 1 2; }
    #keys { height: 3; padding-left: 2; }
    .large #keys { margin-bottom: 1; }
    Lcd { width: auto; height: auto; }
    KeyButton { width: 12; height: 3; border: tall #4a524b; background: #3a413b; }
    KeyButton { content-align: center middle; }
    KeyButton.down { background: #d7dcd6; color: #191c1a; border: tall #f0c060; }
    #about { width: 1fr; height: 3; padding-left: 2; text-wrap: nowrap; text-overflow: ellipsis; }
    #bench { scrollbar-size-vertical: 1; scrollbar-color: #4a524b; scrollbar-background: #191c1a; }
    #help { dock: bottom; height: 1; background: #2b302c; color: #a8b0a8; text-wrap: nowrap; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        *(Binding(letter, f"press('{letter}')", priority=True) for letter in GESTURES),
        Binding("pagedown", "more(True)", priority=True),
        Binding("pageup", "more(False)", priority=True),
        Binding("q,ctrl+c", "quit", priority=True),
    ]

    def __init__(self, server: Server, name: str, address: int) -> None:
        super().__init__()
        self.server, self.meter, self.address = server, name, address
        self.lcd, self.state = Lcd(), dict[str, Any]()
        hints = {Key.SET: "s", Key.UP: "u ↑", Key.ENTER: "e ↵"}
        self.buttons = {key: KeyButton(key, hint) for key, hint in hints.items()}
        self.about, self.values = Static(id="about"), Static(id="values")
        self.bench = VerticalScroll(self.values, id="bench", can_focus=False)
        self.frames: deque[Mapping[str, Any]] = deque(maxlen=_FRAMES_KEPT)
        self.trouble, self.news = "", ""
        self._socket: ClientConnection | None = None
        self._number = 0  # of the last key message
        self._down: dict[Key, float] = {}  # since when
        self._for: float | None = None  # s that the gesture being made takes
        self._waiting: asyncio.Queue[str] = asyncio.Queue(_GESTURES_WAITING)

    def compose(self) -> ComposeResult:
        """Put the LCD over the keys, and the values below."""
        with Horizontal(id="front"):
            yield self.lcd
        with Horizontal(id="keys"):
            yield from self.buttons.values()
            yield self.about
        yield self.bench
        helps = (Text.assemble((letters, bench.HEAD), f" {what}") for letters, what in _HELP)
        yield Static(Text("  ").join(helps), id="help")

    def on_mount(self) -> None:
        """Begin to listen, and to take gestures."""
        self.run_worker(self._follow())
        self.run_worker(self._make_gestures())
        self.set_interval(0.1, self._show_held)

    def on_resize(self, event: events.Resize) -> None:
        """Take the larger LCD where there is room for it."""
        large = event.size.width >= _ROOM_FOR_LARGE[0] and event.size.height >= _ROOM_FOR_LARGE[1]
        self.lcd.glass = LARGE if large else SMALL
        self.screen.set_class(large, "large")
        self.call_after_refresh(self._show)

    # what the server says

    async def _follow(self) -> None:
        """Stay connected: whenever the connection breaks, look the meter up again."""
        while True:
            reason = await self._listen()
            self._socket, self.lcd.frame, self.state = None, None, {}
            self._release_shown()
            self.trouble = self.trouble or f"no connection since {time.strftime('%H:%M:%S')}"
            self.news = f"trying again: {reason}"
            self._show()
            await asyncio.sleep(_AGAIN)

    async def _listen(self) -> str:
        """Show what comes until the connection breaks; return why it did."""
        try:
            self.meter = self._known(await asyncio.to_thread(self.server.meters))
            async with connect(
                self.server.live(self.meter), additional_headers=self.server.headers, proxy=None,
                compression=None, open_timeout=PATIENCE,
            ) as self._socket:
                self.news = f"connected again at {time.strftime('%H:%M:%S')}" if self.trouble else ""
                self.trouble = ""
                async for message in self._socket:
                    self._take(json.loads(message))
                return self._socket.close_reason or "the server has gone"
        except BusError as error:
            return error.wrong
        except InvalidStatus as error:
            return error.response.body.decode("utf-8", "replace").strip()
        except (OSError, WebSocketException, ValueError, KeyError, TypeError) as error:
            return reason_of(error)

    def _known(self, meters: dict[str, int]) -> str:
        """Return the meter that is known if it is still there, else the only one."""
        return chosen(self.server, meters, None if len(meters) == 1 else self.meter)

    def _take(self, message: Mapping[str, Any]) -> None:
        """Take one message; of other kinds than these there may be more one day."""
        kind = message["type"]
        if kind == "lcd":
            self.lcd.frame = message
        elif kind == "state":
            self.state, self.address = dict(message), message["address"]
            self._show()
        elif kind == "now" and message.get("frames"):
            self.frames.extend(message["frames"])
            self._show()

    # the keys

    async def turn(self, key: Key, down: bool) -> None:
        """Send a key as it goes down or up."""
        if down is (key in self._down) or (down and self._socket is None):
            return
        if down:
            self._down[key] = time.monotonic()
        else:
            del self._down[key]
        self.buttons[key].set_class(down, "down")
        self._show_held()
        if self._socket is not None:
            self._number += 1
            with contextlib.suppress(WebSocketException):  # it has just broken, which _follow shows
                await self._socket.send(json.dumps({"key": key.name, "down": down, "n": self._number}))

    def action_press(self, letter: str) -> None:
        """Let a gesture wait for its turn."""
        with contextlib.suppress(asyncio.QueueFull):
            self._waiting.put_nowait(letter)

    async def _make_gestures(self) -> None:
        """Make one gesture after the other."""
        while True:
            keys, self._for = GESTURES[await self._waiting.get()]
            for key in keys:
                await self.turn(key, True)
            await asyncio.sleep(self._for)
            for key in keys:
                await self.turn(key, False)
            self._for = None
            await asyncio.sleep(_PAUSE)

    def _release_shown(self) -> None:
        """Show all keys up: the server let them go when the connection broke."""
        for key in self._down:
            self.buttons[key].remove_class("down")
        self._down.clear()

    async def on_app_blur(self) -> None:
        """Let go what the mouse holds: its release would go to another window."""
        if self.mouse_captured is not None:
            self.capture_mouse(None)
            for key in list(self._down):
                await self.turn(key, False)

    def action_more(self, down: bool) -> None:
        """Scroll what has no room."""
        (self.bench.scroll_page_down if down else self.bench.scroll_page_up)(animate=False)

    # what is shown beside the LCD

    def _show(self) -> None:
        """Write the values anew."""
        width, height = max(40, self.size.width - 1), self.bench.size.height
        state, others = self.state, bench.others(self.state)
        counters = [*bench.energies(state), bench.network(state)]
        blocks = [bench.live(state), counters, bench.energies(state, "par.")]
        if width >= _WIDE:
            lines = bench.beside(blocks, width) + bench.beside([[line] for line in others], width)
        else:
            lines = bench.beside([*blocks, others], width)
        lines += [Text(), *bench.monitor(self.frames, max(6, height - len(lines) - 2))]
        for line in lines:
            line.truncate(width, overflow="ellipsis")
        self.values.update(Text("\n").join(lines))
        self._show_held()

    def _show_held(self) -> None:
        """Write the three lines beside the keys: the meter, its ratio, and what matters most now."""
        state, settings = self.state, self.state.get("settings", {})
        ratio = f"CT {settings['ct_primary']}/{settings['ct_secondary']}" if settings else ""
        speed = f"×{state['speed']:g}" if state and state["speed"] != 1 else ""
        model, name = state.get("model", "---"), state.get("name", "")
        own = f"{name}, " if name not in ("", model) else ""  # one that the site file gives
        lines = [
            Text(f"{own}{model} address {self.address}  {bench.clock(state)}"),
            Text("  ".join(filter(None, (ratio, speed, self.server.url)))),
        ]
        if self.trouble:
            lines = [Text(self.trouble, bench.WARN), Text(self.news, bench.FAINT)]
        shown = Text("\n").join([*lines, self._headline()])
        if self.about.content != shown:
            self.about.update(shown)

    def _headline(self) -> Text:
        """Return what matters most now: a key that is held, what is wrong, what is new."""
        if self._down:
            held = time.monotonic() - min(self._down.values())
            names = " + ".join(str(key.name) for key in Key if key in self._down)
            of = f" of {self._for:.1f} s" if self._for is not None else " s"
            return Text(f"{names} held {held:.1f}{of}", "bold #f0c060")
        state = self.state
        wrong = [] if state.get("powered", True) else ["no power at L1-N"]
        wrong += [f"{phase} missing" for phase in state.get("missing", ())]
        wrong += [*["malfunction"] * bool(state.get("fault")), *state.get("notes", ())]
        if wrong:
            return Text("; ".join(wrong), bench.WARN)
        return Text("" if self.trouble else self.news, bench.GOOD)


def run(url: str, key: str | None, token: str | None) -> int:
    """Show a meter until it is quit; BusError if there is none, or no terminal to show it on.

    key: its name, or its address if no other has that; None is the first.
    """
    at = server(url, token)
    meters = at.meters()
    name = chosen(at, meters, key)
    terminal = Terminal(at, name, meters[name])
    if not all(stream.isatty() for stream in (sys.stdin, sys.stdout, sys.stderr)):
        raise BusError("panel", "no terminal here", "a terminal of 80 columns and 24 lines or more")
    terminal.run()
    return terminal.return_code or 0
