"""The audit log, whichever database it is in."""

from __future__ import annotations

import pytest

from gateway.core.deed import Actor, Change, Deed, Told, changes
from gateway.core.virtual_key import VirtualKey
from gateway.store.audit import Audit
from gateway.store.database import Database
from gateway.store.errors import NameTaken, Outdated
from gateway.store.keys import Keys
from tests.stores.books import NOON

ROOT = Actor("api", "root", "10.0.0.1")
ONE = Deed(
    NOON + 0.25, ROOT, "key.edit", "ci", (Change("limits.tokens_per_minute", None, 5), Change("models", [], ["a"]))
)
KEY = VirtualKey(name="ci", sha256="a" * 64, shown="sk-abc", created=float(NOON))


@pytest.fixture
def audit(database: Database) -> Audit:
    return Audit(database)


def named(subject: str, who: str = "root", action: str = "key.edit", after: float = 0) -> Deed:
    return Deed(NOON + after, Actor("cli", who), action, subject)


def test_an_entry_is_kept_as_it_is(audit: Audit) -> None:
    audit.note(ONE)
    assert audit.newest(Told()) == ([ONE], None)


def test_pages_neither_repeat_nor_leave_out_an_entry_whatever_is_added(audit: Audit) -> None:
    for number in range(5):
        audit.note(named(str(number)))
    first = audit.newest(Told(), 2)
    audit.note(named("new"))
    second = audit.newest(Told(), 2, first.cursor)
    third = audit.newest(Told(), 2, second.cursor)
    assert [deed.subject for found in (first, second, third) for deed in found.deeds] == ["4", "3", "2", "1", "0"]
    assert third.cursor is None


@pytest.mark.parametrize(
    ("told", "found"),
    [
        (Told(who="root"), ["a", "b"]),
        (Told(action="key.revoke"), ["b"]),
        (Told(subject="c"), ["c"]),
        (Told(since=NOON + 10.0), ["c", "b"]),
        (Told(until=NOON + 10.0), ["a"]),
        (Told(who="root", subject="c"), []),
    ],
)
def test_entries_are_found_by_who_what_and_when(audit: Audit, told: Told, found: list[str]) -> None:
    audit.note(named("a"))
    audit.note(named("b", action="key.revoke", after=10))
    audit.note(named("c", who="ops", after=20))
    assert sorted(deed.subject for deed in audit.newest(told).deeds) == sorted(found)


@pytest.mark.parametrize("cursor", ["", "x", "-1", "1.5", "9" * 30, "\u0661"])
def test_a_cursor_of_somebody_elses_making_is_refused(audit: Audit, cursor: str) -> None:
    with pytest.raises(ValueError):
        audit.newest(Told(), cursor=cursor)


def test_a_change_and_its_entry_are_kept_together_or_not_at_all(audit: Audit, database: Database) -> None:
    keys = Keys(database)
    made = keys.insert(KEY, named("made"))
    with pytest.raises(NameTaken):
        keys.insert(KEY, named("made again"))
    keys.update(made, named("changed"))
    with pytest.raises(Outdated):
        keys.update(made, named("changed by another"))
    assert keys.revoke("ci", 1.0, named("revoked"))
    assert not keys.revoke("ci", 1.0, named("revoked again"))
    assert [deed.subject for deed in audit.newest(Told()).deeds] == ["revoked", "changed", "made"]


def test_what_is_different_is_told_by_its_name_and_nothing_else() -> None:
    before = {"models": ["a"], "limits": {"requests_per_minute": 1, "concurrent_requests": 2}}
    after = {"models": ["a"], "limits": {"requests_per_minute": 3}, "priority": "low"}
    assert changes(before, after) == (
        Change("limits.requests_per_minute", 1, 3),
        Change("limits.concurrent_requests", 2, None),
        Change("priority", None, "low"),
    )
