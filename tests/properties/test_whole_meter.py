"""A whole meter against the naive one: windows, samples, keys, both inputs of the bus, seal, clock and power cuts in any order.

After every step each register is what the naive meter shows, to the last count, and none is lower than at the last sync.
"""

from __future__ import annotations

import csv
import struct
from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from countis import Key, Measurement, Meter, SetClock, SetSetting, StartPartial, StopPartial
from countis.meter.metrology.measurement import Metrology
from countis.modbus import rtu
from countis.models import MODELS
from countis.supply import three_phase
from countis.words import commands as of_the_meter
from countis.words.commands import Reason, ResetPartials, SelectTariff, SetCalibration, SetTariffInput
from countis.words.quantities import COUNTED_COLUMN, LIVE_COLUMN
from countis.words.settings import Calibration
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule, run_state_machine_as_test

from properties.naive_meter import COUNTERS, HOURS, KINDS, PARTIALS, SECOND, TARIFFS, Command, NaiveMeter

PERIODS = tuple(f"{p}{ago}.{k}" for p in ("day", "week", "month") for ago in ("", "-1") for k in ("Ea+", "Ea-"))
ROLLS = (*KINDS[:5], *(f"Ea+.T{t}" for t in TARIFFS))
TARIFF_NAMES = tuple(f"T{t}" for t in TARIFFS)
RATE = 3200
STEP = 3_600_000  # ns; 1 W for so long is 1 µWh, so that what follows is exact in floats too
DAY = 86400 * SECOND
PRINTED = Path(__file__).parents[1] / "conformance"
TABLE, BLOCKS = (
    list(csv.DictReader((PRINTED / f"modbus-{name}.csv").read_text("utf-8").splitlines())) for name in ("registers", "blocks")
)
ON_THE_BUS = {57345: "ct_secondary", 57346: "ct_primary", 57355: "demand_period", 58368: "address"}
CLOCK = range(57600, 57606)  # day, month, year, hour, minute, second
BITS = ("par.Ea+", "par.Er+", "par.Eap", "par.Ea-", "par.Er-")  # of 57890
REASONS = {Reason.SEALED: "sealed", Reason.STATE: "state", Reason.VALUE: "value"}
CODES = {"": 0, "sealed": 1, "state": 1, "value": 3}
SCALES = {"0.1 ": 10**5, "1 k": 10**9, "10 ": 10**7, "1 M": 10**12, "0.01 ": 36 * SECOND}

# what the bus shows and takes, by the vendor's table


def block_of(address: int) -> dict[str, str] | None:
    """Return the block of the table that an address lies in; that of 30208 has 26 words (38)."""
    inside = (b for b in BLOCKS if 0 <= address - int(b["start"]) < int(b["words"]))
    return None if address == 30234 else next(inside, None)


def symbol_of(text: str) -> str:
    """Return the symbol that a row of the table describes."""
    words = text.split()
    if words[0] == "net":
        return "net.Ea" if words[1] == "active" else "net.Er"
    if words[1:2] in (["previous"], ["current"]):
        return f"{words[2]}{'-1' if words[1] == 'previous' else ''}.{words[0]}"
    if "running" in words:
        return f"hours.{words[0]}"
    kind = next(word for word in words if word[:2] in ("Ea", "Er"))
    kind = {"Ea": "Ea+"}.get(kind, kind) + next((word[:3] for word in words if word in ("inductive", "capacitive")), "")
    parts = ["par"] if "partial" in words else []
    parts += [kind, *(word for word in words if word in ("L1", "L2", "L3")), *(word for word in words if word in TARIFF_NAMES)]
    return ".".join(parts)


