"""Walk the README from a clean clone: its own commands, and the answers that it prints.

    python -m tests.start                    on this machine
    python -m tests.start --container NAME   on a bare test host: control node and server in one
    python -m tests.start --write            and write what was seen into README.md

Where this machine has a project `example`, or something on its port, others are taken.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.start import readme
from tests.start.readme import ReadmeError

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
PROJECT, PORT = "example", 8080
# The project of the section "Your own application", and its port there.
OTHER, OTHER_PORT = "guestbook", 8082
# Longer than anything takes on a slow machine.
LIMIT = 2400


class Walk:
    """A clean clone somewhere, and the names that it may use there."""

    def __init__(self, directory: str, container: str = "") -> None:
        """Take the README's names, or others where those are taken."""
        self.directory = directory
        self.container = container
        self.others: dict[str, str] = {}
        self.options: list[str] = []
        if not container and (Path("/etc/slipway", PROJECT).exists() or taken(PORT)):
            port = free_port()
            self.others = {PROJECT: f"{PROJECT}-start", str(PORT): str(port)}
            self.options = [f"-eslipway_project={PROJECT}-start", f"-enginx_http_port={port}"]

    def here(self, text: str) -> str:
        """Return a command of the README with the names of this walk."""
        for theirs, ours in self.others.items():
            text = re.sub(rf"(?<=confirm=){theirs}\b|(?<=127\.0\.0\.1:){theirs}\b", ours, text)
        return text

    def theirs(self, text: str) -> str:
        """Return output with the README's names."""
        for theirs, ours in self.others.items():
            text = text.replace(ours, theirs)
        return text

    def run(
        self, command: str, options: list[str] | None = None, tools: bool = False
    ) -> tuple[int, str]:
        """Run a command line of the README in the clone; return its exit code and answer.

        With `tools` it finds the Ansible of the suite, as a user's own.
        """
        line = self.here(command)
        if options is not None and (tools or line.startswith("./slipway ")):
            line = f"{line} {shlex.join(options)}"
        print(f"$ {line}", flush=True)
        argv = ["bash", "-c", f"cd {shlex.quote(self.directory)} && {line}"]
        if self.container:
            argv = ["docker", "exec", self.container, *argv]
        environment = {
            name: value
            for name, value in os.environ.items()
            # What the suite sets for itself is not what a user has.
            if not name.startswith(("ANSIBLE_", "MOLECULE_", "SLIPWAY_"))
        }
        path = without_environment(environment["PATH"])
        environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{path}" if tools else path
        done = subprocess.run(
            argv, env=environment, stdin=subprocess.DEVNULL, capture_output=True,
            text=True, timeout=LIMIT, check=False,
        )  # fmt: skip
        # On a terminal curl shows no progress; here it goes to where it is no answer.
        print(done.stderr + done.stdout, flush=True)
        return done.returncode, self.theirs(done.stdout)

    def must(self, command: str, options: list[str] | None = None, tools: bool = False) -> str:
        """Run a command that has to succeed, and return what it printed."""
        code, output = self.run(command, options, tools)
        if code:
            raise ReadmeError(f"`{command}` ended with {code}, see its output above")
        return output


def without_environment(path: str) -> str:
    """Return a PATH without the suite's own tool environment."""
    own = str(Path(sys.executable).parent)
    return os.pathsep.join(part for part in path.split(os.pathsep) if part != own)


def taken(port: int) -> bool:
    """Return whether something listens on a port of this machine."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def free_port() -> int:
    """Return a port on which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def clone(container: str) -> Iterator[str]:
    """Make a clean clone of the commit in a fresh directory, on this machine or in a container."""
    with tempfile.TemporaryDirectory(prefix="slipway-start-") as temporary:
        tree = Path(temporary, "slipway")
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(tree)], check=True)
        if not container:
            yield str(tree)
            return
        # The host needs no git for what it is shown here.
        pack = ["tar", "-C", temporary, "-cf", "-", "slipway"]
        packed = subprocess.run(pack, stdout=subprocess.PIPE, check=True)
        unpack = ["docker", "exec", "-i", container, "tar", "-C", "/root", "-xf", "-"]
        subprocess.run(unpack, input=packed.stdout, check=True)
        yield "/root/slipway"


