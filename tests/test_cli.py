"""The command line, as a person uses it: what it prints, and one line with exit code 2 for what is wrong."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import select
import signal
import socket
import subprocess
import time
import tty
from pathlib import Path

import numpy as np
import pytest
from countis import Bus, Meter
from countis.meter.energy.registers import Layout
from countis.supply import three_phase

from running import COMMAND, command, countis_run, start, stop
from tables import ROWS

RUN = ("run", "--serial", "none", "--tcp", "none")


def told(words: tuple[str, ...], **options: object) -> str:
    """The one line of a command that must fail."""
    done = command(*words, **options)
    assert done.returncode == 2, done
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    assert re.fullmatch(r"countis: .+ \(allowed: .+\)", lines[0]), lines[0]
    return lines[0]


WRONG: list[tuple[tuple[str, ...], str]] = [
    ((), "usage"),
    (("walk",), "COMMAND"),
    (("run", "--model", "E45"), "--model"),
    (("run", "--ct", "0/5"), "--ct: '0' is not possible (allowed: 1..12000 A)"),
    (("run", "--ct", "12001/5"), "--ct"),
    (("run", "--ct", "200/2"), "--ct: '2' is not possible (allowed: 1, 5)"),
    (("run", "--ct", "200"), "PRIMARY/SECONDARY"),
    (("run", "--ct", "a/b"), "--ct"),
    (("run", "--address", "0"), "1..247"),
    (("run", "--address", "x"), "1..247"),
    (("run", "-b", "38401"), "--baud"),
    (("run", "--comset", "7N1"), "8N1"),
    (("run", "--tariff-control", "sun"), "--tariff-control"),
    (("run", "--serial-number", "x" * 17), "16 printable"),
    (("run", "--model", "E43", "--sealed"), "has no seal"),
    (("run", "--speed", "0"), "--speed"),
    (("run", "--speed", "nan"), "--speed"),
    (("run", "--speed", "fast"), "--speed"),
    (("run", "--tcp", "1502"), "HOST:PORT"),
    (("run", "--web", "8044"), "--web"),
    (("run", "--serial", "/dev/not-there"), "--serial /dev/not-there: No such file"),
    (("run", "--supply", "not-there.toml"), "not-there.toml: No such file"),
    (("run", "--recording", "not-there.cfg"), "not-there.cfg: No such file"),
    (("run", "--recording", "song.mp3"), "song.mp3: unknown kind"),
    (("run", "--recording", "-", "--v-scale", "0"), "--v-scale"),
    (("run", "--recording", "-", "--format", "u8"), "--format: 'u8' is not possible (allowed: f32, f64, s16, s24, s32)"),
    (("run", "--ready-file", "/not-there/ready"), "--ready-file /not-there/ready: No such file"),
    (("run", "--tcp", "a..b:1"), "--tcp a..b:1"),
    (("record", "--seconds", "1", "--out", "a.mp3"), "--out a.mp3: unknown kind"),
    (("record", "--seconds", "0", "--out", "a.csv"), "--seconds 0"),
    (("record", "--seconds", "nan", "--out", "a.csv"), "--seconds nan"),
    (("run", "--tcp", "127.0.0.1:" + "1" * 5000), "HOST:PORT"),
    (("probe", "not-there.csv"), "not-there.csv: No such file"),
    (("read", "tcp://127.0.0.1:²", "5"), "HOST:PORT"),
    (("read", "tcp://a..b:502", "5"), "cannot connect"),
    (("read", "tcp://127.0.0.1:1", "5", "--timeout", "nan"), "--timeout"),
    (("read", "/dev/null", "5", "-b", "0"), "--baud"),
    (("read", "/dev/null", "5"), "/dev/null"),
    (("run", "--recording", "-", "--rate", "500"), "--rate: 500"),
    (("run", "--supply", "a.toml", "--recording", "b.cfg"), "exclude each other"),
    (("read", "tcp://127.0.0.1:1", "5"), "127.0.0.1:1: cannot connect"),
    (("read", "udp://127.0.0.1:1", "5"), "unknown kind of target"),
    (("read", "/dev/not-there", "5"), "/dev/not-there: cannot be opened"),
    (("read", "tcp://127.0.0.1:1", "5", "V4"), "V4: unknown symbol"),
    (("read", "tcp://127.0.0.1:1", "300"), "address: 300"),
    (("map", "--format", "xml"), "--format"),
    (("check", "not-there.toml"), "not-there.toml"),
]


@pytest.mark.parametrize(("words", "expected"), WRONG, ids=lambda v: " ".join(v) if isinstance(v, tuple) else "")
def test_bad_input_is_one_line_and_exit_2(words: tuple[str, ...], expected: str, tmp_path: Path) -> None:
    if words[:1] == ("run",):
        words = (*RUN, "--data", str(tmp_path / "data"), *words[1:])
    line = told(words)
    assert expected in line
    data = tmp_path / "data" / "meter.fram"
    assert not data.exists()  # nothing is half-done


def test_an_unknown_symbol_is_told_with_its_neighbours() -> None:
    assert "did you mean" in told(("read", "tcp://127.0.0.1:1", "5", "Ea*"))


def test_toml_errors_name_file_and_line(tmp_path: Path) -> None:
    file = tmp_path / "site.toml"
    file.write_text("rate = 8000\n[[load]]\ncurrent = 1\nfoo = 2\n")
    for words in (("check", str(file)), (*RUN, "--supply", str(file), "--data", str(tmp_path / "d"))):
        assert told(words).startswith(f"countis: {file}:4: load.foo: unknown key (allowed: name, phase, current")
    file.write_bytes(b"\xff\xfe")
    assert "is not UTF-8" in told(("check", str(file)))


def test_a_port_that_is_taken(tmp_path: Path) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        line = told(("run", "--serial", "none", "--tcp", f"127.0.0.1:{port}", "--data", str(tmp_path)))
    assert line.startswith(f"countis: --tcp 127.0.0.1:{port}: Address already in use")


def test_nan_samples_stop_the_run_with_one_line(tmp_path: Path) -> None:
    file = tmp_path / "bad.f32"
    samples = three_phase().read(800).astype("<f4")
    samples[5, 2] = np.nan
    file.write_bytes(samples.tobytes())
    assert "sample 5 is not a number" in told((*RUN, "--recording", str(file), "--data", str(tmp_path / "d")))
    with open(file, "rb") as stream:
        assert "is not a number" in told((*RUN, "--recording", "-", "--data", str(tmp_path / "e")), stdin=stream)


def test_two_owners_of_one_memory(tmp_path: Path) -> None:
    with countis_run(tmp_path, "--serial", "none") as running:
        line = told((*RUN, "--data", running.ready["data"]))
        assert f"in use by process {running.process.pid}" in line


def test_a_memory_of_a_newer_version_is_refused_and_left_untouched(tmp_path: Path) -> None:
    import struct
    import zlib

    image = bytearray(Meter().save())
    struct.pack_into("<H", image, 4, 99)
    struct.pack_into("<I", image, 4092, zlib.crc32(image[:4092]))
    file = tmp_path / "meter.fram"
    file.write_bytes(image)
    before = file.stat().st_mtime_ns
    assert "version 99 (allowed: up to 2)" in told((*RUN, "--data", str(tmp_path)))
    assert file.read_bytes() == image
    assert file.stat().st_mtime_ns == before


def test_a_memory_of_the_other_model(tmp_path: Path) -> None:
    (tmp_path / "meter.fram").write_bytes(Meter().save())
    assert "belongs to an E44" in told((*RUN, "--model", "E43", "--data", str(tmp_path)))


def test_settings_last_and_flags_are_changes(tmp_path: Path) -> None:
    with countis_run(tmp_path, "--address", "17", "--ct", "300/1", "--comset", "8E1", "-b", "9600", "--serial", "pty") as first:
        assert first.ready["address"] == 17
        assert first.ready["serial"].startswith("/dev/")
        assert first.ready["web"].startswith("127.0.0.1:")
    with countis_run(tmp_path, "--serial", "none", "--address", "18") as second, Bus.open(second.target) as bus:
        assert bus[18].read("ct_primary", "ct_secondary") == {"ct_primary": 300, "ct_secondary": 1}
        bus[18].write(ct_primary=77)
    meter = Meter.load((tmp_path / "data" / "meter.fram").read_bytes())
    kept = {s: meter[s] for s in ("address", "baud", "parity", "stop_bits", "ct_primary", "sealed")}
    assert kept == {"address": 18, "baud": 9600, "parity": "E", "stop_bits": 1, "ct_primary": 77, "sealed": 0}
    with countis_run(tmp_path, "--serial", "none", "--sealed"):
        pass
    assert "sealed" in told((*RUN, "--data", str(tmp_path / "data"), "--ct", "5/5"))


def test_everything_counted_survives_a_stop(tmp_path: Path) -> None:
    with countis_run(tmp_path, "--serial", "none", "--speed", "50") as running, Bus.open(running.target) as bus:
        seen = bus[5].read("Ea+.L1", "Eap", "hours.T1")
    image = (tmp_path / "data" / "meter.fram").read_bytes()
    with countis_run(tmp_path, "--serial", "none") as running, Bus.open(running.target) as bus:
        again = bus[5].read("Ea+.L1", "Eap", "hours.T1")
    assert all(float(str(again[s])) >= float(str(seen[s])) for s in seen)
    assert float(str(seen["Eap"])) > 0
    assert int(Meter.load(image).state.row[Layout.time]) > 10**8


def test_run_says_where_to_connect_and_how_it_goes(tmp_path: Path) -> None:
    running = start(tmp_path, "--rtu-tcp", "127.0.0.1:0")
    with Bus.open(f"rtu+tcp://{running.ready['rtu_tcp']}") as bus:
        assert bus[5].read("id.extended_name") == {"id.extended_name": "Countis E44"}
    assert running.process.stdout is not None
    lines = [running.process.stdout.readline() for _ in range(10)]
    code, out, err = stop(running)
    text = "".join(lines) + out
    assert (code, err) == (0, "")
    assert "countis E44, address 5, CT 200/5, clock 20" in text
    assert f"-p {running.ready['tcp'].split(':')[1]} -a 5" in text
    assert f"-c 3 {running.ready['serial']}" in text
    assert re.search(
        r"^V 23\d\.\d V  I [\d.]+ A  P -?[\d.]+ kW  PF -?[\d.]+  f 50\.00 Hz  Ea\+ [\d.]+ kWh  T1  \d+ requests$", text, re.M
    )


def test_a_serial_device_is_answered_like_the_pty(tmp_path: Path) -> None:
    """The other end of a pseudo terminal stands for the adapter."""
    master, slave = os.openpty()
    tty.setraw(slave)
    request = bytes.fromhex("0503C55800027890")
    with countis_run(tmp_path, "--serial", os.ttyname(slave)) as running:
        assert running.ready["serial"] == os.ttyname(slave)
        for garbage in (b"", b"\x06\x03\x00", request[:5]):
            os.write(master, garbage)
            time.sleep(0.05)  # silence: what came before is over
            os.write(master, request)
            reply = b""
            while len(reply) < 9:
                ready, _, _ = select.select([master], [], [], 10.0)
                assert ready, "no reply"
                reply += os.read(master, 100)
            assert reply[:3] == b"\x05\x03\x04"
            assert 22000 < int.from_bytes(reply[3:7], "big") < 24000
    os.close(master)
    os.close(slave)


def test_a_line_that_nobody_reads_does_not_hold_up_the_end(tmp_path: Path) -> None:
    running = start(tmp_path)
    fd = os.open(running.ready["serial"], os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
    sent = 0
    for _ in range(3000):  # replies of many times what the terminal holds
        try:
            sent += os.write(fd, bytes.fromhex("0503C55800027890"))
        except BlockingIOError:
            time.sleep(0.002)
    assert sent > 4096
    began = time.monotonic()
    assert stop(running)[0] == 0
    assert time.monotonic() - began < 10
    os.close(fd)


def test_standard_input_that_stalls(tmp_path: Path) -> None:
    """The ports answer, settings reach the memory, the status says what is wrong, and one signal ends it."""
    samples = three_phase(230, 2.0).read(16_000).astype("<f4").tobytes()
    ready = tmp_path / "ready.json"
    with subprocess.Popen(
        [COMMAND, "run", "--serial", "none", "--tcp", "127.0.0.1:0", "--recording", "-", "--speed", "50",
         "--data", str(tmp_path), "--ready-file", str(ready)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        assert process.stdin is not None
        process.stdin.write(samples)
        process.stdin.flush()
        deadline = time.monotonic() + 60
        while not ready.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        with Bus.open(f"tcp://{json.loads(ready.read_text())['tcp']}") as bus:
            assert bus[5].read("V1") == {"V1": 230.0}
            bus[5].write(ct_primary=300)
        time.sleep(3.5)
        assert Meter.load((tmp_path / "meter.fram").read_bytes())["ct_primary"] == 300
        process.send_signal(signal.SIGINT)
        process.wait(timeout=10)
        assert process.stdout is not None
        out = process.stdout.read().decode()
        process.stdin.close()
    assert process.returncode == 0
    assert re.search(r"requests  no samples for \d+ s$", out, re.M)


def test_a_disk_that_is_full_ends_the_run_with_one_line(tmp_path: Path) -> None:
    """A limit on the size of files stands for it: the second copy of the hot page, from 4096 on, cannot be written."""
    with countis_run(tmp_path, "--serial", "none"):
        pass
    words = f"ulimit -f 4; exec {COMMAND} run --serial none --tcp none --data {tmp_path / 'data'}"
    done = subprocess.run(["bash", "-c", words], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert re.fullmatch(r"countis: \S+meter\.fram: File too large \(allowed: .+\)\n", done.stderr)


def test_a_client_that_reads_nothing_is_not_served_without_end(tmp_path: Path) -> None:
    with countis_run(tmp_path, "--serial", "none") as running:
        host, port = running.ready["tcp"].split(":")
        request = bytes.fromhex("000100000006 05 03 c552 003c")
        with socket.create_connection((host, int(port))) as deaf:
            deaf.settimeout(0.5)
            with pytest.raises(TimeoutError):
                deaf.sendall(request * 2_000_000)
            with Bus.open(running.target) as bus:
                assert bus[5].read("id.vendor") == {"id.vendor": "SOCOMEC"}
        memory = Path(f"/proc/{running.process.pid}/status").read_text()
        (resident,) = re.findall(r"VmRSS:\s+(\d+) kB", memory)
        assert int(resident) < 400_000


def test_a_recording_that_ends_stops_the_run(tmp_path: Path) -> None:
    samples = three_phase(230, 2.0).read(4 * 8000).astype("<f4")
    with subprocess.Popen(
        [COMMAND, *RUN, "--recording", "-", "--speed", "100", "--data", str(tmp_path)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        _, err = process.communicate(samples.tobytes(), timeout=60)
        assert (process.returncode, err) == (0, b"")
    meter = Meter.load((tmp_path / "meter.fram").read_bytes())
    assert meter["Ea+"] == pytest.approx(3 * 230 * 2 * 4 * 40 / 3600, rel=0.07)


def test_read_in_every_form(tmp_path: Path) -> None:
    with countis_run(tmp_path, "--serial", "none") as running:
        plain = command("read", running.target, "5")
        assert plain.returncode == 0
        assert re.search(r"^U12 +39\d\.\d+ V$", plain.stdout, re.M)
        told_json = json.loads(command("read", running.target, "5", "P", "sequence", "id.vendor", "--json").stdout)
        assert set(told_json) == {"target", "address", "time", "values"}
        assert told_json["values"]["id.vendor"] == "SOCOMEC"
        rows = list(csv.reader(io.StringIO(command("read", running.target, "5", "V1", "Ea+", "--csv").stdout)))
        assert rows[0] == ["symbol", "value", "unit"]
        assert [r[::2] for r in rows[1:]] == [["V1", "V"], ["Ea+", "Wh"]]
        line = told_no_reply(running.target)
        assert "exception 11" in line


def told_no_reply(target: str) -> str:
    done = command("read", target, "77", "P")
    assert done.returncode == 2
    return done.stderr


def test_map_in_every_format() -> None:
    columns = ["address", "words", "type", "unit", "access", "block", "symbol", "source", "description"]
    as_csv = list(csv.DictReader(io.StringIO(command("map", "--format", "csv").stdout)))
    assert len(as_csv) == len(ROWS) == 515
    assert list(as_csv[0]) == columns
    assert all(row["description"] for row in as_csv)
    as_json = json.loads(command("map", "--format", "json").stdout)
    assert [r["address"] for r in as_json] == [r.address for r in ROWS]
    assert command("map").stdout.splitlines()[0].split() == columns
    assert command("map", "--format", "md").stdout.count("\n") == 515 + 2
    assumed = command("map", "--assumed", "--format", "csv").stdout
    assert "51315" in assumed
    assert "50514" not in assumed


def test_every_command_and_option_has_a_help() -> None:
    top = command("--help").stdout
    for name in ("run", "read", "map", "check", "record", "probe"):
        assert re.search(rf"^ +{name} +\S", top, re.M)
        helped = command(name, "--help")
        assert helped.returncode == 0
    bare = re.findall(r"^  (-[^\n]*\S)\n(?=  -|\n|$)", command("run", "--help").stdout, re.M)
    assert [line for line in bare if "  " not in line] == []


def test_check_says_what_is_there(tmp_path: Path) -> None:
    file = tmp_path / "a.toml"
    file.write_text("[[load]]\ncurrent = 1\n")
    assert "fine: 8000 samples per second, 50 Hz, loads: 1" in command("check", str(file)).stdout
    raw = tmp_path / "b.f32"
    raw.write_bytes(three_phase().read(100).astype("<f4").tobytes())
    file.write_text('rate = 4000\n[recording]\nfile = "b.f32"\nat_end = "off"\n')
    assert "recording b.f32, 4000 samples per second, then off" in command("check", str(file)).stdout


def test_record_and_probe(tmp_path: Path) -> None:
    for kind in ("cfg", "wav", "csv", "f32"):
        out = tmp_path / f"a.{kind}"
        done = command("record", "--seconds", "0.5", "--out", str(out))
        assert (done.returncode, done.stderr) == (0, "")
        assert f"countis run --recording {out}" in done.stdout
        told = command("probe", str(out)).stdout
        assert "0.5 s at 8000 samples per second" in told
        assert 'V1 = "' in told
        plan = tmp_path / f"{kind}.toml"
        plan.write_text(told)
        assert "fine: recording" in command("check", str(plan)).stdout
    assert command("--version").stdout.startswith("countis 0.")


def test_a_reader_that_goes_away_is_no_error() -> None:
    done = subprocess.run(
        f"{COMMAND} map | head -1", shell=True, capture_output=True, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"}
    )
    assert done.stderr == ""
