"""Files of a build, addresses of indexes without passwords, the builds that archives hold."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

# pip hands addresses of package indexes on as arguments, which everybody on the host may read.
ADDRESS = re.compile(r"(\w+://)([^\s/@:'\"]*)(?::([^\s/@'\"]*))?@([^\s/:'\"]+)")


def without_passwords(text: str) -> str:
    """Return a text with addresses that name neither user nor password."""
    return ADDRESS.sub(r"\1\4", text)


def netrc_of(text: str) -> str:
    """Return users and passwords of the addresses in a text, as a netrc file."""
    lines = []
    for _, user, password, host in ADDRESS.findall(text):
        words = [re.sub(r'(["\\])', r"\\\1", unquote(word)) for word in (user, password)]
        lines.append(f'machine {host} login "{words[0]}" password "{words[1]}"\n')
    return "".join(dict.fromkeys(lines))


def files_below(files: Mapping[str, Any], directory: str) -> dict[str, Any]:
    """Return files, path to content, with their paths in a directory."""
    return {f"{directory}/{path}": content for path, content in files.items()}


def archived_builds(images: list[dict[str, Any]]) -> list[str]:
    """Return the builds of the images in an archive, by what image_archives read."""
    labels = ((one["configuration"].get("config") or {}).get("Labels") or {} for one in images)
    return [str(one.get("slipway.build", "")) for one in labels]


class FilterModule:
    """Filters of the role."""

    def filters(self) -> dict[str, Any]:
        """Return them by name."""
        return {
            "archived_builds": archived_builds,
            "files_below": files_below,
            "netrc_of": netrc_of,
            "without_passwords": without_passwords,
        }
