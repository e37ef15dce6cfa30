"""What people look into and change, out of one database: keys, providers, the ledger, the audit log."""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING, NamedTuple

from gateway.core.secret import Secret

if TYPE_CHECKING:
    from gateway.store.audit import Audit
    from gateway.store.database import Database
    from gateway.store.keys import Keys
    from gateway.store.ledger import Ledger
    from gateway.store.providers import Providers


class Shelves(NamedTuple):
    """All of it, for any number of threads."""

    keys: Keys
    providers: Providers
    ledger: Ledger
    audit: Audit


class Archive:
    """The way there. Nothing is opened, and SQLAlchemy is not imported, before somebody asks."""

    def __init__(self, url: Secret) -> None:
        self._url = url
        self._lock = Lock()
        self._database: Database | None = None

    def open(self) -> Shelves:
        """Blocks, for some seconds the first time. Raises DatabaseAway."""
        from gateway.store.audit import Audit
        from gateway.store.database import Database
        from gateway.store.keys import Keys
        from gateway.store.ledger import Ledger
        from gateway.store.providers import Providers

        with self._lock:
            if self._database is None:
                database = Database(self._url)
                database.prepare()
                self._database = database
            database = self._database
        return Shelves(Keys(database), Providers(database), Ledger(database), Audit(database))

    def close(self) -> None:
        """Closes the connections that are not in use."""
        if self._database is not None:
            self._database.close()
