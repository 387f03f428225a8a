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
  - One project at a time; what is to be loaded is put together when it is a project's turn, so that
    what another one has confirmed meanwhile is in it.
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
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.slipway import firewall

SERVICE = Path("/etc/systemd/system/slipway-firewall.service")


def keep(given: Mapping[str, Any], store: firewall.Store, check: bool) -> dict[str, Any]:
    """Load the rules, or confirm those on trial; return the module's answer, or raise NftError."""
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
    if given["confirm"]:
        former = firewall.TRIALS / f"{given['confirm']}.nft"
        try:
            former.rename(former.with_suffix(".kept"))
        except FileNotFoundError as error:
            raise firewall.NftError(
                f"the host had taken them back after {given['seconds']} s"
            ) from error
        firewall.write(files)
        former.with_suffix(".kept").unlink()
        return answer

    # A bare host in check mode has no nft, and nothing loaded either.
    there = shutil.which("nft", path=firewall.PATH) is not None
    before = firewall.loaded() if there else ""
    after = (firewall.made_of(text) if there else text) if text else ""
    rules_differ = before != after
    answer["changed"] = rules_differ or firewall.differ(files)
    answer["diff"] = {"before": before, "after": after}
    if check or not answer["changed"]:
        return answer
    if rules_differ and text:
        answer["trial"] = firewall.try_out(text, given["project"], given["seconds"])
    else:
        # Nobody is locked out by rules that are loaded already, or by none.
        if rules_differ:
            firewall.run("nft", "-f", "-", text=firewall.NOTHING)
        firewall.write(files)
    return answer


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
    store = firewall.Store(given["directory"])
    try:
        if module.check_mode:
            answer = keep(given, store, check=True)
        else:
            with firewall.turn_of(given["project"], given["seconds"], own=given["confirm"]):
                answer = keep(given, store, check=False)
    except firewall.NftError as error:
        module.fail_json(msg=str(error))
    module.exit_json(**answer)


if __name__ == "__main__":
    main()
