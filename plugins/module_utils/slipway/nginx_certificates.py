"""Certificates of the front: what they must be like, and where they lie.

`ROOT/NAME/` holds one certificate: `fullchain.pem`, `privkey.pem`, `certificate.conf` (what nginx
includes) and `certificate.json` (where it came from). The link `ROOT/live` names the one in use.
"""

from __future__ import annotations

import datetime
import ipaddress
import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

try:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
except ImportError:  # the role installs it
    x509 = None  # type: ignore[assignment]

PEM = re.compile(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)
# Where nginx finds the root in its container.
INSIDE = "/etc/nginx/slipway/tls"


class CertificateError(Exception):
    """A certificate that must not go live; the message is a sentence for a person."""


class Certificate:
    """A chain and its key, read and held against the rules."""

    def __init__(self, chain: str, key: str) -> None:
        """Read both.

        Raises:
            CertificateError: when one is not what it should be, or they do not belong together.

        """
        blocks = PEM.findall(chain)
        if not blocks:
            raise CertificateError(
                "the certificate holds no PEM block (-----BEGIN CERTIFICATE-----)"
            )
        try:
            self.chain = [x509.load_pem_x509_certificate(block.encode()) for block in blocks]
        except ValueError as problem:
            raise CertificateError(f"the certificate can't be read ({problem})") from None
        try:
            private = serialization.load_pem_private_key(key.encode(), password=None)
        except TypeError:
            raise CertificateError("the key has a passphrase, and nginx has none") from None
        except ValueError:
            raise CertificateError("the key is no PEM private key") from None
        if _public(private.public_key()) != _public(self.leaf.public_key()):
            belongs = [
                number
                for number, one in enumerate(self.chain, 1)
                if _public(one.public_key()) == _public(private.public_key())
            ]
            raise CertificateError(
                f"the key belongs to certificate {belongs[0]} of the chain, which must come first"
                if belongs
                else "the key does not belong to the certificate"
            )
        for number, (one, issuer) in enumerate(zip(self.chain, self.chain[1:], strict=False), 1):
            if not _issued(one, issuer):
                raise CertificateError(
                    f"certificate {number + 1} of the chain ({_name(issuer.subject)}) did not issue"
                    f" the one before it, which {_name(one.issuer)} issued"
                )

    @property
    def leaf(self) -> Any:
        """Return the site's own certificate."""
        return self.chain[0]

    @property
    def fingerprint(self) -> str:
        """Return the SHA-256 of the site's own certificate, as 64 hexadecimal digits."""
        return str(self.leaf.fingerprint(hashes.SHA256()).hex())

    @property
    def not_before(self) -> datetime.datetime:
        """Return since when all certificates of the chain are valid, in UTC."""
        return max(_moment(one, "before") for one in self.chain)

    @property
    def not_after(self) -> datetime.datetime:
        """Return when the first certificate of the chain expires, in UTC."""
        return min(_moment(one, "after") for one in self.chain)

    @property
    def names(self) -> list[str]:
        """Return the names and addresses that the certificate is for."""
        try:
            found = self.leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        except x509.ExtensionNotFound:
            return []
        return [
            *found.get_values_for_type(x509.DNSName),
            *(str(one) for one in found.get_values_for_type(x509.IPAddress)),
        ]

    @property
    def staples(self) -> bool:
        """Return whether the CA answers OCSP for it, and the chain has what checks that answer."""
        try:
            access = self.leaf.extensions.get_extension_for_class(x509.AuthorityInformationAccess)
        except x509.ExtensionNotFound:
            return False
        ocsp = x509.oid.AuthorityInformationAccessOID.OCSP
        return len(self.chain) > 1 and any(one.access_method == ocsp for one in access.value)

    def missing(self, names: list[str]) -> list[str]:
        """Return the names that it does not cover."""
        return [name for name in names if not any(_covers(own, name) for own in self.names)]

    def require(self, names: list[str], now: datetime.datetime) -> None:
        """Hold it against the site's names and the time.

        Raises:
            CertificateError: when it is not for one of the names, has expired, or is of the future.

        """
        for one in self.chain:
            if now >= _moment(one, "after"):
                raise CertificateError(
                    f"the certificate of {_name(one.subject)} expired on"
                    f" {_moment(one, 'after'):%Y-%m-%d}"
                )
            if now < _moment(one, "before"):
                raise CertificateError(
                    f"the certificate of {_name(one.subject)} is not valid before"
                    f" {_moment(one, 'before'):%Y-%m-%d %H:%M} UTC"
                )
        missing = self.missing(names)
        if missing:
            raise CertificateError(
                f"the certificate is for {', '.join(self.names) or 'no name'} and not for"
                f" {', '.join(missing)}"
            )

    def facts(self) -> dict[str, Any]:
        """Return what there is to tell of it."""
        return {
            "fingerprint": self.fingerprint,
            "names": self.names,
            "issuer": _name(self.leaf.issuer),
            "expires": self.not_after.strftime("%Y-%m-%dT%H:%M:%SZ"),
        }


