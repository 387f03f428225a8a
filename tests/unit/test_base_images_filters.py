"""Tests of the base_images role's filters."""

from __future__ import annotations

import importlib
import importlib.util
import io
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest

from tests.unit.rendering import evaluate

ROOT = Path(__file__).parents[2]
PATH = ROOT / "plugins/filter/base_images.py"
ROLE = ROOT / "roles/base_images"
spec = importlib.util.spec_from_file_location("base_images_filters", PATH)
assert spec is not None
assert spec.loader is not None
filters = importlib.util.module_from_spec(spec)
spec.loader.exec_module(filters)
archives = importlib.import_module("plugins.modules.image_archives")

KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
NAMES = ["nginx", "python", "postgres"]
VERSIONS = {"nginx": "1.28", "python": "3.13", "postgres": "17"}
SHIPPED = {
    "bookworm": {"nginx": "1.22", "python": "3.11", "postgres": "15"},
    "trixie": {"nginx": "1.26", "python": "3.13", "postgres": "17"},
}
RECIPES = dict.fromkeys(NAMES, "FROM x")
A, B = "sha256:" + "a" * 64, "sha256:" + "b" * 64


def debian(
    versions: dict[str, str] = VERSIONS, suites: dict[str, str] | None = None
) -> dict[str, Any]:
    """Return the candidates built from Debian packages."""
    found: dict[str, Any] = filters.debian_candidates(
        NAMES, versions, SHIPPED, "trixie", suites or {}, RECIPES
    )
    return found


def image(name: str, ident: str = A, recipe: str | None = None) -> dict[str, Any]:
    """Return what docker_image_info tells about an image."""
    labels = {"org.slipway.recipe": recipe} if recipe else None
    return {"Id": ident, "RepoTags": [name], "RepoDigests": [], "Config": {"Labels": labels}}


def test_registry_pins_a_digest_instead_of_a_tag() -> None:
    """A digest replaces the tag; the prefix stays."""
    tags = {"nginx": "1.28", "python": "3.13-slim", "postgres": "17"}
    found = filters.registry_candidates(NAMES, "mirror.example.com/library/", tags, {"python": A})
    assert found["nginx"]["name"] == "mirror.example.com/library/nginx:1.28"
    assert found["python"]["name"] == f"mirror.example.com/library/python@{A}"


def test_debian_takes_the_suite_that_ships_the_version() -> None:
    """Each image finds its suite, nginx its version."""
    found = debian({**VERSIONS, "postgres": "15"})
    assert {name: one["suite"] for name, one in found.items()} == {
        "nginx": "trixie",
        "python": "trixie",
        "postgres": "bookworm",
    }
    assert found["nginx"]["name"] == "slipway/nginx:1.26"
    assert filters.debian_refusals(found, SHIPPED) == []


def test_debian_refuses_a_version_that_no_suite_ships() -> None:
    """The sentence names the variable and what there is."""
    (sentence,) = filters.debian_refusals(debian({**VERSIONS, "postgres": "16"}), SHIPPED)
    assert "base_images_postgres_version is 16" in sentence
    assert "15, 17" in sentence


def test_debian_refuses_a_suite_that_ships_another_version() -> None:
    """Suite and version must agree."""
    (sentence,) = filters.debian_refusals(debian(suites={"python": "bookworm"}), SHIPPED)
    assert "base_images_debian_suites.python is bookworm, which ships 3.11" in sentence


def test_debian_trusts_a_suite_that_it_does_not_know() -> None:
    """A suite newer than the table is tried."""
    found = debian(suites={"postgres": "sid", "nginx": "sid"})
    assert filters.debian_refusals(found, SHIPPED) == []
    assert found["nginx"]["name"] == "slipway/nginx:sid"
    assert found["postgres"]["name"] == "slipway/postgres:17"


def test_an_image_of_another_recipe_is_missing() -> None:
    """A changed recipe builds again."""
    found = debian()
    images = [image(one["name"], recipe=one["recipe"]) for one in found.values()]
    assert filters.missing(found, images) == []
    images[1]["Config"]["Labels"] = {"org.slipway.recipe": "older"}
    images[2]["Config"]["Labels"] = None
    assert filters.missing(found, images) == ["python", "postgres"]


