"""The event log for people: its entries as rows of text, for files, pages and the console."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from countis.meter.memory.event_log import Entry, EventLog
from countis.words.clock import text as clock_text
from countis.words.commands import EventKind


def event_rows(log: EventLog, written: int) -> list[dict[str, Any]]:
    """Return a log as rows of text, oldest first. written: entries it has ever had, some lost since."""
    return [{"number": number, **event_row(entry)} for number, entry in log.entries(written)]


def event_row(entry: Entry | None) -> dict[str, str]:
    """Return an entry as text; None is one that was lost."""
    if entry is None:
        return {"time": "", "kind": "damaged", "whence": "", "subject": "", "old": "", "new": ""}
    old, new = entry.old, entry.new
    if entry.kind is EventKind.CLOCK:
        old, new = clock_text(int(old)), clock_text(int(new))
    row = {"time": clock_text(entry.time), "kind": entry.kind.name.lower()}
    return {**row, "whence": entry.origin.name.lower(), "subject": entry.subject, "old": old, "new": new}


def event_line(row: Mapping[str, str]) -> str:
    """Write a row of the event log for people."""
    change = " -> ".join(text for text in (row["old"], row["new"]) if text)
    return f"{row['time']:19}  {row['kind']:8}  {row['whence']:5}  {row['subject']:14}  {change}".rstrip()
