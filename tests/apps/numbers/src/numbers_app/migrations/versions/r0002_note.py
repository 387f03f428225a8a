"""A note on each number."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply; the column may be empty, because the release before goes on writing."""
    op.add_column("numbers", sa.Column("note", sa.Text, nullable=True))


def downgrade() -> None:
    """Take back."""
    op.drop_column("numbers", "note")
