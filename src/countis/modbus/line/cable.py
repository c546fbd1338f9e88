"""The RS485 line as a model in line time: who talks when, what the others hear, and everything that spoils it (manual §8.2).

Rule: pure and seeded; times are integer nanoseconds of line time, given by whoever drives it. The same model is played in tests
without a clock and paces a pty in real time. What a byte goes through depends on its number on the line alone, never on chunks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from countis.modbus.line.chance import chance
from countis.modbus.rtu import silence_ns
from countis.words.clock import SECOND
from countis.words.errors import SettingError

MOST_UNITS: Final = 32.0  # unit loads that a driver can bear (TIA-485)
UNIT_LOAD: Final = 1.0 / 8.0  # of this meter (manual §13)
MOST_METRES: Final = 1200.0  # manual §8.2
_NS_PER_METRE: Final = 5.0  # travel along a twisted pair; assumed
_CALM: Final = 0.1  # of a bit: an echo of the open end that is gone so early harms nothing; assumed
_REFLECTED: Final = 0.02  # share of bits an echo spoils at _CALM, growing with the square of its length; assumed
_OVERLOADED: Final = 0.2  # share of bits lost for each unit load beyond what drivers bear, over their number; assumed
_ATTENUATED: Final = 0.05  # share of bits lost at twice the longest cable; assumed


@dataclass(frozen=True, slots=True)
class Cable:
    """How the line is laid.

    metres: its length. terminated: 120 Ω at both ends. units: unit loads of everything on it. echo: the talker hears itself, as
    adapters do. broken: stations behind a break, cut off. swapped: stations with A and B exchanged, which hear and say nothing.
    """

    metres: float = 10.0
    terminated: bool = True
    units: float = 1.0
    echo: bool = False
    broken: frozenset[int] = frozenset()
    swapped: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Disturbance:
    """What befalls bytes between two times: shares of them that are changed at random, lost, or heard twice."""

    start: int = 0
    end: int = 1 << 62
    noise: float = 0.0
    lost: float = 0.0
    doubled: float = 0.0


@dataclass(frozen=True, slots=True)
class Heard:
    """One byte as it arrives: when its last bit is over, and whether its parity or stop bit was wrong."""

    at: int
    value: int
    spoilt: bool = False


@dataclass(frozen=True, slots=True)
class _Said:
    start: int
    station: int
    data: bytes
    number: int  # of its first byte on the line


class LineModel:
    """One pair of wires. bits: of a character: start, 8 data, parity, stop. Stations are numbers of the caller's choice.

    Raises SettingError where a share is none.
    """

    def __init__(self, baud: int, bits: int = 10, *, cable: Cable | None = None, troubles: tuple[Disturbance, ...] = (),
                 parity: bool = False, seed: int = 1) -> None:  # fmt: skip
        for trouble in troubles:
            for name in ("noise", "lost", "doubled"):
                if not 0.0 <= getattr(trouble, name) <= 1.0:
                    raise SettingError(name, f"{getattr(trouble, name):g} is not possible", "0..1")
        self.baud, self.bits, self.parity, self.seed = baud, bits, parity, seed
        self.cable, self.troubles = cable or Cable(), troubles
        self._said: list[_Said] = []
        self._number = 0

    @property
    def character_ns(self) -> float:
        """How long a character takes."""
        return self.bits * SECOND / self.baud

    @property
    def silence_ns(self) -> int:
        """The silence between frames: 3.5 characters, 1.75 ms above 19200 baud."""
        return silence_ns(self.baud, self.bits)

    def end_of(self, start: int, count: int) -> int:
        """Return when `count` characters that begin at `start` are over."""
        return start + round(count * self.character_ns)

    def talk(self, station: int, data: bytes, start: int) -> int:
        """Let a station send from `start` on; return when its last bit is over. What nobody can hear is sent all the same."""
        if data:
            self._said.append(_Said(start, station, data, self._number))
            self._number += len(data)
        return self.end_of(start, len(data))

    def busy(self, at: int) -> bool:
        """Tell whether anybody talks at a time."""
        return any(said.start <= at < self.end_of(said.start, len(said.data)) for said in self._said)

    def hear(self, station: int, start: int, end: int) -> list[Heard]:
        """Return what a station hears of all that ends in start < t ≤ end, in order; nothing where it is cut off."""
        if self._cut_off(station):
            return []
        out: list[Heard] = []
        for said in self._said:
            if self._cut_off(said.station) or (said.station == station and not self.cable.echo):
                continue
            for k in range(len(said.data)):
                over = self.end_of(said.start, k + 1)
                if start < over <= end:
                    out += self._arrived(said, k, over)
        return sorted(out, key=lambda heard: heard.at)

    def forget(self, before: int) -> None:
        """Drop what was over before a time."""
        self._said = [said for said in self._said if self.end_of(said.start, len(said.data)) > before]

    def error_share(self) -> float:
        """Return which share of bits the cable itself spoils: reflections, too many unit loads, too long a way."""
        cable, share = self.cable, 0.0
        if not cable.terminated:
            echo = 2.0 * cable.metres * _NS_PER_METRE / (SECOND / self.baud)
            share += _REFLECTED * (echo / _CALM) ** 2 if echo > _CALM else 0.0
        share += _OVERLOADED * max(0.0, cable.units / MOST_UNITS - 1.0) * MOST_UNITS
        share += _ATTENUATED * max(0.0, cable.metres / MOST_METRES - 1.0)
        return min(0.5, share)

    def _cut_off(self, station: int) -> bool:
        return station in self.cable.broken or station in self.cable.swapped

    def _arrived(self, said: _Said, k: int, over: int) -> list[Heard]:
        """Return byte k of what was said as it is heard: once, twice or not at all; changed or as it was."""
        number, value, flips = said.number + k, said.data[k], 0
        others = self._collided(said, k)
        if others is not None:
            value, flips = value & others, (value ^ (value & others)).bit_count() or 1
        share = self.error_share()
        for bit in range(8 if share > 0.0 else 0):
            if chance(self.seed, number, bit) < share:
                value, flips = value ^ 1 << bit, flips + 1
        times = 1
        for place, trouble in enumerate(self.troubles):
            if not trouble.start <= over <= trouble.end:
                continue
            if chance(self.seed, number, 16 + 4 * place) < trouble.noise:
                changed = 1 + int(chance(self.seed, number, 17 + 4 * place) * 255)
                value, flips = value ^ changed, flips + changed.bit_count()
            if chance(self.seed, number, 18 + 4 * place) < trouble.lost:
                times = 0
            elif chance(self.seed, number, 19 + 4 * place) < trouble.doubled:
                times *= 2
        return [Heard(over, value, others is not None or (self.parity and flips % 2 == 1))] * times

    def _collided(self, said: _Said, k: int) -> int | None:
        """Return the bytes of others that were on the line at the same time, one upon the other; None where there were none."""
        start, over = self.end_of(said.start, k), self.end_of(said.start, k + 1)
        found: int | None = None
        for other in self._said:
            if other is said or self._cut_off(other.station):
                continue
            first = int((start - other.start) // self.character_ns)
            for n in (first, first + 1):
                if 0 <= n < len(other.data) and self.end_of(other.start, n) < over and self.end_of(other.start, n + 1) > start:
                    found = other.data[n] & (0xFF if found is None else found)
        return found
