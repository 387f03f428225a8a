"""The ledger, what is kept of releases, their static files, and how an old one is drained."""

from __future__ import annotations

import importlib
import json
import os
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

ROLES = Path(__file__).parents[2] / "roles"
host = importlib.import_module("ansible.module_utils.slipway.flask_host")
ledger_module = importlib.import_module("plugins.modules.flask_ledger")
retire = importlib.import_module("plugins.modules.flask_retire")
static = importlib.import_module("plugins.modules.flask_static")
attempts = importlib.import_module("ansible.module_utils.slipway.flask_attempts")
password = importlib.import_module("ansible.module_utils.slipway.flask_secret_files")
warm = importlib.import_module("ansible.module_utils.slipway.flask_warm")
rollback = importlib.import_module("plugins.modules.flask_rollback")
prune = importlib.import_module("plugins.modules.flask_prune")
filters = importlib.import_module("plugins.filter.flask_releases")
lock = importlib.import_module("plugins.modules.deploy_lock")

A, B, C, D = (letter * 12 for letter in "abcd")


class EndError(Exception):
    """A module ended; it carries what it said."""


class Module:
    """What the modules need of AnsibleModule, with made-up answers of commands."""

    check_mode = False

    def __init__(self, commands: dict[str, tuple[int, str]] | None = None, **params: Any) -> None:
        self.params = params
        self.commands = commands or {}
        self.ran: list[str] = []

    def run_command(self, command: list[str]) -> tuple[int, str, str]:
        """Answer the longest beginning that is known; everything else succeeds silently."""
        text = " ".join(command)
        self.ran.append(text)
        known = [begin for begin in self.commands if text.startswith(begin)]
        code, out = self.commands[max(known, key=len)] if known else (0, "")
        return code, out, out

    def fail_json(self, **said: Any) -> None:
        """End with a failure."""
        raise EndError(said["msg"])

    def exit_json(self, **said: Any) -> None:
        """End well."""
        raise EndError(said)


def entry(release: str, outcome: str = "healthy", kind: str = "deploy", **more: Any) -> Any:
    """Return an entry of the ledger."""
    return {"release": release, "outcome": outcome, "kind": kind, "package": "shop",
            "version": "1.0", **more}  # fmt: skip


def state(directory: Path, serving: str, *entries: dict[str, Any]) -> Any:
    """Write a ledger and return it as it is read back."""
    (directory / "releases.json").write_text(json.dumps(entries))
    if serving:
        (directory / "current.json").write_text(json.dumps({"release": serving}))
    for one in entries:
        spec = {"release": one["release"], "image": f"shop-flask:{one['release']}"}
        host.replace(directory / "releases" / f"{one['release']}.json", json.dumps(spec), 0o600)
    return host.Ledger(str(directory))


# What is kept


def test_a_host_without_a_ledger_has_had_no_release(tmp_path: Path) -> None:
    """A host without a ledger has had no release."""
    empty = host.Ledger(str(tmp_path))
    assert (empty.entries, empty.serving, empty.kept(5)) == ([], "", [])


@pytest.mark.parametrize("failed", [{"failed_in": "health"}, {"stage": "start container"}])
def test_the_last_attempt_of_a_release_counts(tmp_path: Path, failed: dict[str, str]) -> None:
    """The last attempt of a release counts."""
    ledger = state(tmp_path, B, entry(A), entry(B), entry(A, "failed", **failed))
    assert ledger.healthy() == [B]


@pytest.mark.parametrize(
    ("outcome", "stage"), [("failed", "build"), ("failed", "start container"), ("interrupted", "")]
)
def test_an_attempt_that_never_started_says_nothing_of_the_release(
    tmp_path: Path, outcome: str, stage: str
) -> None:
    """An attempt that never started says nothing of the release."""
    ledger = state(tmp_path, B, entry(A), entry(B), entry(A, outcome, failed_in=stage))
    assert ledger.healthy() == [B, A]
    assert ledger.kept(2) == [B, A]


def test_kept_are_the_one_that_serves_and_the_last_good_ones(tmp_path: Path) -> None:
    """Kept are the one that serves and the last good ones."""
    ledger = state(tmp_path, D, entry(A), entry(B), entry(C, "failed"), entry(D))
    assert ledger.kept(2) == [D, B]
    assert ledger.kept(5) == [D, B, A]


