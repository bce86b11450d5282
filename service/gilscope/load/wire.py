"""When a request was sent and its answer was there, without what a Locust user does before and after.

Locust's own figure counts what it takes to make a request out of a path and a response out of bytes, cookies included: a few
tenths of a millisecond, as much as a fast service takes itself.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from geventhttpclient.client import HTTPClient, HTTPClientPool
from geventhttpclient.url import URL

if TYPE_CHECKING:
    from geventhttpclient.response import HTTPSocketPoolResponse
    from locust.contrib.fasthttp import FastResponse


class StampingClient(HTTPClient):
    """Notes on each response how long it took: see :func:`took_ms`."""

    def request(self, *arguments: Any, **named: Any) -> HTTPSocketPoolResponse:  # noqa: ANN401
        """Send a request and return its response, of which at least the headers are there."""
        sent_s = time.monotonic()
        response = super().request(*arguments, **named)
        if response.message_complete:
            response.took_ms = (time.monotonic() - sent_s) * 1e3  # type: ignore[attr-defined]
        return response


def took_ms(response: FastResponse) -> float | None:
    """Return the time from send until all of the answer was there, in ms.

    None where the request failed, and where the rest of the answer came after its headers.
    """
    return getattr(response._response, "took_ms", None)  # noqa: SLF001  Locust has no other way to it


class StampingPool(HTTPClientPool):
    """A user's connections, of clients that note times."""

    def get_client(self, url: str | URL) -> HTTPClient:
        """Return the client of a host and port, which is made when it is first asked for."""
        where = url if isinstance(url, URL) else URL(url)
        key = where.host, where.port
        if key not in self.clients:
            self.clients[key] = StampingClient.from_url(where, **self.client_args)
        return self.clients[key]
