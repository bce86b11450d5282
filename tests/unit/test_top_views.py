from __future__ import annotations

import io
import os
import pty
import sys
from dataclasses import replace

import pytest
from rich.console import Console
from rich.live import Live

from gilscope.model import StateSeconds, ThreadRole
from gilscope.top import views as top_views
from gilscope.top.order import Order
from gilscope.top.table import Picture, ThreadRow, plain
from gilscope.top.views import (
    LiveView,
    PlainView,
    QuietView,
    build_page,
    is_screen,
    live_view,
    print_whole,
)

PID = 4711
MAIN = ThreadRow(PID, PID, "MainThread", None, StateSeconds(0.0, 0.0, 0.0, 1.0, 0.0))
BUSY = ThreadRow(PID, 4712, "[busy]", None, StateSeconds(0.25, 0.25, 0.5, 0.0, 0.3))
PICTURE = Picture(PID, "3.13.0", has_gil=True, seconds=1.0, looks=200, own_cpu_s=0.02, threads=(MAIN, BUSY))
FULL = replace(
    PICTURE,
    threads=(
        replace(MAIN, role=ThreadRole.LOOP, pid=1_234_567, tid=1_234_567),
        replace(BUSY, role=ThreadRole.WORKER, name="fifteen-letters", tid=1_234_568),
    ),
)
CROWD = replace(PICTURE, threads=tuple(replace(BUSY, tid=tid) for tid in range(1, 501)))


class Screen(io.TextIOWrapper):
    """A file that passes for a terminal, with an encoding of its own."""

    def __init__(self, encoding: str = "utf-8") -> None:
        super().__init__(io.BytesIO(), encoding=encoding, write_through=True)

    def isatty(self) -> bool:
        return True

    def text(self) -> str:
        assert isinstance(self.buffer, io.BytesIO)
        return self.buffer.getvalue().decode(self.encoding)


def drawn(
    picture: Picture, width: int, height: int | None = None, *, encoding: str = "utf-8", colours: bool = False
) -> list[str]:
    screen = Screen(encoding)
    console = Console(
        file=screen,
        force_terminal=colours,
        width=width,
        height=24,
        color_system="truecolor" if colours else None,
    )
    console.print(build_page(picture, Order.GIL_WAIT, width, height), end="")
    return [line.rstrip() for line in screen.text().splitlines()]


def test_at_80_columns_headings_take_two_lines() -> None:
    assert drawn(PICTURE, 80) == [
        "process 4711: Python 3.13.0, 2 threads, 1.0 s, 200 looks",
        "GIL: held 30% of the time, 0.50 threads waiting on average",
        "cores: 0.25 in use, 0.25 threads waiting on average",
        "",
        "                 on  GIL   run          GIL",
        " TID name       CPU wait queue blocked held",
        "4712 [busy]     25%  50%   25%      0%  30% " + "█" * 9 + "▒" * 18 + "=" * 9,
        "4711 MainThread  0%   0%    0%    100%   0% " + "·" * 36,
        "",
        "█ on CPU  ▒ GIL wait  = run queue  · blocked   sorted by GIL wait; Ctrl-C ends",
    ]


def test_at_200_columns_they_take_one() -> None:
    assert drawn(PICTURE, 200)[4:8] == [
        " TID  name        on CPU  GIL wait  run queue  blocked  GIL held",
        "4712  [busy]         25%       50%        25%       0%       30%  " + "█" * 10 + "▒" * 20 + "=" * 10,
        "4711  MainThread      0%        0%         0%     100%        0%  " + "·" * 40,
        "",
    ]


@pytest.mark.parametrize("width", [80, 100, 200])
def test_all_columns_and_a_bar_fit(width: int) -> None:
    lines = drawn(FULL, width)
    assert max(map(len, lines)) <= width
    heading, busy, *_ = (line.split() for line in lines if "TID" in line or "letters" in line)
    assert heading[:4] == ["PID", "TID", "name", "role"]
    assert busy[:4] == [str(PID), "1234568", "fifteen-letters", "worker"]
    assert set(busy[-1]) == set("█▒="), "in full"


def test_a_narrow_terminal_cuts_and_does_not_break() -> None:
    lines = drawn(FULL, 50)
    assert max(map(len, lines)) <= 50
    assert len(lines) == len(drawn(FULL, 80))


