"""The house keeps its rule: who may import whom, and no clock, file or socket in the core."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import countis

ROOT = Path(countis.__file__).parent
WORDS = {"quantities", "settings", "commands", "models", "errors"}
# room -> rooms it may import; a module at the top of the package is a room of its own.
MAY_IMPORT: dict[str, set[str]] = {
    "quantities": set(),
    "errors": set(),
    "models": set(),
    "settings": {"errors"},
    "commands": {"settings"},
    "metrology": WORDS,
    "energy": WORDS | {"metrology"},
    "panel": WORDS,
    "toml_reader": WORDS,
    "supply": WORDS | {"toml_reader"},
    "modbus": WORDS,
    "chance": set(),
    "rs485": WORDS | {"modbus", "chance"},
    "faults": WORDS | {"modbus", "chance"},
    "event_log": WORDS,
    "memory": WORDS | {"energy", "event_log"},
    "store": WORDS | {"energy", "event_log", "memory", "meter"},
    "meter": WORDS | {"metrology", "energy", "event_log", "modbus", "memory", "slave", "front", "store", "applying", "panel"},
    "applying": WORDS | {"energy", "event_log", "meter"},
    "slave": WORDS | {"metrology", "energy", "event_log", "modbus", "memory", "meter", "diagnostics"},
    "diagnostics": WORDS | {"modbus"},
    "front": WORDS | {"event_log", "panel", "meter"},
    "host": WORDS | {"event_log", "energy", "panel", "faults", "rs485", "site", "meter", "metrology", "slave", "memory",
                     "supply", "modbus", "firmware"},
    "site": WORDS | {"modbus", "toml_reader", "faults"},
    "firmware": {"models", "__init__"},
    "typetest": WORDS | {"meter", "metrology", "energy", "supply", "modbus", "firmware"},
    "cli_bus": WORDS | {"host", "faults", "cli_line"},
    "cli_line": WORDS | {"site", "modbus"},
    "cli_log": WORDS | {"host", "memory", "meter"},
    "cli": WORDS | {"cli_log", "cli_bus", "cli_line", "host", "site", "modbus", "typetest", "__init__"},
    "__main__": {"cli", "errors"},
    "__init__": WORDS | {"panel", "meter", "metrology", "site"},
}
SHELLS = ("host", "site", "typetest", "firmware", "cli", "cli_bus", "cli_line", "cli_log", "__main__", "__init__")
CORE = [room for room in MAY_IMPORT if room not in SHELLS]
FORBIDDEN = {"asyncio", "socket", "serial", "time", "random", "os", "pathlib", "threading", "logging", "datetime", "secrets"}
LIBRARIES = {"numpy", "fastcrc"}
COMPILED = {"metrology/kernel.py", "supply/synthesis.py"}
READS_COMTRADE = {"supply/comtrade_file.py"}


def modules() -> Iterator[tuple[str, Path]]:
    for path in sorted(ROOT.rglob("*.py")):
        inside = path.relative_to(ROOT)
        yield inside.parts[0] if len(inside.parts) > 1 else inside.stem, path


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def rooms_of(name: str) -> set[str]:
    parts = name.split(".")
    return {parts[1]} if parts[0] == "countis" and len(parts) > 1 and parts[1] in MAY_IMPORT else set()


@pytest.mark.parametrize(("room", "path"), list(modules()), ids=lambda v: str(v))
def test_a_room_imports_only_what_it_may(room: str, path: Path) -> None:
    used = {other for name in imports(path) for other in rooms_of(name)}
    assert used - MAY_IMPORT[room] - {room} == set()


@pytest.mark.parametrize(("room", "path"), [m for m in modules() if m[0] in CORE], ids=lambda v: str(v))
def test_the_core_has_no_clock_file_or_socket(room: str, path: Path) -> None:
    tops = {name.split(".")[0] for name in imports(path)}
    assert tops & FORBIDDEN == set()
    outside = tops - set(sys.stdlib_module_names) - {"countis"} - LIBRARIES
    place = path.relative_to(ROOT).as_posix()
    assert outside == ({"numba"} if place in COMPILED else {"comtrade"} if place in READS_COMTRADE else set())
    calls = {
        n.func.id for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)
    }
    assert "open" not in calls
    assert "print" not in calls


def test_the_site_loads_neither_numba_nor_the_meter() -> None:
    code = "import countis.site, sys; print([m for m in sys.modules if m.startswith(('numba', 'countis.meter'))])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_public_names() -> None:
    assert sorted(countis.__all__) == sorted(countis._HOMES)
    assert all(getattr(countis, name) is not None for name in countis.__all__)
    with pytest.raises(AttributeError):
        _ = countis.nothing
