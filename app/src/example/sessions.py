"""The session cookie."""

from __future__ import annotations

from flask import Flask, request
from flask.sessions import SecureCookieSessionInterface


class Sessions(SecureCookieSessionInterface):
    """Signed cookies that a script can't read and that another site's form doesn't bring along."""

    def get_cookie_secure(self, app: Flask) -> bool:
        """Say whether the client came by https, and so must send the cookie by https alone."""
        return request.is_secure

    def get_cookie_httponly(self, app: Flask) -> bool:
        """Keep scripts from it."""
        return True

    def get_cookie_samesite(self, app: Flask) -> str:
        """Send it along with links from other sites, with nothing else of theirs."""
        return "Lax"
