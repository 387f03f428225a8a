"""The table of cats."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "cats",
        # Not "always": the app draws the id first, so that an insert can be repeated safely.
        sa.Column("id", sa.Integer, sa.Identity(always=False), primary_key=True),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("price", sa.Integer, nullable=False),
        sa.Column("breed", sa.String(100), nullable=False),
    )


def downgrade() -> None:
    """Take back."""
    op.drop_table("cats")
