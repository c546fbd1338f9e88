"""The memory: what is kept, what is refused, what a cut leaves."""

from __future__ import annotations

import gzip
import json
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from countis import (
    E43,
    E44,
    Measurement,
    Meter,
    ResetPartials,
    SelectTariff,
    SetClock,
    SetSetting,
    StopPartial,
)
from countis.meter.energy.load_curve import CAPACITY, Record
from countis.meter.energy.registers import Layout
from countis.meter.memory.event_log import Entry
from countis.meter.memory.image import (
    IMAGE_SIZE,
    LAYOUTS,
    LOG_OFFSET,
    PAGE,
    RING_OFFSET,
    VERSION,
    MemoryPage,
    entry_write,
    hot_write,
    page_write,
    record_write,
)
from countis.modbus import pdu
from countis.supply import three_phase
from countis.words.commands import EventKind, Origin
from countis.words.errors import MemoryImageError
from countis.words.quantities import COUNTED, COUNTED_COLUMN

from tables import ROWS


def lived() -> Meter:
    """A meter with something in every corner."""
    meter = Meter(E43, tariff_control="com", ct_primary=250, address=77, demand_period=60, serial_number="2645123400042")
    meter.apply([SetClock(777_777_777), StopPartial("par.Er+"), SelectTariff(3)])
    for k in range(200):
        p, q = 100.0 * (k % 7 - 2), 50.0 * (k % 5 - 2)
        meter.count(Measurement.of(E43, seconds=7.3, v=[230.0] * 3, i=[abs(p) / 230] * 3, p=[p] * 3, q=[q] * 3))
    meter.apply([ResetPartials(("par.Ea-.T3",)), SelectTariff(2)])
    return meter


def test_everything_survives() -> None:
    meter = lived()
    again = Meter.load(meter.save())
    assert again.model is E43
    assert again.settings == meter.settings
    own = [Layout.demand_broken, Layout.settings_page]  # the power was off: this record is not a whole one; the memory's own
    kept = np.delete(np.arange(Layout.size), own)
    assert np.array_equal(again.state.row[kept], meter.state.row[kept])
    assert np.array_equal(again.state.curve.ring, meter.state.curve.ring)
    assert again.clock == meter.clock
    assert again["tariff"] == 2
    assert not again.state.runs("par.Er+")
    assert again["Ea+"] == meter["Ea+"] != 0
    assert int(again.state.row[Layout.records]) > 20
    assert [again.state.curve.record(k) for k in range(20)] == [meter.state.curve.record(k) for k in range(20)]


def test_a_loaded_meter_goes_on_where_the_other_stopped() -> None:
    meter = lived()
    again = Meter.load(meter.save())
    more = Measurement.of(E43, seconds=900.0, v=[230.0] * 3, i=[1.0] * 3, p=[200.0] * 3, q=[10.0] * 3)
    events, expected = again.count(more), meter.count(more)
    assert [type(e) for e in events] == [type(e) for e in expected]
    assert again.exact("Ea+") == meter.exact("Ea+")
    assert np.array_equal(again.state.row[Layout.remainders], meter.state.row[Layout.remainders])


def test_writes_carried_out_on_the_image_are_the_image() -> None:
    meter = lived()
    disk = bytearray(meter.save())
    meter.writes()
    for k in range(30):
        meter.count(Measurement.of(E43, seconds=61.0, v=[230.0] * 3, i=[1.0] * 3, p=[200.0] * 3, q=[10.0] * 3))
        if k == 13:
            meter.apply([SetSetting("ct_primary", 300)])
        for offset, data in meter.writes():
            disk[offset : offset + len(data)] = data
        again = Meter.load(bytes(disk))
        assert again.exact("Ea+") == meter.exact("Ea+")
        assert again.settings == meter.settings
        assert np.array_equal(again.state.curve.ring, meter.state.curve.ring)


