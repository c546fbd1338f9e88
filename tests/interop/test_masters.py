"""mbpoll, pymodbus and `countis read` read a running meter on fixed supplies, by every port.

Rule: nothing of countis is imported. The truth is worked out here from the phasors that the supply file describes, and a
register may differ from it by one count. Decisions 4, 6, 7, 8 and 9 say what P, Q, S and PF of three phases are.
"""

from __future__ import annotations

import cmath
import json
import math
import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

import pytest
import serial
from pymodbus.client import ModbusSerialClient, ModbusTcpClient
from pymodbus.exceptions import ModbusIOException
from pymodbus.framer import FramerType

from interop.conftest import COUNTIS, Ready, RunMeter

Harmonics = dict[int, tuple[float, float]]  # order -> (ratio, degrees at the positive zero crossing of the phase's voltage)
Client = ModbusTcpClient | ModbusSerialClient

RATIO: Final = 200 / 5  # the CT of a new memory of `countis run`
BAUD: Final = 38400
SPEED: Final = 200.0  # meter time to host time, so that energies get large while the masters read
WARM: Final = 8  # hundredths of an hour of meter time before anybody reads: energies of some 1000 counts
PATIENCE: Final = 60.0  # s of host time for what takes 2 s on an idle machine

LIVE: Final = 50514
COUNTS: Final = {  # one count of each register from 50514 on, two words each
    "U12": 0.01, "U23": 0.01, "U31": 0.01, "V1": 0.01, "V2": 0.01, "V3": 0.01, "f": 0.01,
    "I1": 0.001, "I2": 0.001, "I3": 0.001, "IN": 0.001, "P": 10.0, "Q": 10.0, "S": 10.0, "PF": 0.001,
}  # fmt: skip
ENERGY: Final = 50946
ENERGIES: Final = ("Ea+", "Er+", "Eap", "Ea-", "Er-")  # from 50946 on, two words each, in 10 Wh, varh, VAh
HOURS_T1: Final = 51234
SIGNATURE, VENDOR, EXTENDED_NAME = 50000, 50042, 50058
IDENTITY: Final = ("SOCO", "SOCOMEC", "Countis E44")
CT_PRIMARY: Final = 57346
TARIFF: Final = 50849


# The supplies, and the truth about them


@dataclass(frozen=True)
class Load:
    """What one phase takes: secondary A, degrees behind the voltage; export turns it round."""

    current: float
    angle: float = 0.0
    export: bool = False
    harmonics: Harmonics = field(default_factory=dict)


@dataclass(frozen=True)
class Case:
    """A fixed supply: fundamentals in V to neutral, and one load on each phase."""

    name: str
    loads: tuple[Load, Load, Load]
    volts: tuple[float, float, float] = (230.0, 230.0, 230.0)
    angles: tuple[float, float, float] = (0.0, -120.0, 120.0)
    frequency: float = 50.0
    harmonics: Harmonics = field(default_factory=dict)


def degrees(pf: float) -> float:
    return math.degrees(math.acos(pf))


CASES: Final = (
    Case("PF 1", (Load(5.0),) * 3),
    Case("0.5 ind", (Load(5.0, degrees(0.5)),) * 3),
    Case("0.8 cap", (Load(4.0, -degrees(0.8)),) * 3),
    Case("export", (Load(3.0, 30.0, export=True),) * 3),
    # 30° between the 5th harmonics and 60° between the fundamentals: a mistaken origin of the degrees would show in P.
    Case("5th harmonic", (Load(4.0, 60.0, harmonics={5: (0.40, 30.0)}),) * 3, harmonics={5: (0.10, 0.0)}),
    Case("49.7 Hz", (Load(5.0, 25.0),) * 3, frequency=49.7),
    Case("unbalanced", (Load(5.0), Load(2.0, 45.0), Load(1.0, 20.0, export=True)), (231.0, 224.5, 236.7), (0.0, -117.0, 122.5)),
)


def table(harmonics: Harmonics) -> str:
    return "{ " + ", ".join(f"{order} = [{ratio}, {angle}]" for order, (ratio, angle) in harmonics.items()) + " }"


