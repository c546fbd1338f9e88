"""A bound on how often each client may do something.

Rule: knows no clock; the time is an argument. Not for several threads at once: its owner guards it.
"""

from __future__ import annotations

from collections import deque
from typing import Final

_MOST_CLIENTS: Final = 1000  # beyond it, those that spent nothing for a second are forgotten


class Allowance:
    """At most `per_second` in any second, for each client by name."""

    def __init__(self, per_second: int) -> None:
        self._per_second = per_second
        self._spent: dict[str, deque[float]] = {}  # when, by client, the oldest first

    def spend(self, client: str, now: float) -> bool:
        """Take one at `now` in s; False when none is left in this second."""
        if len(self._spent) > _MOST_CLIENTS:
            self._spent = {name: at for name, at in self._spent.items() if at and now - at[-1] < 1.0}
        times = self._spent.setdefault(client, deque())
        while times and now - times[0] >= 1.0:
            times.popleft()
        if len(times) >= self._per_second:
            return False
        times.append(now)
        return True
