"""The whole meter against a naive model of the decisions, step by step: equal to the last µWh, nanosecond and register word."""

from __future__ import annotations

import math
import random
import struct
from collections import Counter, defaultdict
from datetime import date, datetime, timedelta
from fractions import Fraction

from countis import (
    E43,
    Measurement,
    Meter,
    ResetPartials,
    SelectTariff,
    SetClock,
    SetSetting,
    StartPartial,
    StopPartial,
)
from countis.meter.energy.load_curve import RecordWritten
from countis.meter.meter import Event
from countis.words.commands import Reason, SetTariffInput
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from trains import begins

SECOND = 10**9
DAY = 86400 * SECOND
SCOPES = ("L1", "L2", "L3", "Σ")
KINDS = ("Ea+", "Ea-", "Er+", "Er-", "Eap", "Er+ind", "Er-ind", "Er+cap", "Er-cap")  # as in the blocks with residuals
FIVE = ("Ea+", "Er+", "Eap", "Ea-", "Er-")  # as in the blocks of totals and partials, and in the bits of 57890
PARTIALS = tuple(f"par.{k}" for k in FIVE) + tuple(f"par.{k}.T{t}" for k in ("Ea+", "Ea-") for t in (1, 2, 3, 4))
WEIGHTS = ((1, 1), (5, 5), (25, 25), (125, 125), (625, 1000), (3125, 10000))  # manual §13
ROLLS = ("Ea+", "Er+", "Ea-", "Er-", "Eap", "Ea+.T1", "Ea+.T2", "Ea+.T3", "Ea+.T4")
TURNING = tuple(f"{p}{a}.{e}" for p in ("day", "week", "month") for a in ("-1", "") for e in ("Ea+", "Ea-"))
COUNTERS = tuple(
    f"{k}{'' if s == 'Σ' else '.' + s}{t}" for k in KINDS for s in SCOPES for t in ("", ".T1", ".T2", ".T3", ".T4")
)