def load_toml(phase: str, load: Load) -> str:
    direction = "export" if load.export else "import"
    return (
        f'[[load]]\nphase = "{phase}"\ncurrent = {load.current}\nangle = {load.angle}\ndirection = "{direction}"\n'
        f"harmonics = {table(load.harmonics)}\n"
    )


def toml(case: Case) -> str:
    """Write the case as a supply file."""
    volts = "".join(f"L{k} = {v}\n" for k, v in enumerate(case.volts, 1))
    voltage = f"[voltage]\n{volts}angle = {list(case.angles)}\nharmonics = {table(case.harmonics)}\n"
    same = case.loads[0] == case.loads[1] == case.loads[2]
    named = [("all", case.loads[0])] if same else list(zip(("L1", "L2", "L3"), case.loads, strict=True))
    return f"frequency = {case.frequency}\n{voltage}" + "".join(load_toml(phase, load) for phase, load in named)


Phasors = dict[int, complex]  # order -> RMS value at its angle


def phasors(rms: float, zero: float, angle: float, harmonics: Harmonics) -> Phasors:
    """Return a fundamental at zero + angle, and harmonics whose degrees count from the voltage's zero crossing at `zero`."""
    found = {1: cmath.rect(rms, math.radians(zero + angle))}
    for order, (ratio, offset) in harmonics.items():
        found[order] = cmath.rect(rms * ratio, math.radians(order * zero + offset))
    return found


def total(parts: Sequence[Phasors], weights: Sequence[float]) -> Phasors:
    """Add channels up, harmonic by harmonic."""
    orders = {order for part in parts for order in part}
    return {k: sum((w * part.get(k, 0j) for part, w in zip(parts, weights, strict=True)), 0j) for k in orders}


def rms(channel: Phasors) -> float:
    return math.sqrt(sum(abs(value) ** 2 for value in channel.values()))


def waves(case: Case) -> tuple[list[Phasors], list[Phasors]]:
    """Return the voltages and the primary currents of the three phases."""
    V = [phasors(volts, zero, 0.0, case.harmonics) for volts, zero in zip(case.volts, case.angles, strict=True)]
    I = [
        total([phasors(load.current, zero, -load.angle, load.harmonics)], [-RATIO if load.export else RATIO])
        for load, zero in zip(case.loads, case.angles, strict=True)
    ]
    return V, I


def powers(V: list[Phasors], I: list[Phasors]) -> tuple[float, float, float]:
    """Return P with all harmonics, Q of the fundamental, and S = ΣV·I, of the three phases together."""
    pairs = list(zip(V, I, strict=True))
    P = sum((v[k] * i[k].conjugate()).real for v, i in pairs for k in v.keys() & i.keys())
    Q = sum((v[1] * i[1].conjugate()).imag for v, i in pairs)
    return P, Q, sum(rms(v) * rms(i) for v, i in pairs)


def power_factor(P: float, Q: float, S: float) -> float:
    """Return |P|/S, + in the inductive quadrants I and III (and where there is no Q), − in the capacitive ones."""
    leading = P * Q < 0.0 and abs(Q) > 1e-9 * S  # what is less is the rounding of this file
    return -abs(P) / S if leading else abs(P) / S


def truth(case: Case) -> dict[str, float]:
    """Return what the live registers should read, in SI units."""
    V, I = waves(case)
    P, Q, S = powers(V, I)
    found = {f"U{a}{b}": rms(total([V[a - 1], V[b - 1]], [1, -1])) for a, b in ((1, 2), (2, 3), (3, 1))}
    found |= {f"V{k}": rms(v) for k, v in enumerate(V, 1)} | {"f": case.frequency}
    found |= {f"I{k}": rms(i) for k, i in enumerate(I, 1)} | {"IN": rms(total(I, [1, 1, 1]))}
    return found | {"P": P, "Q": Q, "S": S, "PF": power_factor(P, Q, S)}


def rates(case: Case) -> tuple[float, ...]:
    """Return the powers that the energies grow with, in the order of ENERGIES."""
    P, Q, S = powers(*waves(case))
    return max(P, 0.0), max(Q, 0.0), S, max(-P, 0.0), max(-Q, 0.0)


# The masters


