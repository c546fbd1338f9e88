"""The table of the E43 and E44, for tests."""

from __future__ import annotations

from countis import E44
from countis.modbus.table import Table

TABLE = E44.family.table
ROWS, BLOCKS = TABLE.rows, TABLE.blocks


def by_unit(unit: int) -> Table:
    """Return the table of whatever meter has a unit id."""
    return TABLE
