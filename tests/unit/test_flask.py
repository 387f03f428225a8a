"""What the flask role says and decides, by its own tasks, variables and filters."""

from __future__ import annotations

import base64
import importlib
import os
from pathlib import Path
from typing import Any

import pytest

from tests.unit.rendering import ROLES, evaluate, load_tasks

releases = importlib.import_module("plugins.filter.flask_releases")

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


# Secrets

secrets = importlib.import_module("plugins.filter.flask_secrets")
KEYSTORE = bytes(range(256))
KEYSTORE_TEXT = base64.b64encode(KEYSTORE).decode()


def role(expression: str, **variables: Any) -> Any:
    """Evaluate an expression in the role, as on a host that made KEY and SECRET_KEY."""
    known = {
        "slipway_project": "shop", "slipway_config_dir": "/etc/slipway/shop",
        "slipway_back_network": "shop-back", "flask_engine": {"api_version": "1.41"},
        "__flask_release": B, "__flask_current": {"made": {"SECRET_KEY": "made-secret-key"}},
    }  # fmt: skip
    return evaluate("flask", expression, **{**known, **variables})


@pytest.mark.skipif(os.geteuid() != 0, reason="the secrets are root's")
def test_what_the_host_makes_is_made_once(tmp_path: Path) -> None:
    """Another one would end every session; a look alone makes nothing."""
    identity = importlib.import_module("plugins.modules.flask_identity")
    path = tmp_path / "made" / "SECRET_KEY"
    assert identity.once(path, 64, check=True) == (b"", True)
    assert not path.exists()
    made, new = identity.once(path, 64, check=False)
    assert new
    assert len(made) == 64
    assert path.stat().st_mode & 0o777 == 0o400
    assert identity.once(path, 64, check=False) == (made, False)
    assert identity.once(tmp_path / "made" / "OTHER", 64, check=False)[0] != made


def test_a_secret_of_ones_own_leaves_the_key_of_the_sessions() -> None:
    """Naming a token is no reason to end every session."""
    assert role("__flask_secrets", flask_secret_files={"TOKEN": "t"}) == {
        "files/SECRET_KEY": "made-secret-key",
        "files/TOKEN": "t",
    }
    environment = role("__flask_runtime.env", flask_secret_files={"TOKEN": "t"})
    assert environment == {
        "SECRET_KEY_FILE": "/run/secrets/app/files/SECRET_KEY",
        "TOKEN_FILE": "/run/secrets/app/files/TOKEN",
    }


def test_the_key_of_the_sessions_can_be_given_or_left_out() -> None:
    """By its own value, or by false."""
    given = role("__flask_secrets", flask_secret_files={"SECRET_KEY": "mine"})
    assert given == {"files/SECRET_KEY": "mine"}
    without = {"flask_secret_files": {"SECRET_KEY": False}, "__flask_current": {}}
    assert role("__flask_secrets", **without) == {}
    assert role("__flask_made", **without) == []
    assert role("__flask_runtime.env", **without) == {}


@pytest.mark.parametrize("empty", ["", None])
def test_the_host_makes_variables_as_it_makes_files(empty: str | None) -> None:
    """One value for both, however an application wants to have it."""
    given = {
        "flask_secret_env": {"KEY": empty, "SECRET_KEY": empty, "MINE": "m"},
        "flask_secret_files": {"KEY": empty},
        "__flask_current": {"made": {"KEY": "made-key", "SECRET_KEY": "made-secret-key"}},
    }
    assert role("__flask_made", **given) == ["KEY", "SECRET_KEY"]
    assert role("__flask_secrets", **given) == {
        "env/KEY": "made-key",
        "env/SECRET_KEY": "made-secret-key",
        "env/MINE": "m",
        "files/SECRET_KEY": "made-secret-key",
        "files/KEY": "made-key",
    }
    # A variable that is a secret is in no description of the container.
    assert "made" not in str(role("__flask_runtime", **given))


