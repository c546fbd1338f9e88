"""How a load varies over the day: factors 0..1 by the hour, and a slow wander that makes it live.

Rule: a pure function of profile, seed and time. All figures here are assumed.
"""

from __future__ import annotations

import math
from typing import Final

Points = tuple[tuple[float, float], ...]

PROFILES: Final[dict[str, Points]] = {
    "steady": ((0.0, 1.0),),
    "workshop": ((0, 0.12), (5.5, 0.12), (7, 0.75), (9.5, 1), (12, 0.85), (12.7, 0.45), (13.5, 0.95),
                 (16.5, 0.8), (18, 0.2)),
    "house": ((0, 0.2), (5, 0.15), (7, 0.7), (8.5, 0.4), (12, 0.6), (14, 0.35), (17, 0.6), (19.5, 1),
              (22, 0.6)),
    "heat_pump": ((0, 0.55), (4, 0.7), (6.5, 1), (9, 0.6), (13, 0.3), (16, 0.4), (18, 0.75), (21, 0.8),
                  (23, 0.6)),
    "ev": ((0, 0.9), (2, 0.9), (2.5, 0), (17, 0), (17.3, 1), (20, 1), (21, 0.5), (21.5, 0), (22.5, 0),
           (23, 0.9)),
    "pv": ((0, 0), (6, 0), (7.5, 0.12), (9, 0.45), (11, 0.85), (13, 1), (15, 0.82), (17, 0.42), (18.5, 0.1),
           (20, 0)),
}
_WANDER: Final = 0.06  # share of the factor
_PERIODS: Final = (37.0, 89.0, 211.0)  # s, with no common multiple one would notice


def factor(points: Points, seed: int, seconds: float) -> float:
    """Return the factor of a load at `seconds` after midnight; one point means always the same."""
    if len(points) == 1:
        return points[0][1]
    hour = seconds / 3600.0 % 24.0
    before = max((p for p in points if p[0] <= hour), default=(points[-1][0] - 24.0, points[-1][1]))
    after = min((p for p in points if p[0] > hour), default=(points[0][0] + 24.0, points[0][1]))
    x = (hour - before[0]) / (after[0] - before[0])
    smooth = before[1] + (after[1] - before[1]) * x * x * (3.0 - 2.0 * x)
    phase = seed * 2.399963  # the golden angle: no two seeds alike
    wander = sum(math.sin(2.0 * math.pi * seconds / t + phase * k) for k, t in enumerate(_PERIODS, 1))
    return smooth * (1.0 + _WANDER * (wander / 3.0))
