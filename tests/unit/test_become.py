"""How a password of sudo is given: with -K, to the sudo that Ansible knows."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# Asks as the usual sudo does, with the prompt of -p, and runs the command when it got the password.
USUAL = """#!/bin/sh
while [ $# -gt 0 ]; do
  case $1 in -p) printf '%s' "$2" >&2; shift ;; -u) shift ;; -*) ;; *) break ;; esac
  shift
done
read -r password
[ "$password" = right ] && exec "$@"
echo 'Sorry, try again.' >&2; exit 1
"""
# Asks as sudo-rs does: what was given with -p stands within its own words.
RS = USUAL.replace("'%s' \"$2\"", "'[sudo: %s] Password: ' \"$2\"")


@pytest.mark.parametrize("there", [{"sudo": USUAL}, {"sudo": RS, "sudo.ws": USUAL}])
def test_a_password_arrives(tmp_path: Path, there: dict[str, str]) -> None:
    """On Debian, and on Ubuntu 26.04, where `sudo` is sudo-rs and `sudo.ws` the usual one."""
    bin_directory = tmp_path / "bin"
    bin_directory.mkdir()
    for name, text in there.items():
        (bin_directory / name).write_text(text.replace("read -r", f": >{tmp_path}/asked; read -r"))
        (bin_directory / name).chmod(0o755)
    play = {
        "name": "Become", "hosts": "localhost", "connection": "local", "gather_facts": False,
        "become": True,
        # Nobody becomes who he is, and root may run the tests.
        "become_user": "somebody",
        "vars": {"ansible_python_interpreter": sys.executable, "ansible_become_password": "right"},
        "tasks": [{"name": "Do a thing", "ansible.builtin.command": {"argv": ["true"]}}],
    }  # fmt: skip
    (tmp_path / "play.yml").write_text(json.dumps([play]))
    ran = subprocess.run(
        [Path(sys.executable).with_name("ansible-playbook"), "-i", "localhost,", "play.yml"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
        env={
            **os.environ, "PATH": f"{bin_directory}:{os.environ['PATH']}",
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_TIMEOUT": "3",
        },
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert (tmp_path / "asked").exists(), "no sudo was called"
