#!/usr/bin/python
"""Let the releases that no longer serve finish their requests, then stop and remove them."""

from __future__ import annotations

DOCUMENTATION = r"""
module: flask_retire
short_description: Let the releases that no longer serve finish their requests, then stop them
description:
  - A release that was drained may stay for a while, frozen, so that a rollback need not start it.
  - uWSGI's graceful stop drops what waits in the listen queue, and its stats do not count the queue
    of a unix socket. So a request of our own goes into the queue as the last one; when it is
    answered, everything before it was taken up, and the stats say when every worker is idle.
options:
  project:
    description: Name of the project.
    type: str
    required: true
  keep:
    description: The releases that stay.
    type: list
    elements: str
    required: true
  keep_linked:
    description: Whether the release that C(current.sock) points to stays, too.
    type: bool
    default: false
  sockets:
    description: Directory of the sockets on the host.
    type: path
    required: true
  state_dir:
    description: Directory of the project's state.
    type: path
    required: true
  warm:
    description: The release that is kept warm, where its memory is to spare; empty for none.
    type: str
    default: ""
  keep_warm:
    description: Whether releases that are warm already stay, too.
    type: bool
    default: false
  minutes:
    description: How long it is kept warm.
    type: int
    default: 0
  spare_mb:
    description: How much memory the host must have available for that, in MiB.
    type: int
    default: 0
  wake:
    description: A release that runs again, if it is warm; it is among those that stay.
    type: str
    default: ""
  front:
    description:
      - The nginx container; its workers of older configurations must have gone first.
      - Empty where nginx passes to each release without a reload.
    type: str
    default: ""
  path:
    description: Path that the last request asks for.
    type: str
    default: /
  host:
    description: Name that it asks for.
    type: str
    default: localhost
  timeout:
    description: Seconds that the requests get.
    type: int
    required: true
author: [Slipway]
"""

RETURN = r"""
retired:
  description: Per release, seconds of drain and stop, and how many requests were cut off.
  type: list
  elements: dict
  returned: success
woken: {description: Whether a warm release runs again., type: bool, returned: success}
drain: {description: Seconds that draining took., type: float, returned: success}
stop: {description: Seconds that stopping took., type: float, returned: success}
"""

import json
import socket
import struct
import time
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.slipway import flask_warm, volume
from ansible.module_utils.slipway.flask_host import docker

PAUSE = 0.05
# Whoever puts something else in the place of its socket is not asked.
NOBODY = (FileNotFoundError, ConnectionRefusedError, volume.ProblemError)


def packet(path: str, host: str) -> bytes:
    """Return a request in uWSGI's protocol (https://uwsgi-docs.readthedocs.io/en/latest/Protocol.html)."""
    page, _, query = path.partition("?")
    names = {
        "REQUEST_METHOD": "GET", "REQUEST_URI": path, "PATH_INFO": page, "QUERY_STRING": query,
        "SERVER_NAME": "localhost", "SERVER_PORT": "80", "SERVER_PROTOCOL": "HTTP/1.1",
        "HTTP_HOST": host, "HTTP_X_REQUEST_ID": "drain",
    }  # fmt: skip
    body = b"".join(
        struct.pack("<H", len(part)) + part.encode() for pair in names.items() for part in pair
    )
    return struct.pack("<BHB", 0, len(body), 0) + body


def exchange(path: Path, sent: bytes, until: float) -> bytes:
    """Return what a unix socket answers to bytes; raise OSError when nothing comes in time."""
    with socket.socket(socket.AF_UNIX) as connection:
        answer = b""
        connection.settimeout(max(0.1, until - time.monotonic()))
        volume.connect(connection, path)
        if sent:
            connection.sendall(sent)
        while data := connection.recv(65536):
            answer += data
            connection.settimeout(max(0.1, until - time.monotonic()))
        return answer


def load(stats: Path) -> tuple[int, int]:
    """Return how many requests run or wait, and how many were answered so far."""
    found = json.loads(exchange(stats, b"", time.monotonic() + 2))
    workers = found["workers"]
    running = sum(core["in_request"] for worker in workers for core in worker["cores"])
    return running + found["listen_queue"], sum(worker["requests"] for worker in workers)


def old_workers(module: Any, front: str) -> bool:
    """Say whether nginx has workers that still finish what they had before a reload."""
    return "shutting down" in docker(module, "top", front, check=False)


