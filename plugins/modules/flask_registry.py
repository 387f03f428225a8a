#!/usr/bin/python
"""Ask a registry for a release's image, push it there, or pull it by its digest."""

from __future__ import annotations

DOCUMENTATION = r"""
module: flask_registry
short_description: Ask a registry for a release's image, push it there, or pull it by its digest
description:
  - The tag of an image is the checksum of all that it is made of, so it is pushed once and never
    moved.
  - A login goes from here to the engine's socket and from there to the registry; it is in no
    command line, no environment and no file.
options:
  state:
    description:
      - V(asked) tells the digest that the tag stands for.
      - V(pushed) pushes the image unless the registry has the tag.
      - V(pulled) pulls the image by its digest, names it after the release, and notes the digest in
        the release's description.
    type: str
    choices: [asked, pushed, pulled]
    required: true
  repository:
    description: The repository with its registry, such as C(registry.example.com/me/example-flask).
    type: str
    required: true
  build:
    description: Checksum of all that the image is made of, which is its tag there.
    type: str
    required: true
  image:
    description: Name of the image on this host, for V(pushed) and V(pulled).
    type: str
    default: ""
  state_dir:
    description: Directory of the project's state, where the descriptions of its releases are.
    type: path
    default: ""
  release:
    description: Release in whose description the digest is noted; empty for none.
    type: str
    default: ""
  username:
    description: User of the registry; empty where it wants no login.
    type: str
    default: ""
  password:
    description: Password of that user.
    type: str
    default: ""
  socket:
    description: Path of the engine's socket.
    type: path
    default: /var/run/docker.sock
author: [Slipway]
"""

RETURN = r"""
digest:
  description: The image's digest in the registry; empty when the registry has no such tag.
  type: str
  returned: success
reference:
  description: The image's name in the registry.
  type: str
  returned: success
"""

import json
import re
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.slipway.engine_api import Engine, EngineError
from ansible.module_utils.slipway.flask_host import Ledger, replace

DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
ABSENT = re.compile(r"manifest unknown|name unknown|repository name not known", re.I)
REFUSED = re.compile(r"unauthorized|denied|authentication required|no basic auth", re.I)


class RegistryError(Exception):
    """What is wrong with the registry, as a sentence without its full stop."""


class Registry:
    """A repository of a registry, as the engine reaches it."""

    def __init__(self, engine: Engine, repository: str, build: str, login: dict[str, str]) -> None:
        """Remember where it is."""
        self.engine, self.repository, self.build, self.login = engine, repository, build, login
        self.host = repository.partition("/")[0]
        self.reference = f"{repository}:{build}"

    def problem(self, error: EngineError, doing: str) -> RegistryError:
        """Return the sentence for what the engine said of the registry."""
        reason = str(error)[:300].rstrip(". ")
        if error.status in (401, 403) or REFUSED.search(reason):
            user = self.login.get("username")
            return RegistryError(
                f"the registry {self.host} refuses the login of {user} ({reason}): correct"
                " flask_registry_username and flask_registry_password"
                if user
                else f"the registry {self.host} wants a login ({reason}): set"
                " flask_registry_username and flask_registry_password"
            )
        return RegistryError(
            f"the registry {self.host} does not answer as it should when {doing} ({reason}):"
            " look at flask_registry, and whether the engine there reaches the registry and trusts"
            " its certificate"
        )

    def asked(self) -> str:
        """Return the digest that the tag stands for, or nothing; raise RegistryError."""
        try:
            said = self.engine.ask(
                "GET", f"/distribution/{self.reference}/json", login=self.login, patience=120
            )
        except EngineError as problem:
            if problem.status == 404 or (
                ABSENT.search(str(problem)) and not REFUSED.search(str(problem))
            ):
                return ""
            raise self.problem(problem, f"it is asked for {self.reference}") from None
        digest = str(said["Descriptor"]["digest"])
        if not DIGEST.fullmatch(digest):
            raise RegistryError(f"the registry {self.host} names a digest that is none: {digest}")
        made_for = {one.get("architecture") for one in said.get("Platforms") or []} - {None, ""}
        here = str((self.engine.ask("GET", "/version") or {}).get("Arch", ""))
        if made_for and here and here not in made_for:
            raise RegistryError(
                f"{self.reference} was built for {', '.join(sorted(made_for))}, and this host's"
                f" engine is one for {here}: build on a machine of that kind"
            )
        return digest

    def push(self, image: str) -> str:
        """Push an image, and return its digest; raise RegistryError."""
        tag = f"repo={self.repository}&tag={self.build}"
        doing = f"{self.reference} is pushed"
        try:
            self.engine.ask("POST", f"/images/{image}/tag?{tag}")
            try:
                self.engine.ask(
                    "POST", f"/images/{self.repository}/push?tag={self.build}", login=self.login
                )
            finally:
                # With it goes what the engine noted of the digest; the image has its own name.
                self.engine.ask("DELETE", f"/images/{self.reference}?noprune=true")
        except EngineError as problem:
            raise self.problem(problem, doing) from None
        digest = self.asked()
        if not digest:
            raise RegistryError(
                f"the registry {self.host} took {self.reference} and does not have it: look at"
                " its log"
            )
        return digest

    def pull(self, digest: str, image: str) -> None:
        """Pull an image by its digest and give it a name; raise RegistryError."""
        name = f"{self.repository}@{digest}"
        try:
            if self.engine.image(name) is None:
                what = f"/images/create?fromImage={self.repository}&tag={digest}"
                self.engine.ask("POST", what, login=self.login)
            found = self.engine.image(name) or {}
            labels = (found.get("Config") or {}).get("Labels") or {}
            if labels.get("slipway.build") != self.build:
                self.engine.ask("DELETE", f"/images/{name}")
                raise RegistryError(
                    f"what the registry has as {self.reference} ({digest}) is an image of something"
                    " else: somebody moved the tag, so push the image anew under a"
                    " flask_image_revision of its own"
                )
            repository, _, tag = image.rpartition(":")
            self.engine.ask("POST", f"/images/{name}/tag?repo={repository}&tag={tag}")
        except EngineError as problem:
            raise self.problem(problem, f"{name} is pulled") from None


