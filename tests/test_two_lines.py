"""Two lines with a meter 5 each: a name reaches the one that is meant, an address where it is unique."""

from __future__ import annotations

import contextlib
import http.client
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from countis import Bus
from countis.host.bus import plan_of
from countis.host.running.plan import Service
from countis.host.terminal.client import Server, chosen
from countis.words.errors import BusError
from websockets.sync.client import connect

from running import Running, command, start, stop

SITE = """
[[line]]
target = "tcp://127.0.0.1:0"
[[line.meter]]
address = 5
name = "hall one"
[[line.meter]]
address = 9
name = "yard"
[[line]]
target = "tcp://127.0.0.1:0"
[[line.meter]]
address = 5
name = "hall two"
ct = "400/5"
"""


@contextmanager
def site(folder: Path) -> Iterator[Running]:
    file = folder / "site.toml"
    file.write_text(SITE)
    running = start(folder, verb=("bus", str(file)))
    try:
        yield running
    finally:
        code, _, err = stop(running)
    assert (code, err) == (0, "")


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with site(tmp_path_factory.mktemp("two")) as running:
        yield running


def ask(running: Running, method: str, path: str, content: object = None) -> tuple[int, Any]:
    connection = http.client.HTTPConnection(running.ready["web"], timeout=10)
    with contextlib.closing(connection):
        connection.request(method, path, None if content is None else json.dumps(content))
        answer = connection.getresponse()
        text = answer.read().decode()
    return answer.status, json.loads(text) if answer.status == 200 else text


def test_each_is_reached_by_its_name(two: Running) -> None:
    for name, ct in (("hall%20one", 200), ("hall%20two", 400)):
        status, state = ask(two, "GET", f"/api/meters/{name}")
        assert (status, state["address"], state["settings"]["ct_primary"]) == (200, 5, ct)


def test_an_address_is_an_alias_where_it_is_unique(two: Running) -> None:
    assert ask(two, "GET", "/api/meters/9")[1]["name"] == "yard"
    assert ask(two, "GET", "/api/meters/5") == (409, "2 meters at address 5 (allowed: a name)\n")
    assert ask(two, "GET", "/api/meters/77") == (404, "no meter at address 77\n")
    assert ask(two, "GET", "/api/meters/hall") == (404, "no meter hall\n")


def test_the_bus_reaches_both_and_their_noise_is_not_the_same(two: Running) -> None:
    values = []
    for line in two.ready["lines"]:
        with Bus.open(line["target"]) as bus:
            values.append(bus[5].read("ct_primary", "V1", "V2", "V3"))
    assert [value["ct_primary"] for value in values] == [200, 400]
    powers = [ask(two, "GET", f"/api/meters/{name}")[1]["values"]["P1"] for name in ("hall%20one", "hall%20two")]
    assert powers[0] != powers[1]


def test_faults_by_name_hold_for_one_of_them(two: Running) -> None:
    url = f"http://{two.ready['web']}"
    assert command("faults", "hall two", "late", "--ms", "700", "--url", url).stdout.split() == ["late", "ms", "700"]
    assert ask(two, "GET", "/api/meters/hall%20one/faults") == (200, [])
    assert ask(two, "GET", "/api/meters/hall%20two/faults")[1][0]["kind"] == "late"
    assert "2 meters at address 5" in command("faults", "5", "late", "--url", url).stderr
    assert command("faults", "hall two", "--clear", "--url", url).stdout == "no faults\n"


def test_a_viewer_by_name_presses_the_keys_of_that_meter(two: Running) -> None:
    with connect(f"ws://{two.ready['web']}/api/meters/hall%20two/live", compression=None) as viewer:
        for number, down in enumerate((True, False), 1):
            viewer.send(json.dumps({"key": "ENTER", "down": down, "n": number}))
        texts: list[str] = []
        while "Tar.2" not in "".join(texts):
            message = json.loads(viewer.recv(timeout=5))
            texts += [message["text"]] if message["type"] == "lcd" else []
    one, two_ = (ask(two, "GET", f"/api/meters/{name}")[1]["lcd"]["text"] for name in ("hall%20one", "hall%20two"))
    assert (one[:5], two_[:5]) == ("Tar.1", "Tar.2")


def test_the_panel_finds_the_one_that_is_meant(two: Running) -> None:
    server = Server(f"http://{two.ready['web']}", None)
    meters = server.meters()
    assert meters == {"hall one": 5, "yard": 9, "hall two": 5}
    assert [chosen(server, meters, wanted) for wanted in (None, "hall two", "9")] == ["hall one", "hall two", "yard"]
    with pytest.raises(BusError, match=r"2 meters at address 5 \(allowed: hall one, hall two\)"):
        chosen(server, meters, "5")
    with pytest.raises(BusError, match=r"no meter hall \(allowed: hall one, yard, hall two\)"):
        chosen(server, meters, "hall")


def test_meters_of_one_address_have_seeds_of_their_own(tmp_path: Path) -> None:
    file = tmp_path / "site.toml"
    file.write_text(SITE)
    plan = plan_of(file, pace=False, service=Service(data=tmp_path))
    seeds = {meter.name: meter.seed for line in plan.lines for meter in line.meters}
    assert seeds["hall one"] == 5
    assert len(set(seeds.values())) == len(seeds) == 3
