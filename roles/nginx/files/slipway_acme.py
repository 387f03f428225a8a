"""Get and renew the front's certificate from an ACME CA, on the host and without a control node.

    python3 slipway_acme.py CONFIG [--check] [--timer]

The work with the CA is done by the modules of community.crypto, which lie in a zip file beside this
program; it runs them as Ansible does, each in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from locks import LockedError, held
from nginx_certificates import Certificate, CertificateError, Store, now

MODULES = "ansible_collections.community.crypto.plugins.modules"
# Renewed when this part of its life is left, where the CA itself does not name a time (ARI).
LEFT = 0.33
# How long a CA may take with one step.
PATIENCE = 300
# The modules ask a CA that is down or limits its rate twenty times more. A deploy can't wait for
# that, and the timer asks again anyway.
PROGRAM = f"""
import runpy, sys
from {MODULES.removesuffix("modules")}module_utils._acme import acme
acme.RETRY_COUNT = 1
# A module takes an argument of the command line for its own.
runpy.run_module(sys.argv.pop(), run_name="__main__", alter_sys=True)
"""
# How long another order may take: each step of it is bounded.
WAIT = 900
# How long nginx gets to take a certificate over.
RELOAD = 20
ASK = (
    "exec 3<>/dev/tcp/127.0.0.1/%d && printf 'GET / HTTP/1.0\\r\\n\\r\\n' >&3 && "
    "grep -a '^configuration ' <&3"
)


class AcmeError(Exception):
    """Something that keeps the certificate from being got; the message is for a person."""


class Acme:
    """The certificate of one project."""

    def __init__(self, config: dict[str, Any]) -> None:
        """Take the configuration that the nginx role wrote."""
        self.config = config
        # Older versions of Ansible write numbers as text.
        self.store = Store(Path(config["root"]), int(config["uid"]), int(config["gid"]))
        self.challenges = Path(config["challenges"])
        self.names: list[str] = config["names"]
        self.directory: str = config["directory"]

    def module(self, name: str, **arguments: Any) -> dict[str, Any]:
        """Run a module of community.crypto; raises AcmeError with what it says when it fails."""
        environment = os.environ | {
            "PYTHONPATH": self.config["modules"],
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        if self.config["ca_file"]:
            environment["SSL_CERT_FILE"] = self.config["ca_file"]
        try:
            run = subprocess.run(
                [sys.executable, "-c", PROGRAM, f"{MODULES}.{name}"],
                # On standard input: arguments would show in the list of processes.
                input=json.dumps({"ANSIBLE_MODULE_ARGS": arguments | {"_ansible_no_log": True}}),
                capture_output=True, text=True, check=False, timeout=PATIENCE, env=environment,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise AcmeError(f"no answer within {PATIENCE} s") from None
        line = next((one for one in run.stdout.splitlines() if one.startswith("{")), "")
        if not line:
            raise AcmeError(f"{name} said nothing ({run.stderr.strip()[-300:]})")
        said: dict[str, Any] = json.loads(line)
        if said.get("failed"):
            raise AcmeError(plain(str(said.get("msg", "no message"))))
        # What is only to be shown can't be handed to a module again.
        return {key: said[key] for key in said.keys() - {"warnings", "deprecations", "invocation"}}

    def due(self) -> str:
        """Return why a certificate has to be got; nothing when the one in use is good."""
        live = self.store.live
        origin = self.store.origin(live)
        if origin.get("kind") != "acme":
            return "there is none of the CA yet"
        if origin["directory"] != self.directory:
            return "the one in use is of another CA"
        if origin["names"] != sorted(self.names):
            return "the names have changed"
        try:
            self.store.read(live).require(self.names, now())
        except CertificateError as problem:
            return str(problem)
        found = self._renewal(live)
        if not found["should_renew"]:
            return ""
        by_ari = "the CA wants it renewed by now (ARI)"
        return by_ari if "ARI" in str(found["msg"]) else "a third of its life is left"

    def _renewal(self, live: str) -> dict[str, Any]:
        """Ask when the certificate in use should be renewed: the CA, else its age."""
        arguments = {
            "acme_directory": self.directory,
            "acme_version": 2,
            "certificate_path": str(self.store.root / live / "fullchain.pem"),
            "remaining_percentage": LEFT,
        }
        try:
            return self.module("acme_certificate_renewal_info", **arguments)
        except AcmeError:  # the CA does not answer; age can be told without it
            return self.module("acme_certificate_renewal_info", **arguments, use_ari=False)

    def get(self) -> str:
        """Get a certificate, put it in use and return its name; AcmeError means nothing changed."""
        for left in self.store.root.glob(".order-*"):  # of a run that was killed
            shutil.rmtree(left, ignore_errors=True)
        work = Path(tempfile.mkdtemp(prefix=".order-", dir=self.store.root))
        try:
            return self._get(work)
        finally:
            shutil.rmtree(work, ignore_errors=True)

    def _get(self, work: Path) -> str:
        account = self.config["account_key"]
        kind = {"type": "ECC", "curve": "secp256r1", "mode": "0400"}
        self.module("openssl_privatekey", path=account, **kind)
        self.module("openssl_privatekey", path=str(work / "privkey.pem"), **kind)
        csr = self.module(
            "openssl_csr_pipe",
            privatekey_path=str(work / "privkey.pem"),
            subject_alt_name=[f"DNS:{name}" for name in self.names],
        )["csr"]
        chain = work / "fullchain.pem"
        before = self.store.root / self.store.live / "fullchain.pem"
        if self.store.origin(self.store.live).get("directory") == self.directory:
            # So that the CA knows which one is renewed, and does not count it as a new one.
            shutil.copyfile(before, chain)
        arguments = {
            "account_key_src": account,
            "account_email": self.config["email"] or None,
            "modify_account": True,
            "terms_agreed": True,
            "acme_directory": self.directory,
            "acme_version": 2,
            "challenge": "http-01",
            "csr_content": csr,
            "fullchain_dest": str(chain),
            "force": True,
            "include_renewal_cert_id": "when_ari_supported",
        }
        order = self.module("acme_certificate", **arguments)
        answers = [one["http-01"] for one in order["challenge_data"].values() if "http-01" in one]
        try:
            for answer in answers:
                self._answer(answer["resource"], answer["resource_value"])
            self.module("acme_certificate", **arguments, data=order)
        finally:
            shutil.rmtree(self.challenges / ".well-known", ignore_errors=True)
        texts = chain.read_text(), (work / "privkey.pem").read_text()
        try:
            Certificate(*texts).require(self.names, now())
        except CertificateError as problem:
            raise AcmeError(f"what the CA sent can't be used: {problem}") from None
        name = f"acme-{now():%Y%m%dT%H%M%S}"
        origin = {"kind": "acme", "directory": self.directory, "names": sorted(self.names)}
        self.store.put(name, *texts, origin)
        self._use(name)
        self.store.prune("acme", 2)
        return name

    def _answer(self, resource: str, text: str) -> None:
        """Lay an answer to a challenge where nginx serves it."""
        if not re.fullmatch(r"\.well-known/acme-challenge/[A-Za-z0-9_-]+", resource):
            raise AcmeError(f"the CA asks for {resource!r}, which is no challenge")
        path = self.challenges / resource
        path.parent.mkdir(parents=True, exist_ok=True)
        for directory in (path.parent, path.parent.parent):
            directory.chmod(0o755)
        path.write_text(text)
        path.chmod(0o644)

    def _use(self, name: str) -> None:
        """Put a certificate in use, by a reload; raises AcmeError with the old one back in use."""
        before = self.store.live
        self.store.use(name)
        said = self._reload()
        wanted = self.store.read(name).fingerprint
        until = time.monotonic() + RELOAD
        while not said and time.monotonic() < until:
            if (
                f" certificate {wanted} "
                in self._docker("bash", "-c", ASK % self.config["status_port"])[1]
            ):
                return
            time.sleep(0.2)
        if before:
            self.store.use(before)
            self._reload()
        raise AcmeError(f"nginx did not take the new certificate over ({said or 'no sign of it'})")

    def _reload(self) -> str:
        """Reload nginx; return what is wrong, nothing when it was told."""
        code, out = self._docker("nginx", "-c", "/etc/nginx/slipway/nginx.conf", "-s", "reload")
        return "" if code == 0 else out.strip()[-300:]

    def _docker(self, *command: str) -> tuple[int, str]:
        try:
            run = subprocess.run(
                ["docker", "exec", self.config["container"], *command],
                capture_output=True, text=True, check=False, timeout=60,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return 1, "the engine did not answer within 60 s"
        return run.returncode, run.stdout + run.stderr

    def serves(self) -> str:
        """Return which certificate is in use."""
        live = self.store.live
        try:
            one = self.store.read(live)
        except CertificateError:
            return "no certificate"
        kind = {"acme": f"one of {one.facts()['issuer']}", "selfsigned": "a self-signed one"}
        past = "expired on" if one.not_after < now() else "valid until"
        what = kind.get(live.partition("-")[0], "a provided one")
        return f"{what}, {past} {one.not_after:%Y-%m-%d %H:%M} UTC"


# As community.crypto writes a CA's problem: Error urn:ietf:params:acme:error:KIND: "DETAIL"
PROBLEM = re.compile(
    r'urn:ietf:params:acme:error:(\w+)\)?: "(.*?)"(?=\.|\s*$|\s*\n|\s+Subproblems)', re.DOTALL
)


def plain(text: str) -> str:
    """Return a module's message in one line; of a CA's answer its own words, and their kind."""
    said = (f"{detail} [{kind}]" for kind, detail in PROBLEM.findall(text))
    words = "; ".join(dict.fromkeys(said)) or text
    return re.sub(r"\s+", " ", words)[:500].rstrip(". ")


def note(path: Path, **said: Any) -> None:
    """Write down what came of it, for `status`."""
    new = path.with_name(f".{path.name}.new")
    path.parent.mkdir(parents=True, exist_ok=True)
    new.write_text(json.dumps(said, indent=1, sort_keys=True) + "\n")
    new.replace(path)


def run(acme: Acme, check: bool) -> tuple[dict[str, Any], int]:
    """Get a certificate where that is due; return what to say and the exit code."""
    when = f"{now():%Y-%m-%dT%H:%M:%SZ}"
    outcome = Path(acme.config["outcome"])
    try:
        reason = acme.due()
        if check:
            would = f"Would get a certificate for {', '.join(acme.names)}: {reason}."
            return {"changed": bool(reason), "message": would if reason else ""}, 0
        if not reason:
            if outcome.exists() and json.loads(outcome.read_text())["failed"]:
                # What failed is not wanted any more.
                note(outcome, when=when, failed=False, message=f"{acme.serves()} is in use.")
            return {"changed": False, "message": ""}, 0
        name = acme.get()
    # Whatever it is: a site that serves goes on, a deploy as well, and somebody has to be told.
    except Exception as problem:
        known = isinstance(problem, (AcmeError, OSError))
        what = str(problem) if known else f"{type(problem).__name__}: {problem}"
        message = (
            f"The CA at {acme.directory} gave no certificate for {', '.join(acme.names)}:"
            f" {what}."
            f" Meanwhile {acme.serves()} serves, and the timer tries again."
        )
        note(outcome, when=when, failed=True, message=message)
        return {"changed": False, "failed": True, "message": message}, 1
    facts = acme.store.read(name).facts()
    message = (
        f"A certificate of {facts['issuer']} for {', '.join(acme.names)},"
        f" valid until {facts['expires']}, is in use ({reason})."
    )
    note(outcome, when=when, failed=False, message=message)
    return {"changed": True, "message": message}, 0


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config", type=Path)
    parser.add_argument("--check", action="store_true", help="only say what would be done")
    given = parser.parse_args()
    acme = Acme(json.loads(given.config.read_text()))
    os.umask(0o022)
    # A deploy and the timer would else order two.
    try:
        with held(acme.store.root / ".lock", WAIT, "getting a certificate"):
            said, code = run(acme, given.check)
    except LockedError as who:
        message = f"The certificate was not looked at: {who} did not end within {WAIT // 60} min."
        said, code = {"changed": False, "failed": True, "message": message}, 1
    print(json.dumps(said | {"serves": acme.serves()}))
    return code


if __name__ == "__main__":
    sys.exit(main())
