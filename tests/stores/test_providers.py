"""Providers made at run time, whichever database they are in."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from gateway.core.deed import Actor, Deed, Told
from gateway.core.made_provider import KeptTest, MadeProvider
from gateway.core.secret import Secret
from gateway.store.audit import Audit
from gateway.store.database import Database
from gateway.store.errors import NameTaken, Outdated
from gateway.store.keys import Keys
from gateway.store.providers import Providers

NOW = 1_800_000_000.5
CLAUDE = MadeProvider("claude", NOW, NOW, {"type": "anthropic", "models": ["claude-*"]}, {"api_key": '{"v":1}'})
DEED = Deed(NOW, Actor("api", "root", "127.0.0.1"), "provider.create", "claude")
TEST = KeptTest(NOW, {"error": "", "latency_ms": 12.5, "models": ["claude-1"]})


@pytest.fixture
def providers(database: Database) -> Providers:
    return Providers(database)


def test_a_provider_is_kept_as_it_is(providers: Providers) -> None:
    added = providers.insert(CLAUDE)
    assert providers.list() == [added]
    assert replace(added, version=0) == CLAUDE


def test_every_change_is_noticed_by_asking_for_one_number(providers: Providers) -> None:
    seen = [providers.version()]
    added = providers.insert(CLAUDE)
    seen.append(providers.version())
    changed = providers.update(replace(added, settings={}))
    seen.append(providers.version())
    providers.delete(changed)
    seen.append(providers.version())
    assert seen == sorted(set(seen))
    assert providers.list() == []


def test_a_change_of_a_provider_is_none_of_the_keys(providers: Providers, database: Database) -> None:
    before = Keys(database).version()
    providers.insert(CLAUDE)
    assert Keys(database).version() == before


def test_a_change_by_one_replica_is_seen_by_another(providers: Providers, url: str) -> None:
    database = Database(Secret(url))
    added = providers.insert(CLAUDE)
    assert Providers(database).list() == [added]
    database.close()


def test_a_change_to_an_older_version_is_refused_and_leaves_no_entry(providers: Providers, database: Database) -> None:
    added = providers.insert(CLAUDE)
    newer = providers.update(added)
    for change in (providers.update, providers.delete, providers.reseal):
        with pytest.raises(Outdated):
            change(added, DEED)
    assert providers.list() == [newer]
    assert Audit(database).newest(Told()).deeds == []


def test_of_many_changes_at_once_to_one_version_one_is_made(providers: Providers) -> None:
    added = providers.insert(CLAUDE)

    def change(number: int) -> bool:
        try:
            providers.update(replace(added, settings={"by": number}))
        except Outdated:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(change, range(8))) == 1


def test_a_name_is_taken_until_its_provider_is_deleted(providers: Providers) -> None:
    added = providers.insert(CLAUDE)
    with pytest.raises(NameTaken):
        providers.insert(CLAUDE)
    providers.delete(added)
    assert providers.insert(CLAUDE).version > added.version


def test_a_change_and_its_entry_in_the_audit_log_are_one(providers: Providers, database: Database) -> None:
    added = providers.insert(CLAUDE, DEED)
    providers.delete(added, DEED._replace(action="provider.delete"))
    assert [deed.action for deed in Audit(database).newest(Told()).deeds] == ["provider.delete", "provider.create"]


def test_the_last_test_is_kept_of_any_provider_and_is_no_change(providers: Providers) -> None:
    version = providers.version()
    providers.keep_test("declared", TEST)
    providers.keep_test("declared", replace(TEST, at=NOW + 1))
    assert providers.tests() == {"declared": replace(TEST, at=NOW + 1)}
    assert providers.version() == version


def test_a_test_of_what_has_changed_since_is_not_kept(providers: Providers) -> None:
    added = providers.insert(CLAUDE)
    changed = providers.update(replace(added, settings={}))
    providers.keep_test("claude", TEST, added.version)
    assert providers.tests() == {}
    providers.keep_test("claude", TEST, changed.version)
    assert providers.tests() == {"claude": TEST}
    providers.delete(changed)
    providers.keep_test("claude", TEST, changed.version)
    assert providers.tests() == {}


def test_tests_that_end_at_once_are_kept(providers: Providers) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: providers.keep_test("claude", replace(TEST, at=NOW + number)), range(8)))
    assert list(providers.tests()) == ["claude"]


def test_what_a_test_has_shown_is_forgotten_when_the_provider_changes(providers: Providers) -> None:
    added = providers.insert(CLAUDE)
    providers.keep_test("claude", TEST)
    providers.reseal(added, DEED)
    assert providers.tests() == {"claude": TEST}
    (added,) = providers.list()
    providers.update(added)
    assert providers.tests() == {}


def test_a_provider_that_is_printed_does_not_show_its_envelopes() -> None:
    assert '"v"' not in repr(CLAUDE)
