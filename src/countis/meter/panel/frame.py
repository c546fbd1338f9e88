"""What the LCD shows at one moment: as text, as signs, as segments.

Rule: one frame, drawn the same by browser, terminal and tests. Characters have 14 segments: a to f the ring,
clockwise from the top; g and h the middle bar; i, j, k the upper and l, m, n the lower spokes, from left to
right.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

GLYPHS: Final[dict[str, str]] = {
    "0": "abcdef", "1": "bc", "2": "abdegh", "3": "abcdgh", "4": "bcfgh", "5": "acdfgh", "6": "acdefgh",
    "7": "abc", "8": "abcdefgh", "9": "abcdfgh", "-": "gh", " ": "", "?": "abhm", "A": "abcefgh",
    "b": "cdefgh", "C": "adef", "d": "bcdegh", "E": "adefgh", "F": "aefgh", "G": "acdefh", "L": "def",
    "M": "bcefik", "N": "bcefin", "P": "abefgh", "S": "acdih", "T": "ajm", "X": "ikln", "Y": "ikm",
    "O": "abcdefjm", "a": "abcdegh", "i": "m", "n": "cegh", "o": "cdegh", "p": "efabgj", "r": "egh",
    "t": "defgh", "u": "cde", "y": "bcdfgh",
}
FULL: Final = "abcdefghijklmn"
ZONES: Final = {"menu": 7, "code": 5, "digits": 8}  # places of each
SCOPES: Final = ("L1", "L2", "L3", "Σ", "L1 2 3", "L12 23 31")
ARROWS: Final = ("→", "←")
NATURES: Final = ("Ea", "Er", "Eap", "ind", "cap", "par", "bal")
TARIFFS: Final = ("T1", "T2", "T3", "T4")
OWN: Final = "own"  # the frame round a tariff that is the page's own, not the one in force
SEQUENCES: Final = ("123", "132", "!")
STATES: Final = ("setup", "com", "pulse", "fault")
MINUS: Final = "-"
SIGNS: Final = (*SCOPES, *ARROWS, *NATURES, *TARIFFS, OWN, *SEQUENCES, *STATES, MINUS)
UNITS: Final = ("kWh", "MWh", "kvarh", "Mvarh", "kVAh", "MVAh", "kW", "MW", "kvar", "Mvar", "kVA", "MVA", "V",
                "A", "kA", "PF", "Hz")


def places(text: str) -> list[tuple[str, bool]]:
    """Return the characters of a zone, each with whether a point follows it."""
    out: list[tuple[str, bool]] = []
    for char in text:
        if char == "." and out and not out[-1][1]:
            out[-1] = (out[-1][0], True)
        else:
            out.append((" ", True) if char == "." else (char, False))
    return out


@dataclass(frozen=True, slots=True)
class LcdFrame:
    """One frame of the LCD (manual §4.4). What flashes is lit while `phase` is true."""

    menu: str = ""
    code: str = ""
    digits: str = ""
    units: tuple[str, ...] = ()
    signs: frozenset[str] = frozenset()
    flashing: frozenset[str] = frozenset()  # signs, and places of digits as "digits.7"
    phase: bool = True
    light: bool = False
    test: bool = False

    @property
    def text(self) -> str:
        """The frame as `MENU | CODE SCOPE SIGNS | DIGITS UNIT | SEQUENCE SYMBOLS`; "" when the LCD is blank.

        A partial that stands still is `par*`. Of tariffs in force, T1 is not written (decision 71).
        """
        of_page, in_force = (TARIFFS, ()) if OWN in self.signs else ((), TARIFFS[1:])
        page = self._lit(*SCOPES, *ARROWS, *NATURES, *of_page)
        value = ("-" if MINUS in self.signs else "") + self.digits
        state = self._lit(*SEQUENCES, *in_force, *STATES[1:])
        text = " | ".join(map(" ".join, ([self.menu], [self.code, *page], [value, *self.units], state)))
        return " ".join(text.split()).rstrip(" |")

    def _lit(self, *names: str) -> list[str]:
        texts = {"par": "par*"} if "par" in self.flashing else {}
        return [texts.get(name, name) for name in names if name in self.signs]

    @property
    def segments(self) -> list[str]:
        """Its segments, flashing ones too: `digits.7.a`, `menu.3.point`, `sign.→`, `unit.kWh`."""
        signs = [f"sign.{sign}" for sign in SIGNS if sign in self.signs]
        return [*self._characters(), *signs, *(f"unit.{unit}" for unit in self.units)]

    def _characters(self) -> Iterator[str]:
        for zone, width in ZONES.items():
            chars = places(getattr(self, zone))
            first = width - len(chars) if zone == "digits" else 0  # digits stand at the right
            for place, (char, point) in enumerate(chars, first):
                yield from (f"{zone}.{place}.{letter}" for letter in (FULL if self.test else GLYPHS[char]))
                if point:
                    yield f"{zone}.{place}.point"

    @property
    def flashes(self) -> list[str]:
        """Those of its segments that flash."""
        heads = tuple(f"{name}." for name in self.flashing)
        signs = {f"sign.{name}" for name in self.flashing}
        return [name for name in self.segments if name in signs or name.startswith(heads)] if heads else []


DISPLAY_TEST: Final = LcdFrame("8." * ZONES["menu"], "8." * ZONES["code"], "8." * ZONES["digits"], UNITS,
                               frozenset(SIGNS), light=True, test=True)
