"""The role docker: packages, restarts, refused engines, what apt complains of."""

from __future__ import annotations

import importlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.unit.rendering import evaluate, handed_over, load_tasks

ROOT = Path(__file__).parents[2]
engine = importlib.import_module("plugins.filter.docker_engine")
facts = importlib.import_module("plugins.modules.docker_engine_facts")
preflight_host = importlib.import_module("plugins.modules.preflight_host")
engine_look = importlib.import_module("ansible.module_utils.slipway.engine_look")

# As `apt-cache show docker.io` and `apt-cache policy docker-cli docker-buildx` answer.
BOOKWORM = (
    "Package: docker.io\nVersion: 20.10.24+dfsg1-1+deb12u1+b6\n"
    "Depends: adduser, containerd (>= 1.4~), iptables, runc (>= 1.0.0~rc8~), tini-static\n"
    "Recommends: apparmor, ca-certificates, cgroupfs-mount, git, needrestart, xz-utils\n"
    "Suggests: aufs-tools, debootstrap, docker-doc, rinse, zfs-fuse | zfsutils\n",
    "",
)
BACKPORTS = """docker-cli:
  Installed: (none)
  Candidate: 27.5.1+dfsg3-1~bpo12+1
  Version table:
     27.5.1+dfsg3-1~bpo12+1 100
        100 http://mirror.example/debian bookworm-backports/main amd64 Packages
docker-buildx:
  Installed: (none)
  Candidate: 0.13.1+ds1-3~bpo12+1
  Version table:
     0.13.1+ds1-3~bpo12+1 100
        100 http://mirror.example/debian bookworm-backports/main amd64 Packages
"""
FORKY = (
    "Package: docker.io\nVersion: 28.5.2+dfsg4-5\n"
    "Depends: debconf (>= 0.5) | debconf-2.0, containerd (>= 1.4~), iptables, runc, tini-static\n"
    "Recommends: apparmor, ca-certificates, dbus-user-session, docker-cli, git, xz-utils\n",
    """docker-cli:
  Installed: (none)
  Candidate: 28.5.2+dfsg4-5
  Version table:
     28.5.2+dfsg4-5 500
        500 http://mirror.example/debian forky/main amd64 Packages
docker-buildx:
  Installed: (none)
  Candidate: 0.29.1+ds1-4
  Version table:
     0.29.1+ds1-4 500
        500 http://mirror.example/debian forky/main amd64 Packages
""",
)
# The client is in the package itself; an unrelated one of that name is offered.
JAMMY = (
    "Package: docker.io\nVersion: 27.5.1-0ubuntu3~22.04.2\n"
    "Depends: adduser, containerd (>= 1.2.6-0ubuntu1~), iptables, libc6 (>= 2.34), libsystemd0\n"
    "Suggests: aufs-tools, btrfs-progs, cgroupfs-mount | cgroup-lite, docker-cli-x\n",
    FORKY[1],
)
NO_CANDIDATE = """docker-cli:
  Installed: (none)
  Candidate: (none)
  Version table:
     28.5.2+dfsg4-5 -1
        100 /var/lib/dpkg/status
"""


@pytest.mark.parametrize(
    ("said", "packages"),
    [
        (BOOKWORM, ["docker.io"]),
        ((BOOKWORM[0], BACKPORTS), ["docker.io"]),
        (FORKY, ["docker.io", "docker-cli", "docker-buildx"]),
        (JAMMY, ["docker.io", "docker-buildx"]),
        ((FORKY[0], NO_CANDIDATE), ["docker.io"]),
        # As the host has it, whatever its priority.
        (
            (FORKY[0], BACKPORTS.replace("Installed: (none)", "Installed: 27.5.1+dfsg3-1~bpo12+1")),
            ["docker.io", "docker-cli"],
        ),
        (("", ""), ["docker.io"]),
    ],
    ids=["bookworm", "backports", "forky", "jammy", "pinned away", "installed", "no list"],
)
def test_packages_follow_what_apt_offers(said: tuple[str, str], packages: list[str]) -> None:
    """The client is a package of its own where docker.io names one; no release is asked for."""
    assert engine.docker_packages(*said) == [*packages, "iptables", "ca-certificates"]


