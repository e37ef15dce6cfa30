"""A process that is killed loses no record that it had appended, and none is counted twice."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

from sqlalchemy import text

from gateway.store.carrier import Carrier
from gateway.store.journal import Journal
from gateway.store.ledger import Ledger
from tests.stores.books import NOON, Log, opened

ROOT = Path(__file__).parent.parent.parent
ROUNDS = 20


def test_processes_that_are_killed_lose_nothing_and_repeat_nothing(url: str, ledger: Ledger, tmp_path: Path) -> None:
    root, appended = tmp_path / "journal", tmp_path / "appended"
    seed = random.randrange(10**9)
    arguments = [url, str(root), str(appended), str(ROUNDS), str(seed)]
    subprocess.run([sys.executable, "-m", "tests.stores.crashing", *arguments], cwd=ROOT, check=True, timeout=100)
    journal = Journal(root, now=lambda: NOON + 1000, event=Log())
    carrier = Carrier(journal, lambda: opened(url), now=lambda: NOON, event=Log())
    carrier.start()
    carrier.close(30)
    with ledger._database.reading() as connection:
        kept = [row.id for row in connection.execute(text("SELECT id FROM records"))]
    answered = appended.read_text().split()
    assert set(answered) <= set(kept), f"seed {seed}"
    assert sum(spent.calls for spent in ledger.usage("key")) == len(set(kept)) == len(kept), f"seed {seed}"
    assert len(kept) - len(answered) <= 5 * ROUNDS
    assert carrier.backlog == 0
    assert list(root.iterdir()) == []
