"""The sdist of an application: what goes into it, and its lock file."""

from __future__ import annotations

import importlib
import io
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

sdist = importlib.import_module("plugins.modules.flask_sdist")

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
    ("metadata", "dependencies", "dynamic"),
    [
        ("Metadata-Version: 2.4\nRequires-Dist: flask>=3\nRequires-Dist: Babel",
         ["Babel", "flask>=3"], False),
        ("Metadata-Version: 2.4\nDynamic: license-file", [], False),
        ("Metadata-Version: 2.2\nDynamic: Requires-Dist\nRequires-Dist: flask", ["flask"], True),
        ("Metadata-Version: 2.1\nRequires-Dist: flask (>=3)", ["flask (>=3)"], True),
        ('Metadata-Version: 2.4\nRequires-Dist: tomli; python_version < "3.11"\n'
         "Requires-Dist: pytest; extra == 'test'\n"
         'Requires-Dist: rich; (python_version > "3") and extra == "all"',
         ['tomli; python_version < "3.11"'], False),
    ],
)  # fmt: skip
def test_what_a_package_declares_to_need(
    tmp_path: Path, metadata: str, dependencies: list[str], dynamic: bool
) -> None:
    """Without extras; metadata that may change in a build are no certainty."""
    info = f"{metadata}\nName: shop\nVersion: 1.0\n"
    found = sdist.describe(packed(tmp_path, **{"PKG-INFO": info}), "requirements.lock")
    assert (found["dependencies"], found["dynamic"]) == (dependencies, dynamic)


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


# What counts as content


def write(tree: Path, *names: str) -> Path:
    """Write files into a tree, each with its name as text; return the tree."""
    for name in names:
        path = tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return tree


KEPT = (
    "pyproject.toml", "build.py", "src/shop/__init__.py", "src/shop/static/dist/app.js",
    "src/shop/build/__init__.py", "src/shop/venv/readme.txt", "src/shop/node_modules/lib/index.js",
    "src/shop/.well-known/security.txt", "src/shop/dist",
)  # fmt: skip
DROPPED = (
    "build/lib/shop.py", "dist/shop-1.0.tar.gz", "venv/bin/python", ".venv/bin/python",
    "node_modules/lib/index.js", "shop.egg-info/PKG-INFO", "src/shop.egg-info/SOURCES.txt",
    "src/shop/__pycache__/shop.cpython-311.pyc", "src/shop/.mypy_cache/x", ".git/HEAD",
    "src/shop/.pytest_cache/x", ".ruff_cache/x", "src/.DS_Store", ".tox/py/x", "src/lib/.git/HEAD",
    # By its mark, whatever it is called.
    "tools/env/pyvenv.cfg", "tools/env/lib/python3.13/site.py",
)  # fmt: skip


def test_builds_and_environments_are_left_out_at_the_root_alone(tmp_path: Path) -> None:
    """Further down a directory of such a name is the application's, as a bundler's output is."""
    tree = write(tmp_path / "tree", *KEPT, *DROPPED)
    assert [str(path) for path in sdist.files_of(tree)] == sorted(KEPT)


def test_a_package_at_the_root_keeps_its_name(tmp_path: Path) -> None:
    """One named build is no build."""
    tree = write(tmp_path / "tree", "build/__init__.py", "dist/static/app.js")
    assert [str(path) for path in sdist.files_of(tree)] == ["build/__init__.py"]


def test_each_kept_file_counts(tmp_path: Path) -> None:
    """A bundler that made something else makes another release."""
    tree = write(tmp_path / "tree", *KEPT)
    before = sdist.hash_of(tree)
    write(tree, *DROPPED)
    assert sdist.hash_of(tree) == before
    (tree / "src/shop/static/dist/app.js").write_text("another")
    assert sdist.hash_of(tree) != before


def test_the_copy_has_what_counts_and_what_git_knows(tmp_path: Path) -> None:
    """A version that comes from a tag needs .git; nothing else goes along that does not count."""
    tree = write(tmp_path / "tree", *KEPT, *DROPPED)
    sdist.copy_of(tree, tmp_path / "copy")
    copied = {
        str(path.relative_to(tmp_path / "copy"))
        for path in (tmp_path / "copy").rglob("*")
        if path.is_file()
    }
    assert copied == {*KEPT, ".git/HEAD", "src/lib/.git/HEAD"}


# Links


