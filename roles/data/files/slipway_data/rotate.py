"""Another password for the application's role, while a release with the old one still serves.

Postgres knows one password per role. From the moment that it changes to the moment that the last
release with the old one has ended, the role comes in from the application's network without one.
"""

from __future__ import annotations

import ipaddress
import json
import secrets
import string
from functools import partial
from pathlib import Path
from typing import Any

from slipway_data import login, volume
from slipway_data.host import (  # fmt: skip
    Host,
    Journal,
    ProblemError,
    call,
    complaint_of,
    docker,
    replace,
    until,
)

LENGTH = 40
# What Postgres gets to take over another pg_hba.conf.
RELOAD_SECONDS = 10
FIRST = "# Slipway: while the password changes, the application's network comes in without one."
LAST = "# Slipway: that was it; the next deploy removes these lines."
# The password is the first line of the input: in no argv.
PSQL = 'IFS= read -r PGPASSWORD; export PGPASSWORD; exec psql -X -q -A -t -w -v ON_ERROR_STOP=1 -h "$0" -U "$1" -d postgres -c "$2"'
LOOPBACK = "127.0.0.1"


def pending(host: Host) -> Journal:
    """Return the change that is not finished, with an empty entry where there is none.

    Its stages: note, open, set, keep; serve, in which it waits for the application; close.
    """
    change = Journal(host.config.own / "rotation.json")
    change.entry = change.read()
    return change


def problem(host: Host) -> list[str]:
    """Return what `status` says of a change that is not finished."""
    entry = pending(host).entry
    if not entry:
        return []
    return [
        f"the change of the password that began at {entry['began']} is not finished, and the application's network comes in without one: "
        "`./slipway deploy` finishes it"
    ]


def file(host: Host, suffix: str = "") -> Path:
    """Return the file of the password in force, or of the one to come (.new) or gone (.old)."""
    return host.config.config_dir / f"secrets/postgres/password{suffix}"


def own_password(host: Host) -> str:
    """Return the password of Slipway's own role, made where there is none."""
    path = file(host).with_name("superuser")
    if not volume.exists(path):
        replace(path, make(), 0o400)
    return volume.read(path)


def begin(host: Host, given: str, role: str) -> list[str]:
    """Change the password in Postgres and on the host; a release with the old one serves on.

    given is the new one, empty for one that is made here. Raise ProblemError, and then it is the
    old one.
    """
    change = pending(host)
    said = go_on(host, change) if change.entry else []
    if change.entry:
        said.append(f"The change of the password that began at {change.entry['began']} goes on.")
        if given in ("", volume.read(file(host))):
            return said
    first = not change.entry
    old = volume.read(file(host))
    if given == old:
        raise ProblemError(
            f"postgres_password is the one in force on {host.config.host} already, so nothing was changed: change it in the inventory first"
        )
    if any(character in given for character in "\r\n\0"):
        raise ProblemError(
            "the new password holds a line break or a NUL, which Postgres clients cannot send: use another one"
        )
    roles = list(dict.fromkeys([role or host.config.owner, host.config.owner, *host.config.former]))
    for one in roles:
        ask(host, old, "SELECT 1;", role=one)
    replace(file(host, ".new"), given or make(), 0o400)
    if first:
        # Of several in a row it is the one that the release in service has.
        replace(file(host, ".old"), old, 0o400)
        change.begin("rotate", roles=roles)
    change.stage("note", roles=roles)
    try:
        return said + go_on(host, change)
    except ProblemError:
        if first and change.entry["stage"] == "open":
            close(host)
            forget(host, change)
        raise


def make() -> str:
    """Return a new password, of characters that no client has to quote."""
    return "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(LENGTH))


def go_on(host: Host, change: Journal) -> list[str]:
    """Do what is left of a change, up to where it waits for the application, or behind that."""
    if change.entry["stage"] == "serve":
        return []
    if change.entry["stage"] == "close":
        return finish(host, change)
    came_up(host)
    new = file(host, ".new")
    # Else it was killed in the moment after that one took its place.
    if volume.exists(new):
        change.stage("open")
        open_for(host, change.entry["roles"])
        change.stage("set")
        set_password(host, change.entry["roles"], volume.read(new))
        change.stage("keep")
        replace(file(host), volume.read(new), 0o400)
        volume.unlink(new)
    change.stage("serve")
    return [
        "The password is changed in Postgres and on the host; the application comes in without one until a release with the new one serves."
    ]


