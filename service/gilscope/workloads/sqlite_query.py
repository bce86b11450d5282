"""A query on an SQLite file: its aggregate runs in C without the GIL, its rows come back with it."""

import sqlite3
import threading
from collections.abc import Mapping
from pathlib import Path

from gilscope.workloads.base import Surroundings
from gilscope.workloads.keeping import worker_local

TABLE_ROWS = 100_000
_local = worker_local()
_create_lock = threading.Lock()


def sqlite_query(path: str, rows: int) -> list[float]:
    """Group the first ``rows`` orders by customer; return the ten largest sums."""
    cursor = _connection(path).execute(
        "SELECT sum(amount) AS spent FROM orders WHERE id <= ? GROUP BY customer ORDER BY spent DESC LIMIT 10",
        (rows,),
    )
    return [spent for (spent,) in cursor]


def _connection(path: str) -> sqlite3.Connection:
    """Return this worker's connection, opened on first use, as an application would keep it."""
    kept: dict[str, sqlite3.Connection] = _local.__dict__
    if path not in kept:
        kept[path] = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    return kept[path]


def prepare(arguments: Mapping[str, object], surroundings: Surroundings) -> dict[str, object]:
    """Create the database on first use."""
    path = surroundings.scratch / "orders.sqlite"
    with _create_lock:
        if not path.exists():
            _create(path)
    return {"path": str(path), **arguments}


def _create(path: Path) -> None:
    unfinished = path.with_suffix(".tmp")
    connection = sqlite3.connect(unfinished)
    with connection:
        connection.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY, customer INTEGER, amount INTEGER)")
        connection.executemany(
            "INSERT INTO orders VALUES (?, ?, ?)",
            ((n, n * 7919 % 1000, n * 104_729 % 10_000) for n in range(1, TABLE_ROWS + 1)),
        )
    connection.close()
    unfinished.rename(path)
