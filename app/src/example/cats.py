"""The cats: routes, what they accept, and their queries."""

from __future__ import annotations

from typing import Annotated, Any, cast

from flask import Blueprint, Response, abort, current_app, jsonify, request
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from werkzeug.routing import IntegerConverter

from example.database import Connection, Database

blueprint = Blueprint("cats", __name__)


def _storable(text: str) -> str:
    """Return the text; raise ValueError for a character that Postgres can't keep."""
    if "\0" in text:
        raise ValueError("a NUL character can't be stored")
    return text


def _whole(number: object) -> object:
    """Return 5000 for 5000.0: to JSON they are the same integer."""
    return int(number) if isinstance(number, float) and number.is_integer() else number


Text = Annotated[
    str,
    Field(max_length=100, json_schema_extra={"pattern": r"^[^\u0000]*$"}),
    AfterValidator(_storable),
]
# The range of Postgres' integer.
Price = Annotated[int, Field(ge=-(2**31), le=2**31 - 1), BeforeValidator(_whole)]


class CatPrice(BaseModel):
    """What can be edited."""

    # Strict: true is no integer, nor is "5000".
    model_config = ConfigDict(strict=True)

    price: Price


class Cat(CatPrice):
    """A cat to add."""

    name: Text
    breed: Text


class CatId(IntegerConverter):
    """An id in a URL, however long."""

    def to_python(self, value: str) -> int:
        """Return the number, cut to what Postgres can compare with an id."""
        return 2**62 if len(value) > 18 else int(value)


def _database() -> Database:
    """Return the app's database."""
    return cast(Database, current_app.extensions["database"])


def _body() -> dict[str, Any]:
    """Return the JSON object of the request; abort with 400 or 413 if there is none."""
    limit = current_app.config["MAX_CONTENT_LENGTH"]
    if (request.content_length or 0) > limit:
        abort(413, f"The body is larger than {limit} bytes.")
    if request.mimetype and not request.is_json:
        abort(400, f"The body must be application/json, not {request.mimetype}.")
    body = request.get_json(force=True, silent=True)
    if not isinstance(body, dict):
        abort(400, "The body must be a JSON object.")
    return body


@blueprint.get("/")
def index() -> Response:
    """List every cat."""

    def work(connection: Connection) -> list[dict[str, Any]]:
        query = "SELECT id, name, price, breed FROM cats ORDER BY id"
        return connection.execute(query).fetchall()

    return jsonify(_database().run(work))


@blueprint.post("/add")
def add() -> Response:
    """Add a cat."""
    cat = Cat.model_validate(_body())
    drawn: list[int] = []

    def work(connection: Connection) -> None:
        # The id is drawn once and kept: when the connection is lost before the answer, nobody
        # knows whether the row is there, and with its id the insert can be repeated.
        if not drawn:
            row = connection.execute("SELECT nextval('cats_id_seq') AS id").fetchone()
            assert row is not None
            drawn.append(row["id"])
        connection.execute(
            "INSERT INTO cats (id, name, price, breed) VALUES (%s, %s, %s, %s)"
            " ON CONFLICT (id) DO NOTHING",
            (drawn[0], cat.name, cat.price, cat.breed),
        )

    _database().run(work)
    return jsonify("Added")


@blueprint.patch("/edit/<cat_id:cat_id>")
def edit(cat_id: int) -> Response:
    """Change the price of a cat."""
    price = CatPrice.model_validate(_body()).price

    def work(connection: Connection) -> int:
        query = "UPDATE cats SET price = %s WHERE id = %s"
        return connection.execute(query, (price, cat_id)).rowcount

    if not _database().run(work):
        abort(404, f"There is no cat {cat_id}.")
    return jsonify("Edited")


@blueprint.delete("/remove/<cat_id:cat_id>")
def remove(cat_id: int) -> Response:
    """Remove a cat, if it is there."""

    def work(connection: Connection) -> None:
        connection.execute("DELETE FROM cats WHERE id = %s", (cat_id,))

    _database().run(work)
    return jsonify("Deleted")
