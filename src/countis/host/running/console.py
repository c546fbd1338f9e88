"""What `countis run` prints: where to connect, how it goes, how it ended."""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import sys
import threading
from collections import deque
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TextIO

from countis.host.running.events import event_line, event_row
from countis.meter.memory.event_log import CAPACITY, Entry
from countis.meter.meter import Meter
from countis.meter.state import Snapshot
from countis.words.clock import text as clock_text


def own_command() -> str:
    """Return how this command can be called again from here."""
    path = Path(sys.argv[0])
    on_path = path.name != "countis" or shutil.which("countis") == str(path.resolve())
    return "countis" if on_path else str(path)


def _figure(name: str, value: object, digits: int, unit: str = "") -> str:
    text = f"{value:.{digits}f}" if isinstance(value, int | float) else "----"
    return f"{name} {text} {unit}".rstrip()


def status(meter: Snapshot, requests: int, notes: Iterable[str] = ()) -> str:
    """Return the line that `run` prints each second."""
    power, energy = meter["P"], meter["Ea+"]
    kilo = power / 1000 if isinstance(power, float) else None
    kwh = energy / 1000 if isinstance(energy, float) else None
    parts = [
        _figure("V", meter["V"], 1, "V"), _figure("I", meter["I"], 2, "A"), _figure("P", kilo, 2, "kW"),
        _figure("PF", meter["PF"], 3), _figure("f", meter["f"], 2, "Hz"),
        _figure("Ea+", kwh, 3 if kwh is not None and kwh < 100 else 1, "kWh"),
        f"T{meter['tariff']}", f"{requests} requests",
    ]
    parts += [] if meter.powered else ["no power at L1-N"]
    return "  ".join([*parts, *(f"{phase} missing" for phase in meter.missing), *notes])


def show(line: str, out: TextIO | None) -> None:
    """Print a status line: over the last one on a terminal, cut to its width; else below it."""
    if out is None or not _takes(out):
        return  # closed, or nobody reads: the meter does not wait for them
    if out.isatty():
        columns = os.get_terminal_size(out.fileno()).columns
        print(f"\r\x1b[K{line[: columns - 1]}", end="", file=out, flush=True)
    else:
        print(line, file=out, flush=True)


class EventPrinter:
    """Prints each event as it is published, a line on standard error. names: the meter's stands before each.

    The feeding thread calls `on_event`, the main thread `show`; between them lines wait in a bounded queue.
    """

    def __init__(self, names: bool) -> None:
        self._names = names
        self._lock = threading.Lock()  # guards all below; nobody prints while holding it
        self._waiting: deque[str] = deque(maxlen=CAPACITY)
        self._next: dict[str, int] = {}  # number of the next entry of each meter
        self._missed = 0  # entries since the last `show` that had no room, or were never published

    def on_second(self, name: str, snapshot: Snapshot) -> None:
        """Seconds are no events."""

    def on_event(self, name: str, number: int, entry: Entry) -> None:
        """Let a line wait to be printed."""
        text = (f"{name}  " if self._names else "") + event_line(event_row(entry))
        with self._lock:
            full = len(self._waiting) == CAPACITY  # the oldest line goes
            self._missed += number - self._next.get(name, number) + full
            self._next[name] = number + 1
            self._waiting.append(text)

    def show(self) -> None:
        """Print what waits, as far as somebody reads; the meters go on meanwhile."""
        if not self._waiting or not _takes(sys.stderr):
            return
        with self._lock:
            lines, missed, self._missed = list(self._waiting), self._missed, 0
            self._waiting.clear()
        clear = "\r\x1b[K" if sys.stderr.isatty() else ""
        with contextlib.suppress(OSError):
            for line in ([f"{missed} more before"] if missed > 0 else []) + lines:
                if _takes(sys.stderr):
                    print(f"{clear}{line}", file=sys.stderr, flush=True)


def _takes(out: TextIO) -> bool:
    """Tell whether a line can be written without waiting for whoever reads."""
    try:
        return bool(select.select([], [out], [], 0)[1])
    except OSError:  # it is no file
        return True


def bus_greeting(
    lines: Iterable[tuple[str, str, int]], web: str | None, folder: Path, changed: Iterable[str]
) -> str:
    """Return what `bus` prints when everything answers. lines: where, how fast, how many meters."""
    text = ["countis bus", f"  memories {folder}", *(f"  changed  {change}" for change in changed)]
    text += [f"  page     http://{web}/"] if web is not None else []
    return "\n".join([*text, *(f"  {where}  {speed}, {meters} meters" for where, speed, meters in lines)])


def greeting(meter: Meter, ports: Mapping[str, str | None], memory: Path, changed: Iterable[str] = ()) -> str:
    """Return what `run` prints when everything answers: where to connect, and lines ready to copy."""
    s, command = meter.settings, own_command()
    address, baud = s["address"], s["baud"]
    parity = {"N": "none", "E": "even", "O": "odd"}[str(s["parity"])]
    read, what = "-0 -1 -t 4:int -B -r 50514 -c 3", "mbpoll reads U12 U23 U31 in 0.01 V"
    ratio, clock = f"CT {s['ct_primary']}/{s['ct_secondary']}", clock_text(meter.clock)[:16]
    lines = [f"countis {meter.model.name}, address {address}, {ratio}, clock {clock}", f"  memory   {memory}"]
    lines += [f"  changed  {text}" for text in changed]
    if ports["web"] is not None:
        lines.append(f"  page     http://{ports['web']}/")
    if (serial := ports["serial"]) is not None:
        lines.append(f"  RTU      {serial}  {baud} 8{s['parity']}{s['stop_bits']}, {what}")
        lines.append(f"mbpoll -m rtu -a {address} -b {baud} -P {parity} {read} {serial}")
    if (tcp := ports["tcp"]) is not None:
        host, port = tcp.rsplit(":", 1)
        lines.append(f"  TCP      {tcp}, {what}")
        lines.append(f"mbpoll -m tcp -p {port} -a {address} {read} {host}")
        lines.append(f"{command} read tcp://{tcp} {address} U12 V1 I1 P PF f Ea+")
    if ports.get("tls") is not None:
        lines.append(f"  TLS      {ports['tls']}, for clients with a certificate")
    if (rtu_tcp := ports["rtu_tcp"]) is not None:
        lines.append(f"  RTU/TCP  {rtu_tcp}")
        lines.append(f"{command} read rtu+tcp://{rtu_tcp} {address}")
    return "\n".join(lines)
