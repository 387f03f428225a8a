"""What every operation stands on: the configuration, the engine's client, the lock, the journal."""

from __future__ import annotations

import dataclasses
import fcntl
import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from slipway_data import locks, volume
from slipway_data.volume import ProblemError, exchange, replace

__all__ = ["ProblemError", "exchange", "replace"]

LOCKS = Path("/run/slipway")
# What excludes each other, in the order in which the locks are taken. A backup and a drill, which may take hours, only
# read what serves: a deploy goes on beside them.
KINDS = ("data", "dump", "repository")
HOLDS = {
    "prepare": ("data",), "roles": ("data",), "rotate": ("data",), "moment": ("data",), "load": ("data", "dump"),
    "dump": ("dump",), "backup": ("repository",), "drill": ("repository",), "scratch": ("repository",),
}  # fmt: skip
# As little as the timers' units had; an image may be without the second.
GENTLY = (
    "sh", "-c",
    'if command -v ionice >/dev/null; then exec nice -n 10 ionice -c 2 -n 7 "$@"; fi; exec nice -n 10 "$@"', "sh",
)  # fmt: skip
# What every container of the project may not: write outside of its mounts, and become more than it is.
CLOSED = (
    "--read-only", "--tmpfs=/tmp:size=64m,mode=1777",
    "--cap-drop=ALL", "--security-opt=no-new-privileges:true", "--pids-limit=500",
)  # fmt: skip


def utc(moment: float | None = None) -> datetime:
    """Return a moment (seconds since the epoch; none is now) with its zone."""
    at = time.time() if moment is None else moment
    return datetime.fromtimestamp(at, tz=timezone.utc)  # noqa: UP017 (Python 3.10)


def stamp() -> str:
    """Return the time as it stands in names: 20261122-103100."""
    return utc().strftime("%Y%m%d-%H%M%S")


def clock(moment: float | None = None) -> str:
    """Return a moment as people and Postgres read it: 2026-11-22 10:31:00+00."""
    return utc(moment).strftime("%Y-%m-%d %H:%M:%S+00")


def size(count: float) -> str:
    """Return a number of bytes as a person writes it."""
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} {unit}"
        count /= 1024
    return f"{count:.1f} GiB"


def duration(seconds: float) -> str:
    """Return a number of seconds as a person writes it."""
    for limit, unit, one in ((120, "s", 1), (7200, "min", 60), (172800, "h", 3600)):
        if seconds < limit:
            return f"{seconds / one:.0f} {unit}"
    return f"{seconds / 86400:.0f} days"


