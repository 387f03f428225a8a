"""Where the front answers: on IPv4, on IPv6, on both; and what is no address to listen on."""

from __future__ import annotations

import importlib
import re
import socket
import subprocess
import sys
from typing import Any

import pytest

from tests.unit.rendering import ROLES, evaluate, load_tasks

bind = importlib.import_module("plugins.filter.bind")
ports = importlib.import_module("plugins.module_utils.slipway.ports")
status = importlib.import_module("plugins.filter.status")


@pytest.mark.parametrize(
    ("given", "addresses", "published", "outside", "url"),
    [
        ("127.0.0.1", ["127.0.0.1"], ["127.0.0.1:80:80"], False, "127.0.0.1"),
        ("0.0.0.0", ["0.0.0.0"], ["0.0.0.0:80:80"], True, "127.0.0.1"),  # noqa: S104
        ("::", ["::"], ["[::]:80:80"], True, "[::1]"),
        ("[::1]", ["::1"], ["[::1]:80:80"], False, "[::1]"),
        (["0.0.0.0", "::"], ["0.0.0.0", "::"], ["0.0.0.0:80:80", "[::]:80:80"], True, "127.0.0.1"),  # noqa: S104
        ("127.0.0.1, ::1", ["127.0.0.1", "::1"], ["127.0.0.1:80:80", "[::1]:80:80"], False,
         "127.0.0.1"),
        ("2001:DB8:0::7", ["2001:db8::7"], ["[2001:db8::7]:80:80"], True, "[2001:db8::7]"),
        (["192.0.2.7", "192.0.2.7"], ["192.0.2.7"], ["192.0.2.7:80:80"], True, "192.0.2.7"),
        (["127.0.0.2", "192.0.2.7"], ["127.0.0.2", "192.0.2.7"],
         ["127.0.0.2:80:80", "192.0.2.7:80:80"], True, "127.0.0.2"),
    ],
)  # fmt: skip
def test_an_address_is_one_of_either_family_or_a_list(
    given: Any, addresses: list[str], published: list[str], outside: bool, url: str
) -> None:
    """Docker wants brackets, the firewall and the summary know what may come in."""
    assert bind.bind_problem(given, "nginx_bind") == ""
    assert bind.bind_addresses(given) == addresses
    assert bind.bind_outside(given) is outside
    assert bind.bind_url_host(given) == url
    known = {
        "nginx_bind": given,
        "nginx_http_port": 80,
        "slipway_project": "shop",
        "__nginx_ports": {"addresses": addresses, "free": False},
        "__nginx_kept": {"stat": {}},
    }
    assert evaluate("nginx", "__nginx_published", **known) == published
    both = evaluate("nginx", "__nginx_published", **{**known, "nginx_tls": "selfsigned"})
    host = published[-1].removesuffix(":80:80")
    assert both[-2:] == [f"{host}:443:443", f"{host}:443:443/udp"]
    names = evaluate("nginx", "__nginx_selfsigned_alt_names", **known)
    assert names[:3] == ["IP:127.0.0.1", "IP:::1", *names[2:3]]
    assert "IP:::" not in names
    assert "IP:0.0.0.0" not in names


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ("eth0", "eth0"), ("www.example.com", "www.example.com"), ("300.1.1.1", "300.1.1.1"),
        ("", "nothing"), (None, "nothing"), ([], "nothing"), ("0.0.0.0/0", "0.0.0.0/0"),
        ("127.0.0.1:80", "127.0.0.1:80"), ("[::1", "[::1"), ("fe80::1%eth0", "fe80::1%eth0"),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.1"), ("224.0.0.1", "224.0.0.1"),
        (["127.0.0.1", "here", 7], "here, 7"), (80, "80"), ("*", "*"),
    ],
)  # fmt: skip
def test_what_is_no_address_is_refused_in_a_sentence(given: Any, named: str) -> None:
    """By preflight, before anything is touched, and by the role."""
    for role, path in (("preflight", "variables"), ("nginx", "validate")):
        task = next(
            task for task in load_tasks(ROLES / role / f"tasks/{path}.yml")
            if task["name"].endswith("Refuse what is no address to listen on")
        )  # fmt: skip
        told = evaluate(
            role, "said", said=task["ansible.builtin.assert"]["fail_msg"], nginx_bind=given,
            item={"bind": given, "bind_variable": "nginx_bind", "port": 80},
            __preflight_bind="nginx_bind",
        )  # fmt: skip
        assert told.startswith(f"nginx_bind names {named}, which is no address to listen on: ")
        assert re.search(r"127\.0\.0\.1.*0\.0\.0\.0.*::.*list of them\.$", told)


