#!/usr/bin/env python3
"""Compare a project's backups with pg_basebackup and pg_dump, on the host that it runs on.

    python3 tests/bench/backup.py PROJECT [--rows N] [--rounds N] [--minutes N]

It fills a table of its own in the project's database, makes each kind of backup and restore in
turn, and prints medians and ratios. The database serves meanwhile, slower; timers and verbs wait.
At the end, after an error or a signal too, it removes what it made: table, files, backups. The WAL
of all that stays in the archive until it expires, since what came before and after needs it.
"""

from __future__ import annotations

import argparse
import re
import signal
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "roles/data/files"))

from slipway_data import backups, restore, throwaway
from slipway_data.host import Config, Host, ProblemError, call, last_line, size, stamp

# As a schema in the project's database, and as a database of its own.
NAME = "slipway_bench"
KINDS = {
    "full": "pgBackRest, full",
    "incr": "pgBackRest, incremental",
    "base": "pg_basebackup, tar",
    "dump": "pg_dump -Fc",
}
# The level that pgBackRest has as its default.
LEVEL = 3

FILL = """
DROP SCHEMA IF EXISTS slipway_bench CASCADE;
CREATE SCHEMA slipway_bench;
CREATE TABLE slipway_bench.filled AS
SELECT i AS id, md5(i::text) AS word, (i::bigint * 7919 % 1000003)::numeric(10, 2) AS price,
    now() - i * interval '1 second' AS at
FROM generate_series(1, :'rows'::int) AS i;
ALTER TABLE slipway_bench.filled ADD PRIMARY KEY (id);
VACUUM ANALYZE slipway_bench.filled;
"""
# One row in a hundred, others in each round.
CHANGE = "UPDATE slipway_bench.filled SET price = price + 1 WHERE id % 100 = :'round'::int % 100;"
COUNT = "SELECT count(*) FROM slipway_bench.filled;"


