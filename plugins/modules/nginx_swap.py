#!/usr/bin/python
"""Let a new nginx container take over the port of the one that runs."""

from __future__ import annotations

DOCUMENTATION = r"""
module: nginx_swap
short_description: Let a new nginx container take over the port of the one that runs
description:
  - A published port belongs to one container, so there is a gap; everything that can be done before
    it is, and the old container comes back when the new one is not healthy in time.
options:
  container:
    description: Name of the container.
    type: str
    required: true
  state:
    description:
      - V(aside) renames the container that runs, so that a new one can be made beside it.
      - V(swapped) stops the old one and starts the new one.
      - V(back) undoes V(aside), when no new one could be made.
    type: str
    choices: [aside, swapped, back]
    required: true
  grace:
    description: Seconds that the old one's requests get, for V(swapped).
    type: int
    default: 3
  probe:
    description: Command that succeeds in a container which answers, for V(swapped).
    type: list
    elements: str
    default: []
  timeout:
    description: Seconds that the new one gets to answer, for V(swapped).
    type: int
    default: 20
author: [Slipway]
"""

RETURN = r"""
aside: {description: Whether the old container runs aside., type: bool, returned: always}
gap: {description: Seconds in which nobody took new connections., type: float, returned: swapped}
"""

import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule

PAUSE = 0.05


def docker(module: Any, *arguments: str) -> tuple[bool, str]:
    """Run the engine's client; return whether it succeeded, and what it said."""
    code, out, err = module.run_command(["docker", *arguments])
    return code == 0, str(out if code == 0 else err).strip()


def runs(module: Any, name: str) -> bool:
    """Say whether a container runs."""
    return docker(module, "container", "inspect", "--format={{.State.Running}}", name)[1] == "true"


def exists(module: Any, name: str) -> bool:
    """Say whether there is a container of this name."""
    return docker(module, "container", "inspect", "--format={{.Id}}", name)[0]


def answers(module: Any, name: str, probe: list[str], timeout: float) -> bool:
    """Wait until a container answers."""
    until = time.monotonic() + timeout
    while time.monotonic() < until:
        if docker(module, "exec", name, *probe)[0]:
            return True
        state = docker(
            module, "container", "inspect", "--format={{.State.Running}} {{.RestartCount}}", name
        )[1]
        if state != "true 0":  # it ended, or was started again after it had
            return False
        time.sleep(PAUSE)
    return False


def swap(module: Any, new: str, old: str) -> float:
    """Swap the containers; return the gap in seconds, or fail the module with the old one back."""
    probe, timeout = module.params["probe"], module.params["timeout"]
    # nginx takes no new connection from the moment that it is told to stop.
    began = time.monotonic()
    docker(module, "stop", "-t", str(module.params["grace"]), old)
    started, said = docker(module, "start", new)
    if started and answers(module, new, probe, timeout):
        gap = time.monotonic() - began
        docker(module, "rm", "--force", old)
        return gap
    said = said if not started else docker(module, "logs", "--tail", "3", new)[1] or "no answer"
    docker(module, "rm", "--force", new)
    docker(module, "rename", old, new)
    docker(module, "start", new)
    back = answers(module, new, probe, timeout)
    module.fail_json(
        msg=f"the new nginx container did not answer within {timeout} s ({said}):"
        + (" the old one serves again." if back else " and the old one did not come back either.")
    )
    return 0.0


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "container": {"type": "str", "required": True},
            "state": {"type": "str", "required": True, "choices": ["aside", "swapped", "back"]},
            "grace": {"type": "int", "default": 3},
            "probe": {"type": "list", "elements": "str", "default": []},
            "timeout": {"type": "int", "default": 20},
        },
    )
    new = module.params["container"]
    old = f"{new}-old"
    if module.params["state"] == "swapped":
        module.exit_json(changed=True, aside=False, gap=round(swap(module, new, old), 2))
    if module.params["state"] == "back":
        docker(module, "rm", "--force", new)
        module.exit_json(changed=docker(module, "rename", old, new)[0], aside=False)
    # A play that was killed in between left one already, or one that was stopped for a new one.
    aside = runs(module, old) or (not runs(module, new) and exists(module, old))
    if not aside and runs(module, new):
        docker(module, "rm", "--force", old)
        aside = docker(module, "rename", new, old)[0]
        module.exit_json(changed=aside, aside=aside)
    module.exit_json(changed=False, aside=aside)


if __name__ == "__main__":
    main()
