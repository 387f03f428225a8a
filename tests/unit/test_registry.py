"""Images that are built once: what tells them, how they come out of a registry and into it."""

from __future__ import annotations

import base64
import http.server
import importlib
import json
import socketserver
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.unit.rendering import FACTS, ROLES, evaluate, load_tasks

api = importlib.import_module("ansible.module_utils.slipway.engine_api")
host = importlib.import_module("ansible.module_utils.slipway.flask_host")
registry = importlib.import_module("plugins.modules.flask_registry")
build = importlib.import_module("plugins.filter.flask_build")
prune = importlib.import_module("plugins.modules.flask_prune")

REPOSITORY, BUILD, RELEASE = "registry.test:5000/me/shop-flask", "b" * 12, "a" * 12
ONE, OTHER = "sha256:" + "1" * 64, "sha256:" + "2" * 64
LOGIN = {"username": "ci", "password": "s3cret"}


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers as the engine does: what was seen of Docker 20.10 with registries of each kind."""

    server: Standing
    protocol_version = "HTTP/1.1"

    def address_string(self) -> str:
        """Have none, on a unix socket."""
        return "-"

    def log_message(self, *_: Any) -> None:
        """Write no log."""

    def reply(self, status: int, *lines: Any) -> None:
        """Send lines of JSON, each as it comes."""
        self.send_response(status)
        if not lines:
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for line in lines:
            text = json.dumps(line).encode() + b"\r\n"
            self.wfile.write(f"{len(text):x}\r\n".encode() + text + b"\r\n")
        self.wfile.write(b"0\r\n\r\n")

    def do(self) -> None:
        """Answer a request."""
        engine, url = self.server, urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        given = self.headers.get("X-Registry-Auth")
        login = json.loads(base64.urlsafe_b64decode(given)) if given else None
        engine.asked.append((f"{self.command} {self.path}", login))
        name = url.path.removeprefix("/images/").rpartition("/")[0]
        if url.path == "/version":
            self.reply(200, {"Arch": "amd64"})
        elif url.path.startswith("/distribution/") or url.path == "/images/create":
            if engine.refusal:
                self.reply(engine.refusal[0], {"message": engine.refusal[1]})
            elif url.path == "/images/create":
                pulled = f"{query['fromImage']}@{query['tag']}"
                engine.images[pulled] = {"Config": {"Labels": {"slipway.build": engine.holds}}}
                self.reply(200, {"status": "Pulling"}, *engine.said)
            elif engine.digest:
                descriptor = {"digest": engine.digest}
                platforms = [{"architecture": engine.built_for, "os": "linux"}]
                self.reply(200, {"Descriptor": descriptor, "Platforms": platforms})
            else:
                self.reply(404, {"message": "manifest unknown: manifest unknown"})
        elif url.path.endswith("/push"):
            engine.digest = engine.digest or ONE
            self.reply(200, {"status": "Pushing"}, *engine.said)
        elif url.path.endswith("/tag"):
            engine.images[f"{query['repo']}:{query['tag']}"] = engine.images.get(name, {})
            self.reply(201)
        elif self.command == "DELETE":
            engine.images.pop(url.path.removeprefix("/images/"), None)
            self.reply(200, [])
        elif name in engine.images:
            self.reply(200, engine.images[name])
        else:
            self.reply(404, {"message": f"No such image: {name}"})

    do_GET = do_POST = do_DELETE = do  # noqa: N815


class Standing(socketserver.ThreadingUnixStreamServer):
    """Stands for an engine and the registry behind it."""

    daemon_threads = True

    def handle_error(self, *_: Any) -> None:
        """Say nothing of a client that has gone: it read a refusal, and no further."""

    def __init__(self, path: str) -> None:
        """Have no image, and a registry without one."""
        super().__init__(path, Handler)
        self.images: dict[str, Any] = {}
        self.asked: list[tuple[str, Any]] = []
        self.said: list[Any] = []
        self.refusal: tuple[int, str] | None = None
        self.digest, self.holds, self.built_for = "", BUILD, "amd64"


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Standing]:
    """Return an engine that answers on a socket."""
    with Standing(str(tmp_path / "docker.sock")) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def seen(engine: Standing, login: dict[str, str] | None = None) -> Any:
    """Return the registry as the engine reaches it."""
    path = str(engine.server_address)
    given = LOGIN if login is None else login
    return registry.Registry(api.Engine(path), REPOSITORY, BUILD, given)


def described(state: Path, release: str = RELEASE, **more: Any) -> Any:
    """Return a ledger with the description of a release."""
    (state / "releases").mkdir(parents=True, exist_ok=True)
    spec = {"release": release, "build": BUILD, **more}
    (state / "releases" / f"{release}.json").write_text(json.dumps(spec))
    (state / "releases" / f"{release}.flask.cdx.json").write_text("{}")
    return host.Ledger(str(state))


def test_an_image_is_pulled_by_its_digest_and_named_after_the_release(engine: Standing) -> None:
    """Never by the tag, which may move between the question and the pull."""
    engine.digest = ONE
    one = seen(engine)
    digest = registry.wanted(one, "")
    one.pull(digest, f"shop-flask:{RELEASE}")
    assert digest == ONE
    assert f"shop-flask:{RELEASE}" in engine.images
    assert (f"POST /images/create?fromImage={REPOSITORY}&tag={ONE}", LOGIN) in engine.asked
    # The engine alone is told the login, and only where it asks the registry.
    told = [what for what, login in engine.asked if login]
    assert [what.split("?")[0] for what in told] == [
        f"GET /distribution/{REPOSITORY}:{BUILD}/json", "POST /images/create",
    ]  # fmt: skip
    assert not any("s3cret" in what for what, _ in engine.asked)


def test_what_the_host_has_needs_no_registry(engine: Standing) -> None:
    """A changed setting is a release of the same image, also while the registry is away."""
    engine.images[f"{REPOSITORY}@{ONE}"] = {"Config": {"Labels": {"slipway.build": BUILD}}}
    engine.refusal = (500, "connection refused")
    one = seen(engine)
    one.pull(registry.wanted(one, ONE), f"shop-flask:{RELEASE}")
    assert f"shop-flask:{RELEASE}" in engine.images


@pytest.mark.parametrize(
    ("refusal", "login", "sentence"),
    [
        (
            (500, 'Get "https://registry.test:5000/v2/": dial tcp: connect: connection refused'),
            LOGIN,
            "registry.test:5000 does not answer as it should when it is asked for .*refused",
        ),
        ((401, "unauthorized"), LOGIN, "refuses the login of ci .*: correct flask_registry_user"),
        ((500, "x: no basic auth credentials"), {}, "wants a login .*: set flask_registry_user"),
    ],
)
def test_a_registry_that_gives_nothing_is_a_sentence(
    engine: Standing, refusal: tuple[int, str], login: dict[str, str], sentence: str
) -> None:
    """Which says what to look at, and not the password."""
    engine.refusal = refusal
    with pytest.raises(registry.RegistryError, match=sentence) as said:
        registry.wanted(seen(engine, login), "")
    assert "s3cret" not in str(said.value)


def test_an_engine_that_is_away_is_a_sentence(tmp_path: Path) -> None:
    """It is no registry that refuses."""
    one = registry.Registry(api.Engine(str(tmp_path / "none")), REPOSITORY, BUILD, {})
    with pytest.raises(registry.RegistryError, match=r"the engine does not answer on .*/none"):
        registry.wanted(one, "")


def test_an_image_that_nobody_pushed_is_a_sentence(engine: Standing) -> None:
    """Whoever deploys without a build is told of it."""
    with pytest.raises(registry.RegistryError, match=r"has no .*:b{12}, .* `\./slipway build`"):
        registry.wanted(seen(engine), "")


def test_a_tag_that_moved_is_refused(engine: Standing) -> None:
    """By the digest that this host deployed, where it does not have the image any more."""
    engine.digest = OTHER
    with pytest.raises(registry.RegistryError, match=f"is {OTHER} in .* was {ONE} when this host"):
        registry.wanted(seen(engine), ONE)
    assert not any("create" in what for what, _ in engine.asked)


def test_an_image_of_something_else_is_refused(engine: Standing) -> None:
    """On a host that has nothing to compare the digest with, by what the image says it is."""
    engine.digest, engine.holds = ONE, "c" * 12
    one = seen(engine)
    with pytest.raises(registry.RegistryError, match="is an image of something else"):
        one.pull(registry.wanted(one, ""), f"shop-flask:{RELEASE}")
    assert engine.images == {}


def test_an_image_for_another_machine_is_refused(engine: Standing) -> None:
    """Before it is pulled: it would start with `exec format error`."""
    engine.digest, engine.built_for = ONE, "arm64"
    with pytest.raises(registry.RegistryError, match=r"built for arm64, .* is one for amd64"):
        registry.wanted(seen(engine), "")


def test_a_pull_that_fails_half_way_is_a_sentence(engine: Standing) -> None:
    """The engine has said 200 by then."""
    engine.digest, engine.said = ONE, [{"error": "unexpected EOF"}]
    with pytest.raises(registry.RegistryError, match=r"is pulled \(unexpected EOF\)"):
        seen(engine).pull(ONE, f"shop-flask:{RELEASE}")


def test_a_push_leaves_no_name_of_the_registry(engine: Standing) -> None:
    """The image stays under its own, so that it goes when the release goes."""
    engine.images[f"shop-flask:{RELEASE}"] = {}
    assert seen(engine).push(f"shop-flask:{RELEASE}") == ONE
    assert list(engine.images) == [f"shop-flask:{RELEASE}"]
    engine.said = [{"error": "denied: requested access to the resource is denied"}]
    with pytest.raises(registry.RegistryError, match="refuses the login of ci"):
        seen(engine).push(f"shop-flask:{RELEASE}")
    assert list(engine.images) == [f"shop-flask:{RELEASE}"]


def test_the_digest_is_in_the_description_of_the_release(tmp_path: Path) -> None:
    """There another release of the same image finds it, and bills of materials are none."""
    ledger = described(tmp_path, env={"A": "b"})
    assert ledger.digest_of(BUILD, REPOSITORY) == ""
    registry.note(ledger, RELEASE, REPOSITORY, ONE)
    registry.note(ledger, "c" * 12, REPOSITORY, OTHER)
    described(tmp_path, "d" * 12)
    assert ledger.digest_of(BUILD, REPOSITORY) == ONE
    assert ledger.digest_of(BUILD, "other.example/shop") == "", "another registry, another image"
    assert ledger.digest_of("c" * 12, REPOSITORY) == ledger.digest_of("", REPOSITORY) == ""
    path = tmp_path / "releases" / f"{RELEASE}.json"
    assert json.loads(path.read_text())["env"] == {"A": "b"}
    assert path.stat().st_mode & 0o777 == 0o600


def test_what_was_pushed_before_is_not_asked_for_again(engine: Standing, tmp_path: Path) -> None:
    """A changed setting needs no registry; nor does what another machine pushed become ours."""
    image = f"shop-flask:{RELEASE}"
    engine.images[image] = {}
    ledger = described(tmp_path)
    given = {"release": RELEASE, "repository": REPOSITORY, "build": BUILD, "image": image}
    engine.said = []
    engine.digest = ONE
    assert registry.pushed(seen(engine), ledger, given, False) == [False, ONE]
    assert ledger.digest_of(BUILD, REPOSITORY) == "", "another machine pushed it"
    registry.note(ledger, RELEASE, REPOSITORY, ONE)
    engine.digest = OTHER
    assert registry.pushed(seen(engine), ledger, given, False) == [False, ONE]


class Commands:
    """Answers docker's commands, and notes them."""

    params = {"project": "shop"}  # noqa: RUF012

    def __init__(self, answers: dict[str, str]) -> None:
        """Take the answers by the beginning of what is asked."""
        self.answers, self.ran = answers, list[str]()

    def run_command(self, command: list[str]) -> tuple[int, str, str]:
        """Return the answer."""
        self.ran.append(" ".join(command[1:]))
        return 0, next((a for b, a in self.answers.items() if self.ran[-1].startswith(b)), ""), ""


