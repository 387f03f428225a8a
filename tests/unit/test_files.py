"""Writing a directory of small files: owner, mode, and nothing written twice."""

from __future__ import annotations

import base64
import importlib
import os
from pathlib import Path

import pytest

files = importlib.import_module("plugins.modules.write_files")

UID = os.getuid()


def mode(path: Path) -> int:
    """Return a path's permissions."""
    return path.stat().st_mode & 0o7777


@pytest.fixture(autouse=True)
def own_group(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave owners alone where the tests are not run by root."""
    if UID:
        monkeypatch.setattr(os, "fchown", lambda *_: None)


def test_a_file_is_closed_and_replaced_aside(tmp_path: Path) -> None:
    """A secret is nobody else's from its first byte."""
    path = tmp_path / "secret"
    assert files.write(path, b"first", UID, 0o400, check=False)
    first = path.stat().st_ino
    assert mode(path) == 0o400
    assert files.write(path, b"second", UID, 0o400, check=False)
    assert path.read_text() == "second"
    assert path.stat().st_ino != first
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(UID != 0, reason="owners are root's to give")
def test_what_is_as_it_should_be_is_left_alone(tmp_path: Path) -> None:
    """A second run changes nothing, and a wrong mode is mended."""
    path = tmp_path / "file"
    assert files.write(path, b"text", 0, 0o644, check=False)
    before = path.stat()
    assert not files.write(path, b"text", 0, 0o644, check=False)
    assert path.stat().st_mtime_ns == before.st_mtime_ns
    path.chmod(0o600)
    assert files.write(path, b"text", 0, 0o644, check=False)
    assert mode(path) == 0o644


@pytest.mark.skipif(UID != 0, reason="owners are root's to give")
def test_a_directory_belongs_to_the_user_and_to_nobody_else(tmp_path: Path) -> None:
    """What is above it stays root's."""
    path = tmp_path / "a" / "b"
    assert files.make(path, 10001, 0o500, check=False)
    assert (path.stat().st_uid, mode(path)) == (10001, 0o500)
    assert path.parent.stat().st_uid == 0
    assert not files.make(path, 10001, 0o500, check=False)


@pytest.mark.skipif(UID != 0, reason="owners are root's to give")
@pytest.mark.parametrize("kind", ["link", "name"])
def test_what_lies_elsewhere_is_left_alone(tmp_path: Path, kind: str) -> None:
    """In a directory of another user's a link, or a second name, gets no new owner or mode."""
    target, path = tmp_path / "target", tmp_path / "theirs/secret"
    target.write_text("text")
    before = target.stat()
    assert files.make(path.parent, 10001, 0o700, check=False)
    if kind == "link":
        path.symlink_to(target)
    else:
        path.hardlink_to(target)
    with pytest.raises(files.volume.ProblemError, match="look who put it there"):
        files.write(path, "text", 10001, 0o400, check=False)
    assert (target.stat().st_uid, target.stat().st_mode) == (0, before.st_mode)
    files.volume.remove(path)
    path.parent.rmdir()
    (tmp_path / "theirs").symlink_to(tmp_path)
    os.chown(tmp_path, 10001, 0)
    with pytest.raises(files.volume.ProblemError, match="look who put it there"):
        files.make(path.parent, 10001, 0o500, check=False)


def test_check_mode_writes_nothing(tmp_path: Path) -> None:
    """Check mode says that it would."""
    assert files.make(tmp_path / "a", UID, 0o700, check=True)
    assert files.write(tmp_path / "a" / "b", b"text", UID, 0o400, check=True)
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_text_comes_in_base64(tmp_path: Path) -> None:
    """A key store has every byte there is, and a diff shows none of them."""
    data = bytes(range(256))
    assert files.data_of({"base64": base64.b64encode(data).decode()}) == data
    assert files.data_of("täxt\n") == "täxt\n".encode()
    assert files.data_of(8080) == b"8080"
    assert files.shown(data) == "(binary)\n"
    assert files.write(tmp_path / "store", data, UID, 0o400, check=False)
    assert (tmp_path / "store").read_bytes() == data
