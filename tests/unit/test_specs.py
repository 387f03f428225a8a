"""The argument specs agree with the defaults, and the check that says so can fail."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.tools import specs

ROOT = Path(__file__).parents[2]
ROLES = sorted(path.name for path in (ROOT / "roles").glob("*/") if any(path.iterdir()))

OPTION = {"type": "int", "default": 80, "description": "Port that it listens on."}


def write_role(root: Path, options: dict[str, Any], defaults: dict[str, Any]) -> Path:
    """Write a role `web` that declares options and sets defaults."""
    role = root / "roles/web"
    (role / "meta").mkdir(parents=True, exist_ok=True)
    (role / "defaults").mkdir(exist_ok=True)
    spec = {"argument_specs": {"main": {"short_description": "A web server.", "options": options}}}
    (role / "meta/argument_specs.yml").write_text(yaml.safe_dump(spec))
    (role / "defaults/main.yml").write_text(yaml.safe_dump(defaults))
    return role


def problems(root: Path) -> list[str]:
    """Return what the check says about the roles in a directory."""
    return list(specs.check_specs(specs.read_roles(root)))


@pytest.mark.parametrize("role", ROLES)
def test_specs_agree_with_defaults(role: str) -> None:
    """Every input is declared, and its default is the one that is set."""
    assert list(specs.check_role(specs.read_role(ROOT / "roles" / role))) == []


def test_shared_variables_have_one_meaning() -> None:
    """A variable of the project has the same type and default in each role."""
    assert list(specs.check_shared(specs.read_roles(ROOT))) == []


def test_tables_are_current() -> None:
    """The roles' pages have the tables that the specs give, and the index the names."""
    assert list(specs.check_documents(ROOT, specs.read_roles(ROOT))) == []


def test_agreeing_role_passes(tmp_path: Path) -> None:
    """A role in order gives no complaint."""
    modes = {
        "type": "list",
        "elements": "str",
        "choices": ["a", "b"],
        "default": ["a", "b"],
        "description": "Modes of it.",
    }
    write_role(
        tmp_path,
        {"web_port": OPTION, "web_modes": modes},
        {"web_port": 80, "web_modes": ["a", "b"]},
    )
    assert problems(tmp_path) == []


@pytest.mark.parametrize(
    ("options", "defaults", "sentence"),
    [
        ({"web_port": OPTION}, {}, "defaults/main.yml lacks web_port"),
        ({}, {"web_port": 80}, "argument_specs.yml lacks web_port"),
        ({"web_port": OPTION}, {"web_port": 81}, "sets web_port to 81"),
        ({"web_port": OPTION}, {"web_port": "80"}, "sets web_port to '80'"),
        ({"port": OPTION}, {"port": 80}, "port must start with web_ or slipway_"),
        ({"web_port": {**OPTION, "type": None}}, {"web_port": 80}, "web_port has no type"),
        ({"web_port": {**OPTION, "type": "str"}}, {"web_port": 80}, "is not of its type str"),
        ({"web_port": {**OPTION, "choices": [1]}}, {"web_port": 80}, "none of its choices"),
        ({"web_port": {**OPTION, "description": "Port"}}, {"web_port": 80}, "one sentence"),
        ({"web_port": {**OPTION, "description": "A. Port."}}, {"web_port": 80}, "one sentence"),
        ({"web_port": {**OPTION, "required": True}}, {}, "must not have a default"),
        (
            {"web_port": {"type": "int", "required": True, "description": "Port."}},
            {"web_port": 80},
            "sets web_port, which",
        ),
        (
            {"web_port": {"type": "int", "description": "Port."}},
            {},
            "neither required nor has a default",
        ),
        (
            {"web_list": {"type": "list", "default": [], "description": "Things."}},
            {"web_list": []},
            "say in `elements` of what",
        ),
        (
            {
                "web_tls": {
                    "type": "dict",
                    "default": {},
                    "description": "Encryption.",
                    "options": {"key": {"type": "str"}},
                }
            },
            {"web_tls": {}},
            "the description of web_tls.key must be",
        ),
    ],
)
def test_broken_role_is_named(
    tmp_path: Path, options: dict[str, Any], defaults: dict[str, Any], sentence: str
) -> None:
    """What is wrong is one sentence that names the file and the variable."""
    write_role(tmp_path, options, defaults)
    found = problems(tmp_path)
    assert len(found) == 1
    assert sentence in found[0]
    assert found[0].startswith("roles/web/")