def table(rows: list[list[str]]) -> list[str]:
    """Return rows of cells as aligned lines."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip()  # noqa: B905
        for row in rows
    ]


def read_json(path: Path) -> Any:
    """Return what a file holds; none if there is no file, or nothing that makes sense."""
    try:
        return json.loads(volume.read(path))
    except (OSError, ValueError):
        return None


@dataclass
class Config:
    """What the role wrote down of the project; fields are those of data.json."""

    project: str
    host: str
    config_dir: Path
    state_dir: Path
    container: str
    # The one that the application shares with it.
    back_network: str
    volume: str
    image: str
    version: str
    memory_mb: int
    start_timeout: int
    stop_timeout: int
    # How to reach the repository of backups; empty while backups are off.
    backup: dict[str, Any]
    cluster: dict[str, Any]
    # Where it was read from.
    path: str = ""

    @classmethod
    def read(cls, path: str) -> Config:
        """Return the configuration in a file; raise ProblemError where there is none."""
        given = read_json(Path(path))
        if not given:
            raise ProblemError(f"{path} is not there or damaged: `./slipway deploy` writes it")
        config = cls(**given, path=path)
        config.config_dir, config.state_dir = Path(config.config_dir), Path(config.state_dir)
        # Written when the cluster was made; a restore onto a new host goes by the inventory.
        config.cluster = read_json(config.config_dir / "postgres.json") or config.cluster
        return config

    def rewrite(self, **changes: Any) -> None:
        """Change fields, also in the file, as the role writes it."""
        given = {**read_json(Path(self.path)), **changes}
        replace(Path(self.path), json.dumps(given, indent=1, sort_keys=True) + "\n")
        for name, value in changes.items():
            setattr(self, name, value)

    @property
    def user(self) -> str:
        """Return the superuser, Slipway's own; before the application had its own role it is that of both."""
        return str(self.cluster["user"])

    @property
    def parted(self) -> bool:
        """Return whether the application has a role of its own."""
        return "owner" in self.cluster

    @property
    def owner(self) -> str:
        """Return the application's role, which owns its database."""
        return str(self.cluster.get("owner") or self.user)

    @property
    def former(self) -> list[str]:
        """Return the roles that the application came in by before, and that a rollback may need."""
        return list(self.cluster.get("former") or [])

    @property
    def secret(self) -> str:
        """Return the name of the superuser's password below secrets/postgres."""
        return "superuser" if self.parted else "password"

    @property
    def superusers(self) -> list[str]:
        """Return the names that the superuser may have in this cluster, or in an older backup of it."""
        made = self.cluster.get("made_as")
        return list(dict.fromkeys([self.user, *([made] if made else []), self.owner, *self.former]))

    def note_cluster(self, **changes: Any) -> None:
        """Write down what the cluster was made with, and which roles it has; none takes a field away."""
        known = {"version": self.version, **self.cluster, **changes}
        made = {name: value for name, value in known.items() if value}
        replace(self.config_dir / "postgres.json", json.dumps(made) + "\n")
        # As the role will write it from that.
        self.rewrite(cluster=made)

    @property
    def data_name(self) -> str:
        """Return the data directory's path below the volume."""
        return f"{self.version}/docker"

    @property
    def own(self) -> Path:
        """Return the directory of what the operations remember."""
        return self.state_dir / "data"


def call(*command: str, stdin: str = "") -> tuple[int, str, str]:
    """Run a program and return its exit code and what it wrote."""
    done = subprocess.run(
        command, input=stdin, capture_output=True, text=True, errors="replace", check=False
    )
    return done.returncode, done.stdout, done.stderr


def docker(*arguments: str, check: bool = True) -> str:
    """Run the engine's client and return what it printed; raise ProblemError when it failed."""
    code, out, err = call("docker", *arguments)
    if code and check:
        raise ProblemError(f"docker {arguments[0]} failed: {last_line(err or out)}")
    return "" if code else out.strip()


def environment(container: str) -> dict[str, str]:
    """Return the environment of a container; empty where there is no such container."""
    text = docker(
        "inspect", "--format={{range .Config.Env}}{{println .}}{{end}}", container, check=False
    )
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)


