"""`countis panel`: what is drawn is read back from the screen, and keys reach a running meter."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import termios
import time
import urllib.request
from collections.abc import Awaitable, Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from countis.host.page.meter_view import lcd as said
from countis.host.terminal import values as bench
from countis.host.terminal.app import Terminal, run
from countis.host.terminal.client import Server
from countis.host.terminal.lcd import _COLOURS, LARGE, SMALL, Glass, character, lit
from countis.meter.panel.frame import DISPLAY_TEST, GLYPHS, MINUS, OWN, SIGNS, UNITS, ZONES, LcdFrame
from countis.words.errors import BusError
from rich.style import Style
from textual import events
from textual.pilot import Pilot
from textual.strip import Strip
from textual.widgets import Static

from running import COMMAND, Running, command, countis_run, start, stop

Cells = list[list[tuple[str, Style]]]
Scenario = Callable[[Pilot[None]], Awaitable[None]]
CHARS = {frozenset(segments): char for char, segments in GLYPHS.items()}
# How characters of five by seven pixels look, drawn by hand.
PICTURES = {
    "8": (".###.", "#...#", "#...#", ".###.", "#...#", "#...#", ".###."),
    "2": (".###.", "....#", "....#", ".###.", "#....", "#....", ".###."),
    "5": (".###.", "#....", "#....", ".###.", "....#", "....#", ".###."),
    "T": (".###.", "..#..", "..#..", "..#..", "..#..", "..#..", "....."),
    "M": (".....", "##.##", "##.##", "..#..", "#...#", "#...#", "....."),
    "N": (".....", "##..#", "##..#", "..#..", "#..##", "#..##", "....."),
    "S": (".###.", ".#...", ".#...", "..##.", "....#", "....#", ".###."),
    "X": (".....", ".#.#.", ".#.#.", "..#..", ".#.#.", ".#.#.", "....."),
    "t": (".....", "#....", "#....", ".###.", "#....", "#....", ".###."),
}


def cells_of(strips: list[Strip]) -> Cells:
    return [[(char, segment.style or Style()) for segment in strip for char in segment.text] for strip in strips]


def on_screen(panel: Terminal) -> Cells:
    """What the terminal shows where the LCD is."""
    at = panel.lcd.content_region
    whole = cells_of(panel.screen._compositor.render_strips())
    assert at.size == (panel.lcd.glass.width, panel.lcd.glass.rows)
    assert at.right <= len(whole[0])
    assert at.bottom <= len(whole)
    return [row[at.x : at.right] for row in whole[at.y : at.bottom]]


def read_back(cells: Cells, glass: Glass) -> tuple[set[str], bool]:
    """Return what is dark on the glass, and whether the light is on."""
    lights = {colours.ground: light for light, colours in _COLOURS.items()}
    grounds = {style.bgcolor.name for row in cells for _, style in row if style.bgcolor is not None}
    (light,) = {lights[name] for name in grounds if name in lights}
    ink = _COLOURS[light].ink

    def dark(x: int, y: int) -> bool:
        char, style = cells[y // 2][x]
        assert char in " █▀▄", (x, y, char)
        upper = style.color if char in "█▀" else style.bgcolor
        lower = style.color if char in "█▄" else style.bgcolor
        colour = (upper, lower)[y % 2]
        return colour is not None and colour.name == ink

    names = {name for names in glass.pixels.values() for name in names}
    pixels = {name: [at for at, there in glass.pixels.items() if name in there] for name in names}
    shown = {name for name, ats in pixels.items() if all(dark(*at) for at in ats)}
    for word in glass.words:
        drawn = cells[word.row][word.column : word.column + len(word.text)]
        assert "".join(char for char, _ in drawn) == word.text
        if all(style.color is not None and style.color.name == ink for _, style in drawn):
            shown.add(word.name)
    return shown, light


def frame_of(shown: set[str], flashing: frozenset[str] = frozenset()) -> LcdFrame:
    """Read characters, signs and units from what is dark."""
    texts = {}
    for zone, count in ZONES.items():
        chars = []
        for place in range(count):
            parts = {name.rsplit(".", 1)[1] for name in shown if name.startswith(f"{zone}.{place}.")}
            chars.append(CHARS.get(frozenset(parts - {"point"}), "¿") + ("." if "point" in parts else ""))
        texts[zone] = "".join(chars).strip()
    signs = {sign for sign in SIGNS if f"sign.{sign}" in shown or (sign == OWN and any(n.startswith("own.") for n in shown))}
    units = tuple(unit for unit in UNITS if f"unit.{unit}" in shown)
    return LcdFrame(texts["menu"], texts["code"], texts["digits"], units, frozenset(signs), flashing)


def test_characters_look_as_drawn_by_hand() -> None:
    shapes = character(5, 7)
    for char, picture in PICTURES.items():
        lit_pixels = {pixel for letter in GLYPHS[char] for pixel in shapes[letter]}
        drawn = tuple("".join("#" if (x, y) in lit_pixels else "." for x in range(5)) for y in range(7))
        assert drawn == picture, char


@pytest.mark.parametrize("glass", [SMALL, LARGE], ids=["small", "large"])
def test_each_segment_and_sign_has_its_own_place(glass: Glass) -> None:
    alone = {name for names in glass.pixels.values() if len(names) == 1 for name in names}
    printed = {word.name for word in glass.words}
    assert alone | printed == lit(said(DISPLAY_TEST)) - {f"sign.{OWN}"}
    assert not alone & printed
    taken = [(word.column + k, word.row) for word in glass.words for k in range(len(word.text))]
    assert len(taken) == len(set(taken))
    assert not {(x, y // 2) for x, y in glass.pixels} & set(taken)
    assert all(0 < x < glass.width - 1 and 0 <= y < glass.rows for x, y in [*taken, *((x, y // 2) for x, y in glass.pixels)])
    assert glass.width <= {SMALL: 80, LARGE: 116}[glass]


FRAMES = [
    LcdFrame("SEtuP.2", "Addr", "247", flashing=frozenset({"digits.7"})),
    LcdFrame("Par.b", "", "000123.45", ("kvarh",), frozenset({"Σ", "→", "Er", "par", "T2", OWN, "132"}), frozenset({"par"})),
    LcdFrame("rt", "", "62.10", ("MW",), frozenset({"L3", "←", "T1", "123", "com", "pulse", MINUS}), light=True),
    LcdFrame("inFo", "CS1", "CAFEb0d5", (), frozenset({"fault", "!", "T3"}), frozenset({"!"}), light=True),
    LcdFrame(),
]


@pytest.mark.parametrize("glass", [SMALL, LARGE], ids=["small", "large"])
@pytest.mark.parametrize("frame", FRAMES, ids=lambda frame: frame.text or "blank")
def test_a_frame_is_read_back_from_its_drawing(frame: LcdFrame, glass: Glass) -> None:
    shown, light = read_back(cells_of(glass.draw(lit(said(frame)), frame.light)), glass)
    assert light == frame.light
    assert frame_of(shown, frame.flashing).text == frame.text


def test_what_flashes_is_hidden_in_the_off_phase() -> None:
    on, off = ({**said(FRAMES[0]), "phase": phase} for phase in (True, False))
    assert lit(on) - lit(off) == {f"digits.7.{letter}" for letter in GLYPHS["7"]}
    assert frame_of(read_back(cells_of(SMALL.draw(lit(off), False)), SMALL)[0]).digits == "24"


def test_numbers_keep_their_width() -> None:
    values: list[tuple[object, int]] = [(None, 7), (0.0, 7), (-0.0001, 7), (99.99999, 6), (-12345.678, 7), (9_999_999.5, 7)]
    shown = [bench.number(value, width, 3) for value, width in values]
    assert shown == ["   ----", "  0.000", "  0.000", "100.00", "-12346"[:7].rjust(7), "10000000"]


# against a meter that runs


@pytest.fixture(scope="module")
def meter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with countis_run(tmp_path_factory.mktemp("panel"), "--serial", "none") as running:
        yield running


def url(running: Running) -> str:
    return f"http://{running.ready['web']}"


def at_server(running: Running, address: int = 5) -> dict[str, Any]:
    with urllib.request.urlopen(f"{url(running)}/api/meters/{address}", timeout=5) as answer:
        content: dict[str, Any] = json.load(answer)
    return content


def play(at: Server, scenario: Scenario, size: tuple[int, int] = (80, 24), name: str = "E44") -> None:
    async def go() -> None:
        async with Terminal(at, name, 5).run_test(size=size) as pilot:
            await scenario(pilot)

    asyncio.run(go())


def the(pilot: Pilot[None]) -> Terminal:
    assert isinstance(pilot.app, Terminal)
    return pilot.app


async def until(pilot: Pilot[None], holds: Callable[[], bool], seconds: float = 8.0) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, (the(pilot).lcd.frame, the(pilot).trouble, the(pilot).news)
        await pilot.pause(0.02)


def text(panel: Terminal) -> str:
    return "" if panel.lcd.frame is None else str(panel.lcd.frame["text"])


def words(panel: Terminal, widget: str) -> str:
    content = panel.query_one(widget, Static).content
    return str(content)


def drawn(panel: Terminal) -> str:
    """Return the text of the LCD as it is drawn on the screen now."""
    flashes = panel.lcd.frame["flashes"] if panel.lcd.frame is not None else []
    flashing = frozenset({"par"} if "sign.par" in flashes else ())
    return frame_of(read_back(on_screen(panel), panel.lcd.glass)[0], flashing).text


async def drawn_as_said(pilot: Pilot[None]) -> None:
    """Wait until the drawing reads as the server's text; what flashes does not at once."""
    await until(pilot, lambda: drawn(the(pilot)) == text(the(pilot)) != "", 3.0)


