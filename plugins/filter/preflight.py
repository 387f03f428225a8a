"""Who publishes a port of the host, by the engine's list of containers; what roles take."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

EVERYWHERE = ("", "0.0.0.0", "::")  # noqa: S104 (compared with, not bound)


def _label(container: Mapping[str, Any], name: str) -> str:
    """Return a container's label, or nothing."""
    return str((container.get("Labels") or {}).get(name, ""))


def port_taken(
    containers: Iterable[Mapping[str, Any]], bind: str, port: int | str, project: str, variable: str
) -> str:
    """Return who holds a port and what to do about it, as the end of a sentence."""
    free = f"set {variable} to a free port"
    for container in containers:
        for one in container.get("Ports") or []:
            address = one.get("IP", "")
            meets = bind in EVERYWHERE or address in EVERYWHERE or address == bind
            if str(one.get("PublicPort")) != str(port) or not meets:
                continue
            name = str((container.get("Names") or ["?"])[0]).lstrip("/")
            owner = _label(container, "slipway.project")
            if owner == project:
                return f"{name}, a container of this project: {free}"
            if owner:
                return f"another Slipway project, {owner} (its container {name}): {free}"
            return f"the container {name}, which is not Slipway's: stop that, or {free}"
    return f"another program (`ss -ltnp` there names it): stop that, or {free}"


@cache
def _options(path: str) -> Any:
    """Return the options of an argument_specs.yml, read once."""
    # With libyaml it takes a tenth of the time.
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    specs = yaml.load(Path(path).read_text(), Loader=loader)  # noqa: S506 (a safe one)
    return specs["argument_specs"]["main"]["options"]


def role_options(role: str, directory: str) -> Any:
    """Return the options that a role in a directory takes, by name."""
    return _options(str(Path(directory) / role / "meta/argument_specs.yml"))


def role_option_names(roles: Iterable[str], directory: str) -> list[str]:
    """Return the names of the options that some roles take, without their descriptions."""
    return [name for role in roles for name in role_options(role, directory)]


class FilterModule:
    """Filters of the role."""

    def filters(self) -> dict[str, Any]:
        """Return them by name."""
        return {
            "port_taken": port_taken,
            "role_options": role_options,
            "role_option_names": role_option_names,
        }
