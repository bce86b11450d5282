"""A profiler beside a service: the same pages and routes of profiles, in a process that has the right to trace it.

For containers: the service runs without that right, and the profiler shares its process namespace.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from aiohttp import web

from gilscope.errors import ServiceError
from gilscope.model import BackendName
from gilscope.profiling.companion import Profiles
from gilscope.profiling.shelf import Shelf
from gilscope.web import profiles
from gilscope.web.access import guarded_by
from gilscope.web.config import Profiling
from gilscope.web.handlers import no_such_route
from gilscope.web.problems import MAX_BODY_BYTES, answering_problems, not_logging_bad_requests
from gilscope.web.serving import SHUTDOWN_S, listen, url_of, watching


@dataclass(frozen=True, slots=True)
class Patient:
    """The process that is profiled, with its children, and what is known of it."""

    pid: int
    title: str
    backends: tuple[BackendName, ...] = ()
    metrics_url: str | None = None


def create_app(patient: Patient, profiling: Profiling) -> web.Application:
    """Return the application; nothing runs before its startup."""
    app = web.Application(client_max_size=MAX_BODY_BYTES)
    app.cleanup_ctx.append(not_logging_bad_requests)
    app.router.add_get("/", _to_profiles)
    app.router.add_routes(profiles.routes(guarded_by(profiling.token)))
    app.router.add_route("*", "/{path:(?s:.*)}", answering_problems(no_such_route))
    app.cleanup_ctx.append(
        profiles.taking(
            lambda: Profiles(
                Shelf(profiling.folder), patient.pid, patient.title, patient.backends, patient.metrics_url
            )
        )
    )
    return app


async def _to_profiles(_request: web.Request) -> web.Response:
    raise web.HTTPFound("/profiles")


async def serve(
    patient: Patient, profiling: Profiling, host: str, port: int, announce: Callable[[str], None]
) -> None:
    """Serve until SIGINT or SIGTERM; ``announce`` gets the URL.

    Raises:
        UsageError: host or port cannot be listened on.
        RunFileError: the folder cannot be made.
    """
    runner = web.AppRunner(create_app(patient, profiling), access_log=None, shutdown_timeout=SHUTDOWN_S)
    await runner.setup()
    try:
        await listen(runner, host, port, "--serve")
        if not runner.addresses:
            raise ServiceError("the profiler has no address")
        with watching(lifeline=False) as told:
            announce(url_of(runner))
            await told.once.wait()
    finally:
        await runner.cleanup()
