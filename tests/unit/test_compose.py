"""What ./slipway compose writes, and what runs there: the preparation, and the watch."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from plugins.filter import compose
from plugins.modules import flask_sdist
from tests.start import readme

ROOT = Path(__file__).parents[2]
FILES = ROOT / "roles/compose/files"


def write(inventory: Path, checkout: Path, *more: str) -> str:
    """Run the playbook of the verb; return what it said."""
    done = subprocess.run(
        [Path(sys.executable).with_name("ansible-playbook"), "-i", inventory,
         ROOT / "playbooks/compose.yml", "-e", f"compose_directory={checkout}", *more],
        capture_output=True, text=True, check=False, cwd=ROOT,
        env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1",
             "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a checkout of the example into which the verb has written."""
    checkout = tmp_path_factory.mktemp("example") / "app"
    shutil.copytree(
        ROOT / "app", checkout, ignore=shutil.ignore_patterns(".compose", "compose.yaml")
    )
    (checkout / ".dockerignore").write_text("docs\n")
    write(ROOT / "inventories/local", checkout)
    return checkout


@pytest.fixture(scope="module")
def guestbook(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a checkout of the guestbook, written with the README's inventory."""
    directory = tmp_path_factory.mktemp("guestbook")
    inventory = directory / "inventory"
    (inventory / "group_vars").mkdir(parents=True)
    shutil.copy(ROOT / "inventories/local/hosts.yml", inventory)
    (inventory / "group_vars/slipway.yml").write_text(
        readme.blocks((ROOT / "README.md").read_text())["inventory"]
    )
    shutil.copytree(ROOT / "tests/apps/guestbook", directory / "app")
    write(inventory, directory / "app")
    return directory / "app"


def described(checkout: Path) -> dict[str, Any]:
    """Return the compose file of a checkout."""
    return dict(yaml.safe_load((checkout / "compose.yaml").read_text()))


def shipped(checkout: Path) -> dict[str, str]:
    """Return what the verb wrote that may be committed."""
    below = checkout / ".compose"
    paths = [checkout / "compose.yaml", *(path for path in below.rglob("*") if path.is_file())]
    return {
        str(path.relative_to(checkout)): path.read_text()
        for path in paths
        if path.parent not in (below / "network", *(below / "secrets").rglob("*"))
        or path.name == ".gitignore"
    }


def test_the_example_is_what_the_verb_writes(example: Path) -> None:
    """After a change: ./slipway compose."""
    assert shipped(example) == shipped(ROOT / "app")


def test_a_dockerignore_of_before_stays(example: Path) -> None:
    """And the secrets come last, where no line of before brings them back."""
    lines = (example / ".dockerignore").read_text().splitlines()
    assert lines[0] == "docs"
    assert ".compose/secrets" in lines
    assert lines.index(".compose/secrets") > 0


def test_only_the_front_is_published_and_on_loopback(guestbook: Path) -> None:
    """The others share a network with no way out."""
    services = described(guestbook)["services"]
    assert {name: one.get("ports") for name, one in services.items() if one.get("ports")} == {
        "nginx": ["127.0.0.1:${SLIPWAY_PORT:-8080}:80"]
    }
    assert services["flask"]["networks"] == services["postgres"]["networks"] == ["back"]
    assert described(guestbook)["networks"]["back"] == {"internal": True}


def test_rows_are_in_a_named_volume(guestbook: Path) -> None:
    """At the place that every version of the image has."""
    found = described(guestbook)
    assert "database:/var/lib/postgresql" in found["services"]["postgres"]["volumes"]
    assert found["volumes"]["database"] == {"name": "guestbook-dev_database"}


def test_secrets_are_in_files_of_their_own_alone(guestbook: Path) -> None:
    """Neither the compose file nor what is committed with it has one of them."""
    secrets = [
        path
        for path in (guestbook / ".compose/secrets").rglob("*")
        if path.is_file() and path.name != ".gitignore"
    ]
    assert {path.name for path in secrets} == {"GUESTBOOK_TOKEN", "password", "superuser"}
    written = "".join(shipped(guestbook).values())
    assert not [path for path in secrets if path.read_text() in written]
    assert stat.S_IMODE((guestbook / ".compose/secrets").stat().st_mode) == 0o700
    tasks = described(guestbook)["services"]["prepare"]["command"]
    assert "given:app/env/GUESTBOOK_TOKEN" in tasks
    # Its value is the database's, which the first start may make.
    assert "same:app/env/POSTGRES_PASSWORD:postgres/password" in tasks


def test_a_whole_checkout_is_mounted_without_its_secrets(guestbook: Path, example: Path) -> None:
    """Of one with src only the packages are."""
    flask = described(guestbook)["services"]["flask"]
    assert ".:/source:ro" in flask["volumes"]
    assert any(one.startswith("/source/.compose:") for one in flask["tmpfs"])
    assert "./src:/source/src:ro" in described(example)["services"]["flask"]["volumes"]


def test_no_debugger_unless_asked(example: Path, guestbook: Path) -> None:
    """FLASK_DEBUG is set by compose_debug alone."""
    assert "FLASK_DEBUG" not in (example / "compose.yaml").read_text()
    parts: dict[str, dict[str, Any]] = {
        "postgres": {"uid": 999, "container": {}, "command": [], "environment": {}},
        "flask": {
            "uid": 1, "container": {}, "environment": {"PRICE": "5$"}, "own_files": {},
            "migrate": "", "egress": True, "postgres_socket": True, "static": {},
        },
        "nginx": {"container": {}, "command": []},
    }  # fmt: skip
    for part in parts.values():
        part["healthcheck"] = {}
    found = compose.compose_file(
        "shop", parts["postgres"], parts["flask"], parts["nginx"],
        {"nginx": "n", "python": "p", "postgres": "q"}, [],
        {"python_path": ".", "port": 1, "debug": True},
    )  # fmt: skip
    flask = found["services"]["flask"]
    assert flask["environment"]["FLASK_DEBUG"] == "1"
    # Compose would take a single one for a variable of its own.
    assert flask["environment"]["PRICE"] == "5$$"
    assert flask["networks"] == ["back", "egress"]


def test_a_name_that_is_made_is_the_same_in_both_places() -> None:
    """As on a host: in flask_secret_env and in flask_secret_files."""
    found = compose.secret_tasks({"env/KEY": "", "files/KEY": "", "files/OTHER": "x"}, "p")
    assert found == ["new:app/env/KEY", "same:app/files/KEY:app/env/KEY", "given:app/files/OTHER"]


def test_secrets_of_development_are_in_no_sdist(example: Path) -> None:
    """What is packed for a deploy leaves them out."""
    names = {path.parts[0] for path in flask_sdist.files_of(example)}
    assert ".compose" not in names
    assert "src" in names


# prepare.sh


def prepare(directory: Path, *tasks: str) -> subprocess.CompletedProcess[str]:
    """Run the script."""
    return subprocess.run(
        ["sh", FILES / "prepare.sh", directory, *tasks], capture_output=True, text=True, check=False
    )


def test_secrets_are_made_once(tmp_path: Path) -> None:
    """A second start changes nothing."""
    tasks = ("new:postgres/password", "same:app/env/PASSWORD:postgres/password", "new:app/KEY")
    directory = tmp_path / "secrets"
    assert prepare(directory, *tasks).returncode == 0
    made = {path: path.read_text() for path in directory.rglob("*") if path.is_file()}
    assert sorted(len(one) for one in made.values()) == [64, 64, 64]
    assert made[directory / "app/env/PASSWORD"] == made[directory / "postgres/password"]
    assert made[directory / "app/KEY"] != made[directory / "postgres/password"]
    assert prepare(directory, *tasks).returncode == 0
    assert {path: path.read_text() for path in directory.rglob("*") if path.is_file()} == made
    # Nobody else gets past the directory; a container's user reads what is mounted from below.
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert stat.S_IMODE((directory / "app/KEY").stat().st_mode) == 0o644


def test_a_secret_that_only_an_inventory_has_is_asked_for(tmp_path: Path) -> None:
    """In a sentence that says what to do."""
    done = prepare(tmp_path / "secrets", "given:app/env/TOKEN")
    assert done.returncode == 1
    assert done.stderr == (
        "compose: the secret .compose/secrets/app/env/TOKEN is missing: run ./slipway compose with "
        "the inventory of this application, or write the file.\n"
    )


# watch.py

SERVER = """
import http.server
import app

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(app.WORD)

    def log_message(self, *_):
        pass

http.server.ThreadingHTTPServer(("127.0.0.1", {port}), Handler).serve_forever()
"""


class Watched:
    """A server under the watch, and its source."""

    def __init__(self, directory: Path) -> None:
        """Start with the word one."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}/"
        self.source = directory / "src"
        self.source.mkdir()
        self.edit('WORD = b"one"\n')
        self.log = directory / "log"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-I", "-S", FILES / "watch.py", self.source, "--",
                 sys.executable, "-B", "-c", SERVER.format(port=port)],
                env={**os.environ, "PYTHONPATH": str(self.source)}, stderr=log,
            )  # fmt: skip

    def edit(self, text: str) -> None:
        """Write the module as an editor does."""
        (self.source / "app.py").write_text(text)

    def seconds_until(self, word: bytes) -> float:
        """Return how long it took until the server answered with a word."""
        began = time.monotonic()
        while time.monotonic() - began < 20:
            try:
                with urllib.request.urlopen(self.url, timeout=5) as answer:  # noqa: S310 (ours)
                    if answer.read() == word:
                        return time.monotonic() - began
            except (urllib.error.URLError, OSError):
                pass
            time.sleep(0.02)
        raise AssertionError(self.log.read_text())


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    """Return a server under the watch, which is ended."""
    server = Watched(tmp_path)
    yield server
    if server.process.poll() is None:
        server.process.send_signal(signal.SIGTERM)
        server.process.wait(20)


def test_an_edit_is_live_within_two_seconds(watched: Watched) -> None:
    """Also one right after another, and in a directory that is new."""
    watched.seconds_until(b"one")
    for word in (b"two", b"three", b"four"):
        watched.edit(f"WORD = {word!r}\n")
        # The server itself takes what Python takes to start.
        assert watched.seconds_until(word) < 2
    package = watched.source / "package"
    package.mkdir()
    (package / "__init__.py").write_text('WORD = b"five"\n')
    watched.edit("from package import WORD\n")
    assert watched.seconds_until(b"five") < 2


def test_a_broken_edit_is_mended_by_the_next(watched: Watched) -> None:
    """Of a file that could not be imported Python keeps nothing that could be watched."""
    watched.seconds_until(b"one")
    watched.edit("def broken(:\n")
    deadline = time.monotonic() + 20
    while "the server has ended" not in watched.log.read_text():
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert "SyntaxError" in watched.log.read_text()
    watched.edit('WORD = b"mended"\n')
    assert watched.seconds_until(b"mended") < 2


def test_it_stops_when_it_is_told(watched: Watched) -> None:
    """And leaves no server behind."""
    watched.seconds_until(b"one")
    watched.process.send_signal(signal.SIGTERM)
    watched.process.wait(10)
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(watched.url, timeout=5)  # noqa: S310 (ours)


FORKING = """
import os, sys, time
for _ in range(40):
    if not os.fork():
        memory = bytearray(4_000_000)
        time.sleep(60)
open(sys.argv[1], "w").close()
time.sleep(60)
"""


def test_nothing_of_a_killed_server_is_left(tmp_path: Path) -> None:
    """A process that is still dying holds the port, and the next server would end at once."""
    spec = importlib.util.spec_from_file_location("watch", FILES / "watch.py")
    assert spec
    assert spec.loader
    watch = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(watch)
    forked = tmp_path / "forked"
    server = watch.start([sys.executable, "-c", FORKING, forked])
    while not forked.exists():
        assert server.poll() is None
        time.sleep(0.01)
    watch.kill(server)
    with pytest.raises(ProcessLookupError):
        os.killpg(server.pid, 0)
