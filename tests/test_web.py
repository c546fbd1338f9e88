"""The page's server, attacked over real sockets: what it answers to whom, what it refuses, keys, viewers, its end."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from countis.host.page.routes import MOST_VIEWERS
from countis.modbus import pdu, tcp
from countis.serve.web.guard import COOKIE, MAX_BODY
from websockets.exceptions import ConnectionClosed, InvalidStatus

from running import command, countis_run, start, stop
from visitors import AT, UPGRADE, Site, closed, key, masked, next_of

TOKEN = "open sesame"
JSON, TEXT = {"content-type": "application/json"}, {"content-type": "application/toml"}
SAFE = ("content-security-policy", "x-content-type-options", "referrer-policy", "cross-origin-resource-policy")
STEADY = {"frequency": 50.0, "voltage": {"L1": 200.0, "L2": 210.0, "L3": 220.0}, "load": [{"current": 1.0}]}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """An E44 for this machine alone."""
    with countis_run(tmp_path_factory.mktemp("site"), "--serial", "none") as running:
        yield Site(running)


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """An E43 that everybody can reach who knows the token."""
    flags = ("--serial", "none", "--model", "E43", "--web", "0.0.0.0:0", "--token", TOKEN)
    with countis_run(tmp_path_factory.mktemp("guarded"), *flags) as running:
        yield Site(running, TOKEN)


# what is answered


def test_everything_of_a_meter_is_to_be_had(site: Site) -> None:
    page = site.ask("GET", "/")
    assert (page.status, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert not re.search(r"<script(?![^>]*\bsrc=\"/static/)|\bon\w+=|style=|(?:src|href)=\"(?!/static/)", page.text)
    for name in re.findall(r"/static/[\w.]+", page.text):
        assert site.ask("GET", name).status == 200
    [listed] = site.ask("GET", "/api/meters").json
    assert (listed["address"], listed["model"]) == (5, "E44")
    meter = site.ask("GET", AT).json
    assert 200.0 < meter["values"]["V1"] < 260.0
    assert meter["values"]["Ea+"] >= 0
    assert meter["settings"]["ct_primary"] == 200
    assert {"text", "segments", "flashes", "phase", "light"} == meter["lcd"].keys()
    assert meter["lcd"]["text"].endswith("123")
    assert "unit.kWh" in meter["lcd"]["segments"]
    assert site.ask("GET", f"{AT}/supply").json["document"].keys() >= {"voltage", "load"}
    assert [site.ask("GET", path).text for path in ("/healthz", "/readyz")] == ["ok\n", "ready\n"]


@pytest.mark.parametrize(("method", "path", "body", "status", "part"), [
    ("GET", "/nothing", None, 404, "Not Found"),
    ("GET", "/api/meters/6", None, 404, "no meter at address 6"),
    ("GET", "/static/../routes.py", None, 404, ""),
    ("GET", "/static/%2e%2e", None, 404, "no such file"),
    ("GET", "/static/..%2froutes.py", None, 404, ""),
    ("DELETE", f"{AT}/supply", None, 405, ""),
    ("POST", AT, None, 405, ""),
    ("POST", "/login", "token=", 401, "token: wrong"),
    ("PUT", f"{AT}/supply", "{", 400, "not JSON"),
    ("PUT", f"{AT}/supply", "[" * 60000, 400, "not JSON"),
    ("PUT", f"{AT}/supply", b'{"rate": \xff}', 400, "byte 9 is not UTF-8"),
    ("PUT", f"{AT}/supply", "[1]", 400, "not an object"),
    ("PUT", f"{AT}/supply", '{"frequency": NaN}', 400, "finite"),
    ("PUT", f"{AT}/supply", '{"voltage": {"L1": -Infinity}}', 400, "finite"),
    ("PUT", f"{AT}/supply", '{"frequency": 1e999}', 400, "finite"),
    ("PUT", f"{AT}/supply", '{"frequency": null}', 400, "null is no value"),
    ("PUT", f"{AT}/supply", '{"voltage": {"L4": 1}}', 400, "voltage.L4: unknown key"),
    ("PUT", f"{AT}/supply", '{"rate": 1}', 400, "rate: 1 is not possible"),
    ("PUT", f"{AT}/supply", '{"recording": {"file": "/etc/passwd"}}', 400, "recording: not from a page"),
    ("PUT", f"{AT}/seal", '{"sealed": 1}', 400, "not a seal"),
    ("PUT", f"{AT}/seal", '{"sealed": true, "more": 1}', 400, "not a seal"),
    ("PUT", f"{AT}/seal", b"\xff", 400, "not JSON"),
    ("PUT", f"{AT}/seal", b" " * (MAX_BODY + 1), 413, "longer than 65536 bytes"),
])  # fmt: skip
def test_what_is_wrong_gets_one_line(site: Site, method: str, path: str, body: Any, status: int, part: str) -> None:
    before = site.ask("GET", f"{AT}/supply").text
    answer = site.ask(method, path, body, JSON)
    assert answer.refuses(status, part), answer
    assert all(name in answer.headers for name in SAFE)
    assert site.ask("GET", f"{AT}/supply").text == before


@pytest.mark.parametrize(("text", "part"), [
    ("rate = 8000\n[voltage]\nL9 = 1.0\n", "scenario:3: voltage.L9: unknown key"), ("a = \n", "scenario:1:"),
    ("[recording]\nfile = 'a.wav'\n", "recording: not from a page"),
    ("[[event]]\nat = 1\nset = { x = 1 }\n", "scenario:3: event.set"),
])  # fmt: skip
def test_a_wrong_scenario_is_told_with_line_and_key(site: Site, text: str, part: str) -> None:
    assert site.ask("PUT", f"{AT}/supply", text, TEXT).refuses(400, part)


def test_bodies_are_measured_as_they_come(site: Site) -> None:
    assert site.ask("PUT", f"{AT}/supply", b" " * MAX_BODY, JSON).refuses(400, "not JSON")
    pieces = (b"x" * 8192 for _ in range(9))
    assert site.ask("PUT", f"{AT}/supply", pieces, JSON, encode_chunked=True).refuses(413, "65536")


def test_twenty_changes_a_second_whatever_a_proxy_would_say(site: Site) -> None:
    time.sleep(1.0)
    headers = [{}, *({"x-forwarded-for": f"10.0.0.{k}"} for k in range(3))]
    answers = [site.ask("PUT", f"{AT}/seal", '{"sealed": false}', h, rate=False) for h in headers * 6]
    assert [a.status for a in answers] == [200] * 20 + [429] * 4
    assert answers[-1].refuses(429, "20 a second")
    assert site.ask("GET", AT).status == 200
    time.sleep(1.0)


# who may ask


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example:80", "", "[::1", "localhost.:1"])
def test_a_foreign_name_does_not_reach_a_server_without_token(site: Site, host: str) -> None:
    assert site.ask("GET", "/", headers={"host": host}).refuses(400, "not this server")
    with site.raw(f"GET {AT}/live HTTP/1.1", f"Host: {host}", *UPGRADE) as line:
        assert line.recv(12) == b"HTTP/1.1 400"


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8044", "127.0.0.1", "[::1]:80", "10.1.2.3"])
def test_addresses_and_localhost_do(site: Site, host: str) -> None:
    assert site.ask("GET", "/healthz", headers={"host": host}).status == 200


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:1", "http://["])
def test_a_foreign_page_changes_nothing(site: Site, origin: str) -> None:
    for method, path in (("PUT", f"{AT}/seal"), ("PUT", f"{AT}/supply"), ("POST", "/login")):
        assert site.ask(method, path, "{}", {"origin": origin}).refuses(403, "not this page")
    with pytest.raises(InvalidStatus) as told, site.live(origin=origin):
        pass
    answer = told.value.response
    assert (answer.status_code, answer.body.count(b"\n")) == (403, 1)
    assert all(name in answer.headers for name in SAFE)
    with site.live(origin=f"http://{site.host}") as viewer:
        assert json.loads(viewer.recv(5))["type"] == "state"


def test_what_needs_the_token(guarded: Site) -> None:
    for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": "Bearer "}, {"cookie": f"{COOKIE}=x"},
                    {"authorization": f"Basic {TOKEN}"}, {"authorization": TOKEN}):  # fmt: skip
        stranger = Site(guarded.running)
        for method, path in (("GET", AT), ("GET", "/static/page.js"), ("PUT", f"{AT}/seal"), ("GET", "/nothing")):
            assert stranger.ask(method, path, headers=headers).refuses(401, "missing or wrong"), (headers, path)
        with pytest.raises(InvalidStatus) as told, stranger.live(additional_headers=headers):
            pass
        assert told.value.response.status_code == 401
    asked = stranger.ask("GET", "/", headers={"accept": "text/html"})
    assert asked.status == 401
    assert 'action="/login"' in asked.text
    assert [stranger.ask("GET", path).status for path in ("/healthz", "/readyz", "/static/page.css")] == [200] * 3
    assert guarded.ask("GET", AT, headers={"host": "meter.example"}).status == 200
    with guarded.live() as viewer:
        assert json.loads(viewer.recv(5))["model"] == "E43"


def test_a_cookie_is_given_for_the_token(guarded: Site) -> None:
    stranger = Site(guarded.running)
    assert stranger.ask("POST", "/login", "token=wrong").refuses(401, "wrong")
    given = stranger.ask("POST", "/login", "token=open+sesame")
    assert (given.status, given.headers["location"]) == (303, "/")
    cookie, *flags = given.headers["set-cookie"].split("; ")
    assert {"HttpOnly", "SameSite=strict"} <= set(flags)
    assert stranger.ask("GET", "/", headers={"cookie": cookie}).status == 200
    with stranger.live(additional_headers={"cookie": cookie}) as viewer:
        assert json.loads(viewer.recv(5))["type"] == "state"


@pytest.mark.parametrize("where", ["0.0.0.0:0", "[::]:0"])
def test_others_are_not_served_without_a_token(tmp_path: Path, where: str) -> None:
    done = command("run", "--data", str(tmp_path / "d"), "--tcp", "none", "--serial", "none", "--web", where)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert "--token" in done.stderr
    assert not (tmp_path / "d" / "memory.bin").exists()


# viewers and keys


@pytest.mark.parametrize("text", [
    "", "x", "null", "[]", "{}", '{"key":"UP","down":true}', '{"key":"UP","down":1,"n":1}', '{"key":"UP","down":true,"n":true}',
    '{"key":"UP","down":true,"n":1.5}', '{"key":"UP","down":true,"n":0}', '{"key":"NO","down":true,"n":1}', "[" * 30000,
    '{"key":null,"down":true,"n":1}', '{"key":"UP","down":true,"n":1,"more":1}', b"\x00\xff", '{"key":[],"down":true,"n":1}',
])  # fmt: skip
def test_what_is_no_key_ends_the_viewer(site: Site, text: str | bytes) -> None:
    with site.live() as viewer:
        viewer.send(text)
        assert closed(viewer)[0] == 1008


def test_keys_are_numbered_and_may_come_in_pieces(site: Site) -> None:
    for numbers in ((5, 5), (5, 4)):
        with site.live() as viewer:
            viewer.send(re.split("(,)", key("SET", False, numbers[0])))
            viewer.send(key("SET", False, numbers[1]))
            assert closed(viewer) == (1008, "down true or false, n above 5")


def test_twenty_keys_a_second(site: Site) -> None:
    with site.live() as viewer:
        for n in range(1, 51, 2):
            with contextlib.suppress(ConnectionClosed):
                viewer.send(key("SET", True, n))
                viewer.send(key("SET", False, n + 1))
        assert closed(viewer) == (1008, "too many keys (allowed: 20 a second)")


def test_a_key_moves_the_lcd_of_every_viewer_at_once(site: Site) -> None:
    with site.live() as one, site.live() as other:
        before = next_of(other, lambda m: m["type"] == "lcd")["text"]
        began = time.monotonic()
        one.send(key("UP", True, 1))
        one.send(key("UP", False, 2))
        after = next_of(other, lambda m: m["type"] == "lcd" and m["text"].split("|")[1] != before.split("|")[1])
        assert time.monotonic() - began < 0.5
        assert after["light"]


def test_sixty_four_viewers_and_no_more(site: Site) -> None:
    with contextlib.ExitStack() as seats:
        viewers = [seats.enter_context(site.live()) for _ in range(MOST_VIEWERS)]
        with pytest.raises(InvalidStatus) as told, site.live():
            pass
        assert (told.value.response.status_code, told.value.response.body) == (503, b"too many viewers (allowed: 64)\n")
        for viewer in viewers:
            next_of(viewer, lambda m: m["type"] == "now")
        viewers[0].close()
        time.sleep(0.2)
        seats.enter_context(site.live())
    with pytest.raises(InvalidStatus) as told, site.live(6):
        pass
    assert (told.value.response.status_code, told.value.response.body) == (404, b"no meter at address 6\n")


def test_a_viewer_that_reads_nothing_holds_up_nobody(site: Site) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(8):
            stack.enter_context(site.deaf(small=True))
        viewer = stack.enter_context(site.live())
        began = time.monotonic()
        for _ in range(8):
            next_of(viewer, lambda m: m["type"] == "now")
        assert 1.5 < time.monotonic() - began < 3.5


# what it is wired to, and what is heard


def test_a_supply_is_changed_while_it_runs(site: Site) -> None:
    with site.live() as viewer:
        taken = site.ask("PUT", f"{AT}/supply", json.dumps(STEADY), JSON)
        assert (taken.status, taken.json) == (200, {"name": "page", "document": STEADY})
        assert site.ask("GET", f"{AT}/supply").json == taken.json
        values = next_of(viewer, lambda m: m["type"] == "state" and abs((m["values"]["V1"] or 0) - 200) < 0.1)["values"]
        assert (values["V3"], values["I1"], values["f"]) == pytest.approx((220.0, 40.0, 50.0), rel=1e-3)
        text = "rate = 1600\nfrequency = 60.0\n[voltage]\nL1 = 190.0\n[tariff]\nvolts = 230.0\n"
        taken = site.ask("PUT", f"{AT}/supply", text, TEXT)
        assert taken.json["name"] == "scenario"
        assert taken.json["document"]["tariff"] == {"volts": 230.0}
        values = next_of(viewer, lambda m: m["type"] == "state" and abs((m["values"]["V1"] or 0) - 190) < 0.1)["values"]
        assert (values["f"], values["tariff"]) == (pytest.approx(60.0, rel=1e-3), 2)
        scope = next_of(viewer, lambda m: m.get("scope"))["scope"]
        assert scope["ms"] == pytest.approx(2000 / 60, rel=1e-3)
        assert max(scope["waves"]["V1"]) == pytest.approx(2687, abs=40)
        assert scope["waves"]["V1"][0] == pytest.approx(0, abs=10)


def test_of_many_changes_at_once_the_last_is_in_force(site: Site) -> None:
    def change(volts: int) -> None:
        for k in range(3):
            body = json.dumps({**STEADY, "rate": (8000, 4000)[k % 2], "voltage": {"L1": float(volts + k)}})
            assert site.ask("PUT", f"{AT}/supply", body, JSON).status == 200

    pushing = [threading.Thread(target=change, args=(200 + 10 * k,)) for k in range(5)]
    for one in pushing:
        one.start()
    for one in pushing:
        one.join()
    volts = site.ask("GET", f"{AT}/supply").json["document"]["voltage"]["L1"]
    with site.live() as viewer:
        next_of(viewer, lambda m: m["type"] == "state" and abs((m["values"]["V1"] or 0) - volts) < 0.1)


def test_a_long_scenario_does_not_stop_the_meter(site: Site) -> None:
    text = "[[load]]\ncurrent = 0.1\n" * 60 + "[[event]]\nat = 0\nover = 5e5\nset = { \"voltage.L1\" = 1.0 }\n"
    sent = threading.Thread(target=site.ask, args=("PUT", f"{AT}/supply", text, TEXT))
    sent.start()
    worst = 0.0
    while sent.is_alive():
        began = time.monotonic()
        site.ask("GET", "/healthz")
        worst = max(worst, time.monotonic() - began)
        time.sleep(0.02)
    sent.join()
    assert worst < 0.5


def test_a_seal_is_closed_and_broken_where_there_is_one(site: Site, guarded: Site) -> None:
    for sealed in (True, False):
        assert site.ask("PUT", f"{AT}/seal", json.dumps({"sealed": sealed})).json == {"sealed": sealed}
        assert site.ask("GET", AT).json["settings"]["sealed"] == sealed
    assert guarded.ask("PUT", f"{AT}/seal", '{"sealed": true}').refuses(400, "seal")
    assert guarded.ask("GET", AT).json["settings"]["sealed"] == 0


def test_the_monitor_tells_what_masters_say(site: Site) -> None:
    host, port = site.running.ready["tcp"].split(":")
    requests = [(5, pdu.read_request(50520, 2)), (5, pdu.write_request(57355, [900])), (5, pdu.read_request(1, 1)),
                (9, pdu.read_request(50520, 2))]  # fmt: skip
    with site.live() as viewer, socket.create_connection((host, int(port))) as master:
        master.settimeout(5)
        for unit, request in requests:
            master.sendall(tcp.wrap(7, unit, request))
            master.recv(300)
        frames: list[dict[str, Any]] = []
        while len(frames) < 8:
            frames += next_of(viewer, lambda m: m.get("frames"))["frames"]
    assert [f["direction"] for f in frames] == ["request", "reply"] * 4
    assert [f["unit"] for f in frames] == [5] * 6 + [9] * 2
    assert [f["exception"] for f in frames] == [None] * 5 + [2, None, 11]
    assert (frames[0]["text"], frames[0]["values"]) == ("read 50520 to 50521", [["V1", None]])
    assert frames[1]["values"][0][1] == pytest.approx(site.ask("GET", AT).json["values"]["V1"], rel=0.5)
    assert (frames[2]["values"], frames[3]["text"]) == ([["demand_period", 900]], "written")
    assert frames[0]["bytes"] == "03 C5 58 00 02"


# who goes, and the end


def test_a_viewer_that_goes_lets_its_keys_go_with_or_without_a_word(site: Site, guarded: Site) -> None:
    with guarded.deaf() as line:
        line.sendall(masked(key("SET", True, 1)))
        with site.live() as viewer:
            viewer.send(key("SET", True, 1))
            time.sleep(0.5)
        time.sleep(3.1)
        shown = [str(one.ask("GET", AT).json["lcd"]["text"]) for one in (site, guarded)]
    assert ["SEtuP" in text for text in shown] == [False, False], shown


@pytest.mark.parametrize("uploading", [False, True])
def test_the_end_waits_for_nobody(tmp_path: Path, uploading: bool) -> None:
    running = start(tmp_path, "--serial", "none")
    try:
        site = Site(running)
        with site.live() as viewer, site.deaf(small=True), site.raw("GET / HTTP/1.1"), site.raw() as upload:
            viewer.send(key("UP", True, 1))
            if uploading:
                upload.sendall(f"PUT {AT}/supply HTTP/1.1\r\nHost: {site.host}\r\nContent-Length: 9\r\n\r\n[".encode())
            time.sleep(0.3)
            began = time.monotonic()
            code, _, err = stop(running, signal.SIGTERM)
            took = time.monotonic() - began
            assert closed(viewer)[0] == 1012
        assert (code, err) == (0, "")
        assert took < 1.6
    finally:
        running.process.kill()
