"""`gateway keys`, as people and scripts run it."""

from __future__ import annotations

import asyncio
import re
from hashlib import sha256
from pathlib import Path

import pytest

from gateway.core.secret import Secret
from gateway.core.virtual_key import VirtualKey
from gateway.store.database import Database
from gateway.store.keys import Keys
from tests.house.commands import Done, command
from tests.house.harness import gateway

CONFIGURATION = """\
state: {database: "sqlite:///gateway.db"}
providers: {openai: {type: openai, api_key: sk-0, models: [gpt-4o-mini]}}
keys:
  - {name: web-app, key: a-key-of-the-file-1, budget: {tokens: 10M, every: hour}}
"""

CI = VirtualKey(name="ci", sha256="a" * 64, shown="sk-abc", created=1_800_000_000.0)

KEY = re.compile(r"sk-[0-9A-Za-z]{43}")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "gateway.yaml").write_text(CONFIGURATION)
    return tmp_path


async def keys(folder: Path, *arguments: str) -> Done:
    return await command(folder, "keys", *arguments, "--config", "gateway.yaml")


def keep(folder: Path, key: VirtualKey) -> None:
    database = Database(Secret(f"sqlite:///{folder}/gateway.db"))
    database.prepare()
    Keys(database).insert(key)
    database.close()


def kept(folder: Path) -> list[VirtualKey]:
    database = Database(Secret(f"sqlite:///{folder}/gateway.db"))
    found = Keys(database).list()
    database.close()
    return found


FULL = (
    *("--models", "gpt-4o-mini,gpt-*", "--rpm", "600", "--tpm", "1M", "--concurrent", "40", "--budget-usd", "50"),
    *("--budget-tokens", "10M", "--every", "day", "--expires", "2100-01-01", "--priority", "low"),
)


async def test_a_key_is_printed_once_and_alone_where_scripts_take_it_from(folder: Path) -> None:
    done = await keys(folder, "create", "ci", *FULL)
    key = done.out.removesuffix("\n")
    assert (done.status, bool(KEY.fullmatch(key))) == (0, True)
    assert "This is the only time that it is shown" in done.err
    (made,) = kept(folder)
    assert made.sha256 == sha256(key.encode()).hexdigest()
    listed = await keys(folder, "list")
    limits = "600 requests a minute, 1,000,000 tokens a minute, 40 at once"
    assert key not in listed.out
    assert listed.lines == [
        "name key models limits budget expires state declared",
        "web-app - all - 10,000,000 tokens an hour - valid gateway.yaml:4",
        f"ci {key[:9]}... gpt-4o-mini, gpt-* {limits} $50 and 10,000,000 tokens a day 2100-01-01 valid database",
    ]


async def test_scripts_are_told_the_same_in_json(folder: Path) -> None:
    made = (await keys(folder, "create", "ci", *FULL, "--json")).json
    assert KEY.fullmatch(made["key"])
    _, row = (await keys(folder, "list", "--json")).json["keys"]
    assert {**row, "ok": True, "key": made["key"]} == made
    assert row["limits"] == {"requests_per_minute": 600, "tokens_per_minute": 1_000_000, "concurrent_requests": 40}
    assert row["budget"] == {"usd": 50.0, "tokens": 10_000_000, "every": "day"}
    assert (row["models"], row["expires"]) == (["gpt-4o-mini", "gpt-*"], "2100-01-01")
    assert (row["priority"], row["state"], row["declared"]) == ("low", "valid", "database")


async def test_a_rotated_key_is_a_new_one_and_it_is_told_how_long_the_old_one_is_valid(folder: Path) -> None:
    keep(folder, CI)
    done = await keys(folder, "rotate", "ci", "--overlap", "1h")
    (made,) = kept(folder)
    assert (done.status, made.sha256) == (0, sha256(done.out.strip().encode()).hexdigest())
    assert re.search(r"The key before it stays valid until \d{4}-\d\d-\d\d \d\d:\d\d UTC\.", done.err)
    assert "valid, and the key before it until" in (await keys(folder, "list")).out


async def test_a_revoked_key_is_over(folder: Path) -> None:
    keep(folder, CI)
    done = await keys(folder, "revoke", "ci")
    assert (done.status, done.out) == (0, "The key `ci` is revoked. Its name is not given again.\n")
    assert kept(folder)[0].revoked is not None
    again = await keys(folder, "revoke", "ci", "--json")
    assert (again.status, again.json["ok"], "was revoked on" in again.json["error"]) == (1, False, True)


