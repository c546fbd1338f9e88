"""Valid bytes of every kind that is read, for `parsers.py` to spoil."""

from __future__ import annotations

import json
import struct
from typing import Any, Final

import numpy as np
from countis import E44, Measurement, Meter, SetSetting
from countis.meter.memory.image import PAGE
from countis.modbus import pdu, rtu
from countis.modbus.line.faults import FaultKind
from countis.modbus.said import trace
from countis.modbus.said.frames import Direction, Form, LineFrame, Port
from countis.supply import three_phase
from countis.supply.recorded.comtrade_file import write_comtrade
from countis.supply.recorded.formats import write_csv, write_wav

CUT: Final = b"\n--\n"  # between the parts of one case
TOKEN: Final = "a-b"
WIRE: Final = b"PUT /api/meters/5/supply\norigin: http://localhost\ncontent-type: application/json\n\n"
HEAD, PAYLOAD = 20, PAGE - 24  # of a page: bytes before its payload, and the longest one
NAMES: Final = ("V1", "V2", "V3", "I1", "I2", "I3")


def waves() -> Any:
    """64 samples of a quiet network."""
    return np.round(three_phase(230, 1.0).read(64), 3)


def supplies() -> list[bytes]:
    """Supply files."""
    event = '[[event]]\nat = 1.5\nover = 0.2\nset = { "voltage.L1" = 161.0, frequency = 50.5, "tariff.volts" = 230 }\n'
    load = '[[load]]\nname = "a"\nphase = "L2"\npower = 1200\npf = -0.8\nharmonics = { 3 = [0.1, 170] }\nprofile = "pv"\n'
    named = '[[event]]\nat = 2\nfor = 0.5\nset = { "load.a.power" = 3000, noise = 0.001, "wiring.missing" = ["L1"] }\n'
    wiring = '[wiring]\nmissing = ["L2"]\nct = ["L2", "L1", "L3"]\nreversed = ["L3"]\nneutral = "ok"\n'
    front = "[front_end]\ngain = [1.01, 1, 1, 1, 1, 1]\nbits = 16\n"
    recording = '[recording]\nfile = "a.cfg"\nchannels = { V1 = "VA" }\nfrom = 0.1\nto = 0.2\nat_end = "loop"\n'
    burst = '[[load]]\ncurrent = 0.5\nfired = 90\n[[load]]\nphase = "L1"\ncurrent = 1\nburst = [2, 3]\ndirection = "export"\n'
    day = '[[load]]\nphase = "all"\ncurrent = 1.5\nangle = 30.0\nprofile = [[0, 0.5], [12.5, 2], [20, 0.1]]\n'
    first = "rate = 8000\n[voltage]\nL1 = 230.5\nharmonics = { 5 = [0.02, 180] }\n"
    return [text.encode() for text in (first + load + event + named, first + burst + wiring, front + load + day, recording,
                                       event + load)]  # fmt: skip


def sites() -> list[bytes]:
    """Site files."""
    meter = '[[line.meter]]\naddress = 7\nmodel = "E43"\nct = "200/5"\nserial_number = "2645123400042"\nsupply = "a.toml"\n'
    fault = '[[line.meter.fault]]\nkind = "late"\nms = 300\nshare = 0.5\nat = 1.0\nfor = 60\n'
    line = '[[line]]\ntarget = "pty"\nbaud = 9600\ncomset = "8E1"\nmetres = 1200\nterminated = false\nnoise = 0.001\n'
    twice = line + "collide = true\n" + meter + meter + 'name = "other"\n'
    return [(line + meter + fault + meter.replace("7", "8")).encode(), twice.encode()]


def faults() -> list[bytes]:
    """Lists of faults on purpose."""
    return [json.dumps([{"kind": kind.value, "for": 5, "share": 0.5}]).encode() for kind in FaultKind]