def word_value(model: NaiveMeter, text: str, unit: str) -> int | None:
    """Return what a row of the table reads; None where it is not modelled."""
    if text.startswith("tariff in progress"):
        return model.kept.tariff
    if text.startswith("number of tariffs"):
        return 2 if model.settings["tariff_control"] == "dig" else 4
    if text.startswith("roll-overs of"):
        return model.kept.n[symbol_of(text)] // 10**16
    if text.startswith("roll-over value"):
        return 999_999_999
    if not unit.endswith("h"):
        return None
    value = model.kept.n[symbol_of(text)]
    size = next(size for start, size in SCALES.items() if unit.startswith(start))
    within = 10**9 if "residual" in text else 10**16 if unit.startswith("10 ") else 10**30
    return (abs(value) % within // size) * (-1 if value < 0 else 1)


def words(model: NaiveMeter) -> dict[int, int]:
    """Return every register of energy, tariff and settings, word by word."""
    out = {}
    for row in TABLE:
        at, size = int(row["address"]), int(row["words"])
        value = word_value(model, row["description"], row["unit"])
        value = model.settings[ON_THE_BUS[at]] if at in ON_THE_BUS else value
        value = value % 256 if value is not None and row["type"] == "U8" else value
        for k in range(size if value is not None else 0):
            assert value is not None
            out[at + k] = value >> 16 * (size - 1 - k) & 0xFFFF
    return out


def meaning(address: int, value: int) -> list[Command]:
    """Return what one written word stands for; reserved words stand for nothing."""
    if address in ON_THE_BUS:
        return [("set", ON_THE_BUS[address], value)]
    if address == 40481:
        return [("tariff", value, 0)]
    if address == 57344 and value != 5:
        return [("bad", 0, 0)]
    by_tariff = [s for s in PARTIALS if ".T" in s and value >> int(s[-1]) - 1 & 1]
    resets: dict[int, tuple[Iterable[str], int]] = {
        40512: (PARTIALS if value & 0x20 else (), 0x21),
        57890: ([symbol for k, symbol in enumerate(BITS) if value >> k & 1], 0x1F),
        57892: (by_tariff, 0xFFFF if value == 0xFFFF else 0xF),
    }
    symbols, bits = resets.get(address, ((), 0xFFFF))
    return [("bad", 0, 0) if value & ~bits else ("reset", symbols, 0)]


def moment(parts: list[int]) -> Command:
    """Return the command that the six words of the clock stand for, together (40)."""
    try:
        day, month, year, hour, minute, second = parts
        since = datetime(year, month, day, hour, minute, second) - datetime(2000, 1, 1)
    except ValueError:
        return ("bad", 0, 0)
    return ("clock", int(since.total_seconds()), 0) if 2000 <= year < 2100 else ("bad", 0, 0)


def written(model: NaiveMeter, at: int, values: list[int]) -> int:
    """Write words to the naive meter; return the exception, 0 where it was carried out (18)."""
    commands: list[Command] = []
    closed = False
    for address, value in enumerate(values, at):
        block = block_of(address)
        if block is None:
            return 2
        locked = block["lock_level"] == "USER" and model.settings["user_lock"] == 1
        closed = closed or "WRITE" not in block["functions_locked" if locked else "functions_unlocked"]
        commands += meaning(address, value)
    if closed:
        return 1
    if CLOCK[-1] in range(at, at + len(values)):
        commands.append(moment(values[CLOCK[0] - at : CLOCK[-1] + 1 - at]))
    return CODES[model.apply(commands)]


# what the LCD shows


def lcd_energy(model: NaiveMeter, symbol: str) -> str:
    """Write an energy as the LCD does (25)."""
    micro = abs(model.kept.n[symbol]) % 10**18
    unit = {"a+": "Wh", "a-": "Wh", "ap": "VAh"}.get(symbol.removeprefix("par.")[1:3], "varh")
    for decimals in (3, 2, 1, 0) if model.ratio() < 5 else (2, 1, 0):
        number = micro // 10 ** (9 - decimals)
        if number < 10**8:
            text = f"{number:08d}"
            return (f"{text[:-decimals]}.{text[-decimals:]}" if decimals else text) + f" k{unit}"
    text = f"{micro // 10**10:08d}"
    return f"{text[:-2]}.{text[-2:]} M{unit}"


def page_of(symbol: str) -> tuple[str, str]:
    """Return menu and signs of the page that shows an energy (71)."""
    parts = symbol.split(".")
    partial, kind = parts[0] == "par", parts[parts[0] == "par"]
    tariff = next((part for part in parts if part in TARIFF_NAMES), "")
    scope = next((part for part in parts if part in ("L1", "L2", "L3")), "Σ")
    arrow = {"+": "→", "-": "←"}.get(kind[2], "")
    signs = [scope, arrow, "Eap" if kind == "Eap" else kind[:2], kind[3:], "par" if partial else "", tariff]
    menu = "Par.b" if partial else f"Tar.{tariff[1]}" if tariff else "tot"
    return menu, " ".join(sign for sign in signs if sign)


SHOWN = (*PARTIALS, *(f"{k}.{t}" for k in KINDS if k != "Eap" for t in TARIFF_NAMES),
         *(f"{k}{s}" for k in KINDS[:4] for s in ("", ".L1", ".L2", ".L3")), "Eap", *KINDS[5:])  # fmt: skip
LCD_CODES = {"address": "Addr", "baud": "bAud", "parity": "Prty", "stop_bits": "StoP", "ct_secondary": "FSA",
             "ct_primary": "CtP", "tariff_control": "tAr"}  # fmt: skip
SETUPS = {"SEtuP.1": ("ct_secondary", "ct_primary", "tariff_control"), "SEtuP.2": ("address", "baud", "parity", "stop_bits")}
LCD_CHOICES = {"com": "COM", "dig": "diG", "N": "n", "O": "o", "E": "E"}

POWER = st.one_of(st.integers(-1400, 1400).map(float), st.integers(-(2**17), 2**17).map(lambda k: k / 1024),
                  st.sampled_from([0.0, 0.1015625, 0.09375, -0.0625, 1024.0, -1024.0]))  # fmt: skip
POWERS = st.lists(POWER, min_size=3, max_size=3)
WHOLE = st.lists(st.sampled_from([0.0, 700.0, -700.0, 1400.0, -350.0]), min_size=3, max_size=3)
STEPS = st.sampled_from([5, 50, 50, 60, 140, 300, 2000, 16500, 250_000])  # 0.018 s to a quarter of an hour
V1 = st.sampled_from([256.0] * 6 + [128.0, 64.0, 0.0])
CONTROL = st.sampled_from(["com", "dig"])
CT_PRIMARY = st.sampled_from([5, 10, 15, 20, 25, 200, 1000, 12000])  # whole ratios
CHOICES: dict[str, st.SearchStrategy[Any]] = {
    "ct_primary": st.one_of(CT_PRIMARY, CT_PRIMARY, st.sampled_from([0, 12001, 65535])),
    "ct_secondary": st.sampled_from([1, 5, 1, 5, 0, 2]),
    "tariff_control": st.sampled_from(["com", "dig", "com", "dig", "COM"]),
    "demand_period": st.sampled_from([60, 900, 61]),
    "address": st.sampled_from([1, 5, 247, 0, 248]),
    "sealed": st.sampled_from([0, 1]),
    "user_lock": st.sampled_from([0, 1]),
    "baud": st.sampled_from([9600, 38400, 12345]),
}
SETTING = st.sampled_from(sorted(CHOICES)).flatmap(lambda s: st.tuples(st.just("set"), st.just(s), CHOICES[s]))
SYMBOLS = st.lists(st.sampled_from(PARTIALS), max_size=4)
COMMAND: st.SearchStrategy[Command] = st.one_of(
    SETTING,
    st.tuples(st.just("tariff"), st.integers(0, 5), st.just(0)),
    st.tuples(st.just("reset"), SYMBOLS, st.just(0)),
    st.tuples(st.just("run"), st.sampled_from(PARTIALS), st.integers(0, 1)),
)
STARTS = st.sampled_from([0, 0, 10**16 - 10**7, 256 * 10**16 - 10**8, 2**32 * 10**9 - 10**8, 2**16 * 10**12 - 10**9])


def command_of(command: Command) -> of_the_meter.Command:
    """Return a command as the meter takes it."""
    name, what, value = command
    if name == "set":
        return SetSetting(what, value)
    if name == "run":
        return StartPartial(what) if value else StopPartial(what)
    return SelectTariff(what) if name == "tariff" else ResetPartials(tuple(what)) if name == "reset" else SetClock(what)


def tariff_beside_control(commands: list[Command]) -> bool:
    """Tell whether a list gives the control to the input and a tariff to the bus; no decision says which holds."""
    return any(c[0] == "tariff" for c in commands) and any(c[1] == "tariff_control" for c in commands)


def reason(refusal: of_the_meter.Refusal | None) -> str:
    """Return a reason as the naive meter calls it."""
    return REASONS[refusal.reason] if refusal else ""


class WholeMeter(RuleBasedStateMachine):
    """Does the same to a meter and to the naive one."""

    @initialize(name=st.sampled_from(["E43", "E44", "E44"]), control=CONTROL, ct=CT_PRIMARY, start=STARTS,
                sealed=st.booleans())  # fmt: skip
    def begin(self, name: str, control: str, ct: int, start: int, sealed: bool) -> None:
        model = MODELS[name]
        self.naive = NaiveMeter(model.mid, tariff_control=control, ct_primary=ct, sealed=int(sealed and model.mid))
        meter = Meter(model, rate=RATE, tariff_control=control, ct_primary=ct, sealed=int(sealed and model.mid))
        for symbol in (*COUNTERS, *PARTIALS):
            meter.state.row[COUNTED_COLUMN[symbol]] = self.naive.kept.n[symbol] = start
        self.naive.sync()
        self.naive.before_rating = self.close_before_rating
        self.disk = bytearray(meter.save())
        self.meter = meter
        self.listen()
        self.synced = self.totals()

    def listen(self) -> None:
        """Take the samples of the meter from now on, apart from it."""
        self.ear = Metrology(self.meter.model, RATE, 4, Calibration(gain=(self.naive.settings["gain"],) * 6))

    def totals(self) -> dict[str, int]:
        """Return all that may never go back."""
        return {symbol: self.meter.exact(symbol) for symbol in (*COUNTERS, *HOURS)}

    # time

    def took(self, m: Measurement) -> None:
        """Let the naive meter count windows that were measured."""
        columns = [[LIVE_COLUMN[f"{letter}{k}"] for k in (1, 2, 3)] for letter in "VPQS"]
        for ns, live in zip(m.ns.tolist(), m.live, strict=True):
            v, p, q, s = (live[of].tolist() for of in columns)
            self.naive.open -= ns
            self.naive.window(ns, v[0], p, q, s)

    def close(self) -> None:
        """Count the samples that are in no window yet."""
        if self.naive.open:
            self.took(self.ear.finish())
            self.naive.kept.clock += self.naive.open
            self.naive.open = 0

    def close_before_rating(self) -> None:
        """Count what is open, and measure anew."""
        self.close()
        self.listen()

    def count(self, ns: int, v1: float, p: list[float], q: list[float], times: int = 1) -> None:
        """Count windows that close now."""
        self.close()
        i = [abs(a) / 256 for a in p]
        window = Measurement.of(self.meter.model, seconds=[ns / 1e9] * times, v=[v1, 256.0, 256.0], i=i, p=p, q=q)
        for _ in range(times):
            self.naive.window(ns, v1, p, q, [i[0] * v1, abs(p[1]), abs(p[2])])
        self.meter.count(window)

    @rule(steps=STEPS, v1=V1, p=POWERS, q=POWERS)
    def count_window(self, steps: int, v1: float, p: list[float], q: list[float]) -> None:
        self.count(steps * STEP, v1, p, q)

    @rule(steps=STEPS, v1=V1, p=WHOLE, q=WHOLE, times=st.integers(2, 6))
    def count_series(self, steps: int, v1: float, p: list[float], q: list[float], times: int) -> None:
        self.count(steps * STEP, v1, p, q, times)

    @rule(hours=st.sampled_from([1, 12, 24, 72, 240]), a=st.sampled_from([0.0, 1024.0]), q=WHOLE)
    def count_hours(self, hours: int, a: float, q: list[float]) -> None:
        """Long windows without a million pulses: Σ of P is nothing."""
        self.count(hours * 3600 * SECOND, 256.0, [a, -a, 0.0], q)

    @rule(ms=st.integers(1, 700), v1=st.sampled_from([230.0, 230.0, 250.0, 60.0]), i=st.sampled_from([0.0005, 0.02, 1.0, 5.5]),
          pf=st.sampled_from([1.0, 0.5, -0.8]), export=st.booleans())  # fmt: skip
    def feed(self, ms: int, v1: float, i: float, pf: float, export: bool) -> None:
        """Samples: what the meter measures in them, it must count."""
        samples = three_phase((v1, 230.0, 231.0), (i, 2.0, i / 2), pf, export=export, rate=RATE).read(ms * RATE // 1000)
        self.naive.open += len(samples) * SECOND // RATE
        self.took(self.ear.feed(self.ear.converted(samples)))
        self.meter.feed(samples)

    @precondition(lambda self: self.naive.powered)
    @rule(pf=st.sampled_from([1.0, 0.5, -0.8]), i=st.sampled_from([0.05, 1.0, 5.0]), cycles=st.integers(10, 40))
    def feed_what_is_known(self, pf: float, i: float, cycles: int) -> None:
        """Samples of a known power: the registers gain what has flowed, to a hundredth: the first edges move (54)."""
        self.close()
        self.meter.advance(0)
        before, gain = self.totals(), self.naive.settings["gain"] ** 2
        samples = three_phase(230.0, i, pf, rate=RATE).read(cycles * RATE // 50)
        self.naive.open = len(samples) * SECOND // RATE
        self.took(self.ear.feed(self.ear.converted(samples)))
        self.meter.feed(samples)
        self.close()
        self.meter.advance(0)
        flowed = 230 * i * gain * float(self.naive.ratio()) * cycles * 0.02 / 3600 * 1e6
        for kind, part in ("Ea+", abs(pf)), ("Eap", 1.0), ("Er+ind" if pf > 0 else "Er-cap", (1 - pf**2) ** 0.5):
            for phase in ("L1", "L2", "L3"):
                gained = self.meter.exact(f"{kind}.{phase}") - before[f"{kind}.{phase}"]
                assert abs(gained - flowed * part) <= flowed / 100 + 2, (kind, phase, gained, flowed * part)

    @rule(ns=st.one_of(st.integers(1, 4 * 3600 * SECOND), st.sampled_from([1, SECOND, DAY, 8 * DAY, 40 * DAY])))
    def be_dark(self, ns: int) -> None:
        self.close()
        self.naive.pass_time(ns)
        self.meter.advance(ns)

    @rule(to=st.sampled_from([-1, 0, 1]), days=st.integers(0, 32), p=WHOLE)
    def count_to_midnight(self, to: int, days: int, p: list[float]) -> None:
        """End a window a nanosecond before, at or after midnight."""
        self.close()
        left = DAY - self.naive.kept.clock % DAY + days * DAY + to - 50 * STEP
        if left > 0:
            self.be_dark(left)
        self.count(50 * STEP, 256.0, p, p)

    # commands, inputs, bus

    @rule(commands=st.lists(COMMAND, min_size=1, max_size=3).filter(lambda made: not tariff_beside_control(made)))
    def command(self, commands: list[Command]) -> None:
        """The seal, the lock and whatever else is no one's but the program's."""
        expected = self.naive.apply(commands)
        refusal = self.meter.apply([command_of(command) for command in commands])
        assert reason(refusal) == expected

    @rule(symbol=st.sampled_from(["sealed", "user_lock"]), value=st.integers(0, 1))
    def close_or_open(self, symbol: str, value: int) -> None:
        self.command([("set", symbol, value)])

    @rule(gain=st.sampled_from([1.0, 1.25]))
    def calibrate(self, gain: float) -> None:
        refusal = self.meter.apply([SetCalibration(Calibration(gain=(gain,) * 6))])
        if not refusal:
            self.close()
        assert self.naive.apply([("set", "gain", gain)]) == reason(refusal)
        if not refusal:
            self.listen()

    @rule(before=st.sampled_from([0.0, 230.0]), volts=st.sampled_from([0.0, 19.9, 20.0, 50.0, 79.9, 80.0, 230.0, 276.0]))
    def switch_the_input(self, before: float, volts: float) -> None:
        """From a sure voltage to any."""
        self.tariff_input(before)
        self.tariff_input(volts)

    def tariff_input(self, volts: float) -> None:
        """Put a voltage on the tariff input."""
        self.naive.volts(volts)
        self.meter.apply([SetTariffInput(volts)])

    def ask(self, pdu: bytes, address: int | None = None) -> bytes:
        """Ask by RTU; return the reply without its envelope, b"" where there is none."""
        own = self.naive.settings["address"]
        to = own if address is None else address
        reply = self.meter.rtu(rtu.frame(to, pdu))
        if to != own or not self.naive.powered:
            assert reply == b""
            return b""
        assert rtu.is_whole(reply)
        assert reply[0] == own
        return reply[1:-2]

    def write(self, at: int, values: list[int]) -> None:
        """Write with function 16, a single word also with 6."""
        many = struct.pack(f">BHHB{len(values)}H", 16, at, len(values), 2 * len(values), *values)
        for pdu in (many, struct.pack(">BHH", 6, at, values[0])) if len(values) == 1 else (many,):
            reply = self.ask(pdu)
            if self.naive.powered:
                code = written(self.naive, at, values)
                assert reply == (bytes((pdu[0] | 0x80, code)) if code else pdu[:5]), (at, values, code)
            if self.naive.settings["address"] != values[-1] and at == 58368:
                break

    @rule(tariff=st.integers(0, 5), broadcast=st.booleans())
    def write_tariff(self, tariff: int, broadcast: bool) -> None:
        if not broadcast:
            self.write(40481, [tariff])
            return
        assert self.ask(struct.pack(">BHH", 6, 40481, tariff), address=0) == b""
        if self.naive.powered:
            written(self.naive, 40481, [tariff])

    @rule(at=st.sampled_from([57890, 57345, 57346, 58368, 57600]), value=st.integers(0, 31))
    def broadcast_what_is_ignored(self, at: int, value: int) -> None:
        assert self.ask(struct.pack(">BHH", 6, at, value), address=0) == b""
        self.ask(struct.pack(">BHH", 6, at, value), address=self.naive.settings["address"] % 247 + 1)

    @rule(at=st.sampled_from([40512, 57890, 57892]), value=st.one_of(st.integers(0, 0x3F), st.sampled_from([0xFFFF, 0x100])))
    def write_resets(self, at: int, value: int) -> None:
        self.write(at, [value])

    @rule(totals=st.integers(0, 31), tariffs=st.sampled_from([0, 1, 5, 15, 0xFFFF, 16]))
    def write_all_resets(self, totals: int, tariffs: int) -> None:
        self.write(57888, [7, 7, totals, 7, tariffs])

    @rule(network=st.sampled_from([5, 5, 5, 4]), secondary=CHOICES["ct_secondary"], primary=CHOICES["ct_primary"])
    def write_network(self, network: int, secondary: int, primary: int) -> None:
        self.write(57344, [network, secondary, primary])
        self.write(57346, [primary])

    @rule(value=CHOICES["demand_period"], address=CHOICES["address"])
    def write_settings(self, value: int, address: int) -> None:
        self.write(57354, [0, value])
        self.write(58368, [address])

    @rule(by=st.one_of(st.integers(-3, 10**5), st.sampled_from([-7, -1, 1, 7, 31, 365]).map(lambda days: days * 86400)),
          way=st.sampled_from(["at once", "in pieces", "command"]))  # fmt: skip
    def set_clock(self, by: int, way: str) -> None:
        seconds = max(0, (self.naive.kept.clock + self.naive.open) // SECOND + by)
        to = datetime(2000, 1, 1) + timedelta(seconds=seconds)
        parts = [to.day, to.month, to.year, to.hour, to.minute, to.second]
        if way == "command":
            self.command([("clock", seconds, 0)])
        elif way == "at once":
            self.write(CLOCK[0], parts)
        else:
            self.write_clock_in_pieces(parts)

    def write_clock_in_pieces(self, parts: list[int]) -> None:
        """Nothing happens before the second is written."""
        for at, part in zip(CLOCK, parts, strict=True):
            self.registers_are_equal()
            reply = self.ask(struct.pack(">BHH", 6, at, part))
            locked = self.naive.settings["user_lock"] == 1
            assert not reply or reply[0] == (0x86 if locked else 6)
        if self.naive.powered:
            written(self.naive, CLOCK[0], parts)

    @rule(parts=st.sampled_from([[30, 2, 2024, 0, 0, 0], [1, 13, 2024, 0, 0, 0], [1, 1, 2024, 24, 0, 0], [29, 2, 2023, 0, 0, 0],
                                 [1, 1, 1999, 0, 0, 0]]))  # fmt: skip
    def write_no_moment(self, parts: list[int]) -> None:
        self.write(CLOCK[0], parts)

    @rule(at=st.sampled_from([25987, 50770, 33024, 32768, 36866, 51202, 40481, 57346, 57355, 60000, 30234]),
          size=st.integers(1, 3))  # fmt: skip
    def write_anywhere(self, at: int, size: int) -> None:
        """Totals can never be set; beyond a block there is nothing."""
        self.write(at, [3] * size)

    # keys

    def field(self, number: int) -> str:
        """Return a field of the LCD; a partial that stands still is marked."""
        fields = self.meter.lcd.split("|")
        return fields[number].replace("par*", "par").strip() if number < len(fields) else ""

    def go_to(self, menu: str, code: str) -> None:
        """Press ENTER to a menu, UP to a page of it."""
        for key, number, wanted in (Key.ENTER, 0, menu), (Key.UP, 1, code):
            for _ in range(25):
                if self.field(number) == wanted:
                    break
                self.meter.press(key)
            assert self.field(number) == wanted, self.meter.lcd

    @precondition(lambda self: self.naive.powered)
    @rule(symbol=st.sampled_from(SHOWN))
    def look(self, symbol: str) -> None:
        self.go_to(*page_of(symbol))
        assert self.field(2) == lcd_energy(self.naive, symbol)

    @precondition(lambda self: self.naive.powered)
    @rule(symbol=st.sampled_from(PARTIALS), seconds=st.sampled_from([0.1, 2.9, 3.0, 9.9, 10.0]))
    def hold_on_a_partial(self, symbol: str, seconds: float) -> None:
        """Start and stop, reset, display test."""
        self.go_to(*page_of(symbol))
        self.meter.hold(Key.UP | Key.ENTER, seconds)
        if seconds < 3:
            self.naive.apply([("run", symbol, symbol in self.naive.kept.stopped)])
        elif seconds < 10:
            self.naive.apply([("reset", [symbol], 0)])
        self.meter.hold(Key(0), 4.0)  # until the test is over
        assert ("par*" in self.meter.lcd) == (symbol in self.naive.kept.stopped)
        assert self.field(2) == lcd_energy(self.naive, symbol)

    def turn(self, symbol: str, value: Any) -> None:
        """Turn digits or choices until the LCD shows the value, and confirm."""
        wanted = f"{value:05d}" if symbol == "ct_primary" else f"{value:03d}" if symbol == "address" else str(value)
        wanted = LCD_CHOICES.get(wanted, wanted)
        digits = range(len(wanted)) if symbol in ("ct_primary", "address") else (slice(None),)
        for at in digits:
            while self.field(2).split()[0][at] != wanted[at]:
                self.meter.press(Key.UP)
            self.meter.press(Key.ENTER)

    def leave(self, answer: str) -> None:
        """Leave a setup with Y or N."""
        self.meter.hold(Key.ENTER, 3.0)
        assert self.field(1) == "EXit"
        while self.field(2) != answer:
            self.meter.press(Key.UP)
        self.meter.press(Key.ENTER)

    @precondition(lambda self: self.naive.powered)
    @rule(secondary=st.sampled_from([1, 5]), primary=CT_PRIMARY, control=CONTROL,
          answer=st.sampled_from("YYN"))  # fmt: skip
    def set_up_1(self, secondary: int, primary: int, control: str, answer: str) -> None:
        """SETUP 1, which the seal forbids."""
        self.meter.hold(Key.SET, 3.0)
        assert (self.field(0) == "SEtuP.1") == (self.naive.settings["sealed"] == 0)
        if self.naive.settings["sealed"]:
            return
        values = dict(zip(SETUPS["SEtuP.1"], (secondary, primary, control), strict=True))
        for symbol, value in values.items():
            assert self.field(1) == LCD_CODES[symbol]
            self.turn(symbol, value)
        self.leave(answer)
        if answer == "Y":
            assert self.naive.apply([("set", symbol, value) for symbol, value in values.items()]) == ""

    @precondition(lambda self: self.naive.powered)
    @rule(address=st.sampled_from([1, 5, 99, 247]), baud=st.sampled_from([9600, 38400]), parity=st.sampled_from("NOE"),
          stop=st.sampled_from([1, 2]), resets=SYMBOLS, answer=st.sampled_from("YYNC"))  # fmt: skip
    def set_up_2(self, address: int, baud: int, parity: str, stop: int, resets: list[str], answer: str) -> None:
        """SETUP 2, which no lock forbids."""
        self.go_to("SEtuP.2", "")
        self.meter.hold(Key.ENTER, 3.0)
        values = dict(zip(SETUPS["SEtuP.2"], (address, baud, parity, stop), strict=True))
        for symbol, value in values.items():
            assert self.field(1) == LCD_CODES[symbol]
            self.turn(symbol, value)
        signs = {"rES " + page_of(symbol)[1] for symbol in resets}
        for _ in PARTIALS:
            self.meter.press(Key.UP if self.field(1) in signs else Key(0))
            self.meter.press(Key.ENTER)
        assert self.field(1) == "Addr"  # the last page leads back to the first
        self.leave(answer)
        if answer == "C":
            assert self.field(1) == "Addr"
            self.leave("Y")
        if answer != "N":
            commands: list[Command] = [("set", symbol, value) for symbol, value in values.items()]
            assert self.naive.apply([*commands, ("reset", resets, 0)]) == ""

    # memory

    @rule()
    def sync(self) -> None:
        for offset, data in self.meter.writes():
            self.disk[offset : offset + len(data)] = data
        self.naive.sync()
        self.synced = self.totals()

    @rule()
    def cut_the_power(self) -> None:
        """Everything since the last sync is lost, nothing before it."""
        self.naive.cut()
        self.meter = Meter.load(bytes(self.disk), rate=RATE)
        self.listen()

    @rule(at=st.floats(0, 1), swapped=st.booleans())
    def cut_while_syncing(self, at: float, swapped: bool) -> None:
        """The power goes while the pages are written: each is the old or the new one."""
        writes = self.meter.writes()
        writes = writes[::-1] if swapped else writes
        left = round(at * sum(len(data) for _, data in writes))
        for offset, data in writes:
            self.disk[offset : offset + len(data[:left])] = data[:left]
            left -= len(data[:left])
        whole = [offset for offset, data in writes if self.disk[offset : offset + len(data)] == data]
        hot, changed = any(offset < 8192 for offset in whole), any(8192 <= offset < 16384 for offset in whole)
        self.naive.sync(hot=hot, settings=changed)
        self.cut_the_power()
        if changed and not hot:  # the control may be newer than the tariff: whoever starts the meter tells it its input again
            self.tariff_input(230.0 if self.naive.kept.input == 2 else 0.0)
        for symbol, value in self.totals().items():
            assert value >= self.synced[symbol], symbol
        self.synced = self.totals()

    # equality

    @invariant()
    def registers_are_equal(self) -> None:
        naive, meter = self.naive, self.meter
        for symbol in (*COUNTERS, *PARTIALS, *HOURS, *PERIODS, "net.Ea", "net.Er"):
            assert meter.exact(symbol) == naive.kept.n[symbol], symbol
        for symbol in ROLLS:
            assert meter.exact(f"roll.{symbol}") == naive.kept.n[symbol] // 10**16 % 256, symbol
        for symbol in PARTIALS:
            assert meter.state.runs(symbol) == (symbol not in naive.kept.stopped), symbol
        assert meter["tariff"] == naive.kept.tariff
        assert meter.clock == (naive.kept.clock + naive.open) // SECOND
        assert meter.powered == naive.powered
        assert {s: meter[s] for s in naive.settings if s != "gain"} == {s: v for s, v in naive.settings.items() if s != "gain"}

    @invariant()
    def nothing_went_back(self) -> None:
        for symbol, value in self.totals().items():
            assert value >= self.synced[symbol], symbol

    @invariant()
    def the_bus_says_the_same(self) -> None:
        """Every block that has a register of the model, read whole."""
        if not self.naive.powered:
            assert self.ask(struct.pack(">BHH", 3, 50770, 2)) == b""
            assert self.meter.lcd == ""
            return
        expected = words(self.naive)
        for block in BLOCKS:
            start, count = int(block["start"]), int(block["words"])
            wanted = {address: expected[address] for address in range(start, start + count) if address in expected}
            if wanted:
                reply = self.ask(struct.pack(">BHH", 3, start, count))
                read = struct.unpack(f">{count}H", reply[2:])
                assert {address: read[address - start] for address in wanted} == wanted, start


def test_whole_meter() -> None:
    run_state_machine_as_test(WholeMeter, settings=settings(max_examples=40, stateful_step_count=40))


LONGER = settings(max_examples=200, stateful_step_count=60, phases=[Phase.generate])  # to shrink would take many minutes


@pytest.mark.slow
def test_whole_meter_for_longer() -> None:
    run_state_machine_as_test(WholeMeter, settings=settings(LONGER, derandomize=True, deadline=None))
