from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gilscope.flame import folded as fold
from gilscope.model import Folded, Stack

# What py-spy 0.4.3 prints with -s and -t: a pool's child under its parent, commands and thread names as they are.
FORKSERVER = (
    "python -B -c from multiprocessing.forkserver import main; main(11, 12, ['__main__'], **{'a': [1]})"
)
RAW = f"""\
process 5:"";thread (5): MainThread;<module> (pool.py:9);wait (threading.py:327) 1
process 5:"";process 8:"{FORKSERVER}";process 9:"{FORKSERVER}";thread (9);spin (pool.py:5) 40
process 5:"";process 8:"{FORKSERVER}";process 10:"{FORKSERVER}";thread (10);spin (pool.py:5) 41
"""

words = st.text(st.characters(exclude_characters=';\n"', exclude_categories=["Cs"]), max_size=8)
frames = st.one_of(
    st.builds("{} ({}:{})".format, words, words, st.integers(1, 999)),
    st.builds("{} ({})".format, words, words.filter(bool)),
)
threads = st.one_of(st.builds("thread ({}): {}".format, st.integers(1), words), st.just("thread (0X7F1A): x"))
commands = st.lists(
    st.sampled_from(["python -c 'a;b'", 'say("hi");go()', "x = 1", " -m app", ";", "\n"]), max_size=4
)
processes = st.builds('process {}:"{}"'.format, st.integers(1), commands.map("".join))
rooted = st.builds(
    lambda above, thread, below: (*above, *thread, *below),
    st.lists(processes, max_size=3),
    st.lists(threads, max_size=1),
    st.lists(frames, min_size=1, max_size=5),
)
stacks = st.one_of(rooted, st.lists(st.one_of(frames, words), min_size=1, max_size=5).map(tuple))
samples = st.integers(1, 10**9).map(float)


def folded_of(weights: st.SearchStrategy[float]) -> st.SearchStrategy[dict[Stack, float]]:
    return st.dictionaries(stacks, weights, max_size=8)


def test_reads_what_py_spy_prints() -> None:
    parent, server = 'process 5:""', f'process 8:"{FORKSERVER}"'
    assert fold.parse(RAW) == {
        (parent, "thread (5): MainThread", "<module> (pool.py:9)", "wait (threading.py:327)"): 1,
        (parent, server, f'process 9:"{FORKSERVER}"', "thread (9)", "spin (pool.py:5)"): 40,
        (parent, server, f'process 10:"{FORKSERVER}"', "thread (10)", "spin (pool.py:5)"): 41,
    }


def test_a_command_may_hold_quotes_semicolons_and_newlines() -> None:
    command = 'python -c print("a");e=1\nwhile e: pass # ; 12'
    text = f'process 7:"{command}";<module> (<string>:3) 49\nother (x.py:1) 2\n'
    assert fold.parse(text) == {
        (f'process 7:"{command}"', "<module> (<string>:3)"): 49,
        ("other (x.py:1)",): 2,
    }


def test_a_commands_line_that_ends_like_a_weight_does_not_end_the_record() -> None:
    root = 'process 7:"python -c print("a");e = 1\nf(e);g(e) 2\nh()"'
    assert fold.parse(f"{root};<module> (<string>:3) 49\n") == {(root, "<module> (<string>:3)"): 49}


def test_a_thread_without_a_python_frame_is_read() -> None:
    text = 'process 7:"a";thread (8): idle one 3\nprocess 7:"a";thread (9) 4\n'
    assert fold.parse(text) == {
        ('process 7:"a"', "thread (8): idle one"): 3,
        ('process 7:"a"', "thread (9)"): 4,
    }


@pytest.mark.parametrize(
    "frame",
    [
        'process 41:"python -m app"',
        'process 41:""',
        "thread (41)",
        "thread (41): odd (x) 7",
        "thread (0X7F1A2B): MainThread",
        "thread (0x7f1a2b)",
    ],
)
def test_roots_are_recognised(frame: str) -> None:
    assert fold.is_root(frame)


