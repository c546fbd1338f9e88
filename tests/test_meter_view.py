"""A meter as the page sees it, piece by piece in this process: viewers, keys, supplies, and what is heard on its ports."""

from __future__ import annotations

import asyncio
import contextlib
import json
import struct
import tomllib
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from countis import E44, Meter
from countis.host.page import viewers as audience_module
from countis.host.page.meter_view import MeterView, _written
from countis.host.page.routes import Pages
from countis.host.page.viewers import Viewer, Viewers
from countis.host.running.feeder import Feeder
from countis.host.running.hub import LineHub, MeterPort
from countis.host.running.runner import Runner
from countis.meter.panel.keys import Key
from countis.modbus import pdu, rtu, tcp
from countis.modbus.said import explain
from countis.serve.allowance import Allowance
from countis.serve.web.guard import is_local, matches
from countis.supply import three_phase
from countis.supply.source import Supply
from countis.supply.toml_file import read_supply
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tables import TABLE
from visitors import AT, key

SCOPE = {"asgi": {"version": "3.0"}, "http_version": "1.1", "scheme": "http", "query_string": b"", "root_path": "",
         "headers": [(b"host", b"localhost")], "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80)}  # fmt: skip


@pytest.fixture
def station() -> MeterView:
    """A meter that nobody feeds but the test."""
    feeder = Feeder(Meter(E44, ct_primary=200, ct_secondary=5), three_phase(230, 1.0), 1.0, name="E44")
    return MeterView(feeder, MeterPort(feeder), {}, "none")


def ask(station: MeterView, method: str, path: str, body: str = "", content_type: str = "text/plain") -> tuple[int, str]:
    """Ask the page's server without a server."""
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body.encode(), "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [*SCOPE["headers"], (b"content-type", content_type.encode())]
    scope = {**SCOPE, "type": "http", "method": method, "path": path, "headers": headers}
    asyncio.run(Pages([station], Runner([]), None).app(scope, receive, send))
    return sent[0]["status"], b"".join(part.get("body", b"") for part in sent).decode()


# what is asked


@pytest.mark.parametrize("change", ["frequency = inf", "frequency = 1979-05-27", "noise = " + "[" * 400 + "]" * 400])
def test_a_supply_that_a_page_cannot_be_told_is_refused(station: MeterView, change: str) -> None:
    text = f"[[event]]\nat = 1\nfor = 0\nset = {{ {change} }}\n"  # never in force
    status, said = ask(station, "PUT", f"{AT}/supply", text)
    assert (status, said.count("\n")) == (400, 1) or (status == 200 and json.loads(said)["name"] == "scenario")


def test_a_body_that_would_cost_seconds_or_gigabytes_is_refused(station: MeterView) -> None:
    loads = "load = [" + "{ current = 1 }, " * 2700 + "]\n" + "".join(f"[[event]]\nat = {k}\nset = {{}}\n" for k in range(600))
    for text, wrong in (("a" + ".a" * 32_000 + " = 1\n", "nested too deeply"), (loads, "up to 64")):
        status, said = ask(station, "PUT", f"{AT}/supply", text)
        assert (status, wrong in said) == (400, True)


def test_a_refusal_is_one_line_of_text_whatever_was_asked(station: MeterView) -> None:
    status, said = ask(station, "GET", "/api/meters/\x1b[1m\x00\x85k/supply")
    assert (status, said) == (404, "no meter ?[1m? k\n")


# who may


def test_an_allowance_comes_back_and_forgets_who_is_gone() -> None:
    allowance = Allowance(2)
    assert [allowance.spend("a", t) for t in (0.0, 0.5, 0.9, 1.0, 1.1, 1.5)] == [True, True, False, True, False, True]
    assert allowance.spend("b", 1.1)
    for client in range(2000):
        assert allowance.spend(str(client), 10.0 + 2.0 * client)
    assert len(allowance._spent) <= 1001


def test_no_token_is_no_token() -> None:
    assert matches("é", "é")
    assert not any(matches(*pair) for pair in (("a", "b"), (None, ""), (None, "None")))
    assert not matches("", ""), "an empty --token must not open the meter to everybody"
    assert all(map(is_local, ("127.0.0.1", "::1", "[::1]", "localhost")))
    assert not any(map(is_local, ("", "0.0.0.0", "::", "x.localhost", "10.0.0.1")))


# viewers


def test_a_key_goes_up_when_the_last_who_holds_it_is_gone(station: MeterView) -> None:
    station.meter.feed(three_phase(230, 1.0), seconds=2.0)

    async def sit() -> None:
        audience = Viewers(station)

        def down() -> Key:
            return station.meter.front.panel.down

        with audience.seat() as one:
            with audience.seat() as other:
                audience.take(one, key("UP", True, 1))
                audience.take(other, key("UP", True, 1))
                audience.take(other, key("SET", True, 2))
            assert down() == Key.UP
            with audience.seat() as third:
                audience.take(third, key("UP", False, 1))
            assert down() == Key.UP, "one lets go, another still holds it"
        assert down() == Key(0)
        assert (len(audience.viewers), station.port.exchanges is None) == (0, True)

    asyncio.run(sit())


def test_a_viewer_that_takes_nothing_is_ended(station: MeterView, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audience_module, "_TICK", 0.002)

    async def sit() -> None:
        pages, coming, blocked = Pages([station], Runner([]), None), asyncio.Queue[dict[str, Any]](), asyncio.Event()
        coming.put_nowait({"type": "websocket.connect"})
        coming.put_nowait({"type": "websocket.receive", "text": key("SET", True, 1)})

        async def send(message: Any) -> None:
            if message["type"] == "websocket.send":  # a line that takes nothing any more
                await blocked.wait()

        serving = asyncio.create_task(pages.app({**SCOPE, "type": "websocket", "path": f"{AT}/live"}, coming.get, send))
        while not pages.viewers[0].viewers:
            await asyncio.sleep(0.01)
        for n in range(300):
            next(iter(pages.viewers[0].viewers), Viewer()).send(str(n))
        await asyncio.sleep(0.3)
        seats, down = len(pages.viewers[0].viewers), station.meter.front.panel.down
        serving.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await serving
        assert (seats, down) == (0, Key(0)), "it keeps its seat, and its key stays down"

    asyncio.run(sit())


def test_who_goes_away_with_a_key_down_has_pressed_nothing(station: MeterView) -> None:
    """A line that is lost in a short press is found out after seconds: that must not be a hold, which enters or resets."""
    station.meter.feed(three_phase(230, 1.0), seconds=2.0)

    async def sit() -> None:
        audience, before = Viewers(station), station.meter.front.panel.menu
        with audience.seat() as viewer:
            audience.take(viewer, key("ENTER", True, 1))
        assert station.meter.front.panel.down == Key(0)
        assert station.meter.front.panel.menu == before

    asyncio.run(sit())


# supplies


def samples(supply: Supply, chunks: Sequence[int]) -> NDArray[np.float64]:
    return np.concatenate([supply.read(n) for n in chunks])


@pytest.mark.parametrize("at", [0, 1, 63, 64, 137, 8000, 12345])
def test_a_change_goes_on_in_phase(at: int) -> None:
    def played(chunks: Sequence[int]) -> NDArray[np.float64]:
        supply = three_phase(230, 1.0, f=50.0, noise=1e-6)
        before = supply.read(at)
        supply.follow(three_phase(230, 1.0, f=53.0, noise=1e-6))
        return np.concatenate([before, samples(supply, chunks)])

    whole = played([4000])
    slope = 2.0 * np.pi * 53.0 / 8000.0 * 230.0 * np.sqrt(2.0)
    assert np.abs(np.diff(whole[max(0, at - 400) :, 0])).max() < 1.001 * slope
    for chunks in ([1] * 137 + [3863], [63, 64, 65, 3808], [1600, 1600, 800]):
        assert np.array_equal(played(chunks), whole)


def test_a_change_follows_events_and_is_followed_itself() -> None:
    text = "[[event]]\nat = 0.5\nset = { frequency = 60.0 }\n[[event]]\nat = 1.0\nset = { \"voltage.L1\" = 0.0 }\n"
    supply = three_phase(230, 1.0)
    supply.read(1234)
    for _ in range(3):
        supply.follow(read_supply(text, "s").build(1.0))
        taken = supply.read(8400)[:, 0]
        assert np.abs(np.diff(taken[:7999])).max() < 1.001 * 2 * np.pi * 60 / 8000 * 230 * np.sqrt(2)
        assert np.abs(taken[8000:]).max() == 0.0
        supply.follow(three_phase(230, 1.0))
        supply.read(777)


def test_another_rate_goes_on_in_phase_too(station: MeterView) -> None:
    feeder = station.feeder
    feeder.source.read(1234)
    expected = 2.0 * np.pi * 1234 * 50.0 / 8000.0
    feeder.change_source(three_phase(230, 1.0, rate=4000))
    feeder._take_next()
    assert station.meter.rate == 4000
    assert feeder.source.read(1)[0, 0] == pytest.approx(230.0 * np.sqrt(2.0) * np.sin(expected), abs=1e-6)


@pytest.mark.parametrize("body", [
    '{"load": [{"name": "\\ud800", "current": 1}]}', '{"a":' * 450 + "1" + "}" * 450, '{"seed":' + "1" * 5000 + "}",
], ids=["half a character", "deep", "long number"])  # fmt: skip
def test_a_document_that_would_break_something_later_is_refused(station: MeterView, body: str) -> None:
    status, text = ask(station, "PUT", f"{AT}/supply", body, content_type="application/json")
    assert (status, text.count("\n")) == (400, 1)
    assert ask(station, "GET", f"{AT}/supply")[0] == 200


def test_power_of_next_to_no_voltage_does_not_end_the_meter(station: MeterView) -> None:
    body = '{"voltage": {"L1": 1e-320, "L2": 0, "L3": 0}, "load": [{"phase": "L1", "power": 1e9}]}'
    if ask(station, "PUT", f"{AT}/supply", body, content_type="application/json")[0] == 200:
        station.feeder._take_next()
        station.meter.feed(station.feeder.source.read(8000))


def test_a_scenario_with_a_date_is_refused(station: MeterView) -> None:
    text = "[[event]]\nat = 5\nfor = 0\nset = { \"voltage.L1\" = 2020-01-01 }\n"
    assert ask(station, "PUT", f"{AT}/supply", text)[0] == 400


@pytest.mark.parametrize("path", ["/api/meters/" + "9" * 5000, f"{AT}/supply/", "/static/__init__.py", "/static/"])
def test_what_is_not_there(station: MeterView, path: str) -> None:
    assert ask(station, "GET", path)[0] in (404, 307)


values = st.recursive(st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False)
                      | st.text(st.characters(exclude_characters="\x7f", exclude_categories=["Cs"])),
                      lambda inner: st.lists(inner) | st.dictionaries(st.text("ab.\"' é", max_size=5), inner),
                      max_leaves=8)  # fmt: skip


