#!/usr/bin/python
"""Build a reproducible sdist of a source tree on the control node, once per content."""

from __future__ import annotations

DOCUMENTATION = r"""
module: flask_sdist
short_description: Build a reproducible sdist of a source tree, once per content
description:
  - Takes a source tree with C(pyproject.toml) or C(setup.py), or an sdist that exists already.
  - A tree is built with its own build backend by the C(build) library, in isolation, from a copy
    without caches, and without what builds and installations leave at its root.
  - The archive is written again with sorted members, no owners and no times,
    so that the same tree gives the same bytes.
  - The result is kept in a cache under the hash of the tree.
    The cache is no state of any host, so nothing is ever reported as changed.
options:
  source:
    description: Path of the source tree or of an sdist (C(.tar.gz)).
    type: path
    required: true
  cache:
    description: Directory of the cache.
    type: path
    required: true
  lock_file:
    description:
      - Name of a pip requirements file with pinned dependencies, looked up in the source.
      - Without it a C(requirements.txt) counts in which every line has a hash.
    type: str
    default: requirements.lock
author: [Slipway]
"""

RETURN = r"""
path: {description: Path of the sdist., type: str, returned: always}
sha256: {description: SHA-256 of the sdist., type: str, returned: always}
name: {description: Name of the package., type: str, returned: always}
version: {description: Version of the package., type: str, returned: always}
lock: {description: Text of the lock file or an empty string., type: str, returned: always}
dependencies:
  description: What the package declares to need, as lines of a pip requirements file, sorted.
  type: list
  elements: str
  returned: always
dynamic:
  description: Whether only a build of the package tells what it needs.
  type: bool
  returned: always
"""

import email.message
import email.parser
import fnmatch
import gzip
import hashlib
import importlib.util
import io
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

# What tools keep for themselves, at any depth: never part of the content.
CACHES = (
    "__pycache__", "*.pyc", "*.egg-info", ".eggs", ".tox", ".nox", ".pytest_cache", ".mypy_cache",
    ".ruff_cache", ".DS_Store",
    # Of an editor that has the file open: a link to nowhere.
    ".#*",
)  # fmt: skip
# Directories that a build or an installation leaves at the root; further down they are somebody's.
# What ./slipway compose writes has secrets for development in it.
LEFT_BEHIND = ("build", "dist", "venv", ".venv", "node_modules", ".compose")


# What counts as a lock file beside the one that was named, where it has hashes.
OTHER_LOCK = "requirements.txt"


class SdistError(Exception):
    """One sentence for the user."""


def left_out(path: Path, at_root: bool) -> bool:
    """Say whether a path of a source tree is no part of its content."""
    if any(fnmatch.fnmatch(path.name, pattern) for pattern in CACHES):
        return True
    # An environment has any name and place; a package that is named like one has a module.
    return (path / "pyvenv.cfg").is_file() or (
        at_root
        and path.name in LEFT_BEHIND
        and not path.is_file()
        and not (path / "__init__.py").is_file()
    )


def contents(tree: Path, git: bool) -> Iterator[tuple[Path, Path | None]]:
    """Yield what counts as content: paths relative to the tree, and for a loop where it leads.

    Links are followed, so that what lies outside the tree goes along; one that leads back to a
    directory that holds it stays a link. Raise SdistError where a link cannot be followed.
    """
    root = tree.resolve()

    def walk(
        directory: Path, above: dict[Path, Path], git: bool
    ) -> Iterator[tuple[Path, Path | None]]:
        for path in sorted((tree / directory).iterdir()):
            relative = directory / path.name
            if left_out(path, directory == Path()) or (path.name == ".git" and not git):
                continue
            if path.is_file():
                yield relative, None
            elif path.is_dir():
                real = path.resolve()
                if real in above:
                    yield relative, above[real]
                elif real in root.parents:
                    raise SdistError(
                        f"flask_source {tree} has the link {relative}, which leads to {real}, "
                        "the directory around it: remove it, or link to what is needed there."
                    )
                else:
                    yield from walk(relative, {**above, real: relative}, git)
            elif path.is_symlink() and ".git" not in relative.parts:
                raise SdistError(
                    f"flask_source {tree} has the link {relative}, which leads to "
                    f"{path.readlink()}, where nothing is: mend it or remove it."
                )

    yield from walk(Path(), {root: Path()}, git)


