"""The roles of a project: the application gets its own, and whatever it made before goes along."""

from __future__ import annotations

import re
from typing import Any

from slipway_data import ownership, restore, rotate, volume
from slipway_data.host import Host, replace


def settle(host: Host, owner: str, wanted: list[str], end: bool = False) -> list[str]:
    """Have the application come in by a role of its own, with its extensions; return what was done.

    With end no session of before is left. Raise ProblemError, and then what serves serves.
    """
    config = host.config
    database = config.cluster["db"]
    owner = owner or config.owner
    if end and not config.parted:
        return []
    server = host.server()
    said = ownership.extend(server, database, wanted)
    if not config.parted:
        said += part(host, owner)
        server = host.server()
    elif owner != config.owner:
        ownership.create(server, owner, volume.read(rotate.file(host)))
        ownership.change(server, database, config.owner, config.former, owner)
        former = [name for name in dict.fromkeys([config.owner, *config.former]) if name != owner]
        said.append(f"the application's role is {owner}, and no longer {config.owner}")
        config.note_cluster(owner=owner, former=former)
    elif not ownership.enters(server, owner):
        ownership.create(server, owner, volume.read(rotate.file(host)))
        said.append(f"the application has the role {owner}")
    said += ownership.keep_in_order(server, database, owner, config.former)
    if end and config.cluster.get("shared"):
        for name in ownership.databases(server, database):
            server.ask(ownership.TAKEN, name, giver=config.user, new=owner)
        config.note_cluster(shared=None)
        said.append("no session of a superuser's is left to the application")
    return said


def part(host: Host, owner: str) -> list[str]:
    """Take over a database in which the application is the superuser, while it serves."""
    config = host.config
    boot = config.user
    host.journal.begin("roles", owner=owner, boot=boot)
    secret = rotate.own_password(host)
    user = ownership.take_over(host.server(), config.cluster["db"], owner, secret, keep=True)
    host.journal.stage("note", user=user)
    parted(host, user, owner, boot)
    host.journal.end()
    others = ownership.superusers(host.server())
    return [
        f"the application's role {owner} is no superuser any more, and owns its database; the tools have one of their own, {user}",
        *([f"these roles are superusers still: {', '.join(others)} (ALTER ROLE ... NOSUPERUSER in `./slipway psql -e superuser=true`)"] if others else []),
    ]  # fmt: skip


def parted(host: Host, user: str, owner: str, boot: str) -> None:
    """Note the roles after the change of names, and have whoever comes in as the superuser do so."""
    config = host.config
    config.note_cluster(
        user=user, owner=owner, made_as=boot, shared=True, former=[boot] if boot != owner else None
    )
    server = host.server()
    if boot != owner:
        ownership.create(server, owner, volume.read(rotate.file(host)))
    if config.backup:
        conf = config.config_dir / "secrets/backup/pgbackrest.conf"
        text = volume.read(conf) if volume.exists(conf) else ""
        new = re.sub(r"^pg1-user=.*$", f"pg1-user={user}", text, flags=re.MULTILINE)
        if new != text:
            replace(conf, new, 0o400)
        if restore.let_postgres_in(host.data, [user]):
            server.ask("SELECT pg_reload_conf();")


def recover(host: Host, entry: dict[str, Any]) -> str:
    """Go on after a change of roles was killed: the names were changed in Postgres, or they were not."""
    if host.container_state() != "running":
        host.start()
    # By its old name it comes in either way; only a superuser's has this number.
    boot = ownership.boot_of(host.server_as(entry["boot"], "password"))
    if boot == entry["boot"]:
        return "not done yet, what serves serves"
    parted(host, boot, entry["owner"], entry["boot"])
    return "finished"
