"""May interfere with each other, in time: the tutorial's infinite loop beside a web service.

``python -m gilscope.textbook.cells.looping BACKEND`` prints a line with its port and then takes orders, as JSON lines:
``{"loops": 4, "prints": true, "interval_ms": 5}`` for how many loops are to run by now, whether those that are started
now print, and the switch interval. What they print goes to ``/dev/null``: block-buffered, as it is under a process manager.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Callable
from multiprocessing import Process
from threading import Thread

from aiohttp import web

from gilscope.backends.execution import prepare_thread
from gilscope.model import ThreadRole

Work = Callable[[], None]


def forever() -> None:
    """Be the tutorial's infinite loop."""
    while True:
        print("still running")  # noqa: T201


def compute() -> None:
    """Be an infinite loop that never writes anything: it has no reason to give up the GIL."""
    number = 0
    while True:
        number += 1


def in_asyncio(work: Work) -> None:
    """Start it on the event loop itself."""
    asyncio.get_running_loop().call_soon(work)


def in_threads(work: Work) -> None:
    """Start it in a thread."""
    Thread(target=work, daemon=True).start()


def in_processes(work: Work) -> None:
    """Start it in a process."""
    Process(target=work, daemon=True).start()


def in_interpreters(work: Work) -> None:
    """Start it in a subinterpreter, which needs a thread to run on."""
    from concurrent import interpreters  # type: ignore[attr-defined] # noqa: PLC0415

    Thread(target=interpreters.create().call, args=(work,), daemon=True).start()


async def ping(_request: web.Request) -> web.Response:
    """Answer."""
    return web.Response(text="pong")


async def serve(start: Callable[[Work], None], answers: int) -> None:
    """Serve ``/ping``, and take orders from standard input until it ends."""
    app = web.Application()
    app.router.add_get("/ping", ping)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    orders = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(orders), sys.stdin
    )
    os.write(answers, json.dumps({"port": runner.addresses[0][1]}).encode() + b"\n")
    running = 0
    async for line in orders:
        order = json.loads(line)
        os.write(answers, line)  # now: there may be no later
        sys.setswitchinterval(order["interval_ms"] / 1e3)
        while running < order["loops"]:
            start(LOOPS[order["prints"]])
            running += 1


LOOPS = {True: forever, False: compute}
STARTS = {
    "asyncio": in_asyncio,
    "threads": in_threads,
    "processes": in_processes,
    "interpreters": in_interpreters,
}


def main() -> None:
    """Serve with the loop of one backend."""
    answers = os.dup(1)
    with open(os.devnull, "wb") as nowhere:  # noqa: PTH123  its number is wanted
        os.dup2(nowhere.fileno(), 1)
    prepare_thread(ThreadRole.LOOP, os.getppid())
    asyncio.run(serve(STARTS[sys.argv[1]], answers))
    os._exit(0)  # the loops never end


if __name__ == "__main__":
    main()
