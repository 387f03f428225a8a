"""A virtual machine with a power switch: what the scenario `machine` deploys to.

    python -m tests.machine on DIR [--url URL]    switch on, and wait until the site answers
    python -m tests.machine cut DIR               switch off, as a power cut does
    python -m tests.machine restart DIR --url URL wait until the site went away and is back
    python -m tests.machine remove DIR            switch off, and remove the directory

DIR holds disk.img, vmlinuz and initrd.img. `on` leaves there what the others need: ssh_port and
site_port (on 127.0.0.1), accelerator, the pid files and console.log. Without a URL it waits for
the SSH server. `on` and `restart` print the seconds as JSON.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterable
from pathlib import Path

from tests.hosts import CACHE

QEMU = "qemu-system-x86_64"
PREFIX = os.environ.get("SLIPWAY_TEST_PREFIX", "slipway-test")
# What a test that was killed leaves behind ends by itself.
LIFE_SECONDS = 4 * 3600
PROBE_SECONDS = 20
START_SECONDS = 15
ANSWER_SECONDS = 3
# In software emulation on a busy machine a boot takes minutes.
LIMIT_SECONDS = 900


class ProblemError(Exception):
    """The machine did not do what it was told; the message says what to look at."""


def place(name: str) -> Path:
    """Return the directory of a scenario's machine."""
    return CACHE / f"{PREFIX}-{name}"


def disk_command() -> list[str]:
    """Return the command of the disk, for the machine's directory.

    A disk with a volatile cache: a write goes into the cache, and onto disk.img when the guest
    flushes. So a cut loses all that the guest has not flushed, and nothing that it has. QEMU alone
    has no such disk: with cache=none or directsync every write is on the disk at once, flushed or
    not, so a database that forgets to flush would pass. What is on disk.img stays in the memory of
    this machine's kernel, which has no power cut.
    """
    return [
        "nbdkit", "--foreground", "--pidfile=disk.pid", "--unix=disk.sock", "--filter=cache",
        "file", "disk.img", "cache=writeback", "cache-min-block-size=4K",
    ]  # fmt: skip


def machine_command(accelerator: str, ssh_port: int, site_port: int) -> list[str]:
    """Return the command of the machine, for its directory."""
    ports = ((ssh_port, 22), (site_port, 8080))
    # There is no speculation in software emulation, and it pays dearly for what guards against it.
    quick = " mitigations=off no5lvl" if accelerator == "tcg" else ""
    forwards = ",".join(f"hostfwd=tcp:127.0.0.1:{here}-:{there}" for here, there in ports)
    return [
        QEMU, "-accel", accelerator, "-cpu", "host" if accelerator == "kvm" else "max",
        "-smp", "2", "-m", "2048", "-nodefaults", "-display", "none", "-pidfile", "qemu.pid",
        "-kernel", "vmlinuz", "-initrd", "initrd.img",
        "-append", f"root=/dev/vda rw console=ttyS0{quick}",
        # The guest is to see a disk with a cache, and to flush.
        "-drive", "driver=nbd,server.type=unix,server.path=disk.sock,if=virtio,cache=writeback",
        "-netdev", f"user,id=net,{forwards}", "-device", "virtio-net-pci,netdev=net",
        "-device", "virtio-rng-pci",
        "-chardev", "file,id=console,path=console.log,append=on", "-serial", "chardev:console",
    ]  # fmt: skip


def boots_with_kvm(directory: Path) -> bool:
    """Return whether a guest really comes up with KVM: /dev/kvm alone says little."""
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return False
    command = [
        QEMU, "-accel", "kvm", "-cpu", "host", "-m", "256", "-nodefaults", "-display", "none",
        "-no-reboot", "-serial", "stdio", "-kernel", "vmlinuz",
        # Without a root it panics, and ends.
        "-append", "console=ttyS0 panic=-1",
    ]  # fmt: skip
    try:
        said = subprocess.run(
            command, cwd=directory, stdin=subprocess.DEVNULL, capture_output=True,
            timeout=PROBE_SECONDS, check=False,
        ).stdout  # fmt: skip
    except subprocess.TimeoutExpired as late:
        said = late.stdout or b""
    return b"Linux version" in said


def once(path: Path, make: Callable[[], str]) -> str:
    """Return the text of a file that is made when it is not there."""
    if not path.exists():
        path.write_text(make())
    return path.read_text()


def free_port() -> str:
    """Return a port of the loopback on which nobody listens."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return str(one.getsockname()[1])


def alive(pid: int) -> bool:
    """Return whether a process runs; one that ended and that nobody waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def running(directory: Path, name: str) -> int:
    """Return the pid in a pid file; 0 when that process is over, or is another one by now."""
    try:
        pid = int((directory / name).read_text())
        where = Path(f"/proc/{pid}/cwd").resolve(strict=True)
    except (OSError, ValueError):
        return 0
    return pid if alive(pid) and where == directory.resolve() else 0


