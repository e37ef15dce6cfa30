"""What Alembic runs: the steps, on a connection that is inside a transaction already."""

from __future__ import annotations

from alembic import context

from gateway.store.database import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()
