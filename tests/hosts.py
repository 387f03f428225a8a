"""Make what test hosts are made from, where it is missing: engine, archives of images, host images.

    python -m tests.hosts                                            everything
    python -m tests.hosts --host bookworm-engine --archive base-images.tar
    python -m tests.hosts --files app                                names of files, for xargs -0

Both `./slipway test` and Molecule's `create` come here: what one has made serves the other.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
CACHE = Path(os.environ.get("HOME", "/root")) / ".cache" / "slipway" / "test"
INVENTORY = ROOT / "molecule" / "_shared" / "inventory"
LABEL = '{{index .Config.Labels "slipway.test.recipe"}}'

# What the test hosts are, by codename of Debian; forky is the one without an init system.
SYSTEMS = ("bookworm", "trixie", "forky")
STAGES = ("bare", "engine")

# What the test hosts load their images from.
ARCHIVES = (
    "base-images.tar", "postgres-15.tar", "postgres-18.tar", "registry.tar", "official.tar",
)  # fmt: skip

# A system's base layer is made on the way to an archive.
BASE_LAYER = {
    "bookworm": "postgres-15.tar",
    "trixie": "base-images.tar",
    "forky": "postgres-18.tar",
}
# What is built on layers of others.
BASE_LAYERS_OF = {
    "registry.tar": ("base-images.tar",),
    "official.tar": ("base-images.tar", "postgres-18.tar"),
}


@dataclass(frozen=True)
class Wanted:
    """Archives, and hosts as system and stage."""

    archives: tuple[str, ...]
    hosts: tuple[tuple[str, str], ...]


def project_files() -> list[str]:
    """Return the project's files, those that are not committed yet among them."""
    try:
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT, capture_output=True, check=True,
        )  # fmt: skip
        names = listed.stdout.decode().split("\0")
    except (OSError, subprocess.CalledProcessError):  # an unpacked archive
        names = [
            str(path.relative_to(ROOT))
            for path in ROOT.rglob("*")
            if path.relative_to(ROOT).parts[0] not in {".slipway", ".git"}
        ]
    return sorted(name for name in names if name and (ROOT / name).is_file())


# What base images, the image with the compiler and test hosts are made from.
RECIPES = (
    "roles/base_images/", "tests/host/", "roles/flask/defaults/", "roles/flask/vars/",
    "roles/flask/tasks/compiler.yml", "roles/flask/tasks/image.yml",
    "roles/flask/templates/Dockerfile.j2", "plugins/modules/image_archives.py",
    "plugins/filter/base_images.py",
)  # fmt: skip


def recipe() -> str:
    """Return a checksum of what base images and test hosts are made from."""
    digest = hashlib.sha256()
    for name in project_files():
        if name.startswith(RECIPES):
            digest.update(f"{name}\0".encode() + (ROOT / name).read_bytes())
    return digest.hexdigest()


