"""Whoever is asked what was used says the same, to the token and to the millionth of a dollar."""

from __future__ import annotations

import asyncio
import re
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import httpx
import orjson
import pytest
import pytest_asyncio

from gateway.core.call import Json
from gateway.core.record import Record
from gateway.simulator.faults import Faults
from gateway.simulator.server import Simulator
from tests.accounting.audit import everything
from tests.house.commands import command
from tests.house.harness import KEY, Running, gateway
from tests.house.test_hangup import STALLS, first_output, question, until
from tests.house.test_limits import OTHER_KEY, allowed, ask, assert_refused
from tests.house.test_protocol import wire
from tests.stores.books import opened

pytestmark = pytest.mark.asyncio(loop_scope="module")

ADMIN = "a-token-of-the-test-suite-000001"

TOKENS, DOLLARS = 1_000_000, 10
"""Of the key's budget."""

CONFIGURATION = """
state: {{database: 'sqlite:///{folder}/ledger.db'}}
providers:
  openai: {{type: openai, base_url: '{openai}', api_key: k}}
  claude: {{type: anthropic, base_url: '{claude}', api_key: k}}
  google: {{type: gemini, base_url: '{google}', api_key: k}}
  local: {{type: openai_compatible, base_url: '{local}'}}
admin: {{tokens: [{{name: accountant, token: {token}, permissions: [usage.view]}}]}}
defaults: {{retries: {{attempts: 1}}}}
models:
  gpt: {{targets: [{{provider: openai, model: gpt-x}}], price: {{input: 0.15, output: 0.6, cache_read: 0.075}}}}
  sonnet: {{targets: [{{provider: claude, model: claude-x}}], price: {{input: 3, output: 15, cache_read: 0.3}}}}
  flash:
    strategy: ordered
    targets: [{{provider: openai, model: gpt-x}}, {{provider: google, model: gemini-x}}]
    retries: {{attempts: 2, budget: 100%}}
    price: {{input: 1.25, output: 10}}
  free: {{targets: [{{provider: local, model: llama}}], price: {{input: 0, output: 0}}}}
keys:
  - name: tester
    key: {key}
    priority: high
    limits: {{requests_per_minute: 10k, tokens_per_minute: 100M, concurrent_requests: 50}}
    budget: {{tokens: {tokens}, usd: {dollars}, every: month}}
  - {{name: other, key: {other}, priority: high, limits: {{requests_per_minute: 5}}}}
"""

TYPES = {"openai": "openai", "claude": "anthropic", "google": "gemini", "local": "openai_compatible"}
"""Of the provider of each name."""

LONG = [{"role": "user", "content": "oak " * 1100}]
"""So long that providers keep it in their caches."""

STREAM: Json = {"stream": True, "stream_options": {"include_usage": True}}


class Sums(NamedTuple):
    """What calls came to."""

    calls: int = 0
    input: int = 0
    output: int = 0
    cache_read: int = 0
    cache_write: int = 0
    reasoning: int = 0
    micros: int = 0

    def plus(self, *more: int) -> Sums:
        return Sums(*map(sum, zip(self, more, strict=True)))


@dataclass(frozen=True)
class Story:
    """Everything has happened."""

    folder: Path
    running: Running
    answers: list[httpx.Response]
    records: dict[str, Record]
    """By the id that the client was told."""


def day_of(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).date().isoformat()


# What happens


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def story(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Story]:
    folder = tmp_path_factory.mktemp("numbers")
    async with AsyncExitStack() as stack:
        upstreams = {name: await stack.enter_async_context(Simulator(type=type)) for name, type in TYPES.items()}
        urls = {name: each.url for name, each in upstreams.items()}
        text = CONFIGURATION.format(
            folder=folder, key=KEY, other=OTHER_KEY, tokens=TOKENS, dollars=DOLLARS, token=ADMIN, **urls
        )
        (folder / "gateway.yaml").write_text(text)
        running = await stack.enter_async_context(gateway(text))
        answers = [*await well(running), *await ill(running, upstreams)]
        await until(lambda: len(running.entries) == len(answers) + HANG_UPS)
        answers += await refused(running)
        ledger = opened(f"sqlite:///{folder}/ledger.db")
        await until(lambda: len(everything(ledger)) == len(running.entries), within=20)
        records = {each.id.partition(":")[0]: each for each in everything(ledger)}
        assert len(records) == len(running.entries)
        yield Story(folder, running, answers, records)


