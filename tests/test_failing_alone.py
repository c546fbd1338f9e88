"""A meter whose source or memory fails stops alone, is named wherever somebody looks, and the others go on."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from countis import E44, Meter
from countis.host.bus import Bus
from countis.host.page.meter_view import MeterView
from countis.host.page.routes import Pages
from countis.host.running.feeder import Feeder
from countis.host.running.hub import LineHub, MeterPort
from countis.host.running.memory_file import MemoryFile
from countis.host.running.plan import LinePlan, Plan, Service
from countis.host.running.plant import OpenLine, OpenMeter, Plant
from countis.host.running.publish import Publisher
from countis.host.running.runner import Runner
from countis.meter.memory.event_log import Entry
from countis.meter.memory.image import Write
from countis.meter.state import Snapshot
from countis.modbus import pdu, rtu, tcp
from countis.supply import Supply, three_phase
from countis.words.commands import SetSetting
from countis.words.errors import CountisError, MemoryImageError, SupplyError
from numpy.typing import NDArray

MANY = 20
TORN, FULL = 3, 11  # which of them loses its recording, and which its memory
READ_V1 = pdu.read_request(50520, 2)


class Tape:
    """A supply that tears once it is told to."""

    tariff_volts = 0.0

    def __init__(self) -> None:
        self._supply: Supply = three_phase(230, 1.0)
        self.torn = False
        self.goes_on = Event()
        self.goes_on.set()

    @property
    def rate(self) -> float:
        return self._supply.rate

    @property
    def seconds(self) -> float:
        return self._supply.seconds

    def read(self, count: int) -> NDArray[Any]:
        self.goes_on.wait()
        if self.torn:
            raise SupplyError("tape.cfg", "cannot be read any more", "a whole tape")
        return self._supply.read(count)


class Disk(MemoryFile):
    """A memory whose disk is full once it is told to be."""

    full = False

    def write(self, writes: list[Write], *, sync: bool = True) -> None:
        if self.full:
            raise MemoryImageError(self.path, "No space left on device", "a disk that takes writes")
        super().write(writes, sync=sync)


class Seen:
    """A subscriber that counts."""

    def __init__(self) -> None:
        self.seconds: dict[str, int] = {}
        self.events: list[tuple[str, int, str]] = []

    def on_second(self, name: str, snapshot: Snapshot) -> None:
        assert snapshot["V1"] is None or snapshot["V1"] == pytest.approx(230.0, abs=0.1)
        self.seconds[name] = self.seconds.get(name, 0) + 1

    def on_event(self, name: str, number: int, entry: Entry) -> None:
        self.events.append((name, number, entry.subject))


class Broken:
    """A subscriber that always fails."""

    def on_second(self, name: str, snapshot: Snapshot) -> None:
        raise RuntimeError("broken")

    def on_event(self, name: str, number: int, entry: Entry) -> None:
        raise RuntimeError("broken")


def until(true: Callable[[], bool], patience: float = 60.0) -> None:
    deadline = time.monotonic() + patience
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


class Twenty:
    """Twenty meters that run, with everything that looks at them."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.tapes, self.disks = [Tape() for _ in range(MANY)], [Disk(folder / str(k)) for k in range(MANY)]
        self.feeders = []
        for k, (tape, disk) in enumerate(zip(self.tapes, self.disks, strict=True)):
            meter = Meter(E44, address=k + 1, baud=9600)
            disk.create(meter.save())
            stack.callback(disk.close)
            self.feeders.append(Feeder(meter, tape, 1.0, name=f"meter {k}"))
        self.ports = [MeterPort(feeder) for feeder in self.feeders]
        self.hub, self.seen = LineHub(self.ports), Seen()
        self.runner = Runner(list(zip(self.feeders, self.disks, strict=True)), Publisher())
        self.runner.publisher.subscribe(Broken())
        self.runner.publisher.subscribe(self.seen)
        stack.callback(self.runner.stop)
        self.views = [MeterView(feeder, port, None, "tape") for feeder, port in zip(self.feeders, self.ports, strict=True)]
        self.runner.start()
        until(lambda: self.runner.ready.is_set())

    def status(self) -> str:
        meters = [OpenMeter(f, p, d, None, "tape", []) for f, p, d in zip(self.feeders, self.ports, self.disks, strict=True)]
        line = OpenLine(LinePlan(doors=(), meters=()), self.hub, {})
        return Bus().status(Plant(Plan(lines=(), service=Service(data=Path())), [line], meters, self.runner, None))

    def ready(self) -> tuple[int, str]:
        app = Pages(self.views, self.runner, None).app
        sent: list[Any] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {"type": "http", "method": "GET", "path": "/readyz", "raw_path": b"/readyz", "query_string": b"",
                 "scheme": "http",
                 "headers": [(b"host", b"localhost")], "http_version": "1.1", "root_path": "", "client": ("127.0.0.1", 1),
                 "server": ("127.0.0.1", 80), "asgi": {"version": "3.0"}}  # fmt: skip
        asyncio.run(app(scope, receive, send))
        return sent[0]["status"], b"".join(message.get("body", b"") for message in sent).decode()


