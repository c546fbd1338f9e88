"""Any keys for any time, power cuts, seals: every frame is legal, only Y and the partials' own keys change what is kept.

And nobody gets lost: from any state, whoever reads the LCD finds back to the first page without changing anything.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

from countis import E43, E44, Key, Meter, SetSetting
from countis.meter.energy.registers import Layout
from countis.meter.panel.draw import draw
from countis.meter.panel.frame import GLYPHS, SIGNS, UNITS, ZONES, LcdFrame, places
from countis.meter.panel.machine import Press, Release
from countis.models import Model
from countis.supply import Supply, three_phase
from countis.words.quantities import COUNTED_COLUMN, PARTIALS
from hypothesis import given, settings
from hypothesis import strategies as st

SECOND = 1_000_000_000
RATE = 800  # the least that a meter takes
GUARDED = ("ct_primary", "ct_secondary", "tariff_control")
BY_SETUP = {"SEtuP.1": set(GUARDED), "SEtuP.2": {"address", "baud", "parity", "stop_bits"}}
PARTIAL_COLUMNS = [COUNTED_COLUMN[symbol] for symbol in PARTIALS]
TOTAL_COLUMNS = [column for symbol, column in COUNTED_COLUMN.items() if symbol.startswith("E")]
MENU = re.compile(r"Tar\.[1-4]|tot|Par\.b|rt|inFo|SEtuP\.[12]")
SECOND_FIELD = re.compile(
    r"(Addr|bAud|Prty|StoP|rES|FSA|CtP|tAr|EXit|rEL1|rEL2|CS1|CS2|port)?( ?(L1|L2|L3|Σ))?( ?(L12 23 31|L1 2 3))?( ?[→←])?"
    r"( ?(Ea|Er|Eap))?( ?(ind|cap))?( ?par\*?)?( ?bal)?( ?T[1-4])?"
)
THIRD_FIELD = re.compile(
    r"(-?\d*\.?\d+( (kWh|MWh|kvarh|Mvarh|kVAh|MVAh|kW|MW|kvar|Mvar|kVA|MVA|V|A|kA|PF|Hz))?"
    r"|---- ?(kW|kvar|kVA|V|A|PF|Hz)|\d\.\d\.\d|[\dACEFbd]{8}|rS485|ConF\?|n|o|E|COM|diG|Y|N|C)?"
)
FOURTH_FIELD = re.compile(r"(123|132|!)?( ?T[234])?( ?com)?( ?pulse)?( ?fault)?")


def check_frame(frame: LcdFrame, powered: bool) -> None:
    """Known words in their order, characters that have a glyph, eight places; blank if and only if without power."""
    assert bool(frame.text) == bool(frame.segments) == powered
    if not powered:
        assert frame == LcdFrame()
        return
    assert frame.signs <= set(SIGNS)
    assert set(frame.units) <= set(UNITS)
    for zone, width in ZONES.items():
        written = places(getattr(frame, zone))
        assert len(written) <= width
        assert all(char in GLYPHS for char, _ in written)
    assert set(frame.flashes) <= set(frame.segments)
    assert len(set(frame.segments)) == len(frame.segments)
    if frame.test:
        return
    assert len(frame.units) <= 1
    fields = [field.strip() for field in frame.text.split("|")]
    for form, field in zip((MENU, SECOND_FIELD, THIRD_FIELD, FOURTH_FIELD), [*fields, *[""] * (4 - len(fields))], strict=True):
        assert form.fullmatch(field), (field, frame.text)


class Walk:
    """A meter and someone at its keys. Line time is ours; meter time passes only in `supply`."""

    def __init__(self, model: Model, ct_primary: int, sealed: int) -> None:
        self.meter = Meter(model, rate=RATE, ct_primary=ct_primary, sealed=sealed if model is E44 else 0)
        self.now = 7 * SECOND
        self.down = self.chord = Key(0)
        self.spent = False
        self.forgotten = Key(0)  # held, but went down before power came
        self.since = self.now
        self.alive, self.dead = three_phase(i=5, rate=RATE), three_phase(v=(0, 230, 230), i=5, rate=RATE)
        self.seen: set[str] = set()
        self.supply(self.alive, 3)

    def look(self) -> LcdFrame:
        frame = self.meter.front.frame(self.now)
        check_frame(frame, self.meter.powered)
        assert not (frame.menu == "SEtuP.1" and self.meter["sealed"])
        self.seen |= {"test"} if frame.test else {frame.menu, frame.code}
        return frame

    def behind(self) -> LcdFrame:
        """What would be shown if there were no display test."""
        return draw(replace(self.meter.front.panel, test_until=-1), self.meter.state, self.now)

    def kept(self) -> tuple[dict[str, object], list[int], list[int], bytes]:
        """Settings, partials, which of them run, and everything else that is counted."""
        row = self.meter.state.row.copy()
        partials, running = row[PARTIAL_COLUMNS].tolist(), row[Layout.running].tolist()
        row[PARTIAL_COLUMNS] = row[Layout.running] = row[Layout.events] = 0
        return dict(self.meter.settings), partials, running, row.tobytes()

    def totals(self) -> list[int]:
        return [int(value) for value in self.meter.state.row[TOTAL_COLUMNS]]

    def wait(self, ns: int) -> None:
        before = self.kept()
        self.now += ns
        self.look()
        assert self.kept() == before, "time alone changes nothing"

    def press(self, key: Key) -> None:
        if key in self.down | self.forgotten:
            return
        before = self.kept()
        self.meter.front.event(Press(key), self.now)
        if self.meter.powered:
            self.down |= key
            self.chord, self.since = Key(0) if self.spent else self.down, self.now
        else:
            self.forgotten |= key
        self.look()
        assert self.kept() == before, "what goes down has done nothing yet"

    def release(self, key: Key) -> None:
        if key not in self.down | self.forgotten:
            return
        self.look()
        shown, before, totals, sealed = self.behind(), self.kept(), self.totals(), self.meter["sealed"]
        self.meter.front.event(Release(key), self.now)
        if key in self.forgotten:
            assert self.kept() == before, "its press was never seen"
            self.forgotten &= ~key
            return
        assert self.totals() == totals, "no total ever, whatever is done"
        self.judge(shown, before, sealed == 1)
        self.down &= ~key
        self.chord, self.spent = Key(0), bool(self.down)  # what was held together has acted; nothing more until all are up
        self.look()

    def judge(self, shown: LcdFrame, before: tuple[dict[str, object], list[int], list[int], bytes], sealed: bool) -> None:
        """Only Y changes settings, and only those of its setup; only UP and ENTER on its page change a partial otherwise."""
        after = self.kept()
        changed = {symbol for symbol, value in after[0].items() if value != before[0][symbol]}
        reset = [symbol for symbol, old, new in zip(PARTIALS, before[1], after[1], strict=True) if old != new]
        turned = [symbol for symbol, old, new in zip(PARTIALS, before[2], after[2], strict=True) if old != new]
        assert all(after[1][list(PARTIALS).index(symbol)] == 0 for symbol in reset)
        if (shown.code, shown.digits) == ("EXit", "Y") and self.chord == Key.ENTER:
            assert changed <= BY_SETUP[shown.menu]
            assert not (changed & set(GUARDED) and sealed)
            assert not turned
            assert not reset or shown.menu == "SEtuP.2"
            self.seen |= {"Y " + symbol for symbol in changed} | {"Y reset" for _ in reset}
            return
        assert not changed
        assert after[3] == before[3], "nothing else"
        held = self.now - self.since
        on_its_page = shown.menu == "Par.b" and "par" in shown.signs and self.chord == Key.UP | Key.ENTER
        assert len(turned) == (on_its_page and held < 3 * SECOND)
        assert len(reset) <= (on_its_page and 3 * SECOND <= held < 10 * SECOND)
        self.seen |= {"stop or start" for _ in turned} | {"begin again" for _ in reset}

    def tap(self, key: Key, ns: int = SECOND // 10, parts: int = 1) -> None:
        """Hold a key or several for a time that passes in parts, then let go."""
        for one in key:
            self.press(one)
        for _ in range(parts):
            self.wait(ns // parts)
        for one in key:
            self.release(one)
        self.wait(SECOND // 10)

    def open_setup(self, number: int, pages: int) -> None:
        """From the first page into a setup, and on by some pages."""
        if number == 2:
            for _ in range(8):
                self.tap(Key.ENTER)
        self.tap(Key.SET if number == 1 else Key.ENTER, 3 * SECOND)
        for _ in range(pages):
            self.tap(Key.ENTER)

    def edit(self, ups: int, enters: int) -> None:
        for key in [Key.UP] * ups + [Key.ENTER] * enters:
            self.tap(key)

    def leave(self) -> None:
        """Out of a setup, by what is offered first: Y."""
        self.let_go()
        self.tap(Key.ENTER, 3 * SECOND)
        self.tap(Key.ENTER)

    def let_go(self) -> None:
        for one in Key.SET | Key.UP | Key.ENTER:
            self.release(one)

    def supply(self, source: Supply, seconds: float) -> None:
        """Let the supply run; without power the keys are forgotten."""
        self.look() if self.meter.powered else None
        before = dict(self.meter.settings)
        self.meter.feed(source, seconds=seconds)
        self.meter.set_rate(RATE)  # closes the window; else a Y that changes the CT counts what flowed before it
        self.now += round(seconds * SECOND)
        self.look()
        if not self.meter.powered:
            self.forgotten |= self.down
            self.down, self.chord, self.spent = Key(0), Key(0), False
            self.seen.add("dark")
        assert self.meter.settings == before

    def seal(self, sealed: int) -> None:
        """Close or break the seal; an E43 has none."""
        refusal = self.meter.apply([SetSetting("sealed", sealed)])
        assert (refusal is None) == (self.meter.model is E44 or sealed == 0)
        self.look()
        self.seen.add(f"seal {self.meter['sealed']}")

    def find_back(self) -> None:
        """Read the LCD and press what it asks for, until the first page is there; on the way nothing is changed."""
        self.let_go()
        self.supply(self.alive, 4)
        before = self.kept()
        self.wait(4 * SECOND)  # a display test ends
        for _ in range(20):
            frame = self.look()
            if frame.text.startswith("Tar.1 | Σ → Ea T1 |"):
                assert self.kept() == before
                return
            if frame.code == "EXit":
                self.tap(Key.ENTER if frame.digits == "N" else Key.UP)
            elif "setup" in frame.signs:
                self.tap(Key.ENTER, 3 * SECOND)
            else:
                self.tap(Key.ENTER)
        raise AssertionError(f"lost at {frame.text}")


MODELS = st.sampled_from(["E43", "E44"])
KEYS = st.sampled_from([Key.SET, Key.UP, Key.ENTER])
CHORDS = st.sampled_from([Key.UP | Key.ENTER] * 4 + [Key.SET | Key.UP, Key.SET | Key.ENTER, Key.SET | Key.UP | Key.ENTER])
TIMES = st.one_of(
    st.sampled_from([0.1, 0.1, 0.1, 3, 3, 10]).map(lambda s: round(s * SECOND)),
    st.sampled_from([2.9, 2.999_999_999, 9.9, 9.999_999_999, 0]).map(lambda s: round(s * SECOND)),
    st.integers(0, 13 * SECOND),
)
GESTURES = st.sampled_from([0.1, 2.9, 3, 9.9, 10, 12]).map(lambda s: round(s * SECOND))
PARTS = st.sampled_from([1, 1, 2, 7, 30])
Step = Callable[[Walk], object]
STARTS: st.SearchStrategy[Step] = st.one_of(
    st.builds(lambda n: lambda walk: [walk.tap(Key.ENTER) for _ in range(n)], st.integers(0, 8)),
    st.builds(lambda n: lambda walk: [walk.tap(key) for key in [Key.ENTER] * 5 + [Key.UP] * n], st.integers(0, 14)),
    st.builds(lambda n: lambda walk: walk.open_setup(1, n), st.integers(0, 6)),
    st.builds(lambda n: lambda walk: walk.open_setup(2, n), st.integers(0, 18)),
)
STEPS: st.SearchStrategy[Step] = st.one_of(
    st.builds(lambda key: lambda walk: walk.press(key), KEYS),
    st.builds(lambda key: lambda walk: walk.release(key), KEYS),
    st.builds(lambda ns: lambda walk: walk.wait(ns), TIMES),
    st.builds(lambda key, n: lambda walk: [walk.tap(key) for _ in range(n)], KEYS, st.integers(1, 9)),
    st.builds(lambda key, ns, parts: lambda walk: walk.tap(key, ns, parts), CHORDS, TIMES, PARTS),
    st.builds(lambda key, parts: lambda walk: walk.tap(key, 3 * SECOND, parts), KEYS, PARTS),
    st.just(lambda walk: walk.let_go()),
    *[st.builds(lambda n, m: lambda walk: walk.edit(n, m), st.integers(1, 9), st.integers(1, 5))] * 3,
    st.builds(lambda m: lambda walk: [walk.edit(1, m), walk.leave()], st.integers(1, 5)),
    *[st.just(lambda walk: walk.leave())] * 2,
    *[st.builds(lambda start: lambda walk: [walk.find_back(), start(walk)], STARTS)] * 2,
    st.builds(lambda ns, parts: lambda walk: [walk.let_go(), walk.tap(Key.UP | Key.ENTER, ns, parts)], GESTURES, PARTS),
    st.builds(lambda s: lambda walk: walk.supply(walk.alive, s), st.sampled_from([0.1, 1, 3])),
    st.builds(lambda s: lambda walk: walk.supply(walk.dead, s), st.sampled_from([0.3, 2])),
    st.builds(lambda sealed: lambda walk: walk.seal(sealed), st.integers(0, 1)),
)
MODEL = {"E43": E43, "E44": E44}
MUST_BE_SEEN = {
    *("Tar.1", "Tar.2", "Tar.3", "Tar.4", "tot", "Par.b", "rt", "inFo", "SEtuP.1", "SEtuP.2"),
    *("Addr", "bAud", "Prty", "StoP", "rES", "FSA", "CtP", "tAr", "EXit", "CS1"),
    *("test", "dark", "seal 0", "seal 1", "stop or start", "begin again", "Y reset"),
}


def test_any_walk_is_legal_and_finds_back() -> None:
    seen: set[str] = set()

    @given(MODELS, st.sampled_from([5, 200, 12_000]), st.integers(0, 1), STARTS, st.lists(STEPS, min_size=5, max_size=30))
    @settings(max_examples=250)
    def walks(model: str, ct_primary: int, sealed: int, start: Step, steps: list[Step]) -> None:
        walk = Walk(MODEL[model], ct_primary, sealed)
        for one in (start, *steps):
            one(walk)
        walk.find_back()
        seen.update(walk.seen)

    walks()
    assert seen >= MUST_BE_SEEN, "the walks do not reach everything"
    assert all(seen & {f"Y {symbol}" for symbol in symbols} for symbols in BY_SETUP.values())