async def test_what_the_file_declares_is_changed_there(folder: Path) -> None:
    keep(folder, CI)
    rotate, create = await asyncio.gather(*(keys(folder, each, "web-app") for each in ("rotate", "create")))
    declared = "gateway: The key `web-app` is declared in gateway.yaml:4: change it there.\n"
    assert (rotate.status, rotate.out, rotate.err) == (1, "", declared)
    assert (create.status, "already, declared in gateway.yaml:4" in create.err) == (1, True)


async def test_a_running_gateway_takes_a_key_and_refuses_it_within_five_seconds_of_its_revocation(folder: Path) -> None:
    text = CONFIGURATION.split("\n", 1)[1].replace("type: openai, api_key: sk-0", "type: echo")
    text += f'state: {{database: "sqlite:///{folder}/gateway.db"}}\n'
    made = (await keys(folder, "create", "ci")).out.strip()
    ask = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hello"}]}
    async with gateway(text) as running:

        async def status() -> int:
            headers = {"authorization": f"Bearer {made}"}
            return (await running.client.post("/v1/chat/completions", json=ask, headers=headers)).status_code

        assert await status() == 200
        await keys(folder, "revoke", "ci")
        async with asyncio.timeout(5):
            while await status() == 200:  # noqa: ASYNC110  nothing tells of what is waited for
                await asyncio.sleep(0.05)
        assert await status() == 401


async def test_values_are_checked_as_in_the_configuration_and_named_as_options(folder: Path) -> None:
    keep(folder, CI)
    done = await keys(folder, "create", "ci", "--rpm", "many", "--models", "gpt-4o-mni", "--budget-usd", "5")
    assert (done.status, done.out) == (2, "")
    assert done.err.splitlines()[-3:] == [
        "gateway: the budget (--budget-usd, --budget-tokens, --every): `every` is missing",
        "gateway: --rpm: `many` is not a count; write digits, or a number with its unit: 100k, 10M",
        "gateway: --models: there is no model `gpt-4o-mni` (did you mean `gpt-4o-mini`?)",
    ]
    overlap = await keys(folder, "rotate", "ci", "--overlap", "long")
    assert (overlap.status, "gateway: --overlap: `long` is not a duration" in overlap.err) == (2, True)


async def test_a_database_is_made_for_a_first_key_and_for_nothing_else(folder: Path) -> None:
    looked = await keys(folder, "list")
    assert (looked.status, looked.err[:40]) == (1, f"gateway: There is no database {folder}/gateway.db."[:40])
    assert not (folder / "gateway.db").exists()
    made = await keys(folder, "create", "ci")
    assert f"Made the database {folder}/gateway.db." in made.err


async def test_without_a_database_it_is_said_how_to_have_one(folder: Path) -> None:
    (folder / "gateway.yaml").write_text(CONFIGURATION.split("\n", 1)[1])
    missing, unnamed = await asyncio.gather(keys(folder, "list"), command(folder, "keys", "list"))
    assert "gateway.yaml names no database, so nothing is kept" in missing.err
    assert 'state: {database: "sqlite:///gateway.db"}' in missing.err
    assert "name the configuration with --config FILE" in unnamed.err
    assert [missing.status, unnamed.status] == [1, 1]


async def test_what_a_key_may_do_is_changed_and_the_rest_of_it_stays(folder: Path) -> None:
    await keys(folder, "create", "ci", *FULL)
    done = await keys(folder, "update", "ci", "--rpm", "60", "--tpm", "none", "--expires", "none", "--models", "gpt-*")
    row = f"ci {kept(folder)[0].shown}... gpt-* 60 requests a minute, 40 at once $50 and 10,000,000 tokens a day -"
    assert (done.status, done.lines[1]) == (0, f"{row} valid database")
    told = (await keys(folder, "update", "ci", "--every", "none", "--json")).json
    assert (told["budget"], told["limits"]["requests_per_minute"], told["priority"]) == (None, 60, "low")


async def test_a_change_that_cannot_be_made_is_told_and_changes_nothing(folder: Path) -> None:
    keep(folder, CI)
    wrong, nothing, declared = await asyncio.gather(
        keys(folder, "update", "ci", "--rpm", "many"),
        keys(folder, "update", "ci"),
        keys(folder, "update", "web-app", "--rpm", "5"),
    )
    assert wrong.err == "gateway: --rpm: `many` is not a count; write digits, or a number with its unit: 100k, 10M\n"
    assert nothing.err == "gateway: Say what is to change, such as `--rpm 600`; `--rpm none` takes it away.\n"
    assert declared.err == "gateway: The key `web-app` is declared in gateway.yaml:4: change it there.\n"
    assert [wrong.status, nothing.status, declared.status] == [2, 2, 1]
    assert kept(folder)[0].settings == CI.settings