@pytest.mark.parametrize("size", [(80, 24), (120, 40)], ids=["80x24", "120x40"])
def test_the_lcd_the_keys_and_the_values_are_on_the_screen(meter: Running, size: tuple[int, int]) -> None:
    async def scenario(pilot: Pilot[None]) -> None:
        panel = the(pilot)
        await until(pilot, lambda: text(panel) != "" and panel.state != {})
        await drawn_as_said(pilot)
        assert text(panel).split(" | ")[0] == at_server(meter)["lcd"]["text"].split(" | ")[0]
        assert panel.lcd.glass is (SMALL if size == (80, 24) else LARGE)
        for key in ("#SET", "#UP", "#ENTER", "#help", "#about"):
            region = panel.query_one(key).region
            assert region.area > 0
            assert panel.screen.region.contains_region(region)
        shown = words(panel, "#values")
        value = panel.state["values"]
        for symbol in ("V1", "V2", "V3", "U12", "U23", "U31"):
            assert f"{value[symbol]:.1f}" in shown
        assert f"{value['P'] / 1000:.3f}" in shown
        for word in ("IN ", "PF", "kvar", "kVA", "f 50.00 Hz", "123", ">T1", "Ea+", "Er-", "Eap", "demand", "requests"):
            assert word in shown, word
        assert "E44 address 5" in words(panel, "#about")
        screen = ["".join(char for char, _ in row) for row in cells_of(panel.screen._compositor.render_strips())]
        assert f"{value['V1']:.1f}" in "\n".join(screen)
        assert "q quit" in screen[-1]

    play(Server(url(meter), None), scenario, size)


