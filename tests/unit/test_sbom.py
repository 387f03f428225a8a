"""The bill of materials: what an image says of itself, in valid CycloneDX."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import OutputFormat, SchemaVersion
from cyclonedx.validation import make_schemabased_validator

packages = importlib.import_module("plugins.modules.sbom_packages")
sbom = importlib.import_module("plugins.filter.sbom")

ROOT = Path(__file__).parents[2]

SAID = """os\tdebian\t13
deb\tinstalled\tlibssl3t64\t3.5.4-1~deb13u1\tamd64
deb\tconfig-files\tgone\t1\tamd64
deb\tinstalled\ttzdata\t2025b-4\tall
pypi\tN Flask\tV 3.1.3\tL BSD-3-Clause\t
pypi\tV 2.0.31\tN uWSGI\t
pypi\tN nameless\t
python\t/usr/local/bin/python3.13\tPython 3.13.9
python\t/opt/broken/bin/python3.1\tcannot execute
"""
# Debian testing and unstable: os-release without VERSION_ID.
TESTING = """PRETTY_NAME="Debian GNU/Linux forky/sid"
NAME="Debian GNU/Linux"
VERSION_CODENAME=forky
ID=debian
"""


def test_what_an_image_says() -> None:
    """What is installed counts, in whichever order a distribution says its name and version."""
    found = packages.parse(SAID)
    assert found["os"] == ["debian", "13"]
    assert [one["name"] for one in found["deb"]] == ["libssl3t64", "tzdata"]
    assert [(one["name"], one["version"], one["license"]) for one in found["pypi"]] == [
        ("Flask", "3.1.3", "BSD-3-Clause"),
        ("uWSGI", "2.0.31", ""),
    ]
    assert found["python"] == [{"path": "/usr/local/bin/python3.13", "version": "3.13.9"}]


def ask(root: Path) -> dict[str, Any]:
    """Return what the script finds below a directory, by the real programs."""
    if shutil.which("dpkg-query") is None:
        pytest.skip("this machine has no dpkg")
    (root / "var/lib/dpkg").mkdir(parents=True, exist_ok=True)
    (root / "var/lib/dpkg/status").write_text(
        "Package: python3.11-minimal\nStatus: install ok installed\nArchitecture: amd64\n"
        "Maintainer: nobody <nobody@example.com>\nVersion: 3.11.2-6\nDescription: x\n\n"
    )
    (root / "var/lib/dpkg/info").mkdir(exist_ok=True)
    (root / "var/lib/dpkg/info/format").write_text("1\n")
    (root / "var/lib/dpkg/info/python3.11-minimal.list").write_text("/usr/bin/python3.11\n")
    said = subprocess.run(
        ["sh", "-c", packages.ASK, "sh", str(root)], capture_output=True, text=True, check=True
    )
    found: dict[str, Any] = packages.parse(said.stdout)
    return found


def test_debian_testing_is_told_by_its_codename(tmp_path: Path) -> None:
    """Debian testing has no VERSION_ID, and its bill is valid."""
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/os-release").write_text(TESTING)
    found = ask(tmp_path)
    assert found["os"] == ["debian", "forky"]
    text = sbom.sbom_document({"part": "postgres", "image": "a", "id": "b", **found}, "abc")
    assert validator().validate_str(text) is None
    assert "distro=debian-forky" in text


@pytest.mark.parametrize("release", [None, "NAME=Nothing\n"])
def test_a_system_without_a_name_is_told_too(tmp_path: Path, release: str | None) -> None:
    """os-release may be missing, or say nothing."""
    if release is not None:
        (tmp_path / "usr/lib").mkdir(parents=True)
        (tmp_path / "usr/lib/os-release").write_text(release)
    found = ask(tmp_path)
    assert found["os"] == ["linux", ""]
    text = sbom.sbom_document({"part": "postgres", "image": "a", "id": "b", **found}, "abc")
    assert validator().validate_str(text) is None


def test_an_interpreter_from_source_is_listed_and_a_packaged_one_is_not(tmp_path: Path) -> None:
    """The official images build Python into /usr/local; links and scripts are no interpreters."""
    for name, version in (("usr/local/bin", "3.13"), ("usr/bin", "3.11"), ("opt/x/bin", "3.14t")):
        (tmp_path / name).mkdir(parents=True, exist_ok=True)
        program = tmp_path / name / f"python{version}"
        program.write_text(f"#!/bin/sh\necho Python {version.rstrip('t')}.9\n")
        program.chmod(0o755)
    (tmp_path / "usr/local/bin/python3").symlink_to("python3.13")
    config = tmp_path / "usr/local/bin/python3.13-config"
    config.write_text("#!/bin/sh\necho Python 9.9\n")
    config.chmod(0o755)
    metadata = tmp_path / "usr/local/lib/python3.13/site-packages/pip-25.dist-info/METADATA"
    metadata.parent.mkdir(parents=True)
    metadata.write_text("Metadata-Version: 2.4\nName: pip\nVersion: 25\n\nName: body\n")
    found = ask(tmp_path)
    assert [one["path"] for one in found["python"]] == [
        "/opt/x/bin/python3.14t",
        "/usr/local/bin/python3.13",
    ]
    assert [one["name"] for one in found["pypi"]] == ["pip"]
    text = sbom.sbom_document({"part": "flask", "image": "a", "id": "b", **found}, "abc")
    assert validator().validate_str(text) is None
    purls = {one.get("purl") for one in json.loads(text)["components"]}
    assert {"pkg:generic/python@3.13.9", "pkg:generic/python@3.14.9"} <= purls


def test_an_image_that_stayed_is_not_asked_again(tmp_path: Path) -> None:
    """The bill of another release is copied, in the new one's name and with its own number."""
    found = {"part": "nginx", "image": "a", "id": "sha256:b", **packages.parse(SAID)}
    before = tmp_path / "abc.nginx.cdx.json"
    before.write_text(sbom.sbom_document(found, "abc"))
    after = tmp_path / "def.nginx.cdx.json"
    assert not packages.copied(after, "nginx", "sha256:c", "def", False)
    assert not packages.copied(after, "flask", "sha256:b", "def", False)
    assert packages.copied(after, "nginx", "sha256:b", "def", True)
    assert not after.exists()
    assert packages.copied(after, "nginx", "sha256:b", "def", False)
    assert packages.known(after, "sha256:b")
    old, new = json.loads(before.read_text()), json.loads(after.read_text())
    assert validator().validate_str(after.read_text()) is None
    assert old["serialNumber"] != new["serialNumber"]
    assert old["components"] == new["components"]
    assert {"name": "slipway:release", "value": "def"} in new["metadata"]["component"]["properties"]
    assert "abc" not in after.read_text()


