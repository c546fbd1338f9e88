"""The RS485 line as a model in line time: who sends, who receives, and what spoils bytes (manual §8.2).

Rule: pure and seeded; times are integer ns of line time, given by the caller. The same model runs in tests
without a clock and paces a pty in real time. What happens to a byte depends on its number on the line, never
on chunks.
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
_CALM: Final = 0.1  # of a bit: an echo of the open end within this time is harmless; assumed
_REFLECTED: Final = 0.02  # share of bits spoilt by an echo of _CALM, growing with its square; assumed
_OVERLOADED: Final = 0.2  # share of bits lost for each unit load above MOST_UNITS; assumed
_ATTENUATED: Final = 0.05  # share of bits lost at twice the longest cable; assumed


@dataclass(frozen=True, slots=True)
class Cable:
    """How the line is laid.

    metres: its length. terminated: 120 Ω at both ends. units: unit loads of all stations. echo: a sender
    receives its own bytes, as with some adapters. broken: stations behind a break. swapped: stations with A
    and B exchanged. Stations of these two sets neither receive nor are received.
    """

    metres: float = 10.0
    terminated: bool = True
    units: float = 1.0
    echo: bool = False
    broken: frozenset[int] = frozenset()
    swapped: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Disturbance:
    """Shares 0..1 of the bytes between two times that are changed at random, lost, or doubled."""

    start: int = 0
    end: int = 1 << 62
    noise: float = 0.0
    lost: float = 0.0
    doubled: float = 0.0


@dataclass(frozen=True, slots=True)
class ReceivedByte:
    """One byte as a station receives it. at: end of its last bit. spoilt: wrong parity or stop bit."""

    at: int
    value: int
    spoilt: bool = False


@dataclass(frozen=True, slots=True)
class _Transmission:
    start: int
    station: int
    data: bytes
    number: int  # of its first byte on the line


class LineModel:
    """One pair of wires between stations, which are numbers of the caller's choice.

    bits: of a character: start, 8 data, parity, stop. SettingError where a share is not in 0..1.
    """

    def __init__(self, baud: int, bits: int = 10, *, cable: Cable | None = None,
                 troubles: tuple[Disturbance, ...] = (), parity: bool = False, seed: int = 1) -> None:
        for trouble in troubles:
            for name in ("noise", "lost", "doubled"):
                if not 0.0 <= getattr(trouble, name) <= 1.0:
                    raise SettingError(name, f"{getattr(trouble, name):g} is not possible", "0..1")
        self.baud, self.bits, self.parity, self.seed = baud, bits, parity, seed
        self.cable, self.troubles = cable or Cable(), troubles
        self._sent: list[_Transmission] = []
        self._number = 0

    @property
    def character_ns(self) -> float:
        """Duration of a character."""
        return self.bits * SECOND / self.baud

    @property
    def silence_ns(self) -> int:
        """Silence between frames: 3.5 characters, 1.75 ms above 19200 baud."""
        return silence_ns(self.baud, self.bits)

    def end_of(self, start: int, count: int) -> int:
        """Return when `count` characters that begin at `start` are over."""
        return start + round(count * self.character_ns)

    def send(self, station: int, data: bytes, start: int) -> int:
        """Let a station send from `start` on, even if it is cut off; return when its last bit is over."""
        if data:
            self._sent.append(_Transmission(start, station, data, self._number))
            self._number += len(data)
        return self.end_of(start, len(data))

    def busy(self, at: int) -> bool:
        """Tell whether any station is sending at a time."""
        return any(sent.start <= at < self.end_of(sent.start, len(sent.data)) for sent in self._sent)

    def received(self, station: int, start: int, end: int) -> list[ReceivedByte]:
        """Return what a station receives in start < t ≤ end, in order; nothing where it is cut off."""
        if self._cut_off(station):
            return []
        out: list[ReceivedByte] = []
        for sent in self._sent:
            if self._cut_off(sent.station) or (sent.station == station and not self.cable.echo):
                continue
            for k in range(len(sent.data)):
                over = self.end_of(sent.start, k + 1)
                if start < over <= end:
                    out += self._arrived(sent, k, over)
        return sorted(out, key=lambda byte: byte.at)

    def forget(self, before: int) -> None:
        """Drop what was over before a time."""
        self._sent = [sent for sent in self._sent if self.end_of(sent.start, len(sent.data)) > before]

    def error_share(self) -> float:
        """Return the share of bits that the cable spoils: reflections, too many unit loads, length."""
        cable, share = self.cable, 0.0
        if not cable.terminated:
            echo = 2.0 * cable.metres * _NS_PER_METRE / (SECOND / self.baud)
            share += _REFLECTED * (echo / _CALM) ** 2 if echo > _CALM else 0.0
        share += _OVERLOADED * max(0.0, cable.units / MOST_UNITS - 1.0) * MOST_UNITS
        share += _ATTENUATED * max(0.0, cable.metres / MOST_METRES - 1.0)
        return min(0.5, share)

    def _cut_off(self, station: int) -> bool:
        return station in self.cable.broken or station in self.cable.swapped

    def _arrived(self, sent: _Transmission, k: int, over: int) -> list[ReceivedByte]:
        """Apply collision, noise, loss and doubling to byte k; return what stations receive."""
        number, value, flips = sent.number + k, sent.data[k], 0
        others = self._collided(sent, k)
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
        spoilt = others is not None or (self.parity and flips % 2 == 1)
        return [ReceivedByte(over, value, spoilt)] * times

    def _collided(self, sent: _Transmission, k: int) -> int | None:
        """Return the AND of all other bytes that overlap byte k; None where there is none."""
        start, over = self.end_of(sent.start, k), self.end_of(sent.start, k + 1)
        both: int | None = None
        for other in self._sent:
            if other is sent or self._cut_off(other.station):
                continue
            first = int((start - other.start) // self.character_ns)
            for n in range(max(0, first), min(first + 2, len(other.data))):
                if self.end_of(other.start, n) < over and self.end_of(other.start, n + 1) > start:
                    both = other.data[n] & (0xFF if both is None else both)
        return both