def test_role_without_specs_is_named(tmp_path: Path) -> None:
    """A role that declares nothing is an error, not nothing to check."""
    (tmp_path / "roles/web/tasks").mkdir(parents=True)
    assert "has no entry point main" in problems(tmp_path)[0]


def test_shared_variable_with_two_defaults_is_named(tmp_path: Path) -> None:
    """Two roles that see a shared variable differently are both named."""
    option = {"type": "str", "default": "a", "description": "Name of it."}
    role = write_role(tmp_path, {"slipway_name": option}, {"slipway_name": "a"})
    other = role.rename(role.with_name("cache"))
    write_role(tmp_path, {"slipway_name": {**option, "default": "b"}}, {"slipway_name": "b"})
    assert other.exists()
    assert "roles/web" in problems(tmp_path)[0]
    assert "roles/cache says 'a'" in problems(tmp_path)[0]


def test_broken_yaml_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file that is not YAML gives a sentence, not a traceback."""
    role = write_role(tmp_path, {"web_port": OPTION}, {"web_port": 80})
    (role / "defaults/main.yml").write_text("a: [")
    assert specs.main(["--root", str(tmp_path)]) == 1
    assert "defaults/main.yml is not YAML" in capsys.readouterr().err


def test_stale_table_is_named_and_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """--check fails until --write ran, and fails again once a default changed."""
    passed = {"type": "str", "required": True, "description": "Its name; the play passes it."}
    write_role(tmp_path, {"web_port": OPTION, "web_name": passed}, {"web_port": 80})
    index = tmp_path / "docs/variables.md"
    index.parent.mkdir()
    index.write_text(f"# Web\n\n{specs.BEGIN}\n{specs.END}\n\nThe end.\n")
    arguments = ["--root", str(tmp_path)]

    assert specs.main(["--check", *arguments]) == 1
    complaints = capsys.readouterr().err
    assert "docs/variables.md has a stale table" in complaints
    assert "roles/web/README.md does not exist" in complaints

    assert specs.main(["--write", *arguments]) == 0
    assert specs.main(["--check", *arguments]) == 0
    table = (tmp_path / "roles/web/README.md").read_text()
    assert "| `web_port` | `80` | Port that it listens on. |" in table
    assert "| `web_name` | required |" in table
    assert "A web server.\n\n`web_port`\n" in index.read_text(), "what the play passes is left out"
    assert index.read_text().endswith("The end.\n")

    write_role(tmp_path, {"web_port": {**OPTION, "default": 81}}, {"web_port": 81})
    assert specs.main(["--check", *arguments]) == 1


def test_document_without_a_place_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A document without the two markers is left alone and named."""
    write_role(tmp_path, {"web_port": OPTION}, {"web_port": 80})
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/variables.md").write_text("# Web\n")
    assert specs.main(["--write", "--root", str(tmp_path)]) == 1
    assert "docs/variables.md has no lines" in capsys.readouterr().err
    assert (tmp_path / "docs/variables.md").read_text() == "# Web\n"


def test_table_escapes_bars_and_shows_empty_values() -> None:
    """Jinja filters do not break the table, and an empty default can be seen."""
    text = specs.table(
        {
            "web_name": {"default": "{{ a | int }}", "description": "A name."},
            "web_text": {"default": "", "description": "A text.", "choices": ["", "b"]},
            "web_must": {"description": "A must."},
        }
    )
    assert "`{{ a \\| int }}`" in text
    assert '| `web_text` | `""` | A text. One of `""`, `b`. |' in text
    assert "| `web_must` | required |" in text
