"""Root in directories that a container's user owns: it is led nowhere else."""

from __future__ import annotations

import argparse
import ast
import importlib
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "roles/data/files"))
volume = importlib.import_module("slipway_data.volume")
host = importlib.import_module("slipway_data.host")
adopt = importlib.import_module("slipway_data.adopt")
recover = importlib.import_module("slipway_data.recover")
restore = importlib.import_module("slipway_data.restore")
rotate = importlib.import_module("slipway_data.rotate")
upgrade = importlib.import_module("slipway_data.upgrade")
main = importlib.import_module("slipway_data.__main__")

# Postgres's user in its container.
USER = 999
CANARY = "# the canary: nobody but root may read or change this\n"
RESTORED, BEFORE = "restore-20260101-000000", "before-restore-20260101-000000"
CLUSTER = {
    "base/1/PG_VERSION": "17", "base/4/PG_VERSION": "17", "base/5/PG_VERSION": "17",
    "PG_VERSION": "17\n", "global/pg_control": "x", "pg_hba.conf": "host all all all md5\n",
    "pg_ident.conf": "", "postgresql.auto.conf": "work_mem = '7MB'\n", "postmaster.pid": "1\n",
    "pg_tblspc/": "", "pg_wal/1": "wal",
}  # fmt: skip
TOP = {name.split("/", maxsplit=1)[0] for name in CLUSTER}


def lay(directory: Path, files: dict[str, str]) -> None:
    """Make files, and directories where the name ends with a slash."""
    for name, text in files.items():
        path = directory / name
        if name.endswith("/"):
            path.mkdir(parents=True)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)


def theirs(directory: Path) -> None:
    """Give a tree to the container's user; without root, let everybody write there instead."""
    for path in [directory, *directory.rglob("*")]:
        if path.is_symlink():
            continue
        if os.geteuid() == 0:
            os.chown(path, USER, USER)
        elif path.is_dir():
            path.chmod(0o777)


def seen(directory: Path) -> dict[str, tuple[Any, ...]]:
    """Return all that can be told of what is below a directory."""
    found = {}
    for path in [directory, *sorted(directory.rglob("*"))]:
        there = path.lstat()
        content = path.read_text() if stat.S_ISREG(there.st_mode) else ""
        found[str(path)] = (there.st_mode, there.st_uid, there.st_gid, content)
    return found


def engine(volumes: dict[str, Path]) -> Callable[..., Any]:
    """Return a stand-in for subprocess.run that plays the engine; other programs are run."""
    real, state = subprocess.run, ["running"]

    def run(command: Any, **options: Any) -> Any:
        if command[0] != "docker":
            return real(command, **options)
        said = "f"
        if command[1:3] == ("volume", "inspect"):
            said = str(volumes.get(command[-1], ""))
        elif "--type=container" in command:
            said = ""
        elif command[1] == "inspect" and "--format={{.State.Status}}" in command:
            said = state[0]
        elif "info" in command:
            said = "[]"
        elif command[1] in ("stop", "start"):
            said, state[0] = "", {"stop": "exited", "start": "running"}[command[1]]
        elif command[1] in ("ps", "update"):
            said = ""
        return subprocess.CompletedProcess(command, 0, said, "")

    return run


class Site:
    """A project's volume and files, what lies outside of them, and what can be done."""

    def __init__(self, root: Path) -> None:
        """Lay the volume of somebody else's and the rest."""
        self.root = root
        self.volume = root / "volumes/v/_data"
        self.outside = root / "outside"
        lay(self.volume, {f"17/docker/{name}": text for name, text in CLUSTER.items()})
        for name in (RESTORED, BEFORE):
            lay(self.volume, {f"17/{name}/{one}": text for one, text in CLUSTER.items()})
        lay(self.volume, {f"16/{name}/PG_VERSION": "16" for name in ("docker", RESTORED)})
        (self.volume / "17" / RESTORED / restore.MARKER).write_text(RESTORED)
        self.foreign = root / "volumes/foreign/_data"
        lay(self.foreign, CLUSTER)
        lay(root / "etc", {"secrets/postgres/password": "secret", "nginx/": ""})
        lay(root / "state", {"data/": ""})
        lay(self.outside, {"canary": CANARY, "directory/canary": CANARY})
        theirs(self.volume)
        theirs(self.foreign)
        self.host = host.Host(
            host.Config(
                project="p", host="here", config_dir=root / "etc", state_dir=root / "state",
                container="c", back_network="n", volume="v", image="i", version="17", memory_mb=256,
                start_timeout=0, stop_timeout=1, backup={"where": ["local", "/b"]},
                cluster={"user": "u", "db": "d", "version": "17"},
            )
        )  # fmt: skip