def test_the_whole_run_is_deterministic() -> None:
    def run() -> bytes:
        meter = Meter(E44, ct_primary=200, rate=3200)
        meter.apply([SetClock(800_000_000)])
        meter.feed(three_phase(231.0, (1.0, 2.0, 3.0), 0.9, i_harmonics={5: (0.2, 10.0)}, noise=1e-4, seed=9, rate=3200), 20)
        return meter.save()

    assert run() == run()


def test_a_torn_page_leaves_the_other_copy() -> None:
    """A write of the hot page is cut at every 16th byte: the old or the new state, never a mixture."""
    meter = Meter(E44)
    disk = bytearray(meter.save())
    more = Measurement.of(E44, seconds=10.0, v=[230.0] * 3, i=[1.0] * 3, p=[200.0] * 3, q=[10.0] * 3)
    for _ in range(3):
        old = meter.exact("Ea+")
        meter.count(more)
        ((offset, data),) = [w for w in meter.writes() if w[0] < 2 * PAGE]
        for cut in range(0, len(data), 16):
            torn = bytearray(disk)
            torn[offset : offset + cut] = data[:cut]
            assert Meter.load(bytes(torn)).exact("Ea+") in (old, meter.exact("Ea+"))
        disk[offset : offset + len(data)] = data


@pytest.mark.parametrize("page", MemoryPage)
@pytest.mark.parametrize("byte", [0, 4, 8, 20, 100, PAGE - 1])
def test_one_damaged_copy_does_no_harm(page: MemoryPage, byte: int) -> None:
    meter = lived()
    image = bytearray(meter.save())
    image[page * 2 * PAGE + byte] ^= 0x40
    again = Meter.load(bytes(image))
    assert again.exact("Ea+") == meter.exact("Ea+")
    assert not again.state.malfunction


def test_settings_that_were_in_force_are_lost_and_not_those_before_them() -> None:
    """The newest copy is damaged long after it was synced: the one before has another CT ratio."""
    disk = bytearray(Meter(E44, ct_primary=50).save())
    meter = Meter.load(bytes(disk))
    for rounds in (1, 3):
        for _ in range(rounds):
            for offset, data in meter.writes():
                disk[offset : offset + len(data)] = data
        meter.apply([SetSetting("ct_primary", 200)])
    copies = []
    for at in (2 * PAGE, 3 * PAGE):
        image = bytearray(disk)
        image[at + 100] ^= 1
        copies.append(Meter.load(bytes(image)))
    assert sorted(str(one["ct_primary"]) for one in copies) == ["200", "None"]
    assert [one.state.malfunction for one in copies].count(True) == 1


def damaged(*pages: MemoryPage) -> Meter:
    """A meter that lived, of whose memory both copies of pages are damaged."""
    image = bytearray(lived().save())
    for page in pages:
        for copy in (0, 1):
            image[(page * 2 + copy) * PAGE + 100] ^= 0x40
    return Meter.load(bytes(image), model=E43)


def test_counters_that_are_lost_read_as_not_available() -> None:
    meter = damaged(MemoryPage.HOT)
    meter.feed(three_phase(230, 1.0), seconds=3)
    assert meter.state.malfunction
    assert meter["Ea+"] is meter["par.Ea+"] is meter["demand.P"] is meter["roll.Ea+"] is None
    assert meter["V1"] is not None
    assert meter["ct_primary"] == lived()["ct_primary"]
    assert meter.pdu(pdu.read_request(50780, 4))[2:] == b"\xff" * 8
    counted = [row for row in ROWS if row.symbol in COUNTED_COLUMN or row.symbol.startswith("roll.")]
    for row in counted:
        said = meter.pdu(pdu.read_request(row.address, row.words))
        none = {"U8": b"\0\xff", "S": b"\x7f" + b"\xff" * (2 * row.words - 1)}
        assert said[2:] == none.get(str(row.type), none.get(str(row.type)[0], b"\xff" * 2 * row.words)), row
    assert "--------" in meter.lcd
    assert meter.front.lcd.signs >= {"fault"}