def test_the_release_that_a_rollback_goes_to_is_kept_before_newer_ones(tmp_path: Path) -> None:
    """The release that a rollback goes to is kept before newer ones."""
    ledger = state(
        tmp_path, D, entry(A), entry(B, "rolled back"), entry(C, "rolled back"), entry(D)
    )
    assert ledger.kept(2) == [D, A]
    assert ledger.kept(3) == [D, A, C]
    assert ledger.kept(9) == [D, A, C, B]


@pytest.mark.parametrize(("serving", "outcome"), [(A, "healthy"), (B, "interrupted")])
def test_the_attempt_of_a_killed_play_is_settled_by_what_serves(
    tmp_path: Path, serving: str, outcome: str
) -> None:
    """The attempt of a killed play is settled by what serves."""
    ledger = state(tmp_path, serving, entry(A, "running"))
    ledger.settle("0001")
    assert ledger.entries[0]["outcome"] == outcome
    assert ledger.entries[0].get("schema") == ("0001" if serving == A else None)


def test_a_ledger_is_replaced_whole(tmp_path: Path) -> None:
    """A ledger is replaced whole."""
    ledger = state(tmp_path, A, entry(A))
    before = (tmp_path / "releases.json").stat().st_ino
    ledger.write()
    assert (tmp_path / "releases.json").stat().st_ino != before
    assert [path.name for path in tmp_path.glob(".*")] == []


# Where a rollback goes


def target(directory: Path, schema: str = "", **params: Any) -> Any:
    """Return the release that a rollback goes to."""
    module = Module(
        {"docker image inspect": (0, "sha256:x"), "ask": (0, schema), **params.pop("commands", {})},
        release=params.get("release", ""),
        schema_command=["ask"],
        force=params.get("force", False),
    )
    return attempts.target(module, host.Ledger(str(directory)))["release"]


def test_it_goes_to_the_last_healthy_one_and_skips_what_failed(tmp_path: Path) -> None:
    """It goes to the last healthy one and skips what failed."""
    state(tmp_path, D, entry(A), entry(B), entry(C, "failed"), entry(D))
    assert target(tmp_path) == B


def test_once_more_goes_further_back(tmp_path: Path) -> None:
    """Once more goes further back."""
    state(
        tmp_path, B, entry(A), entry(B), entry(C, "rolled back"), entry(B, kind="rollback", left=C)
    )
    assert target(tmp_path) == A


def test_a_rollback_that_was_killed_after_the_switch_counts(tmp_path: Path) -> None:
    """A rollback that was killed after the switch counts."""
    state(tmp_path, B, entry(A), entry(B), entry(C), entry(B, "running", "rollback", left=C))
    assert target(tmp_path) == A


def test_a_rollback_that_was_killed_before_the_switch_is_done_again(tmp_path: Path) -> None:
    """A rollback that was killed before the switch is done again."""
    state(tmp_path, C, entry(A), entry(B), entry(C), entry(B, "running", "rollback", left=C))
    assert target(tmp_path) == B


def test_a_release_that_was_left_is_marked_as_such(tmp_path: Path) -> None:
    """A release that was left is marked as such."""
    ledger = state(
        tmp_path, A, entry(A), entry(B), entry(A, "running", "rollback", left=B)
    )  # fmt: skip
    module = Module(entry={"outcome": "healthy", "image": "i"}, clock=[], schema_command=[])
    attempts.end(module, ledger)
    assert [one["outcome"] for one in host.Ledger(str(tmp_path)).entries] == [
        "healthy", "rolled back", "healthy",
    ]  # fmt: skip


def test_a_release_whose_image_is_gone_is_passed_over(tmp_path: Path) -> None:
    """A release whose image is gone is passed over."""
    state(tmp_path, C, entry(A), entry(B), entry(C))
    gone = {f"docker image inspect --format={{{{.Id}}}} shop-flask:{B}": (1, "")}
    assert target(tmp_path, commands=gone) == A


@pytest.mark.parametrize(
    ("entries", "params", "sentence"),
    [
        ([entry(A)], {}, "there is no earlier healthy release than aaaaaaaaaaaa"),
        ([entry(A), entry(B)], {"release": C}, "there is no release 'cccccccccccc'"),
        ([entry(A), entry(B)], {"release": "../x"}, "there is no release '../x'"),
        ([entry(B), entry(A)], {"release": A}, "serves already, so nothing was changed"),
        ([entry(B, schema="1"), entry(A)], {"schema": "2"}, "schema is 2, and release b+ was made"),
        ([entry(B), entry(A)], {"schema": "2"}, "nobody noted which schema release b+ was made"),
        ([entry(B), entry(A)], {"commands": {"ask": (1, "no server")}}, r"\(no server\)"),
        (
            [entry(B), entry(A)],
            {"commands": {"docker image inspect": (1, "")}},
            "is no longer on the host, and a rollback builds nothing",
        ),
    ],
)
def test_what_it_refuses_is_said_in_a_sentence(
    tmp_path: Path, entries: list[Any], params: dict[str, Any], sentence: str
) -> None:
    """What it refuses is said in a sentence."""
    state(tmp_path, A, *entries)
    with pytest.raises(EndError, match=sentence):
        target(tmp_path, **params)


