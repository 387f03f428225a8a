"""What became of what timers began, for `status`: also of what was killed and could say nothing."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from slipway_data import host as hosts
from slipway_data import locks, volume
from slipway_data.host import Host, clock, read_json, replace

# Its changes take a moment.
WAIT = 60


def _change(host: Host, verb: str, said: dict[str, Any] | None) -> None:
    """Note how a verb failed, or that nothing is wrong with it; others may note theirs meanwhile."""
    path = host.config.own / "failed.json"
    if not said and verb not in (read_json(path) or {}):
        return
    locks.directory(hosts.LOCKS)
    with locks.held(hosts.LOCKS / f"{host.config.project}.failed.lock", WAIT, verb):
        failed = read_json(path) or {}
        if said:
            failed[verb] = said
        else:
            failed.pop(verb, None)
        replace(path, json.dumps(failed) + "\n")


def failed(host: Host, verb: str, said: str) -> None:
    """Note that what a timer began failed."""
    _change(host, verb, {"time": clock(), "said": said})


def done(host: Host, verb: str) -> None:
    """Note that a verb was done well, which makes up for its failures."""
    _change(host, verb, None)
    volume.unlink(_mark(host, verb))


def _mark(host: Host, verb: str) -> Path:
    return host.config.own / f"began.{verb}.json"


def began(host: Host, verb: str) -> None:
    """Note that a timer begins something: whoever is killed says nothing more."""
    replace(_mark(host, verb), json.dumps({"time": clock(), "process": _of(os.getpid())}) + "\n")


def ended(host: Host, verb: str) -> None:
    """Note that what a timer began has told how it ended."""
    volume.unlink(_mark(host, verb))


def _of(process: int) -> list[Any]:
    """Return what tells a process from all others: boot, number and start; nothing when it is gone."""
    try:
        text = Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return []
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    state, *rest = text.rpartition(")")[2].split()
    return [] if state in "ZX" else [boot, process, rest[18]]


def problems(host: Host) -> list[str]:
    """Return the sentences for what failed, and for what was killed."""
    noted = read_json(host.config.own / "failed.json") or {}
    told = [f"the {verb} of {one['time']} failed: {one['said']}" for verb, one in noted.items()]
    for name in volume.names(host.config.own):
        if not name.startswith("began.") or not name.endswith(".json"):
            continue
        verb, mark = name.split(".")[1], read_json(host.config.own / name)
        if mark and _of(mark["process"][1]) != mark["process"]:
            told.append(
                f"the {verb} that a timer began at {mark['time']} was killed before it ended (by hand, for want of memory, or with the host): "
                f"`./slipway {verb}` does it again"
            )
    return told
