"""The table of verbs, and the way from words to the module of one verb.

Rule: only the module of the verb that was asked for is imported; the list of verbs is printed from the table.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from importlib import import_module
from typing import Final, NamedTuple, NoReturn, Protocol, cast

from countis import __version__
from countis.words.errors import SettingError


class Verb(NamedTuple):
    """A verb: its module in this package, and its help in one line."""

    module: str
    help: str


VERBS: Final = {
    "run": Verb("run", "run a meter, with its ports, its supply and its memory"),
    "bus": Verb("bus", "run up to 247 meters on each line of a site file"),
    "faults": Verb("faults", "let a running meter answer wrongly on purpose; without a kind: say what holds"),
    "replay": Verb("replay",
                   "send the requests of a trace, writes too, and show what is answered differently"),
    "events": Verb("events", "show the event log of a memory, also while its meter runs"),
    "panel": Verb("panel", "LCD, keys and values of a running meter, in a terminal"),
    "read": Verb("read", "read a meter by symbol, real or virtual"),
    "map": Verb("map", "print the Modbus table"),
    "record": Verb("lab", "write what a supply makes as COMTRADE, WAV, CSV or raw float32"),
    "probe": Verb("lab", "say what is in a recording and propose a channel map"),
    "calibrate": Verb("lab", "find the constants of the front end against a reference supply, and keep them"),
    "typetest": Verb("lab", "the accuracy bench, against every limit; exit code 1 where one is missed"),
    "check": Verb("lab", "check a supply file"),
}


class VerbModule(Protocol):
    """The functions of the module of a verb."""

    def add(self, parser: argparse.ArgumentParser) -> None: ...

    def call(self, args: argparse.Namespace) -> int: ...


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        where = self.prog.removeprefix("countis").strip() or "usage"
        raise SettingError(where, message, f"see {self.prog} --help")


def module_of(verb: str) -> VerbModule:
    """Import the module of a verb."""
    return cast(VerbModule, import_module(f"countis.cli.{VERBS[verb].module}"))


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Return the arguments, with the verb as `verb`; SettingError where they are wrong."""
    first_word = next((word for word in argv if not word.startswith("-")), "")
    # An option before the verb may ask for the list of all verbs; so does the error of a wrong verb.
    listed = (first_word,) if first_word in VERBS and argv[0] == first_word else tuple(VERBS)
    parser = _Parser(prog="countis", description="The COUNTIS E43/E44 energy meter in software.")
    parser.add_argument("--version", action="version", version=f"countis {__version__}")
    verbs = parser.add_subparsers(required=True, metavar="COMMAND", parser_class=_Parser)
    for name in listed:
        of_verb = verbs.add_parser(name, help=VERBS[name].help)
        of_verb.set_defaults(verb=name)
        if name == first_word:
            module_of(name).add(of_verb)
    return parser.parse_args(argv)


def main(argv: Sequence[str]) -> int:
    """Run one verb; return its exit code. CountisError on bad input."""
    args = parse(argv)
    return module_of(args.verb).call(args)
