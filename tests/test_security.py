"""What docs/security.md says has its tests, and those that stand nowhere else."""

from __future__ import annotations

import os
import re
import socket
import stat
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from countis import E43, E44, Measurement, Meter, ResetPartials, StopPartial
from countis.cli.main import parse
from countis.host.running.memory_file import MemoryFile
from countis.meter.energy.registers import Layout
from countis.modbus import pdu
from countis.models import Model
from countis.serve.web import guard
from countis.words.commands import Command
from countis.words.errors import UnknownSymbol
from countis.words.quantities import COUNTED_COLUMN, PARTIALS

from running import countis_run
from tables import ROWS

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize("document", ["security.md", "reliability.md"])
def test_every_test_that_a_document_names_is_there(document: str) -> None:
    named = set(re.findall(r"`(test_\w+)`", (ROOT / "docs" / document).read_text()))
    there = {name for path in (ROOT / "tests").rglob("test_*.py") for name in re.findall(r"def (test_\w+)\(", path.read_text())}
    assert named - there == set()
    assert len(named) > 20


def test_the_ports_are_on_loopback_unless_something_else_is_said(tmp_path: Path) -> None:
    asked = parse(["run"])
    assert (asked.tcp, asked.web, asked.rtu_tcp, asked.tls, asked.diagnostics) == (
        "127.0.0.1:1502", "127.0.0.1:8044", "none", "none", False)  # fmt: skip
    with countis_run(tmp_path) as meter:
        assert [meter.ready[kind] for kind in ("rtu_tcp", "tls")] == [None, None]
        assert all(meter.ready[kind].startswith("127.0.0.1:") for kind in ("tcp", "web"))
        port = int(meter.ready["tcp"].rpartition(":")[2])
        for _, _, _, _, at in socket.getaddrinfo(socket.gethostname(), port, socket.AF_INET, socket.SOCK_STREAM):
            if not str(at[0]).startswith("127."):
                with pytest.raises(OSError, match="refused"):
                    socket.create_connection((str(at[0]), port), timeout=1)


def test_the_memory_and_its_folder_are_the_users(tmp_path: Path) -> None:
    before = os.umask(0)  # whatever others let everybody do
    try:
        memory = MemoryFile(tmp_path / "a" / "data")
        memory.create(Meter(E44).save())
        memory.close()
    finally:
        os.umask(before)
    for path in (memory.path, memory.path.parent, memory.path.parent / "owner"):
        assert stat.S_IMODE(path.stat().st_mode) & 0o022 == 0, path


def test_the_page_may_fetch_nothing_from_elsewhere() -> None:
    policy = guard._HEADERS["content-security-policy"]
    assert policy.startswith("default-src 'none'; ")
    assert {source for rule in policy.split("; ") for source in rule.split()[1:]} == {"'none'", "'self'"}
    for file in (ROOT / "src" / "countis" / "host" / "page" / "static").iterdir():
        elsewhere = set(re.findall(r"""["'(]((?:https?:)?//[^"')]+)""", file.read_text())) - {"http://www.w3.org/2000/svg"}
        assert elsewhere == set(), file.name


@pytest.mark.parametrize("model", [E43, E44])
def test_no_command_sets_a_total_back(model: Model) -> None:
    meter = Meter(model, tariff_control="com")
    for tariff, sign in product((1, 2, 3, 4), (1, -1)):
        meter.pdu(bytes.fromhex("06 9E21") + tariff.to_bytes(2, "big"))
        p, q = [sign * 500.0] * 3, [sign * 300.0, -sign * 300.0, 100.0]
        meter.count(Measurement.of(model, seconds=90.0, v=[230.0] * 3, i=[4.0] * 3, p=p, q=q))
    before = meter.state.row[Layout.counters].copy()
    assert (before > 0).sum() > 60
    writable = [row.address for row in ROWS if row.access.writes]
    for address, value in product(writable, (0, 1, 0x1F, 0x20, 0x21, 0xF, 0xFFFF, 0xFFFE)):
        meter.pdu(pdu.write_request(address, [value]))
    commands: list[Command] = [ResetPartials(PARTIALS), *(StopPartial(symbol) for symbol in PARTIALS)]
    meter.apply(commands)
    assert np.array_equal(meter.state.row[Layout.counters], before)
    for symbol in ("Ea+", "Ea+.T1", "Er-ind.L2.T3"):
        assert symbol in COUNTED_COLUMN
        with pytest.raises(UnknownSymbol):
            meter.apply([ResetPartials((symbol,))])


@pytest.mark.parametrize("file", ["countis.service", "Containerfile"])
def test_what_is_packaged_names_what_is_there(file: str) -> None:
    text = (ROOT / "packaging" / file).read_text()
    started = next(line for line in text.splitlines() if line.startswith(("ExecStart", "ENTRYPOINT")))
    words = re.findall(r"[^\s\",\[\]]+", started)
    asked = parse(words[words.index("run") :])
    assert (asked.serial, asked.tcp) == ("none", "127.0.0.1:1502" if file == "countis.service" else "0.0.0.0:1502")
    assert all((ROOT / path).exists() for path in re.findall(r"(?:-r|-f) (\S+)", text))
