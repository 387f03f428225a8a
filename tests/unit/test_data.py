"""The program that works on the data: times, names, differences, the journal, the lock, status."""

from __future__ import annotations

import importlib
import json
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

ROLES = Path(__file__).parents[2] / "roles"
sys.path.insert(0, str(ROLES / "data/files"))
host = importlib.import_module("slipway_data.host")
backups = importlib.import_module("slipway_data.backups")
fingerprint = importlib.import_module("slipway_data.fingerprint")
restore = importlib.import_module("slipway_data.restore")
dumps = importlib.import_module("slipway_data.dumps")
main = importlib.import_module("slipway_data.__main__")
status = importlib.import_module("plugins.filter.status")


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ("2026-11-22 10:31:00+00", "2026-11-22 10:31:00.000000+00"),
        ("2026-11-22 12:31:00+02", "2026-11-22 10:31:00.000000+00"),
        ("2026-11-22T10:31:00.5Z", "2026-11-22 10:31:00.500000+00"),
        ("2026-11-22 10:31:00.5+00", "2026-11-22 10:31:00.500000+00"),
        ("2026-11-22T10:31:00.1234567Z", "2026-11-22 10:31:00.123456+00"),
        ("2026-11-22 12:31:00.12+0200", "2026-11-22 10:31:00.120000+00"),
        ("2026-11-22 04:31:00,25-06:00", "2026-11-22 10:31:00.250000+00"),
        ("2026-11-22", "2026-11-22 00:00:00.000000+00"),
        ("2026-11-22 10:31", "2026-11-22 10:31:00.000000+00"),
    ],
)
def test_a_time_is_read_with_its_zone(given: str, read: str) -> None:
    """A time without a zone is UTC."""
    assert restore.moment(given) == read


@pytest.mark.parametrize(
    "given",
    [
        "yesterday",
        "10:31",
        "2999-01-01 00:00:00+00",
        "",
        "2026-02-30 10:31",
        "2026-11-22 10:31.5",
        "2026-11-22 25:00",
        "2026-11-22 10:31:00+99",
    ],
)
def test_what_is_no_time_is_refused(given: str) -> None:
    """So is a time that is still to come."""
    with pytest.raises(host.ProblemError, match="to_time is"):
        restore.moment(given)


def test_places_in_the_wal_are_ordered_as_numbers() -> None:
    """Their text is not."""
    assert restore.place_of("0/A000000") < restore.place_of("0/10000000") < restore.place_of("1/0")


def test_differences_are_told_by_table() -> None:
    """Rows, checksums, what is missing and what is new."""
    should = {"app": {"tables": {"a": [1, "5"], "b": [2, "6"], "c": [3, "7"]}}}
    has = {"app": {"tables": {"a": [1, "5"], "b": [1, "6"], "d": [3, "7"]}}, "other": {}}
    assert fingerprint.differences(should, should) == []
    assert fingerprint.differences(should, has) == [
        "app: table b has 1 rows instead of 2",
        "app: table c is missing",
        "app: table d is new",
        "the database other is new",
    ]
    has["app"]["tables"]["b"] = [2, "9"]
    assert "app: table b has 2 rows with another checksum" in fingerprint.differences(should, has)


def test_names_are_swapped_in_one_step(tmp_path: Path) -> None:
    """Both directories are there afterwards, the other way round."""
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "was").write_text(name)
    host.exchange(tmp_path / "one", tmp_path / "other")
    assert (tmp_path / "one" / "was").read_text() == "other"
    assert (tmp_path / "other" / "was").read_text() == "one"


def test_the_journal_outlives_its_operation(tmp_path: Path) -> None:
    """What a killed operation was at is there for the next one."""
    journal = host.Journal(tmp_path / "operation.json")
    assert journal.read() == {}
    name = journal.begin("restore", into="")
    journal.stage("take over", kept="/somewhere")
    left = host.Journal(tmp_path / "operation.json").read()
    assert (left["id"], left["stage"], left["kept"]) == (name, "take over", "/somewhere")
    journal.end()
    assert journal.read() == {}