def test_settings_that_are_lost_read_as_not_available_and_the_counters_stay() -> None:
    meter, before = damaged(MemoryPage.SETTINGS), lived()
    meter.feed(three_phase(230, 1.0), seconds=3)
    assert meter.state.malfunction
    assert meter.model is E43
    assert meter["ct_primary"] is meter["address"] is None
    assert meter["I1"] is meter["P"] is None
    assert meter["V1"] == pytest.approx(230, abs=0.1)
    assert meter.exact("Ea+") == before.exact("Ea+")
    assert meter.pdu(pdu.read_request(57346, 1))[2:] == b"\xff" * 2


@pytest.mark.parametrize("page", MemoryPage)
def test_a_meter_that_lost_a_page_neither_counts_nor_writes_nor_takes_commands(page: MemoryPage) -> None:
    meter = damaged(page)
    before = meter.state.row.copy()
    meter.count(Measurement.of(meter.model, seconds=7.0, v=[230.0] * 3, i=[1.0] * 3, p=[200.0] * 3, q=[10.0] * 3))
    assert (meter.state.row[Layout.counters] == before[Layout.counters]).all()
    assert meter.writes() == []
    refusal = meter.apply([ResetPartials(("par.Ea+",))])
    assert refusal is not None
    assert str(refusal.error) == "the memory is damaged (allowed: another memory)"
    assert meter.pdu(bytes.fromhex("06 9E21 0002")) == b"\x86\x01"


def test_a_memory_without_a_whole_page_is_refused() -> None:
    with pytest.raises(MemoryImageError, match="no page of it is whole"):
        damaged(*MemoryPage)


def test_a_newer_version_is_refused() -> None:
    image = bytearray(lived().save())
    struct.pack_into("<H", image, 4, VERSION + 1)
    struct.pack_into("<I", image, PAGE - 4, zlib.crc32(image[: PAGE - 4]))
    with pytest.raises(MemoryImageError, match=rf"version {VERSION + 1} \(allowed: up to {VERSION}\)"):
        Meter.load(bytes(image))
    with pytest.raises(MemoryImageError, match=f"version {VERSION + 1}"):
        Meter.load(bytes(image) + bytes(4096))


def test_the_layout_is_what_its_version_says() -> None:
    """Memories of these sizes exist: whoever moves a symbol or a ring makes them unreadable."""
    assert LAYOUTS == {1: (90112, 264), 2: (122880, 266)}
    assert max(LAYOUTS) == VERSION
    assert len(Meter().save()) == 122880
    assert (PAGE, RING_OFFSET, LOG_OFFSET, IMAGE_SIZE) == (4096, 16384, 90112, 122880)
    assert [hot_write(n, Meter().state.row)[0] for n in (0, 1, 2)] == [0, 4096, 0]
    assert [page_write(MemoryPage.SETTINGS, n, b"")[0] for n in (0, 1, 2)] == [8192, 12288, 8192]
    record, entry = Record(0, 900, False, 0), Entry(0, EventKind.POWER, Origin.METER, "on")
    for number, place in ((0, 0), (1, 1), (4607, 4607), (4608, 0)):
        offset, data = record_write(number, record)
        assert (offset, len(data)) == (16384 + 16 * place, 16)
    for number, place in ((0, 0), (1, 1), (511, 511), (512, 0)):
        offset, data = entry_write(number, entry)
        assert (offset, len(data)) == (90112 + 64 * place, 64)


