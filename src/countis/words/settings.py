"""Every value that can be set: range, default, LCD code, and whether the seal guards it.

Rule: one row here feeds the SETUP menus, Modbus settings, command line, site file and memory image.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from countis.words.errors import SettingError, UnknownSymbol

Value = int | str
CHANNELS: Final = ("V1", "V2", "V3", "I1", "I2", "I3")
FULL_SCALE: Final = (350.0,) * 3 + (120.0,) * 3  # converter, RMS V and secondary A (decision 44)
MIN_RATE, MAX_RATE = 800, 50_000  # samples per second a meter takes
PROMISED_RATE: Final = 3200  # samples per second from which on the accuracy is promised
GAIN_RANGE: Final = (0.5, 2.0)
MOST_DELAY: Final = 200e-6  # s, 3.6° at 50 Hz


@dataclass(frozen=True, slots=True)
class Calibration:
    """The constants of the front end, by channel V1 V2 V3 I1 I2 I3; measured in a laboratory, sealed.

    gain: factor on the samples of a channel. delay: s by which a channel is late.
    """

    gain: tuple[float, ...] = (1.0,) * 6
    delay: tuple[float, ...] = (0.0,) * 6

    def checked(self) -> Calibration:
        """Return self; SettingError where a constant is out of range."""
        _in_range("gain", self.gain, *GAIN_RANGE)
        _in_range("delay in s", self.delay, -MOST_DELAY, MOST_DELAY)
        return self


def _in_range(name: str, values: tuple[float, ...], low: float, high: float) -> None:
    if len(values) != len(CHANNELS):
        raise SettingError(f"calibration, {name}", f"{len(values)} values", str(len(CHANNELS)))
    for channel, value in zip(CHANNELS, values, strict=True):
        if not low <= value <= high:
            where = f"calibration, {name} of {channel}"
            raise SettingError(where, f"{value:.6g} is not possible", f"{low:g}..{high:g}")


@dataclass(frozen=True, slots=True)
class Setting:
    """One value that can be set."""

    symbol: str
    name: str
    default: Value
    allowed: range | tuple[Value, ...] | None  # None: printable ASCII of at most 16 characters
    lcd: str = ""  # code on the LCD, where it has one
    unit: str = ""
    sealed: bool = False  # guarded by the seal of a MID meter (decision 13)
    rates: bool = False  # energy is rated by it: a change closes the open window of samples first
    source: str = "assumed"

    def check(self, value: object) -> Value:
        """Return `value` if this setting takes it; SettingError where it does not."""
        if self.allowed is None:
            if isinstance(value, str) and len(value) <= 16 and value.isascii() and value.isprintable():
                return value
        elif isinstance(value, int | str) and not isinstance(value, bool) and value in self.allowed:
            return value
        raise SettingError(self.symbol, f"{value!r} is not possible", self.allowed_text())

    def allowed_text(self) -> str:
        """Return the allowed values in words."""
        if self.allowed is None:
            return "up to 16 printable ASCII characters"
        if isinstance(self.allowed, range):
            return f"{self.allowed.start}..{self.allowed.stop - 1}" + (f" {self.unit}" if self.unit else "")
        return ", ".join(str(v) for v in self.allowed)


_ASSUMED: Final = "; default assumed"
_ROWS: Final = (
    Setting("address", "slave address", 5, range(1, 248), "Addr", source="manual §9.1.4" + _ASSUMED),
    Setting("baud", "communication speed", 38400, (1200, 2400, 4800, 9600, 19200, 38400, 57600, 115200),
            "bAud", "bps", source="manual §13" + _ASSUMED),
    Setting("parity", "frame parity", "N", ("N", "O", "E"), "Prty", source="manual §14" + _ASSUMED),
    Setting("stop_bits", "frame stop bits", 1, (1, 2), "StoP", source="manual §14" + _ASSUMED),
    Setting("ct_primary", "CT primary", 5, range(1, 12001), "CtP", "A", sealed=True, rates=True,
            source="manual §13" + _ASSUMED),
    Setting("ct_secondary", "CT secondary", 5, (1, 5), "FSA", "A", sealed=True, rates=True,
            source="manual §13" + _ASSUMED),
    Setting("tariff_control", "tariff by the bus or by the input", "dig", ("com", "dig"), "tAr", sealed=True,
            source="manual §9.1.1" + _ASSUMED),
    Setting("demand_period", "demand and load-curve period", 900,
            (60, 120, 180, 240, 300, 360, 480, 600, 720, 900, 1200, 1800, 3600), unit="s", rates=True,
            source="table V201.255 57355" + _ASSUMED),
    Setting("wires", "wires of the network, 3 on an E43 only", 4, (4, 3), rates=True,
            source="manual §4.6.1, decision 27"),
    Setting("sealed", "terminal cover sealed", 0, (0, 1), source="manual §7, decision 13"),
    Setting("user_lock", "USER lock of address and clock", 0, (0, 1),
            source="table V201.255; unlocking assumed"),
    Setting("serial_number", "serial number", "", None, source="table V201.255 50008; text form assumed"),
    Setting("product_id", "product id of register 50005", 0, range(65536), source="assumed"),
)

SETTINGS: Final[dict[str, Setting]] = {row.symbol: row for row in _ROWS}
FACTORY: Final[Mapping[str, Value]] = {row.symbol: row.default for row in _ROWS}


def setting(symbol: str) -> Setting:
    """Return a setting by its symbol; UnknownSymbol if there is none."""
    try:
        return SETTINGS[symbol]
    except KeyError:
        raise UnknownSymbol(symbol, SETTINGS) from None
