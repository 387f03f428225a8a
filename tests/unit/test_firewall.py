"""The firewall's filters: what may come in, and whether the running connection may."""

from __future__ import annotations

import importlib
import stat
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible.module_utils.slipway import firewall as table

from tests.unit.rendering import evaluate

firewall = importlib.import_module("plugins.filter.firewall")
module = importlib.import_module("plugins.modules.firewall_table")
status = importlib.import_module("plugins.filter.status")


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


@pytest.mark.parametrize(
    ("said", "connection"),
    [
        ("192.0.2.7 40000 198.51.100.1 22\n", "192.0.2.7 40000 198.51.100.1 22"),
        ("UNKNOWN 65535 UNKNOWN 65535\n", ""),
        ("", ""),
    ],
)
def test_a_run_over_a_pipe_has_no_connection_to_lose(said: str, connection: str) -> None:
    """As of `sshd -i` behind a ProxyCommand, or of systemd's socket for a vsock."""
    found = evaluate("firewall", "__firewall_connection", __firewall_ssh={"stdout": said})
    assert found == connection


def test_status_says_what_is_open() -> None:
    """One line, or a problem where the rules are not loaded."""
    listed = "chain allowed {\n\ttcp dport 22 accept\n\tudp dport 443 accept\n}"
    found = {"part": True, "allowed": listed, "problem": ""}
    assert status.firewall_of(found, True) == ("closed but for tcp 22, udp 443", [])
    assert status.firewall_of(None, True) == ("", [])
    nothing = {"part": False, "allowed": "", "problem": ""}
    assert status.firewall_of(nothing, False) == ("", [])
    for wrong in (
        {**found, "allowed": "", "problem": "the firewall is not loaded"},
        {**found, "problem": "the firewall that is loaded is not the one on the disk"},
        {**found, "part": False},
        {**found, "allowed": ""},
        nothing,
        {**nothing, "problem": "a firewall is loaded that no project wants"},
    ):
        text, problems = status.firewall_of(wrong, True)
        assert len(problems) == 1
        assert (text == "not loaded") == (not wrong["allowed"])


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


# A kernel of files: the rules of a namespace are the lines that were loaded last.
NFT = """#!/bin/sh
kernel=${KERNEL:-HERE/kernel}
case "$*" in
"list tables") [ -s "$kernel" ] && echo "table inet slipway"; exit 0 ;;
"--stateless list table inet slipway") cat "$kernel" ;;
"--stateless list chain inet slipway allowed") grep -v base "$kernel" ;;
"-f "*)
    [ "$2" = - ] && set -- -f /dev/stdin
    text=$(cat "$2" | grep -v '^#' | tail -n +4)
    [ -z "$SLOW" ] || sleep 0.3
    printf '%s' "${text:+$text
}" > "$kernel" ;;
*) echo "unknown: $*" >&2; exit 1 ;;
esac
"""
UNSHARE = """#!/bin/sh
shift
export KERNEL=$(mktemp)
"$@"
rm "$KERNEL"
"""
BASE = "base chain allowed {\n"


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Have programs that keep the rules in a file; return it."""
    for name, text in (("nft", NFT), ("unshare", UNSHARE)):
        program = tmp_path / "bin" / name
        program.parent.mkdir(exist_ok=True)
        program.write_text(text.replace("HERE", str(tmp_path)))
        program.chmod(0o755)
    monkeypatch.setattr(table, "PATH", f"{tmp_path}/bin:/usr/bin:/bin")
    monkeypatch.setattr(table, "TRIALS", tmp_path / "run")
    return tmp_path / "kernel"


def run(tmp_path: Path, project: str, part: str, confirm: str = "", seconds: int = 5) -> Any:
    """Run the module's work on a host."""
    given = {"project": project, "base": BASE, "part": part, "keep": False}
    with table.turn_of(project, seconds, own=confirm):
        return module.keep(
            {**given, "confirm": confirm, "seconds": seconds},
            table.Store(str(tmp_path / "etc")),
            check=False,
        )


