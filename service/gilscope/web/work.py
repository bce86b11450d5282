"""One workload on one backend, as a route: call, stamp, count."""

from __future__ import annotations

import asyncio
import contextlib
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


class Visit:
    """A request's stay in a backend, which is given up where its call ends neither in time nor when it is cancelled."""

    __slots__ = ("_route", "accepted_ns", "has_ended", "is_given_up", "request")

    def __init__(self, request: web.Request, route: WorkRoute) -> None:
        self.request, self._route = request, route
        self.accepted_ns = monotonic_ns()
        self.is_given_up = self.has_ended = False

    def give_up(self) -> None:
        """Wait for the call no longer."""
        self.is_given_up = True
        self._route.give_up(self)


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
        self._answering: set[asyncio.Task[None]] = set()
        self._opening = f'{{"workload": {_encode(workload.name)}, "backend": {_encode(gate.name)}, "result": '

    async def answer(self, request: web.Request) -> web.Response:
        """Run the workload and answer with its result and its stages.

        Raises:
            ParameterError: the query is not what the workload takes.
            BackendFailedError: the backend could not run it.
            BackendFullError: too many wait for it already.
        """
        visit = Visit(request, self)
        try:
            submitted_ns, outcome = await self._call(visit)
        except (BackendFailedError, BackendFullError):
            self._metrics.lost.observe((monotonic_ns() - visit.accepted_ns) / 1e9)
            raise
        except TimeoutError:
            if not visit.is_given_up:
                self._metrics.late.observe((monotonic_ns() - visit.accepted_ns) / 1e9)
            return self._too_late()
        if visit.is_given_up:  # It has ended after all, but was answered before.
            return self._too_late()
        stages = Stages.of(visit.accepted_ns, submitted_ns, outcome, monotonic_ns())
        self._observe(outcome, stages)
        if outcome.failure is not None:
            return self._failed(outcome.failure, request)
        return self._succeeded(outcome.result, stages)

    async def _call(self, visit: Visit) -> tuple[int, Outcome]:
        """Run the workload, as long as there is room and time; return when it was handed over (ns), and what came of it.

        Raises:
            TimeoutError: it took longer than a request may.
            ParameterError: the query is not what the workload takes.
            BackendFailedError: the backend could not run it.
            BackendFullError: too many wait for it already.
        """
        task = asyncio.current_task()
        assert task is not None
        self._gate.enter()
        self._deadlines.begin(task, visit.give_up)
        is_late = False
        try:
            try:
                query = visit.request.rel_url.raw_query_string
                arguments = self._arguments.get(query)
                if arguments is None:
                    arguments = await asyncio.to_thread(self.prepare, visit.request.query)
                    self.keep(query, arguments)
                submitted_ns = monotonic_ns()
                return submitted_ns, await self._backend.run(self._workload, arguments)
            finally:
                visit.has_ended = True
                is_late = self._deadlines.end(task)
                if visit.is_given_up:
                    self._gate.come_back()
                else:
                    self._gate.leave()
        except asyncio.CancelledError:
            if is_late:
                raise TimeoutError from None
            raise  # the client has gone

    def prepare(self, given: Mapping[str, str]) -> dict[str, object]:
        """Validate a query and prepare the function's arguments. May block.

        Raises:
            ParameterError: the query is not what the workload takes.
        """
        return self._workload.prepare(self._workload.parse(given), self._surroundings)

    def keep(self, query: str, arguments: dict[str, object]) -> None:
        """Remember the arguments of a query, and forget those of an earlier one: only the latest few are kept."""
        if len(self._arguments) >= MAX_KEPT_ARGUMENTS:
            del self._arguments[next(iter(self._arguments))]
        self._arguments[query] = arguments

    def give_up(self, visit: Visit) -> None:
        """Answer in the place of the task that should, and count its call until it ends."""
        self._gate.give_up()
        self._metrics.late.observe((monotonic_ns() - visit.accepted_ns) / 1e9)
        answering = asyncio.get_running_loop().create_task(self._answer_instead(visit))
        self._answering.add(answering)
        answering.add_done_callback(self._answering.discard)

    async def _answer_instead(self, visit: Visit) -> None:
        """Say that it took too long, and close the connection: the task that serves it is not to be had back."""
        request, response = visit.request, self._too_late()
        transport = request.transport
        if transport is None or visit.has_ended:
            return  # the client has gone, or the task answers after all
        response.force_close()
        with contextlib.suppress(ConnectionError):
            await response.prepare(request)
            await response.write_eof()
        transport.close()

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
