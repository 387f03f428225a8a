"""What the flask role says and decides, by its own tasks, variables and filters."""

from __future__ import annotations

import importlib
from typing import Any

import pytest

from tests.unit.rendering import ROLES, evaluate, load_tasks

releases = importlib.import_module("roles.flask.filter_plugins.flask_releases")

A, B = "a" * 12, "b" * 12


def sentence(file: str, task: str, **variables: Any) -> str:
    """Return the sentence with which a task of the role fails."""
    found = next(one for one in load_tasks(ROLES / "flask/tasks" / file) if one["name"] == task)
    action = found.get("ansible.builtin.fail") or found["ansible.builtin.assert"]
    text = action.get("msg") or action["fail_msg"]
    known = {"slipway_project": "shop", "__flask_release": B, **found.get("vars", {}), **variables}
    return str(evaluate("flask", "said", said=text, **known))


# What a failed stage says

SERVES = {"content": "eyJyZWxlYXNlIjogImFhYWFhYWFhYWFhYSJ9"}  # {"release": "aaaaaaaaaaaa"}
SPEC = {
    "release": B, "health_path": "/healthz", "health_host": "shop.example", "health_timeout": 9,
}  # fmt: skip
TRACEBACK = """\
Applying 0007 to the database
Traceback (most recent call last):
  File "migrate.py", line 7, in <module>
    main()
psycopg.errors.UndefinedTable: relation "cats" does not exist
LINE 1: SELECT 1 FROM cats

The above exception was the direct cause of the following exception:

Traceback (most recent call last):
  File "migrate.py", line 9, in <module>
sqlalchemy.exc.ProgrammingError: (psycopg.errors.UndefinedTable) relation "cats" does not exist
[SQL: SELECT 1 FROM cats]
(Background on this error at: https://sqlalche.me/e/20/f405)
"""


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (TRACEBACK, "sqlalchemy.exc.ProgrammingError: (psycopg.errors.UndefinedTable) relation"),
        (TRACEBACK.partition("\nThe above")[0], "psycopg.errors.UndefinedTable: relation"),
        ("INFO one\nFAILED: Can't locate revision '7'\n\n", "FAILED: Can't locate revision '7'"),
        ("", "no output"),
    ],
)
def test_failed_migrations_say_the_line_that_matters(said: str, reason: str) -> None:
    """Not the beginning of a traceback, and not the advice at its end."""
    text = sentence(
        "migrate.yml",
        "migrate | Say why the migrations failed",
        flask_migrate_command="flask db upgrade",
        ansible_failed_result={"msg": said},
        __flask_current={},
    )
    assert f"(`flask db upgrade`) failed: {reason}" in text
    assert "Traceback" not in text


@pytest.mark.parametrize(
    ("current", "end"),
    [({}, "no release serves yet"), (SERVES, "the release that served before serves on")],
)
@pytest.mark.parametrize(
    ("file", "task"),
    [
        ("build.yml", "build | Say why the image could not be built"),
        ("migrate.yml", "migrate | Say why the migrations failed"),
        ("start.yml", "start | Say why the release does not serve"),
    ],
)
def test_a_failed_stage_says_what_serves(
    file: str, task: str, current: dict[str, str], end: str
) -> None:
    """On a first deploy nothing does."""
    text = sentence(
        file,
        task,
        __flask_current=current,
        __flask_spec=SPEC,
        __flask_sdist={"name": "shop", "version": "1.0"},
        __flask_ready={},
        ansible_failed_result={"msg": "no"},
    )
    assert end in text.lower()
    assert ("served before" in text) == ("served before" in end)


def test_a_health_check_that_fails_names_all_that_decides_it() -> None:
    """Whoever has a slow application has to find the variable that is about that."""
    text = sentence(
        "start.yml",
        "start | Say why the release does not serve",
        __flask_current={},
        __flask_spec=SPEC,
        __flask_ready={"reason": "/healthz answered 400"},
    )
    for name in (
        "flask_module", "flask_env", "flask_health_path (/healthz)",
        "flask_health_host (shop.example)", "flask_health_timeout",
    ):  # fmt: skip
        assert name in text


# The stage that failed


@pytest.mark.parametrize(
    ("over", "migrates", "failed"),
    [
        (["start"], True, "prepare"),
        (["start", "prepare"], True, "build"),
        (["start", "prepare", "build"], True, "migrate"),
        (["start", "prepare", "build"], False, "static"),
        (["start", "prepare", "build", "migrate"], True, "static"),
        (["start", "prepare", "build", "static", "start container"], False, "health"),
        (["rollback"], True, "choose"),
        (["rollback", "choose"], True, "start container"),
        (["rollback", "choose", "static"], True, "start container"),
        (["start", "prepare", "build", "static", "start container", "health"], False, "switch"),
        # Where the front has to be told before anything serves.
        (["prepare", "build", "static", "start container", "health", "switch"], False, "front"),
    ],
)
def test_the_stage_that_failed_is_the_one_after_the_last(
    over: list[str], migrates: bool, failed: str
) -> None:
    """The ledger says where it failed, not what went well before that."""
    clock = [[name, number] for number, name in enumerate(over)]
    assert releases.stage_after(clock, migrates) == failed


def test_each_stage_of_the_clock_has_one_after_it() -> None:
    """A stage with a new name would be taken for the one that failed."""
    names = {
        name
        for path in (ROLES / "flask/tasks").glob("*.yml")
        for task in load_tasks(path)
        for name in _noted(task)
    }
    # In the end it serves.
    assert names - {"drain", "stop"} == set(releases.NEXT)


def _noted(task: dict[str, Any]) -> list[str]:
    """Return the stages that a task notes on the clock."""
    clock = task.get("ansible.builtin.set_fact", {}).get("__flask_clock", "")
    if isinstance(clock, list):
        return [pair[0] for pair in clock]
    return [part.split("'")[0] for part in clock.split("['")[1:]]
