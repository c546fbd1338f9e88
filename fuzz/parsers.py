"""Bytes from outside into every parser but the slave's: files, memories, the page's requests and messages.

Each case begins as something valid (`valid.py`) and is spoilt: bits, bytes, lines, numbers, words, cut and joined, 2 in 100
without structure. It may be taken, or refused with the one line that people get. Another exception, a warning, an answer of
another form, a status of 500, and 5 s or 256 MB for one case are findings. `python -m fuzz.parsers [NAME …] N [SEED]` plays N
cases of each parser, lets atheris search from the same valid bytes, and prints a line for each parser; a finding goes to stderr
with its bytes, exit code 1.
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import hashlib
import json
import math
import random
import re
import resource
import signal
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final
from zlib import crc32

import numpy as np
from countis import E44, Measurement, Meter
from countis.host.page.viewers import Viewers
from countis.host.running.events import event_rows
from countis.meter.memory.image import PAGE, VERSION, MemoryPage, page_write, read, stale_fragments
from countis.modbus import pdu
from countis.modbus.line.faults import fault_row, read_fault
from countis.modbus.said import trace
from countis.modbus.said.frames import Form
from countis.site.line import check_rtu_reply
from countis.site.replay import RecordedExchange, exchanges, lines, replay
from countis.site.site_file import read_site
from countis.supply.recorded.comtrade_file import read_comtrade
from countis.supply.recorded.formats import RAW_FORMATS, Recorded, read_csv, read_raw, read_wav
from countis.supply.recorded.recordings import RawStream, choose, play
from countis.supply.toml_file import AtEnd, RecordingPlan, read_supply
from countis.words.errors import CountisError
from countis.words.settings import MAX_RATE, MIN_RATE
from fuzz import page, valid
from fuzz.page import Refused
from fuzz.slave import search

MEMORY: Final = 6 << 30  # bytes of addresses
_SLOW, _ROOM = 5.0, 256 << 10  # s of CPU; kB that the highest use of memory may grow by
_GUIDED_SHARE, _FEWEST_GUIDED, _MOST_GUIDED = 10, 500, 20_000  # one run of atheris to so many cases, at least, at most so many
_OLD: Final = Path(__file__).parents[1] / "tests" / "memories" / "v1.fram.gz"
_DEEP: Final = (b"[" * 3000, b'{"a":' * 1500, b"a." * 4000 + b"a", b"[[a]]\n" * 500)
_NUMBERS: Final = (b"0", b"-1", b"1e308", b"-1e-308", b"nan", b"inf", b"1e12", b"999999999999", b"50000000", b"0.5", b"256",
                   b"65536", b"", b"1e400", b"1" * 400, b"9" * 5000, b"0x" + b"f" * 5000, b"NaN", b"Infinity")  # fmt: skip
_WORDS: Final = (b"[]", b"{}", b'""', b"null", b"true", b"1979-05-27", rb'"\ud800"', rb'"a\nb"', b"\xe2\x80\xa8", b"x" * 2000,
                 b"[[1, 2]]", b"%1b%0a%00")


class Hung(BaseException):
    """A case that does not end; nobody catches it by mistake."""


@dataclass(frozen=True)
class Parser:
    """A parser, and bytes that it takes."""

    read: Callable[[bytes], object]
    seeds: Callable[[], Sequence[bytes]]


# spoiling


def spoilt(chance: random.Random, seeds: Sequence[bytes]) -> bytes:
    """Return one of the seeds with up to five faults in it."""
    if chance.random() < 0.02:
        return chance.randbytes(chance.choice((0, 1, 7, 64, 1000)))
    data = chance.choice(seeds)
    for _ in range(chance.randint(0, 5)):
        data = _fault(chance, data, chance.choice(seeds))
    return data


def _fault(chance: random.Random, data: bytes, other: bytes) -> bytes:
    """Return data with one fault."""
    a, c = chance.randrange(len(data) + 1), chance.randrange(len(other) + 1)
    b, d = (start + chance.choice((1, 2, 4, 16, 200)) for start in (a, c))
    kind = chance.randrange(8)
    if kind == 0 and a < len(data):
        return data[:a] + bytes((data[a] ^ 1 << chance.randrange(8),)) + data[a + 1 :]
    if kind == 1:
        return data[:a] + data[b:]
    if kind == 2:
        return data[:a] + other[c:d] + data[a:]
    if kind == 3:
        return data[:a] + chance.randbytes(b - a) + data[b:]
    if kind == 4:
        return data[:a] + data[a:b] * chance.choice((2, 3, 50, 4000 // (b - a))) + data[b:]
    if kind == 5:
        return data[:a] + chance.choice((b"", b"\n\n\n"))
    return _word(chance, data) if kind == 6 else _line(chance, data)


def _word(chance: random.Random, data: bytes) -> bytes:
    """Return data with something else for a number, a word, or all that follows an = or a colon."""
    pattern = chance.choice((rb"\d", rb"[\d.+-]+", rb"[\w.+-]+", rb"(?<=[=:,])[^\n,}\]]*", rb"(?<=[=:])[^\n]*"))
    found = list(re.finditer(pattern, data))
    start, end = chance.choice(found).span() if found else (0, 0)
    new = chance.choice(_DEEP) if chance.random() < 0.05 else chance.choice(chance.choice((_WORDS, _NUMBERS)))
    return data[:start] + new + data[end:]


def _line(chance: random.Random, data: bytes) -> bytes:
    """Return data with its lines in another order, or one of them left out or there many times."""
    lines = data.split(b"\n")
    at = chance.randrange(len(lines))
    if chance.random() < 0.5:
        lines[at : at + 1] = [lines[at]] * chance.choice((0, 2, 2 + 30_000 // (1 + len(lines[at]))))
    else:
        chance.shuffle(lines)
    return b"\n".join(lines)


# what is read


def _utf8(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise Refused(str(error)) from None  # as sources.read_text does


def _supply(data: bytes) -> None:
    if (plan := read_supply(_utf8(data), "some.toml")).recording is None:
        assert np.isfinite(plan.build(40.0).read(16)).all()


def _faults(data: bytes) -> None:
    try:
        rows = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise Refused(type(error).__name__) from None  # as _json of routes.py does
    for row in rows if isinstance(rows, list) else ():
        fault = read_fault(row if isinstance(row, dict) else {}, 0)
        json.dumps(fault_row(fault, 0), allow_nan=False)


def _recorded(recorded: Recorded) -> None:
    samples = choose(recorded, {}, "some")
    source = play(samples, recorded.rate, RecordingPlan("some", {}, 1e3, at_end=AtEnd.LOOP), "some")
    assert MIN_RATE <= source.rate <= MAX_RATE, source.rate
    block = source.read(16)
    assert block.shape == (16, 6)
    assert np.isfinite(block).all()


def _comtrade(data: bytes) -> None:
    cfg, _, dat = data.partition(valid.CUT)
    _recorded(read_comtrade(cfg.decode("latin-1"), dat, "some.cfg"))


def _raw(data: bytes) -> None:
    form = sorted(RAW_FORMATS)[data[0] % len(RAW_FORMATS)] if data else "f32"
    _recorded(read_raw(data[1:], 8000.0, form, f"some.{form}"))


def _stream(data: bytes) -> None:
    at = 0

    def pull(count: int) -> bytes:
        nonlocal at
        part = data[at : at + min(count, 7)]
        at += len(part)
        return part

    stream = RawStream(pull)
    while len(stream.read(50)):
        pass


def _trace(data: bytes) -> None:
    kept = trace.whole(data)
    assert 0 <= kept <= len(data)
    said = trace.read(data[:kept])
    for form in Form:
        written = trace.head(form) + trace.write(form, said, lambda unit: E44.family.table)
        assert trace.read(written) == said, f"another trace as {form}"
    recorded = exchanges(said)
    for compared in replay(recorded, _Others(recorded), None, math.inf):
        assert all(line.isprintable() for line in lines(compared)), list(lines(compared))


class _Others:
    """The other end of a line, which answers with the replies of a trace to other requests than they were to."""

    def __init__(self, recorded: Sequence[RecordedExchange]) -> None:
        self._replies = [one.reply for one in (*recorded[2:], *recorded[:2])]

    def exchange(self, unit: int, request: bytes) -> bytes:
        return check_rtu_reply(unit, request, self._replies.pop(0))

    def close(self) -> None:
        """Nothing to close."""


def _memory(data: bytes) -> None:
    held, row = read(data), read(data).row.tobytes()
    for page_number, kind in enumerate(MemoryPage):  # a copy whose CRC is right was read, or it is told as lost
        copies = [data[at : at + PAGE] for at in range(2 * PAGE * page_number, 2 * PAGE * (page_number + 1), PAGE)]
        whole = [copy for copy in copies if crc32(copy[:-4]) == int.from_bytes(copy[-4:], "little")]
        rows = [copy[valid.HEAD :][: int.from_bytes(copy[valid.HEAD - 4 : valid.HEAD], "little")] for copy in whole]
        assert kind in held.lost or whole, f"{kind.name} of a damaged copy"
        assert kind in held.lost or kind is not MemoryPage.HOT or any(map(row.startswith, rows)), "another row"
    meter = Meter.load(data)
    try:
        writes = [write for _, write in stale_fragments(data)] if meter.store.version == VERSION else []
        assert all(part and 0 <= offset <= len(data) - len(part) for offset, part in writes)
        meter.count(Measurement.of(meter.model, seconds=1.0, v=[230.0] * 3, i=[1.0] * 3, p=[200.0] * 3, q=[0.0] * 3))
        meter.pdu(pdu.read_request(50780, 100))
        json.dumps([event_rows(meter.state.log, meter.state.events), meter.front.frame(0).text], allow_nan=False)
        assert len(meter.writes()) < 1000
    except CountisError as error:
        raise AssertionError(f"could be read, but then: {error}") from None


@cache
def _fresh() -> bytes:
    return Meter(E44).save()


def _pages(data: bytes) -> None:
    """A memory whose settings, integer row and records are the parts of a case, with CRCs that are right."""
    stored, hot, ring = (*data.split(valid.CUT), b"", b"", b"")[:3]
    whole = bytearray(_fresh())
    for kind, payload in ((MemoryPage.SETTINGS, stored), (MemoryPage.HOT, hot)):
        offset, written = page_write(kind, 1001, payload[: valid.PAYLOAD])
        whole[offset : offset + PAGE] = written
    for number in range(min(len(ring), 1600) // 16):
        body, at = ring[16 * number : 16 * number + 12], 4 * PAGE + 16 * number
        whole[at : at + 16] = body + crc32(number.to_bytes(8, "little") + body).to_bytes(4, "little")
    _memory(bytes(whole))


def _message(data: bytes) -> None:
    """Messages of one viewer, a line each, as viewers.py takes them: what routes.py hides of its errors is seen here."""

    async def take() -> None:
        audience = Viewers(page._WATCHED)
        with audience.seat() as viewer:
            try:
                for text in data.decode("utf-8", "replace").split("\n")[1:]:
                    audience.take(viewer, text)
            except (ValueError, RecursionError) as error:
                raise Refused("not JSON" if isinstance(error, json.JSONDecodeError) else str(error)[:120]) from None
            finally:
                audience._show_tick(20)

    asyncio.run(take())


PARSERS: Final[dict[str, Parser]] = {
    "supply": Parser(_supply, valid.supplies),
    "site": Parser(lambda data: read_site(_utf8(data), "some.toml"), valid.sites),
    "faults": Parser(_faults, valid.faults),
    "COMTRADE": Parser(_comtrade, valid.comtrades),
    "CSV": Parser(lambda data: _recorded(read_csv(_utf8(data), 8e3, "a.csv")), valid.csvs),
    "WAV": Parser(lambda data: _recorded(read_wav(data, "some.wav")), valid.wavs),
    "raw": Parser(_raw, valid.raws),
    "standard input": Parser(_stream, valid.streams),
    "trace": Parser(_trace, valid.traces),
    "memory": Parser(_memory, lambda: [*valid.memories(), gzip.decompress(_OLD.read_bytes())]),
    "pages of a memory": Parser(_pages, valid.payloads),
    "web request": Parser(page.request, valid.requests),
    "supply of a page": Parser(lambda data: page.request(valid.WIRE + data), valid.documents),
    "request with token": Parser(lambda data: page.request(data, valid.TOKEN), valid.known),
    "viewer": Parser(page.viewing, valid.viewings),
    "messages": Parser(_message, valid.viewings),
}


def outcome(name: str, data: bytes) -> str | None:
    """Put a case to a parser; return what it was refused with, None where it was taken. What is raised is a finding."""
    began, room, told = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, None
    try:
        PARSERS[name].read(data)
    except (CountisError, Refused) as error:
        told = str(error)
    spent, more = time.process_time() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - room
    assert told is None or (told.isprintable() and len(told) < 2 * page.LONGEST), f"not one short line: {told!r:.300}"
    assert spent < _SLOW, f"{spent:.1f} s"
    assert more < _ROOM, f"{more} kB of memory"
    assert "MemoryError" not in (told or ""), told  # which a library's wrapper may have taken for damage
    return told


def one_input(name: str, data: bytes) -> None:
    """Put a case of atheris to a parser."""
    outcome(name, bytes(data))


def _hung(number: int, frame: object) -> None:
    raise Hung(f"more than {2 * _SLOW:g} s")


def play_cases(name: str, count: int, seed: int) -> tuple[int, int, str]:
    """Play cases of a parser; return how many were taken, refused, and a digest of what was said. AssertionError: a finding."""
    chance, taken, digest = random.Random(f"{name} {seed}"), 0, hashlib.sha256()
    seeds = PARSERS[name].seeds()
    for data in seeds:
        with contextlib.suppress(CountisError, Refused):  # compiles what is compiled once
            PARSERS[name].read(data)
    before = signal.signal(signal.SIGVTALRM, _hung)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            for number in range(count):
                data = spoilt(chance, seeds)
                signal.setitimer(signal.ITIMER_VIRTUAL, 2 * _SLOW)
                try:
                    told = outcome(name, data)
                except (Exception, Hung) as error:
                    raise AssertionError(f"{name}, seed {seed}, case {number}: {error!r:.400}: {data.hex()}") from error
                taken += told is None
                digest.update(f"{told}\n".encode())
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0.0)
        signal.signal(signal.SIGVTALRM, before)
    return taken, count - taken, digest.hexdigest()[:16]


def run(name: str, count: int, seed: int) -> str:
    """Play cases of a parser, let atheris search, and say how it went."""
    began = time.monotonic()
    taken, refused, digest = play_cases(name, count, seed)
    rate = count / (time.monotonic() - began)
    chance, seeds = random.Random(seed + 1), PARSERS[name].seeds()
    cases = [*seeds, *(spoilt(chance, seeds) for _ in range(100))]
    told = search(name, cases, min(_MOST_GUIDED, max(_FEWEST_GUIDED, count // _GUIDED_SHARE)), seed)
    said = f"digest {digest}  {taken} taken  {refused} refused  {told}"
    return f"{name:18}  seed {seed}  {count} cases  {rate:.0f} cases/s  {said}"


def main(arguments: Sequence[str]) -> int:
    """Print a line for each parser that is named, for all where none is."""
    numbers = [int(word) for word in arguments if word.isdigit()]
    names = [word for word in arguments if not word.isdigit()] or list(PARSERS)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    found = 0
    for name in names:
        try:
            print(run(name, numbers[0], numbers[1] if len(numbers) > 1 else 1), flush=True)
        except AssertionError as finding:
            print(f"FOUND {finding}", file=sys.stderr)
            found = 1
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