def end(host: Host) -> list[str]:
    """Let nobody in without a password any more; raise ProblemError if somebody gets in."""
    change = pending(host)
    if not change.entry:
        return []
    return go_on(host, change) + (finish(host, change) if change.entry else [])


def finish(host: Host, change: Journal) -> list[str]:
    """Close the application's network, and prove it."""
    change.stage("close")
    came_up(host)
    new = volume.read(file(host))
    before = volume.read(file(host, ".old")) if volume.exists(file(host, ".old")) else new
    close(host)
    # Somebody may have gone back to the old one.
    wrong = before if before != new else make()
    for role in change.entry["roles"]:
        for address in (LOOPBACK, address_of(host)):
            if not until(partial(refused, host, address, role, wrong), RELOAD_SECONDS):
                raise ProblemError(
                    f"Postgres lets {role} in with a wrong password at {address}: look for a line of yours in pg_hba.conf, then `./slipway deploy`"
                )
            ask(host, new, "SELECT 1;", role=role, address=address)
    forget(host, change)
    return ["The new password is the only one that Postgres takes."]


def recover(host: Host) -> list[str]:
    """Go on with a change that was killed; what waits for the application waits on."""
    change = pending(host)
    if not change.entry:
        leftovers(host)
        return []
    if change.entry["stage"] == "serve":
        return []
    try:
        return go_on(host, change)
    except ProblemError:
        # Postgres may be what somebody is about to mend; `status` tells of the change.
        return []


def forget(host: Host, change: Journal) -> None:
    """Note that nothing is left to do."""
    for suffix in (".new", ".old"):
        volume.unlink(file(host, suffix))
    leftovers(host)
    change.end()


def leftovers(host: Host) -> None:
    """Remove what was written and never got to its name."""
    for name in volume.names(file(host).parent):
        if name.startswith(".password"):
            volume.unlink(file(host).with_name(name))
    for suffix in (".new", ".old"):
        volume.unlink(file(host, suffix))


# --- Postgres


def run(host: Host, password: str, sql: str, role: str = "", address: str = LOOPBACK, more: str = "") -> tuple[int, str, str]:  # fmt: skip
    """Run statements as a role with a password; return psql's exit code and output."""
    return call(
        "docker", "exec", "-i", host.config.container, "sh", "-c", PSQL,
        address, role or host.config.user, sql, stdin=f"{password}\n{more}",
    )  # fmt: skip


def ask(host: Host, password: str, sql: str, role: str = "", address: str = LOOPBACK) -> str:
    """Run statements and return the rows; raise ProblemError when the password was refused."""
    code, out, err = run(host, password, sql, role, address)
    if code and refused(host, address, role or host.config.user, password):
        raise ProblemError(
            f"Postgres refuses {role or host.config.user} with the password on {host.config.host}, so somebody changed it there: "
            "give the right one as postgres_password to `./slipway deploy`"
        )
    if code:
        raise ProblemError(f"Postgres in {host.config.container} said: {complaint_of(err)}")
    return out.strip()


def comes_in(host: Host, address: str, role: str, password: str) -> bool:
    """Return whether Postgres lets a role in."""
    return run(host, password, "SELECT 1;", role, address)[0] == 0


def refused(host: Host, address: str, role: str, password: str) -> bool:
    """Return whether Postgres refuses a password."""
    return login.attempt(host.config.container, address, role, password) == login.WRONG_PASSWORD


def key(host: Host) -> str:
    """Return the superuser's password: where it is the application's, in the middle of a change either may be."""
    if host.config.parted:
        return own_password(host)
    for suffix in ("", ".new"):
        there = file(host, suffix)
        if volume.exists(there) and not refused(
            host, LOOPBACK, host.config.user, volume.read(there)
        ):
            return volume.read(there)
    return volume.read(file(host))


def came_up(host: Host) -> None:
    """Wait until Postgres takes connections; raise ProblemError when it does not run, or is late."""
    # Only a database: on an empty directory the image would make one.
    if host.container_state() == "exited" and volume.is_cluster(host.data):
        docker("start", host.config.container)
    if host.container_state() not in ("running", "restarting"):
        raise ProblemError(
            f"{host.config.container} does not run, so the password cannot be changed: `./slipway deploy` starts it"
        )
    ready = ("docker", "exec", host.config.container, "pg_isready", "-q", "-h", LOOPBACK)
    if not until(lambda: call(*ready)[0] == 0, host.config.start_timeout):
        raise ProblemError(f"{host.config.container} does not take queries: {host.complaint()}")


