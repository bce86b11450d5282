from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable, Generator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import coroutine
from typing import cast

import pytest

from gilscope.backends import execution
from gilscope.backends.base import Outcome
from gilscope.backends.execution import TimedSteps, execute, execute_on_loop, gil_enabled
from gilscope.workloads.base import FunctionRef
from gilscope.workloads.loader import parse_reference

FUNCTIONS = Path(__file__).parents[1] / "targets" / "functions.py"
OURS = Path(execution.__file__).name
STEP_NS = 1_000


def ref(name: str) -> FunctionRef:
    return parse_reference(f"{FUNCTIONS}:{name}")


class FakeCpu:
    """The CPU clock of a thread: it moves only where a test says that work was done."""

    def __init__(self) -> None:
        self.now_ns = 0

    def work(self, steps: int) -> None:
        self.now_ns += steps * STEP_NS

    def __call__(self) -> int:
        return self.now_ns


@pytest.fixture
def cpu(monkeypatch: pytest.MonkeyPatch) -> FakeCpu:
    fake = FakeCpu()
    monkeypatch.setattr(execution, "thread_time_ns", fake)
    return fake


@coroutine
def pause(value: object) -> Generator[object, object, object]:
    """Yield to whoever drives the coroutine; give what is sent."""
    return (yield value)


def drive(steps: TimedSteps) -> Generator[object, object, object]:
    return steps.__await__()


def test_only_the_coroutines_own_steps_count(cpu: FakeCpu) -> None:
    async def work() -> str:
        cpu.work(2)
        await pause("first")
        cpu.work(3)
        await pause("second")
        cpu.work(4)
        return "done"

    steps = TimedSteps(work())
    driver = drive(steps)
    assert next(driver) == "first"
    assert steps.cpu_ns == 2 * STEP_NS
    cpu.work(1_000)  # the loop runs others meanwhile
    assert next(driver) == "second"
    cpu.work(1_000)
    with pytest.raises(StopIteration) as stopped:
        next(driver)
    assert stopped.value.value == "done"
    assert steps.cpu_ns == 9 * STEP_NS


async def test_neighbours_on_the_loop_do_not_count(cpu: FakeCpu) -> None:
    async def work() -> None:
        for _ in range(3):
            cpu.work(1)
            await asyncio.sleep(0)

    async def neighbour() -> None:
        for _ in range(10):
            cpu.work(100)
            await asyncio.sleep(0)

    steps = TimedSteps(work())

    async def awaiting() -> None:
        await steps

    await asyncio.gather(awaiting(), neighbour())
    assert steps.cpu_ns == 3 * STEP_NS
    assert cpu.now_ns == 1_003 * STEP_NS


async def test_sleeping_costs_no_cpu() -> None:
    async def work() -> None:
        await asyncio.sleep(0.05)

    steps = TimedSteps(work())
    await steps
    assert 0 < steps.cpu_ns < 25_000_000


def test_what_is_sent_arrives(cpu: FakeCpu) -> None:
    async def work() -> list[object]:
        return [await pause("a"), await pause("b")]

    driver = drive(TimedSteps(work()))
    assert [next(driver), driver.send(1)] == ["a", "b"]
    with pytest.raises(StopIteration) as stopped:
        driver.send(2)
    assert stopped.value.value == [1, 2]


def test_what_is_thrown_arrives_and_may_be_caught(cpu: FakeCpu) -> None:
    async def work() -> object:
        try:
            await pause("a")
        except KeyError as caught:
            cpu.work(5)
            return await pause(caught.args)
        return "nothing was thrown"

    steps = TimedSteps(work())
    driver = drive(steps)
    next(driver)
    assert driver.throw(KeyError("x")) == ("x",)
    assert steps.cpu_ns == 5 * STEP_NS
    with pytest.raises(StopIteration) as stopped:
        driver.send("end")
    assert stopped.value.value == "end"


def test_what_is_raised_comes_out_and_its_step_counts(cpu: FakeCpu) -> None:
    async def work() -> None:
        await pause("a")
        cpu.work(7)
        raise LookupError("inside")

    steps = TimedSteps(work())
    driver = drive(steps)
    next(driver)
    with pytest.raises(LookupError, match="inside"):
        next(driver)
    assert steps.cpu_ns == 7 * STEP_NS


def test_closing_closes_the_coroutine() -> None:
    events = []

    async def work() -> None:
        try:
            await pause("a")
        finally:
            events.append("closed")

    driver = drive(TimedSteps(work()))
    next(driver)
    driver.close()
    assert events == ["closed"]


async def test_cancellation_reaches_the_function_and_the_caller() -> None:
    events, entered = [], asyncio.Event()

    async def work() -> None:
        entered.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            events.append("cancelled")
            raise

    async def awaiting() -> None:
        await TimedSteps(work())

    task = asyncio.create_task(awaiting())
    await entered.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert events == ["cancelled"]


