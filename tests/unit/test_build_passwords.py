"""The passwords of package indexes, taken out of their addresses."""

from __future__ import annotations

import importlib
import netrc
from pathlib import Path

build = importlib.import_module("plugins.filter.flask_build")

TEXT = """[global]
index-url = https://me:p%40ss%20%22w@index.example:8443/simple
extra-index-url = https://token@other.example/simple https://plain.example/simple
"""


def test_addresses_lose_their_passwords(tmp_path: Path) -> None:
    """What is left has no password, and the netrc file, which Python reads, has each."""
    assert build.without_passwords(TEXT) == (
        "[global]\n"
        "index-url = https://index.example:8443/simple\n"
        "extra-index-url = https://other.example/simple https://plain.example/simple\n"
    )
    path = tmp_path / "netrc"
    path.write_text(build.netrc_of(TEXT))
    read = netrc.netrc(str(path))
    assert read.authenticators("index.example") == ("me", "", 'p@ss "w')
    assert read.authenticators("other.example") == ("token", "", "")
    assert read.authenticators("plain.example") is None


def test_nothing_to_take_out() -> None:
    """An address without a password stays as it is."""
    plain = "https://index.example/simple"
    assert (build.without_passwords(plain), build.netrc_of(plain)) == (plain, "")