def entry(site: Site, **given: Any) -> dict[str, Any]:
    """Return the journal's entry of a killed operation."""
    found = {"id": RESTORED, "verb": "restore", "began": "then", "at": 0, "stage": "start"}
    found["kept"] = str(site.volume / "17" / BEFORE)
    return {**found, **given}


def restored(site: Site) -> None:
    """Restore a backup, without an engine."""
    target = restore.Target("latest")
    restore.restored(site.host, target, RESTORED, "0/0")


DEEDS: dict[str, Callable[[Site], Any]] = {
    "prepare": lambda site: main.do_prepare(site.host, argparse.Namespace()),
    "rotate": lambda site: rotate.write(site.host, ["local all u trust"]),
    "start": lambda site: site.host.start(),
    "room": lambda site: site.host.free_bytes(),
    "restored": restored,
    "take over": lambda site: restore.take_over(site.host, f"17/{RESTORED}", RESTORED, 0),
    "back": lambda site: restore.back(site.host),
    "put back": lambda site: restore.put_back(
        site.host, site.volume / "17" / BEFORE, "before-again"
    ),
    "beside": lambda site: restore.beside(site.host, f"17/{RESTORED}", "app"),
    "forget": lambda site: restore.forget(site.host, "all"),
    "killed restore": lambda site: recover._restore(site.host, entry(site)),
    "killed restore that served": lambda site: (
        volume.replace(site.volume / "17/docker" / restore.MARKER, RESTORED),
        recover._restore(site.host, entry(site)),
    ),
    "killed back": lambda site: recover._back(
        site.host, entry(site, before=str(site.volume / "17" / BEFORE))
    ),
    "killed drill": lambda site: recover._drill(site.host, entry(site)),
    "carry over": lambda site: upgrade.carry_over(
        site.volume / "17/docker", site.volume / "17" / RESTORED
    ),
    "place": lambda site: upgrade.place(site.host, "16", RESTORED),
    "killed upgrade": lambda site: upgrade.recover(
        site.host,
        entry(site, **{"from": "17", "to": "16", "container": "x", "closed": False}),
    ),
    "forget versions": lambda site: upgrade.forget(site.host),
    "adopt": lambda site: (
        adopt.directory_of(site.host, "foreign"),
        adopt.bring(site.foreign, site.volume / "17" / RESTORED, sorted(TOP), False),
        adopt.ready(site.host, f"17/{RESTORED}"),
    ),
    "killed adopt": lambda site: adopt.undo(
        site.host,
        entry(site, own=True, names=sorted(TOP), found=str(site.volume), stage="check"),
    ),
}


class Watch:
    """What the program did with files, by the interpreter's audit events; a hook stays for ever."""

    def __init__(self) -> None:
        """Watch nothing yet."""
        self.names: set[str] = set()
        self.count = 0
        self.on = False
        self.act: Callable[[int], None] | None = None
        sys.addaudithook(self._hook)

    def _hook(self, event: str, given: Any) -> None:
        if not self.on or not (event == "open" or event.startswith(("os.", "shutil."))):
            return
        self.count += 1
        for one in given:
            if isinstance(one, str | bytes | os.PathLike):
                self.names.update(os.fsdecode(one).split("/"))
        if self.act:
            self.on = False
            self.act(self.count)
            self.on = True


WATCH = Watch()


