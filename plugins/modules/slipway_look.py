#!/usr/bin/python
"""Look at a host once: what the roles have there, and what stood when they last ended well."""

from __future__ import annotations

DOCUMENTATION = r"""
module: slipway_look
short_description: Look at a host once, and compare with what stood when the roles last ended well
description:
  - Looks at the files, units, containers, networks, volumes, images and rules that are named in
    C(watch), and at the host's own facts, in one program that needs nothing but Python.
  - The comparison is made on the host, so neither a secret nor a checksum of one leaves it.
options:
  state:
    description:
      - V(compared) changes nothing, and answers what differs from the record.
      - V(begun) takes roles out of the record, since they are about to change something.
      - V(ended) records what stands now, with what the roles were given.
    type: str
    choices: [compared, begun, ended]
    default: compared
  record:
    description: File of the record, root's alone.
    type: path
    required: true
  watch:
    description: Role to what belongs to it - files, units, containers, and so on.
    type: dict
    default: {}
  roles:
    description: Roles that begin.
    type: list
    elements: str
    default: []
  given:
    description: Role to what the control node knows of it - inputs and outputs.
    type: dict
    default: {}
  generation:
    description: Number of the record that the play has seen.
    type: int
    default: 0
  salt:
    description: With which the control node made the checksums of inputs.
    type: str
    default: ""
  socket:
    description: Path of the engine's socket.
    type: path
    default: /var/run/docker.sock
author: [Slipway]
"""

RETURN = r"""
drift: {description: Role to what differs from the record., type: dict, returned: compared}
known: {description: Role to the inputs and outputs of its record., type: dict, returned: compared}
salt: {description: With which checksums of inputs are made., type: str, returned: compared}
generation: {description: Number of the record., type: int, returned: always}
stale: {description: Whether another run ended since the play looked., type: bool, returned: begun}
engine: {description: What answers on the engine's socket., type: dict, returned: compared}
"""

import glob
import hashlib
import hmac
import importlib.util
import json
import math
import os
import re
import secrets
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.slipway import engine, volume

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
FORMAT = 1
# Enough to tell two contents apart; these checksums, made with a salt, stay on the host.
DIGITS = 12
# Bytecode and half-written files come and go.
VOLATILE = re.compile(r"__pycache__|.*\.pyc|\..*\.new")
LIMITS = (
    "Memory", "MemorySwap", "MemoryReservation", "NanoCpus", "CpuShares", "CpuQuota", "CpuPeriod",
    "CpusetCpus", "PidsLimit", "BlkioWeight", "RestartPolicy",
)  # fmt: skip
# What a thing can be said to be; of all else it is said that it changed.
STATES = ("stopped", "unhealthy", "paused", "missing")
# What an engine fills in by itself, another one with each container.
OWN_CONFIG = ("Hostname", "Image")
OWN_HOST_CONFIG = (*LIMITS, "ContainerIDFile", "OomKillDisable", "NetworkMode")


