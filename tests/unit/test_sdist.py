"""The lock file of an application: found by its name, or by its hashes."""

from __future__ import annotations

import importlib
import io
import tarfile
from pathlib import Path

import pytest

sdist = importlib.import_module("roles.flask.library.flask_sdist")

HASHED = f"flask==3.1.3 --hash=sha256:{'a' * 64}\n"


def packed(directory: Path, **files: str) -> Path:
    """Return an sdist of an application named shop that holds files; _ stands for a dot."""
    path = directory / "shop-1.0.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for name, text in {"PKG-INFO": "Name: shop\nVersion: 1.0\n", **files}.items():
            member = tarfile.TarInfo(f"shop-1.0/{name.replace('_', '.')}")
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode()))
    return path


@pytest.mark.parametrize(
    ("files", "lock"),
    [
        ({}, ""),
        ({"requirements_lock": "flask==3.1.3\n"}, "flask==3.1.3\n"),
        ({"requirements_txt": HASHED}, HASHED),
        # A list of wishes pins nothing.
        ({"requirements_txt": "flask\n"}, ""),
        ({"requirements_txt": HASHED, "requirements_lock": "named\n"}, "named\n"),
    ],
)
def test_lock_file(tmp_path: Path, files: dict[str, str], lock: str) -> None:
    """The file that was named goes before one that has hashes."""
    assert sdist.describe(packed(tmp_path, **files), "requirements.lock")["lock"] == lock


def test_lock_file_beside_the_package(tmp_path: Path) -> None:
    """What the packaging leaves out is found in the source tree."""
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "requirements.txt").write_text(HASHED)
    kept = tmp_path / "cache" / sdist.hash_of(tree)
    kept.mkdir(parents=True)
    packed(kept)
    assert sdist.sdist_of(tree, tmp_path / "cache", "requirements.lock")["lock"] == HASHED
