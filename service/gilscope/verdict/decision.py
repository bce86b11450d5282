"""The decision: who wins, or that nobody does, and why. Pure.

1. A backend that another one beats in throughput is out: the interval of their ratio lies above a tie, and the ratio
   above what one backend shows against itself (the noise floor).
2. In an open loop every backend is offered the same, so among those that are left, one whose own p99 is surely longer is
   out, by the same measure; differences within the generator's own resolution do not count.
3. Among those that are left, one whose neighbours suffer markedly more (``/ping`` p99), and more than the noise floor, is out.
4. If one is left, it wins. If several are, the evidence shows no difference, and the simplest is recommended; unless the
   intervals are so wide that another may well be much better: then which of them is best is undecided.
5. Where a backend has a single block, which shows no spread, or too few A/A pairs count to tell what is noise, nothing
   is decided: there is neither a winner nor a tie, and nobody is recommended.

A winner that freezes the event loop beside another backend is told so. Where a lens watched, the reason ends with
who waited for the GIL, if that explains the outcome; it never decides anything.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

from gilscope.model import (
    BASELINE,
    SIMPLEST_FIRST,
    SPOILING,
    BackendName,
    Interval,
    LoadKind,
    NoiseFloor,
    Samples,
    Target,
    Trial,
    Verdict,
)
from gilscope.quantiles import SOUND_P99
from gilscope.verdict.noise import noise_floor, spread
from gilscope.verdict.statistics import Block, Figures, Replicates, cut, estimate
from gilscope.verdict.waiting import Wait, explain_tie, explain_winner, material_loop_share, pool_waits
from gilscope.verdict.wording import (
    CALMER,
    describe_quickest,
    describe_tie,
    describe_undecided,
    describe_winner,
    fastest_first,
    freeze_caveat,
)

TIE_MARGIN = 0.05
"""Throughputs within 5 % of each other count as equal: nobody should change a design for less."""

MIN_BLOCKS = 2
ONE_BLOCK = "of {backends} a single block counts, which shows no spread: {remedy}"
NO_NOISE = "too few A/A pairs count to tell what is noise: {remedy}"

WIDE = 1.25
"""Nobody is recommended beside whom another may well have a quarter more throughput."""

LATENCY_MARGIN = 0.10
"""p99 of an open loop within 10 % of each other count as equal."""

WIDE_LATENCY = 2.0
"""Nor, in an open loop, whose p99 may well be twice another's: a p99 varies more than a throughput."""

NEIGHBOUR_RATIO = 2.0
NEIGHBOUR_MS = 20.0
"""A backend's neighbours suffer markedly more when ``/ping`` p99 is surely twice the best one's and 20 ms above:
less than that is not worth processes in place of threads."""


def judge(target: Target, trials: Sequence[Trial], samples: Mapping[str, Samples], *, seed: int) -> Verdict:
    """Judge one workload from its trials; invalid ones decide nothing."""
    blocks = blocks_by_backend(trials, samples)
    if not blocks:
        return Verdict(
            target.workload, None, None, (), conclusive=False, reason="no backend could be measured",
            caveats=tuple(_unmeasured(trials)),
        )  # fmt: skip
    figures = estimate(blocks, seed=seed, numbers=block_numbers(trials, samples))
    noise = noise_floor(trials, samples, seed=seed)
    doubt = _doubt(blocks, trials, noise)
    if doubt is not None:
        undecided = Verdict(
            target.workload, None, None, (), conclusive=False,
            reason=describe_undecided(doubt, figures, is_open=_open(trials)),
            caveats=(*_spoilt(trials), *_left_out(trials, figures)), noise=noise,
        )  # fmt: skip
        return _with_figures(undecided, figures, _counted(trials, samples))
    floor_ms = resolution_ms(trials) if _open(trials) else None
    contenders = _not_beaten(figures, noise)
    quick = contenders if floor_ms is None else _quick(contenders, figures, noise, floor_ms)
    kind = _considerate(quick, figures, _ping_noise(noise))
    # One that is left for its neighbours' sake must not be much worse than those that would have to go for it.
    asked = kind if len(kind) > 1 else [*kind, *(backend for backend in quick if backend not in kind)]
    recommended = kind[0] if _settled(asked, figures, floor_ms) else None
    winner = recommended if len(kind) == 1 and len(figures) > 1 else None
    waits = pool_waits(trials, figures)
    reason = (
        _winners_reason(winner, contenders, quick, figures, waits)
        if winner
        else _ties_reason(asked, figures, waits, is_open=_open(trials), settled=recommended is not None)
    )
    verdict = Verdict(
        workload=target.workload,
        winner=winner,
        recommended=recommended,
        ties=() if winner else tuple(asked),
        conclusive=winner is not None,
        reason=reason,
        caveats=tuple(_caveats(recommended, figures, waits, trials, _ping_noise(noise))),
        noise=noise,
    )
    return _with_figures(verdict, figures, _counted(trials, samples))


