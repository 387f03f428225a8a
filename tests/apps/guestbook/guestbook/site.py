"""The entry point: guestbook.site:application."""

import datetime
import hmac
import os

import humanize
import psycopg2
from flask import Flask, Response, abort, jsonify, request

# At import, on purpose: these have to be in the environment of the process.
PASSWORD = os.environ["POSTGRES_PASSWORD"]
TOKEN = os.environ["GUESTBOOK_TOKEN"]

application = Flask(__name__, static_folder="assets", static_url_path="/assets")


def connect() -> "psycopg2.extensions.connection":
    """Connect; for each request anew, this is a small book."""
    return psycopg2.connect(
        host=os.environ["POSTGRES_HOST"],
        port=os.environ.get("POSTGRES_PORT", "5432"),
        user=os.environ["POSTGRES_USER"],
        dbname=os.environ["POSTGRES_DB"],
        password=PASSWORD,
        connect_timeout=5,
    )


@application.get("/up")
def up() -> Response:
    """Answer while the process serves."""
    return jsonify(up=True, title=os.environ.get("GUESTBOOK_TITLE", "Guestbook"))


@application.get("/")
def read() -> Response:
    """List the entries, newest first."""
    connection = connect()
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute("SELECT text, written FROM entries ORDER BY id DESC LIMIT 100")
            rows = cursor.fetchall()
    finally:
        connection.close()
    now = datetime.datetime.now(datetime.UTC)
    return jsonify([{"text": text, "when": humanize.naturaltime(now - at)} for text, at in rows])


@application.post("/")
def write() -> tuple[Response, int]:
    """Add an entry, for those who have the token."""
    given = request.headers.get("Authorization", "").encode("latin-1")
    if not hmac.compare_digest(given, f"Bearer {TOKEN}".encode()):
        abort(401)
    text = request.form.get("text", "")
    if not 0 < len(text) <= 500 or "\0" in text:
        abort(400)
    connection = connect()
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute("INSERT INTO entries (text) VALUES (%s)", (text,))
    finally:
        connection.close()
    return jsonify("Thank you"), 201
