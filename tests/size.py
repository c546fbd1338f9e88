"""`make size`: lines by file, the longest functions, and tests against source; fails where something is over its limit."""

from __future__ import annotations

import ast
import sys
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FILE_LIMIT, FUNCTION_LIMIT, FOLDER_LIMIT, SHOWN = 400, 40, 12, 12
REASONS = {  # what may be over its limit, and why
    "src/countis/meter/metrology/kernel.py:run": "one compiled loop: its steps share a dozen sums of the window",
}


def lines(path: Path) -> int:
    return len(path.read_text().splitlines())


def functions(path: Path) -> list[tuple[int, str]]:
    """Length and place of each function; docstrings do not count."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0]
            text = first.end_lineno - first.lineno + 1 if ast.get_docstring(node) and first.end_lineno else 0
            found.append(((node.end_lineno or node.lineno) - node.lineno + 1 - text, f"{path.relative_to(ROOT)}:{node.name}"))
    return found


def sizes(source: list[Path]) -> list[tuple[str, int, str, int]]:
    """What is measured, its size, its name and its limit; folders without `__init__` and `__main__`."""
    files = [("file", lines(path), str(path.relative_to(ROOT)), FILE_LIMIT) for path in source]
    calls = [("function", length, name, FUNCTION_LIMIT) for path in source for length, name in functions(path)]
    inside = Counter(path.parent.relative_to(ROOT) for path in source if not path.name.startswith("__"))
    return [*files, *calls, *(("folder", count, str(folder), FOLDER_LIMIT) for folder, count in inside.items())]


def over(source: list[Path]) -> list[str]:
    """What is over its limit without a reason."""
    return [f"{kind} {name}: {size} (limit {limit})" for kind, size, name, limit in sizes(source)
            if size > limit and name not in REASONS]


def main() -> int:
    source, tests = (sorted((ROOT / name).rglob("*.py")) for name in ("src", "tests"))
    for wanted in ("file", "folder", "function"):
        print(f"the largest by {wanted}")
        rows = sorted(((size, name) for kind, size, name, _ in sizes(source) if kind == wanted), reverse=True)
        for size, name in rows[:SHOWN]:
            print(f"{size:5} {name}{'   ' + REASONS[name] if name in REASONS else ''}")
    transcripts = sorted((ROOT / "tests").rglob("*.txt"))
    ours, theirs, played = (sum(map(lines, paths)) for paths in (source, tests, transcripts))
    print(f"\n{ours} lines of source in {len(source)} files, {theirs} of tests and {played} of transcripts,", end=" ")
    print(f"{(theirs + played) / ours:.2f} to one")
    beyond = over(source)
    print("\n".join(beyond), file=sys.stderr) if beyond else None
    return 1 if beyond else 0


if __name__ == "__main__":
    sys.exit(main())
