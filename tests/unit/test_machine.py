"""The virtual machine of the scenario `machine` has a switch that cuts its power."""

from __future__ import annotations

import http.server
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import machine

# Writes its pid file, as the real one does, and waits; a machine's accelerator is noted.
PROGRAM = """#!/usr/bin/env bash
set -euo pipefail
case $0 in
  *nbdkit) echo $$ >disk.pid; touch disk.sock ;;
  *) echo $$ >qemu.pid; echo "$*" >>booted ;;
esac
while :; do sleep 0.1; done
"""


@pytest.fixture
def one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return the directory of a machine whose programs only wait; switch it off at the end."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("nbdkit", machine.QEMU):
        (programs / name).write_text(PROGRAM)
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(machine, "boots_with_kvm", lambda _: False)
    monkeypatch.setattr(machine, "greets", lambda _: True)
    directory = tmp_path / "machine"
    directory.mkdir()
    yield directory
    machine.cut(directory)


def pids(directory: Path) -> list[int]:
    """Return the pids of machine and disk; 0 for one that does not run."""
    return [machine.running(directory, name) for name in ("qemu.pid", "disk.pid")]


def test_a_cut_ends_machine_and_disk(one: Path) -> None:
    """And a second one has nothing to do; what is switched on again has the same ports."""
    assert machine.on(one)["accelerator"] == "tcg"
    before = pids(one)
    assert all(before)
    machine.cut(one)
    assert not any(machine.alive(pid) for pid in before)
    assert pids(one) == [0, 0]
    machine.cut(one)
    machine.on(one)
    first, second = (one / "booted").read_text().splitlines()
    assert first == second
    assert f"127.0.0.1:{(one / 'ssh_port').read_text()}-:22" in first