def _doubt(
    blocks: Mapping[BackendName, Sequence[Block]], trials: Sequence[Trial], noise: NoiseFloor | None
) -> str | None:
    """Return why nothing can be decided whatever the figures say; None where something can, or is nothing to decide."""
    if len(blocks) == 1:
        return None
    thin = [backend for backend, own in blocks.items() if len(own) < MIN_BLOCKS]
    if thin:
        planned = max(trial.block for trial in trials) + 1
        remedy = CALMER if planned > MIN_BLOCKS else "--blocks 3 or more"
        return ONE_BLOCK.format(backends=", ".join(thin), remedy=remedy)
    paired = any(trial.twin for trial in trials)
    return NO_NOISE.format(remedy=CALMER) if paired and (noise is None or noise.pairs < MIN_BLOCKS) else None


def _winners_reason(
    winner: BackendName,
    contenders: Sequence[BackendName],
    quick: Sequence[BackendName],
    figures: Mapping[BackendName, Figures],
    waits: Mapping[BackendName, Wait],
) -> str:
    others = fastest_first(figures, winner)
    told = (
        describe_quickest(winner, contenders, figures)
        if len(quick) < len(contenders)
        else describe_winner(winner, contenders, figures)
    )
    return _sentences(told, explain_winner(winner, others, waits))


def _ties_reason(
    tied: Sequence[BackendName],
    figures: Mapping[BackendName, Figures],
    waits: Mapping[BackendName, Wait],
    *,
    is_open: bool,
    settled: bool,
) -> str:
    least = LATENCY_MARGIN if is_open else TIE_MARGIN
    told = describe_tie(tied, figures, least, measured=len(figures), is_open=is_open, settled=settled)
    return _sentences(told, explain_tie(tied, waits))


def _sentences(*said: str) -> str:
    return ". ".join(filter(None, said))


def blocks_by_backend(
    trials: Sequence[Trial], samples: Mapping[str, Samples]
) -> dict[BackendName, list[Block]]:
    """Cut the samples of all valid trials, backends in order of simplicity, blocks in order of time."""
    blocks: dict[BackendName, list[Block]] = {}
    for backend in SIMPLEST_FIRST:
        for trial in sorted(trials, key=lambda trial: trial.block):
            if trial.backend is backend and trial.valid and not trial.twin and trial.samples is not None:
                blocks.setdefault(backend, []).append(cut(samples[trial.samples]))
    return blocks


def block_numbers(trials: Sequence[Trial], samples: Mapping[str, Samples]) -> dict[BackendName, list[int]]:
    """Return the numbers of the blocks of :func:`blocks_by_backend`."""
    return {
        backend: sorted(
            trial.block
            for trial in trials
            if trial.backend is backend and trial.valid and not trial.twin and trial.samples in samples
        )
        for backend in BackendName
    }


