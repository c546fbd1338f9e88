"""Seeded pseudo-random numbers, so that injected faults repeat exactly."""

from __future__ import annotations

from typing import Final

_MASK: Final = (1 << 64) - 1


def chance(seed: int, number: int, draw: int) -> float:
    """Return a number in 0..1 that depends on the arguments alone (the finaliser of splitmix64)."""
    z = (seed * 0x9E3779B97F4A7C15 + number * 0xD1B54A32D192ED03 + draw * 0x8CB92BA72F3D8DD7) & _MASK
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & _MASK
    z = (z ^ z >> 27) * 0x94D049BB133111EB & _MASK
    return (z ^ z >> 31) / 2.0**64
