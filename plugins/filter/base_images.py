"""Which images a source gives, and which of them the host has.

A candidate is what a source gives for an image: its name and, where they are known, the ids and the
content (`ids`, `content`: either will do) or the checksum of the recipe (`recipe`) that an image of
that name must have to count as there.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
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


def at(created: object) -> str:
    """Return a time in one spelling: engines write it with and without trailing zeros."""
    try:
        moment = datetime.fromisoformat(str(created or ""))
    except ValueError:
        return ""
    # What an image without a time has.
    return "" if moment.year == 1 else moment.astimezone(UTC).isoformat()


def content(layers: Iterable[str] | None, created: object, config: Mapping[str, Any] | None) -> str:
    """Return what an image is, whichever way an engine names it; '' where that is not known.

    Its layers, when it was made and how it is run. The id is the digest of its configuration in the
    engine's own store and that of its manifest in containerd's (Docker 29), which an archive of an
    older engine does not have.
    """
    told = [str(one) for one in layers or []]
    if not told:
        return ""
    run = {key: (config or {}).get(key) or None for key in ("Cmd", "Entrypoint", "Env", "Labels")}
    text = json.dumps([told, at(created), run], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def content_of(image: Mapping[str, Any]) -> str:
    """Return what an image is that the engine tells about."""
    layers = (image.get("RootFS") or {}).get("Layers")
    return content(layers, image.get("Created"), image.get("Config"))


def archive_candidates(
    images: Iterable[Mapping[str, Any]], wanted: Mapping[str, str]
) -> Candidates:
    """Return the images of archives (by image_archives) that have the wanted version.

    The version '' takes any.
    """
    images = list(images)
    candidates: Candidates = {}
    for name, version in wanted.items():
        tail = rf"{re.escape(version)}(?:[.-]|$)" if version else ""
        fits = re.compile(rf"(?:^|/){name}:{tail}")
        for image in images:
            tag = next((tag for tag in image["tags"] if fits.search(tag)), None)
            if tag:
                made = image["configuration"]
                layers = (made.get("rootfs") or {}).get("diff_ids")
                candidates[name] = {
                    "name": tag,
                    "ids": image["ids"],
                    "content": content(layers, made.get("created"), made.get("config")),
                    "archive": image["archive"],
                }
                break
    return candidates


def archive_tags(images: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the names of all images of archives."""
    return [tag for image in images for tag in image["tags"]]


def is_of_archive(candidate: Mapping[str, Any], image: Mapping[str, Any]) -> bool:
    """Say whether an image is the one of an archive, by its id or else by what it is."""
    if image["Id"] in candidate["ids"]:
        return True
    return bool(candidate["content"]) and content_of(image) == candidate["content"]


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
            or ("ids" in candidate and not is_of_archive(candidate, image))
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


def lacks_keys(result: Mapping[str, Any]) -> bool:
    """Say whether apt found no key for a suite, or an expired one: gpgv and sqv say it."""
    said = str(result.get("stderr") or "")
    return bool(re.search(r"\b(NO_PUBKEY|EXPKEYSIG|KEYEXPIRED)\b|Missing key [0-9A-F]{16}", said))


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
            "base_images_lacks_keys": lacks_keys,
            "base_images_missing": missing,
            "base_images_registry_candidates": registry_candidates,
            "base_images_resolved": resolved,
        }
