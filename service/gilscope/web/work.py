"""One workload on one backend, as a route: call, stamp, count."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from http import HTTPStatus
from time import monotonic_ns
from typing import Any, NamedTuple

from aiohttp import web

from gilscope.backends.base import Backend, Failure, Outcome
from gilscope.errors import BackendFailedError, BackendFullError
from gilscope.web.gate import Deadlines, Gate
from gilscope.web.metrics import RouteMetrics
from gilscope.web.presenting import presentable
from gilscope.web.problems import problem
from gilscope.workloads.base import Surroundings, Workload

MAX_KEPT_ARGUMENTS = 4


class Stages(NamedTuple):
    """A request's stages in milliseconds.

    ``queue``, ``run`` and ``return_`` lie within ``total``, ``cpu`` and ``suspended`` within ``run``.
    """

    queue: float
    run: float
    cpu: float
    suspended: float
    return_: float
    total: float

    @classmethod
    def of(cls, accepted_ns: int, submitted_ns: int, outcome: Outcome, returned_ns: int) -> Stages:
        """Derive the stages from the service's and the worker's stamps."""
        return cls(
            (outcome.started_ns - submitted_ns) / 1e6,
            (outcome.finished_ns - outcome.started_ns) / 1e6,
            outcome.cpu_ns / 1e6,
            outcome.suspended_ns / 1e6,
            (returned_ns - outcome.finished_ns) / 1e6,
            (returned_ns - accepted_ns) / 1e6,
        )


JSON_TIMING = '{"queue": %.4f, "run": %.4f, "cpu": %.4f, "suspended": %.4f, "return": %.4f, "total": %.4f}'
SERVER_TIMING = (
    "queue;dur=%.4f, run;dur=%.4f, cpu;dur=%.4f, suspended;dur=%.4f, return;dur=%.4f, total;dur=%.4f"
)
"""A ``Server-Timing`` header (W3C): durations in milliseconds, here to a tenth of a microsecond."""

_encode = json.JSONEncoder().encode


class WorkRoute:
    """Answers work requests of one workload on one backend."""

    def __init__(
        self,
        workload: Workload,
        backend: Backend,
        metrics: RouteMetrics,
        gate: Gate,
        deadlines: Deadlines,
        surroundings: Surroundings,
        shows_paths: Callable[[web.Request], bool],
    ) -> None:
        """``shows_paths`` tells whether a request may see paths of the source."""
        self._workload = workload
        self._backend = backend
        self._metrics = metrics
        self._gate = gate
        self._deadlines = deadlines
        self._surroundings = surroundings
        self._shows_paths = shows_paths
        self._arguments: dict[str, dict[str, object]] = {}
        self._opening = f'{{"workload": {_encode(workload.name)}, "backend": {_encode(gate.name)}, "result": '

    async def answer(self, request: web.Request) -> web.Response:
        """Answer, and close the connection where the service is about to end.

        Raises: as :meth:`_answer` does.
        """
        response = await self._answer(request)
        if self._gate.is_closing:
            response.force_close()
        return response

    async def _answer(self, request: web.Request) -> web.Response:
        """Run the workload and answer with its result and its stages.

        Raises:
            ParameterError: the query is not what the workload takes.
            BackendFailedError: the backend could not run it.
            BackendFullError: too many wait for it already.
        """
        accepted_ns = monotonic_ns()
        query = request.rel_url.raw_query_string
        arguments = self._arguments.get(query)
        if arguments is None:
            arguments = await asyncio.to_thread(self.prepare, query, request.query)
        submitted_ns = monotonic_ns()
        try:
            outcome = await self._call(arguments)
        except (BackendFailedError, BackendFullError):
            self._metrics.lost.observe((monotonic_ns() - accepted_ns) / 1e9)
            raise
        except TimeoutError:
            self._metrics.late.observe((monotonic_ns() - accepted_ns) / 1e9)
            return self._too_late()
        stages = Stages.of(accepted_ns, submitted_ns, outcome, monotonic_ns())
        self._observe(outcome, stages)
        if outcome.failure is not None:
            return self._failed(outcome.failure, request)
        return self._succeeded(outcome.result, stages)

    async def _call(self, arguments: Mapping[str, object]) -> Outcome:
        """Run the workload, as long as there is room and time.

        Raises:
            TimeoutError: it took longer than a request may.
            BackendFailedError: the backend could not run it.
            BackendFullError: too many wait for it already.
        """
        task = asyncio.current_task()
        assert task is not None
        self._gate.enter()
        self._deadlines.begin(task)
        is_late = False
        try:
            try:
                return await self._backend.run(self._workload, arguments)
            finally:
                self._gate.leave()
                is_late = self._deadlines.end(task)
        except asyncio.CancelledError:
            if is_late:
                raise TimeoutError from None
            raise  # the client has gone

    def prepare(self, query: str, given: Mapping[str, str]) -> dict[str, object]:
        """Validate a query once and prepare the function's arguments; keep the latest few. May block.

        Raises:
            ParameterError: the query is not what the workload takes.
        """
        parsed = self._workload.parse(given)
        arguments = self._workload.prepare(parsed, self._surroundings)
        if len(self._arguments) >= MAX_KEPT_ARGUMENTS:
            self._arguments.pop(next(iter(self._arguments)), None)
        self._arguments[query] = arguments
        return arguments

    def _observe(self, outcome: Outcome, stages: Stages) -> None:
        metrics = self._metrics
        (metrics.ok if outcome.failure is None else metrics.failed).observe(stages.total / 1e3)
        metrics.queue.observe(stages.queue / 1e3)
        metrics.run.observe(stages.run / 1e3)
        metrics.cpu.observe(stages.cpu / 1e3)
        metrics.return_.observe(stages.return_ / 1e3)

    def _succeeded(self, result: object, stages: Stages) -> web.Response:
        # Written by hand: this runs on the measured loop, and encoding the whole took three times as long.
        timing = JSON_TIMING % stages
        body = f'{self._opening}{_encode(presentable(result))}, "timing_ms": {timing}}}'
        headers = {"Content-Type": "application/json", "Server-Timing": SERVER_TIMING % stages}
        return web.Response(body=body.encode(), headers=headers)

    def _too_late(self) -> web.Response:
        return problem(
            HTTPStatus.GATEWAY_TIMEOUT,
            f"{self._workload.name} took longer than {self._deadlines.limit_s:g} s\n  -> smaller arguments, or a larger "
            "--time-limit",
        )

    def _failed(self, failure: Failure, request: web.Request) -> web.Response:
        shown: dict[str, Any] = {"traceback": failure.traceback} if self._shows_paths(request) else {}
        return problem(
            HTTPStatus.INTERNAL_SERVER_ERROR,
            f"{self._workload.name} raised {failure.kind}: {failure.message}",
            **shown,
        )
