"""What people do to providers at run time, with a real database, real encryption and a simulated provider."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import AsyncIterator, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args, get_type_hints

import orjson
import pytest

from gateway.admin.provider_list import of_provider
from gateway.admin.providers import InUse, Look, Roster
from gateway.admin.service import Changed, Declared, Missing, Stale, Taken
from gateway.admin.wanted import Unreadable
from gateway.admin.wanted_provider import HEADERS, SECRETS
from gateway.app.upstreams import look
from gateway.config.resolve import Loaded, loads_all
from gateway.config.snapshot import Provider
from gateway.config.spec import ProviderSpec
from gateway.core.deed import Actor, Deed
from gateway.core.secret import Secret
from gateway.simulator.server import Simulator
from gateway.store.database import Database
from gateway.store.envelope import LocalKey, Vault
from gateway.store.providers import Providers
from gateway.store.sealed import NoKey
from gateway.upstream.diagnosis import Check

NOW = 1_800_000_000.0
KEY = "sk-canary-of-the-test-suite"
OPENAI = {"name": "openai", "type": "openai", "api_key": KEY, "models": ["gpt-4o"]}

LOADED = loads_all(
    """
providers:
  here: {type: echo, models: [echo]}
  mistral: {type: mistral, api_key: sk-of-the-file-1, enabled: false}
