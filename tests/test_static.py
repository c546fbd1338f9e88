"""The page is told what the tables say, and repeats none of it."""

from __future__ import annotations

import json
from importlib import resources

import pytest
from countis.host.page.vocabulary import vocabulary
from countis.models import MODELS

STATIC = resources.files("countis.host.page").joinpath("static")
WORDS = vocabulary()


def test_the_vocabulary_says_what_the_tables_say() -> None:
    assert list(WORDS["models"]) == list(MODELS)
    assert WORDS["models"]["E44"]["sealable"]
    assert not WORDS["models"]["E43"]["sealable"]
    assert WORDS["faults"]["late"] == {"name": "ms", "default": 500.0, "low": 0.0, "high": 60_000.0}
    assert WORDS["faults"]["no_reply"] is None
    assert {"steady", "heat_pump", "pv"} <= set(WORDS["profiles"])
    assert [row["symbol"] for row in WORDS["energies"]][-1] == "Eap"
    assert {"kWh", "Hz"} <= set(WORDS["lcd_units"])
    assert json.loads(json.dumps(WORDS, allow_nan=False))


@pytest.mark.parametrize(
    "word", ["no_reply", "truncated", "heat_pump", "E43", "E44", "4850 3066", "Er+ind", "kvarh\"", "Mvar", "par.Ea"]
)
def test_no_module_of_the_page_repeats_a_word_of_the_tables(word: str) -> None:
    repeating = [file.name for file in STATIC.iterdir() if file.name.endswith(".js") and word in file.read_text()]
    assert repeating == (["values.js"] if word == "kvarh\"" else [])  # the unit of the balance, which is no kind
