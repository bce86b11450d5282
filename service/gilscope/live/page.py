"""The live page: one document with its styles and scripts inside, which asks nothing of anybody but its service."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from html import escape
from importlib import resources
from string import Template

from gilscope import palette
from gilscope.flame.capture import MAX_RATE_HZ, MAX_SECONDS, RATE_HZ, SECONDS
from gilscope.flame.svg import viewer_script, viewer_style
from gilscope.flame.wording import MEANING
from gilscope.model import FlameKind

_KINDS = (FlameKind.WAITING, FlameKind.HOLDING, FlameKind.WALL)
"""The kinds in the order in which they are offered."""

_STATES = {"on_cpu": "cpu"}
"""The stream's names of thread states that the palette calls otherwise."""


def page(*, title: str, captures: bool, comparison: bool = False) -> str:
    """Return the page as HTML.

    Args:
        title: what is watched, as any text.
        captures: whether flame graphs may be taken; without, there is no form, and the stream says why.
        comparison: whether a comparison is watched, trial by trial, and not a service, second by second.
    """
    return Template(_static("page.html")).substitute(
        title=escape(title),
        style="\n".join((_static("uplot/uPlot.min.css"), palette.css(), viewer_style(), _static("live.css"))),
        watches="comparison" if comparison else "service",
        states=_states(),
        profiles='<a id="profiles" href="/profiles">Profiles</a>' if captures else "",
        form=_form() if captures else "",
        scripts="".join(f"<script>{script}</script>" for script in _scripts()),
    )


def policy() -> str:
    """Return the page's Content-Security-Policy: its own scripts run, and nothing comes from elsewhere."""
    hashes = " ".join(f"'sha256-{_digest(script)}'" for script in _scripts())
    return (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; connect-src 'self'; "
        "img-src 'self' data:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    )


def _states() -> str:
    """Return the legend of thread states; the order is that of the stack, from below."""
    stream = {key: name for name, key in _STATES.items()}
    return "".join(
        f'<li class="s-{key}" data-key="{stream.get(key, key)}" title="{escape(state.meaning)}">'
        f"<span>{escape(state.label)}</span> <b></b></li>"
        for key, state in palette.STATES.items()
    )


def _form() -> str:
    kinds = "".join(f'<option value="{kind}">{kind}: {escape(MEANING[kind])}</option>' for kind in _KINDS)
    return (
        f'<form id="capture"><label>kind <select name="kind">{kinds}</select></label>'
        f"{_number('seconds', 'seconds', SECONDS, MAX_SECONDS)}"
        f"{_number('samples per second', 'rate', RATE_HZ, MAX_RATE_HZ)}<button>Capture</button></form>"
    )


def _number(label: str, name: str, value: int, most: int) -> str:
    return (
        f"<label>{label} "
        f'<input name="{name}" type="number" min="1" max="{most}" value="{value}" required></label>'
    )


def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def _scripts() -> tuple[str, ...]:
    own = ("charts.js", "captures.js", "live.js")
    return (_static("uplot/uPlot.iife.min.js"), viewer_script(), *map(_static, own))


@cache
def _static(name: str) -> str:
    return resources.files("gilscope.live").joinpath("static", *name.split("/")).read_text(encoding="utf-8")
