"""Locks on a host that only root can hold, and that say who does."""

from __future__ import annotations

import fcntl
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PAUSE = 0.2


class LockedError(Exception):
    """Somebody else holds a lock; the message says who, as the end of a sentence."""


@contextmanager
def held(path: Path, wait: float, what: str) -> Iterator[None]:
    """Hold a lock for which up to `wait` seconds are waited; raise LockedError when they are over.

    A file that others may open, which they could hold for ever, is mended; who holds it already and
    is not root loses it.
    """
    deadline = time.monotonic() + wait
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            if stat.S_IMODE(os.fstat(handle).st_mode) != 0o600:
                os.fchmod(handle, 0o600)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                who = holders(handle)
                if who and not any(_may(process) for process in who):
                    # They hold on to a file that has no name any more.
                    with suppress(FileNotFoundError):
                        path.unlink()
                    continue
                if time.monotonic() > deadline:
                    raise LockedError(_said(handle, who)) from None
                time.sleep(PAUSE)
                continue
            if not _same(handle, path):
                continue
            os.ftruncate(handle, 0)
            os.write(handle, f"{what} since {_now()}".encode())
            yield
            with suppress(OSError):
                os.ftruncate(handle, 0)
            return
        finally:
            os.close(handle)


def directory(path: Path) -> None:
    """Make a directory of locks, or mend it: nobody but root gets in."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    if stat.S_IMODE(path.stat().st_mode) != 0o700:
        path.chmod(0o700)


def holders(handle: int) -> list[int]:
    """Return the processes that hold a lock on an open file, as far as they are seen from here."""
    there = os.fstat(handle)
    file = f"{os.major(there.st_dev):02x}:{os.minor(there.st_dev):02x}:{there.st_ino}"
    found = []
    for line in Path("/proc/locks").read_text().splitlines():
        words = line.split()
        # Those that wait for it have an arrow.
        if "->" not in words and words[1] == "FLOCK" and words[5] == file and int(words[4]) > 0:
            found.append(int(words[4]))
    return found


def _may(process: int) -> bool:
    """Return whether a process is root's, or of who runs this; one that has ended may have been."""
    try:
        return Path(f"/proc/{process}").stat().st_uid in (0, os.geteuid())
    except FileNotFoundError:
        return True


def _same(handle: int, path: Path) -> bool:
    """Return whether a file still has its name."""
    try:
        there = path.stat()
    except FileNotFoundError:
        return False
    return os.path.samestat(there, os.fstat(handle))


def _said(handle: int, who: list[int]) -> str:
    os.lseek(handle, 0, os.SEEK_SET)
    said = os.read(handle, 200).decode(errors="replace").strip()
    return (said or "something that did not say what it is") + (
        f" (process {', '.join(map(str, who))})" if who else ""
    )


def _now() -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S+00", time.gmtime())