def test_of_two_projects_at_once_both_are_let_in(tmp_path: Path, kernel: Path) -> None:
    """The second one's rules have the first one's in them, which were on trial meanwhile."""
    first = run(tmp_path, "one", "tcp dport 80 accept\n")
    assert first["trial"]
    answers: list[Any] = []
    second = threading.Thread(
        target=lambda: answers.append(run(tmp_path, "two", "tcp dport 81 accept\n"))
    )
    second.start()
    time.sleep(0.5)
    assert not answers, "it did not wait"
    run(tmp_path, "one", "tcp dport 80 accept\n", first["trial"])
    second.join(10)
    run(tmp_path, "two", "tcp dport 81 accept\n", answers[0]["trial"])
    assert kernel.read_text() == f"{BASE}tcp dport 80 accept\ntcp dport 81 accept\n"
    found = table.compare(table.Store(str(tmp_path / "etc")), "one", 0)
    assert (found["part"], found["problem"]) == (True, "")


def test_rules_that_nobody_confirms_are_taken_back(tmp_path: Path, kernel: Path) -> None:
    """Whoever waits goes on from what there was, be the process that takes them back gone."""
    run(tmp_path, "one", "tcp dport 80 accept\n", seconds=1)
    run(tmp_path, "two", "tcp dport 81 accept\n", seconds=5)
    assert kernel.read_text() == f"{BASE}tcp dport 81 accept\n"
    trial = next((tmp_path / "run").glob("*.nft"))
    former = trial.read_text().partition("\n")[2]
    trial.write_text(f"# trial two {time.monotonic() - table.GRACE - 1}\n{former}")
    run(tmp_path, "three", "tcp dport 82 accept\n")
    assert kernel.read_text() == f"{BASE}tcp dport 82 accept\n"


def test_a_wait_ends_and_names_whom_it_was_for(
    tmp_path: Path, kernel: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Be it a trial or a run that hangs."""
    monkeypatch.setattr(table, "PATIENCE", 0)
    run(tmp_path, "one", "tcp dport 80 accept\n", seconds=20)
    with pytest.raises(table.NftError, match="the project one are on trial for more than 0 s"):
        run(tmp_path, "two", "tcp dport 81 accept\n", seconds=0)
    for trial in (tmp_path / "run").glob("*.nft"):
        trial.unlink()
    with (
        table.turn_of("one", 0),
        pytest.raises(table.NftError, match=r"project one since .* \(process \d+\) is changing"),
    ):
        run(tmp_path, "two", "tcp dport 81 accept\n", seconds=0)
    assert kernel.exists()


def test_nobody_else_can_hold_the_lock(tmp_path: Path, kernel: Path) -> None:
    """A file that others may open is one that they may lock, for ever."""
    (tmp_path / "run").mkdir(mode=0o755)
    run(tmp_path, "one", "tcp dport 80 accept\n")
    assert kernel.exists()
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("run", "run/lock")]
    assert modes == [0o700, 0o600]


def test_what_is_loaded_is_held_against_what_is_written(tmp_path: Path, kernel: Path) -> None:
    """Seen: a project whose rules were on the disk and not in the kernel, and a green status."""
    store = table.Store(str(tmp_path / "etc"))
    assert table.compare(store, "one", 0) == {"part": False, "allowed": "", "problem": ""}
    for project, port in (("one", 80), ("two", 81)):
        part = f"tcp dport {port} accept\n"
        run(tmp_path, project, part, run(tmp_path, project, part)["trial"])
    good = kernel.read_text()
    assert table.compare(store, "one", 0)["problem"] == ""
    assert "tcp dport 81 accept" in table.compare(store, "one", 0)["allowed"]

    kernel.write_text(good.replace("tcp dport 80 accept\n", ""))
    assert "it lacks `tcp dport 80 accept`;" in table.compare(store, "two", 0)["problem"]
    kernel.write_text(good + "tcp dport 5432 accept\n")
    assert "it has besides `tcp dport 5432 accept`;" in table.compare(store, "one", 0)["problem"]
    kernel.write_text("")
    assert table.compare(store, "one", 0)["problem"].startswith("the firewall is not loaded")
    kernel.write_text(good)
    for path in store.parts.iterdir():
        path.unlink()
    assert "no project wants" in table.compare(store, "one", 0)["problem"]