def test_force_takes_a_schema_that_the_release_does_not_know(tmp_path: Path) -> None:
    """Force takes a schema that the release does not know."""
    state(tmp_path, A, entry(B, schema="1"), entry(A))
    assert target(tmp_path, schema="2", force=True) == B


# Pruning


def test_pruning_leaves_other_projects_and_what_a_container_uses(tmp_path: Path) -> None:
    """Pruning leaves other projects and what a container uses."""
    module = Module(
        {
            "docker ps": (0, f"shop-flask:{B}"),
            "docker image ls": (0, f"shop-flask:{A}\nshop-flask:{B}\nshop-flask:{C}\nother:{A}"),
            "docker image rm": (0, "Untagged"),
        },
        project="shop",
    )
    assert prune.prune_images(module, {A}) == {C}
    assert [ran for ran in module.ran if " rm " in ran] == [f"docker image rm shop-flask:{C}"]


def test_pruning_removes_only_what_is_named_after_a_release(tmp_path: Path) -> None:
    """Pruning removes only what is named after a release."""
    for name in (A, B, "salt", "current", f".{A}.77"):
        (tmp_path / name).mkdir()
    (tmp_path / f"{C}.json").touch()
    assert prune.prune_files(tmp_path, {A}) == {A, B, C}
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([A, "salt", "current"])


# Static files


def test_a_release_serves_its_own_files_and_those_of_others_beside_them(tmp_path: Path) -> None:
    """A release serves its own files and those of others beside them."""
    old, new, served = tmp_path / "old", tmp_path / "new", tmp_path / "served"
    for release in (old, new):
        (release / "css").mkdir(parents=True)
        (release / "css" / f"{release.name}.css").write_text(release.name)
        (release / "css/same.css").write_text(release.name)
    # A directory of one is a file of the other.
    (old / "icons").mkdir()
    (old / "icons/a.png").touch()
    (new / "icons").touch()
    served.mkdir()
    static.lay(new, served)
    static.lay(old, served)
    assert (served / "css/same.css").read_text() == "new"
    assert (served / "css/old.css").read_text() == "old"
    assert (served / "icons").is_file()


# Draining