@pytest.mark.parametrize(
    ("known", "container", "removed"),
    [
        (f'[] ["{REPOSITORY}@{ONE}"]', "", True),
        (f'["shop-flask:{RELEASE}"] ["{REPOSITORY}@{ONE}"]', "", False),
        (f'[] ["{REPOSITORY}@{ONE}"]', OTHER, False),
        ("[] []", "", False),
    ],
)
def test_a_pulled_image_goes_with_its_last_release(
    known: str, container: str, removed: bool
) -> None:
    """Its digest is a name, too, which would keep it."""
    module = Commands({"ps": container, "image ls": OTHER, "image inspect": known})
    prune.prune_pulled(module)
    assert (f"image rm {REPOSITORY}@{ONE}" in module.ran) == removed
    assert len([one for one in module.ran if one.startswith("image rm")]) == removed


# What tells an image

SDIST = {
    "sha256": "f" * 64, "lock": "", "name": "shop", "version": "1.0", "dependencies": [],
    "dynamic": False,
}  # fmt: skip
BASE = {"name": "python:3.13-slim", "id": "sha256:base", "wanted": "python 3.13 "}


def built(cores: int = 2, **variables: Any) -> str:
    """Return the checksum of an image, on a host with some cores."""
    known = {
        "slipway_project": "shop", "ansible_managed": "managed", "flask_module": "shop:app",
        "flask_base_image": BASE, "__flask_sdist": SDIST, "flask_engine": {"buildx": True},
        "ansible_facts": {**FACTS, "processor_nproc": cores},
    }  # fmt: skip
    return str(evaluate("flask", "__flask_build", **{**known, **variables}))


