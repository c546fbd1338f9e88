"""Plays the sittings with a meter in transcripts/: a line a step, each a thing a person could have done.

    meter   E44 ct_primary=200 tariff_control=com    a new meter; settings by symbol
    supply  v=230 i=2.5 pf=0.9 f=50                  what it is wired to: three_phase, v, i and pf as one or three numbers
    wait    5s                                       lets the supply run; without one, time passes dark
    >       05 03 C5 58 00 02 78 90                  bytes to the meter
    <       05 03 04 00 00 59 E2 05 EA               what it must have answered; nothing: silence
    expect  P 62100 0.1                              a symbol, its value, and by how much it may be off
    press   ENTER 8x     UP+ENTER                    keys, shortly; several times, or several at once
    hold    UP+ENTER 3s                              keys, for a time
    lcd     tot | L1 → Ea | 000000.34 kWh | 123      what the LCD must show; nothing: blank
    off     on                                       a power cut: the memory alone goes from one meter to the next

Comments stand after # and after two blanks.
"""

from __future__ import annotations

import functools
import operator
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from countis import E44, Key, Meter
from countis.models import MODELS
from countis.supply import Supply, three_phase
from countis.words.settings import SETTINGS

FOLDER = Path(__file__).parent / "transcripts"


def keys(text: str) -> Key:
    """Read `UP+ENTER`."""
    return functools.reduce(operator.or_, (Key[name] for name in text.split("+")))


class Sitting:
    """One transcript as it is played."""

    def __init__(self) -> None:
        self.meter = Meter(E44)
        self.source: Supply | None = None
        self.reply = b""
        self.memory = b""

    def play(self, verb: str, words: list[str]) -> None:
        steps: dict[str, Callable[[list[str]], None]] = {
            "meter": self.new, "supply": self.wire, "wait": self.wait, ">": self.send, "<": self.answer,
            "expect": self.expect, "press": self.press, "hold": self.hold, "lcd": self.lcd, "off": self.off, "on": self.on,
        }  # fmt: skip
        steps[verb](words)

    def new(self, words: list[str]) -> None:
        pairs = dict(word.split("=") for word in words[1:])
        numbers = {s: int(v) if isinstance(SETTINGS[s].default, int) else v for s, v in pairs.items()}
        self.meter = Meter(MODELS[words[0]], **numbers)  # type: ignore[arg-type]

    def wire(self, words: list[str]) -> None:
        given: dict[str, object] = {}
        for word in words:
            name, value = word.split("=")
            parts = [float(x) for x in value.split(",")]
            given[name] = parts if len(parts) == 3 else parts[0] if name not in ("sequence", "export") else int(parts[0])
        self.source = three_phase(**given)  # type: ignore[arg-type]

    def wait(self, words: list[str]) -> None:
        seconds = float(words[0].removesuffix("s"))
        if self.source is None:
            self.meter.advance(round(seconds * 1e9))
        else:
            self.meter.feed(self.source, seconds=seconds)

    def send(self, words: list[str]) -> None:
        self.reply = self.meter.rtu(bytes.fromhex("".join(words)))

    def answer(self, words: list[str]) -> None:
        assert self.reply.hex(" ").upper() == " ".join(words).upper()

    def expect(self, words: list[str]) -> None:
        symbol, value, *off = words
        found = self.meter[symbol]
        if value == "----":
            assert found is None
        else:
            assert found == pytest.approx(float(value), abs=float(off[0]) if off else 0), symbol

    def press(self, words: list[str]) -> None:
        self.meter.press(keys(words[0]), int(words[1].removesuffix("x")) if words[1:] else 1)

    def hold(self, words: list[str]) -> None:
        self.meter.hold(keys(words[0]), float(words[1].removesuffix("s")))

    def lcd(self, words: list[str]) -> None:
        assert self.meter.lcd == " ".join(words)

    def off(self, words: list[str]) -> None:
        self.memory = self.meter.save()

    def on(self, words: list[str]) -> None:
        self.meter = Meter.load(self.memory)


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.txt")), ids=lambda p: p.stem)
def test_transcript(path: Path) -> None:
    sitting = Sitting()
    for number, line in enumerate(path.read_text().splitlines(), 1):
        verb, _, rest = line.split("#")[0].strip().partition(" ")
        if not verb:
            continue
        words = re.split(r" {2,}", rest.strip())[0].split() if verb != "off" else []
        try:
            sitting.play(verb, words)
        except AssertionError as error:
            raise AssertionError(f"{path.name}:{number}: {line.strip()}\n{error}") from None


def test_every_verb_is_used_and_every_transcript_says_what_it_is() -> None:
    texts = [path.read_text() for path in FOLDER.glob("*.txt")]
    verbs = {line.split()[0] for text in texts for line in text.splitlines() if line.strip() and not line.startswith("#")}
    assert verbs == {"meter", "supply", "wait", ">", "<", "expect", "press", "hold", "lcd", "off", "on"}
    assert all(text.startswith("# ") for text in texts)