class Application:
    """Answers on a socket as uWSGI does with one worker, and tells its stats on another."""

    def __init__(self, directory: Path, seconds: float) -> None:
        self.seconds = seconds
        self.requests = 0
        self.busy = 0
        self.answered: list[bytes] = []
        self.listeners = {}
        for name, serve in (("sock", self._serve), ("stats", self._tell)):
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(str(directory / f"{A}.{name}"))
            listener.listen(10)
            self.listeners[name] = listener
            threading.Thread(target=serve, args=(listener,), daemon=True).start()

    def _serve(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            # A visitor may have gone by the time of its answer.
            with connection, suppress(ConnectionError):
                self.busy = 1
                asked = connection.recv(65536)
                # A request of a visitor takes its time, the health path does not.
                time.sleep(0 if b"/health" in asked else self.seconds)
                self.answered.append(asked)
                self.requests += 1
                self.busy = 0
                connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")

    def _tell(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection, suppress(ConnectionError):
                worker = {"cores": [{"in_request": self.busy}], "requests": self.requests}
                # As uWSGI says of a unix socket, whatever waits there.
                told = {"listen_queue": 0, "workers": [worker]}
                connection.sendall(json.dumps(told).encode())


@pytest.fixture
def application(tmp_path: Path) -> Iterator[Application]:
    """Run an application whose requests take 0.3 s."""
    app = Application(tmp_path, 0.3)
    yield app
    for listener in app.listeners.values():
        listener.close()


@pytest.fixture
def ask(tmp_path: Path) -> Iterator[Callable[[str], None]]:
    """Put a request into the queue, and wait for no answer."""
    visitors = []

    def put(name: str) -> None:
        visitor = socket.socket(socket.AF_UNIX)
        visitor.connect(str(tmp_path / f"{A}.sock"))
        visitor.sendall(name.encode())
        visitors.append(visitor)

    yield put
    for visitor in visitors:
        visitor.close()


def drain(directory: Path, seconds: float) -> int:
    """Drain the application."""
    module = Module(front="", path="/health", host="localhost")
    left: int = retire.drain(module, directory, A, time.monotonic() + seconds)
    return left


def test_what_waits_in_the_queue_is_answered_first(
    tmp_path: Path, application: Application, ask: Callable[[str], None]
) -> None:
    """What waits in the queue is answered first."""
    for number in range(3):
        ask(f"visitor {number}")
    assert drain(tmp_path, 10) == 0
    assert application.answered[:3] == [b"visitor 0", b"visitor 1", b"visitor 2"]
    assert b"/health" in application.answered[3]


def test_a_request_that_takes_too_long_is_counted(
    tmp_path: Path, ask: Callable[[str], None]
) -> None:
    """A request that takes too long is counted."""
    app = Application(tmp_path, 5)
    ask("visitor")
    time.sleep(0.1)
    assert drain(tmp_path, 0.3) == 1
    for listener in app.listeners.values():
        listener.close()


def test_a_full_queue_is_waited_for(tmp_path: Path) -> None:
    """A full queue is waited for."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / f"{A}.sock"))
    listener.listen(0)
    waiting = [socket.socket(socket.AF_UNIX) for _ in range(1)]
    for visitor in waiting:
        visitor.connect(str(tmp_path / f"{A}.sock"))
    began = time.monotonic()
    assert not retire.ask_last(tmp_path / f"{A}.sock", b"asked", began + 0.3)
    assert time.monotonic() - began > 0.2
    for one in (listener, *waiting):
        one.close()


def test_the_last_request_asks_for_the_name_of_the_site() -> None:
    """An application that knows no other one would note a fault with each deploy."""
    sent = retire.packet("/up?deep=1", "shop.example")
    packet = sent[4:]
    assert len(packet) == struct.unpack("<xHx", sent[:4])[0]
    words = []
    while packet:
        length = struct.unpack("<H", packet[:2])[0]
        words.append(packet[2 : 2 + length].decode())
        packet = packet[2 + length :]
    found = dict(zip(words[::2], words[1::2], strict=True))
    assert found["HTTP_HOST"] == "shop.example"
    assert (found["PATH_INFO"], found["QUERY_STRING"]) == ("/up", "deep=1")
    assert found["REQUEST_URI"] == "/up?deep=1"


def test_a_release_that_does_not_run_is_drained(tmp_path: Path) -> None:
    """A release that does not run is drained."""
    assert drain(tmp_path, 5) == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives directories away")
def test_a_link_among_the_sockets_is_not_followed(tmp_path: Path) -> None:
    """The application owns their directory; the engine's own socket, say, is not asked."""
    sockets, other = tmp_path / "sockets", tmp_path / "engine.sock"
    sockets.mkdir()
    os.chown(sockets, 10001, 10001)
    asked = []
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(other))
        server.listen()
        server.settimeout(0.2)
        (sockets / f"{A}.sock").symlink_to(other)
        with pytest.raises(host.volume.ProblemError, match="a symbolic link"):
            retire.exchange(sockets / f"{A}.sock", b"x", time.monotonic() + 1)
        assert retire.ask_last(sockets / f"{A}.sock", "/", time.monotonic() + 1)
        with suppress(TimeoutError):
            asked.append(server.accept())
    assert asked == []
    # Nor is what makes the link of the cut-over led elsewhere.
    (sockets / ".current.sock.new").symlink_to(other)
    (sockets / "current.sock").symlink_to(other)
    assert host.link(sockets / "current.sock", f"{B}.sock")
    assert str((sockets / "current.sock").readlink()) == f"{B}.sock"
    assert other.is_socket()


def test_static_files_lead_nowhere_else(tmp_path: Path) -> None:
    """The front would serve its own key; a link within the files is well."""
    (tmp_path / "js").mkdir()
    (tmp_path / "js/app-1.js").touch()
    (tmp_path / "js/app.js").symlink_to("app-1.js")
    (tmp_path / "all").symlink_to("js/../js")
    assert static.astray(tmp_path) == ""
    for target in (
        "/etc/nginx/slipway/tls/live/privkey.pem",
        "../../key",
        "../../" + tmp_path.name,
    ):
        (tmp_path / "js/key").symlink_to(target)
        assert static.astray(tmp_path) == "js/key"
        (tmp_path / "js/key").unlink()
    os.mkfifo(tmp_path / "wait")
    assert static.astray(tmp_path) == "wait"


def test_a_link_of_an_older_release_is_not_followed(tmp_path: Path) -> None:
    """Where a later one has a directory of that name."""
    for name in ("old", "new/assets", "served", "elsewhere"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "old/assets").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "new/assets/file").touch()
    (tmp_path / "served/assets").symlink_to(tmp_path / "elsewhere")
    static.lay(tmp_path / "new", tmp_path / "served")
    assert list((tmp_path / "elsewhere").iterdir()) == []


