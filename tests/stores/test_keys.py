"""Virtual keys, whichever database they are in."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from gateway.core.secret import Secret
from gateway.core.virtual_key import VirtualKey
from gateway.store.database import Database
from gateway.store.errors import NameTaken, Outdated
from gateway.store.keys import Keys

WEB = VirtualKey(
    name="web-app",
    sha256="a" * 64,
    shown="sk-gw-12",
    created=1_800_000_000.5,
    expires=1_900_000_000.0,
    settings={"models": ["gpt-*"], "budget": {"usd": 50, "every": "day"}},
)


@pytest.fixture
def keys(database: Database) -> Keys:
    return Keys(database)


def test_a_key_is_kept_as_it_is(keys: Keys) -> None:
    added = keys.insert(WEB)
    assert keys.list() == [added]
    assert replace(added, version=0) == WEB


def test_every_change_is_noticed_by_asking_for_one_number(keys: Keys) -> None:
    seen = [keys.version()]
    added = keys.insert(WEB)
    seen.append(keys.version())
    keys.update(replace(added, shown="sk-gw-34"))
    seen.append(keys.version())
    keys.revoke("web-app", 1.0)
    seen.append(keys.version())
    assert seen == sorted(set(seen))


def test_asking_changes_nothing(keys: Keys) -> None:
    keys.insert(WEB)
    assert keys.version() == keys.version() == keys.list()[0].version


def test_a_change_by_one_replica_is_seen_by_another(keys: Keys, url: str) -> None:
    database = Database(Secret(url))
    other = Keys(database)
    before = other.version()
    keys.insert(WEB)
    assert other.version() != before
    keys.revoke("web-app", 5.0)
    assert other.list()[0].revoked == 5.0
    database.close()


def test_a_change_to_an_older_version_is_refused(keys: Keys) -> None:
    added = keys.insert(WEB)
    keys.update(replace(added, expires=None))
    with pytest.raises(Outdated):
        keys.update(replace(added, shown="mine"))
    assert keys.list()[0].shown == WEB.shown


def test_a_change_that_is_refused_is_no_change(keys: Keys) -> None:
    keys.insert(WEB)
    before = keys.version()
    with pytest.raises(Outdated):
        keys.update(replace(WEB, version=99))
    with pytest.raises(NameTaken):
        keys.insert(WEB)
    assert keys.version() == before


def test_of_many_changes_at_once_to_one_version_one_is_made(keys: Keys) -> None:
    added = keys.insert(WEB)

    def change(number: int) -> bool:
        try:
            keys.update(replace(added, shown=f"by {number}"))
        except Outdated:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(change, range(8))) == 1


def test_changes_at_once_to_several_keys_have_a_number_each(keys: Keys) -> None:
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda number: keys.insert(_named(number)), range(8)))
    assert len({key.version for key in made}) == 8


@pytest.mark.parametrize("change", [{"sha256": "b" * 64}, {"name": "other"}])
def test_neither_a_name_nor_a_key_is_given_twice(keys: Keys, change: dict[str, str]) -> None:
    keys.insert(WEB)
    with pytest.raises(NameTaken):
        keys.insert(replace(WEB, **change))  # type: ignore[arg-type]


def test_a_revoked_key_stays_in_the_list_and_its_name_taken(keys: Keys) -> None:
    keys.insert(WEB)
    assert keys.revoke("web-app", 5.0)
    assert not keys.revoke("web-app", 6.0)
    assert [key.revoked for key in keys.list()] == [5.0]
    with pytest.raises(NameTaken):
        keys.insert(replace(WEB, sha256="c" * 64))


def test_revoking_ends_the_key_that_was_replaced_too(keys: Keys) -> None:
    added = keys.insert(WEB)
    keys.update(replace(added, sha256="d" * 64, replaced_sha256=WEB.sha256, replaced_until=2e9))
    keys.revoke("web-app", 5.0)
    assert keys.list()[0].replaced_until is None


def test_a_key_that_is_printed_does_not_show_its_hash() -> None:
    assert "aaaa" not in repr(WEB)


def _named(number: int) -> VirtualKey:
    return replace(WEB, name=f"key-{number}", sha256=f"{number:064x}")
