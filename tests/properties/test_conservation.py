"""What is true for every history: nothing is lost or counted twice, to the last unit."""

from __future__ import annotations

import numpy as np
from countis import E43, E44, Measurement, Meter, SelectTariff, SetSetting, StopPartial
from countis.meter.energy.increment import whole_units
from countis.meter.energy.registers import Layout, counters
from countis.words.quantities import KINDS, MICRO, SUM
from hypothesis import given, settings
from hypothesis import strategies as st

from trains import begins

POWER = st.floats(-1500.0, 1500.0, allow_nan=False)
WINDOW = st.tuples(
    st.tuples(POWER, POWER, POWER), st.tuples(POWER, POWER, POWER), st.sampled_from([0.18, 0.2, 0.21, 7.0, 60.0])
)
STEP = st.one_of(
    WINDOW.map(lambda w: ("count", w)),
    st.integers(1, 4).map(lambda t: ("tariff", t)),
    st.sampled_from([(5, 5), (200, 5), (12000, 1), (7, 5)]).map(lambda ct: ("ct", ct)),
)
EA_IN, EA_OUT, ER_IN, ER_OUT, EAP = (KINDS.index(k) for k in ("Ea+", "Ea-", "Er+", "Er-", "Eap"))
IN_IND, OUT_IND, IN_CAP, OUT_CAP = (KINDS.index(k) for k in ("Er+ind", "Er-ind", "Er+cap", "Er-cap"))


def measurement(window: tuple[tuple[float, ...], tuple[float, ...], float]) -> Measurement:
    p, q, seconds = window
    return Measurement.of(E44, seconds=seconds, v=[230.0] * 3, i=list(np.hypot(p, q) / 230.0), p=p, q=q)


@given(st.lists(STEP, max_size=60))
@settings(max_examples=150)
def test_conservation(steps: list[tuple[str, object]]) -> None:
    meter = Meter(E43, tariff_control="com")
    pulsed = 0
    seconds = 0
    for kind, value in steps:
        if kind == "count":
            made = meter.count(m := measurement(value))  # type: ignore[arg-type]
            seconds += m.total_ns
            weight = meter.model.family.pulse_weight(*meter.state.ct) * MICRO
            pulsed += weight * len(begins(made, "pulse"))
        elif kind == "tariff":
            assert meter.apply([SelectTariff(value)]) is None  # type: ignore[arg-type]
        else:
            assert isinstance(value, tuple)
            assert meter.apply([SetSetting("ct_primary", value[0]), SetSetting("ct_secondary", value[1])]) is None
        c = counters(meter.state.row)
        assert (c >= 0).all()
        assert np.array_equal(c[:, :, 0], c[:, :, 1:].sum(axis=2))  # the four tariffs are the total
        for into, out in ((EA_IN, EA_OUT), (ER_IN, ER_OUT)):
            phases = (c[into] - c[out])[:SUM].sum(axis=0)
            assert np.array_equal(c[into, SUM] - c[out, SUM], phases)  # Σ import − export is the phases'
        assert np.array_equal(c[EAP, SUM], c[EAP, :SUM].sum(axis=0))
        assert np.array_equal(c[ER_IN], c[IN_IND] + c[IN_CAP])
        assert np.array_equal(c[ER_OUT], c[OUT_IND] + c[OUT_CAP])
        assert meter.exact("net.Ea") == c[EA_IN, SUM, 0] - c[EA_OUT, SUM, 0]
        assert meter.exact("net.Er") == c[ER_IN, SUM, 0] - c[ER_OUT, SUM, 0]
        assert pulsed + int(meter.state.row[Layout.pulse_pending]) == meter.exact("Ea+")  # pulses × weight
        for partial, total in (("par.Ea+", "Ea+"), ("par.Er-", "Er-"), ("par.Eap", "Eap"), ("par.Ea-.T3", "Ea-.T3")):
            assert meter.exact(partial) == meter.exact(total)
        assert sum(meter.exact(f"hours.T{t}") for t in range(1, 5)) == seconds


@given(st.lists(WINDOW, min_size=1, max_size=40))
@settings(max_examples=60)
def test_flashes_are_a_thousand_for_each_secondary_kwh(
    windows: list[tuple[tuple[float, ...], tuple[float, ...], float]],
) -> None:
    meter = Meter(E44, ct_primary=7, ct_secondary=5)
    flashes = begins([e for w in windows for e in meter.count(measurement(w))], "led")
    secondary = (meter.exact("Ea+") + meter.exact("Ea-")) * 5  # × 7: in units of 1/7 µWh
    assert len(flashes) == secondary // (7 * MICRO)
    assert flashes == sorted(flashes)


@given(st.lists(st.floats(0.0, 1e12), min_size=1, max_size=50))
def test_the_remainder_carries_what_floor_leaves(energies: list[float]) -> None:
    total, remainder = 0, np.zeros((1, 1), np.int64)
    exact = 0
    for energy in energies:
        units, remainder = whole_units(np.array([[[energy]]]), remainder)
        total += int(units[0, 0, 0])
        exact += round(energy * 2**30) if energy < 1e6 else int(energy) * 2**30 + round((energy - int(energy)) * 2**30)
        assert 0 <= remainder[0, 0] < 2**30
    assert abs(total * 2**30 + int(remainder[0, 0]) - exact) <= len(energies)


@given(st.lists(STEP, max_size=30))
@settings(max_examples=30)
def test_no_total_ever_goes_down(steps: list[tuple[str, object]]) -> None:
    meter = Meter(E44, tariff_control="com")
    meter.apply([StopPartial("par.Eap")])
    before = counters(meter.state.row).copy()
    for kind, value in steps:
        if kind == "count":
            meter.count(measurement(value))  # type: ignore[arg-type]
        elif kind == "tariff":
            meter.apply([SelectTariff(value)])  # type: ignore[arg-type]
        after = counters(meter.state.row).copy()
        assert (after >= before).all()
        before = after
    assert meter.exact("par.Eap") == 0
