#!/usr/bin/python
"""Keep the ledger of a project's releases."""

from __future__ import annotations

DOCUMENTATION = r"""
module: flask_ledger
short_description: Keep the ledger of a project's releases
description:
  - C(releases.json) below O(state_dir) has an entry for each attempt to let a release serve, and
    C(releases/RELEASE.json) what the release's container is made of.
options:
  state_dir:
    description: Directory of the project's state.
    type: path
    required: true
  state:
    description:
      - V(begun) adds an entry, and settles what plays that were killed left behind.
      - V(ended) completes the last entry.
      - V(read) returns the entries.
    type: str
    choices: [begun, ended, read]
    required: true
  entry:
    description: What is noted, for V(begun) and V(ended).
    type: dict
    default: {}
  spec:
    description: What the release's container is made of, for V(begun).
    type: dict
    default: {}
  clock:
    description:
      - Pairs of a stage's name and the time it ended, in seconds, for V(ended).
      - The first is the start.
    type: list
    elements: list
    default: []
  schema_command:
    description: Command on the host that prints the schema's revision; empty for none.
    type: list
    elements: str
    default: []
  project:
    description: Name of the project, for V(begun).
    type: str
    default: ""
  patience:
    description: Seconds that a migration of a killed play gets to end, for V(begun).
    type: int
    default: 600
author: [Slipway]
"""

RETURN = r"""
entries: {description: The ledger., type: list, elements: dict, returned: on read}
serving: {description: The release that serves or nothing., type: str, returned: on read}
stages: {description: Seconds of each stage., type: dict, returned: on ended}
release: {description: The release whose attempt began., type: str, returned: on begun}
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.slipway.flask_attempts import begin, end
from ansible.module_utils.slipway.flask_host import Ledger


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "state_dir": {"type": "path", "required": True},
            "state": {
                "type": "str", "required": True, "choices": ["begun", "ended", "read"],
            },
            "entry": {"type": "dict", "default": {}},
            "spec": {"type": "dict", "default": {}},
            "clock": {"type": "list", "elements": "list", "default": []},
            "schema_command": {"type": "list", "elements": "str", "default": []},
            "project": {"type": "str", "default": ""},
            "patience": {"type": "int", "default": 600},
        },
        supports_check_mode=True,
    )  # fmt: skip
    state = module.params["state"]
    ledger = Ledger(module.params["state_dir"])
    if state == "read":
        module.exit_json(changed=False, entries=ledger.entries, serving=ledger.serving)
    if module.check_mode:
        module.exit_json(changed=True)
    if state == "begun":
        begin(module, ledger, module.params["entry"], module.params["spec"])
        module.exit_json(changed=True, release=module.params["entry"]["release"])
    module.exit_json(changed=True, stages=end(module, ledger))


if __name__ == "__main__":
    main()
