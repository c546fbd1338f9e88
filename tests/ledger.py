"""What a meter must have counted, in integers of another hand: powers in units of 2⁻¹¹ W, energies of 2⁻⁸ µWh.

Windows last whole multiples of 3.6 s and CT ratios are whole, so that every energy is one of these units exactly: nothing is
rounded here but where a counter shows whole µWh.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable

import numpy as np
from countis import Meter
from countis.words.quantities import KINDS, PARTIALS, SCOPES, TARIFFS, counter_symbol
from numpy.typing import NDArray

_PLACE = {counter_symbol(kind, scope, tariff): (k, s, t)
          for k, kind in enumerate(KINDS) for s, scope in enumerate(SCOPES) for t, tariff in enumerate(TARIFFS)}  # fmt: skip
ALL = (*_PLACE, *PARTIALS, "net.Ea", "net.Er", *(f"hours.{t}" for t in TARIFFS[1:]))
Ints = NDArray[np.int64]
WATT = 2**11  # units of power in 1 W
_BITS = 8  # of an energy below 1 µWh
_GATE = 41_944  # 0.1 VA, squared, in units of power: the start power of decision 30
_TIME = 3_600_000  # ns for which 1 W is 1 µWh
_SUM = len(SCOPES) - 1


def _split(p: Ints, q: Ints, s: Ints) -> Ints:
    """Import, export, four quadrants, apparent [n, 7, phases]: decision 7, spelt out."""
    zero = np.zeros_like(p)
    into, up = p >= 0, q > 0
    quadrants = (into & up, ~into & up, ~into & ~up, into & ~up)
    vars_ = (np.where(here, abs(q), zero) for here in quadrants)
    return np.stack([np.where(into, p, zero), np.where(into, zero, -p), *vars_, s], axis=1)


def _kinds(parts: Ints) -> Ints:
    """Sums by kind [9, phases] of parts [7, phases]: Er+ is both upper quadrants, inductive is I and III."""
    into, out, one, two, three, four, apparent = parts
    named = {"Ea+": into, "Ea-": out, "Er+": one + two, "Er-": three + four, "Er+ind": one, "Er-ind": three, "Er+cap": two,
             "Er-cap": four, "Eap": apparent}  # fmt: skip
    return np.array([named[kind] for kind in KINDS])


class Ledger:
    """The counters of one meter, from its birth on; `wires` 4, or 3."""

    def __init__(self, wires: int) -> None:
        self.wires, self.tariff, self.windows = wires, 1, 0
        self.flowed = np.zeros((7, 3), np.int64)  # all that ever flowed, by part and phase
        self.counters = np.zeros((len(KINDS), len(SCOPES), len(TARIFFS)), np.int64)
        self.partials = dict.fromkeys(PARTIALS, 0)
        self.stopped: set[str] = set()
        self.hours = dict.fromkeys(TARIFFS[1:], 0)

    def copy(self) -> Ledger:
        """Itself, as a memory would keep it."""
        return copy.deepcopy(self)

    def count(self, p: Ints, q: Ints, s: Ints, ns: int, ratio: int) -> None:
        """Count windows [n, 3] of `ns` each."""
        if self.wires == 3:  # the total stands for the first phase
            p, q, s = (np.stack((x.sum(axis=1), *[np.zeros(len(x), np.int64)] * 2), axis=1) for x in (p, q, s))
        runs = p * p + q * q >= _GATE
        factor, rest = divmod(ratio * ns // _TIME << _BITS, WATT)
        assert rest == 0
        flows = self.flowed + np.cumsum(_split(*(np.where(runs, x, 0) for x in (p, q, s))) * factor, axis=0)
        made = np.diff(flows >> _BITS, axis=0, prepend=(self.flowed >> _BITS)[None])
        self.flowed = flows[-1]
        sums = made.sum(axis=2, keepdims=True)
        active, reactive = sums[:, 0] - sums[:, 1], sums[:, 2] + sums[:, 3] - sums[:, 4] - sums[:, 5]
        total = _kinds(_split(active, reactive, sums[:, 6]).sum(axis=0))
        phases = _kinds(made.sum(axis=0)) * (self.wires == 4)
        self._add(np.concatenate((phases, total), axis=1), len(p), ns)

    def _add(self, made: Ints, windows: int, ns: int) -> None:
        self.windows += windows
        self.hours[f"T{self.tariff}"] += windows * ns
        for column in (0, self.tariff):
            self.counters[:, :, column] += made
        for symbol in PARTIALS:
            _, kind, *tariff = symbol.split(".")
            if symbol not in self.stopped and tariff in ([], [f"T{self.tariff}"]):
                self.partials[symbol] += int(made[KINDS.index(kind), _SUM])

    def expected(self, symbols: Iterable[str] = ALL) -> dict[str, int]:
        """Counters, partials, balances and running times by symbol."""
        net = {f"net.{e}": int(self.counters[KINDS.index(f"{e}+"), _SUM, 0] - self.counters[KINDS.index(f"{e}-"), _SUM, 0])
               for e in ("Ea", "Er")}  # fmt: skip
        others = {**self.partials, **net, **{f"hours.{t}": ns for t, ns in self.hours.items()}}
        return {s: others[s] if s in others else int(self.counters[_PLACE[s]]) for s in symbols}

    def differs(self, meter: Meter) -> dict[str, tuple[int, int]]:
        """What a meter has and what it must have, where these are not the same."""
        wrong = {s: (meter.exact(s), value) for s, value in self.expected().items() if meter.exact(s) != value}
        if self.wires == 4:  # each phase is the integral itself, rounded down once
            integral = {f"{kind}.L{n + 1}": int(self.flowed[part, n] >> _BITS)
                        for part, kind in ((0, "Ea+"), (1, "Ea-"), (6, "Eap")) for n in range(3)}  # fmt: skip
            wrong |= {s: (meter.exact(s), value) for s, value in integral.items() if meter.exact(s) != value}
        return wrong
