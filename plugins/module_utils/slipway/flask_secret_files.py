"""The secrets of a release that is kept: how they get the database's password of today."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

from ansible.module_utils.slipway import volume

LEAST = 12


def renewed(text: str, old: str, new: str) -> str:
    """Return a secret with another password in the place of the old one."""
    if text == old or len(old) < LEAST:
        return new if text == old else text
    url = "://" in text
    # The longest first: where quoting changes nothing they are all the same.
    for begin in sorted({old, quote(old), quote(old, safe="")}, key=len, reverse=True):
        text = text.replace(begin, quote(new, safe="") if url else new)
    return text


def change(directory: Path, new: str, uid: int) -> list[str]:
    """Change the files of a release's secrets; return the names of those that were changed.

    The password is replaced in its own file, and in the secrets that are the password or hold it,
    such as a URL of the database; the file `renewed` notes it. A password of less than 12
    characters is replaced where it is all of a secret only, since another may hold it by chance.
    """
    own = directory / "postgres_password"
    old = volume.read(own) if volume.exists(own) else new
    changed = []
    if old != new:
        # It is no longer made of what its name was derived from.
        volume.replace(directory / "renewed", "", 0o400)
    # The file with the old one comes last, for whoever has to begin again.
    kept = [
        directory / name / one
        for name in ("env", "files")
        for one in volume.names(directory / name)
        if not one.startswith(".")
    ]
    for path in [*kept, own]:
        try:
            text = volume.read_bytes(path).decode() if volume.exists(path) else ""
        except UnicodeDecodeError:  # a binary one holds no password
            continue
        wanted = new if path == own else renewed(text, old, new)
        if text == wanted:
            continue
        changed.append(path.name)
        volume.replace(path, wanted, 0o400, (uid, 0))
    return changed