class Model:
    """What the decisions say, in the plainest words."""

    def __init__(self, control: str, prim: int, sec: int) -> None:
        self.n: Counter[str] = Counter()  # every counter, partial, balance and period, µWh; hours in ns
        self.rest: defaultdict[str, int] = defaultdict(int)  # remainders in 2^-30 µWh
        self.prim, self.sec, self.control, self.demand = prim, sec, control, 900
        self.tariff = self.input = 1
        self.stopped: set[str] = set()
        self.clock = 0  # ns since Saturday 2000-01-01
        self.turned = self.days()
        self.pending = 0  # µWh that no pulse has shown yet
        self.led = Fraction(0)  # flashes not yet shown
        self.ran, self.imported, self.at = 0, 0, 0  # the running record: ns, µWh, which period of the clock
        self.broken = -1  # the period of the clock in which the power was cut or away
        self.records: list[tuple[int, int, bool, Fraction]] = []  # time, period, incomplete, mean in secondary mW

    def count(self, ns: int, p: list[float], q: list[float], s: list[float]) -> tuple[int, int]:
        """Count a window; return how many pulses and flashes it brings."""
        self.clock += ns
        self.turn(1)  # a window that ends on the stroke belongs to the period that ends (0049)
        d = self.increments(ns, p, q, s)
        for (kind, scope), units in d.items():
            for tariff in ("", f".T{self.tariff}"):
                self.n[f"{kind}{'' if scope == 'Σ' else '.' + scope}{tariff}"] += units
                partial = f"par.{kind}{tariff}"
                if scope == "Σ" and partial in PARTIALS and partial not in self.stopped:
                    self.n[partial] += units
        for kind in ("Ea", "Er"):
            self.n[f"net.{kind}"] = self.n[f"{kind}+"] - self.n[f"{kind}-"]
        self.n[f"hours.T{self.tariff}"] += ns
        into, out = d["Ea+", "Σ"], d["Ea-", "Σ"]
        for period in ("day", "week", "month"):
            self.n[f"{period}.Ea+"] += into
            self.n[f"{period}.Ea-"] += out
        self.turn(0)
        self.step_record(1)
        self.ran, self.imported, self.at = self.ran + ns, self.imported + into, (self.clock - 1) // self.length
        self.step_record(0)
        weight = max(w for lowest, w in WEIGHTS if lowest <= max(1, self.prim // self.sec)) * 10**6
        # a lighter pulse after a CT change may already be due; no decision says when: the next import brings it
        pulses, self.pending = divmod(self.pending + into, weight) if into else (0, self.pending)
        flashes, self.led = divmod(self.led + Fraction((into + out) * self.sec, self.prim * 10**6), 1)
        return pulses, int(flashes)

    def increments(self, ns: int, p: list[float], q: list[float], s: list[float]) -> dict[tuple[str, str], int]:
        """Return what each kind and scope gains; remainders by phase and direction (0047), Σ from integers (8)."""
        scale = ns * (self.prim / self.sec) / 3.6e6
        d: Counter[tuple[str, str]] = Counter()
        for k, scope in enumerate(SCOPES[:3]):
            if math.sqrt(p[k] ** 2 + q[k] ** 2) >= 0.1:  # one decision for all kinds of a phase (30, 0048)
                for kind, power in (("Ea+" if p[k] >= 0 else "Ea-", p[k]), (quadrant(p[k], q[k]), q[k]), ("Eap", s[k])):
                    energy = abs(power) * scale
                    whole = math.floor(energy)
                    units, part = divmod(self.rest[kind + scope] + round((energy - whole) * 2**30), 2**30)
                    self.rest[kind + scope] = part
                    d[kind, scope] = whole + units
            d["Er+", scope] = d["Er+ind", scope] + d["Er+cap", scope]
            d["Er-", scope] = d["Er-ind", scope] + d["Er-cap", scope]
        active, reactive = (sum(d[f"{e}+", x] - d[f"{e}-", x] for x in SCOPES[:3]) for e in ("Ea", "Er"))
        d["Ea+" if active >= 0 else "Ea-", "Σ"] = abs(active)
        d["Er+" if reactive >= 0 else "Er-", "Σ"] = d[quadrant(active, reactive), "Σ"] = abs(reactive)
        d["Eap", "Σ"] = sum(d["Eap", x] for x in SCOPES[:3])
        return d

    def days(self, before: int = 0) -> tuple[int, int, int]:
        """Return the number of the day, the week (from Monday) and the month of the clock, `before` ns ago."""
        day = (self.clock - before) // DAY
        on = date(2000, 1, 1) + timedelta(day)  # a Saturday
        return day, (day + 5) // 7, on.year * 12 + on.month

    def turn(self, before: int) -> None:
        """Begin a new day, week or month where the clock has come to one."""
        now = self.days(before)  # no decision speaks of leaps over several, or back: what was running becomes the last
        for period, old, new in zip(("day", "week", "month"), self.turned, now, strict=True):
            for kind in ("Ea+", "Ea-") if new != old else ():
                used, self.n[f"{period}.{kind}"] = self.n[f"{period}.{kind}"], 0
                self.n[f"{period}-1.{kind}"] = used
        self.turned = now

    @property
    def length(self) -> int:
        """Return the demand period in ns."""
        return self.demand * SECOND

    def step_record(self, before: int) -> None:
        """Close the running record where the clock has left its period."""
        here = (self.clock - before) // self.length
        if self.ran and here != self.at:  # a window that leaps over a whole period leaves no whole record, says the meter
            self.close((self.at + 1) * self.demand, cut=here > self.at + 1)

    def close(self, time: int, cut: bool) -> None:
        """Close the running record, if anything was counted in it (0050)."""
        if self.ran:
            incomplete = cut or self.broken == self.at or abs(self.ran - self.length) > SECOND // 2
            over = self.ran if incomplete else self.length
            mean = Fraction(self.imported * 3_600_000_000 * self.sec, over * self.prim)
            self.records.append((time, self.demand, incomplete, mean))
        if self.ran or cut:  # what broke this record does not break the next; a cut begins a record, even where none ran
            self.broken = -1
        self.ran = self.imported = 0

    def dark(self, ns: int) -> None:
        """Let time pass in which nothing is counted."""
        self.broken = self.at if self.ran else self.broken
        self.clock += ns
        self.turn(0)
        self.step_record(0)
        self.broken = self.here()

    def here(self) -> int:
        """Return the period that what happens now breaks: on the stroke, none."""
        return self.clock // self.length if self.clock % self.length else -1

    def power_cut(self) -> None:
        """Lose the power and find it again at the same clock."""
        self.broken = self.at if self.ran else self.clock // self.length

    def set_ct(self, prim: int, sec: int) -> None:
        """Wire other CTs: the record is cut, the registers stay (12)."""
        if (prim, sec) != (self.prim, self.sec):
            self.close(self.clock // SECOND, cut=True)
        self.prim, self.sec = prim, sec

    def set_demand(self, seconds: int) -> None:
        """Set the demand period."""
        if seconds != self.demand:
            self.close(self.clock // SECOND, cut=True)
            self.demand = seconds

    def set_clock(self, seconds: int) -> None:
        """Set the clock; up to a second moves no record."""
        moved = abs(seconds * SECOND - self.clock) > SECOND
        if moved:
            self.close(self.clock // SECOND, cut=True)
        self.clock = seconds * SECOND

    def follow(self) -> None:
        """Let the input choose the tariff, where it does."""
        self.tariff = self.input if self.control == "dig" else self.tariff

    def words(self) -> dict[int, int]:
        """Return every register that is modelled, as the words of the table."""
        out: dict[int, int] = {}

        def put(address: int, value: int, words: int = 2) -> None:
            for k in range(words):
                out[address + k] = value >> 16 * (words - 1 - k) & 0xFFFF

        def both(address: int, symbol: str) -> None:  # k-unit and residual, truncated toward zero (42)
            sign = -1 if self.n[symbol] < 0 else 1
            put(address, sign * (abs(self.n[symbol]) // 10**9))
            put(address + 2, sign * (abs(self.n[symbol]) % 10**9 // 10**5), 1)

        def k(address: int, symbol: str) -> None:
            put(address, self.n[symbol] // 10**9)

        def ten(address: int, symbol: str) -> None:
            put(address, self.n[symbol] // 10**7 % 10**9)

        by_tariff = ("Ea+", "Ea-", "Er+", "Er+ind", "Er+cap", "Er-", "Er-ind", "Er-cap", "Eap")
        for at, scope in zip((19840, 21888, 23936, 25984), ("L1", "L2", "L3", ""), strict=True):
            dot = f".{scope}" if scope else ""
            for row, kind in enumerate(KINDS):
                both(at + 3 + 3 * row, kind + dot)
            put(at + 384, self.tariff, 1)
            for row, kind in enumerate(by_tariff):
                for t in range(4):
                    k(at + 385 + 16 * row + 2 * t, f"{kind}{dot}.T{t + 1}")
        for t in range(4):
            both(32768 + 3 * t, f"par.Ea+.T{t + 1}")
            both(32792 + 3 * t, f"par.Ea-.T{t + 1}")
            for at, write in ((50850, k), (51202, ten)):
                write(at + 2 * t, f"Ea+.T{t + 1}")
                write(at + 16 + 2 * t, f"Er+.T{t + 1}")
                put(at + 32 + 2 * t, self.n[f"hours.T{t + 1}"] // 36_000_000_000)
        for row, kind in enumerate(FIVE):
            for at, write in ((50770, k), (50946, ten)):
                write(at + 2 * row, kind)
                write(at + 10 + 2 * row, f"par.{kind}")
        for row, symbol in enumerate(TURNING):
            k(36896 + 2 * row, symbol)
            ten(36928 + 2 * row, symbol)
        for row, symbol in enumerate(ROLLS):
            put(36866 + row, self.n[symbol] // 10**16 % 256, 1)
        for row, kind in enumerate(("Ea+", "Er+", "Ea-", "Er-")):
            put(51311 + row, self.n[kind] // 10**12, 1)
        both(33024, "net.Ea")
        both(33027, "net.Er")
        for at in (50848, 51200):
            put(at, 2 if self.control == "dig" else 4, 1)
            put(at + 1, self.tariff, 1)
        time = self.records[-1][0] if self.records else 0xFFFFFFFF  # not available before the first record (0057)
        for at, value in ((50826, time), (51002, time), (36864, 999_999_999)):
            put(at, value)
        for at, value in ((57344, 5), (57345, self.sec), (57346, self.prim), (57355, self.demand)):
            put(at, value, 1)
        return out


def quadrant(active: float, reactive: float) -> str:
    """Return the register of the quadrant: inductive in QI and QIII, capacitive in QII and QIV (7)."""
    return ("Er+" if reactive >= 0 else "Er-") + ("ind" if (active >= 0) == (reactive >= 0) else "cap")


POWER = st.one_of(
    st.floats(-1500, 1500), st.sampled_from([0.0, -0.0, 0.03, -0.07, 0.0999, 0.1001, -0.2, 230.0, 1000.0, -990.0])
)
POWERS = st.lists(POWER, min_size=3, max_size=3)
WINDOW = st.sampled_from([0.02, 0.18, 0.2, 0.2, 0.21, 0.4567, 1.0, 7.0, 59.6, 60.0, 299.5, 900.0, 900.4])
CT = st.sampled_from([(5, 5), (5, 1), (7, 5), (3, 5), (24, 1), (200, 5), (1000, 5), (12000, 5), (12000, 1)])
SYMBOLS = st.sampled_from(PARTIALS)


class Naive(RuleBasedStateMachine):
    """Does the same to a meter and to the model; after each step they are equal."""

    @initialize(control=st.sampled_from(["com", "dig"]), ct=CT)
    def begin(self, control: str, ct: tuple[int, int]) -> None:
        self.model = Model(control, *ct)
        self.meter = Meter(E43, tariff_control=control, ct_primary=ct[0], ct_secondary=ct[1])
        self.flashes = self.expected_flashes = 0
        self.slack = 0  # how many flashes may differ: a new CT rescales what the LED has pending
        self.written = 0
        self.random = random.Random(1)

    # time

    def count(self, seconds: float, p: list[float], q: list[float]) -> None:
        i = [math.hypot(a, b) / 230.0 for a, b in zip(p, q, strict=True)]
        window = Measurement.of(E43, seconds=seconds, v=[230.0] * 3, i=i, p=p, q=q)
        pulses, flashes = self.model.count(window.total_ns, p, q, [230.0 * a for a in i])
        events = self.meter.count(window)
        self.check_pulses(events, pulses, flashes)

    def check_pulses(self, events: list[Event], pulses: int, flashes: int) -> None:
        assert len(begins(events, "pulse")) == pulses
        self.flashes += len(begins(events, "led"))
        self.expected_flashes += flashes
        assert abs(self.flashes - self.expected_flashes) <= self.slack
        self.check_records(events)

    def check_records(self, events: list[Event]) -> None:
        """Compare records that were written; those cut by a command bring no event, so their place is counted."""
        for e in events:
            if isinstance(e, RecordWritten):
                time, period, incomplete, mean = self.model.records[e.number]
                assert (e.record.time, e.record.period, e.record.incomplete) == (time, period, incomplete), (e, mean)
                assert abs(e.record.mean_mw - mean) <= 1  # no decision says how it is rounded

    @rule(seconds=WINDOW, p=POWERS, q=POWERS)
    def count_any(self, seconds: float, p: list[float], q: list[float]) -> None:
        self.count(seconds, p, q)

    @rule(seconds=WINDOW, p=POWERS, times=st.integers(2, 5))
    def count_some(self, seconds: float, p: list[float], times: int) -> None:
        """Windows that are handed over at once."""
        i = [abs(a) / 230.0 for a in p]
        window = Measurement.of(E43, seconds=[seconds] * times, v=[230.0] * 3, i=i, p=p, q=[0.0] * 3)
        made = [self.model.count(int(ns), p, [0.0] * 3, [230.0 * a for a in i]) for ns in window.ns]
        events = self.meter.count(window)
        self.check_pulses(events, sum(pulses for pulses, _ in made), sum(flashes for _, flashes in made))
        self.check_records(events)

    @rule(days=st.sampled_from([0.5, 1.0, 3.0, 14.0]), q=st.sampled_from([1500.0, -1500.0]), a=st.sampled_from([0.0, 700.0]))
    def count_days(self, days: float, q: float, a: float) -> None:
        self.count(days * 86400, [a, -a, 0.0], [q, q, q / 3])  # Σ of P is zero: rolls over without a million pulses

    @rule(to=st.sampled_from([1, 0, -1]), p=POWERS, unit=st.sampled_from([0, 60, 3600, 86400]))
    def count_to_the_stroke(self, to: int, p: list[float], unit: int) -> None:
        """End a window a nanosecond before, at or after the stroke of a period."""
        length = (unit or self.model.demand) * SECOND
        ns = length - self.model.clock % length + to
        if 0 < ns <= 3600 * SECOND:
            self.count(ns / 1e9, p, [1.0] * 3)

    @rule(ns=st.one_of(st.integers(0, 4 * 3600 * SECOND), st.sampled_from([1, SECOND, DAY, 2 * DAY, 8 * DAY, 40 * DAY])))
    def be_dark(self, ns: int) -> None:
        if ns:
            self.model.dark(ns)
        self.check_records(self.meter.advance(ns))

    @rule()
    def be_dark_to_the_stroke(self) -> None:
        self.be_dark(self.model.length - self.model.clock % self.model.length)

    @rule()
    def cut_the_power(self) -> None:
        self.model.power_cut()
        self.meter = Meter.load(self.meter.save())

    # commands and the writes that are the same

    def write(self, address: int, words: list[int]) -> int:
        """Write with function 16; return the exception code, 0 where it was carried out."""
        reply = self.meter.pdu(struct.pack(f">BHHB{len(words)}H", 16, address, len(words), 2 * len(words), *words))
        assert len(reply) == (2 if reply[0] == 0x90 else 5)
        return reply[1] if reply[0] == 0x90 else 0

    @rule(tariff=st.integers(0, 5), bus=st.booleans())
    def select_tariff(self, tariff: int, bus: bool) -> None:
        state, value = self.model.control == "dig", not 1 <= tariff <= 4
        if bus:
            assert self.write(40481, [tariff]) == (1 if state else 3 if value else 0)
        else:
            refusal = self.meter.apply([SelectTariff(tariff)])
            assert (refusal and refusal.reason) == (Reason.STATE if state else Reason.VALUE if value else None)
        if not state and not value:
            self.model.tariff = tariff

    @rule(volts=st.sampled_from([0.0, 19.9, 20.0, 50.0, 79.9, 80.0, 230.0, 276.0]))
    def input_volts(self, volts: float) -> None:
        self.meter.apply([SetTariffInput(volts)])
        self.model.input = 1 if volts < 20 else 2 if volts >= 80 else self.model.input
        self.model.follow()

    @rule(control=st.sampled_from(["com", "dig"]))
    def control(self, control: str) -> None:
        assert self.meter.apply([SetSetting("tariff_control", control)]) is None
        self.model.control = control
        self.model.follow()

    @rule(ct=CT, bus=st.booleans())
    def change_ct(self, ct: tuple[int, int], bus: bool) -> None:
        if bus:
            assert self.write(57346, [ct[0]]) == 0
            ct = ct[0], self.model.sec
        else:
            assert self.meter.apply([SetSetting("ct_primary", ct[0]), SetSetting("ct_secondary", ct[1])]) is None
        self.slack = self.slack or int(ct[0] != self.model.prim)
        self.model.set_ct(*ct)

    @rule(value=st.sampled_from([0, 12001, 65535]))
    def refuse_ct(self, value: int) -> None:
        refusal = self.meter.apply([SetSetting("ct_secondary", 1), SetSetting("ct_primary", value)])
        assert refusal is not None
        assert self.write(57345, [1, value]) == 3  # not even the valid word before it (18)

    @rule(seconds=st.sampled_from([60, 300, 900, 3600]), bus=st.booleans())
    def change_demand_period(self, seconds: int, bus: bool) -> None:
        if bus:
            assert self.write(57355, [seconds]) == 0
        else:
            assert self.meter.apply([SetSetting("demand_period", seconds)]) is None
        self.model.set_demand(seconds)

    @rule(symbol=SYMBOLS, run=st.booleans())
    def start_or_stop(self, symbol: str, run: bool) -> None:
        assert self.meter.apply([StartPartial(symbol) if run else StopPartial(symbol)]) is None
        (self.model.stopped.discard if run else self.model.stopped.add)(symbol)

    @rule(symbols=st.lists(SYMBOLS, max_size=4))
    def reset(self, symbols: list[str]) -> None:
        assert self.meter.apply([ResetPartials(tuple(symbols))]) is None
        self.model.n.update({symbol: -self.model.n[symbol] for symbol in set(symbols)})

    @rule(bits=st.integers(0, 31), tariffs=st.sampled_from([0, 1, 2, 4, 8, 5, 15, 0xFFFF]), everything=st.booleans())
    def reset_by_bus(self, bits: int, tariffs: int, everything: bool) -> None:
        assert self.write(57890, [bits]) == 0
        assert self.write(57892, [tariffs]) == 0
        assert self.write(40512, [0x21 if everything else 0x01]) == 0
        gone = {f"par.{kind}" for k, kind in enumerate(FIVE) if bits >> k & 1}
        gone |= {s for s in PARTIALS if ".T" in s and tariffs >> int(s[-1]) - 1 & 1}
        self.model.n.update({symbol: -self.model.n[symbol] for symbol in (PARTIALS if everything else gone)})

    @rule(
        by=st.one_of(
            st.integers(-3, 3),
            st.integers(-(10**5), 10**5),
            st.sampled_from([-86400, 86400, -7 * 86400, 7 * 86400, 31 * 86400, 365 * 86400]),
        ),
        way=st.sampled_from(["command", "at once", "piece by piece"]),
    )
    def set_clock(self, by: int, way: str) -> None:
        seconds = max(0, self.model.clock // SECOND + by)
        if way == "command":
            assert self.meter.apply([SetClock(seconds)]) is None
        else:
            to = datetime(2000, 1, 1) + timedelta(seconds=seconds)
            words = [to.day, to.month, to.year, to.hour, to.minute, to.second]
            if way == "at once":
                assert self.write(57600, words) == 0
            for k, word in enumerate(words if way != "at once" else ()):
                assert self.meter.clock == self.model.clock // SECOND  # nothing before the second is written (40)
                assert len(self.meter.pdu(struct.pack(">BHH", 6, 57600 + k, word))) == 5
        self.model.set_clock(seconds)

    @rule(
        words=st.sampled_from([(30, 2, 2024, 0, 0, 0), (1, 13, 2024, 0, 0, 0), (1, 1, 2024, 24, 0, 0), (29, 2, 2023, 0, 0, 0)])
    )
    def refuse_clock(self, words: tuple[int, ...]) -> None:
        assert self.write(57600, list(words)) == 3

    # equality

    @invariant()
    def equal(self) -> None:
        model, meter = self.model, self.meter
        assert meter.clock == model.clock // SECOND
        assert (meter["tariff"], meter.state.ct, meter.state.period) == (model.tariff, (model.prim, model.sec), model.demand)
        hours = tuple(f"hours.T{t}" for t in (1, 2, 3, 4))
        for symbol in (*COUNTERS, *PARTIALS, "net.Ea", "net.Er", *hours, *TURNING):
            assert meter.exact(symbol) == model.n[symbol], symbol
        for symbol in ROLLS:
            assert meter.exact(f"roll.{symbol}") == model.n[symbol] // 10**16 % 256, symbol
        for symbol in PARTIALS:
            assert meter.state.runs(symbol) == (symbol not in model.stopped), symbol
        for number, (time, period, incomplete, mean) in enumerate(model.records[self.written :], self.written):
            record = meter.state.curve.record(number)
            assert (record.time, record.period, record.incomplete) == (time, period, incomplete), (number, record)
            assert abs(record.mean_mw - mean) <= 1
        self.written = len(model.records)
        assert meter.exact("demand.time") == (model.records[-1][0] if model.records else -1)

    @invariant()
    def equal_on_the_bus(self) -> None:
        words = self.model.words()
        for address in self.random.sample(sorted(words), 40):
            reply = self.meter.pdu(struct.pack(">BHH", 3, address, 1))
            assert reply == struct.pack(">BBH", 3, 2, words[address]), address


Naive.TestCase.settings = settings(max_examples=40, stateful_step_count=40, deadline=None, derandomize=True)
test_naive = Naive.TestCase