def comtrades() -> list[bytes]:
    """Recordings in each form of data, with time stamps or a rate, on the primary side, one channel taken late."""
    stamp = "01/01/2020,00:00:00.000000"
    analog = "1,UA,A,,kV,0.001,0.5,0,-32767,32767,20000,100,P\n2,IA,B,,A,0.1,0,12,-32767,32767,200,5,S"
    kinds = {
        "ASCII": b"".join(b"%d,%d,%d,%d,1\n" % (k, 250 * k, 7 * k, -k) for k in range(1, 9)),
        "BINARY": b"".join(struct.pack("<IIhhH", k, 250 * k, 7 * k, -k, 1) for k in range(1, 9)),
        "BINARY32": b"".join(struct.pack("<IIiiH", k, 250 * k, 7 * k, -k, 1) for k in range(1, 9)),
    }
    made = [CUT.join(write_comtrade(waves(), 8000.0, NAMES, 50.0))]
    for year, rates in (("1999", "1\n4000,8"), ("2013", "0\n0,8")):
        for kind, data in kinds.items():
            cfg = f"yard,7,{year}\n3,2A,1D\n{analog}\n1,trip,,,0\n50\n{rates}\n{stamp}\n{stamp}\n{kind}\n1\n0,0\n0,0\n"
            made.append(cfg.encode() + CUT + data)
    return made


def csvs() -> list[bytes]:
    """With a column of time, and without, by another separator."""
    lines = "\n".join(f"{k};{2 * k}.5;-1e-3" for k in range(9))
    return [write_csv(waves(), 8e3, NAMES), f'"V1";V2;I1\n{lines}\n'.encode()]


