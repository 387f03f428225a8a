"""How the README is read and held to what happens."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.start import readme
from tests.start.readme import ReadmeError

ROOT = Path(__file__).parents[2]
SEEN = """[1] preflight
                                                                ok                    5.8 s
[2] flask: sdist                                             ok                    0.8 s
[3] docker
      install | Install the engine's packages                   changed              21.0 s
                                                                5 changed            24.2 s
[4] nginx
      configure | Make the front network                        changed               1.5 s
                                                                4 changed            20.2 s

Done in 1 min 09 s
  URL      http://127.0.0.1:8080
  Release  1ee5eefa8342 (example 1.0.0)
  Stages   prepare 3.1, build 46.5; from image to old release stopped 6.0 s
  Changed  31 tasks: postgres 8, flask 17, nginx 6

localhost                  : ok=114  changed=31   unreachable=0    failed=0
"""


def test_the_blocks_of_the_readme_are_all_there() -> None:
    """The walk takes its commands from them."""
    found = readme.blocks((ROOT / "README.md").read_text())
    names = {"first", "deploy", "api", "copy", "inventory", "application", "plain", "status"}
    names |= {"destroy"}
    assert set(found) == names
    assert readme.commands(found["first"])[0] == "./slipway deploy"
    assert len(readme.examples(found["api"])) == 7


def test_a_block_is_replaced_and_the_rest_stays(tmp_path: Path) -> None:
    """Also where the new text has what a regular expression would take for its own."""
    file = tmp_path / "README.md"
    text = "a\n<!-- start: one -->\n```sh\nold\n```\nb\n<!-- start: two -->\n```\nother\n```\n"
    file.write_text(text)
    readme.replace(file, "one", r"\1 new")
    assert file.read_text() == text.replace("old", r"\1 new")
    with pytest.raises(ReadmeError, match="no block"):
        readme.replace(file, "three", "x")
    with pytest.raises(ReadmeError, match="two blocks"):
        readme.blocks(text.replace("two", "one"))


def test_examples_have_their_answers() -> None:
    """Every line below a command is its answer, until the next one."""
    assert readme.examples("$ a -b\n1\n2\n$ c\n") == [
        readme.Example("a -b", "1\n2\n"),
        readme.Example("c", ""),
    ]
    with pytest.raises(ReadmeError, match="begins with an answer"):
        readme.examples("1\n$ a\n")


def test_progress_is_the_steps_and_the_summary() -> None:
    """Tasks are left out."""
    lines = readme.progress(SEEN).splitlines()
    assert [line.split()[0] for line in lines[:4]] == ["[1]", "[2]", "[3]", "[4]"]
    assert lines[0].endswith("ok                    5.8 s")
    assert lines[3].endswith("4 changed            20.2 s")
    assert "Make the front network" not in "\n".join(lines)
    assert lines[4:6] == ["", "Done in 1 min 09 s"]
    assert lines[-1].startswith("localhost")


def test_a_message_stands_alone() -> None:
    """Which tasks are slow enough to be named depends on the machine."""
    output = (
        "[1] status\n"
        f"{'      look | Ask the engine for its version':<64}ok                    4.1 s\n"
        "Project  example\n\n"
        "CONTAINER      STATE\n"
        "example-nginx  running\n"
        f"{'':<64}ok                   29.2 s\n"
        "\nDone in 29.5 s\n  Changed  nothing\n"
    )
    assert (
        readme.message(output)
        == "Project  example\n\nCONTAINER      STATE\nexample-nginx  running\n"
    )


def test_times_counts_and_names_may_differ() -> None:
    """A release's name is derived from content, and a machine is as fast as it is."""
    other = (
        SEEN.replace("1 min 09 s", "58.3 s")
        .replace("1ee5eefa8342", "aaaaaaaaaaaa")
        .replace("5 changed            24.2 s", "ok                    1.0 s")
        .replace("31 tasks: postgres 8, flask 17, nginx 6", "50 tasks: docker 5, flask 45")
        .replace("changed=31", "changed=50")
    )
    readme.compare("deploy", readme.progress(SEEN), readme.progress(other))


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("4 changed            20.2 s", "ok                   20.2 s", "- step nginx changed"),
        ("  URL      http", "  Address  http", "- URL http://127.0.0.1:8080"),
        ("flask: sdist", "flask: archive", "+ step flask: archive"),
        ("Done in", "FAILED  nginx: no. Done in", "FAILED nginx"),
    ],
)
def test_another_shape_is_refused(old: str, new: str, told: str) -> None:
    """A step that is new, gone, or changes nothing any more; another line of the summary."""
    assert old in SEEN
    with pytest.raises(ReadmeError) as refused:
        readme.compare("deploy", readme.progress(SEEN), readme.progress(SEEN.replace(old, new)))
    assert told in str(refused.value)