@settings(max_examples=30)
@given(st.dictionaries(st.text("ab.\"' é", max_size=5), values, max_size=3))
def test_what_is_written_as_toml_is_read_again(document: dict[str, Any]) -> None:
    assert tomllib.loads(_written(document)) == document


# what is heard


def test_a_frame_is_told_in_words() -> None:
    read = pdu.read_request(50514, 6)
    asked = explain.request(TABLE, read)
    assert (asked.function, asked.text) == (3, "read 50514 to 50519")
    assert [symbol for symbol, _ in asked.values] == ["U12", "U23", "U31"]
    told = explain.reply(TABLE, read, bytes((3, 12)) + struct.pack(">3I", 40000, 40001, 0xFFFFFFFF))
    assert told.values == (("U12", 400.0), ("U23", 400.01), ("U31", None))
    write = pdu.write_request(57355, [900])
    assert explain.request(TABLE, write).values == (("demand_period", 900),)
    assert explain.reply(TABLE, write, write[:5]).text == "written"
    refused = explain.reply(TABLE, read, pdu.exception(3, pdu.Code.ADDRESS))
    assert (refused.function, refused.exception, refused.text) == (3, 2, "exception 02: illegal address")
    assert explain.reply(TABLE, read, b"").text == "silence"
    assert explain.request(TABLE, b"\x2b\x0e").text == "function 43, which is not possible so"


