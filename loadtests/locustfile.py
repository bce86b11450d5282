"""Load a running service by hand, with Locust's own web page or headless.

    gilscope serve
    locust -f loadtests/locustfile.py --host http://127.0.0.1:8080

Work users wait for their answers (a closed loop); one probe user pings at 50 per second whatever happens, each
ping timed from when it was due. In Locust's table, ``work`` and ``/ping`` stand apart.
"""

from argparse import ArgumentParser
from typing import Any

from locust import events

from gilscope.load.options import add_options
from gilscope.load.users import ProbeUser, WorkUser
from gilscope.workloads.catalogue import BUILT_IN


@events.init_command_line_parser.add_listener  # type: ignore[untyped-decorator]
def choose(parser: ArgumentParser, **_: Any) -> None:  # noqa: ANN401
    """Let workload and backend be chosen."""
    add_options(parser, BUILT_IN)


class Work(WorkUser):
    """Requests the chosen workload on the chosen backend."""


class Probe(ProbeUser):
    """Pings at a steady rate."""
