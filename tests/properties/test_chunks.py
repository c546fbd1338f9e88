"""How samples, bytes and time are cut into pieces must not matter, to the bit."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from countis import E44, Measurement, Meter, SetClock
from countis.meter.energy.load_curve import RecordWritten
from countis.meter.meter import Event
from countis.meter.metrology.measurement import Metrology
from countis.modbus import pdu, rtu, tcp
from countis.supply import Load, Network, Supply, steady
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from trains import begins

RATE = 3200


def restless(seed: int, seconds: float = 3.0) -> NDArray[np.float64]:
    """A supply with everything in it: harmonics, noise, export, and a hole in which the voltage is gone."""
    network = Network((231.0, 229.0, 150.0), frequency=49.3, harmonics={5: (0.04, 30.0)})
    loads = [Load(2.0, angle=40.0, harmonics={3: (0.2, 10.0)}), Load(3.0, (1,), angle=-20.0, export=True)]
    samples = steady(network, loads, rate=RATE, noise=1e-4, seed=seed).read(int(seconds * RATE))
    hole = len(samples) // 2
    samples[hole : hole + RATE // 2] = 0.0
    return samples


def cuts(length: int) -> st.SearchStrategy[list[int]]:
    return st.lists(st.integers(0, length), max_size=40).map(lambda inner: [0, *sorted(inner), length])


def same_windows(found: list[Measurement], expected: Measurement) -> None:
    assert np.concatenate([m.ns for m in found]).tolist() == expected.ns.tolist()
    assert np.concatenate([m.live for m in found]).tobytes() == expected.live.tobytes()
    assert np.concatenate([m.whole for m in found]).tolist() == expected.whole.tolist()


def same_events(found: list[Event], expected: list[Event]) -> None:
    for output in ("pulse", "led"):
        assert begins(found, output) == begins(expected, output)
    assert [e for e in found if isinstance(e, RecordWritten)] == [e for e in expected if isinstance(e, RecordWritten)]


WHOLE = restless(7)


@given(cuts(len(WHOLE)))
@settings(max_examples=60)
def test_samples_in_any_chunks_give_the_same_bits(at: list[int]) -> None:
    expected = Metrology(E44, RATE).feed(WHOLE)
    metrology = Metrology(E44, RATE)
    same_windows([metrology.feed(WHOLE[a:b]) for a, b in pairwise(at)], expected)


def test_samples_one_by_one() -> None:
    short = WHOLE[: RATE // 2]
    one_by_one = Metrology(E44, RATE)
    expected = Metrology(E44, RATE).feed(short)
    assert len(expected) > 0
    same_windows([one_by_one.feed(short[k : k + 1]) for k in range(len(short))], expected)


@given(cuts(len(WHOLE)))
@settings(max_examples=25)
def test_a_meter_fed_in_any_chunks_has_the_same_memory_and_events(at: list[int]) -> None:
    whole, cut = Meter(E44, rate=RATE), Meter(E44, rate=RATE)
    expected = whole.feed(WHOLE)
    found = [event for a, b in pairwise(at) for event in cut.feed(WHOLE[a:b])]
    same_events(found, expected)
    assert cut.save() == whole.save()
    assert cut.state.live.tobytes() == whole.state.live.tobytes()


LENGTHS = st.sampled_from([0.02, 0.2, 0.7, 1.0, 60.0, 900.0, 7200.0, 90000.0])


@given(st.lists(st.tuples(LENGTHS, st.floats(-2000.0, 2000.0), st.sampled_from([230.0, 230.0, 120.0, 100.0])), min_size=1,
                max_size=60), st.data())  # fmt: skip
@settings(max_examples=60)
def test_windows_counted_at_once_are_windows_counted_one_by_one(windows: list[tuple[float, ...]], data: st.DataObject) -> None:
    """A series over midnights, demand periods and power cuts leaves the same row, values and events."""
    seconds, watts, volts = (np.array(column) for column in zip(*windows, strict=True))
    i, p = np.abs(watts) / 230.0, watts[:, None] * [1.0, 0.5, -0.2]
    v = volts[:, None] * np.ones(3)
    series = Measurement.of(E44, seconds=seconds, v=v, i=i[:, None] * np.ones(3), p=p, q=p * 0.3)
    singly, at_once = Meter(E44, ct_primary=120, demand_period=60), Meter(E44, ct_primary=120, demand_period=60)
    for meter in (singly, at_once):
        assert meter.apply([SetClock(800_000_000)]) is None
    at = data.draw(cuts(len(series)))
    events = [e for a, b in pairwise(at) for e in at_once.count(series[a:b])]
    same_events(events, [e for k in range(len(series)) for e in singly.count(series[k : k + 1])])
    assert at_once.save() == singly.save()
    assert at_once.state.live.tobytes() == singly.state.live.tobytes()


@given(st.integers(0, 10**13), st.integers(0, 10**13), st.integers(0, RATE))
@settings(max_examples=40)
def test_time_in_two_steps_is_time_in_one(a: int, b: int, fed: int) -> None:
    once, twice = Meter(E44, rate=RATE), Meter(E44, rate=RATE)
    for meter in (once, twice):
        meter.feed(WHOLE[:fed])
    events = once.advance(a + b)
    assert twice.advance(a) + twice.advance(b) == events
    assert twice.save() == once.save()
    assert twice.state.live.tobytes() == once.state.live.tobytes()


@given(st.integers(0, 5000), st.lists(st.integers(0, 400), max_size=30))
@settings(max_examples=40)
def test_the_supply_makes_the_same_samples_in_any_chunks(first: int, sizes: list[int]) -> None:
    def supply() -> Supply:
        loads = [Load(1.0, harmonics={7: (0.1, 5.0)}, profile=((8.0, 0.1), (14.0, 1.0)))]
        return steady(Network(frequency=50.7), loads, rate=RATE, noise=1e-3, seed=3)

    total = first + sum(sizes)
    source = supply()
    parts = [source.read(n) for n in (first, *sizes)]
    assert np.concatenate(parts).tobytes() == supply().read(total).tobytes()


FRAMES = st.lists(
    st.one_of(
        st.builds(lambda a, n: rtu.frame(5, pdu.read_request(a, n)), st.integers(0, 0xFFFF), st.integers(0, 200)),
        st.builds(
            lambda v: rtu.frame(5, pdu.write_request(57345, v)), st.lists(st.integers(0, 0xFFFF), min_size=1, max_size=5)
        ),
        st.builds(lambda f: rtu.frame(5, bytes((f,))), st.integers(0, 255)),
        st.builds(lambda a: rtu.frame(a, pdu.read_request(50514, 2)), st.integers(0, 255)),
        st.binary(max_size=40),
    ),
    max_size=6,
)


@given(FRAMES, st.booleans(), st.data())
def test_bytes_in_any_chunks_give_the_same_frames(frames: list[bytes], timed: bool, data: st.DataObject) -> None:
    stream = b"".join(frames)
    at = data.draw(cuts(len(stream)))
    whole, cut = rtu.SlaveFramer({5}, timed=timed), rtu.SlaveFramer({5}, timed=timed)
    expected = whole.receive(stream)
    assert [f for a, b in pairwise(at) for f in cut.receive(stream[a:b])] == expected
    assert (cut.silence(), cut.broken) == (whole.silence(), whole.broken)


ENVELOPES = st.builds(tcp.wrap, st.integers(0, 0xFFFF), st.integers(0, 255), st.binary(min_size=1, max_size=20))


@given(st.lists(st.one_of(st.binary(max_size=30), ENVELOPES), max_size=6), st.data())
def test_tcp_bytes_in_any_chunks_give_the_same_requests(parts: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(parts)
    at = data.draw(cuts(len(stream)))
    whole, cut = tcp.Framer(), tcp.Framer()
    expected = whole.receive(stream)
    assert [e for a, b in pairwise(at) for e in cut.receive(stream[a:b])] == expected
    assert cut.broken == whole.broken
