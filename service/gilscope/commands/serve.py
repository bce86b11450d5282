"""Run the service alone, to try it by hand or to load it with your own tools.

It prints one JSON line once every pool has run a task. Then, for example:

  curl http://127.0.0.1:8080/work/primes/threads?n=8000
  curl http://127.0.0.1:9464/metrics
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from gilscope.commands.arguments import Group, backends, number, pairs, whole
from gilscope.errors import INTERRUPTED, LensError, UsageError
from gilscope.limits import allow_many_files
from gilscope.telling import tell

if TYPE_CHECKING:
    from gilscope.lens.companion import Companion
    from gilscope.web.config import Profiling

_giving_up = threading.Lock()

LoopFactory = Callable[[], asyncio.AbstractEventLoop]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    _add_places(parser.add_argument_group("where it listens"))
    _add_work(parser.add_argument_group("what it runs"))
    _add_limits(parser.add_argument_group("what it refuses and gives up"))
    _add_profiles(parser.add_argument_group("who may look inside"))
    for internal in ("--shared-port", "--lifeline"):
        parser.add_argument(internal, action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--upstream", metavar="URL", help=argparse.SUPPRESS)


def _add_places(group: Group) -> None:
    group.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    group.add_argument(
        "--port", type=whole(0, 65_535), default=8080, metavar="N", help="default: %(default)s; 0: a free one"
    )
    group.add_argument(
        "--metrics-port",
        type=whole(0, 65_535),
        default=9464,
        metavar="N",
        help="where Prometheus' metrics are (default: %(default)s; 0: a free one)",
    )
    group.add_argument(
        "--lens-port",
        type=whole(0, 65_535),
        metavar="N",
        help="watch the threads from another process, and serve there who waits for the GIL (default: do not, "
        "because it costs 3 to 6 %% of a core; 0: a free port)",
    )
    group.add_argument(
        "--service-processes",
        type=whole(1, 64),
        default=1,
        metavar="N",
        help="processes that serve the port together, each with all backends; one that dies is started again "
        "(metrics and lens: on N ports from --metrics-port and --lens-port on)",
    )


def _add_work(group: Group) -> None:
    group.add_argument(
        "--workload",
        action="append",
        default=[],
        metavar="TARGET",
        help="built-in workload, package.module:function or path/to/file.py:function; repeatable "
        "(default: all built-in ones)",
    )
    group.add_argument(
        "--arg", action="append", default=[], metavar="NAME=JSON", help="argument of the workload; repeatable"
    )
    group.add_argument("--app-dir", metavar="DIR", help="put this folder on the import path")
    group.add_argument("--backends", type=backends, metavar="A,B", help="default: all that this Python has")
    group.add_argument("--pool-size", type=whole(1, 512), metavar="N", help="workers of each pool")
    group.add_argument("--uvloop", action="store_true", help="run on uvloop (the 'uvloop' extra)")


def _add_limits(group: Group) -> None:
    group.add_argument(
        "--backlog",
        type=whole(0, 1_000_000),
        default=1_000,
        metavar="N",
        help="calls that may wait for a worker of each backend; one more is refused (default: %(default)s)",
    )
    group.add_argument(
        "--time-limit",
        type=number(0.01, 3_600),
        default=60.0,
        metavar="S",
        help="how long a request may take (default: %(default)g)",
    )
    group.add_argument(
        "--drain",
        type=number(0, 3_600),
        default=10.0,
        metavar="S",
        help="how long what is under way has to be answered after SIGTERM or Ctrl-C; a second one ends that "
        "(default: %(default)g)",
    )


def _add_profiles(group: Group) -> None:
    group.add_argument(
        "--profiles",
        nargs="?",
        const="profiles/captured",
        metavar="DIR",
        help="take flame graphs on request (POST /profiles, or the page at /profiles) and keep up to 200 MB of them "
        "here (default: do not; without DIR: %(const)s)",
    )
    group.add_argument(
        "--token",
        metavar="SECRET",
        default=os.environ.get("GILSCOPE_TOKEN"),
        help="what readers of profiles have to give; needed where --host can be reached from elsewhere "
        "(default: $GILSCOPE_TOKEN)",
    )
    group.add_argument(
        "--insecure",
        action="store_true",
        help="let everybody who can reach --host call it without a token",
    )


def run(options: argparse.Namespace) -> int:
    """Serve until told to stop."""
    allow_many_files()
    if options.service_processes > 1:
        return _supervise(options)
    from gilscope.backends.table import available  # noqa: PLC0415
    from gilscope.scratch import sockets  # noqa: PLC0415
    from gilscope.web.access import require_permission  # noqa: PLC0415
    from gilscope.web.config import ServiceConfig  # noqa: PLC0415
    from gilscope.web.serving import Address, serve  # noqa: PLC0415
    from gilscope.workloads.catalogue import BUILT_IN  # noqa: PLC0415
    from gilscope.workloads.loader import resolve  # noqa: PLC0415

    ready = _keep_stdout()
    given = pairs(options.arg)
    workloads = tuple(
        resolve(target, given, app_dir=options.app_dir) for target in options.workload or BUILT_IN
    )
    _require_distinct([workload.name for workload in workloads])
    chosen = options.backends or available()
    _require_available(chosen)
    warning = require_permission(options.host, options.token, insecure=options.insecure)
    address = Address(options.host, options.port, options.metrics_port, is_shared=options.shared_port)
    profiling = _profiling(options)

    def announce(line: dict[str, object]) -> None:
        if warning is not None:
            tell(warning)
        os.write(ready, json.dumps(line).encode() + b"\n")

    with sockets(), _lens(options) as lens:
        # Whoever holds our lifeline started us, and watches us under load; else our own children do, when asked to.
        observer = os.getppid() if options.lifeline else os.getpid()
        config = ServiceConfig(
            workloads,
            chosen,
            options.pool_size,
            options.upstream,
            observer=observer,
            profiling=profiling,
            backlog=options.backlog,
            time_limit_s=options.time_limit,
            token=options.token,
            host=options.host,
            is_shared=options.shared_port,
        )
        company = None if options.lens_port is None else _watched_by(lens)
        serving = serve(
            config,
            address,
            announce,
            lifeline=options.lifeline,
            drain_s=options.drain,
            company=company,
            give_up=lambda: _give_up(INTERRUPTED),
        )
        has_ended = _run(serving, _loop_factory(wants_uvloop=options.uvloop))
    if not has_ended:
        _give_up(0)
    return 0


def _run(serving: Coroutine[Any, Any, bool], loop_factory: LoopFactory | None) -> bool:
    """Run the service; return whether all that ran in it has ended, so that the process can.

    Where it cannot although the service has failed or was interrupted, it ends a little later nevertheless.
    """
    from gilscope.web.serving import LAST_S  # noqa: PLC0415

    runner, before = asyncio.Runner(loop_factory=loop_factory), set(threading.enumerate())
    has_ended, code = True, 0
    try:
        has_ended = runner.run(serving)
    except KeyboardInterrupt:
        code = INTERRUPTED
        # From Python 3.14 on, asyncio would show where the request was that was interrupted.
        runner.get_loop().set_exception_handler(lambda _loop, _context: None)
        raise
    except Exception as problem:
        code = getattr(problem, "exit_code", 1)
        raise
    finally:
        last = threading.Timer(LAST_S, _give_up, (code,))
        last.daemon = True
        last.start()
        if has_ended:
            runner.close()  # Otherwise it would wait for coroutines that never end.
        if all(thread.daemon for thread in set(threading.enumerate()) - before):
            last.cancel()
    return has_ended


def _give_up(code: int) -> None:
    """End the process at once; whoever comes second has nothing to do."""
    if _giving_up.acquire(blocking=False):
        tell("calls that still ran were given up")
        os._exit(code)


def _supervise(options: argparse.Namespace) -> int:
    """Have several processes serve, and start another for each that dies."""
    from gilscope.web.supervisor import Supervisor, reserved  # noqa: PLC0415

    if options.profiles is not None:
        raise UsageError(
            "each of several processes would have profiles of its own",
            remedy="gilscope profile --pid PID --serve PORT, of one of them",
        )
    ready = _keep_stdout()

    def announce(line: dict[str, object]) -> None:
        os.write(ready, json.dumps(line).encode() + b"\n")

    with reserved(options.host, options.port) as port:
        commands = [_command_of(options, port, place) for place in range(options.service_processes)]
        asyncio.run(Supervisor(commands, options.drain).run(announce))
    return 0


def _command_of(options: argparse.Namespace, port: int, place: int) -> list[str]:
    """Return the command of one of several processes: as this one was called, with ports of its own."""
    from gilscope.child import module_command  # noqa: PLC0415

    command = module_command("gilscope", *options.arguments)
    command += ["--service-processes=1", "--shared-port", "--lifeline", f"--port={port}"]
    for name, first in (("metrics-port", options.metrics_port), ("lens-port", options.lens_port)):
        if first is not None:
            command.append(f"--{name}={first + place if first else 0}")
    return command


def _profiling(options: argparse.Namespace) -> Profiling | None:
    """Return where profiles go, where they are wanted.

    Raises:
        UsageError: strangers could see them.
    """
    from gilscope.web.access import require_safe  # noqa: PLC0415
    from gilscope.web.config import Profiling  # noqa: PLC0415

    if options.profiles is None:
        return None
    require_safe(options.host, options.token)
    return Profiling(Path(options.profiles), options.token)


@contextmanager
def _lens(options: argparse.Namespace) -> Iterator[Companion | None]:
    """Run a lens for the block, where one is wanted and there can be one."""
    from gilscope.lens.companion import Companion  # noqa: PLC0415

    try:
        lens = None if options.lens_port is None else Companion(options.host, options.lens_port)
    except LensError as problem:
        _go_on_without_lens(problem)
        lens = None
    try:
        yield lens
    finally:
        if lens is not None:
            lens.stop()


@asynccontextmanager
async def _watched_by(lens: Companion | None) -> AsyncIterator[Mapping[str, object]]:
    """Have the lens watch this process; gives what the ready line says of that."""
    try:
        url = lens and await lens.watch(os.getpid())
    except LensError as problem:
        _go_on_without_lens(problem)
        lens = url = None
    if lens is None:
        yield {"lens_url": None}
        return
    with lens.reporting_its_end(_go_on_without_lens):
        yield {"lens_url": url}


def _go_on_without_lens(problem: LensError) -> None:
    tell(f"going on without the lens: {problem}")


def _keep_stdout() -> int:
    """Keep standard output for the ready line; what the user's function prints goes to standard error."""
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    return kept


def _require_distinct(names: Sequence[str]) -> None:
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"two workloads are called '{name}'", remedy="name each workload once")


def _require_available(chosen: tuple[str, ...]) -> None:
    from gilscope.backends.table import BACKENDS  # noqa: PLC0415
    from gilscope.model import BackendName  # noqa: PLC0415

    for name in chosen:
        reason = BACKENDS[BackendName(name)].unavailable()
        if reason is not None:
            raise UsageError(f"the {name} backend {reason}", remedy="leave it out of --backends")


def _loop_factory(*, wants_uvloop: bool) -> LoopFactory | None:
    if not wants_uvloop:
        return None
    try:
        import uvloop  # noqa: PLC0415
    except ImportError:
        raise UsageError("uvloop is not installed", remedy="pip install 'gilscope[uvloop]'") from None
    return cast("LoopFactory", uvloop.new_event_loop)