def last_line(text: str) -> str:
    """Return the last line that says something."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "it said nothing"


class Host:
    """A project's host, as the operations see it."""

    def __init__(self, config: Config) -> None:
        """Remember the configuration; look at nothing yet."""
        self.config = config
        self.holds: tuple[str, ...] = ()
        self.journal = self.journal_of("data")
        # What a timer began leaves the processors and the disk to the site.
        self.gentle = False
        self.journal = Journal(config.own / "operation.json")

    def of(self, version: str, image: str) -> Host:
        """Return the same host as another major version's image sees it; the journal is shared."""
        other = Host(dataclasses.replace(self.config, version=version, image=image))
        other.journal, other.holds = self.journal, self.holds
        other.journal, other.gentle = self.journal, self.gentle
        return other

    def journal_of(self, kind: str) -> Journal:
        """Return the journal of the operations whose first lock is of a kind."""
        name = "operation.json" if kind == "data" else f"operation.{kind}.json"
        return Journal(self.config.own / name)

    @property
    def mountpoint(self) -> Path:
        """Return where the volume lies on the host; raise ProblemError when there is none."""
        path = docker(
            "volume", "inspect", "--format={{.Mountpoint}}", self.config.volume, check=False
        )
        if not path:
            raise ProblemError(
                f"the volume {self.config.volume} is not on {self.config.host}: "
                "`./slipway restore` makes it again from a backup"
            )
        return Path(path)

    @property
    def data(self) -> Path:
        """Return the data directory's path on the host."""
        return self.mountpoint / self.config.data_name

    def container_state(self, name: str = "") -> str:
        """Return running, exited, ...; nothing where there is no such container."""
        return docker(
            "inspect", "--format={{.State.Status}}", name or self.config.container, check=False
        )

    def stop(self) -> None:
        """Stop the project's Postgres, with a checkpoint; raise ProblemError when it runs on."""
        # One that the engine starts again and again is none that stands still.
        if self.container_state() not in ("", "created", "exited"):
            docker("stop", f"--time={self.config.stop_timeout}", self.config.container)
        if self.container_state() not in ("", "created", "exited"):
            raise ProblemError(f"{self.config.container} could not be stopped: see its log")

    def keep_stopped(self) -> None:
        """Stop the project's Postgres so that an engine that starts anew leaves it so."""
        docker("update", "--restart=no", self.config.container)
        self.stop()

    def start(self) -> None:
        """Start the project's Postgres and wait until it takes queries; raise ProblemError."""
        # On an empty directory the image would make an empty database.
        if not volume.is_cluster(self.data):
            raise ProblemError(
                f"there is no database in {self.config.volume}: `./slipway restore` brings it back from a backup"
            )
        docker("update", "--restart=always", self.config.container)
        docker("start", self.config.container)
        self.wait_healthy()

    def wait_healthy(self) -> None:
        """Wait until Postgres takes queries; raise ProblemError when it does not in time."""
        deadline = time.monotonic() + self.config.start_timeout
        server = self.server()
        while time.monotonic() < deadline:
            if server.answers():
                return
            if self.container_state() not in ("running", "restarting"):
                break
            time.sleep(0.3)
        raise ProblemError(f"{self.config.container} does not take queries: {self.complaint()}")

    def complaint(self) -> str:
        """Return the last thing that the project's Postgres complained of."""
        _, out, err = call("docker", "logs", "--tail=200", self.config.container)
        lines = [line for line in (out + err).splitlines() if "FATAL" in line or "PANIC" in line]
        return lines[-1].partition("]")[2].strip() or lines[-1] if lines else "see its log"

    def server(self) -> Server:
        """Return the project's Postgres, as the superuser asks it."""
        return self.server_as(self.config.user, self.config.secret)

    def server_as(self, user: str, secret: str) -> Server:
        """Return the project's Postgres, as a role asks it with one of the passwords in its container."""
        script = (
            f"PGPASSWORD=$(cat /run/secrets/postgres/{secret}) exec psql -X -q -A -t"
            ' -v ON_ERROR_STOP=1 -h 127.0.0.1 -U "$0" -d "$1"'
        )
        return Server(self.config.container, ["sh", "-c", script, user])

    def as_postgres(self) -> Server:
        """Return the project's Postgres, asked by its container's own user without a password."""
        command = ["psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", "/var/run/postgresql", "-U"]  # fmt: skip
        first, *others = ([*command, name, "-d"] for name in self.config.superusers)
        return Server(self.config.container, first, user="postgres", others=others)

    def free_bytes(self) -> int:
        """Return how much room the volume has left."""
        return volume.free(self.mountpoint)

    def run_once(self, *command: str, options: tuple[str, ...] = ()) -> tuple[int, str, str]:
        """Run a command in a throw-away container that has the volume, and the repository."""
        # Several may look at the same time.
        operation = self.journal.entry.get("id", f"look-{os.getpid()}")
        operation = self.journal.entry.get("id", "look")
        command = self.gently(command)
        name = f"{self.config.project}-{operation}-{len(self.journal.used)}"
        self.journal.used.append(name)
        return call(
            "docker", "run", "--rm", f"--name={name}", *self.options(operation), *options,
            "--user=postgres", f"--entrypoint={command[0]}", self.config.image, *command[1:],
        )  # fmt: skip

    def gently(self, command: tuple[str, ...]) -> tuple[str, ...]:
        """Return a command of a container as it is run there: what a timer began comes last.

        The timer's own priority does not get there, since the engine starts it.
        """
        return (*GENTLY, *command) if self.gentle else command

    def options(self, operation: str, network: str = "") -> list[str]:
        """Return the options of a throw-away container: what it may do, volume, repository, limits."""
        config = self.config
        # One that shares another's network has its names as well.
        hosts = [] if network else config.backup.get("hosts", [])
        network = network or config.backup.get("network") or "none"
        return [
            *CLOSED,
            f"--label=slipway.project={config.project}", "--label=slipway.part=data",
            f"--label=slipway.operation={operation}", "--pull=never", f"--network={network}",
            f"--volume={config.volume}:/var/lib/postgresql",
            *(["--tmpfs=/var/lib/postgresql/data:size=64k,mode=0555"] if int(config.version) < 18 else []),
            f"--volume={config.config_dir}/postgres:/etc/postgresql:ro",
            *(f"--volume={mount}" for mount in config.backup.get("mounts", [])),
            *(f"--add-host={name}" for name in hosts),
            f"--memory={config.memory_mb}m", f"--shm-size={max(config.memory_mb // 4, 64)}m",
            # What programs tell is read in English.
            "--env=LC_MESSAGES=C", "--log-driver=json-file", "--log-opt=max-size=10m",
        ]  # fmt: skip

    def make_directory(self, name: str) -> None:
        """Make a directory in the volume, Postgres's own."""
        version = name.split("/", maxsplit=1)[0]
        script = 'for d; do [ -d "$d" ] || mkdir -m 0700 "$d"; done'
        code, out, err = self.run_once(
            "sh", "-c", script, "sh", f"/var/lib/postgresql/{version}", f"/var/lib/postgresql/{name}",
        )  # fmt: skip
        if code:
            raise ProblemError(
                f"could not make {name} in {self.config.volume}: {last_line(err or out)}"
            )

    def remove_leftovers(self, operation: str) -> None:
        """Remove the throw-away containers of an operation."""
        names = docker(
            "ps", "--all", "--quiet", f"--filter=label=slipway.project={self.config.project}",
            f"--filter=label=slipway.operation={operation}",
        ).split()  # fmt: skip
        if names:
            docker("rm", "--force", *names)

    @contextmanager
    def alone(self, *kinds: str, verb: str, wait: float = 0) -> Iterator[None]:
        """Hold locks of the project's data; raise ProblemError if one is still held after `wait` s.

        Whoever gets one first clears up after an operation that was killed.
        """
        deadline = time.monotonic() + wait
        with ExitStack() as held:
            for kind in KINDS:
                if kind in kinds:
                    held.enter_context(self._lock(kind, verb, deadline))
            self.holds = kinds
            try:
                yield
            finally:
                self.holds = ()

    def _lock_file(self, kind: str) -> Path:
        return LOCKS / f"{self.config.project}.{kind}.lock"

    @contextmanager
    def _lock(self, kind: str, verb: str, deadline: float) -> Iterator[None]:
        locks.directory(LOCKS)
        with ExitStack() as held:
            wait = max(0.0, deadline - time.monotonic())
            try:
                held.enter_context(locks.held(self._lock_file(kind), wait, verb))
            except locks.LockedError as who:
                raise ProblemError(
                    f"another operation on the data of {self.config.project} runs ({self.runs(kind) or who}): wait for its end"
                ) from None
            yield

    def runs(self, kind: str) -> str:
        """Return what holds the lock of a kind, and since when; nothing where nobody does."""
        try:
            file = self._lock_file(kind).open()
        except FileNotFoundError:
            return ""
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                said = file.read()
                if said:
                    return said
                # It begins, or it is one of an earlier version.
                entry = self.journal_of(kind).read()
                since = clock(os.fstat(file.fileno()).st_mtime)
                return f"{entry.get('verb', 'one')} since {entry.get('began', since)}"
        return ""


