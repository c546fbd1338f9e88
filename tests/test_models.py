"""A model is data: one that nobody here builds, with other limits and a shorter table, is a meter like the others."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from countis import E44, Bus, Key, Meter
from countis.host.running.feeder import Feeder
from countis.host.running.hub import LineHub, MeterPort
from countis.modbus.table import Table
from countis.models import E43_E44, MODELS, Family, Model
from countis.serve.tcp_port import TcpRequests, TcpServer
from countis.site.plan import plan_of
from countis.supply import three_phase
from countis.words.commands import EventKind
from countis.words.errors import MemoryImageError, Refused, UnknownSymbol

KEPT = (19840, 50000, 50512, 57344)  # blocks of the E33's table, as they are in its big sisters
BLOCKS = tuple(block for block in E43_E44.table.blocks if block.start in KEPT)
FAMILY = Family(
    name="COUNTIS E33",
    table=Table("E33", BLOCKS, tuple(
        row for row in E43_E44.table.rows if any(b.start <= row.address < b.start + b.words for b in BLOCKS)
    )),
    menus=tuple(menu for menu in E43_E44.menus if menu.name in ("tot", "rt", "SEtuP.2")),
    setups=E43_E44.setups,
    identity={**E43_E44.identity, "id.product": "COUNTIS E33"},
    pulse_weights=((1, 10), (10, 100)),
)
E33 = Model(
    name="E33", reference="4850 3033", extended_name="Countis E33", family=FAMILY, v_max=250.0, v_overload=252.0,
    led_per_kwh=100, off_below=0.3, start_va=5.0,
)


@pytest.fixture(autouse=True)
def _is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MODELS, "E33", E33)


@contextmanager
def served(meter: Meter) -> Iterator[str]:
    """A meter behind a TCP port, fed by nobody."""
    hub = LineHub([MeterPort(Feeder(meter, three_phase(), 1.0, name="small"))])
    server = TcpServer(hub, TcpRequests, ("127.0.0.1", 0), "--tcp")
    server.start()
    try:
        yield f"tcp://{server.name}"
    finally:
        server.close()


def test_it_runs_and_is_read_over_the_bus() -> None:
    meter = Meter(E33, address=9, ct_primary=100)
    meter.feed(three_phase(v=230, i=2), seconds=3)
    with served(meter) as target, Bus.open(target, model=E33) as bus:
        values = bus[9].read("V1", "P", "Ea+.L1", "id.product")
        with pytest.raises(UnknownSymbol):
            bus[9].read("hours.T1")
    assert values["id.product"] == "COUNTIS E33"
    assert values["V1"] == pytest.approx(230, abs=0.01)
    assert values["P"] == pytest.approx(3 * 230 * 2 * 20, rel=1e-3)


def test_what_its_table_leaves_out_is_not_there() -> None:
    small, big = Meter(E33), Meter(E44)
    for block in E43_E44.table.blocks:
        request = bytes((3, block.start >> 8, block.start & 0xFF, 0, 1))
        refused = small.pdu(request)[:1] == b"\x83"
        assert refused == (block.start not in KEPT or big.pdu(request)[:1] == b"\x83"), block
    assert len(FAMILY.table.rows) < 100 < len(E43_E44.table.rows)
    with pytest.raises(Refused):
        Bus.loopback(small)[5].read("par.Ea+.T1")  # asked by the table of the wrong family


def test_its_limits_are_its_own() -> None:
    small, big = Meter(E33), Meter(E44)
    for meter in (small, big):
        meter.feed(three_phase(v=260, i=0.01), seconds=3)
    noted = {meter.model.name: [e.subject for _, e in meter.state.log.entries(meter.state.events)
                                if e is not None and e.kind is EventKind.OVERLOAD] for meter in (small, big)}
    assert noted == {"E33": ["V1", "V2", "V3"], "E44": []}
    assert small.exact("Ea+") == 0, "2.6 VA a phase is below its gate"
    assert big.exact("Ea+") > 0
    weights = [FAMILY.pulse_weight(200, 5), E43_E44.pulse_weight(200, 5)]
    assert weights == [100, 25]


def test_its_menus_are_walked() -> None:
    meter = Meter(E33)
    meter.feed(three_phase(), seconds=3)
    assert meter.lcd.startswith("tot")
    meter.press(Key.ENTER)
    assert meter.lcd.startswith("rt")
    meter.press(Key.ENTER)
    assert meter.lcd.startswith("SEtuP.2")


def test_its_memory_knows_whose_it_is() -> None:
    meter = Meter(E33)
    meter.feed(three_phase(i=3), seconds=3)
    image = meter.save()
    again = Meter.load(image)
    assert again.model is E33
    assert again.exact("Ea+") == meter.exact("Ea+") > 0
    MODELS.pop("E33")
    with pytest.raises(MemoryImageError):
        Meter.load(image)


def test_plans_do_not_mix() -> None:
    assert set(plan_of(FAMILY.table).sources) < set(plan_of(E43_E44.table).sources)
