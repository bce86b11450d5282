from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from gilscope.load.pieces import joined, pieces_of
from gilscope.model import ProbeSamples, Samples, Unanswered, WorkSamples

figures = st.floats(0, 1e4)


def columns(width: int) -> st.SearchStrategy[list[list[float]]]:
    """Columns of one length, of up to a dozen rows."""
    rows = st.lists(st.tuples(*[figures] * width), max_size=12)
    return rows.map(lambda found: [[row[at] for row in found] for at in range(width)])


samples_of = st.builds(
    lambda window_s, work, probe, lost, carried, failed: Samples(
        window_s,
        WorkSamples(*work),
        ProbeSamples(*probe),
        Unanswered(*map(tuple, lost)),
        tuple(carried),
        tuple(failed),
    ),
    figures,
    columns(9) | columns(8),
    columns(2),
    columns(2),
    *[st.lists(figures, max_size=12)] * 2,
).map(lambda samples: samples if samples.work.service_ms else _closed(samples))


def _closed(samples: Samples) -> Samples:
    """Return the samples as a closed loop's are: without a second latency."""
    work = samples.work
    stages = (work.queue_ms, work.run_ms, work.cpu_ms, work.suspended_ms, work.return_ms, work.total_ms)
    return replace(samples, work=WorkSamples(work.at_s, work.latency_ms, *stages))


@settings(deadline=None)
@given(samples_of, st.integers(1, 13))
def test_what_is_cut_is_joined(samples: Samples, at_once: int) -> None:
    pieces = list(pieces_of(samples, at_once))
    assert joined(samples.window_s, pieces) == samples
    assert all(len(column) <= at_once for piece in pieces for column in piece)


def test_there_are_as_many_pieces_as_it_takes() -> None:
    pings = [float(at) for at in range(25)]
    samples = Samples(1.0, WorkSamples(*[[]] * 8), ProbeSamples(pings, pings))
    assert [max(map(len, piece)) for piece in pieces_of(samples, 10)] == [10, 10, 5]
