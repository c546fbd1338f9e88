"""Replay: a trace against a meter, in its rhythm, and what it answers differently."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from countis.modbus import pdu, rtu
from countis.modbus.said import trace
from countis.modbus.said.frames import Direction, Form, LineFrame, Port
from countis.site.replay import Difference, Verdict, exchanges, lines, replay
from countis.words.errors import BadReply, NoReply, TraceError

from running import Running, command, countis_run
from tables import by_unit

V1 = pdu.read_request(50520, 2)
CT = pdu.read_request(57345, 2)  # ct_secondary, ct_primary
Replies = dict[bytes, bytes | Exception]


class Answers:
    """A line whose meter answers as it is told to."""

    def __init__(self, replies: Replies) -> None:
        self.replies = replies
        self.asked: list[tuple[int, bytes]] = []

    def exchange(self, address: int, request: bytes) -> bytes:
        self.asked.append((address, request))
        reply = self.replies[request]
        if isinstance(reply, Exception):
            raise reply
        return reply

    def close(self) -> None: ...


def words(*values: int) -> bytes:
    return bytes((3, 2 * len(values))) + b"".join(value.to_bytes(2, "big") for value in values)


def talk(*pairs: tuple[bytes, bytes], gap_us: int = 0, unit: int = 5) -> list[LineFrame]:
    """Requests and reply PDUs as frames; an empty reply is silence."""
    out = []
    for k, (request, reply) in enumerate(pairs):
        out.append(LineFrame(k * gap_us, Port.RTU, Direction.REQUEST, rtu.frame(unit, request)))
        if reply:
            out.append(LineFrame(k * gap_us + 1, Port.RTU, Direction.REPLY, rtu.frame(unit, reply)))
    return out


def verdict(request: bytes, then: bytes, now: bytes | Exception) -> tuple[Verdict, tuple[Difference, ...]]:
    (found,) = replay(exchanges(talk((request, then))), Answers({request: now}), None, 1.0)
    return found.verdict, found.differences


GATEWAY = pdu.exception(3, pdu.Code.GATEWAY_TARGET)
WRITE = pdu.write_request(57355, [900])


@pytest.mark.parametrize(("request_", "then", "now", "expected", "told"), [
    (V1, words(0, 23000), words(0, 23000), Verdict.EQUAL, ()),
    (V1, words(0, 23000), words(0, 23125), Verdict.EQUAL, (("V1", "230 V", "231.25 V", True),)),
    (CT, words(5, 200), words(5, 400), Verdict.DIFFERS, (("ct_primary", "200 A", "400 A", False),)),
    (CT, words(5, 200), words(1, 400), Verdict.DIFFERS,
     (("ct_secondary", "5 A", "1 A", False), ("ct_primary", "200 A", "400 A", False))),
    (V1, words(0, 23000), words(1), Verdict.DIFFERS, (("reply", "2 words", "1 words", False),)),
    (V1, words(0, 23000), pdu.exception(3, pdu.Code.ADDRESS), Verdict.DIFFERS,
     (("reply", "2 words", "exception 02: illegal address", False),)),
    (V1, pdu.exception(3, pdu.Code.ADDRESS), pdu.exception(3, pdu.Code.VALUE), Verdict.DIFFERS,
     (("reply", "exception 02: illegal address", "exception 03: illegal value", False),)),
    (V1, pdu.exception(3, pdu.Code.ADDRESS), pdu.exception(3, pdu.Code.ADDRESS), Verdict.EQUAL, ()),
    (V1, words(0, 23000), NoReply("", "x"), Verdict.MISSING, (("reply", "2 words", "no reply", False),)),
    (V1, words(0, 23000), GATEWAY, Verdict.MISSING, (("reply", "2 words", "exception 11: unit does not answer", False),)),
    (V1, b"", NoReply("", "x"), Verdict.EQUAL, ()),
    (V1, b"", GATEWAY, Verdict.EQUAL, ()),
    (V1, b"", words(0, 23000), Verdict.DIFFERS, (("reply", "no reply", "2 words", False),)),
    (V1, words(0, 23000), BadReply("", "x"), Verdict.DIFFERS, (("reply", "2 words", "bad reply, x", False),)),
    (WRITE, WRITE[:5], WRITE[:5], Verdict.EQUAL, ()),
    (WRITE, WRITE[:5], WRITE[:4] + b"\2", Verdict.DIFFERS, (("reply", "10 E0 0B 00 01", "10 E0 0B 00 02", False),)),
    (pdu.read_request(50042, 1), words(0x534F), words(0x4142), Verdict.DIFFERS,
     (("id.vendor, word 50042", "534F", "4142", False),)),
    (pdu.read_request(51314, 1), words(1), words(2), Verdict.EQUAL, (("Er-", "1000000 varh", "2000000 varh", True),)),
])  # fmt: skip
def test_structure_and_settings_must_agree_and_quantities_are_told(
    request_: bytes, then: bytes, now: bytes | Exception, expected: Verdict, told: tuple[Difference, ...]
) -> None:
    assert verdict(request_, then, now) == (expected, told)


def test_a_reply_that_was_damaged_must_be_so_again() -> None:
    asked, reply = talk((V1, words(0, 23000)))
    broken = LineFrame(1, Port.RTU, Direction.REPLY, reply.frame[:-1] + b"\0")
    (found,) = replay(exchanges([asked, broken]), Answers({V1: words(0, 23000)}), None, 1.0)
    assert (found.verdict, found.differences[0].now) == (Verdict.DIFFERS, "2 words")
    assert found.differences[0].then.startswith("bad reply, address 5: wrong CRC")
    (found,) = replay(exchanges([asked, broken]), Answers({V1: BadReply("", "y")}), None, 1.0)
    assert found.verdict is Verdict.EQUAL


class Slow(Answers):
    """A meter that takes its time, on a clock of its own."""

    def __init__(self, *seconds: float) -> None:
        super().__init__({V1: words(0, 23000)})
        self.now, self.seconds = 100.0, list(seconds)
        self.at: list[float] = []

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def exchange(self, address: int, request: bytes) -> bytes:
        self.at.append(round(self.now - 100.0, 6))
        self.now += self.seconds[len(self.at) - 1]
        return super().exchange(address, request)


def test_the_rhythm_is_that_of_the_trace_times_speed(monkeypatch: pytest.MonkeyPatch) -> None:
    meter = Slow(0.0, 0.25, 0.01, 0.0)
    monkeypatch.setattr("countis.site.replay.time", meter)
    recorded = exchanges(talk(*[(V1, words(0, 23000))] * 4, gap_us=200_000))
    list(replay(recorded, meter, None, 2.0))
    assert meter.at == [0.0, 0.1, 0.35, 0.36], "after one that took long the next comes at once, and no time is lost"
    back = [one._replace(time_us=-k * 10**12) for k, one in enumerate(recorded)]
    meter = Slow(0.0, 0.0, 0.0, 0.0)
    monkeypatch.setattr("countis.site.replay.time", meter)
    list(replay(back, meter, None, 1.0))
    assert meter.at == [0.0] * 4, "a clock that was set back is not waited for"


def test_an_address_stands_for_all_but_a_broadcast() -> None:
    line = Answers({V1: words(0, 1), WRITE: NoReply("", "x")})
    recorded = exchanges([*talk((V1, words(0, 1)), unit=5), *talk((WRITE, b""), unit=0), *talk((V1, words(0, 1)), unit=6)])
    assert [one.verdict for one in replay(recorded, line, 77, 1.0)] == [Verdict.EQUAL] * 3
    list(replay(recorded, line, None, 1.0))
    assert [unit for unit, _ in line.asked] == [77, 0, 77, 5, 0, 6]


def test_a_trace_that_cannot_be_played_is_told() -> None:
    asked, reply = talk((V1, words(0, 23000)))
    for said in ([reply], [asked, reply, reply]):
        with pytest.raises(TraceError, match=r"^1970-01-01T00:00:00.000001Z: a reply to nothing \(allowed: behind its "):
            exchanges(said)
    with pytest.raises(TraceError, match="3 bytes are no request"):
        exchanges([LineFrame(0, Port.TCP, Direction.REQUEST, b"abc")])


def test_differences_are_told_in_lines() -> None:
    recorded = exchanges(talk((CT, words(5, 200)), (V1, words(0, 23000)), gap_us=1))
    told = [line for one in replay(recorded, Answers({CT: words(5, 400), V1: words(0, 1)}), 7, 1.0) for line in lines(one)]
    assert told == [
        "1970-01-01T00:00:00.000000Z  unit 7  read 57345 to 57346: differs", "! ct_primary: then 200 A, now 400 A",
        "1970-01-01T00:00:00.000001Z  unit 7  read 50520 to 50521: equal", "  V1: then 230 V, now 0.01 V",
    ]  # fmt: skip


# against running meters


@pytest.fixture(scope="module")
def taped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Running, Path, Path]]:
    """A meter, and what was said to it as text and as pcapng."""
    folder = tmp_path_factory.mktemp("taped")
    text, packets = folder / "t.txt", folder / "t.pcapng"
    with countis_run(folder, "--trace", str(text), "--rtu-tcp", "127.0.0.1:0", "--serial", "none") as meter:
        assert command("read", meter.target, "5", "V1", "P", "ct_primary", "ct_secondary", "id.vendor", "Ea+").returncode == 0
        assert command("read", f"rtu+tcp://{meter.ready['rtu_tcp']}", "5", "V1", "id.extended_name").returncode == 0
    packets.write_bytes(trace.head(Form.PCAPNG) + trace.write(Form.PCAPNG, trace.read(text.read_bytes()), by_unit))
    with countis_run(folder, "--rtu-tcp", "127.0.0.1:0") as meter:
        yield meter, text, packets


def played(file: Path, target: str, *flags: str) -> tuple[int, list[str]]:
    done = command("replay", str(file), target, *flags, "--speed", "50", "--timeout", "0.3")
    assert done.stderr == ""
    return done.returncode, done.stdout.splitlines()


def test_the_same_meter_agrees(taped: tuple[Running, Path, Path]) -> None:
    meter, text, packets = taped
    for file in (text, packets):
        for target in (meter.target, f"rtu+tcp://{meter.ready['rtu_tcp']}", meter.ready["serial"]):
            code, out = played(file, target)
            assert code == 0, out
            assert out[-1].endswith(" equal, 0 differs, 0 no reply")
            assert sum(line.endswith(": equal") for line in out) == int(out[-1].split()[0]) >= 6
    assert {(one.port, one.direction) for one in trace.read(text.read_bytes())} == set(itertools.product(Port, Direction))


def test_other_current_transformers_differ(taped: tuple[Running, Path, Path], tmp_path: Path) -> None:
    with countis_run(tmp_path, "--ct", "400/5", "--address", "7", "--serial", "none") as meter:
        code, out = played(taped[1], meter.target, "7")
    assert code == 1
    assert [line for line in out if line.startswith("!")] == ["! ct_primary: then 200 A, now 400 A"]
    assert out[-1].endswith(" 1 differs, 0 no reply")


def test_an_absent_meter_replies_nothing(taped: tuple[Running, Path, Path]) -> None:
    meter, text, _ = taped
    over_rtu = f"rtu+tcp://{meter.ready['rtu_tcp']}"
    for target, said in ((over_rtu, "now no reply"), (meter.target, "now exception 11: unit does")):
        code, out = played(text, target, "9")
        assert code == 1
        count = out[-1].split()[0]
        assert out[-1] == f"{count} exchanges: 0 equal, 0 differs, {count} no reply"
        assert said in out[1]


@pytest.mark.parametrize(("content", "flags", "wrong"), [
    ("nonsense\n", ("tcp://127.0.0.1:1",), "FILE: line 1: 'nonsense' is no frame"),
    ("", ("tcp://127.0.0.1:1",), "FILE: no request (allowed: a trace with some)"),
    (None, ("tcp://127.0.0.1:1",), "FILE: No such file or directory (allowed: a trace)"),
    ("GOOD", ("tcp://127.0.0.1:1",), "127.0.0.1:1: cannot connect"),
    ("GOOD", ("tcp://127.0.0.1:1", "--speed", "0"), "--speed: 0 is not possible (allowed: above 0)"),
    ("GOOD", ("tcp://127.0.0.1:1", "--timeout", "nan"), "--timeout: nan is not possible"),
    ("GOOD", ("tcp://127.0.0.1:1", "-b", "1"), "baud: 1 is not possible"),
    ("GOOD", ("tcp://127.0.0.1:1", "300"), "address: 300 is not possible"),
])  # fmt: skip
def test_bad_input_is_one_line(content: str | None, flags: tuple[str, ...], wrong: str, tmp_path: Path) -> None:
    path = tmp_path / "t.txt"
    if content is not None:
        path.write_bytes(trace.write(Form.TEXT, talk((V1, words(0, 1))), by_unit) if content == "GOOD" else content.encode())
    done = command("replay", str(path), *flags)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert done.stderr.startswith(f"countis: {wrong.replace('FILE', str(path))}")


def test_a_trace_cut_off_is_played_as_far_as_it_goes(taped: tuple[Running, Path, Path], tmp_path: Path) -> None:
    path = tmp_path / "t.pcapng"
    data = taped[2].read_bytes()
    path.write_bytes(data[:-10])
    done = command("replay", str(path), taped[0].target, "--speed", "50")
    assert (done.returncode, done.stdout.count("equal")) == (1, int(done.stdout.splitlines()[-1].split()[0]))
    assert done.stderr == f"{path}: cut off at its end, {len(data) - 10 - trace.whole(data[:-10])} bytes are left out\n"
    assert len(data) - 200 < trace.whole(data[:-10]) < len(data) - 10


def test_replay_needs_neither_the_meter_nor_its_compiler() -> None:
    code = "import countis.site.replay, sys; print([m for m in sys.modules if m.startswith(('numba', 'countis.meter'))])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
