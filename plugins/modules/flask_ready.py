#!/usr/bin/python
"""Wait until a release answers its health check."""

from __future__ import annotations

DOCUMENTATION = r"""
module: flask_ready
short_description: Wait until a release answers its health check
description:
  - Runs the container's own health check in it, without the engine's interval between two checks.
  - Fails at once when the container stops or restarts, with its last log lines.
options:
  container:
    description: Name of the release's container.
    type: str
    required: true
  timeout:
    description: Seconds that it gets.
    type: int
    required: true
author: [Slipway]
"""

RETURN = r"""
seconds: {description: How long it took., type: float, returned: success}
log: {description: The last lines of its log., type: list, elements: str, returned: failure}
reason: {description: What it said last., type: str, returned: failure}
"""

import json
import re
import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.slipway.flask_host import ask, docker

PAUSE = 0.1
EXCEPTION = re.compile(r"^[A-Za-z_.]*(?:Error|Exception|Exit)\b.*", re.MULTILINE)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "container": {"type": "str", "required": True},
            "timeout": {"type": "int", "required": True},
        },
    )
    container, timeout = module.params["container"], module.params["timeout"]
    began = time.monotonic()

    def look() -> dict[str, Any]:
        text = docker(module, "container", "inspect", container)
        found: dict[str, Any] = json.loads(text)[0]
        return found

    def give_up(reason: str) -> None:
        _, out, err = module.run_command(["docker", "logs", "--tail", "60", container])
        log = f"{out}{err}".splitlines()
        # An application that does not start says why in an exception.
        exceptions = EXCEPTION.findall("\n".join(log))
        reason = exceptions[-1] if exceptions else reason
        module.fail_json(msg=f"{container}: {reason}", reason=reason[:300], log=log[-20:])

    first = look()
    check = first["Config"]["Healthcheck"]["Test"][1:]
    said = "no answer"
    while True:
        left = timeout - (time.monotonic() - began)
        healthy, said = ask(container, check, left)
        if healthy:
            module.exit_json(changed=False, seconds=round(time.monotonic() - began, 2))
        state = look()
        if state["State"]["Status"] not in ("running", "created"):
            give_up(f"its container is {state['State']['Status']}")
        if state["RestartCount"] > first["RestartCount"]:
            give_up("its container ended and was started again")
        if time.monotonic() - began + PAUSE > timeout:
            give_up(said)
        time.sleep(PAUSE)


if __name__ == "__main__":
    main()
