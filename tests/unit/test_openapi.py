"""``GET /openapi.json`` beside the tables and routes that it is made from."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import asdict, fields, replace
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp.test_utils import TestClient, make_mocked_request

from gilscope.backends.table import BACKENDS
from gilscope.flame.capture import MAX_RATE_HZ, MAX_SECONDS
from gilscope.load.recorder import STAGES
from gilscope.model import BackendName, FlameKind
from gilscope.profiling import shelf
from gilscope.profiling.shelf import Profile
from gilscope.web import openapi
from gilscope.web.app import create_app
from gilscope.web.config import Profiling, ServiceConfig
from gilscope.web.work import SERVER_TIMING, Stages
from gilscope.workloads.base import FunctionRef, Parameter, Workload
from gilscope.workloads.catalogue import BUILT_IN
from gilscope.workloads.loader import resolve

if TYPE_CHECKING:
    from aiohttp.web import AbstractResource, Application, Request

Connect = Callable[["Application"], Awaitable["TestClient[Request, Application]"]]

ASYNCIO, THREADS, *_ = BackendName
PROFILE = "20261122T101001Z-waiting-000001"
FILLED = {"backend": "asyncio", "id": PROFILE, "path": "speedscope/index.html"}
CATCH_ALL = "/{path}"
OTHER_WORK = "/work/{workload}/{backend}"
"""The pattern behind the static paths of work: says what there is."""


def config(*targets: str, profiling: Profiling | None = None, token: str | None = None) -> ServiceConfig:
    workloads = tuple(resolve(target, {}) for target in targets or ("noop", "primes"))
    return ServiceConfig(workloads, (ASYNCIO, THREADS), profiling=profiling, token=token)


@pytest.fixture
def profiling(tmp_path: Path) -> Profiling:
    return Profiling(tmp_path / "profiles")


def described(config: ServiceConfig) -> dict[str, Any]:
    """Return the document as its readers get it."""
    found = json.loads(json.dumps(openapi.document(config), allow_nan=False))
    assert isinstance(found, dict)
    return found


def operations(config: ServiceConfig) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in described(config)["paths"].items():
        yield from ((path, method, item[method]) for method in item if method in {"get", "post"})


def parameters(config: ServiceConfig, path: str) -> dict[str, dict[str, Any]]:
    return {one["name"]: one for one in described(config)["paths"][path]["get"].get("parameters", [])}


async def resource_of(app: Application, path: str, method: str) -> AbstractResource:
    """Return what the router takes a path for."""
    found = await app.router.resolve(make_mocked_request(method.upper(), path.format_map(FILLED)))
    resource = found.route.resource
    assert resource is not None
    return resource


async def test_every_path_is_a_route_and_every_route_has_its_path(profiling: Profiling) -> None:
    described_as = config(*BUILT_IN, profiling=profiling)
    app = create_app(described_as)
    found = {
        (await resource_of(app, path.replace("{backend}", backend), method)).canonical
        for path, method, _ in operations(described_as)
        for backend in described_as.backends
    }
    routes = {resource.canonical for resource in app.router.resources()}
    assert found == routes - {CATCH_ALL, OTHER_WORK}


async def test_the_methods_are_those_of_the_routes(profiling: Profiling) -> None:
    described_as = config(profiling=profiling)
    app = create_app(described_as)
    for path, item in described(described_as)["paths"].items():
        methods = {method.upper() for method in item if method in {"get", "post", "put", "delete"}}
        request = make_mocked_request("BREW", path.format_map(FILLED))
        taken: set[str] = set()
        for resource in app.router.resources():
            taken |= (await resource.resolve(request))[1]
        assert taken - {"HEAD", "*"} == methods


@pytest.mark.parametrize(("host", "turns_away"), [("127.0.0.1", True), ("0.0.0.0", False)])
def test_work_is_for_this_machine_alone_where_nobody_else_can_reach_it(
    host: str, *, turns_away: bool
) -> None:
    work = described(replace(config("noop"), host=host))["paths"]["/work/noop/{backend}"]["get"]
    assert ("403" in work["responses"]) is turns_away


def test_without_profiling_there_are_no_paths_of_profiles() -> None:
    paths = described(config())["paths"]
    assert not [path for path in paths if path.startswith(("/profiles", "/static"))]
    assert {"/", "/live", "/ping", "/openapi.json", "/work/noop/{backend}"} <= paths.keys()


@pytest.mark.parametrize("workload", BUILT_IN.values(), ids=BUILT_IN)
def test_parameters_of_built_in_work(workload: Workload) -> None:
    found = parameters(config(workload.name), f"/work/{workload.name}/{{backend}}")
    assert list(found) == [parameter.name for parameter in workload.parameters]
    for parameter in workload.parameters:
        one = found[parameter.name]
        assert one["schema"] == {
            "type": "integer",
            "minimum": parameter.minimum,
            "maximum": parameter.maximum,
            "default": parameter.default,
        }
        assert (one["in"], one["required"]) == ("query", False)
        assert parameter.help in one["description"]


def test_a_parameter_that_is_no_integer() -> None:
    half = Workload(
        "half", "", FunctionRef("x", "y"), parameters=(Parameter("x", 0.5, 0, 1, "", "how much"),)
    )
    found = parameters(ServiceConfig((half,), (ASYNCIO,)), "/work/half/{backend}")["x"]
    assert found["schema"] == {"type": "number", "minimum": 0, "maximum": 1, "default": 0.5}
    assert found["description"] == "how much"


def test_an_argument_that_was_given_is_the_default() -> None:
    primes = resolve("primes", {"n": "50"})
    found = parameters(ServiceConfig((primes,), (ASYNCIO,)), "/work/primes/{backend}")
    assert found["n"]["schema"]["default"] == 50


def own(function: Callable[..., object], **arguments: object) -> ServiceConfig:
    """Return a service of one function of a user's."""
    signature = inspect.signature(function)
    workload = Workload(
        "own.work", "does <it>", FunctionRef("own", "work"), signature=signature, arguments=arguments
    )
    return ServiceConfig((workload,), (THREADS,))


