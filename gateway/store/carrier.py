"""
Carries records from the journal into the database, in a thread of its own, and removes what has been carried.

Calls never wait for it. While the database is locked, stopped or gone, records wait on disk; the carrier tries again
until it is back, and goes on with the oldest. It imports no driver: who opens the ledger does, in this thread.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from gateway.core.record import read
from gateway.store.errors import DatabaseUnfit
from gateway.store.journal import Journal, Shelf, abandoned, lines_from, segments, torn

EVERY = 0.25
"""Seconds between two looks into the journal: so long, and the time of a transaction, the database lags behind."""

CHUNK = 256 * 2**10
"""Bytes of a journal that share a transaction, some 1,400 records."""

LONGEST_PAUSE = 5.0
"""Seconds until the next try when the database is away: twice as long each time, up to this."""

ADOPT_EVERY = 60.0
"""Seconds between two looks for journals whose process is gone."""

FORGET_EVERY = 60.0
"""Seconds between two looks for records that are old."""
FORGET_AT_ONCE = 1000
"""Records that are deleted in one transaction, and between two rounds of carrying: nobody waits long for it."""

SAID_LIMIT = 300
"""Characters of an error in the log."""


class Books(Protocol):
    """What is carried into: `gateway.store.ledger.Ledger`."""

    def prepare(self) -> None: ...
    def close(self) -> None: ...
    def write_lines(self, lines: list[bytes], segment: str = "", until: int = 0) -> int: ...
    def mark(self, segment: str) -> int: ...
    def unmark(self, segment: str) -> None: ...
    def forget(self, before: float, most: int) -> int: ...


class Carrier:
    """The way from one journal, and from those that dead processes left beside it, into the ledger.

    `open_ledger` and `event` are called in the carrier's thread. `keep` is how long records stay in the database, in
    seconds; None: for ever.
    """

    def __init__(
        self,
        journal: Journal,
        open_ledger: Callable[[], Books],
        *,
        now: Callable[[], float],
        event: Callable[..., None],
        keep: float | None = None,
    ) -> None:
        self.skipped = 0
        """Lines that were torn, or no records, or that the database would not hold."""
        self._journal = journal
        self._open_ledger = open_ledger
        self._now = now
        self._event = event
        self._keep = keep
        self._ledger: Books | None = None
        self._prepared = False
        self._carried = 0
        self._shelves: dict[Path, Shelf] = {}
        self._waiting: dict[Path, int] = {}
        self._offsets: dict[Path, int] = {}
        self._adopt_at = self._forget_at = float("-inf")
        self._away = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ledger-carrier", daemon=True)

    @property
    def backlog(self) -> int:
        """Records in the journal that are not in the database. For any thread."""
        own = self._journal.appended - self._journal.lost - self._carried
        return max(0, own) + sum(tuple(self._waiting.values()))

    def start(self) -> None:
        """Begins to carry; to be called once."""
        self._thread.start()

    def close(self, within: float = 5.0) -> None:
        """Closes the journal, carries what is in it, and ends. Blocks for so many seconds at most.

        What cannot be carried by then stays on disk, for the next process.
        """
        self._journal.close()
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(within)
        if not self._thread.is_alive():
            self._journal.release()

    def _run(self) -> None:
        pause = EVERY
        stopping = False
        while not stopping:
            self._stop.wait(pause)
            stopping = self._stop.is_set()  # before the round: it is the one that carries the last records
            try:
                self._round()
                self._found()
                pause = EVERY
            except Exception as error:
                self._missed(error)
                pause = min(2 * pause, LONGEST_PAUSE)
        if self._ledger is not None:
            self._ledger.close()
        for shelf in self._shelves.values():
            shelf.release()

    def _round(self) -> None:
        ledger = self._prepared_ledger()
        self._adopt()
        for folder in tuple(self._shelves):
            self._carry(folder, ledger, lambda _: None)
            self._shelves.pop(folder).release()
            self._waiting.pop(folder, None)
        if own := self._own_folder():
            self._carry(own, ledger, self._journal.growing)
        self._forget(ledger)

    def _own_folder(self) -> Path | None:
        current = self._journal.current
        if current is None or self._journal.closed or current.exists():
            return current and current.parent
        self._journal.renew()
        gone = self.backlog - sum(self._waiting.values())
        self._carried += gone
        self._event("error", "journal_removed", records=gone)
        return None

    def _prepared_ledger(self) -> Books:
        """The ledger, looked at anew after every failure: it may be another database by then, or none."""
        if self._ledger is None:
            self._ledger = self._open_ledger()
        if not self._prepared:
            self._ledger.prepare()
            self._prepared = True
        return self._ledger

    def _missed(self, error: Exception) -> None:
        self._prepared = False
        if not self._away:
            self._away = True
            self._event("error", "ledger_away", error=f"{type(error).__name__}: {error}"[:SAID_LIMIT])

    def _found(self) -> None:
        if self._away:
            self._away = False
            self._event("info", "ledger_back")

    # Journals of dead processes

    def _adopt(self) -> None:
        now = self._now()
        if now < self._adopt_at:
            return
        self._adopt_at = now + ADOPT_EVERY
        for shelf in abandoned(self._journal.root):
            self._shelves[shelf.folder] = shelf
            self._waiting[shelf.folder] = sum(_lines(path) for path in segments(shelf.folder))
            self._event("info", "journal_adopted", journal=shelf.folder.name, records=self._waiting[shelf.folder])

    # Carrying

    def _carry(self, folder: Path, ledger: Books, growing: Callable[[str], int | None]) -> None:
        """Everything in a folder, the oldest first. Removes the segments that are complete."""
        for segment in segments(folder):
            written = growing(segment.name)  # before reading: what is complete then is read to its end
            end = self._carry_segment(segment, ledger, written)
            if written is None:
                if lines := torn(segment, end):
                    self._skip(lines, segment, "its end is torn")
                segment.unlink()
                self._offsets.pop(segment, None)
                ledger.unmark(_name(segment))

    def _carry_segment(self, segment: Path, ledger: Books, written: int | None) -> int:
        """Everything in a segment by now. Gives the offset of what may follow."""
        if segment not in self._offsets:
            mark = ledger.mark(_name(segment))
            self._count(segment, _lines(segment, mark))
            self._offsets[segment] = mark
        while lines := lines_from(segment, self._offsets[segment], self._most(segment, written)):
            until = self._offsets[segment] + len(lines)
            self._write(lines, segment, until, ledger)
            self._offsets[segment] = until
            self._count(segment, lines.count(b"\n"))
        return self._offsets[segment]

    def _most(self, segment: Path, written: int | None) -> int:
        return CHUNK if written is None else min(CHUNK, max(0, written - self._offsets[segment]))

    def _write(self, lines: bytes, segment: Path, until: int, ledger: Books) -> None:
        batch = lines.splitlines()
        try:
            ledger.write_lines(batch, _name(segment), until)
        except DatabaseUnfit:
            self._write_singly(batch, segment, until, ledger)

    def _write_singly(self, batch: list[bytes], segment: Path, until: int, ledger: Books) -> None:
        """One line that is no record, or one that no database wants, must not keep the others from it."""
        for line in batch:
            try:
                ledger.write_lines([read(line).line()])
            except (ValueError, DatabaseUnfit) as error:
                self._skip(1, segment, str(error)[:SAID_LIMIT])
        ledger.write_lines([], _name(segment), until)

    def _count(self, segment: Path, lines: int) -> None:
        if segment.parent in self._shelves:
            self._waiting[segment.parent] -= lines
        else:
            self._carried += lines

    def _skip(self, lines: int, segment: Path, why: str) -> None:
        self.skipped += lines
        self._event("warning", "journal_line_skipped", segment=_name(segment), why=why, skipped=self.skipped)

    # Deleting what is old

    def _forget(self, ledger: Books) -> None:
        if self._keep is None or self._now() < self._forget_at:
            return
        if ledger.forget(self._now() - self._keep, FORGET_AT_ONCE) < FORGET_AT_ONCE:
            self._forget_at = self._now() + FORGET_EVERY


def _lines(segment: Path, until: int | None = None) -> int:
    with segment.open("rb") as file:
        return file.read(-1 if until is None else until).count(b"\n")


def _name(segment: Path) -> str:
    return f"{segment.parent.name}/{segment.name}"
