#!/usr/bin/python
"""Tell whether Slipway installed a host's cron daemon, and who needs it."""

from __future__ import annotations

DOCUMENTATION = r"""
module: timer_cron
short_description: Tell whether Slipway installed a host's cron daemon, and who needs it
options:
  marker:
    description: File that names the packages that Slipway installed.
    type: path
    required: true
  tables:
    description: Directory of tables.
    type: path
    default: /etc/cron.d
  crontabs:
    description: Directory of the users' own tables.
    type: path
    default: /var/spool/cron/crontabs
  etc:
    description: Directory of the directories for programs that run each hour, day, week or month.
    type: path
    default: /etc
author: [Slipway]
"""

RETURN = r"""
missing: {description: Packages of cron that are not installed., type: list, returned: always}
ours: {description: Those installed that Slipway installed., type: list, returned: always}
users: {description: Who needs the daemon - files and packages., type: list, returned: always}
"""

import subprocess
from collections.abc import Iterable
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

PACKAGES = ("cron", "cron-daemon-common")
PERIODS = ("cron.hourly", "cron.daily", "cron.weekly", "cron.monthly", "cron.yearly")


def output_of(*command: str) -> str:
    """Return what a command prints, be there an error for some of what it was asked."""
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"}
    return subprocess.run(
        command, capture_output=True, text=True, check=False, env=environment
    ).stdout


def installed(names: Iterable[str]) -> list[str]:
    """Return those packages that are installed."""
    shown = output_of(
        "dpkg-query", "--show", "--showformat=${Package} ${db:Status-Status}\n", *names
    )
    there = {line.split()[0] for line in shown.splitlines() if line.endswith(" installed")}
    return [name for name in names if name in there]


def of_no_package(paths: Iterable[Path]) -> list[str]:
    """Return those files that somebody made, and no package brought."""
    asked = [str(path) for path in paths]
    if not asked:
        return []
    known = output_of("dpkg-query", "--search", *asked)
    brought = {line.rpartition(": ")[2] for line in known.splitlines()}
    return [path for path in asked if path not in brought]


def files(directory: Path) -> list[Path]:
    """Return the files of a directory, there or not, but for the one that holds its place."""
    if not directory.is_dir():
        return []
    return [path for path in sorted(directory.iterdir()) if path.name != ".placeholder"]


def needed_by(packages: Iterable[str]) -> list[str]:
    """Return the installed packages that would go with some."""
    shown = output_of("apt-get", "--simulate", "remove", *packages)
    gone = {line.split()[1] for line in shown.splitlines() if line.startswith("Remv ")}
    return [f"the package {name}" for name in sorted(gone - set(packages))]


def changed_table(path: Path) -> list[str]:
    """Return the system's own table when somebody has changed it."""
    shown = output_of("dpkg", "--verify", *PACKAGES) if path.exists() else ""
    return [str(path)] if any(line.split()[-1] == str(path) for line in shown.splitlines()) else []


def users_of(tables: Path, crontabs: Path, etc: Path, packages: list[str]) -> list[str]:
    """Return who needs a cron daemon besides what is there without one."""
    found = [str(path) for path in files(tables) if path.name.startswith("slipway-")]
    others = [path for path in files(tables) if not path.name.startswith("slipway-")]
    for period in PERIODS:
        others += files(etc / period)
    return [
        *found,
        *of_no_package(others),
        *(str(path) for path in files(crontabs)),
        *changed_table(etc / "crontab"),
        *needed_by(packages),
    ]


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "marker": {"type": "path", "required": True},
            "tables": {"type": "path", "default": "/etc/cron.d"},
            "crontabs": {"type": "path", "default": "/var/spool/cron/crontabs"},
            "etc": {"type": "path", "default": "/etc"},
        },
        supports_check_mode=True,
    )
    given = module.params
    marker = Path(given["marker"])
    there = installed(PACKAGES)
    ours = [
        name for name in (marker.read_text().split() if marker.exists() else []) if name in there
    ]
    tables, crontabs, etc = (Path(given[name]) for name in ("tables", "crontabs", "etc"))
    module.exit_json(
        changed=False,
        missing=[name for name in PACKAGES if name not in there],
        ours=ours,
        users=users_of(tables, crontabs, etc, ours) if ours else [],
    )


if __name__ == "__main__":
    main()
