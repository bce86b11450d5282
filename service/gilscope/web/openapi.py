"""The service described in OpenAPI 3.1 (https://spec.openapis.org/oas/v3.1.1.html), from the tables that it runs by."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields
from functools import cache
from http import HTTPStatus
from urllib.parse import quote

from aiohttp import web

from gilscope import __version__
from gilscope.address import is_loopback
from gilscope.flame.capture import MAX_RATE_HZ, MAX_SECONDS, RATE_HZ, SECONDS
from gilscope.model import BackendName, FlameKind
from gilscope.profiling.shelf import Profile, State
from gilscope.web.config import ServiceConfig
from gilscope.web.problems import PROBLEM_TYPE, Handler
from gilscope.web.profiles import FORM_TYPES, LAST_MOMENT_MS
from gilscope.web.work import Stages
from gilscope.workloads.base import Parameter, Workload

PATH = "/openapi.json"

PROFILE_ID = r"^\d{8}T\d{6}Z-(?:holding|waiting|wall)-[0-9a-f]{6}$"
SERVER_TIMING = "^" + ", ".join(rf"{name.rstrip('_')};dur=-?\d+\.\d{{4}}" for name in Stages._fields) + "$"

Json = dict[str, object]

_ABOUT = (
    "Every GET but that of /live may be a HEAD. What is no HTTP at all, or beyond the limits of a request line (8190 bytes) "
    "or of headers (8190 bytes each, 128 of them), is answered 400 in plain text, and the connection is closed."
)

_PROBLEMS: Mapping[HTTPStatus, tuple[str, tuple[str, ...]]] = {
    HTTPStatus.BAD_REQUEST: ("A value is not what it may be; the detail says what it may.", ()),
    HTTPStatus.UNAUTHORIZED: ("The token is missing, or another.", ("WWW-Authenticate",)),
    HTTPStatus.FORBIDDEN: ("The service was called by a name that is not this machine's own.", ()),
    HTTPStatus.NOT_FOUND: ("There is nothing of that name; the detail lists what there is.", ()),
    HTTPStatus.METHOD_NOT_ALLOWED: ("Another method.", ("Allow",)),
    HTTPStatus.REQUEST_TIMEOUT: ("The body did not come in time.", ()),
    HTTPStatus.CONFLICT: ("Another profile is being captured, or this one is not done.", ()),
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: ("The body is larger than 16 KiB.", ()),
    HTTPStatus.NOT_IMPLEMENTED: ("It cannot be done here; the detail says why.", ()),
    HTTPStatus.SERVICE_UNAVAILABLE: ("Not now: come back later.", ("Retry-After",)),
    HTTPStatus.GATEWAY_TIMEOUT: ("It took longer than a request may.", ()),
}

_HEADERS: Mapping[str, Json] = {
    "Allow": {"type": "string", "pattern": "^[A-Z]+(,[A-Z]+)*$"},
    "Location": {"type": "string", "pattern": "^/profiles/"},
    "Retry-After": {"type": "integer", "minimum": 1},
    "Server-Timing": {"type": "string", "pattern": SERVER_TIMING},
    "WWW-Authenticate": {"type": "string", "pattern": "^Basic "},
}


def showing(config: ServiceConfig) -> Handler:
    """Return the handler of ``GET /openapi.json``. The document is made when somebody asks for it first."""
    made = cache(lambda: json.dumps(document(config)).encode())

    async def openapi(_request: web.Request) -> web.Response:
        return web.Response(body=made(), content_type="application/json")

    return openapi


def document(config: ServiceConfig) -> Json:
    """Return the OpenAPI document of a service."""
    paths = {**dict(_work(config)), **_plain(config)}
    if config.profiling is not None:
        paths.update(_profiles(config.reader_token))
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "gilscope serve",
            "version": __version__,
            "license": {"name": "MIT"},
            "description": _ABOUT,
        },
        "paths": paths,
        "components": {
            "schemas": _schemas(),
            "responses": {status.name: _described_problem(status) for status in _PROBLEMS},
            **_security_schemes(config.reader_token),
        },
    }


def _work(config: ServiceConfig) -> Iterator[tuple[str, Json]]:
    """Yield the path of each workload."""
    backend = _in_path("backend", {"enum": [name.value for name in config.backends]})
    done = _answer("It ran.", _object(_done(), "workload", "backend", "result", "timing_ms"), "Server-Timing")
    for workload in config.workloads:
        responses = {
            "200": done,
            "500": _problem_with("The function raised.", "Raised"),
            **_refused(400, *([403] if is_loopback(config.host) else []), 404, 501, 503, 504),
        }
        name = quote(workload.name, safe="")
        get = _get(
            f"work_{workload.name}", workload.summary or workload.name, responses, list(_query(workload))
        )
        if workload.signature is not None:
            get["x-signature"] = str(workload.signature)
        yield f"/work/{name}/{{backend}}", {"parameters": [backend], "get": get}


def _done() -> Json:
    """Return what an answer of work has."""
    timing = {name.rstrip("_"): {"type": "number", "description": "ms"} for name in Stages._fields}
    return {
        "workload": {"type": "string"},
        "backend": {"enum": list(BackendName)},
        "result": {"description": "what the function returned; its type and length where that is large"},
        "timing_ms": _object(timing, *timing),
    }


def _query(workload: Workload) -> Iterator[Json]:
    """Yield a workload's parameters: bounded numbers, or where it is the user's function, any JSON text."""
    for parameter in workload.parameters:
        yield _in_query(
            parameter.name,
            _bounded(parameter, workload.arguments),
            f"{parameter.help}, in {parameter.unit}" if parameter.unit else parameter.help,
        )
    if workload.signature is not None:
        for argument in workload.signature.parameters.values():
            if argument.kind in (argument.POSITIONAL_OR_KEYWORD, argument.KEYWORD_ONLY):
                yield _argument(argument, workload.arguments)


def _bounded(parameter: Parameter, given: Mapping[str, object]) -> Json:
    return {
        "type": "integer" if isinstance(parameter.default, int) else "number",
        "minimum": parameter.minimum,
        "maximum": parameter.maximum,
        "default": given.get(parameter.name, parameter.default),
    }


def _argument(argument: inspect.Parameter, given: Mapping[str, object]) -> Json:
    default = given.get(argument.name, argument.default)
    return {
        "name": argument.name,
        "in": "query",
        "required": default is inspect.Parameter.empty,
        "description": "JSON: numbers as they are, texts in double quotes",
        "content": {"application/json": {"schema": {"default": default} if _is_json(default) else {}}},
    }


def _is_json(value: object) -> bool:
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        return False
    return True


def _plain(config: ServiceConfig) -> dict[str, Json]:
    """Return the paths that take no parameters."""
    schema: Mapping[str, Json] = {
        "/healthz": _object(
            {
                "status": {"const": "ok"},
                "pid": {"type": "integer", "minimum": 1},
                "metrics_port": {"type": ["integer", "null"]},
            },
            "status",
            "pid",
            "metrics_port",
        ),
        "/readyz": _object({"status": {"const": "ready"}}, "status"),
        "/workloads": {"type": "array", "items": _ref("schemas", "Workload")},
        "/backends": {"type": "array", "items": _ref("schemas", "Backend")},
    }
    text: Mapping[str, tuple[str, str]] = {
        "/": ("text/html", "The live page."),
        "/live": ("text/event-stream", "What the live page shows, as it happens. It never ends."),
        "/ping": ("text/plain", "pong"),
    }
    found = {path: {"200": _answer("How it is.", one)} for path, one in schema.items()}
    found |= {
        path: {"200": {"description": says, "content": {type_: {"schema": {"type": "string"}}}}}
        for path, (type_, says) in text.items()
    }
    for path in ("/readyz", "/live"):
        found[path].update(_refused(503))
    paths: dict[str, Json] = {
        path: {"get": _get(path[1:] or "page", path, answers)} for path, answers in found.items()
    }
    own = _get("openapi", "This document.", {"200": _answer("This document.", {"type": "object"})})
    return {
        **paths,
        PATH: {"get": _guarded(own, config.reader_token) if config.reader_token is not None else own},
    }


def _profiles(token: str | None) -> dict[str, Json]:
    """Return the paths of profiles."""
    profile = _ref("schemas", "Profile")
    page: dict[str, Json] = {"text/html": {"schema": {"type": "string"}}}
    every = _answer("All that are kept, the newest first.", {"type": "array", "items": profile}, also=page)
    one = _answer("How it was made, or why not.", profile, also=page)
    moment = {"type": "integer", "minimum": 0, "maximum": LAST_MOMENT_MS}
    span = [_in_query(name, moment, "milliseconds since 1970") for name in ("from", "to")]
    id_ = _in_path("id", {"type": "string", "pattern": PROFILE_ID})
    kind = _in_query("kind", {"enum": list(FlameKind)}, "another graph of the same seconds")
    paths: dict[str, dict[str, Json]] = {
        "/profiles": {
            "get": _get("profiles", "All profiles.", {"200": every, **_refused(400)}, span),
            "post": _begin(),
        },
        "/profiles/{id}": {"get": _get("profile", "One profile.", {"200": one, **_refused(404)}, [id_])},
    }
    for stem in ("", "/flamegraph"):
        for form in FORM_TYPES:
            answers = {"200": _file(form), **_refused(400, 404, 409)}
            paths[f"/profiles/{{id}}{stem}.{form}"] = {
                "get": _get(f"{stem[1:]}.{form}", "A graph.", answers, [id_, kind])
            }
    against = _in_query("against", {"type": "string", "pattern": PROFILE_ID}, "an earlier one", required=True)
    paths["/profiles/{id}/difference.svg"] = {
        "get": _get(
            "difference",
            "How two profiles differ.",
            {"200": _file("svg"), **_refused(400, 404, 409)},
            [id_, against, kind],
        )
    }
    asset: Json = {"description": "A part of a page.", "content": {"*/*": {}}}
    path = _in_path("path", {"type": "string", "minLength": 1})
    paths["/static/{path}"] = {
        "get": _get("static", "A part of a page.", {"200": asset, **_refused(404)}, [path])
    }
    return {
        path: {method: _guarded(operation, token) for method, operation in item.items()}
        for path, item in paths.items()
    }


def _begin() -> Json:
    """Return ``POST /profiles``."""
    begun = _answer("It is being captured.", _ref("schemas", "Profile"), "Location", "Retry-After")
    begun["links"] = {"profile": {"operationId": "profile", "parameters": {"id": "$response.body#/id"}}}
    order: Json = {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "kind": {"enum": list(FlameKind), "default": FlameKind.WAITING},
            "seconds": {"type": "integer", "minimum": 1, "maximum": MAX_SECONDS, "default": SECONDS},
            "rate": {"type": "integer", "minimum": 1, "maximum": MAX_RATE_HZ, "default": RATE_HZ},
        },
    }
    return {
        "operationId": "begin",
        "summary": "Capture a profile.",
        "requestBody": {"required": True, "content": {"application/json": {"schema": order}}},
        "responses": {"202": begun, **_refused(400, 405, 408, 409, 413, 501, 503)},
    }


def _guarded(operation: Json, token: str | None) -> Json:
    """Return an operation with what keeps it from strangers."""
    responses = operation["responses"]
    assert isinstance(responses, dict)
    if token is None:
        return {**operation, "responses": {**responses, **_refused(403)}}
    return {
        **operation,
        "responses": {**responses, **_refused(401)},
        "security": [{"bearer": []}, {"basic": []}],
    }


def _security_schemes(token: str | None) -> Json:
    if token is None:
        return {}
    bearer = {"type": "http", "scheme": "bearer", "description": "the token of gilscope serve --token"}
    basic = {"type": "http", "scheme": "basic", "description": "any name, and the token as password"}
    return {"securitySchemes": {"bearer": bearer, "basic": basic}}


def _get(id_: str, summary: str, responses: Mapping[str, Json], parameters: list[Json] | None = None) -> Json:
    return {
        "operationId": id_,
        "summary": summary,
        **({"parameters": parameters} if parameters else {}),
        "responses": {**responses, **_refused(405)},
    }


def _answer(
    description: str, schema: Json, *headers: str, also: Mapping[str, Json] | None = None
) -> dict[str, object]:
    """Return an answer in JSON that comes with these headers, and may be of another type."""
    return {
        "description": description,
        "content": {"application/json": {"schema": schema}, **(also or {})},
        **_with_headers(headers),
    }


def _with_headers(names: tuple[str, ...]) -> Json:
    if not names:
        return {}
    return {"headers": {name: {"required": True, "schema": _HEADERS[name]} for name in names}}


def _file(form: str) -> Json:
    return {"description": "The graph.", "content": {FORM_TYPES[form]: {}}}


def _refused(*statuses: int) -> dict[str, Json]:
    return {str(status): _ref("responses", HTTPStatus(status).name) for status in statuses}


def _described_problem(status: HTTPStatus) -> Json:
    description, headers = _PROBLEMS[status]
    return {**_problem_with(description, "Problem"), **_with_headers(headers)}


def _problem_with(description: str, schema: str) -> Json:
    return {
        "description": description,
        "content": {PROBLEM_TYPE: {"schema": _ref("schemas", schema)}},
    }


def _ref(section: str, name: str) -> Json:
    return {"$ref": f"#/components/{section}/{name}"}


def _in_path(name: str, schema: Json) -> Json:
    return {"name": name, "in": "path", "required": True, "schema": schema}


def _in_query(name: str, schema: Json, description: str, *, required: bool = False) -> Json:
    return {
        "name": name,
        "in": "query",
        "required": required,
        "schema": schema,
        "description": description,
    }


def _object(properties: Mapping[str, object], *required: str) -> Json:
    return {"type": "object", "properties": dict(properties), "required": list(required)}


def _schemas() -> dict[str, Json]:
    """Return what several answers have in common."""
    make: Mapping[str, Callable[[], Json]] = {
        "Problem": _problem,
        "Raised": _raised,
        "Workload": _workload,
        "Backend": _backend,
        "Profile": _profile,
    }
    return {name: one() for name, one in make.items()}


def _problem() -> Json:
    """Return RFC 9457."""
    text: Json = {"type": "string"}
    members = {
        "type": {"const": "about:blank"},
        "title": text,
        "status": {"type": "integer", "minimum": 400, "maximum": 599},
        "detail": {"type": "string", "minLength": 1},
        "running": {"type": "string", "description": "where the profile is that is being captured"},
    }
    return _object(members, "type", "title", "status", "detail")


def _raised() -> Json:
    traceback = {"type": "string", "description": "for those alone who may see source paths"}
    own = _object({"status": {"const": 500}, "traceback": traceback})
    return {"allOf": [_ref("schemas", "Problem"), own]}


def _workload() -> Json:
    text: Json = {"type": "string"}
    number: Json = {"type": "number"}
    kinds = {"name": text, "unit": text, "help": text}
    parameter = {one.name: kinds.get(one.name, number) for one in fields(Parameter)}
    members = {
        "name": text,
        "summary": text,
        "native_async": {"type": "boolean"},
        "arguments": {"type": "object"},
        "parameters": {"type": "array", "items": _object(parameter, *parameter)},
        "signature": {"type": ["string", "null"]},
    }
    return _object(members, *members)


def _backend() -> Json:
    members = {
        "name": {"enum": list(BackendName)},
        "summary": {"type": "string"},
        "running": {"type": "boolean"},
        "workers": {"type": "integer", "minimum": 0},
        "unavailable": {"type": ["string", "null"]},
    }
    return _object(members, *members)


def _profile() -> Json:
    maybe: Json = {"type": ["string", "null"]}
    known: Mapping[str, Json] = {
        "id": {"type": "string", "pattern": PROFILE_ID},
        "kind": {"enum": list(FlameKind)},
        "seconds": {"type": "integer"},
        "rate_hz": {"type": "integer"},
        "started_at": {"type": "string", "format": "date-time"},
        "state": {"enum": list(State)},
        "graphs": {"type": "object", "additionalProperties": {"type": "object"}},
        "error": maybe,
        "remedy": maybe,
    }
    members = {one.name: known[one.name] for one in fields(Profile)}
    members["links"] = {"type": "object", "additionalProperties": {"type": "string"}}
    return _object(members, *members)
