"""The description of the API, for people and for programs that try it."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, jsonify
from pydantic import BaseModel

from example.cats import Cat, CatPrice

blueprint = Blueprint("openapi", __name__)

Json = dict[str, Any]


def _schema(model: type[BaseModel]) -> Json:
    """Return the JSON schema of a model."""
    return model.model_json_schema(ref_template="#/components/schemas/{model}")


def _json(schema: Json) -> Json:
    """Return the content of a message."""
    return {"application/json": {"schema": schema}}


def _named(name: str) -> Json:
    """Return a reference to a schema."""
    return {"$ref": f"#/components/schemas/{name}"}


def _answers(description: str, schema: Json, *errors: int) -> Json:
    """Return the answers of an operation: the good one, the errors named, and those of any."""
    answers: Json = {"200": {"description": description, "content": _json(schema)}}
    for status in (*errors, 400, 500):
        answers[str(status)] = {"$ref": f"#/components/responses/{_ERRORS[status][0]}"}
    return answers


# Those with 400 and 500 go for every operation: a Host that is not served, and a bug.
_ERRORS: dict[int, tuple[str, str]] = {
    400: ("BadRequest", "The Host is not one that is served, or the body is not a JSON object."),
    404: ("NotFound", "There is no such cat, or the id is not a whole number from 0 on."),
    413: ("TooLarge", "The body is larger than 1 MiB."),
    422: ("Invalid", "A field is missing or wrong; `field` names it."),
    500: ("Failed", "A bug; the log knows more."),
    503: ("Away", "The database is away, or its schema is not that of this release yet."),
}


def _error_answers() -> Json:
    """Return the answers that are errors."""
    answers: Json = {}
    for status, (name, description) in _ERRORS.items():
        schema = "InvalidField" if status == 422 else "Error"
        answers[name] = {"description": description, "content": _json(_named(schema))}
    answers["Away"]["headers"] = {
        "Retry-After": {"description": "Seconds.", "schema": {"type": "integer"}}
    }
    return answers


def _operation(
    name: str, summary: str, answers: Json, *, body: str = "", with_id: bool = False
) -> Json:
    """Return an operation."""
    operation: Json = {"operationId": name, "summary": summary, "responses": answers}
    if with_id:
        operation["parameters"] = [{"$ref": "#/components/parameters/CatId"}]
    if body:
        operation["requestBody"] = {"required": True, "content": _json(_named(body))}
    return operation


def document() -> Json:
    """Return the OpenAPI document of the API."""
    text: Json = {"type": "string"}
    kept = _schema(Cat)
    kept["properties"] = {"id": {"type": "integer"}} | kept["properties"]
    kept["required"] = ["id", *kept["required"]]
    kept |= {"title": "KeptCat", "description": "A cat with its id."}
    error: Json = {
        "type": "object",
        "properties": {"error": text},
        "required": ["error"],
        "additionalProperties": False,
    }
    invalid = error | {
        "properties": {"error": text, "field": text},
        "required": ["error", "field"],
    }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Cats",
            "version": "1.0.0",
            "description": "Keeps cats in Postgres. Every error is JSON.",
        },
        "paths": {
            "/": {
                "get": _operation(
                    "index",
                    "List every cat, ordered by id",
                    _answers("The cats.", {"type": "array", "items": _named("KeptCat")}, 503),
                )
            },
            "/add": {
                "post": _operation(
                    "add",
                    "Add a cat",
                    _answers("It was added.", {"const": "Added"}, 413, 422, 503),
                    body="Cat",
                )
            },
            "/edit/{cat_id}": {
                "patch": _operation(
                    "edit",
                    "Change the price of a cat",
                    _answers("It was changed.", {"const": "Edited"}, 404, 413, 422, 503),
                    body="CatPrice",
                    with_id=True,
                )
            },
            "/remove/{cat_id}": {
                "delete": _operation(
                    "remove",
                    "Remove a cat, if it is there",
                    _answers("It is not there any more.", {"const": "Deleted"}, 404, 503),
                    with_id=True,
                )
            },
            "/healthz": {
                "get": _operation(
                    "healthz",
                    "Answer while the process serves",
                    _answers(
                        "It serves.",
                        {
                            "type": "object",
                            "properties": {"status": {"const": "ok"}},
                            "required": ["status"],
                            "additionalProperties": False,
                        },
                    ),
                )
            },
            "/readyz": {
                "get": _operation(
                    "readyz",
                    "Answer whether the database is there with the schema of this release",
                    _answers(
                        "It is.",
                        {
                            "type": "object",
                            "properties": {"status": {"const": "ready"}, "schema": text},
                            "required": ["status", "schema"],
                            "additionalProperties": False,
                        },
                        503,
                    ),
                )
            },
            "/openapi.json": {
                "get": _operation(
                    "openapi", "Return this document", _answers("The document.", {"type": "object"})
                )
            },
        },
        "components": {
            "schemas": {
                "Cat": _schema(Cat),
                "CatPrice": _schema(CatPrice),
                "KeptCat": kept,
                "Error": error,
                "InvalidField": invalid,
            },
            "parameters": {
                "CatId": {
                    "name": "cat_id",
                    "in": "path",
                    "required": True,
                    "description": "Id of a cat, however long.",
                    "schema": {"type": "integer", "minimum": 0},
                }
            },
            "responses": _error_answers(),
        },
    }


@blueprint.get("/openapi.json")
def openapi() -> Response:
    """Describe the API."""
    return jsonify(document())
