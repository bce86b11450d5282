"""The lens's own process: what it measures must not share a GIL with it.

``python -m gilscope.lens.process`` reads orders from standard input, a JSON object per line, and answers each with
one: ``{"watch": PID}`` with ``{"python": "3.13.0"}``, and then ``{"seconds": S, "rate_hz": R}`` with a
:class:`Window`. Where it cannot, the answer is ``{"error", "remedy"}``. It ends when its input does.

With ``--metrics`` it first prints ``{"metrics_url"}``, and serves there, second by second, what it sees.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Mapping

import cattrs

from gilscope.errors import LensError
from gilscope.lens.exporter import LensCollector, Reading, serve
from gilscope.lens.readings import Window, by_role
from gilscope.lens.sampler import SETTLE_S, Sampler
from gilscope.lens.totals import Totals
from gilscope.lens.watch import Watch
from gilscope.limits import allow_many_files


class Observer:
    """Watches one process at a time."""

    def __init__(self, collector: LensCollector | None = None) -> None:
        """``collector`` gets what is seen while it is seen."""
        self._collector = collector
        self._totals = Totals()
        self._watch: Watch | None = None

    def obey(self, order: Mapping[str, object]) -> dict[str, object]:
        """Carry out one order and return the answer."""
        try:
            if "watch" in order:
                return self._begin(int(str(order["watch"])))
            return self._observe(float(str(order["seconds"])), float(str(order["rate_hz"])))
        except LensError as problem:
            return {"error": problem.message, "remedy": problem.remedy}

    def _begin(self, pid: int) -> dict[str, object]:
        self.close()
        self._watch, self._totals = Watch(pid, family=True), Totals()
        self._expose()  # Who reads along must not compare this one with the one before.
        return {"python": self._watch.python}

    def _observe(self, seconds: float, rate_hz: float) -> dict[str, object]:
        assert self._watch is not None
        self._watch.restart()
        self._totals = Totals(
            self._totals.seconds, self._totals.inside
        )  # Counters go on where the last window ended.
        begun, cpu_s = time.monotonic(), time.process_time()
        sampler, looks = Sampler(self._watch, rate_hz), 0
        while (left_s := begun + seconds - time.monotonic()) > 0:
            looks += sampler.run(left_s if self._collector is None else min(left_s, SETTLE_S))
            self._expose()
        elapsed_s = time.monotonic() - begun
        cpu_share = (time.process_time() - cpu_s) / elapsed_s
        window = Window(elapsed_s, looks, cpu_share, by_role(self._watch.threads()))
        answer: dict[str, object] = cattrs.unstructure(window)
        return answer

    def _expose(self) -> None:
        if self._collector is not None and self._watch is not None:
            threads = self._watch.threads()
            self._totals.add((), threads)
            self._collector.reading = Reading.of(self._totals, threads, self._watch)

    def close(self) -> None:
        """Give up watching."""
        if self._watch is not None:
            self._watch.close()


def main() -> None:
    """Obey orders until there are no more."""
    answers = os.dup(1)
    os.dup2(2, 1)
    allow_many_files()
    collector = None
    if "--metrics" in sys.argv:
        collector = LensCollector()
        os.write(answers, json.dumps({"metrics_url": serve(collector, "127.0.0.1", 0)}).encode() + b"\n")
    observer = Observer(collector)
    try:
        for line in sys.stdin:
            os.write(answers, json.dumps(observer.obey(json.loads(line))).encode() + b"\n")
    finally:
        observer.close()


if __name__ == "__main__":
    main()