async def well(running: Running) -> list[httpx.Response]:
    """Calls of every kind, which end as they should."""
    asked: list[Json] = [
        {"model": model, **fields}
        for model in ("gpt", "sonnet", "flash", "free")
        for fields in ({}, STREAM, {"stream": True}, {"n": 1, "max_tokens": 3}, {"messages": LONG}, {"user": "me"})
    ]
    chats = await asyncio.gather(*(ask(running, **fields) for fields in asked))
    words: Json = {"model": "gpt", "input": ["gull", "black tern"]}
    embedded = [await running.client.post("/v1/embeddings", json=words) for _ in range(2)]
    assert {answer.status_code for answer in (*chats, *embedded)} == {200}
    return [*chats, *embedded]


async def ill(running: Running, upstreams: Mapping[str, Simulator]) -> list[httpx.Response]:
    """Calls that fail, are tried elsewhere, break off or are left."""
    upstreams["openai"].faults = Faults(fail=(("500", 1.0),))
    failing = await asyncio.gather(*(ask(running, model=model) for model in ("gpt", "flash") * 4))
    assert {answer.status_code for answer in failing} == {200, 502}
    upstreams["claude"].faults = Faults(cut_after=2)
    cut = [await ask(running, model="sonnet", stream=True) for _ in range(3)]
    upstreams["openai"].faults = STALLS
    for _ in range(HANG_UPS):
        async with wire(running.port) as client:
            client.send(question(model="gpt", stream=True))
            await first_output(client)
    wrong = [await ask(running, model="unknown"), await ask(running, messages="none"), await ask(running, "no-key")]
    assert [answer.status_code for answer in wrong] == [404, 400, 401]
    return [*failing, *cut, *wrong]


HANG_UPS = 3


async def refused(running: Running) -> list[httpx.Response]:
    """Calls that a limit has no room for. The last two tell how much of the budgets is used."""
    few = [await ask(running, OTHER_KEY, model="free") for _ in range(8)]
    assert {answer.status_code for answer in few} == {200, 429}
    dear = await ask(running, model="sonnet", max_tokens=TOKENS)
    free = await ask(running, model="free", max_tokens=TOKENS)
    return [*few, dear, free]


# Who is asked


async def records_say(story: Story, by: str) -> dict[str, Sums]:
    """The single calls, added up."""
    sums: defaultdict[str, Sums] = defaultdict(Sums)
    for each in story.records.values():
        name = day_of(each.time) if by == "day" else getattr(each, by)
        tokens = (each.input_tokens, each.output_tokens, each.cache_read_tokens, each.cache_write_tokens)
        sums[name] = sums[name].plus(1, *tokens, each.reasoning_tokens, each.cost_micros or 0)
    return sums


async def the_command_says(story: Story, by: str) -> dict[str, Sums]:
    done = await command(story.folder, "usage", "--by", by, "--json", "--config", "gateway.yaml")
    return told(done.json, by)


async def the_api_says(story: Story, by: str) -> dict[str, Sums]:
    headers = {"authorization": f"Bearer {ADMIN}"}
    return told((await story.running.client.get(f"/api/usage?by={by}", headers=headers)).json(), by)


def told(usage: Json, by: str) -> dict[str, Sums]:
    """As `views.of_usage` spells it: the command and the API answer alike."""
    kinds = ("input", "output", "cache_read", "cache_write", "reasoning")
    fields = ["calls", *(f"{kind}_tokens" for kind in kinds), "cost_micros"]
    return {line[by]: Sums(*[line[field] or 0 for field in fields]) for line in usage["lines"]}


async def metrics_say(story: Story, by: str) -> dict[str, Sums]:
    """What has been counted since the start."""
    sums: defaultdict[str, Sums] = defaultdict(Sums)
    for metric, labels, value in series((await story.running.client.get("/metrics")).text):
        kind = COUNTED.get((metric, labels.get("type", "")))
        if kind:
            amount = round(value * 1_000_000) if kind == "micros" else int(value)
            sums[labels[by]] = sums[labels[by]].plus(*Sums(**{kind: amount}))
    return {"" if name == "other" and by == "model" else name: each for name, each in sums.items()}