def test_the_role_installs_what_apt_offers() -> None:
    """Ubuntu 26.04 was in no table, and got an engine without its client."""
    found = evaluate(
        "docker",
        "__docker_packages",
        docker_source="auto",
        __docker_show={"stdout": FORKY[0]},
        __docker_policy={"stdout": FORKY[1]},
        ansible_facts={"distribution": "Ubuntu", "distribution_version": "26.04"},
    )
    assert "docker-cli" in found


@pytest.mark.parametrize(
    ("before", "wanted", "restarts"),
    [
        ({}, {"features": {"containerd-snapshotter": True}}, True),
        (
            {"features": {"containerd-snapshotter": True}},
            {"features": {"containerd-snapshotter": False}},
            True,
        ),
        (
            {"features": {"containerd-snapshotter": True}},
            {"features": {"containerd-snapshotter": True, "buildkit": True}},
            False,
        ),
        ({}, {"features": {"buildkit": True}}, False),
        ({}, {"max-concurrent-downloads": 2}, False),
        ({}, {"default-shm-size": "32M"}, True),
        ({"debug": True}, {"debug": False, "data-root": "/x"}, True),
    ],
)
def test_the_image_store_changes_with_a_restart(
    before: dict[str, Any], wanted: dict[str, Any], restarts: bool
) -> None:
    """`features` is reloaded, but not where images are kept."""
    given = {"__docker_daemon_before": before, "__docker_daemon_wanted": wanted}
    expression = (
        "__docker_daemon_wanted | docker_restarts(__docker_daemon_before, __docker_reloadable)"
    )
    assert evaluate("docker", expression, **given) == restarts


def programs(directory: Path, *names: str) -> str:
    """Make a directory of programs and return it."""
    directory.mkdir(exist_ok=True)
    for name in names:
        (directory / name).write_text("#!/bin/sh\n")
        (directory / name).chmod(0o755)
    return str(directory)


@pytest.mark.parametrize(
    ("root", "daemon", "ordinary", "snap", "refused"),
    [
        ("/var/snap/docker/common/var-lib-docker", False, [], ["docker"], True),
        ("/var/snap/docker/common/var-lib-docker", True, ["docker"], ["docker"], True),
        ("/var/lib/docker", True, ["docker"], ["docker"], False),
        # The engine is Docker's own, and the only client is the snap's.
        ("/var/lib/docker", True, [], ["docker"], True),
        # It does not answer now, but takes the socket when it starts.
        ("", False, [], ["docker"], True),
        ("", True, ["docker"], ["docker"], False),
        ("", False, [], [], False),
        ("/srv/docker", True, ["docker"], [], False),
    ],
)
def test_docker_from_snap_is_told(
    tmp_path: Path, root: str, daemon: bool, ordinary: list[str], snap: list[str], refused: bool
) -> None:
    """By where it keeps its data, or by the only command there is."""
    paths = programs(tmp_path / "bin", *ordinary), programs(tmp_path / "snap", *snap)
    assert engine_look.of_snap(root, daemon, *paths) == refused


EXPIRED = (
    "E:Release file for http://mirror.example/debian/dists/forky/InRelease is expired "
    "(invalid since 22d 9h 14min 1s). Updates for this repository will not be applied."
)