def test_a_secret_that_is_no_text_comes_in_base64() -> None:
    """With line breaks, as a tool prints it."""
    given = {"STORE": {"base64": KEYSTORE_TEXT[:76] + "\n" + KEYSTORE_TEXT[76:] + "\n"}}
    found = role("__flask_secrets", flask_secret_files=given)
    assert found["files/STORE"] == {"base64": KEYSTORE_TEXT}
    assert secrets.secret_problems({}, given) == []


def test_secrets_of_other_kinds_are_text() -> None:
    """A number is its digits, a boolean what flask_env makes of it."""
    found = role("__flask_secrets", flask_secret_env={"PIN": 1234, "ZERO": 0, "DEBUG": False})
    assert (found["env/PIN"], found["env/ZERO"], found["env/DEBUG"]) == ("1234", "0", "false")


@pytest.mark.parametrize(
    ("variables", "files", "complaint"),
    [
        ({}, {"A": {"base64": "no base64!"}}, "flask_secret_files.A is no base64"),
        ({}, {"A": {"text": "hidden"}}, "flask_secret_files.A must be text or {base64: ...}"),
        ({}, {"A": {}}, "flask_secret_files.A must be text or {base64: ...}"),
        (
            {},
            {"A": ["hidden"]},
            "flask_secret_files.A must be text or {base64: ...}, and is a list",
        ),
        ({}, {"A": True}, "flask_secret_files.A must be text, and is true"),
        ({"A": {"base64": "aGlkZGVu"}}, {}, "flask_secret_env.A is {base64: ...}, and a variable"),
        ({"A": "hid\0den"}, {}, "flask_secret_env.A has a character 0"),
        ({"A": "fine", "B": ""}, {"C": "", "SECRET_KEY": False}, ""),
    ],
)
def test_a_secret_in_no_form_is_refused(
    variables: dict[str, Any], files: dict[str, Any], complaint: str
) -> None:
    """By its name; what is in it is never said."""
    found = secrets.secret_problems(variables, files)
    assert len(found) == (1 if complaint else 0)
    assert complaint in "".join(found)
    if found:
        said = sentence(
            "validate.yml",
            "validate | Refuse secrets that are neither text nor base64",
            flask_secret_env=variables,
            flask_secret_files=files,
        )
        assert said == f"{found[0]}."
    assert not {"hidden", "aGlkZGVu"} & set("".join(found).replace(";", " ").split())


# Files at paths of the application's own choice

own_files = importlib.import_module("plugins.modules.flask_files")


