#!/usr/bin/python
"""Keep a systemd timer and its service, or remove them."""

from __future__ import annotations

DOCUMENTATION = r"""
module: timer_units
short_description: Keep a systemd timer and its service, or remove them
description:
  - Writes both units where they differ, enables the timer and starts it; a timer that changed is
    started anew.
  - One module for what would be five, at each deploy and for each timer.
options:
  name:
    description: Name of both units, without what comes after the dot.
    type: str
    required: true
  service:
    description: Text of the service.
    type: str
    required: true
  timer:
    description: Text of the timer.
    type: str
    required: true
  wanted:
    description: Whether there is one; both are removed when not.
    type: bool
    required: true
author: [Slipway]
"""

import subprocess
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

UNITS = Path("/etc/systemd/system")


class SystemctlError(Exception):
    """systemctl refused something."""


def systemctl(*arguments: str) -> None:
    """Run systemctl; raise SystemctlError with what it complains of."""
    done = subprocess.run(
        ["systemctl", "--quiet", *arguments], capture_output=True, text=True, check=False
    )
    if done.returncode:
        said = done.stderr.strip() or f"exit code {done.returncode}"
        raise SystemctlError(f"systemctl {' '.join(arguments)}: {said}")


def is_so(what: str, unit: str) -> bool:
    """Ask systemctl whether a unit is enabled or active."""
    asked = subprocess.run(
        ["systemctl", "--quiet", f"is-{what}", unit], capture_output=True, check=False
    )
    return asked.returncode == 0


def needs_reload(unit: str) -> bool:
    """Ask systemd whether it knows an older text of a unit."""
    asked = subprocess.run(
        ["systemctl", "show", "--property=NeedDaemonReload", "--value", unit],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return asked.stdout.strip() == "yes"


def write(path: Path, text: str) -> None:
    """Replace a file in one step."""
    new = path.with_name(f".{path.name}.new")
    new.write_text(text)
    new.chmod(0o644)
    new.replace(path)


def keep(name: str, texts: dict[str, str], check: bool) -> tuple[bool, dict[str, str]]:
    """Have both units, the timer enabled and running; return whether that changed, and a diff."""
    timer = f"{name}.timer"
    before = {unit: (UNITS / unit).read_text() if (UNITS / unit).exists() else "" for unit in texts}
    stale = [unit for unit, text in texts.items() if before[unit] != text]
    enabled, active = is_so("enabled", timer), is_so("active", timer)
    # A run that was killed had written them and told nobody.
    untold = not stale and any(needs_reload(unit) for unit in texts)
    diff = {
        "before": "".join(before[unit] for unit in stale),
        "after": "".join(texts[unit] for unit in stale),
    }
    if not check:
        for unit in stale:
            write(UNITS / unit, texts[unit])
        if stale or untold:
            systemctl("daemon-reload")
        if not enabled:
            systemctl("enable", timer)
        if timer in stale or untold or not active:
            systemctl("restart", timer)
    return bool(stale) or untold or not (enabled and active), diff


def remove(name: str, units: list[str], check: bool) -> bool:
    """Have neither of the units; return whether there was one."""
    there = [UNITS / unit for unit in units if (UNITS / unit).exists()]
    if there and not check:
        if UNITS / f"{name}.timer" in there:
            systemctl("disable", "--now", f"{name}.timer")
        for path in there:
            path.unlink()
        systemctl("daemon-reload")
    return bool(there)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "service": {"type": "str", "required": True},
            "timer": {"type": "str", "required": True},
            "wanted": {"type": "bool", "required": True},
        },
        supports_check_mode=True,
    )
    given = module.params
    texts = {
        f"{given['name']}.service": given["service"],
        f"{given['name']}.timer": given["timer"],
    }
    diff = {"before": "", "after": ""}
    try:
        if given["wanted"]:
            changed, diff = keep(given["name"], texts, module.check_mode)
        else:
            changed = remove(given["name"], list(texts), module.check_mode)
    except SystemctlError as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=changed, diff=diff)


if __name__ == "__main__":
    main()