@pytest.mark.parametrize(
    "frame",
    ["thread (pool.py:12)", "process (app.py:3)", "thread_run (libpython3.11.so.1.0)", "", "process 41"],
)
def test_functions_with_such_names_are_no_roots(frame: str) -> None:
    assert not fold.is_root(frame)


def test_equal_lines_add_up_and_empty_ones_are_skipped() -> None:
    assert fold.parse("a;b 1\n\na;b 2.5\n") == {("a", "b"): 3.5}


@pytest.mark.parametrize("bad", ["frame", "a;b x", "a;b -1", "a;b 1e", "a;b nan", 'process 4:"never closed'])
@pytest.mark.parametrize("after", ["", "\n", "\na;b 3\n"])
def test_a_malformed_line_is_named(bad: str, after: str) -> None:
    with pytest.raises(ValueError, match=r"line 2 is not 'frame;frame WEIGHT': .*" + bad[:5]):
        fold.parse(f"fine 1\n{bad}{after}")


def test_a_command_that_never_ends_does_not_swallow_the_next_process() -> None:
    with pytest.raises(ValueError, match="line 1 "):
        fold.parse('process 4:"oh\nprocess 5:"fine";f (a.py:1) 2\n')


def test_written_in_a_stable_order_with_whole_numbers_whole() -> None:
    assert fold.format_folded({("b",): 2.0, ("a", "c"): 0.5, ("a",): 3}) == "a 3\na;c 0.5\nb 2\n"


@pytest.mark.parametrize(
    ("weight", "written"),
    [(0.01, "0.01"), (1 / 3, "0.3333333333333333"), (1e-05, "1e-05"), (1e22, "1" + "0" * 22)],
)
def test_seconds_are_written_to_the_last_bit(weight: float, written: str) -> None:
    assert fold.format_folded({("a",): weight}) == f"a {written}\n"
    assert fold.parse(f"a {written}\n") == {("a",): weight}


@pytest.mark.parametrize("stack", [(), ("a;b",), ("a\nb",), ('process 4:"', "x")])
def test_what_the_format_cannot_carry_is_refused(stack: Stack) -> None:
    with pytest.raises(ValueError, match="cannot carry"):
        fold.format_folded({stack: 1})


@pytest.mark.parametrize("weight", [-1.0, float("inf"), float("nan")])
def test_weights_that_are_no_count_are_refused(weight: float) -> None:
    with pytest.raises(ValueError, match="weight"):
        fold.format_folded({("a",): weight})


@given(folded_of(st.one_of(samples, st.floats(0, 1e12), st.floats(0, 1e-3))))
def test_what_is_written_is_read_back(folded: Folded) -> None:
    assert fold.parse(fold.format_folded(folded)) == folded


@pytest.mark.parametrize(
    ("frame", "parts"),
    [
        ("primes (gilscope/workloads/primes.py:12)", ("primes", "gilscope/workloads/primes.py", 12)),
        ("<module> (we ird (1).py:7)", ("<module> (we ird", "1).py", 7)),
        ("0x7f9e (libc.so.6)", ("0x7f9e", "libc.so.6", None)),
        ("run (<frozen runpy>:88)", ("run", "<frozen runpy>", 88)),
        ("zero padded (a.py:007)", ("zero padded", "a.py:007", None)),
        ("thread (41): x", ("thread (41): x", None, None)),
        ("f ()", ("f ()", None, None)),
    ],
)
def test_frames_are_taken_apart(frame: str, parts: tuple[str, str | None, int | None]) -> None:
    assert fold.split_frame(frame) == parts


@given(st.one_of(frames, threads, processes, st.text()))
def test_frames_are_put_together_again(frame: str) -> None:
    assert fold.join_frame(fold.split_frame(frame)) == frame
