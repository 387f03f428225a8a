"""What ./slipway does before Ansible runs: with tools that only say how they were called."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PLAYBOOKS = sorted(path.stem for path in (ROOT / "playbooks").glob("*.yml"))

# Says how it was called, and ends as the test wants.
ECHO = """#!/bin/sh
printf 'program=%s\\n' "$(basename "$0")"
printf 'config=%s\\n' "${ANSIBLE_CONFIG-}"
printf 'argument=%s\\n' "$@"
while [ -e "${FAKE_WAIT-/nowhere/at/all}" ]; do sleep 0.05; done
[ -x "$0" ] || echo "its environment is gone"
if [ "${SLIPWAY_CONSOLE-}" ]; then printf "${FAKE_WORDS-true\\0}" >"$SLIPWAY_CONSOLE"; fi
exit "${FAKE_EXIT:-0}"
"""

# A Python that makes environments and installs in no time, from nowhere.
PYTHON = """#!/bin/sh
case "$1 $2" in
"-IS -c") echo "${FAKE_VERSION:-3.13}" ;;
"-c "*) exit 0 ;;
"-m venv")
  mkdir -p "$4/bin"
  cp "$0" "$4/bin/python"
  cp "$FAKE_TOOL" "$4/bin/ansible-playbook"
  ;;
