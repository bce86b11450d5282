"""HTTP to a service that the user has named: straight there, as the load goes, and nowhere else."""

from __future__ import annotations

from http.client import HTTPResponse
from typing import cast
from urllib.request import HTTPRedirectHandler, ProxyHandler, Request, build_opener


class _Staying(HTTPRedirectHandler):
    """Follows nobody: who is sent elsewhere would take the token along."""

    def redirect_request(self, *_: object) -> None:
        """Have the redirect end as the error that it is here."""


_OPENER = build_opener(ProxyHandler({}), _Staying())


def ask(request: str | Request, timeout_s: float) -> HTTPResponse:
    """Send a request; return the answer, which is to be closed.

    Raises:
        urllib.error.HTTPError: the answer is an error, or leads elsewhere.
        urllib.error.URLError: there is no answer.
        ValueError: the URL is none.
    """
    return cast("HTTPResponse", _OPENER.open(request, timeout=timeout_s))
