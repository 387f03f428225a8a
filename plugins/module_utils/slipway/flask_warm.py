"""Releases that stay in memory, frozen, for a while after they were left: a rollback wakes them.

`DIRECTORY/RELEASE-TOKEN` below the project's state is the note of one. Whoever renames or removes
the note has the say: the host, when the time is over, or the play that wants the release.
"""

from __future__ import annotations

import json
import re
import secrets
import subprocess
from pathlib import Path
from typing import Any

from ansible.module_utils.slipway.flask_host import ask, docker

DIRECTORY = "warm"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# uWSGI's master looks at its workers once a second.
STOP_SECONDS = 10
# Seconds for the answer of a release that has been frozen.
PATIENCE = 10
# Seconds, note, container, and the sockets that a stopped uWSGI may leave.
COOL = (
    'sleep "$1"; mv "$2" "$2.cold" 2>/dev/null || exit 0; docker unpause "$3"; '
    f'docker stop --time {STOP_SECONDS} "$3"; docker rm --force "$3"; rm -f "$4" "$5" "$2.cold"'
)


def notes(state_dir: Path, release: str = "*") -> list[Path]:
    """Return the notes of a release, or of all; of one that the host is stopping there is none."""
    found = (state_dir / DIRECTORY).glob(f"{release}-????????")
    return sorted(path for path in found if re.fullmatch("[0-9a-f]{12}-[0-9a-f]{8}", path.name))


def to_spare(mebibytes: int) -> bool:
    """Say whether the host has that much memory available."""
    text = Path("/proc/meminfo").read_text()
    found = re.search(r"^MemAvailable:\s+(\d+) kB", text, re.MULTILINE)
    return found is not None and int(found[1]) // 1024 >= mebibytes


def freeze(
    module: Any, project: str, release: str, state_dir: Path, sockets: Path, minutes: int
) -> None:
    """Keep a release that has nothing to do any more for some minutes, frozen."""
    container = f"{project}-flask-{release}"
    note = state_dir / DIRECTORY / f"{release}-{secrets.token_hex(4)}"
    note.parent.mkdir(mode=0o750, exist_ok=True)
    note.touch(0o640)
    # A start of the host begins without it.
    docker(module, "update", "--restart=no", container)
    docker(module, "pause", container)
    left = (sockets / f"{release}.{kind}" for kind in ("sock", "stats"))
    subprocess.Popen(
        ["sh", "-c", COOL, "sh", str(minutes * 60), str(note), container, *map(str, left)],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True, env={"PATH": PATH}, cwd="/",
    )  # fmt: skip


def claim(state_dir: Path, release: str) -> bool:
    """Take a release away from the host, which would stop it; return whether it was warm."""
    found = notes(state_dir, release)
    claimed = False
    for note in found:
        try:
            note.unlink()
            claimed = True
        except FileNotFoundError:  # the host was faster
            continue
    return claimed


def wake(module: Any, project: str, release: str, state_dir: Path) -> bool:
    """Let a warm release run again; return whether it answers its health check.

    One that does not, or that a start of the host has stopped, is started as any other.
    """
    if not claim(state_dir, release):
        return False
    container = f"{project}-flask-{release}"
    docker(module, "update", "--restart=always", container, check=False)
    docker(module, "unpause", container, check=False)
    said = docker(
        module, "inspect", "--format={{json .Config.Healthcheck.Test}}", container, check=False
    )
    check: list[str] = json.loads(said or "null") or []
    return bool(check) and ask(container, check[1:], PATIENCE)[0]
