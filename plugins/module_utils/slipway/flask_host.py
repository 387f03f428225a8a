"""What the flask role's modules share: the engine's client, whole files, the ledger."""

from __future__ import annotations

import json
import re
import subprocess
import time
from pathlib import Path
from typing import Any

from ansible.module_utils.slipway import volume

RELEASE = re.compile(r"[0-9a-f]{12}")
# Enough to look back a long way, and little enough to be read at each run.
ENTRIES = 500


def docker(module: Any, *arguments: str, check: bool = True) -> str:
    """Run the engine's client and return what it printed; fail the module when it failed."""
    code, out, err = module.run_command(["docker", *arguments])
    if code and check:
        module.fail_json(msg=f"docker {arguments[0]} failed: {(err or out).strip()}")
    return "" if code else str(out).strip()


def ask(container: str, check: list[str], timeout: float) -> tuple[bool, str]:
    """Run the health check in the container; return whether it passed, and what it printed."""
    try:
        asked = subprocess.run(
            ["docker", "exec", container, *check],
            capture_output=True, text=True, timeout=max(0.5, timeout), check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return False, "the health check got no answer"
    lines = (asked.stdout + asked.stderr).strip().splitlines()
    return asked.returncode == 0, lines[-1] if lines else ""


def aside(path: Path, text: str, mode: int) -> Path:
    """Write a file's new content beside it, on the disk for sure; the caller renames it."""
    new = path.with_name(f".{path.name}.new")
    volume.unlink(new)
    volume.replace(new, text, mode)
    return new


def replace(path: Path, text: str, mode: int) -> None:
    """Replace a file's content in one step."""
    volume.replace(path, text, mode)


def link(path: Path, target: str, check: bool = False) -> bool:
    """Point a symbolic link elsewhere in one step; return whether it pointed elsewhere."""
    return bool(volume.link(path, target, check))


def now() -> str:
    """Return the time as it stands in the ledger."""
    return time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime())


class Ledger:
    """The releases of a project, oldest first, and what came of each attempt to serve them."""

    def __init__(self, state_dir: str) -> None:
        """Read it; a host without one has had no release."""
        self.state_dir = Path(state_dir)
        self.path = self.state_dir / "releases.json"
        self.entries: list[dict[str, Any]] = (
            json.loads(self.path.read_text()) if self.path.exists() else []
        )

    @property
    def serving(self) -> str:
        """Return the release that serves, or nothing."""
        try:
            return str(json.loads((self.state_dir / "current.json").read_text())["release"])
        except (OSError, ValueError, KeyError):
            return ""

    def shipped(self, build: str) -> list[dict[str, str]]:
        """Return where a registry has the image of a build, each as repository and digest."""
        found = []
        for path in sorted((self.state_dir / "releases").glob("*.json")):
            if RELEASE.fullmatch(path.stem):
                spec = json.loads(path.read_text())
                if build and spec.get("build") == build and spec.get("digest"):
                    found.append({"repository": spec["repository"], "digest": spec["digest"]})
        return found

    def digest_of(self, build: str, repository: str) -> str:
        """Return the digest by which a registry gave or took the image of a build, or nothing."""
        there = (one for one in self.shipped(build) if one["repository"] == repository)
        return next((one["digest"] for one in there), "")

    def write(self) -> None:
        """Put it on the disk, whole."""
        text = json.dumps(self.entries[-ENTRIES:], indent=1) + "\n"
        replace(self.path, text, 0o644)

    def settle(self, schema: str) -> None:
        """Say what became of the attempts that nobody ended: their play was killed."""
        for entry in self.entries:
            if entry["outcome"] != "running":
                continue
            entry["ended"] = now()
            if entry["release"] == self.serving:
                entry.update(outcome="healthy", schema=schema)
                self.leave(entry)
            else:
                entry["outcome"] = "interrupted"

    def leave(self, rollback: dict[str, Any]) -> None:
        """Mark the release that a rollback left: the next step back does not go there."""
        for entry in self.entries if rollback["kind"] == "rollback" else ():
            if entry["release"] == rollback.get("left") and entry["outcome"] == "healthy":
                entry["outcome"] = "rolled back"

    def outcomes(self) -> dict[str, str]:
        """Return what is known of each release, the newest attempt first.

        An attempt that ended before the release was started says nothing of it.
        """
        last: dict[str, str] = {}
        for entry in reversed(self.entries):
            # Entries of earlier versions have the last stage that was over.
            tried = entry.get("failed_in") == "health" or entry.get("stage") == "start container"
            failed = entry["outcome"] == "failed" and tried
            if failed or entry["outcome"] in ("healthy", "rolled back"):
                last.setdefault(entry["release"], entry["outcome"])
        return last

    def healthy(self) -> list[str]:
        """Return the releases that served well when they were last tried, the newest first."""
        return [release for release, outcome in self.outcomes().items() if outcome == "healthy"]

    def kept(self, count: int) -> list[str]:
        """Return the releases that stay: the one that serves and those to go back to."""
        serving = [self.serving] if self.serving else []
        good = [
            release
            for release, outcome in self.outcomes().items()
            if outcome in ("healthy", "rolled back") and release not in serving
        ]
        # Always among them: the one that a rollback without an argument goes to.
        next_back = [release for release in self.healthy() if release not in serving][:1]
        others = next_back + [one for one in good if one not in next_back]
        return serving + others[: count - 1]
