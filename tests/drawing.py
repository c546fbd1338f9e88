"""`make docs/architecture`: the arrows between rooms, from the imports there are, into ARCHITECTURE.md."""

from __future__ import annotations

import re
from pathlib import Path

from test_architecture import MODULES, ours

PAGE = Path(__file__).resolve().parents[1] / "ARCHITECTURE.md"
_FENCE = re.compile(r"```mermaid\n.*?```\n", re.S)
_SPLIT = ("host",)  # rooms whose folders are drawn one by one
_DOORS = ("__init__", "__main__")
_ALL_USE = "words"  # which would only be in the way


def room(module: str) -> str:
    """Return the room of a file as it is drawn."""
    parts = module.split("/")
    return "/".join(parts[:2]) if parts[0] in _SPLIT and len(parts) > 2 else parts[0]


def arrows() -> set[tuple[str, str]]:
    """Return which room imports which."""
    pairs = {(room(module), room(other)) for module in MODULES for other in ours(module)}
    return {(a, b) for a, b in pairs if a != b and not {a, b} & set(_DOORS)}


def drawing() -> str:
    """Return the rooms and their arrows as mermaid."""
    names = {room(module) for module in MODULES} - set(_DOORS) - {_ALL_USE}
    lines = sorted(f"  {a.replace('/', '_')} --> {b.replace('/', '_')}" for a, b in arrows() if b != _ALL_USE)
    boxes = sorted(f'  {name.replace("/", "_")}["{name}"]' for name in names)
    return "\n".join(["```mermaid", "flowchart TD", *boxes, *lines, "```"]) + "\n"


def drawn(text: str) -> str:
    """Return a page with the drawing in it brought up to date."""
    return _FENCE.sub(lambda _: drawing(), text)


if __name__ == "__main__":
    PAGE.write_text(drawn(PAGE.read_text()))
