"""What the app believes of the front, and the cookies that it sets."""

from __future__ import annotations

from dataclasses import replace

import pytest
from flask import Flask, Response, jsonify, request, session

from example import create_app
from example.settings import Settings


def seen(settings: Settings) -> Flask:
    """Return the app with a route that tells what it sees of a request, and that sets a cookie."""
    app = create_app(settings)

    @app.get("/seen")
    def seen() -> Response:
        session["visited"] = True
        return jsonify(address=request.remote_addr, url=request.url, root=request.script_root)

    return app


@pytest.fixture
def keyed(settings: Settings) -> Settings:
    """Return settings with a secret key."""
    return replace(settings, secret_key="the key of the test")  # noqa: S106


def test_one_proxy_is_believed(keyed: Settings) -> None:
    """The last address counts, which the front put there; what a client put before it does not."""
    client = seen(keyed).test_client()
    answer = client.get(
        "/seen",
        headers={
            "Host": "cats.example",
            "X-Forwarded-For": "1.2.3.4, 5.6.7.8",
            "X-Forwarded-Proto": "https",
            "X-Forwarded-Host": "evil.example",
            "X-Forwarded-Port": "99",
            "X-Forwarded-Prefix": "/evil",
        },
    )
    assert answer.json == {
        "address": "5.6.7.8",
        "url": "https://cats.example/seen",
        "root": "",
    }


@pytest.mark.parametrize(("scheme", "secure"), [("https", True), ("http", False)])
def test_cookie_flags(keyed: Settings, scheme: str, secure: bool) -> None:
    """The cookie is HttpOnly and SameSite=Lax, and Secure where the visitor came by https."""
    client = seen(keyed).test_client()
    cookie = client.get("/seen", headers={"X-Forwarded-Proto": scheme}).headers["Set-Cookie"]
    flags = {flag.strip() for flag in cookie.split(";")[1:]}
    assert {"HttpOnly", "SameSite=Lax"} <= flags
    assert ("Secure" in flags) == secure


def test_cookie_of_another_key_is_nothing(keyed: Settings) -> None:
    """A cookie is signed with the key."""
    one, other = seen(keyed), seen(replace(keyed, secret_key="another"))  # noqa: S106
    client = one.test_client()
    client.get("/seen")
    value = client.get_cookie("session")
    assert value is not None
    for app, known in ((one, True), (other, False)):
        with app.test_request_context(headers={"Cookie": f"session={value.value}"}):
            assert ("visited" in session) == known


def test_trusted_hosts(settings: Settings) -> None:
    """A name that is not ours is 400, as JSON; without names any is served."""
    client = create_app(
        replace(settings, trusted_hosts=("cats.example", ".cats.test"))
    ).test_client()
    for host in ("cats.example", "cats.example:8080", "a.cats.test", "cats.test"):
        assert client.get("/healthz", headers={"Host": host}).status_code == 200
    for host in ("evil.example", "a.cats.example", "localhost"):
        answer = client.get("/healthz", headers={"Host": host})
        assert (answer.status_code, answer.mimetype) == (400, "application/json")
        assert answer.json["error"]  # type: ignore[index]
    anybody = create_app(settings).test_client()
    assert anybody.get("/healthz", headers={"Host": "evil.example"}).status_code == 200
