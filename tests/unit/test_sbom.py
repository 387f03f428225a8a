"""The bill of materials: what an image says of itself, in valid CycloneDX."""

from __future__ import annotations

import importlib
import json

import pytest
from cyclonedx.schema import OutputFormat, SchemaVersion
from cyclonedx.validation import make_schemabased_validator

packages = importlib.import_module("roles.sbom.library.sbom_packages")
sbom = importlib.import_module("roles.sbom.filter_plugins.sbom")

SAID = """debian\t13

installed\tlibssl3t64\t3.5.4-1~deb13u1\tamd64
config-files\tgone\t1\tamd64
installed\ttzdata\t2025b-4\tall

N Flask\tV 3.1.3\tL BSD-3-Clause\t
V 2.0.31\tN uWSGI\t
N nameless\t
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


def test_the_bill_is_valid() -> None:
    """CycloneDX's schema takes it; it names packages the way scanners know them."""
    validator = make_schemabased_validator(OutputFormat.JSON, SchemaVersion.V1_6)
    assert validator.validate_str(document()) is None
    assert validator.validate_str(document().replace('"library"', '"nonsense"')) is not None
    bill = json.loads(document())
    purls = {one.get("purl") for one in bill["components"]}
    assert "pkg:deb/debian/libssl3t64@3.5.4-1~deb13u1?arch=amd64&distro=debian-13" in purls
    assert {"pkg:pypi/flask@3.1.3", "pkg:pypi/uwsgi@2.0.31"} <= purls
    assert bill["metadata"]["component"]["version"] == "sha256:1"


def test_a_license_that_is_no_expression_breaks_nothing() -> None:
    """Whatever a package's author wrote there."""
    found = packages.parse(SAID.replace("BSD-3-Clause", "see the file LICENSE, please"))
    text = sbom.sbom_document({"part": "flask", "image": "a", "id": "b", **found}, "abc")
    validator = make_schemabased_validator(OutputFormat.JSON, SchemaVersion.V1_6)
    assert validator.validate_str(text) is None


@pytest.mark.parametrize("text", ["", "{", "[]", '{"metadata": {}}'])
def test_a_broken_bill_is_none(tmp_path, text: str) -> None:  # type: ignore[no-untyped-def]
    """It is made anew."""
    path = tmp_path / "bill"
    path.write_text(text)
    assert not packages.known(path, "sha256:1")
    path.write_text(document())
    assert packages.known(path, "sha256:1")
    assert not packages.known(path, "sha256:2")