def wanted(registry: Registry, known: str) -> str:
    """Return the digest to pull; raise RegistryError when the tag is gone, or was moved.

    known is the digest that a release of the same image was deployed from.
    """
    if known and registry.engine.image(f"{registry.repository}@{known}"):
        return known
    digest = registry.asked()
    if not digest:
        raise RegistryError(
            f"the registry has no {registry.reference}, which is the image of this source with"
            " these settings: make it with `./slipway build` and the same inventory"
        )
    if known and digest != known:
        raise RegistryError(
            f"{registry.reference} is {digest} in the registry, and it was {known} when this host"
            " deployed it: somebody moved the tag, so nothing was pulled; put the image of before"
            " back there, or build anew under another flask_image_revision"
        )
    return digest


def description(ledger: Ledger, release: str) -> Path:
    """Return the path of a release's description."""
    return Path(ledger.state_dir) / "releases" / f"{release}.json"


def note(ledger: Ledger, release: str, repository: str, digest: str) -> None:
    """Note in a release's description, if there is one, where its image is in a registry."""
    path = description(ledger, release)
    if release and path.exists():
        spec = json.loads(path.read_text()) | {"repository": repository, "digest": digest}
        replace(path, json.dumps(spec, indent=1) + "\n", 0o600)


def pushed(registry: Registry, ledger: Ledger, given: dict[str, Any], check: bool) -> list[Any]:
    """Push the image of a release unless the registry has it; return whether, and the digest.

    What this host pushed or pulled before is not asked for again. Of what another machine pushed
    nothing is noted, since the image of this host may be another one of the same build.
    """
    release, repository = given["release"], given["repository"]
    if release and description(ledger, release).exists():
        known = ledger.digest_of(given["build"], repository)
        if known:
            if not check:
                note(ledger, release, repository, known)
            return [False, known]
    digest = registry.asked()
    if digest or check:
        return [not digest, digest]
    digest = registry.push(given["image"])
    note(ledger, release, repository, digest)
    return [True, digest]


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "required": True, "choices": ["asked", "pushed", "pulled"]},
            "repository": {"type": "str", "required": True},
            "build": {"type": "str", "required": True},
            "image": {"type": "str", "default": ""},
            "state_dir": {"type": "path", "default": ""},
            "release": {"type": "str", "default": ""},
            "username": {"type": "str", "default": ""},
            "password": {"type": "str", "default": "", "no_log": True},
            "socket": {"type": "path", "default": "/var/run/docker.sock"},
        },
        required_if=[
            ("state", "pushed", ["image", "state_dir"]),
            ("state", "pulled", ["image", "state_dir", "release"]),
        ],
        supports_check_mode=True,
    )  # fmt: skip
    given = module.params
    login = {"username": given["username"], "password": given["password"]}
    # Without an address older engines with images in containerd take the login for Docker Hub's.
    host = given["repository"].partition("/")[0]
    if host != "docker.io":
        login["serveraddress"] = host
    registry = Registry(
        Engine(given["socket"]), given["repository"], given["build"],
        login if given["username"] else {},
    )  # fmt: skip
    changed, digest = False, ""
    try:
        if given["state"] == "pulled":
            ledger = Ledger(given["state_dir"])
            known = ledger.digest_of(given["build"], given["repository"])
            digest, changed = wanted(registry, known), True
            if not module.check_mode:
                registry.pull(digest, given["image"])
                note(ledger, given["release"], given["repository"], digest)
        elif given["state"] == "pushed":
            ledger = Ledger(given["state_dir"])
            changed, digest = pushed(registry, ledger, given, module.check_mode)
        else:
            digest = registry.asked()
    except (RegistryError, EngineError) as problem:
        module.fail_json(msg=str(problem))
    module.exit_json(changed=changed, digest=digest, reference=registry.reference)


if __name__ == "__main__":
    main()
