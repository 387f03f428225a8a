"""What runs on a host runs with the Pythons of hosts: 3.10 (Ubuntu 22.04) to 3.14 (forky)."""

from __future__ import annotations

import ast
import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OLDEST, NEWEST = (3, 10), (3, 14)
VERSIONS = [f"3.{minor}" for minor in range(OLDEST[1], NEWEST[1] + 1)]
GLOBS = (
    "plugins/modules/*.py",
    "plugins/module_utils/**/*.py",
    # Programs, which lie there as files; templates of programs are shell.
    "roles/*/files/**/*.py",
)
FILES = sorted({path for glob in GLOBS for path in ROOT.glob(glob)})
NAMES = [str(path.relative_to(ROOT)) for path in FILES]


def interpreters() -> dict[str, Path]:
    """Return the Pythons of this machine that a host may have, by version."""
    found: dict[str, Path] = {}
    directories = [Path(one) for one in os.environ["PATH"].split(":")]
    directories += sorted(Path.home().glob(".pyenv/versions/*/bin"))
    for version in VERSIONS:
        for directory in directories:
            # One that a shim stands for may not be there.
            program = directory / f"python{version}"
            if "shims" not in program.parts and program.exists():
                found.setdefault(version, program)
    return found


INTERPRETERS = interpreters()


def test_every_file_of_a_host_is_looked_at() -> None:
    """A module, one of what modules share, the data program and the certificates' program."""
    assert {
        "plugins/modules/docker_engine_facts.py",
        "roles/data/files/slipway_data/restore.py",
        "roles/nginx/files/slipway_acme.py",
        "plugins/modules/write_files.py",
    } <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_the_oldest_grammar_takes_it(name: str) -> None:
    """One version older than the oldest host."""
    ast.parse((ROOT / name).read_text(), name, feature_version=(3, 9))


@pytest.mark.parametrize("version", [OLDEST, NEWEST], ids=lambda one: ".".join(map(str, one)))
def test_the_standard_library_has_what_it_uses(version: tuple[int, int]) -> None:
    """By what mypy knows of that version's library: datetime.UTC and tomllib came with 3.11."""
    asked = subprocess.run(
        [
            sys.executable, "-m", "mypy", "--python-version", ".".join(map(str, version)), *NAMES,
        ],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert asked.returncode == 0, asked.stdout + asked.stderr


def test_the_checks_see_what_a_host_does_not_have(tmp_path: Path) -> None:
    """They would else pass whatever is written."""
    with pytest.raises(SyntaxError):
        ast.parse("match 1:\n    case 1: pass\n", feature_version=(3, 9))
    (tmp_path / "new.py").write_text("import tomllib\nfrom datetime import UTC\n")
    asked = subprocess.run(
        [sys.executable, "-m", "mypy", "--python-version", "3.10", "new.py"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert asked.stdout.count("error:") == 2, asked.stdout + asked.stderr


# A time is read by fromisoformat alone in ways that 3.10 takes; the data program has a reader.
READS_TIMES = {"roles/data/files/slipway_data/restore.py": 2}


@pytest.mark.parametrize("name", NAMES)
def test_no_time_is_read_as_only_newer_pythons_do(name: str) -> None:
    """fromisoformat takes Z, other fractions and shorter zones only since 3.11."""  # noqa: D403
    calls = re.findall(r"\bfromisoformat\(", (ROOT / name).read_text())
    assert len(calls) == READS_TIMES.get(name, 0)


LOAD = """
import runpy, sys, warnings
sys.path[:0] = [*sys.argv[1].split(":"), f"{sys.argv[2]}/slipway"]
import ansible.module_utils
ansible.module_utils.__path__.append(sys.argv[2])
warnings.simplefilter("error")
for name in sys.argv[3:]:
    if "/files/slipway_data/" not in name:
        runpy.run_path(name, run_name="loaded")
import slipway_data.__main__
from slipway_data import restore
print(restore.moment("2026-11-22T12:31:00.1234567+0200"), restore.moment("2026-11-22 10:31:00.5Z"))
"""


@pytest.mark.parametrize("version", VERSIONS)
def test_it_loads_and_reads_times_alike(version: str) -> None:
    """On each Python that a host may have; one that this machine lacks is said."""
    if version not in INTERPRETERS:
        pytest.skip(f"no python{version} here: only its grammar and library were checked")
    ansible = importlib.util.find_spec("ansible")
    assert ansible is not None
    assert ansible.origin is not None
    paths = [
        str(Path(ansible.origin).parents[1]),
        *(str(ROOT / one) for one in ("roles/data/files", "roles/nginx/files")),
    ]
    shared = str(ROOT / "plugins/module_utils")
    asked = subprocess.run(
        [
            INTERPRETERS[version], "-I", "-c", LOAD, ":".join(paths), shared, *NAMES,
        ],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert asked.returncode == 0, asked.stderr
    assert asked.stdout.split("\n")[0] == (
        "2026-11-22 10:31:00.123456+00 2026-11-22 10:31:00.500000+00"
    )


def test_a_python_that_this_machine_lacks_is_said(tmp_path: Path) -> None:
    """None is left out without a word."""
    asked = subprocess.run(
        [
            sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__, "-k",
            "test_it_loads_and_reads_times_alike",
        ],
        cwd=ROOT, capture_output=True, text=True, check=False,
        env={"PATH": str(tmp_path), "HOME": str(tmp_path)},
    )  # fmt: skip
    assert asked.returncode == 0, asked.stdout + asked.stderr
    for minor in (10, 11, 12, 13, 14):
        assert f"no python3.{minor} here: only its grammar and library were checked" in asked.stdout