@pytest.fixture(params=["127.0.0.1", "::1"])
def listener(request: pytest.FixtureRequest) -> Any:
    """Have somebody listen; return address and port."""
    family = socket.AF_INET6 if ":" in request.param else socket.AF_INET
    with socket.socket(family) as one:
        one.bind((request.param, 0))
        one.listen()
        yield request.param, one.getsockname()[1]


def test_a_port_that_somebody_has_is_taken(listener: tuple[str, int]) -> None:
    """On the address itself and on all of its family, unless it is ours."""
    address, port = listener
    everywhere, other = ("::", "127.0.0.1") if ":" in address else ("0.0.0.0", "::1")  # noqa: S104

    def states(*addresses: str, held: set[tuple[str, int]] | None = None) -> list[str]:
        found = ports.judge(list(addresses), port, ["tcp"], held or set())
        return [one["state"] for one in found["states"]]

    assert states(address, everywhere, other) == ["taken", "taken", "free"]
    assert states(address, held={(address, port)}) == ["ours"]
    # It goes when the new container takes its place.
    assert states(everywhere, other, held={(address, port)}) == ["ours", "free"]
    assert states(address, held={(other, port)}) == ["taken"]


def test_an_address_of_another_host_is_absent() -> None:
    """The engine would say so after the release has switched."""
    found = ports.judge(["192.0.2.1", "2001:db8::1"], 8080, ["tcp", "udp"], set())
    assert [one["state"] for one in found["states"]] == ["absent", "absent"]
    assert not found["free"]


def test_without_ipv6_all_of_it_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """But an address of it that was named is refused, and so is it alone."""

    class Socket(socket.socket):
        """A socket of a kernel without IPv6."""

        def __init__(self, family: int = -1, kind: int = -1) -> None:
            if family == socket.AF_INET6:
                raise OSError(97, "Address family not supported by protocol")
            super().__init__(family, kind)

    monkeypatch.setattr(ports.socket, "socket", Socket)
    found = ports.judge(["127.0.0.1", "::"], 0, ["tcp", "udp"], set())
    assert found == {
        "addresses": ["127.0.0.1"],
        "states": [{"address": "127.0.0.1", "state": "free"}],
        "free": True,
    }
    found = ports.judge(["127.0.0.1", "::1"], 0, ["tcp"], set())
    assert [one["state"] for one in found["states"]] == ["free", "no_ipv6"]
    assert ports.judge(["::"], 0, ["tcp"], set())["addresses"] == ["::"]


def test_a_host_that_is_told_not_to_use_ipv6_has_none() -> None:
    """An address of it is named for what is missing; listening on all of it does no harm."""
    script = (
        "import importlib, sys; sys.path.insert(0, '.');"
        "ports = importlib.import_module('plugins.module_utils.slipway.ports');"
        "found = ports.judge(['127.0.0.1', '::', '::1'], 8080, ['tcp'], set())['states'];"
        "print([one['state'] for one in found])"
    )
    # In a network of its own the loopback interface is down, and has no address of IPv6.
    done = subprocess.run(
        ["unshare", "--net", "--map-root-user", sys.executable, "-c", script],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "'no_ipv6'" in done.stdout


def test_status_writes_an_address_of_ipv6_in_brackets() -> None:
    """:::80 is no way to write it."""
    container = {
        "Names": ["/shop-nginx"], "Labels": {"slipway.part": "nginx"}, "State": "running",
        "Status": "Up 2 hours (healthy)", "Image": "nginx",
        "Ports": [{"IP": ip, "PublicPort": 80, "PrivatePort": 80} for ip in ("0.0.0.0", "::")],  # noqa: S104
    }  # fmt: skip
    report = status.status_of({"containers": [container]}, "shop", [])
    assert report["containers"][0]["ports"] == ["0.0.0.0:80", "[::]:80"]
