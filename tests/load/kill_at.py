"""Run a playbook and kill it with SIGKILL when a task begins: kill_at.py TASK COMMAND...

TASK is a part of the task's name. Exits with 1 when the task never began. What the playbook
prints goes to the standard output.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time


def main(task: str, command: list[str]) -> int:
    """Run the command until the task begins."""
    child = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"ANSIBLE_STDOUT_CALLBACK": "ansible.builtin.default"},
        start_new_session=True,
    )
    assert child.stdout is not None
    for line in child.stdout:
        sys.stdout.write(line)
        if line.startswith("TASK [") and task in line:
            # Into the task, not before it.
            time.sleep(0.4)
            child.kill()
            child.wait()
            return 0
    child.wait()
    print(f"kill_at: the task '{task}' never began")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