def test_the_row_holds_each_symbol_where_it_always_was() -> None:
    """The order of COUNTED, and of what the meter alone knows behind it, is a file format."""
    at = {"Ea+.L1": 0, "Ea+": 15, "Ea+.T1": 16, "Eap.T4": 179, "par.Ea+": 180, "par.Ea-.T4": 192, "net.Ea": 193,
          "net.Er": 194, "hours.T1": 195, "day.Ea+": 199, "month-1.Ea-": 210, "demand.P": 211, "tariff": 213}
    assert {symbol: COUNTED_COLUMN[symbol] for symbol in at} == at
    assert (COUNTED[0].symbol, COUNTED[-1].symbol, len(COUNTED)) == ("Ea+.L1", "tariff", 214)
    assert (Layout.remainders, Layout.running) == (slice(214, 235), slice(235, 248))
    assert Layout.period_ids == slice(248, 251)
    assert (Layout.demand_id, Layout.demand_energy, Layout.demand_ns, Layout.demand_broken) == (251, 252, 253, 254)
    assert (Layout.pulse_pending, Layout.pulses, Layout.pulse_end) == (255, 256, 257)
    assert (Layout.led_pending, Layout.flashes, Layout.time, Layout.clock_zero) == (258, 259, 260, 261)
    assert (Layout.tariff_input, Layout.records, Layout.events, Layout.settings_page) == (262, 263, 264, 265)


MEMORIES = Path(__file__).parent / "memories"


@pytest.mark.parametrize("version", range(1, VERSION))
def test_every_earlier_layout_is_read_and_written_anew(version: int) -> None:
    """The image was written by the program of its time, and read by it: the numbers beside it."""
    old = gzip.decompress((MEMORIES / f"v{version}.fram.gz").read_bytes())
    was = json.loads((MEMORIES / f"v{version}.json").read_text())
    loaded = Meter.load(old)
    assert loaded.store.version == version
    for meter in (loaded, Meter.load(loaded.save())):
        assert {symbol: meter.exact(symbol) for symbol in was["exact"]} == was["exact"]
        assert dict(meter.settings) == was["settings"]
        assert meter.state.curve.ring[: len(was["records"])].tolist() == was["records"]
        assert meter.state.row[Layout.running].tolist() == was["running"]
        assert meter.state.row[Layout.remainders].tolist() == was["remainders"]
        assert meter.clock == was["clock"]
    assert Meter.load(loaded.save()).store.version == VERSION


@pytest.mark.parametrize("image", [b"", b"CTIS", bytes(IMAGE_SIZE), b"x" * (IMAGE_SIZE - 1), b"\xff" * IMAGE_SIZE])
def test_what_is_no_memory_is_refused(image: bytes) -> None:
    with pytest.raises(MemoryImageError):
        Meter.load(image)


def test_a_damaged_record_reads_as_not_available() -> None:
    meter = lived()
    image = bytearray(meter.save())
    image[RING_OFFSET + 3 * 16 + 5] ^= 1
    again = Meter.load(bytes(image))
    assert again.state.curve.record(3).mean_mw == -1
    assert again.state.curve.record(3).incomplete
    assert again.state.curve.record(4) == meter.state.curve.record(4)
    assert CAPACITY * 16 + RING_OFFSET == LOG_OFFSET


@pytest.mark.parametrize("wrong", ["ct_primary", "nonsense"])
def test_settings_that_cannot_be_are_refused(wrong: str) -> None:
    meter = Meter(E44)
    meter.state.settings[wrong] = 99_999
    with pytest.raises(MemoryImageError, match="settings page"):
        Meter.load(meter.save())


@pytest.mark.parametrize(("column", "value"), [
    (Layout.tariff, 0), (Layout.tariff, 5), (Layout.tariff, 1 << 48), (Layout.tariff_input, 3), (Layout.running.start, 2),
    (Layout.counters.start, -1), (Layout.records, 1 << 41), (Layout.events, -1), (Layout.net_ea, (1 << 63) - 1),
    (Layout.time, -5), (Layout.pulse_pending, 1 << 40), (Layout.led_pending, -1),
])  # fmt: skip
def test_a_row_that_no_meter_has_is_refused_whatever_its_crc(column: int, value: int) -> None:
    meter = lived()
    offset, page = hot_write(7, np.where(np.arange(Layout.size) == column, value, meter.state.row))
    image = bytearray(meter.save())
    image[:PAGE] = bytes(PAGE)
    image[offset : offset + PAGE] = page
    with pytest.raises(MemoryImageError, match="hot page: holds what no meter counts"):
        Meter.load(bytes(image))
