"""The pictures of docs/images, taken of a gateway with simulated providers: `python -m tests.dashboard.screenshots`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from math import pi, sin
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

from playwright.async_api import expect

from gateway.app.times import now
from gateway.core.record import Attempt, Record
from gateway.core.secret import Secret
from gateway.simulator.faults import Faults
from gateway.simulator.server import Simulator
from gateway.store.database import Database
from gateway.store.ledger import Ledger
from tests.dashboard.browser import Tab, tab
from tests.dashboard.test_docs import LARGEST
from tests.house.admin import ENCRYPTION_KEY, ROOT, Managed
from tests.house.harness import gateway

IMAGES = Path(__file__).parent.parent.parent / "docs" / "images"

DAYS = 7


KEYS = ("web-app", "support-bot", "research", "nightly-batch")

CLIENT = "sk-of-the-screenshots-000001"

SERVED = {
    "gpt-4o-mini": ("openai", "gpt-4o-mini", 0.15, 0.60),
    "claude-sonnet": ("anthropic", "claude-sonnet-4-5-20250929", 3.0, 15.0),
    "gemini-flash": ("gemini", "gemini-2.5-flash", 0.30, 2.50),
}
"""By public name: a provider, its model, and dollars per million tokens."""


ALLOWED = {"support-bot": ("gpt-4o-mini",), "research": ("claude-sonnet", "gemini-flash")}
"""Models of keys that may not use all of them."""


def configuration(folder: Path, cast: dict[str, Simulator]) -> str:
    """Some providers of the kinds that people have, one of them full, and keys of some teams."""
    keys = "".join(f"  - {{name: {name}, key: {CLIENT}-{name}, {LIMITS[name]}}}\n" for name in KEYS)
    return f"""
state: {{database: "sqlite:///{folder}/gateway.db"}}
admin:
  encryption_key: {ENCRYPTION_KEY}
  tokens: [{{name: ops, token: {ROOT}, permissions: ["*"]}}]
providers:
  openai: {{type: openai, base_url: "{cast["openai"].url}", api_key: simulated}}
  azure-eu: {{type: azure, base_url: "{cast["azure"].url}", api_key: simulated, api_version: "2024-10-21"}}
  anthropic: {{type: anthropic, base_url: "{cast["anthropic"].url}", api_key: simulated}}
  gemini: {{type: gemini, base_url: "{cast["gemini"].url}", api_key: simulated}}
models:
  gpt-4o-mini:
    targets:
      - {{provider: openai, model: gpt-4o-mini, weight: 3}}
      - {{provider: azure-eu, model: gpt-4o-mini, limits: {{requests_per_minute: 300}}}}
    fallbacks: [gemini-flash]
  claude-sonnet: {{targets: [{{provider: anthropic, model: claude-sonnet-4-5-20250929}}], fallbacks: [gpt-4o-mini]}}
  gemini-flash: {{targets: [{{provider: gemini, model: gemini-2.5-flash}}]}}
