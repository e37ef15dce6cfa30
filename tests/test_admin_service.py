"""What can be done with keys, and asked of the ledger: with a database of SQLite, as the command line has it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import orjson
import pytest

from gateway.admin import views
from gateway.admin.moments import asked, iso, told
from gateway.admin.overlay import merged
from gateway.admin.service import (
    Changed,
    Declared,
    Keyring,
    Listed,
    Made,
    Missing,
    NotDone,
    Over,
    Taken,
)
from gateway.admin.usage import question, usage
from gateway.admin.wanted import Unreadable
from gateway.config.resolve import loads_all
from gateway.core.deed import Actor, Deed
from gateway.core.errors import Unauthorized
from gateway.core.ledger import Chosen
from gateway.core.secret import Secret
from gateway.core.virtual_key import VirtualKey
from gateway.policy.access import admit
from gateway.store.database import Database
from gateway.store.errors import Outdated
from gateway.store.keys import Keys
from gateway.store.ledger import Ledger
from tests.stores.books import NOON, call

LOADED = loads_all(
    """
providers: {openai: {type: openai, api_key: sk-0, models: [gpt-4o-mini]}}
keys:
  - {name: web-app, key: a-key-of-the-file-1}
  - {name: old, key: a-key-of-the-file-2, expires: 2020-01-01}
