"""Let the playbooks of one run of the suite share the modules that Ansible has put together."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from ansible import constants
from ansible.executor import module_common
from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: module_cache
type: aggregate
short_description: Share the modules that Ansible has put together
description:
  - Ansible puts each module together with what it imports, once for each run of a playbook. It is
    a sixth of what a deploy costs the control node. The suite runs hundreds on the same files.
  - The host that imports a module compiles it each time, which is half of what a small one costs.
    So the test host's own Python compiles it once, and the bytecode lies beside the same source,
    which a Python of another version reads in its place.
  - C(SLIPWAY_TEST_MODULES) names the directory; without it nothing is shared, so that somebody
    who changes a module meets it at once.
"""

# Reads a zip file, adds the bytecode of what is in it, and writes it.
COMPILE = """
import importlib.util, io, sys, zipfile
from importlib._bootstrap_external import _code_to_hash_pyc
there, made = zipfile.ZipFile(io.BytesIO(sys.stdin.buffer.read())), io.BytesIO()
with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as new:
    for one in there.infolist():
        source = there.read(one)
        new.writestr(one, source)
        if one.filename.endswith(".py"):
            code = compile(source, one.filename, "exec", dont_inherit=True)
            data = _code_to_hash_pyc(code, importlib.util.source_hash(source), False)
            new.writestr(one.filename + "c", data)
sys.stdout.buffer.write(made.getvalue())
"""


def host() -> str:
    """Return the name of the scenario's test host."""
    prefix = os.environ.get("SLIPWAY_TEST_PREFIX", "slipway-test")
    return f"{prefix}-{os.environ.get('MOLECULE_SCENARIO_NAME', '')}"


def system() -> str:
    """Return what the scenario's test host is made from, or `none` where there is none yet."""
    inspect = ["docker", "container", "inspect", "--format={{.Config.Image}}", host()]
    asked = subprocess.run(inspect, capture_output=True, text=True, check=False)
    return asked.stdout.strip().replace("/", "_").replace(":", "_") or "none"


def with_bytecode(packed: bytes) -> bytes:
    """Return a module's zip file with the bytecode of the test host's Python, both as base64."""
    done = subprocess.run(
        ["docker", "exec", "-i", host(), "python3", "-c", COMPILE],
        input=base64.b64decode(packed), capture_output=True, check=False,
    )  # fmt: skip
    return base64.b64encode(done.stdout) if done.returncode == 0 else packed


class CallbackModule(CallbackBase):
    """Puts a link to the shared directory where Ansible looks for its own."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "module_cache"
    CALLBACK_NEEDS_ENABLED = True

    def v2_playbook_on_start(self, playbook: Any) -> None:
        """Link it before the first module is wanted; Ansible locks each file in there."""
        shared = os.environ.get("SLIPWAY_TEST_MODULES")
        if not shared:
            return
        directory = Path(shared, f"{system()}-{sys.version_info[1]}")
        directory.mkdir(parents=True, exist_ok=True)
        (Path(constants.DEFAULT_LOCAL_TMP) / "ansiballz_cache").symlink_to(directory)
        cached = getattr(module_common, "_CachedModule", None)
        if cached is None or directory.name.startswith("none"):
            return
        dump = cached.dump

        def dump_with_bytecode(module: Any, path: str) -> None:
            """Keep a module that was put together just now."""
            object.__setattr__(module, "zip_data", with_bytecode(module.zip_data))
            dump(module, path)

        cached.dump = dump_with_bytecode
