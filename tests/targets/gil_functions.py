"""Functions whose effect on the GIL is known: one call takes milliseconds to some tens of them.

Data is made at the first call and kept, as an application would; what is imported within a function is not
installed everywhere.
"""

from __future__ import annotations

import ast
import asyncio
import base64
import bz2
import copy
import ctypes
import decimal
import functools
import gc
import hashlib
import importlib
import io
import json
import lzma
import os
import pickle
import random
import re
import socket
import sqlite3
import statistics
import time
import zlib
from typing import Any

Record = dict[str, object]


@functools.cache
def _noise(kilobytes: int) -> bytes:
    return random.Random(kilobytes).randbytes(kilobytes * 1000)


@functools.cache
def _text(kilobytes: int) -> bytes:
    words = [f"word{number}".encode() for number in range(997)]
    return b" ".join(random.Random(1).choices(words, k=kilobytes * 1000 // 8))


@functools.cache
def _records(count: int) -> list[Record]:
    return [{"id": n, "name": f"Ada {n}", "tags": ["gil", "loop"], "score": n / 7} for n in range(count)]


@functools.cache
def _shuffled(count: int) -> list[int]:
    values = list(range(count))
    random.Random(count).shuffle(values)
    return values


@functools.cache
def _database() -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:", check_same_thread=False)
    connection.execute(
        "CREATE TABLE orders (id INTEGER PRIMARY KEY, customer INTEGER, amount REAL, note TEXT)"
    )
    connection.executemany(
        "INSERT INTO orders VALUES (?, ?, ?, ?)",
        ((n, n * 7919 % 1000, n / 3, f"order number {n}") for n in range(60_000)),
    )
    return connection


# Releases the GIL.


def time_sleep() -> None:
    time.sleep(0.02)


async def asyncio_sleep() -> None:
    await asyncio.sleep(0.02)


def socket_wait() -> int:
    """Wait for an answer that does not come."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.settimeout(0.02)
        try:
            return len(ours.recv(100))
        except TimeoutError:
            return 0


def zlib_compress() -> int:
    return len(zlib.compress(_text(400)))


def bz2_compress() -> int:
    return len(bz2.compress(_text(200)))


def lzma_compress() -> int:
    return len(lzma.compress(_text(400), preset=1))


def sha256() -> str:
    return hashlib.sha256(_noise(10_000)).hexdigest()


def pbkdf2() -> bytes:
    return hashlib.pbkdf2_hmac("sha256", b"password", b"salt", 30_000)


def scrypt() -> bytes:
    return hashlib.scrypt(b"password", salt=b"salt", n=2**13, r=8, p=1)


def sqlite_aggregate() -> float:
    (largest,) = (
        _database()
        .execute("SELECT max(spent) FROM (SELECT sum(amount) AS spent FROM orders GROUP BY customer)")
        .fetchone()
    )
    return float(largest)


def numpy_matmul() -> float:
    numpy = importlib.import_module("numpy")
    matrix = _numbers((500, 500))
    return float(numpy.matmul(matrix, matrix)[0, 0])


def numpy_sort() -> float:
    numpy = importlib.import_module("numpy")
    return float(numpy.sort(_numbers((1_000_000,)))[0])


@functools.cache
def _numbers(shape: tuple[int, ...]) -> Any:  # noqa: ANN401  numpy may not be installed
    return importlib.import_module("numpy.random").default_rng(1).random(shape)


def pillow_resize() -> tuple[int, int]:
    image = importlib.import_module("PIL.Image")
    small = _picture().resize((500, 400), image.Resampling.LANCZOS)
    return int(small.width), int(small.height)


@functools.cache
def _picture() -> Any:  # noqa: ANN401  Pillow may not be installed
    return importlib.import_module("PIL.Image").frombytes("RGB", (2000, 1000), _noise(6_000))


def bcrypt_hash() -> bytes:
    bcrypt = importlib.import_module("bcrypt")
    return bytes(bcrypt.hashpw(b"password", b"$2b$08$abcdefghijklmnopqrstuu"))


# Holds the GIL, and gives it up when asked.


def python_loop() -> int:
    total = 0
    for number in range(150_000):
        total += number * number % 7
    return total


async def python_loop_async() -> int:
    await asyncio.sleep(0)
    return python_loop()


def stdev() -> float:
    return statistics.stdev(_shuffled(10_000))


def deepcopy() -> list[Record]:
    return copy.deepcopy(_records(1_000))


def jinja2_render() -> int:
    return len(_template().render(rows=_records(2_000)))


@functools.cache
def _template() -> Any:  # noqa: ANN401  jinja2 comes with gilscope, but is not typed here
    source = (
        "{% for row in rows %}<li>{{ row.id }}: {{ row.name|e }} {{ row.tags|join(', ') }}</li>{% endfor %}"
    )
    return importlib.import_module("jinja2").Template(source)


# Holds the GIL in one C call.


def re_backtracking() -> bool:
    return re.match(r"(a+)+$", "a" * 18 + "b") is not None


def big_sorted() -> int:
    return len(sorted(_shuffled(60_000)))


def json_dumps() -> int:
    return len(json.dumps(_records(8_000)))


def json_loads() -> int:
    return len(json.loads(_json_text()))


@functools.cache
def _json_text() -> str:
    return json.dumps(_records(8_000))


def pickle_dumps() -> int:
    return len(pickle.dumps(_records(8_000)))


def pickle_loads() -> int:
    return len(pickle.loads(_pickled()))


@functools.cache
def _pickled() -> bytes:
    return pickle.dumps(_records(8_000))


def orjson_dumps() -> int:
    return len(importlib.import_module("orjson").dumps(_records(20_000)))


def orjson_loads() -> int:
    return len(importlib.import_module("orjson").loads(_json_text()))


def decimal_power() -> int:
    with decimal.localcontext() as context:
        context.prec = 8_000
        return (decimal.Decimal(2) / 7).sqrt().adjusted()


def big_integers() -> int:
    return (3**150_000 * 7**100_000).bit_length()


def ast_parse() -> int:
    return len(ast.parse(_source()).body)


@functools.cache
def _source() -> str:
    return "\n".join(f"value_{n} = [{n} + x * (y - {n}) for x, y in pairs if x > {n}]" for n in range(500))


def base64_encode() -> int:
    return len(base64.b64encode(_noise(15_000)))


def gc_collect() -> int:
    _records(60_000)
    return gc.collect()


# Some of each.


def sqlite_fetchall() -> int:
    return len(_database().execute("SELECT * FROM orders WHERE customer % 4 = 0").fetchall())


def lxml_parse() -> int:
    etree = importlib.import_module("lxml.etree")
    return len(etree.parse(io.BytesIO(_xml())).getroot())


@functools.cache
def _xml() -> bytes:
    rows = (f"<row id='{n}'><name>Ada {n}</name><score>{n / 7}</score></row>" for n in range(40_000))
    return f"<rows>{''.join(rows)}</rows>".encode()


def sleep_then_sort() -> int:
    time.sleep(0.02)
    return len(sorted(_shuffled(60_000)))


# What else a function may do to its process.


def sleep_with_the_gil() -> int:
    """Sleep in a C call that was told to keep the GIL."""
    return int(ctypes.PyDLL(None).usleep(10_000))


def leave_a_copy() -> int:
    """Fork, and return on both sides."""
    return os.fork()


def work_once(_spent: list[int] = []) -> int:  # noqa: B006  that is the point
    """Succeed at the first call only."""
    _spent.append(1)
    if len(_spent) > 1:
        raise RuntimeError("only once")
    return python_loop()


async def block_the_loop() -> None:
    """Wait without giving the event loop back."""
    time.sleep(0.02)  # noqa: ASYNC251  that is the point


def take_long() -> int:
    """Hold the GIL in one C call, for longer than it is repeated with a small budget."""
    return (3**6_000_000).bit_length()


def wait_then_work(waits_ms: float = 2.0, works_ms: float = 1.0) -> int:
    """Wait, and then be Python code for so much CPU time."""
    time.sleep(waits_ms / 1e3)
    until, numbers = time.thread_time_ns() + int(works_ms * 1e6), 0
    while time.thread_time_ns() < until:
        numbers += sum(range(50))
    return numbers
