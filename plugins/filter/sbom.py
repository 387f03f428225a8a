"""A bill of materials in CycloneDX's JSON, by CycloneDX's own library."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError


def sbom_available(_: object = None) -> bool:
    """Say whether this machine has the library."""
    return importlib.util.find_spec("cyclonedx") is not None


def sbom_document(found: Mapping[str, Any], release: str) -> str:
    """Return the bill of what sbom_packages found in an image."""
    # The version may be a codename or nothing: an unreleased distribution has no number.
    if not sbom_available():
        raise AnsibleFilterError(
            "The control node has no library cyclonedx-python-lib: run ./slipway, which brings it."
        )
    from cyclonedx.model import Property
    from cyclonedx.model.bom import Bom
    from cyclonedx.model.component import Component, ComponentType
    from cyclonedx.model.license import LicenseExpression
    from cyclonedx.output.json import JsonV1Dot6
    from packageurl import PackageURL

    system, version = found["os"]
    bom = Bom()
    image = Component(
        type=ComponentType.CONTAINER,
        name=found["image"],
        version=found["id"],
        bom_ref="image",
        properties=[
            Property(name="slipway:release", value=release),
            Property(name="slipway:part", value=found["part"]),
        ],
    )
    bom.metadata.component = image
    parts = [Component(type=ComponentType.OPERATING_SYSTEM, name=system, version=version or None)]
    distro = f"{system}-{version}" if version else system
    for one in found["deb"]:
        purl = PackageURL(
            "deb", system, one["name"], one["version"], {"arch": one["arch"], "distro": distro}
        )
        parts.append(
            Component(
                type=ComponentType.LIBRARY, name=one["name"], version=one["version"], purl=purl
            )
        )
    for one in found["pypi"]:
        purl = PackageURL("pypi", None, one["name"].lower().replace("_", "-"), one["version"])
        parts.append(
            Component(
                type=ComponentType.LIBRARY,
                name=one["name"],
                version=one["version"],
                purl=purl,
                licenses=[LicenseExpression(one["license"])] if one["license"] else [],
            )
        )
    # As scanners know an interpreter that no package brought.
    for one in found["python"]:
        version = one["version"]
        parts.append(
            Component(
                type=ComponentType.APPLICATION,
                name="python",
                version=version,
                bom_ref=f"python:{one['path']}",
                purl=PackageURL("generic", None, "python", version),
                cpe=f"cpe:2.3:a:python:python:{version.replace('+', chr(92) + '+')}:*:*:*:*:*:*:*",
                properties=[Property(name="slipway:path", value=one["path"])],
            )
        )
    for part in parts:
        bom.components.add(part)
    bom.register_dependency(image, parts)
    return JsonV1Dot6(bom).output_as_string(indent=1) + "\n"


def sbom_documents(found: Iterable[Mapping[str, Any]], release: str) -> dict[str, Any]:
    """Return the bills (files, by name) of images, and a sentence for each that cannot be made."""
    files: dict[str, str] = {}
    problems: list[str] = []
    for one in found:
        try:
            files[f"{release}.{one['part']}.cdx.json"] = sbom_document(one, release)
        # Whatever is in somebody's image: the others' bills are made, and the deploy has happened.
        except Exception as problem:
            problems.append(f"{one['image']} has packages that no bill takes: {problem}")
    return {"files": files, "problems": problems}


class FilterModule:
    """Filters of the role."""

    def filters(self) -> dict[str, Any]:
        """Return them by name."""
        return {"sbom_available": sbom_available, "sbom_documents": sbom_documents}
