"""What a host is: the release of its system, and the memory that limits follow."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from typing import Any

# Codename -> what os-release calls the distribution, and the name for a person. A release that
# is not out yet has no number there, so the codename decides.
SUPPORTED = {
    "bookworm": ("debian", "Debian 12 (bookworm)"),
    "trixie": ("debian", "Debian 13 (trixie)"),
    "forky": ("debian", "the next Debian (forky)"),
    "jammy": ("ubuntu", "Ubuntu 22.04 (jammy)"),
    "noble": ("ubuntu", "Ubuntu 24.04 (noble)"),
    "resolute": ("ubuntu", "Ubuntu 26.04 (resolute)"),
}
NONE = (None, "")
# Steps in which memory is counted, as parts of the power of two below it.
MEMORY_STEPS = 4


def _fields(text: str) -> dict[str, str]:
    """Return the fields of an os-release file, without their quotes."""
    fields: dict[str, str] = {}
    for line in text.splitlines():
        name, equals, value = line.strip().partition("=")
        if equals and not name.startswith("#"):
            try:
                fields[name] = " ".join(shlex.split(value))
            except ValueError:
                fields[name] = value.strip("\"'")
    return fields


def host_release(text: str) -> dict[str, str]:
    """Return what the text of /etc/os-release says of a host.

    `distribution` and `codename` are as apt's sources name them, `refusal` is the end of a
    sentence that begins with the host's name, empty where Slipway supports the host.
    """
    fields = _fields(text)
    distribution = fields.get("ID", "").lower()
    # Testing of some years ago had its codename in the name for people alone.
    said = fields.get("VERSION_CODENAME") or " ".join(
        fields.get(name, "") for name in ("VERSION", "PRETTY_NAME")
    )
    words = re.findall(r"[a-z]+", said.lower())
    codename = next(
        (word for word in words if SUPPORTED.get(word, NONE)[0] == distribution),
        fields.get("VERSION_CODENAME", "").lower(),
    )
    supported = SUPPORTED.get(codename, NONE)[0] == distribution
    name = fields.get("PRETTY_NAME") or distribution or "a system without /etc/os-release"
    refusal = (
        f"runs {name}, which Slipway does not support, so nothing was changed: "
        f"use one of {', '.join(name for _, name in SUPPORTED.values())}."
    )
    return {
        "distribution": distribution,
        "codename": codename,
        "refusal": "" if supported else refusal,
    }


def host_memory_mb(reported: int | str) -> int:
    """Return the memory that limits are derived from, in MiB.

    A kernel keeps some of a machine's memory for itself, and with each update another amount. So
    what it reports is counted up to the next step, which is what the machine was given, and an
    eighth of that is left out: the same number for whatever a kernel reports of one machine.
    """
    memory = max(int(reported), MEMORY_STEPS)
    step = (1 << (memory - 1).bit_length() - 1) // MEMORY_STEPS
    return -(-memory // step) * step * 7 // 8


class FilterModule:
    """What Ansible loads."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by name."""
        return {"host_release": host_release, "host_memory_mb": host_memory_mb}
