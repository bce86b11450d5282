"""The pages of profiles, for a browser: one that lists them and starts new ones, and one for each."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cache
from html import escape
from importlib import resources
from urllib.parse import quote

from aiohttp import web

from gilscope.flame.capture import MAX_RATE_HZ, MAX_SECONDS, RATE_HZ, SECONDS
from gilscope.flame.svg import viewer_script, viewer_style
from gilscope.flame.wording import MEANING
from gilscope.model import FlameKind
from gilscope.profiling.shelf import Profile, State

GRAPH_POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
"""A graph on its own has its style and script inside. It is drawn by us, every name in it escaped."""

SPEEDSCOPE_POLICY = (
    "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; connect-src 'self' data: blob:; "
    "script-src 'self' 'wasm-unsafe-eval'; frame-ancestors 'none'"
)

NOBODY = {
    FlameKind.HOLDING: "No Python code was seen holding the GIL.",
    FlameKind.WAITING: "No thread was seen waiting for the GIL.",
    FlameKind.WALL: "No thread was seen at all.",
}

ORDER = (FlameKind.WAITING, FlameKind.HOLDING, FlameKind.WALL)
"""Whose work was kept waiting stands beside whose code kept it."""


def headers(policy: str) -> dict[str, str]:
    """Return what keeps a page to itself."""
    return {
        "Content-Security-Policy": policy,
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-store",
    }


def answer(page: str) -> web.Response:
    """Return a page as it is sent: nothing but its own scripts may run in it."""
    hashes = " ".join(f"'sha256-{_digest(script)}'" for script in (_script(), viewer_script()))
    policy = (
        f"default-src 'none'; style-src 'unsafe-inline'; script-src {hashes}; connect-src 'self'; "
        "img-src data:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    )
    return web.Response(text=page, content_type="text/html", headers=headers(policy))


Span = tuple[datetime, datetime]


def every_profile(profiles: Sequence[Profile], running: Profile | None, span: Span | None = None) -> str:
    """Return the page that lists profiles and starts new ones; ``span`` is the time that they were captured in."""
    rows = "".join(map(_row, profiles))
    table = (
        f"<table><thead><tr><th>taken</th><th>kind</th><th>how</th><th></th></tr></thead><tbody>{rows}</tbody></table>"
        if profiles
        else f"<p>None {'was captured then' if span else 'has been captured yet'}.</p>"
    )
    busy = f"<p>{_link(running.id, 'A profile')} is being captured.</p>" if running else ""
    between = "" if span is None else f'<p>{_between(*span)} <a href="/profiles">All profiles</a></p>'
    return _page("Profiles", f"<h1>Profiles</h1>{_form()}{busy}{between}{table}")


def _between(begin: datetime, end: datetime) -> str:
    return f"Captured between {begin:%Y-%m-%d %H:%M:%S} and {end:%Y-%m-%d %H:%M:%S} UTC."


def _form() -> str:
    kinds = "".join(f'<option value="{kind}">{kind}: {MEANING[kind]}</option>' for kind in ORDER)
    return (
        '<form id="begin"><label>kind <select name="kind">'
        f"{kinds}</select></label> "
        f'<label>seconds <input name="seconds" type="number" min="1" max="{MAX_SECONDS}" value="{SECONDS}"></label> '
        f'<label>samples per second <input name="rate" type="number" min="1" max="{MAX_RATE_HZ}" value="{RATE_HZ}"></label> '
        '<button>Capture</button></form><p id="said" role="status"></p>'
    )


def _row(profile: Profile) -> str:
    how = f"{profile.seconds} s at {profile.rate_hz} Hz"
    state = "" if profile.state is State.DONE else profile.state
    return f"<tr><td>{_link(profile.id, profile.started_at)}</td><td>{profile.kind}</td><td>{how}</td><td>{state}</td></tr>"


def _link(id_: str, words: str) -> str:
    return f'<a href="/profiles/{quote(id_)}">{escape(words)}</a>'


def one_profile(profile: Profile, fragments: Mapping[FlameKind, str], others: Sequence[Profile]) -> str:
    """Return the page of one profile; ``fragments`` are its graphs as markup, ``others`` what it may be compared with."""
    title = f"{profile.kind}, {profile.started_at}"
    top = f'<p><a href="/profiles">Profiles</a></p><h1>{escape(title)}</h1>'
    return _page(title, top + _body(profile, fragments, others), refresh=profile.state is State.RUNNING)


def _body(profile: Profile, fragments: Mapping[FlameKind, str], others: Sequence[Profile]) -> str:
    if profile.state is State.RUNNING:
        return f"<p>It is being captured: {profile.seconds} s and a little more.</p>"
    if profile.state is State.FAILED:
        remedy = f"<p>{escape(profile.remedy)}</p>" if profile.remedy else ""
        return f'<p class="error">{escape(profile.error or "It failed.")}</p>{remedy}'
    graphs = "".join(_graph(profile, kind, fragments.get(kind)) for kind in ORDER if kind in profile.graphs)
    return f'<div class="graphs">{graphs}</div>{_comparisons(profile, others)}'


def _graph(profile: Profile, kind: FlameKind, fragment: str | None) -> str:
    if fragment is None:
        gone = profile.graphs[kind].get("samples")
        words = "This graph is not there any more." if gone else NOBODY[kind]
        return f'<section><h2>{kind}</h2><p class="nobody">{words}</p></section>'
    place = f"/profiles/{quote(profile.id)}/flamegraph"
    speedscope = (
        f"/static/speedscope/index.html#profileURL={quote(f'{place}.speedscope.json?kind={kind}', safe='')}"
    )
    links = " \u00b7 ".join(
        f'<a href="{escape(address)}">{words}</a>'
        for words, address in (
            ("svg", f"{place}.svg?kind={kind}"),
            ("folded", f"{place}.folded?kind={kind}"),
            ("speedscope", speedscope),
        )
    )
    return f'<section id="{kind}">{fragment}<p class="links">{links}</p></section>'


def _comparisons(profile: Profile, others: Sequence[Profile]) -> str:
    links = "".join(
        f'<li><a href="/profiles/{quote(profile.id)}/difference.svg?against={quote(other.id)}&amp;kind={kind}">'
        f"{kind}, against {escape(other.started_at)}</a></li>"
        for other in others
        for kind in ORDER
        if kind in profile.graphs and kind in other.graphs
    )
    return f"<h2>What changed</h2><ul>{links}</ul>" if links else ""


def _page(title: str, body: str, *, refresh: bool = False) -> str:
    again = '<meta http-equiv="refresh" content="2">' if refresh else ""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta name="color-scheme" content="light dark">{again}'
        f"<title>gilscope: {escape(title)}</title><style>{_style()}{viewer_style()}</style></head>"
        f"<body><main>{body}</main><script>{_script()}</script><script>{viewer_script()}</script></body></html>"
    )


def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


@cache
def _script() -> str:
    return _static("profiles.js")


@cache
def _style() -> str:
    return _static("profiles.css")


def _static(name: str) -> str:
    return resources.files("gilscope.web").joinpath("static", name).read_text(encoding="utf-8")
