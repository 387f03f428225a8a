"""Runs the revisions on the connection, in the transaction, that example.migrate has open."""

from alembic import context
from alembic.util import CommandError

connection = context.config.attributes.get("connection")
if connection is None:
    raise CommandError("The schema is changed by the command example-migrate, run that instead.")

context.configure(
    connection=connection,
    target_metadata=None,
    on_version_apply=context.config.attributes["on_version_apply"],
)
with context.begin_transaction():
    context.run_migrations()
