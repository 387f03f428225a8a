#!/usr/bin/python
"""Choose the release to go back to, note the attempt, and let the release run where it is warm."""

from __future__ import annotations

DOCUMENTATION = r"""
module: flask_rollback
short_description: Choose the release to go back to, note the attempt, and wake the release
description:
  - One program for what precedes the start of a release's container, since a site that is broken
    waits for it. Nothing is changed where there is no release to go back to.
options:
  project:
    description: Name of the project.
    type: str
    required: true
  state_dir:
    description: Directory of the project's state.
    type: path
    required: true
  secrets:
    description: Directory with a directory of secrets for each release.
    type: path
    required: true
  sockets:
    description: Volume of the sockets.
    type: str
    required: true
  release:
    description: The release to go back to; empty for the last healthy one.
    type: str
    default: ""
  force:
    description: Whether a schema that the release does not know is taken.
    type: bool
    default: false
  schema_command:
    description: Command on the host that prints the schema's revision; empty for none.
    type: list
    elements: str
    default: []
  patience:
    description: Seconds that a migration of a killed play gets to end.
    type: int
    default: 600
  password:
    description: The database's password of today; empty where the application has no database.
    type: str
    default: ""
  trusted_hosts:
    description: Names of the site of today, which a release that has such a list has to take.
    type: list
    elements: str
    default: []
  by:
    description: Who goes back.
    type: str
    default: ""
author: [Slipway]
"""

RETURN = r"""
spec: {description: What the release's container is made of., type: dict, returned: always}
before: {description: The note of the release that serves., type: dict, returned: always}
release: {description: The release whose attempt began., type: str, returned: changed}
there: {description: Whether the release has a container., type: bool, returned: always}
warm: {description: Whether the release runs already and answers., type: bool, returned: always}
sockets: {description: Directory of the sockets on the host., type: str, returned: always}
"""

import json
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.slipway import flask_secret_files, flask_warm
from ansible.module_utils.slipway.flask_attempts import begin, target
from ansible.module_utils.slipway.flask_host import Ledger, docker

HOSTS = "TRUSTED_HOSTS"


def names_in(text: str) -> list[str]:
    """Return the names in a list with commas."""
    return [name for name in text.split(",") if name]


def of_today(spec: dict[str, Any], names: list[str]) -> dict[str, Any]:
    """Return what a release is made of, with the names of today: those are what nginx passes on."""
    then = names_in(spec["env"].get(HOSTS, ""))
    if not then:
        return spec
    return {**spec, "env": {**spec["env"], HOSTS: ",".join(dict.fromkeys(then + names))}}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "project": {"type": "str", "required": True},
            "state_dir": {"type": "path", "required": True},
            "secrets": {"type": "path", "required": True},
            "sockets": {"type": "str", "required": True},
            "release": {"type": "str", "default": ""},
            "force": {"type": "bool", "default": False},
            "schema_command": {"type": "list", "elements": "str", "default": []},
            "patience": {"type": "int", "default": 600},
            "password": {"type": "str", "default": "", "no_log": True},
            "trusted_hosts": {"type": "list", "elements": "str", "default": []},
            "by": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    given = module.params
    state_dir = Path(given["state_dir"])
    ledger = Ledger(state_dir)
    chosen = target(module, ledger)
    before = json.loads((state_dir / "current.json").read_text())
    known = names_in(before.get("trusted_hosts") or "")
    spec = of_today(chosen, known + given["trusted_hosts"])
    release, container = spec["release"], f"{given['project']}-flask-{spec['release']}"
    answer: dict[str, Any] = {
        "spec": spec,
        "before": before,
        "there": bool(docker(module, "inspect", "--format={{.Id}}", container, check=False)),
        "warm": False,
        "sockets": docker(
            module, "volume", "inspect", "--format={{.Mountpoint}}", given["sockets"], check=False
        ),
    }
    if module.check_mode:
        module.exit_json(changed=True, **answer)
    kept = ("release", "package", "version")
    entry = {"kind": "rollback", "left": ledger.serving, "by": given["by"]}
    # As a new object: the choice has settled what killed plays left in memory alone.
    begin(module, Ledger(state_dir), {**{name: spec[name] for name in kept}, **entry}, spec)
    if given["password"] and "POSTGRES_PASSWORD_FILE" in spec["env"]:
        # An application's other secrets stay those that the release was deployed with.
        directory = Path(given["secrets"]) / release
        renewed = flask_secret_files.change(directory, given["password"], spec["uid"])
    else:
        renewed = []
    # One with another name or password is made anew from what is noted of it.
    same = spec == chosen and not renewed
    answer["warm"] = flask_warm.wake(module, given["project"], release, state_dir) and same
    module.exit_json(changed=True, release=release, **answer)


if __name__ == "__main__":
    main()