class Eye:
    """What is looked with: the salt of the checksums, and the engine."""

    def __init__(self, salt: str, socket: str) -> None:
        """Ask the engine for the lists that more than one role needs."""
        self.salt = salt.encode()
        self.socket = socket
        self.version: dict[str, Any] = engine.ask(socket, "/version") or {}
        self.listed: dict[str, Any] = {"networks": {}, "volumes": {}, "containers": {}}
        self.images: dict[str, str] = {}
        if self.version:
            self.listed = engine.contents(socket)
            for image in engine.ask(socket, "/images/json", patience=60) or []:
                for tag in (image["RepoTags"] or []) + (image["RepoDigests"] or []):
                    self.images[tag] = image["Id"]

    def digest(self, value: Any) -> str:
        """Return a checksum of bytes, or of what JSON can hold."""
        data = value if isinstance(value, bytes) else json.dumps(value, sort_keys=True).encode()
        return hmac.new(self.salt, data, hashlib.sha256).hexdigest()[:DIGITS]

    def file(self, path: Path, content: bool = True) -> str:
        """Return what a path is: kind, mode, owner, and for a file what is in it."""
        there = path.lstat()
        who = f"{stat.S_IMODE(there.st_mode):o} {there.st_uid}:{there.st_gid}"
        if stat.S_ISLNK(there.st_mode):
            return f"-> {path.readlink()}"
        if stat.S_ISDIR(there.st_mode):
            return f"directory {who}"
        if not stat.S_ISREG(there.st_mode):
            return f"special {who}"
        if not content:
            return f"{who} {there.st_size} {int(there.st_mtime)}"
        return f"{who} {self.digest(bytes(volume.read_bytes(path)))}"

    def files(self, patterns: list[str], ignored: list[str], content: bool) -> Iterator[Any]:
        """Yield each path that the patterns name, and all below the directories, with what it is.

        A pattern that ends in a slash names the directory alone.
        """
        for pattern in patterns:
            alone = pattern.endswith("/")
            for named in sorted(Path("/").glob(pattern.strip("/"))):
                for path in (named,) if alone else walk(named):
                    if not any(fnmatchcase(str(path), one) for one in ignored):
                        try:
                            yield f"file {path}", self.file(path, content)
                        except (OSError, volume.ProblemError):
                            continue

    def container(self, name: str) -> dict[str, str]:
        """Return what a container is, part by part."""
        found = engine.ask(self.socket, f"/containers/{name}/json", patience=60)
        if found is None:
            return {}
        config, host, state = found["Config"], found["HostConfig"], found["State"]
        health = (state.get("Health") or {}).get("Status", "")
        short = found["Id"][:12]
        networks = {
            network: sorted(set(one.get("Aliases") or []) - {short})
            for network, one in (found["NetworkSettings"]["Networks"] or {}).items()
        }
        settings = {key: value for key, value in config.items() if key not in OWN_CONFIG}
        allowed = {key: value for key, value in host.items() if key not in OWN_HOST_CONFIG}
        return {
            f"image of container {name}": found["Image"],
            f"state of container {name}": (
                "paused" if state.get("Paused") else "stopped" if not state["Running"]
                else "unhealthy" if health == "unhealthy" else "runs"
            ),
            f"limits of container {name}": self.digest({key: host.get(key) for key in LIMITS}),
            f"networks of container {name}": self.digest(networks),
            f"settings of container {name}": self.digest([settings, allowed]),
        }  # fmt: skip

    def network(self, name: str) -> dict[str, str]:
        """Return what a network is."""
        found = engine.ask(self.socket, f"/networks/{name}", patience=60)
        keys = ("Driver", "Internal", "EnableIPv6", "Options", "Labels")
        return {f"network {name}": self.digest({key: found[key] for key in keys})} if found else {}

    def volume(self, name: str) -> dict[str, str]:
        """Return what a volume is, where its links lead, and whether a cluster is in it."""
        if name not in self.listed["volumes"]:
            return {}
        place = Path(self.listed["volumes"][name])
        names = volume.names(place)
        links = {one: leads for one in names if (leads := volume.target(place / one))}
        clusters = [f"{one}/docker" for one in names if is_there(place / one / "docker/PG_VERSION")]
        return {f"volume {name}": self.digest([str(place), links, clusters])}

    def probe(self, container: str, argv: list[str]) -> str:
        """Return what a command in a container answers."""
        done = subprocess.run(
            ["docker", "exec", container, *argv],
            capture_output=True, check=False, stdin=subprocess.DEVNULL, timeout=60,
            env={**os.environ, "PATH": PATH},
        )  # fmt: skip
        return f"{done.returncode} {self.digest(done.stdout)}"

    def look(self, watch: dict[str, Any], images: list[str]) -> dict[str, str]:
        """Return what there is of a role: thing to what it is."""
        seen: dict[str, str] = {}
        ignored = watch.get("ignored", [])
        seen.update(self.files(watch.get("files", []), ignored, content=True))
        seen.update(self.files(watch.get("sizes", []), ignored, content=False))
        for name in watch.get("names", []):
            seen[f"file {name}"] = "there" if os.path.lexists(name) else "missing"
        for pattern in watch.get("containers", []):
            for name in sorted(self.listed["containers"]):
                if fnmatchcase(name, pattern) and not passing(watch.get("passing"), name):
                    seen.update(self.container(name))
        for name in watch.get("networks", []):
            seen.update(self.network(name))
        for name in watch.get("volumes", []):
            seen.update(self.volume(name))
        for name in {*watch.get("images", []), *images}:
            for tag in sorted(self.images):
                if fnmatchcase(tag, name):
                    seen[f"image {tag}"] = self.images[tag]
        seen.update(units([one for name in watch.get("units", []) for one in unit_names(name)]))
        for name in watch.get("processes", []):
            seen[f"process {name}"] = "runs" if runs(name) else "stopped"
        if watch.get("engine"):
            seen["the engine"] = " ".join(
                [self.version.get("Version", "none"), self.version.get("ApiVersion", "")]
            )
            found = importlib.util.find_spec("requests") is not None
            seen["Python library requests"] = "there" if found else "missing"
        if watch.get("firewall"):
            seen["loaded firewall rules"] = self.digest(rules(watch["firewall"]))
        for name, one in watch.get("probes", {}).items():
            if one["container"] in self.listed["containers"]:
                seen[name] = self.probe(one["container"], one["argv"])
        return seen