# The lock


def held(path: Path, what: str = "held", who: str = "mine", **more: Any) -> Any:
    """Run the lock's module; return what it said."""
    module = Module(
        path=str(path), state=what, token=who, holder=f"{who}@here", what="deploy",
        lease=more.get("lease", 60),
    )  # fmt: skip
    with pytest.raises(EndError) as ended:
        lock.change(module, path)
    return ended.value.args[0]


def test_the_second_one_is_refused_with_who_and_since_when(tmp_path: Path) -> None:
    """The second one is refused with who and since when."""
    path = tmp_path / "shop.lock"
    held(path)
    assert held(path, who="other").startswith("mine@here has been running a deploy of this")
    held(path, "free")
    assert held(path, who="other")["holder"] == "other@here"


def test_nobody_frees_the_lock_of_another(tmp_path: Path) -> None:
    """Nobody frees the lock of another."""
    path = tmp_path / "shop.lock"
    held(path)
    held(path, "free", who="other")
    assert path.exists()


def test_a_lock_that_nobody_keeps_fresh_is_free(tmp_path: Path) -> None:
    """A lock that nobody keeps fresh is free."""
    path = tmp_path / "shop.lock"
    held(path)
    os.utime(path, (0, 0))
    assert held(path, who="other")["holder"] == "other@here"


def test_a_lock_can_be_taken_away(tmp_path: Path) -> None:
    """A lock can be taken away."""
    path = tmp_path / "shop.lock"
    held(path)
    assert held(path, "broken")["changed"]
    assert not held(path, "broken")["changed"]


# What is shown


def test_the_table_marks_the_release_that_serves(tmp_path: Path) -> None:
    """The table marks the release that serves."""
    table = filters.releases_table(
        [
            entry(A, ended="2026-01-02T03:04:05+00:00", stages={"build": 1.04, "stop": 1}, by="me"),
            entry(B, "failed", stage="build"),
            entry(B, "failed", failed_in="migrate"),
        ],
        A,
    ).splitlines()
    assert table[1].split() == [
        "*", A, "shop", "1.0", "deploy", "healthy", "2026-01-02", "03:04:05Z", "2.0", "s", "-",
        "me",
    ]  # fmt: skip
    # As an earlier version noted it, and as it is noted now.
    assert "failed after build " in table[2]
    assert "failed in migrate " in table[3]
    assert filters.releases_table([], "") == "No release was deployed yet."


def test_the_cut_over_begins_when_the_image_is_there() -> None:
    """The cut over begins when the image is there."""
    text = filters.stages_text({"prepare": 1, "build": 30, "migrate": 2, "stop": 1.5})
    assert text.endswith("from image to old release stopped 3.5 s")


@pytest.mark.parametrize(
    ("text", "old", "new", "then"),
    [
        ("long-enough-one", "long-enough-one", "another", "another"),
        ("short", "short", "another", "another"),
        ("shortbread", "short", "another", "shortbread"),
        ("password=long-enough-one", "long-enough-one", "p@ss", "password=p@ss"),
        ("postgres://u:long-enough-one@h/d", "long-enough-one", "p@s/s", "postgres://u:p%40s%2Fs@h/d"),
        ("postgres://u:with%2Fslash%40and@h/d", "with/slash@and", "another", "postgres://u:another@h/d"),
        ("postgres://u:with/slash%40and@h/d", "with/slash@and", "another", "postgres://u:another@h/d"),
        ("token of its own", "long-enough-one", "another", "token of its own"),
    ],
)  # fmt: skip
def test_a_kept_release_gets_the_password_of_today(
    text: str, old: str, new: str, then: str
) -> None:
    """Alone, in a URL, quoted; not in the middle of another secret."""
    assert password.renewed(text, old, new) == then


