"""Let the playbooks of one run of the suite share the modules that Ansible has put together."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from ansible import constants
from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: module_cache
type: aggregate
short_description: Share the modules that Ansible has put together
description:
  - Ansible puts each module together with what it imports, once for each run of a playbook. It is
    a sixth of what a deploy costs the control node. The suite runs hundreds on the same files.
  - C(SLIPWAY_TEST_MODULES) names the directory; without it nothing is shared, so that somebody
    who changes a module meets it at once.
"""


class CallbackModule(CallbackBase):
    """Puts a link to the shared directory where Ansible looks for its own."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "module_cache"
    CALLBACK_NEEDS_ENABLED = True

    def v2_playbook_on_start(self, playbook: Any) -> None:
        """Link it before the first module is wanted; Ansible locks each file in there."""
        shared = os.environ.get("SLIPWAY_TEST_MODULES")
        if shared:
            Path(shared).mkdir(parents=True, exist_ok=True)
            (Path(constants.DEFAULT_LOCAL_TMP) / "ansiballz_cache").symlink_to(shared)
