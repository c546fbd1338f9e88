"""Short notations of command line, site file and targets: `8N1`, `200/5`, `HOST:PORT`.

Rule: what is wrong is a SettingError, which a caller with a text of its own takes as a ValueError.
"""

from __future__ import annotations

from typing import Final

from countis.words.errors import SettingError
from countis.words.settings import Value, setting

COMSETS: Final = "8N1, 8E1, 8O1, 8N2, 8E2, 8O2"
CT_RATIOS: Final = "PRIMARY/SECONDARY, 1..12000 / 1 or 5"


def setting_value(symbol: str, text: Value, where: str) -> Value:
    """Return the value of a setting from a text, as a number where it is one."""
    row = setting(symbol)
    try:
        return row.check(int(text) if isinstance(row.default, int) else text)
    except ValueError:
        raise SettingError(where, f"{text!r} is not possible", row.allowed_text()) from None


def comset(text: str, where: str) -> tuple[str, int]:
    """Return parity and stop bits of a text like `8N1`; letters may be small."""
    if len(text) == 3 and text[0] == "8" and text[1].upper() in ("N", "E", "O") and text[2] in "12":
        return text[1].upper(), int(text[2])
    raise SettingError(where, f"{text!r} is not possible", COMSETS)


def ct_ratio(text: str, where: str) -> tuple[int, int]:
    """Return CT primary and secondary in A of a text like `200/5`."""
    primary, slash, secondary = text.partition("/")
    if not slash:
        raise SettingError(where, f"{text!r} is not possible", CT_RATIOS)
    pair = (("ct_primary", primary), ("ct_secondary", secondary))
    first, second = (int(setting_value(symbol, part, where)) for symbol, part in pair)
    return first, second


def endpoint(text: str, where: str) -> tuple[str, int]:
    """Return host and port of `HOST:PORT`."""
    host, _, port = text.rpartition(":")
    if not host or not (port.isascii() and port.isdigit()) or len(port) > 5 or int(port) > 65535:
        raise SettingError(where, f"{text!r} is not possible", "HOST:PORT")
    return host.strip("[]"), int(port)