""",
    name="gateway.yaml",
    environ={},
)

HOUR = 3600.0

ROOT = Actor("api", "root", "10.0.0.1")


class Clock:
    """The time that a test sets."""

    now = float(NOON)

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    found = Database(Secret(f"sqlite:///{tmp_path}/gateway.db"))
    found.prepare()
    yield found
    found.close()


@pytest.fixture
def keys(database: Database) -> Keys:
    return Keys(database)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ring(keys: Keys, clock: Clock) -> Keyring:
    return Keyring(keys, LOADED.snapshot, clock, ROOT)


def lets_in(keys: Keys, made: Made, now: float) -> bool:
    """Whether a gateway that has looked into the database takes the key."""
    try:
        return bool(admit(merged(LOADED.snapshot, keys.list(), now).keys, made.key.reveal().encode(), now))
    except Unauthorized:
        return False


def listed(ring: Keyring, name: str) -> Listed:
    return next(each for each in ring.list() if each.name == name)


def test_a_key_that_was_made_lets_its_holder_in(ring: Keyring, keys: Keys, clock: Clock) -> None:
    assert lets_in(keys, ring.create({"name": "ci"}), clock.now)


def test_a_key_is_256_bits_of_chance_in_characters_that_every_client_can_send(ring: Keyring) -> None:
    made = [ring.create({"name": f"ci-{number}"}).key.reveal() for number in range(20)]
    assert all(re.fullmatch(r"sk-[0-9A-Za-z]{43}", key) for key in made)
    assert len(set(made)) == 20


def test_the_key_itself_is_nowhere_in_the_database(ring: Keyring, database: Database, tmp_path: Path) -> None:
    key = ring.create({"name": "ci"}).key.reveal()
    database.close()
    content = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert sha256(key.encode()).hexdigest().encode() in content
    assert key[:9].encode() in content
    assert key[:10].encode() not in content


@pytest.mark.parametrize("name", ["web-app", "ci", "gone"])
def test_a_name_is_never_given_twice(ring: Keyring, name: str) -> None:
    ring.create({"name": "ci"})
    ring.create({"name": "gone"})
    ring.revoke("gone")
    with pytest.raises(Taken, match=f"There is a key `{name}` already"):
        ring.create({"name": name})


def test_what_the_file_declares_is_changed_there(ring: Keyring) -> None:
    for change in (lambda: ring.rotate("web-app", 0), lambda: ring.revoke("web-app")):
        with pytest.raises(Declared, match=r"is declared in gateway\.yaml:4: change it there"):
            change()


def test_a_name_that_is_not_there_is_told_with_the_one_that_was_meant(ring: Keyring) -> None:
    ring.create({"name": "production"})
    with pytest.raises(Missing, match=r"no key `prodution` \(did you mean `production`\?\)"):
        ring.revoke("prodution")
    with pytest.raises(Missing):
        ring.rotate("prodution", 0)


def test_the_list_has_the_keys_of_the_file_and_those_of_the_database(ring: Keyring, clock: Clock) -> None:
    made = ring.create({"name": "ci", "models": ["gpt-4o-mini"], "expires": "2027-02-01"})
    web, old, ci = ring.list()
    assert [(each.name, each.state, each.place) for each in (web, old, ci)] == [
        ("web-app", "valid", "gateway.yaml:4"),
        ("old", "expired", "gateway.yaml:5"),
        ("ci", "valid", None),
    ]
    assert (ci.shown, ci.created) == (made.key.reveal()[:9], clock.now)
    clock.now = asked("2027-02-01", 0)
    assert listed(ring, "ci").state == "expired"


def test_a_rotated_key_keeps_its_name_and_limits(ring: Keyring) -> None:
    first = ring.create({"name": "ci", "limits": {"requests_per_minute": 6}})
    second = ring.rotate("ci", HOUR)
    assert second.key != first.key
    assert second.listed.key is not None
    assert second.listed.key.limits.requests == 6


def test_the_old_key_is_valid_until_the_overlap_is_over(ring: Keyring, keys: Keys, clock: Clock) -> None:
    first, second = ring.create({"name": "ci"}), ring.rotate("ci", HOUR)
    assert [lets_in(keys, made, clock.now + HOUR - 1) for made in (first, second)] == [True, True]
    assert [lets_in(keys, made, clock.now + HOUR) for made in (first, second)] == [False, True]
    assert second.listed.previous_until == clock.now + HOUR
    clock.now += HOUR
    assert listed(ring, "ci").previous_until is None


def test_without_an_overlap_the_old_key_ends_at_once(ring: Keyring, keys: Keys, clock: Clock) -> None:
    first, second = ring.create({"name": "ci"}), ring.rotate("ci", 0)
    assert [lets_in(keys, made, clock.now) for made in (first, second)] == [False, True]
    assert second.listed.previous_until is None


def test_an_overlap_is_not_longer_than_the_key_lives(ring: Keyring, clock: Clock) -> None:
    ring.create({"name": "ci", "expires": iso(clock.now + 60)})
    assert ring.rotate("ci", HOUR).listed.previous_until == clock.now + 60


def test_a_revoked_key_is_refused_and_stays_in_the_list(ring: Keyring, keys: Keys, clock: Clock) -> None:
    first, second = ring.create({"name": "ci"}), ring.rotate("ci", HOUR)
    assert ring.revoke("ci").state == "revoked"
    assert [lets_in(keys, made, clock.now) for made in (first, second)] == [False, False]
    assert (listed(ring, "ci").state, listed(ring, "ci").revoked) == ("revoked", clock.now)


def test_what_is_over_is_neither_rotated_nor_revoked_again(ring: Keyring, clock: Clock) -> None:
    ring.create({"name": "ci"})
    ring.create({"name": "short", "expires": iso(clock.now + 60)})
    ring.revoke("ci")
    clock.now += 60
    for change in (lambda: ring.rotate("ci", 0), lambda: ring.revoke("ci")):
        with pytest.raises(Over, match="was revoked on 2027-01-15 12:00 UTC"):
            change()
    with pytest.raises(Over, match="expired on 2027-01-15 12:01 UTC"):
        ring.rotate("short", 0)
    assert ring.revoke("short").state == "revoked"


def test_of_two_who_rotate_a_key_at_once_one_is_told_to_look_again(keys: Keys, clock: Clock) -> None:
    class Interrupted:
        """The store, but that somebody else is quicker with every change."""

        def list(self) -> list[VirtualKey]:
            return keys.list()

        def insert(self, key: VirtualKey, deed: Deed) -> VirtualKey:
            return keys.insert(key, deed)

        def update(self, key: VirtualKey, deed: Deed) -> VirtualKey:
            keys.update(replace(keys.list()[0], shown="theirs"))
            return keys.update(key, deed)

        def revoke(self, name: str, at: float, deed: Deed) -> bool:
            return keys.revoke(name, at, deed)

    ring = Keyring(Interrupted(), LOADED.snapshot, clock, ROOT)
    ring.create({"name": "ci"})
    with pytest.raises(Changed, match="just now; look at it again"):
        ring.rotate("ci", 0)
    assert keys.list()[0].shown == "theirs"


def test_a_key_that_the_file_has_got_since_is_shadowed(ring: Keyring, keys: Keys) -> None:
    keys.insert(VirtualKey(name="web-app", sha256="a" * 64, shown="sk-abc", created=1.0))
    assert [each.state for each in ring.list() if each.name == "web-app"] == ["valid", "shadowed"]


def test_a_key_that_cannot_be_read_is_listed_as_such_and_can_be_revoked(ring: Keyring, keys: Keys) -> None:
    keys.insert(VirtualKey(name="ci", sha256="a" * 64, shown="sk-abc", created=1.0, settings={"later": True}))
    found = listed(ring, "ci")
    assert (found.state, found.key, views.of_key(found)["models"]) == ("unreadable", None, None)
    assert ring.revoke("ci").state == "revoked"


def test_only_who_makes_a_key_is_shown_it(ring: Keyring) -> None:
    made = ring.create({"name": "ci"})
    key = made.key.reveal()
    assert views.of_made(made)["key"] == key
    assert key not in orjson.dumps([views.of_key(each) for each in ring.list()]).decode() + repr(made)


def test_every_error_is_a_whole_sentence() -> None:
    known = {"Missing", "Declared", "Taken", "Over", "Changed", "Stale", "NoDatabase"}
    assert known <= {error.__name__ for error in NotDone.__subclasses__()}
    assert not issubclass(Outdated, NotDone)


# Usage


@pytest.fixture
def ledger(database: Database) -> Ledger:
    return Ledger(database)


def test_usage_adds_up_to_its_total_exactly(ledger: Ledger) -> None:
    ledger.write([call(str(number), key=f"k{number % 3}", cost_micros=10**12 + number) for number in range(10)])
    found = usage(ledger, "key", Chosen())
    assert found.total.spent.cost_micros == 10**13 + 45
    assert found.total.spent[1:] == tuple(map(sum, zip(*(line.spent[1:] for line in found.lines), strict=True)))
    assert views.of_usage(found)["total"]["cost_usd"] == "10000000.000045"


def test_usage_of_nothing_is_nothing(ledger: Ledger) -> None:
    found = usage(ledger, "key", Chosen())
    assert (found.lines, set(found.total.spent[1:]), found.total.errors) == ([], {0}, 0)


def test_calls_that_did_not_end_well_are_counted_apart(ledger: Ledger) -> None:
    outcomes = ["ok", "ok", "client_error", "limited", "upstream_error", "truncated", "cancelled"]
    ledger.write([call(outcome + str(at), outcome=outcome) for at, outcome in enumerate(outcomes)])
    (line,) = usage(ledger, "key", Chosen()).lines
    assert (line.spent.calls, line.errors) == (7, 5)


def test_a_cost_of_which_nothing_is_known_is_null_and_never_0(ledger: Ledger) -> None:
    ledger.write([call("1", model="unknown", cost_micros=None), call("2", model="free", cost_micros=0)])
    found = views.of_usage(usage(ledger, "model", Chosen()))
    assert {line["model"]: line["cost_usd"] for line in found["lines"]} == {"unknown": None, "free": "0.000000"}
    assert (found["lines"][1]["cost_micros"] is None) is (found["lines"][1]["model"] == "unknown")


def test_the_period_is_told_in_the_whole_hours_that_were_summed(ledger: Ledger) -> None:
    ledger.write([call("early", after=-60), call("in", after=10), call("late", after=HOUR + 60)])
    found = usage(ledger, "key", Chosen(since=NOON + 5.0, until=NOON + 30.0))
    assert (found.since, found.until, found.total.spent.calls) == (NOON, NOON + HOUR, 1)


def test_times_are_dates_or_how_long_ago() -> None:
    by, chosen = question("day", NOON, since="7d", until="2027-01-15", key="ci", model=None)
    assert (by, chosen) == ("day", Chosen(key="ci", since=NOON - 7 * 24 * HOUR, until=NOON - 12 * HOUR))


@pytest.mark.parametrize(
    ("asked", "path"),
    [
        ({"by": "colour"}, "by"),
        ({"since": "recently"}, "since"),
        ({"until": "7"}, "until"),
        ({"since": "1h", "until": "2h"}, "until"),
        ({"since": "2027-01-01", "until": "2027-01-01"}, "until"),
    ],
)
def test_a_question_that_cannot_be_understood_is_told_with_its_field(asked: dict[str, str], path: str) -> None:
    with pytest.raises(Unreadable) as refused:
        question(**{"by": "key", **asked}, now=NOON)
    assert [fault.path for fault in refused.value.faults] == [path]


def test_moments_are_written_as_they_are_read() -> None:
    for moment in (0.0, NOON + 1.0, NOON - 12 * HOUR):
        assert asked(iso(moment), 0) == moment
    assert (iso(NOON - 12 * HOUR), told(NOON)) == ("2027-01-15", "2027-01-15 12:00 UTC")