@pytest.mark.parametrize("name", ["nginx:1.28", "registry.example.com/library/nginx:1.28"])
def test_the_engine_may_leave_out_its_default_registry(name: str) -> None:
    """Both spellings are the same image."""
    assert filters.find(name, [image("nginx:1.28")]) is not None


def test_a_name_that_only_ends_alike_is_another_image() -> None:
    """Only whole path parts count."""
    assert filters.find("my-nginx:1.28", [image("nginx:1.28")]) is None


LAYERS = ["sha256:" + "1" * 64, "sha256:" + "2" * 64]
CREATED = "2026-11-28T16:47:04.31584560Z"
ENV = ["PATH=/usr/local/bin:/usr/bin:/bin", "LANG=C.UTF-8", "PYTHON_VERSION=3.13"]
LABELS = {"org.slipway.recipe": "r"}
# A configuration as Docker 20.10 writes it into an archive.
MADE: dict[str, Any] = {
    "architecture": "amd64",
    "config": {
        "Hostname": "", "Env": ENV, "Cmd": ["python3"], "Image": "sha256:44", "Volumes": None,
        "WorkingDir": "", "Entrypoint": None, "OnBuild": None, "Labels": LABELS,
    },
    "created": CREATED,
    "docker_version": "20.10.24+dfsg1",
    "os": "linux",
    "rootfs": {"type": "layers", "diff_ids": LAYERS},
}  # fmt: skip


def archive(path: Path, entries: list[dict[str, Any]], index: Any = None) -> str:
    """Write an archive as `docker save` does; an entry's Config names a file of MADE."""
    with tarfile.open(path, "w:gz" if path.suffix == ".gz" else "w") as tar:
        files = {"manifest.json": entries} | {one["Config"]: MADE for one in entries}
        for name, content in (files | ({"index.json": index} if index else {})).items():
            data = json.dumps(content).encode()
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return str(path)


def in_archives(paths: list[str], wanted: dict[str, str]) -> dict[str, Any]:
    """Return the candidates of archives."""
    images = [image for path in paths for image in archives.images_in(path)]
    found: dict[str, Any] = filters.archive_candidates(images, wanted)
    return found


def test_archives_are_searched_by_image_and_version(tmp_path: Path) -> None:
    """Versions, foreign entries and both spellings of ids."""
    hexes = [one.removeprefix("sha256:") for one in (A, B)]
    old = archive(
        tmp_path / "old.tar", [{"RepoTags": ["slipway/postgres:15"], "Config": f"{hexes[0]}.json"}]
    )
    new = archive(
        tmp_path / "new.tar.gz",
        [
            {"RepoTags": None, "Config": "x"},
            {"RepoTags": ["python:3.13-slim"], "Config": f"blobs/sha256/{hexes[1]}"},
            {"RepoTags": ["postgres:17"], "Config": f"{hexes[0]}.json"},
        ],
    )
    found = in_archives([old, new], {"nginx": "", "python": "3.13", "postgres": "17"})
    assert sorted(found) == ["postgres", "python"]
    assert found["postgres"]["name"] == "postgres:17"
    assert found["postgres"]["ids"] == [A]
    assert found["postgres"]["archive"] == new
    assert filters.archive_tags(archives.images_in(old)) == ["slipway/postgres:15"]
    assert filters.missing(found, [image("python:3.13-slim", B), image("postgres:17", B)]) == [
        "postgres"
    ]


def test_an_id_of_the_containerd_image_store_counts_too(tmp_path: Path) -> None:
    """There the id is the digest of the manifest."""
    path = archive(
        tmp_path / "x.tar",
        [{"RepoTags": ["nginx:1.28"], "Config": "blobs/sha256/" + A[7:]}],
        {"schemaVersion": 2, "manifests": [{"digest": B, "size": 5}]},
    )
    found = in_archives([path], {"nginx": ""})
    assert filters.missing(found, [image("nginx:1.28", B)]) == []