@pytest.mark.parametrize(
    "result",
    [
        {"msg": f"Failed to update apt cache: {EXPIRED}"},
        {"msg": "non-zero return code", "stderr": EXPIRED.replace("E:", "E: "), "rc": 100},
        {"msg": "Failed to update apt cache: unknown reason", "stdout": EXPIRED},
    ],
)
def test_lists_past_their_date_are_said(result: dict[str, Any]) -> None:
    """Which, since when, and that the check stays on."""
    said = engine.docker_complaint(result)
    assert (
        "http://mirror.example/debian/dists/forky/InRelease are expired (invalid since 22d" in said
    )
    assert "does not turn apt's check off" in said


@pytest.mark.parametrize(
    ("result", "said"),
    [
        (
            {"msg": "No package matching 'docker-ce' is available"},
            "No package matching 'docker-ce' is",
        ),
        (
            {"msg": "non-zero\nsecond", "stderr": "W: x\nE: Unable to fetch y.\nE: z"},
            "Unable to fetch y:",
        ),
        ({"msg": "first\nsecond"}, "first:"),
        ({}, "no reason given"),
    ],
)
def test_the_first_error_of_apt_is_the_reason(result: dict[str, Any], said: str) -> None:
    """And not the rest of what it wrote."""
    found = engine.docker_complaint(result)
    assert found.startswith(said)
    assert "second" not in found


# What the tasks would have done to this machine: noted, and failed where the test wants.
STAND_IN = """#!/usr/bin/python
# WANT_JSON
import json, sys
given = {key: value for key, value in json.load(open(sys.argv[1])).items() if key[0] != "_"}
with open(%r, "a") as log:
    log.write(json.dumps({%r: given}) + "\\n")
reason = %r.get(" ".join(sorted(given)), "")
print(json.dumps({"changed": True, "failed": bool(reason), "msg": reason}))
"""
STOOD_IN = ("apt", "deb822_repository", "file", "copy")


def run_stage(
    tmp_path: Path,
    stage: str,
    found: dict[str, Any],
    failing: dict[str, str] | None = None,
    **settings: str,
) -> str:
    """Run a stage of the role on a host with such an engine; return what it printed if it failed.

    failing is what the package manager complains of, by the options with which it is called.
    """
    role = tmp_path / "roles/docker"
    (role / "library").mkdir(parents=True)
    there = {
        "answers": True, "version": "29.1.3", "api_version": "1.52", "dockerd": "/usr/bin/dockerd",
        "client": "/usr/bin/docker", "snap": False, "ours": False, "buildx": True, "requests": True,
        "lacks_apparmor": False,
        "networks": {}, "volumes": {}, "containers": {}, "refusal": "", **found,
    }  # fmt: skip
    # What the module answers: no such host is at hand.
    (role / "library/docker_engine_facts.py").write_text(
        "#!/usr/bin/python\nfrom ansible.module_utils.basic import AnsibleModule\n"
        "options = {'socket': {}, 'marker': {}, 'existing': {}}\n"
        "module = AnsibleModule(options, supports_check_mode=True)\n"
        f"module.exit_json(changed=False, **{there!r})\n"
    )
    for name in STOOD_IN:
        (role / f"library/noted_{name}.py").write_text(
            STAND_IN % (str(tmp_path / "log"), name, failing or {} if name == "apt" else {})
        )
    (role / "tasks").mkdir()
    for path in (ROOT / "roles/docker/tasks").iterdir():
        text = re.sub(rf"ansible\.builtin\.({'|'.join(STOOD_IN)}):", r"noted_\1:", path.read_text())
        (role / "tasks" / path.name).write_text(text)
    for part in ("vars", "defaults", "meta"):
        (role / part).symlink_to(ROOT / "roles/docker" / part)
    (role / "filter_plugins").symlink_to(ROOT / "plugins/filter")
    play = {
        "name": "Look", "hosts": "localhost", "gather_facts": True, "connection": "local",
        "gather_subset": ["!all", "!min", "distribution", "service_mgr", "python"],
        "tasks": [
            {
                "name": "Look",
                "ansible.builtin.import_role": {"name": "docker", "tasks_from": stage},
            }
        ],
    }  # fmt: skip
    (tmp_path / "play.yml").write_text(json.dumps([play]))
    # Whatever this machine is.
    extra = {
        "ansible_python_interpreter": sys.executable,
        "__docker_hosts": ["{{ __docker_host }}"],
        "__docker_release": {"refusal": "", "distribution": "debian", "codename": "trixie"},
        **settings,
    }
    ran = subprocess.run(
        [
            Path(sys.executable).with_name("ansible-playbook"), "-i", "localhost,",
            "-e", json.dumps(extra), "play.yml",
        ],
        cwd=tmp_path, capture_output=True, text=True, check=False,
        env={
            **os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            "ANSIBLE_ROLES_PATH": str(tmp_path / "roles"),
            "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}",
        },
    )  # fmt: skip
    return "" if ran.returncode == 0 else ran.stdout


