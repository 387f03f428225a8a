"""Runs the revisions on the connection, in the transaction, that numbers_app.migrate has open."""

from alembic import context

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=None,
    on_version_apply=context.config.attributes["on_version_apply"],
)
with context.begin_transaction():
    context.run_migrations()
