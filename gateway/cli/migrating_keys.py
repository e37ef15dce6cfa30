"""`gateway import litellm-keys`: LiteLLM's keys into the database of a configuration."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from gateway.app.times import now
from gateway.cli import kept
from gateway.cli.keys import actor
from gateway.cli.migrating import counts, print_lines, status, summary
from gateway.cli.telling import counted, print_json
from gateway.config.resolve import Loaded, text_of
from gateway.core.deed import Deed
from gateway.migrate.keys import against, read
from gateway.store.database import Database
from gateway.store.keys import Keys

ACTION = "key.create"
"""What the audit log calls it."""


def run(file: Path, config: Path | None, *, as_json: bool) -> int:
    """Takes over the keys of an export. Returns the exit status: 1 if any of them is refused."""

    def work(loaded: Loaded, database: Database) -> int:
        store = Keys(database)
        declared = {key.name for key in loaded.spec.keys}
        found = against(read(text_of(file), str(file), now()), store.list(), declared)
        for key in found.new:
            store.insert(key, Deed(now(), actor(), ACTION, key.name))
        if as_json:
            print_json({**summary(found.report), "new": [key.name for key in found.new]})
        else:
            console = Console(highlight=False)
            print_lines(found.report, console)
            console.print(f"{counted(len(found.new), 'new key')}: {counts(found.report)}.", soft_wrap=True)
        return status(found.report)

    return kept.run(config, work, as_json=as_json, may_make=True)