def is_there(path: Path) -> bool:
    """Return whether a file is there, without following what others than root have put there."""
    try:
        return bool(volume.is_file(path))
    except (OSError, volume.ProblemError):
        return False


def walk(root: Path) -> Iterator[Path]:
    """Yield a path and all below it, without following links out of it."""
    yield root
    if root.is_dir() and not root.is_symlink():
        for path in sorted(root.iterdir()):
            if not VOLATILE.fullmatch(path.name):
                yield from walk(path)


def passing(notes: str | None, container: str) -> bool:
    """Return whether a container goes by itself: a note is named after the end of its name."""
    if notes is None or not Path(notes).is_dir():
        return False
    end = container.rpartition("-")[2]
    return any(path.name.startswith(f"{end}-") for path in Path(notes).iterdir())


def systemd() -> bool:
    """Return whether systemd runs the host."""
    return Path("/run/systemd/system").is_dir()


def unit_names(pattern: str) -> list[str]:
    """Return the units of a pattern: those that have a file of the host's own."""
    if "*" not in pattern:
        return [pattern]
    return sorted(path.name for path in Path("/etc/systemd/system").glob(pattern))


def units(names: list[str]) -> dict[str, str]:
    """Return whether units are enabled, and whether those that last are active."""
    if not names or not systemd():
        return {}
    asked = subprocess.run(
        ["systemctl", "show", "--property=Id,UnitFileState,ActiveState,Type", *names],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    seen = {}
    for part in asked.stdout.split("\n\n"):
        said = dict(line.partition("=")[::2] for line in part.strip().splitlines())
        if "Id" not in said:
            continue
        # A job is active for a moment, whenever its timer says so.
        lasts = said.get("Type") not in ("oneshot", "exec", "simple") or "docker" in said["Id"]
        active = said.get("ActiveState", "") if lasts else ""
        seen[f"unit {said['Id']}"] = f"{said.get('UnitFileState', '')} {active}".strip()
    return seen


def runs(name: str) -> bool:
    """Return whether a program of that name runs."""
    for path in Path("/proc").glob("[0-9]*/comm"):
        try:
            if path.read_text().strip() == name:
                return True
        except OSError:
            continue
    return False


def rules(table: str) -> str:
    """Return the loaded rules of a table; nothing where there is none."""
    nft = shutil.which("nft", path=PATH)
    if nft is None:
        return ""
    asked = subprocess.run(
        [nft, "--stateless", "list", "table", *table.split()],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    return asked.stdout


def facts() -> dict[str, Any]:
    """Return the host's facts that the roles use, by the names that Ansible's own have."""
    release: dict[str, str] = {}
    about = Path("/etc/os-release")
    for line in about.read_text().splitlines() if about.exists() else ():
        name, _, value = line.partition("=")
        release[name] = value.strip("\"'")
    memory = re.search(r"^MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text(), re.MULTILINE)
    return {
        "ansible_distribution": release.get("ID", "").capitalize(),
        "ansible_service_mgr": "systemd" if systemd() else "service",
        "ansible_memtotal_mb": int(memory[1]) // 1024 if memory else 0,
        "ansible_processor_nproc": len(os.sched_getaffinity(0)),
        "ansible_pkg_mgr": "apt",
        "ansible_python": {"executable": sys.executable},
    }


class Record:
    """What stood when each role last ended well."""

    def __init__(self, path: Path, salt: str) -> None:
        """Read it; one that cannot be read is none, and every role is entered."""
        self.path = path
        self.data: dict[str, Any] = {}
        try:
            self.data = json.loads(volume.read(path))
        except (OSError, ValueError, volume.ProblemError):
            self.data = {}
        if not isinstance(self.data, dict) or self.data.get("format") != FORMAT:
            self.data = {"format": FORMAT, "generation": 0, "roles": {}}
        self.data.setdefault("salt", secrets.token_hex(20))
        self.data.setdefault("salt_inputs", salt or secrets.token_hex(20))

    @property
    def roles(self) -> dict[str, Any]:
        """Return role to its inputs, outputs and what was seen of it."""
        return dict(self.data["roles"])

    def write(self, roles: dict[str, Any]) -> None:
        """Keep it, for root alone."""
        self.data.update(roles=roles, generation=self.data["generation"] + 1)
        if not volume.is_directory(self.path.parent):
            volume.make(self.path.parent, 0o755)
        volume.replace(self.path, json.dumps(self.data, indent=1) + "\n", 0o600)


def differences(before: dict[str, str], now: dict[str, str]) -> list[str]:
    """Return in words what differs."""
    said = [f"{whole(thing)} is gone" for thing in before if thing not in now]
    said += [
        f"{thing} is {now[thing]}" if now[thing] in STATES else f"{thing} has changed"
        for thing in before
        if thing in now and before[thing] != now[thing]
    ]
    said += [f"{whole(thing)} is new" for thing in now if thing not in before]
    return list(dict.fromkeys(said))


def whole(thing: str) -> str:
    """Return the container of which a thing is a part, or else the thing."""
    return re.sub(r"^\w+ of (?=container )", "", thing)


def images_of(known: dict[str, Any]) -> list[str]:
    """Return the images that a role's record names."""
    kind = "image "
    return [
        glob.escape(thing[len(kind) :])
        for thing in known.get("seen", {})
        if thing.startswith(kind) and not thing.startswith("image of ")
    ]


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "state": {
                "type": "str", "choices": ["compared", "begun", "ended"], "default": "compared",
            },
            "record": {"type": "path", "required": True},
            "watch": {"type": "dict", "default": {}},
            "roles": {"type": "list", "elements": "str", "default": []},
            "given": {"type": "dict", "default": {}},
            "generation": {"type": "int", "default": 0},
            "salt": {"type": "str", "default": ""},
            "socket": {"type": "path", "default": engine.SOCKET},
        },
        supports_check_mode=True,
    )  # fmt: skip
    given: dict[str, Any] = module.params
    record = Record(Path(given["record"]), given["salt"])
    known = record.roles
    if given["state"] == "begun":
        stale = record.data["generation"] != given["generation"]
        if not module.check_mode:
            record.write(
                {} if stale else {k: v for k, v in known.items() if k not in given["roles"]}
            )
        module.exit_json(changed=False, stale=stale, generation=record.data["generation"])
    try:
        eye = Eye(record.data["salt"], given["socket"])
    except OSError as problem:
        module.fail_json(msg=str(problem))
    if given["state"] == "ended":
        for role, said in given["given"].items():
            images = said.pop("images", [])
            seen = eye.look(given["watch"].get(role, {}), [glob.escape(one) for one in images])
            known[role] = {**said, "seen": seen}
        if not module.check_mode:
            record.write(known)
        module.exit_json(changed=False, generation=record.data["generation"])
    drift = {
        role: differences(known[role]["seen"], eye.look(watch, images_of(known[role])))
        + (["its certificate is due"] if time.time() > known[role].get("until", math.inf) else [])
        for role, watch in given["watch"].items()
        if role in known
    }
    module.exit_json(
        changed=False,
        ansible_facts=facts(),
        drift=drift,
        known={role: {**one, "seen": None} for role, one in known.items()},
        salt=record.data["salt_inputs"],
        generation=record.data["generation"],
        engine={
            "ready": bool(eye.version),
            "version": eye.version.get("Version", ""),
            "api_version": eye.version.get("ApiVersion", "0"),
            **eye.listed,
        },
    )


if __name__ == "__main__":
    main()