def noted(tmp_path: Path) -> list[dict[str, Any]]:
    """Return what was done by the modules that have a stand-in, in its order."""
    return [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]


UPSTREAM = "https://docker.example/linux"
NOT_SIGNED = f"E: The repository '{UPSTREAM}/debian trixie Release' does not have a Release file."
POLICY = """docker-ce:
  Installed: (none)
  Candidate: 5:29.1.3-1~debian.13~trixie
  Version table:
     5:29.1.3-1~debian.13~trixie 500
        500 https://docker.example/linux/debian trixie/stable amd64 Packages
"""


def install(
    tmp_path: Path, policy: str, failing: dict[str, str] | None = None, sources: str = ""
) -> str:
    """Install Docker's own engine, where apt answers so; return what was printed if it failed."""
    for name, text in (("apt-get", sources), ("apt-cache", policy)):
        path = Path(programs(tmp_path / "bin", name)) / name
        path.write_text(f"#!/bin/sh\ncat <<'END'\n{text}END\n")
    settings = {
        "docker_source": "upstream", "docker_upstream_url": UPSTREAM,
        "__docker_marker": str(tmp_path / "engine"),
    }  # fmt: skip
    said = run_stage(tmp_path, "install", {}, failing, **settings)
    return " ".join(said.split())


# The options with which lists are read, and packages installed.
READ, INSTALL = "lock_timeout update_cache", "install_recommends lock_timeout name"
REMOVED = {"deb822_repository": {"name": "docker", "state": "absent"}}


@pytest.mark.parametrize(
    ("policy", "failing", "reason"),
    [
        ("", {}, "the release is there, and the engine is not in it"),
        (POLICY.replace("500", "-1"), {}, "the release is there, and the engine is not in it"),
        (POLICY, {READ: f"Failed to update apt cache: {NOT_SIGNED}"}, NOT_SIGNED[3:-1]),
    ],
    ids=["no engine", "pinned away", "no release"],
)
def test_a_repository_without_the_engine_is_told_and_taken_out(
    tmp_path: Path, policy: str, failing: dict[str, str], reason: str
) -> None:
    """It would else fail every later update of the host's lists."""
    said = install(tmp_path, policy, failing)
    assert (
        "Could not install a Docker Engine on localhost: "
        f"{UPSTREAM}/debian gives no docker-ce for trixie ({reason}): set docker_source to distro"
        " for the system's own engine, or name another docker_upstream_url, then run again."
    ) in said
    done = noted(tmp_path)
    assert done[-1] == REMOVED
    described = [one["deb822_repository"] for one in done if "deb822_repository" in one]
    assert [one.get("suites") for one in described] == ["trixie", None]
    assert not any("docker-ce" in str(one) for one in done)


def test_a_repository_that_somebody_configured_stays(tmp_path: Path) -> None:
    """It is not Slipway's to take out."""
    said = install(tmp_path, "", sources=f"{UPSTREAM}/debian/\n")
    assert "gives no docker-ce for trixie" in said
    assert not any("deb822_repository" in one for one in noted(tmp_path))


