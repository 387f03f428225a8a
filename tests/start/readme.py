"""What README.md shows: blocks of commands with their answers, and output that a run is held to.

A block is a fence below a line `<!-- start: NAME -->`.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

BLOCK = re.compile(
    r"<!-- start: (?P<name>[\w-]+) -->\n```(?P<language>\w*)\n(?P<text>.*?)```\n", re.S
)

# Where a host has other packages, images or data, the steps of these roles do more or less.
VARIES = ("docker", "base_images", "security_upgrades")
STEP = re.compile(r"^\[\d+\] (?P<name>.*?)(?:  .*)?$")
# A slow task of a step, and what came of the step.
TASK = re.compile(r"^ {6}\S.* (?:ok|changed) +\d[\d. mins]*s$")
RESULT = re.compile(r"^ {40,}\S")
ANSI = re.compile(r"\x1b\[[0-9;]*m")


class ReadmeError(Exception):
    """The README and what happens are two different things: one sentence."""


@dataclass
class Example:
    """A command and what it answers."""

    command: str
    answer: str


def blocks(text: str) -> dict[str, str]:
    """Return the marked blocks of a text by name; raise ReadmeError when a name stands twice."""
    found: dict[str, str] = {}
    for match in BLOCK.finditer(text):
        if match["name"] in found:
            raise ReadmeError(f"two blocks of README.md are named {match['name']}")
        found[match["name"]] = match["text"]
    return found


def replace(readme: Path, name: str, text: str) -> None:
    """Write another text into a marked block; raise ReadmeError when there is no such block."""
    before = readme.read_text()

    def put(match: re.Match[str]) -> str:
        whole = match[0]
        if match["name"] != name:
            return whole
        return f"<!-- start: {name} -->\n```{match['language']}\n{text.rstrip()}\n```\n"

    if name not in blocks(before):
        raise ReadmeError(f"README.md has no block `<!-- start: {name} -->`")
    readme.write_text(BLOCK.sub(put, before))


def commands(block: str) -> list[str]:
    """Return the commands of a block of plain lines, without the words that explain them."""
    return [shlex.join(words) for line in block.splitlines() if (words := split(line))]


def split(line: str) -> list[str]:
    """Return the words of a command line; a comment ends it."""
    return shlex.split(line, comments=True)


def examples(block: str) -> list[Example]:
    """Return the commands of a block (lines that begin with `$ `), each with the lines below it."""
    found: list[Example] = []
    for line in block.splitlines():
        if line.startswith("$ "):
            found.append(Example(line[2:], ""))
        elif found:
            found[-1].answer += f"{line}\n"
        else:
            raise ReadmeError(f"a block of examples begins with an answer: {line}")
    return found


def progress(output: str) -> str:
    """Return a run's output as the README shows it: steps without their tasks, and the summary.

    The details of the steps are left out.
    """
    kept: list[str] = []
    inside = False
    for raw in output.splitlines():
        line = ANSI.sub("", raw).rstrip()
        if STEP.match(line):
            inside = True
            kept.append(line)
        elif line.startswith(("Done", "Failed", "FAILED")):
            inside = False
            kept += ["", line]
        elif inside and RESULT.match(line):
            # What came of the step, which stands below its tasks.
            kept[-1] = f"{kept[-1]:<64}{line.strip()}"
        elif kept and not inside:
            kept.append(line)
    return "\n".join(kept).rstrip() + "\n"


def message(output: str) -> str:
    """Return what a verb had to say, without the progress and the summary around it."""
    kept: list[str] = []
    for raw in output.splitlines():
        line = ANSI.sub("", raw).rstrip()
        if line.startswith("Done in"):
            break
        if not (STEP.match(line) or TASK.match(line) or RESULT.match(line)):
            kept.append(line)
    return "\n".join(kept).strip() + "\n"


def shape(text: str) -> list[str]:
    """Return what two outputs of the same run have in common: no time, count, name or size."""
    lines = []
    for line in text.splitlines():
        step = STEP.match(line)
        if step:
            # Whether something changed, where that does not depend on what the host had before.
            state = "" if step["name"] in VARIES or "changed" not in line else " changed"
            lines.append(f"step {step['name']}{state}")
            continue
        plain = re.sub(r"\b[0-9a-f]{12}\b", "ID", line)
        plain = re.sub(r"(Up|Exited \(\d+\)) [\w ]*?(?=  |$)", "Up", plain)
        plain = re.sub(r"\d+ min(?: \d+ s)?|\d+(?:[.]\d+)? s", "TIME", plain)
        plain = re.sub(r"(?<=\s)\d+[.]\d+(?=,)", "TIME", plain)
        plain = re.sub(r"\d+(?:[.]\d+)? (?:[KMG]i)?B\b", "SIZE", plain)
        plain = re.sub(r"=\d+", "=N", plain)
        if plain.lstrip().startswith("Changed  "):
            plain = "  Changed"
        lines.append(re.sub(r" +|-{3,}", " ", plain).strip())
    return [line for line in lines if line]


def compare(name: str, shown: str, seen: str) -> None:
    """Raise ReadmeError when an output has another shape than the one that the README shows."""
    wanted, found = shape(shown), shape(seen)
    if wanted == found:
        return
    more = [f"- {line}" for line in wanted if line not in found]
    more += [f"+ {line}" for line in found if line not in wanted]
    listed = "\n  ".join(more or ["the order of the lines"])
    raise ReadmeError(
        f"README.md's block {name} is not what happens; `python -m tests.start --write` mends it:\n"
        f"  {listed}"
    )