def test_partials_stand_still_and_are_reset_by_keys(meter: Running) -> None:
    async def scenario(pilot: Pilot[None]) -> None:
        panel = the(pilot)
        await until(pilot, lambda: text(panel).startswith("Tar.1"))
        await pilot.press(*"eeeee")
        await until(pilot, lambda: text(panel).startswith("Par.b | Σ → Ea par T1"))
        await pilot.press("b")
        await until(pilot, lambda: "par*" in text(panel) and "par.Ea+.T1" not in panel.state["running"])
        assert "Ea+.T1 stand still (*)" in words(panel, "#values")
        figure = bench.number(panel.state["values"]["par.Ea+.T1"], 5, 3, 1000).strip()
        assert re.findall(r"(T\d) +([\d.]+)\*", words(panel, "#values")) == [("T1", figure)]
        await drawn_as_said(pilot)
        before = panel.state["values"]["par.Ea+.T1"]
        assert before > 0
        await pilot.press("B")
        await until(pilot, lambda: re.search(r"UP \+ ENTER held [0-3]\.\d of 3\.2 s", words(panel, "#about")) is not None)
        assert panel.query_one("#UP").has_class("down")
        await until(pilot, lambda: panel.state["values"]["par.Ea+.T1"] == 0.0)
        assert not panel.query_one("#UP").has_class("down")
        assert "held" not in words(panel, "#about")

    play(Server(url(meter), None), scenario)


