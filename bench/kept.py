"""A living meter on a pty that keeps 3.5 characters of silence before each reply, as on a device; for the bench of the line.

`python bench/kept.py DATA --ready-file FILE` prints nothing and runs until it is killed.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from pathlib import Path

from countis import E44, Meter
from countis.host.running.feeder import Feeder
from countis.host.running.hub import LineHub, MeterPort
from countis.host.running.memory_file import MemoryFile
from countis.host.running.runner import Runner
from countis.host.running.sources import Raw, open_source
from countis.serve.serial_port import SerialPort


def main() -> None:
    memory, meter = MemoryFile(Path(sys.argv[1])), Meter(E44, ct_primary=200, ct_secondary=5)
    source = open_source(None, None, meter.ratio, 43200.0, Raw())
    meter.set_rate(source.rate)
    memory.create(meter.save())
    feeder = Feeder(meter, source, 1.0)
    runner = Runner([(feeder, memory)])
    port = SerialPort(LineHub([MeterPort(feeder)]), "pty", keep_silence=True)
    port.start()
    runner.start()
    runner.ready.wait()
    fresh = Path(sys.argv[3] + ".new")
    fresh.write_text(json.dumps({"pid": os.getpid(), "serial": port.name, "tcp": None, "address": 5}))
    fresh.rename(sys.argv[3])
    threading.Event().wait()


if __name__ == "__main__":
    main()
