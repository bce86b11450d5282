"""Does the verdict name winners where there are none? Real A/A pairs, judged as if they were two backends.

A comparison tries one backend of each block twice (its twin). Here the twins of every other block are given another backend's
name, those of the blocks between stay as the noise floor, as a comparison has one, everything else is left out, and the verdict
is asked for: any winner that it names is a false one. Per pair: how many trials counted on either side, and what the twins
have of the others' throughput and p99, as ratios with their 95 % interval.

    python benchmarks/false_winners.py RUN…
    python benchmarks/false_winners.py --make 5 [--rate 100]

``--make`` first runs so many comparisons of a single backend itself, each of them six blocks of a second
(``gilscope compare primes --arg n=5000 --backends asyncio --quick --blocks 6``).
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

from gilscope.child import module_command
from gilscope.compare.store import RUN_FILE, RunFolder
from gilscope.errors import RunFileError
from gilscope.model import SIMPLEST_FIRST, BackendName, Evidence, Interval, Target, Trial, Verdict
from gilscope.verdict.decision import MIN_BLOCKS, judge

COMPARISON_S = 240.0


@dataclass(frozen=True, slots=True)
class Pair:
    """One workload's A/A pair of one run: the backend, the name its twins were given, and all their trials."""

    target: Target
    backend: BackendName
    alias: BackendName
    trials: tuple[Trial, ...]

    def counted(self, backend: BackendName) -> int:
        """How many trials under that name are valid, those of the noise floor left out."""
        return sum(trial.valid for trial in self.trials if trial.backend is backend and not trial.twin)

    @property
    def floors(self) -> int:
        """How many pairs of the noise floor are valid."""
        twins = {trial.block for trial in self.trials if trial.valid and trial.twin}
        firsts = {
            trial.block
            for trial in self.trials
            if trial.valid and trial.backend is self.backend and not trial.twin
        }
        return len(twins & firsts)

    @property
    def judgeable(self) -> bool:
        """Whether the verdict could name a winner at all: with fewer blocks, or pairs, it never does."""
        return min(self.counted(self.backend), self.counted(self.alias), self.floors) >= MIN_BLOCKS


def pairs_of(evidence: Evidence) -> Iterator[Pair]:
    """Yield the A/A pair of every workload that has one."""
    for target in evidence.run.plan.targets:
        own = [trial for trial in evidence.run.trials if trial.workload == target.workload]
        tried_twice = {trial.backend for trial in own if trial.twin}
        for backend in tried_twice:
            alias = next(name for name in reversed(SIMPLEST_FIRST) if name is not backend)
            trials = (
                replace(trial, twin=False, backend=alias) if trial.twin and trial.block % 2 == 0 else trial
                for trial in own
                if trial.backend is backend
            )
            yield Pair(target, backend, alias, tuple(trials))


def row(name: str, pair: Pair, verdict: Verdict) -> str:
    """Write what became of one pair."""
    counts = f"{pair.counted(pair.backend)} + {pair.counted(pair.alias)}"
    ratios = "".join(
        f"{_written(of.get(pair.alias)):>22}" for of in (verdict.throughput_ratio, verdict.p99_ratio)
    )
    outcome = "too few" if not pair.judgeable else "FALSE WINNER" if verdict.winner else "no winner"
    return f"{name:<34}{pair.backend:<11}{counts:>7}{ratios}  {outcome}"


def _written(ratio: Interval | None) -> str:
    return "-" if ratio is None else f"{ratio.mid:.2f} ({ratio.low:.2f}-{ratio.high:.2f})"


def spoilt(pair: Pair) -> str | None:
    """Say why trials of a pair do not count, if some do not."""
    lost = [trial for trial in pair.trials if not trial.valid]
    codes = sorted({caution.code for trial in lost for caution in trial.warnings[:1]})
    return f"    {len(lost)} of {len(pair.trials)} trials do not count: {', '.join(codes)}" if lost else None


def make(folder: Path, rate: float | None) -> str | None:
    """Run one comparison of a single backend; return why there is none, if so."""
    command = module_command(
        "gilscope", "compare", "primes", "--arg", "n=5000", "--backends", "asyncio", "--quick",
        "--blocks", "6", "--no-profiles", "--out", str(folder), *([] if rate is None else [f"--rate={rate:g}"]),
    )  # fmt: skip
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=COMPARISON_S, check=False)
    except subprocess.TimeoutExpired as problem:
        return str(problem)
    if (folder / RUN_FILE).exists():  # Even if no trial of it counts: that is a result.
        return None
    return f"exit code {done.returncode}: {(done.stderr.strip().splitlines() or ['no word'])[-1]}"


def tell(name: str, evidence: Evidence) -> list[bool]:
    """Print what became of each pair of a run; return of those that could be judged whether a winner was named."""
    named = []
    for pair in pairs_of(evidence):
        verdict = judge(pair.target, pair.trials, evidence.samples, seed=evidence.run.plan.seed)
        print("\n".join(filter(None, (row(name, pair, verdict), spoilt(pair)))), flush=True)
        if pair.judgeable:
            named.append(verdict.winner is not None)
    return named


def made(count: int, rate: float | None) -> Iterator[tuple[str, Evidence]]:
    """Run comparisons and yield each as it is there; of one that failed, print why."""
    with tempfile.TemporaryDirectory() as scratch:
        for number in range(1, count + 1):
            folder = Path(scratch) / str(number)
            problem = make(folder, rate)
            if problem is None:
                yield f"made {number}", RunFolder(folder).read()
            else:
                print(f"made {number:<29}{problem}", flush=True)


def main() -> None:
    """Print a row per pair, and how many false winners there were."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", nargs="*", type=Path, metavar="RUN", help="folder of a comparison")
    parser.add_argument("--make", type=int, default=0, metavar="N", help="run N comparisons first")
    parser.add_argument(
        "--rate", type=float, metavar="R", help="those in an open loop (default: a closed one)"
    )
    options = parser.parse_args()
    if not options.runs and not options.make:
        parser.error("name runs, or --make some")
    print(
        f"{'run':<34}{'backend':<11}{'trials':>7}{'throughput':>22}{'p99':>22}  verdict (twins over the others)"
    )
    runs = ((str(path), RunFolder(path).read()) for path in options.runs)
    try:
        named = [
            is_named
            for name, evidence in chain(runs, made(options.make, options.rate))
            for is_named in tell(name, evidence)
        ]
    except RunFileError as problem:
        parser.exit(1, f"{problem}\n")
    print(f"{sum(named)} of {len(named)} pairs of equals were given a winner")


if __name__ == "__main__":
    main()
