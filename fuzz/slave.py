"""`make fuzz N=…`: any bytes in any pieces, with silences at any place, into the meter's three ports.

Silence or a well-formed reply; never an exception of ours; never a change that the naive reading of the bytes does not ask for.
`python -m fuzz.slave N [SEED]` plays N frames of a seeded generator, then lets atheris search with the same entry point; it
prints one line. What is found goes to stderr with the bytes of its case, exit code 1.
"""

from __future__ import annotations

import hashlib
import importlib.util
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import Final

from countis import E44, Measurement, Meter, SetSetting
from countis.host.running.feeder import Feeder
from countis.host.running.hub import LineHub, MeterPort
from countis.meter.energy.registers import Layout
from countis.modbus import rtu
from countis.serve.tcp_port import RtuTcpRequests, TcpRequests
from countis.supply import three_phase
from countis.words.quantities import COUNTED_COLUMN
from countis.words.settings import Value
from fuzz.frames import FEED, OPERATOR, RTU, SILENCE, TCP, Frames
from fuzz.naive import GATEWAY, Effect, Expected, Line, Stream, crc, identified

SECOND: Final = 1_000_000_000
PORTS: Final = "ports"  # what atheris searches here; a parser's name in parsers.py
GUIDED_SHARE, MOST_GUIDED = 20, 100_000  # one run of atheris to so many frames of the generator, and at most so many
_MOVED: Final = [Layout.demand_id, Layout.demand_energy, Layout.demand_ns, Layout.demand_broken, Layout.demand_p,
                 Layout.demand_time, Layout.records, Layout.led_pending]  # fmt: skip
_SETTABLE: Final = (("user_lock", 1), ("user_lock", 0), ("sealed", 1), ("sealed", 0), ("tariff_control", "dig"),
                    ("tariff_control", "com"))  # fmt: skip
KNOWN: Final = ((57345, 2, "ct_secondary", 1), (57346, 2, "ct_primary", 1), (57355, 2, "demand_period", 1),
                (50849, 2, "tariff", 1), (58368, 2, "address", 1), (50520, 4, "V1", 100), (50526, 4, "f", 100))  # fmt: skip
Wanted = tuple[bytes, int]  # how a reply begins, and how long it is


def window(volts: float, seconds: float = 1.0) -> Measurement:
    """A measurement that is ready to be counted."""
    return Measurement.of(E44, seconds=seconds, v=(volts,) * 3, i=(2.5, 1.0, 0.2), p=(500.0, -200.0, 40.0),
                          q=(100.0, 60.0, -9.0))  # fmt: skip


FED: Final = tuple(window(230.0 + k, 0.2 + 7.0 * (k % 5)) for k in range(16))
DARK, LIGHT = window(0.0), window(230.0)


class Finding(AssertionError):
    """Something that must not be."""