def wavs() -> list[bytes]:
    """WAVs of floats, of 16 and 24 bits, of the extensible kind, with chunks beside."""
    made = [write_wav(waves(), 8000.0)]
    for code, bits, more in ((1, 16, b""), (1, 24, b""), (0xFFFE, 32, bytes((22, 0, 32, 0, 0, 0, 0, 0, 1, 0)) + bytes(14))):
        form = struct.pack("<HHIIHH", code, 6, 8000, 6000 * bits, 6 * bits // 8, bits) + more
        body = bytes(range(240)) * (bits // 8)
        rest = b"LIST\x04\0\0\0infofmt " + struct.pack("<I", len(form)) + form + b"data" + struct.pack("<I", len(body)) + body
        made.append(b"RIFF" + struct.pack("<I", len(rest) + 4) + b"WAVE" + rest)
    return made


def raws() -> list[bytes]:
    """A byte that chooses the form, then samples in it."""
    numbers = {"f32": "<f4", "f64": "<f8", "s16": "<i2", "s24": "", "s32": "<i4"}
    made = [waves().astype(kind).tobytes() if kind else bytes(range(180)) for _, kind in sorted(numbers.items())]
    return [bytes((number,)) + data for number, data in enumerate(made)]


def streams() -> list[bytes]:
    """What comes from standard input."""
    return [*wavs(), waves().astype("<f4").tobytes()]


def traces() -> list[bytes]:
    """Both forms: reads, a write, an exception, a silence."""

    def of(data: str) -> bytes:
        return rtu.frame(5, bytes.fromhex(data))

    ways = Direction
    asked, told = rtu.frame(5, pdu.read_request(50520, 2)), of("0304 000059D8")
    said = [LineFrame(1_000_000 + k, port, way, frame) for k, (port, way, frame) in enumerate((
        (Port.RTU, ways.REQUEST, asked), (Port.RTU, ways.REPLY, told),
        (Port.TCP, ways.REQUEST, of("06E00201F4")), (Port.TCP, ways.REPLY, of("06E00201F4")),
        (Port.RTU, ways.REQUEST, of("03E0020001")), (Port.RTU, ways.REPLY, of("030200C8")),
        (Port.TCP, ways.REQUEST, of("03FFFF0002")), (Port.TCP, ways.REPLY, of("8302")),
        (Port.RTU, ways.REQUEST, asked)))]  # fmt: skip
    return [trace.head(form) + trace.write(form, said, lambda unit: E44.family.table) for form in Form]


def memories() -> list[bytes]:
    """A memory that has lived, and one with a damaged copy."""
    meter = Meter(E44, demand_period=60, tariff_control="com")
    for _ in range(10):
        meter.count(Measurement.of(E44, seconds=30.0, v=[230.0] * 3, i=[1.0] * 3, p=[200.0, -90.0, 5.0], q=[9.0] * 3))
    meter.apply([SetSetting("ct_primary", 250)])
    whole = meter.save()
    return [whole, whole[:100] + bytes(PAGE - 100) + whole[PAGE:]]


def payloads() -> list[bytes]:
    """What stands in the pages of a memory: settings, row, and the rings behind."""
    made = []
    for whole in memories():
        hot, stored = (whole[at + HEAD : at + HEAD + int.from_bytes(whole[at + HEAD - 4 : at + HEAD], "little")]
                       for at in (PAGE, 3 * PAGE))  # fmt: skip
        made.append(CUT.join((stored, hot, whole[4 * PAGE : 4 * PAGE + 160])))
    return made


def requests() -> list[bytes]:
    """Requests to the page: a line of method and path, headers, an empty line, a body in pieces."""
    at, origin = "/api/meters/5", "origin: http://localhost\ncontent-type: application/json\n\n"
    document = '{"voltage": {"L1": 231.0}, "load": [{"power": 1200, "pf": 0.9, "phase": "L1"}],~~ "event": []}'
    return [text.encode() for text in (
        "GET /\n\n", "GET /static/page.js\n\n", "GET /api/meters?a=b&c\n\n", f"GET {at}\n\n", f"GET {at}/supply\n\n",
        f"GET {at}/events\n\n", "HEAD /\n\n", f"OPTIONS {at}\n\n", f"PUT {at}/supply\n{origin}{document}",
        f"PUT {at}/seal\n{origin}" '{"sealed": true}', f"PUT {at}/faults\n{origin}" '[{"kind": "late", "ms": 30, "for": 5}]',
        "GET /healthz\ncookie: countis_token=a\n\n",
        f"PUT {at}/supply\norigin: http://localhost\n\n"
        "[[load]]\npower = 100\n[[event]]\nat = 1\nfor = 0\nset = { noise = 0 }")
    ]  # fmt: skip


def documents() -> list[bytes]:
    """Supplies as a page writes them, behind the head of `WIRE`."""
    load = {"name": "a", "power": 1200, "pf": 0.9, "phase": "L1", "profile": [[0, 1.0], [12, 0.5]]}
    event = {"at": 1, "over": 0.5, "set": {"voltage.L1": 161.0, "load.a.power": 3000}}
    front = {"bits": 16, "gain": [1.0, 1.0, 1.0, 1.0, 1.0, 1.0]}
    made = ({"voltage": {"L1": 231.0, "harmonics": {"5": [0.02, 180]}}, "load": [load], "event": [event]},
            {"frequency": 50.5, "front_end": front, "wiring": {"missing": ["L2"], "neutral": "lost"}})  # fmt: skip
    return [json.dumps(document).encode() for document in made]


def known() -> list[bytes]:
    """Requests to a page with a token."""
    who, cookie = f"authorization: Bearer {TOKEN}\n", f"cookie: a=b; countis_token={TOKEN}\n"
    made = (f"GET /\n{cookie}\n", f"GET /api/meters\n{who}\n", "GET /\naccept: text/html\n\n", f"POST /login\n\ntoken={TOKEN}",
            f"PUT /api/meters/5/seal\n{who}\n" '{"sealed": false}', "GET /static/page.css\n\n")  # fmt: skip
    return [text.encode() for text in made]


def viewings() -> list[bytes]:
    """What a viewer says, a line for each message: the path first."""
    keys = "\n".join(f'{{"key": "{key}", "down": {down}, "n": {n}}}' for n, (key, down) in enumerate(
        (("SET", "true"), ("SET", "false"), ("UP", "true"), ("ENTER", "true"), ("UP", "false")), 1))  # fmt: skip
    one = '{"key":"UP","down":true,"n":7}'
    return [f"/api/meters/5/live\n{keys}".encode(), f"/api/meters/5/live\n{one}".encode(), b"/api/meters/6/live\n"]
