"""The database of a configuration, for commands that read or change what is in it; and what keeps them from it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from gateway.admin.service import NotDone
from gateway.admin.wanted import Unreadable
from gateway.cli.configuration import complain, configured
from gateway.cli.telling import refuse
from gateway.config.complaints import ConfigError
from gateway.config.resolve import Loaded
from gateway.store.database import Database
from gateway.store.errors import DatabaseAway, DatabaseRefused

SQLITE = "sqlite:///"

HOW = 'write\n\n  state: {database: "sqlite:///gateway.db"}\n\ninto the configuration, or name one of PostgreSQL.'

WHERE = "A relative path is one from where a command is started, the gateway too."

Name = Callable[[str], str]
"""How the command line calls a field of what was asked for."""


class NoDatabase(Exception):
    """There is nothing to look into. The message says why."""


def run(
    config: Path | None,
    work: Callable[[Loaded, Database], int],
    *,
    as_json: bool,
    name: Name = str,
    may_make: bool = False,
) -> int:
    """Does something with the database of a configuration. Returns the exit status: 1 or 2 if it cannot be done.

    A database in a file is made only if `may_make`: one that is not here is mostly one that is elsewhere.
    """
    try:
        with _opened(config, may_make) as (loaded, database):
            return work(loaded, database)
    except ConfigError as error:
        complain(error, as_json=as_json)
        return 1
    except Unreadable as error:
        faults = [f"{name(path)}: {message}" if path else message for path, message in error.faults]
        return refuse(("; " if as_json else "\ngateway: ").join(faults), 2, as_json=as_json)
    except DatabaseRefused as error:
        return refuse(str(error), as_json=as_json)
    except DatabaseAway as error:
        return refuse(f"The database cannot be asked now: {error}", as_json=as_json)
    except (NoDatabase, NotDone) as error:
        return refuse(str(error), as_json=as_json)


@contextmanager
def _opened(config: Path | None, may_make: bool) -> Iterator[tuple[Loaded, Database]]:
    if config is None:
        raise NoDatabase(
            f"The ledger and the keys made at run time are in a database: name the configuration with "
            f"--config FILE. If it has none yet, {HOW}"
        )
    loaded, _ = configured(config)
    url = loaded.snapshot.state.database
    if url is None:
        raise NoDatabase(f"{config} names no database, so nothing is kept: {HOW}")
    file = Path(url.reveal().removeprefix(SQLITE)).absolute()
    missing = url.reveal().startswith(SQLITE) and not file.exists()
    if missing and not may_make:
        raise NoDatabase(f"There is no database {file}. {WHERE}")
    database = Database(url)
    try:
        database.prepare()
        if missing:
            print(f"Made the database {file}. {WHERE}", file=sys.stderr)
        yield loaded, database
    finally:
        database.close()