def loaded(**others: Any) -> dict[str, Any]:
    """Return what Docker 29 tells of the image of MADE, loaded into containerd's store.

    Its id is the digest of a manifest that the engine wrote while it loaded it.
    """
    return {
        "Id": "sha256:" + "c" * 64,
        "RepoTags": ["slipway/python:3.13"],
        "RepoDigests": ["slipway/python@sha256:" + "c" * 64],
        "Created": "2026-11-28T16:47:04.3158456Z",
        "Config": {
            "Env": ENV, "Cmd": ["python3"], "WorkingDir": "/", "Labels": LABELS,
        },
        "Architecture": "amd64",
        "Os": "linux",
        "RootFS": {"Type": "layers", "Layers": LAYERS},
        "Descriptor": {
            "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
            "digest": "sha256:" + "c" * 64,
            "size": 529,
        },
        **others,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("there", "gone"),
    [
        (loaded(), False),
        # As the engine's own store tells it.
        (loaded(Id=A, Config=MADE["config"], Created=CREATED), False),
        (loaded(RootFS={"Type": "layers", "Layers": LAYERS[:1]}), True),
        (loaded(Created="2026-11-28T16:48:04.3158456Z"), True),
        (loaded(Config={"Env": ENV, "Cmd": ["python3"], "Labels": None}), True),
        (loaded(RootFS={}), True),
    ],
    ids=["containerd", "own store", "other layers", "other time", "other label", "unknown"],
)
def test_an_image_of_an_archive_is_known_whichever_way_the_engine_names_it(
    tmp_path: Path, there: dict[str, Any], gone: bool
) -> None:
    """An archive of 20.10 has no manifest's digest, and was loaded into Docker 29 in each run."""
    path = archive(
        tmp_path / "x.tar", [{"RepoTags": ["slipway/python:3.13"], "Config": f"{A[7:]}.json"}]
    )
    found = in_archives([path], {"python": "3.13"})
    assert filters.missing(found, [there]) == (["python"] if gone else [])


@pytest.mark.parametrize("kind", ["no file", "no tar", "no list", "list of something else"])
def test_what_is_no_archive_is_no_list(tmp_path: Path, kind: str) -> None:
    """Whatever it is, it is said which."""
    path = tmp_path / "x.tar"
    if kind == "no tar":
        path.write_text("host\n")
    elif kind != "no file":
        with tarfile.open(path, "w") as tar:
            if kind != "no list":
                member = tarfile.TarInfo("manifest.json")
                member.size = 2
                tar.addfile(member, io.BytesIO(b"{}"))
    with pytest.raises((OSError, tarfile.TarError, ValueError)):
        archives.images_in(str(path))


def test_resolved_leaves_the_id_empty_where_there_is_no_image() -> None:
    """Check mode needs the name all the same."""
    found = {"nginx": {"name": "nginx:1.28"}, "python": {"name": "python:3.13-slim"}}
    assert filters.resolved(found, [image("nginx:1.28")]) == {
        "nginx": {"name": "nginx:1.28", "id": A},
        "python": {"name": "python:3.13-slim", "id": ""},
    }


@pytest.mark.parametrize(
    ("result", "sentence"),
    [
        (
            {
                "msg": "non-zero return code",
                "stderr": "I: x\nErr:1 y\nE: Failed to fetch z\nE: more",
            },
            "Failed to fetch z",
        ),
        (
            {
                "msg": "Error building x, message: echo 'E: no', logs: ['echo E: no', "
                r"' ---> Running in 1', '\x1b[91mE\x1b[0m', '\x1b[91m: ', 'Failed to fetch z',"
                " 'E: more']"
            },
            "Failed to fetch z",
        ),
        (
            {"msg": "Building x failed", "stderr": "#5 1.2 E: Unable to locate x\n"},
            "Unable to locate x",
        ),
        ({"msg": "no room"}, "no room"),
        ({}, "no reason given"),
    ],
)
def test_complaint_is_the_first_error(result: dict[str, str], sentence: str) -> None:
    """Whoever said it, and in whatever wrapping."""
    assert filters.complaint(result) == sentence


@pytest.mark.parametrize(("wanted", "strange"), [("17", []), ("18", ["17"])])
def test_digest_of_another_postgres_is_seen(wanted: str, strange: list[str]) -> None:
    """A digest says nothing of the version that it stands for, its image does."""
    there = [
        {"Id": A, "Config": {"Env": ["PATH=/bin", "PG_MAJOR=17"]}},
        {"Id": B, "Config": {"Env": ["PG_MAJOR=15"]}},
    ]
    found = evaluate(
        "base_images",
        "__base_images_other_postgres",
        __base_images_info={"images": there},
        base_images_resolved={"postgres": {"name": "postgres@" + A, "id": A}},
        base_images_postgres_version=wanted,
    )
    assert found == strange