def test_the_files_of_a_kept_release_get_the_password_of_today(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own file last, so that a killed rollback can be done again."""
    monkeypatch.setattr(os, "fchown", lambda *given: None)
    (tmp_path / "env").mkdir()
    for name, text in (("env/A", "old"), ("env/B", "other"), ("postgres_password", "old")):
        (tmp_path / name).write_text(text)
    assert password.change(tmp_path, "new", 1) == ["A", "postgres_password"]
    assert (tmp_path / "env/A").read_text() == (tmp_path / "postgres_password").read_text() == "new"
    assert (tmp_path / "env/B").read_text() == "other"
    assert (tmp_path / "renewed").exists()
    assert password.change(tmp_path, "new", 1) == []


# Releases that stay in memory


def warm_note(state_dir: Path, release: str) -> Path:
    """Return the note of a release that is warm."""
    note = state_dir / "warm" / f"{release}-0a1b2c3d"
    note.parent.mkdir(exist_ok=True)
    note.touch()
    return note


def test_a_release_that_was_left_is_frozen_and_can_be_had_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A start of the host begins without it; who wants it has it once."""
    module = Module({"docker inspect": (0, '["CMD", "true"]')})
    monkeypatch.setattr(warm, "ask", lambda *given: (True, ""))
    began: list[Any] = []
    monkeypatch.setattr(warm.subprocess, "Popen", lambda command, **more: began.append(command))
    warm.freeze(module, "shop", A, tmp_path, tmp_path, 15)
    assert module.ran == [
        f"docker update --restart=no shop-flask-{A}", f"docker pause shop-flask-{A}",
    ]  # fmt: skip
    assert "900" in began[0]
    assert [note.name.partition("-")[0] for note in warm.notes(tmp_path)] == [A]
    assert warm.wake(module, "shop", A, tmp_path)
    assert f"docker update --restart=always shop-flask-{A}" in module.ran
    assert not warm.wake(module, "shop", A, tmp_path)


@pytest.mark.parametrize(("answers", "stays"), [(True, True), (False, False)])
def test_a_warm_release_serves_only_where_it_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answers: bool, stays: bool
) -> None:
    """Else it is started as any other."""
    warm_note(tmp_path, A)
    monkeypatch.setattr(warm, "ask", lambda *given: (answers, ""))
    module = Module({"docker inspect": (0, '["CMD", "true"]')})
    assert warm.wake(module, "shop", A, tmp_path) == stays


@pytest.mark.parametrize("claimed", [False, True])
def test_the_host_stops_a_warm_release_that_nobody_wanted(tmp_path: Path, claimed: bool) -> None:
    """Whoever has the note has the say: one that a play has taken goes on."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/docker").write_text(f'#!/bin/sh\necho "$@" >>{tmp_path}/asked\n')
    (tmp_path / "bin/docker").chmod(0o755)
    note, sock = warm_note(tmp_path, A), tmp_path / f"{A}.sock"
    sock.touch()
    if claimed:
        assert warm.claim(tmp_path, A)
    subprocess.run(
        ["sh", "-c", warm.COOL, "sh", "0", str(note), f"shop-flask-{A}", str(sock), str(sock)],
        check=True, env={"PATH": f"{tmp_path}/bin:/usr/bin:/bin"},
    )  # fmt: skip
    asked = (tmp_path / "asked").read_text() if (tmp_path / "asked").exists() else ""
    assert ("rm --force" in asked) != claimed
    assert sock.exists() == claimed
    assert list((tmp_path / "warm").iterdir()) == []


def test_memory_is_to_spare_or_not() -> None:
    """By what the kernel says is available."""
    assert warm.to_spare(1)
    assert not warm.to_spare(10**9)


def test_a_rollback_takes_the_names_of_today() -> None:
    """A release without such a list gets none."""
    spec = {"env": {"TRUSTED_HOSTS": "a.example,b.example"}}
    assert rollback.of_today(spec, ["b.example", "c.example"])["env"]["TRUSTED_HOSTS"] == (
        "a.example,b.example,c.example"
    )
    assert rollback.of_today(spec, ["a.example"]) == spec
    assert rollback.of_today({"env": {}}, ["a.example"]) == {"env": {}}


def test_a_warm_release_is_no_drift(tmp_path: Path) -> None:
    """It goes by itself; another container of the same kind is one."""
    warm_note(tmp_path, A)
    look = importlib.import_module("plugins.modules.slipway_look")
    assert look.passing(str(tmp_path / "warm"), f"shop-flask-{A}")
    assert not look.passing(str(tmp_path / "warm"), f"shop-flask-{B}")
    assert not look.passing(None, f"shop-flask-{A}")
