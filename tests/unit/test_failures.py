from __future__ import annotations

import json

import pytest

from gilscope.report.failures import Failed, taken_apart

OF_WHAT = "URL http://127.0.0.1:45783/work/bad.sometimes/asyncio: code=500"
PROBLEM = {
    "title": "Internal Server Error",
    "status": 500,
    "detail": "bad.sometimes raised ValueError: every nth",
}
TRACEBACK = (
    'Traceback (most recent call last):\n  File "bad.py", line 17, in sometimes\nValueError: every nth\n'
)


def test_what_was_raised_is_said_in_a_line_and_the_traceback_has_its_lines() -> None:
    found = taken_apart(f"{OF_WHAT}\n{json.dumps({**PROBLEM, 'traceback': TRACEBACK})}")
    assert found.line == "bad.sometimes raised ValueError: every nth"
    assert found.text == f"{OF_WHAT}\nbad.sometimes raised ValueError: every nth\n{TRACEBACK.strip()}"


def test_a_problem_needs_no_traceback() -> None:
    assert taken_apart(f"{OF_WHAT}\n{json.dumps(PROBLEM)}").text == f"{OF_WHAT}\n{PROBLEM['detail']}"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("the service ended with exit code -9", "the service ended with exit code -9"),
        ("it died; its last words:\n  one\n  two", "  two"),
        (f"{OF_WHAT}\n<html>bad gateway", "<html>bad gateway"),
        (f"{OF_WHAT}\n[1]", "[1]"),
        (f"{OF_WHAT}\n" + '{"detail": 5}', '{"detail": 5}'),
        ("", ""),
    ],
)
def test_anything_else_is_told_by_its_last_line(text: str, line: str) -> None:
    assert taken_apart(text) == Failed(line, text)