def test_the_machine_stops_before_its_disk_fails(
    one: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else it would see errors, and the disk could take what comes after the cut."""
    machine.on(one)
    qemu, disk = pids(one)
    sent: list[tuple[int, int]] = []
    kill = os.kill

    def noted(pid: int, number: int) -> None:
        sent.append((pid, number))
        kill(pid, number)

    monkeypatch.setattr(os, "kill", noted)
    machine.cut(one)
    assert sent == [(qemu, signal.SIGSTOP), (disk, signal.SIGKILL), (qemu, signal.SIGKILL)]


def test_no_other_process_is_killed(one: Path) -> None:
    """The pid of a machine that ended may be somebody else's by now."""
    with subprocess.Popen(["sleep", "60"]) as other:
        (one / "qemu.pid").write_text(str(other.pid))
        (one / "disk.pid").write_text("no number")
        machine.cut(one)
        assert other.poll() is None
        other.kill()
    assert not machine.alive(other.pid)


def test_a_machine_is_switched_on_once(one: Path) -> None:
    """Two on one disk would destroy it."""
    machine.on(one)
    with pytest.raises(machine.ProblemError, match="on already"):
        machine.on(one)


def test_a_program_that_does_not_start_says_where_to_look(
    one: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One sentence, and the exit code; the disk that did start is switched off with the rest."""
    monkeypatch.setattr(machine, "START_SECONDS", 0.5)
    monkeypatch.setattr(machine, "QEMU", "false")
    assert machine.main(["on", str(one)]) == 1
    assert "QEMU did not start: see " in capsys.readouterr().err
    assert machine.main(["remove", str(one)]) == 0
    assert not one.exists()


class Guest:
    """What a guest does with its disk, in the words of NBD."""

    def __init__(self, path: Path) -> None:
        """Agree on the one export that there is."""
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(str(path))
        assert self.read(18).startswith(b"NBDMAGICIHAVEOPT")
        self.socket.sendall(struct.pack(">I8sII", 3, b"IHAVEOPT", 1, 0))
        self.size, self.can = struct.unpack(">QH", self.read(10))

    def read(self, count: int) -> bytes:
        """Return as many bytes."""
        data = b""
        while len(data) < count:
            more = self.socket.recv(count - len(data))
            assert more
            data += more
        return data

    def ask(self, what: int, offset: int = 0, data: bytes = b"") -> None:
        """Send a request, and wait until it is done."""
        head = struct.pack(">IHHQQI", 0x25609513, 0, what, 7, offset, len(data))
        self.socket.sendall(head + data)
        assert struct.unpack(">IIQ", self.read(16)) == (0x67446698, 0, 7)

    def write(self, offset: int, data: bytes) -> None:
        """Write, which is done when the disk says so."""
        self.ask(1, offset, data)

    def flush(self) -> None:
        """Have what was written last."""
        self.ask(3)


@pytest.mark.skipif(shutil.which("nbdkit") is None, reason="nbdkit is not installed")
def test_the_disk_loses_what_was_not_flushed(tmp_path: Path) -> None:
    """And keeps what was, as a disk does whose power is cut."""
    disk = tmp_path / "disk.img"
    disk.write_bytes(bytes(1 << 20))
    machine.start(machine.disk_command(), tmp_path, "disk.log")
    machine.until((tmp_path / "disk.sock").exists, 10, "no disk")
    guest = Guest(tmp_path / "disk.sock")
    # The guest is told that it can flush, and so that it has to.
    assert (guest.size, bool(guest.can & 4)) == (1 << 20, True)
    guest.write(8192, b"a" * 4096)
    guest.flush()
    guest.write(8192, b"b" * 4096)
    guest.write(65536, b"c" * 4096)
    assert machine.running(tmp_path, "disk.pid")
    machine.cut(tmp_path)
    guest.socket.close()
    after = disk.read_bytes()
    assert after[8192:12288] == b"a" * 4096
    assert after.count(b"a") == 4096
    assert not {b"b", b"c"} & {after[at : at + 1] for at in (8192, 65536)}


def test_the_guest_has_to_flush() -> None:
    """The disk keeps what was flushed, and the guest knows that it has to."""
    assert "cache=writeback" in machine.disk_command()
    (drive,) = (word for word in machine.machine_command("tcg", 1, 2) if "if=virtio" in word)
    assert "cache=writeback" in drive


@pytest.mark.parametrize(
    ("says", "boots"),
    [("echo '[0.0] Linux version 6.1'; sleep 60", True), ("sleep 60", False), ("exit 1", False)],
)
def test_kvm_is_tried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, says: str, boots: bool
) -> None:
    """A guest says so when it comes up; the device alone says little."""
    program = tmp_path / "qemu"
    program.write_text(f"#!/usr/bin/env bash\n{says.replace('sleep', 'exec sleep')}\n")
    program.chmod(0o755)
    monkeypatch.setattr(machine, "QEMU", str(program))
    monkeypatch.setattr(machine, "PROBE_SECONDS", 1)
    monkeypatch.setattr(os, "access", lambda *_: True)
    assert machine.boots_with_kvm(tmp_path) == boots


def test_the_time_of_a_site_that_comes_back(one: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From power on until the page is there; an error is none."""

    class Site(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if time.monotonic() > up else 502)
            self.end_headers()
            self.wfile.write(b"[]")

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    up = time.monotonic() + 1
    with http.server.HTTPServer(("127.0.0.1", 0), Site) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}/"
        seconds = machine.on(one, url)["seconds"]
        assert isinstance(seconds, float)
        assert 0.5 < seconds < 10
        server.shutdown()
    monkeypatch.setattr(machine, "LIMIT_SECONDS", 0.5)
    with pytest.raises(machine.ProblemError, match=r"did not come back: see .*console\.log"):
        machine.restart(one, url)


def test_the_seconds_are_json(one: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The scenario reads them."""
    assert machine.main(["on", str(one)]) == 0
    assert set(json.loads(capsys.readouterr().out)) == {"seconds", "accelerator"}
