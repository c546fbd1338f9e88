"""What is really installed: versions and the checksums CS1 and CS2 (manual §10.8, decision 28).

Rule: CS1 covers what makes the legal figures, CS2 everything else; both are taken of the files as they are.
"""

from __future__ import annotations

import functools
import platform
from pathlib import Path
from typing import Final
from zlib import crc32

from countis import __version__
from countis.models import Firmware

ROOT: Final = Path(__file__).parents[2]
RECORDED: Final = ROOT / "meter" / "CS1"  # `make cs1` writes it
METROLOGICAL: Final = ("meter/metrology/", "meter/energy/", "meter/memory/image.py")


def checksums() -> tuple[int, int]:
    """Return CS1 and CS2, the CRC-32 of the source files in the order of their names."""
    sums = {True: 0, False: 0}
    for path in sorted(ROOT.rglob("*.py")):
        inside = path.relative_to(ROOT)
        legal = inside.as_posix().startswith(METROLOGICAL)
        sums[legal] = crc32(inside.as_posix().encode() + b"\0" + path.read_bytes(), sums[legal])
    return sums[True], sums[False]


@functools.cache
def installed() -> Firmware:
    """Return what the meter shows; a CS1 that is not the recorded one is a malfunction (decision 28)."""
    cs1, cs2 = checksums()
    recorded = RECORDED.read_text().strip() if RECORDED.exists() else ""
    major, minor, revision = (int(part) for part in __version__.split("."))
    return Firmware((major, minor, revision), cs1=cs1, cs2=cs2, malfunction=f"{cs1:08X}" != recorded)


def versions() -> dict[str, str]:
    """Return what a report names: countis and CS1, the interpreter, the libraries that calculate."""
    import numba
    import numpy as np

    ours = {"countis": __version__, "CS1": f"{checksums()[0]:08X}"}
    return {**ours, "python": platform.python_version(), "numpy": np.__version__, "numba": numba.__version__}


if __name__ == "__main__":
    RECORDED.write_text(f"{checksums()[0]:08X}\n")