def set_password(host: Host, roles: list[str], new: str) -> None:
    """Give the roles a password; psql hashes it, so that it stands in no log of the server."""
    password = key(host)
    # The owner comes last: until then the old one opens the door.
    for role in roles:
        code, _, err = run(host, password, f'\\password "{role}"', more=f"{new}\n{new}\n")
        if code:
            raise ProblemError(f"could not set the password of {role}: {complaint_of(err)}")


# --- pg_hba.conf


def without(text: str) -> str:
    """Return a pg_hba.conf without the lines of a change."""
    kept, inside = [], False
    for line in text.splitlines(keepends=True):
        inside = inside or line.strip() == FIRST
        if not inside:
            kept.append(line)
        inside = inside and line.strip() != LAST
    return "".join(kept)


def lines(roles: list[str], networks: list[dict[str, Any]], socket: bool) -> list[str]:
    """Return the lines that let roles in, from some networks or a socket, without a password."""
    names = ",".join(f'"{role}"' for role in roles)
    found = [f"local all {names} trust"] if socket else []
    for network in networks:
        subnet = ipaddress.ip_network(network["Subnet"])
        # The host's own address there: its users are not the application.
        gateway = network.get("Gateway", "").split("/")[0] or str(next(subnet.hosts()))
        found.append(f"host all {names} {gateway}/{subnet.max_prefixlen} scram-sha-256")
        found.append(f"host all {names} {subnet} trust")
    return found


def granted(host: Host, roles: list[str]) -> list[str]:
    """Return the lines for this host."""
    network = host.config.back_network
    networks = json.loads(docker("network", "inspect", "--format={{json .IPAM.Config}}", network))
    # Only where a release comes by it.
    socket = docker(
        "ps", "--quiet", f"--filter=label=slipway.project={host.config.project}",
        "--filter=label=slipway.part=flask", f"--filter=volume={host.config.project}_postgres_socket",
    )  # fmt: skip
    return lines(roles, networks, bool(socket))


def write(host: Host, wanted: list[str]) -> None:
    """Have the lines of a change, or none, at the top of pg_hba.conf."""
    path = host.data / "pg_hba.conf"
    text = volume.read(path)
    block = "".join(f"{line}\n" for line in (FIRST, *wanted, LAST)) if wanted else ""
    if text == block + without(text):
        return
    replace(path, block + without(text))


def align(host: Host) -> None:
    """Have pg_hba.conf fit the change that runs, or none: a backup may be one of another moment."""
    entry = pending(host).entry
    inside = entry and entry["stage"] in ("open", "set", "keep", "serve")
    write(host, granted(host, entry["roles"]) if inside else [])


def address_of(host: Host) -> str:
    """Return Postgres's address in the application's network."""
    networks = json.loads(
        docker("inspect", "--format={{json .NetworkSettings.Networks}}", host.config.container)
    )
    network = networks.get(host.config.back_network, {})
    address = network.get("IPAddress") or network.get("GlobalIPv6Address")
    if not address:
        raise ProblemError(
            f"{host.config.container} is not in the network {host.config.back_network}: `./slipway deploy` puts it there"
        )
    return str(address)


def open_for(host: Host, roles: list[str]) -> None:
    """Let roles in from the application's network, whatever their password; raise ProblemError."""
    password = key(host)
    write(host, granted(host, roles))
    # A file with an error is not read at all.
    errors = ask(
        host, password,
        "SELECT string_agg(format('line %s: %s', line_number, error), '; ') FROM pg_hba_file_rules WHERE error IS NOT NULL;",
    )  # fmt: skip
    if errors:
        raise ProblemError(
            f"pg_hba.conf of {host.config.container} has an error ({errors}): mend it first, the password was not changed"
        )
    ask(host, password, "SELECT pg_reload_conf();")
    address, wrong = address_of(host), make()
    for role in roles:
        if not until(partial(comes_in, host, address, role, wrong), RELOAD_SECONDS):
            raise ProblemError(
                f"Postgres did not take over pg_hba.conf within {RELOAD_SECONDS} s, so the password was not changed: see hba_file in postgres_settings"
            )


def close(host: Host) -> None:
    """Take the lines away again."""
    write(host, [])
    ask(host, key(host), "SELECT pg_reload_conf();")
