"""Faults of one line in memory, counters and slave: the tests named for them must turn red."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

import mutate
from mutate import GREEN, ROOT, Mutation

MUTATIONS = mutate.read()


def test_every_fault_has_its_line() -> None:
    """Quick, so that who changes the line learns it at once."""
    for mutation in MUTATIONS:
        text = (ROOT / mutation.file).read_text()
        assert mutate.mutated(text, mutation) != text, mutation
        assert all((ROOT / test.split("::")[0]).exists() for test in mutation.tests), mutation
    assert len(MUTATIONS) == 12
    assert len({(m.file, m.old) for m in MUTATIONS}) == 12


def test_a_line_that_is_gone_or_there_twice_is_told() -> None:
    for text in ("", "    b = 1\n", "a = 1\nif b:\n    a = 1\n"):
        with pytest.raises(LookupError, match="allowed: 1"):
            mutate.mutated(text, Mutation("some.py", "a = 1", "a = 2", "", ()))
    assert mutate.mutated("if b:\n    a = 1\n", Mutation("some.py", "a = 1", "a = 2", "", ())) == "if b:\n    a = 2\n"


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the tree, in which all tests that are to turn red are green."""
    copied = mutate.copy(tmp_path_factory.mktemp("tree"))
    assert mutate.home(copied) == copied / "src" / "countis" / "__init__.py"
    code, text = mutate.run(copied, sorted({test for mutation in MUTATIONS for test in mutation.tests}))
    assert code == GREEN, text
    return copied


@pytest.mark.slow
@pytest.mark.parametrize("mutation", MUTATIONS, ids=str)
def test_a_fault_is_seen(mutation: Mutation, tree: Path) -> None:
    before = (tree / mutation.file).read_text()
    assert mutate.seen(tree, mutation), f"{mutation} survives {', '.join(mutation.tests)}"
    assert (tree / mutation.file).read_text() == before


@pytest.mark.slow
def test_what_is_no_fault_survives(tree: Path) -> None:
    same = "return max([copy for copy in _copies(data, page) if copy is not None], default=None)"
    harmless = replace(MUTATIONS[1], new=same, tests=("tests/test_memory.py",))
    assert mutate.seen(tree, harmless) == ""
    with pytest.raises(AssertionError, match="pytest ended with 4"):
        mutate.seen(tree, replace(harmless, tests=("tests/test_that_is_not_there.py",)))
    with pytest.raises(AssertionError, match="pytest ended with 2"):  # a file that cannot be imported is not a test that fails
        mutate.seen(tree, replace(harmless, new="return ]"))
