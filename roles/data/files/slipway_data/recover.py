"""Clearing up after an operation that was killed: taken back, or finished where it has served."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from slipway_data import adopt, dumps, restore, roles, rotate, upgrade, volume
from slipway_data.host import Host, docker, exchange


def recover(host: Host) -> list[str]:
    """Clear up after a killed operation, if there was one of the journal; return what was done."""
    entry = host.journal.read()
    if not entry:
        return rotate.recover(host) if "data" in host.holds else []
    host.journal.entry = entry
    host.journal.kinds = tuple(entry.get("kinds", host.journal.kinds))
    host.remove_leftovers(entry["id"])
    undo = {
        "restore": _restore, "back": _back, "drill": _drill, "load": dumps.undo,
        "upgrade": upgrade.recover, "upgrade_back": upgrade.recover,
        "adopt": adopt.undo, "roles": roles.recover,
    }  # fmt: skip
    outcome = "cleared up"
    if entry["verb"] in undo and docker("volume", "inspect", host.config.volume, check=False):
        outcome = undo[entry["verb"]](host, entry)
        # It was stopped on the way, if it is not a container that waits for its first data.
        if (
            "data" in host.holds
            and host.container_state() == "exited"
            and volume.is_cluster(host.data)
        ):
            host.start()
    host.journal.end()
    said = f"The {entry['verb']} of {entry['began']} was killed ({entry['stage']}): {outcome}."
    return [said, *(rotate.recover(host) if "data" in host.holds else [])]


def _drill(host: Host, entry: dict[str, Any]) -> str:
    restore.discard(host, f"{host.config.version}/{entry['id']}")
    return "cleared up"


def _restore(host: Host, entry: dict[str, Any]) -> str:
    new = host.mountpoint / host.config.version / entry["id"]
    if entry["stage"] in ("take over", "start"):
        # A stop may still be on its way.
        host.stop()
    if not _serves(host, entry):
        # In the moment between the two names it is what was there before, and stays.
        if entry["stage"] not in ("take over", "start") or _has_marker(new, entry):
            restore.discard(host, f"{host.config.version}/{entry['id']}")
        return "cleared up, what was there serves"
    kept = Path(entry["kept"])
    old = next((path for path in (kept, new) if volume.is_directory(path)), None)
    if old is None or not volume.exists(host.data / "recovery.signal"):
        # It has served, perhaps for long, or there is nothing else.
        if old == new:
            volume.rename(new, kept)
        restore.come_up(host)
        restore.settle(host, entry["at"], entry.get("left", 0), entry.get("timeline", ""))
        return "finished, the restored database serves"
    exchange(old, host.data)
    if old != new:
        volume.rename(old, new)
    restore.discard(host, f"{host.config.version}/{entry['id']}")
    return "cleared up, what was there serves"


def _back(host: Host, entry: dict[str, Any]) -> str:
    before = Path(entry["before"])
    if entry["stage"] in ("take over", "start"):
        host.stop()
    if not _serves(host, entry):
        volume.unlink(before / restore.MARKER)
        return "cleared up, what was there serves"
    kept = Path(entry["kept"])
    if not volume.is_directory(kept):
        volume.rename(before, kept)
    restore.come_up(host)
    restore.returned(host, kept)
    return "finished"


def _serves(host: Host, entry: dict[str, Any]) -> bool:
    """Return whether the directory of the operation has taken over, and its end was not reached."""
    return _has_marker(host.data, entry)


def _has_marker(path: Path, entry: dict[str, Any]) -> bool:
    marker = path / restore.MARKER
    return volume.exists(marker) and volume.read(marker) == entry["id"]
