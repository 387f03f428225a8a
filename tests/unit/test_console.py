"""The commands that logs, exec, psql and shell become; a play has a made-up engine for it."""

from __future__ import annotations

import importlib.util
import json
import os
import shlex
import socketserver
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from ansible.errors import AnsibleActionFail

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
PATH = ROOT / "plugins/action/console_command.py"
spec = importlib.util.spec_from_file_location("console_command", PATH)
assert spec is not None
assert spec.loader is not None
console = importlib.util.module_from_spec(spec)
spec.loader.exec_module(console)

CONTAINERS = [
    {"Names": ["/shop-flask-new"], "State": "running", "Status": "Up 1 minute (healthy)"},
    {"Names": ["/shop-flask-old"], "State": "running", "Status": "Up 1 hour (healthy)"},
    {"Names": ["/shop-postgres"], "State": "exited", "Status": "Exited (1) 2 minutes ago"},
]
# Whatever a shell, Ansible or a template could take for its own.
HOSTILE = "printf '%s' \"a  b\" '$HOME' `id` {{ nope }} {% if %} {# x #} \\n\\t é\n\ttwo \n"


def names(verb: str, part: str = "auto", release: str = "new", **settings: Any) -> list[str]:
    """Return the containers that a verb works on."""
    found: list[str] = console.names_of(
        verb,
        console.parts_of(verb, part),
        settings.get("containers", CONTAINERS),
        "shop",
        release,
        "web1",
    )
    return found


def test_the_release_that_serves_is_meant() -> None:
    """Not the one that drains; all logs are those that are there, running or not."""
    assert names("exec") == ["shop-flask-new"]
    assert names("shell", release="old") == ["shop-flask-old"]
    assert names("logs") == ["shop-flask-new", "shop-postgres"]
    assert names("logs", "postgres") == ["shop-postgres"]
    assert console.parts_of("logs", "auto", follow=True) == ("flask",)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"verb": "exec", "containers": []}, "Nothing of shop is deployed on web1: `./slipway"),
        ({"verb": "logs", "part": "flask", "release": ""}, "No release of shop serves on web1: "),
        ({"verb": "exec", "part": "nginx"}, "shop has no nginx container on web1: `./slipway st"),
        ({"verb": "psql"}, "shop-postgres on web1 is exited (Exited (1) 2 minutes ago): `./sl"),
        ({"verb": "psql", "part": "nginx"}, "psql runs in postgres, not in nginx: leave"),
    ],
)
def test_what_is_not_there_is_one_sentence(arguments: dict[str, Any], sentence: str) -> None:
    """It names the project, the host and the way on."""
    with pytest.raises(AnsibleActionFail) as failed:
        names(**arguments)
    assert failed.value.message.startswith(sentence)


