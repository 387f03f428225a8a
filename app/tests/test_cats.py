"""The routes, their answers and their errors."""

from __future__ import annotations

import json
import logging
import sys
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

TOM = {"name": "Tom", "price": 5000, "breed": "bengal"}


def error(response: TestResponse) -> dict[str, Any]:
    """Return the error of a response, which must be JSON."""
    assert response.mimetype == "application/json"
    answer: dict[str, Any] = response.get_json()
    assert answer["error"]
    return answer


def test_life_of_a_cat(client: FlaskClient) -> None:
    """The tutorial's routes give the tutorial's answers."""
    assert client.get("/").json == []
    added = client.post("/add", json=TOM)
    assert (added.status_code, added.json) == (200, "Added")
    client.post("/add", json=TOM | {"name": "Zoë 🐈", "price": -(2**31), "extra": 1})
    edited = client.patch("/edit/1", json={"price": 2**31 - 1})
    assert (edited.status_code, edited.json) == (200, "Edited")
    assert client.get("/").json == [
        {"id": 1, "name": "Tom", "price": 2**31 - 1, "breed": "bengal"},
        {"id": 2, "name": "Zoë 🐈", "price": -(2**31), "breed": "bengal"},
    ]
    for _ in range(2):
        removed = client.delete("/remove/1")
        assert (removed.status_code, removed.json) == (200, "Deleted")
    assert [cat["id"] for cat in client.get("/").json or []] == [2]


def test_text_may_have_100_characters(client: FlaskClient) -> None:
    """The limit counts characters, not bytes."""
    assert client.post("/add", json=TOM | {"name": "🐈" * 100, "breed": ""}).status_code == 200


def test_price_may_be_written_as_a_decimal(client: FlaskClient) -> None:
    """5000.0 is an integer to JSON, and is kept as one."""
    assert client.post("/add", data=json.dumps(TOM | {"price": 5000.0})).status_code == 200
    assert b'"price":5000,' in client.get("/").data


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", None),
        ("name", 5),
        ("name", "x" * 101),
        ("name", "a\0b"),
        ("name", "\ud800"),
        ("breed", ["bengal"]),
        ("breed", "x" * 101),
        ("price", None),
        ("price", True),
        ("price", "5000"),
        ("price", 1.5),
        ("price", float("nan")),
        ("price", 2**31),
        ("price", -(2**31) - 1),
        ("price", 10**400),
    ],
)
def test_wrong_field(client: FlaskClient, field: str, value: object) -> None:
    """A field that is wrong is 422, with its name."""
    response = client.post("/add", json=None, data=json.dumps(TOM | {field: value}))
    assert response.status_code == 422
    assert error(response)["field"] == field
    assert client.get("/").json == []


@pytest.mark.parametrize("field", ["name", "price", "breed"])
def test_missing_field(client: FlaskClient, field: str) -> None:
    """A field that is missing is 422, with its name."""
    response = client.post("/add", json={k: v for k, v in TOM.items() if k != field})
    assert response.status_code == 422
    assert error(response)["field"] == field


def test_edit_checks_the_price(client: FlaskClient) -> None:
    """PATCH has the same rules."""
    client.post("/add", json=TOM)
    for price in (True, 2**31, "1", None):
        response = client.patch("/edit/1", json={"price": price})
        assert (response.status_code, error(response)["field"]) == (422, "price")
    assert error(client.patch("/edit/1", json={}))["field"] == "price"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"not json",
        b"[]",
        b'"text"',
        b"null",
        b"12",
        b"\xff\xfe\xfd",
        b'{"name": "\xff"}',
        b"[" * 500_000,
        b'{"a":' * 150_000,
        b'{"price": ' + b"9" * 5000 + b"}",
    ],
    ids=lambda body: repr(body[:12]),
)
def test_no_object(client: FlaskClient, body: bytes) -> None:
    """A body that is not a JSON object is 400."""
    for send in (client.post("/add", data=body), client.patch("/edit/1", data=body)):
        assert send.status_code == 400
        assert error(send)
    response = client.post("/add", data=body, content_type="application/json")
    assert response.status_code == 400


def test_content_type(client: FlaskClient) -> None:
    """A body that says that it is something else than JSON is 400."""
    response = client.post("/add", data=json.dumps(TOM), content_type="text/plain")
    assert (response.status_code, bool(error(response))) == (400, True)
    good = client.post("/add", data=json.dumps(TOM), content_type="application/vnd.cat+json")
    assert good.status_code == 200


def test_body_limit(client: FlaskClient) -> None:
    """1 MiB passes the limit, one byte more is 413."""
    frame = json.dumps(TOM | {"x": ""})
    fits = json.dumps(TOM | {"x": "x" * (1024 * 1024 - len(frame))}).encode()
    kind = "application/json"
    assert client.post("/add", data=fits, content_type=kind).status_code == 200
    for content_type in (kind, "text/plain"):
        response = client.post("/add", data=fits + b" ", content_type=content_type)
        assert (response.status_code, bool(error(response))) == (413, True)
    assert client.patch("/edit/1", data=fits + b" ", content_type=kind).status_code == 413


@pytest.mark.parametrize("cat", [1, 0, 2**31, 2**63, 10**30, "9" * 6000], ids=lambda x: str(x)[:30])
def test_no_such_cat(client: FlaskClient, cat: object) -> None:
    """An id that is not there, or can't be, is 404 to PATCH and nothing to DELETE."""
    response = client.patch(f"/edit/{cat}", json={"price": 1})
    assert (response.status_code, bool(error(response))) == (404, True)
    assert client.delete(f"/remove/{cat}").json == "Deleted"


def test_not_found_and_method(client: FlaskClient) -> None:
    """Routing errors are JSON as well, and say what is allowed."""
    for path in ("/nothing", "/edit/one", "/edit/-1", "/static/nothing", "/static/../x", "/add/"):
        assert error(client.get(path))
        assert client.get(path).status_code == 404
    response = client.get("/add")
    assert (response.status_code, bool(error(response))) == (405, True)
    assert "POST" in response.headers["Allow"]


def test_static(client: FlaskClient) -> None:
    """The app has static files of its own."""
    with client.get("/static/robots.txt") as response:
        assert response.status_code == 200
        assert b"User-agent" in response.data


def test_unexpected_error(
    app: Flask, client: FlaskClient, capsys: pytest.CaptureFixture[str]
) -> None:
    """A bug is a JSON 500 without details; the log has the traceback and the request's id."""

    @app.get("/bug")
    def bug() -> str:
        raise RuntimeError("the details")

    app.config["PROPAGATE_EXCEPTIONS"] = False
    handler = logging.getLogger("example").handlers[0]
    assert isinstance(handler, logging.StreamHandler)
    for sent, logged in (("abc-123", "[abc-123]"), ("x y\u00a0[fake] ERROR", "[-]")):
        before = handler.setStream(sys.stderr)
        response = client.get("/bug", headers={"X-Request-ID": sent})
        handler.setStream(before)
        assert response.status_code == 500
        assert "details" not in error(response)["error"]
        log = capsys.readouterr().err
        assert logged in log
        assert "RuntimeError: the details" in log
