#!/usr/bin/env python3
"""Compare what runs cost with this tree and with another commit's, on one host.

    python3 tests/bench/runs.py --against COMMIT --inventory PATH [--limit HOST] [--rounds N]

Each tree has a project of its own on the host, which has to be this machine or a container on it:
processor time is that of the whole machine, which should have nothing else to do. The cases are run
in turn, first by one tree and then by the other, and medians and ratios are printed. At the end,
after an error too, both projects are destroyed with all that they have.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CASES = ("nothing", "line", "line, built", "nginx", "rollback")
# What Ansible says with -vvv of each program that it starts on a host.
PROGRAM = re.compile(r"^<[^>]+> (?:SSH: )?EXEC ", re.MULTILINE)
TICKS = os.sysconf("SC_CLK_TCK")


class RunError(Exception):
    """A run failed: the end of what it said."""


@dataclass
class Tree:
    """A tree, and its project on the host."""

    name: str
    path: Path
    port: int
    sources: Path
    arguments: list[str]
    wall: dict[str, list[float]] = field(default_factory=lambda: {case: [] for case in CASES})
    processor: dict[str, list[float]] = field(default_factory=lambda: {case: [] for case in CASES})
    programs: dict[str, int] = field(default_factory=dict)

    def source(self, line: str) -> Path:
        """Return the example application with another line, made once."""
        source = self.sources / re.sub(r"\W", "", line)
        if not source.exists():
            ignored = shutil.ignore_patterns(".compose", "tests", "__pycache__")
            shutil.copytree(self.path / "app", source, ignore=ignored)
            (package,) = source.glob("src/*/__init__.py")
            package.write_text(f"{package.read_text()}\n# {line}\n")
        return source

    def run(self, playbook: str, *options: str) -> str:
        """Run a playbook of the tree; return what it said, raise RunError when it fails."""
        environment = {
            "ANSIBLE_CONFIG": str(self.path / "ansible.cfg"),
            "ANSIBLE_CALLBACK_PLUGINS": str(self.path / "plugins/callback"),
            "ANSIBLE_NOCOLOR": "true",
        }
        done = subprocess.run(
            [
                "ansible-playbook", str(self.path / playbook), *self.arguments,
                f"--extra-vars=slipway_project=bench-{self.name}",
                f"--extra-vars=nginx_http_port={self.port}", *options,
            ],
            cwd=self.path, env=os.environ | environment, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise RunError(f"{self.name}: {playbook} failed:\n{done.stdout[-3000:]}")
        return done.stdout

    def case(self, case: str, number: int, *options: str) -> str:
        """Run a case; the number tells what differs from the run before."""
        source, body = self.source(f"line {number % 2}"), 11
        if case == "rollback":
            return self.run("playbooks/rollback.yml", *options)
        if case == "nothing":
            source = self.source("line 0")
        elif case == "line, built":
            source = self.source(f"built {number}")
        elif case == "nginx":
            source, body = self.source("line 0"), 12 + number
        return self.run(
            "site.yml", f"--extra-vars=flask_source={source}",
            f"--extra-vars=nginx_max_body_mb={body}", *options,
        )  # fmt: skip

    def ready(self, case: str) -> None:
        """Bring the project to where a case begins."""
        if case == "rollback":
            return
        self.case("line", 1)
        if case in ("nothing", "nginx", "line, built"):
            self.case("line", 0)

    def measure(self, case: str, number: int) -> None:
        """Run a case, and note what it cost."""
        before, began = busy(), time.monotonic()
        self.case(case, number)
        self.wall[case].append(time.monotonic() - began)
        self.processor[case].append(busy() - before)


def busy() -> float:
    """Return the processor seconds that this machine has worked."""
    user, nice, system = Path("/proc/stat").read_text().split()[1:4]
    return (int(user) + int(nice) + int(system)) / TICKS


@contextmanager
def unpacked(commit: str) -> Iterator[Path]:
    """Unpack the tree of a commit."""
    with tempfile.TemporaryDirectory(prefix="slipway-bench-") as directory:
        archive = subprocess.run(
            ["git", "-C", str(ROOT), "archive", commit], stdout=subprocess.PIPE, check=True
        )
        subprocess.run(
            ["tar", "--extract", f"--directory={directory}"], input=archive.stdout, check=True
        )
        yield Path(directory)


def table(before: Tree, after: Tree) -> str:
    """Return medians and ratios as a table of Markdown."""
    heads = ("case", "wall, s", "processor, s", "programs on the host", "wall", "processor")
    rows = [heads, ("---",) * len(heads)]
    for case in CASES:
        walls = [statistics.median(tree.wall[case]) for tree in (before, after)]
        works = [statistics.median(tree.processor[case]) for tree in (before, after)]
        rows.append(
            (
                case,
                f"{walls[0]:.1f} -> {walls[1]:.1f}",
                f"{works[0]:.1f} -> {works[1]:.1f}",
                f"{before.programs[case]} -> {after.programs[case]}",
                f"{walls[1] / walls[0]:.2f}",
                f"{works[1] / works[0]:.2f}",
            )
        )
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def compare(before: Tree, after: Tree, rounds: int) -> None:
    """Run every case with both trees in turn."""
    trees = (before, after)
    for tree in trees:
        tree.case("line", 0)
    for case in CASES:
        for tree in trees:
            tree.ready(case)
            # Counted apart, since a talkative run costs more.
            tree.programs[case] = len(PROGRAM.findall(tree.case(case, 0, "-vvv")))
        for number in range(1, rounds + 1):
            for tree in trees if number % 2 else reversed(trees):
                tree.measure(case, number)
        print(f"{case}: {[tree.wall[case] for tree in trees]}", file=sys.stderr, flush=True)


def main() -> int:
    """Compare the trees."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--against", required=True, help="the other commit")
    parser.add_argument("--inventory", required=True, type=Path)
    parser.add_argument("--limit", default="slipway")
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    arguments = [f"--inventory={given.inventory.resolve()}", f"--limit={given.limit}"]
    with unpacked(given.against) as path, tempfile.TemporaryDirectory() as sources:
        before = Tree("before", path, 18081, Path(sources, "before"), arguments)
        after = Tree("after", ROOT, 18082, Path(sources, "after"), arguments)
        try:
            compare(before, after, given.rounds)
        except RunError as problem:
            print(problem, file=sys.stderr)
            return 1
        finally:
            for tree in (before, after):
                try:
                    tree.run(
                        "playbooks/destroy.yml", f"--extra-vars=confirm=bench-{tree.name}",
                        "--extra-vars=volumes=true", "--extra-vars=backups=true",
                    )  # fmt: skip
                except RunError as problem:
                    print(problem, file=sys.stderr)
    print(table(before, after))
    return 0


if __name__ == "__main__":
    sys.exit(main())
