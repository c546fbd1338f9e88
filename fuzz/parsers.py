"""Bytes from outside into every parser but the slave's: files, memories, the page's requests and messages.

Each case begins as something valid and is spoilt: bits, bytes, lines, numbers, cut and joined, 2 in 100 without structure. It
may be taken, or refused with the one line that people get; another exception, a status of 500, or 10 s for a case is a finding.
`python -m fuzz.parsers N [SEED [NAME]]` plays N cases of each parser and prints a line for each; a finding is exit code 1.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import re
import resource
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final
from zlib import crc32

import numpy as np

from countis import E44, Measurement, Meter, SetSetting
from countis.errors import CountisError
from countis.faults import Kind, read_fault
from countis.host.audience import Audience, Viewer
from countis.host.desk import Desk
from countis.host.feeder import Feeder
from countis.host.runner import Runner
from countis.host.station import Station
from countis.host.web import Pages
from countis.memory import PAGE, leftovers
from countis.modbus import pdu, rtu, trace
from countis.site.replay import exchanges
from countis.site.site_file import read_site
from countis.supply import three_phase
from countis.supply.comtrade_file import read_comtrade, write_comtrade
from countis.supply.formats import Recorded, read_csv, read_raw, read_wav, write_csv, write_wav
from countis.supply.recordings import RawStream, choose, play, propose
from countis.supply.toml_file import RecordingPlan, read_supply

MEMORY: Final = 6 << 30  # bytes of addresses; a case that wants more is a finding
_SLOW: Final = 10.0  # s of CPU
_CUT: Final = b"\n--\n"  # between two files of one case
_NUMBERS: Final = (b"0", b"-1", b"1e308", b"-1e-308", b"nan", b"inf", b"1e12", b"999999999999", b"0.5", b"256", b"65536", b"")
_WORDS: Final = (b"[]", b"{}", b'""', b"null", b"true")
_NAMES: Final = ("V1", "V2", "V3", "I1", "I2", "I3")
_SCOPE: Final = {"asgi": {"version": "3.0"}, "http_version": "1.1", "scheme": "http", "root_path": "", "query_string": b"",
                 "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80)}  # fmt: skip


class Refused(Exception):
    """What the page's server or a viewer's seat refuses."""


@dataclass(frozen=True)
class Parser:
    """A parser, and bytes that it takes."""

    read: Callable[[bytes], object]
    seeds: Callable[[], Sequence[bytes]]


# spoiling


def _piece(chance: random.Random, data: bytes) -> tuple[int, int]:
    at = chance.randrange(len(data) + 1)
    return at, min(len(data), at + chance.choice((1, 2, 4, 16, 200)))


def spoilt(chance: random.Random, seeds: Sequence[bytes]) -> bytes:
    """Return a seed with up to five faults in it."""
    if chance.random() < 0.02:
        return chance.randbytes(chance.choice((0, 1, 7, 64, 1000)))
    data = chance.choice(seeds)
    for _ in range(chance.randint(0, 5)):
        data = _fault(chance, data, chance.choice(seeds))
    return data


def _fault(chance: random.Random, data: bytes, other: bytes) -> bytes:
    """Return data with one fault."""
    (a, b), (c, d) = _piece(chance, data), _piece(chance, other)
    kind = chance.randrange(9)
    if kind == 0 and a < len(data):
        return data[:a] + bytes((data[a] ^ 1 << chance.randrange(8),)) + data[a + 1 :]
    if kind == 1:
        return data[:a] + data[b:]
    if kind == 2:
        return data[:a] + other[c:d] + data[a:]
    if kind == 3:
        return data[:a] + chance.randbytes(b - a) + data[b:]
    if kind == 4:
        return data[:a] + data[a:b] * chance.choice((2, 3, 50)) + data[b:]
    if kind == 5:
        return data[:a]
    if kind == 6:  # a number, where there is one
        digits = [k for k, byte in enumerate(data) if 48 <= byte < 58]
        at = chance.choice(digits) if digits else 0
        return data[:at] + chance.choice(_NUMBERS) + data[at + 1 :]
    if kind == 7:  # something else where a word stands
        words = re.findall(rb"[\w.+-]+", data)
        return data.replace(chance.choice(words or [b" "]), chance.choice(_WORDS + _NUMBERS), 1)
    lines = data.split(b"\n")
    chance.shuffle(lines)
    return b"\n".join(lines)


# what is read


def _supply(data: bytes) -> None:
    plan = read_supply(_utf8(data), "some.toml")
    if plan.recording is None:
        plan.build(40.0).read(16)


def _utf8(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise Refused(str(error)) from None  # as sources.read_text does


def _recorded(recorded: Recorded) -> None:
    play(choose(recorded, propose(recorded), "some"), recorded.rate, RecordingPlan("some", {}, at_end="loop"), "some").read(16)


def _comtrade(data: bytes) -> None:
    cfg, _, dat = data.partition(_CUT)
    _recorded(read_comtrade(cfg.decode("latin-1"), dat, "some.cfg"))


def _stream(data: bytes) -> None:
    left = bytearray(data)

    def pull(count: int) -> bytes:
        part = bytes(left[: min(count, 7)])
        del left[: len(part)]
        return part

    stream = RawStream(pull)
    while len(stream.read(5)):
        pass


def _faults(data: bytes) -> None:
    try:
        rows = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise Refused(str(error)) from None
    for row in rows if isinstance(rows, list) else ():
        read_fault(row if isinstance(row, dict) else {}, 0)


def _trace(data: bytes) -> None:
    exchanges(trace.read(data[: trace.whole(data)]))


def _memory(data: bytes) -> None:
    with contextlib.suppress(CountisError):
        _loaded(_mended(data))
    _loaded(data)


def _mended(data: bytes) -> bytes:
    """A memory whose pages have the right CRC whatever is in them, so that what stands behind it is reached."""
    pages = [data[at : at + PAGE - 4] for at in range(0, 4 * PAGE, PAGE)]
    return b"".join(page + crc32(page).to_bytes(4, "little") for page in pages) + data[4 * PAGE :]


def _loaded(data: bytes) -> None:
    meter = Meter.load(data)
    writes = [write for _, write in leftovers(data)] if meter.store.version > 1 else []
    assert all(len(part) and 0 <= offset < len(data) for offset, part in writes)
    meter.count(Measurement.of(meter.model, seconds=1.0, v=[230.0] * 3, i=[1.0] * 3, p=[200.0] * 3, q=[0.0] * 3))
    meter.pdu(pdu.read_request(50780, 100))


# the page


def station() -> Station:
    """A meter that nobody feeds."""
    feeder = Feeder(Meter(E44, ct_primary=200), three_phase(230, 1.0), 1.0)
    return Station(feeder, Desk(feeder), {}, "none")


_STATION: Final = station()


def _web(data: bytes) -> None:
    """A request: a line of method and path, lines of headers, an empty one, the body."""
    head, _, body = data.partition(b"\n\n")
    first, *others = head.split(b"\n")
    method, _, path = first.decode("utf-8", "replace").partition(" ")
    pairs = [line.partition(b": ") for line in others]
    headers = [(b"host", b"localhost"), *((name.lower(), value) for name, _, value in pairs)]
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {**_SCOPE, "type": "http", "method": method, "path": path, "raw_path": path.encode(), "headers": headers}
    asyncio.run(Pages([_STATION], Runner([]), None).app(scope, receive, send))
    status = sent[0]["status"]
    assert status < 500 or status == 503, f"status {status}"
    if status >= 400:
        raise Refused(status)


def _message(data: bytes) -> None:
    async def take() -> None:
        with Audience(_STATION).seat() as viewer:
            assert isinstance(viewer, Viewer)
            try:
                Audience(_STATION).take(viewer, data.decode("utf-8", "replace"))
            except (ValueError, RecursionError) as error:  # what _take_keys of web.py closes the seat for
                raise Refused(str(error)) from None

    asyncio.run(take())


# what is valid


def _waves() -> Any:
    return np.round(three_phase(230, 1.0).read(64), 3)


def _supplies() -> list[bytes]:
    event = '[[event]]\nat = 1.5\nover = 0.2\nset = { "voltage.L1" = 161.0, frequency = 50.5, "tariff.volts" = 230 }\n'
    load = '[[load]]\nname = "a"\nphase = "L2"\npower = 1200\npf = -0.8\nharmonics = { 3 = [0.1, 170] }\nprofile = "pv"\n'
    wiring = '[wiring]\nmissing = ["L2"]\nct = ["L2", "L1", "L3"]\nreversed = ["L3"]\nneutral = "ok"\n'
    front = "[front_end]\ngain = [1.01, 1, 1, 1, 1, 1]\nbits = 16\n"
    recording = '[recording]\nfile = "a.cfg"\nchannels = { V1 = "VA" }\nfrom = 0.1\nto = 0.2\nat_end = "loop"\n'
    burst = '[[load]]\ncurrent = 0.5\nfired = 90\n[[load]]\nphase = "L1"\ncurrent = 1\nburst = [2, 3]\ndirection = "export"\n'
    first = "rate = 8000\n[voltage]\nL1 = 230.5\nharmonics = { 5 = [0.02, 180] }\n"
    return [text.encode() for text in (first + load + event, first + burst + wiring, front + load, recording, event + load)]


def _sites() -> list[bytes]:
    meter = '[[line.meter]]\naddress = 7\nmodel = "E43"\nct = "200/5"\nserial_number = "2645123400042"\nsupply = "a.toml"\n'
    fault = '[[line.meter.fault]]\nkind = "late"\nms = 300\nshare = 0.5\nat = 1.0\nfor = 60\n'
    line = '[[line]]\ntarget = "pty"\nbaud = 9600\ncomset = "8E1"\nmetres = 1200\nterminated = false\nnoise = 0.001\n'
    twice = line + "collide = true\n" + meter + meter + 'name = "other"\n'
    return [(line + meter + fault + meter.replace("7", "8")).encode(), twice.encode()]


def _traces() -> list[bytes]:
    asked, told = rtu.frame(5, pdu.read_request(50520, 2)), rtu.frame(5, bytes.fromhex("0304 000059D8"))
    said = [trace.Said(1_000_000 + k, port, way, frame) for k, (port, way, frame) in enumerate((
        (trace.Port.RTU, trace.Direction.REQUEST, asked), (trace.Port.RTU, trace.Direction.REPLY, told),
        (trace.Port.TCP, trace.Direction.REQUEST, asked), (trace.Port.TCP, trace.Direction.REPLY, told)))]  # fmt: skip
    return [trace.head(form) + trace.write(form, said) for form in trace.Form]


def _memories() -> list[bytes]:
    meter = Meter(E44, demand_period=60, tariff_control="com")
    for _ in range(10):
        meter.count(Measurement.of(E44, seconds=30.0, v=[230.0] * 3, i=[1.0] * 3, p=[200.0, -90.0, 5.0], q=[9.0] * 3))
    meter.apply([SetSetting("ct_primary", 250)])
    whole = meter.save()
    return [whole, whole[:100] + bytes(PAGE - 100) + whole[PAGE:]]


def _requests() -> list[bytes]:
    at, origin = "/api/meters/5", "origin: http://localhost\ncontent-type: application/json\n\n"
    document = '{"voltage": {"L1": 231.0}, "load": [{"power": 1200, "pf": 0.9, "phase": "L1"}], "event": []}'
    return [text.encode() for text in (
        "GET /\n\n", "GET /static/page.js\n\n", "GET /api/meters\n\n", f"GET {at}\n\n", f"GET {at}/supply\n\n",
        f"GET {at}/events\n\n",
        f"PUT {at}/supply\n{origin}{document}", f"PUT {at}/seal\n{origin}" '{"sealed": true}',
        f"PUT {at}/faults\n{origin}" '[{"kind": "late", "ms": 30, "for": 5}]', "GET /healthz\ncookie: countis_token=a\n\n",
        f"PUT {at}/supply\norigin: http://localhost\n\n" "[[load]]\npower = 100\n")]  # fmt: skip


PARSERS: Final[dict[str, Parser]] = {
    "supply": Parser(_supply, _supplies),
    "site": Parser(lambda data: read_site(_utf8(data), "some.toml"), _sites),
    "faults": Parser(_faults, lambda: [json.dumps([{"kind": kind.value, "for": 5, "share": 0.5}]).encode() for kind in Kind]),
    "COMTRADE": Parser(_comtrade, lambda: [_CUT.join(write_comtrade(_waves(), 8000.0, _NAMES, 50.0))]),
    "CSV": Parser(lambda data: _recorded(read_csv(_utf8(data), 8e3, "a.csv")), lambda: [write_csv(_waves(), 8e3, _NAMES)]),
    "WAV": Parser(lambda data: _recorded(read_wav(data, "some.wav")), lambda: [write_wav(_waves(), 8000.0)]),
    "raw": Parser(lambda data: _recorded(read_raw(data, 8000.0, "s16", "some.s16")), lambda: [bytes(240), bytes(range(240))]),
    "standard input": Parser(_stream, lambda: [write_wav(_waves(), 8000.0), _waves().astype("<f4").tobytes()]),
    "trace": Parser(_trace, _traces),
    "memory": Parser(_memory, _memories),
    "web request": Parser(_web, _requests),
    "WebSocket message": Parser(_message, lambda: [b'{"key": "SET", "down": true, "n": 1}', b'{"key":"UP","down":true,"n":7}']),
}


def play_cases(name: str, count: int, seed: int) -> tuple[int, int]:
    """Play cases of one parser; return how many were taken and refused. AssertionError is a finding, with its bytes."""
    parser, chance, taken = PARSERS[name], random.Random(f"{name} {seed}"), 0
    seeds = parser.seeds()
    for data in seeds:
        parser.read(data)
    for number in range(count):
        data, began = spoilt(chance, seeds), time.process_time()
        try:
            parser.read(data)
            taken += 1
        except (CountisError, Refused) as error:
            if "\n" in str(error):
                raise AssertionError(f"{name}, seed {seed}, case {number}: no one line: {error}: {data.hex()}") from None
        except Exception as error:
            raise AssertionError(f"{name}, seed {seed}, case {number}: {error!r}: {data.hex()}") from error
        spent = time.process_time() - began
        assert spent < _SLOW, f"{name}, seed {seed}, case {number}: {spent:.1f} s: {data.hex()}"
    return taken, count - taken


def main() -> None:
    count, seed = int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    for name in sys.argv[3:] or PARSERS:
        began = time.monotonic()
        try:
            taken, refused = play_cases(name, count, seed)
        except AssertionError as finding:
            raise SystemExit(f"FOUND {finding}") from None
        rate = count / (time.monotonic() - began)
        print(f"{name:18} seed {seed}  {count} cases  {rate:.0f} cases/s  {taken} taken  {refused} refused", flush=True)


if __name__ == "__main__":
    main()
