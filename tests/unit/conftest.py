"""What Ansible does for modules: it lays what they share beside its own."""

from pathlib import Path

import ansible.module_utils

SHARED = str(Path(__file__).parents[2] / "plugins/module_utils")
ansible.module_utils.__path__.append(SHARED)
