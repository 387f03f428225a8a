"""A bill of materials in CycloneDX's JSON, by CycloneDX's own library."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from typing import Any

from ansible.errors import AnsibleFilterError


def sbom_available(_: object = None) -> bool:
    """Say whether this machine has the library."""
    return importlib.util.find_spec("cyclonedx") is not None


def sbom_document(found: Mapping[str, Any], release: str) -> str:
    """Return the bill of what sbom_packages found in an image."""
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
    parts = [Component(type=ComponentType.OPERATING_SYSTEM, name=system, version=version)]
    for one in found["deb"]:
        purl = PackageURL(
            "deb", system, one["name"], one["version"],
            {"arch": one["arch"], "distro": f"{system}-{version}"},
        )  # fmt: skip
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
    for part in parts:
        bom.components.add(part)
    bom.register_dependency(image, parts)
    return JsonV1Dot6(bom).output_as_string(indent=1) + "\n"


class FilterModule:
    """Filters of the role."""

    def filters(self) -> dict[str, Any]:
        """Return them by name."""
        return {"sbom_available": sbom_available, "sbom_document": sbom_document}