def info(**status: Any) -> str:
    """Return what pgBackRest says of a repository with two backups of two clusters."""

    def one(label: str, database: int, stop: int) -> dict[str, Any]:
        return {
            "label": label, "type": "full", "timestamp": {"start": stop - 5, "stop": stop},
            "info": {"size": 100, "repository": {"delta": 10}}, "error": False,
            "archive": {"start": "000000010000000000000002", "stop": "000000010000000000000003"},
            "lsn": {"start": "0/2000028", "stop": "0/3000050"}, "database": {"id": database},
        }  # fmt: skip

    return json.dumps([{
        "status": {"code": 0, "message": "ok"} | status,
        "db": [
            {"id": 1, "system-id": 5, "version": "15"},
            {"id": 2, "system-id": 6, "version": "17"},
        ],
        "archive": [
            {"database": {"id": 1}, "max": "000000010000000000000009"},
            {"database": {"id": 2}, "max": "000000010000000000000004"},
        ],
        "backup": [one("old", 1, 1000), one("new", 2, 2000)],
    }])  # fmt: skip


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a host whose pgBackRest answers as `info`."""
    config = host.Config(
        project="example", host="here", config_dir=tmp_path, state_dir=tmp_path, container="c",
        back_network="n", volume="v", image="i", version="17", memory_mb=256, start_timeout=1,
        stop_timeout=1, backup={"enabled": True}, cluster={"user": "u", "db": "d", "version": "17"},
    )  # fmt: skip
    made = host.Host(config)
    monkeypatch.setattr(made, "container_state", lambda name="": "running")
    monkeypatch.setattr(backups, "pgbackrest", lambda *args, **options: info())
    return made


def test_backups_of_an_older_cluster_are_not_restored(project: Any) -> None:
    """They stay in the repository after a major upgrade."""
    assert [one.label for one in backups.usable(backups.look(project))] == ["new"]
    assert backups.look(project).wal_last == "000000010000000000000004"


def test_a_time_before_the_oldest_backup_is_refused(project: Any) -> None:
    """The sentence says from when on."""
    with pytest.raises(host.ProblemError, match="oldest backup ended at 1970-01-01 00:33:20"):
        restore.choose(project, restore.Target("time", "1970-01-01 00:10:00.000000+00"))
    assert restore.choose(project, restore.Target("latest")) == ["new"]


def test_a_repository_that_cannot_be_read_is_no_empty_one(
    project: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its message may have line breaks in it."""
    broken = info(code=99, message="other\nHINT: key").replace("\\n", "\n")
    monkeypatch.setattr(backups, "pgbackrest", lambda *args, **options: broken)
    with pytest.raises(host.ProblemError, match="cannot be read: other HINT: key"):
        backups.look(project)


ANSWER = """HTTP request failed with 403 (Forbidden):
*** Path/Query ***:
GET /bucket
*** Response Content ***:
<Error><Code>SignatureDoesNotMatch</Code><Message>Check your key.</Message></Error>"""
UNREACHED = """[HostConnectError] unable to connect: [111] refused
    [HostConnectError] on 12 retries from 100-60013ms: unable to connect: [111] refused
    [HostConnectError] on retry at 360520ms: unable to connect: [111] refused"""


@pytest.mark.parametrize(
    ("message", "told"),
    [
        (ANSWER, "HTTP request failed with 403 (Forbidden): Check your key."),
        (UNREACHED, UNREACHED.splitlines()[0]),
    ],
)
def test_a_server_elsewhere_is_quoted_in_one_sentence(message: str, told: str) -> None:
    """With its reason, without what was sent to it, and how often."""
    assert backups.short(message) == told
    said = backups.complaint(f"2026-11-22 10:31:00.000 P00  ERROR: [039]: {message}\n")
    assert said == f"[039]: {told}"


