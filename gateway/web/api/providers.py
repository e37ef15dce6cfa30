"""Providers: made, looked at, tested, changed and deleted."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar
from urllib.parse import quote

from gateway.admin.provider_list import Listed, of_check, of_provider, of_test
from gateway.admin.providers import Nowhere, ProviderStore, Roster
from gateway.admin.wanted import Fault, Unreadable
from gateway.core.deed import Deed
from gateway.web.api.asked import Answer, Asked
from gateway.web.api.desk import Desk

Found = TypeVar("Found")


async def list_all(desk: Desk, asked: Asked) -> Answer:
    """`GET /api/providers`: those of the file, too, each with its last test. Never a secret."""
    asked.query()
    found = await _look(desk, asked, Roster.list)
    return Answer({"providers": [of_provider(each) for each in found]})


async def show(desk: Desk, asked: Asked) -> Answer:
    """`GET /api/providers/{name}`, with an `ETag` where it can be changed."""
    return _told(await _look(desk, asked, lambda roster: roster.get(asked.path["name"])))


async def create(desk: Desk, asked: Asked) -> Answer:
    """`POST /api/providers`: its secrets are not seen again."""
    written = await asked.body()
    made = await _change(desk, asked, lambda roster: roster.create(written))
    where = {"location": f"/api/providers/{quote(made.name, safe='')}"}
    return Answer(of_provider(made), 201, where | _tag(made))


async def edit(desk: Desk, asked: Asked) -> Answer:
    """`PATCH /api/providers/{name}`: a JSON merge patch. A secret that it does not name stays."""
    patch, seen = await asked.body(), asked.seen
    return _told(await _change(desk, asked, lambda roster: roster.edit(asked.path["name"], patch, seen)))


async def delete(desk: Desk, asked: Asked) -> Answer:
    """`DELETE /api/providers/{name}`: one that no model leads to."""
    name, seen = asked.path["name"], asked.seen
    await _change(desk, asked, lambda roster: roster.delete(name, seen))
    return Answer({"name": name, "state": "deleted"})


async def test(desk: Desk, asked: Asked) -> Answer:
    """`POST /api/providers/{name}/test`, with `{"model": ...}` for a test by a call. 200 whatever it shows."""
    model = (await asked.fields("model")).get("model")
    if model is not None and not isinstance(model, str):
        raise Unreadable([Fault("model", "must be text")])
    roster = await _look(desk, asked, _as_it_is)
    return Answer(of_test(await roster.test(asked.path["name"], model)))


async def models(desk: Desk, asked: Asked) -> Answer:
    """`POST /api/providers/{name}/models`: what it lists, which is a test as well."""
    await asked.fields()
    roster = await _look(desk, asked, _as_it_is)
    return Answer(of_test(await roster.models(asked.path["name"])))


async def discover(desk: Desk, asked: Asked) -> Answer:
    """`POST /api/providers/discover`: what one lists that is not saved. Nothing is kept."""
    written = await asked.body()
    roster = await _look(desk, asked, _as_it_is)
    return Answer(of_check(await roster.discover(written), desk.now()))


async def _look(desk: Desk, asked: Asked, work: Callable[[Roster], Found]) -> Found:
    """Those of the file are there without a database, too."""
    held_by = _roster(desk, asked, [])
    if desk.archive is None:
        return await desk.threads.run(lambda: work(held_by(Nowhere())))
    return await desk.shelves(lambda shelves: work(held_by(shelves.providers)))


async def _change(desk: Desk, asked: Asked, work: Callable[[Roster], Found]) -> Found:
    deeds: list[Deed] = []
    held_by = _roster(desk, asked, deeds)
    found = await desk.shelves(lambda shelves: work(held_by(shelves.providers)))
    desk.tell(deeds)
    await desk.refresh()
    return found


def _roster(desk: Desk, asked: Asked, deeds: list[Deed]) -> Callable[[ProviderStore], Roster]:
    """The providers in the hands of whoever asks, once it is known where they are kept. For a thread."""
    loaded, actor = desk.written(), asked.actor

    def held_by(store: ProviderStore) -> Roster:
        from gateway.store.vault import vault  # cryptography takes long to import

        return Roster(
            store,
            vault(loaded.snapshot.admin),
            loaded,
            now=desk.now,
            actor=actor,
            look=desk.look,
            noted=deeds.append,
            apart=desk.threads.run,
        )

    return held_by


def _as_it_is(roster: Roster) -> Roster:
    return roster


def _told(listed: Listed) -> Answer:
    return Answer(of_provider(listed), headers=_tag(listed))


def _tag(listed: Listed) -> dict[str, str]:
    return {} if listed.version is None else {"etag": f'"{listed.version}"'}
