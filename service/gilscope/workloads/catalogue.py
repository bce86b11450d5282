"""The built-in workloads: one explicit table."""

from __future__ import annotations

from gilscope.workloads import http_fetch, sort_payload, sqlite_query
from gilscope.workloads.base import FunctionRef, Parameter, Workload

_DELAY = Parameter("delay_ms", 20, 0, 5_000, "ms", "how long the upstream takes to answer")
_LIMIT = Parameter("n", 8_000, 10, 1_000_000, "upper limit", "primes are counted below this number")


def _ref(name: str, module: str | None = None) -> FunctionRef:
    return FunctionRef(f"gilscope.workloads.{module or name}", name)


BUILT_IN: dict[str, Workload] = {
    workload.name: workload
    for workload in (
        Workload("noop", "no work: the round trip alone", _ref("noop"), _ref("noop_async", "noop")),
        Workload(
            "http_fetch",
            "waits for an upstream over a real socket",
            _ref("http_fetch"),
            _ref("http_fetch_async", "http_fetch"),
            parameters=(_DELAY,),
            prepare=http_fetch.prepare,
            needs_upstream=True,
        ),
        Workload(
            "sqlite_query",
            "aggregates rows of an SQLite file",
            _ref("sqlite_query"),
            parameters=(
                Parameter(
                    "rows", 20_000, 1, sqlite_query.TABLE_ROWS, "rows", "how many rows the query reads"
                ),
            ),
            prepare=sqlite_query.prepare,
        ),
        Workload("primes", "CPU work in pure Python", _ref("primes"), parameters=(_LIMIT,)),
        Workload(
            "json_roundtrip",
            "C calls that hold the GIL throughout",
            _ref("json_roundtrip"),
            parameters=(Parameter("kilobytes", 100, 1, 5_000, "kB", "size of the document"),),
        ),
        Workload(
            "sha256",
            "CPU work in C that releases the GIL",
            _ref("sha256"),
            parameters=(Parameter("megabytes", 2, 1, 1_000, "MB", "size of the hashed buffer"),),
        ),
        Workload(
            "sort_payload",
            "large arguments and results",
            _ref("sort_payload"),
            parameters=(Parameter("length", 50_000, 1, 2_000_000, "numbers", "length of the list"),),
            prepare=sort_payload.prepare,
        ),
        Workload(
            "mixed",
            "fetches, then computes",
            _ref("mixed"),
            _ref("mixed_async", "mixed"),
            parameters=(_DELAY, Parameter("n", 4_000, 10, 1_000_000, "upper limit", _LIMIT.help)),
            prepare=http_fetch.prepare,
            needs_upstream=True,
        ),
    )
}
"""Name to workload, in the order in which ``GET /workloads`` lists them."""

DEMO_SET = ("http_fetch", "primes", "sha256", "json_roundtrip")
"""What ``gilscope compare`` runs when no target is named: one of each kind."""
