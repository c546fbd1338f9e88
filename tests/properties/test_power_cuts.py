"""The power is cut while the memory is written: at any byte, in any sector, in any order within a sync round.

Each call of `meter.writes()` is one sync round. Whatever of it has landed, each page must be the old or the new one, no
counter lower than at the end of the round before, and each record of the load curve whole or marked lost.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

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
    StartPartial,
    StopPartial,
)
from countis.meter.energy.increment import Ints
from countis.meter.energy.load_curve import CAPACITY
from countis.meter.energy.registers import Layout
from countis.meter.memory import event_log
from countis.meter.memory import image as memory_module
from countis.meter.memory.image import LOG_OFFSET, PAGE, RING_OFFSET, MemoryPage, Write, stale_fragments
from countis.supply import three_phase
from countis.words.commands import Command, SetCalibration
from countis.words.errors import MemoryImageError
from countis.words.quantities import PARTIALS
from countis.words.settings import Calibration

QUICK, SLOW = 60, 1000  # random histories
POSITIONS = 64  # random cuts of each
LOST = (0, 0, 1, -1)  # what a lost record reads as: no time, no period, incomplete, mean not available
GROWS = np.r_[Layout.counters, Layout.hours]
HEAD_EDGES = (0, 1, 4, 6, 8, 16, 20)  # magic, version, page, sequence, length, payload
RECORD_EDGES = (0, 1, 4, 8, 10, 12, 15, 16)  # end, mean, period, incomplete, CRC
ENTRY_EDGES = (0, 1, 4, 5, 6, 8, 24, 40, 56, 60, 63, 64)  # time, kind, whence, subject, old, new, CRC
Entry = tuple[int, ...]


@dataclass(frozen=True)
class State:
    """What the two pages hold: the row as a loaded meter has it, and everything that was set."""

    row: Ints
    settings: tuple[object, ...]

    @classmethod
    def of(cls, meter: Meter) -> State:
        row = meter.state.row.copy()
        row[Layout.demand_broken] = 1  # what a load makes of it: the power was away
        row[Layout.settings_page] = 0  # the memory's own
        return cls(row, (meter.model, dict(meter.settings), meter.state.calibration))


@dataclass(frozen=True)
class Round:
    """One sync round: the disk before it, its writes, and what must be found before and after."""

    name: str
    disk: bytes
    writes: list[Write]
    old: State
    new: State
    records: dict[int, Entry]  # all that were ever closed, or were lost in an earlier cut
    log: dict[int, event_log.Entry | None]  # likewise of the event log

    @property
    def touched(self) -> set[int]:
        """Places of the ring that this round writes."""
        return {(offset - RING_OFFSET) // 16 for offset, _ in self.writes if RING_OFFSET <= offset < LOG_OFFSET}

    @property
    def noted(self) -> set[int]:
        """Places of the event log that this round writes."""
        return {(offset - LOG_OFFSET) // 64 for offset, _ in self.writes if offset >= LOG_OFFSET}


def landed(disk: bytes, parts: Sequence[Write], count: int, byte: int = 0) -> bytes:
    """The image when `count` parts have landed, and `byte` bytes of the next."""
    image = bytearray(disk)
    for offset, data in [*parts[:count], *((o, d[:byte]) for o, d in parts[count : count + 1])]:
        image[offset : offset + len(data)] = data
    return bytes(image)


def sectors(writes: Sequence[Write], size: int) -> list[Write]:
    """Writes as the parts of them that lie in one sector each."""
    out = []
    for offset, data in writes:
        ends = [*range(size - offset % size, len(data), size), len(data)]
        out += [(offset + a, data[a:b]) for a, b in zip([0, *ends], ends, strict=False)]
    return out


def check(made: Round, image: bytes, where: str) -> Meter:
    """Load what the cut has left; fail where it is neither old nor new."""
    place = f"{made.name}, {where}"
    try:
        meter = Meter.load(image)
    except MemoryImageError as error:
        raise AssertionError(f"{place}: refused, {error}") from error
    assert not meter.state.lost, f"{place}: refused, {meter.state.lost} lost"
    found = State.of(meter)
    assert any(np.array_equal(found.row, state.row) for state in (made.old, made.new)), f"{place}: a mixture of rows"
    assert found.settings in (made.old.settings, made.new.settings), f"{place}: a mixture of settings"
    assert (found.row[GROWS] >= made.old.row[GROWS]).all(), f"{place}: a counter went back"
    written = int(meter.state.row[Layout.records])
    for number in range(max(0, written - CAPACITY), written):
        record = tuple(meter.state.curve.ring[number % CAPACITY].tolist())
        lost = record == LOST and number % CAPACITY in made.touched
        assert lost or record == made.records[number], f"{place}: record {number} is {record}, not {made.records[number]}"
    for number, entry in meter.state.log.entries(int(meter.state.row[Layout.events])):
        lost = entry is None and number % event_log.CAPACITY in made.noted
        assert lost or entry == made.log[number], f"{place}: event {number} is {entry}, not {made.log[number]}"
    return meter


def check_whole(made: Round) -> None:
    """All has landed: nothing but the new may be found."""
    meter = check(made, landed(made.disk, made.writes, len(made.writes)), "whole")
    assert np.array_equal(State.of(meter).row, made.new.row), f"{made.name}: the new row is not there"
    assert State.of(meter).settings == made.new.settings, f"{made.name}: the new settings are not there"
    for number in range(max(0, int(meter.state.row[Layout.records]) - CAPACITY), int(meter.state.row[Layout.records])):
        record = tuple(meter.state.curve.ring[number % CAPACITY].tolist())
        assert record == made.records[number], f"{made.name}: record {number}"


class History:
    """A meter and its disk, from its birth on, through sync rounds and power cuts."""

    def __init__(self, name: str, meter: Meter) -> None:
        self.name, self.meter, self.disk = name, meter, meter.save()
        self.records: dict[int, Entry] = dict.fromkeys(range(int(meter.state.row[Layout.records])), (0,) * 4)
        self.state = State.of(meter)
        self.rounds: list[Round] = []
        self.log = dict(meter.state.log.entries(int(meter.state.row[Layout.events])))

    def sync(self) -> Round:
        """Write what has changed, in one round."""
        first, last = (int(row[Layout.records]) for row in (self.state.row, self.meter.state.row))
        for number in range(max(first, last - CAPACITY), last):
            self.records[number] = tuple(self.meter.state.curve.ring[number % CAPACITY].tolist())
        self.log |= dict(self.meter.state.log.entries(int(self.meter.state.row[Layout.events])))
        new = State.of(self.meter)
        name = f"{self.name}, round {len(self.rounds)}"
        made = Round(name, self.disk, self.meter.writes(), self.state, new, dict(self.records), dict(self.log))
        self.rounds.append(made)
        self.disk, self.state = landed(self.disk, made.writes, len(made.writes)), new
        return made

    def cut(self, image: bytes, where: str) -> None:
        """Lose the power in the last round, and start again from what has landed."""
        self.meter, self.disk = check(self.rounds[-1], image, where), cleaned(image)
        self.state = State.of(self.meter)
        for number in range(int(self.meter.state.row[Layout.records])):
            self.records[number] = tuple(self.meter.state.curve.ring[number % CAPACITY].tolist())
        self.log |= dict(self.meter.state.log.entries(int(self.meter.state.row[Layout.events])))


def cleaned(image: bytes) -> bytes:
    """A memory without what the cut has left, as a start makes it before anything else."""
    writes = [write for _, write in stale_fragments(image)]
    return landed(image, writes, len(writes))


def windows(meter: Meter, seconds: float, p: float, q: float, count: int = 1) -> None:
    volts, amperes = [230.0] * 3, [abs(p) / 230] * 3
    for _ in range(count):
        meter.count(Measurement.of(meter.model, seconds=seconds, v=volts, i=amperes, p=[p, -p / 3, p / 2], q=[q] * 3))


def one_history() -> History:
    """Fed, counted, set, reset, records closed: settings with the hot page, records with it, all three."""
    history = History("the history", Meter(E44, tariff_control="com", demand_period=60))
    meter = history.meter
    windows(meter, 13.0, 800, 90, 12)
    history.sync()
    meter.feed(three_phase(231.0, (1.0, 2.0, 3.0), 0.9), seconds=1.3)
    commands: list[Command] = [SetSetting("ct_primary", 250), SelectTariff(3), ResetPartials(("par.Ea+",)),
                               StopPartial("par.Eap")]  # fmt: skip
    assert meter.apply(commands) is None
    history.sync()
    windows(meter, 47.0, -900, 400, 4)
    assert meter.apply([SetSetting("serial_number", "2645123400042"), SetClock(777_777_777), ResetPartials(PARTIALS)]) is None
    history.sync()
    assert [len(r.writes) for r in history.rounds] == [4, 6, 8]
    return history


def command(chance: random.Random, meter: Meter) -> Command:
    """Any command that the meter takes."""
    factor = chance.uniform(0.9, 1.1)
    return chance.choice((
        SetSetting("ct_primary", chance.randint(1, 12000)), SetSetting("ct_secondary", chance.choice((1, 5))),
        SetSetting("address", chance.randint(1, 247)), SetSetting("demand_period", chance.choice((60, 120, 300))),
        SetSetting("serial_number", "".join(chance.choices("0123456789 {}\"\\:,", k=chance.randint(0, 16)))),
        SetSetting("product_id", chance.randint(0, 65535)), SelectTariff(chance.randint(1, 4)),
        SetClock(chance.choice((0, meter.clock + 1, meter.clock + 86400, 2**32 - 10**6))),
        ResetPartials(tuple(chance.sample(PARTIALS, chance.randint(1, 5)))), ResetPartials(PARTIALS),
        StopPartial(chance.choice(PARTIALS)), StartPartial(chance.choice(PARTIALS)),
        SetCalibration(Calibration(gain=(factor,) * 6, delay=(factor * 1e-5,) * 6)),
    ))  # fmt: skip


def live(chance: random.Random, meter: Meter) -> None:
    """Let something happen to a meter."""
    kind = chance.random()
    if kind < 0.5:
        seconds = chance.choice((0.2, 7.0, 20.0, 61.0))
        windows(meter, seconds, chance.uniform(-1e3, 1e3), chance.uniform(-1e3, 1e3), chance.randint(1, 5))
    elif kind < 0.9:
        assert meter.apply([command(chance, meter)]) is None
    elif kind < 0.95:
        meter.feed(three_phase(231.0, chance.uniform(0.1, 6.0), chance.uniform(-1.0, 1.0)), seconds=chance.uniform(0.01, 0.5))
    else:
        meter.advance(round(chance.choice((0.0, 5e9, 61e9))))


def edges(made: Round) -> Iterator[tuple[bytes, str]]:
    """In order, cut at every edge of a field: of heads, payload, CRC, and at the first and last byte of all."""
    for k, (offset, data) in enumerate(made.writes):
        length = int.from_bytes(data[16:20], "little")
        page = (*HEAD_EDGES, 20 + length - 1, 20 + length, *range(PAGE - 5, PAGE + 1))
        record = RECORD_EDGES if offset < LOG_OFFSET else ENTRY_EDGES
        for byte in page if offset < RING_OFFSET else record:
            yield landed(made.disk, made.writes, k, byte), f"write {k} cut at {byte}"


def accident(chance: random.Random, made: Round) -> tuple[bytes, str]:
    """Whole writes or sectors of 512 or 4096 bytes, in order or not, some of them landed, the last one in part."""
    size, shuffled = chance.choice((0, 512, PAGE)), chance.random() < 0.6
    parts = sectors(made.writes, size) if size else list(made.writes)
    if shuffled:
        chance.shuffle(parts)
    count = chance.randint(0, len(parts))
    byte = chance.randint(0, len(parts[count][1])) if count < len(parts) else 0
    where = f"{count} of {len(parts)} parts of {size or 'any'} bytes, {'shuffled' if shuffled else 'in order'}, and {byte}"
    return landed(made.disk, parts, count, byte), where


def at_any_byte(chance: random.Random, made: Round) -> tuple[bytes, str]:
    """In order, cut at one of all bytes of a round."""
    byte = chance.randrange(sum(len(data) for _, data in made.writes))
    for k, (_, data) in enumerate(made.writes):
        if byte < len(data):
            return landed(made.disk, made.writes, k, byte), f"write {k} cut at {byte}"
        byte -= len(data)
    raise AssertionError


def random_history(seed: int) -> History:
    """Some lives of a meter, each of some rounds and ended by an accident in the last of them."""
    chance = random.Random(seed)
    model = chance.choice((E43, E44))
    history = History(f"seed {seed}", Meter(model, tariff_control="com", demand_period=60))
    for life in range(chance.randint(1, 3)):
        if life:
            history.cut(*accident(chance, history.rounds[-1]))
        for _ in range(chance.randint(1, 3)):
            for _ in range(chance.randint(1, 4)):
                live(chance, history.meter)
            check_whole(history.sync())
    return history


def cuts_of(seeds: Iterable[int]) -> int:
    """Cut random histories everywhere that was promised; return how often."""
    return sum(map(cuts_of_one, seeds))


def cuts_of_one(seed: int) -> int:
    history, chance = random_history(seed), random.Random(seed + 10**6)
    cuts = [(made, *cut) for made in history.rounds for cut in edges(made)]
    for way in (at_any_byte, accident):
        for _ in range(POSITIONS):
            made = chance.choice(history.rounds)
            cuts.append((made, *way(chance, made)))
    for made, image, where in cuts:
        check(made, image, where)
    return len(cuts)


def test_every_byte_of_every_write() -> None:
    cuts = 0
    for made in one_history().rounds:
        check_whole(made)
        image = bytearray(made.disk)
        for k, (offset, data) in enumerate(made.writes):
            for byte, value in enumerate(data):
                image[offset + byte] = value
                check(made, bytes(image), f"write {k} cut behind byte {byte}")
            cuts += len(data)
    assert cuts == 6 * PAGE + 6 * 16 + 6 * 64  # both pages in each round, six records and six events


@pytest.mark.parametrize("size", [512, PAGE])
def test_every_order_of_sectors(size: int) -> None:
    """Sectors land one by one, forwards, backwards and shuffled: any subset of them may be there."""
    chance = random.Random(size)
    for made in one_history().rounds:
        parts = sectors(made.writes, size)
        assert len(parts) >= sum(1 if offset >= RING_OFFSET else PAGE // size for offset, _ in made.writes)
        for order in (parts, parts[::-1], *(chance.sample(parts, len(parts)) for _ in range(10))):
            for count in range(len(order) + 1):
                check(made, landed(made.disk, order, count), f"{count} sectors of {size}")


def test_random_histories() -> None:
    assert cuts_of(range(QUICK)) > QUICK * 2 * POSITIONS


@pytest.mark.slow
def test_a_thousand_random_histories() -> None:
    assert cuts_of(range(QUICK, QUICK + SLOW)) > SLOW * 2 * POSITIONS


def test_cuts_while_the_ring_begins_again() -> None:
    """The oldest records are overwritten by the newest: those are lost or whole, all others stay."""
    meter, chance = Meter(E44, demand_period=60), random.Random(7)
    meter.state.row[Layout.records] = CAPACITY - 2
    history = History("a full ring", meter)
    for _ in range(3):
        windows(meter, 61.0, 500, 20, 3)
        made = history.sync()
        check_whole(made)
        for _ in range(12):
            check(made, *accident(chance, made))
    assert meter.state.row[Layout.records] > CAPACITY + 3


def test_a_record_of_a_life_that_was_cut_is_not_taken_for_the_next() -> None:
    disk = Meter(E44, demand_period=60).save()
    meter = Meter.load(disk)
    windows(meter, 61.0, 500, 20, 2)
    (record,) = [write for write in meter.writes() if RING_OFFSET <= write[0] < LOG_OFFSET]
    ghost = landed(disk, [record], 1)  # its hot page did not land
    assert [name for name, _ in stale_fragments(ghost)] == ["records"]
    again = Meter.load(cleaned(ghost))
    windows(again, 61.0, 900, 20, 2)
    (hot,) = [write for write in again.writes() if write[0] < 2 * PAGE]
    found = Meter.load(landed(cleaned(ghost), [hot], 1))  # its record did not land
    assert tuple(found.state.curve.ring[0].tolist()) == LOST


def test_a_copy_of_a_life_that_was_cut_is_not_made_whole_by_the_next() -> None:
    disk = Meter(E44).save()
    meter = Meter.load(disk)
    meter.advance(5 * 10**9)
    first, *others = sectors([meter.writes()[-1]], 512)
    ghost = landed(disk, others, len(others))
    assert [name for name, _ in stale_fragments(ghost)] == ["hot"]
    again = Meter.load(cleaned(ghost))
    again.advance(9 * 10**9)
    same, *_ = sectors([again.writes()[-1]], 512)
    assert same == first  # the counters and the sequence number are the same
    assert Meter.load(landed(cleaned(ghost), [same], 1)).now == 0
    assert list(stale_fragments(meter.save())) == []


# the check itself must see what it is for


def _no_crc(data: bytes, page: MemoryPage) -> tuple[int, bytes]:
    _, _, _, sequence, length = memory_module._HEAD.unpack_from(data)
    return sequence, data[20 : 20 + length]


def _always_even(page: MemoryPage, sequence: int, payload: bytes) -> Write:
    offset, data = ORIGINAL(page, sequence, payload)
    return offset & ~PAGE, data


def _oldest(data: bytes, page: MemoryPage) -> tuple[int, bytes]:
    copies = [memory_module._read_copy(data[at : at + PAGE], page) for at in (page * 2 * PAGE, (page * 2 + 1) * PAGE)]
    return min(copy for copy in copies if copy is not None)


ORIGINAL = memory_module.page_write


@pytest.mark.parametrize(
    ("name", "fault", "seen"),
    [
        ("_read_copy", _no_crc, "mixture|refused"),
        ("page_write", _always_even, "refused|mixture|went back|new row is not there"),
        ("_read_page", _oldest, "went back|mixture|is not there"),
        ("_record_crc", lambda number, body: b"\0\0\0\0", "record"),
    ],
)
def test_a_memory_with_a_fault_is_seen(name: str, fault: object, seen: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_module, name, fault)
    with pytest.raises(AssertionError, match=seen):
        cuts_of(range(30))
