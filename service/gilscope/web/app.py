"""The aiohttp application: workloads, run in every way, behind one URL scheme."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Iterator
from functools import partial

from aiohttp import web

from gilscope.backends.table import BACKENDS
from gilscope.live.feed import Feed
from gilscope.profiling.companion import Profiles
from gilscope.profiling.shelf import Shelf
from gilscope.scratch import folder
from gilscope.web import handlers, live, openapi, profiles
from gilscope.web.access import guarded_at, guarded_by, showing_paths
from gilscope.web.config import Profiling, ServiceConfig
from gilscope.web.gate import Deadlines, Gate, Hurry
from gilscope.web.lag import LoopLag
from gilscope.web.metrics import ServiceMetrics
from gilscope.web.problems import DOORS, MAX_BODY_BYTES, Handler, answering_problems, not_logging_bad_requests
from gilscope.web.service import SERVICE, Service
from gilscope.web.work import WorkRoute
from gilscope.workloads.base import Surroundings
from gilscope.workloads.http_fetch import close_session
from gilscope.workloads.upstream_process import running_upstream


def create_app(config: ServiceConfig, metrics: ServiceMetrics | None = None) -> web.Application:
    """Return the application; nothing runs before its startup."""
    app = web.Application(client_max_size=MAX_BODY_BYTES)
    service = app[SERVICE] = Service(config, metrics or ServiceMetrics())
    app[DOORS] = service.doors
    app.cleanup_ctx.append(not_logging_bad_requests)
    app.cleanup_ctx.append(_running)
    app[live.FEED] = Feed(live.Own(service))
    app.on_shutdown.append(_ending_streams)
    app.cleanup_ctx.append(_timing_the_loop)  # after the pools: coming up is not serving
    for path, handler in _routes(config):
        app.router.add_get(path, answering_problems(handler))
    app.router.add_get("/live", answering_problems(live.stream), allow_head=False)  # it never ends
    app.router.add_get(openapi.PATH, answering_problems(_description(config)))
    if config.profiling is not None:
        app.router.add_routes(profiles.routes(guarded_by(config.profiling.token)))
        app.cleanup_ctx.append(profiles.taking(partial(_profiles, service, config.profiling)))
    app.router.add_route("*", "/{path:(?s:.*)}", answering_problems(handlers.no_such_route))
    return app


def _routes(config: ServiceConfig) -> Iterator[tuple[str, Handler]]:
    """Yield all GET routes; work has a static path each, which aiohttp finds without a pattern."""
    guard = guarded_at(config.host)
    for workload in config.workloads:
        if set(workload.name) & set("{}%"):
            continue  # aiohttp would read these as a pattern or as quoted; the pattern below finds the name
        for backend in config.backends:
            yield f"/work/{workload.name}/{backend}", guard(handlers.work_on(workload.name, backend))
    yield "/work/{workload:[^/]+}/{backend:[^/]+}", guard(handlers.other_work)
    yield "/", live.show
    yield "/ping", handlers.ping
    yield "/healthz", handlers.healthz
    yield "/readyz", handlers.readyz
    yield "/workloads", handlers.workloads
    yield "/backends", handlers.backends


def _description(config: ServiceConfig) -> Handler:
    """Return the handler of the service's description: for everybody, or for those who have the token."""
    show, token = openapi.showing(config), config.reader_token
    return show if token is None else guarded_by(token)(show)


async def _running(app: web.Application) -> AsyncIterator[None]:
    """Run pools, upstream and scratch folder for as long as the application runs."""
    service = app[SERVICE]
    async with contextlib.AsyncExitStack() as stack:
        surroundings = await _surroundings(service.config, stack)
        hurry = Hurry(asyncio.get_running_loop())
        stack.callback(hurry.stop)
        for name, workers in service.config.workers().items():
            backend = BACKENDS[name].create(workers, service.config.observer)
            stack.push_async_callback(service.stop, backend)
            await backend.start(service.config.workloads)
            service.backends[name] = backend
            service.gates[name] = Gate(name, backend, service.config.backlog, hurry.refused)
        deadlines = Deadlines(asyncio.get_running_loop(), service.config.time_limit_s)
        stack.callback(deadlines.stop)
        stack.push_async_callback(close_session)
        shows_paths = showing_paths(service.config.host, service.config.reader_token)
        for workload in service.config.workloads:
            for name, backend in service.backends.items():
                children = service.metrics.route(workload.name, name)
                gate = service.gates[name]
                route = WorkRoute(workload, backend, children, gate, deadlines, surroundings, shows_paths)
                # Here and not in a thread: the loop serves nobody yet, and would keep that thread for ever.
                route.keep("", route.prepare({}))
                service.routes[workload.name, name] = route
        service.metrics.watch(service.backends, service.gates)
        service.ready = True
        yield
        service.ready = False


async def _ending_streams(app: web.Application) -> None:
    """Let those go who look at the live page: they would keep the service from ending."""
    await app[live.FEED].stop()


async def _timing_the_loop(app: web.Application) -> AsyncIterator[None]:
    """Measure the loop's lag for as long as the application serves."""
    lag = LoopLag(asyncio.get_running_loop(), app[SERVICE].metrics.loop_lag.observe)
    yield
    lag.stop()


def _profiles(service: Service, profiling: Profiling) -> Profiles:
    """Return what takes profiles of this process when asked to."""
    return Profiles(
        Shelf(profiling.folder),
        os.getpid(),
        title=live.title_of(service.config.workload_names),
        backends=service.config.backends,
        metrics_url=service.metrics.url,
        targets=[workload.reference for workload in service.config.workloads],
    )


async def _surroundings(config: ServiceConfig, stack: contextlib.AsyncExitStack) -> Surroundings:
    scratch = stack.enter_context(folder())
    upstream_url = config.upstream_url
    if upstream_url is None and any(workload.needs_upstream for workload in config.workloads):
        upstream = running_upstream()
        upstream_url = await asyncio.to_thread(upstream.__enter__)
        stack.push(upstream.__exit__)
    return Surroundings(upstream_url, scratch)
