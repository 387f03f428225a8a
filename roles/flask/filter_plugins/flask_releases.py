"""Filters that turn the ledger and the stages of a deploy into text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

# What comes before the image is there; the rest is the cut-over.
BEFORE_IMAGE = ("prepare", "build", "choose")


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
        stage = entry.get("stage")
        rows.append(
            (
                "*" if number == newest else "",
                entry["release"],
                f"{entry['package']} {entry['version']}",
                entry["kind"],
                entry["outcome"] + (f" after {stage}" if stage else ""),
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
        return {"releases_table": releases_table, "stages_text": stages_text}
