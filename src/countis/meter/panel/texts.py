"""What the LCD writes that is no value: answers, choices, and what stands for them (manual §9.1, §14)."""

from __future__ import annotations

from typing import Final

# How the LCD writes what can be chosen (manual §14); what is not here is written as it is.
WRITTEN: Final = {"parity": {"N": "n", "O": "o", "E": "E"}, "tariff_control": {"com": "COM", "dig": "diG"}}
LEAVING: Final = ("Y", "N", "C")  # save and exit, exit without saving, continue
LEAVING_CODE: Final = "EXit"  # assumed
RESET_CODE: Final = "rES"  # of a partial in a setup
CONFIRM: Final = "ConF?"
PORT: Final = "rS485"  # assumed
