"""The entry point for a WSGI server: example.wsgi:app."""

from __future__ import annotations

import sys

from example import create_app
from example.settings import SettingsError

try:
    app = create_app()
except SettingsError as error:
    # The sentence alone: a traceback would hide it.
    sys.exit(f"example: {error}")
