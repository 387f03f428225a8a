"""What `./slipway test [NAME...]` runs: linters, fast tests, Molecule scenarios.

Each part's whole output goes to `.slipway/test/NAME.log`; a part that fails shows the end of it.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests import hosts, machine
from tests.hosts import CACHE, ROOT, docker, project_files

LOGS = ROOT / ".slipway" / "test"
LABEL = "slipway.test"
PREFIX = os.environ.get("SLIPWAY_TEST_PREFIX", "slipway-test")
# Two test hosts keep two cores busy; more only wait for each other.
LANES = int(os.environ.get("SLIPWAY_TEST_LANES", "2"))
TAIL = 40
ANSI = re.compile(r"\x1b\[[0-9;]*m")


@dataclass
class Result:
    """What came of a part."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0
    reason: str = ""


@dataclass
class Part:
    """Something that runs on its own, with a log of its own."""

    name: str
    groups: tuple[str, ...]
    run: Callable[[Part], Result]
    needs_hosts: bool = False
    # The longest begins first, so that no lane ends up with it alone.
    seconds: int = 0
    # The part that has to be over before this one begins.
    after: Part | None = None
    names: tuple[str, ...] = field(init=False)
    # Whether the part is over, and whether it ran to its end without a failure.
    over: bool = field(init=False, default=False)
    ended: bool = field(init=False, default=False)

    def __post_init__(self) -> None:
        """Gather the words that select the part."""
        self.names = (self.name, *self.groups)

    @property
    def log(self) -> Path:
        """Return the path of the part's log."""
        return LOGS / f"{self.name}.log"


class StoppedError(Exception):
    """Somebody wants the run to end."""


