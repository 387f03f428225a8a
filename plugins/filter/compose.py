"""The compose file of an application, made of what each role says of its part."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

# Options of community.docker.docker_container, by their names in a compose file. Limits of a host
# are none of a developer's machine.
OPTIONS = {
    "user": "user",
    "read_only": "read_only",
    "cap_drop": "cap_drop",
    "security_opts": "security_opt",
    "sysctls": "sysctls",
    "tmpfs": "tmpfs",
    "shm_size": "shm_size",
}
SECRETS = ".compose/secrets"


class Dumper(yaml.SafeDumper):
    """Indents lists as yamllint wants it, and repeats instead of pointing."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        """Indent what is below a key."""
        super().increase_indent(flow, False)

    def ignore_aliases(self, data: Any) -> bool:
        """Write everything where it belongs."""
        return True


def plain(value: Any) -> Any:
    """Return a value in which compose finds nothing to fill in."""
    if isinstance(value, str):
        return str(value.replace("$", "$$"))
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, Sequence):
        return [plain(one) for one in value]
    return value


def options(container: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a container may, as a compose file has it."""
    return {OPTIONS[name]: plain(value) for name, value in container.items() if name in OPTIONS}


def bind(source: str, target: str) -> str:
    """Return a mount of the checkout, which no container writes to."""
    return f"{plain(source)}:{plain(target)}:ro"


def secret_tasks(secrets: Mapping[str, Any], password: str) -> list[str]:
    """Return what the first start does for each secret of the application, by its path."""
    tasks, made = [], dict[str, str]()
    for path, content in secrets.items():
        name = path.rsplit("/", 1)[-1]
        if path == "postgres_password" or (password and content == password):
            tasks.append(f"same:app/{path}:postgres/password")
        elif content:
            tasks.append(f"given:app/{path}")
        elif name in made:
            tasks.append(f"same:app/{path}:app/{made[name]}")
        else:
            made[name] = path
            tasks.append(f"new:app/{path}")
    return tasks


def secrets_given(secrets: Mapping[str, Any], password: str) -> dict[str, Any]:
    """Return path -> content of the secrets that the inventory gives."""
    return {
        f"app/{path}": content
        for path, content in secrets.items()
        if content and content != password and path != "postgres_password"
    }


