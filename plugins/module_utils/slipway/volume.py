"""Files in directories that a container's user owns, touched by root without being led elsewhere.

Each path is opened component by component. Where somebody else than root may write, a symbolic link
is refused, and all that is done to a file is done to what was opened, not to its name once more.
"""

from __future__ import annotations

import ctypes
import os
import secrets
import shutil
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

# linux/fs.h: swap two names in one step.
RENAME_EXCHANGE = 2
DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
# A FIFO must not make anybody wait, and a terminal not become one's own.
FILE = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
# template0, template1 and postgres, or another in its place.
DATABASES = 3
# As many as the kernel follows.
LINKS = 40


class ProblemError(Exception):
    """Something that ends the operation: one sentence, for a person."""


@dataclass
class Opened:
    """A name in a directory that is open; trusted while nobody but root can have put it there."""

    handle: int
    name: str
    trusted: bool
    path: Path

    @property
    def directory(self) -> os.stat_result:
        """Return the status of the directory."""
        return os.fstat(self.handle)

    def status(self) -> os.stat_result | None:
        """Return the status of what has the name, without following it; none where nothing has."""
        try:
            return os.lstat(self.name, dir_fd=self.handle)
        except FileNotFoundError:
            return None


def ours(there: os.stat_result) -> bool:
    """Return whether only root, or who runs this, can put something into a directory."""
    if there.st_uid not in (0, os.geteuid()):
        return False
    others = there.st_mode & (stat.S_IWOTH | (stat.S_IWGRP if there.st_gid else 0))
    return not others or bool(there.st_mode & stat.S_ISVTX)


def refusal(path: Path, what: str) -> ProblemError:
    """Return the sentence for something that leads elsewhere."""
    return ProblemError(
        f"{path} is {what}, in a directory that others than root write, so nothing was done with it: "
        "look who put it there, and remove it"
    )


@contextmanager
def at(path: Path, follow: bool = False) -> Iterator[Opened]:
    """Open the directory of a path; raise ProblemError for a link in a directory of somebody else's.

    follow also follows the last component, where it may be trusted.
    """
    todo = [part for part in reversed(os.path.abspath(path).split("/")) if part]
    handle = os.open("/", DIRECTORY)
    try:
        trusted, links = True, 0
        while True:
            here = os.fstat(handle)
            trusted = trusted and ours(here)
            name = todo.pop() if todo else "."
            if not todo and not follow:
                break
            there = _lstat(handle, name, path)
            if there is None or not stat.S_ISLNK(there.st_mode):
                if not todo:
                    break
                inner = _enter(handle, name, path)
                os.close(handle)
                handle = inner
                continue
            # In /tmp, say, only one's own are.
            if not trusted or there.st_uid not in (0, os.geteuid()):
                raise refusal(path, "reached through a symbolic link")
            links += 1
            if links > LINKS:
                raise ProblemError(
                    f"{path} is reached through too many symbolic links: see to them"
                )
            target = os.readlink(name, dir_fd=handle)
            if target.startswith("/"):
                os.close(handle)
                handle = os.open("/", DIRECTORY)
            todo += [part for part in reversed(target.split("/")) if part]
        yield Opened(handle, name, trusted, path)
    finally:
        os.close(handle)


def _lstat(handle: int, name: str, path: Path) -> os.stat_result | None:
    try:
        return os.lstat(name, dir_fd=handle)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise type(error)(error.errno, error.strerror, str(path)) from None


def _enter(handle: int, name: str, path: Path) -> int:
    try:
        return os.open(name, DIRECTORY | os.O_NOFOLLOW, dir_fd=handle)
    except OSError as error:
        raise type(error)(error.errno, error.strerror, str(path)) from None


@contextmanager
def pinned(path: Path) -> Iterator[Path]:
    """Open a directory and give the path under which other programs get to just that one."""
    with directory(path) as handle:
        yield Path(f"/proc/{os.getpid()}/fd/{handle}")


@contextmanager
def filled(path: Path) -> Iterator[Path]:
    """Have an empty directory be root's while it is filled, then give all of it to its owner.

    Gives the path for the programs that fill it. Nobody else gets to put something there for them.
    """
    with directory(path) as handle:
        owner = os.fstat(handle)
        os.fchmod(handle, 0o700)
        _give(handle, os.geteuid(), os.getegid())
        if os.listdir(handle):
            raise ProblemError(f"{path} is not empty: look who put something there, and remove it")
        yield Path(f"/proc/{os.getpid()}/fd/{handle}")
        for root, inside, files, inner in os.fwalk(".", dir_fd=handle):
            for name in [*inside, *files]:
                there = os.lstat(name, dir_fd=inner)
                if (there.st_uid, there.st_gid) == (owner.st_uid, owner.st_gid):
                    continue
                if not stat.S_ISDIR(there.st_mode) and there.st_nlink > 1:
                    raise refusal(path / root / name, "a file with several names")
                os.chown(name, owner.st_uid, owner.st_gid, dir_fd=inner, follow_symlinks=False)
        _give(handle, owner.st_uid, owner.st_gid)


