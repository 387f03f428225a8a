"""The database: one pool of connections for each process, opened at its first query."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from time import monotonic
from typing import Any, TypeVar

import psycopg
from psycopg.rows import DictRow, dict_row
from psycopg_pool import ConnectionPool, PoolTimeout

from example.settings import Settings

logger = logging.getLogger(__name__)

# What the server may take for one statement, and what we wait for its answer: a server that is
# frozen keeps no promise, so the second limit is our own.
STATEMENT_SECONDS = 5.0
ANSWER_SECONDS = 7.0
# What a request waits once the database is known to be away, and what a probe waits.
AWAY_SECONDS = 0.5
PROBE_SECONDS = 2.0

T = TypeVar("T")


class DatabaseAwayError(Exception):
    """The database did not answer in time."""


class Connection(psycopg.Connection[DictRow]):
    """A connection that gives up on a server that doesn't answer."""

    def wait(self, *args: Any, **kwargs: Any) -> Any:
        """Wait for an answer; raise OperationalError, and close, when none comes in time."""
        kwargs.setdefault("timeout", ANSWER_SECONDS)
        try:
            return super().wait(*args, **kwargs)
        except psycopg.errors._WaitTimeout as error:
            self.close()
            raise psycopg.OperationalError(
                f"the server did not answer within {ANSWER_SECONDS:g} s"
            ) from error


Pool = ConnectionPool[Connection]


class Database:
    """Runs pieces of work, each on a pooled connection in autocommit."""

    def __init__(self, settings: Settings) -> None:
        """Remember where the database is; connect to nothing yet."""
        self.settings = settings
        # By process id: a forked child finds no entry of its own and opens its own pool, whoever
        # forked it (uWSGI doesn't run Python's fork hooks). The parent's stays here untouched,
        # because closing it in the child would hang up the parent's connections.
        self._pools: dict[int, Pool] = {}
        self._away = False

    def _pool(self) -> Pool:
        """Return this process's pool, open."""
        pid = os.getpid()
        pool = self._pools.get(pid)
        if pool is None:
            # setdefault is atomic: of two threads that get here, both take the first one's pool.
            pool = self._pools.setdefault(pid, self._new_pool())
        pool.open()
        return pool

    def _new_pool(self) -> Pool:
        """Return a pool that is not open yet."""
        return ConnectionPool(
            connection_class=Connection,
            kwargs=self.settings.connect_args()
            | {
                "autocommit": True,
                "row_factory": dict_row,
                "options": f"-c statement_timeout={STATEMENT_SECONDS * 1000:.0f}",
            },
            # None to begin with: a first one would not be there in time for the request that
            # opens the pool, which then gets a second one.
            min_size=0,
            max_size=self.settings.pool_size,
            # The reconnecting after an outage makes more than one; they are let go soon.
            max_idle=120.0,
            open=False,
            check=ConnectionPool.check_connection,
            name="example",
            # The pool doubles its pause after each failed attempt, up to minutes. Starting over
            # every two seconds keeps it at one: Postgres is found soon after it came back.
            reconnect_timeout=2.0,
            reconnect_failed=_try_again,
            num_workers=2,
        )

    def run(self, work: Callable[[Connection], T], *, probe: bool = False) -> T:
        """Return what `work` returns; raise DatabaseAwayError when the database is away.

        `work` must be repeatable: when the connection is lost under it, it runs again.
        """
        pool = self._pool()
        # The first requests of an outage wait for a restart to end; when it doesn't, those after
        # them are told at once, or a few of them would hold every worker.
        patience = PROBE_SECONDS if probe else self.settings.patience
        seconds = AWAY_SECONDS if self._away else patience
        deadline = monotonic() + seconds
        while True:
            connection: Connection | None = None
            try:
                with pool.connection(timeout=max(deadline - monotonic(), 0.01)) as connection:
                    result = work(connection)
            except PoolTimeout as error:
                if not probe:
                    self._away = True
                raise DatabaseAwayError(f"no connection within {seconds:g} s") from error
            except (psycopg.OperationalError, psycopg.InterfaceError) as error:
                if not _lost(connection, error) or monotonic() >= deadline:
                    raise DatabaseAwayError(_first_line(error)) from error
                logger.info("Connection lost, trying again: %s", _first_line(error))
            else:
                self._away = False
                return result

    def close(self) -> None:
        """Close this process's pool, if it has one."""
        pool = self._pools.pop(os.getpid(), None)
        if pool is not None:
            pool.close(timeout=1.0)


def _try_again(pool: ConnectionPool[Any]) -> None:
    """Let a pool that gave up on a connection start over."""
    if not pool.closed:
        pool.check()


def _lost(connection: Connection | None, error: psycopg.Error) -> bool:
    """Say whether the error took the connection with it, so that another one may do better."""
    if connection is None:
        return False
    # 57P01 to 57P03: the server says that it goes down, the connection breaks only after that.
    return connection.closed or (error.sqlstate or "").startswith("57P0")


def _first_line(error: BaseException) -> str:
    """Return the first line of an error's text."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