def test_arguments_of_a_users_function_are_json_texts() -> None:
    def work(a: int, b: object = None, *rest: object, c: object = ..., **more: object) -> None: ...

    found = parameters(own(work), "/work/own.work/{backend}")
    assert list(found) == ["a", "b", "c"]
    assert [one["required"] for one in found.values()] == [True, False, False]
    assert [one["content"] for one in found.values()] == [
        {"application/json": {"schema": {}}},
        {"application/json": {"schema": {"default": None}}},
        {"application/json": {"schema": {}}},
    ]
    given = parameters(own(work, a=[1]), "/work/own.work/{backend}")["a"]
    assert given["required"] is False
    assert given["content"]["application/json"]["schema"] == {"default": [1]}


@pytest.mark.parametrize(
    "default",
    [float("nan"), float("inf"), {1}, b"x", object()],
    ids=["nan", "inf", "set", "bytes", "object"],
)
def test_a_default_that_is_no_json_is_left_out(default: object) -> None:
    def work(a: object = default) -> None: ...

    found = parameters(own(work), "/work/own.work/{backend}")["a"]
    assert found["content"] == {"application/json": {"schema": {}}}


@pytest.mark.parametrize("name", ["a b.work", "{x}.work", "50%.work", "é.work", "a?b#c.work"])
async def test_a_name_that_urls_do_not_have_is_quoted(name: str) -> None:
    workload = Workload(name, "", FunctionRef("own", "work"), signature=inspect.Signature())
    service = ServiceConfig((workload,), (ASYNCIO,))
    (path,) = [path for path in described(service)["paths"] if path.startswith("/work/")]
    assert re.fullmatch(r"/work/[\w.%~-]+/\{backend\}", path, re.ASCII)
    found = await create_app(service).router.resolve(make_mocked_request("GET", path.format_map(FILLED)))
    assert found.route.resource is not None
    if found.route.resource.canonical == OTHER_WORK:
        assert dict(found) == {"workload": name, "backend": "asyncio"}
    else:
        assert found.route.resource.canonical.startswith("/work/")


def test_only_backends_that_run_are_named() -> None:
    (backend,) = described(config())["paths"]["/work/noop/{backend}"]["parameters"]
    assert backend["schema"] == {"enum": ["asyncio", "threads"]}