def test_a_terminal_that_knows_no_blocks_gets_letters() -> None:
    lines = drawn(PICTURE, 80, encoding="ascii")
    assert lines[6].endswith("#" * 9 + "+" * 18 + "=" * 9)
    assert lines[-1].startswith("# on CPU  + GIL wait  = run queue  . blocked ")


def test_colours_are_those_of_every_picture_of_ours() -> None:
    text = "\n".join(drawn(PICTURE, 80, colours=True))
    assert "\x1b[38;2;230;159;0m▒" in text  # 0xE69F00
    assert "\x1b[38;2;86;180;233m=" in text
    assert "\x1b[1m 50%\x1b[0m" in text
    assert "\x1b[2m 0%\x1b[0m" in text


def test_no_color_leaves_no_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    text = "\n".join(drawn(PICTURE, 80, colours=True))
    assert "38;2" not in text
    assert "▒" * 18 in text


@pytest.mark.parametrize(("width", "height"), [(80, 24), (200, 24), (80, 50), (80, 5)])
def test_a_crowd_is_cut_to_the_screen(width: int, height: int) -> None:
    lines = drawn(CROWD, width, height)
    shown = sum("[busy]" in line for line in lines)
    assert f"and {500 - shown} more" in lines
    assert len(lines) == max(height - 1, 9), "one line is the cursor's"


def test_a_live_view_fills_its_screen_and_no_more() -> None:
    screen = Screen()
    console = Console(
        file=screen, force_terminal=True, color_system=None, width=80, height=12, legacy_windows=False
    )
    with Live(console=console, screen=True, auto_refresh=False) as live:
        view = LiveView(live, Order.GIL_WAIT)
        view.begin(PID)
        assert "watching process 4711" in screen.text()
        view.show(CROWD)
    assert "and 497 more" in screen.text()
    assert "sorted by GIL wait; Ctrl-C ends" in screen.text()


def terminal(monkeypatch: pytest.MonkeyPatch) -> Screen:
    """Replace standard output; not a fixture, because pytest sets it anew before the test."""
    screen = Screen()
    monkeypatch.setattr(sys, "stdout", screen)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    return screen


def test_the_other_screen_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = terminal(monkeypatch)
    with live_view(PID, Order.TID, stderr=False) as view:
        view.show(PICTURE)
    text = screen.text()
    assert text.index("\x1b[?1049h") < text.index("sorted by TID") < text.index("\x1b[?1049l")
    assert text.index("\x1b[?25l") < text.index("\x1b[?25h")


def test_the_end_is_drawn_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = terminal(monkeypatch)
    print_whole(PICTURE, Order.GIL_WAIT)
    text = screen.text()
    assert "1.0 s in all, 200 looks" in text
    assert "\x1b[1m" in text
    assert "Ctrl-C" not in text
    assert "1049" not in text


def test_the_end_is_plain_elsewhere(capsys: pytest.CaptureFixture[str]) -> None:
    print_whole(PICTURE, Order.GIL_WAIT)
    assert capsys.readouterr().out == plain(PICTURE, Order.GIL_WAIT, whole=True)


def test_a_log_gets_tables_with_an_empty_line_between(capsys: pytest.CaptureFixture[str]) -> None:
    view = PlainView(Order.TID)
    view.show(PICTURE)
    view.show(PICTURE)
    table = plain(PICTURE, Order.TID)
    assert capsys.readouterr().out == f"{table}\n{table}\n"


def test_quiet_is_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    QuietView().show(PICTURE)
    assert capsys.readouterr() == ("", "")


def test_only_a_terminal_that_can_move_its_cursor_is_a_screen(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = pty.openpty()
    with os.fdopen(ours, "rb"), os.fdopen(theirs, "w") as shown:
        for stream, on_stderr in (("stdout", False), ("stderr", True)):
            monkeypatch.setattr(sys, stream, shown)
            monkeypatch.setenv("TERM", "xterm")
            assert is_screen(stderr=on_stderr)
            monkeypatch.setenv("TERM", "dumb")
            assert not is_screen(stderr=on_stderr)
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    assert not is_screen(stderr=False)


def test_every_order_has_a_word_and_every_state_a_cell() -> None:
    assert set(top_views.ORDERS) == set(Order)
    marks = [cell.mark for cell in top_views.CELLS.values()]
    assert len(set(marks)) == len(marks)
    assert all(cell.ascii.isascii() for cell in top_views.CELLS.values())