class Store:
    """The directory of the certificates."""

    def __init__(self, root: Path, uid: int, gid: int) -> None:
        """Remember where it is, and who may read the keys."""
        self.root, self.uid, self.gid = root, uid, gid

    @property
    def live(self) -> str:
        """Return the name of the certificate in use; nothing when there is none."""
        link = self.root / "live"
        return str(link.readlink()) if link.is_symlink() else ""

    def named(self, kind: str) -> list[str]:
        """Return the names of one kind (acme, provided, selfsigned), oldest first."""
        found = [one for one in self.root.glob(f"{kind}-*") if (one / "fullchain.pem").exists()]
        return [one.name for one in sorted(found, key=lambda one: (one.stat().st_mtime, one.name))]

    def read(self, name: str) -> Certificate:
        """Read one; raises CertificateError when it is damaged or not there."""
        try:
            texts = [
                (self.root / name / part).read_text() for part in ("fullchain.pem", "privkey.pem")
            ]
        except OSError as problem:
            raise CertificateError(f"{problem.filename}: {problem.strerror}") from None
        return Certificate(*texts)

    def origin(self, name: str) -> dict[str, Any]:
        """Return where one came from; empty when that is not known."""
        path = self.root / name / "certificate.json"
        return dict(json.loads(path.read_text())) if name and path.exists() else {}

    def complete(self, name: str, origin: dict[str, Any]) -> bool:
        """Write what stands beside the chain and the key; return whether that changed anything."""
        one = self.read(name)
        lines = [
            "# Written by Slipway with the certificate that it belongs to.",
            f"ssl_certificate {INSIDE}/{name}/fullchain.pem;",
            f"ssl_certificate_key {INSIDE}/{name}/privkey.pem;",
        ]
        if one.staples:
            lines += [
                "ssl_stapling on;",
                "ssl_stapling_verify on;",
                f"ssl_trusted_certificate {INSIDE}/{name}/fullchain.pem;",
            ]
        lines += [
            "# What the running nginx says of it.",
            "map $request_method $slipway_certificate_mark {",
            f'    default "{one.fingerprint}";',
            "}",
            "",
        ]
        changed = self._write(name, "certificate.conf", "\n".join(lines))
        text = json.dumps(origin, indent=1, sort_keys=True) + "\n"
        return self._write(name, "certificate.json", text) or changed

    def put(self, name: str, chain: str, key: str, origin: dict[str, Any]) -> None:
        """Add a certificate as a whole, or not at all."""
        new = self.root / f".new-{name}"
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(parents=True, mode=0o755)
        for part, text, mode in (("fullchain.pem", chain, 0o444), ("privkey.pem", key, 0o400)):
            path = new / part
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
            with os.fdopen(handle, "w") as file:
                file.write(text.strip() + "\n")
                file.flush()
                os.fsync(file.fileno())
            os.chown(path, self.uid, self.gid)
        new.rename(self.root / name)
        self.complete(name, origin)

    def own(self, name: str) -> bool:
        """Let nginx's user alone read a key; return whether that changed anything."""
        path = self.root / name / "privkey.pem"
        there = path.stat()
        if (there.st_uid, there.st_gid, there.st_mode & 0o777) == (self.uid, self.gid, 0o400):
            return False
        os.chown(path, self.uid, self.gid)
        path.chmod(0o400)
        return True

    def use(self, name: str) -> None:
        """Make one the certificate in use, in one step."""
        new = self.root / ".live.new"
        new.unlink(missing_ok=True)
        new.symlink_to(name)
        new.replace(self.root / "live")

    def prune(self, kind: str, keep: int) -> None:
        """Remove the oldest of one kind, never the one in use, and what a killed run left."""
        for name in self.named(kind)[:-keep]:
            if name != self.live:
                shutil.rmtree(self.root / name, ignore_errors=True)
        for left in self.root.glob(f".new-{kind}-*"):
            shutil.rmtree(left, ignore_errors=True)

    def _write(self, name: str, part: str, text: str) -> bool:
        path = self.root / name / part
        if path.exists() and path.read_text() == text:
            return False
        new = path.with_name(f".{part}.new")
        new.write_text(text)
        new.chmod(0o644)
        new.replace(path)
        return True


def now() -> datetime.datetime:
    """Return the time, in UTC."""
    return datetime.datetime.now(datetime.timezone.utc)  # noqa: UP017 (Python 3.10)


def _public(key: Any) -> bytes:
    encoding = serialization.Encoding.DER
    return bytes(key.public_bytes(encoding, serialization.PublicFormat.SubjectPublicKeyInfo))


def _moment(one: Any, which: str) -> datetime.datetime:
    """Return the begin ("before") or the end ("after") of a certificate's time, in UTC."""
    # With the zone since cryptography 42.
    found = getattr(one, f"not_valid_{which}_utc", None)
    if found is None:
        zone = datetime.timezone.utc  # noqa: UP017 (Python 3.10)
        found = getattr(one, f"not_valid_{which}").replace(tzinfo=zone)
    return found  # type: ignore[no-any-return]


def _issued(one: Any, issuer: Any) -> bool:
    """Say whether a certificate was issued by another."""
    if one.issuer != issuer.subject:
        return False
    if not hasattr(one, "verify_directly_issued_by"):  # before cryptography 40
        return True
    try:
        one.verify_directly_issued_by(issuer)
    except Exception:  # what it raises depends on the kind of the key
        return False
    return True


def _name(name: Any) -> str:
    common = name.get_attributes_for_oid(x509.oid.NameOID.COMMON_NAME)
    return str(common[0].value) if common else name.rfc4514_string() or "the site"


def _covers(own: str, name: str) -> bool:
    """Say whether a certificate's name covers a site's; a wildcard stands for one label."""
    own, name = own.lower(), name.lower()
    if own == name:
        return True
    try:
        return ipaddress.ip_address(own) == ipaddress.ip_address(name)
    except ValueError:
        pass
    return own.startswith("*.") and name.partition(".")[2] == own[2:] and not name.startswith("*")
