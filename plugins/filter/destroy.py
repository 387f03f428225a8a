"""What went and what is left, by name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any


def _listed(what: str, names: Iterable[str]) -> list[str]:
    """Return a line with names, none where there are none."""
    ordered = sorted(set(names))
    return [f"{what} {', '.join(ordered)}"] if ordered else []


def _images(images: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the names of images, the number of one that has none."""
    named = []
    for image in images:
        # Engines before 25 call one that was replaced <none>:<none>.
        tags = [tag for tag in image.get("RepoTags") or [] if not tag.startswith("<none>")]
        named += tags or [str(image["Id"]).removeprefix("sha256:")[:12]]
    return named


def destroy_report(
    found: Mapping[str, Any], removed: Iterable[str], kept: Iterable[str], volumes_gone: bool
) -> list[str]:
    """Return lines that name all that was removed and all that is left.

    `found` is what docker_host_info returned, `removed` and `kept` are paths of the host.
    """
    volumes = _listed("the volumes", [one["Name"] for one in found["volumes"]])
    gone = [
        *_listed("the containers", [one["Names"][0].lstrip("/") for one in found["containers"]]),
        *_listed("the networks", [one["Name"] for one in found["networks"]]),
        *_listed("the images", _images(found["images"])),
        *(volumes if volumes_gone else []),
        *_listed("of the host", removed),
    ]
    left = [*([] if volumes_gone else volumes), *_listed("of the host", kept)]
    return [f"Removed: {'; '.join(gone) or 'nothing, there was nothing'}."] + (
        [f"Kept: {'; '.join(left)}; ./slipway deploy brings the site back."] if left else []
    )


class FilterModule:
    """The filters of the destroy role."""

    def filters(self) -> dict[str, Any]:
        """Return the filters by name."""
        return {"destroy_report": destroy_report}