SHIPPED: list[dict[str, Any]] = [
    {"flask_registry": "registry.test/me"},
    {"flask_registry": "registry.test/me", "flask_image_source": "registry"},
    {"flask_image_source": "archive"},
]


@pytest.mark.parametrize("given", SHIPPED)
def test_an_image_for_several_machines_is_told_by_the_settings(given: dict[str, Any]) -> None:
    """Not by the machine that builds: another host has other cores, and no base image."""
    bare = {**BASE, "name": "", "id": ""}
    told = built(**SHIPPED[0])
    assert built(64, flask_base_image=bare, flask_engine={"buildx": False}, **given) == told
    pinned = {**BASE, "wanted": f"python 3.13 {ONE}"}
    others = [
        built(flask_base_image=pinned, **given), built(flask_image_revision="2", **given),
        built(flask_uid=7, **given),
    ]  # fmt: skip
    assert len({told, *others}) == 4


def test_an_image_for_this_host_is_told_by_its_base_image() -> None:
    """As ever: security updates of the base image are another image without being asked for."""
    assert built() != built(flask_base_image={**BASE, "id": "sha256:newer"})
    assert built() == built(flask_base_image={**BASE, "wanted": "python 3.12 "})
    assert built() != built(**SHIPPED[0])


@pytest.mark.parametrize(
    ("name", "fits"),
    [
        ("registry.example.com/me", True), ("registry.example.com:5000/me/too", True),
        ("localhost/me", True), ("localhost:5000", True), ("127.0.0.1:5000/me", True),
        ("docker.io/me_too", True), ("builder:5000/me", True),
        ("me", False), ("me/too", False), ("https://registry.example.com/me", False),
        ("registry.example.com/", False), ("registry.example.com/Me", False),
        ("registry.example.com/me:tag", False), ("user@registry.example.com/me", False),
    ],
)  # fmt: skip
def test_a_registry_is_a_host_and_a_path(name: str, fits: bool) -> None:
    """The engine would else take it for one of the default registry's."""
    tasks = load_tasks(ROLES / "flask/tasks/validate.yml")
    task = next(one for one in tasks if "registry that is none" in one["name"])
    that = task["ansible.builtin.assert"]["that"]
    assert bool(evaluate("flask", that, flask_registry=name)) == fits