class Bench:
    """The operations that are compared; one reads what another one made."""

    def __init__(self, host: Host, rows: int) -> None:
        """Take a name for whatever has to be removed at the end."""
        self.host = host
        self.rows = rows
        self.database = host.config.cluster["db"]
        self.settings = (host.config.config_dir / "secrets/backup/pgbackrest.conf").read_text()
        self.jobs = int(self.setting("process-max", "1"))
        name = f"bench-{stamp()}"
        # In memory only, so that the containers can be found again.
        host.journal.entry = {"id": name}
        self.directory = f"{host.config.version}/{name}"
        self.path = f"/var/lib/postgresql/{self.directory}"
        self.labels: dict[str, str] = {}
        self.full: list[str] = []
        self.ready = 0.0

    def setting(self, name: str, default: str) -> str:
        """Return one of pgBackRest's settings."""
        found = re.search(rf"^{name}=(.*)$", self.settings, re.MULTILINE)
        return found[1] if found else default

    def client(self, script: str, *arguments: str) -> None:
        """Run a program of Postgres in the project's container; raise ProblemError."""
        begin = (
            "export PGPASSWORD=$(cat /run/secrets/postgres/password)"
            f" PGHOST=127.0.0.1 PGUSER={self.host.config.user}; "
        )
        container = self.host.config.container
        code, out, err = call(
            "docker", "exec", container, "sh", "-ec", begin + script, "sh", *arguments
        )
        if code:
            raise ProblemError(f"{script.split()[0]} failed: {last_line(err or out)}")

    def make_full(self) -> None:
        """Make a full backup with pgBackRest."""
        self.pgbackrest("full")
        self.full.append(self.labels["full"])

    def make_incr(self) -> None:
        """Make an incremental one on top."""
        self.pgbackrest("incr")

    def pgbackrest(self, kind: str) -> None:
        """Make a backup with pgBackRest, which must not push out the project's own ones."""
        backups.pgbackrest(self.host, f"--type={kind}", "--no-expire-auto", "backup")
        self.labels[kind] = backups.usable(backups.look(self.host))[0].label

    def make_base(self) -> None:
        """Make a base backup: a tar, with the WAL that it needs."""
        self.client(
            'pg_basebackup --pgdata="$1/base" --format=tar --wal-method=fetch --checkpoint=fast'
            ' --compress="server-zstd:level=$2,workers=$3"',
            self.path, str(LEVEL), str(self.jobs),
        )  # fmt: skip

    def make_dump(self) -> None:
        """Dump the project's database."""
        # Version 15 has no zstd here.
        compress = f"zstd:{LEVEL}" if int(self.host.config.version) >= 16 else "6"
        self.client(
            'pg_dump -Fc --compress="$2" --file="$1/dump" "$3"', self.path, compress, self.database
        )

    def restore_full(self) -> None:
        """Restore the full backup and wait until its server takes queries."""
        self.restore_backup("full")

    def restore_incr(self) -> None:
        """Restore the incremental one."""
        self.restore_backup("incr")

    def restore_backup(self, kind: str) -> None:
        """Restore a backup of pgBackRest as far as it is consistent."""
        with self.target() as target:
            backups.pgbackrest(
                self.host, f"--pg1-path=/var/lib/postgresql/{target}", f"--set={self.labels[kind]}",
                f"--recovery-option=restore_command={restore.RESTORE_COMMAND}",
                "--type=immediate", "--target-action=promote", "restore", serving=False,
            )  # fmt: skip
            self.serve(target)

    def restore_base(self) -> None:
        """Unpack the base backup and wait until its server takes queries."""
        with self.target() as target:
            code, out, err = self.host.run_once(
                "sh", "-ec", 'zstd -dcq "$1/base/base.tar.zst" | tar -x -C "$2"', "sh",
                self.path, f"/var/lib/postgresql/{target}",
            )  # fmt: skip
            if code:
                raise ProblemError(f"the base backup was not unpacked: {last_line(err or out)}")
            self.serve(target)

    def restore_dump(self) -> None:
        """Load the dump into a new database of the server that serves."""
        self.client(
            'createdb "$1"; pg_restore --jobs="$2" --exit-on-error --dbname="$1" "$3/dump"',
            NAME, str(self.jobs), self.path,
        )  # fmt: skip
        self.ready = time.monotonic()
        self.hold(self.host.server().ask(COUNT, NAME))

    def serve(self, target: str) -> None:
        """Start a server on a directory, and hold it to the rows that it should have."""
        with throwaway.server(self.host, target) as one:
            throwaway.wait_for(self.host, one, "SELECT pg_is_in_recovery();", "f", 600)
            self.ready = time.monotonic()
            self.hold(one.ask(COUNT, self.database))

    def hold(self, rows: str) -> None:
        """Raise ProblemError when a restore has not the rows that it should have."""
        if rows != str(self.rows):
            raise ProblemError(f"a restore has {rows} rows instead of {self.rows}")

    @contextmanager
    def target(self) -> Iterator[str]:
        """Give an empty directory to restore into, which is gone afterwards."""
        directory = f"{self.directory}-restored"
        self.host.make_directory(directory)
        try:
            yield directory
        finally:
            # After a signal a container may still write there; what stays is for `end`.
            with suppress(OSError, ProblemError):
                self.host.remove_leftovers(self.host.journal.entry["id"])
                restore.discard(self.host, directory)

    def stored(self, kind: str) -> int:
        """Return the bytes that a backup takes."""
        if kind in self.labels:
            label = self.labels[kind]
            return next(one.stored for one in backups.look(self.host).backups if one.label == label)
        there = self.host.mountpoint / self.directory / kind
        files = there.iterdir() if there.is_dir() else [there]
        return sum(path.stat().st_size for path in files)

    def timed(self, operation: Callable[[], None]) -> float:
        """Return the seconds that an operation takes, until a server is ready where one starts."""
        self.ready = 0.0
        began = time.monotonic()
        operation()
        return (self.ready or time.monotonic()) - began

    def round(self, number: int, seen: dict[str, list[float]]) -> None:
        """Make and restore each once; add the seconds and bytes to what was seen."""
        restore.discard(self.host, self.directory)
        self.host.make_directory(self.directory)
        make = {"full": self.make_full, "base": self.make_base, "dump": self.make_dump}
        order = list(make)
        # Each is the first one once in three rounds.
        order = order[number % 3 :] + order[: number % 3]
        for kind in order:
            seen.setdefault(f"make {kind}", []).append(self.timed(make[kind]))
        self.host.server().ask(CHANGE, self.database, round=str(number))
        seen.setdefault("make incr", []).append(self.timed(self.make_incr))
        for kind in KINDS:
            seen.setdefault(f"size {kind}", []).append(self.stored(kind))
        load = {
            "full": self.restore_full, "base": self.restore_base, "dump": self.restore_dump,
            "incr": self.restore_incr,
        }  # fmt: skip
        for kind in [*order, "incr"]:
            seen.setdefault(f"load {kind}", []).append(self.timed(load[kind]))
        self.host.server().ask(f"DROP DATABASE {NAME};")

    def end(self) -> bool:
        """Remove everything that was made; return whether all of it is gone."""
        host = self.host
        # An incremental backup goes with its full one.
        expire = [(backups.pgbackrest, (host, f"--set={label}", "expire")) for label in self.full]
        steps: list[tuple[Callable[..., object], tuple[object, ...]]] = [
            (host.remove_leftovers, (host.journal.entry["id"],)),
            (restore.discard, (host, self.directory)),
            (restore.discard, (host, f"{self.directory}-restored")),
            (host.server().ask, (f"DROP DATABASE IF EXISTS {NAME};",)),
            (host.server().ask, (f"DROP SCHEMA IF EXISTS {NAME} CASCADE;", self.database)),
            *expire,
        ]
        gone = True
        for step, arguments in steps:
            try:
                step(*arguments)
            except (OSError, ProblemError) as problem:  # the others all the same
                print(f"not removed: {problem}", file=sys.stderr)
                gone = False
        return gone


