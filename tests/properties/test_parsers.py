"""The fuzzer of parsers, at a size that fits: foreign bytes are taken or refused in one line, and nothing else."""

from __future__ import annotations

import random

import pytest
from fuzz.page import Refused
from fuzz.parsers import PARSERS, Parser, play_cases, spoilt

QUICK, SLOW = 150, 4000


@pytest.mark.parametrize("name", PARSERS)
def test_no_parser_lets_anything_out_but_its_error(name: str) -> None:
    taken, refused, _ = play_cases(name, QUICK, 1)
    assert taken > QUICK // 20, "most cases must get past the first look"
    assert refused > QUICK // 20


@pytest.mark.slow
@pytest.mark.parametrize("name", PARSERS)
def test_no_parser_lets_anything_out_in_many_cases(name: str) -> None:
    play_cases(name, SLOW, 2)


def test_cases_are_the_same_for_the_same_seed() -> None:
    first, again = ([spoilt(random.Random(k), PARSERS["site"].seeds()) for k in range(50)] for _ in range(2))
    assert first == again
    assert len(set(first)) > 30


@pytest.mark.parametrize("error", [ValueError("a\nb"), KeyError("x"), Refused("two\nlines"), MemoryError()])
def test_a_parser_that_lets_something_else_out_is_found(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def read(data: bytes) -> None:
        if data != b"fine":
            raise error

    monkeypatch.setitem(PARSERS, "broken", Parser(read, lambda: [b"fine"]))
    with pytest.raises(AssertionError, match="broken, seed 1, case "):
        play_cases("broken", 50, 1)