def docker(*command: str) -> str:
    """Ask the engine outside; return nothing when it does not answer."""
    try:
        return subprocess.run(
            ["docker", *command], capture_output=True, text=True, check=True, timeout=120
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""


def host_systems() -> tuple[str, ...]:
    """Return the systems that test hosts are to be: an image of somebody else's, or all of ours."""
    wanted = os.environ.get("SLIPWAY_TEST_HOST", "")
    return (wanted,) if wanted and wanted not in SYSTEMS else SYSTEMS


def everything() -> Wanted:
    """Return what the whole suite needs."""
    return Wanted(ARCHIVES, tuple((system, stage) for system in host_systems() for stage in STAGES))


def needed_by(scenarios: Iterable[str]) -> Wanted:
    """Return what the hosts of some scenarios need, by the inventory that all of them share."""
    groups = yaml.safe_load((INVENTORY / "hosts.yml").read_text())
    wanted = os.environ.get("SLIPWAY_TEST_HOST", "")
    archives: set[str] = set()
    hosts: set[tuple[str, str]] = set()
    for name in scenarios:
        # A scenario may have a second host beside its own.
        for host, said in groups["slipway"]["hosts"].items():
            if host != name and said.get("test_beside") != name:
                continue
            files = [f"group_vars/{one}.yml" for one in groups if host in groups[one]["hosts"]]
            variables: dict[str, Any] = {}
            for path in (INVENTORY / one for one in [*files, f"host_vars/{host}.yml"]):
                variables |= yaml.safe_load(path.read_text()) if path.exists() else {}
            variables |= said
            archives |= set(variables["test_host_archives"])
            # A virtual machine is made from no image.
            if variables["test_host_stage"] != "machine":
                hosts.add((wanted or variables["test_host_system"], variables["test_host_stage"]))
    return Wanted(tuple(one for one in ARCHIVES if one in archives), tuple(sorted(hosts)))


def image(system: str, stage: str) -> str:
    """Return the name of a host's image."""
    return f"slipway-test/host:{re.sub('[^A-Za-z0-9_.]', '-', system)}-{stage}"


def stamp(archive: str) -> Path:
    """Return the file that holds the recipe of an archive that is whole."""
    return CACHE / f"{archive}.recipe"


def archive_is_made(archive: str, wanted: str) -> bool:
    """Return whether an archive is there, whole, and of this recipe."""
    path = stamp(archive)
    return (CACHE / archive).exists() and path.exists() and path.read_text() == wanted


def missing(needs: Wanted, wanted: str) -> Wanted:
    """Return what is not there, or is of another recipe, and what that in turn is made from."""
    hosts = tuple(
        (system, stage)
        for system, stage in needs.hosts
        if docker("inspect", f"--format={LABEL}", image(system, stage)) != wanted
    )
    archives = {name for name in needs.archives if not archive_is_made(name, wanted)}
    layers = [BASE_LAYER[system] for system, _ in hosts if system in BASE_LAYER]
    for archive, below in BASE_LAYERS_OF.items():
        layers += below if archive in archives else ()
    for layer in layers:
        # The engine may have been emptied since the archive was written.
        if not archive_is_made(layer, wanted) or not docker("images", "-q", layer_image(layer)):
            archives.add(layer)
    return Wanted(tuple(name for name in ARCHIVES if name in archives), hosts)


def layer_image(archive: str) -> str:
    """Return the name of the base layer that is made on the way to an archive."""
    (system,) = [system for system, name in BASE_LAYER.items() if name == archive]
    return f"slipway/debian:{system}"


@contextmanager
def making() -> Iterator[None]:
    """Let nobody else on this machine make the same meanwhile."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "making").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


Call = Callable[..., int]


def make(needs: Wanted, call: Call) -> str:
    """Make what is missing by a program that `call` runs; return why not, or nothing.

    `call` gets the words of a command and its environment, and returns the exit code.
    """
    wanted = recipe()
    todo = missing(needs, wanted)
    if not todo.archives and not todo.hosts:
        return ""
    with making():
        # Whoever had the lock may have made the same.
        todo = missing(needs, wanted)
        for name in todo.archives:
            stamp(name).unlink(missing_ok=True)
            # The archive of an older recipe would be taken for the new one.
            (CACHE / name).unlink(missing_ok=True)
        words = {"ready_archives": todo.archives, "ready_hosts": todo.hosts}
        code = call(
            "ansible-playbook", "--inventory=localhost,", f"--extra-vars={json.dumps(words)}",
            str(ROOT / "tests/host/ready.yml"),
            ANSIBLE_CONFIG=str(ROOT / "ansible.cfg"), SLIPWAY_TEST_RECIPE=wanted,
        )  # fmt: skip
        if code:
            return "what test hosts are made from could not be made: the failed task is above"
        for name in todo.archives:
            stamp(name).write_text(wanted)
    return ""


def run(*command: str, **environment: str) -> int:
    """Run a program in the foreground, and return its exit code."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        command, cwd=ROOT, env=os.environ | environment | {"PATH": path}, check=False
    ).returncode


def thaw(*names: str) -> None:
    """Thaw what is frozen in test hosts, or with cgroup v1 the engine outside cannot end them."""
    for name in names:
        docker(
            "exec", name, "sh", "-c",
            "docker ps --quiet --filter status=paused | xargs --no-run-if-empty docker unpause",
        )  # fmt: skip


def host(text: str) -> tuple[str, str]:
    """Return system and stage of the form `bookworm-engine`."""
    system, _, stage = text.rpartition("-")
    if not system or stage not in STAGES:
        raise argparse.ArgumentTypeError(f"{text} is not of the form SYSTEM-{{{'|'.join(STAGES)}}}")
    return system, stage


def main(arguments: Iterable[str] | None = None) -> int:
    """Make what the command line names."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--host", type=host, action="append", default=[], help="SYSTEM-STAGE")
    parser.add_argument("--archive", choices=ARCHIVES, action="append", default=[])
    parser.add_argument("--files", metavar="DIRECTORY", help="name the files, make nothing")
    given = parser.parse_args(None if arguments is None else list(arguments))
    if given.files is not None:
        under = Path(given.files)
        for name in project_files():
            if Path(name).is_relative_to(under):
                print(Path(name).relative_to(under), end="\0")
        return 0
    needs = Wanted(tuple(given.archive), tuple(given.host))
    problem = make(needs if needs.archives or needs.hosts else everything(), run)
    if problem:
        print(f"tests.hosts: {problem}.", file=sys.stderr)
    return 1 if problem else 0


if __name__ == "__main__":
    sys.exit(main())
