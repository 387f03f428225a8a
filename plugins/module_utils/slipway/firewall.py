"""The host's nftables table: what is written, what is loaded, and rules on trial."""

from __future__ import annotations

import contextlib
import secrets
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ansible.module_utils.slipway import locks

TABLE = "inet slipway"
# Base and parts, of all projects.
DIRECTORY = "/etc/slipway/firewall"
# Also what clears it; the first line is there so that the second can't fail.
NOTHING = f"table {TABLE} {{\n}}\ndelete table {TABLE}\n"
# Gone after a reboot, as the trials themselves.
TRIALS = Path("/run/slipway-firewall")
# Longer than loading takes on a busy machine; a trial has its own time besides.
PATIENCE = 60
# What a host may need to take rules back, after which it is clear that nobody does.
GRACE = 10
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# Whoever renames the former rules has the say: the host that takes them back, or the play that
# keeps the new ones.
TAKE_BACK = '{ sleep "$1"; mv "$2" "$2.back" 2>/dev/null && nft -f "$2.back"; rm -f "$2.back"; } &'


class NftError(Exception):
    """nft refused something."""


def run(*command: str, text: str = "") -> str:
    """Return what a command prints; raise NftError with what it complains of."""
    done = subprocess.run(
        command, input=text, capture_output=True, text=True, check=False, env={"PATH": PATH}
    )
    if done.returncode:
        complaint = (done.stderr.strip() or f"exit code {done.returncode}").splitlines()[0]
        raise NftError(f"nft: {complaint}")
    return done.stdout


def loaded() -> str:
    """Return the table that is loaded, without its counters, or an empty string."""
    if f"table {TABLE}" not in run("nft", "list", "tables").splitlines():
        return ""
    return run("nft", "--stateless", "list", "table", *TABLE.split())


def made_of(text: str) -> str:
    """Return what the kernel makes of a text, tried where nobody is; raise NftError."""
    command = f"nft -f - && nft --stateless list table {TABLE}"
    return run("unshare", "--net", "sh", "-c", command, text=text)


class Store:
    """Base and parts on the disk."""

    def __init__(self, directory: str) -> None:
        """Remember where they are."""
        self.base = Path(directory) / "firewall.nft"
        self.parts = Path(directory) / "projects"

    def text(self, base: str, project: str, part: str) -> str:
        """Return the whole with another part of a project, empty when there is none."""
        parts = {
            path.stem: path.read_text() for path in self.parts.glob("*.nft") if path.stem != project
        }
        if part:
            parts[project] = part
        whole = base or self.own_base()
        return NOTHING + whole + "".join(parts[name] for name in sorted(parts)) if parts else ""

    def kept(self, project: str, part: str) -> tuple[str, list[str]]:
        """Return a part with what the one on the disk lets in besides, and those rules."""
        path = self.parts / f"{project}.nft"
        before = path.read_text() if path.exists() else ""
        more = [
            line
            for line in before.splitlines()
            if line.endswith(" accept") and line not in part.splitlines()
        ]
        if set(part.splitlines()) <= set(before.splitlines()):
            return before, more
        return part + "".join(f"{line}\n" for line in more), more

    def own_base(self) -> str:
        """Return the base that was written before, without what stands around it."""
        text = self.base.read_text() if self.base.exists() else ""
        return text.removeprefix(NOTHING).removesuffix(self.include())

    def include(self) -> str:
        """Return the line that reads the parts."""
        return f'include "{self.parts}/*.nft"\n'

    def wanted(self, base: str, project: str, part: str, *, empty: bool) -> dict[Path, str | None]:
        """Return what each file has to hold, None where it is not to be."""
        whole = None if empty else NOTHING + (base or self.own_base()) + self.include()
        return {self.base: whole, self.parts / f"{project}.nft": part or None}


def differ(files: dict[Path, str | None]) -> bool:
    """Say whether a file holds something else."""
    return any(
        (path.read_text() if path.exists() else None) != text for path, text in files.items()
    )


def write(files: dict[Path, str | None]) -> None:
    """Write the files, each at once, or remove them; and what they leave empty."""
    for path, text in files.items():
        if text is None:
            path.unlink(missing_ok=True)
            continue
        path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        new = path.with_suffix(".new")
        new.write_text(text)
        new.chmod(0o640)
        new.replace(path)
    # The directory of the parts first, which is in that of the base.
    for path in reversed(files):
        if path.parent.is_dir() and not any(path.parent.iterdir()):
            path.parent.rmdir()