@given(st.binary(max_size=40), st.binary(max_size=40))
def test_any_bytes_are_told(asked: bytes, answered: bytes) -> None:
    replies = [explain.reply(TABLE, asked, answered), explain.reply(TABLE, asked, b"\x03" + answered)]
    for told in (explain.request(TABLE, asked), *replies):
        json.dumps(told.values, allow_nan=False)


def test_a_desk_is_heard_while_somebody_listens(station: MeterView) -> None:
    station.meter.feed(three_phase(230, 1.0), seconds=2.0)
    read = tcp.Envelope(1, 5, pdu.read_request(50520, 2))
    station.port.tcp(read)
    assert station.new_frames() == []
    station.start_monitor()
    hub, whole = LineHub([station.port]), tcp.wrap(1, 5, read.pdu)
    assert hub.tcp_cached(whole) is not None
    station.port.rtu(rtu.frame(5, read.pdu))
    station.port.rtu(rtu.frame(6, read.pdu))
    told = station.new_frames()
    assert [line["port"] for line in told] == ["TCP", "TCP", "RTU", "RTU", "RTU", "RTU"]
    assert [line["text"] for line in told[1::2]] == ["2 words", "2 words", "silence"]
    assert told[1]["values"] == told[3]["values"]
    assert told[1]["values"][0][1] == pytest.approx(230, abs=0.1)
    for _ in range(1000):
        hub.tcp_cached(whole)
    skipped, *rest = station.new_frames()
    assert len(rest) == 80
    assert skipped == {"skipped": 960}, "what is left out is counted"
    station.stop_monitor()


def test_a_request_to_another_unit_is_no_frame_of_ours(station: MeterView) -> None:
    station.meter.feed(three_phase(230, 1.0), seconds=2.0)
    other = tcp.Envelope(1, 9, pdu.read_request(50520, 2))
    hub = LineHub([station.port])
    hub.tcp(other)
    hub.tcp_cached(tcp.wrap(1, 9, other.pdu))
    assert station.meter.state.frames == 0