@contextmanager
def create(path: Path, mode: int = 0o600) -> Iterator[IO[bytes]]:
    """Create a file that must not be there; at the end it is on the disk for sure."""
    with at(path) as found:
        handle = os.open(
            found.name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | FILE, mode, dir_fd=found.handle
        )
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(handle)


@contextmanager
def directory(path: Path) -> Iterator[int]:
    """Open a directory itself; raise ProblemError for a link in a directory of somebody else's."""
    with at(path, follow=True) as found:
        _no_link(found)
        handle = _enter(found.handle, found.name, path)
    try:
        yield handle
    finally:
        os.close(handle)


def _no_link(found: Opened) -> None:
    there = found.status()
    if there and stat.S_ISLNK(there.st_mode):
        raise refusal(found.path, "a symbolic link")


def status(path: Path) -> os.stat_result | None:
    """Return the status of a file or directory, none where there is none; a link is refused."""
    try:
        with at(path, follow=True) as found:
            _no_link(found)
            return found.status()
    except (FileNotFoundError, NotADirectoryError):
        return None


def is_file(path: Path) -> bool:
    """Return whether there is a regular file."""
    there = status(path)
    return bool(there and stat.S_ISREG(there.st_mode))


def is_directory(path: Path) -> bool:
    """Return whether there is a directory."""
    there = status(path)
    return bool(there and stat.S_ISDIR(there.st_mode))


def is_cluster(path: Path) -> bool:
    """Return whether a directory is a whole database cluster.

    A first start that was cut short leaves one without all of its three databases, or with the mark
    of Slipway's own image.
    """
    if not is_file(path / "PG_VERSION") or exists(path / "slipway-first-start-unfinished"):
        return False
    databases = [name for name in names(path / "base") if name.isdigit()]
    made = sum(is_file(path / "base" / name / "PG_VERSION") for name in databases)
    return is_file(path / "global/pg_control") and made >= DATABASES


def exists(path: Path) -> bool:
    """Return whether there is anything of a name, be it a link."""
    try:
        with at(path) as found:
            return found.status() is not None
    except (FileNotFoundError, NotADirectoryError):
        return False


def read_bytes(path: Path) -> bytes:
    """Return what a regular file holds; raise ProblemError for what leads elsewhere."""
    with at(path, follow=True) as found:
        _no_link(found)
        try:
            handle = os.open(found.name, os.O_RDONLY | FILE, dir_fd=found.handle)
        except OSError as error:
            raise type(error)(error.errno, error.strerror, str(path)) from None
        with os.fdopen(handle, "rb") as file:
            there = os.fstat(handle)
            if not stat.S_ISREG(there.st_mode):
                raise refusal(path, "no regular file")
            _no_other_name(found, there)
            return file.read()


def read(path: Path) -> str:
    """Return a regular file's text, whose bytes stay what they are if they are none."""
    return read_bytes(path).decode("utf-8", "surrogateescape")


@contextmanager
def opened(path: Path) -> Iterator[int]:
    """Open a file or directory, to change whose it is; raise ProblemError for what leads elsewhere."""
    with at(path, follow=True) as found:
        _no_link(found)
        handle = os.open(found.name, os.O_RDONLY | FILE, dir_fd=found.handle)
        there = os.fstat(handle)
        if stat.S_ISREG(there.st_mode) and not found.trusted and there.st_nlink > 1:
            os.close(handle)
            raise refusal(path, "a file with several names")
    try:
        yield handle
    finally:
        os.close(handle)


def _no_other_name(found: Opened, there: os.stat_result) -> None:
    """Raise ProblemError for a second name of a file that is not the directory's owner's own."""
    if not found.trusted and there.st_nlink > 1 and there.st_uid != found.directory.st_uid:
        raise refusal(found.path, "another name of a file of somebody else's")


def replace(
    path: Path, content: str | bytes, mode: int = 0o600, owner: tuple[int, int] | None = None
) -> None:
    """Replace a file's content in one step, on the disk for sure.

    owner has it, a uid and a gid; without one the owner of its directory.
    """
    data = content.encode("utf-8", "surrogateescape") if isinstance(content, str) else content
    make(path.parent)
    with at(path) as found:
        whose = owner or (found.directory.st_uid, found.directory.st_gid)
        name = f".{path.name}.{secrets.token_hex(4)}"
        handle = os.open(
            name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | FILE, 0o600, dir_fd=found.handle
        )
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                _give(handle, *whose)
                os.fchmod(handle, mode)
                os.fsync(handle)
            os.rename(name, found.name, src_dir_fd=found.handle, dst_dir_fd=found.handle)
        except BaseException:
            with suppress(FileNotFoundError):
                os.unlink(name, dir_fd=found.handle)
            raise
        os.fsync(found.handle)


def _give(handle: int, uid: int, gid: int) -> None:
    there = os.fstat(handle)
    if (there.st_uid, there.st_gid) != (uid, gid):
        os.fchown(handle, uid, gid)


