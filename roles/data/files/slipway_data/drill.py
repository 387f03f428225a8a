"""The drill: a backup is restored, and what comes out is compared with what was there."""

from __future__ import annotations

import json
import time
from typing import Any

from slipway_data import backups, fingerprint, restore, throwaway
from slipway_data.host import Host, ProblemError, call, clock, complaint_of, duration, replace


def drill(host: Host) -> list[str]:
    """Restore the newest backup up to a moment just now, and compare; raise ProblemError."""
    backups.require(host)
    began = time.time()
    outcome: dict[str, Any] = {"at": began, "time": clock(began), "passed": False}
    operation = host.journal.begin("drill")
    try:
        said = restore_and_compare(host, operation, outcome)
        outcome["passed"] = True
    except ProblemError as problem:
        outcome["said"] = str(problem)
        raise
    finally:
        outcome["seconds"] = round(time.time() - began, 1)
        if "said" in outcome:
            replace(host.config.own / "drill.json", json.dumps(outcome, indent=1) + "\n")
    host.journal.end()
    backups.note(host, outcome["backup"], drilled=clock())
    return said


def restore_and_compare(host: Host, operation: str, outcome: dict[str, Any]) -> list[str]:
    """Do the drill; raise ProblemError when anything is not as it should be."""
    config = host.config
    try:
        place, should = fingerprint.at_one_moment(host.server(), config.cluster["db"])
    except ProblemError as problem:
        raise ProblemError(backups.with_relations(host, str(problem))) from None
    backups.archive_now(host)
    label = restore.choose(host, restore.Target("lsn", place))[0]
    newest = next(one for one in backups.look(host).backups if one.label == label)
    outcome["backup"] = newest.label
    age = time.time() - newest.ended
    restore.room(host, newest.label)
    directory = f"{config.version}/{operation}"
    try:
        host.journal.stage("fetch")
        host.make_directory(directory)
        started = time.time()
        restore.fetch(host, newest.label, directory, restore.Target("lsn", place))
        fetched = time.time()
        host.journal.stage("recover")
        with throwaway.server(host, directory) as one:
            throwaway.wait_for(host, one, "SELECT pg_is_in_recovery();", "f", 24 * 3600)
            recovered = time.time()
            host.journal.stage("compare")
            # Before amcheck, which makes an extension.
            wrong = fingerprint.differences(should, fingerprint.of_server(one))
            compared = time.time()
            host.journal.stage("amcheck")
            check_structure(one.container, config.user)
    except ProblemError as problem:
        raise ProblemError(f"the drill of {newest.label} failed: {problem}") from None
    finally:
        host.remove_leftovers(operation)
        restore.discard(host, directory)
    if wrong:
        raise ProblemError(
            f"the drill of {newest.label} found other data than there was at {place}: {'; '.join(wrong[:5])}"
        )
    tables, rows = fingerprint.tables(should), fingerprint.rows(should)
    outcome.update(tables=tables, rows=rows, place=place)
    outcome["said"] = f"{newest.label}, {tables} tables, {rows} rows"
    return [
        f"The drill passed: {newest.label}, {duration(age)} old, and the WAL up to {place}.",
        f"{tables} tables with {rows} rows have the rows and checksums that they should have; amcheck found no fault.",
        f"{time.time() - started:.1f} s: restore {fetched - started:.1f}, recovery {recovered - fetched:.1f}, "
        f"comparison {compared - recovered:.1f}, amcheck {time.time() - compared:.1f}.",
    ]


def check_structure(container: str, user: str) -> None:
    """Hold tables and indexes to their structure with amcheck; raise ProblemError for a fault."""
    code, out, err = call(
        "docker", "exec", container, "pg_amcheck", "--host=/tmp", f"--username={user}", "--all",
        "--install-missing", "--heapallindexed", "--jobs=1",
    )  # fmt: skip
    if code:
        raise ProblemError(f"amcheck found a fault: {complaint_of(out + err)}")
