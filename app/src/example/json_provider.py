"""JSON: orjson out, because the lists are long; the standard library in, because it is lenient."""

from __future__ import annotations

import json
from typing import Any

import orjson
from flask import Response, current_app
from flask.json.provider import JSONProvider


class Provider(JSONProvider):
    """Flask's JSON for this app."""

    def dumps(self, obj: Any, **kwargs: Any) -> str:
        """Return JSON text."""
        return orjson.dumps(obj).decode()

    def loads(self, s: str | bytes, **kwargs: Any) -> Any:
        """Return the object; raise ValueError for anything else than JSON."""
        try:
            # orjson refuses a lone surrogate as bad JSON; here it reaches the field's own check.
            return json.loads(s, **kwargs)
        except RecursionError:
            raise ValueError("nested too deeply") from None

    def response(self, *args: Any, **kwargs: Any) -> Response:
        """Return a response, without a detour over text."""
        body = orjson.dumps(self._prepare_response_obj(args, kwargs)) + b"\n"
        return current_app.response_class(body, mimetype="application/json")