def test_an_archive_tells_which_build_it_holds() -> None:
    """By the label of its image; one of somebody else's has none."""
    images = [
        {"configuration": {"config": {"Labels": {"slipway.build": BUILD}}}},
        {"configuration": {"config": {}}},
        {"configuration": {}},
    ]
    assert build.archived_builds(images) == [BUILD, "", ""]


ARCHIVED = {"configuration": {"config": {"Labels": {"slipway.build": BUILD}}}}


@pytest.mark.parametrize(
    ("given", "there", "where", "digest", "shipped"),
    [
        (SHIPPED[0], {"__flask_asked": {"digest": ONE}}, f"r/shop-flask:{BUILD}", ONE, True),
        (SHIPPED[0], {"__flask_asked": {"digest": ""}, "__flask_pushed": {"digest": OTHER}},
         f"r/shop-flask:{BUILD}", OTHER, False),
        # In check mode on a machine that has no engine yet.
        (SHIPPED[0], {"__flask_asked": {"skipped": True}}, f"r/shop-flask:{BUILD}", "", False),
        ({"flask_image_archives": "/srv"}, {"__flask_archived": {"images": []}},
         f"/srv/shop-flask-{BUILD}.tar", "", False),
        ({"flask_image_archives": "/srv"}, {"__flask_archived": {"images": [ARCHIVED]}},
         f"/srv/shop-flask-{BUILD}.tar", "", True),
    ],
)  # fmt: skip
def test_a_build_says_where_its_image_is(
    given: dict[str, Any], there: dict[str, Any], where: str, digest: str, shipped: bool
) -> None:
    """Whether it was made now or before."""
    tasks = load_tasks(ROLES / "flask/tasks/ship.yml")
    facts = [one["ansible.builtin.set_fact"] for one in tasks if "ansible.builtin.set_fact" in one]
    expression = next(one["__flask_shipped"] for one in facts if "__flask_shipped" in one)
    known = {
        **given, **there, "slipway_project": "shop", "__flask_build_id": BUILD,
        "__flask_sdist": SDIST,
    }  # fmt: skip
    if "flask_registry" in given:
        known["flask_registry"] = "r"
    found = evaluate("flask", expression.strip().removeprefix("{{").removesuffix("}}"), **known)
    assert found == shipped
    told = next(one["flask_shipped"] for one in facts if "flask_shipped" in one)
    said = evaluate("flask", "told", told=told, **known, __flask_shipped=shipped)
    assert (said["where"], said["digest"], said["made"]) == (where, digest, not shipped)


def test_the_playbooks_tell_the_base_image_alike() -> None:
    """Else no host would find what was built for it."""
    wanted = "combine({'wanted': __slipway_python})"
    for name in ("build", "site"):
        assert wanted in (ROLES.parent / f"playbooks/{name}.yml").read_text()
