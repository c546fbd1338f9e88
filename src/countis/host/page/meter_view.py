"""One running meter as a page sees it: what it shows, what it is wired to, the frames on its ports.

Rule: values only, ready for JSON; the meter is asked under its feeder's lock. The loop calls, and for
`set_supply` and `set_supply_text` a thread of the pool, one at a time.
"""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any, Final, TypeVar

import numpy as np
import tomli_w

from countis.host.running.events import event_rows
from countis.host.running.feeder import Feeder
from countis.host.running.hub import Exchange, MeterPort
from countis.meter.panel.frame import LcdFrame
from countis.meter.panel.keys import Key
from countis.meter.panel.machine import Press, Release
from countis.modbus.said import explain
from countis.modbus.table import Table
from countis.supply.toml_file import SupplyPlan, read_supply
from countis.words.commands import Refusal, SetSetting
from countis.words.errors import CountisError, SupplyError
from countis.words.quantities import PARTIALS, QUANTITIES
from countis.words.settings import CHANNELS, SETTINGS

_CYCLES: Final = 2  # of the network on the scope
_POINTS: Final = 192  # on the scope; divides into cycles, so that a page can take phasors from it
_STEPS: Final = np.array([10.0] * 3 + [1000.0] * 3)  # the scope's integers: 0.1 V, 1 mA on the secondary
_EXCHANGES: Final = 400  # that wait for a page
_MOST_FRAMES: Final = 40  # exchanges shown at once; what is beyond is counted
_MOST_STATES, _MOST_LOADS = 5000, 64  # of a supply that comes from a page
_NAME: Final = "supply"
T = TypeVar("T")


def lcd(frame: LcdFrame) -> dict[str, Any]:
    """Return a frame for JSON."""
    return {
        "text": frame.text, "segments": frame.segments, "flashes": frame.flashes, "phase": frame.phase,
        "light": frame.light,
    }


def _has_null(value: Any) -> bool:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return value is None or any(map(_has_null, inner))


def _written(document: Mapping[str, Any]) -> str:
    """Write a supply as TOML; SupplyError if it cannot be, or if JSON could not carry it to a page."""
    try:
        json.dumps(document, allow_nan=False)
        if _has_null(document):
            raise SupplyError(_NAME, "null is no value", "a key left out")
        text = tomli_w.dumps(document)
        text.encode()
    except SupplyError:
        raise
    except (ValueError, TypeError, RecursionError):
        raise SupplyError(_NAME, "not to be written as TOML", "finite numbers, text, lists, tables") from None
    return text