@dataclass(frozen=True)
class Reading:
    """What a master has read: live values in SI units, energies in whole counts of 10 Wh, identity."""

    live: dict[str, float]
    energies: tuple[int, ...]
    identity: tuple[str, str, str]


def live(counts: Sequence[float]) -> dict[str, float]:
    return {symbol: count * unit for (symbol, unit), count in zip(COUNTS.items(), counts, strict=True)}


def host_and_port(endpoint: str) -> tuple[str, int]:
    host, port = endpoint.rsplit(":", 1)
    return host, int(port)


def mbpoll(ready: Ready, way: str, *arguments: str, address: int = 5) -> subprocess.CompletedProcess[str]:
    """Poll once by `tcp` or `rtu`; addresses count from 0."""
    program = shutil.which("mbpoll")
    if program is None:
        if "CI" in os.environ:
            pytest.fail("mbpoll is not installed, and CI must not go without it")
        pytest.skip("mbpoll is not installed")
    host, port = host_and_port(ready["tcp"])
    link = ["-p", str(port), host] if way == "tcp" else ["-b", str(BAUD), "-P", "none", ready["serial"]]
    command = [program, "-m", way, "-a", str(address), "-0", "-1", *arguments, *link]
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)


def polled(ready: Ready, way: str, kind: str, start: int, count: int) -> list[int]:
    """Return the values that mbpoll prints, of one word (kind 4) or two (kind 4:int)."""
    done = mbpoll(ready, way, "-t", kind, "-B", "-o", "5", "-r", str(start), "-c", str(count))
    assert done.returncode == 0, done.stdout + done.stderr
    lines = re.findall(r"^\[(\d+)\]:\s+(-?\d+)", done.stdout, re.MULTILINE)
    step = 2 if kind == "4:int" else 1
    assert [int(at) for at, _ in lines] == [start + step * k for k in range(count)], done.stdout
    return [int(value) for _, value in lines]


def by_mbpoll(ready: Ready, way: str) -> Reading:
    energies = polled(ready, way, "4:int", ENERGY, len(ENERGIES))
    signature = "".join(chr(word) for word in polled(ready, way, "4", SIGNATURE, 4))  # one character a word
    vendor, name = (
        b"".join(word.to_bytes(2, "big") for word in polled(ready, way, "4", at, 8)).rstrip(b"\0 ").decode("ascii")
        for at in (VENDOR, EXTENDED_NAME)
    )
    counts = polled(ready, way, "4:int", LIVE, len(COUNTS))
    return Reading(live(counts), tuple(energies), (signature, vendor, name))


@contextmanager
def connected(ready: Ready, way: str, timeout: float = 5.0) -> Iterator[Client]:
    """Connect pymodbus by `tcp`, `rtu+tcp` or `rtu`; it asks once only."""
    client: Client
    if way == "rtu":
        client = ModbusSerialClient(ready["serial"], baudrate=BAUD, timeout=timeout, retries=0)
    else:
        host, port = host_and_port(ready["tcp" if way == "tcp" else "rtu_tcp"])
        framer = FramerType.SOCKET if way == "tcp" else FramerType.RTU
        client = ModbusTcpClient(host, port=port, framer=framer, timeout=timeout, retries=0)
    try:
        assert client.connect()
        yield client
    finally:
        client.close()  # type: ignore[no-untyped-call]


def words(client: Client, start: int, count: int) -> list[int]:
    reply = client.read_holding_registers(start, count=count, device_id=5)
    assert not reply.isError(), reply
    return list(reply.registers)


def numbers(client: Client, start: int, count: int) -> list[int]:
    """Return signed 32-bit values, put together by pymodbus."""
    found = client.convert_from_registers(words(client, start, 2 * count), client.DATATYPE.INT32, word_order="big")
    return [int(value) for value in (found if isinstance(found, list) else [found])]


def text(client: Client, start: int, count: int) -> str:
    found = client.convert_from_registers(words(client, start, count), client.DATATYPE.STRING)
    assert isinstance(found, str)
    return found