aliases: {{gpt-4: gpt-4o-mini}}
keys:
{keys}
"""


LIMITS = {
    "web-app": "limits: {requests_per_minute: 600, tokens_per_minute: 1M}, budget: {usd: 12, every: week}",
    "support-bot": "models: [gpt-4o-mini], budget: {usd: 6, every: week}, priority: high",
    "research": "models: [claude-sonnet, gemini-flash], budget: {usd: 25, tokens: 10M, every: month}",
    "nightly-batch": "limits: {concurrent_requests: 8}, priority: low",
}


def past(now: float) -> Iterator[Record]:
    """Calls of some days: fewer by night, and some that failed."""
    random = Random(7)
    for minute in range(DAYS * 24 * 60, 0, -6):
        moment = now - 60 * minute
        busy = 1.2 + sin(2 * pi * (moment / 86400 - 0.3))
        for _ in range(round(busy * random.uniform(0, 3))):
            yield one(random, moment + random.uniform(0, 300), full=minute < 60)


def one(random: Random, moment: float, *, full: bool) -> Record:
    """A call; `full`: the provider that it went to first had no room."""
    key = random.choices(KEYS, (5, 3, 2, 2))[0]
    model = random.choice(ALLOWED.get(key, ("gpt-4o-mini", "gpt-4o-mini", *SERVED)))
    provider, upstream, price_in, price_out = SERVED[model]
    well = random.random() > 0.03
    used = (random.randint(400, 9000), random.randint(80, 1400)) if well else (0, 0)
    took = random.uniform(400, 4200)
    tries = [Attempt(provider, upstream, "ok" if well else "overloaded", took)]
    if full and model == "gpt-4o-mini":
        tries.insert(0, Attempt("azure-eu", "gpt-4o-mini", "rate_limited", random.uniform(20, 90)))
    return Record(
        id=f"req-{random.getrandbits(64):016x}",
        time=int(moment * 1000),
        key=key,
        end_user="",
        endpoint="chat",
        model=model,
        provider=provider,
        upstream_model=upstream,
        status=200 if well else 502,
        outcome="ok" if well else "upstream_error",
        stream=True,
        input_tokens=used[0],
        output_tokens=used[1],
        cache_read_tokens=used[0] // 3,
        cache_write_tokens=0,
        reasoning_tokens=0,
        usage_source="reported" if well else "none",
        cost_micros=round(used[0] * price_in + used[1] * price_out) if well else None,
        latency_ms=took,
        first_token_ms=took / 5 if well else None,
        overhead_ms=random.uniform(0.4, 0.9),
        attempts=tuple(tries),
    )


@asynccontextmanager
async def scene() -> AsyncIterator[Managed]:
    """A gateway with a past, one provider that was added to it, and one that is full."""
    cast = {type: Simulator(type=type, api_key="simulated") for type in ("openai", "azure", "anthropic", "gemini")}
    cast["own"] = Simulator(type="openai_compatible", models=("deepseek-chat", "qwen3-8b"))
    with TemporaryDirectory() as name:
        folder = Path(name)
        database = Database(Secret(f"sqlite:///{folder}/gateway.db"))
        database.prepare()
        Ledger(database).write([*past(now() - 60)])
        database.close()
        for each in cast.values():
            await each.start()
        async with gateway(configuration(folder, cast)) as running:
            here = Managed(running)
            await prepare(here, cast)
            yield here
        for each in cast.values():
            await each.aclose()


async def prepare(here: Managed, cast: dict[str, Simulator]) -> None:
    own = {"name": "own-server", "type": "openai_compatible", "base_url": cast["own"].url, "models": "discover"}
    await here.ask("POST", "providers", json=own)
    await here.ask(
        "POST", "keys", json={"name": "trial", "models": ["gpt-4o-mini"], "budget": {"usd": 1, "every": "day"}}
    )
    cast["azure"].faults = Faults(fail=(("429", 1.0),), retry_after=1800.0)
    for name in ("openai", "azure-eu", "anthropic", "gemini", "own-server"):
        await here.ask("POST", f"providers/{name}/test")
    for _ in range(12):
        await here.call(f"{CLIENT}-web-app", model="gpt-4o-mini")


async def overview(there: Tab) -> None:
    await there.view("Overview")


async def keys(there: Tab) -> None:
    await there.view("Keys")


async def providers(there: Tab) -> None:
    await there.view("Providers")


async def models(there: Tab) -> None:
    await there.view("Models")


async def calls(there: Tab) -> None:
    await there.view("Calls")
    await there.page.get_by_label("Key", exact=True).fill("support-bot")
    await there.press("Show")
    await there.page.get_by_role("button", name="Details").nth(1).click()


async def usage(there: Tab) -> None:
    await there.view("Usage")


async def playground(there: Tab) -> None:
    await there.view("Playground")
    await there.page.get_by_label("Key of a client").fill(f"{CLIENT}-nightly-batch")
    await there.page.get_by_label("Model", exact=True).fill("gpt-4o-mini")
    await there.press("Send")
    await expect(there.page.get_by_role("table", name="Attempts")).to_be_visible()


PICTURES = {
    "overview": overview,
    "providers": providers,
    "models": models,
    "keys": keys,
    "calls": calls,
    "usage": usage,
    "playground": playground,
}

KEPT = ("overview-light", "overview-dark", "providers-light", "keys-dark", "calls-light")
"""Those that documents show."""


async def main(folder: Path, wanted: tuple[str, ...] = KEPT) -> None:
    async with scene() as here:
        url = f"http://127.0.0.1:{here.running.port}/dashboard"
        for colours in ("light", "dark"):
            async with tab(url, size=(1280, 800), dark=colours == "dark") as there:
                await there.sign_in()
                for name, show in PICTURES.items():
                    if f"{name}-{colours}" in wanted:
                        await show(there)
                        picture = await there.page.screenshot(path=folder / f"dashboard-{name}-{colours}.png")
                        assert len(picture) < LARGEST, f"{name} is too large"


if __name__ == "__main__":
    IMAGES.mkdir(exist_ok=True)
    asyncio.run(main(IMAGES))