def drain(module: Any, sockets: Path, release: str, until: float) -> int:
    """Wait until a release has answered all it was asked; return how many requests are left."""
    while module.params["front"] and time.monotonic() < until:
        if not old_workers(module, module.params["front"]):
            break
        time.sleep(PAUSE)
    last = packet(module.params["path"], module.params["host"])
    ask_last(sockets / f"{release}.sock", last, until)
    before = (-1, -1)
    while True:
        try:
            after = load(sockets / f"{release}.stats")
        except NOBODY:
            return 0
        except (OSError, ValueError, KeyError):  # a busy host: ask again
            after = (1, -1)
        # Twice the same, so that none was on its way from the queue to a worker.
        if (after[0] == 0 and after == before) or time.monotonic() > until:
            return after[0]
        before = after
        time.sleep(PAUSE)


def ask_last(path: Path, sent: bytes, until: float) -> bool:
    """Put a request into the queue; return whether it was answered, or nobody is there to do so."""
    while time.monotonic() < until:
        try:
            exchange(path, sent, until)
        except BlockingIOError:  # the queue is full
            time.sleep(PAUSE)
        except (*NOBODY, ConnectionResetError, BrokenPipeError):
            return True
        except TimeoutError:
            return False
        else:
            return True
    return False


def may_stay(module: Any, release: str) -> bool:
    """Say whether a release is kept warm."""
    given: dict[str, Any] = module.params
    if release != given["warm"] or given["minutes"] <= 0:
        return False
    return bool(flask_warm.to_spare(given["spare_mb"]))


def stop(module: Any, container: str, seconds: int, state: str) -> None:
    """Stop a container and remove it; what a killed play started may be at it, too."""
    if state == "paused":
        docker(module, "unpause", container, check=False)
    docker(module, "stop", "-t", str(seconds), container, check=False)
    docker(module, "rm", "--force", container, check=False)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "project": {"type": "str", "required": True},
            "keep": {"type": "list", "elements": "str", "required": True},
            "keep_linked": {"type": "bool", "default": False},
            "sockets": {"type": "path", "required": True},
            "state_dir": {"type": "path", "required": True},
            "warm": {"type": "str", "default": ""},
            "keep_warm": {"type": "bool", "default": False},
            "minutes": {"type": "int", "default": 0},
            "spare_mb": {"type": "int", "default": 0},
            "wake": {"type": "str", "default": ""},
            "front": {"type": "str", "default": ""},
            "path": {"type": "str", "default": "/"},
            "host": {"type": "str", "default": "localhost"},
            "timeout": {"type": "int", "required": True},
        },
        supports_check_mode=True,
    )
    project, sockets = module.params["project"], Path(module.params["sockets"])
    prefix = f"{project}-flask-"
    names = docker(
        module, "ps", "--all", "--format={{.Names}}\t{{.State}}",
        f"--filter=label=slipway.project={project}", "--filter=label=slipway.part=flask",
    ).splitlines()  # fmt: skip
    kept = set(module.params["keep"])
    linked = volume.target(sockets / "current.sock")
    if module.params["keep_linked"] and linked:
        kept.add(Path(linked).stem)
    state_dir = Path(module.params["state_dir"])
    if module.params["keep_warm"]:
        kept.update(note.name.partition("-")[0] for note in flask_warm.notes(state_dir))
    old = [
        (name.removeprefix(prefix), state)
        for name, state in (line.split("\t") for line in names)
        if name.startswith(prefix) and name.removeprefix(prefix) not in kept
    ]
    retired = []
    for release, state in [] if module.check_mode else old:
        began = time.monotonic()
        until = began + module.params["timeout"]
        cut = drain(module, sockets, release, until) if state == "running" else 0
        drained = time.monotonic()
        warm = may_stay(module, release) and state == "running" and not cut
        if warm:
            minutes = module.params["minutes"]
            flask_warm.freeze(module, project, release, state_dir, sockets, minutes)
        else:
            flask_warm.claim(state_dir, release)
            stop(module, prefix + release, 1 if cut else flask_warm.STOP_SECONDS, state)
            # uWSGI removes its socket itself, unless it was killed.
            for name in (f"{release}.sock", f"{release}.stats"):
                volume.unlink(sockets / name)
        retired.append(
            {"release": release, "cut": cut, "warm": warm, "drain": round(drained - began, 2),
             "stop": round(time.monotonic() - drained, 2)}
        )  # fmt: skip
    wanted = module.params["wake"]
    woken = bool(wanted) and not module.check_mode
    woken = woken and flask_warm.wake(module, project, wanted, state_dir)
    module.exit_json(
        changed=bool(old),
        retired=retired,
        woken=woken,
        drain=sum(one["drain"] for one in retired),
        stop=sum(one["stop"] for one in retired),
    )


if __name__ == "__main__":
    main()