class Stand:
    """A live meter behind its ports, and beside it what a naive reader of the same bytes expects of it."""

    def __init__(self) -> None:
        self.meter = Meter(E44, ct_primary=200, tariff_control="com")
        self.hub = LineHub([MeterPort(Feeder(self.meter, three_phase(230, 1.0), 1.0))])
        self.expected, self.operated = Expected(), False
        version = ".".join(map(str, self.meter.state.firmware.version))
        self.objects = ["SOCOMEC", E44.reference, version, "", "COUNTIS E43/E44", "Countis E44"]
        self.digest = hashlib.sha256()
        self.replies = self.silences = self.writes = self._fed = 0
        self.feed()

    # what happens beside the bus

    def remember(self) -> None:
        """Take the meter as it is now for what it must stay."""
        self.row = self.meter.state.row.copy()
        self.row_bytes = self.row.tobytes()
        self.settings: dict[str, Value] = dict(self.meter.settings)
        self.curve = (self.meter.state.curve.pointer, self.meter.state.curve.fetched)

    def feed(self) -> None:
        """Let the meter count; its memory takes what has changed."""
        self.meter.count(FED[self._fed % len(FED)])
        self.expected.powered = self.meter.powered
        self._fed += 1
        self.meter.writes()
        self.remember()

    def operate(self, choice: int) -> None:
        """Let the operator set something, or the power go or come."""
        if choice % 8 == 7:
            self.meter.state.diagnostics = self.expected.diagnostics = not self.expected.diagnostics
        elif choice % 8 == 6:
            self.power(not self.meter.powered)
        else:
            self.meter.apply([SetSetting(*_SETTABLE[choice % 8])])
            settings = self.meter.settings
            self.expected.user_lock, self.expected.sealed = int(settings["user_lock"]), int(settings["sealed"])
            self.expected.com = settings["tariff_control"] == "com"
        self.operated = True
        self.remember()

    def power(self, on: bool) -> None:
        while self.meter.powered != on:
            self.meter.count(LIGHT if on else DARK)
        self.expected.powered = on

    def _settle(self) -> None:
        """Begin a case with the meter at address 5, with power and nothing locked."""
        if self.operated:
            self.power(True)
            self.meter.apply([SetSetting("user_lock", 0), SetSetting("sealed", 0)])
            self.meter.apply([SetSetting("tariff_control", "com")])
            self.expected.user_lock, self.expected.sealed, self.expected.com = 0, 0, True
        if self.operated or self.expected.address != 5:
            self.meter.apply([SetSetting("address", 5)])
            self.expected.address = 5
            self.operated = False
            self.remember()

    # one case

    def case(self, data: bytes) -> None:
        """Play a case: the port, then pieces, silences, feeds and what the operator does."""
        self._settle()
        port, at = data[0] % 3 if data else RTU, 1
        self._connect(port)
        while at < len(data):
            op = data[at]
            at += 1
            if op == SILENCE and port == RTU:
                self._check_rtu(self.framer.silence() if self.framer.waiting else [], self.line.silence(self.expected.address))
            elif op == SILENCE:
                self._connect(port)
            elif op == FEED:
                self.feed()
            elif op == OPERATOR:
                self.operate(data[at] if at < len(data) else 0)
                at += 1
            else:
                self._take(port, data[at : at + op])
                at += op

    def _connect(self, port: int) -> None:
        """Begin to listen on a line, or on a new connection."""
        self.line, self.stream = Line(port == RTU), Stream()
        self.framer = rtu.SlaveFramer(self.hub.addresses())
        self.port = TcpRequests(self.hub) if port == TCP else RtuTcpRequests(self.hub)

    def _take(self, port: int, piece: bytes) -> None:
        if not piece:
            return
        if port == RTU:
            at_hand = None if self.framer.waiting else self.hub.rtu_cached(piece)
            if at_hand is not None and at_hand != self.meter.rtu(piece):
                raise Finding(f"stale {at_hand.hex()} to {piece.hex()}")
            self._check_rtu(self.framer.receive(piece), self.line.take(piece, self.expected.address))
            return
        said = self.port.answer(piece)
        if port == TCP:
            envelopes = self.stream.take(piece)
            asked = [self._tcp(*envelope) for envelope in envelopes]
            if len(envelopes) == 1 and envelopes[0][2][0] == 3:
                self._check_words(envelopes[0][2], said[7:])
        else:
            asked = [self._rtu(frame) for frame in self.line.take(piece, self.expected.address)]
        lost = self.stream.lost if port == TCP else self.line.lost
        if self.port.broken != lost:
            raise Finding(f"closed {self.port.broken}, expected {lost}")
        self._compare(said, asked, port != TCP)
        if lost:
            self._connect(port)

    def _check_words(self, request: bytes, reply: bytes) -> None:
        """A reply that was cached is the one that would be worked out now, and settings read as they were written."""
        if reply[:1] != b"\x03":
            return
        if reply != self.meter.pdu(request):
            raise Finding(f"stale {reply.hex()} to {request.hex()}")
        first = int.from_bytes(request[1:3], "big")
        for address, size, symbol, counts in KNOWN if first > 50000 else ():
            at, value = 2 + 2 * (address - first), self.meter[symbol]
            held = round(value * counts) if isinstance(value, int | float) else 0xFFFFFFFF
            if at >= 2 and len(reply) >= at + size and int.from_bytes(reply[at : at + size], "big") != held:
                raise Finding(f"{symbol} is {value}, reads {reply.hex()} from {first}")

    def _check_rtu(self, found: list[bytes], asked: list[bytes]) -> None:
        """Answer frames as the serial port does, and compare with the naive reading."""
        if found != asked:
            raise Finding(f"frames {[f.hex() for f in found]}, expected {[f.hex() for f in asked]}")
        if found:
            said = [self.hub.rtu(frame).data for frame in found]
            self.framer.addresses = self.hub.addresses()
            self._compare(b"".join(said), [self._rtu(frame) for frame in asked], True)
        elif self.meter.state.row.tobytes() != self.row_bytes or self.meter.settings != self.settings:
            raise Finding("a change without a frame")

    # what is to be answered

    def _rtu(self, frame: bytes) -> tuple[Effect, Wanted]:
        """Say what an RTU frame asks for and how its reply looks."""
        expected, request = self.expected, frame[1:-2]
        if not expected.powered or frame[0] not in (0, expected.address):
            if frame[0] not in (0, self.meter.settings["address"]) and self.meter.rtu(frame):
                raise Finding(f"answers {frame.hex()} at address {expected.address}")
            return Effect(), (b"", 0)
        if frame[0] == 0:
            one = request[:3] == b"\x06\x9e\x21" or request[:6] == b"\x10\x9e\x21\0\x01\x02"
            return (expected.read(request) if one else Effect()), (b"", 0)
        effect = expected.read(request)
        head, size = self._pdu(request, effect.code)
        return effect, (frame[:1] + head, size + 3)

    def _tcp(self, transaction: bytes, unit: int, request: bytes) -> tuple[Effect, Wanted]:
        expected = self.expected
        reached = expected.powered and unit in (0, 255, expected.address)
        effect = expected.read(request) if reached else Effect(GATEWAY)
        head, size = self._pdu(request, effect.code)
        return effect, (transaction + bytes((0, 0, 0, size + 1, unit)) + head, size + 7)

    def _pdu(self, request: bytes, code: int) -> Wanted:
        if code:
            return bytes((request[0] | 0x80, code)), 2
        if request[0] == 8:
            return (request, len(request)) if request[1:3] in (b"\0\0", b"\0\x0a") else (request[:3], 5)
        if request[0] == 43:
            told = identified(request, self.objects)
            return told, len(told)
        if request[0] == 3:
            return bytes((3, 2 * request[4])), 2 + 2 * request[4]
        return request[:5], 5

    def _compare(self, said: bytes, asked: list[tuple[Effect, Wanted]], with_crc: bool) -> None:
        at = 0
        for _, (head, size) in asked:
            reply = said[at : at + size]
            if len(reply) != size or not reply.startswith(head) or (with_crc and size and crc(reply[:-2]) != reply[-2:]):
                raise Finding(f"said {said.hex()}, expected at {at} {head.hex()} and {size} bytes in all")
            at += size
            self.replies += size > 0
            self.silences += size == 0
        if at != len(said):
            raise Finding(f"said {said[at:].hex()}, which nobody asked for")
        self.digest.update(len(said).to_bytes(2, "big") + said)
        self._changes([effect for effect, _ in asked if not effect.code])

    def _changes(self, effects: list[Effect]) -> None:
        """Compare all that a write can change with what was asked for."""
        meter, row, moved, curve, entries = self.meter, self.row, False, False, [0, 0]
        for effect in effects:
            settings = {**self.settings, **effect.settings}
            moved = moved or effect.clock >= 0 or settings != self.settings
            single = sum(settings[symbol] != value for symbol, value in self.settings.items()) + (effect.clock >= 0)
            single += effect.tariff not in (0, row[Layout.tariff])
            entries += [single + bool(effect.resets), single + 2 * len(effect.resets)]  # all at once are one
            self.settings = settings
            for name in effect.resets:
                row[COUNTED_COLUMN[f"par.{name}"]] = 0
            row[Layout.tariff] = effect.tariff or row[Layout.tariff]
            if effect.clock >= 0:
                row[Layout.clock_zero] = effect.clock * SECOND - meter.now
            curve = curve or bool(effect.curve)
            self.writes += bool(effect.settings or effect.tariff or effect.resets or effect.clock >= 0 or effect.curve)
        noted = int(meter.state.row[Layout.events] - row[Layout.events])
        row[Layout.events] += min(max(noted, sum(entries[::2])), sum(entries[1::2]))
        if moved:  # a record of the load curve may have been cut
            row[_MOVED] = meter.state.row[_MOVED]
        if meter.settings != self.settings:
            raise Finding(f"settings {meter.settings}, expected {self.settings}")
        if moved or effects:
            self.row_bytes = row.tobytes()
        if meter.state.row.tobytes() != self.row_bytes:
            raise Finding(f"row changed at {(meter.state.row != row).nonzero()[0].tolist()}")
        if curve:
            self.curve = (meter.state.curve.pointer, meter.state.curve.fetched)
        if (meter.state.curve.pointer, meter.state.curve.fetched) != self.curve:
            raise Finding("the load curve was read on")