def by_pymodbus(ready: Ready, way: str) -> Reading:
    with connected(ready, way) as client:
        energies = numbers(client, ENERGY, len(ENERGIES))
        signature = text(client, SIGNATURE, 4).replace("\0", "")  # one character a word
        identity = (signature, text(client, VENDOR, 8), text(client, EXTENDED_NAME, 8))
        return Reading(live(numbers(client, LIVE, len(COUNTS))), tuple(energies), identity)


def by_countis(ready: Ready, way: str) -> Reading:
    target = {"tcp": f"tcp://{ready['tcp']}", "rtu+tcp": f"rtu+tcp://{ready['rtu_tcp']}", "rtu": ready["serial"]}[way]
    symbols = (*COUNTS, *ENERGIES, "id.signature", "id.vendor", "id.extended_name")
    command = [str(COUNTIS), "read", "--json", "--timeout", "5", target, "5", *symbols]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    assert (found["target"], found["address"]) == (target, 5)
    values = found["values"]
    energies = tuple(round(values[symbol] * 10) // 100 for symbol in ENERGIES)  # it reads 0.1 Wh, exactly
    identity = (values["id.signature"], values["id.vendor"], values["id.extended_name"])
    return Reading({symbol: values[symbol] for symbol in COUNTS}, energies, identity)


MASTERS: Final[dict[str, tuple[Callable[[Ready, str], Reading], str]]] = {
    "mbpoll tcp": (by_mbpoll, "tcp"),
    "mbpoll pty": (by_mbpoll, "rtu"),
    "pymodbus tcp": (by_pymodbus, "tcp"),
    "pymodbus rtu+tcp": (by_pymodbus, "rtu+tcp"),
    "pymodbus pty": (by_pymodbus, "rtu"),
    "countis tcp": (by_countis, "tcp"),
    "countis rtu+tcp": (by_countis, "rtu+tcp"),
    "countis pty": (by_countis, "rtu"),
}


# Every master reads the truth


@dataclass
class Running:
    """A meter on its supply; `seen` is the last that any master has read of its energies."""

    case: Case
    ready: Ready
    client: Client
    seen: tuple[int, ...] = (0,) * len(ENERGIES)

    def ticks(self) -> int:
        """Return the meter's own time since it was new, in whole hundredths of an hour: all of it was tariff 1."""
        return numbers(self.client, HOURS_T1, 1)[0]


def wait_until(reached: Callable[[], bool]) -> None:
    """Poll until it is reached; fail when patience ends."""
    until = time.monotonic() + PATIENCE
    while not reached():
        assert time.monotonic() < until, f"not reached within {PATIENCE:g} s"
        time.sleep(0.02)


@pytest.fixture(scope="module", params=CASES, ids=lambda case: case.name)
def meter(request: pytest.FixtureRequest, run_meter: RunMeter) -> Iterator[Running]:
    case: Case = request.param
    with run_meter(toml(case), "--speed", str(SPEED)) as ready, connected(ready, "tcp") as client:
        running = Running(case, ready, client)
        wait_until(lambda: running.ticks() >= WARM)
        yield running


def off_by_more_than_a_count(found: dict[str, float], expected: dict[str, float]) -> dict[str, tuple[float, float]]:
    slack = 1 + 1e-6  # the rounding of SI values to double
    return {s: (found[s], expected[s]) for s, unit in COUNTS.items() if abs(found[s] - expected[s]) > slack * unit}


def check_energies(meter: Running, energies: tuple[int, ...], before: int, after: int) -> None:
    """Hold energies against the meter's own time, read before and after them, and against each other.

    Host time is not asked, so a slow machine cannot fail this: at any instant each energy is its power times the same time.
    """
    assert all(now >= earlier for now, earlier in zip(energies, meter.seen, strict=True)), (energies, meter.seen)
    powers_of = rates(meter.case)
    apparent, S = energies[2], powers_of[2]
    for symbol, energy, power in zip(ENERGIES, energies, powers_of, strict=True):
        per_tick = power * 36 / 3600 / 10  # counts of 10 Wh in 0.01 h
        assert before * per_tick - 1 <= energy <= (after + 1) * per_tick + 1, (symbol, energy, before, after)
        # All five come in one request: they stand for the same instant, and each is cut down to a whole count.
        assert abs(energy - apparent * power / S) <= 1, (symbol, energy, apparent * power / S)


@pytest.mark.parametrize("master", MASTERS)
def test_every_master_reads_the_truth(meter: Running, master: str) -> None:
    read, way = MASTERS[master]
    before = meter.ticks()
    reading = read(meter.ready, way)
    after = meter.ticks()
    assert off_by_more_than_a_count(reading.live, truth(meter.case)) == {}
    assert reading.identity == IDENTITY
    check_energies(meter, reading.energies, before, after)
    meter.seen = reading.energies


# What else a master meets on the bus


@pytest.fixture(scope="module")
def bus(run_meter: RunMeter) -> Iterator[Ready]:
    with run_meter(toml(CASES[0]), "--tariff-control", "com") as ready:
        yield ready


def test_an_absent_address_is_silent_on_the_pty(bus: Ready) -> None:
    with connected(bus, "rtu", timeout=0.3) as client, pytest.raises(ModbusIOException, match="No response"):
        client.read_holding_registers(LIVE, count=2, device_id=9)
    with connected(bus, "rtu") as client:
        assert len(words(client, LIVE, 2)) == 2  # the one that is there still answers


def test_an_absent_address_gets_exception_11_on_tcp(bus: Ready) -> None:
    with connected(bus, "tcp") as client:
        reply = client.read_holding_registers(LIVE, count=2, device_id=9)
    assert reply.isError()
    assert reply.exception_code == 0x0B


@pytest.mark.parametrize(("way", "message"), [("rtu", "Connection timed out"), ("tcp", "Target device failed to respond")])
def test_mbpoll_tells_an_absent_address(bus: Ready, way: str, message: str) -> None:
    """The second message is libmodbus's wording of exception 0x0B."""
    done = mbpoll(bus, way, "-o", "0.3", "-t", "4", "-r", str(LIVE), "-c", "2", address=9)
    assert done.returncode == 1
    assert message in done.stderr


@pytest.mark.parametrize(("way", "primary"), [("tcp", 300), ("rtu+tcp", 500), ("rtu", 700)])
def test_a_written_ct_primary_is_read_back(bus: Ready, way: str, primary: int) -> None:
    with connected(bus, way) as writer, connected(bus, "tcp") as reader:
        reply = writer.write_register(CT_PRIMARY, primary, device_id=5)
        assert not reply.isError(), reply
        assert words(reader, CT_PRIMARY, 1) == [primary]
        reply = writer.write_registers(CT_PRIMARY, [primary + 1], device_id=5)
        assert not reply.isError(), reply
        assert words(reader, CT_PRIMARY, 1) == words(writer, CT_PRIMARY, 1) == [primary + 1]


# pymodbus and mbpoll refuse to ask for 126 words, and wait for an answer to a broadcast: these frames are sent as bytes.


def test_126_words_are_refused_on_tcp(bus: Ready) -> None:
    with socket.create_connection(host_and_port(bus["tcp"]), timeout=5.0) as line, line.makefile("rb") as replies:
        line.sendall(bytes.fromhex("0001 0000 0006 05 03 C552 007E"))
        assert replies.read(9) == bytes.fromhex("0001 0000 0003 05 83 03")


def test_126_words_are_refused_on_the_pty(bus: Ready) -> None:
    with serial.Serial(bus["serial"], BAUD, timeout=5.0) as line:
        line.write(bytes.fromhex("05 03 C552 007E 5973"))
        assert line.read(5) == bytes.fromhex("05 83 03 40F0")


@pytest.mark.parametrize(
    ("tariff", "frame"),
    [(3, "00 06 9E21 0003 B7F8"), (2, "00 10 9E21 0001 02 0002 5379")],
    ids=["FC6", "FC16"],
)
def test_a_broadcast_tariff_is_carried_out_and_not_answered(bus: Ready, tariff: int, frame: str) -> None:
    with connected(bus, "tcp") as client:
        assert words(client, TARIFF, 1) != [tariff]
        with serial.Serial(bus["serial"], BAUD, timeout=0.3) as line:
            line.write(bytes.fromhex(frame))
            wait_until(lambda: words(client, TARIFF, 1) == [tariff])
            assert line.read(1) == b""
