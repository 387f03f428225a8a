"""Plan which roles of a deploy have something to do, and why."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleError
from ansible.plugins.action import ActionBase

DOCUMENTATION = r"""
module: slipway_plan
short_description: Plan which roles of a deploy have something to do, and why
description:
  - A role is left out where it was given the same as when it last ended well, its own files are the
    same, and what the host has of it is what stood then.
  - Runs on the control node alone; what M(slipway_look) saw comes from there.
options:
  seen:
    description: The answer of M(slipway_look).
    type: dict
    required: true
  roles:
    description:
      - Role to a dictionary of C(directories) (of roles whose files and variables are its own),
        C(passed) (variables that the play itself passes), C(given) (what else it follows, by name),
        C(after) (roles that it follows whenever they are entered).
      - In the order in which they run.
    type: dict
    required: true
  asked:
    description: Role to why it is entered whatever was seen; an empty reason is none.
    type: dict
    default: {}
  full:
    description: Whether every role is entered, whatever was seen.
    type: bool
    default: false
author: [Slipway]
"""

RETURN = r"""
said: {description: The plan in lines for a person., type: str, returned: always}
enter: {description: Roles to be entered, in their order., type: list, returned: always}
reasons: {description: Role to why, in words., type: dict, returned: always}
inputs: {description: Role to checksums of what it is given., type: dict, returned: always}
outputs: {description: What the roles told the play then., type: dict, returned: always}
"""

# As many digits as tell a change, and too few to try passwords with.
DIGITS = 6
# As many reasons as a person reads.
SHOWN = 6
SHARED = ("plugins", "playbooks")


def digest(salt: str, value: Any) -> str:
    """Return a short checksum of a value that JSON can hold."""
    text = json.dumps(value, default=str)
    return hmac.new(salt.encode(), text.encode(), hashlib.sha256).hexdigest()[:DIGITS]


def files_digest(root: Path, directories: Iterable[str]) -> str:
    """Return a checksum of all files below directories, by name and content."""
    whole = hashlib.sha256()
    for directory in directories:
        for path in sorted((root / directory).rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                whole.update(f"{path.relative_to(root)}\0".encode())
                whole.update(hashlib.sha256(path.read_bytes()).digest())
    return whole.hexdigest()[:12]


def changed(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Return in words which inputs are others than before."""
    names = sorted(name for name in {*before, *now} if before.get(name) != now.get(name))
    return [f"{name} has changed" for name in names]


def plan(
    roles: Mapping[str, Any],
    inputs: Mapping[str, Mapping[str, str]],
    known: Mapping[str, Any],
    drift: Mapping[str, list[str]],
    full: bool,
    asked: Mapping[str, str] | None = None,
) -> dict[str, list[str]]:
    """Return the roles that have something to do, in their order, each with the reasons.

    `roles` has what each follows, `inputs` what it is given now, `known` what it was given when it
    last ended well, `drift` what differs on the host since then, `asked` why one is entered anyway.
    """
    entered: dict[str, list[str]] = {}
    for role, said in roles.items():
        if full:
            reasons = ["full=true asks for every role"]
        elif role not in known:
            reasons = ["it has not run to its end on this host yet"]
        else:
            reasons = changed(known[role].get("inputs", {}), inputs[role]) + drift.get(role, [])
        if reason := (asked or {}).get(role):
            reasons = [reason, *reasons]
        before = [one for one in said.get("after", []) if one in entered]
        if not reasons and before:
            reasons = [f"it follows {', '.join(before)}"]
        if reasons:
            entered[role] = reasons
    return entered


def said(entered: Mapping[str, list[str]], known: Mapping[str, Any]) -> str:
    """Return the plan in lines for a person, nothing where no role stood before."""
    if not entered:
        return "Nothing is to be done."
    if not known:
        return ""
    lines = [
        f"  {role}: {'; '.join(reasons[:SHOWN])}"
        + (f"; and {len(reasons) - SHOWN} more" if len(reasons) > SHOWN else "")
        for role, reasons in entered.items()
    ]
    return "\n".join(["To be done, and why:", *lines])


class ActionModule(ActionBase):
    """The action."""

    _requires_connection = False
    _supports_check_mode = True
    _supports_diff = False

    def run(
        self, tmp: str | None = None, task_vars: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Return the plan."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        seen, roles = self._task.args["seen"], self._task.args["roles"]
        full = bool(self._task.args.get("full", False))
        root = Path(self._loader.get_basedir())
        while not (root / "roles").is_dir():
            if root == root.parent:
                raise AnsibleError(f"slipway_plan: no roles beside {self._loader.get_basedir()}")
            root = root.parent
        shared = files_digest(root, SHARED)
        inputs = {
            role: self._inputs(root, shared, said, seen["salt"], task_vars or {})
            for role, said in roles.items()
        }
        known = seen["known"]
        asked = self._task.args.get("asked") or {}
        entered = plan(roles, inputs, known, seen["drift"], full, asked)
        outputs: dict[str, Any] = {}
        for role in roles:
            outputs.update(known.get(role, {}).get("outputs") or {})
        result.update(
            changed=False,
            enter=list(entered),
            said=said(entered, known),
            reasons=entered,
            inputs=inputs,
            outputs=outputs,
        )
        return result

    def _value(self, value: Any) -> Any:
        """Return what a variable comes to, or itself where it needs what a role tells later."""
        try:
            return self._templar.template(value)
        except AnsibleError:
            return str(value)

    def _inputs(
        self, root: Path, shared: str, said: Mapping[str, Any], salt: str, variables: dict[str, Any]
    ) -> dict[str, str]:
        """Return checksums of all that a role is given, by name."""
        directories = [f"roles/{name}" for name in said["directories"]]
        found = {"its own program": f"{files_digest(root, directories)} {shared}"}
        for directory in directories:
            specs = self._loader.load_from_file(str(root / directory / "meta/argument_specs.yml"))
            for name in specs["argument_specs"]["main"]["options"]:
                if name in variables and name not in said.get("passed", []):
                    found[str(name)] = digest(salt, self._value(variables[name]))
        for name, value in said.get("given", {}).items():
            found[str(name)] = digest(salt, value)
        return found
