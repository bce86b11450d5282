"""schemathesis reads ``GET /openapi.json`` of a real service, and tries whether it is true.

``GILSCOPE_EXAMPLES=200`` looks further: so many examples of each operation, and sequences of calls.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from served import Served, serving

pytestmark = [
    pytest.mark.integration,
    pytest.mark.timeout(3_600 if "GILSCOPE_EXAMPLES" in os.environ else 300),
]

EXAMPLES = os.environ.get("GILSCOPE_EXAMPLES")
LENIENT = Path(__file__).parents[1] / "targets" / "lenient.py"
TOKEN = "secret"
SERVICE = (
    *("--workload=noop", "--workload=sqlite_query", f"--workload={LENIENT}:give_back"),
    *("--backends=asyncio,threads", "--pool-size=1"),
)


def tried(served: Served, folder: Path, *options: str) -> None:
    """Have schemathesis try the service with all its checks. None is left out."""
    further = ("--phases=coverage,fuzzing,stateful", f"--max-examples={EXAMPLES}")
    command = [
        *(str(Path(sys.executable).with_name("schemathesis")), "run", f"{served.ready['url']}/openapi.json"),
        *("--checks=all", "--exclude-path=/live"),  # whose answer never ends
        *("--warnings=off", "--no-color", "--generation-database=none", "--suppress-health-check=all"),
        *(further if EXAMPLES else ("--phases=coverage,fuzzing", "--max-examples=5", "--seed=1")),
        *options,
    ]
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, stdin=subprocess.DEVNULL, cwd=folder
    )
    print(done.stdout)  # noqa: T201  for runs by hand
    assert done.returncode == 0, done.stdout + done.stderr
    assert "No issues found" in done.stdout
    assert served.get("/healthz")["pid"] == served.process.pid


def test_the_description_is_true(tmp_path: Path) -> None:
    with serving(*SERVICE) as served:
        tried(served, tmp_path)


@pytest.mark.parametrize(
    "which",
    [
        ("--include-path-regex=^/(profiles|static|openapi)", "--exclude-operation-id=begin"),
        ("--include-operation-id=begin", "--include-operation-id=profile"),
    ],
    ids=["reading", "beginning"],
)
def test_the_description_is_true_of_profiles_behind_a_token(which: tuple[str, ...], tmp_path: Path) -> None:
    """Captures are begun apart from the rest: they would slow it down."""
    with serving(*SERVICE, f"--profiles={tmp_path / 'profiles'}", f"--token={TOKEN}") as served:
        tried(served, tmp_path, f"--header=Authorization: Bearer {TOKEN}", *which)
