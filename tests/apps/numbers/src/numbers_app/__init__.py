"""Numbers: the app that the tests of releases deploy again and again, under load.

It keeps text keys in a table, tells which release answers, and can be slow, or broken:

NUMBERS_LABEL   any text, which GET / repeats: another label is another release.
NUMBERS_SCHEMA  the revision that numbers-migrate goes to, 0001 (the default) or 0002.
NUMBERS_FAULT   what is broken in this release:
    import      numbers_app.wsgi raises when it is imported;
    unhealthy   GET /healthz answers 500;
    hang        GET /healthz answers after an hour;
    migration   numbers-migrate makes the table half_made and fills it, then fails.

The database is where POSTGRES_HOST, POSTGRES_PORT, POSTGRES_USER, POSTGRES_DB and
POSTGRES_PASSWORD_FILE say; nothing is needed of it before the first request for rows.
"""
