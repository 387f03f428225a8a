"""What ./slipway does before Ansible runs: with tools that only say how they were called."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PLAYBOOKS = sorted(path.stem for path in (ROOT / "playbooks").glob("*.yml"))

# Says how it was called, and ends as the test wants.
ECHO = """#!/bin/sh
printf 'program=%s\\n' "$(basename "$0")"
printf 'config=%s\\n' "${ANSIBLE_CONFIG-}"
printf 'argument=%s\\n' "$@"
if [ "${SLIPWAY_CONSOLE-}" ]; then printf "${FAKE_WORDS-true\\0}" >"$SLIPWAY_CONSOLE"; fi
exit "${FAKE_EXIT:-0}"
"""

# A Python that makes environments and installs in no time, from nowhere.
PYTHON = """#!/bin/sh
case "$1 $2" in
"-c "*) exit 0 ;;
"-m venv")
  mkdir -p "$3/bin"
  cp "$0" "$3/bin/python"
  cp "$FAKE_TOOL" "$3/bin/ansible-playbook"
  ;;
"-m pip")
  echo "pip $*" >> "$FAKE_LOG"
  echo "ERROR: no matching distribution" >&2
  exit "${FAKE_PIP:-0}"
  ;;
*) exec "$FAKE_TOOL" "$@" ;;
esac
"""


def program(path: Path, text: str) -> Path:
    """Write an executable file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


class Launcher:
    """The launcher, with a tool environment of echoes and, if wanted, a user who is not root."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.script = ROOT / "slipway"
        self.venv = directory / "venv"
        self.path = directory / "path"
        self.settings = {"SLIPWAY_VENV": str(self.venv)}
        for name in ("ansible-playbook", "python"):
            program(self.venv / "bin" / name, ECHO)
        self.user(0)

    def user(self, uid: int, sudo: int = 1) -> None:
        """Be this user; sudo without a password ends with the given code."""
        program(self.path / "id", f"#!/bin/sh\necho {uid}\n")
        program(self.path / "sudo", f"#!/bin/sh\nexit {sudo}\n")

    def run(self, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
        """Run the launcher in a directory that is not the project's."""
        return subprocess.run(
            [self.script, *arguments],
            cwd=self.directory,
            env={
                "PATH": f"{self.path}:{os.environ['PATH']}",
                "HOME": str(self.directory),
                **self.settings,
                **settings,
            },
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
        )

    def arguments(self, *arguments: str, **settings: str) -> list[str]:
        """Return what ansible-playbook is called with."""
        done = self.run(*arguments, **settings)
        assert done.returncode == 0, done.stderr
        lines = done.stdout.splitlines()
        assert lines[0] == "program=ansible-playbook"
        return [line.removeprefix("argument=") for line in lines[2:]]


@pytest.fixture
def launcher(tmp_path: Path) -> Launcher:
    """Return the launcher with a fake tool environment."""
    return Launcher(tmp_path)


@pytest.mark.parametrize("arguments", [[], ["help"], ["-h"], ["--help"]])
def test_help_lists_the_verbs(launcher: Launcher, arguments: list[str]) -> None:
    """Help needs no tools, and every playbook has a line that says what it does."""
    shutil.rmtree(launcher.venv)
    done = launcher.run(*arguments)
    assert done.returncode == 0
    assert done.stdout.startswith("usage: ./slipway VERB")
    for verb in ["deploy" if name == "site" else name for name in PLAYBOOKS] + ["test", "help"]:
        line = next(line for line in done.stdout.splitlines() if line.split()[:1] == [verb])
        assert len(line.split()) > 2


@pytest.mark.parametrize("verb", ["deplyo", "../site", "playbooks/site", "-v"])
def test_an_unknown_verb_is_one_sentence(launcher: Launcher, verb: str) -> None:
    """It names the verb and the way to the right one."""
    done = launcher.run(verb)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"slipway: there is no verb '{verb}': ./slipway help lists them.\n"


