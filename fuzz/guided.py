"""The search of atheris, in a process of its own because its loop never returns: `python -m fuzz.guided -runs=N FOLDER`."""

import sys

import atheris  # type: ignore[import-untyped, import-not-found, unused-ignore]

SEARCHED = ["countis.modbus", "countis.slave", "countis.diagnostics", "countis.applying", "countis.host"]

with atheris.instrument_imports(include=SEARCHED, enable_loader_override=False):
    from fuzz.slave import TestOneInput

atheris.Setup(sys.argv, TestOneInput)
atheris.Fuzz()