def test_the_mouse_holds_a_key_for_as_long_as_it_does(meter: Running) -> None:
    async def scenario(pilot: Pilot[None]) -> None:
        panel = the(pilot)
        await until(pilot, lambda: text(panel) != "")
        was = text(panel).split(" | ")[0]
        assert await pilot.mouse_down("#ENTER")
        await until(pilot, lambda: bool(panel.lcd.frame and panel.lcd.frame["light"]))  # it went down
        assert panel.query_one("#ENTER").has_class("down")
        await pilot.pause(0.2)
        assert text(panel).split(" | ")[0] == was  # and only that
        assert "ENTER held" in words(panel, "#about")
        assert await pilot.mouse_up("#values") is not None  # let go elsewhere
        await until(pilot, lambda: text(panel).split(" | ")[0] != was)
        assert not panel.query_one("#ENTER").has_class("down")
        assert read_back(on_screen(panel), SMALL)[1] is True

    play(Server(url(meter), None), scenario)


def test_a_key_goes_up_when_the_terminal_loses_the_mouse(meter: Running) -> None:
    async def scenario(pilot: Pilot[None]) -> None:
        panel = the(pilot)
        await until(pilot, lambda: text(panel) != "")
        await pilot.mouse_down("#SET")
        await until(pilot, lambda: panel.query_one("#SET").has_class("down"))
        panel.post_message(events.AppBlur())
        await until(pilot, lambda: not panel.query_one("#SET").has_class("down"))
        assert panel.mouse_captured is None

    play(Server(url(meter), None), scenario)


def test_what_a_keyboard_repeats_is_left_out_beyond_ten(meter: Running) -> None:
    async def scenario(pilot: Pilot[None]) -> None:
        panel = the(pilot)
        await until(pilot, lambda: text(panel) != "")
        for _ in range(200):
            panel.action_press("s")  # a short SET does nothing
        await pilot.press("e")
        was = text(panel).split(" | ")[0]
        await until(pilot, lambda: not panel.query_one("#SET").has_class("down") and panel._waiting.empty(), 2.0)
        assert panel.trouble == ""
        assert text(panel).split(" | ")[0] == was

    play(Server(url(meter), None), scenario)


def test_what_is_said_on_the_ports_is_told(meter: Running) -> None:
    async def scenario(pilot: Pilot[None]) -> None:
        panel = the(pilot)
        await until(pilot, lambda: panel.state != {})
        asked = asyncio.create_task(asyncio.to_thread(command, "read", meter.target, "5", "U12"))
        await until(pilot, lambda: len(panel.frames) >= 2)
        await asked
        shown = words(panel, "#values")
        assert re.search(r"\d\d:\d\d:\d\d\.\d{3} TCP +5 → +3 read 50514 to 50515: U12$", shown, re.M)
        assert re.search(r"TCP +5 ← +3 +2 words: U12 39\d\.\d+ V$", shown, re.M)

    play(Server(url(meter), None), scenario, (100, 60))