def test_deploy_runs_the_site_on_this_machine(launcher: Launcher) -> None:
    """From any directory, with the project's configuration and the options as they are."""
    given = ["--check", "-e", "a=b c", "--diff"]
    inventory = str(ROOT / "inventories/local")
    assert launcher.arguments("deploy", *given) == [
        "-i",
        inventory,
        str(ROOT / "playbooks/site.yml"),
        *given,
    ]
    assert f"config={ROOT / 'ansible.cfg'}\n" in launcher.run("deploy").stdout
    assert "config=/mine.cfg\n" in launcher.run("deploy", ANSIBLE_CONFIG="/mine.cfg").stdout


@pytest.mark.parametrize("name", PLAYBOOKS)
def test_a_verb_is_a_playbook(launcher: Launcher, name: str) -> None:
    """Each file in playbooks/ is a verb."""
    assert str(ROOT / f"playbooks/{name}.yml") in launcher.arguments(name)


@pytest.mark.parametrize("how", [["-i", "hosts"], ["--inventory", "hosts"], ["--inventory=hosts"]])
def test_an_inventory_is_taken_from_where_the_user_is(launcher: Launcher, how: list[str]) -> None:
    """A relative path is the user's; it replaces the local one, before or after other options."""
    (launcher.directory / "hosts").write_text("web1\n")
    wanted = ["-i", str(launcher.directory / "hosts"), str(ROOT / "playbooks/site.yml")]
    assert launcher.arguments("deploy", *how) == wanted
    assert launcher.arguments("deploy", "-v", *how) == [*wanted, "-v"]