@pytest.fixture
def twenty(tmp_path: Path) -> Iterator[Twenty]:
    with ExitStack() as stack:
        yield Twenty(tmp_path, stack)


def test_of_twenty_meters_one_loses_its_recording_and_one_its_memory_and_eighteen_go_on(
    twenty: Twenty, capfd: pytest.CaptureFixture[str]
) -> None:
    assert twenty.ready() == (200, "ready\n")
    twenty.tapes[TORN].torn = True
    twenty.disks[FULL].full = True
    with twenty.feeders[FULL].lock:
        twenty.feeders[FULL].meter.apply([SetSetting("baud", 19200)])
    until(lambda: len(twenty.runner.troubles) == 2)
    before = [feeder.meter.now for feeder in twenty.feeders]
    until(lambda: sum(feeder.meter.now > at + 10**9 for feeder, at in zip(twenty.feeders, before, strict=True)) == MANY - 2)
    stopped = [k for k, (feeder, at) in enumerate(zip(twenty.feeders, before, strict=True)) if feeder.meter.now == at]
    assert stopped == [TORN, FULL]
    assert not twenty.runner.stopped.is_set()
    assert twenty.runner.failure is None
    for text in (twenty.status(), twenty.ready()[1]):
        assert "meter 3: tape.cfg: cannot be read any more" in text
        assert "meter 11: " in text
        assert "No space left on device" in text
        assert "meter 4" not in text
    assert twenty.ready()[0] == 503
    assert twenty.views[TORN].state()["notes"] == ["failed: tape.cfg: cannot be read any more (allowed: a whole tape)"]
    assert twenty.views[4].state()["notes"] == []


def test_one_that_has_failed_says_nothing_on_its_line(twenty: Twenty) -> None:
    whole = tcp.wrap(1, TORN + 1, READ_V1)
    assert twenty.hub.rtu(rtu.frame(TORN + 1, READ_V1)).data
    assert twenty.hub.tcp_cached(whole) is not None or twenty.hub.tcp(tcp.Envelope(1, TORN + 1, READ_V1)).data
    twenty.tapes[TORN].torn = True
    until(lambda: bool(twenty.runner.troubles))
    assert twenty.hub.rtu(rtu.frame(TORN + 1, READ_V1)).data == b""
    assert twenty.hub.tcp_cached(whole) is None
    gateway = twenty.hub.tcp(tcp.Envelope(1, TORN + 1, READ_V1)).data
    assert gateway[7:] == pdu.exception(pdu.READ, pdu.Code.GATEWAY_TARGET)
    assert twenty.hub.rtu(rtu.frame(TORN + 2, READ_V1)).data


def test_seconds_and_events_come_by_name_whatever_another_subscriber_does(
    twenty: Twenty, capfd: pytest.CaptureFixture[str]
) -> None:
    with twenty.feeders[7].lock:
        twenty.feeders[7].meter.apply([SetSetting("ct_primary", 400)])
    until(lambda: ("meter 7", 0, "ct_primary") in twenty.seen.events)
    until(lambda: len(twenty.seen.seconds) == MANY and min(twenty.seen.seconds.values()) >= 2)
    assert [event for event in twenty.seen.events if event[0] == "meter 8"] == []
    assert "RuntimeError: broken" in capfd.readouterr().err


def test_the_last_one_that_fails_ends_the_runner(twenty: Twenty) -> None:
    for tape in twenty.tapes:
        tape.torn = True
    until(lambda: twenty.runner.stopped.is_set())
    assert isinstance(twenty.runner.failure, SupplyError)


def test_events_come_while_a_source_says_nothing(twenty: Twenty, capfd: pytest.CaptureFixture[str]) -> None:
    twenty.tapes[TORN].goes_on.clear()
    try:
        until(lambda: twenty.feeders[7].silent > 0.5)  # the one thread that feeds waits for the tape
        with twenty.feeders[7].lock:
            twenty.feeders[7].meter.apply([SetSetting("ct_primary", 400)])
        until(lambda: ("meter 7", 0, "ct_primary") in twenty.seen.events, 5.0)
    finally:
        twenty.tapes[TORN].goes_on.set()


def test_what_the_last_save_cannot_keep_ends_it_with_its_reason(twenty: Twenty) -> None:
    twenty.runner.stopped.set()
    for thread in twenty.runner._threads:
        thread.join()
    assert twenty.runner.failure is None
    twenty.disks[FULL].full = True
    twenty.runner.stop()
    assert isinstance(twenty.runner.failure, MemoryImageError)


def test_one_that_has_failed_takes_no_change_from_the_page(twenty: Twenty) -> None:
    twenty.tapes[TORN].torn = True
    until(lambda: bool(twenty.runner.troubles))
    before = twenty.views[TORN].supply_name
    failed = r"^meter 3: failed: tape.cfg: cannot be read any more"
    with pytest.raises(CountisError, match=failed):
        twenty.views[TORN].set_supply({"frequency": 50.0}, "page")
    with pytest.raises(CountisError, match=failed):
        twenty.views[TORN].seal(True)
    assert twenty.views[TORN].supply_name == before
    assert not twenty.views[TORN].meter["sealed"]
