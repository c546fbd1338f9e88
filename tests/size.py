"""`make size`: lines by file, the longest functions, and tests against source."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FILE_LIMIT, FUNCTION_LIMIT, SHOWN = 400, 40, 12


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


def main() -> None:
    source, tests = (sorted((ROOT / name).rglob("*.py")) for name in ("src", "tests"))
    for path in sorted(source, key=lines, reverse=True):
        print(f"{lines(path):5} {path.relative_to(ROOT)}{'   over the limit' if lines(path) > FILE_LIMIT else ''}")
    print("\nlongest functions")
    for length, name in sorted((f for path in source for f in functions(path)), reverse=True)[:SHOWN]:
        print(f"{length:5} {name}{'   over the limit' if length > FUNCTION_LIMIT else ''}")
    transcripts = sorted((ROOT / "tests").rglob("*.txt"))
    ours, theirs, played = (sum(map(lines, paths)) for paths in (source, tests, transcripts))
    print(f"\n{ours} lines of source in {len(source)} files, {theirs} of tests and {played} of transcripts,", end=" ")
    print(f"{(theirs + played) / ours:.2f} to one")


if __name__ == "__main__":
    main()
