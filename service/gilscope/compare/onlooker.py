"""Looking on at a service that runs already: what it runs on and what its own lens sees, from the stream of its live page."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import astuple
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from threading import Condition, Thread
from typing import Any, NamedTuple, NoReturn, Self
from urllib.parse import urlsplit

import cattrs

from gilscope.child import START_S
from gilscope.compare.figures import RanOn
from gilscope.errors import LensError
from gilscope.lens.ledger import Span
from gilscope.lens.readings import Window
from gilscope.lens.sampler import SETTLE_S
from gilscope.live.reading import NOT_KNOWN, LensTotals, States
from gilscope.model import StateSeconds, ThreadRole

SILENCE_S = 10.0
"""So long without an event, of which there is one a second, means that there will be none."""

LATE_S = 10.0
"""How much later than expected the last event of a window may come: the loop that tells may have calls to compute first."""


class _Seen(NamedTuple):
    """What the lens had seen, and when that was heard."""

    at_s: float
    totals: LensTotals


class Onlooker:
    """Reads the stream of one service until the block ends: used as a lens of ours is, over a URL in place of a process.

    The lens there settles its accounts once a second, so that what is told of a window is of one that begins and ends up
    to two seconds later: the load lasts until that is known.
    """

    def __init__(self) -> None:
        self.ran_on = RanOn()
        self._url = ""
        self._change = Condition()
        self._hello: Mapping[str, Any] = {}
        self._seen: list[_Seen] = []
        self._ended: str | None = None
        self._left = False
        self._begin_s = self._end_s = 0.0
        self._socket: socket.socket | None = None
        self._thread = Thread(target=self._listen, name="onlooker", daemon=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with self._change:
            self._left = True
            if self._socket is not None:
                with contextlib.suppress(OSError):
                    self._socket.shutdown(socket.SHUT_RDWR)  # who reads there hears of it
        if self._thread.is_alive():
            self._thread.join(SILENCE_S)

    def prepare(self) -> None:
        """Do nothing: the lens is the service's."""

    def watch(self, url: str, /) -> None:
        """Begin to read, and wait until the service has said what it runs on, and whether it has a lens.

        Raises:
            LensError: it has none, with the reason; or it says nothing.
        """
        self._url = url
        self._thread.start()
        telling = ("states", "no_states", "shared")
        if not self._until(lambda: any(map(self._hello.get, telling)), START_S):
            self._give_up("says nothing")
        self.ran_on = RanOn(str(self._hello.get("python", "")), self._hello.get("gil"))
        if self._hello.get("shared"):
            raise LensError(
                "several processes share the service's port, and each sees only itself",
                remedy="gilscope serve with one process",
            )
        self._require_states()

    def _require_states(self) -> None:
        """Check that the service has a lens, as it says.

        Raises:
            LensError: it has none, with its reason.
        """
        why = self._hello.get("no_states")
        if why:
            message, _, remedy = str(why).removeprefix(NOT_KNOWN).partition("\n  -> ")
            raise LensError(message, remedy=f"there: {remedy}" if remedy else None)

    def _give_up(self, instead: str) -> NoReturn:
        raise LensError(
            self._ended or f"{self._url}/live {instead}",
            remedy="see whether the service is of this gilscope, and what its live page shows",
        )

    def open_window(self, seconds: float) -> None:
        """Begin to measure, for so long."""
        now = time.monotonic()
        # What is heard later than that was settled within the window.
        self._begin_s = now + SETTLE_S
        self._end_s = max(self._begin_s, now + seconds)

    def window(self) -> Window:
        """Wait until the window is over, and return what was seen in it.

        Raises:
            LensError: nothing is seen any more, with the reason.
        """
        wait_s = max(0.0, self._end_s - time.monotonic()) + LATE_S
        is_over = self._until(
            lambda: len(self._of_window()) == 2 or bool(self._hello.get("no_states")), wait_s
        )
        self._require_states()
        if not is_over:
            self._give_up("says nothing of its lens any more")
        return between(*(one.totals for one in self._of_window()))

    def _of_window(self) -> list[_Seen]:
        """Return the first and the last that was heard of a window, as far as they have come."""
        first = next((one for one in self._seen if one.at_s >= self._begin_s), None)
        if first is None:
            return []
        # Both clocks tick once a second: two that come close to each other may tell of the same moment.
        later = (
            one for one in self._seen if one.at_s >= self._end_s and one.totals.looks != first.totals.looks
        )
        last = next(later, None)
        return [first] if last is None else [first, last]

    def _until(self, holds: Callable[[], bool], seconds: float) -> bool:
        """Wait until something holds, or nothing is heard any more; return whether it does."""
        with self._change:
            self._change.wait_for(lambda: holds() or self._ended is not None, seconds)
            return holds()

    def _listen(self) -> None:
        ended = f"{self._url}/live has ended"
        try:
            with self._connected() as connection:
                connection.request("GET", f"{urlsplit(self._url).path}/live")
                for event, data in _events(connection.getresponse()):
                    if self._left:
                        break
                    self._hear(event, data)
        except (OSError, HTTPException) as problem:
            ended = f"{self._url}/live cannot be read: {problem}"
        except (ValueError, TypeError, AttributeError, cattrs.BaseValidationError):
            ended = f"{self._url}/live is no stream of a gilscope service"
        with self._change:
            self._ended = ended
            self._change.notify_all()

    @contextlib.contextmanager
    def _connected(self) -> Iterator[HTTPConnection]:
        parts = urlsplit(self._url)
        kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
        with contextlib.closing(kind(parts.hostname or "", parts.port, timeout=SILENCE_S)) as connection:
            connection.connect()
            with self._change:
                self._socket = connection.sock
            try:
                yield connection
            finally:
                with self._change:  # Its number may soon be somebody else's.
                    self._socket = None

    def _hear(self, event: str, data: Mapping[str, Any]) -> None:
        with self._change:
            if event == "hello":
                self._hello = dict(data.items())
            elif event == "lens":
                self._seen.append(_Seen(time.monotonic(), cattrs.structure(data, LensTotals)))
            self._change.notify_all()