def make(path: Path, mode: int = 0o755) -> None:
    """Make a directory, and those above it with the usual mode, where they are missing."""
    if is_directory(path):
        return
    if path.parent != path:
        make(path.parent)
    with at(path) as found, suppress(FileExistsError):
        os.mkdir(found.name, mode, dir_fd=found.handle)
    # Else it is no directory.
    with directory(path):
        pass


def names(path: Path) -> list[str]:
    """Return what a directory holds, sorted; nothing where there is none."""
    try:
        with directory(path) as handle:
            return sorted(os.listdir(handle))
    except (FileNotFoundError, NotADirectoryError):
        return []


def directories(path: Path) -> list[str]:
    """Return the directories in a directory, sorted, without links to others."""
    with directory(path) as handle:
        return sorted(
            name
            for name in os.listdir(handle)
            if stat.S_ISDIR(os.lstat(name, dir_fd=handle).st_mode)
        )


def is_link(path: Path) -> bool:
    """Return whether there is a symbolic link of a name."""
    with at(path) as found:
        there = found.status()
        return bool(there and stat.S_ISLNK(there.st_mode))


def target(path: Path) -> str:
    """Return what a symbolic link says; nothing where there is none."""
    try:
        with at(path) as found:
            return os.readlink(found.name, dir_fd=found.handle)
    except OSError:
        return ""


def link(path: Path, wanted: str, check: bool = False) -> bool:
    """Point a symbolic link elsewhere in one step; return whether it pointed elsewhere."""
    if target(path) == wanted:
        return False
    if check:
        return True
    with at(path) as found:
        name = f".{path.name}.{secrets.token_hex(4)}"
        os.symlink(wanted, name, dir_fd=found.handle)
        os.rename(name, found.name, src_dir_fd=found.handle, dst_dir_fd=found.handle)
    return True


def unlink(path: Path) -> None:
    """Remove a file or link, if it is there."""
    with suppress(FileNotFoundError, NotADirectoryError), at(path) as found:
        os.unlink(found.name, dir_fd=found.handle)


def remove(path: Path) -> None:
    """Remove whatever has a name, with all that is in it; what a link points to stays."""
    with suppress(NotADirectoryError, FileNotFoundError), at(path) as found:
        there = found.status()
        if there is None:
            return
        if not stat.S_ISDIR(there.st_mode):
            os.unlink(found.name, dir_fd=found.handle)
        else:
            # It holds on to what it has opened; the handle keeps what is above in place.
            shutil.rmtree(f"/proc/self/fd/{found.handle}/{found.name}")


def rename(one: Path, other: Path) -> None:
    """Give a file or directory another name, which both are known by on the disk for sure."""
    with at(one) as source, at(other) as target:
        os.rename(source.name, target.name, src_dir_fd=source.handle, dst_dir_fd=target.handle)
        os.fsync(target.handle)
        os.fsync(source.handle)


def exchange(one: Path, other: Path) -> None:
    """Swap two names in one step, so that a kill leaves both, one way or the other."""
    libc = ctypes.CDLL(None, use_errno=True)
    with at(one) as source, at(other) as target:
        code = libc.renameat2(
            source.handle, os.fsencode(source.name), target.handle, os.fsencode(target.name),
            ctypes.c_uint(RENAME_EXCHANGE),
        )  # fmt: skip
        if code:
            reason = os.strerror(ctypes.get_errno())
            raise ProblemError(
                f"the file system cannot swap {one} and {other} in one step ({reason})"
            )
        os.fsync(source.handle)
        os.fsync(target.handle)


def require_exchange(path: Path) -> None:
    """Raise ProblemError where the file system of a directory cannot swap names in one step."""
    names = [path / f".slipway-swap-{secrets.token_hex(4)}" for _ in range(2)]
    try:
        for name in names:
            with at(name) as found:
                os.mkdir(found.name, 0o700, dir_fd=found.handle)
        exchange(*names)
    finally:
        for name in names:
            with suppress(FileNotFoundError), at(name) as found:
                os.rmdir(found.name, dir_fd=found.handle)


def used(path: Path) -> int:
    """Return how many bytes a directory takes."""
    count = 0
    with directory(path) as handle:
        for _, directories, files, inner in os.fwalk(".", dir_fd=handle):
            for name in [*directories, *files]:
                with suppress(FileNotFoundError):
                    count += os.lstat(name, dir_fd=inner).st_blocks * 512
    return count


def free(path: Path) -> int:
    """Return how many bytes the file system of a directory has left."""
    with directory(path) as handle:
        there = os.fstatvfs(handle)
        return there.f_bavail * there.f_frsize


def connect(connection: socket.socket, path: Path) -> None:
    """Connect to a unix socket; raise ProblemError for a link, ConnectionRefusedError for a file."""
    with at(path) as found:
        _no_link(found)
        handle = os.open(found.name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=found.handle)
    try:
        if not stat.S_ISSOCK(os.fstat(handle).st_mode):
            raise ConnectionRefusedError(f"{path} is no socket")
        connection.connect(f"/proc/self/fd/{handle}")
    finally:
        os.close(handle)
