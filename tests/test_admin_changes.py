"""Keys that are changed, by several people at once, and what the audit log has of it: with SQLite."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.admin.service import Declared, Keyring, Missing, NoDatabase, Nowhere, Over, Stale, Taken, patched
from gateway.admin.usage import done, page, sought
from gateway.admin.wanted import Unreadable
from gateway.config.resolve import loads
from gateway.core.deed import Actor, Change, Deed, Told
from gateway.core.ledger import Chosen
from gateway.core.secret import Secret
from gateway.core.virtual_key import VirtualKey
from gateway.store.audit import Audit
from gateway.store.database import Database
from gateway.store.keys import Keys
from tests.stores.books import NOON

SNAPSHOT = loads(
    """
providers: {openai: {type: openai, api_key: sk-0, models: [gpt-4o-mini, gpt-4o]}}
keys: [{name: web-app, key: a-key-of-the-file-1}]
""",
    name="gateway.yaml",
    environ={},
)
ROOT = Actor("api", "root", "10.0.0.1")
FULL = {
    "name": "ci",
    "models": ["gpt-4o"],
    "limits": {"requests_per_minute": 60, "tokens_per_minute": "1M"},
    "budget": {"usd": 5, "every": "day"},
    "expires": "2030-01-01T00:00:00.5Z",
}


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    found = Database(Secret(f"sqlite:///{tmp_path}/gateway.db"))
    found.prepare()
    yield found
    found.close()


@pytest.fixture
def ring(database: Database) -> Keyring:
    return Keyring(Keys(database), SNAPSHOT, lambda: float(NOON), ROOT)


def deeds(database: Database) -> list[Deed]:
    return Audit(database).newest(Told()).deeds


def test_only_what_is_named_is_changed(ring: Keyring) -> None:
    before = ring.create(FULL).listed.key
    after = ring.edit("ci", {"limits": {"tokens_per_minute": None, "concurrent_requests": 4}}).key
    assert before is not None
    assert after is not None
    assert after.limits == (60, None, 4)
    assert (after.budget, after.models, after.expires) == (before.budget, before.models, before.expires)


def test_a_field_that_is_null_is_taken_away(ring: Keyring) -> None:
    ring.create(FULL)
    key = ring.edit("ci", {"budget": None, "expires": None, "models": None}).key
    assert key is not None
    assert (key.budget, key.expires, key.models) == (None, None, ())


@pytest.mark.parametrize(
    ("patch", "path"),
    [
        ({"name": "other"}, "name"),
        ({"limit": {}}, "limit"),
        ({"models": ["gpt-5"]}, "models[0]"),
        ({"expires": "2020-01-01"}, "expires"),
        ({"limits": {"requests_per_minute": "many"}}, "limits.requests_per_minute"),
        ({"budget": {"usd": None}}, "budget"),
        ({"sha256": "0" * 64}, "sha256"),
    ],
)
def test_a_change_that_cannot_be_is_told_with_its_field(ring: Keyring, patch: dict[str, Any], path: str) -> None:
    ring.create(FULL)
    before = ring.get("ci")
    with pytest.raises(Unreadable) as refused:
        ring.edit("ci", patch)
    assert [fault.path for fault in refused.value.faults] == [path]
    assert ring.get("ci") == before


def test_a_change_of_what_somebody_else_has_changed_is_refused(ring: Keyring) -> None:
    version = ring.create(FULL).listed.version
    assert version is not None
    ring.edit("ci", {"priority": "low"}, {version})
    for change in (lambda: ring.edit("ci", {"priority": "high"}, {version}), lambda: ring.rotate("ci", 0, {version})):
        with pytest.raises(Stale):
            change()
    with pytest.raises(Stale):
        ring.revoke("ci", {version})
    assert [each.state for each in ring.list()] == ["valid", "valid"]


def test_of_two_changes_to_one_version_in_the_same_moment_one_is_refused(database: Database) -> None:
    class Interrupted(Keys):
        def update(self, key: Any, deed: Any = None) -> Any:
            super().update(self.list()[0])
            return super().update(key, deed)

    ring = Keyring(Interrupted(database), SNAPSHOT, lambda: float(NOON), ROOT)
    version = ring.create(FULL).listed.version
    with pytest.raises(Stale):
        ring.edit("ci", {"priority": "low"}, {version or 0})
    assert [deed.action for deed in deeds(database)] == ["key.create"]


def test_what_cannot_be_changed_is_said(ring: Keyring) -> None:
    with pytest.raises(Declared, match=r"declared in gateway\.yaml:3: change it there"):
        ring.edit("web-app", {})
    with pytest.raises(Missing, match="did you mean `web-app`"):
        ring.get("web-ap")
    ring.create(FULL)
    ring.revoke("ci")
    with pytest.raises(Over, match="was revoked on"):
        ring.edit("ci", {"priority": "low"})


def test_a_key_of_a_later_program_is_not_changed_by_halves(ring: Keyring, database: Database) -> None:
    later = VirtualKey(name="later", sha256="a" * 64, shown="sk-abc", created=1.0, settings={"regions": ["eu"]})
    Keys(database).insert(later)
    with pytest.raises(Over, match="cannot be read by this program: regions: is not a field here"):
        ring.edit("later", {"priority": "low"})


def test_without_a_database_keys_can_be_listed_and_not_be_made() -> None:
    ring = Keyring(Nowhere(), SNAPSHOT, lambda: float(NOON), ROOT)
    assert [each.name for each in ring.list()] == ["web-app"]
    with pytest.raises(NoDatabase, match="state:"):
        ring.create({"name": "ci"})


def test_every_change_has_its_entry_in_the_audit_log(ring: Keyring, database: Database) -> None:
    ring.create(FULL)
    ring.edit("ci", {"limits": {"requests_per_minute": 90}, "budget": None})
    ring.rotate("ci", 3600)
    ring.revoke("ci")
    found = deeds(database)
    assert [(deed.time, deed.actor, deed.subject) for deed in found] == [(NOON, ROOT, "ci")] * 4
    assert [deed.action for deed in found] == ["key.revoke", "key.rotate", "key.edit", "key.create"]
    assert found[2].changes == (
        Change("limits.requests_per_minute", 60, 90),
        Change("budget.usd", 5.0, None),
        Change("budget.every", "day", None),
    )


def test_a_change_that_is_refused_has_none(ring: Keyring, database: Database) -> None:
    ring.create(FULL)
    for change in (lambda: ring.create(FULL), lambda: ring.edit("ci", {"models": 1}), lambda: ring.revoke("web-app")):
        with pytest.raises((Taken, Unreadable, Declared)):
            change()
    ring.revoke("ci")
    with pytest.raises(Over):
        ring.revoke("ci")
    assert [deed.action for deed in deeds(database)] == ["key.revoke", "key.create"]


def test_no_key_is_in_the_audit_log(ring: Keyring, database: Database) -> None:
    keys = [ring.create(FULL).key.reveal(), ring.rotate("ci", 0).key.reveal()]
    told = repr(deeds(database))
    assert not any(key[9:] in told for key in keys)


def test_a_question_names_what_cannot_be_understood() -> None:
    with pytest.raises(Unreadable) as refused:
        sought(NOON, outcome="bad", status="many", since="2027-01-02", until="2027-01-01")
    assert [fault.path for fault in refused.value.faults] == ["outcome", "status", "until"]
    with pytest.raises(Unreadable):
        done(NOON, since="soon")
    for limit in ("0", "1001", "x"):
        with pytest.raises(Unreadable):
            page(lambda asked, most, cursor: most, None, limit, None)
    assert sought(NOON, key="ci", status="429", outcome="limited") == Chosen("ci", outcome="limited", status=429)


json = st.recursive(
    st.none() | st.integers(0, 2) | st.text("ab", max_size=1),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)
objects = st.dictionaries(st.sampled_from("abc"), json, max_size=3)


@given(objects, objects)
def test_a_merge_patch_that_is_applied_again_changes_nothing_more(said: dict[str, Any], patch: dict[str, Any]) -> None:
    once = patched(said, patch)
    assert patched(once, patch) == once
    assert all(once.get(name) == value for name, value in patch.items() if not isinstance(value, dict))
    assert all(once[name] == value for name, value in said.items() if name not in patch)


def test_a_merge_patch_does_what_its_rfc_shows() -> None:
    said = {"a": "b", "c": {"d": "e", "f": "g"}, "l": [1, None]}
    assert patched(said, {"a": "z", "c": {"f": None}}) == {"a": "z", "c": {"d": "e"}, "l": [1, None]}
    assert patched({"a": [{"b": "c"}]}, {"a": {"bb": {"ccc": None}}}) == {"a": {"bb": {}}}
