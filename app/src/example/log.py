"""The log: stderr, each line with the id of the request that it belongs to."""

from __future__ import annotations

import logging
import re
from time import monotonic

from flask import has_request_context, request

FORMAT = "%(asctime)s %(levelname)s [%(request_id)s] %(name)s: %(message)s"
# What a request id may look like: anything else could forge a line of the log.
REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
# The pool reports each failed attempt to connect, every second in every worker.
POOL_SECONDS = 10.0


class RequestId(logging.Filter):
    """Adds the id that nginx gave to the request."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Let every record pass."""
        value = request.headers.get("X-Request-ID", "") if has_request_context() else ""
        record.request_id = value if REQUEST_ID.fullmatch(value) else "-"
        return True


class Seldom(logging.Filter):
    """Lets one record through in a while."""

    _next = 0.0

    def filter(self, record: logging.LogRecord) -> bool:
        """Say whether it is time again."""
        if monotonic() < self._next:
            return False
        self._next = monotonic() + POOL_SECONDS
        return True


def configure() -> None:
    """Send the records of the app and of its pool to stderr; doing it twice changes nothing."""
    for name, level in (("example", logging.INFO), ("psycopg", logging.WARNING)):
        logger = logging.getLogger(name)
        if any(isinstance(each, RequestId) for old in logger.handlers for each in old.filters):
            continue
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter(FORMAT))
        handler.addFilter(RequestId())
        if name == "psycopg":
            handler.addFilter(Seldom())
        logger.addHandler(handler)
        logger.setLevel(level)
        logger.propagate = False
