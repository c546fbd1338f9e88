"""`make bench`: what the stations cost beside their peers, in interleaved rounds, medians, JSON beside the table.

Work per second of CPU time of whoever does it; the other peer stands still meanwhile. The machine is noisy: compare figures
of one run only. `bench/run.py FILE` writes every round to FILE.
"""

from __future__ import annotations

import json
import math
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from countis import E44, Measurement, Meter
from countis.meter.metrology import kernel as loop
from countis.meter.metrology.measurement import P_PHASES, V_PHASES, F, Metrology
from countis.modbus import pdu, tcp
from countis.supply import three_phase
from numpy.typing import NDArray

ROUNDS = 5
RATE = 8000
COMMAND = str(Path(sys.executable).parent / "countis")
HARMONICS = {order: (0.1 / order, 10.0 * order) for order in (3, 5, 7, 9, 11, 13, 15)}
REGISTERS = 50
CONNECTIONS = (1, 16)
READ = pdu.read_request(50514, REGISTERS)
Work = Callable[[], float]  # does some work; returns how much, and the runner takes its CPU time


def kernel(reactive: bool) -> Work:
    """The compiled loop alone: samples in, rows of windows out."""
    samples = three_phase(i=2.0, pf=0.8).read(20 * RATE)
    coefficients, state = loop.band_pass(float(RATE)), loop.new_state(float(RATE))
    out = np.empty((20 * loop.MOST_ROWS + 2, loop.ROW))

    def work() -> float:
        loop.run(samples, float(RATE), coefficients, *state, out, reactive)
        return len(samples) / RATE

    return work


