"""What a report of a project is made of."""

from __future__ import annotations

import datetime
import importlib
from pathlib import Path

import pytest

from tests.unit.test_nginx import CA, DAY, NOW

look = importlib.import_module("plugins.modules.status_look")
status = importlib.import_module("plugins.filter.status")


def certificate(root: Path, chain: str) -> Path:
    """Put a certificate where the front's is, and return the link that names it."""
    (root / "given-1").mkdir()
    (root / "given-1/fullchain.pem").write_text(chain)
    live = root / "live"
    live.symlink_to("given-1")
    return live


@pytest.mark.parametrize(
    ("end", "problem"),
    [
        (DAY * 30, ""),
        (DAY * 0.1, "was not renewed"),
        (-DAY * 0.5, "the certificate expired on"),
    ],
)
def test_a_certificate_is_told_with_its_ca_names_and_end(
    tmp_path: Path, end: datetime.timedelta, problem: str
) -> None:
    """Read from the file on the host; addresses are names as well."""
    chain, _ = CA("one CA").issue(["a.example", "10.0.0.1"], end=end)
    found = look.certificate_in(certificate(tmp_path, chain))
    text, problems = status.tls_of(found, "", NOW)
    assert text.startswith("given of one CA for a.example, 10.0.0.1, ")
    assert f"{NOW + end:%Y-%m-%d}" in text
    assert [problem in one for one in problems] == [True] * bool(problem)


def test_a_certificate_that_cannot_be_read_is_a_problem(tmp_path: Path) -> None:
    """And none is none."""
    assert status.tls_of(look.certificate_in(tmp_path / "live"), "", NOW) == ("", [])
    found = look.certificate_in(certificate(tmp_path, "no PEM"))
    assert status.tls_of(found, "", NOW)[1] == ["the certificate can't be read"]


def test_a_program_that_is_not_there_is_a_problem(tmp_path: Path) -> None:
    """As after `program` was removed by hand."""
    said = look.health(tmp_path, tmp_path / "program")
    assert "program that looks at the data failed" in status.health_said(said)["problems"][0]


def test_an_engine_that_does_not_answer_is_said(tmp_path: Path) -> None:
    """There is nothing else to report then."""
    given = {"project": "x", "socket": str(tmp_path / "none.sock")}
    assert look.look(given) == {"engine": False}


def test_a_warm_release_is_no_fault_and_none_that_serves() -> None:
    """As is said of it; the release that serves is missed all the same."""
    container = {
        "Names": ["/shop-flask-aaaaaaaaaaaa"], "Labels": {"slipway.part": "flask"},
        "State": "paused", "Status": "Up 2 hours (Paused)", "Image": "shop-flask:aaaaaaaaaaaa",
    }  # fmt: skip
    seen = {"containers": [container], "warm": ["aaaaaaaaaaaa"]}
    report = status.status_of(seen, "shop", ["flask"])
    assert report["containers"][0]["state"] == "warm"
    assert report["broken"] == ["no flask container"]
    report = status.status_of({"containers": [container]}, "shop", ["flask"])
    assert report["broken"] == ["shop-flask-aaaaaaaaaaaa is paused"]
