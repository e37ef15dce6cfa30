"""`gateway providers` and `gateway check --online`, as people and scripts run them."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.house.scripted import Peer, scripted

MODELS = b'{"object": "list", "data": [{"id": "gpt-4o-mini"}, {"id": "gpt-4o"}]}'


async def api(peer: Peer) -> None:
    """A server that lists two models to those who show the key."""
    while True:
        request = await peer.request()
        known = request.headers.get(b"authorization") == b"Bearer sk-good-key-1"
        status, body = (200, MODELS) if known else (401, b'{"error": {"message": "No such key."}}')
        await peer.say(b"HTTP/1.1 %d .\r\ncontent-length: %d\r\n\r\n%b" % (status, len(body), body))


CONFIGURATION = """
providers:
  good: {{type: openai, base_url: "{0}/v1", api_key: sk-good-key-1}}
  bad: {{type: openai, base_url: "{0}/v1", api_key: sk-bad-key-1, enabled: no}}
  here: {{type: echo, models: [echo]}}
models:
  small: {{targets: [{{provider: good, model: gpt-4o-mni}}]}}
  "gpt-*": {{targets: [{{provider: good, model: "gpt-*"}}]}}
server: {{port: 0}}
"""


@dataclass(frozen=True)
class Done:
    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return orjson.loads(self.out)


async def gateway(tmp_path: Path, *arguments: str, check: bool = False) -> Done:
    """Runs the command with a configuration that has a good, a bad and a built-in provider."""
    async with scripted(api) as upstream:
        file = tmp_path / "gateway.yaml"
        file.write_text(CONFIGURATION.format(upstream.origin))
        command = ("check", str(file)) if check else ("providers",)
        config = () if check else ("--config", str(file))
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "gateway", *command, *arguments, *config),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await asyncio.wait_for(process.communicate(), 60)
        assert process.returncode is not None
        return Done(process.returncode, out.decode(), err.decode())


async def test_the_test_has_a_line_for_each_provider_and_fails_if_one_does(tmp_path: Path) -> None:
    done = await gateway(tmp_path, "test")
    good, bad, here = done.out.splitlines()
    assert good.startswith("\N{CHECK MARK} good  reachable, credentials valid, 2 models  ")
    assert bad.startswith("\N{BALLOT X} bad   the credentials were refused (401: No such key.)")
    assert bad.endswith("inactive: kept, tested, never routed to")
    assert here == "\N{CHECK MARK} here  reachable, credentials valid, 1 model, built in"
    assert (done.status, done.err) == (1, "")


async def test_scripts_are_told_the_same_in_json(tmp_path: Path) -> None:
    done = await gateway(tmp_path, "test", "--json", "bad", "good")
    good, bad = done.json["providers"]
    assert (good["ok"], good["reachable"], good["credentials"], good["enabled"]) == (True, True, "valid", True)
    assert good["models"] == ["gpt-4o", "gpt-4o-mini"]
    assert (bad["provider"], bad["ok"], bad["credentials"], bad["enabled"]) == ("bad", False, "refused", False)
    assert (done.json["ok"], done.status) == (False, 1)
    assert "-key-1" not in done.out


async def test_a_test_of_what_is_well_succeeds(tmp_path: Path) -> None:
    assert (await gateway(tmp_path, "test", "good", "here")).status == 0


@pytest.mark.parametrize("command", ["test", "models"])
async def test_a_name_that_is_not_there_is_a_mistake(tmp_path: Path, command: str) -> None:
    done = await gateway(tmp_path, command, "goood")
    assert (done.status, done.out) == (2, "")
    assert done.err == "gateway: there is no provider `goood` (did you mean `good`?)\n"


async def test_scripts_are_told_of_a_mistake_in_json(tmp_path: Path) -> None:
    done = await gateway(tmp_path, "test", "goood", "--json")
    said = {"ok": False, "error": "there is no provider `goood` (did you mean `good`?)"}
    assert (done.status, done.err, done.json) == (2, "", said)


async def test_models_are_listed_by_name(tmp_path: Path) -> None:
    done = await gateway(tmp_path, "models", "good")
    assert (done.status, done.out) == (0, "good: 2 models\n  gpt-4o\n  gpt-4o-mini\n")
    told = (await gateway(tmp_path, "models", "good", "--json")).json["providers"]
    assert told == [{"provider": "good", "models": ["gpt-4o", "gpt-4o-mini"], "error": ""}]


async def test_the_list_shows_where_providers_stand_and_asks_nobody(tmp_path: Path) -> None:
    done = await gateway(tmp_path, "list")
    heading, good, bad, here = (" ".join(line.split()) for line in done.out.splitlines())
    assert heading == "provider type base URL credentials public models state"
    assert good.endswith("key gpt-*, small -")
    assert bad.endswith("key - inactive")
    assert here == "here echo built in none echo -"
    row = (await gateway(tmp_path, "list", "--json")).json["providers"][0]
    assert (row["provider"], row["type"], row["credentials"]) == ("good", "openai", "key")
    assert (row["public_models"], row["state"]) == (["gpt-*", "small"], None)


async def test_checking_online_warns_of_models_that_are_not_listed(tmp_path: Path) -> None:
    done = await gateway(tmp_path, "--online", check=True)
    bad, model, verdict = done.out.splitlines()
    assert ":4:3: providers.bad: the credentials were refused" in bad
    assert model.endswith(
        ":7:45: models.small.targets[0].model: good lists no model `gpt-4o-mni` (did you mean `gpt-4o-mini`?) (warning)"
    )
    assert "is good" in verdict
    assert done.status == 0


async def test_checking_offline_asks_nobody(tmp_path: Path) -> None:
    done = await gateway(tmp_path, "--json", check=True)
    assert done.json == {"ok": True, "complaints": [], "warnings": []}