class Runner:
    """Runs parts in lanes, and programs as children that end with it."""

    def __init__(self) -> None:
        """Start with nothing."""
        self._lock = threading.Lock()
        self._turn = threading.Condition(self._lock)
        self._children: set[subprocess.Popen[bytes]] = set()
        self._stopped = False
        self.total = Result()
        self.inherited: tuple[int, ...] = ()

    def say(self, text: str) -> None:
        """Print whole lines, from any lane."""
        with self._lock:
            print(text, flush=True)

    def call(self, part: Part, *command: str, cwd: Path = ROOT, **environment: str) -> int:
        """Run a program, its output in the part's log, and return its exit code."""
        with part.log.open("ab") as log:
            log.write(f"$ {' '.join(command)}\n".encode())
            log.flush()
            with self._lock:
                if self._stopped:
                    raise StoppedError
                child = subprocess.Popen(
                    command,
                    cwd=cwd,
                    env=os.environ | environment,
                    stdin=subprocess.DEVNULL,
                    # A child that outlives a killed run holds the lock until its host is free.
                    pass_fds=self.inherited,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
                self._children.add(child)
            try:
                return child.wait()
            finally:
                with self._lock:
                    self._children.discard(child)

    def stop(self) -> None:
        """End the children that run, and start no other."""
        with self._lock:
            self._stopped = True
            children = list(self._children)
        for child in children:
            with_group(child, signal.SIGTERM)
        deadline = time.monotonic() + 10
        for child in children:
            try:
                child.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                with_group(child, signal.SIGKILL)

    def one(self, part: Part) -> None:
        """Run one part and say how it ended."""
        self.say(f"  start    {part.name}")
        began = time.monotonic()
        part.log.unlink(missing_ok=True)
        try:
            result = part.run(part)
        except StoppedError:
            return
        except Exception as problem:  # a broken test must not pass for a missing one
            result = Result(failed=1, reason=f"{type(problem).__name__}: {problem}")
        if self._stopped:
            return
        part.ended = not result.failed
        took = time.monotonic() - began
        state = (
            "FAILED"
            if result.failed
            else "skipped"
            if result.skipped and not result.passed
            else "passed"
        )
        counts = (
            f"  ({count(result)})" if result.passed + result.failed + result.skipped > 1 else ""
        )
        lines = [f"  {state:8} {part.name:14} {took:6.1f} s{counts}"]
        if result.reason:
            lines.append(f"           {result.reason}")
        if result.failed and part.log.exists():
            lines += [f"    | {line}" for line in telling(part.log)]
            lines.append(f"           all of it: {part.log.relative_to(ROOT)}")
        self.say("\n".join(lines))
        with self._lock:
            self.total.passed += result.passed
            self.total.failed += result.failed
            self.total.skipped += result.skipped

    def skip(self, part: Part, reason: str) -> None:
        """Say why a part does not run."""
        self.say(f"  skipped  {part.name}: {reason}")
        with self._lock:
            self.total.skipped += 1

    def parts(self, parts: list[Part]) -> None:
        """Run parts side by side, as many as there are lanes, each when its turn has come."""
        waiting = sorted(parts, key=lambda part: -part.seconds)

        def next_part() -> Part | None:
            """Wait for a part that may begin; return nothing when there will be none."""
            with self._turn:
                while waiting and not self._stopped:
                    for part in waiting:
                        if part.after is None or part.after.over:
                            waiting.remove(part)
                            return part
                    self._turn.wait(1)
                return None

        def lane() -> None:
            while part := next_part():
                if part.needs_hosts and part.after and not part.after.ended:
                    self.skip(part, "there are no test hosts, see above")
                else:
                    self.one(part)
                with self._turn:
                    part.over = True
                    self._turn.notify_all()

        lanes = [threading.Thread(target=lane, daemon=True) for _ in range(LANES)]
        for each in lanes:
            each.start()
        for each in lanes:
            # In slices, so that an interrupt is seen.
            while each.is_alive():
                each.join(0.5)


def telling(log: Path) -> list[str]:
    """Return the lines of a log that tell most: the task that failed, else the last ones."""
    lines = ANSI.sub("", log.read_text(errors="replace")).splitlines()
    for number, line in enumerate(lines):
        # What Ansible writes after a task that failed for good; rescued ones come before.
        if line.startswith("PLAY RECAP") and any(
            re.search(r"(failed|unreachable)=[1-9]", after) for after in lines[number : number + 4]
        ):
            return lines[max(0, number - TAIL) : number]
    return lines[-TAIL:]


def figures(log: Path) -> list[str]:
    """Return the sentences of a scenario's log that say what was measured."""
    text = ANSI.sub("", log.read_text(errors="replace"))
    # A message that is long goes on in the next line.
    found = re.findall(r"msg: '?(Measured: [^\n]*(?:\n {8}[^\n]*)*)", text)
    return [" ".join(one.split()).removeprefix("Measured: ").rstrip("'") for one in found]


def with_group(child: subprocess.Popen[bytes], number: int) -> None:
    """Send a signal to a child and its children."""
    try:
        os.killpg(child.pid, number)
    except ProcessLookupError:
        return


def count(result: Result) -> str:
    """Return the numbers as the last line has them."""
    skipped = f", {result.skipped} skipped" if result.skipped else ""
    return f"{result.passed} passed, {result.failed} failed{skipped}"


RUNNER = Runner()


def program(*command: str) -> Callable[[Part], Result]:
    """Return a part that is one program, and that is skipped where the program is not there."""

    def run(part: Part) -> Result:
        if shutil.which(command[0]) is None:
            return Result(skipped=1, reason=f"{command[0]} is not in the tool environment")
        code = RUNNER.call(part, *command)
        return Result(failed=1) if code else Result(passed=1)

    return run


def apart(name: str, *arguments: str) -> Callable[[Part], Result]:
    """Return a part that is one program in an environment of its own, made from its lock file."""

    def run(part: Part) -> Result:
        lock = ROOT / "requirements" / f"{name}.txt"
        home = ROOT / ".slipway" / name
        stamp = home / ".lock"
        if not stamp.exists() or stamp.read_bytes() != lock.read_bytes():
            shutil.rmtree(home, ignore_errors=True)
            pip = str(home / "bin" / "pip")
            if RUNNER.call(part, sys.executable, "-m", "venv", str(home)) or RUNNER.call(
                part, pip, "install", "--quiet", "--no-compile", "--disable-pip-version-check",
                "--require-hashes", "--requirement", str(lock),
            ):  # fmt: skip
                return Result(failed=1, reason=f"could not install {lock.relative_to(ROOT)}")
            shutil.copyfile(lock, stamp)
        return program(str(home / "bin" / name), *arguments)(part)

    return run


def on_files(*command: str, find: Callable[[], list[str]]) -> Callable[[Part], Result]:
    """Return a part that is one program on the files found."""

    def run(part: Part) -> Result:
        files = find()
        if not files:
            return Result(failed=1, reason=f"found no file for {command[0]}")
        return program(*command, *files)(part)

    return run


def shell_files() -> list[str]:
    """Return the shell scripts, also those that only their first line gives away."""
    return [
        name
        for name in project_files()
        if name.endswith(".sh")
        or re.match(rb"#!.*\b(ba|da)?sh\b", (ROOT / name).open("rb").readline(100))
    ]


def docker_files() -> list[str]:
    """Return the Dockerfiles that are no templates."""
    return [name for name in project_files() if Path(name).name == "Dockerfile"]


def pytest(directory: str, cwd: str = ".") -> Callable[[Part], Result]:
    """Return a part that counts each test of a directory."""

    def run(part: Part) -> Result:
        report = LOGS / f"{part.name}.xml"
        report.unlink(missing_ok=True)
        code = RUNNER.call(
            part, sys.executable, "-m", "pytest", directory, "-q", f"--junit-xml={report}",
            cwd=ROOT / cwd,
        )  # fmt: skip
        result = Result()
        if report.exists():
            suite = next(ET.parse(report).getroot().iter("testsuite"))  # noqa: S314 (our own file)
            result.failed = int(suite.get("failures", 0)) + int(suite.get("errors", 0))
            result.skipped = int(suite.get("skipped", 0))
            result.passed = int(suite.get("tests", 0)) - result.failed - result.skipped
        if code and not result.failed:
            result.failed = 1
            result.reason = f"pytest ended with {code}"
        return result

    return run


def molecule(part: Part) -> Result:
    """Run a scenario."""
    code = RUNNER.call(
        part, "molecule", "test", "--scenario-name", part.name, MOLECULE_COMMAND_BORDERS="false"
    )
    if code == 0:
        return Result(passed=1, reason="\n           ".join(figures(part.log)))
    # Molecule removes the host of a scenario that fails, unless it is stopped itself.
    hosts.thaw(f"{PREFIX}-{part.name}")
    docker("rm", "--force", "--volumes", f"{PREFIX}-{part.name}")
    machine.remove(machine.place(part.name))
    return Result(failed=1)


# Measured on two cores: what the order of the scenarios follows.
SECONDS = {
    "releases": 1300, "upgrade": 1300, "edge": 1200, "tls": 1200, "data": 1100, "registry": 800,
    "start_forky": 750, "default": 700, "start_trixie": 700, "vagrant": 700, "takeover": 600,
    "ship": 500, "elsewhere": 450, "flask": 350, "nginx": 320, "base_images": 300,
    "postgres": 300, "compose": 290, "compose_v1": 240, "docker": 150,
}  # fmt: skip

# Run only when they are named, or all by `soak`: hours, and what they find is in the manual.
# Those after the third are here until what they do is cheap enough for the suite.
LONG = (
    "soak", "crashes", "elsewhere",
    "tls", "upgrade", "registry", "takeover", "start_trixie", "start_forky", "ship", "machine",
)  # fmt: skip


def all_parts() -> list[Part]:
    """Return every part there is."""
    fast = ("fast",)
    lint = ("lint", "fast")
    parts = [
        Part("ansible-lint", lint, program("ansible-lint", "--offline", "--nocolor"), seconds=60),
        Part("yamllint", lint, program("yamllint", "--strict", ".")),
        Part("ruff", lint, program("ruff", "check", "--no-cache")),
        Part("ruff-format", lint, program("ruff", "format", "--no-cache", "--check")),
        Part("mypy", lint, program("mypy", "."), seconds=10),
        Part("shellcheck", lint, on_files("shellcheck", find=shell_files)),
        Part("hadolint", lint, on_files("hadolint", find=docker_files)),
        Part("checkov", lint, apart("checkov", "--config-file", ".checkov.yaml"), seconds=50),
        Part("unit", fast, pytest("tests/unit"), seconds=40),
        Part("app", fast, pytest("tests", cwd="app"), seconds=40),
    ]
    # First of all, as a user's: on a machine without an engine the walk installs one.
    walk = program(sys.executable, "-m", "tests.start")
    parts.append(Part("start", ("molecule",), walk, True, seconds=2000))
    for scenario in sorted(ROOT.glob("molecule/*/molecule.yml")):
        name = scenario.parent.name
        group = "soak" if name in LONG else "molecule"
        # Molecule's own default is the scenario of the whole stack.
        words = (group, "stack") if name == "default" else (group,)
        parts.append(Part(name, words, molecule, True, SECONDS.get(name, 60)))
    return parts


def remove_hosts() -> None:
    """Remove the test hosts that a run left behind when it was killed."""
    ours = (f"--filter=label={LABEL}", f"--filter=name=^{PREFIX}-")
    left = docker("ps", "--all", "--quiet", *ours).split()
    if left:
        hosts.thaw(*left)
        docker("rm", "--force", "--volumes", *left)
    machine.remove(machine.place("machine"))


def make_ready(part: Part, scenarios: list[str]) -> Result:
    """Get an engine, the base images and the images of the test hosts, once.

    No test, so it counts only when it fails.
    """
    problem = hosts.make(
        hosts.needed_by(scenarios), lambda *words, **names: RUNNER.call(part, *words, **names)
    )
    return Result(failed=1, reason=problem) if problem else Result()


def why_no_hosts() -> str:
    """Return why there can be no test hosts on this machine; nothing when there can."""
    missing = [name for name in ("ssh", "ssh-keygen") if shutil.which(name) is None]
    if missing:
        return f"{' and '.join(missing)} is not there: install the package openssh-client"
    if docker("version", "--format={{.Server.Version}}") or os.geteuid() == 0:
        return ""
    if subprocess.run(["sudo", "-n", "true"], capture_output=True, check=False).returncode == 0:
        return ""
    return (
        "no Docker Engine answers, and this user can't install one: run it with sudo, or start one"
    )


@contextmanager
def alone() -> Iterator[None]:
    """Hold the lock of the test hosts: their names are the same for every run on this machine."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("Waiting for another run on this machine to end.", flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        RUNNER.inherited = (lock.fileno(),)
        yield
        RUNNER.inherited = ()


def with_hosts(fast: list[Part], on_hosts: list[Part]) -> None:
    """Run the parts, those that need test hosts when everything is ready for them."""
    reason = why_no_hosts()
    if reason:
        RUNNER.parts(fast)
        for part in on_hosts:
            RUNNER.skip(part, reason)
        return
    start = next((part for part in on_hosts if part.name == "start"), None)
    scenarios = [part for part in on_hosts if part is not start]
    names = [part.name for part in scenarios]
    # The walk of the README may install the engine, and makes the base images.
    ready = Part("hosts", (), lambda part: make_ready(part, names), seconds=2000, after=start)
    for part in scenarios:
        part.after = ready
    with alone():
        remove_hosts()
        try:
            RUNNER.parts([*on_hosts, *fast, *([ready] if scenarios else [])])
        finally:
            # Also of a run that is ended, once nothing makes another host.
            RUNNER.stop()
            remove_hosts()


def choose(words: list[str], parts: list[Part]) -> list[Part]:
    """Return the parts that the words name; end the program at a word that names none."""
    known = {name for part in parts for name in part.names} | {"all"}
    unknown = [word for word in words if word not in known]
    if unknown:
        print(
            f"slipway: there is no test '{unknown[0]}': {', '.join(sorted(known))}.",
            file=sys.stderr,
        )
        sys.exit(2)
    return [
        part
        for part in parts
        if set(words) & set(part.names) or ((not words or "all" in words) and part.name not in LONG)
    ]


def main() -> int:
    """Run what the command line names."""
    os.chdir(ROOT)
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    LOGS.mkdir(parents=True, exist_ok=True)
    # See tests/callback/module_cache.py.
    modules = tempfile.TemporaryDirectory(prefix="modules-", dir=LOGS)
    os.environ["SLIPWAY_TEST_MODULES"] = modules.name
    words = sys.argv[1:]
    chosen = choose(words, all_parts())
    began = time.monotonic()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        fast = [part for part in chosen if not part.needs_hosts]
        on_hosts = [part for part in chosen if part.needs_hosts]
        if on_hosts:
            with_hosts(fast, on_hosts)
        else:
            RUNNER.parts(fast)
    except KeyboardInterrupt:
        RUNNER.stop()
        print("interrupted", file=sys.stderr)
        return 130
    minutes, seconds = divmod(round(time.monotonic() - began), 60)
    print(f"in {minutes} min {seconds:02d} s", flush=True)
    print(count(RUNNER.total), flush=True)
    return 1 if RUNNER.total.failed else 0


if __name__ == "__main__":
    sys.exit(main())