def files_of(tree: Path) -> list[Path]:
    """Return the files of a source tree that count as content, sorted, relative to it."""
    return sorted(path for path, back in contents(tree, git=False) if back is None)


def copy_of(tree: Path, target: Path) -> None:
    """Copy what counts as content of a source tree, and what git knows of its version."""
    target.mkdir(parents=True)
    for path, back in contents(tree, git=True):
        copied = target / path
        copied.parent.mkdir(parents=True, exist_ok=True)
        if back is None:
            shutil.copy2(tree / path, copied)
        else:
            copied.symlink_to(os.path.relpath(back, path.parent))


def hash_of(tree: Path) -> str:
    """Return the hash of a tree, and of its commit where git gives the version."""
    digest = hashlib.sha256()
    for path in files_of(tree):
        full = tree / path
        data = full.read_bytes()
        executable = bool(full.stat().st_mode & 0o100)
        digest.update(f"{path}\0{executable}\0{len(data)}\0".encode())
        digest.update(data)
    metadata = b"".join(
        (tree / n).read_bytes()
        for n in ("pyproject.toml", "setup.py", "setup.cfg")
        if (tree / n).is_file()
    )
    if re.search(
        rb"setuptools[-_]scm|hatch-vcs|versioneer|setuptools-git-versioning|dunamai", metadata
    ):
        described = subprocess.run(
            ["git", "-C", str(tree), "describe", "--tags", "--always", "--dirty", "--long"],
            capture_output=True, check=False,
        )  # fmt: skip
        digest.update(described.stdout)
    return digest.hexdigest()


def normalise(sdist: Path, target: Path) -> None:
    """Write `sdist` again to `target` with everything taken out that differs between two builds."""
    packed = io.BytesIO()
    with (
        tarfile.open(sdist, "r:*") as before,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as after,
    ):
        for member in sorted(before.getmembers(), key=lambda m: m.name):
            clean = tarfile.TarInfo(member.name)
            clean.size, clean.type, clean.linkname = member.size, member.type, member.linkname
            clean.mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644
            after.addfile(clean, before.extractfile(member) if member.isreg() else None)
    partial = target.with_suffix(f".{os.getpid()}.partial")
    with (
        partial.open("wb") as raw,
        gzip.GzipFile(filename="", fileobj=raw, mode="wb", mtime=0) as archive,
    ):
        archive.write(packed.getvalue())
    partial.replace(target)


def build(tree: Path) -> Path:
    """Build the sdist of `tree` in a temporary copy; the caller removes its directory."""
    if not any((tree / name).is_file() for name in ("pyproject.toml", "setup.py")):
        raise SdistError(
            f"flask_source {tree} has neither pyproject.toml nor setup.py, "
            "so it is no Python package: add one of them, or name the directory that holds it."
        )
    if importlib.util.find_spec("build") is None:
        raise SdistError(
            f"{sys.executable} on the control node has no `build` library: "
            "run ./slipway, which brings it, or install it with pip."
        )
    scratch = Path(tempfile.mkdtemp(prefix="slipway-sdist-"))
    # A copy, because build backends leave files in the tree that they build.
    copy_of(tree, scratch / "tree")
    made = subprocess.run(
        [sys.executable, "-m", "build", "--sdist", "--outdir", scratch / "out", scratch / "tree"],
        capture_output=True, text=True, check=False,
        env={**os.environ, "SOURCE_DATE_EPOCH": "315532800"},
    )  # fmt: skip
    if made.returncode != 0:
        shutil.rmtree(scratch)
        said = [
            line
            for line in re.sub(r"\x1b\[[0-9;]*m", "", made.stdout + made.stderr).splitlines()
            if line.strip()
        ]
        reason = next(
            (line for line in reversed(said) if not line.startswith(("ERROR Backend", "  File"))),
            "no output",
        )
        raise SdistError(
            f"The sdist of flask_source {tree} could not be built ({reason.strip()[:300]}): "
            f"`python -m build --sdist {tree}` shows all of it."
        )
    return next((scratch / "out").glob("*.tar.gz"))


