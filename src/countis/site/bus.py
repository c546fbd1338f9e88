"""Bus: our end of a line, and the meters on it, read and written by symbol."""

from __future__ import annotations

from typing import Final

from countis.modbus import pdu
from countis.modbus.table import Row
from countis.models import E44, Model
from countis.site.line import Line, Loopback, Responder, open_line
from countis.site.plan import Reading, plan_of, value
from countis.words.errors import BadReply, Refused, SettingError
from countis.words.settings import setting

_MEANING: Final = {1: "function or state", 2: "address", 3: "value", 11: "no such unit"}


class Bus:
    """A line with its meters: `bus[5].read("P", "Ea+")`. Raises BusError and its children.

    model: of the meters; its table places every symbol.
    """

    def __init__(self, line: Line, model: Model = E44) -> None:
        self._line, self._model = line, model

    @classmethod
    def open(cls, target: str, *, baud: int = 38400, comset: str = "8N1", timeout: float = 1.0,
             model: Model = E44) -> Bus:
        """Open a device path, `tcp://HOST:PORT` or `rtu+tcp://HOST:PORT`; baud and comset are of a path."""
        return cls(open_line(target, baud=baud, comset=comset, timeout=timeout), model)

    @classmethod
    def loopback(cls, meter: Responder, model: Model = E44) -> Bus:
        """Connect to a meter of this process, by real frames without a socket."""
        return cls(Loopback(meter), model)

    def __getitem__(self, address: int) -> RemoteMeter:
        return RemoteMeter(self, address, self._model)

    def __enter__(self) -> Bus:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the line."""
        self._line.close()

    def request(self, address: int, request: bytes) -> bytes:
        """Send one request PDU and return the reply PDU; Refused where it is an exception."""
        reply = self._line.exchange(address, request)
        if reply[0] & pdu.ERROR:
            code = reply[1] if len(reply) > 1 else 0
            wrong = f"refused with exception {code}, {_MEANING.get(code, 'unknown')}"
            raise Refused(f"address {address}", wrong, code)
        return reply

    def read_words(self, address: int, start: int, count: int) -> list[int]:
        """Read words as they are."""
        reply = self.request(address, pdu.read_request(start, count))
        if len(reply) != 2 + 2 * count or reply[1] != 2 * count:
            raise BadReply(f"address {address}", f"{len(reply) - 2} bytes", str(2 * count))
        return [int.from_bytes(reply[k : k + 2], "big") for k in range(2, len(reply), 2)]

    def write_words(self, address: int, start: int, values: list[int]) -> None:
        """Write words as they are, with FC16."""
        request = pdu.write_request(start, values)
        if self.request(address, request) != request[:5]:
            raise BadReply(f"address {address}", "the answer to a write does not repeat it")


class RemoteMeter:
    """One meter on a bus."""

    def __init__(self, bus: Bus, address: int, model: Model = E44) -> None:
        self._bus, self.address, self._table = bus, address, model.family.table

    def read(self, *symbols: str) -> dict[str, Reading]:
        """Read values by symbol, the everyday ones where none is named; None = not available."""
        plan = plan_of(self._table)
        chosen = plan.rows(symbols or plan.everyday)
        image: dict[int, int] = {}
        for start, count in plan.requests({row for rows in chosen.values() for row in rows}):
            image.update(enumerate(self._bus.read_words(self.address, start, count), start))
        return {symbol: value(rows, image) for symbol, rows in chosen.items()}

    def write(self, **settings: int) -> None:
        """Check, write and read back settings. Raises SettingError, UnknownSymbol, BusError."""
        rows = []
        for symbol, number in settings.items():
            setting(symbol).check(number)
            rows.append(self._writable(symbol))
        for row, (symbol, number) in zip(rows, settings.items(), strict=True):
            self._bus.write_words(self.address, row.address, [number])
            if symbol == "address":
                self.address = number
        for symbol, now in self.read(*settings).items():
            if now != settings[symbol]:
                raise BadReply(symbol, f"reads {now} after {settings[symbol]} was written")

    def _writable(self, symbol: str) -> Row:
        row = self._table.row_of(symbol)
        if row is None or not row.access.writes:
            raise SettingError(symbol, "not in the Modbus table", "the keys of the meter")
        return row

    def select_tariff(self, tariff: int) -> None:
        """Put a tariff, 1..4, in force, where the bus controls it."""
        if tariff not in range(1, 5):
            raise SettingError("tariff", f"{tariff} is not possible", "1..4")
        self._bus.write_words(self.address, self._writable("cmd.tariff").address, [tariff])