@pytest.fixture
def sites(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], Site]]:
    """Return what makes a new site, with an engine that answers."""
    memory = Path("/dev/shm")  # noqa: S108 (thousands of sites are made)
    tmp_path = Path(tempfile.mkdtemp(dir=memory if memory.is_dir() else None))
    volumes = {name: tmp_path / f"site/volumes/{name}/_data" for name in ("v", "foreign")}
    monkeypatch.setattr(host.subprocess, "run", engine(volumes))
    monkeypatch.setattr(os, "fsync", lambda handle: None)
    monkeypatch.setattr(rotate, "granted", lambda host, roles: [])
    monkeypatch.setattr(host.time, "sleep", lambda seconds: None)
    monkeypatch.setattr(restore, "choose", lambda *given: ["l"])
    monkeypatch.setattr(restore, "recover_on", lambda *given: ("0/0", ""))
    for name in ("room", "fetch", "what_was_read"):
        monkeypatch.setattr(restore, name, lambda *given: "")

    def make() -> Site:
        shutil.rmtree(tmp_path / "site", ignore_errors=True)
        return Site(tmp_path / "site")

    def late(number: int, frame: Any) -> None:
        raise TimeoutError("it waits for a FIFO")

    before = signal.signal(signal.SIGALRM, late)
    yield make
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)
    WATCH.on, WATCH.act = False, None
    shutil.rmtree(tmp_path)


def do(site: Site, deed: str) -> None:
    """Do one thing; that it is refused is well."""
    signal.alarm(10)
    WATCH.count, WATCH.on = 0, True
    try:
        DEEDS[deed](site)
    except TimeoutError:
        raise
    except (host.ProblemError, OSError):
        pass
    finally:
        WATCH.on = False
        signal.alarm(0)


def intact(site: Site, before: dict[str, Any], what: str) -> None:
    """Hold what lies outside to what it was, and the volume to what it may have."""
    assert seen(site.outside) == before, what
    for path in site.volume.rglob("*"):
        there = path.lstat()
        if stat.S_ISREG(there.st_mode) and there.st_nlink == 1:
            assert CANARY not in path.read_text(), f"{what}: {path} holds what root alone may read"


def places(before: set[str], after: set[str], names: set[str]) -> list[str]:
    """Return where something could be put for the program to find.

    That is where it touched what was there or came to be, and all over what never was.
    """
    touched = {one for one in before | after if Path(one).name in names and one.count("/") < 3}
    known = {Path(one).name for one in before | after}
    parents = {str(Path(one).parent) for one in touched & before}
    return sorted(touched | {f"{parent}/{name}" for parent in parents for name in names - known})


def tree(site: Site) -> set[str]:
    """Return what the volume has."""
    return {str(path.relative_to(site.volume)) for path in site.volume.rglob("*")}


def plant(site: Site, place: str, kind: str) -> bool:
    """Put something in the place of a file or directory; return whether that makes sense."""
    path, target = site.volume / place, site.outside / "planted"
    there = path.is_dir(), path.is_file()
    if kind == "link":
        if there[0]:
            shutil.copytree(path, target)
            for name in CLUSTER:
                if (target / name).is_file():
                    (target / name).write_text(CLUSTER[name] + CANARY)
            shutil.rmtree(path)
        else:
            target.write_text((path.read_text() if there[1] else "") + CANARY)
            path.unlink(missing_ok=True)
        path.symlink_to(target)
    elif there[0] or (kind == "dangling") == there[1]:
        return False
    else:
        path.unlink(missing_ok=True)
        if kind == "dangling":
            path.symlink_to(site.outside / "new")
        elif kind == "fifo":
            os.mkfifo(path)
        else:
            os.link(site.outside / "canary", path)
    return True


@pytest.mark.parametrize("deed", DEEDS)
def test_nothing_outside_is_touched(sites: Callable[[], Site], deed: str) -> None:
    """Whatever lies in the place of whichever file or directory."""
    names: list[set[str]] = []
    for _ in range(2):
        site = sites()
        before = tree(site)
        WATCH.names.clear()
        do(site, deed)
        names.append(
            {name for name in WATCH.names if name not in ("", ".", "..", "proc", "self", "fd")}
        )
    assert WATCH.count, "it touched no file, so this proves nothing"
    # What has another name each time cannot be foreseen; what lies elsewhere is root's.
    others = {
        *site.volume.parts,
        *(p.name for n in ("etc", "state") for p in (site.root / n).rglob("*")),
    }
    for place in places(before, tree(site), (names[0] & names[1]) - others):
        for kind in ("link", "dangling", "fifo", "hard link"):
            site = sites()
            if not (site.volume / place).parent.is_dir() or not plant(site, place, kind):
                continue
            outside = seen(site.outside)
            do(site, deed)
            intact(site, outside, f"{deed}: {place} was a {kind}")