def report(bench: Bench, seen: dict[str, list[float]], data: str) -> str:
    """Return what was seen as a table: medians, and ratios to the full backup of each round."""

    def cell(what: str, kind: str) -> str:
        values, full = seen[f"{what} {kind}"], seen[f"{what} full"]
        ratio = statistics.median(one / other for one, other in zip(values, full, strict=True))
        middle = statistics.median(values)
        text = size(middle) if what == "size" else f"{middle:.1f} s"
        return text if kind == "full" else f"{text} ({ratio:.2f})"

    lines = [
        f"{bench.rows:,} rows, {data} of data, {len(seen['make full'])} rounds, "
        f"{bench.jobs} processes, zstd {LEVEL}, repository {bench.setting('repo1-type', 'posix')}, "
        f"cipher {bench.setting('repo1-cipher-type', 'none')}; medians (ratio to the full one)",
        "",
        "| what | made in | takes | restored until it takes queries |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| {name} | {' | '.join(cell(what, kind) for what in ('make', 'size', 'load'))} |"
        for kind, name in KINDS.items()
    ]
    return "\n".join(lines)


def stop(number: int, frame: FrameType | None) -> None:
    """End at a signal as at an interrupt, so that what was made is removed."""
    raise KeyboardInterrupt


def main() -> int:
    """Run the rounds; return 1 when one failed, or something was left."""
    parser = argparse.ArgumentParser(description="Compare backups with pg_basebackup and pg_dump.")
    parser.add_argument("project")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--minutes", type=int, default=30, help="begin no round after these")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, stop)
    until = time.monotonic() + given.minutes * 60
    seen: dict[str, list[float]] = {}
    good = False
    try:
        host = Host(Config.read(f"/etc/slipway/{given.project}/data.json"))
        backups.require(host)
        with host.alone("repository", verb="bench", wait=60):
            bench = Bench(host, given.rows)
            # The data, two restores of it, its archives, and the WAL of all that.
            if host.free_bytes() < given.rows * 1500 + 2**30:
                raise ProblemError(f"the disk has {size(host.free_bytes())}: give fewer --rows")
            try:
                host.server().ask(FILL, bench.database, rows=str(given.rows))
                data = host.server().ask("SELECT sum(pg_database_size(oid)) FROM pg_database;")
                for number in range(given.rounds):
                    if time.monotonic() > until:
                        print(f"{given.minutes} minutes are over", file=sys.stderr)
                        break
                    bench.round(number, seen)
                    print(f"round {number + 1} of {given.rounds}", file=sys.stderr)
                print(report(bench, seen, size(int(data))))
                good = True
            finally:
                good = bench.end() and good
    except (ProblemError, OSError) as problem:
        print(f"backup.py: {problem}", file=sys.stderr)
    except KeyboardInterrupt:
        print("backup.py: interrupted", file=sys.stderr)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
