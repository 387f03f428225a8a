#!/usr/bin/python
"""Load a host's nftables table on trial, or keep it."""

from __future__ import annotations

DOCUMENTATION = r"""
module: firewall_table
short_description: Load a host's nftables table on trial, or keep it
description:
  - The table C(inet slipway) is a base and a part per project. What is loaded is compared with what
    the same text makes of an empty network namespace, so that a rule changed by hand shows as well.
  - Rules that differ are loaded at once and written only when they are confirmed; without that the
    host takes them back by itself.
options:
  directory:
    description: Directory on the host for base and parts.
    type: path
    required: true
  project:
    description: Name of the project.
    type: str
    required: true
  base:
    description: Text of the base; it goes with the last project.
    type: str
    default: ""
  part:
    description: Text of the project's part; empty takes it out.
    type: str
    default: ""
  seconds:
    description: After how many seconds rules that were not confirmed are taken back.
    type: int
    default: 30
  keep:
    description: Whether what the project's part on the host lets in stays open besides.
    type: bool
    default: false
  confirm:
    description: Name of a trial, as this module returned it, whose rules are to be kept.
    type: str
    default: ""
author: [Slipway]
"""

RETURN = r"""
trial: {description: Name of a trial to be confirmed or empty., type: str, returned: always}
last: {description: Whether no project has a part any more., type: bool, returned: always}
kept: {description: Rules that are there because of I(keep)., type: list, returned: always}
service: {description: Whether a service loads them at a start., type: bool, returned: always}
"""

import os
import secrets
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

TABLE = "inet slipway"
# Also what clears it; the first line is there so that the second can't fail.
NOTHING = f"table {TABLE} {{\n}}\ndelete table {TABLE}\n"
# Gone after a reboot, as the trials themselves.
TRIALS = Path("/run/slipway-firewall")
SERVICE = Path("/etc/systemd/system/slipway-firewall.service")
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# Whoever renames the former rules has the say: the host that takes them back, or the play that
# keeps the new ones.
TAKE_BACK = 'sleep "$1"; mv "$2" "$2.back" 2>/dev/null && nft -f "$2.back"; rm -f "$2.back"'


class NftError(Exception):
    """nft refused something."""


def run(*command: str, text: str = "") -> str:
    """Return what a command prints; raise NftError with what it complains of."""
    done = subprocess.run(
        command, input=text, capture_output=True, text=True, check=False, env={"PATH": PATH}
    )
    if done.returncode:
        raise NftError((done.stderr.strip() or f"exit code {done.returncode}").splitlines()[0])
    return done.stdout


def loaded() -> str:
    """Return the table that is loaded, without its counters, or an empty string."""
    if f"table {TABLE}" not in run("nft", "list", "tables").splitlines():
        return ""
    return run("nft", "--stateless", "list", "table", *TABLE.split())


def made_of(text: str) -> str:
    """Return what the kernel makes of a text, tried where nobody is; raise NftError."""
    command = f"nft -f - && nft --stateless list table {TABLE}"
    return run("unshare", "--net", "sh", "-c", command, text=text)


class Store:
    """Base and parts on the disk."""

    def __init__(self, directory: str) -> None:
        """Remember where they are."""
        self.base = Path(directory) / "firewall.nft"
        self.parts = Path(directory) / "projects"

    def text(self, base: str, project: str, part: str) -> str:
        """Return the whole with another part of a project, empty when there is none."""
        parts = {
            path.stem: path.read_text() for path in self.parts.glob("*.nft") if path.stem != project
        }
        if part:
            parts[project] = part
        whole = base or self.own_base()
        return NOTHING + whole + "".join(parts[name] for name in sorted(parts)) if parts else ""

    def kept(self, project: str, part: str) -> tuple[str, list[str]]:
        """Return a part with what the one on the disk lets in besides, and those rules."""
        path = self.parts / f"{project}.nft"
        before = path.read_text() if path.exists() else ""
        more = [
            line
            for line in before.splitlines()
            if line.endswith(" accept") and line not in part.splitlines()
        ]
        if set(part.splitlines()) <= set(before.splitlines()):
            return before, more
        return part + "".join(f"{line}\n" for line in more), more

    def own_base(self) -> str:
        """Return the base that was written before, without what stands around it."""
        text = self.base.read_text() if self.base.exists() else ""
        return text.removeprefix(NOTHING).removesuffix(self.include())

    def include(self) -> str:
        """Return the line that reads the parts."""
        return f'include "{self.parts}/*.nft"\n'

    def wanted(self, base: str, project: str, part: str, *, empty: bool) -> dict[Path, str | None]:
        """Return what each file has to hold, None where it is not to be."""
        whole = None if empty else NOTHING + (base or self.own_base()) + self.include()
        return {self.base: whole, self.parts / f"{project}.nft": part or None}


