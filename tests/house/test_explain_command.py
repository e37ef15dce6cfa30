"""`gateway explain`, as people and scripts run it; and how targets are, as a running gateway has it."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pytest

from gateway.simulator.faults import Faults
from gateway.simulator.server import Simulator
from tests.house.harness import QUESTION, config
from tests.house.harness import gateway as running_gateway
from tests.house.scripted import Peer, scripted

CONFIGURATION = """
server: {port: 0}
providers:
  one: {type: openai, api_key: sk-one-0123456789, models: [o3]}
  two: {type: anthropic, api_key: sk-two-0123456789}
  off: {type: openai, api_key: sk-off-0123456789, enabled: false}
  here: {type: echo}
models:
  small:
    targets:
      - {provider: one, model: small-1, weight: 3, context: 128k, price: {input: 0.15, output: 0.60}}
      - {provider: two, model: small-2, weight: 1, lacks: [images], limits: {concurrent_requests: 50}}
      - {provider: off, model: small-3}
    fallbacks: [spare]
    context_fallbacks: [long]
    timeouts: {total: 90s}
  spare: {strategy: ordered, targets: [{provider: here, model: a}, {provider: one, model: small-1}], fallbacks: [last]}
  last: {targets: [{provider: here, model: b}]}
  long: {targets: [{provider: here, model: c}], content_fallbacks: [last]}
  "claude-*": {targets: [{provider: two, model: "claude-*"}]}
aliases: {tiny: small}
default_model: tiny
keys:
  - {name: web-app, key: key-0123456789abcdef, models: [small]}
  - {name: anything, key: key-0123456789abcdeg}
  - {name: old, key: key-0123456789abcdeh, expires: 2020-01-01}
  - name: limited
    key: key-0123456789abcdei
    models: [small]
    limits: {requests_per_minute: 600, tokens_per_minute: 1M, concurrent_requests: 40}
    budget: {usd: 50, tokens: 10M, every: day}
"""

WITHIN = "600 requests a minute, 1,000,000 tokens a minute, 40 calls at once, $50.00 a day, 10,000,000 tokens a day"
"""What `limited` may use."""


@dataclass(frozen=True)
class Done:
    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return orjson.loads(self.out)


async def command(*arguments: str, environ: Mapping[str, str] | None = None) -> Done:
    """Runs `gateway`. The environment holds nothing else, so no provider of yours."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateway", *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={"PATH": os.environ["PATH"], "HOME": "/nonexistent", **(environ or {})},
    )
    out, err = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode is not None
    return Done(process.returncode, out.decode(), err.decode())


@pytest.fixture
def file(tmp_path: Path) -> str:
    file = tmp_path / "gateway.yaml"
    file.write_text(CONFIGURATION)
    return str(file)


async def explained(file: str, model: str, *arguments: str) -> Any:
    done = await command("explain", model, "--json", "--config", file, *arguments)
    assert (done.status, done.err) == (0, "")
    return done.json


def squeezed(text: str) -> list[str]:
    return [" ".join(line.split()) for line in text.splitlines()]


async def test_people_read_where_a_call_goes_and_what_is_known_of_each_target(file: str) -> None:
    done = await command("explain", "tiny", "--config", file)
    lines = squeezed(done.out)
    assert lines[:9] == [
        "`tiny` is an alias of `small`.",
        "`small` is a model of the configuration.",
        "Keys that may use it: anything.",
        "",
        "A call goes to one (small-1) or two (small-2).",
        "If that fails before its first output, it goes to the other one, then to here (a), then to here (b).",
        "It has 3 attempts at most and 90 s, so one call cannot reach all 4 targets.",
        "A prompt that a content filter refuses goes nowhere else.",
        "",
    ]
    assert lines[9:20] == [
        "small: by chance and weight",
        "75% one small-1 openai at api.openai.com, context 128k, $0.15 in / $0.60 out per million",
        "25% two small-2 anthropic at api.anthropic.com, lacks images, at most 50 calls at once, price not known",
        "off small-3 left out: the provider is disabled",
        "",
        "then spare, a fallback of small: in this order",
        "1. here a echo, in process, price not known",
        "one small-1 asked before",
        "",
        "then last, a fallback of spare",
        "100% here b echo, in process, price not known",
    ]
    assert "if a prompt is too long for small: long" in lines
    assert "if a content filter refuses a call to long: last" in lines
    assert "state unknown: the configuration leaves the port to the system" in lines
    assert (done.status, done.err) == (0, "")


