"""Processes that keep a journal and a ledger, and are killed at any moment. Run as a program, which holds nothing else.

Arguments: URL of the database, root of the journals, file for the ids of what has been appended, rounds, seed.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from pathlib import Path

from gateway.store.carrier import Carrier
from gateway.store.journal import Journal
from tests.stores.books import NOON, Log, call, lines, opened

SHORTEST, LONGEST = 0.01, 0.6
"""Seconds that a process lives. The carrier begins after a quarter of one."""


def work(url: str, root: Path, appended: Path, life: int) -> None:
    """Appends and carries until it is killed."""
    log = Log()
    journal = Journal(root, now=lambda: NOON + life, event=log, segment=20_000)
    Carrier(journal, lambda: opened(url), now=lambda: NOON, event=log).start()
    done = os.open(appended, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    number = 0
    while True:
        ids = [f"{life}-{number + each}" for each in range(random.randint(1, 5))]
        number += len(ids)
        journal.append(lines(call(id, key=f"key-{life % 3}") for id in ids))
        os.write(done, "".join(f"{id}\n" for id in ids).encode())
        time.sleep(0.002)


def main() -> None:
    """One process after the other."""
    url, root, appended, rounds, seed = sys.argv[1:]
    random.seed(int(seed))
    opened(url).prepare()
    for life in range(int(rounds)):
        if (child := os.fork()) == 0:
            work(url, Path(root), Path(appended), life)
        time.sleep(random.uniform(SHORTEST, LONGEST))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


if __name__ == "__main__":
    main()
