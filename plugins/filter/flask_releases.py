"""Filters that turn the ledger and the stages of a deploy into text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

# What comes before the image is there; the rest is the cut-over.
BEFORE_IMAGE = ("prepare", "build", "choose")
# Stage that is over -> the one that has begun.
NEXT = {
    "start": "prepare",
    "prepare": "build",
    "build": "migrate",
    "migrate": "static",
    "static": "start container",
    "start container": "health",
    "health": "switch",
    # Where the front has to be told first, a release serves only after that.
    "switch": "front",
    # Of a rollback.
    "rollback": "choose",
    "choose": "start container",
}


def stage_after(clock: Sequence[Sequence[Any]], migrates: bool) -> str:
    """Return the stage in which a release failed, by the stages that it had behind it."""
    over = str(clock[-1][0])
    if over == "build" and not migrates:
        over = "migrate"
    return NEXT.get(over, over)


def failure_reason(text: str) -> str:
    """Return the line that says why a program failed: its exception, else the last one."""
    lines = [line.rstrip() for line in str(text).splitlines() if line.strip()]
    begins = [number for number, line in enumerate(lines) if line.startswith("Traceback (most ")]
    after = lines[begins[-1] + 1 :] if begins else []
    # Its frames are indented; what follows the exception are more lines of its message.
    exception = next((line for line in after if not line.startswith(" ")), "")
    return exception or (lines[-1].strip() if lines else "no output")


def releases_table(entries: Sequence[Mapping[str, Any]], serving: str) -> str:
    """Return the ledger as text for a person, the newest attempt last."""
    if not entries:
        return "No release was deployed yet."
    rows = [("", "RELEASE", "VERSION", "WHAT", "OUTCOME", "ENDED", "TOOK", "SCHEMA", "BY")]
    newest = max(
        (number for number, entry in enumerate(entries)
         if entry["release"] == serving and entry["outcome"] == "healthy"), default=-1,
    )  # fmt: skip
    for number, entry in enumerate(entries):
        # Entries of earlier versions have the last stage that was over.
        stage = entry.get("stage")
        where = f" after {stage}" if stage else ""
        where = f" in {entry['failed_in']}" if entry.get("failed_in") else where
        rows.append(
            (
                "*" if number == newest else "",
                entry["release"],
                f"{entry['package']} {entry['version']}",
                entry["kind"],
                entry["outcome"] + where,
                entry.get("ended", "").replace("T", " ").replace("+00:00", "Z") or "-",
                f"{sum(entry.get('stages', {}).values()):.1f} s" if entry.get("stages") else "-",
                entry.get("schema") or "-",
                entry.get("by") or "-",
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def stages_text(stages: Mapping[str, float]) -> str:
    """Return the seconds of a deploy's stages, and of the cut-over as a whole."""
    cut_over = sum(seconds for name, seconds in stages.items() if name not in BEFORE_IMAGE)
    parts = ", ".join(f"{name} {seconds:.1f}" for name, seconds in stages.items())
    return f"{parts} s; from image to old release stopped {cut_over:.1f} s"


class FilterModule:
    """The filters of the flask role."""

    def filters(self) -> dict[str, Any]:
        """Return the filters by name."""
        return {
            "failure_reason": failure_reason,
            "releases_table": releases_table,
            "stage_after": stage_after,
            "stages_text": stages_text,
        }