def site(walk: Walk, blocks: dict[str, str], write: bool) -> None:
    """Deploy, ask, deploy again, look: the sections Start, The example API and Every day."""
    first = readme.commands(blocks["first"])
    deploy = first[0]
    if deploy != "./slipway deploy":
        raise ReadmeError(f"README.md's first command is `{deploy}`, not `./slipway deploy`")
    output = walk.must(deploy, walk.options)
    show(blocks, "deploy", readme.progress(output), write)
    ask(walk, blocks["api"])
    again = walk.must(deploy, walk.options)
    if not re.search(r"^ +Changed +nothing$", again, re.M) or "changed=0 " not in again:
        raise ReadmeError(f"a second `{deploy}` changed something:\n{again[-2000:]}")
    (example,) = readme.examples(blocks["status"])
    table = readme.message(walk.must(example.command, walk.options))
    show(blocks, "status", f"$ {example.command}\n{table}", write)


def plain(walk: Walk, block: str) -> None:
    """Deploy without the launcher, with the packages that the block's other lines install."""
    command = readme.commands(block)[-1].replace("inventories/mine", "inventories/local")
    if not command.startswith("ansible-playbook "):
        raise ReadmeError(f"README.md has `{command}` where Ansible runs without the launcher")
    output = walk.must(command, walk.options, tools=True)
    if "changed=0 " not in output:
        raise ReadmeError(f"`{command}` after a deploy changed something:\n{output[-2000:]}")


def application(walk: Walk, blocks: dict[str, str]) -> None:
    """Deploy another application beside it, as the section "Your own application" says."""
    if taken(OTHER_PORT):
        raise ReadmeError(
            f"port {OTHER_PORT} of this machine is taken: README.md's guestbook wants it"
        )
    (copy,) = readme.commands(blocks["copy"])
    walk.must(copy)
    inventory = blocks["inventory"]
    path = inventory.split("\n", 1)[0].removeprefix("# ")
    walk.must(f"cat > {path} <<'YAML'\n{inventory}YAML")
    ask(walk, blocks["application"])


def ask(walk: Walk, block: str) -> None:
    """Run the commands of a block, and hold what they print to the block."""
    for example in readme.examples(block):
        output = walk.must(example.command)
        # The block shows nothing of a deploy.
        if not example.command.startswith("./slipway") and output.strip() != example.answer.strip():
            raise ReadmeError(
                f"`{example.command}` answers\n  {output.strip()}\n"
                f"and README.md shows\n  {example.answer.strip()}"
            )


def show(blocks: dict[str, str], name: str, seen: str, write: bool) -> None:
    """Hold an output to the README's block, or write it there."""
    if write:
        readme.replace(README, name, seen)
    else:
        readme.compare(name, blocks[name], seen)


def destroy(walk: Walk, blocks: dict[str, str]) -> None:
    """Take everything away again, as the README's last line of its kind says."""
    command = readme.commands(blocks["destroy"])[-1]
    walk.must(command, walk.options)
    if not walk.container and Path("/etc/slipway", OTHER).exists():
        walk.must(command, ["-i", f"inventories/{OTHER}", f"-econfirm={OTHER}"])


def main() -> int:
    """Walk."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--container", default="", help="a bare test host instead of this machine")
    parser.add_argument("--write", action="store_true", help="write what was seen into README.md")
    arguments = parser.parse_args()
    began = time.monotonic()
    blocks = readme.blocks(README.read_text())
    try:
        with clone(arguments.container) as directory:
            walk = Walk(directory, arguments.container)
            if arguments.write and walk.others:
                raise ReadmeError(
                    f"the project {PROJECT} or port {PORT} of this machine is taken, "
                    "and the README shows those: --write needs both"
                )
            try:
                site(walk, blocks, arguments.write)
                # Once is enough: what is the host's own was seen by then.
                if not arguments.container:
                    plain(walk, blocks["plain"])
                    application(walk, blocks)
            finally:
                destroy(walk, blocks)
    except ReadmeError as problem:
        print(f"start: {problem}", file=sys.stderr)
        return 1
    print(f"walked in {time.monotonic() - began:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