@pytest.mark.parametrize(
    ("said", "lacks"),
    [
        (
            "W: GPG error: http://mirror.example/debian trixie InRelease: The following signatures "
            "couldn't be verified because the public key is not available: NO_PUBKEY "
            "6ED0E7B82643E131 NO_PUBKEY 78DBA3BC47EF2265\nE: The repository "
            "'http://mirror.example/debian trixie InRelease' is not signed.",
            True,
        ),
        (
            "Sub-process /usr/bin/sqv returned an error code (1), error message is: Missing key "
            "B8B80B5B623EAB6AD8775C45B7C5D7D6350947F8, which is needed to verify signature.",
            True,
        ),
        ("W: ... the following signatures were invalid: EXPKEYSIG 648ACFD622F3D138 Debian", True),
        ("E: The repository 'http://127.0.0.1:9/debian trixie Release' does not have one.", False),
        ("", False),
    ],
)
def test_a_keyring_that_is_too_old_is_told(said: str, lacks: bool) -> None:
    """Ubuntu 22.04's keys are older than trixie."""
    assert filters.lacks_keys({"rc": 100, "stderr": said}) == lacks


def test_newer_keys_are_used_with_sources_that_name_no_keyring(tmp_path: Path) -> None:
    """Left to itself mmdebstrap names the host's keyring, the one that is too old."""
    hook = evaluate("base_images", "__base_images_unsigned_hook").removeprefix("--setup-hook=")
    sources = tmp_path / "etc/apt/sources.list"
    sources.parent.mkdir(parents=True)
    # As mmdebstrap 1.3.5 writes them.
    signed = f'deb [signed-by="{KEYRING}"] http://mirror.example/debian trixie main\n'
    sources.write_text(signed + "deb http://mirror.example/debian trixie-updates main\n")
    subprocess.run(["sh", "-c", hook, "exec", tmp_path], check=True)
    assert sources.read_text().splitlines() == [
        "deb http://mirror.example/debian trixie main",
        "deb http://mirror.example/debian trixie-updates main",
    ]
    text = (ROLE / "tasks/debian_base.yml").read_text()
    assert "[] if sources else [__base_images_unsigned_hook]" in text


@pytest.mark.parametrize(
    ("keyring", "code", "said"),
    [
        ("", 0, ""),
        ("", 100, "nor does it for bullseye: install a newer debian-archive-keyring there"),
        ("/etc/mine.gpg", 0, "name one in base_images_debian_keyring that does"),
    ],
    ids=["brought", "too old for that too", "somebody's choice"],
)
def test_newer_keys_come_from_a_suite_that_the_old_ones_vouch_for(
    tmp_path: Path, keyring: str, code: int, said: str
) -> None:
    """By mmdebstrap's own means; here a stand-in notes how it is called."""
    program = tmp_path / "bin/mmdebstrap"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" >{tmp_path}/called\nexit {code}\n')
    program.chmod(0o755)
    given = {
        "ansible_python_interpreter": sys.executable,
        "__base_images_suite": "trixie",
        "__base_images_mirrors": {"debian": "http://mirror.example/debian", "security": ""},
        "__base_images_apt_options": ["--aptopt=Acquire::Retries 3"],
        "__base_images_proxies": {},
        "__base_images_workspace": {"path": str(tmp_path)},
        **({"base_images_debian_keyring": keyring} if keyring else {}),
    }
    bring = {"name": "base_images", "tasks_from": "debian_keys"}
    brought = "<{{ __base_images_brought_keyring }}>"
    play = {
        "name": "Keys", "hosts": "localhost", "connection": "local", "gather_facts": False,
        "tasks": [
            {"name": "Bring them", "ansible.builtin.include_role": bring},
            {"name": "Say", "ansible.builtin.debug": {"msg": brought}},
        ],
    }  # fmt: skip
    (tmp_path / "play.yml").write_text(json.dumps([play]))
    ran = subprocess.run(
        [
            Path(sys.executable).with_name("ansible-playbook"), "-i", "localhost,",
            "-e", json.dumps(given), tmp_path / "play.yml",
        ],
        capture_output=True, text=True, check=False,
        env={
            **os.environ, "PATH": f"{program.parent}:{os.environ['PATH']}",
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            "ANSIBLE_ROLES_PATH": str(ROOT / "roles"),
        },
    )  # fmt: skip
    text = " ".join(ran.stdout.split())
    if said:
        assert ran.returncode != 0
        assert said in text
        assert "has no key that vouches for Debian trixie" in text
        return
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert f"<{tmp_path}/keys{KEYRING}>" in text
    assert (tmp_path / "called").read_text().splitlines() == [
        "--mode=root",
        "--variant=extract",
        "--include=debian-archive-keyring",
        "--aptopt=Acquire::Retries 3",
        f"--keyring={KEYRING}",
        "bullseye",
        f"{tmp_path}/keys",
        "deb http://mirror.example/debian bullseye main",
    ]


