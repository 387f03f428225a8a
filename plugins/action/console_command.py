"""Action that says what a verb comes to: on the host, and from a terminal of the control node.

An action, because only it sees the connection with all its options, wherever they were set.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

PARTS = ("flask", "nginx", "postgres")
DEFAULT_PARTS = {"logs": PARTS, "exec": ("flask",), "shell": ("flask",), "psql": ("postgres",)}

# What a container writes to its standard error is as much of its log: one stream, so that | works.
LOG = 'exec docker logs "$@" 2>&1'
LOGS = (
    "lines=$1; shift; gap=; for name; do"
    ' printf "$gap==> %s <==\\n" "$name"; gap="\\n"; docker logs --tail "$lines" "$name" 2>&1; done'
)
# The secret variables, as the application has them.
ENTRYPOINT = ("/bin/sh", "/etc/slipway/entrypoint.sh")
SHELL = "if command -v bash >/dev/null; then exec bash; fi; exec sh"
# With the password from the mounted file: in no argv.
PSQL = (
    "PGPASSWORD=$(cat /run/secrets/postgres/{file}) exec psql -X -v ON_ERROR_STOP=1"
    ' -h 127.0.0.1 -U {role} -d "$POSTGRES_DB" "$@"'
)


def psql_of(cluster: Mapping[str, Any], part: str, superuser: bool) -> str:
    """Return the script that opens psql: as the application's role, or as a superuser.

    `cluster` is what the host notes of the database; before there were two roles there was one.
    """
    if part == "scratch" or not cluster:
        # Restored beside the database, it lets in the one that its container names.
        return PSQL.format(role='"$POSTGRES_USER"', file="password")
    if superuser and "owner" in cluster:
        return PSQL.format(role=shlex.quote(cluster["user"]), file="superuser")
    return PSQL.format(role=shlex.quote(cluster.get("owner", cluster["user"])), file="password")


def parts_of(verb: str, part: str, follow: bool = False) -> tuple[str, ...]:
    """Return the parts that are meant; raise AnsibleActionFail where a verb has no such part."""
    if verb == "psql" and part not in ("auto", "postgres", "scratch"):
        raise AnsibleActionFail(f"psql runs in postgres, not in {part}: leave -e part away.")
    if part != "auto":
        return (part,)
    return ("flask",) if follow else DEFAULT_PARTS[verb]


def names_of(
    verb: str,
    parts: Iterable[str],
    containers: Iterable[Mapping[str, Any]],
    project: str,
    release: str,
    host: str,
) -> list[str]:
    """Return the containers of some parts, of flask the one of the release that serves.

    `containers` is the engine's list of all that the project has. Raise AnsibleActionFail if the
    verb cannot work with what is there.
    """
    there = {name.lstrip("/"): item for item in containers for name in item["Names"]}
    if not there:
        raise AnsibleActionFail(
            f"Nothing of {project} is deployed on {host}: `./slipway deploy` does that."
        )
    wanted = {part: f"{project}-{part}" for part in parts}
    if "flask" in wanted:
        wanted["flask"] += f"-{release}"
    found = [name for name in wanted.values() if name in there]
    if not found:
        [part] = wanted if len(wanted) == 1 else ["such"]
        if part == "flask" and not release:
            raise AnsibleActionFail(
                f"No release of {project} serves on {host}: `./slipway deploy` makes one."
            )
        raise AnsibleActionFail(
            f"{project} has no {part} container on {host}: `./slipway status` shows what is"
            " there, `./slipway deploy` puts it right."
        )
    for name in found:
        if verb != "logs" and there[name]["State"] != "running":
            [part] = wanted
            raise AnsibleActionFail(
                f"{name} on {host} is {there[name]['State']} ({there[name]['Status']}):"
                f" `./slipway logs -e part={part}` says why."
            )
    return found


def argv_on_host(
    verb: str,
    names: list[str],
    flags: Iterable[str] = (),
    *,
    flask: bool = False,
    lines: int = 100,
    follow: bool = False,
    text: str = "",
    psql: str = "",
) -> list[str]:
    """Return the command on the host; `text` is what the shell or psql shall run there."""
    if verb == "logs":
        if len(names) > 1:
            return ["sh", "-c", LOGS, "sh", str(lines), *names]
        return ["sh", "-c", LOG, "sh", f"--tail={lines}", *["--follow"][:follow], *names]
    command = {
        "exec": ["sh", "-c", text],
        "shell": ["sh", "-c", SHELL],
        "psql": ["sh", "-c", psql, "sh", *(["-c", text] if text else [])],
    }[verb]
    return ["docker", "exec", *flags, *names, *(ENTRYPOINT if flask else ()), *command]


def argv_from_here(
    argv: list[str], transport: str, option: Callable[[str], Any], flags: Iterable[str] = ()
) -> list[str]:
    """Return the command on the control node that runs another one on the host.

    `option` returns an option of the connection. Raise AnsibleActionFail where no terminal leads.
    """
    kind = transport.removeprefix("ansible.builtin.").removeprefix("community.docker.")
    if kind == "local":
        return argv
    if kind == "docker":
        user = ["-u", option("remote_user")] if option("remote_user") else []
        return ["docker", "exec", *flags, *user, option("remote_addr"), *argv]
    if kind != "ssh":
        raise AnsibleActionFail(
            f"No terminal leads over the connection {transport}: log in on the host and run"
            f" {shlex.join(argv)}"
        )
    command = [option("ssh_executable"), *shlex.split(option("ssh_args") or "")]
    if "-t" in flags:
        command.append("-t")
    if option("host_key_checking") is False:
        command += ["-o", "StrictHostKeyChecking=no"]
    if option("port"):
        command += ["-p", str(option("port"))]
    if option("private_key_file"):
        command += ["-i", str(Path(option("private_key_file")).expanduser())]
    if option("remote_user"):
        command += ["-l", option("remote_user")]
    for name in ("ssh_common_args", "ssh_extra_args"):
        command += shlex.split(option(name) or "")
    # Errors only: no line about the end of a connection under somebody's output.
    return [*command, "-o", "LogLevel=ERROR", "--", option("host"), shlex.join(argv)]


class ActionModule(ActionBase):
    """The action."""

    TRANSFERS_FILES = False
    _requires_connection = True

    def run(self, tmp: Any = None, task_vars: Any = None) -> dict[str, Any]:
        """Hand the command to the launcher if it asks for it, else to the play.

        Returns `run`: whether the play shall run `argv` on the host; if not, a person runs `text`
        in a terminal.
        """
        result: dict[str, Any] = super().run(tmp, task_vars)
        given = self._task.args
        verb, follow, host = given["verb"], given["follow"], task_vars["inventory_hostname"]
        text = given["sql"] if verb == "psql" else given["cmd"]
        if verb == "exec" and not text.strip():
            raise AnsibleActionFail("exec needs a command: ./slipway exec -e cmd='ls -l'.")
        parts = parts_of(verb, given["part"], follow)
        names = names_of(verb, parts, given["containers"], given["project"], given["release"], host)
        file = os.environ.get("SLIPWAY_CONSOLE")
        interactive = follow or verb == "shell" or (verb == "psql" and not text)
        run = not (file or interactive or self._task.check_mode)
        terminal = bool(os.environ.get("SLIPWAY_CONSOLE_TERMINAL")) if file else interactive
        flags = ([] if run else ["-i"]) + (["-t"] if terminal else [])
        argv = argv_on_host(
            verb,
            names,
            flags,
            flask=parts == ("flask",),
            lines=given["lines"],
            follow=follow,
            text=text,
            psql=psql_of(given["cluster"], given["part"], given["superuser"]),
        )
        if run:
            return {**result, "run": True, "argv": argv}
        words = argv_from_here(
            [*self._sudo(), *argv], self._connection.transport, self._connection.get_option, flags
        )
        line = shlex.join(words)
        if file:
            words = ["echo", line] if self._task.check_mode else words
            Path(file).write_bytes(b"".join(os.fsencode(word) + b"\0" for word in words))
        return {**result, "run": False, "text": line}

    def _sudo(self) -> list[str]:
        """Return what stands before a command on the host for a user who is not root there."""
        become = self._connection.become
        if (
            not become
            or self._low_level_execute_command("id -u", sudoable=False)["stdout"].strip() == "0"
        ):
            return []
        method = become.name.rpartition(".")[2]
        if method not in ("sudo", "doas"):
            raise AnsibleActionFail(
                f"No terminal leads to root by {method}: set ansible_become_method to sudo."
            )
        return [method]
