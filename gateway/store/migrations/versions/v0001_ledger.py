"""Records of calls, what they come to by the hour and by the day, marks in journals, and keys made at run time."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Makes the tables."""
    _records()
    _usage("usage_hourly")
    _usage("usage_daily")
    op.create_table(
        "journal_marks",
        sa.Column("segment", sa.Text, primary_key=True),
        sa.Column("bytes", sa.BigInteger, nullable=False),
    )
    _virtual_keys()


def _records() -> None:
    op.create_table(
        "records",
        sa.Column("seq", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
        sa.Column("batch", sa.BigInteger, nullable=False),
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("time", sa.BigInteger, nullable=False),
        *(_text(name) for name in ("key", "end_user", "endpoint", "model", "provider", "upstream_model")),
        sa.Column("status", sa.Integer, nullable=False),
        sa.Column("outcome", sa.Text, nullable=False),
        sa.Column("stream", sa.Boolean, nullable=False),
        *(_integer(name) for name in ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens")),
        _integer("reasoning_tokens"),
        sa.Column("usage_source", sa.Text, nullable=False),
        sa.Column("cost_micros", sa.BigInteger),
        sa.Column("latency_ms", sa.Double, nullable=False),
        sa.Column("first_token_ms", sa.Double),
        sa.Column("overhead_ms", sa.Double, nullable=False),
        sa.Column("attempts", sa.Text, nullable=False),
        sa.UniqueConstraint("id", name="records_id"),
    )
    op.create_index("records_time", "records", ["time", "seq"])
    for column in ("key", "model", "provider"):
        op.create_index(f"records_{column}", "records", [column, "time", "seq"])
    unwell = sa.text("outcome <> 'ok'")
    op.create_index(
        "records_outcome", "records", ["outcome", "time", "seq"], sqlite_where=unwell, postgresql_where=unwell
    )


def _usage(table: str) -> None:
    op.create_table(
        table,
        sa.Column("start", sa.BigInteger, primary_key=True, autoincrement=False),
        *(
            sa.Column(name, sa.Text, primary_key=True)
            for name in ("key", "model", "provider", "upstream_model", "outcome")
        ),
        *(_big(name) for name in ("calls", "input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens")),
        *(_big(name) for name in ("reasoning_tokens", "cost_micros", "unpriced_calls", "estimated_calls")),
        sqlite_with_rowid=False,
    )


def _virtual_keys() -> None:
    op.create_table(
        "virtual_keys",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("sha256", sa.Text, nullable=False),
        sa.Column("shown", sa.Text, nullable=False),
        sa.Column("created", sa.Double, nullable=False),
        *(sa.Column(name, sa.Double) for name in ("expires", "revoked")),
        sa.Column("replaced_sha256", sa.Text),
        sa.Column("replaced_until", sa.Double),
        _big("version"),
        _text("settings"),
        sa.UniqueConstraint("sha256", name="virtual_keys_sha256"),
    )
    versions = op.create_table("versions", sa.Column("name", sa.Text, primary_key=True), _big("version"))
    op.bulk_insert(versions, [{"name": "virtual_keys", "version": 0}])


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=False)


def _integer(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.Integer, nullable=False)


def _big(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=False)
