"""The routes, each a few lines."""

from __future__ import annotations

import json
from dataclasses import asdict
from http import HTTPStatus
from typing import NoReturn

from aiohttp import web

from gilscope.backends.table import BACKENDS
from gilscope.errors import BackendUnavailableError
from gilscope.model import BackendName
from gilscope.web.problems import problem
from gilscope.web.service import SERVICE, Service
from gilscope.workloads.base import Workload


async def work(request: web.Request) -> web.Response:
    """``GET /work/{workload}/{backend}``: run it and say where the time went."""
    workload, backend = request.match_info["workload"], request.match_info["backend"]
    service = request.app[SERVICE]
    route = service.routes.get((workload, backend))
    if route is None:
        _refuse(service, workload, backend)
    return await route.answer(request)


def _refuse(service: Service, workload: str, backend: str) -> NoReturn:
    known = [workload.name for workload in service.config.workloads]
    if workload not in known:
        raise web.HTTPNotFound(text=f"no workload '{workload}' here; there is: {', '.join(known)}")
    if backend not in BACKENDS:
        raise web.HTTPNotFound(text=f"no backend '{backend}'; there is: {', '.join(BACKENDS)}")
    reason = BACKENDS[BackendName(backend)].unavailable() or "was not started with this service"
    raise BackendUnavailableError(f"the {backend} backend {reason}")


async def ping(_request: web.Request) -> web.Response:
    """``GET /ping``: the light endpoint, which shows what the neighbours feel."""
    return web.Response(text="pong")


async def healthz(_request: web.Request) -> web.Response:
    """``GET /healthz``: the loop turns."""
    return web.json_response({"status": "ok"})


async def readyz(request: web.Request) -> web.Response:
    """``GET /readyz``: every pool has run a task."""
    if request.app[SERVICE].ready:
        return web.json_response({"status": "ready"})
    return problem(HTTPStatus.SERVICE_UNAVAILABLE, "starting or stopping", retry_after_s=1)


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
