"""What the gateway runs on: its models, its configuration, and reading that once more."""

from __future__ import annotations

from gateway.admin.moments import iso
from gateway.admin.running import of_configuration, of_models
from gateway.admin.service import NoDatabase, NotDone
from gateway.config.snapshot import PERMISSIONS
from gateway.core.call import Json
from gateway.core.deed import Change, Deed
from gateway.store.errors import DatabaseAway
from gateway.web.api.asked import Answer, Asked
from gateway.web.api.desk import Desk, Reload
from gateway.web.api.refusals import complaint

NO_FILE = (
    "This gateway runs without a configuration file, so there is none to read once more: gateway serve --config FILE."
)


async def models(desk: Desk, asked: Asked) -> Answer:
    """`GET /api/models`: the public names, where they lead, and how it is there now."""
    asked.query()
    snapshot = desk.snapshot()
    return Answer({"models": of_models(snapshot, desk.board, desk.clock), "default_model": snapshot.default_model})


async def config(desk: Desk, asked: Asked) -> Answer:
    """`GET /api/config`: what is in force, without its secrets."""
    asked.query()
    snapshot, status, now = desk.snapshot(), desk.status(), desk.now()
    said: Json = {
        "hash": snapshot.digest,
        "file": status.file,
        "since": None if status.since is None else iso(status.since),
        "age_seconds": None if status.since is None else round(max(0.0, now - status.since), 1),
        "last_reload": None if status.last_reload is None else _reload(status.last_reload),
        "configuration": of_configuration(snapshot),
    }
    return Answer(said)


async def reload(desk: Desk, asked: Asked) -> Answer:
    """`POST /api/reload`: 400 with all complaints for a file that cannot be used, which then changes nothing."""
    await asked.fields()
    if desk.reload is None:
        raise NotDone(NO_FILE)
    before = desk.snapshot().digest
    done = await desk.reload()
    deed = Deed(desk.now(), asked.actor, "config.reload", desk.status().file or "", _changed(before, done.digest))
    await _note(desk, deed)
    return Answer({**_reload(done), "changed": done.digest != before})


async def whoami(desk: Desk, asked: Asked) -> Answer:
    """`GET /api/whoami`: whose token this is, and what it may do."""
    asked.query()
    allowed = [each for each in PERMISSIONS if each in asked.token.permissions]
    return Answer({"name": asked.token.name, "permissions": allowed})


async def _note(desk: Desk, deed: Deed) -> None:
    desk.tell([deed])
    try:
        await desk.shelves(lambda shelves: shelves.audit.note(deed))
    except (NoDatabase, DatabaseAway) as error:  # it has been done all the same
        desk.say("warning", "audit_without_database", action=deed.action, error=str(error))


def _changed(before: str, after: str) -> tuple[Change, ...]:
    return () if before == after else (Change("hash", before, after),)


def _reload(done: Reload) -> Json:
    return {
        "time": iso(done.time),
        "ok": not done.complaints,
        "hash": done.digest or None,
        "complaints": [complaint(each) for each in done.complaints],
    }