def differ(files: dict[Path, str | None]) -> bool:
    """Say whether a file holds something else."""
    return any(
        (path.read_text() if path.exists() else None) != text for path, text in files.items()
    )


def write(files: dict[Path, str | None]) -> None:
    """Write the files, each at once, or remove them; and what they leave empty."""
    for path, text in files.items():
        if text is None:
            path.unlink(missing_ok=True)
            continue
        path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        new = path.with_suffix(".new")
        new.write_text(text)
        new.chmod(0o640)
        new.replace(path)
    # The directory of the parts first, which is in that of the base.
    for path in reversed(files):
        if path.parent.is_dir() and not any(path.parent.iterdir()):
            path.parent.rmdir()


def wait_for_other_trials(seconds: int) -> None:
    """Wait until no other project's rules are on trial; raise NftError."""
    until = time.monotonic() + seconds + 10
    while any(TRIALS.glob("*.nft")):
        if time.monotonic() > until:
            raise NftError("another project's rules are on trial and nobody ends it")
        time.sleep(1)


def try_out(text: str, seconds: int) -> str:
    """Load a text and let the host take it back by itself; return the name of the trial."""
    TRIALS.mkdir(mode=0o700, exist_ok=True)
    name = secrets.token_hex(8)
    former = TRIALS / f"{name}.nft"
    former.write_text(NOTHING + loaded())
    # First, so that nothing can come between; on its own, as there may be no systemd.
    subprocess.Popen(
        ["sh", "-c", TAKE_BACK, "sh", str(seconds), str(former)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        env={"PATH": PATH},
        cwd="/",
    )
    try:
        run("nft", "-f", "-", text=text)
    except NftError:
        former.unlink(missing_ok=True)
        raise
    return name


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "directory": {"type": "path", "required": True},
            "project": {"type": "str", "required": True},
            "base": {"type": "str", "default": ""},
            "part": {"type": "str", "default": ""},
            "seconds": {"type": "int", "default": 30},
            "keep": {"type": "bool", "default": False},
            "confirm": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    os.umask(0o027)
    given: dict[str, Any] = module.params
    store = Store(given["directory"])
    part: str = given["part"]
    kept: list[str] = []
    if given["keep"]:
        part, kept = store.kept(given["project"], part)
    text = store.text(given["base"], given["project"], part)
    files = store.wanted(given["base"], given["project"], part, empty=not text)
    answer: dict[str, Any] = {
        "changed": False,
        "trial": "",
        "last": not text,
        "kept": kept,
        "service": SERVICE.exists(),
    }
    try:
        if given["confirm"]:
            former = TRIALS / f"{given['confirm']}.nft"
            try:
                former.rename(former.with_suffix(".kept"))
            except FileNotFoundError:
                module.fail_json(msg=f"the host had taken them back after {given['seconds']} s")
            write(files)
            former.with_suffix(".kept").unlink()
            module.exit_json(**answer)

        # A bare host in check mode has no nft, and nothing loaded either.
        there = shutil.which("nft", path=PATH) is not None
        before = loaded() if there else ""
        after = (made_of(text) if there else text) if text else ""
        rules_differ = before != after
        answer["changed"] = rules_differ or differ(files)
        answer["diff"] = {"before": before, "after": after}
        if module.check_mode or not answer["changed"]:
            module.exit_json(**answer)
        wait_for_other_trials(given["seconds"])
        if rules_differ and text:
            answer["trial"] = try_out(text, given["seconds"])
        else:
            # Nobody is locked out by rules that are loaded already, or by none.
            if rules_differ:
                run("nft", "-f", "-", text=NOTHING)
            write(files)
    except NftError as error:
        module.fail_json(msg=f"nft: {error}")
    module.exit_json(**answer)


if __name__ == "__main__":
    main()
