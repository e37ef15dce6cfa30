"""Keys: made, looked at, changed, replaced and ended."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar
from urllib.parse import quote

from gateway.admin import views
from gateway.admin.service import Keyring, KeyStore, Listed, Made, Nowhere
from gateway.admin.spending import Used, used
from gateway.admin.wanted import Fault, Unreadable
from gateway.config import values
from gateway.config.complaints import quoted
from gateway.core.call import Json
from gateway.core.deed import Deed
from gateway.web.api.asked import Answer, Asked
from gateway.web.api.desk import Desk

OVERLAP = "24h"
"""How long a key that is replaced stays valid, where nobody says."""

Found = TypeVar("Found")


async def list_all(desk: Desk, asked: Asked) -> Answer:
    """`GET /api/keys`: those of the file, too, with what their budgets have used. Never the keys themselves."""
    asked.query()
    return Answer({"keys": await _with_use(desk, await _look(desk, asked, Keyring.list))})


async def show(desk: Desk, asked: Asked) -> Answer:
    """`GET /api/keys/{name}`, with an `ETag` where it can be changed."""
    return await _told(desk, await _look(desk, asked, lambda keyring: keyring.get(asked.path["name"])))


async def create(desk: Desk, asked: Asked) -> Answer:
    """`POST /api/keys`: the answer has the key itself, this once."""
    written = await asked.body()
    made = await _change(desk, asked, lambda keyring: keyring.create(written))
    where = {"location": f"/api/keys/{quote(made.listed.name, safe='')}"}
    return await _told_once(desk, made, 201, where)


async def edit(desk: Desk, asked: Asked) -> Answer:
    """`PATCH /api/keys/{name}`: a JSON merge patch."""
    patch, seen = await asked.body(), asked.seen
    return await _told(desk, await _change(desk, asked, lambda keyring: keyring.edit(asked.path["name"], patch, seen)))


async def rotate(desk: Desk, asked: Asked) -> Answer:
    """`POST /api/keys/{name}/rotate`: the answer has the new key, this once."""
    overlap, seen = _overlap((await asked.fields("overlap")).get("overlap", OVERLAP)), asked.seen
    made = await _change(desk, asked, lambda keyring: keyring.rotate(asked.path["name"], overlap, seen))
    return await _told_once(desk, made)


async def revoke(desk: Desk, asked: Asked) -> Answer:
    """`DELETE /api/keys/{name}`: it stays in the list, and its name is not given again."""
    seen = asked.seen
    revoked = await _change(desk, asked, lambda keyring: keyring.revoke(asked.path["name"], seen))
    return Answer(await _shown(desk, revoked))


async def _look(desk: Desk, asked: Asked, work: Callable[[Keyring], Found]) -> Found:
    """Those of the file are there without a database, too."""
    held_by = _keyring(desk, asked, [])
    if desk.archive is None:
        return work(held_by(Nowhere()))
    return await desk.shelves(lambda shelves: work(held_by(shelves.keys)))


async def _with_use(desk: Desk, found: Sequence[Listed]) -> list[Json]:
    """Keys, with what their budgets have used; null where there is no budget, or no database that would know."""
    budgets = {each.name: each.key.budget for each in found if each.key is not None and each.key.budget is not None}
    use: Mapping[str, Used] = {}
    if budgets and desk.archive is not None:
        use = await desk.shelves(lambda shelves: used(shelves.ledger, budgets, desk.now()))
    told = {name: views.of_used(each) for name, each in use.items()}
    return [{**views.of_key(each), "budget_used": told.get(each.name)} for each in found]


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


async def _shown(desk: Desk, listed: Listed) -> Json:
    [said] = await _with_use(desk, [listed])
    return said


async def _told(desk: Desk, listed: Listed) -> Answer:
    return Answer(await _shown(desk, listed), headers=_tag(listed))


async def _told_once(desk: Desk, made: Made, status: int = 200, headers: Mapping[str, str] | None = None) -> Answer:
    """With the key itself."""
    said = {**await _shown(desk, made.listed), "key": made.key.reveal()}
    return Answer(said, status, {**(headers or {}), **_tag(made.listed)})


def _tag(listed: Listed) -> dict[str, str]:
    return {} if listed.version is None else {"etag": f'"{listed.version}"'}


def _overlap(written: object) -> float:
    text = written if isinstance(written, str) else str(written)
    try:
        return values.seconds(text)
    except ValueError as error:
        raise Unreadable([Fault("overlap", f"{quoted(text)} {error}")]) from None