@pytest.mark.parametrize("deed", ["prepare", "rotate", "back", "forget"])
@pytest.mark.parametrize("place", ["17", "17/docker", f"17/{BEFORE}"])
def test_a_directory_that_is_swapped_meanwhile_leads_nowhere(
    sites: Callable[[], Site], deed: str, place: str
) -> None:
    """For a link, at whichever step of the way."""
    do(sites(), deed)
    steps = WATCH.count
    assert steps > 1

    for step in range(1, steps + 1, max(1, steps // 8)):
        site = sites()
        path, target = site.volume / place, site.outside / "planted"
        shutil.copytree(path, target)
        before = seen(site.outside)

        def swap(count: int, step: int = step, path: Path = path, target: Path = target) -> None:
            if count == step and path.is_dir() and not path.is_symlink():
                path.rename(path.with_name("swapped"))
                path.symlink_to(target)

        WATCH.act = swap
        do(site, deed)
        WATCH.act = None
        intact(site, before, f"{deed}: {place} was swapped at step {step}")


def test_what_a_trusted_directory_links_to_is_followed(tmp_path: Path) -> None:
    """The engine's directory, or that of the state, may lie on another disk."""
    lay(tmp_path, {"disk/state/": ""})
    (tmp_path / "state").symlink_to("disk/../disk/state")
    (tmp_path / "absolute").symlink_to(tmp_path / "state")
    for name in ("state", "absolute"):
        volume.replace(tmp_path / name / "file", name)
        assert volume.read(tmp_path / name / "file") == name
        assert (tmp_path / "disk/state/file").read_text() == name
    (tmp_path / "linked").symlink_to("disk/state/file")
    assert volume.read(tmp_path / "linked") == "absolute"
    (tmp_path / "around").symlink_to("around")
    with pytest.raises(host.ProblemError, match="too many"):
        volume.read(tmp_path / "around/file")


def test_a_first_start_that_was_cut_short_is_no_cluster(tmp_path: Path) -> None:
    """Of any image: initdb writes PG_VERSION first, and the database postgres last."""
    files = {"PG_VERSION": "17\n", "global/pg_control": "x"}
    files |= {f"base/{number}/PG_VERSION": "17\n" for number in (1, 4, 5)}
    for count in range(len(files)):
        lay(tmp_path / str(count), dict(list(files.items())[:count]))
        assert not volume.is_cluster(tmp_path / str(count))
    lay(tmp_path / "whole", files)
    assert volume.is_cluster(tmp_path / "whole")
    (tmp_path / "whole/slipway-first-start-unfinished").touch()
    assert not volume.is_cluster(tmp_path / "whole")


def test_a_file_system_that_cannot_swap_is_known_before(
    tmp_path: Path, sites: Callable[[], Site], monkeypatch: pytest.MonkeyPatch
) -> None:
    """While all that served serves on: nothing was stopped, and nothing is left."""
    volume.require_exchange(tmp_path)
    assert list(tmp_path.iterdir()) == []

    def cannot(one: Path, other: Path) -> None:
        raise host.ProblemError("the file system cannot swap")

    monkeypatch.setattr(volume, "exchange", cannot)
    site = sites()
    before = tree(site)
    for deed in (restore.back, lambda one: restore.restore(one, restore.Target("latest"))):
        with pytest.raises(host.ProblemError, match="cannot swap"):
            deed(site.host)
        assert site.host.container_state() == "running"
        assert tree(site) == before
        assert not site.host.journal.read()


def test_the_sentence_names_the_place(tmp_path: Path) -> None:
    """And says what to do."""
    lay(tmp_path, {"data/": "", "secret": "s"})
    (tmp_path / "data/pg_hba.conf").symlink_to(tmp_path / "secret")
    theirs(tmp_path / "data")
    with pytest.raises(host.ProblemError, match=r"data/pg_hba\.conf is reached .* remove it"):
        volume.read(tmp_path / "data/pg_hba.conf")
    with pytest.raises(host.ProblemError, match="remove it"):
        volume.is_file(tmp_path / "data/pg_hba.conf")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_a_replaced_file_is_its_directory_owners(tmp_path: Path) -> None:
    """What root writes for a container can be read by the user that it runs as."""
    (tmp_path / "data").mkdir()
    theirs(tmp_path / "data")
    volume.replace(tmp_path / "data/password", "new", 0o400)
    there = (tmp_path / "data/password").stat()
    assert (there.st_uid, there.st_gid, stat.S_IMODE(there.st_mode)) == (USER, USER, 0o400)
    assert volume.read(tmp_path / "data/password") == "new"
    (tmp_path / "new").mkdir()
    theirs(tmp_path / "new")
    with volume.filled(tmp_path / "new") as inside:
        assert (tmp_path / "new").stat().st_uid == 0
        (inside / "sub").mkdir()
        (inside / "sub/file").touch()
        (inside / "sub/link").symlink_to("/etc/passwd")
    everything = [tmp_path / "new", *(tmp_path / "new").rglob("*")]
    assert {path.lstat().st_uid for path in everything} == {USER}
    assert Path("/etc/passwd").stat().st_uid == 0
    with pytest.raises(host.ProblemError, match="not empty"), volume.filled(tmp_path / "new"):
        pass


def test_bytes_that_are_no_text_stay(tmp_path: Path) -> None:
    """A comment in pg_hba.conf may be of any encoding."""
    (tmp_path / "pg_hba.conf").write_bytes(b"# caf\xe9\n")
    volume.replace(tmp_path / "pg_hba.conf", "new\n" + volume.read(tmp_path / "pg_hba.conf"))
    assert (tmp_path / "pg_hba.conf").read_bytes() == b"new\n# caf\xe9\n"


def test_what_is_written_halfway_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk leaves the file as it was, and no rest."""
    (tmp_path / "file").write_text("old")

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        volume.replace(tmp_path / "file", "new")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_text() == "old"


def test_only_a_socket_is_connected_to(tmp_path: Path) -> None:
    """Not the engine's own, to which a link leads."""
    lay(tmp_path, {"sockets/file": ""})
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
        server.bind(str(tmp_path / "sockets/release.sock"))
        server.listen()
        (tmp_path / "sockets/link.sock").symlink_to("release.sock")
        theirs(tmp_path / "sockets")
        with pytest.raises(host.ProblemError, match="a symbolic link"):
            volume.connect(client, tmp_path / "sockets/link.sock")
        with pytest.raises(ConnectionRefusedError):
            volume.connect(client, tmp_path / "sockets/file")
        with pytest.raises(FileNotFoundError):
            volume.connect(client, tmp_path / "sockets/none")
        volume.connect(client, tmp_path / "sockets/release.sock")


# Methods of Path, and of modules, that go by a path and follow what lies in it.
BY_PATH = re.compile(
    r"(read|write)_(text|bytes)|open|exists|is_(file|dir|symlink)|unlink|remove|rename|touch|l?stat"
    r"|l?chmod|chown|(mk|rm|list|scan)dir|makedirs|iterdir|r?glob|f?walk|(sym|hard)?link(_to)?|readlink"
    r"|resolve|rmtree|copy2?|copytree|move|mkstemp|statvfs"
)
# The kernel's files, and the operator's, who named them.
GIVEN = {
    "host.py": {"runs"},
    "timers.py": {"_of"},
    "dumps.py": {"stream", "checksum", "readable", "elsewhere", "kind_of", "load", "dump"},
}


def test_the_program_goes_by_no_path() -> None:
    """All that it does to files it does by the one module that is led nowhere."""
    wrong = []
    for path in sorted((ROOT / "roles/data/files/slipway_data").glob("*.py")):
        # Locks lie in a directory of root's.
        if path.name in ("volume.py", "locks.py"):
            continue
        tree = ast.parse(path.read_text())
        for function in ast.walk(tree):
            if not isinstance(function, ast.FunctionDef):
                continue
            if function.name in GIVEN.get(path.name, ()):
                continue
            for node in ast.walk(function):
                if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                    continue
                owner = node.func.value
                if isinstance(owner, ast.Name) and owner.id in ("volume", "self"):
                    continue
                if BY_PATH.fullmatch(node.func.attr):
                    wrong.append(f"{path.name}:{node.lineno}: {ast.unparse(node)[:60]}")
    assert wrong == []
