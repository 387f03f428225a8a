"""The front's certificates and its configuration: what must not go live, and who is believed."""

from __future__ import annotations

import datetime
import ipaddress
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import slipway_acme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from nginx_certificates import Certificate, CertificateError, Store

from tests.unit.rendering import ROLES, evaluate, render

NOW = datetime.datetime(2026, 11, 25, 12, tzinfo=datetime.UTC)
DAY = datetime.timedelta(days=1)


class CA:
    """Issues certificates."""

    def __init__(self, name: str) -> None:
        """Make the key, and a certificate that signs itself."""
        self.name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.pem = self._sign(self.name, self.key.public_key(), [], -DAY, DAY * 100, "")

    def issue(
        self,
        names: list[str],
        begin: datetime.timedelta = -DAY,
        end: datetime.timedelta = DAY * 30,
        ocsp: str = "",
    ) -> tuple[str, str]:
        """Return a certificate and its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "site")])
        private = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        return self._sign(subject, key.public_key(), names, begin, end, ocsp), private.decode()

    def _sign(
        self,
        subject: x509.Name,
        public: ec.EllipticCurvePublicKey,
        names: list[str],
        begin: datetime.timedelta,
        end: datetime.timedelta,
        ocsp: str,
    ) -> str:
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.name)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(NOW + begin)
            .not_valid_after(NOW + end)
        )
        if names:
            alternatives: list[x509.GeneralName] = [
                x509.IPAddress(ipaddress.ip_address(name))
                if name[0].isdigit()
                else x509.DNSName(name)
                for name in names
            ]
            builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), False)
        if ocsp:
            method = x509.oid.AuthorityInformationAccessOID.OCSP
            access = x509.AccessDescription(method, x509.UniformResourceIdentifier(ocsp))
            builder = builder.add_extension(x509.AuthorityInformationAccess([access]), False)
        signed = builder.sign(self.key, hashes.SHA256())
        return signed.public_bytes(serialization.Encoding.PEM).decode()


@pytest.fixture(scope="module")
def ca() -> CA:
    """Return a CA."""
    return CA("one CA")


@pytest.mark.parametrize(
    ("own", "wanted"),
    [
        (["a.example"], ["a.example"]),
        (["A.example"], ["a.EXAMPLE"]),
        (["*.example"], ["a.example", "b.example"]),
        (["10.0.0.1", "a.example"], ["10.0.0.1"]),
        (["a.example", "b.example"], []),
    ],
)
def test_certificate_for_the_names_goes_live(ca: CA, own: list[str], wanted: list[str]) -> None:
    """Names, wildcards and addresses are covered."""
    chain, key = ca.issue(own)
    Certificate(chain + ca.pem, key).require(wanted, NOW)


@pytest.mark.parametrize(
    ("own", "wanted", "sentence"),
    [
        (["a.example"], ["b.example"], "for a.example and not for b.example"),
        (["*.example"], ["a.b.example"], "not for a.b.example"),
        (["*.example"], ["example"], "not for example"),
        ([], ["a.example"], "for no name and not for a.example"),
    ],
)
def test_certificate_for_other_names_is_refused(
    ca: CA, own: list[str], wanted: list[str], sentence: str
) -> None:
    """A wildcard stands for one label, and nothing else is guessed."""
    with pytest.raises(CertificateError, match=sentence):
        Certificate(*ca.issue(own)).require(wanted, NOW)


def test_certificate_out_of_its_time_is_refused(ca: CA) -> None:
    """Neither one of the past nor one of the future."""
    with pytest.raises(CertificateError, match="site expired on 2026-11-24"):
        Certificate(*ca.issue(["a.example"], -DAY * 3, -DAY)).require(["a.example"], NOW)
    with pytest.raises(CertificateError, match="not valid before 2026-11-26 12:00 UTC"):
        Certificate(*ca.issue(["a.example"], DAY, DAY * 3)).require(["a.example"], NOW)


def test_chain_that_does_not_belong_together_is_refused(ca: CA) -> None:
    """The key is that of the first certificate, and each issued the one before it."""
    chain, key = ca.issue(["a.example"])
    with pytest.raises(CertificateError, match="key does not belong to the certificate"):
        Certificate(chain, ca.issue(["a.example"])[1])
    with pytest.raises(CertificateError, match="belongs to certificate 2 of the chain"):
        Certificate(ca.pem + chain, key)
    # Another CA of the same name: only the signature tells.
    for other in (CA("another CA"), CA("one CA")):
        with pytest.raises(CertificateError, match=r"certificate 2 of the chain .* did not issue"):
            Certificate(chain + other.pem, key)


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda chain, key: ("no PEM", key), "holds no PEM block"),
        (lambda chain, key: (chain.replace("MII", "MXX"), key), "can't be read"),
        (lambda chain, key: (chain, chain), "no PEM private key"),
    ],
)
def test_what_is_no_certificate_is_refused(
    ca: CA, damage: Callable[[str, str], tuple[str, str]], sentence: str
) -> None:
    """Each with a sentence."""
    with pytest.raises(CertificateError, match=sentence):
        Certificate(*damage(*ca.issue(["a.example"])))


def test_key_with_a_passphrase_is_refused(ca: CA) -> None:
    """Nobody is there to type it when nginx starts."""
    chain, key = ca.issue(["a.example"])
    locked = serialization.load_pem_private_key(key.encode(), None).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"secret"),
    )
    with pytest.raises(CertificateError, match="has a passphrase"):
        Certificate(chain, locked.decode())


def store(tmp_path: Path) -> Store:
    """Return an empty store that needs no other user."""
    return Store(tmp_path, tmp_path.stat().st_uid, tmp_path.stat().st_gid)


def test_store_keeps_the_one_in_use(ca: CA, tmp_path: Path) -> None:
    """Old ones go, the one in use stays, a key is for one user."""
    certificates = store(tmp_path)
    for number in range(4):
        certificates.put(f"acme-{number}", *ca.issue(["a.example"]), {"kind": "acme"})
    certificates.use("acme-0")
    certificates.prune("acme", 2)
    assert certificates.live == "acme-0"
    assert sorted(one.name for one in tmp_path.glob("acme-*")) == ["acme-0", "acme-2", "acme-3"]
    key = tmp_path / "acme-0" / "privkey.pem"
    assert key.stat().st_mode & 0o777 == 0o400
    key.chmod(0o644)
    assert certificates.own("acme-0")
    assert not certificates.own("acme-0")


def test_stapling_where_the_ca_offers_it(ca: CA, tmp_path: Path) -> None:
    """OCSP is asked of a CA that names an address for it, and of no other."""
    certificates = store(tmp_path)
    chain, key = ca.issue(["a.example"], ocsp="http://ocsp.example/")
    certificates.put("provided-1", chain + ca.pem, key, {})
    certificates.put("provided-2", *ca.issue(["a.example"]), {})
    texts = [
        (tmp_path / name / "certificate.conf").read_text() for name in ("provided-1", "provided-2")
    ]
    assert ["ssl_stapling on;" in text for text in texts] == [True, False]


@pytest.mark.parametrize(
    ("said", "plain"),
    [
        ("Failed.\n  Twice.", "Failed. Twice"),
        (
            "Giving up for https://ca/order with status 429. Error "
            'urn:ietf:params:acme:error:rateLimited: "too many, retry tomorrow".',
            "too many, retry tomorrow [rateLimited]",
        ),
        (
            'Failed. Error urn:ietf:params:acme:error:compound: "two problems" Subproblems:\n'
            '(0) Error urn:ietf:params:acme:error:dns: "no "A" record for a"\n'
            '(1) Error urn:ietf:params:acme:error:dns: "no "A" record for b".',
            'two problems [compound]; no "A" record for a [dns]; no "A" record for b [dns]',
        ),
    ],
)
def test_words_of_the_ca(said: str, plain: str) -> None:
    """What the CA says of the reason is all that is told."""
    assert slipway_acme.plain(said) == plain


# nginx.conf

KNOWN: dict[str, Any] = {
    "nginx_upstream": "unix:/run/slipway/current.sock",
    "slipway_project": "shop",
    "slipway_config_dir": "/etc/slipway/shop",
    "slipway_state_dir": "/var/lib/slipway/shop",
    "__nginx_mark": "mark",
    "__nginx_kept": {"stat": {"exists": False}},
}


def configuration(**overrides: Any) -> str:
    """Return the rendered nginx.conf."""
    return render("nginx", "nginx.conf.j2", **{**KNOWN, **overrides})


@pytest.mark.parametrize("off", ["off", False, "no"])
def test_off_is_off_however_yaml_reads_it(off: Any) -> None:
    """A bare off is false in YAML."""
    assert evaluate("nginx", "__nginx_tls", **KNOWN, nginx_tls=off) == "off"
    assert "listen 443" not in configuration(nginx_tls=off)


def test_tls_redirects_and_sends_strict_transport_security_only_with_tls() -> None:
    """HSTS over HTTP means nothing, and would be wrong once TLS is off."""
    plain = configuration(nginx_hsts_seconds=60)
    assert "max-age" not in plain
    assert "return 308" not in plain
    tls = configuration(nginx_hsts_seconds=60, nginx_tls="selfsigned", nginx_https_port=8443)
    assert '"max-age=60"' in tls
    assert "return 308 https://$host:8443$request_uri;" in tls


def test_names_that_are_not_ours_are_turned_away() -> None:
    """Only where the site has names: else any name is ours."""
    named = configuration(nginx_server_names=["a.example"], nginx_tls="selfsigned")
    assert "return 421;" in named
    assert "ssl_reject_handshake on;" in named
    assert "return 421;" not in configuration(nginx_tls="selfsigned")


def test_proxies_alone_are_believed() -> None:
    """Without proxies nobody says who a client is."""
    assert "real_ip_header" not in configuration()
    behind = configuration(nginx_proxies=["192.0.2.0/24"])
    assert "set_real_ip_from 192.0.2.0/24;" in behind


def test_pages_of_the_role_are_json_where_they_say_so() -> None:
    """A client that asks for JSON can read the page."""
    for page in (ROLES / "nginx" / "files").glob("*.json"):
        assert json.loads(page.read_text())["error"]


# Findings of the judge that are no defects here; docs/security.md says why.
EXPLAINED = {"try_files_is_evil_too", "hsts_header"}
FRONTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "named": {"nginx_server_names": ["a.example"]},
    "self-signed": {"nginx_tls": "selfsigned"},
    "all": {
        "nginx_server_names": ["a.example", "b.example"],
        "nginx_tls": "acme",
        "nginx_tls_profile": "modern",
        "nginx_hsts_seconds": 31536000,
        "nginx_content_security_policy": "default-src 'self'",
        "nginx_proxies": ["192.0.2.0/24"],
        "nginx_limit_connections": 10,
        "nginx_limit_requests_per_second": 5,
        "nginx_upstream": "app:8000",
    },
}


def judged(text: str, directory: Path) -> set[str]:
    """Return what gixy finds in a configuration, by the names of its checks."""
    # It reads what is included, as nginx does.
    for name in ("mime.types", "uwsgi_params", "slipway/maintenance.conf"):
        path = directory / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    (directory / "slipway" / "tls" / "live").mkdir(parents=True)
    (directory / "slipway" / "tls" / "live" / "certificate.conf").touch()
    path = directory / "nginx.conf"
    path.write_text(text.replace("/etc/nginx/", f"{directory}/"))
    gixy = Path(sys.executable).parent / "gixy"
    said = subprocess.run(
        [gixy, "--format", "json", path], capture_output=True, text=True, check=False
    )
    return {one["plugin"] for one in json.loads(said.stdout)}


@pytest.mark.parametrize("front", FRONTS)
def test_configuration_passes_gixy(front: str, tmp_path: Path) -> None:
    """A judge of nginx configurations finds nothing that is not explained."""
    assert judged(configuration(**FRONTS[front]), tmp_path) <= EXPLAINED


def test_gixy_sees_a_defect(tmp_path: Path) -> None:
    """The judge reads what nginx would."""
    bad = configuration(nginx_extra_config="location /old { return 302 http://$host$uri; }")
    assert "http_splitting" in judged(bad, tmp_path)
