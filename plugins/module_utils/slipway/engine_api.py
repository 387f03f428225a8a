"""The engine's own API over its socket, for what its client cannot do without a file of logins."""

from __future__ import annotations

import base64
import http.client
import json
from collections.abc import Iterator, Mapping
from typing import Any

from ansible.module_utils.slipway.engine import SOCKET, SocketConnection


class EngineError(Exception):
    """The engine refused; it carries its own words, and the status of its answer, 0 without one."""

    def __init__(self, said: str, status: int = 0) -> None:
        """Put the words into one line."""
        super().__init__(" ".join(said.split()) or "no reason given")
        self.status = status


def login_header(login: Mapping[str, str]) -> dict[str, str]:
    """Return the header with which the engine asks a registry; it keeps nothing of it."""
    text = base64.urlsafe_b64encode(json.dumps(dict(login)).encode()).decode()
    return {"X-Registry-Auth": text}


class Engine:
    """The engine behind a socket."""

    def __init__(self, path: str = SOCKET) -> None:
        """Remember the path."""
        self.path = path

    def lines(
        self, method: str, what: str, login: Mapping[str, str] | None = None, patience: int = 600
    ) -> Iterator[Any]:
        """Yield what the engine answers, line by line; raise EngineError when it refuses.

        patience is how many seconds it may be silent.
        """
        connection = SocketConnection(self.path, patience)
        headers = {"Content-Length": "0"} | ({} if login is None else login_header(login))
        try:
            connection.request(method, what, headers=headers)
            answer = connection.getresponse()
            if answer.status >= 400:
                raise EngineError(reason_in(answer.read()), answer.status)
            for line in answer:
                if line.strip():
                    said = json.loads(line)
                    # The status was sent before it failed.
                    if isinstance(said, dict) and said.get("error"):
                        raise EngineError(str(said["error"]), answer.status)
                    yield said
        except (OSError, ValueError, http.client.HTTPException) as problem:
            raise EngineError(f"the engine does not answer on {self.path} ({problem})") from None
        finally:
            connection.close()

    def ask(self, method: str, what: str, **options: Any) -> Any:
        """Return the last line of the answer, None when it is empty; raise as `lines` does."""
        said = None
        for line in self.lines(method, what, **options):
            said = line
        return said

    def image(self, name: str) -> dict[str, Any] | None:
        """Return what the engine knows of an image, None when it does not have it."""
        try:
            found: dict[str, Any] = self.ask("GET", f"/images/{name}/json")
        except EngineError as problem:
            if problem.status == 404:
                return None
            raise
        return found


def reason_in(answer: bytes) -> str:
    """Return the words in an answer that is a refusal."""
    text = answer.decode(errors="replace")
    try:
        return str(json.loads(text)["message"])
    except (ValueError, KeyError, TypeError):
        return text