def test_what_the_archiver_complains_of_has_the_reason_of_the_server(
    project: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That of its last complaint."""
    log = "".join(
        f"P00  ERROR: [039]: {ANSWER}\n".replace("your", whose) for whose in ("a", "your")
    )
    monkeypatch.setattr(backups, "call", lambda *args, **options: (0, "", log))
    told = "[039]: HTTP request failed with 403 (Forbidden): Check your key."
    assert backups.archiver_complaint(project) == told


def test_a_repository_that_cannot_be_read_is_not_made_anew(
    project: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is told at once."""
    status = {"code": 99, "message": ANSWER}
    answer = json.dumps(
        [{"status": {"code": 99, "message": "other"}, "repo": [{"status": status}]}]
    )
    monkeypatch.setattr(backups, "call", lambda *args, **options: (0, answer, ""))
    monkeypatch.setattr(
        backups, "pgbackrest", lambda *args, **options: pytest.fail("it tried to make one")
    )
    with pytest.raises(host.ProblemError, match=r"cannot be read: HTTP .* Check your key\."):
        backups.prepare(project)


def test_a_dump_is_known_by_its_first_bytes(tmp_path: Path) -> None:
    """Not by its name."""
    for name, text, kind in (
        ("a", "PGDMP\1\2", "custom"),
        ("b", "--\n-- PostgreSQL database dump\n--\n", "sql"),
    ):
        (tmp_path / name).write_text(text)
        assert dumps.kind_of(tmp_path / name) == kind
    (tmp_path / "c").write_text("hello")
    with pytest.raises(host.ProblemError, match="is no dump"):
        dumps.kind_of(tmp_path / "c")


def test_what_goes_wrong_is_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A missing configuration, and a verb that takes no such option."""
    for arguments, said in (
        ([str(tmp_path / "none.json"), "backups"], "./slipway deploy` writes it"),
        (["x", "backup", "--kind=other"], "invalid choice: 'other'"),
    ):
        monkeypatch.setattr(sys, "argv", ["slipway_data", *arguments])
        assert main.main() == 1
        captured = capsys.readouterr()
        assert said in captured.err
        assert captured.err.count("\n") == 1


def test_status_fails_for_backups_that_are_not_well() -> None:
    """And says nothing of them where there are none."""
    told = json.dumps({"lines": ["x, full, 3 h old"], "problems": ["WAL archiving is behind"]})
    report = status.status_of({"program": {"rc": 0, "stdout": told}}, "example", [])
    assert report["problems"] == ["WAL archiving is behind"]
    assert "Backups  x, full, 3 h old" in status.status_table(report)
    assert status.status_of({}, "example", [])["problems"] == []


@pytest.mark.parametrize(
    ("program", "why"),
    [
        ({"rc": 1, "stderr": "x\n/etc/slipway/x/data.json is damaged\n"}, "data.json is damaged"),
        ({"rc": 1, "stderr": "/usr/bin/python3: No module named slipway_data"}, "No module named"),
        ({"msg": "Unable to change directory before execution: [Errno 2]"}, "change directory"),
        ({"rc": 0, "stdout": ""}, "makes no sense"),
        ({"rc": 0, "stdout": '{"lines": []}'}, "makes no sense"),
        ({"rc": -9, "stderr": ""}, "it said nothing"),
    ],
)
def test_status_fails_where_its_program_does(program: dict[str, Any], why: str) -> None:
    """What it would have found is not known, and monitoring must not stay green."""
    problems = status.status_of({"program": program}, "example", [])["problems"]
    assert len(problems) == 1
    assert why in problems[0]
    assert "`./slipway deploy`" in problems[0]


def test_status_fails_for_notes_that_are_damaged() -> None:
    """The release that serves, and what came of asking the CA."""
    for text in ("{", "[]"):
        assert "is damaged" in status.status_of({"release": text}, "example", [])["problems"][0]
        _, problems = status.tls_of({"name": "x"}, text, datetime.now().astimezone())
        assert "is damaged" in problems[0]


def test_what_health_goes_by_is_not_damaged(
    project: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """A note that cannot be read is told, not taken for none: a failure could stand in it."""
    project.config.backup = {}
    project.config.own.mkdir()
    assert main.look(project, "health")["problems"] == []
    (project.config.own / "failed.json").write_text('{"backup": ')
    (project.config.config_dir / "postgres.json").write_text("")
    told = main.look(project, "health")["problems"]
    assert [text.split(" is damaged")[0] for text in told] == [
        str(project.config.config_dir / "postgres.json"), str(project.config.own / "failed.json"),
    ]  # fmt: skip


def test_a_moment_that_a_restore_left_is_on_its_own_timeline(project: Any) -> None:
    """At 3000 somebody went back to 1500, and left what was written in between on timeline 4."""
    restore.remember_branch(project, 1500, 3000, "4")
    assert restore.branch_of(project, 2500)["timeline"] == "4"
    assert restore.branch_of(project, 1400) is None
    assert restore.branch_of(project, 3100) is None
    # The backup that ended at 2000 is no way to the newest state any more.
    with pytest.raises(host.ProblemError, match="no backup was made since the last restore"):
        restore.choose(project, restore.Target("latest"))
    at = restore.Target("time", "1970-01-01 00:40:00.000000+00")
    assert restore.choose(project, at) == ["new"]


def test_the_archive_reaches_into_its_last_segment(project: Any) -> None:
    """Whoever has replayed only the one before has not reached it."""
    place = restore.end_of_archive(project)
    assert restore.place_of("0/4000000") < restore.place_of(place) < restore.place_of("0/4000100")


@pytest.mark.parametrize(
    "line", ["\\connect other", "\\c other", "DROP DATABASE example;", "create database x;"]
)
def test_sql_for_another_database_is_refused(tmp_path: Path, line: str) -> None:
    """The same words among the rows of a table are rows."""
    path = tmp_path / "a.sql"
    path.write_text(f"COPY public.a (b) FROM stdin;\n{line}\n\\.\n")
    dumps.elsewhere(path)
    path.write_text(f"SET x = 1;\n{line}\n")
    with pytest.raises(host.ProblemError, match="works on databases by name"):
        dumps.elsewhere(path)


def test_a_foreign_repository_is_not_taken_over(
    project: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its backups may be all that is left of another database."""
    project.config.backup["where"] = ["s3", "bucket"]
    monkeypatch.setattr(backups, "call", lambda *args, **options: (0, info(), ""))
    server = type("Server", (), {"ask": lambda self, sql: "7"})()
    monkeypatch.setattr(project, "server", lambda: server)
    with pytest.raises(host.ProblemError, match="holds those of another database"):
        backups.prepare(project)


def damaged(label: str) -> str:
    """Return what pgBackRest says when the newest backup has damaged pages."""
    told = json.loads(info())
    told[0]["backup"].append(
        told[0]["backup"][1] | {"label": label, "error": True, "error-list": ["base/5/16390.1"]}
    )
    return json.dumps(told)


def test_a_damaged_file_is_told_by_its_table(project: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Forks and gigabytes are of the same table; what the database does not know stays a path."""
    asked: list[dict[str, str]] = []

    def ask(self: Any, sql: str, database: str = "postgres", **given: str) -> str:
        asked.append({"database": database, **given})
        if "datname" in sql:
            return "example"
        return "" if given["file"] == "7" else "index a_pkey of table a"

    monkeypatch.setattr(project, "server", lambda: type("Server", (), {"ask": ask})())
    assert backups.with_relations(
        project,
        "block 3 of relation base/5/16390_fsm, base/5/7, pg_tblspc/9/PG_17_1/5/8.2; global/6",
    ) == (
        "block 3 of relation base/5/16390_fsm (index a_pkey of table a of example), base/5/7, "
        "pg_tblspc/9/PG_17_1/5/8.2 (index a_pkey of table a of example); "
        "global/6 (index a_pkey of table a of postgres)"
    )
    assert [one["space"] for one in asked if "space" in one] == ["1663", "1663", "9", "1664"]


def test_a_damaged_backup_is_no_good_one(project: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told by status, is restored only by its name, and pushes out no older one."""
    calls: list[tuple[str, ...]] = []

    def pgbackrest(host: Any, *arguments: str, **options: Any) -> str:
        calls.append(arguments)
        return damaged("broken")

    monkeypatch.setattr(backups, "pgbackrest", pgbackrest)
    monkeypatch.setattr(backups, "archiving", lambda host, repository: [])
    monkeypatch.setattr(
        backups, "with_relations", lambda host, text: text.replace("/16390.1", "/A")
    )
    project.config.backup |= {"full_days": 7, "max_age_hours": 30, "drill_max_age_hours": 0}
    with pytest.raises(host.ProblemError, match=r"broken was made, and found .*: base/5/A"):
        backups.backup(project)
    assert ("--type=full", "--no-expire-auto", "backup") in calls
    assert ("expire",) not in calls
    problems = backups.health(project)["problems"]
    assert any("the newest backup, broken, found damaged pages" in one for one in problems)
    assert restore.choose(project, restore.Target("latest")) == ["new"]
    assert restore.choose(project, restore.Target("latest", backup="broken")) == ["broken"]


def test_only_a_damaged_backup_may_have_tables_that_cannot_be_read(
    project: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be the last one that there is."""

    def read_all(one: Any) -> tuple[int, int]:
        raise host.ProblemError("invalid page")

    monkeypatch.setattr(backups, "pgbackrest", lambda *args, **options: damaged("broken"))
    monkeypatch.setattr(restore, "read_all", read_all)
    assert "damaged as the backup is" in restore.what_was_read(project, None, "broken")
    with pytest.raises(host.ProblemError, match="invalid page"):
        restore.what_was_read(project, None, "new")


def test_a_backup_that_waits_for_wal_says_why(
    project: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reason stands in the log of Postgres, not in that of the backup."""

    def pgbackrest(host: Any, *arguments: str, **options: Any) -> str:
        if "backup" in arguments:
            raise backups.ProblemError("WAL segment 5 was not archived before the 60000ms timeout")
        return info()

    project.config.backup |= {"full_days": 7}
    monkeypatch.setattr(backups, "pgbackrest", pgbackrest)
    monkeypatch.setattr(backups, "archiver_complaint", lambda host: "No space left on device")
    with pytest.raises(host.ProblemError, match=r"timeout: No space left on device"):
        backups.backup(project)
