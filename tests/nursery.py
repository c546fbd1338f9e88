"""`python nursery.py`: a process that has everything loaded and compiled, and forks a real `countis` for each line it is told.

In: the words of a command line as JSON; out: the child's process id. The next line, empty, waits for its end; out: how it
ended, as `waitpid` has it.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from types import TracebackType


def serve() -> None:
    """Answer until there is nobody to ask."""
    from countis import E44, Meter
    from countis.__main__ import main
    from countis.supply import three_phase

    importlib.import_module("countis.host.run")  # which a start loads lazily
    Meter(E44).feed(three_phase(230.0, 1.0), seconds=1)
    print("ready", flush=True)
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            sys.argv = ["countis", *json.loads(line)]
            null = os.open(os.devnull, os.O_RDWR)
            os.dup2(null, 0)
            os.dup2(null, 1)
            os._exit(main())
        print(child, flush=True)
        sys.stdin.readline()
        print(os.waitpid(child, 0)[1], flush=True)


class Nursery:
    """Its other end, for tests."""

    def __enter__(self) -> Nursery:
        self._process = subprocess.Popen([sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._heard() == "ready"
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._process.communicate()

    def _heard(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def _say(self, line: str) -> str:
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        return self._heard()

    def fork(self, *words: str) -> int:
        """Start `countis` with these words; return its process id."""
        return int(self._say(json.dumps(words)))

    def wait(self) -> int:
        """Wait until it has ended; return how, as `waitpid` does."""
        return int(self._say(""))


if __name__ == "__main__":
    serve()
