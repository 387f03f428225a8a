"""Lookup of variables as they were given: a command with braces in it is no template."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible.plugins.lookup import LookupBase


class LookupModule(LookupBase):
    """The lookup."""

    def run(
        self, terms: list[str], variables: Mapping[str, Any] | None = None, **kwargs: Any
    ) -> list[str]:
        """Return the text of each variable, empty for one that nobody set."""
        # A plain copy of the text: the one that was given counts as a template wherever it goes.
        return ["".join(list(str((variables or {}).get(term, "")))) for term in terms]