# Fails for a role that is none: it would see less, and nobody would notice.
SUPERUSER = "SELECT 1 / rolsuper::int FROM pg_roles WHERE rolname = current_user \\g /dev/null\n"


class Server:
    """A Postgres in a container, and the way to ask it."""

    def __init__(self, container: str, command: list[str], user: str = "", others: list[list[str]] | None = None) -> None:  # fmt: skip
        """Remember the container, and the command to which a database's name is added.

        others take its place where one of them is the superuser by now and it is not: the superuser
        had another name in an older backup, and gets its new one while the WAL is read.
        """
        self.container = container
        self.command = command
        self.others = others or []
        self.options = [f"--user={user}"] if user else []

    def ask(self, sql: str, database: str = "postgres", **variables: str) -> str:
        """Run statements and return the unaligned rows; raise ProblemError when one failed."""
        code, out, err = self.try_ask(sql, database, **variables)
        if code:
            raise ProblemError(f"Postgres in {self.container} said: {complaint_of(err)}")
        return out.strip()

    def try_ask(
        self, sql: str, database: str = "postgres", **variables: str
    ) -> tuple[int, str, str]:
        """Run statements and return psql's exit code and output."""
        text = self.header(variables) + sql
        answer = self._run(self.command, database, SUPERUSER + text if self.others else text)
        if not answer[0] or not self.others:
            return answer
        if not self._run(self.command, "postgres", SUPERUSER)[0]:
            return answer
        for other in self.others:
            if not self._run(other, "postgres", SUPERUSER)[0]:
                self.others = [self.command, *(one for one in self.others if one != other)]
                self.command = other
                return self._run(other, database, SUPERUSER + text)
        return self._run(self.command, database, text)

    def _run(self, command: list[str], database: str, text: str) -> tuple[int, str, str]:
        return call("docker", "exec", "-i", *self.options, self.container, *command, database, stdin=text)  # fmt: skip

    @staticmethod
    def header(variables: dict[str, str]) -> str:
        """Return what gives psql variables, which it quotes where they are used."""
        return "".join(
            "\\set {} '{}'\n".format(name, value.replace("\\", "\\\\").replace("'", "''"))
            for name, value in variables.items()
        )

    def answers(self) -> bool:
        """Return whether it takes queries, and writes."""
        code, out, _ = self.try_ask("SELECT pg_is_in_recovery();")
        return code == 0 and out.strip() == "f"

    def databases(self) -> list[str]:
        """Return the names of the databases that take connections."""
        return self.ask(
            "SELECT datname FROM pg_database WHERE datallowconn AND NOT datistemplate ORDER BY 1;"
        ).splitlines()


