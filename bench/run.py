"""`make bench`: what the stations cost, in interleaved rounds, medians printed beside JSON.

Each figure is work per second of CPU time of this process. The machine is noisy: compare figures of one run only.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

from countis import E44, Measurement, Meter
from countis.metrology.measurement import Metrology
from countis.modbus import pdu
from countis.supply import three_phase

ROUNDS = 7
RATE = 8000
HARMONICS = {order: (0.1 / order, 10.0 * order) for order in (3, 5, 7, 9, 11, 13, 15)}
READ = pdu.read_request(50514, 60)


def kernel() -> Callable[[], float]:
    samples = three_phase(i=2.0, pf=0.8).read(20 * RATE)
    metrology = Metrology(E44, RATE)

    def work() -> float:
        metrology.feed(samples)
        return len(samples) / RATE

    return work


def whole_meter() -> Callable[[], float]:
    samples = three_phase(i=2.0, pf=0.8).read(RATE)
    meter = Meter(E44, ct_primary=200)

    def work() -> float:
        for _ in range(10):
            meter.feed(samples)
            meter.pdu(READ)
        return 10.0

    return work


def synthesis() -> Callable[[], float]:
    supply = three_phase(i=2.0, v_harmonics=HARMONICS, i_harmonics=HARMONICS, noise=1e-5)

    def work() -> float:
        return len(supply.read(5 * RATE)) / RATE

    return work


def counting() -> Callable[[], float]:
    meter = Meter(E44)
    measurement = Measurement.of(E44, seconds=60.0, v=[230.0] * 3, i=[1.0] * 3, p=[200.0] * 3, q=[50.0] * 3)

    def work() -> float:
        for _ in range(500):
            meter.count(measurement)
        return 500.0

    return work


def requests() -> Callable[[], float]:
    meter = Meter(E44)
    meter.feed(three_phase(), seconds=2)

    def work() -> float:
        for _ in range(5000):
            meter.pdu(READ)
        return 5000.0

    return work


ROWS: dict[str, tuple[Callable[[], Callable[[], float]], str]] = {
    "kernel": (kernel, "s of 3V+3I at 8 kHz, everything measured"),
    "meter": (whole_meter, "s of signal from samples to state row and Modbus image"),
    "synthesis": (synthesis, "s of signal with 7 harmonics and noise made"),
    "count": (counting, "measurements counted"),
    "fc3": (requests, "requests of 60 registers answered"),
}


def main() -> None:
    workers = {name: make() for name, (make, _) in ROWS.items()}
    for work in workers.values():
        work()  # compiles and warms up
    figures: dict[str, list[float]] = {name: [] for name in ROWS}
    for _ in range(ROUNDS):
        for name, work in workers.items():
            began = time.process_time()
            done = work()
            figures[name].append(done / (time.process_time() - began))
    medians = {name: median(values) for name, values in figures.items()}
    for name, (_, text) in ROWS.items():
        print(f"{name:10} {medians[name]:12.0f} per CPU-second   {text}")
    if len(sys.argv) > 1:
        Path(sys.argv[1]).write_text(json.dumps({"rounds": ROUNDS, "medians": medians, "all": figures}, indent=1))


if __name__ == "__main__":
    main()