def test_a_repository_with_the_engine_is_used(tmp_path: Path) -> None:
    """The tests above would else prove nothing."""
    assert install(tmp_path, POLICY) == ""
    done = noted(tmp_path)
    assert REMOVED not in done
    assert "docker-ce" in done[-1]["apt"]["name"]


def test_what_apt_says_of_the_packages_is_told(tmp_path: Path) -> None:
    """Where the repository is as it should be."""
    said = install(tmp_path, POLICY, {INSTALL: "E: Unable to fetch some archives."})
    assert (
        "Could not install a Docker Engine on localhost: Unable to fetch some archives: check that"
    ) in said


OF_TODAY = {
    "answers": True, "version": "29.1.3", "dockerd": "/usr/bin/dockerd",
    "client": "/usr/bin/docker", "snap": False, "ours": False,
}  # fmt: skip
NONE = {**OF_TODAY, "answers": False, "version": "", "dockerd": "", "client": ""}


@pytest.mark.parametrize(
    ("found", "existing", "sentence"),
    [
        (OF_TODAY, True, ""),
        ({**OF_TODAY, "snap": True}, False, "has Docker from snap, which cannot see /etc/slipway"),
        # docker.io without its recommended packages has none.
        ({**OF_TODAY, "client": ""}, False, "has a Docker Engine and no `docker` command"),
        (
            {**OF_TODAY, "client": "", "answers": False},
            False,
            "has a Docker Engine and no `docker`",
        ),
        ({**OF_TODAY, "client": "", "ours": True}, False, ""),
        ({**OF_TODAY, "version": "20.10.24+dfsg1"}, False, ""),
        (
            {**OF_TODAY, "version": "18.09.1"},
            False,
            "has Docker Engine 18.09.1, and Slipway needs 2",
        ),
        (
            {**OF_TODAY, "version": "20.9.0"},
            False,
            "has Docker Engine 20.9.0, and Slipway needs 20.",
        ),
        ({**OF_TODAY, "version": "", "answers": False}, True, ""),
        (NONE, False, ""),
        (NONE, True, "has no Docker Engine, and docker_source is 'existing': install one"),
    ],
)
def test_an_engine_that_will_not_do_is_refused_in_a_sentence(
    found: dict[str, Any], existing: bool, sentence: str
) -> None:
    """One that Slipway is about to make whole, or to install, will do."""
    said = engine_look.refusal(found, existing)
    assert said.startswith(sentence)
    assert bool(said) == bool(sentence)


@pytest.mark.parametrize(
    ("there", "answer", "existing", "sentence"),
    [
        ({"snap": ["docker"]}, None, False, "has Docker from snap"),
        ({"bin": ["dockerd"]}, None, False, "has a Docker Engine and no `docker` command"),
        ({"bin": ["docker", "dockerd"]}, "19.03.8", False, "has Docker Engine 19.03.8, and"),
        ({}, None, True, "has no Docker Engine, and docker_source is 'existing'"),
        ({}, None, False, ""),
        ({"bin": ["docker", "dockerd"]}, "29.1.3", True, ""),
    ],
    ids=["snap", "no client", "old", "missing", "none", "today"],
)
def test_preflight_and_the_role_look_alike(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    there: dict[str, list[str]],
    answer: str | None,
    existing: bool,
    sentence: str,
) -> None:
    """A deploy is told by the first, whoever enters the role without it by the second."""
    ended: list[dict[str, Any]] = []

    class Module:
        check_mode = False
        params = {  # noqa: RUF012
            "project": "p", "socket": str(tmp_path / "docker.sock"), "daemon_json": "/nowhere",
            "marker": str(tmp_path / "engine"), "existing": existing, "directories": [],
            "listen": [],
        }  # fmt: skip

        def __init__(self, **given: Any) -> None:
            assert {"socket", "existing"} <= set(given["argument_spec"])

        def exit_json(self, **result: Any) -> None:
            ended.append(result)

    for module in (preflight_host, facts):
        monkeypatch.setattr(module, "AnsibleModule", Module)
    monkeypatch.setattr(engine_look, "PATH", programs(tmp_path / "bin", *there.get("bin", [])))
    monkeypatch.setattr(engine_look, "SNAP_PATH", programs(tmp_path / "s", *there.get("snap", [])))
    monkeypatch.setattr(engine_look, "MARKER", str(tmp_path / "engine"))
    monkeypatch.setattr(engine_look, "ask", lambda *given: answer and {"Version": answer})
    monkeypatch.setattr(facts.engine, "contents", lambda socket: {})
    preflight_host.main()
    facts.main()
    said = ended[0]["engine_refusal"]
    assert said == ended[1]["refusal"]
    assert said.startswith(sentence)
    assert bool(said) == bool(sentence)


