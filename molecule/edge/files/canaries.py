#!/usr/bin/env python3
"""Plant strings that are found again, and look for them where no secret may be.

    plant DIRECTORY HOST NAME...   an inventory whose secrets are canaries, for a site of that name
    watch KNOWN OUT STOP           the processes that have one in arguments or environment
    search KNOWN MEANT... -- PATH...   every file below PATH that holds one and is not below MEANT
    stream KNOWN                   whether standard input has one

KNOWN is a JSON file with the strings, by name; only its path is ever an argument.
"""

from __future__ import annotations

import base64
import json
import os
import secrets
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

CHUNK = 1 << 20
# What is no file of the host, and the archives of the base images, which are older than any canary.
SKIPPED = {"/proc", "/sys", "/dev", "/srv/slipway-test"}
MARK = "slipwaycanary"
# Looks at a process before it counts as one that stays: two seconds.
NEW = 40


def plant(directory: Path, host: str, names: list[str]) -> None:
    """Write an inventory, and what is in it, by name."""
    import datetime
    import ipaddress

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    def canary() -> str:
        return MARK + secrets.token_hex(16)

    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, names[0])])
    now = datetime.datetime.now(datetime.UTC)
    alternatives: list[x509.GeneralName] = [x509.DNSName(name) for name in names]
    alternatives.append(x509.IPAddress(ipaddress.ip_address("127.0.0.1")))
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject).issuer_name(subject).public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=30))
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()  # fmt: skip
    known = {name: canary() for name in ("password", "token", "key_file", "passphrase", "index")}
    variables = {
        "postgres_password": known["password"],
        "flask_secret_env": {"API_TOKEN": known["token"]},
        "flask_secret_files": {"SECRET_KEY": "", "SIGNING_KEY": known["key_file"]},
        "backup_enabled": True,
        "backup_encrypt": True,
        "backup_passphrase": known["passphrase"],
        "nginx_tls": "provided",
        "nginx_tls_certificate": certificate.public_bytes(serialization.Encoding.PEM).decode(),
        "nginx_tls_key": pem,
        "flask_build_pip_conf": str(directory / "pip.conf"),
    }
    known["tls"] = pem.splitlines()[1]
    inventory = directory / "inventory"
    (inventory / "host_vars").mkdir(parents=True, exist_ok=True)
    (inventory / "hosts.yml").write_text(json.dumps({"slipway": {"hosts": {host: None}}}))
    (inventory / "host_vars" / f"{host}.yml").write_text(json.dumps(variables))
    # Nobody listens there, and pip goes on with its other index.
    (directory / "pip.conf").write_text(
        f"[global]\nretries = 0\nextra-index-url = http://user:{known['index']}@127.0.0.1:9/simple\n"
    )
    (directory / "known.json").write_text(json.dumps(known))
    (directory / "vault").write_text(secrets.token_hex(16))


def forms(value: str) -> Iterator[bytes]:
    """Yield how a value may be written: as it is, and within a base64 text at any place."""
    raw = value.encode()
    yield raw
    for shift in range(3):
        coded = base64.b64encode(b"\0" * shift + raw)
        # What the neighbours have a part in is left out.
        yield coded[(shift * 8 + 5) // 6 : len(coded) - 4]


def patterns(path: str) -> dict[bytes, str]:
    """Return what to look for, with the secret's name."""
    known: dict[str, str] = json.loads(Path(path).read_text())
    return {form: name for name, value in known.items() for form in forms(value)}


def found_in(chunks: Iterable[bytes], wanted: dict[bytes, str]) -> set[str]:
    """Return the names of the secrets in a stream."""
    tail = b""
    keep = max(len(one) for one in wanted)
    names: set[str] = set()
    for chunk in chunks:
        block = tail + chunk
        names |= {name for one, name in wanted.items() if one in block}
        tail = block[-keep:]
    return names


def chunks_of(path: str) -> Iterator[bytes]:
    """Yield a file's content."""
    with Path(path).open("rb") as file:
        while chunk := file.read(CHUNK):
            yield chunk


def walk(roots: list[str]) -> Iterator[str]:
    """Yield every regular file below some directories."""
    for root in roots:
        for directory, names, files in os.walk(root):
            # A container's root is mounted from layers that are walked themselves.
            names[:] = [
                one
                for one in names
                if os.path.join(directory, one) not in SKIPPED  # noqa: PTH118
                and not (one == "merged" and "/overlay2/" in directory)
            ]
            for name in files:
                path = os.path.join(directory, name)  # noqa: PTH118
                if os.path.isfile(path) and not os.path.islink(path):  # noqa: PTH113, PTH114
                    yield path


def search(known: str, meant: list[str], roots: list[str]) -> int:
    """Print each file that has a canary and is not meant to; end with 1 when there is one."""
    wanted = patterns(known)
    count = size = 0
    holders: dict[str, set[str]] = {}
    leaks = {}
    for path in walk(roots):
        if path == known:
            continue
        try:
            names = found_in(chunks_of(path), wanted)
            size += os.stat(path).st_size  # noqa: PTH116
        except OSError:
            continue
        count += 1
        if names and any(path.startswith(one) for one in meant):
            for name in names:
                holders.setdefault(name, set()).add(path)
        elif names:
            leaks[path] = sorted(names)
    print(json.dumps({
        "files": count, "bytes": size, "leaks": leaks,
        "held": {name: sorted(paths) for name, paths in sorted(holders.items())},
    }))  # fmt: skip
    return 1 if leaks else 0


def processes(wanted: dict[bytes, str], seen: set[str], looks: dict[str, int]) -> Iterator[str]:
    """Yield a line for each process that has a canary in its arguments or its environment.

    `looks` counts how often each was looked at: a new one each time, since it may become another
    program, one that stays now and then, since looking at all of them would take a processor.
    """
    there = {entry.name for entry in os.scandir("/proc") if entry.name.isdigit()}
    for name in looks.keys() - there:
        del looks[name]
    for name in there:
        looks[name] = looks.get(name, 0) + 1
        if looks[name] > NEW and looks[name] % NEW:
            continue
        entry = Path("/proc", name)
        for part in ("cmdline", "environ"):
            try:
                text = (entry / part).read_bytes()
                user = entry.stat().st_uid
                program = (entry / "comm").read_text().strip()
            except OSError:
                continue
            for one, secret in wanted.items():
                if one in text:
                    line = f"{part} {secret} {user} {program}"
                    if line not in seen:
                        seen.add(line)
                        yield line


def watch(known: str, out: str, stop: str) -> None:
    """Look at all processes again and again until somebody says stop."""
    wanted = patterns(known)
    seen: set[str] = set()
    looked: dict[str, int] = {}
    looks = 0
    with Path(out).open("w") as file:
        while not Path(stop).exists():
            for line in processes(wanted, seen, looked):
                file.write(f"{line}\n")
                file.flush()
            looks += 1
            time.sleep(0.05)
        file.write(f"looked {looks} times\n")


def main(words: list[str]) -> int:
    """Do what the first word says."""
    verb, first, *rest = words
    if verb == "plant":
        plant(Path(first), rest[0], rest[1:])
    elif verb == "watch":
        watch(first, *rest)
    elif verb == "search":
        return search(first, rest[: rest.index("--")], rest[rest.index("--") + 1 :])
    elif verb == "stream":
        stream = iter(lambda: sys.stdin.buffer.read(CHUNK), b"")
        names = found_in(stream, patterns(first))
        print(" ".join(sorted(names)))
        return 1 if names else 0
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
