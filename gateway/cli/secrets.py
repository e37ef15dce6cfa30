"""`gateway secrets`: what encrypts the secrets of providers that were made at run time."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path

from gateway.admin.rotation import Rotated
from gateway.admin.rotation import rotate as rotate_all
from gateway.app.times import now
from gateway.cli import kept
from gateway.cli.keys import actor
from gateway.cli.telling import print_json, refuse
from gateway.config.resolve import Loaded
from gateway.store.database import Database
from gateway.store.providers import Providers
from gateway.store.sealed import Locked
from gateway.store.vault import vault


def rotate(config: Path | None, *, as_json: bool) -> int:
    """Seals every secret under the present key. Returns the exit status: 1 if one could not be."""

    def work(loaded: Loaded, database: Database) -> int:
        try:
            done = rotate_all(Providers(database), vault(loaded.snapshot.admin), actor(), now)
        except Locked as error:
            return refuse(str(error), as_json=as_json)
        if as_json:
            print_json({"ok": not done.failed, **asdict(done)})
        else:
            _tell(done, bool(loaded.snapshot.admin.previous))
        return 1 if done.failed else 0

    return kept.run(config, work, as_json=as_json)


def _tell(done: Rotated, has_previous: bool) -> None:
    print(f"{_counted(done.resealed)} sealed anew under {done.key}; {_counted(done.current)} under it before.")
    for name, why in done.failed.items():
        print(f"gateway: {name}: {why}", file=sys.stderr)
    if has_previous and not done.failed:
        print("Nothing needs admin.previous_encryption_keys any more: take it out once every replica has this key.")


def _counted(secrets: int) -> str:
    return f"{secrets} secret{' was' if secrets == 1 else 's were'}"