async def test_scripts_read_the_same_in_json(file: str) -> None:
    told = await explained(file, "small", "--key", "limited")
    assert told["key"]["budget"] == {"usd": 50, "tokens": 10_000_000, "every": "day"}
    assert [stage["name"] for stage in told["stages"]] == ["small", "spare", "last"]
    assert [(stop["provider"], stop["share"]) for stop in told["stages"][0]["stops"]] == [("one", 0.75), ("two", 0.25)]
    assert told["stages"][0]["left_out"] == [
        {"provider": "off", "model": "small-3", "why": "the provider is disabled"},
    ]
    assert [(each["case"], each["of"], [stage["name"] for stage in each["stages"]]) for each in told["detours"]] == [
        ("context", "small", ["long"]),
        ("content", "long", ["last"]),
    ]
    assert (told["settings"]["attempts"], told["settings"]["timeouts"]["total"]) == (3, 90.0)
    assert "0123456789" not in orjson.dumps(told).decode()


@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        ("default", ["default", "alias", "model"]),
        ("o3", ["published"]),
        ("claude-x", ["pattern"]),
    ],
)
async def test_every_kind_of_name_is_led_back_to_its_model(file: str, name: str, kinds: list[str]) -> None:
    told = await explained(file, name)
    assert [meaning["kind"] for meaning in told["meanings"]] == kinds


async def test_a_pattern_says_what_its_star_stands_for(file: str) -> None:
    done = await command("explain", "claude-x", "--config", file)
    assert squeezed(done.out)[0] == "`claude-x` matches `claude-*`; the * stands for `x`."
    assert "A call goes to two (claude-x)." in done.out


@pytest.mark.parametrize(
    ("key", "model", "words"),
    [
        ("web-app", "small", "The key web-app may use it."),
        ("web-app", "tiny", "The key web-app may not use `tiny`: its calls get a 404, as if there were no such model."),
        (
            "limited",
            "small",
            f"The key limited may use it, within {WITHIN}.",
        ),
        ("old", "small", "The key old expired on 2020-01-01: its calls get a 401."),
    ],
)
async def test_a_key_is_held_against_the_name_as_clients_send_it(file: str, key: str, model: str, words: str) -> None:
    done = await command("explain", model, "--key", key, "--config", file)
    assert words in done.out.splitlines()
    assert done.status == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ("smal",),
            "there is no model `smal` (did you mean `small`?). There are: small, spare, last, long, o3, tiny, ",
        ),
        (("small", "--key", "webapp"), "there is no key `webapp` (did you mean `web-app`?). There are: web-app, "),
    ],
)
async def test_a_name_that_is_not_there_fails_with_those_that_are(
    file: str, arguments: tuple[str, ...], words: str
) -> None:
    done = await command("explain", *arguments, "--config", file)
    assert (done.status, done.out) == (1, "")
    assert done.err.startswith(f"gateway: {words}")
    as_json = await command("explain", *arguments, "--json", "--config", file)
    assert (as_json.status, as_json.json["ok"]) == (1, False)
    assert as_json.json["error"].startswith(words)


async def test_without_a_file_the_environment_is_explained() -> None:
    done = await command("explain", "gpt-5", environ={"OPENAI_API_KEY": "sk-0123456789"})
    assert "A call goes to openai (gpt-5).\nIf that fails, there is nowhere else to go.\n" in done.out
    assert "Everyone on this machine may use it: no keys are configured." in done.out


DISCOVERING = """
server: {{port: 0}}
providers:
  local: {{type: openai_compatible, base_url: "{0}/v1", models: discover}}
  here: {{type: echo}}
models:
  m: {{targets: [{{provider: here, model: a}}], fallbacks: [listed-1, listed-2]}}
aliases: {{short: listed-1}}
"""


async def listing(peer: Peer) -> None:
    """A server that lists one model."""
    while True:
        await peer.request()
        body = b'{"object": "list", "data": [{"id": "listed-1"}]}'
        await peer.say(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))