def _not_beaten(figures: Mapping[BackendName, Figures], noise: NoiseFloor | None) -> list[BackendName]:
    noisy = spread(noise.throughput) if noise else 1.0
    rates = {backend: own.throughput_rps for backend, own in figures.items()}
    return [
        backend
        for backend, own in rates.items()
        if not any(beats(rate.over(own), noisy) for other, rate in rates.items() if other is not backend)
    ]


def beats(ratio: Interval, noise: float = 1.0) -> bool:
    """Whether a throughput ratio's interval excludes a tie, and the ratio exceeds what equal things show (``noise``)."""
    return ratio.low > 1 + TIE_MARGIN and ratio.mid > noise


def _quick(
    contenders: Sequence[BackendName],
    figures: Mapping[BackendName, Figures],
    noise: NoiseFloor | None,
    floor_ms: float,
) -> list[BackendName]:
    """Leave out whose p99 is surely above the lowest one: by a tenth, by more than noise, by more than can be resolved."""
    best = min(contenders, key=lambda backend: _or_infinite(figures[backend].p99_ms.point))
    lowest = figures[best].p99_ms

    def slower(own: Replicates) -> bool:
        ratio = own.over(lowest)
        noisy = spread(noise.p99) if noise else 1.0
        return ratio.low > 1 + LATENCY_MARGIN and ratio.mid > noisy and own.point - lowest.point > floor_ms

    return [backend for backend in contenders if backend is best or not slower(figures[backend].p99_ms)]


def resolution_ms(trials: Sequence[Trial]) -> float:
    """Return what the generator could resolve: the largest dispatch lag (p99) of the trials that count."""
    return max(
        (trial.generator.dispatch_lag_p99_ms for trial in trials if trial.valid and trial.generator),
        default=0.0,
    )


def _open(trials: Sequence[Trial]) -> bool:
    return any(trial.load.kind is LoadKind.OPEN for trial in trials)


def _counted(trials: Sequence[Trial], samples: Mapping[str, Samples]) -> dict[BackendName, list[Samples]]:
    """Return the samples behind each backend's figures."""
    found: dict[BackendName, list[Samples]] = {}
    for trial in trials:
        if trial.valid and not trial.twin and trial.samples is not None:
            found.setdefault(trial.backend, []).append(samples[trial.samples])
    return found


def suffers(ratio: Interval, difference_ms: float, noise: float = 1.0) -> bool:
    """Whether a ``/ping`` p99 is markedly above another: surely in proportion, enough to be felt, and more than ``noise``.

    ``noise`` is the factor by which the ``/ping`` p99 of equal things may differ.
    """
    return ratio.low > NEIGHBOUR_RATIO and ratio.mid > noise and difference_ms > NEIGHBOUR_MS


def _ping_noise(noise: NoiseFloor | None) -> float:
    return spread(noise.probe_p99) if noise and noise.probe_p99 else 1.0


def _settled(
    tied: Sequence[BackendName], figures: Mapping[BackendName, Figures], floor_ms: float | None
) -> bool:
    """Whether the first of those that are left can be recommended: surely none of the others is much better.

    In an open loop ``floor_ms`` is what the generator can resolve: less is no difference, however surely it is seen.
    """
    first, *others = (figures[backend] for backend in tied)
    if floor_ms is None:
        return all(other.throughput_rps.over(first.throughput_rps).high <= WIDE for other in others)
    lowest = min((other.p99_ms.over(first.p99_ms).low for other in others), default=1.0)
    return lowest >= 1 / WIDE_LATENCY or (1 - lowest) * first.p99_ms.point <= floor_ms


def _considerate(
    contenders: Sequence[BackendName], figures: Mapping[BackendName, Figures], noise: float
) -> list[BackendName]:
    best = kindest(contenders, figures)
    return [backend for backend in contenders if backend is best or not _worse(backend, best, figures, noise)]