def has_hashes(text: str) -> bool:
    """Say whether a pip requirements file gives hashes, so that it is a lock file."""
    return re.search(r"(^|\s)--hash=\w+:[0-9a-f]+", text) is not None


def dependencies_of(metadata: email.message.Message) -> tuple[list[str], bool]:
    """Return what core metadata declare to be needed, and whether a build may find other needs.

    Extras are left out. An sdist says for certain what a package needs from version 2.2 of the
    metadata on, where `Dynamic` does not name the field (packaging.python.org, core metadata).
    """
    version = tuple(int(part) for part in re.findall(r"\d+", str(metadata["Metadata-Version"])))
    dynamic = [str(name).strip().lower() for name in metadata.get_all("Dynamic", [])]
    needed = [" ".join(str(line).split()) for line in metadata.get_all("Requires-Dist", [])]
    return (
        sorted({line for line in needed if not re.search(r";.*\bextra\b", line)}),
        version < (2, 2) or "requires-dist" in dynamic,
    )


def describe(sdist: Path, lock_file: str) -> dict[str, Any]:
    """Return name, version, hash, lock and needs of an sdist; raise SdistError when it is none."""
    try:
        with tarfile.open(sdist, "r:*") as archive:
            members = {m.name: m for m in archive.getmembers() if m.isreg()}
            info = next(
                (m for name, m in members.items() if re.fullmatch(r"[^/]+/PKG-INFO", name)), None
            )
            if info is None:
                raise SdistError(
                    f"flask_source {sdist} holds no PKG-INFO, so it is no sdist: "
                    "make one with `python -m build --sdist`."
                )
            stream = archive.extractfile(info)
            assert stream is not None
            metadata = email.parser.BytesParser().parsebytes(stream.read())
            lock_text = ""
            for name in (lock_file, OTHER_LOCK):
                member = members.get(f"{info.name.split('/')[0]}/{name}")
                text = archive.extractfile(member) if member else None
                lock_text = text.read().decode() if text else ""
                if lock_text and (name == lock_file or has_hashes(lock_text)):
                    break
                lock_text = ""
    except (tarfile.TarError, EOFError, OSError) as problem:
        raise SdistError(
            f"flask_source {sdist} cannot be read as an sdist ({problem}): "
            "name a source tree or a .tar.gz made by `python -m build --sdist`."
        ) from problem
    dependencies, dynamic = dependencies_of(metadata)
    return {
        "path": str(sdist),
        "sha256": hashlib.sha256(sdist.read_bytes()).hexdigest(),
        "name": str(metadata["Name"]),
        "version": str(metadata["Version"]),
        "lock": lock_text,
        "dependencies": dependencies,
        "dynamic": dynamic,
    }


def sdist_of(source: Path, cache: Path, lock_file: str) -> dict[str, Any]:
    """Return the sdist of `source` out of the cache, built first where it is not there."""
    if not source.exists():
        raise SdistError(
            f"flask_source {source} does not exist on the control node: "
            "name a source tree or an sdist."
        )
    if source.is_file():
        return describe(source, lock_file)
    kept = cache / hash_of(source)
    sdists = sorted(kept.glob("*.tar.gz"))
    if not sdists:
        made = build(source)
        kept.mkdir(parents=True, exist_ok=True)
        normalise(made, kept / made.name)
        shutil.rmtree(made.parent.parent)
        sdists = [kept / made.name]
    found = describe(sdists[0], lock_file)
    for name in (lock_file, OTHER_LOCK):
        text = (source / name).read_text() if (source / name).is_file() else ""
        if not found["lock"] and (name == lock_file or has_hashes(text)):
            found["lock"] = text
    return found


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "source": {"type": "path", "required": True},
            "cache": {"type": "path", "required": True},
            "lock_file": {"type": "str", "default": "requirements.lock"},
        },
        supports_check_mode=True,
    )
    try:
        result = sdist_of(
            Path(module.params["source"]), Path(module.params["cache"]), module.params["lock_file"]
        )
    except (SdistError, OSError) as problem:
        module.fail_json(msg=str(problem))
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
