"""
The database: its tables, its connections, and bringing it up to date. SQLite or PostgreSQL.

What SQLAlchemy and the drivers raise stops here: the rest of the house knows the errors of `gateway.store.errors`.
Importing this module takes a third of a second and 25 MB, so whoever serves calls imports it in another thread.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from sqlite3 import OperationalError, register_adapter
from threading import Lock
from types import NoneType
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    Double,
    Engine,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    create_engine,
    event,
    exc,
    func,
    inspect,
    make_url,
    select,
    text,
    update,
)

from gateway.core.secret import Secret
from gateway.store.errors import DatabaseAway, DatabaseRefused, DatabaseUnfit

VERSION = "0003"
"""The newest of `gateway.store.migrations`."""

BUSY = 5.0
"""Seconds that a writer waits for another one, and for a connection."""

MIGRATING = 0x67617465
"""The advisory lock of PostgreSQL that replicas take one after the other when they start."""

SAID_LIMIT = 300
"""Characters of an error in the log."""

POSTGRESQL = {
    "application_name": "gateway",
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
    # A statement prepared on one connection is not known on the next behind a pool of connections such as PgBouncer.
    "prepare_threshold": None,
}

_MAKING = Lock()
"""For a new file of SQLite: to close it here would undo what another thread has locked in it (POSIX, `fcntl`)."""

# The driver would look in vain for how to adapt each of these, which takes five times as long as to be told.
register_adapter(bool, int)
register_adapter(NoneType, lambda none: none)

metadata = MetaData()

_big_key = BigInteger().with_variant(Integer, "sqlite")
"""SQLite numbers rows by itself only where the key is called INTEGER."""


def _sum(name: str) -> Column[int]:
    return Column(name, BigInteger, nullable=False)


records = Table(
    "records",
    metadata,
    Column("seq", _big_key, primary_key=True),
    Column("batch", BigInteger, nullable=False),
    Column("id", Text, nullable=False),
    Column("time", BigInteger, nullable=False),
    Column("key", Text, nullable=False),
    Column("end_user", Text, nullable=False),
    Column("endpoint", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("provider", Text, nullable=False),
    Column("upstream_model", Text, nullable=False),
    Column("status", Integer, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("stream", Boolean, nullable=False),
    Column("input_tokens", Integer, nullable=False),
    Column("output_tokens", Integer, nullable=False),
    Column("cache_read_tokens", Integer, nullable=False),
    Column("cache_write_tokens", Integer, nullable=False),
    Column("reasoning_tokens", Integer, nullable=False),
    Column("usage_source", Text, nullable=False),
    Column("cost_micros", BigInteger),
    Column("latency_ms", Double, nullable=False),
    Column("first_token_ms", Double),
    Column("overhead_ms", Double, nullable=False),
    Column("attempts", Text, nullable=False),
    UniqueConstraint("id", name="records_id"),
    Index("records_time", "time", "seq"),
    Index("records_key", "key", "time", "seq"),
    Index("records_model", "model", "time", "seq"),
    Index("records_provider", "provider", "time", "seq"),
    # Nearly all calls are well, and those are found by time. Indexes of the others are small.
    Index(
        "records_outcome",
        *("outcome", "time", "seq"),
        sqlite_where=text("outcome <> 'ok'"),
        postgresql_where=text("outcome <> 'ok'"),
    ),
    Index(
        "records_status",
        *("status", "time", "seq"),
        sqlite_where=text("status <> 200"),
        postgresql_where=text("status <> 200"),
    ),
)
"""One row a call, for as long as they are kept."""


def _usage(name: str) -> Table:
    return Table(
        name,
        metadata,
        Column("start", BigInteger, primary_key=True, autoincrement=False),
        Column("key", Text, primary_key=True),
        Column("model", Text, primary_key=True),
        Column("provider", Text, primary_key=True),
        Column("upstream_model", Text, primary_key=True),
        Column("outcome", Text, primary_key=True),
        *(_sum(name) for name in ("calls", "input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens")),
        *(_sum(name) for name in ("reasoning_tokens", "cost_micros", "unpriced_calls", "estimated_calls")),
        sqlite_with_rowid=False,
    )


usage_hourly = _usage("usage_hourly")
usage_daily = _usage("usage_daily")
"""What the calls of one hour or day (UTC) come to, for ever. `start` is when it began, in seconds since 1970."""

marks = Table(
    "journal_marks",
    metadata,
    Column("segment", Text, primary_key=True),
    Column("bytes", BigInteger, nullable=False),
)
"""How much of a segment of a journal is in here: no line is counted twice, even after its record has been deleted."""

virtual_keys = Table(
    "virtual_keys",
    metadata,
    Column("name", Text, primary_key=True),
    Column("sha256", Text, nullable=False),
    Column("shown", Text, nullable=False),
    Column("created", Double, nullable=False),
    Column("expires", Double),
    Column("revoked", Double),
    Column("replaced_sha256", Text),
    Column("replaced_until", Double),
    Column("version", BigInteger, nullable=False),
    Column("settings", Text, nullable=False),
    UniqueConstraint("sha256", name="virtual_keys_sha256"),
)
"""Keys made at run time. The keys themselves are not in here."""

audit = Table(
    "audit",
    metadata,
    Column("seq", _big_key, primary_key=True),
    Column("time", Double, nullable=False),
    Column("via", Text, nullable=False),
    Column("who", Text, nullable=False),
    Column("address", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("changes", Text, nullable=False),
)
"""What people did, for ever. A secret is not in here."""

providers = Table(
    "providers",
    metadata,
    Column("name", Text, primary_key=True),
    Column("created", Double, nullable=False),
    Column("changed", Double, nullable=False),
    Column("settings", Text, nullable=False),
    Column("secrets", Text, nullable=False),
    Column("version", BigInteger, nullable=False),
)
"""Providers made at run time. What is secret of them is sealed: see `gateway.store.envelope`."""

provider_tests = Table(
    "provider_tests",
    metadata,
    Column("name", Text, primary_key=True),
    Column("at", Double, nullable=False),
    Column("found", Text, nullable=False),
)
"""What the last test of each provider has shown."""

versions = Table(
    "versions",
    metadata,
    Column("name", Text, primary_key=True),
    Column("version", BigInteger, nullable=False),
)
"""A number for each thing that replicas look at now and then: another number means that it has changed."""


def present_version(connection: Connection, of: str) -> int:
    """The number of one of these things. Cheap: one row."""
    return int(connection.execute(select(versions.c.version).where(versions.c.name == of)).scalar_one())


def next_version(connection: Connection, of: str) -> int:
    """Locks the number until the transaction ends, so that whoever sees one sees what it stands for."""
    counter = update(versions).where(versions.c.name == of).values(version=versions.c.version + 1)
    return int(connection.execute(counter.returning(versions.c.version)).scalar_one())


class Database:
    """Connections to one database, for any number of threads. Opens none before one is needed.

    Raises ValueError for a URL that is none of ours, without quoting it: it may hold a password.
    """

    def __init__(self, url: Secret) -> None:
        self._secrets: tuple[str, ...] = ()
        self._engine = self._open(url.reveal())
        self._writing = self._engine.execution_options(writing=True)
        self.is_sqlite = self._engine.dialect.name == "sqlite"

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection to read with."""
        with self._translated(), self._engine.begin() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction: all of it is kept, or nothing. In SQLite there is one at a time."""
        with self._translated(), self._writing.begin() as connection:
            yield connection

    def prepare(self) -> None:
        """Makes the tables, or brings them up to date. Costs one query where they are.

        Any number of replicas may do so at once. Raises DatabaseRefused for a database of a later program.
        """
        with self.reading() as connection:
            if _version(connection) == VERSION:
                return
        with self.writing() as connection:
            if not self.is_sqlite:
                connection.execute(select(func.pg_advisory_xact_lock(MIGRATING)))
            if (found := _version(connection)) != VERSION:
                _migrate(connection, found)

    def close(self) -> None:
        """Closes the connections that are not in use."""
        self._engine.dispose()

    def _open(self, written: str) -> Engine:
        try:
            url = make_url(written)
        except (exc.ArgumentError, ValueError):
            raise ValueError("not a database URL: sqlite:///FILE or postgresql://...") from None
        self._secrets = tuple(secret for secret in (str(url.password or ""),) if secret)
        if url.drivername == "sqlite" and url.database not in (None, "", ":memory:"):
            return _open_sqlite(url.set(drivername="sqlite+pysqlite").render_as_string(hide_password=False))
        if url.drivername in ("postgresql", "postgres"):
            arguments = {name: value for name, value in POSTGRESQL.items() if name not in url.query}
            return create_engine(
                url.set(drivername="postgresql+psycopg"),
                connect_args=arguments,
                pool_pre_ping=True,
                pool_timeout=BUSY,
            )
        raise ValueError("not a database that is supported: it is sqlite:///FILE or postgresql://...")

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (exc.DataError, exc.IntegrityError) as error:
            raise DatabaseUnfit(self._words(error)) from error
        except (exc.SQLAlchemyError, OSError) as error:
            raise DatabaseAway(self._words(error)) from error

    def _words(self, error: Exception) -> str:
        """What the driver said, without the statement and its values, and without what is secret."""
        said = str(getattr(error, "orig", None) or error).strip()
        for secret in self._secrets:
            said = said.replace(secret, "***")
        return said[:SAID_LIMIT]


def _open_sqlite(url: str) -> Engine:
    engine = create_engine(url, connect_args={"timeout": BUSY}, pool_timeout=BUSY)

    @event.listens_for(engine, "do_connect")
    def connecting(*_: object) -> None:
        # Who used what, and when, is nobody else's business. SQLite's own files beside it get the same mode.
        with _MAKING, suppress(OSError):
            Path(engine.url.database or "").touch(mode=0o600, exist_ok=False)

    @event.listens_for(engine, "connect")
    def connected(connection: Any, _: object) -> None:
        connection.isolation_level = None  # transactions begin where we say so, not where the driver thinks they might
        # The mode is one of the file. Whoever comes while another sets it is not made to wait, but refused.
        with suppress(OperationalError):
            connection.execute("PRAGMA journal_mode = WAL")
        # A segment of the journal is deleted once it is confirmed, so what is confirmed has to be on the disk.
        connection.execute("PRAGMA synchronous = FULL")

    @event.listens_for(engine, "begin")
    def begun(connection: Connection) -> None:
        writing = connection.get_execution_options().get("writing", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")

    return engine


def _version(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    version: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
    return version


def _migrate(connection: Connection, found: str | None) -> None:
    """Alembic takes as long to import as SQLAlchemy, and is needed once for every version."""
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", "gateway.store:migrations")
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if found is not None and found not in known:
        raise DatabaseRefused(
            f"The database is of version {found}, which is newer than this program knows ({VERSION}). "
            "Start the newer program, or name another database."
        )
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
