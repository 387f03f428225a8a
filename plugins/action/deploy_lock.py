"""Takes a project's deploy lock and keeps it while the play runs."""

from __future__ import annotations

import getpass
import os
import secrets
import shlex
import socket
import time
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase

# Seconds between two looks whether the play still runs, and between two signs of life.
LOOK = 0.5
FRESH = 10


def holder() -> str:
    """Return who runs the play, and where."""
    user = os.environ.get("SUDO_USER")
    try:
        user = user or getpass.getuser()
    except (KeyError, OSError):  # a user id without a name
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"


class ActionModule(ActionBase):
    """The action plugin."""

    _requires_connection = True

    def run(self, tmp: str | None = None, task_vars: Any = None) -> dict[str, Any]:
        """Run the module on the host; when it took the lock, leave a keeper behind."""
        super().run(tmp, task_vars)
        play = os.getppid()
        arguments = dict(self._task.args)
        state = arguments.get("state")
        if state == "held":
            arguments["token"] = secrets.token_hex(16)
        arguments["holder"] = holder()
        result: dict[str, Any] = self._execute_module(
            module_name="deploy_lock", module_args=arguments, task_vars=task_vars
        )
        if state == "held" and not result.get("failed") and not self._task.check_mode:
            result["token"] = arguments["token"]
            self._leave_keeper(play, arguments["path"], arguments["token"])
        return result

    def _leave_keeper(self, play: int, path: str, token: str) -> None:
        """Fork twice, so that the keeper is nobody's child and outlives this worker."""
        child = os.fork()
        if child:
            os.waitpid(child, 0)
            return
        try:
            os.setsid()
            if os.fork() == 0:
                nowhere = os.open(os.devnull, os.O_RDWR)
                for standard in (0, 1, 2):
                    os.dup2(nowhere, standard)
                self._keep(play, shlex.quote(path), token)
        finally:
            os._exit(0)

    def _keep(self, play: int, path: str, token: str) -> None:
        """Keep the lock fresh while the play runs, then free it; end when it is another's."""
        ours = f"grep -qs {token} {path}"
        fresh = time.monotonic()
        while True:
            time.sleep(LOOK)
            if not alive(play):
                self._shell(f"{ours} && rm -f {path}")
                return
            if time.monotonic() - fresh > FRESH:
                fresh = time.monotonic()
                if self._shell(f"{{ {ours} && touch -c {path} && echo ours; }} || echo no") == "no":
                    return

    def _shell(self, command: str) -> str:
        """Run a command on the host; return what it printed, nothing when out of reach."""
        try:
            return str(self._low_level_execute_command(command).get("stdout", "")).strip()
        except Exception:  # the next sign of life may get through
            return ""


def alive(process: int) -> bool:
    """Say whether a process runs."""
    try:
        os.kill(process, 0)
        # A process that nobody waited for is there, and dead.
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except ProcessLookupError:
        return False
    except OSError:  # another user's, or a control node without /proc
        return True
