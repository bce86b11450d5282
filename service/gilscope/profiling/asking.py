"""Asking a service, over HTTP, for flame graphs of itself: one that was started with ``--profiles``, here or elsewhere."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPException, InvalidURL
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request

from gilscope.direct import ask
from gilscope.errors import CaptureError, UsageError
from gilscope.flame.capture import RATE_HZ, Capture
from gilscope.flame.folded import parse
from gilscope.model import FlameKind, Graph

ANSWER_S = 30.0
LOOK_S = 0.3
SLACK_S = 90.0
BUSY_S = 20.0
"""How long it is waited for a profile that somebody else has asked for."""


class BusyThereError(CaptureError):
    """The service captures another profile."""


@dataclass(frozen=True, slots=True)
class Taken:
    """A profile that a service has finished: where it is, and its graphs as JSON has them, in the order of the kinds."""

    place: str
    graphs: Mapping[FlameKind, Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class ProfilesThere:
    """The profiles of the service at ``url``; ``token`` is what it wants from its readers, if anything."""

    url: str
    token: str | None = None

    def require(self) -> None:
        """Check that profiles can be had.

        Raises:
            CaptureError: they cannot, with the reason and the remedy.
            UsageError: the URL is none.
        """
        self._ask(f"{self.url}/profiles")

    def take(self, kind: FlameKind, seconds: int, rate_hz: int = RATE_HZ) -> Taken:
        """Have one captured, and wait for it.

        Raises:
            CaptureError: there is none, with the reason and the remedy.
            UsageError: the URL is none.
        """
        order = {"kind": kind, "seconds": seconds, "rate": rate_hz}
        profile = self._profile(f"{self.url}/profiles", json.dumps(order).encode())
        place = f"{self.url}/profiles/{profile['id']}"
        deadline = time.monotonic() + seconds + SLACK_S
        while profile["state"] == "running":
            if time.monotonic() > deadline:
                raise CaptureError(f"the service did not finish {place}", remedy="see what it says")
            time.sleep(LOOK_S)
            profile = self._profile(place)
        if profile["state"] == "failed":
            raise CaptureError(profile["error"], remedy=profile["remedy"])
        return Taken(
            place, {kind: profile["graphs"][kind] for kind in FlameKind if kind in profile["graphs"]}
        )

    def read(self, taken: Taken, kind: FlameKind, form: str) -> bytes:
        """Return a graph of a profile: ``svg``, ``folded`` or ``speedscope.json``.

        Raises:
            CaptureError: it is not there any more.
        """
        return self._ask(f"{taken.place}/flamegraph.{form}?kind={kind}")

    def captures(self, seconds: int) -> list[Capture]:
        """Have all kinds captured over the same seconds; return their stacks.

        Raises:
            CaptureError: there are none, with the reason and the remedy.
        """
        taken = self._take_when_free(seconds)
        try:
            return [
                Capture(graph_of(graph), parse(self.read(taken, kind, "folded").decode()))
                for kind, graph in taken.graphs.items()
            ]
        except ValueError as problem:
            raise CaptureError(f"the stacks of {taken.place} cannot be read: {problem}") from problem

    def _take_when_free(self, seconds: int) -> Taken:
        deadline = time.monotonic() + BUSY_S
        while True:
            try:
                return self.take(FlameKind.WAITING, seconds)
            except BusyThereError:
                if time.monotonic() > deadline:
                    raise
            time.sleep(LOOK_S)

    def _profile(self, url: str, body: bytes | None = None) -> dict[str, Any]:
        """Ask for the state of a profile.

        Raises:
            CaptureError: whoever answers there is no gilscope.
        """
        text = self._ask(url, body)
        with suppress(ValueError, KeyError, TypeError, AttributeError, RecursionError):
            found: dict[str, Any] = json.loads(text)
            for kind, graph in found["graphs"].items():
                FlameKind(kind)
                graph_of(graph)
            if isinstance(found["id"], str) and isinstance(found["state"], str):
                return {"error": None, "remedy": None, **found}
        raise CaptureError(
            f"{url} answered something else than a profile", remedy="the URL of gilscope serve --profiles"
        )

    def _ask(self, url: str, body: bytes | None = None) -> bytes:
        headers = {"Accept": "application/json", "Content-Type": "application/json"}
        if self.token:
            headers["Authorization"] = _bearer(self.token)
        try:
            with ask(Request(url, body, headers), ANSWER_S) as answer:  # noqa: S310  the user's own URL
                content: bytes = answer.read()
                return content
        except HTTPError as refusal:
            raise _explained(url, refusal, has_token=bool(self.token)) from None
        except (InvalidURL, ValueError) as problem:
            raise UsageError(f"{url} is no URL: {problem}", remedy="such as http://127.0.0.1:8080") from None
        except (URLError, OSError, HTTPException) as problem:
            reason = getattr(problem, "reason", problem)
            raise CaptureError(
                f"{url} does not answer: {reason}", remedy="gilscope serve --profiles"
            ) from None


def graph_of(described: Mapping[str, Any]) -> Graph:
    """Read how a graph was made, as JSON has it.

    Raises:
        ValueError: it is none.
    """
    import cattrs  # noqa: PLC0415  it takes a tenth of a second

    try:
        return cattrs.structure(described, Graph)
    except cattrs.BaseValidationError as problem:
        raise ValueError("this is no graph") from problem


def _bearer(token: str) -> str:
    """Return what goes into the header.

    Raises:
        UsageError: it cannot: a line break would begin another header.
    """
    if not token.isprintable():
        raise UsageError(
            "the token has a character that no header can carry, such as a line break",
            remedy="--token SECRET, or GILSCOPE_TOKEN",
        )
    return f"Bearer {token.encode().decode('latin-1')}"  # headers are sent as Latin-1: these are the bytes of UTF-8


def _explained(url: str, refusal: HTTPError, *, has_token: bool) -> CaptureError:
    """Turn a refusal into an error: the service's own words where it has any."""
    with refusal:
        try:
            detail = json.loads(refusal.read())["detail"]
        except (ValueError, KeyError, TypeError):
            detail = f"{url} answered {refusal.code}"
    message, _, remedy = str(detail).partition("\n  -> ")
    if refusal.code in (404, 405) and "/profiles/" not in url:
        return CaptureError("this service takes no profiles", remedy="start it with --profiles")
    if refusal.code == 401:
        wants = "does not accept this token" if has_token else "wants its token"
        return CaptureError(f"the service {wants}", remedy="--token SECRET, or GILSCOPE_TOKEN")
    if refusal.code == 409 and "/profiles/" not in url:
        return BusyThereError(message, remedy=remedy or None)
    return CaptureError(message, remedy=remedy or None)
