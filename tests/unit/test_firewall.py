"""The firewall's filters: what may come in, and whether the running connection may."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest
from ansible.errors import AnsibleFilterError

firewall = importlib.import_module("roles.firewall.filter_plugins.firewall")
table = importlib.import_module("roles.firewall.library.firewall_table")
status = importlib.import_module("roles.status.filter_plugins.status")


def test_addresses_are_told_apart_by_version() -> None:
    """A rule of nftables is for one of them."""
    entries = [
        {"port": "22", "from": ["192.0.2.0/24", "2001:db8::1"]},
        {"port": "8000-8010", "proto": "udp"},
        {"port": 8000, "from": []},
        {"port": "8000"},
    ]
    assert firewall.firewall_matches(entries) == [
        "ip saddr { 192.0.2.0/24 } tcp dport 22",
        "ip6 saddr { 2001:db8::1/128 } tcp dport 22",
        "udp dport 8000-8010",
        "tcp dport 8000",
    ]


@pytest.mark.parametrize(
    "entry",
    [
        {"port": "0"},
        {"port": "65536"},
        {"port": "http"},
        {"port": "10-9"},
        {"port": "22", "proto": "sctp"},
        {"port": "22", "from": ["192.0.2.1/24"]},
        {"port": "22", "from": ["example.com"]},
        {"port": "22; flush ruleset"},
    ],
)
def test_what_is_no_rule_is_refused(entry: dict[str, Any]) -> None:
    """Nothing of it may reach nft."""
    with pytest.raises(AnsibleFilterError):
        firewall.firewall_matches([entry])


@pytest.mark.parametrize(
    ("connection", "entries", "admitted"),
    [
        ("192.0.2.7 40000 198.51.100.1 22", [{"port": "22"}], True),
        ("192.0.2.7 40000 198.51.100.1 2222", [{"port": "22"}], False),
        ("192.0.2.7 40000 198.51.100.1 2222", [{"port": "2000-3000"}], True),
        ("192.0.2.7 40000 198.51.100.1 22", [{"port": "22", "proto": "udp"}], False),
        ("192.0.2.7 40000 198.51.100.1 22", [{"port": "22", "from": ["192.0.2.0/24"]}], True),
        ("192.0.2.7 40000 198.51.100.1 22", [{"port": "22", "from": ["2001:db8::/32"]}], False),
        ("fe80::1%eth0 40000 fe80::2%eth0 22", [{"port": "22", "from": ["fe80::/10"]}], True),
    ],
)
def test_the_running_connection_is_held_against_the_entries(
    connection: str, entries: list[dict[str, Any]], admitted: bool
) -> None:
    """Port and address have to be let in by the same entry."""
    assert firewall.firewall_admits(entries, connection) is admitted


def test_status_says_what_is_open() -> None:
    """One line, or a problem where the rules are not loaded."""
    listed = "chain allowed {\n\ttcp dport 22 accept\n\tudp dport 443 accept\n}"
    assert status.firewall_of(listed) == ("closed but for tcp 22, udp 443", [])
    assert status.firewall_of(None) == ("", [])
    text, problems = status.firewall_of("")
    assert text == "not loaded"
    assert len(problems) == 1


def test_the_parts_of_projects_add_up(tmp_path: Path) -> None:
    """One project's part changes nothing of another's, and the last takes the base with it."""
    store = table.Store(str(tmp_path / "firewall"))

    def keep(project: str, base: str, part: str) -> str:
        text: str = store.text(base, project, part)
        files = store.wanted(base, project, part, empty=not text)
        assert table.differ(files)
        table.write(files)
        assert not table.differ(files)
        return text

    assert keep("one", "base\n", "one\n") == f"{table.NOTHING}base\none\n"
    assert keep("two", "base\n", "two\n") == f"{table.NOTHING}base\none\ntwo\n"
    # Whoever leaves does not know the base.
    assert keep("one", "", "") == f"{table.NOTHING}base\ntwo\n"
    assert store.base.read_text() == f"{table.NOTHING}base\n{store.include()}"
    assert keep("two", "", "") == ""
    assert not list(tmp_path.iterdir())


def test_what_is_open_stays_so_until_the_front_has_left_it(tmp_path: Path) -> None:
    """The new ports come first, and what is there and wanted is left as it is."""
    rule = "add rule inet slipway allowed tcp dport {} accept\n".format
    store = table.Store(str(tmp_path))
    store.parts.mkdir()
    (store.parts / "example.nft").write_text("# by hand\n" + rule(22) + rule(80) + rule(443))
    assert store.kept("example", rule(22) + rule(8080)) == (
        rule(22) + rule(8080) + rule(80) + rule(443),
        [rule(80).strip(), rule(443).strip()],
    )
    before = (store.parts / "example.nft").read_text()
    assert store.kept("example", rule(22) + rule(80)) == (before, [rule(443).strip()])
    assert store.kept("other", rule(22)) == (rule(22), [])