class Trial:
    """Rules of a project that are loaded and not confirmed: a file with the former ones."""

    def __init__(self, path: Path) -> None:
        """Read whose it is and when it ends, which stands in its first line."""
        self.path = path
        words = path.read_text().partition("\n")[0].split()
        known = len(words) == 4 and words[:2] == ["#", "trial"]
        self.project = words[2] if known else "another project"
        self.end = float(words[3]) if known else float("inf")

    @staticmethod
    def header(project: str, seconds: int) -> str:
        """Return the first line of a trial that begins now."""
        return f"# trial {project} {time.monotonic() + seconds:.1f}\n"

    @classmethod
    def running(cls, own: str) -> Trial | None:
        """Return a trial other than one's own; one that nobody ends is ended."""
        for path in sorted((*TRIALS.glob("*.nft"), *TRIALS.glob("*.nft.back"))):
            with contextlib.suppress(FileNotFoundError):
                trial = cls(path)
                if path.name.partition(".")[0] == own:
                    continue
                if time.monotonic() < trial.end + GRACE:
                    return trial
                trial.take_back()
        return None

    def take_back(self) -> None:
        """Load the former rules; raise FileNotFoundError when somebody else does, and NftError."""
        back = self.path if self.path.suffix == ".back" else Path(f"{self.path}.back")
        self.path.rename(back)
        run("nft", "-f", str(back))
        back.unlink(missing_ok=True)


@contextlib.contextmanager
def turn_of(project: str, seconds: int, own: str = "") -> Iterator[None]:
    """Have the firewall to oneself; raise NftError, which names who has it, after a while."""
    locks.directory(TRIALS)
    until = time.monotonic() + PATIENCE + seconds
    while True:
        try:
            with locks.held(TRIALS / "lock", until - time.monotonic(), f"the project {project}"):
                trial = Trial.running(own)
                if trial is None:
                    yield
                    return
            busy = f"rules of the project {trial.project} are on trial"
        except locks.LockedError as problem:
            busy = f"{problem} is changing the firewall"
        if time.monotonic() > until:
            raise NftError(
                f"{busy} for more than {PATIENCE + seconds} s, so nothing was changed: "
                "see what that run does, and run this one again when it has ended"
            )
        time.sleep(locks.PAUSE)


def try_out(text: str, project: str, seconds: int) -> str:
    """Load a text and let the host take it back by itself; return the name of the trial."""
    name = secrets.token_hex(8)
    former = TRIALS / f"{name}.nft"
    former.write_text(Trial.header(project, seconds) + NOTHING + loaded())
    # First, so that nothing can come between; on its own, as there may be no systemd.
    subprocess.run(
        ["sh", "-c", TAKE_BACK, "sh", str(seconds), str(former)],
        check=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        env={"PATH": PATH},
        cwd="/",
    )
    try:
        run("nft", "-f", "-", text=text)
    except NftError:
        former.unlink(missing_ok=True)
        raise
    return name


def compared(store: Store, project: str) -> dict[str, Any]:
    """Hold what is loaded against what is written; return what is let in and what is wrong."""
    there = shutil.which("nft", path=PATH) is not None
    text = store.text("", "", "")
    before = loaded() if there else ""
    found: dict[str, Any] = {
        "part": (store.parts / f"{project}.nft").exists(),
        "allowed": run("nft", "--stateless", "list", "chain", *TABLE.split(), "allowed")
        if "chain allowed {" in before
        else "",
        "problem": "",
    }
    if text and not before:
        found["problem"] = "the firewall is not loaded, `./slipway deploy` loads it"
    elif before and not text:
        found["problem"] = (
            f"a firewall is loaded that no project wants, `nft delete table {TABLE}` takes it out"
        )
    elif text:
        after = made_of(text)
        rules, wanted = ([line.strip() for line in one.splitlines()] for one in (before, after))
        parts = [
            f"{verb} `{next(line for line in ours if line not in theirs)}`"
            for verb, ours, theirs in (("lacks", wanted, rules), ("has besides", rules, wanted))
            if set(ours) - set(theirs)
        ]
        if before != after:
            found["problem"] = (
                f"the firewall that is loaded is not the one in {store.base.parent}: it "
                f"{' and '.join(parts) or 'has another order'}; `./slipway deploy` loads it"
            )
    return found


def compare(store: Store, project: str, seconds: int) -> dict[str, Any]:
    """Return what compared does, of a host where nobody is changing the firewall."""
    # A host without one is asked for nothing and gets nothing.
    if not store.base.exists() and not TRIALS.exists():
        return compared(store, project)
    try:
        with turn_of(project, seconds):
            return compared(store, project)
    except NftError as error:
        return {"part": True, "allowed": "", "problem": f"the firewall can't be judged: {error}"}