class MeterView:
    """One meter as a page sees it. supply: the tables it is fed from, None of a recording."""

    def __init__(
        self, feeder: Feeder, port: MeterPort, supply: dict[str, Any] | None, supply_name: str
    ) -> None:
        self.feeder, self.port, self.supply, self.supply_name = feeder, port, supply, supply_name
        self.meter, self.name = feeder.meter, feeder.name
        self._requests = 0  # the port's count when frames were last taken

    @property
    def address(self) -> int:
        """Its address, which keys may change."""
        return self.port.address

    def start_monitor(self) -> None:
        """Begin to keep the frames on the ports and the last samples."""
        self._requests, self.feeder.watched = self.port.requests, True
        self.port.exchanges = deque(maxlen=_EXCHANGES)

    def stop_monitor(self) -> None:
        """Keep neither any more."""
        self.feeder.watched, self.port.exchanges = False, None

    def frame(self) -> LcdFrame:
        """Return what the LCD shows now."""
        with self.feeder.lock:
            return self.meter.front.frame(self.meter.front.now)

    def key(self, key: Key, down: bool) -> None:
        """Press or release a key now."""
        with self.feeder.lock:
            self.meter.front.event(Press(key) if down else Release(key), self.meter.front.now)

    def let_go(self, keys: Key) -> None:
        """Let keys go up of whoever is gone; that presses nothing."""
        with self.feeder.lock:
            self.meter.front.let_go(keys, self.meter.front.now)

    def seal(self, closed: bool) -> Refusal | None:
        """Close or break the seal (decision 13)."""
        self._check_it_runs()
        with self.feeder.lock:
            return self.meter.apply([SetSetting("sealed", int(closed))])

    def _check_it_runs(self) -> None:
        """Raise CountisError where the meter has failed: nothing would come of a change."""
        if self.feeder.failure is not None:
            raise CountisError(self.name, f"failed: {self.feeder.failure}", "a meter that runs")

    def summary(self) -> dict[str, Any]:
        """Return what a list of meters shows of it."""
        with self.feeder.lock:
            power, energy = self.meter["P"], self.meter["Ea+"]
        return {
            "address": self.address, "name": self.name, "model": self.meter.model.name,
            "lcd": self.frame().text, "P": power, "Ea+": energy, "requests": self.port.requests,
        }

    def state(self) -> dict[str, Any]:
        """Return every value of a moment, in SI units; None is not available."""
        meter = self.meter
        with self.feeder.lock:
            values = {symbol: meter[symbol] for symbol in QUANTITIES}
            state = {
                "settings": {symbol: meter[symbol] for symbol in SETTINGS},
                "powered": meter.powered, "missing": meter.state.missing, "clock": meter.clock,
                "fault": meter.state.malfunction, "events": meter.state.events,
            }
            running = [symbol for symbol in PARTIALS if meter.state.runs(symbol)]
        return {
            "model": meter.model.name, "address": self.address, "reference": meter.model.reference, **state,
            "speed": self.feeder.speed, "requests": self.port.requests, "notes": self.feeder.notes,
            "running": running, "name": self.name, "faults": self.port.fault_rows,
            "values": {symbol: round(v, 6) if isinstance(v, float) else v for symbol, v in values.items()},
        }

    def events(self) -> list[dict[str, Any]]:
        """Return the event log, newest first."""
        with self.feeder.lock:
            return event_rows(self.meter.state.log, self.meter.state.events)[::-1]

    def scope(self) -> dict[str, Any] | None:
        """Return two cycles of the six waveforms from a rising zero of V1 on, in steps of 0.1 V and 1 mA."""
        blocks = list(self.feeder.latest)
        with self.feeder.lock:
            rate, frequency = self.meter.rate, self.meter["f"]
        samples = np.concatenate(blocks) if blocks else np.zeros((0, 6))
        length = _CYCLES * rate / (frequency if isinstance(frequency, float) else 50.0)
        head = samples[: max(0, len(samples) - int(length) - 2), 0]
        rising = np.flatnonzero((head[:-1] < 0.0) & (head[1:] >= 0.0))
        if len(samples) < length + 2:
            return None
        at = float(rising[-1]) if len(rising) else 0.0
        if len(rising):
            before, after = head[int(at)], head[int(at) + 1]
            at += float(before / (before - after))
        places = at + np.arange(_POINTS) * (length / _POINTS)
        whole = np.arange(len(samples))
        waves = {
            name: np.rint(np.interp(places, whole, samples[:, k]) * _STEPS[k]).astype(int).tolist()
            for k, name in enumerate(CHANNELS)
        }
        return {"ms": 1000.0 * length / rate, "cycles": _CYCLES, "waves": waves}

    def lights(self) -> list[tuple[str, float]]:
        """Return flashes and pulses since the last call, each with how many ms ago it was."""
        now = time.monotonic()
        return [(output, round(1000.0 * (now - at), 1)) for output, at in _drained(self.feeder.lights)]

    def new_frames(self) -> list[dict[str, Any]]:
        """Return the frames on the ports since the last call, two for each exchange."""
        waiting, requests = self.port.exchanges, self.port.requests
        exchanges = list(_drained(waiting)) if waiting is not None else []
        skipped = max(len(exchanges), requests - self._requests) - _MOST_FRAMES
        self._requests = requests
        left_out = [{"skipped": skipped}] if skipped > 0 and exchanges else []
        table = self.meter.model.family.table
        return left_out + [frame for one in exchanges[-_MOST_FRAMES:] for frame in _frames(table, one)]

    def set_supply(self, document: dict[str, Any], name: str) -> None:
        """Feed the meter from another supply; SupplyError in one line where it cannot be."""
        self._feed_from(read_supply(_written(document), _NAME, _MOST_STATES, _MOST_LOADS), name)

    def set_supply_text(self, text: str, name: str) -> None:
        """Feed the meter from a supply file; SupplyError names line and key."""
        plan = read_supply(text, name, _MOST_STATES, _MOST_LOADS)
        _written(plan.document)
        self._feed_from(plan, name)

    def _feed_from(self, plan: SupplyPlan, name: str) -> None:
        if plan.recording is not None:
            raise SupplyError("recording", "not from a page", "voltages and loads; countis run --recording")
        self._check_it_runs()
        with self.feeder.lock:
            ratio, midnight = self.meter.ratio, self.meter.clock % 86400
        self.feeder.change_source(plan.build(ratio, midnight))
        self.supply, self.supply_name = plan.document, name


def _drained(waiting: deque[T]) -> Iterator[T]:
    """Take what waits, without a lock: its thread may append meanwhile."""
    while waiting:
        yield waiting.popleft()


def _frames(table: Table, exchange: Exchange) -> Iterator[dict[str, Any]]:
    """Yield request and reply as a monitor prints them."""
    request = explain.request(table, exchange.request)
    reply = explain.reply(table, exchange.request, exchange.reply)
    common = {"time": round(exchange.time, 3), "port": exchange.port, "unit": exchange.unit}
    both = ("request", request, exchange.request), ("reply", reply, exchange.reply)
    for direction, explained, raw in both:
        yield {
            **common, "direction": direction, "function": explained.function, "text": explained.text,
            "values": explained.values, "exception": explained.exception, "bytes": raw.hex(" ").upper(),
        }
