"""What to install for an engine, when to restart it, and what apt's complaint means."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

# What the engine needs beside itself, with recommended packages left out.
ALWAYS = ["iptables", "ca-certificates"]
# apt does not upgrade to, or install by itself, what has a lower priority (backports have 100).
WANTED_PRIORITY = 500


def offered(policy: str) -> list[str]:
    """Return the packages that apt would install, by the text of `apt-cache policy`."""
    found = []
    for part in re.split(r"(?m)^(?=\S)", policy):
        name = re.match(r"(\S+):\n", part)
        candidate = re.search(r"(?m)^ +Candidate: (\S+)$", part)
        if not name or not candidate or candidate.group(1) == "(none)":
            continue
        version = re.escape(candidate.group(1))
        priority = re.search(rf"(?m)^ (?:\*\*\*|   ) {version} (-?\d+)$", part)
        installed = f"Installed: {candidate.group(1)}\n" in part
        if installed or (priority and int(priority.group(1)) >= WANTED_PRIORITY):
            found.append(name.group(1))
    return found


def docker_packages(show: str, policy: str) -> list[str]:
    """Return the distribution's packages of an engine with its client and builder.

    show is what `apt-cache show` says of docker.io, policy what `apt-cache policy` says of
    docker-cli and docker-buildx. Where the client is a package of its own docker.io names it; a
    package of that name from elsewhere (a backport) may not fit.
    """
    there = offered(policy)
    named = re.findall(r"(?m)^(?:Pre-Depends|Depends|Recommends|Suggests): (.*)$", show)
    client = re.search(r"\bdocker-cli\b(?!-)", " ".join(named)) and "docker-cli" in there
    builder = "docker-buildx" in there
    return [
        "docker.io",
        *(["docker-cli"] if client else []),
        *(["docker-buildx"] if builder else []),
        *ALWAYS,
    ]


def docker_restarts(
    wanted: Mapping[str, Any], before: Mapping[str, Any], reloadable: Iterable[str]
) -> bool:
    """Say whether the engine takes over a changed configuration only when it starts."""
    changed = {key for key in {*wanted, *before} if wanted.get(key) != before.get(key)} - set(
        reloadable
    )
    # `features` is reloaded, but where images are kept is settled when the engine starts.
    store = "containerd-snapshotter"
    stores = [(one.get("features") or {}).get(store) for one in (wanted, before)]
    return bool(changed) or stores[0] != stores[1]


def docker_complaint(result: Mapping[str, Any]) -> str:
    """Return why a task of apt failed, as the start of a sentence, and what helps if that is known.

    The reason is the first error that apt names, in whichever field the module left it.
    """
    fields = (result.get(name) for name in ("msg", "stderr", "module_stderr", "stdout"))
    text = "\n".join(str(one) for one in fields if one)
    expired = re.search(r"Release file for (\S+) is (expired|not valid yet)([^.\n]*)", text)
    if expired:
        where, how, since = expired.groups()
        return (
            f"the package lists of {where} are {how}{since}, so apt takes nothing from there: set "
            "this host's clock, or name a mirror in /etc/apt that is kept up to date "
            "(Slipway does not turn apt's check off)"
        )
    return f"{reason_in(text)}: check that the host reaches its apt mirror (`apt-get update`)"


def reason_in(text: str) -> str:
    """Return the first error that apt names in a text, else the text's first line."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    error = re.search(r"(?<![A-Za-z])E: ?([^\n]+)", text)
    reason = error.group(1).strip() if error else lines[0] if lines else "no reason given"
    return reason[:300].rstrip(".")


class FilterModule:
    """Filters of the role."""

    def filters(self) -> dict[str, Any]:
        """Return them by name."""
        return {
            "docker_complaint": docker_complaint,
            "docker_offered": offered,
            "docker_packages": docker_packages,
            "docker_reason": lambda result: reason_in(str(result.get("msg") or "")),
            "docker_restarts": docker_restarts,
        }