def test_an_answer_of_work() -> None:
    answers = described(config())["paths"]["/work/noop/{backend}"]["get"]["responses"]
    assert set(answers) == {"200", "400", "403", "404", "405", "500", "501", "503", "504"}
    schema = answers["200"]["content"]["application/json"]["schema"]
    assert tuple(schema["properties"]["timing_ms"]["required"]) == STAGES
    pattern = answers["200"]["headers"]["Server-Timing"]["schema"]["pattern"]
    assert re.search(pattern, SERVER_TIMING % Stages(*range(6)))
    assert answers["500"]["content"]["application/problem+json"]["schema"]["$ref"].endswith("/Raised")


def test_the_tables_are_described_as_they_are_answered() -> None:
    schemas = described(config())["components"]["schemas"]
    members = schemas["Workload"]["properties"]
    assert set(members["parameters"]["items"]["required"]) == set(asdict(Parameter("n", 1, 0, 2, "", "")))
    assert set(schemas["Backend"]["properties"]["name"]["enum"]) == set(BACKENDS)
    assert schemas["Profile"]["required"] == [*(one.name for one in fields(Profile)), "links"]


def test_an_order_of_a_profile_has_its_bounds(profiling: Profiling) -> None:
    body = described(config(profiling=profiling))["paths"]["/profiles"]["post"]["requestBody"]
    order = body["content"]["application/json"]["schema"]
    assert order["additionalProperties"] is False
    assert set(order["properties"]["kind"]["enum"]) == set(FlameKind)
    assert order["properties"]["seconds"]["maximum"] == MAX_SECONDS
    assert order["properties"]["rate"]["maximum"] == MAX_RATE_HZ


def test_an_id_is_what_the_shelf_takes_for_one() -> None:
    assert f"^{shelf._ID.pattern}$" == openapi.PROFILE_ID
    assert re.search(openapi.PROFILE_ID, PROFILE)


def references(value: object) -> Iterator[str]:
    if isinstance(value, Mapping):
        for key, member in value.items():
            yield from [str(member)] if key == "$ref" else references(member)
    elif isinstance(value, list):
        for member in value:
            yield from references(member)


def test_every_reference_leads_somewhere(profiling: Profiling) -> None:
    document = described(config(profiling=profiling))
    found = set(references(document))
    assert len(found) > 5
    for reference in found:
        place: Any = document
        for step in reference.removeprefix("#/").split("/"):
            place = place[step]
        assert place
    problems = {f"#/components/responses/{name}" for name in document["components"]["responses"]}
    assert problems - found <= {f"#/components/responses/{HTTPStatus.UNAUTHORIZED.name}"}


def test_operations_have_names_of_their_own(profiling: Profiling) -> None:
    names = [one["operationId"] for _, _, one in operations(config(*BUILT_IN, profiling=profiling))]
    assert len(names) == len(set(names))


def test_what_is_guarded_says_so(profiling: Profiling) -> None:
    guarded = {
        (path, method)
        for path, method, one in operations(config(profiling=profiling, token="secret"))
        if "security" in one
    }
    assert guarded == {
        (path, method)
        for path, method, _ in operations(config(profiling=profiling))
        if path.startswith(("/profiles", "/static", "/openapi"))
    }
    for path, _, one in operations(config(profiling=profiling)):
        assert "security" not in one
        assert ("403" in one["responses"]) == path.startswith(("/profiles", "/static", "/work/"))


async def test_it_is_served(aiohttp_client: Connect) -> None:
    service = config()
    client = await aiohttp_client(create_app(service))
    for _ in range(2):
        answer = await client.get("/openapi.json", headers={"Host": "elsewhere.example"})
        assert (answer.status, answer.content_type) == (200, "application/json")
        assert await answer.json() == described(service)


@pytest.mark.parametrize("of_profiles", [False, True])
async def test_it_stands_under_the_token(
    aiohttp_client: Connect, tmp_path: Path, *, of_profiles: bool
) -> None:
    service = config(profiling=Profiling(tmp_path, "secret")) if of_profiles else config(token="secret")
    client = await aiohttp_client(create_app(service))
    answer = await client.get("/openapi.json")
    assert (answer.status, answer.content_type) == (401, "application/problem+json")
    answer = await client.get("/openapi.json", headers={"Authorization": "Bearer secret"})
    assert answer.status == 200
    assert (await client.get("/ping")).status == 200
