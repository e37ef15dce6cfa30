"""The books of one gateway: the journal that calls are entered into, and what carries it into the database."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from gateway.config.snapshot import State
from gateway.policy.limits import window
from gateway.ports import Limit
from gateway.store.carrier import Carrier
from gateway.store.journal import Journal, beside

if TYPE_CHECKING:
    from gateway.store.database import Database
    from gateway.store.keys import VirtualKey
    from gateway.store.ledger import Ledger


class Books:
    """Where records go. `now` is in seconds since 1970, `event` the log; both are called from another thread, too."""

    def __init__(self, state: State, *, now: Callable[[], float], event: Callable[..., None]) -> None:
        assert state.database is not None
        self._database = state.database
        self._now = now
        self._for_keys: Database | None = None
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

    def spent(self, budgets: Iterable[Limit]) -> list[tuple[Limit, int]]:
        """What keys' budgets have seen in their present windows, as far as the database knows. Blocks.

        Raises DatabaseAway.
        """
        from gateway.store.ledger import Chosen

        ledger, found = self._opened(), []
        try:
            ledger.prepare()
            for budget in budgets:
                since, _ = window(budget.every, int(self._now() * 1000))
                for sums in ledger.usage("key", Chosen(key=budget.owner[1], since=since / 1000)):
                    tokens = sums.input_tokens + sums.output_tokens
                    found.append((budget, sums.cost_micros if budget.what == "usd_budget" else tokens))
        finally:
            ledger.close()
        return found

    def keys(self, known: int | None) -> tuple[int, list[VirtualKey]] | None:
        """The keys that were made at run time, with their version; None if that is the one that is known. Blocks.

        Raises DatabaseAway.
        """
        from gateway.store.database import Database
        from gateway.store.keys import Keys

        if self._for_keys is None:
            self._for_keys = Database(self._database)
            self._for_keys.prepare()
        keys = Keys(self._for_keys)
        version = keys.version()
        return None if version == known else (version, keys.list())

    def _opened(self) -> Ledger:
        """The ledger, in whichever thread wants it: SQLAlchemy takes as long to import as all else of a start."""
        from gateway.store.database import Database
        from gateway.store.ledger import Ledger

        return Ledger(Database(self._database))

    def close(self) -> None:
        """Carries what is left, and ends. Blocks for some seconds if the database is away."""
        self._carrier.close()
        if self._for_keys is not None:
            self._for_keys.close()