def complaint_of(text: str) -> str:
    """Return the first error in what a client of Postgres wrote."""
    lines = [line for line in text.splitlines() if "ERROR:" in line or "FATAL:" in line]
    return lines[0].strip() if lines else last_line(text)


class Journal:
    """What operation runs, and how far it is: what is left of a killed one."""

    def __init__(self, path: Path) -> None:
        """Remember where it is kept."""
        self.path = path
        self.entry: dict[str, Any] = {}
        self.used: list[str] = []
        # The locks under which the operation runs, and under which it is cleared up.
        self.kinds: tuple[str, ...] = KINDS

    def read(self) -> dict[str, Any]:
        """Return the entry on the disk, empty when no operation runs or was killed."""
        return read_json(self.path) or {}

    def begin(self, verb: str, **details: Any) -> str:
        """Begin an operation and return its name, which is unique."""
        name = f"{verb}-{stamp()}"
        self.entry = {
            "id": name, "verb": verb, "began": clock(), "stage": "begin", "kinds": list(self.kinds), **details,
        }  # fmt: skip
        self.write()
        return name

    def stage(self, name: str, **details: Any) -> None:
        """Note that a stage begins."""
        self.entry.update(stage=name, **details)
        self.write()

    def end(self) -> None:
        """Note that nothing is left to do."""
        volume.unlink(self.path)
        self.entry = {}

    def write(self) -> None:
        """Put it on the disk."""
        replace(self.path, json.dumps(self.entry, indent=1) + "\n")


def until(condition: Callable[[], Any], seconds: float, pause: float = 0.3) -> Any:
    """Return the condition's first true value, or what it said last when the time is over."""
    deadline = time.monotonic() + seconds
    while True:
        found = condition()
        if found or time.monotonic() > deadline:
            return found
        time.sleep(pause)