def test_files_are_read_on_the_control_node(tmp_path: Path) -> None:
    """As text, in base64, or out of a file, which may be binary."""
    (tmp_path / "files").mkdir()
    (tmp_path / "files/app.ini").write_text("[app]\n")
    (tmp_path / "store").write_bytes(KEYSTORE)
    given = {
        "/etc/app.ini": {"source": "files/app.ini"},
        "/opt/store": {"source": str(tmp_path / "store")},
        "/opt/app/var/shop-instance/config.py": "DEBUG = False\n",
        "/srv/a": {"content": ""},
        "/srv/b": {"base64": KEYSTORE_TEXT[:76] + "\n" + KEYSTORE_TEXT[76:]},
        "/srv/instance/config.py": {"content": "täxt"},
    }
    assert own_files.files_of(given, tmp_path, ["/srv/instance"]) == {
        "/etc/app.ini": "[app]\n",
        "/opt/store": {"base64": KEYSTORE_TEXT},
        "/opt/app/var/shop-instance/config.py": "DEBUG = False\n",
        "/srv/a": "",
        "/srv/b": {"base64": KEYSTORE_TEXT},
        "/srv/instance/config.py": "täxt",
    }


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ({"etc/app.ini": "x"}, "'etc/app.ini', which is not absolute and plain"),
        ({"": "x"}, "'', which is not absolute and plain"),
        ({"/etc/../app.ini": "x"}, "which is not absolute and plain"),
        ({"/etc/app/": "x"}, "which is not absolute and plain"),
        ({"//etc/app": "x"}, "which is not absolute and plain"),
        ({"/etc/a\nb": "x"}, "which holds a control character"),
        ({"/": "x"}, "mount of Slipway's or of the engine's own"),
        ({"/run/secrets/app/files/KEY": "x"}, "where /run/secrets is a mount"),
        ({"/run/secrets": "x"}, "where /run/secrets is a mount"),
        ({"/run": "x"}, "is a mount of Slipway's"),
        ({"/run/slipway/x.sock": "x"}, "where /run/slipway is a mount"),
        ({"/var/run/postgresql/x": "x"}, "where /run/postgresql is a mount"),
        ({"/etc/slipway/uwsgi.ini": "x"}, "where /etc/slipway is a mount"),
        ({"/tmp/app.ini": "x"}, "where /tmp is a mount"),  # noqa: S108
        ({"/proc/self/environ": "x"}, "where /proc is a mount"),
        ({"/etc/hosts": "x"}, "where /etc/hosts is a mount"),
        ({"/srv/data": "x"}, "where flask_writable has the directory /srv/data/"),
        ({"/etc/a": "x", "/etc/a/b": "x"}, "'/etc/a', below which /etc/a/b is"),
        ({"/etc/a": {"source": "gone.ini"}}, "gone.ini, which does not exist on the control node"),
        ({"/etc/a": {"source": "directory"}}, "which is no file on the control node"),
        ({"/etc/a": {"source": "vaulted"}}, "which Ansible Vault encrypted"),
        ({"/etc/a": {"source": ""}}, "['/etc/a'].source must be text, and is empty"),
        ({"/etc/a": {"content": {"a": 1}}}, "['/etc/a'].content must be text, and is dict"),
        ({"/etc/a": {"content": "x", "source": "y"}}, "['/etc/a'] must be text, or exactly one of"),
        ({"/etc/a": {"src": "x"}}, "['/etc/a'] must be text, or exactly one of"),
        ({"/etc/a": None}, "['/etc/a'] must be text, or exactly one of"),
        ({"/etc/a": {"base64": "no base64!"}}, "['/etc/a'].base64 is no base64"),
        ({"/etc/a": "x" * (1024 * 1024 + 1)}, "has 1048577 bytes, and 1048576 is the limit"),
    ],
)
def test_a_file_that_cannot_be_is_refused(
    tmp_path: Path, given: dict[str, Any], complaint: str
) -> None:
    """In one sentence, which names the path."""
    (tmp_path / "directory").mkdir()
    (tmp_path / "vaulted").write_text("$ANSIBLE_VAULT;1.1;AES256\n6162\n")
    with pytest.raises(own_files.FilesError) as refused:
        own_files.files_of(given, tmp_path, ["/srv/data/"])
    assert complaint in str(refused.value)
    assert str(refused.value).startswith("flask_files")
    assert str(refused.value).endswith(".")


def test_each_release_has_files_of_its_own() -> None:
    """Read-only, for the migrations too, and another content is another release."""
    given = {
        "__flask_files_read": {"files": {"/etc/app.ini": "one"}},
        "__flask_uwsgi_ini": "[uwsgi]",
        "flask_secret_files": {},
    }
    mounts = role("__flask_mounts", **given)
    assert {
        "type": "bind",
        "source": f"/etc/slipway/shop/files/{B}/etc/app.ini",
        "target": "/etc/app.ini",
        "read_only": True,
    } in mounts
    tasks = load_tasks(ROLES / "flask/tasks/migrate.yml")
    migrate = next(task for task in tasks if "migrations in a container" in task["name"])
    assert migrate["community.docker.docker_container"]["mounts"] == "{{ __flask_mounts }}"
    name = next(
        one["ansible.builtin.set_fact"]["__flask_release"]
        for one in load_tasks(ROLES / "flask/tasks/identify.yml")
        if one["name"] == "identify | Derive the release from its content"
    )

    def release(content: str, uwsgi: str = "[uwsgi]") -> str:
        return str(
            role(
                "name",
                name=name,
                __flask_build_id="a",
                __flask_contents="{{ __flask_files }}",
                __flask_salt="s",
                __flask_files_read={"files": {"/etc/app.ini": content}},
                __flask_uwsgi_ini=uwsgi,
            )
        )

    assert release("one") == release("one") != release("two")
    assert release("one", "[uwsgi]\nprocesses = 3") != release("one")
