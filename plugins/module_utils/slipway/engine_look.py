"""What Docker Engine a host has, and why one will not do, with nothing but the standard library."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible.module_utils.slipway.engine import ask

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# Where snapd puts commands: the first on Debian and Ubuntu, the second elsewhere.
SNAP_PATH = "/snap/bin:/var/lib/snapd/snap/bin"
# Says that Slipway installed the engine, and from where; without it the engine is somebody else's.
MARKER = "/etc/slipway/engine"
MINIMUM = "20.10"
# Y where the kernel confines by AppArmor.
APPARMOR = Path("/sys/module/apparmor/parameters/enabled")


def of_snap(root: str, installed: bool, path: str, snap_path: str) -> bool:
    """Say whether the engine (root: where it keeps its data) or the only client is of a snap.

    One that does not answer counts where no other engine is installed: beside it there is no room
    for another on the same socket.
    """
    command = shutil.which("docker", path=snap_path)
    if root:
        in_snap = root.startswith("/var/snap/")
        return in_snap or (command is not None and shutil.which("docker", path=path) is None)
    return command is not None and not installed


def lacks_apparmor(enabled: Path, path: str) -> bool:
    """Say whether the kernel has AppArmor on and the host no program that loads its profiles.

    An engine starts no container there.
    """
    on = enabled.is_file() and enabled.read_text().startswith("Y")
    return on and shutil.which("apparmor_parser", path=path) is None


def look(socket: str, marker: str, info: Mapping[str, Any]) -> dict[str, Any]:
    """Return what engine a host has; info is what it answers to /info."""
    version = ask(socket, "/version") or {}
    dockerd = shutil.which("dockerd", path=PATH) or ""
    return {
        "answers": bool(version),
        "version": version.get("Version", ""),
        "api_version": version.get("ApiVersion", "0"),
        "dockerd": dockerd,
        "client": shutil.which("docker", path=PATH) or "",
        "snap": of_snap(info.get("DockerRootDir", ""), bool(dockerd), PATH, SNAP_PATH),
        "ours": Path(marker).exists(),
        "lacks_apparmor": lacks_apparmor(APPARMOR, PATH),
    }


def refusal(found: Mapping[str, Any], existing: bool) -> str:
    """Return why the engine of a host will not do, as a sentence after the host's name; or nothing.

    existing says that one has to be there.
    """
    installed = found["answers"] or found["dockerd"]
    # Its daemon and its client see the home directories and little else.
    if found["snap"]:
        return (
            "has Docker from snap, which cannot see /etc/slipway and /var/lib/slipway: save what"
            " its volumes hold (`snap remove docker` deletes them), remove it, and run again; then"
            " Slipway installs an engine that can."
        )
    # An installation of Slipway's own that was cut short in the middle goes on.
    if installed and not found["client"] and not found["ours"]:
        return (
            "has a Docker Engine and no `docker` command: install its client (docker-cli beside"
            " docker.io, docker-ce-cli beside docker-ce), then run again."
        )
    if found["answers"] and _numbers(found["version"]) < _numbers(MINIMUM):
        return (
            f"has Docker Engine {found['version']}, and Slipway needs {MINIMUM} or newer: upgrade"
            " it (Slipway does not touch an engine that it did not install)."
        )
    if existing and not installed:
        return (
            "has no Docker Engine, and docker_source is 'existing': install one, or set"
            " docker_source to auto, distro or upstream."
        )
    return ""


def _numbers(version: str) -> list[int]:
    return [int(one) for one in re.findall(r"\d+", version)][:2]