@pytest.mark.parametrize(
    ("version", "old"),
    [("0.8", True), ("0.8.4", True), ("1.3.4", True), ("1.3.5", False), ("1.10.0", False)],
)
def test_an_older_mmdebstrap_is_known(version: str, old: bool) -> None:
    """By its version as a version, and not as text."""
    given = {"__base_images_mmdebstrap": {"stdout": f"mmdebstrap {version}"}}
    found = evaluate("base_images", "__base_images_mmdebstrap_old", **given)
    assert found.startswith(f"The mmdebstrap of host is {version}, and") == old
    assert bool(found) == old


@pytest.mark.parametrize(("version", "old"), [("0.8", True), ("1.3.5", False)])
def test_an_older_mmdebstrap_is_told_before_the_build_and_with_its_failure(
    tmp_path: Path, version: str, old: bool
) -> None:
    """Ubuntu 22.04's is older than any that was tried; here a stand-in fails to build."""
    role = tmp_path / "roles/base_images"
    (role / "library").mkdir(parents=True)
    (role / "tasks").mkdir()
    for part in ("vars", "defaults", "files"):
        (role / part).symlink_to(ROLE / part)
    for path in (ROLE / "tasks").iterdir():
        text = path.read_text().replace("ansible.builtin.apt:", "no_apt:")
        (role / "tasks" / path.name).write_text(text)
    (role / "library/no_apt.py").write_text(
        "#!/usr/bin/python\n# WANT_JSON\nprint('{\"changed\": false}')\n"
    )
    build = {"name": "Build", "ansible.builtin.command": {"argv": ["mmdebstrap", "build"]}}
    (role / "tasks/debian_base.yml").write_text(json.dumps([build]))
    answers = {
        "mmdebstrap": f"test $1 = --version || {{ echo E: no such suite >&2; exit 1; }}\n"
        f"echo mmdebstrap {version}",
        "apt-get": "", "apt-config": "", "docker": "exit 1",
    }  # fmt: skip
    (tmp_path / "bin").mkdir()
    for name, text in answers.items():
        (tmp_path / "bin" / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / "bin" / name).chmod(0o755)
    given = {
        "ansible_python_interpreter": sys.executable,
        "ansible_facts": {"distribution": "Debian"},
        "__base_images_todo": ["nginx"],
        "__base_images_debian": {"nginx": {"suite": "trixie", "name": "x"}},
        "base_images_http_proxy": "",
    }
    play = {
        "name": "Build", "hosts": "localhost", "connection": "local", "gather_facts": False,
        "tasks": [
            {
                "name": "Build",
                "ansible.builtin.include_role": {"name": "base_images", "tasks_from": "debian"},
            }
        ],
    }  # fmt: skip
    (tmp_path / "play.yml").write_text(json.dumps([play]))
    ran = subprocess.run(
        [
            Path(sys.executable).with_name("ansible-playbook"), "-i", "localhost,",
            "-e", json.dumps(given), "play.yml",
        ],
        cwd=tmp_path, capture_output=True, text=True, check=False,
        env={
            **os.environ, "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}",
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            "ANSIBLE_ROLES_PATH": str(tmp_path / "roles"),
        },
    )  # fmt: skip
    before, failed, after = " ".join(ran.stdout.split()).partition("FAILED")
    assert failed, ran.stdout + ran.stderr
    assert 'in "Build": no such suite (mirror' in after
    assert "then run again." in after
    said = (
        f"The mmdebstrap of localhost is {version}, and the oldest that was tried is 1.3.5: if it"
        " is at fault, make the images on a newer host and bring them by base_images_archive."
    )
    for text in (before, after):
        assert (said in text) == old
        assert ("mmdebstrap of" in text) == old
    assert (f"Warning: {said}" in before) == old
