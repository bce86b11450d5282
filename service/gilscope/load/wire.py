"""When a request was sent and its answer was there, without what a Locust user does before and after.

Locust's own figure counts what it takes to make a request out of a path and a response out of bytes, cookies included: a few
tenths of a millisecond, as much as a fast service takes itself.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from gevent.local import local
from geventhttpclient.client import HTTPClient, HTTPClientPool
from geventhttpclient.url import URL

if TYPE_CHECKING:
    from geventhttpclient.response import HTTPSocketPoolResponse


class Stamps(local):
    """The calling greenlet's last request, by ``time.monotonic``: when it was sent and when all of its answer was there.

    ``done_s`` is None where it failed, and where the rest of the answer came after its headers.
    """

    sent_s = 0.0
    done_s: float | None = None

    def begin(self) -> None:
        """Note that a request is about to be sent."""
        self.sent_s, self.done_s = time.monotonic(), None

    def took_ms(self) -> float | None:
        """Return the time from send to answer, in ms; None where that is not known."""
        return None if self.done_s is None else (self.done_s - self.sent_s) * 1e3


STAMPS = Stamps()


class StampingClient(HTTPClient):
    """Notes in :data:`STAMPS` when it sends, and when an answer is there."""

    def request(self, *arguments: Any, **named: Any) -> HTTPSocketPoolResponse:  # noqa: ANN401
        """Send a request and return its response, of which at least the headers are there."""
        STAMPS.begin()
        response = super().request(*arguments, **named)
        if response.message_complete:
            STAMPS.done_s = time.monotonic()
        return response


class StampingPool(HTTPClientPool):
    """A user's connections, of clients that note times."""

    def get_client(self, url: str | URL) -> HTTPClient:
        """Return the client of a host and port, which is made when it is first asked for."""
        where = url if isinstance(url, URL) else URL(url)
        key = where.host, where.port
        if key not in self.clients:
            self.clients[key] = StampingClient.from_url(where, **self.client_args)
        return self.clients[key]
