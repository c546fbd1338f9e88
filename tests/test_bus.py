"""Site files, and `countis bus`: many meters in one process, each with its address, supply and memory."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path

import pytest
from countis import E44, Bus, Meter
from countis.site.site_file import read_site
from countis.words.errors import NoReply, Refused, SiteError

from running import Running, command, start, stop

SITE = """
[[line]]
target = "pty"
baud = 115200
[[line.meter]]
address = 5
name = "workshop"
ct = "200/5"
[[line.meter]]
address = 6
model = "E43"
ct = "400/5"
supply = "steady.toml"
[[line]]
target = "tcp://127.0.0.1:0"
[[line.meter]]
address = 7
name = "seven"
tariff_control = "com"
supply = "steady.toml"
[[line.meter]]
address = 8
name = "swapped"
swapped = true
"""
STEADY = "[[load]]\ncurrent = 2.0\n"


def bus(folder: Path, site: str = SITE, *flags: str) -> Running:
    """Start `countis bus` on a site file in a folder."""
    folder.mkdir(exist_ok=True)
    (folder / "site.toml").write_text(site)
    (folder / "steady.toml").write_text(STEADY)
    return start(folder, *flags, verb=("bus", str(folder / "site.toml")))


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> object:
    folder = tmp_path_factory.mktemp("bus")
    meters = bus(folder)
    yield meters
    assert stop(meters)[::2] == (0, "")


# the file


def test_a_site_has_lines_and_meters() -> None:
    first, second = read_site(SITE, "site.toml")
    assert (first.baud, first.parity, first.stop_bits) == (115200, "N", 1)
    assert [(m.address, m.name, m.model.name, m.ct) for m in first.meters] == [
        (5, "workshop", "E44", (200, 5)), (6, "meter-006", "E43", (400, 5))]  # fmt: skip
    assert second.target == "tcp://127.0.0.1:0"
    assert second.meters[1].swapped


WRONG = [
    ("", "x.toml:1: line: missing"),
    ("[[line]]\n", "x.toml:1: line.meter: 0 meters (allowed: 1..247 on a line)"),
    ("[[line]]\nbaud = 9601\n[[line.meter]]\naddress = 5", "x.toml:2: line.baud: 9601 is not possible (allowed: 1200, 2400"),
    ('[[line]]\ncomset = "7N1"\n[[line.meter]]\naddress = 5', "x.toml:2: line.comset: '7N1' is not possible"),
    ("[[line]]\n[[line.meter]]\n", "x.toml:2: line.meter.address: missing (allowed: 1..247)"),
    ("[[line]]\n[[line.meter]]\naddress = 248", "x.toml:3: line.meter.address: 248 is not possible (allowed: 1..247)"),
    ("[[line]]\n[[line.meter]]\naddress = 5\n[[line.meter]]\naddress = 5\nname = \"b\"",
     "x.toml:5: line.meter.address: 5 is there already (allowed: each address once, or collide = true"),
    ("[[line]]\n[[line.meter]]\naddress = 5\n[[line]]\n[[line.meter]]\naddress = 5", "x.toml: line.meter.name: 'meter-005'"),
    ('[[line]]\n[[line.meter]]\naddress = 5\nname = "../up"', "x.toml:4: line.meter.name: '../up' is not possible"),
    ('[[line]]\n[[line.meter]]\naddress = 5\nct = "200"', "x.toml:4: line.meter.ct: '200' is not possible"),
    ('[[line]]\n[[line.meter]]\naddress = 5\nmodel = "E45"', "x.toml:4: line.meter.model: 'E45' is not possible"),
    ("[[line]]\n[[line.meter]]\naddress = 5\nwires = 3", "x.toml:4: line.meter.wires: unknown key (allowed: address, name, "),
    ("[[line]]\n[[line.meter]]\naddress = 5\nfault = [{ kind = \"late\", ms = -1 }]",
     "x.toml:4: line.meter.fault.ms: -1 is not possible (allowed: 0..60000)"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "told"), WRONG)
def test_what_is_wrong_is_told_with_line_and_key(text: str, told: str) -> None:
    with pytest.raises(SiteError) as error:
        read_site(text, "x.toml")
    assert str(error.value).startswith(told)
    assert "\n" not in str(error.value)


def test_meters_of_one_address_may_collide_if_the_file_says_so() -> None:
    (line,) = read_site('[[line]]\ncollide = true\n[[line.meter]]\naddress = 5\n[[line.meter]]\naddress = 5\nname = "b"', "x")
    assert [meter.address for meter in line.meters] == [5, 5]


# the process


def test_each_meter_answers_at_its_address_with_its_own_values(running: Running) -> None:
    with Bus.open(running.ready["serial"], baud=115200) as line:
        assert line[5].read("ct_primary", "id.extended_name") == {"ct_primary": 200, "id.extended_name": "Countis E44"}
        six = line[6].read("ct_primary", "I", "id.extended_name")
        assert six == {"ct_primary": 400, "I": pytest.approx(160.0, rel=1e-3), "id.extended_name": "Countis E43"}
        with pytest.raises(NoReply):
            line[7].read("V")
    with Bus.open(f"tcp://{running.ready['tcp']}") as line:
        assert line[7].read("I") == {"I": pytest.approx(80.0, rel=1e-3)}
        for absent in (5, 0, 255):
            with pytest.raises(Refused, match="exception 11"):
                line[absent].read("V")
        with pytest.raises(Refused, match="exception 11"):  # A and B are exchanged
            line[8].read("V")


def test_the_page_shows_them_all_and_each(running: Running) -> None:
    def get(path: str) -> object:
        with urllib.request.urlopen(f"http://{running.ready['web']}/api/meters{path}", timeout=5) as answer:
            return json.load(answer)

    meters = get("")
    assert [(m["address"], m["name"], m["model"]) for m in meters] == [  # type: ignore[attr-defined]
        (5, "workshop", "E44"), (6, "meter-006", "E43"), (7, "seven", "E44"), (8, "swapped", "E44")]  # fmt: skip
    assert get("/6")["settings"]["ct_primary"] == 400  # type: ignore[index]


def test_faults_by_command_hold_for_one_meter(running: Running) -> None:
    url = f"http://{running.ready['web']}"
    told = command("faults", "7", "exception", "--code", "4", "--for", "60", "--url", url)
    assert (told.returncode, told.stdout.split()[0]) == (0, "exception")
    with Bus.open(f"tcp://{running.ready['tcp']}") as line:
        with pytest.raises(Refused, match="exception 4"):
            line[7].read("V")
        assert command("faults", "7", "--clear", "--url", url).stdout == "no faults\n"
        assert line[7].read("V")["V"]
    wrong = command("faults", "7", "late", "--code", "4", "--url", url)
    assert (wrong.returncode, wrong.stderr) == (2, "countis: fault.code: not of late (allowed: ms)\n")
    assert command("faults", "99", "--url", url).stderr == "countis: no meter at address 99\n"
    nowhere = command("faults", "7", "--url", "http://127.0.0.1:1")
    assert nowhere.stderr.startswith("countis: http://127.0.0.1:1/api/meters/7/faults: ")


def test_each_keeps_its_own_memory_and_what_the_file_changes_is_said(tmp_path: Path) -> None:
    first = bus(tmp_path)
    with Bus.open(f"tcp://{first.ready['tcp']}") as line:
        line[7].select_tariff(3)
    assert stop(first)[0] == 0
    kept = {name: Meter.load((tmp_path / "data" / name / "meter.fram").read_bytes()) for name in ("seven", "workshop")}
    assert [kept[name]["tariff"] for name in ("seven", "workshop")] == [3, 1]
    assert [kept[name].settings["address"] for name in ("seven", "workshop")] == [7, 5]
    second = bus(tmp_path, SITE.replace('ct = "400/5"', 'ct = "600/5"'))
    _, out, _ = stop(second)
    assert "  changed  meter-006: ct_primary 400 -> 600" in out
    assert "workshop" not in out


def test_diagnostics_answer_behind_their_switch_alone(running: Running, tmp_path: Path) -> None:
    echo, who = bytes.fromhex("08 0000 A537"), bytes.fromhex("2B 0E 01 00")
    with Bus.open(f"tcp://{running.ready['tcp']}") as line:
        for request in (echo, who):
            with pytest.raises(Refused, match="exception 1"):
                line.request(7, request)
    other = bus(tmp_path, SITE, "--diagnostics")
    with Bus.open(f"tcp://{other.ready['tcp']}") as line:
        assert line.request(7, echo) == echo
        assert b"SOCOMEC" in line.request(7, who)
    assert stop(other)[0] == 0


def test_a_site_that_is_wrong_is_one_line_and_nothing_is_made(tmp_path: Path) -> None:
    (tmp_path / "site.toml").write_text("[[line]]\n")
    done = command("bus", str(tmp_path / "site.toml"), "--data", str(tmp_path / "data"))
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert not (tmp_path / "data").exists()


def test_a_sealed_meter_is_told_again_what_it_is_set_to(tmp_path: Path) -> None:
    memory = tmp_path / "data" / "workshop" / "meter.fram"
    memory.parent.mkdir(parents=True)
    memory.write_bytes(Meter(E44, ct_primary=200, ct_secondary=5, address=5, sealed=1).save())
    site = tmp_path / "site.toml"
    site.write_text('[[line]]\ntarget = "tcp://127.0.0.1:0"\n[[line.meter]]\naddress = 5\nname = "workshop"\nct = "200/5"\n')
    assert stop(start(tmp_path, verb=("bus", str(site))))[0] == 0
    site.write_text(site.read_text().replace("200/5", "400/5"))
    (tmp_path / "ready.json").write_text("{}")
    refused = command("bus", str(site), "--data", str(tmp_path / "data"), "--ready-file", str(tmp_path / "ready.json"))
    assert (refused.returncode, refused.stderr) == (2, "countis: workshop: ct_primary: the meter is sealed"
                                                       " (allowed: after breaking the seal)\n")
    assert not (tmp_path / "ready.json").exists(), "nobody takes the last start for this one"
