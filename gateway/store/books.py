"""The books of one gateway: the journal that calls are entered into, and what carries it into the database."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from gateway.config.snapshot import State
from gateway.store.carrier import Carrier
from gateway.store.journal import Journal, beside

if TYPE_CHECKING:
    from gateway.store.ledger import Ledger


class Books:
    """Where records go. `now` is in seconds since 1970, `event` the log; both are called from another thread, too."""

    def __init__(self, state: State, *, now: Callable[[], float], event: Callable[..., None]) -> None:
        assert state.database is not None
        self._database = state.database
        self._journal = Journal(beside(state.database.reveal()), now=now, event=event)
        self._carrier = Carrier(self._journal, self._opened, now=now, event=event, keep=state.retention)

    @property
    def backlog(self) -> int:
        """Records that are not in the database yet."""
        return self._carrier.backlog

    def enter(self, line: bytes) -> None:
        """A record, as a line. When it returns, killing the process does not lose it."""
        self._journal.append(line)

    def start(self) -> None:
        """Begins to carry."""
        self._carrier.start()

    def _opened(self) -> Ledger:
        """The ledger, in whichever thread wants it: SQLAlchemy takes as long to import as all else of a start."""
        from gateway.store.database import Database
        from gateway.store.ledger import Ledger

        return Ledger(Database(self._database))

    def close(self) -> None:
        """Carries what is left, and ends. Blocks for some seconds if the database is away."""
        self._carrier.close()
