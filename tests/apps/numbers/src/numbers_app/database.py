"""The database: one pool of connections for each process, opened at its first query."""

from __future__ import annotations

import atexit
import os
from pathlib import Path
from typing import Any

from psycopg import Connection
from psycopg_pool import ConnectionPool

Pool = ConnectionPool[Connection[tuple[Any, ...]]]
# By process id: a forked child finds no entry of its own, and opens its own pool.
_pools: dict[int, Pool] = {}


def connect_args() -> dict[str, Any]:
    """Return psycopg's arguments; raise KeyError or OSError when a setting can't be had."""
    password = Path(os.environ["POSTGRES_PASSWORD_FILE"]).read_text(encoding="utf-8")
    return {
        "host": os.environ["POSTGRES_HOST"],
        "port": os.environ["POSTGRES_PORT"],
        "user": os.environ["POSTGRES_USER"],
        "dbname": os.environ["POSTGRES_DB"],
        "password": password.rstrip("\r\n"),
        "connect_timeout": 5,
    }


def pool() -> Pool:
    """Return this process's pool, open."""
    pid = os.getpid()
    if pid not in _pools:
        new = ConnectionPool(
            kwargs=connect_args() | {"autocommit": True},
            min_size=1,
            max_size=8,
            open=False,
            check=ConnectionPool.check_connection,
            name="numbers",
        )
        # Atomic: of two threads that get here, both take the first one's pool.
        _pools.setdefault(pid, new)
    _pools[pid].open()
    return _pools[pid]


@atexit.register
def _close() -> None:
    """Say goodbye to Postgres, which would log a lost connection otherwise."""
    if mine := _pools.pop(os.getpid(), None):
        mine.close(timeout=1.0)
