"""What gilscope's service is measured against: aiohttp and an executor, with no stamps, metrics or checks."""

import asyncio
import json
import multiprocessing
import os
import sys
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor

from aiohttp import web

from gilscope.backends.threads import default_workers


def noop() -> object:
    """Do nothing, as ``gilscope.workloads.noop`` does."""
    return None


def create_app(executors: dict[str, Executor]) -> web.Application:
    """Return an application that runs ``noop`` on the loop and in each executor."""
    app = web.Application()

    async def on_loop(_request: web.Request) -> web.Response:
        return web.json_response({"result": noop()})

    async def in_threads(_request: web.Request) -> web.Response:
        result = await asyncio.get_running_loop().run_in_executor(executors["threads"], noop)
        return web.json_response({"result": result})

    async def in_processes(_request: web.Request) -> web.Response:
        result = await asyncio.get_running_loop().run_in_executor(executors["processes"], noop)
        return web.json_response({"result": result})

    app.router.add_get("/work/noop/asyncio", on_loop)
    app.router.add_get("/work/noop/threads", in_threads)
    app.router.add_get("/work/noop/processes", in_processes)
    return app


async def serve() -> None:
    """Serve on a free port until standard input ends."""
    context = multiprocessing.get_context("forkserver")
    executors: dict[str, Executor] = {
        "threads": ThreadPoolExecutor(default_workers()),
        "processes": ProcessPoolExecutor(os.cpu_count(), mp_context=context),
    }
    runner = web.AppRunner(create_app(executors), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    print(json.dumps({"url": f"http://{host}:{port}"}), flush=True)
    await asyncio.to_thread(sys.stdin.buffer.read)
    for executor in executors.values():
        executor.shutdown()
    await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(serve())
