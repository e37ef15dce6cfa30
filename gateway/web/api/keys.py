"""Keys: made, looked at, changed, replaced and ended."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar
from urllib.parse import quote

from gateway.admin import views
from gateway.admin.service import Keyring, KeyStore, Listed, Nowhere
from gateway.admin.wanted import Fault, Unreadable
from gateway.config import values
from gateway.config.complaints import quoted
from gateway.core.deed import Deed
from gateway.web.api.asked import Answer, Asked
from gateway.web.api.desk import Desk

OVERLAP = "24h"
"""How long a key that is replaced stays valid, where nobody says."""

Found = TypeVar("Found")


async def list_all(desk: Desk, asked: Asked) -> Answer:
    """`GET /api/keys`: those of the file, too. Never the keys themselves."""
    asked.query()
    found = await _look(desk, asked, Keyring.list)
    return Answer({"keys": [views.of_key(each) for each in found]})


async def show(desk: Desk, asked: Asked) -> Answer:
    """`GET /api/keys/{name}`, with an `ETag` where it can be changed."""
    return _told(await _look(desk, asked, lambda keyring: keyring.get(asked.path["name"])))


async def create(desk: Desk, asked: Asked) -> Answer:
    """`POST /api/keys`: the answer has the key itself, this once."""
    written = await asked.body()
    made = await _change(desk, asked, lambda keyring: keyring.create(written))
    where = {"location": f"/api/keys/{quote(made.listed.name, safe='')}"}
    return Answer(views.of_made(made), 201, where | _tag(made.listed))


async def edit(desk: Desk, asked: Asked) -> Answer:
    """`PATCH /api/keys/{name}`: a JSON merge patch."""
    patch, seen = await asked.body(), asked.seen
    return _told(await _change(desk, asked, lambda keyring: keyring.edit(asked.path["name"], patch, seen)))


async def rotate(desk: Desk, asked: Asked) -> Answer:
    """`POST /api/keys/{name}/rotate`: the answer has the new key, this once."""
    overlap, seen = _overlap((await asked.fields("overlap")).get("overlap", OVERLAP)), asked.seen
    made = await _change(desk, asked, lambda keyring: keyring.rotate(asked.path["name"], overlap, seen))
    return Answer(views.of_made(made), headers=_tag(made.listed))


async def revoke(desk: Desk, asked: Asked) -> Answer:
    """`DELETE /api/keys/{name}`: it stays in the list, and its name is not given again."""
    seen = asked.seen
    return Answer(views.of_key(await _change(desk, asked, lambda keyring: keyring.revoke(asked.path["name"], seen))))


async def _look(desk: Desk, asked: Asked, work: Callable[[Keyring], Found]) -> Found:
    """Those of the file are there without a database, too."""
    held_by = _keyring(desk, asked, [])
    if desk.archive is None:
        return work(held_by(Nowhere()))
    return await desk.shelves(lambda shelves: work(held_by(shelves.keys)))


async def _change(desk: Desk, asked: Asked, work: Callable[[Keyring], Found]) -> Found:
    deeds: list[Deed] = []
    held_by = _keyring(desk, asked, deeds)
    found = await desk.shelves(lambda shelves: work(held_by(shelves.keys)))
    desk.tell(deeds)
    await desk.refresh()
    return found


def _keyring(desk: Desk, asked: Asked, deeds: list[Deed]) -> Callable[[KeyStore], Keyring]:
    """The keys in the hands of whoever asks, once it is known where they are kept."""
    snapshot, actor = desk.snapshot(), asked.actor
    return lambda store: Keyring(store, snapshot, desk.now, actor, deeds.append)


def _told(listed: Listed) -> Answer:
    return Answer(views.of_key(listed), headers=_tag(listed))


def _tag(listed: Listed) -> dict[str, str]:
    return {} if listed.version is None else {"etag": f'"{listed.version}"'}


def _overlap(written: object) -> float:
    text = written if isinstance(written, str) else str(written)
    try:
        return values.seconds(text)
    except ValueError as error:
        raise Unreadable([Fault("overlap", f"{quoted(text)} {error}")]) from None
