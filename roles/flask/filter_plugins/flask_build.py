"""Passwords out of the addresses of package indexes: pip hands those on as arguments."""

from __future__ import annotations

import re
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


class FilterModule:
    """Filters of the role."""

    def filters(self) -> dict[str, Any]:
        """Return them by name."""
        return {"without_passwords": without_passwords, "netrc_of": netrc_of}
