"""What an experiment's own process answers."""

from __future__ import annotations

import sysconfig

import pytest

from gilscope.backends import execution
from gilscope.textbook.running import run


@pytest.mark.parametrize("gil", [True, False])
def test_a_free_threaded_build_says_whether_it_has_a_gil_once_it_has_run(
    monkeypatch: pytest.MonkeyPatch,
    *,
    gil: bool,
) -> None:
    real = sysconfig.get_config_var
    monkeypatch.setattr(sysconfig, "get_config_var", lambda name: name == "Py_GIL_DISABLED" or real(name))
    monkeypatch.setattr(execution, "gil_enabled", lambda: gil)
    answer = run("sharing", "threads", {})
    assert answer["figures"] == {"seen": True, "gil_enabled": gil}


def test_any_other_build_has_nothing_to_say_of_it() -> None:
    assert run("sharing", "threads", {})["figures"] == {"seen": True}
