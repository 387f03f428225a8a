"""An application's secrets: which ones the host makes, and what lies in the file of each."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any


def _empty(value: Any) -> bool:
    """Say whether the host makes a secret."""
    return value is None or (not isinstance(value, (Mapping, bool, int, float)) and not str(value))


def _content(value: Any) -> Any:
    """Return a secret as its file has it: text, or bytes in base64."""
    if isinstance(value, Mapping):
        return {"base64": "".join(str(value.get("base64", "")).split())}
    return str(value).lower() if isinstance(value, bool) else str(value)


def secret_files_of(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the secrets that are files: a SECRET_KEY beside those given, none that are false."""
    return {
        name: value for name, value in {"SECRET_KEY": "", **given}.items() if value is not False
    }


def secrets_made(*given: Mapping[str, Any]) -> list[str]:
    """Return the names of the secrets that the host makes."""
    return sorted({name for some in given for name, value in some.items() if _empty(value)})


def secret_contents(
    given: Mapping[str, Any], made: Mapping[str, str], directory: str
) -> dict[str, Any]:
    """Return path -> content of secrets in a directory, of empty ones what the host made."""
    return {
        f"{directory}/{name}": made.get(name, "") if _empty(value) else _content(value)
        for name, value in given.items()
    }


def secret_problem(name: str, value: Any, variable: bool) -> str:
    """Return what is wrong with a secret, or nothing."""
    if isinstance(value, Mapping):
        if list(value) != ["base64"]:
            return f"{name} must be text or {{base64: ...}}, and has {', '.join(map(str, value))}"
        if variable:
            return f"{name} is {{base64: ...}}, and a variable is text; use flask_secret_files"
        try:
            base64.b64decode("".join(str(value["base64"]).split()), validate=True)
        except (binascii.Error, ValueError):
            return f"{name} is no base64; `base64 -w0 FILE` makes it"
    elif isinstance(value, (list, tuple)):
        return f"{name} must be text or {{base64: ...}}, and is a list"
    elif value is True and not variable:
        return f"{name} must be text, and is true; put it in quotes"
    elif "\0" in str(value):
        return f"{name} has a character 0; write it as {{base64: ...}} in flask_secret_files"
    return ""


def secret_problems(variables: Mapping[str, Any], files: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with the secrets, and never what is in them."""
    found = [
        *(secret_problem(f"flask_secret_env.{k}", v, True) for k, v in variables.items()),
        *(secret_problem(f"flask_secret_files.{k}", v, False) for k, v in files.items()),
    ]
    return [one for one in found if one]


class FilterModule:
    """Filters of the role."""

    def filters(self) -> dict[str, Any]:
        """Return them by name."""
        return {
            "secret_contents": secret_contents,
            "secret_files_of": secret_files_of,
            "secret_problems": secret_problems,
            "secrets_made": secrets_made,
        }