def _events(answer: HTTPResponse) -> Iterator[tuple[str, Any]]:
    """Yield the server-sent events of a stream: name and data.

    Raises:
        HTTPException: the answer is another one.
        ValueError: the data is not JSON, or it is no stream.
    """
    if answer.status != HTTPStatus.OK:
        raise HTTPException(f"{answer.status} {answer.reason}")
    if answer.headers.get_content_type() != "text/event-stream":
        raise ValueError
    event = ""
    for line in answer:
        name, _, value = line.decode().rstrip("\n").partition(": ")
        if name == "event":
            event = value
        elif name == "data":
            yield event, json.loads(value)


def between(before: LensTotals, after: LensTotals) -> Window:
    """Return what a lens saw between two moments.

    Raises:
        LensError: nothing, or it began anew in between.
    """
    roles = {}
    for role in ThreadRole:
        held_s = after.held[role] - before.held.get(role, 0.0) if role in after.held else None
        span = Span(
            _gained(before.states, after.states, role, held_s), _gained(before.inside, after.inside, role)
        )
        if span.all.wall_s != 0:
            roles[role] = span
    looks = round(after.looks - before.looks)
    # A service has one thread for its event loop, as long as it lives.
    seconds = roles[ThreadRole.LOOP].all.wall_s if ThreadRole.LOOP in roles else 0.0
    fell = any(min(astuple(span.all)[:4]) < 0 for span in roles.values())
    if not seconds or looks < 0 or fell:
        raise LensError("the lens of the service began anew meanwhile", remedy="a second attempt")
    return Window(seconds, looks, (after.cpu_s - before.cpu_s) / seconds, roles)


def _gained(before: States, after: States, role: ThreadRole, held_s: float | None = None) -> StateSeconds:
    spent, spent_before = after.get(role, {}), before.get(role, {})
    on_cpu, runqueue, gil_wait, blocked = (
        spent.get(state, 0.0) - spent_before.get(state, 0.0)
        for state in ("on_cpu", "runqueue", "gil_wait", "blocked")
    )
    return StateSeconds(on_cpu, runqueue, gil_wait, blocked, held_s)
