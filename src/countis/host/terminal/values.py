"""The workbench as text: what is measured, what is counted, the frames on the ports.

Rule: blocks of lines from what the server sent, nothing else; what is not available or not sent is `----`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from rich.text import Text

from countis.words.clock import text as clock_text
from countis.words.quantities import QUANTITIES

Block = list[Text]
_PHASES: Final = ("1", "2", "3", "")
# symbol, the ends of its four columns, unit, how many SI units it is, decimals
_LIVE: Final = (
    ("V", _PHASES, "V", 1, 1), ("U", ("12", "23", "31", ""), "V", 1, 1), ("I", _PHASES, "A", 1, 3),
    ("P", _PHASES, "kW", 1000, 3), ("Q", _PHASES, "kvar", 1000, 3), ("S", _PHASES, "kVA", 1000, 3),
    ("PF", _PHASES, "", 1, 3),
)
_KINDS: Final = ("Ea+", "Ea-", "Er+", "Er-", "Eap")
_UNITS: Final = ("kWh", "kWh", "kvarh", "kvarh", "kVAh")
_TARIFFS: Final = ("", "T1", "T2", "T3", "T4")
_GAP: Final = 2
HEAD, FAINT, WARN, GOOD = "bold", "grey62", "bold #ff8f5a", "#8fd18f"


def number(value: object, width: int, decimals: int, scale: float = 1) -> str:
    """Write a number with as many decimals as fit, at the right of its width; None is not available."""
    if not isinstance(value, int | float):
        return "----".rjust(width)
    texts = [f"{round(value / scale, places) + 0.0:.{places}f}" for places in range(decimals, -1, -1)]
    return next((text for text in texts if len(text) <= width), texts[-1]).rjust(width)


def clock(state: Mapping[str, Any], of: str = "clock") -> str:
    """Write the meter's clock or another of its times."""
    seconds = state.get(of)
    return clock_text(int(seconds)) if isinstance(seconds, int | float) else "----"


def live(state: Mapping[str, Any]) -> Block:
    """Return voltages, currents, powers and power factors by phase and together."""
    values = state.get("values", {})
    block = [Text("    L1  12  L2  23  L3  31       Σ", HEAD)]
    for symbol, ends, unit, scale, decimals in _LIVE:
        line = Text().append(symbol.ljust(2), HEAD)
        for end in ends:
            line.append(number(values.get(symbol + end), 8, decimals, scale))
        block.append(line.append(f" {unit}".ljust(5), FAINT))
    return block


def energies(state: Mapping[str, Any], lead: str = "") -> Block:
    """Return the counters by kind and tariff; with `par.` as lead the partials, `*` where one is stopped."""
    values, running = state.get("values", {}), state.get("running", ())
    block = [Text(("par" if lead else "   ") + "".join(kind.rjust(7) for kind in _KINDS), HEAD)]
    for tariff in _TARIFFS:
        in_force = tariff == f"T{values.get('tariff')}" and not lead
        line = Text().append((">" if in_force else " ") + (tariff or "Σ").ljust(2), HEAD)
        for kind in _KINDS:
            symbol = lead + kind + (f".{tariff}" if tariff else "")
            exists = symbol in values or not lead
            mark = "*" if lead and exists and symbol not in running else ""
            figure = number(values.get(symbol), 6 - len(mark), 3, 1000) + mark if exists else ""
            line.append(figure.rjust(7), FAINT if mark else "bold" if in_force else "")
        block.append(line)
    return [*block, Text("   " + "".join(unit.rjust(7) for unit in _UNITS), FAINT)]


def network(state: Mapping[str, Any]) -> Text:
    """Return what is one value of the network: frequency, neutral current, sequence, tariff in force."""
    values = state.get("values", {})
    sequence = f"{values['sequence']:.0f}" if values.get("sequence") is not None else "---"
    line = Text(f"f {number(values.get('f'), 5, 2)} Hz  IN {number(values.get('IN'), 5, 3)} A  ")
    return line.append(f"{sequence}  T{values.get('tariff', '-')}")


def others(state: Mapping[str, Any]) -> Block:
    """Return demand, requests and notes."""
    values, settings = state.get("values", {}), state.get("settings", {})
    minutes, end = settings.get("demand_period", 0) / 60, clock(values, "demand.time")[11:16] or "----"
    running = state.get("running", ())
    stopped = [symbol[4:] for symbol in values if symbol.startswith("par.") and symbol not in running]
    partials = f"{', '.join(stopped)} stand still (*)" if stopped else "all run" if values else "----"
    rows = [
        ("demand", f"{number(values.get('demand.P'), 6, 3, 1000)} kW, {minutes:g} min to {end}"),
        ("requests", str(state.get("requests", "----"))),
        ("partials", partials),
        ("notes", "; ".join(state.get("notes", ())) or "none"),
    ]
    return [Text().append(f"{name:9}", HEAD).append(text) for name, text in rows]


def frame(line: Mapping[str, Any]) -> Text:
    """Return one frame of the monitor."""
    if "skipped" in line:
        return Text(f"{line['skipped']} more exchanges in between", FAINT)
    at = datetime.fromtimestamp(line["time"]).strftime("%H:%M:%S.%f")[:-3]
    asks = line["direction"] == "request"
    style = WARN if line["exception"] is not None else FAINT if asks else ""
    values = "  ".join(s if asks and value is None else _value(s, value) for s, value in line["values"])
    arrow, indent = ("→", "") if asks else ("←", "  ")
    head = f"{at} {line['port']:8} {line['unit']:3} {arrow} {line['function']:2} {indent}{line['text']}"
    return Text(head + (f": {values}" if values else ""), style)


def _value(symbol: str, value: object) -> str:
    unit = QUANTITIES[symbol].unit if symbol in QUANTITIES else ""
    text = "----" if value is None else f"{value:.9g}" if isinstance(value, float) else str(value)
    return f"{symbol} {text} {unit if unit != '1' else ''}".rstrip()


def monitor(frames: Sequence[Mapping[str, Any]], most: int) -> Block:
    """Return the last frames, the newest at the top."""
    lines = [frame(line) for line in list(frames)[: -most - 1 : -1]]
    return [Text("Modbus", HEAD), *(lines or [Text("no frame yet", FAINT)])]


def beside(blocks: Iterable[Block], width: int) -> Block:
    """Put blocks beside each other while they fit, then below."""
    out: Block = []
    row: list[Block] = []
    for block in [*blocks, None]:
        if block is None or (row and sum(map(_width, [*row, block])) + _GAP * len(row) > width):
            out += [_joined(row, k) for k in range(max(map(len, row), default=0))]
            row = []
        row += [block] if block is not None else []
    for line in out:
        line.truncate(width, overflow="ellipsis")
    return out


def _width(block: Block) -> int:
    return max(len(line) for line in block)


def _joined(row: list[Block], k: int) -> Text:
    line = Text()
    for block in row:
        cell = block[k].copy() if k < len(block) else Text()
        cell.pad_right(_width(block) - len(cell) + _GAP)
        line.append_text(cell)
    line.rstrip()
    return line