COUNTED = {
    ("gateway_requests_total", ""): "calls",
    ("gateway_cost_dollars_total", ""): "micros",
    **{("gateway_tokens_total", kind): kind for kind in ("input", "output", "cache_read", "cache_write", "reasoning")},
}


def series(exposition: str) -> Iterable[tuple[str, dict[str, str], float]]:
    for line in exposition.splitlines():
        if not line.startswith("#"):
            name, _, value = line.rpartition(" ")
            yield name.partition("{")[0], dict(re.findall(r'(\w+)="([^"]*)"', name)), float(value)


SOURCES: Mapping[str, Callable[[Story, str], Awaitable[dict[str, Sums]]]] = {
    "gateway usage": the_command_says,
    "/api/usage": the_api_says,
    "/metrics": metrics_say,
}
"""Everyone who tells of usage, and how they are asked."""

QUESTIONS = [(source, by) for source in SOURCES for by in ("key", "model", "provider", "day")]
QUESTIONS.remove(("/metrics", "day"))


@pytest.mark.parametrize(("source", "by"), QUESTIONS)
async def test_whoever_is_asked_says_what_the_records_say(story: Story, source: str, by: str) -> None:
    assert await SOURCES[source](story, by) == await records_say(story, by)


async def test_the_last_refusal_says_how_much_of_the_budgets_is_left(story: Story) -> None:
    used = (await records_say(story, "key"))["tester"]
    *_, dear, free = story.answers
    assert allowed(free)["remaining-tokens"] == str(TOKENS - used.input - used.output)
    assert_refused(free, f"{used.input + used.output:,} are used", code="budget_exceeded")
    dollars = f"{used.micros / 1_000_000:.6f}".rstrip("0")
    assert_refused(dear, f"{DOLLARS} US dollars", f"{dollars} are used", code="budget_exceeded")


# What each client was told


async def test_each_client_was_told_what_is_recorded_of_its_call(story: Story) -> None:
    assert len(story.answers) + HANG_UPS > 50
    for answer in story.answers:
        record = story.records[answer.headers["x-request-id"]]
        assert record.status == answer.status_code
        if answer.status_code == 200:
            told = (record.provider, record.upstream_model, str(len(record.attempts)))
            names = ("x-gateway-provider", "x-gateway-model", "x-gateway-attempts")
            assert tuple(answer.headers[name] for name in names) == told
        if usage := usage_in(answer):
            assert (record.input_tokens, record.usage_source) == (usage["prompt_tokens"], "reported")
            assert record.output_tokens == usage.get("completion_tokens", 0)
            assert record.cache_read_tokens == (usage.get("prompt_tokens_details") or {}).get("cached_tokens", 0)


def usage_in(answer: httpx.Response) -> Json | None:
    """As the client reads it: in a stream it comes last, to those who asked."""
    lines = answer.text.strip().split("data: ")
    bodies = [orjson.loads(line) for line in lines if line.strip() and line.strip() != "[DONE]"]
    found = [body["usage"] for body in bodies if body.get("usage")]
    return found[-1] if found else None


async def test_refusals_are_counted_as_often_as_clients_were_refused(story: Story) -> None:
    told = [answer for answer in story.answers if answer.status_code == 429]
    records = [each for each in story.records.values() if each.outcome == "limited"]
    counted = {
        (labels["key"], labels["limit"]): value
        for metric, labels, value in series((await story.running.client.get("/metrics")).text)
        if metric == "gateway_rate_limited_total"
    }
    assert len(told) == len(records) == sum(counted.values())
    assert counted["tester", "usd_budget"] == counted["tester", "token_budget"] == 1
    assert counted["other", "requests_per_minute"] == sum(each.key == "other" for each in records)


async def test_errors_are_the_calls_that_did_not_end_well(story: Story) -> None:
    done = await command(story.folder, "usage", "--json", "--config", "gateway.yaml")
    outcomes = Counter(each.outcome for each in story.records.values())
    assert done.json["total"]["errors"] == outcomes.total() - outcomes["ok"]
    assert {name for name, calls in outcomes.items() if calls} == {
        *("ok", "client_error", "limited", "upstream_error", "truncated", "cancelled")
    }
