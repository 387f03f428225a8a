"""The table of numbers."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table("numbers", sa.Column("n", sa.Text, primary_key=True))


def downgrade() -> None:
    """Take back."""
    op.drop_table("numbers")
