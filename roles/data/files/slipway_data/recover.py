"""Clearing up after an operation that was killed: what served before serves again."""

from __future__ import annotations

from pathlib import Path

from slipway_data import dumps, restore
from slipway_data.host import Host, docker, exchange


def recover(host: Host) -> list[str]:
    """Clear up after a killed operation, if there was one; return what was done."""
    entry = host.journal.read()
    if not entry:
        return []
    host.journal.entry = entry
    host.remove_leftovers(entry["id"])
    if entry["stage"] in ("take over", "start"):
        # A stop may still be on its way.
        host.stop()
    undo = {"restore": _restore, "back": _back, "drill": _drill, "load": dumps.undo}
    if entry["verb"] in undo:
        undo[entry["verb"]](host, entry)
    if host.container_state() in ("exited", "created"):
        host.start()
    if entry["stage"] == "start":
        restore.remember_timeline(host)
    host.journal.end()
    return [
        f"Cleared up after the {entry['verb']} of {entry['began']}, which was killed ({entry['stage']})."
    ]


def _drill(host: Host, entry: dict[str, str]) -> None:
    restore.discard(host, f"{host.config.version}/{entry['id']}")


def _restore(host: Host, entry: dict[str, str]) -> None:
    if docker("volume", "inspect", host.config.volume, check=False) == "":
        return
    new = host.mountpoint / host.config.version / entry["id"]
    if _serves(host, entry):
        kept = Path(entry["kept"])
        # Renamed already, or not yet.
        old = next((path for path in (kept, new) if path.exists()), None)
        if old is None:
            # There was no database before, so the restored one stays.
            (host.data / restore.MARKER).unlink()
            return
        docker("stop", host.config.container, check=False)
        exchange(old, host.data)
        if old != new:
            old.rename(new)
    restore.discard(host, f"{host.config.version}/{entry['id']}")


def _back(host: Host, entry: dict[str, str]) -> None:
    before = Path(entry["before"])
    if not _serves(host, entry):
        (before / restore.MARKER).unlink(missing_ok=True)
        return
    kept = Path(entry["kept"])
    old = next(path for path in (kept, before) if path.exists())
    docker("stop", host.config.container, check=False)
    exchange(old, host.data)
    (old / restore.MARKER).unlink(missing_ok=True)
    if old != before:
        old.rename(before)


def _serves(host: Host, entry: dict[str, str]) -> bool:
    """Return whether the directory of the operation has taken over, and its end was not reached."""
    marker = host.data / restore.MARKER
    return marker.exists() and marker.read_text() == entry["id"]