def until(happened: Callable[[], bool], seconds: float, problem: str) -> None:
    """Wait for something; raise ProblemError with the text when it does not happen in time."""
    deadline = time.monotonic() + seconds
    while not happened():
        if time.monotonic() > deadline:
            raise ProblemError(problem)
        time.sleep(0.1)


def start(command: list[str], directory: Path, log: str) -> None:
    """Start a program that goes on when this one has ended, though not for ever."""
    with (directory / log).open("ab") as output:
        subprocess.run(
            ["setsid", "--fork", "timeout", "--signal=KILL", str(LIFE_SECONDS), *command],
            cwd=directory,
            # The cache of the disk is a file there that has no name.
            env=os.environ | {"TMPDIR": str(directory)},
            stdin=subprocess.DEVNULL, stdout=output, stderr=output, check=True,
        )  # fmt: skip


def answers(url: str) -> bool:
    """Return whether a site answers with its page."""
    try:
        with urllib.request.urlopen(url, timeout=ANSWER_SECONDS) as answer:  # noqa: S310 (ours)
            return bool(answer.status == 200 and answer.read())
    except (OSError, http.client.HTTPException):
        return False


def greets(port: int) -> bool:
    """Return whether an SSH server answers."""
    try:
        with socket.create_connection(("127.0.0.1", port), ANSWER_SECONDS) as one:
            one.settimeout(ANSWER_SECONDS)
            return one.recv(4) == b"SSH-"
    except OSError:
        return False


def on(directory: Path, url: str = "") -> dict[str, object]:
    """Switch the machine on; return how long it took until somebody answered."""
    if running(directory, "qemu.pid") or running(directory, "disk.pid"):
        raise ProblemError(f"the machine in {directory} is on already")
    for name in ("disk.sock", "disk.pid", "qemu.pid"):
        (directory / name).unlink(missing_ok=True)
    accelerator = once(
        directory / "accelerator", lambda: "kvm" if boots_with_kvm(directory) else "tcg"
    )
    ssh_port, site_port = (
        int(once(directory / f"{one}_port", free_port)) for one in ("ssh", "site")
    )
    began = time.monotonic()
    start(disk_command(), directory, "disk.log")
    log = directory / "disk.log"
    until((directory / "disk.sock").exists, START_SECONDS, f"the disk did not start: see {log}")
    start(machine_command(accelerator, ssh_port, site_port), directory, "qemu.log")
    log = directory / "qemu.log"
    until(
        lambda: bool(running(directory, "qemu.pid")),
        START_SECONDS,
        f"QEMU did not start: see {log}",
    )
    what = url or "its SSH server"
    until(
        lambda: answers(url) if url else greets(ssh_port),
        LIMIT_SECONDS,
        f"{what} did not answer within {LIMIT_SECONDS} s: see {directory / 'console.log'}",
    )
    return {"seconds": round(time.monotonic() - began, 1), "accelerator": accelerator}


def restart(directory: Path, url: str) -> dict[str, object]:
    """Wait until the site is gone, then until it is back; return how long it was away."""
    console = directory / "console.log"
    until(lambda: not answers(url), LIMIT_SECONDS, f"{url} did not go away: see {console}")
    began = time.monotonic()
    until(lambda: answers(url), LIMIT_SECONDS, f"{url} did not come back: see {console}")
    return {"seconds": round(time.monotonic() - began, 1)}


def cut(directory: Path) -> None:
    """Switch the machine off, which it does not notice; nothing to do when it is off."""
    machine, disk = (running(directory, name) for name in ("qemu.pid", "disk.pid"))
    # Stopped first, so that the machine neither sees its disk fail nor flushes anything more.
    for pid, number in (
        (machine, signal.SIGSTOP), (disk, signal.SIGKILL), (machine, signal.SIGKILL),
    ):  # fmt: skip
        if pid:
            os.kill(pid, number)
    until(
        lambda: not alive(machine) and not alive(disk),
        START_SECONDS,
        f"the processes {machine} and {disk} did not end",
    )


def remove(directory: Path) -> None:
    """Switch the machine off, and remove it."""
    cut(directory)
    shutil.rmtree(directory, ignore_errors=True)


def main(arguments: Iterable[str] | None = None) -> int:
    """Do what the command line says, and return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("verb", choices=["on", "cut", "restart", "remove"])
    parser.add_argument("directory", type=Path, metavar="DIR")
    parser.add_argument("--url", default="", help="whose answer is waited for")
    given = parser.parse_args(None if arguments is None else list(arguments))
    try:
        if given.verb == "on":
            print(json.dumps(on(given.directory, given.url)))
        elif given.verb == "restart":
            print(json.dumps(restart(given.directory, given.url)))
        else:
            {"cut": cut, "remove": remove}[given.verb](given.directory)
    except ProblemError as problem:
        print(f"tests.machine: {given.verb}: {problem}.", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