def test_links_are_followed(tmp_path: Path) -> None:
    """Out of the tree, to what is left out of it, absolute or relative: the content goes along."""
    write(tmp_path / "common", "money.py", "deep/rates.json")
    tree = write(tmp_path / "tree", "setup.py", "dist/app.js", "src/shop/__init__.py")
    (tree / "src/common").symlink_to("../../common")
    (tree / "src/shop/rates.json").symlink_to(tmp_path / "common/deep/rates.json")
    (tree / "src/shop/bundle").symlink_to(tree / "dist")
    before = sdist.hash_of(tree)
    sdist.copy_of(tree, tmp_path / "copy")
    copy = tmp_path / "copy/src"
    assert (copy / "common/money.py").read_text() == "money.py"
    assert (copy / "shop/rates.json").read_text() == "deep/rates.json"
    assert (copy / "shop/bundle/app.js").read_text() == "dist/app.js"
    assert not [path for path in copy.rglob("*") if path.is_symlink()]
    (tmp_path / "common/money.py").write_text("more")
    assert sdist.hash_of(tree) != before


def test_a_link_back_stays_a_link(tmp_path: Path) -> None:
    """Following it would never end."""
    tree = write(tmp_path / "tree", "setup.py", "src/shop/__init__.py")
    (tree / "src/shop/self").symlink_to("..")
    (tree / "src/again").symlink_to(tree)
    assert [str(path) for path in sdist.files_of(tree)] == ["setup.py", "src/shop/__init__.py"]
    sdist.copy_of(tree, tmp_path / "copy")
    assert str((tmp_path / "copy/src/shop/self").readlink()) == ".."
    assert (tmp_path / "copy/src/again").resolve() == tmp_path / "copy"


@pytest.mark.parametrize(
    ("target", "sentence"),
    [
        ("gone.js", "the link src/app.js, which leads to gone.js, where nothing is"),
        ("/nowhere/at/all", "which leads to /nowhere/at/all, where nothing is"),
        ("app.js", "which leads to app.js, where nothing is"),
        ("../..", "the directory around it"),
    ],
)
def test_a_link_that_cannot_be_followed_is_named(
    tmp_path: Path, target: str, sentence: str
) -> None:
    """Nothing is left out in silence."""
    tree = write(tmp_path / "tree", "setup.py", "src/shop.py")
    (tree / "src/app.js").symlink_to(target)
    for act in (sdist.files_of, lambda one: sdist.copy_of(one, tmp_path / "copy")):
        with pytest.raises(sdist.SdistError, match=sentence):
            act(tree)


def test_links_that_nobody_needs_are_no_reason_to_stop(tmp_path: Path) -> None:
    """An editor's lock, a build that is gone, the inside of an environment."""
    tree = write(tmp_path / "tree", "setup.py", "tools/env/pyvenv.cfg", ".git/HEAD")
    for name in (".#setup.py", "build", "tools/env/python", ".git/gone", "__pycache__"):
        (tree / name).symlink_to("/nowhere/at/all")
    assert [str(path) for path in sdist.files_of(tree)] == ["setup.py"]
    sdist.copy_of(tree, tmp_path / "copy")


# From the tree to the wheel

PROJECT = """
[build-system]
requires = ["setuptools>=68"]
build-backend = "setuptools.build_meta"
[project]
name = "shop"
version = "1.0"
[tool.setuptools.packages.find]
where = ["src"]
[tool.setuptools.package-data]
"*" = ["static/**/*", "node_modules/**/*", "rates.json"]
"""


def test_a_bundlers_output_is_in_the_wheel(tmp_path: Path) -> None:
    """Also by way of setuptools, which has its own idea of what builds leave behind."""
    tree = write(
        tmp_path / "tree",
        *(name for name in KEPT if name != "src/shop/dist"),
        *DROPPED,
        "README.md",
    )
    write(tmp_path, "outside/rates.json")
    (tree / "src/shop/rates.json").symlink_to("../../../outside/rates.json")
    (tree / "pyproject.toml").write_text(PROJECT)
    (tree / ".git/HEAD").unlink()
    made = sdist.sdist_of(tree, tmp_path / "cache", "requirements.lock")
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-cache-dir",
         "--wheel-dir", tmp_path / "wheels", made["path"]],
        check=True, timeout=300,
    )  # fmt: skip
    with zipfile.ZipFile(next((tmp_path / "wheels").glob("*.whl"))) as wheel:
        names = {name for name in wheel.namelist() if not name.startswith("shop-1.0.dist-info")}
        assert wheel.read("shop/rates.json") == b"outside/rates.json"
    assert names == {
        "shop/__init__.py", "shop/build/__init__.py", "shop/static/dist/app.js",
        "shop/node_modules/lib/index.js", "shop/rates.json",
    }  # fmt: skip
