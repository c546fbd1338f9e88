"""Chromium for the tests of the page: started from where the machine has it, and what its LCD says read back from the DOM."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from playwright.sync_api import Page, sync_playwright

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync",
         "--no-first-run"]  # fmt: skip
# The 14 segments as they are printed on the data sheet of such a display: a to f the ring, g and h the bar, i j k and l m n the
# spokes. Typed here by hand; S O and P are told from 5 0 and p by the places where letters can stand.
CHARACTERS = {
    "abcdef": "0", "bc": "1", "abdegh": "2", "abcdgh": "3", "bcfgh": "4", "acdfgh": "5", "acdefgh": "6", "abc": "7",
    "abcdefgh": "8", "abcdfgh": "9", "gh": "-", "": " ", "abhm": "?", "abcefgh": "A", "cdefgh": "b", "adef": "C", "bcdegh": "d",
    "adefgh": "E", "aefgh": "F", "def": "L", "bcefik": "M", "bcefin": "N", "abefgh": "P", "acdhi": "S", "ajm": "T", "ikln": "X",
    "ikm": "Y", "abcdefjm": "O", "abcdegh": "a", "m": "i", "cegh": "n", "cdegh": "o", "abefgj": "p", "egh": "r", "defgh": "t",
    "cde": "u", "bcdfgh": "y",
}  # fmt: skip
SCOPES = ("L1", "L2", "L3", "Σ", "L1 2 3", "L12 23 31")
NATURES = ("→", "←", "Ea", "Er", "Eap", "ind", "cap", "par", "bal")
TARIFFS = ("T1", "T2", "T3", "T4")
UNITS = ("k", "M", "V", "W", "var", "VA", "A", "PF", "Hz", "h")


@contextmanager
def chromium(**options: Any) -> Iterator[Page]:
    """A page of a browser of its own; what it logs as an error is kept in `page.troubles`."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page(**options)
        troubles: list[str] = []
        page.on("console", lambda message: troubles.append(message.text) if message.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.troubles = troubles  # type: ignore[attr-defined]
        try:
            yield page
        finally:
            browser.close()


def lit(page: Page) -> set[str]:
    """Return the segments that are lit, or flash and are off just now."""
    return set(page.evaluate("[...document.querySelectorAll('.lcd .lit, .lcd .flashed')].map(part => part.dataset.seg)"))


def zone(segments: set[str], name: str, places: int) -> str:
    """Read the characters of a zone from its segments."""
    text = ""
    for place in range(places):
        head = f"{name}.{place}."
        letters = {s.removeprefix(head) for s in segments if s.startswith(head)}
        text += CHARACTERS["".join(sorted(letters - {"point"}))] + ("." if "point" in letters else "")
    return text.strip()


def read_back(page: Page) -> tuple[str, str]:
    """Return what a person reads off the segments, and the text that the meter gave, of one moment."""
    script = """() => { const lcd = document.querySelector('.lcd');
        return [[...lcd.querySelectorAll('.lit, .flashed')].map(part => part.dataset.seg), lcd.dataset.lcd,
                [...lcd.querySelectorAll('.lit, .flashed')].length]; }"""
    names, text, _ = page.evaluate(script)
    return _text(set(names)), text


def _text(segments: set[str]) -> str:
    signs = {s.removeprefix("sign.") for s in segments if s.startswith("sign.")}
    own = "own" in signs
    shown = [zone(segments, "code", 5), *(s for s in (*SCOPES, *NATURES) if s in signs)]
    shown += [s for s in TARIFFS if own and s in signs]
    unit = "".join(u for u in UNITS if f"unit.{u}" in segments)
    value = ("-" if "-" in signs else "") + zone(segments, "digits", 8)
    state = [s for s in ("123", "132", "!") if s in signs] + [s for s in TARIFFS[1:] if not own and s in signs]
    state += [s for s in ("com", "pulse", "fault") if s in signs]
    fields = [zone(segments, "menu", 7), " ".join(filter(None, shown)), f"{value} {unit}", " ".join(state)]
    return " ".join(" | ".join(fields).split()).rstrip(" |")


def until(page: Page, done: Callable[[], object], seconds: float = 5.0) -> float:
    """Wait until something holds; return how long it took."""
    began = time.monotonic()
    while not done():
        assert time.monotonic() - began < seconds, f"not within {seconds} s: {page.evaluate('document.body.innerText')[:400]}"
        page.wait_for_timeout(20)
    return time.monotonic() - began


def hold(page: Page, keys: str, ms: int) -> None:
    """Hold a key of the device, or a button of several, with the mouse."""
    page.locator(f'[data-keys="{keys}"]').hover()
    page.mouse.down()
    page.wait_for_timeout(ms)
    page.mouse.up()
    page.wait_for_timeout(60)


def press(page: Page, keys: str, times: int = 1) -> None:
    """Press a key shortly, so many times."""
    for _ in range(times):
        hold(page, keys, 40)


def lcd(page: Page) -> str:
    """Return the text of the LCD."""
    return str(page.locator(".lcd").get_attribute("data-lcd"))
