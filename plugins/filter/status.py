"""Filters that turn what the engine says into a report."""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

# A certificate of which a smaller part of its life is left should have been renewed long ago.
NEARLY_OVER = 0.15


def health_of(status: str) -> str:
    """Return the health that the engine's status text ends in, or an empty string."""
    found = re.search(r"\((healthy|unhealthy|health: starting)\)", status)
    return found.group(1).removeprefix("health: ") if found else ""


def status_of(
    seen: Mapping[str, Any],
    project: str,
    parts: Iterable[str],
    *,
    firewall_wanted: bool = False,
    tls_wanted: bool = True,
) -> dict[str, Any]:
    """Return the report on a project.

    `seen` is what status_look returned; `parts` are those that every project has. The two last say
    what the inventory wants: without TLS a certificate is only kept.
    """
    warm = {f"{project}-flask-{release}" for release in seen.get("warm", [])}
    containers = sorted(
        (
            {
                "name": item["Names"][0].lstrip("/"),
                "part": item["Labels"].get("slipway.part", ""),
                "state": "warm" if item["Names"][0].lstrip("/") in warm else item["State"],
                "health": health_of(item["Status"]),
                "since": re.sub(r"\s*\(.*\)$", "", item["Status"]),
                # An image that was replaced has no name any more.
                "image": re.sub(r"^sha256:(.{12}).*", r"\1", item["Image"]),
                # One that is published for TCP and UDP is one.
                "ports": sorted(
                    {
                        f"{f'[{address}]' if ':' in address else address}:{port['PublicPort']}"
                        for port in item.get("Ports") or []
                        if port.get("PublicPort")
                        for address in [str(port["IP"])]
                    }
                ),
            }
            for item in seen.get("containers", [])
        ),
        key=lambda container: str(container["name"]),
    )
    volumes = sorted(seen.get("volumes", []), key=lambda one: str(one["name"]))
    health = health_said(seen.get("program"))
    release, unread = read_object(seen.get("release", ""), "the note of the release that serves")
    tls, tls_problems = tls_of(
        seen.get("certificate", {}), seen.get("acme", ""), datetime.datetime.now(datetime.UTC)
    )
    if tls and not tls_wanted:
        tls += "; nginx_tls is off, and it is kept for who comes by https until nginx/tls/live goes"
        tls_problems = []
    wall, wall_problems = firewall_of(seen.get("firewall"), firewall_wanted)
    there = {container["part"] for container in containers if container["state"] != "warm"}
    broken = [f"no {part} container" for part in parts if part not in there] + [
        f"{container['name']} is {container['health'] or container['state']}"
        for container in containers
        if container["part"] in parts
        and container["state"] != "warm"
        and (container["state"] != "running" or container["health"] not in ("healthy", ""))
    ]
    return {
        "project": project,
        "release": release,
        "maintenance": seen.get("maintenance", False),
        "containers": containers,
        "volumes": volumes,
        "backups": health["lines"],
        "tls": tls,
        "firewall": wall,
        "broken": broken,
        "problems": broken + unread + health["problems"] + tls_problems + wall_problems,
    }


def read_object(text: str, what: str) -> tuple[dict[str, Any] | None, list[str]]:
    """Return the object in a text, None where there is none, and what is wrong with it."""
    try:
        found = json.loads(text) if text else None
    except ValueError:
        return None, [f"{what} is damaged, `./slipway deploy` writes it anew"]
    if found is not None and not isinstance(found, dict):
        return None, [f"{what} is damaged, `./slipway deploy` writes it anew"]
    return found, []


def health_said(program: Mapping[str, Any] | None) -> dict[str, list[str]]:
    """Return what the program on the host says of the data: lines and problems.

    One that cannot be run, fails or answers nothing that makes sense is a problem itself: what it
    would have found is not known, and nobody may take that for well.
    """
    if program is None:
        return {"lines": [], "problems": []}
    said = str(program.get("stderr") or program.get("msg") or "it said nothing").strip()
    why = said.splitlines()[-1].strip().rstrip(".") if said else "it said nothing"
    if program.get("rc") == 0:
        try:
            answer = json.loads(program.get("stdout") or "")
            return {name: [str(line) for line in answer[name]] for name in ("lines", "problems")}
        except (ValueError, KeyError, TypeError):
            why = "its answer makes no sense"
    return {
        "lines": [],
        "problems": [
            f"the program that looks at the data failed ({why}), so it is not known how data and"
            " backups are: `./slipway deploy` installs it anew"
        ],
    }


