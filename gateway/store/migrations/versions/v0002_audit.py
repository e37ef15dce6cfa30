"""The audit log, and records by their status."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Makes the table and the index."""
    op.create_table(
        "audit",
        sa.Column("seq", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
        sa.Column("time", sa.Double, nullable=False),
        *(sa.Column(name, sa.Text, nullable=False) for name in ("via", "who", "address", "action", "subject")),
        sa.Column("changes", sa.Text, nullable=False),
    )
    unusual = sa.text("status <> 200")
    op.create_index(
        "records_status", "records", ["status", "time", "seq"], sqlite_where=unusual, postgresql_where=unusual
    )