def kindest(backends: Sequence[BackendName], figures: Mapping[BackendName, Figures]) -> BackendName:
    """Return the backend with the lowest ``/ping`` p99; unknown ones come last."""
    return min(backends, key=lambda backend: _or_infinite(figures[backend].probe_p99_ms.point))


def _worse(
    backend: BackendName, best: BackendName, figures: Mapping[BackendName, Figures], noise: float
) -> bool:
    mine, theirs = figures[backend].probe_p99_ms, figures[best].probe_p99_ms
    return suffers(mine.over(theirs), mine.point - theirs.point, noise)


def _or_infinite(value: float) -> float:
    return math.inf if math.isnan(value) else value


def _caveats(
    recommended: BackendName | None,
    figures: Mapping[BackendName, Figures],
    waits: Mapping[BackendName, Wait],
    trials: Sequence[Trial],
    noise: float,
) -> Iterator[str]:
    yield from _spoilt(trials)
    best = kindest(list(figures), figures)
    if recommended and best is not recommended and _worse(recommended, best, figures, noise):
        yield freeze_caveat(recommended, best, figures, material_loop_share(recommended, waits))
    yield from _left_out(trials, figures)


def _left_out(trials: Sequence[Trial], figures: Mapping[BackendName, Figures]) -> Iterator[str]:
    return _unmeasured([trial for trial in trials if trial.backend not in figures])


def _spoilt(trials: Sequence[Trial]) -> Iterator[str]:
    """Say how many trials do not count, and how many do, as a lenient plan has it, although they were spoilt."""
    kept = sum(trial.valid and any(one.code in SPOILING for one in trial.warnings) for trial in trials)
    if kept:
        yield (
            f"{kept} of {len(trials)} trials were spoilt by the load generator or the machine, and count all the same "
            "(--lenient)"
        )
    planned = [trial for trial in trials if trial.attempt == 1]
    counted = {trial.place_in_plan for trial in trials if trial.valid}
    lost = sum(trial.place_in_plan not in counted for trial in planned)
    if lost:
        yield (
            f"{lost} of {len(planned)} trials do not count, some of them after a second attempt: "
            "see the reasons beside them"
        )


def _unmeasured(trials: Sequence[Trial]) -> Iterator[str]:
    """Say of each backend without a single valid trial why it has none."""
    for backend in dict.fromkeys(trial.backend for trial in trials):
        last = [trial for trial in trials if trial.backend is backend and not trial.twin][-1:]
        reason = last[0].warnings[0].message if last and last[0].warnings else "its trials failed"
        yield f"{backend} is left out: {reason}"


def _with_figures(
    verdict: Verdict, figures: Mapping[BackendName, Figures], counted: Mapping[BackendName, Sequence[Samples]]
) -> Verdict:
    baseline = BASELINE if BASELINE in figures else next(iter(figures))
    base = figures[baseline]

    def each(of: Callable[[Figures], Interval]) -> dict[BackendName, Interval]:
        intervals = {name: of(own) for name, own in figures.items()}
        return {name: interval for name, interval in intervals.items() if not any(map(math.isnan, interval))}

    def rough(count: Callable[[Samples], int]) -> tuple[BackendName, ...]:
        return tuple(name for name in figures if sum(map(count, counted[name])) < SOUND_P99)

    return replace(
        verdict,
        rough_p99=rough(lambda one: len(one.latencies_ms)),
        rough_probe_p99=rough(lambda one: len(one.probe.due_s)),
        baseline=baseline,
        throughput_rps=each(lambda own: own.throughput_rps.interval()),
        p99_ms=each(lambda own: own.p99_ms.interval()),
        probe_p99_ms=each(lambda own: own.probe_p99_ms.interval()),
        throughput_ratio=each(lambda own: own.throughput_rps.over(base.throughput_rps)),
        p99_ratio=each(lambda own: own.p99_ms.over(base.p99_ms)),
        probe_p99_ratio=each(lambda own: own.probe_p99_ms.over(base.probe_p99_ms)),
    )
