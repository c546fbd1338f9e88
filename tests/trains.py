"""Pulse trains among a meter's events, as plain times."""

from __future__ import annotations

from collections.abc import Iterable

from countis.meter.energy.pulse import Output, Pulses
from countis.meter.meter import Event


def begins(events: Iterable[Event], output: str) -> list[int]:
    """Meter times in ns at which the pulses of one output begin."""
    return [int(at) for e in events if isinstance(e, Pulses) and e.output is Output(output) for at in e.on]