aliases: {fast: echo}
""",
    name="g.yaml",
    environ={},
)


class House:
    """One database, and those who work with it."""

    def __init__(self, database: Database) -> None:
        self.store = Providers(database)
        self.vault = Vault(LocalKey(Secret(b64encode(bytes(32)).decode())))
        self.deeds: list[Deed] = []

    def roster(
        self,
        vault: Vault | None = None,
        loaded: Loaded = LOADED,
        resolved: str = "93.184.216.34",
        look: Look = look,
    ) -> Roster:
        return Roster(
            self.store,
            vault or self.vault,
            loaded,
            now=lambda: NOW,
            actor=Actor("api", "root"),
            look=look,
            noted=self.deeds.append,
            resolve=lambda host: [resolved],
        )


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    database = Database(Secret(f"sqlite:///{tmp_path}/gateway.db"))
    database.prepare()
    yield House(database)
    database.close()


@pytest.fixture
def roster(house: House) -> Roster:
    return house.roster()


@pytest.fixture
async def upstream() -> AsyncIterator[Simulator]:
    async with Simulator(api_key=KEY) as running:
        yield running


def shown(roster: Roster, name: str) -> Any:
    """As whoever asks for it gets it."""
    return orjson.loads(orjson.dumps(of_provider(roster.get(name))))


def test_a_provider_that_was_made_is_listed_after_those_of_the_file_and_never_shows_its_key(roster: Roster) -> None:
    roster.create({**OPENAI, "headers": {"X-Tenant": KEY}, "organization": "org-canary"})
    assert [(each.name, each.state, each.place) for each in roster.list()] == [
        ("here", "active", "g.yaml:3"),
        ("mistral", "inactive", "g.yaml:4"),
        ("openai", "active", None),
    ]
    told = shown(roster, "openai")
    assert told["secrets"] == ["api_key", "organization", "headers.x-tenant"]
    assert (told["type"], told["models"], told["declared"]) == ("openai", ["gpt-4o"], "database")
    everything = repr(roster.list()) + str([of_provider(each) for each in roster.list()])
    for secret in (KEY, "org-canary", "sk-of-the-file-1"):
        assert secret not in everything


def test_nothing_of_a_secret_is_in_the_database_or_in_the_audit_log(house: House, tmp_path: Path) -> None:
    house.roster().create({**OPENAI, "headers": {"X-Tenant": KEY}, "proxy": "http://u:canary@proxy:3128"})
    house.roster().edit("openai", {"api_key": f"{KEY}-2", "base_url": "https://x.example/v1"} | MOVED)
    written = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert b"openai" in written
    for secret in (KEY, "canary"):
        assert secret.encode() not in written
        assert secret not in repr(house.deeds)


MOVED = {"headers": {"X-Tenant": KEY}, "proxy": "http://u:canary@proxy:3128"}


def test_the_audit_log_has_what_changed_and_that_a_secret_was_set_anew(house: House) -> None:
    house.roster().create(OPENAI)
    house.roster().edit("openai", {"enabled": False, "api_key": "sk-other"})
    house.roster().delete("openai")
    assert [(deed.action, deed.actor.name) for deed in house.deeds] == [
        ("provider.create", "root"),
        ("provider.edit", "root"),
        ("provider.delete", "root"),
    ]
    assert [tuple(change) for change in house.deeds[1].changes] == [
        ("enabled", None, False),
        ("api_key", "set", "set anew"),
    ]


async def test_an_edit_without_the_secret_keeps_it(roster: Roster, upstream: Simulator) -> None:
    roster.create({**OPENAI, "base_url": upstream.url})
    changed = roster.edit("openai", {"models": [], "send_user_id": True, "headers": {"X-A": "1"}})
    assert (changed.secrets, changed.settings["send_user_id"]) == (("api_key", "headers.x-a"), True)
    roster.edit("openai", {"headers": {"x-A": None}})
    assert roster.get("openai").secrets == ("api_key",)
    assert (await roster.test("openai")).found["credentials"] == "valid"


def test_a_secret_is_taken_out_by_null(roster: Roster) -> None:
    roster.create({**OPENAI, "organization": "org-1"})
    assert roster.edit("openai", {"organization": None}).secrets == ("api_key",)
    with pytest.raises(Unreadable, match="api_key: is needed by the type openai"):
        roster.edit("openai", {"api_key": None})


MOVES = [
    {"base_url": "https://evil.example/v1"},
    {"type": "openai_compatible", "base_url": "https://evil.example/v1"},
    {"proxy": "http://evil.example:3128"},
]


@pytest.mark.parametrize("move", MOVES, ids=lambda move: "+".join(move))
def test_who_may_edit_cannot_have_the_key_sent_to_a_server_of_their_own(roster: Roster, move: dict[str, Any]) -> None:
    roster.create(OPENAI)
    with pytest.raises(Unreadable, match="api_key: must be given again") as refused:
        roster.edit("openai", move)
    assert [fault.path for fault in refused.value.faults] == ["api_key"]
    assert set(roster.edit("openai", {**move, "api_key": "sk-mine"}).settings) >= set(move) - {"proxy"}


WRONG: list[tuple[dict[str, Any], str, str]] = [
    ({"type": "opnai"}, "type", "there is no type `opnai` (did you mean `openai`?)"),
    ({"type": None}, "", "`type` is missing"),
    ({"api_key": None}, "api_key", "is needed by the type openai"),
    ({"api_key": "a\nb"}, "api_key", "holds a character that a header cannot carry"),
    ({"apikey": "x"}, "apikey", "is not a field here (did you mean `api_key`?)"),
    ({"base_url": "ftp://x"}, "base_url", "is not a URL that begins with http:// or https://"),
    ({"base_url": "https://u:p@x/v1"}, "base_url", "credentials belong into api_key"),
    ({"base_url": "http://169.254.169.254/latest"}, "base_url", "no provider's"),
    ({"proxy": "http://2852039166:80"}, "proxy", "no provider's"),
    ({"region": "us-east-1"}, "region", "means nothing to the type openai"),
    ({"models": "all"}, "models", "must be a list"),
    ({"models": ["echo"]}, "models[0]", "`echo` is published twice; providers.here.models[0] (line 3)"),
    ({"models": ["fast"]}, "", "aliases.fast is the name of a model already"),
    ({"enabled": "maybe"}, "enabled", "is not true or false"),
    ({"headers": {"Host": "x"}}, "headers.Host", "is a header that the gateway writes itself"),
    ({"ca_file": "/etc/passwd"}, "ca_file", "cannot be given"),
    ({"type": "bedrock", "region": "us-east-1", "profile": "root"}, "profile", "cannot be given"),
    ({"base_url": "file:/etc/passwd"}, "base_url", "cannot be taken from a file here"),
    ({"name": "a b"}, "name", "is not a name"),
    ({"name": None}, "name", "is missing"),
    ({"name": 5}, "name", "must be text"),
]


@pytest.mark.parametrize(("asked", "path", "words"), WRONG, ids=[f"{path}: {words}" for _, path, words in WRONG])
def test_what_cannot_be_is_said_with_its_field(roster: Roster, asked: dict[str, Any], path: str, words: str) -> None:
    with pytest.raises(Unreadable) as refused:
        roster.create({**OPENAI, **asked})
    faults = {fault.path: fault.message for fault in refused.value.faults}
    assert words in faults[path]
    assert KEY not in str(refused.value)
    assert len(roster.list()) == 2


def test_the_environment_cannot_be_asked_for(roster: Roster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "hunter2")
    made = roster.create({**OPENAI, "base_url": "https://x.example/${SECRET}"})
    assert made.settings["base_url"] == "https://x.example/${SECRET}"


def test_a_name_that_resolves_to_a_metadata_service_is_refused(house: House) -> None:
    roster = house.roster(resolved="169.254.169.254")
    with pytest.raises(Unreadable, match=r"base_url: .* metadata service"):
        roster.create({**OPENAI, "base_url": "https://innocent.example/v1"})


def test_what_the_file_declares_is_changed_there(roster: Roster) -> None:
    with pytest.raises(Taken, match=r"already, declared in g\.yaml:3"):
        roster.create({**OPENAI, "name": "here"})
    with pytest.raises(Declared, match=r"is declared in g\.yaml:4: change it there"):
        roster.edit("mistral", {"enabled": True})
    with pytest.raises(Declared, match=r"g\.yaml:4"):
        roster.delete("mistral")


def test_what_another_one_publishes_that_was_made_is_taken_too(roster: Roster) -> None:
    roster.create(OPENAI)
    with pytest.raises(Unreadable, match=r"models\[1\]: `gpt-4o` is published twice; providers\.openai\.models\[0\]"):
        roster.create({**OPENAI, "name": "other", "models": ["o3", "gpt-4o"]})
    roster.create({**OPENAI, "name": "other", "models": ["o3"]})
    with pytest.raises(Unreadable, match="`o3` is published twice"):
        roster.edit("openai", {"models": ["o3"]})
    assert roster.edit("openai", {"models": ["gpt-4o", "o1"]}).settings["models"] == ["gpt-4o", "o1"]


def test_a_name_is_given_once_and_a_wrong_one_is_put_right(roster: Roster) -> None:
    roster.create(OPENAI)
    with pytest.raises(Taken):
        roster.create(OPENAI)
    with pytest.raises(Missing, match=r"did you mean `openai`\?"):
        roster.get("opnai")
    with pytest.raises(Unreadable, match="name: cannot be changed"):
        roster.edit("openai", {"name": "other"})


def test_who_has_seen_an_older_version_changes_nothing(roster: Roster) -> None:
    seen = roster.create(OPENAI).version
    assert seen is not None
    newer = roster.edit("openai", {"send_user_id": True}, [seen]).version
    with pytest.raises(Stale):
        roster.edit("openai", {"send_user_id": False}, [seen])
    with pytest.raises(Stale):
        roster.delete("openai", [seen])
    assert roster.get("openai").version == newer


def test_of_two_edits_in_one_moment_one_is_told_so(house: House) -> None:
    house.roster().create(OPENAI)
    (row,) = house.store.list()

    class Hasty(Vault):
        def seal(self, *sealed: Any) -> str:
            house.store.update(row)
            return house.vault.seal(*sealed)

    with pytest.raises(Changed):
        house.roster(Hasty(LocalKey(Secret(b64encode(bytes(32)).decode())))).edit("openai", {"api_key": "sk-2"})


@pytest.mark.parametrize(
    ("models", "told"),
    [(["gpt-4o", "o3"], "`gpt-4o`, `o3`"), (["gpt-*"], r"`gpt-\*`"), ("discover", "all that it lists")],
)
def test_a_provider_that_a_model_uses_is_not_deleted(roster: Roster, models: Any, told: str) -> None:
    roster.create({**OPENAI, "models": models})
    with pytest.raises(InUse, match=f"serves {told}: take that out of its models"):
        roster.delete("openai")
    roster.edit("openai", {"enabled": False})
    roster.delete("openai")
    assert len(roster.list()) == 2


def test_without_an_encryption_key_only_what_has_no_secret_is_made(house: House) -> None:
    roster = house.roster(Vault())
    with pytest.raises(NoKey, match=r"admin\.encryption_key"):
        roster.create(OPENAI)
    assert roster.create({"name": "local", "type": "ollama", "models": ["llama3.2"]}).state == "active"


def test_one_whose_key_is_lost_is_listed_as_such_and_mended_by_giving_the_secret_again(house: House) -> None:
    house.roster().create(OPENAI)
    lost = house.roster(Vault(LocalKey(Secret(b64encode(bytes([1]) * 32).decode()))))
    assert (lost.get("openai").state, "admin.previous_encryption_keys" in lost.get("openai").why) == (
        "unreadable",
        True,
    )
    assert lost.edit("openai", {"api_key": KEY}).state == "active"


async def test_a_test_tells_and_keeps_what_it_has_seen(roster: Roster, upstream: Simulator) -> None:
    roster.create({**OPENAI, "base_url": upstream.url, "api_key": "sk-wrong", "models": []})
    await roster.test("openai")
    told = shown(roster, "openai")["test"]
    assert (told["ok"], told["reachable"], told["credentials"]) == (False, True, "refused")
    assert "the credentials were refused" in told["error"]
    assert "sk-wrong" not in str(told)
    roster.edit("openai", {"api_key": KEY})
    assert shown(roster, "openai")["test"] is None
    await roster.test("openai")
    told = shown(roster, "openai")["test"]
    assert (told["ok"], told["credentials"], told["at"]) == (True, "valid", "2027-01-15T08:00:00Z")
    assert told["latency_ms"] > 0
    assert len(told["models"]) > 0


async def test_what_a_test_has_seen_of_other_settings_is_not_kept(house: House) -> None:
    async def seen(provider: Provider, model: str | None) -> Check:
        house.roster().edit("openai", {"send_user_id": True})
        return Check(provider.name)

    house.roster().create(OPENAI)
    await house.roster(look=seen).test("openai")
    assert house.roster().get("openai").test is None


async def test_one_that_is_inactive_or_declared_is_tested_too(roster: Roster) -> None:
    roster.create({"name": "local", "type": "openai_compatible", "base_url": "http://127.0.0.1:1/v1", "enabled": False})
    for name in ("local", "here"):
        await roster.test(name)
    assert shown(roster, "local")["test"]["reachable"] is False
    assert shown(roster, "here")["test"]["ok"] is True
    with pytest.raises(Missing):
        await roster.test("nowhere")


async def test_models_are_discovered_before_anything_is_saved(roster: Roster, upstream: Simulator) -> None:
    found = await roster.discover({"type": "openai", "api_key": KEY, "base_url": upstream.url})
    assert (found.ok, bool(found.models)) == (True, True)
    with pytest.raises(Unreadable, match="base_url"):
        await roster.discover({"type": "openai_compatible", "base_url": "http://169.254.169.254"})
    assert (len(roster.list()), roster.list()[0].test) == (2, None)


async def test_what_else_is_configured_does_not_matter_to_a_look(house: House, upstream: Simulator) -> None:
    text = "server: {host: 0.0.0.0}\nproviders: {here: {type: echo, models: [m]}}\n"
    loaded = loads_all(text + "keys: [{name: k, key: a-key-of-the-file-1, models: [m]}]", name="g", environ={})
    roster = house.roster(loaded=loaded)
    asked = {"type": "openai", "api_key": KEY, "base_url": upstream.url, "models": ["m"]}
    assert (await roster.discover(asked)).ok
    roster.create({**asked, "name": "mine", "models": ["n"]})
    assert (await roster.models("mine")).found["models"]


def test_both_halves_of_an_aws_key_in_one_field_stay_readable(roster: Roster) -> None:
    pair = {"api_key": "AKIAIOSFODNN7EXAMPLE:secret", "session_token": "token"}
    assert roster.create({"name": "bedrock", "type": "bedrock", "region": "us-east-1", **pair}).state == "active"


async def test_a_test_holds_up_nobody(roster: Roster, upstream: Simulator) -> None:
    roster.create({**OPENAI, "base_url": upstream.url})
    tests = await asyncio.gather(*(roster.test("openai") for _ in range(4)))
    assert [test.found["error"] for test in tests] == [""] * 4


def test_every_field_that_is_secret_in_the_configuration_is_sealed() -> None:
    hints = get_type_hints(ProviderSpec, include_extras=True)
    secret = [field.name for field in fields(ProviderSpec) if "Secret" in repr(hints[field.name])]
    assert {*secret} == {*SECRETS, HEADERS}
    assert get_args(hints[HEADERS])


def test_one_that_the_file_declares_since_is_shown_as_shadowed(house: House) -> None:
    house.roster().create(OPENAI)
    later = loads_all("providers: {openai: {type: echo}}", name="g.yaml", environ={})
    assert [each.state for each in house.roster(loaded=later).list()] == ["active", "shadowed"]
