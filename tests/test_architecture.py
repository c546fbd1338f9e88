"""The house keeps its rule: who may import whom, no circle, and no clock, file or socket in the core."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import countis
import pytest

import size

ROOT = Path(countis.__file__).parent
# Room, by the beginning of its path -> rooms it may import beside itself; the longest beginning that fits is taken.
MAY_IMPORT: dict[str, tuple[str, ...]] = {
    "words": (),
    "modbus": ("words",),
    "models": ("words", "modbus"),
    "meter/metrology": ("words", "models"),
    "meter/energy": ("words", "models", "meter/metrology"),
    "meter/panel": ("words", "models"),
    "meter/memory": ("words", "models", "meter/energy", "meter/memory/image", "meter/state"),
    "meter/state": ("words", "models", "meter/metrology", "meter/energy", "meter/memory"),
    "meter": ("words", "modbus", "models"),
    "supply": ("words",),
    "serve": ("words", "modbus"),
    "site": ("words", "modbus", "models"),
    "host/running": ("words", "modbus", "models", "meter", "supply", "serve", "__init__"),
    "host/page": ("words", "modbus", "models", "meter", "supply", "serve", "host/running"),
    "host/terminal": ("words", "meter/panel"),
    "host/lab": ("words", "modbus", "models", "meter", "supply", "host/running"),
    "host": ("words", "modbus", "models", "serve", "site", "supply", "meter"),
    "cli": ("words", "modbus", "models", "meter", "serve", "site", "host", "__init__"),
    "__main__": ("cli", "words"),
    "__init__": ("words", "models", "meter", "site"),
}
CORE = ("words", "modbus", "models", "meter", "supply")
FORBIDDEN = {"asyncio", "socket", "serial", "time", "random", "os", "pathlib", "threading", "logging", "datetime", "secrets"}
LIBRARIES = {"numpy", "fastcrc"}
COMPILED = {"meter/metrology/kernel.py", "supply/synthesis.py"}
READS_COMTRADE = {"supply/recorded/comtrade_file.py"}
MOST_ENTRIES = 12


def modules() -> Iterator[str]:
    """Every file, as its path without ending: `meter/energy/pulse`; a package is its folder."""
    for path in sorted(ROOT.rglob("*.py")):
        yield path.relative_to(ROOT).with_suffix("").as_posix()


MODULES = set(modules())


def file_of(module: str) -> Path:
    return ROOT / f"{module}.py"


def imports(module: str) -> Iterator[str]:
    """What a file imports, wherever it does: in functions and under TYPE_CHECKING too."""
    for node in ast.walk(ast.parse(file_of(module).read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def ours(module: str) -> set[str]:
    """The files of ours that a file imports."""
    ours = [name for name in imports(module) if name.split(".")[0] == "countis"]
    names = {name.replace(".", "/").removeprefix("countis").lstrip("/") for name in ours}
    exact = {name or "__init__" for name in names if (name or "__init__") in MODULES}
    packages = {f"{name}/__init__" for name in names if f"{name}/__init__" in MODULES}
    return (exact | packages) - {module}


def within(module: str, room: str) -> bool:
    return module == room or module.startswith(f"{room}/")


def room_of(module: str) -> str:
    return max((room for room in MAY_IMPORT if within(module, room)), key=len)


@pytest.mark.parametrize("module", sorted(MODULES))
def test_a_room_imports_only_what_it_may(module: str) -> None:
    room = room_of(module)
    allowed = (room, *MAY_IMPORT[room])
    assert [other for other in sorted(ours(module)) if not any(within(other, a) for a in allowed)] == []


def test_no_circle_between_files() -> None:
    graph = {module: {other for other in ours(module) if not other.endswith("__init__")} for module in MODULES}
    TopologicalSorter(graph).prepare()  # CycleError names one


def test_rooms_are_few_and_none_is_a_shelf() -> None:
    entries = {path.name for path in ROOT.iterdir() if path.name != "__pycache__"}
    assert len(entries) <= MOST_ENTRIES
    assert {name for name in entries if name.endswith(".py")} == {"__init__.py", "__main__.py"}


def test_no_file_folder_or_function_is_over_its_size_without_a_reason() -> None:
    source = sorted(ROOT.rglob("*.py"))
    assert size.over(source) == []
    assert size.REASONS.keys() <= {name for _, length, name, limit in size.sizes(source) if length > limit}, "needs no reason"


@pytest.mark.parametrize("module", sorted(m for m in MODULES if m.split("/")[0] in CORE))
def test_the_core_has_no_clock_file_or_socket(module: str) -> None:
    tops = {name.split(".")[0] for name in imports(module)}
    assert tops & FORBIDDEN == set()
    outside = tops - set(sys.stdlib_module_names) - {"countis"} - LIBRARIES
    place = f"{module}.py"
    assert outside == ({"numba"} if place in COMPILED else {"comtrade"} if place in READS_COMTRADE else set())
    calls = {
        n.func.id
        for n in ast.walk(ast.parse(file_of(module).read_text()))
        if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)
    }
    assert "open" not in calls
    assert "print" not in calls


@pytest.mark.parametrize("words", ["import countis.site", "import countis.cli.main"])
def test_what_needs_no_meter_loads_none(words: str) -> None:
    code = f"{words}; import sys; print([m for m in sys.modules if m.startswith(('numba', 'countis.meter'))])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_public_names() -> None:
    assert sorted(countis.__all__) == sorted(countis._HOMES)
    assert all(getattr(countis, name) is not None for name in countis.__all__)
    with pytest.raises(AttributeError):
        _ = countis.nothing