async def test_a_provider_is_asked_for_the_models_that_only_it_knows(tmp_path: Path) -> None:
    file = tmp_path / "gateway.yaml"
    async with scripted(listing) as upstream:
        file.write_text(DISCOVERING.format(upstream.origin))
        told = await explained(str(file), "short")
    assert [meaning["kind"] for meaning in told["meanings"]] == ["alias", "discovered"]
    assert told["stages"][0]["stops"][0]["provider"] == "local"
    away = await command("explain", "short", "--config", str(file))
    assert away.status == 1
    assert "local did not say what it lists: " in away.err


async def test_a_fallback_that_nobody_lists_is_told_to_be_passed_over(tmp_path: Path) -> None:
    file = tmp_path / "gateway.yaml"
    async with scripted(listing) as upstream:
        file.write_text(DISCOVERING.format(upstream.origin))
        done = await command("explain", "m", "--config", str(file))
    assert "it goes to local (listed-1)." in done.out
    assert "then listed-2, a fallback of m: there is no such model now, so it is passed over\n" in done.out


# Live


LIVE = "server: {port: '${GATEWAY_PORT:-4000}', metrics_key: the-key-of-the-metrics-1}"
FULL = Faults(fail=(("429", 1.0),), retry_after=60.0)


async def test_states_are_those_of_the_gateway_that_runs_on_the_configuration(tmp_path: Path) -> None:
    file = tmp_path / "gateway.yaml"
    async with Simulator(FULL) as full, Simulator() as well:
        file.write_text(text := config(full.url, well.url, extra=LIVE))
        async with running_gateway(text) as running:
            assert (await running.client.post("/v1/chat/completions", json=QUESTION)).status_code == 200
            environ = {"GATEWAY_PORT": str(running.port)}
            done = await command("explain", "m", "--config", str(file), environ=environ)
            listed = await command("providers", "list", "--config", str(file), environ=environ)
    lines = squeezed(done.out)
    assert "Now p0 (upstream-0) is cooling down: it is left out as long as another can be asked." in lines
    assert any(line.startswith("1. p0 upstream-0 cooling down openai at ") for line in lines)
    assert any(line.startswith("2. p1 upstream-1 ready openai at ") for line in lines)
    assert f"state as the gateway at http://127.0.0.1:{running.port} has it" in lines
    assert [line.split("m ", 1)[1].strip() for line in listed.out.splitlines()[1:]] == ["cooling down", "ready"]


async def test_another_gateways_states_are_not_shown_for_this_ones(tmp_path: Path) -> None:
    text = config("http://127.0.0.1:9", extra=LIVE)
    file = tmp_path / "gateway.yaml"
    file.write_text(f"{text}# and a line more\n")
    async with running_gateway(text) as running:
        told = await command(
            "explain", "m", "--json", "--config", str(file), environ={"GATEWAY_PORT": str(running.port)}
        )
    assert told.json["live"]["unknown"] == f"the gateway at http://127.0.0.1:{running.port} runs another configuration"
    assert told.json["stages"][0]["stops"][0]["state"] is None


async def test_a_gateway_that_wants_another_metrics_key_is_told_from_one_that_is_away(tmp_path: Path) -> None:
    text = config("http://127.0.0.1:9", extra=LIVE)
    file = tmp_path / "gateway.yaml"
    file.write_text(text.replace("metrics-1", "metrics-2"))
    async with running_gateway(text) as running:
        told = await command(
            "explain", "m", "--json", "--config", str(file), environ={"GATEWAY_PORT": str(running.port)}
        )
        url = f"http://127.0.0.1:{running.port}"
        assert told.json["live"]["unknown"] == f"the gateway at {url} has another server.metrics_key"
    gone = await command("explain", "m", "--json", "--config", str(file), environ={"GATEWAY_PORT": str(running.port)})
    assert (gone.status, gone.json["live"]["unknown"]) == (0, f"no gateway answers at {url}")


async def test_a_server_that_never_answers_holds_nobody_up(tmp_path: Path) -> None:
    async def silent(peer: Peer) -> None:
        await peer.request()
        await peer.gone(30)

    file = tmp_path / "gateway.yaml"
    async with scripted(silent) as upstream:
        file.write_text(config("http://127.0.0.1:9", extra=f"server: {{port: {upstream.port}}}"))
        done = await command("explain", "m", "--config", str(file))
    assert done.status == 0
    assert f"unknown: no gateway answers at {upstream.origin}" in done.out