_STAND: list[Stand] = []


def TestOneInput(data: bytes) -> None:
    """Play one case on the meter that this process has."""
    if not _STAND:
        _STAND.append(Stand())
    _STAND[0].case(bytes(data))


def seeded(count: int, seed: int) -> tuple[int, Stand]:
    """Play at least `count` frames; return how many, and the stand. What is found names its case."""
    stand, frames = Stand(), Frames(seed)
    while frames.count < count:
        case = frames.case()
        try:
            stand.case(case)
        except Exception as error:
            error.add_note(f"seed {seed}, frame {frames.count}, case {case.hex()}")
            raise
    return frames.count, stand


def search(target: str, cases: Sequence[bytes], runs: int, seed: int) -> str:
    """Let atheris search from these cases on, in a process of its own because its loop never returns; say how it went."""
    if importlib.util.find_spec("atheris") is None:
        return "guided: no atheris here"
    with tempfile.TemporaryDirectory() as corpus:
        for number, case in enumerate(cases):
            with open(f"{corpus}/{number}", "wb") as file:
                file.write(case)
        longest = max(600, 2 * max(map(len, cases)))
        command = [sys.executable, "-m", "fuzz.guided", target, f"-runs={runs}", f"-seed={seed}", f"-max_len={longest}",
                   f"-artifact_prefix={corpus}/", corpus]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, errors="replace")
    if done.returncode:
        raise Finding(f"atheris ended with {done.returncode}:\n{done.stdout[-2000:]}{done.stderr[-4000:]}")
    covered = re.findall(r"cov: (\d+)", done.stderr)
    return f"guided: {runs} runs, {covered[-1] if covered else 0} branches, nothing found"


def guided(runs: int, seed: int) -> str:
    """Let atheris search from 200 cases of the generator on."""
    frames = Frames(seed + 1)
    return search(PORTS, [frames.case() for _ in range(200)], runs, seed)


def main(arguments: list[str]) -> int:
    """Play, search and print one line."""
    count, seed = int(arguments[0]), int(arguments[1]) if arguments[1:] else 1
    began = time.perf_counter()
    try:
        played, stand = seeded(count, seed)
        seconds = time.perf_counter() - began
        told = guided(min(MOST_GUIDED, max(1000, count // GUIDED_SHARE)), seed)
    except Exception as error:
        print(f"FOUND {type(error).__name__}: {error} {' '.join(getattr(error, '__notes__', ()))}", file=sys.stderr)
        return 1
    print(f"seed {seed}  {played} frames  {played / seconds:.0f} frames/s  digest {stand.digest.hexdigest()[:16]}  "
          f"{stand.replies} replies  {stand.silences} silences  {stand.writes} writes  {told}")  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
