"""Locust's web page: our unrounded figures on a tab of their own, and the checks of the command line on its form."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING

from flask import jsonify, request

from gilscope.load.options import check_arrivals
from gilscope.load.totals import QUANTILES, Totals, figures, headline, lines

if TYPE_CHECKING:
    from argparse import Namespace

    from flask import Response
    from locust.web import WebUI

TAB = "gilscope"
_TITLES = {"count": "# counted", **{name: f"{name} (ms)" for name in QUANTILES}, "max": "max (ms)"}
_KEYS = {title: title.replace(".", "") for title in _TITLES}
"""Locust's page turns keys into names of its own, and those have no dots."""


def show(web_ui: WebUI, totals: Totals, text: Callable[[], str]) -> None:
    """Show the table at ``/gilscope`` and on a tab, and refuse what the command line would refuse.

    ``text`` counts all that is known and returns the table.
    """
    app, base = web_ui.app, _options(web_ui).web_base_path or ""
    assert app is not None

    def page() -> Response:
        return app.response_class(text(), mimetype="text/plain")

    def refuse() -> Response | None:
        if request.path != f"{base}/swarm":
            return None
        try:
            check_arrivals(request.form.to_dict())
        except ValueError as problem:
            return jsonify({"success": False, "message": str(problem), "host": web_ui.environment.host})
        return None

    def extend(response: Response) -> Response:
        if request.path == f"{base}/stats/requests" and response.is_json:
            text()
            answer: dict[str, object] = response.get_json()
            answer["extended_stats"] = [{"key": TAB, "data": table(totals, _options(web_ui))}]
            response.set_data(json.dumps(answer))
        return response

    structure = [
        {"key": "name", "title": "what"},
        {"key": "load", "title": "under the load of"},
        *({"key": _KEYS[name], "title": title} for name, title in _TITLES.items()),
    ]
    web_ui.template_args["extended_tabs"] = [{"title": "gilscope: unrounded", "key": TAB}]
    web_ui.template_args["extended_tables"] = [{"key": TAB, "structure": structure}]
    app.add_url_rule(f"{base}/gilscope", "gilscope", web_ui.auth_required_if_enabled(page))
    app.before_request(refuse)
    app.after_request(extend)


def _options(web_ui: WebUI) -> Namespace:
    options: Namespace | None = web_ui.environment.parsed_options
    assert options is not None
    return options


def table(totals: Totals, options: Namespace) -> list[dict[str, str]]:
    """Return the rows of the tab, which Locust's page sorts by their names."""
    load = headline(options)
    return [
        {"name": title, "load": load, **dict(zip(_KEYS.values(), figures(latencies), strict=True))}
        for title, latencies in lines(totals, options)
    ]