def firewall_of(found: Mapping[str, Any] | None, wanted: bool) -> tuple[str, list[str]]:
    """Return what a firewall lets in by what was found of it, and what is wrong with it.

    Both are empty where the project has none, nor wants one.
    """
    if not found or not (found["part"] or wanted or found["problem"]):
        return "", []
    matches = [
        line.strip() for line in found["allowed"].splitlines() if line.strip().endswith(" accept")
    ]
    opened = [match.removesuffix(" accept").replace(" dport", "") for match in matches]
    text = f"closed but for {', '.join(dict.fromkeys(opened))}" if opened else "not loaded"
    if found["problem"]:
        return text, [str(found["problem"])]
    if not found["part"]:
        problem = "firewall_enabled is set and the host has no rules of this project"
        return text, [f"{problem}, `./slipway deploy` makes them"]
    if not opened:
        return text, ["the firewall lets nothing in, `./slipway deploy` loads it"]
    return text, []


def tls_of(
    certificate: Mapping[str, Any], acme: str, now: datetime.datetime
) -> tuple[str, list[str]]:
    """Return what there is to say of the certificate in use, and what is wrong with it.

    Both are empty where there is none; see status_of for the arguments.
    """
    if not certificate:
        return "", []
    outcome, problems = read_object(acme, "the note of what came of asking the CA")
    if outcome and outcome.get("failed", True):
        problems.append(str(outcome.get("message", "the CA gave no certificate")).rstrip("."))
    if "not_after" not in certificate:
        return "a certificate that can't be read", [*problems, "the certificate can't be read"]
    begin, end = (
        datetime.datetime.strptime(certificate[name], "%Y%m%d%H%M%SZ").replace(tzinfo=datetime.UTC)
        for name in ("not_before", "not_after")
    )
    kind = certificate["name"].partition("-")[0]
    by = f" of {certificate['issuer'] or 'a CA'}" if kind != "selfsigned" else ""
    expired = now >= end
    verb = "EXPIRED on" if expired else "until"
    text = f"{kind}{by} for {', '.join(certificate['names'])}, {verb} {end:%Y-%m-%d %H:%M} UTC"
    if expired:
        problems.append(f"the certificate expired on {end:%Y-%m-%d %H:%M} UTC")
    elif end - now < (end - begin) * NEARLY_OVER:
        problems.append(f"the certificate expires on {end:%Y-%m-%d %H:%M} UTC and was not renewed")
    return text, problems


def size(count: int) -> str:
    """Return a number of bytes as a person writes it."""
    amount = float(count)
    for unit in ("B", "KiB", "MiB"):
        if amount < 1024:
            return f"{amount:.0f} {unit}"
        amount /= 1024
    return f"{amount:.1f} GiB"


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return rows of cells as aligned lines."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def status_table(report: Mapping[str, Any]) -> str:
    """Return the report as text for a person."""
    release = report["release"]
    serving = (
        f"{release['release']} ({release['package']} {release['version']})" if release else "none"
    )
    lines = [f"Project  {report['project']}", f"Release  {serving}"]
    if report["maintenance"]:
        lines.append("Closed   maintenance, until ./slipway maintenance -e on=false")
    if report["tls"]:
        lines.append(f"TLS      {report['tls']}")
    if report["firewall"]:
        lines.append(f"Firewall {report['firewall']}")
    lines += [f"Backups  {line}" for line in report["backups"]]
    lines.append("")
    lines += table(
        [("CONTAINER", "STATE", "HEALTH", "SINCE", "PORTS", "IMAGE")]
        + [
            (c["name"], c["state"], c["health"] or "-", c["since"], " ".join(c["ports"]) or "-",
             c["image"])
            for c in report["containers"]
        ]
    )  # fmt: skip
    lines.append("")
    lines += table(
        [("VOLUME", "SIZE")]
        + [(volume["name"], size(volume["bytes"])) for volume in report["volumes"]]
    )
    return "\n".join(lines)


class FilterModule:
    """The filters of the status role."""

    def filters(self) -> dict[str, Any]:
        """Return the filters by name."""
        return {"status_of": status_of, "status_table": status_table}
