"""The command: `python3 -m slipway_data CONFIG VERB [options]`.

It prints one line of JSON: what was done, and whether anything was changed. What goes wrong is a
sentence on standard error, and exit code 1.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from slipway_data import (  # fmt: skip
    adopt,
    backups,
    drill,
    dumps,
    recover,
    restore,
    roles,
    rotate,
    timers,
    upgrade,
    volume,
)
from slipway_data.host import HOLDS, KINDS, Config, Host, ProblemError, read_json

# Those that only look need no lock.
LOOKING = ("backups", "health", "remember")


class Parser(argparse.ArgumentParser):
    """A command line whose complaint is one sentence."""

    def error(self, message: str) -> NoReturn:
        """Raise ProblemError."""
        raise ProblemError(message)


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    top = Parser(prog="slipway_data")
    top.add_argument("config")
    verbs = top.add_subparsers(dest="verb", required=True)
    one = verbs.add_parser("backup")
    one.add_argument("--kind", choices=["auto", "full", "incr"], default="auto")
    one.add_argument("--moment", default="")
    one.add_argument("--first", action="store_true")
    verbs.add_parser("backups")
    verbs.add_parser("health")
    verbs.add_parser("remember")
    verbs.add_parser("prepare")
    verbs.add_parser("recover")
    verbs.add_parser("drill")
    one = verbs.add_parser("restore")
    one.add_argument("--time", default="")
    one.add_argument("--name", default="")
    one.add_argument("--backup", default="")
    one.add_argument("--into", default="", choices=["", restore.SCRATCH])
    one.add_argument("--forget", default="")
    one.add_argument("--back", action="store_true")
    one = verbs.add_parser("upgrade")
    one.add_argument("--to", default="")
    one.add_argument("--image", default="")
    one.add_argument("--container", default="")
    one.add_argument("--tools", default="")
    one.add_argument("--seconds", type=int, default=60)
    one.add_argument("--back", action="store_true")
    one.add_argument("--force", action="store_true")
    one.add_argument("--forget", action="store_true")
    one.add_argument(
        "--announce", action="store_true", help="note the container that is to be made"
    )
    one = verbs.add_parser("adopt")
    one.add_argument("--from", dest="source", default="")
    one = verbs.add_parser("dump")
    one.add_argument("--directory", default="")
    one = verbs.add_parser("load")
    one.add_argument("file")
    one.add_argument("--drop", action="store_true")
    one = verbs.add_parser("roles")
    one.add_argument("--owner", default="")
    one.add_argument("--extensions", default="", help="their names, with commas")
    one.add_argument("--end", action="store_true", help="when no session of before is left")
    one = verbs.add_parser("rotate")
    one.add_argument(
        "--begin", action="store_true", help="with the new password as the input, or an empty line"
    )
    one.add_argument("--end", action="store_true", help="when no release has the old one any more")
    one.add_argument("--role", default="")
    for each in verbs.choices.values():
        each.add_argument("--timer", action="store_true", help="remember a failure for `status`")
    return top


def do_backup(host: Host, given: argparse.Namespace) -> list[str]:
    """Make a backup, or give a moment a name; with --first only where the repository needs one."""
    if given.first and has_first(host):
        return []
    return (
        backups.name_moment(host, given.moment)
        if given.moment
        else backups.backup(host, given.kind)
    )


def has_first(host: Host) -> bool:
    """Return whether the repository has a backup to begin with."""
    return backups.known(host) and bool(backups.usable(backups.look(host)))


def do_restore(host: Host, given: argparse.Namespace) -> list[str]:
    """Restore, go back, or remove what was kept."""
    if given.forget:
        return restore.forget(host, given.forget)
    if given.back:
        return restore.back(host)
    if given.time and given.name:
        raise ProblemError("to_time and to_name are both given: a restore goes to one of them")
    target = (
        restore.Target("time", restore.moment(given.time), given.backup) if given.time
        else restore.Target("name", given.name, given.backup) if given.name
        else restore.Target("latest", "", given.backup)
    )  # fmt: skip
    return restore.restore(host, target, given.into)


def do_upgrade(host: Host, given: argparse.Namespace) -> list[str]:
    """Move to another major version, go back, or remove what was kept."""
    if given.forget:
        return upgrade.forget(host)
    if given.announce:
        return upgrade.announce(host, given.container)
    way = upgrade.Way(given.to, given.image, given.container, given.tools, given.seconds)
    try:
        return upgrade.back(host, way, given.force) if given.back else upgrade.upgrade(host, way)
    finally:
        # What was begun is in the journal, and cleared up by that.
        if not host.journal.entry:
            upgrade.drop_unused(host)


def do_prepare(host: Host, given: argparse.Namespace) -> list[str]:
    """Let pgBackRest into the database, and make its repository; done at each deploy."""
    said = []
    if restore.let_postgres_in(host.data, [host.config.user]):
        host.server().ask("SELECT pg_reload_conf();")
        said.append("pgBackRest may ask Postgres")
    if backups.prepare(host):
        said.append("the repository of backups is ready")
    return said


def do_roles(host: Host, given: argparse.Namespace) -> list[str]:
    """Have the application come in by a role of its own, with its extensions."""
    wanted = [name for name in given.extensions.split(",") if name]
    return roles.settle(host, given.owner, wanted, given.end)


def do_rotate(host: Host, given: argparse.Namespace) -> list[str]:
    """Begin to change the password, or end it."""
    if given.begin == given.end:
        raise ProblemError("rotate needs one of --begin and --end")
    if given.end:
        return rotate.end(host)
    return rotate.begin(host, sys.stdin.read().removesuffix("\n"), given.role)


VERBS: dict[str, Callable[[Host, argparse.Namespace], list[str]]] = {
    "backup": do_backup,
    "prepare": do_prepare,
    "drill": lambda host, given: drill.drill(host),
    "restore": do_restore,
    "upgrade": do_upgrade,
    "adopt": lambda host, given: adopt.adopt(host, given.source),
    "dump": lambda host, given: dumps.dump(host, given.directory),
    "load": lambda host, given: dumps.load(host, given.file, not given.drop),
    "roles": do_roles,
    "rotate": do_rotate,
}


def damaged(host: Host) -> list[str]:
    """Return a sentence for each note of the operations that is there and cannot be read.

    Everything else takes such a one for none, and what stood in it would be forgotten in silence.
    """
    own = host.config.own
    notes = [
        host.config.config_dir / "postgres.json",
        *(own / name for name in volume.names(own) if name.endswith(".json")),
    ]
    return [
        f"{path} is damaged: put it right, or remove it (what stood in it is lost)"
        for path in notes
        if volume.exists(path) and read_json(path) is None
    ]


def look(host: Host, verb: str) -> dict[str, Any]:
    """Do what changes nothing but what is remembered."""
    if verb == "remember":
        # Before its container, whose log tells, is another one.
        return {"said": [backups.given_up(host, None)] if host.config.backup else []}
    if verb == "health":
        found = backups.health(host) if host.config.backup else {"lines": [], "problems": []}
        return {**found, "problems": damaged(host) + found["problems"] + rotate.problem(host)}
    lines, data = backups.listing(host)
    return {"said": lines, "backups": data}


def name_of(given: argparse.Namespace) -> str:
    """Return what the operation is, as far as it matters for what may run beside it."""
    if given.verb == "backup" and given.moment:
        return "moment"
    # Beside what serves, and of it nothing is touched.
    if given.verb == "restore" and restore.SCRATCH in (given.into, given.forget):
        return "scratch"
    return str(given.verb)


def clear_up(host: Host, wait: float, *, unused: bool = False) -> list[str]:
    """Clear up after operations that were killed; return what was done. What runs is none of them.

    With unused also the container of an upgrade that was given up before it began: only when
    nobody can be about to begin it.
    """
    said: list[str] = []
    for kind in KINDS:
        journal = host.journal_of(kind)
        entry = journal.read()
        changes = kind == "data" and bool(rotate.pending(host).entry)
        if not (entry or changes) or host.runs(kind):
            continue
        kinds = entry.get("kinds", KINDS) if entry else ("data",)
        with host.alone(*kinds, verb="recover", wait=wait):
            host.journal = journal
            said += recover.recover(host)
    if unused and not host.runs("data"):
        said += upgrade.drop_unused(host)
    return said


def do(host: Host, given: argparse.Namespace) -> dict[str, Any]:
    """Do what changes something; raise ProblemError, and then what served serves."""
    name = name_of(given)
    first = given.verb == "backup" and given.first
    # A deploy, or a timer, waits for another one; a person is told.
    patience = (
        3600
        if given.timer
        else 600
        if first or name in ("prepare", "recover", "roles", "rotate")
        else 60
    )
    host.gentle = given.timer
    if given.timer:
        timers.began(host, given.verb)
    try:
        # A deploy does so, under its own lock.
        said = clear_up(host, patience, unused=name == "recover")
        if first:
            if has_first(host):
                return {"said": said, "changed": bool(said)}
            runs = host.runs("repository")
            if runs.startswith("backup "):
                return {"said": [*said, f"The first backup is being made ({runs})."], "changed": bool(said)}  # fmt: skip
        if name == "recover":
            return {"said": said, "changed": bool(said)}
        kinds = HOLDS.get(name, KINDS)
        with host.alone(*kinds, verb=name, wait=patience):
            host.journal = host.journal_of(kinds[0])
            host.journal.kinds = kinds
            said += recover.recover(host)
            try:
                done = VERBS[given.verb](host, given)
            except Exception:
                recover.recover(host)
                raise
    except Exception as problem:
        if given.timer:
            timers.failed(host, given.verb, str(problem))
            timers.ended(host, given.verb)
        raise
    if given.timer:
        timers.ended(host, given.verb)
    # Only the same thing done well makes up for it.
    if done and not getattr(given, "moment", ""):
        timers.done(host, given.verb)
    return {"said": said + done, "changed": bool(said + done)}


def watched(work: Callable[[], int], config: str, verb: str = "") -> int:
    """Do it in a child; when that is killed, clear up at once and return 1."""
    child = os.fork()
    if not child:
        os._exit(work())
    _, status = os.waitpid(child, 0)
    if not os.WIFSIGNALED(status):
        return os.waitstatus_to_exitcode(status)
    name = signal.Signals(os.WTERMSIG(status)).name
    host = Host(Config.read(config))
    said = clear_up(host, 60, unused=verb == "upgrade")
    print(f"{'; '.join(said) or 'nothing was under way'} ({name})", file=sys.stderr)
    return 1


def main() -> int:
    """Run one verb and return the exit code."""
    # The control node may go away; the operation comes to its end all the same.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        given = parser().parse_args()
        if given.verb in LOOKING:
            return run(given)
        return watched(lambda: run(given), given.config, given.verb)
    except ProblemError as problem:
        print(problem, file=sys.stderr)
        return 1


def run(given: argparse.Namespace) -> int:
    """Run one verb and return the exit code; whatever goes wrong is one sentence."""
    try:
        host = Host(Config.read(given.config))
        answer = look(host, given.verb) if given.verb in LOOKING else do(host, given)
    except ProblemError as problem:
        print(problem, file=sys.stderr)
        return 1
    except Exception as problem:  # one sentence, whatever it is
        where = traceback.extract_tb(problem.__traceback__)[-1]
        print(
            f"unexpected, {type(problem).__name__}: {problem} ({Path(where.filename).name}, line {where.lineno}); what served serves",
            file=sys.stderr,
        )
        return 1
    print(json.dumps(answer), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