async def test_a_real_cancellation_is_no_outcome(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(
        "import asyncio\nentered = asyncio.Event()\n"
        "async def work():\n    entered.set()\n    await asyncio.Event().wait()\n"
        "def event(): return entered\n"
    )
    entered = execute(parse_reference(f"{path}:event"), {}).result
    assert isinstance(entered, asyncio.Event)
    task = asyncio.create_task(execute_on_loop(parse_reference(f"{path}:work"), {}, is_async=True))
    await entered.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_timeout_of_the_functions_own_is_its_own_affair(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(
        "import asyncio\nasync def work():\n    try:\n        async with asyncio.timeout(0):\n"
        "            await asyncio.Event().wait()\n    except TimeoutError:\n        return 'in time'\n"
    )
    outcome = await execute_on_loop(parse_reference(f"{path}:work"), {}, is_async=True)
    assert (outcome.result, outcome.failure) == ("in time", None)


async def call(name: str, arguments: Mapping[str, object], where: str) -> Outcome:
    """Call a function in one of the three ways there are: plainly, in a thread, on the loop."""
    is_async = name.endswith("_async") or name == "which_loop"
    if where == "loop":
        return await execute_on_loop(ref(name), arguments, is_async=is_async)
    return await asyncio.to_thread(execute, ref(name), arguments, is_async)


WAYS = [
    pytest.param("fail", "thread"),
    pytest.param("fail", "loop"),
    pytest.param("fail_async", "thread"),
    pytest.param("fail_async", "loop"),
]


@pytest.mark.parametrize("where", ["thread", "loop"])
@pytest.mark.parametrize("name", ["add", "add_async"])
async def test_a_result_comes_with_stamps_in_order(name: str, where: str) -> None:
    before_ns = time.monotonic_ns()
    outcome = await call(name, {"a": 2, "b": 3}, where)
    after_ns = time.monotonic_ns()
    assert (outcome.result, outcome.failure) == (5, None)
    assert before_ns <= outcome.started_ns <= outcome.finished_ns <= after_ns
    assert outcome.cpu_ns >= 0


@pytest.mark.parametrize(("name", "where"), WAYS)
async def test_a_traceback_has_the_users_frames_and_not_ours(name: str, where: str) -> None:
    outcome = await call(name, {"text": "as a test asked"}, where)
    assert outcome.result is None
    failure = outcome.failure
    assert failure is not None
    assert (failure.kind, failure.message) == ("ValueError", "as a test asked")
    assert failure.traceback.startswith("Traceback (most recent call last):\n")
    assert f'File "{FUNCTIONS}"' in failure.traceback
    assert f"in {name}\n    raise ValueError(text)\n" in failure.traceback
    assert failure.traceback.endswith("ValueError: as a test asked\n")
    assert OURS not in failure.traceback


async def test_a_call_that_does_not_fit_is_a_failure_without_our_frames() -> None:
    outcome = await call("add", {"z": 1}, "thread")
    assert outcome.failure is not None
    assert outcome.failure.kind == "TypeError"
    assert OURS not in outcome.failure.traceback


@pytest.mark.parametrize("where", ["thread", "loop"])
@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        ("leave", "SystemExit", "leaving"),
        ("cancel", "CancelledError", "by myself"),
        ("leave_async", "SystemExit", "leaving"),
        ("cancel_async", "CancelledError", "by myself"),
        ("panic", "PanicError", "at the disco"),
        ("panic_async", "PanicError", "at the disco"),
    ],
)
async def test_leaving_and_cancelling_and_panics_are_outcomes(
    name: str, kind: str, message: str, where: str
) -> None:
    outcome = await call(name, {}, where)
    assert outcome.failure is not None
    assert (outcome.failure.kind, outcome.failure.message) == (kind, message)
    assert OURS not in outcome.failure.traceback


@pytest.mark.parametrize("name", ["interrupt", "interrupt_async"])
async def test_an_interrupt_of_the_functions_own_is_an_outcome_in_a_worker(name: str) -> None:
    outcome = await call(name, {}, "thread")
    assert outcome.failure is not None
    assert outcome.failure.kind == "KeyboardInterrupt"


async def test_on_the_loop_an_interrupt_is_a_signal() -> None:
    with pytest.raises(KeyboardInterrupt):
        await execute_on_loop(ref("interrupt"), {})
    awaiting = execute_on_loop(ref("interrupt_async"), {}, is_async=True)
    awaiting.send(None)
    with pytest.raises(KeyboardInterrupt):
        awaiting.send(None)


def test_a_coroutine_that_is_closed_has_no_outcome() -> None:
    closed = execute_on_loop(ref("add_async"), {"a": 1}, is_async=True)
    closed.send(None)
    closed.close()


async def test_an_exception_that_cannot_say_what_it_is_is_still_a_failure() -> None:
    outcome = await call("fail_mutely", {}, "thread")
    assert outcome.failure is not None
    assert outcome.failure.kind == "MuteError"
    assert "in fail_mutely" in outcome.failure.traceback


def test_a_thread_keeps_one_loop_for_its_coroutines() -> None:
    def twice() -> list[tuple[int, int]]:
        return [cast("tuple[int, int]", execute(ref("which_loop"), {}, True).result) for _ in range(2)]  # noqa: FBT003

    with ThreadPoolExecutor(1) as one, ThreadPoolExecutor(1) as other:
        futures = [one.submit(twice), other.submit(twice)]
        (first, again), (elsewhere, _) = (future.result() for future in futures)
    assert first == again
    assert first[0] != elsewhere[0]
    assert first[1] != elsewhere[1]


def test_a_thread_goes_on_after_a_coroutine_has_left() -> None:
    with ThreadPoolExecutor(1) as pool:
        left = pool.submit(execute, ref("leave_async"), {}, True).result()  # noqa: FBT003
        after = pool.submit(execute, ref("add_async"), {"a": 1}, True).result()  # noqa: FBT003
    assert left.failure is not None
    assert after.result == 2


@pytest.mark.parametrize(("ask", "expected"), [(None, True), (lambda: True, True), (lambda: False, False)])
def test_a_python_is_asked_for_its_gil(
    ask: Callable[[], bool] | None,
    expected: bool,  # noqa: FBT001
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if ask is None:
        monkeypatch.delattr(sys, "_is_gil_enabled", raising=False)  # before Python 3.13
    else:
        monkeypatch.setattr(sys, "_is_gil_enabled", ask, raising=False)
    assert gil_enabled() is expected