def compose_file(
    project: str,
    postgres: Mapping[str, Any],
    flask: Mapping[str, Any],
    nginx: Mapping[str, Any],
    images: Mapping[str, str],
    tasks: Sequence[str],
    settings: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the compose file; what it mounts lies below .compose beside it."""
    name = f"{project}-dev"
    image = {
        part: f"${{SLIPWAY_{part.upper()}_IMAGE:-{plain(images[part])}}}"
        for part in ("nginx", "python", "postgres")
    }
    package = "." if settings["python_path"] in (".", "") else settings["python_path"].rstrip("/")
    source = "/source" if package == "." else f"/source/{package}"
    # Of a whole checkout the application sees no secrets; else only its packages are mounted.
    mounts = [bind("." if package == "." else f"./{package}", source)]
    hidden = ["/source/.compose:size=64k,mode=0555"] if package == "." else []
    server = [
        "python3", "-I", "-S", "/etc/slipway/watch.py", source,
        "--", "uwsgi", "--ini", "/etc/slipway/uwsgi.ini",
    ]  # fmt: skip
    start = f"{flask['migrate']} && exec {' '.join(server)}"
    environment = {
        **{key: str(one) for key, one in flask["environment"].items()},
        "PYTHONPATH": source,
        **({"FLASK_DEBUG": "1"} if settings["debug"] else {}),
    }
    static = flask["static"]
    files = flask["own_files"]
    app = options(flask["container"])
    app["tmpfs"] = [*app.get("tmpfs", []), *hidden]
    egress = ["egress"] if flask["egress"] else []
    services = {
        # Runs at each start, makes what is missing and ends.
        "prepare": {
            "image": image["postgres"],
            "user": "0:0",
            "network_mode": "none",
            "entrypoint": ["sh", "/prepare.sh", "/secrets"],
            "command": [
                f"owner:{postgres['uid']}:/volumes/database",
                f"owner:{postgres['uid']}:/volumes/postgres_socket",
                f"owner:{flask['uid']}:/volumes/sockets",
                *plain(tasks),
            ],
            "volumes": [
                bind("./.compose/prepare.sh", "/prepare.sh"),
                f"./{SECRETS}:/secrets",
                "database:/volumes/database",
                "postgres_socket:/volumes/postgres_socket",
                "sockets:/volumes/sockets",
            ],
        },
        "postgres": {
            "image": image["postgres"],
            **options(postgres["container"]),
            "depends_on": {"prepare": {"condition": "service_completed_successfully"}},
            "command": plain(postgres["command"]),
            "environment": plain(postgres["environment"]),
            "volumes": [
                "database:/var/lib/postgresql",
                "postgres_socket:/var/run/postgresql",
                bind("./.compose/postgres", "/etc/postgresql"),
                bind(
                    "./.compose/postgres/first_start.sh",
                    "/docker-entrypoint-initdb.d/10-slipway.sh",
                ),
                bind(f"./{SECRETS}/postgres", "/run/secrets/postgres"),
            ],
            "networks": ["back"],
            "stop_signal": "SIGINT",
            "stop_grace_period": "60s",
            "healthcheck": plain(postgres["healthcheck"]),
        },
        "flask": {
            "build": {
                "context": ".",
                "dockerfile": ".compose/flask/Dockerfile",
                "args": {"BASE_IMAGE": image["python"]},
            },
            "image": f"{name}-flask",
            **app,
            "depends_on": {"postgres": {"condition": "service_healthy"}},
            "command": plain(["sh", "-c", start] if flask["migrate"] else server),
            "environment": plain(environment),
            "volumes": [
                *mounts,
                bind("./.compose/flask", "/etc/slipway"),
                "sockets:/run/slipway",
                *(["postgres_socket:/var/run/postgresql:ro"] if flask["postgres_socket"] else []),
                *(bind(f"./.compose/files{path}", path) for path in files),
                bind(f"./{SECRETS}/app", "/run/secrets/app"),
            ],
            "networks": ["back", *egress],
            "stop_grace_period": "10s",
            "healthcheck": plain(flask["healthcheck"]),
        },
        "nginx": {
            "image": image["nginx"],
            **options(nginx["container"]),
            "depends_on": {"flask": {"condition": "service_healthy"}},
            "command": plain(nginx["command"]),
            "ports": [f"127.0.0.1:${{SLIPWAY_PORT:-{settings['port']}}}:80"],
            "volumes": [
                bind("./.compose/nginx", "/etc/nginx/slipway"),
                *(
                    [
                        bind(
                            f"./{'' if package == '.' else package + '/'}{static['directory']}",
                            f"/srv/static/current{static['url']}",
                        )
                    ]
                    if static
                    else []
                ),
                "sockets:/run/slipway:ro",
            ],
            "networks": ["front"],
            "stop_signal": "SIGQUIT",
            "stop_grace_period": "10s",
            "healthcheck": plain(nginx["healthcheck"]),
        },
    }
    return {
        "services": services,
        # Only nginx is on a network that leads out.
        "networks": {
            "front": {},
            "back": {"internal": True},
            **({"egress": {}} if egress else {}),
        },
        "volumes": {
            "database": {"name": f"{name}_database"},
            "postgres_socket": {"name": f"{name}_postgres_socket"},
            "sockets": {"name": f"{name}_sockets"},
        },
    }


def compose_yaml(content: Mapping[str, Any]) -> str:
    """Return a compose file as text."""
    # Ansible's own kinds of text and lists are none to a dumper.
    simple = json.loads(json.dumps(content))
    return str(yaml.dump(simple, Dumper=Dumper, sort_keys=False, width=140, allow_unicode=True))


class FilterModule:
    """Filters of the role."""

    def filters(self) -> dict[str, Any]:
        """Return them by name."""
        return {
            "compose_secret_tasks": secret_tasks,
            "compose_secrets_given": secrets_given,
            "compose_yaml": compose_yaml,
            "compose_file": compose_file,
        }
