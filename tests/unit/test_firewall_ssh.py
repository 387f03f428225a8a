"""By which ports a host is reached over SSH: none of them may be closed."""

from __future__ import annotations

import importlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.rendering import ROLES, evaluate, load_tasks

ssh = importlib.import_module("plugins.modules.firewall_ssh_ports")

# Calls itself as sshd does, listens, and has a session that forwards a port; prints both ports,
# and one on which it listens for this machine alone.
SERVER = """
import os, socket, sys, time
open("/proc/self/comm", "w").write("sshd")
def listen(address):
    one = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
    one.bind((address, 0))
    one.listen()
    return one
server, inside = listen(sys.argv[1]), listen("127.0.0.1")
read, write = os.pipe()
if not os.fork():
    server.close(), inside.close()
    session = listen(sys.argv[1])
    os.write(write, b"%d" % session.getsockname()[1])
    time.sleep(60)
    os._exit(0)
print(server.getsockname()[1], inside.getsockname()[1], int(os.read(read, 9)), flush=True)
time.sleep(60)
"""


@pytest.fixture(params=["0.0.0.0", "::"])  # noqa: S104 (where a real one listens)
def server(request: pytest.FixtureRequest) -> Iterator[tuple[int, int, int]]:
    """Have a process that looks like a server of SSH; return the ports that it prints."""
    with subprocess.Popen(
        [sys.executable, "-c", SERVER, request.param],
        stdout=subprocess.PIPE, text=True, start_new_session=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        own, inside, session = (int(word) for word in process.stdout.readline().split())
        yield own, inside, session
        subprocess.run(["kill", "--", f"-{process.pid}"], check=True)


def test_a_server_is_found_by_its_sockets(server: tuple[int, int, int]) -> None:
    """Whatever its files say; what its sessions forward is not to be opened."""
    own, inside, session = server
    found = ssh.listening()
    assert own in found
    assert not {inside, session} & found


def test_a_configuration_is_read_where_sshd_does_not_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without /run/sshd, sshd -T ends with 255."""
    (tmp_path / "sshd").write_text(
        "#!/bin/sh\necho Missing privilege separation directory >&2\nexit 255\n"
    )
    (tmp_path / "sshd").chmod(0o755)
    monkeypatch.setattr(ssh, "PATH", f"{tmp_path}:/bin")
    main = tmp_path / "sshd_config"
    monkeypatch.setattr(ssh, "CONFIGURATION", main)
    (tmp_path / "more.d").mkdir()
    (tmp_path / "more.d/port.conf").write_text("PORT 2222 # not 22\nMatch User git\nPort 9\n")
    main.write_text(
        "#Port 1\nInclude more.d/*.conf\nListenAddress [2001:db8::1]:2223\n"
        "ListenAddress 192.0.2.1:2224\nListenAddress 2001:db8::1\nListenAddress ::\n"
        "Port=2225\nPortable 7\nMatch Address 192.0.2.0/24\nPort 8\n"
    )
    assert ssh.configured() == {2222, 2223, 2224, 2225}
    main.write_text("PermitRootLogin no\n")
    assert ssh.configured() == {22}
    main.unlink()
    assert ssh.configured() == set()


@pytest.mark.parametrize("option", ["-T", "-G"])
def test_sshd_is_asked_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, option: str) -> None:
    """A port that stands with an address alone is one, too."""
    said = "port 22\nlistenaddress [::]:22\nlistenaddress 192.0.2.1:2222\nusepam yes\n"
    (tmp_path / "sshd").write_text(f"#!/bin/sh\n[ $1 = {option} ] && printf '{said}'\n")
    (tmp_path / "sshd").chmod(0o755)
    monkeypatch.setattr(ssh, "PATH", f"{tmp_path}:/bin")
    assert ssh.configured() == {22, 2222}


# As systemd 255 prints them.
SHOWN = """\
Listen=0.0.0.0:2022 (Stream)
Listen=[::]:2022 (Stream)
Triggers=ssh.service
Id=ssh.socket
ActiveState=active
UnitFileState=enabled

Listen=[::]:23 (Stream)
Triggers=sshd.service
Id=sshd.socket
ActiveState=inactive
UnitFileState=disabled

Listen=/run/ssh-unix-local/socket (Stream)
Listen=vsock::22 (Stream)
Id=sshd-unix-local.socket
ActiveState=active
UnitFileState=generated

Listen=2122 (Stream)
Listen=127.0.0.1:2123 (Stream)
Triggers=dropbear.service
Id=remote.socket
ActiveState=inactive
UnitFileState=enabled

Listen=[::]:80 (Stream)
Triggers=web.service
Id=web.socket
ActiveState=active
UnitFileState=enabled
"""


def test_what_systemd_listens_on_for_ssh_counts() -> None:
    """Ubuntu starts no server before somebody knocks."""
    assert ssh.sockets_of(SHOWN) == {2022, 2122}
    assert ssh.sockets_of("") == set()


def test_the_rules_take_all_of_them() -> None:
    """And the port that the run came in by."""
    names = [task["name"] for task in load_tasks(ROLES / "firewall/tasks/validate.yml")]
    assert "validate | Look for the ports of SSH" in names
    found = evaluate(
        "firewall",
        "__firewall_entries | firewall_matches",
        __firewall_sshd={"ports": ["22", "2222"]},
        __firewall_ssh={"stdout": "192.0.2.7 40000 198.51.100.1 2022"},
    )
    assert found == ["tcp dport 22", "tcp dport 2222", "tcp dport 2022"]