"-m pip")
  echo "pip $*" >> "$FAKE_LOG"
  while [ -e "${FAKE_PIP_WAIT-/nowhere/at/all}" ]; do sleep 0.05; done
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

    def environment(self, settings: dict[str, str]) -> dict[str, str]:
        """Return an environment in which only the settings of this test count."""
        return {
            "PATH": f"{self.path}:{os.environ['PATH']}",
            "HOME": str(self.directory),
            **self.settings,
            **settings,
        }

    def start(self, *arguments: str, **settings: str) -> subprocess.Popen[str]:
        """Start the launcher, which a file may keep from ending."""
        return subprocess.Popen(
            [self.script, *arguments],
            cwd=self.directory,
            env=self.environment(settings),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(self, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
        """Run the launcher in a directory that is not the project's."""
        return subprocess.run(
            [self.script, *arguments],
            cwd=self.directory,
            env=self.environment(settings),
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
    assert lines[2:] == [
        "argument=-m", "argument=tests.run", "argument=fast", "argument=lint",
    ]  # fmt: skip


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
    def environments(self) -> list[str]:
        """Return the names of the environments that are there."""
        return sorted(path.name for path in self.script.parent.glob(".slipway/environments/*"))

    @property
    def link(self) -> Path:
        """Return what people have in their PATH."""
        return self.script.parent / ".slipway/venv"

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


def wait_for(happened: Callable[[], object]) -> None:
    """Wait until something has happened."""
    deadline = time.monotonic() + 20
    while not happened():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


@pytest.mark.parametrize("blind", ["grep", ""])
def test_a_running_deploy_keeps_its_tools_when_the_lock_changes(fresh: Fresh, blind: str) -> None:
    """Also in the moments in which no program of its own can be seen yet (without grep)."""
    if blind:
        program(fresh.path / blind, "#!/bin/sh\nexit 1\n")
    hold = fresh.directory / "hold"
    hold.touch()
    running = fresh.start("deploy", FAKE_WAIT=str(hold))
    wait_for(lambda: fresh.link.exists())
    [old] = fresh.environments
    fresh.lock.write_text("tools==2\n")
    assert fresh.run("deploy").returncode == 0
    assert fresh.run("deploy").returncode == 0
    [new] = set(fresh.environments) - {old}
    assert len(fresh.installs) == 2
    assert fresh.link.readlink() == Path("environments", new)
    hold.unlink()
    out, err = running.communicate(timeout=20)
    assert running.returncode == 0, err
    assert "program=ansible-playbook" in out
    assert "gone" not in out
    assert fresh.run("deploy").returncode == 0
    assert fresh.environments == [new]
    assert len(fresh.installs) == 2


def test_what_runs_without_the_launcher_keeps_its_tools_too(fresh: Fresh) -> None:
    """Molecule by hand, with the environment in its PATH."""
    assert fresh.run("deploy").returncode == 0
    [old] = fresh.environments
    tool = fresh.link.resolve() / "bin/ansible-playbook"
    hold = fresh.directory / "hold"
    hold.touch()
    running = subprocess.Popen([tool], env={**os.environ, "FAKE_WAIT": str(hold)}, stdout=-1)
    fresh.lock.write_text("tools==2\n")
    assert fresh.run("deploy").returncode == 0
    assert old in fresh.environments
    hold.unlink()
    running.communicate(timeout=20)
    assert fresh.run("deploy").returncode == 0
    assert old not in fresh.environments


def test_two_launchers_make_the_tools_once(fresh: Fresh) -> None:
    """The second waits and says so; one that is killed leaves nothing that is taken for whole."""
    hold = fresh.directory / "hold"
    hold.touch()
    killed = fresh.start("deploy", FAKE_PIP_WAIT=str(hold))
    wait_for(lambda: fresh.installs)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.communicate()
    first = fresh.start("deploy", FAKE_PIP_WAIT=str(hold))
    wait_for(lambda: len(fresh.installs) == 2)
    others = [fresh.start("deploy", FAKE_PIP_WAIT=str(hold)) for _ in range(2)]
    for other in others:
        assert other.stderr
        assert "waiting for another run" in other.stderr.readline()
    hold.unlink()
    for each in (first, *others):
        out, err = each.communicate(timeout=20)
        assert each.returncode == 0, err
        assert "program=ansible-playbook" in out
    assert len(fresh.installs) == 2
    assert len(fresh.environments) == 1


def test_a_wait_for_the_tools_ends_in_a_sentence(fresh: Fresh) -> None:
    """Others may hold the directory, for as long as they like."""
    assert fresh.run("deploy").returncode == 0
    text = fresh.script.read_text()
    fresh.script.write_text(text.replace("patience=600 ", "patience=1 "))
    [name] = fresh.environments
    handle = os.open(fresh.link.resolve(), os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    done = fresh.run("deploy")
    os.close(handle)
    waiting, said = done.stderr.splitlines()
    assert (done.returncode, done.stdout) == (1, "")
    assert "waiting for another run" in waiting
    assert said == (
        f"slipway: another process has held .slipway/environments/{name} for 1 seconds, so the"
        " tools could not be used: `lslocks` names it; end it, then run again."
    )
    assert fresh.run("deploy").returncode == 0


def test_each_python_has_its_own_tools(fresh: Fresh) -> None:
    """One lock file is another line of Ansible on another Python; neither makes the other anew."""
    for version in ("3.11", "3.13", "3.11", "3.13"):
        assert fresh.run("deploy", FAKE_VERSION=version).returncode == 0
        assert str(fresh.link.readlink()).endswith(f"-{version}")
    assert len(fresh.installs) == 2


def test_a_checkout_that_was_moved_or_copied_gets_its_own_tools(fresh: Fresh) -> None:
    """The programs in an environment name the path of their Python."""
    assert fresh.run("deploy").returncode == 0
    alias = fresh.directory / "alias"
    alias.symlink_to(fresh.script.parent)
    moved = fresh.directory / "moved"
    fresh.script = alias / "slipway"
    assert fresh.run("deploy").returncode == 0
    assert len(fresh.installs) == 1
    shutil.copytree(fresh.directory / "project", moved, symlinks=True)
    fresh.script = moved / "slipway"
    assert fresh.run("deploy").returncode == 0
    assert len(fresh.installs) == 2


def test_the_directory_of_an_older_launcher_becomes_a_link(fresh: Fresh) -> None:
    """Its path stays: people have it in their PATH."""
    tool = program(fresh.link / "bin/ansible-playbook", ECHO)
    hold = fresh.directory / "hold"
    hold.touch()
    running = subprocess.Popen([tool], env={**os.environ, "FAKE_WAIT": str(hold)}, stdout=-1)
    assert fresh.run("deploy").returncode == 0
    assert not fresh.link.is_symlink()
    hold.unlink()
    out, _ = running.communicate(timeout=20)
    assert b"gone" not in out
    assert fresh.run("deploy").returncode == 0
    assert fresh.link.is_symlink()


def test_a_console_holds_no_tools(fresh: Fresh) -> None:
    """A terminal may stay open for days; a deploy holds them to its end."""
    (fresh.script.parent / "playbooks/exec.yml").write_text("# Run it\n[]\n")
    words = r"ls\0-l\0/proc/self/fd\0"
    done = fresh.run("exec", FAKE_WORDS=words)
    assert " 0 -> " in done.stdout
    assert "environments" not in done.stdout


def old_machine(fresh: Fresh, version: str) -> dict[str, str]:
    """Let the only Python be this one; no package manager is there."""
    text = fresh.script.read_text().replace(" /usr/bin/python3)", ")")
    fresh.script.write_text(text)
    needed = (
        "bash", "sh", "env", "dirname", "basename", "cat", "cp", "cut", "grep", "id", "ln", "mkdir",
        "rm", "sed", "sha256sum", "flock",
    )  # fmt: skip
    path = fresh.directory / "only"
    path.mkdir()
    for name in needed:
        (path / name).symlink_to(shutil.which(name) or name)
    if version:
        program(path / "python3", PYTHON)
    return {"SLIPWAY_PYTHON": "", "FAKE_VERSION": version, "PATH": str(path)}


@pytest.mark.parametrize("version", ["3.10", "3.9", "2.7"])
def test_an_old_python_is_named(fresh: Fresh, version: str) -> None:
    """Which one there is, which one is needed, and what to do."""
    done = fresh.run("deploy", **old_machine(fresh, version))
    assert (done.returncode, done.stdout) == (1, "")
    said = done.stderr.splitlines()
    assert (
        said[0] == f"slipway: this machine has Python {version}, and the tools need 3.11 or newer"
    )
    assert said[1].startswith("slipway: needs python3.11 python3.11-venv: install it")
    assert len(said) == 2
    assert fresh.installs == []


def test_a_machine_without_python_gets_the_one_of_its_distribution(fresh: Fresh) -> None:
    """Whatever version that is."""
    done = fresh.run("deploy", **old_machine(fresh, ""))
    assert done.returncode == 1
    assert done.stderr.startswith("slipway: needs python3-venv: install it")


@pytest.mark.parametrize("version", ["3.11", "3.12", "3.14", "3.13t"])
def test_a_new_python_is_taken(fresh: Fresh, version: str) -> None:
    """The first that is found."""
    done = fresh.run("deploy", **old_machine(fresh, version))
    assert done.returncode == 0, done.stderr
    assert fresh.environments[0].endswith(f"-{version}")


@pytest.mark.parametrize(("python", "version"), [("/nowhere/python3", "3.13"), ("", "3.10")])
def test_a_python_that_was_named_and_will_not_do_is_said(
    fresh: Fresh, python: str, version: str
) -> None:
    """Nothing else is taken in its place."""
    named = python or fresh.settings["SLIPWAY_PYTHON"]
    done = fresh.run("deploy", SLIPWAY_PYTHON=named, FAKE_VERSION=version)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"slipway: SLIPWAY_PYTHON is {named}, and the tools need a Python of 3.11 or newer with"
        " venv: name another, or none.\n"
    )