def test_a_bill_that_cannot_be_made_keeps_no_other_from_being_made() -> None:
    """Whatever is in an image."""
    good = {"part": "flask", "image": "a", "id": "b", **packages.parse(SAID)}
    bad = {**good, "part": "nginx", "image": "strange", "deb": [{"name": "x"}]}
    made = sbom.sbom_documents([bad, good], "abc")
    assert list(made["files"]) == ["abc.flask.cdx.json"]
    (sentence,) = made["problems"]
    assert sentence.startswith("strange has packages that no bill takes")


@pytest.mark.parametrize("said", ["", "os\talpine\t3.22\n", "os\tdebian\n"])
def test_an_image_without_packages_has_no_bill(said: str) -> None:
    """An empty bill would pass for one."""
    with pytest.raises(packages.SilentImageError, match="no list of Debian packages"):
        packages.parse(said)


@pytest.mark.parametrize("broken", ["image", "directory"])
def test_a_deploy_does_not_fail_for_want_of_a_bill(tmp_path: Path, broken: str) -> None:
    """It says so once, in a sentence, and ends well: an image is gone, or a file cannot be."""
    docker = tmp_path / "bin/docker"
    docker.parent.mkdir()
    (tmp_path / "said").write_text(SAID)
    # An engine that knows no image, or tells of one: an engine is not everywhere.
    answer = f'[ "$1" = run ] && cat {tmp_path}/said || echo sha256:1'
    docker.write_text(
        f"#!/bin/sh\n{'echo No such image >&2; exit 1' if broken == 'image' else answer}\n"
    )
    docker.chmod(0o755)
    (tmp_path / "state").mkdir()
    if broken == "directory":
        (tmp_path / "state/releases").write_text("a file where the directory has to be")
    play = [
        {
            "name": "Bill",
            "hosts": "localhost",
            "gather_facts": False,
            "connection": "local",
            "vars": {
                "ansible_python_interpreter": sys.executable,
                "slipway_state_dir": str(tmp_path / "state"),
                "sbom_images": {"postgres": "example:18"},
                "sbom_release": "abc",
            },
            "roles": ["sbom"],
        }
    ]
    playbook = tmp_path / "play.yml"
    playbook.write_text(json.dumps(play))
    ran = subprocess.run(
        [Path(sys.executable).with_name("ansible-playbook"), "-i", "localhost,", playbook],
        env={
            **os.environ,
            "PATH": f"{docker.parent}:{os.environ['PATH']}",
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
        },
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert ran.stdout.count("Warning: no bill of materials") == 1, ran.stdout
    assert "example:18" in ran.stdout
    assert "FAILED" not in ran.stdout


def document() -> str:
    """Return a bill."""
    found = {
        "part": "flask",
        "image": "example-flask:abc",
        "id": "sha256:1",
        **packages.parse(SAID),
    }
    text: str = sbom.sbom_document(found, "abc")
    return text


def validator() -> Any:
    """Return CycloneDX's own."""
    return make_schemabased_validator(OutputFormat.JSON, SchemaVersion.V1_6)


def test_the_bill_is_valid() -> None:
    """CycloneDX's schema takes it; it names packages the way scanners know them."""
    assert validator().validate_str(document()) is None
    assert validator().validate_str(document().replace('"library"', '"nonsense"')) is not None
    bill = json.loads(document())
    purls = {one.get("purl") for one in bill["components"]}
    assert "pkg:deb/debian/libssl3t64@3.5.4-1~deb13u1?arch=amd64&distro=debian-13" in purls
    assert {"pkg:pypi/flask@3.1.3", "pkg:pypi/uwsgi@2.0.31"} <= purls
    assert bill["metadata"]["component"]["version"] == "sha256:1"


def test_a_license_that_is_no_expression_breaks_nothing() -> None:
    """Whatever a package's author wrote there."""
    found = packages.parse(SAID.replace("BSD-3-Clause", "see the file LICENSE, please"))
    text = sbom.sbom_document({"part": "flask", "image": "a", "id": "b", **found}, "abc")
    assert validator().validate_str(text) is None


@pytest.mark.parametrize("text", ["", "{", "[]", '{"metadata": {}}'])
def test_a_broken_bill_is_none(tmp_path, text: str) -> None:  # type: ignore[no-untyped-def]
    """It is made anew."""
    path = tmp_path / "bill"
    path.write_text(text)
    assert not packages.known(path, "sha256:1")
    path.write_text(document())
    assert packages.known(path, "sha256:1")
    assert not packages.known(path, "sha256:2")