@pytest.mark.slow
def test_an_address_is_set_by_keys_and_found_again_after_a_restart(tmp_path: Path) -> None:
    flags = ("--serial", "none", "--token", "secret")
    running = start(tmp_path, *flags)

    async def scenario(pilot: Pilot[None]) -> None:
        nonlocal running
        panel = the(pilot)
        await until(pilot, lambda: text(panel) != "")
        await pilot.press(*"eeeeeeee", "E")
        await until(pilot, lambda: text(panel) == "SEtuP.2 | Addr | 005 | 123")
        await drawn_as_said(pilot)
        await pilot.press(*"uue", *"uuuu", "enter")
        await until(pilot, lambda: "| 245" in text(panel))
        await pilot.press("up", *"ue", "E")
        await until(pilot, lambda: text(panel).startswith("SEtuP.2 | EXit | Y"))
        await until(pilot, lambda: not panel.query_one("#ENTER").has_class("down"))
        await pilot.press("e")
        await until(pilot, lambda: panel.address == 247)
        port = running.ready["web"]
        assert stop(running)[0] == 0
        await until(pilot, lambda: "trying again" in words(panel, "#about"))
        assert panel.lcd.frame is None
        assert read_back(on_screen(panel), SMALL)[0] == set()
        assert "230." not in words(panel, "#values")
        running = await asyncio.to_thread(start, tmp_path, *flags, "--web", port)
        await until(pilot, lambda: text(panel).startswith("Tar.1"))
        assert "connected again at" in words(panel, "#about")
        assert "address 247" in words(panel, "#about")
        await pilot.press("e")
        await until(pilot, lambda: text(panel).startswith("Tar.2"))

    try:
        play(Server(url(running), "secret"), scenario)
        refused = command("panel", url(running))
        assert (refused.returncode, refused.stdout) == (2, "")
        assert re.fullmatch(rf"countis: {url(running)}: token missing or wrong \(allowed: --token T[^\n]+\)\n", refused.stderr)
    finally:
        assert stop(running)[0] == 0


# what is wrong


class Other(BaseHTTPRequestHandler):
    """A server that is no countis."""

    def do_GET(self) -> None:
        self.send_response(302 if self.path.startswith("/moved") else 200)
        self.send_header("Location", "http://127.0.0.1:1/")
        self.end_headers()
        self.wfile.write(b"<html>")

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture(scope="module")
def other() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Other) as there:
        Thread(target=there.serve_forever, daemon=True, args=(0.05,)).start()
        yield f"http://127.0.0.1:{there.server_port}"
        there.shutdown()


@pytest.mark.parametrize(
    ("at", "what"),
    [
        ("127.0.0.1:8044", "no address of a page"),
        ("ftp://127.0.0.1", "no address of a page"),
        ("http://", "no address of a page"),
        ("http://127.0.0.1:x", "no address of a page"),
        ("http://127.0.0.1:99999", "no address of a page"),
        ("http://[::1", "no address of a page"),
        ("http://a@127.0.0.1:8044", "no address of a page"),
        ("http://127.0.0.1\n:8044 ", "no address of a page"),
        ("http://127.0.0.1:1", "Connection refused"),
        ("http://no.such.host.invalid:8044", "http://no.such.host.invalid:8044: "),
        ("OTHER", "no countis answers there"),
        ("OTHER/moved", "no countis answers there"),
    ],
)
def test_a_wrong_address_is_one_line(at: str, what: str, other: str) -> None:
    with pytest.raises(BusError) as error:
        run(at.replace("OTHER", other), None, None)
    assert what in str(error.value)
    assert re.fullmatch(r"[^\n]+ \(allowed: [^\n]+\)", str(error.value))


def test_a_meter_that_is_not_there_and_a_terminal_that_is_none(meter: Running) -> None:
    with pytest.raises(BusError, match=r"no meter at address 77 \(allowed: 5\)"):
        run(url(meter), "77", None)
    done = command("panel", url(meter), stdin=subprocess.DEVNULL)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "countis: panel: no terminal here (allowed: a terminal of 80 columns and 24 lines or more)\n"
    refused = command("panel", "http://127.0.0.1:1")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert re.fullmatch(r"countis: http://127.0.0.1:1: Connection refused \(allowed: .+\)\n", refused.stderr)


def test_it_runs_in_a_terminal_until_it_is_quit(meter: Running) -> None:
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    environment = {**os.environ, "TERM": "xterm-256color"}
    process = subprocess.Popen((COMMAND, "panel", url(meter)), stdin=slave, stdout=slave, stderr=slave, env=environment)
    os.close(slave)
    heard, asked = b"", False
    while True:
        try:
            part = os.read(master, 65536)
        except OSError:  # it has closed the terminal
            break
        heard += part
        if not asked and b"address 5" in heard and b"kvarh" in heard:
            os.write(master, b"q")
            asked = True
        if part == b"":
            break
    os.close(master)
    assert process.wait(10) == 0
    assert asked
    assert b"Traceback" not in heard
