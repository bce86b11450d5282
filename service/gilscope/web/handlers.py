"""The routes, each a few lines."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from http import HTTPStatus
from typing import NoReturn

from aiohttp import web

from gilscope.backends.table import BACKENDS
from gilscope.errors import BackendUnavailableError
from gilscope.model import BackendName
from gilscope.web.problems import RETRY_SOON, Handler, problem
from gilscope.web.service import SERVICE
from gilscope.workloads.base import Workload


def work_on(workload: str, backend: str) -> Handler:
    """Return the handler of ``GET /work/{workload}/{backend}``: run it and say where the time went."""

    async def work(request: web.Request) -> web.Response:
        return await request.app[SERVICE].routes[workload, backend].answer(request)

    return work


async def other_work(request: web.Request) -> web.Response:
    """``GET /work/…/…`` for what has no path of its own: mostly what this service does not have; say what it has."""
    workload, backend = request.match_info["workload"], request.match_info["backend"]
    route = request.app[SERVICE].routes.get((workload, backend))
    if route is not None:
        return await route.answer(request)
    known = [workload.name for workload in request.app[SERVICE].config.workloads]
    if workload not in known:
        raise web.HTTPNotFound(text=f"no workload '{workload}' here; there is: {', '.join(known)}")
    if backend not in BACKENDS:
        raise web.HTTPNotFound(text=f"no backend '{backend}'; there is: {', '.join(BACKENDS)}")
    reason = BACKENDS[BackendName(backend)].unavailable() or "was not started with this service"
    raise BackendUnavailableError(f"the {backend} backend {reason}")


async def no_such_route(request: web.Request) -> NoReturn:
    """Everything else: an unknown path, or a method other than GET."""
    takes = await _methods(request)
    if takes:
        told = " and ".join(method for method in takes if method != "HEAD")
        raise web.HTTPMethodNotAllowed(
            request.method, takes, text=f"{request.path} takes {told}, not {request.method}"
        )
    known = [resource.canonical for resource in request.app.router.resources()]
    raise web.HTTPNotFound(text=f"no route {request.path}; there is: {', '.join(known[:-1])}")


async def _methods(request: web.Request) -> list[str]:
    """Return what the path of a request takes; nothing where there is no such path."""
    found: set[str] = set()
    for resource in request.app.router.resources():
        _, methods = await resource.resolve(request)
        found |= methods
    return sorted(found - {"*"})  # which is the route to here


async def ping(_request: web.Request) -> web.Response:
    """``GET /ping``: the light endpoint, which shows what the neighbours feel."""
    return web.Response(text="pong")


async def healthz(request: web.Request) -> web.Response:
    """``GET /healthz``: the loop turns; and what a profiler beside the service has to know of it."""
    metrics = request.app[SERVICE].metrics
    return web.json_response({"status": "ok", "pid": os.getpid(), "metrics_port": metrics.port})


async def readyz(request: web.Request) -> web.Response:
    """``GET /readyz``: every pool has run a task."""
    if request.app[SERVICE].ready:
        return web.json_response({"status": "ready"})
    return problem(HTTPStatus.SERVICE_UNAVAILABLE, "starting or stopping", headers=RETRY_SOON)


async def workloads(request: web.Request) -> web.Response:
    """``GET /workloads``: what can be run, with its parameters."""
    return web.json_response([_describe(workload) for workload in request.app[SERVICE].config.workloads])


def _describe(workload: Workload) -> dict[str, object]:
    return {
        "name": workload.name,
        "summary": workload.summary,
        "native_async": workload.native_async is not None or workload.is_async,
        "arguments": json.loads(json.dumps(workload.arguments, default=repr)),
        "parameters": [asdict(parameter) for parameter in workload.parameters],
        "signature": None if workload.signature is None else str(workload.signature),
    }


async def backends(request: web.Request) -> web.Response:
    """``GET /backends``: the whole table, with the reason for what cannot run here."""
    running = request.app[SERVICE].backends
    return web.json_response(
        [
            {
                "name": name,
                "summary": spec.summary,
                "running": name in running,
                "workers": running[name].workers if name in running else 0,
                "unavailable": spec.unavailable(),
            }
            for name, spec in BACKENDS.items()
        ]
    )