def run_with_a_docker_that_echoes(argv: list[str], directory: Path) -> str:
    """Run a command on the host, where docker says how it was called."""
    docker = directory / "docker"
    docker.write_text("#!/bin/sh\nprintf '[%s]' docker \"$@\"; echo; echo error >&2\n")
    docker.chmod(0o755)
    path = f"{directory}:{os.environ['PATH']}"
    done = subprocess.run(argv, env={"PATH": path}, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return done.stdout


def test_logs(tmp_path: Path) -> None:
    """One after the other under headings; both streams of a container are its log."""
    argv = console.argv_on_host("logs", ["a-1", "b"], lines=5)
    assert run_with_a_docker_that_echoes(argv, tmp_path) == (
        "==> a-1 <==\n[docker][logs][--tail][5][a-1]\nerror\n"
        "\n==> b <==\n[docker][logs][--tail][5][b]\nerror\n"
    )
    argv = console.argv_on_host("logs", ["a"], lines=5, follow=True)
    wanted = "[docker][logs][--tail=5][--follow][a]\nerror\n"
    assert run_with_a_docker_that_echoes(argv, tmp_path) == wanted


def test_commands_in_a_container() -> None:
    """The application's environment for flask; the text is one word, however it looks."""
    start = ["docker", "exec", "-i", "x"]
    run = console.argv_on_host("exec", ["x"], ["-i"], text=HOSTILE)
    assert run == [*start, "sh", "-c", HOSTILE]
    run = console.argv_on_host("exec", ["x"], ["-i"], flask=True, text=HOSTILE)
    assert run == [*start, "/bin/sh", "/etc/slipway/entrypoint.sh", "sh", "-c", HOSTILE]
    assert console.argv_on_host("psql", ["x"], ["-i"], text=HOSTILE)[-3:] == ["sh", "-c", HOSTILE]
    assert console.argv_on_host("psql", ["x"], ["-i"])[-1] == "sh"
    assert console.argv_on_host("shell", ["x"], ["-i", "-t"])[:4] == ["docker", "exec", "-i", "-t"]


def test_psql_comes_in_as_the_application_unless_a_superuser_is_asked_for() -> None:
    """A host of before there were two roles has one; a restored database tells it by itself."""
    two = {"user": "slipway", "owner": "o'shop", "db": "shop"}
    assert "/postgres/password)" in console.psql_of(two, "auto", False)
    assert "-U 'o'\"'\"'shop' " in console.psql_of(two, "auto", False)
    assert "/postgres/superuser)" in console.psql_of(two, "postgres", True)
    assert "-U slipway " in console.psql_of(two, "postgres", True)
    one = {"user": "shop", "db": "shop"}
    assert console.psql_of(one, "auto", True) == console.psql_of(one, "auto", False)
    assert "/postgres/password)" in console.psql_of(one, "auto", True)
    assert '-U "$POSTGRES_USER" ' in console.psql_of(two, "scratch", False)


def from_here(transport: str, flags: list[str], **options: Any) -> list[str]:
    """Return the command on the control node."""
    there = {"ssh_executable": "ssh", "host_key_checking": True, **options}
    found: list[str] = console.argv_from_here(["echo", HOSTILE], transport, there.get, flags)
    return found


def test_the_way_to_the_host_is_the_connection() -> None:
    """None here; ssh with what the inventory says; docker for a host that is a container."""
    assert from_here("local", ["-i", "-t"]) == ["echo", HOSTILE]
    far = from_here("ssh", ["-i"], host="192.0.2.1")
    assert far == ["ssh", "-o", "LogLevel=ERROR", "--", "192.0.2.1", shlex.join(["echo", HOSTILE])]
    far = from_here(
        "ansible.builtin.ssh",
        ["-i", "-t"],
        host="web1",
        port=2222,
        remote_user="deploy",
        private_key_file="/keys/a b",
        ssh_args="-o ControlMaster=auto",
        ssh_common_args="-F '/a b/config'",
        ssh_extra_args="-v",
        host_key_checking=False,
    )
    assert shlex.join(far[:-1]) == (
        "ssh -o ControlMaster=auto -t -o StrictHostKeyChecking=no -p 2222 -i '/keys/a b'"
        " -l deploy -F '/a b/config' -v -o LogLevel=ERROR -- web1"
    )
    inside = from_here("community.docker.docker", ["-i", "-t"], remote_addr="box", remote_user="u")
    assert inside == ["docker", "exec", "-i", "-t", "-u", "u", "box", "echo", HOSTILE]
    with pytest.raises(AnsibleActionFail, match=r"No terminal leads over the connection winrm: "):
        from_here("winrm", [])


class Engine(BaseHTTPRequestHandler):
    """An engine that has the containers above, of the project `shop`."""

    def do_GET(self) -> None:
        """Answer with the list."""
        there = "slipway.project%3Dshop" in self.path
        body = json.dumps(CONTAINERS if there else []).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Say nothing: there is no client address."""


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Path]:
    """Return the socket of an engine that answers."""
    socket = tmp_path / "engine.sock"
    with socketserver.ThreadingUnixStreamServer(str(socket), Engine) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield socket
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(("uid", "terminal"), [(0, False), (1000, True)])
def test_a_command_arrives_byte_for_byte(
    tmp_path: Path, engine: Path, uid: int, terminal: bool
) -> None:
    """From the extra variable, through Ansible, into the file of the launcher."""
    for name, text in {"id": f"echo {uid}", "sudo": 'shift 3; exec "$@"'}.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    (tmp_path / "current.json").write_text('{"release": "new"}')
    (tmp_path / "hosts").write_text("[slipway]\nweb1\n")
    file = tmp_path / "console"
    settings = {
        "ansible_connection": "local",
        # Another user than that of the tests, or Ansible would not use the sudo above.
        "ansible_become_user": "admin",
        "ansible_become_flags": "-n",
        "ansible_become_exe": str(tmp_path / "sudo"),
        "ansible_python_interpreter": sys.executable,
        "slipway_project": "shop",
        "slipway_state_dir": str(tmp_path),
        "__console_docker_socket": str(engine),
        "cmd": HOSTILE,
    }
    playbook = ROOT / "playbooks/exec.yml"
    done = subprocess.run(
        [BIN / "ansible-playbook", "-i", "hosts", playbook, "-e", json.dumps(settings)],
        cwd=tmp_path,
        env={
            **os.environ,
            "PATH": f"{tmp_path}:{os.environ['PATH']}",
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            "ANSIBLE_LOCAL_TEMP": str(tmp_path / ".tmp"),
            "SLIPWAY_CONSOLE": str(file),
            "SLIPWAY_CONSOLE_TERMINAL": "1" if terminal else "",
            "SLIPWAY_PROGRESS": "quiet",
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    *words, end = file.read_text().split("\0")
    assert end == ""
    start = [*["sudo"][:uid], "docker", "exec", "-i", *["-t"][:terminal], "shop-flask-new"]
    assert words == [*start, *console.ENTRYPOINT, "sh", "-c", HOSTILE]
