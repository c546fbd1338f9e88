"""The search of atheris, in a process of its own because its loop never returns.

`python -m fuzz.guided TARGET -runs=N FOLDER`, where TARGET is `ports` or the name of a parser of `parsers.py`.
"""

import sys
import warnings
from functools import partial

import atheris  # type: ignore[import-untyped, import-not-found, unused-ignore]

PORTS = ["countis.modbus", "countis.meter", "countis.serve", "countis.host"]
PARSERS = ["countis.words.toml", "countis.supply.toml_file", "countis.supply.recorded",
           "countis.site", "countis.meter", "countis.serve", "countis.modbus",
           "countis.host", "comtrade", "tomllib"]  # fmt: skip
COMPILED = ["countis.supply.synthesis", "countis.meter.metrology.kernel"]  # numba does not know what atheris puts in

target = sys.argv.pop(1)
include = PORTS if target == "ports" else PARSERS
with atheris.instrument_imports(include=include, exclude=COMPILED, enable_loader_override=False):
    if target == "ports":
        from fuzz.slave import TestOneInput
        read = TestOneInput
    else:
        from fuzz.parsers import one_input

        read = partial(one_input, target)
        warnings.simplefilter("error")

atheris.Setup(sys.argv, read)
atheris.Fuzz()
