from __future__ import annotations

import json
import subprocess
import sys

import pytest

from gilscope import __version__
from gilscope.commands import main as command_line
from gilscope.commands.main import COMMANDS, build_parser, main
from gilscope.errors import INTERRUPTED, ServiceError, UsageError

HEAVY = ("locust", "gevent", "aiohttp", "jinja2", "rich", "cattrs", "psutil", "prometheus_client")


class FakeCommand:
    """Does nothing but raise what it was given."""

    def __init__(self, problem: BaseException) -> None:
        self._problem = problem

    def add_arguments(self, parser: object) -> None:
        """Take none."""

    def run(self, _options: object) -> int:
        raise self._problem


@pytest.mark.integration
def test_importing_the_command_line_imports_nothing_heavy() -> None:
    code = "import gilscope.commands.main, sys, json; print(json.dumps(sorted(sys.modules)))"
    printed = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True).stdout
    loaded = set(json.loads(printed))
    assert "gilscope.commands.serve" in loaded
    assert loaded.isdisjoint(HEAVY)


@pytest.mark.integration
def test_importing_the_entry_point_imports_nothing_of_ours() -> None:
    code = "import gilscope.__main__, sys, json; print(json.dumps(sorted(sys.modules)))"
    printed = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True).stdout
    assert [name for name in json.loads(printed) if name.startswith("gilscope")] == [
        "gilscope",
        "gilscope.__main__",
    ]


@pytest.mark.integration
def test_the_module_runs_as_the_command_does() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "gilscope", "serve", "--arg", "x", "--workload", "noop"],
        check=False,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == ("gilscope serve: --arg takes NAME=JSON, not 'x'\n  -> such as --arg n=20000\n")


def test_help_lists_every_command_with_its_summary(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    text = capsys.readouterr().out
    for name, command in COMMANDS.items():
        summary = (command.__doc__ or "").partition("\n")[0].rstrip(".")
        assert summary
        assert name in text
        assert summary.split(",")[0][:40] in text.replace("\n", " ")
    assert {"compare", "serve", "report"} <= set(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([name, "--help"])
    assert ended.value.code == 0
    text = capsys.readouterr().out
    assert (COMMANDS[name].__doc__ or "").partition("\n")[0] in text
    assert "--debug" in text


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"gilscope {__version__}\n"


@pytest.mark.parametrize(
    "argv",
    [
        [],
        ["serv"],
        ["serve", "--nope"],
        ["serve", "--port", "65536"],
        ["serve", "--port", "-1"],
        ["serve", "--pool-size", "0"],
        ["serve", "--backends", "thread"],
        ["serve", "workload"],
        ["report"],
    ],
    ids=" ".join,
)
def test_bad_usage_ends_with_2(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(argv)
    assert ended.value.code == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    first, remedy = printed.err.splitlines()
    assert first.startswith(f"gilscope{' ' + argv[0] if argv and argv[0] in COMMANDS else ''}: ")
    assert remedy.startswith("  -> ")


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        ("compare --slow p99=1s", "compare: unrecognized arguments: --slow\n  -> did you mean --slo? "),
        ("compare --backends asyncio primes --arg n=1 threads", "compare: unrecognized arguments: threads\n  -> list "),
        ("compare primes --quick sha256", "compare: unrecognized arguments: sha256\n  -> name them all together"),
        ("serve primes", "serve: unrecognized arguments: primes\n  -> gilscope serve --help\n"),
        ("report run threads", "report: unrecognized arguments: threads\n  -> gilscope report --help\n"),
        ("serve --xyz", "serve: unrecognized arguments: --xyz\n  -> gilscope serve --help\n"),
        ("compare --rate -1", "compare: argument --rate: takes 0.1 to 100000, not -1\n  -> gilscope compare --help\n"),
        ("compre", "invalid choice: 'compre' (choose from "),
    ],
)  # fmt: skip
def test_what_nothing_takes_is_told_with_what_may_have_been_meant(
    argv: str, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(argv.split())
    assert told in capsys.readouterr().err


@pytest.mark.parametrize(
    ("problem", "code", "text"),
    [
        (UsageError("no such thing", remedy="that one"), 2, "gilscope serve: no such thing\n  -> that one\n"),
        (ServiceError("it died"), 1, "gilscope serve: it died\n"),
        (KeyboardInterrupt(), INTERRUPTED, ""),
    ],
)
def test_errors_are_one_message_and_an_exit_code(
    problem: BaseException,
    code: int,
    text: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(command_line.COMMANDS, "serve", FakeCommand(problem))
    assert main(["serve"]) == code
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("", text)


def test_debug_adds_the_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(command_line.COMMANDS, "serve", FakeCommand(UsageError("no such thing")))
    assert main(["serve", "--debug"]) == 2
    printed = capsys.readouterr().err
    assert printed.startswith("Traceback (most recent call last):\n")
    assert printed.endswith("gilscope serve: no such thing\n")


def test_what_is_no_error_of_ours_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(command_line.COMMANDS, "serve", FakeCommand(LookupError("a bug")))
    with pytest.raises(LookupError, match="a bug"):
        main(["serve"])


def test_serve_has_the_ports_of_the_documentation() -> None:
    options = build_parser().parse_args(["serve"])
    assert (options.host, options.port, options.metrics_port) == ("127.0.0.1", 8080, 9464)
