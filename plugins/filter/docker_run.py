"""The options of a container, as arguments of `docker run`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

# Options of community.docker.docker_container, by the argument that takes their value.
FLAGS = {"read_only": "--read-only"}
VALUES = {
    "user": "--user",
    "memory": "--memory",
    "shm_size": "--shm-size",
    "pids_limit": "--pids-limit",
    "cpus": "--cpus",
}
LISTS = {"cap_drop": "--cap-drop", "security_opts": "--security-opt", "tmpfs": "--tmpfs"}
MAPPINGS = {"sysctls": "--sysctl"}


def mount(one: Mapping[str, Any]) -> str:
    """Return a mount as the value of `--mount`."""
    words = [f"type={one['type']}", f"source={one['source']}", f"target={one['target']}"]
    return ",".join([*words, "readonly"] if one.get("read_only") else words)


def docker_run_options(container: Mapping[str, Any]) -> list[str]:
    """Return the arguments of `docker run` for a throw-away container like a real one.

    container has options as community.docker.docker_container takes them. Raise ValueError for an
    option that is not known here: one that was left out in silence would make the trial another
    container than the real one.
    """
    found: list[str] = []
    for name, value in container.items():
        if name in FLAGS:
            found += [FLAGS[name]] if value else []
        elif name in VALUES:
            found.append(f"{VALUES[name]}={value}")
        elif name in LISTS:
            found += [f"{LISTS[name]}={one}" for one in value]
        elif name in MAPPINGS:
            found += [f"{MAPPINGS[name]}={key}={one}" for key, one in value.items()]
        elif name == "mounts":
            found += [f"--mount={mount(one)}" for one in value]
        else:
            raise ValueError(f"docker_run_options does not know the option {name}")
    return found


def container_options(container: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that a container runs with, by what the engine tells of it.

    As docker_run_options takes them: for a trial beside a container whose role did not run.
    """
    host = container["HostConfig"]
    options = {
        "user": container["Config"].get("User"),
        "read_only": host.get("ReadonlyRootfs"),
        "cap_drop": host.get("CapDrop"),
        "security_opts": host.get("SecurityOpt"),
        "sysctls": host.get("Sysctls"),
        "tmpfs": [f"{path}:{how}" for path, how in (host.get("Tmpfs") or {}).items()],
        "mounts": [
            {
                "type": one["Type"],
                "source": one["Name"] if one["Type"] == "volume" else one["Source"],
                "target": one["Destination"],
                "read_only": not one["RW"],
            }
            for one in container.get("Mounts") or []
            # Listed among the mounts by some engines, and above.
            if one["Type"] in ("bind", "volume")
        ],
        "memory": host.get("Memory"),
        "pids_limit": host.get("PidsLimit"),
        "cpus": (host.get("NanoCpus") or 0) / 1e9,
    }
    # 0 and nothing are no limit.
    return {name: value for name, value in options.items() if value}


class FilterModule:
    """What Ansible loads."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by name."""
        return {
            "container_options": container_options,
            "docker_run_options": docker_run_options,
        }
