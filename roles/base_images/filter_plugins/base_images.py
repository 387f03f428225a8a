"""Which images a source gives, and which of them the host has.

A candidate is what a source gives for an image: its name and, where they are known, the ids
(`ids`) or the checksum of the recipe (`recipe`) that an image of that name must have to count as
there.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleFilterError

Candidates = dict[str, dict[str, Any]]
RECIPE_LABEL = "org.slipway.recipe"


def registry_candidates(
    names: Iterable[str], prefix: str, tags: Mapping[str, str], digests: Mapping[str, str]
) -> Candidates:
    """Return the official images, pinned to a digest where there is one."""
    return {
        name: {
            "name": f"{prefix}{name}@{digests[name]}"
            if digests.get(name)
            else f"{prefix}{name}:{tags[name]}"
        }
        for name in names
    }


def debian_candidates(
    names: Iterable[str],
    versions: Mapping[str, str],
    shipped: Mapping[str, Mapping[str, Any]],
    suite: str,
    suites: Mapping[str, str],
    recipes: Mapping[str, str],
) -> Candidates:
    """Return the images built from Debian packages, with their suite ('' where none fits).

    recipes holds what each image is made by, as text.
    """
    candidates: Candidates = {}
    for name in names:
        # nginx takes what its suite ships; the others take the suite that ships their version.
        shipping = [one for one, ships in shipped.items() if ships[name] == versions[name]]
        found = suites.get(name) or (suite if name == "nginx" else next(iter(shipping), ""))
        version = shipped.get(found, {}).get(name, found) if name == "nginx" else versions[name]
        candidates[name] = {
            "name": f"slipway/{name}:{version}",
            "suite": found,
            "version": version,
            "recipe": hashlib.sha256(f"{found}\n{version}\n{recipes[name]}".encode()).hexdigest(),
        }
    return candidates


def debian_refusals(candidates: Candidates, shipped: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return a sentence for each image whose version the suite does not ship."""
    sentences = []
    for name, candidate in candidates.items():
        suite, version = candidate["suite"], candidate["version"]
        if not suite:
            there = ", ".join(str(ships[name]) for ships in shipped.values())
            sentences.append(
                f"base_images_{name}_version is {version}, which no Debian release ships: "
                f"set it to one of {there}, or base_images_source to registry or archive."
            )
        elif suite in shipped and shipped[suite][name] != version:
            sentences.append(
                f"base_images_debian_suites.{name} is {suite}, which ships {shipped[suite][name]}, "
                f"but base_images_{name}_version is {version}: change one of the two."
            )
    return sentences


def digests_in(text: str) -> list[str]:
    """Return the digests that the text mentions."""
    return [f"sha256:{digest}" for digest in re.findall(r"[0-9a-f]{64}", text)]


def entries_of(manifests: Mapping[str, str]) -> list[tuple[str, dict[str, Any]]]:
    """Return (archive, image) for each image of the archives."""
    return [(path, entry) for path, text in manifests.items() for entry in json.loads(text)]


def archive_candidates(
    manifests: Mapping[str, str], indexes: Iterable[str], wanted: Mapping[str, str]
) -> Candidates:
    """Return the images of archives that have the wanted version ('' takes any).

    manifests are the texts of manifest.json by archive, indexes those of index.json. An engine
    names an image by the digest of its configuration or, with the containerd image store, by that
    of its manifest: both count.
    """
    digests = digests_in("".join(indexes))
    candidates: Candidates = {}
    for name, version in wanted.items():
        tail = rf"{re.escape(version)}(?:[.-]|$)" if version else ""
        fits = re.compile(rf"(?:^|/){name}:{tail}")
        for path, entry in entries_of(manifests):
            tag = next((tag for tag in entry.get("RepoTags") or [] if fits.search(tag)), None)
            if tag:
                ids = digests_in(entry["Config"]) + digests
                candidates[name] = {"name": tag, "ids": ids, "archive": path}
                break
    return candidates


def archive_tags(manifests: Mapping[str, str]) -> list[str]:
    """Return the names of all images of archives."""
    return [tag for _, entry in entries_of(manifests) for tag in entry.get("RepoTags") or []]


def find(name: str, images: Iterable[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """Return the image of that name.

    The engine leaves out the host of its default registry, so a tag counts as well when the name
    ends in it.
    """
    for image in images:
        known = [*(image.get("RepoTags") or []), *(image.get("RepoDigests") or [])]
        if any(name == tag or name.endswith("/" + tag) for tag in known):
            return image
    return None


def missing(candidates: Candidates, images: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the candidates that the host has not, or has with another content."""
    gone = []
    for name, candidate in candidates.items():
        image = find(candidate["name"], images)
        labels = ((image or {}).get("Config") or {}).get("Labels") or {}
        if (
            image is None
            or ("ids" in candidate and image["Id"] not in candidate["ids"])
            or ("recipe" in candidate and labels.get(RECIPE_LABEL) != candidate["recipe"])
        ):
            gone.append(name)
    return gone


def resolved(
    candidates: Candidates, images: Sequence[Mapping[str, Any]]
) -> dict[str, dict[str, str]]:
    """Return name and id of each candidate; the id is '' where the host has not got the image."""
    return {
        name: {
            "name": candidate["name"],
            "id": (find(candidate["name"], images) or {}).get("Id", ""),
        }
        for name, candidate in candidates.items()
    }


def digest(image: Mapping[str, Any], name: str) -> str:
    """Return the digest that the registry gave an image which was just pulled by a name.

    The engine names one for each registry that the image came from, and they may differ.
    """
    repository = name.rpartition(":")[0] if ":" in name.rpartition("/")[2] else name
    for one in image["RepoDigests"]:
        known, _, text = str(one).rpartition("@")
        # It leaves out the host of its default registry.
        if known == repository or repository.endswith("/" + known):
            return text
    raise AnsibleFilterError(f"base_images: the registry gave no digest for {name}")


def complaint(result: Mapping[str, Any]) -> str:
    """Return what a failed build says is wrong: the first error line of apt, mmdebstrap or a step.

    The engine's log comes as the text of a Python list, in colours; it repeats the commands that it
    runs, so it is read from where the last one started.
    """
    message = str(result.get("msg") or "")
    text = "\n".join([str(result.get("stderr") or ""), message.rpartition("---> Running in")[2]])
    text = re.sub(r"(\x1b|\\x1b)\[[0-9;]*m", "", text)
    error = re.search(r"(?<![A-Za-z])E(?:', ')?:[ ',]+(.+?)(?:\\n|\\r|', '|\n|$)", text)
    return (error.group(1) if error else message or "no reason given")[:300].strip()


class FilterModule:
    """The role's filters."""

    def filters(self) -> dict[str, Any]:
        """Return the filters by name."""
        return {
            "base_images_archive_candidates": archive_candidates,
            "base_images_archive_tags": archive_tags,
            "base_images_complaint": complaint,
            "base_images_debian_candidates": debian_candidates,
            "base_images_debian_refusals": debian_refusals,
            "base_images_digest": digest,
            "base_images_find": lambda candidate, images: find(candidate["name"], images),
            "base_images_missing": missing,
            "base_images_registry_candidates": registry_candidates,
            "base_images_resolved": resolved,
        }