def test_preflight_refuses_an_engine_before_anything_else_of_the_host_is_touched() -> None:
    """With the sentence of the look, after the host's name; `existing` comes from the play."""
    tasks = load_tasks(ROOT / "roles/preflight/tasks/host.yml")
    assert [set(task) - {"name", "loop", "loop_control", "vars", "when"} for task in tasks] == [
        {"preflight_host", "register"}, *[{"ansible.builtin.assert"}] * (len(tasks) - 1),
    ]  # fmt: skip
    (task,) = (one for one in tasks if one["name"] == "host | Refuse an engine that will not do")
    said = task["ansible.builtin.assert"]
    for refusal in ("", "has Docker from snap."):
        seen = {"engine_refusal": refusal}
        assert evaluate("preflight", said["that"], __preflight_seen=seen) == (not refusal)
    found = evaluate("preflight", "said", said=said["fail_msg"], __preflight_seen=seen)
    assert found == "host has Docker from snap."
    look = tasks[0]["preflight_host"]["existing"]
    for source in ("existing", "auto"):
        wanted = handed_over("preflight_engine_existing", docker_source=source)
        given = {"given": look, "preflight_engine_existing": wanted}
        assert evaluate("preflight", "given", **given) == (source == "existing")


def test_the_role_refuses_what_its_look_refuses(tmp_path: Path) -> None:
    """Restore, upgrade, adopt and rollback enter it without a preflight."""
    said = run_stage(tmp_path, "validate", {"refusal": "has Docker from snap."})
    assert "localhost has Docker from snap." in " ".join(said.split())


def test_an_engine_of_today_is_taken(tmp_path: Path) -> None:
    """The test above would else prove nothing."""
    assert run_stage(tmp_path, "validate", {}) == ""


@pytest.mark.parametrize(
    ("enabled", "there", "lacks"),
    [("Y\n", False, True), ("Y\n", True, False), ("N\n", False, False), (None, False, False)],
)
def test_a_kernel_with_apparmor_needs_its_program(
    tmp_path: Path, enabled: str | None, there: bool, lacks: bool
) -> None:
    """A minimal Debian has the kernel's part alone, and then no container starts."""
    if enabled is not None:
        (tmp_path / "enabled").write_text(enabled)
    if there:
        (tmp_path / "apparmor_parser").touch(0o755)
    assert engine_look.lacks_apparmor(tmp_path / "enabled", str(tmp_path)) == lacks


def test_the_program_of_apparmor_is_installed(tmp_path: Path) -> None:
    """Or the reason is told; the role goes there by what its look found."""
    (tmp_path / "bin").mkdir()
    assert run_stage(tmp_path, "apparmor", {}) == ""
    asked = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert [one["apt"]["name"] for one in asked] == ["apparmor"]
    steps = yaml.safe_load((ROOT / "roles/docker/tasks/main.yml").read_text())
    whens = {one.get("ansible.builtin.include_tasks"): one.get("when") for one in steps}
    assert whens["apparmor.yml"] == "__docker_found.lacks_apparmor"