def metrology() -> Work:
    """The whole station, fed second by second: samples in, measurements out."""
    samples = three_phase(i=2.0, pf=0.8).read(20 * RATE)
    station = Metrology(E44, RATE)

    def work() -> float:
        for second in range(len(samples) // RATE):
            station.feed(samples[second * RATE : (second + 1) * RATE])
        return len(samples) / RATE

    return work


def pq_system() -> tuple[Any, list[Any]]:
    """A measuring system of pqopen-lib for three phases, and the buffers of its six channels."""
    from daqopen.channelbuffer import AcqBuffer
    from pqopen.powersystem import PowerSystem

    channels = [AcqBuffer(size=2 * RATE) for _ in range(6)]
    system = PowerSystem(zcd_channel=channels[0], input_samplerate=RATE)
    for phase in range(3):
        system.add_phase(u_channel=channels[phase], i_channel=channels[3 + phase])
    return system, channels


def pq_feed(system: Any, channels: list[Any], samples: NDArray[np.float64]) -> None:
    """Feed it second by second."""
    for second in range(len(samples) // RATE):
        for column, channel in enumerate(channels):
            channel.put_data(samples[second * RATE : (second + 1) * RATE, column])
        system.process()


def pqopen() -> Work:
    """U, I, P and f of three phases by pqopen-lib, on the same samples, fed second by second."""
    samples = three_phase(i=2.0, pf=0.8).read(5 * RATE)

    def work() -> float:
        pq_feed(*pq_system(), samples)
        return len(samples) / RATE

    return work


def precision() -> dict[str, tuple[float, float]]:
    """The worst errors over ten cycles of U and P by phase, relative, and of f in Hz: ours, pqopen-lib's on the same."""
    worst = {"U": [0.0, 0.0], "P": [0.0, 0.0], "f": [0.0, 0.0]}
    for f in (49.3, 49.7, 50.0, 50.4, 51.0):
        samples = three_phase(i=2.0, pf=0.8, f=f, v_harmonics={5: (0.03, 20.0)}, i_harmonics={5: (0.1, 50.0)}).read(8 * RATE)
        volts, watts = 230.0 * (1.0 + 0.03**2) ** 0.5, 460.0 * (0.8 + 0.003 * math.cos(math.radians(30.0)))
        windows = Metrology(E44, RATE).feed(samples)
        live = windows.live[windows.whole]
        system, channels = pq_system()
        system.enable_harmonic_calculation(1)
        pq_feed(system, channels, samples)
        out = system.output_channels.items()
        theirs = {name: channel.read_data_by_acq_sidx(2 * RATE, 8 * RATE)[0] for name, channel in out}
        for phase, column in enumerate("123"):
            for name, true, of, key in (("U", volts, V_PHASES, f"U{column}_rms"), ("P", watts, P_PHASES, f"P{column}")):
                worst[name][0] = max(worst[name][0], float(np.abs(live[:, of.start + phase] / true - 1.0).max()))
                worst[name][1] = max(worst[name][1], float(np.abs(theirs[key] / true - 1.0).max()))
        worst["f"][0] = max(worst["f"][0], float(np.abs(live[:, F] - f).max()))
        worst["f"][1] = max(worst["f"][1], float(np.abs(theirs["Freq"] - f).max()))
    return {name: (ours, other) for name, (ours, other) in worst.items()}


def bandwidth() -> Work:
    """Reading memory and doing nothing with it but one sum: the limit of any kernel, in the same unit."""
    samples = three_phase(i=2.0).read(400 * RATE)

    def work() -> float:
        np.add.reduce(samples, axis=None)
        return len(samples) / RATE

    return work


def whole_meter() -> Work:
    samples = three_phase(i=2.0, pf=0.8).read(RATE)
    meter = Meter(E44, ct_primary=200)

    def work() -> float:
        for _ in range(20):
            meter.feed(samples)
            meter.pdu(READ)
        return 20.0

    return work


def synthesised_meter() -> Work:
    supply = three_phase(i=2.0, v_harmonics=HARMONICS, i_harmonics=HARMONICS, noise=1e-5)
    meter = Meter(E44, ct_primary=200)

    def work() -> float:
        for _ in range(10):
            meter.feed(supply, seconds=1)
            meter.pdu(READ)
        return 10.0

    return work


def synthesis() -> Work:
    supply = three_phase(i=2.0, v_harmonics=HARMONICS, i_harmonics=HARMONICS, noise=1e-5)
    return lambda: len(supply.read(5 * RATE)) / RATE


def minutes() -> Work:
    meter = Meter(E44)
    some = 50_000
    measurement = Measurement.of(E44, seconds=[60.0] * some, v=[230.0] * 3, i=[1.0] * 3, p=[200.0] * 3, q=[50.0] * 3)

    def work() -> float:
        meter.count(measurement)
        return some / (365.25 * 1440)

    return work


IN_PROCESS: dict[str, tuple[Callable[[], Work], str]] = {
    "kernel": (lambda: kernel(True), "s of 3V+3I at 8 kHz through the loop, everything measured"),
    "kernel, no Q": (lambda: kernel(False), "the same without Q and sequence"),
    "metrology": (metrology, "the same samples to measurements"),
    "pqopen-lib": (pqopen, "the same samples: U I P f by cycle, no Q"),
    "read only": (bandwidth, "the same samples read and summed"),
    "meter": (whole_meter, "meters in real time, from prepared samples to row and image"),
    "meter + supply": (synthesised_meter, "meters in real time, with 7 harmonics and noise made"),
    "supply": (synthesis, "s of signal with 7 harmonics and noise made"),
    "meter-year": (minutes, "years counted in steps of a minute"),
}

PYMODBUS = """
import asyncio, logging, sys
from pymodbus.server import StartAsyncTcpServer
from pymodbus.simulator import SimData, SimDevice
from pymodbus.simulator import DataType
logging.disable(logging.CRITICAL)
device = SimDevice(5, simdata=[SimData(50514, count=60, values=7, datatype=DataType.REGISTERS)])
asyncio.run(StartAsyncTcpServer(device, address=("127.0.0.1", int(sys.argv[1]))))
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Served:
    """A server in a process of its own, which stands still but while it is measured."""

    def __init__(self, *words: str, port: int) -> None:
        self.process, self.port = subprocess.Popen(words, stdout=subprocess.DEVNULL), port
        deadline = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
        os.kill(self.process.pid, signal.SIGSTOP)

    def cpu(self) -> float:
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def requests(self, load: str, connections: int, count: int) -> tuple[float, float]:
        """Return requests per second of time, and of the server's CPU."""
        os.kill(self.process.pid, signal.SIGCONT)
        self._ask(load, connections, 200)  # whatever waited is done
        used = self.cpu()
        seconds = self._ask(load, connections, count)
        used = self.cpu() - used
        os.kill(self.process.pid, signal.SIGSTOP)
        return count / seconds, count / max(used, 0.01)

    def _ask(self, load: str, connections: int, count: int) -> float:
        words = (load, self.port, connections, count, 5, 50514, REGISTERS)
        return float(subprocess.run([str(w) for w in words], check=True, capture_output=True, text=True).stdout.split()[0])

    def stop(self) -> None:
        os.kill(self.process.pid, signal.SIGCONT)
        self.process.kill()
        self.process.wait()


def compiled(name: str, folder: str) -> str:
    """Compile a program of this folder."""
    out = str(Path(folder) / name)
    subprocess.run([os.environ.get("CC", "cc"), "-O2", "-o", out, str(Path(__file__).with_name(name + ".c"))], check=True)
    return out


def over_tcp() -> dict[str, list[float]]:
    """FC3 over TCP: countis run, with a living meter behind it, pymodbus' server, and one that does nothing else."""
    figures: dict[str, list[float]] = defaultdict(list)
    ports = [free_port() for _ in range(3)]
    with tempfile.TemporaryDirectory() as folder:
        load, bare = compiled("load", folder), compiled("bare", folder)
        run = (COMMAND, "run", "--data", folder, "--serial", "none", "--tcp", f"127.0.0.1:{ports[0]}")
        servers = {
            "countis": (Served(*run, port=ports[0]), 100_000),
            "pymodbus": (Served(sys.executable, "-c", PYMODBUS, str(ports[1]), port=ports[1]), 10_000),
            "bare C": (Served(bare, str(ports[2]), str(REGISTERS), port=ports[2]), 100_000),
        }
        try:
            for _ in range(ROUNDS):
                for connections in CONNECTIONS:
                    for name, (server, count) in servers.items():
                        wall, used = server.requests(load, connections, count if connections > 1 else count // 4)
                        figures[f"{name} x{connections}"].append(wall)
                        figures[f"{name} x{connections}, CPU"].append(used)
        finally:
            for server, _ in servers.values():
                server.stop()
    return dict(figures)


def start_up() -> dict[str, list[float]]:
    """Seconds from the command to the first answer, and the memory it has then."""
    figures: dict[str, list[float]] = {"start s": [], "memory MB": []}
    for _ in range(3):
        with tempfile.TemporaryDirectory() as folder:
            port, began = free_port(), time.monotonic()
            ready = Path(folder) / "ready"
            words = (
                COMMAND,
                "run",
                "--data",
                folder,
                "--serial",
                "none",
                "--tcp",
                f"127.0.0.1:{port}",
                "--ready-file",
                str(ready),
            )
            process = subprocess.Popen(words, stdout=subprocess.DEVNULL)
            while not ready.exists():
                time.sleep(0.01)
            with socket.create_connection(("127.0.0.1", port)) as connection:
                connection.sendall(tcp.wrap(1, 5, READ))
                connection.recv(300)
            figures["start s"].append(time.monotonic() - began)
            status = Path(f"/proc/{process.pid}/status").read_text()
            figures["memory MB"].append(int(re.findall(r"VmRSS:\s+(\d+)", status)[0]) / 1024)
            process.terminate()
            process.wait()
    return figures


def in_process() -> dict[str, list[float]]:
    workers = {name: make() for name, (make, _) in IN_PROCESS.items()}
    for work in workers.values():
        work()  # compiles and warms up
    figures: dict[str, list[float]] = {name: [] for name in workers}
    for _ in range(ROUNDS):
        for name, work in workers.items():
            began = time.process_time()
            done = work()
            figures[name].append(done / (time.process_time() - began))
    return figures


def main() -> None:
    figures = in_process() | over_tcp() | start_up()
    m = {name: median(values) for name, values in figures.items()}
    for name, (_, text) in IN_PROCESS.items():
        print(f"{name:16} {m[name]:10.4g} per CPU-second   {text}")
    for name in ("kernel", "kernel, no Q"):
        share = m[name] / m["read only"]
        print(f"{name:16} {m[name] / m['pqopen-lib']:10.0f} x pqopen-lib, {share:.0%} of the read bandwidth")
    print(f"{'meter-year':16} {1 / m['meter-year']:10.1f} s for a year in steps of a minute")
    for connections in CONNECTIONS:
        for name in ("countis", "pymodbus", "bare C"):
            key = f"{name} x{connections}"
            used = 1e6 / m[f"{key}, CPU"]
            print(f"{key:16} {m[key]:10.0f} reads of {REGISTERS} registers per second, {used:.1f} µs of CPU each")
        ours = f"countis x{connections}"
        rate, cpu = (m[f"{ours}{of}"] / m[f"pymodbus x{connections}{of}"] for of in ("", ", CPU"))
        print(f"{'':16} {rate:10.1f} x pymodbus, {cpu:.1f} x by CPU; {m[ours] / m[f'bare C x{connections}']:.0%} of bare C")
    exact = precision()
    for what, (error, other) in exact.items():
        print(f"{'error of ' + what:16} {error:10.2g} at worst over ten cycles, pqopen-lib {other:.2g}, {other / error:.0f} x")
    print(f"{'start':16} {m['start s']:10.2f} s to the first answer, {m['memory MB']:.0f} MB")
    if len(sys.argv) > 1:
        Path(sys.argv[1]).write_text(json.dumps({"rounds": ROUNDS, "medians": m, "errors": exact, "all": figures}, indent=1))


if __name__ == "__main__":
    main()