def test_an_inventory_may_come_from_the_environment_or_be_a_list(launcher: Launcher) -> None:
    """SLIPWAY_INVENTORY is the default of a shell; a comma makes a list of hosts."""
    (launcher.directory / "hosts").write_text("web1\n")
    found = launcher.arguments("deploy", SLIPWAY_INVENTORY="hosts")
    assert found[:2] == ["-i", str(launcher.directory / "hosts")]
    assert launcher.arguments("deploy", "-i", "web1,web2,")[:2] == ["-i", "web1,web2,"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["-i", "nowhere"], "the inventory 'nowhere' does not exist"),
        (["-i"], "-i needs the path of an inventory"),
    ],
)
def test_a_bad_inventory_is_one_sentence(
    launcher: Launcher, arguments: list[str], sentence: str
) -> None:
    """Ansible would go on with an inventory that holds nobody."""
    done = launcher.run("deploy", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert sentence in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_the_exit_code_is_that_of_ansible(launcher: Launcher) -> None:
    """A failed run fails the launcher."""
    assert launcher.run("deploy", FAKE_EXIT="4").returncode == 4


def test_the_sudo_password_is_asked_for_only_when_it_is_needed(launcher: Launcher) -> None:
    """Not by root, not where sudo needs none, not for another machine."""
    ask = "--ask-become-pass"
    (launcher.directory / "hosts").write_text("web1\n")
    assert ask not in launcher.arguments("deploy")
    launcher.user(1000, sudo=0)
    assert ask not in launcher.arguments("deploy")
    launcher.user(1000, sudo=1)
    assert launcher.arguments("deploy").count(ask) == 1
    assert ask not in launcher.arguments("deploy", "-i", "hosts")


@pytest.mark.parametrize("how", [["-e", ""], ["-e"], ["--extra-vars="]])
def test_a_command_of_the_user_stays_one_value(launcher: Launcher, how: list[str]) -> None:
    """As JSON: Ansible splits other extra variables at their blanks."""
    *before, prefix = how
    program(launcher.venv / "bin/python", f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    value = "echo \"a  b\" 'c' $HOME \\n {{ x }}=\n\n"
    found = launcher.arguments("exec", *before, f"{prefix}cmd={value}", "-e", "part=nginx")
    given = "\n".join(found[3 + len(before) : -2]).removeprefix(prefix)
    assert json.loads(given) == {"cmd": value}
    assert found[-2:] == ["-e", "part=nginx"]
    assert "argument=sql=1 2\n" in launcher.run("deploy", "-e", "sql=1 2").stdout


def test_a_verb_with_a_terminal_becomes_the_command(launcher: Launcher) -> None:
    """Its words, its standard input and its exit code; no file is left."""
    files = launcher.directory / "files"
    files.mkdir()
    words = r'sh\0-c\0cat; printf "[%%s]" "$@" $SLIPWAY_CONSOLE; exit 7\0sh\0\0a  b\0'
    done = launcher.run("exec", TMPDIR=str(files), FAKE_WORDS=words)
    assert done.returncode == 7
    assert done.stdout.endswith("\n[][a  b]")
    assert list(files.iterdir()) == []


@pytest.mark.parametrize(("settings", "code"), [({"FAKE_EXIT": "2"}, 2), ({"FAKE_WORDS": ""}, 1)])
def test_without_a_command_a_verb_fails(
    launcher: Launcher, settings: dict[str, str], code: int
) -> None:
    """Also where Ansible was content: with no host, nothing ran."""
    files = launcher.directory / "files"
    files.mkdir()
    assert launcher.run("psql", TMPDIR=str(files), **settings).returncode == code
    assert list(files.iterdir()) == []


def test_the_tests_get_their_names(launcher: Launcher) -> None:
    """./slipway test runs the suite with the Python of the tools."""
    done = launcher.run("test", "fast", "lint")
    lines = done.stdout.splitlines()
    assert lines[0] == "program=python"
    assert lines[2:] == [f"argument={ROOT / 'tests/run.py'}", "argument=fast", "argument=lint"]


class Fresh(Launcher):
    """A checkout that has no tool environment yet."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        project = directory / "project"
        for part in ("playbooks", "requirements", "inventories/local"):
            (project / part).mkdir(parents=True)
        shutil.copy(ROOT / "slipway", project)
        for lock in ("tools", "test"):
            (project / f"requirements/{lock}.txt").write_text(f"{lock}==1\n")
        (project / "playbooks/site.yml").write_text("# Deploy it\n[]\n")
        self.script = project / "slipway"
        self.lock = project / "requirements/tools.txt"
        self.log = directory / "pip.log"
        self.settings = {
            "SLIPWAY_PYTHON": str(program(directory / "fake/python", PYTHON)),
            "FAKE_TOOL": str(program(directory / "fake/tool", ECHO)),
            "FAKE_LOG": str(self.log),
        }

    @property
    def installs(self) -> list[str]:
        """Return how pip was called, call by call."""
        return self.log.read_text().splitlines() if self.log.exists() else []


@pytest.fixture
def fresh(tmp_path: Path) -> Fresh:
    """Return a fresh checkout."""
    return Fresh(tmp_path)


def test_the_tools_are_installed_once_and_again_when_the_lock_changed(fresh: Fresh) -> None:
    """With hashes, from the lock file; not when only the inventory was wrong."""
    assert fresh.run("deploy", "-i", "nowhere").returncode == 2
    assert fresh.run("help").returncode == 0
    assert fresh.installs == []
    first = fresh.run("deploy")
    assert first.returncode == 0, first.stderr
    assert "making the tool environment" in first.stderr
    assert len(fresh.installs) == 1
    assert "--require-hashes" in fresh.installs[0]
    assert str(fresh.lock) in fresh.installs[0]
    second = fresh.run("deploy")
    assert (second.returncode, second.stderr) == (0, "")
    assert len(fresh.installs) == 1
    fresh.lock.write_text("tools==2\n")
    assert fresh.run("deploy").returncode == 0
    assert len(fresh.installs) == 2


def test_the_tools_of_the_tests_do_for_a_deploy(fresh: Fresh) -> None:
    """Whoever ran the tests does not install again."""
    assert fresh.run("test").returncode == 0
    assert fresh.run("deploy").returncode == 0
    assert len(fresh.installs) == 1


def test_a_failed_install_is_said_and_tried_again(fresh: Fresh) -> None:
    """What pip said, one sentence, and no half-made environment that is taken for a whole one."""
    failed = fresh.run("deploy", FAKE_PIP="1")
    assert failed.returncode == 1
    assert "no matching distribution" in failed.stderr
    assert "slipway: pip could not install requirements/tools.txt" in failed.stderr
    assert "program=" not in failed.stdout
    assert fresh.run("deploy").returncode == 0
    assert len(fresh.installs) == 2
