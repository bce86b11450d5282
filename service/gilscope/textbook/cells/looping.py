"""May interfere with each other, in time: a web service, and what its workers do beside it.

``python -m gilscope.textbook.cells.looping BACKEND`` prints a line with its port and whether there is a GIL, and then takes
orders, as JSON lines:
``{"work": "forever", "times": 4, "begun": "PIPE", "loop_on": [0], "work_on": [1], "interval_ms": 5}`` for how many workers
are to run by now, what those that are started now do and through which named pipe they tell that they begin, the cores of
the event loop and theirs, and the switch interval. What they print goes to ``/dev/null``: block-buffered, as it is under a
process manager.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Sequence
from multiprocessing import Process, get_start_method
from threading import Event, Thread

from gilscope.textbook.cells import works

# A worker process imports this module once more, and has no use for a web service: that is imported where it is needed.

Work = Callable[[str, Sequence[int]], None]


def in_asyncio(times: int, work: Work, begun: str, cores: Sequence[int]) -> None:
    """Start it on the event loop itself."""
    import asyncio  # noqa: PLC0415

    for _ in range(times):
        asyncio.get_running_loop().call_soon(work, begun, cores)


def in_threads(times: int, work: Work, begun: str, cores: Sequence[int]) -> None:
    """Start it in threads that wait for each other: beside the first loop the next one might not get to start."""
    import asyncio  # noqa: PLC0415

    go = Event()

    def wait_and_work() -> None:
        go.wait()
        work(begun, cores)

    for _ in range(times):
        Thread(target=wait_and_work, daemon=True).start()
    asyncio.get_running_loop().call_soon(go.set)


def in_processes(times: int, work: Work, begun: str, cores: Sequence[int]) -> None:
    """Start it in processes."""
    for _ in range(times):
        Process(target=work, args=(begun, cores), daemon=True).start()


def in_interpreters(times: int, work: Work, begun: str, cores: Sequence[int]) -> None:
    """Start it in subinterpreters, each of which needs a thread to run on."""
    from concurrent import interpreters  # type: ignore[attr-defined] # noqa: PLC0415

    for _ in range(times):
        Thread(target=interpreters.create().call, args=(work, begun, cores), daemon=True).start()


async def serve(start: Callable[[int, Work, str, Sequence[int]], None], answers: int) -> None:
    """Serve ``/ping``, and take orders from standard input until it ends."""
    import asyncio  # noqa: PLC0415

    from aiohttp import web  # noqa: PLC0415

    from gilscope.backends.execution import gil_enabled  # noqa: PLC0415

    async def ping(_request: web.Request) -> web.Response:
        return web.Response(text="pong")

    app = web.Application()
    app.router.add_get("/ping", ping)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    orders = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(orders), sys.stdin
    )
    here = {
        "port": runner.addresses[0][1],
        "start_method": get_start_method(),
        "gil_enabled": gil_enabled(),
    }
    os.write(answers, json.dumps(here).encode() + b"\n")
    running = 0
    async for line in orders:
        order = json.loads(line)
        sys.setswitchinterval(order["interval_ms"] / 1e3)
        os.sched_setaffinity(0, order["loop_on"])
        start(order["times"] - running, getattr(works, order["work"]), order["begun"], order["work_on"])
        running = order["times"]
        os.write(answers, line)  # now: there may be no later


STARTS = {
    "asyncio": in_asyncio,
    "threads": in_threads,
    "processes": in_processes,
    "interpreters": in_interpreters,
}


def main() -> None:
    """Serve with the workers of one backend."""
    import asyncio  # noqa: PLC0415

    from gilscope.backends.execution import prepare_thread  # noqa: PLC0415
    from gilscope.model import ThreadRole  # noqa: PLC0415

    answers = os.dup(1)
    with open(os.devnull, "wb") as nowhere:  # noqa: PTH123  its number is wanted
        os.dup2(nowhere.fileno(), 1)
    prepare_thread(ThreadRole.LOOP, os.getppid())
    asyncio.run(serve(STARTS[sys.argv[1]], answers))
    os._exit(0)  # the workers never end


if __name__ == "__main__":
    main()
