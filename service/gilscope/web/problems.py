"""Errors as RFC 9457 problem documents."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import wraps
from http import HTTPStatus

from aiohttp import web
from aiohttp.http import HttpProcessingError
from aiohttp.log import server_logger

from gilscope.errors import BackendFailedError, BackendFullError, BackendUnavailableError, ParameterError

MAX_BODY_BYTES = 16_384
"""Only the order of a profile has a body."""

RETRY_SOON = {"Retry-After": "1"}
PROBLEM_TYPE = "application/problem+json"
UNREADABLE = (HttpProcessingError, web.RequestPayloadError)
"""What aiohttp raises where a client has sent what is no HTTP."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(slots=True)
class Doors:
    """Whether a service is about to end: whoever gets an answer then is to come back elsewhere."""

    are_closing: bool = False
    inside: int = 0
    """Of requests that no gate counts and that may take long, how many are being answered."""


DOORS = web.AppKey("doors", Doors)


def problem(
    status: HTTPStatus, detail: str, *, headers: Mapping[str, str] | None = None, **extra: object
) -> web.Response:
    """Return a problem document; ``extra`` members stand beside the standard ones."""
    body = {"type": "about:blank", "title": status.phrase, "status": status.value, "detail": detail, **extra}
    return web.Response(
        body=json.dumps(body).encode(),
        status=status,
        content_type=PROBLEM_TYPE,
        headers=headers,
    )


def answering_problems(handler: Handler) -> Handler:
    """Make ``handler`` answer every error as a problem document, and close the connection where the doors are closing.

    A wrapper at registration and not a middleware: aiohttp runs those in layers of their own on every request,
    which the measured loop would pay for.
    """

    @wraps(handler)
    async def answer(request: web.Request) -> web.StreamResponse:
        response = await answer_openly(request)
        doors = request.app.get(DOORS)
        if doors is not None and doors.are_closing:
            response.force_close()
        return response

    async def answer_openly(request: web.Request) -> web.StreamResponse:
        try:
            return await handler(request)
        except (ParameterError, RecursionError) as error:  # JSON may be too deep
            return problem(HTTPStatus.BAD_REQUEST, str(error))
        except BackendUnavailableError as error:
            return problem(HTTPStatus.NOT_IMPLEMENTED, str(error))
        except (BackendFailedError, BackendFullError) as error:
            return problem(HTTPStatus.SERVICE_UNAVAILABLE, str(error), headers=RETRY_SOON)
        except web.HTTPException as error:
            if error.status < HTTPStatus.BAD_REQUEST:
                raise
            kept = {name: error.headers[name] for name in ("Allow", "Retry-After") if name in error.headers}
            return problem(HTTPStatus(error.status), error.text or error.reason, headers=kept)
        except Exception:
            logging.getLogger(__name__).exception("%s %s failed", request.method, request.path)
            return problem(HTTPStatus.INTERNAL_SERVER_ERROR, "gilscope itself failed; its log says where")

    return answer


def awaited(handler: Handler) -> Handler:
    """Have a service that is about to end wait for ``handler`` as well as for work."""

    @wraps(handler)
    async def answer(request: web.Request) -> web.StreamResponse:
        doors = request.app.get(DOORS) or Doors()
        doors.inside += 1
        try:
            return await handler(request)
        finally:
            doors.inside -= 1

    return answer


async def not_logging_bad_requests(_app: web.Application) -> AsyncIterator[None]:
    """Keep what is no HTTP out of the log while an application runs: aiohttp writes a traceback for each of them."""
    server_logger.addFilter(_is_worth_logging)
    yield
    server_logger.removeFilter(_is_worth_logging)


def _is_worth_logging(record: logging.LogRecord) -> bool:
    return not (record.exc_info and isinstance(record.exc_info[1], UNREADABLE))
