"""Files of a build; passwords out of the addresses of package indexes, which pip hands on."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

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


class FilterModule:
    """Filters of the role."""

    def filters(self) -> dict[str, Any]:
        """Return them by name."""
        return {
            "files_below": files_below,
            "netrc_of": netrc_of,
            "without_passwords": without_passwords,
        }
