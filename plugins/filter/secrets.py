"""The list of secrets as a table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any


def age(seconds: int) -> str:
    """Return an age for a person."""
    for size, unit in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= size:
            count = seconds // size
            return f"{count} {unit}{'s' if count > 1 else ''}"
    return "now"


def secrets_table(secrets: Iterable[Mapping[str, Any]]) -> str:
    """Return the table."""
    rows = [("SECRET", "AGE", "OWNER", "MODE", "READ BY")]
    rows += [
        (
            one["name"], age(one["seconds"]), str(one["owner"]), one["mode"],
            ", ".join(one["users"]),
        )
        for one in secrets
    ]  # fmt: skip
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def secrets_open(secrets: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the paths of those that others than their owner may read."""
    return [one["path"] for one in secrets if int(one["mode"], 8) & 0o077]


class FilterModule:
    """Filters of the role."""

    def filters(self) -> dict[str, Any]:
        """Return them by name."""
        return {"secrets_open": secrets_open, "secrets_table": secrets_table}
