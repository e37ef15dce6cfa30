"""Three replicas on one Valkey and one PostgreSQL are one gateway, whatever happens to them."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import AsyncExitStack, contextmanager

import httpx
import pytest
import pytest_asyncio

from gateway.app.times import clock
from gateway.core.call import Price
from gateway.policy.cost import cost
from gateway.simulator.faults import Faults
from gateway.simulator.truth import Served
from gateway.store.redis_counters import LEASE, PREFIX
from tests.house import replicas as house
from tests.house.commands import command
from tests.house.harness import QUESTION
from tests.house.postgres import Postgres, postgres
from tests.house.replicas import CONFIGURATION, PATIENCE, Replica, World, all_show, bearer, eventually, replica, secret
from tests.house.test_budgets import ONE
from tests.house.test_hangup import SILENT
from tests.house.test_limits import USED, allowed, assert_refused
from tests.house.valkey import valkey
from tests.stores.books import opened, told

pytestmark = pytest.mark.asyncio(loop_scope="module")

KEYS = {
    "requests": "limits: {requests_per_minute: 90}",
    "tokens": "limits: {tokens_per_minute: 6000}",
    "waits": "limits: {tokens_per_minute: 60k}",
    "places": "limits: {concurrent_requests: 7}",
    "budget": "budget: {usd: 2, every: month}",
    "overrun": "limits: {concurrent_requests: 5}, budget: {usd: 3, every: month}",
    "refused": "limits: {requests_per_minute: 3, concurrent_requests: 1}, budget: {tokens: 1M, every: month}",
    "killed": "limits: {concurrent_requests: 2}, budget: {usd: 1, every: month}",
    "left": "models: [m]",
    "cooled": "models: [two]",
    "counted": "models: [m]",
    "outage": "models: [m]",
    "frozen": "limits: {requests_per_minute: 60}, budget: {usd: 1000, every: month}",
    "lost": "limits: {requests_per_minute: 60}, budget: {usd: 1000, every: month}",
}
"""Each claim has a key of its own, so that none depends on another."""

MODELS = """
models:
  m: {targets: [{provider: well, model: up}], retries: {attempts: 1}, price: {input: 1000, output: 10000}}
  two: {strategy: ordered, targets: [{provider: full, model: up}, {provider: well, model: up}]}
  still: {targets: [{provider: silent, model: up}], retries: {attempts: 1}, price: {input: 1000, output: 10000}}
keys:
"""
PRICE = Price(input=1_000, output=10_000)

TEXT = MODELS + "\n".join(f"  - {{name: {n}, key: {secret(n)}, priority: high, {rules}}}" for n, rules in KEYS.items())

TOO_MUCH = 1_000_000
"""Tokens that no budget here has room for."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    folder = tmp_path_factory.mktemp("replicas")
    with valkey() as counters, postgres() as database:
        async with house.world(folder, counters, database, TEXT, "well", "full", "silent") as replicas:
            replicas.upstreams["full"].faults = Faults(fail=(("429", 1.0),), retry_after=30)
            replicas.upstreams["silent"].faults = SILENT
            yield replicas


@pytest_asyncio.fixture(loop_scope="module")
async def world(running: World) -> AsyncIterator[World]:
    yield running
    running.upstreams["well"].faults = Faults()


class Account:
    """What the well provider serves from now on."""

    def __init__(self, world: World) -> None:
        self._upstream = world.upstreams["well"]
        self._before = self._upstream.received, len(self._upstream.served)
        self._since = clock()

    @property
    def received(self) -> int:
        return self._upstream.received - self._before[0]

    @property
    def served(self) -> list[Served]:
        return self._upstream.served[self._before[1] :]

    @property
    def tokens(self) -> int:
        return sum(each.usage.total for each in self.served)

    @property
    def micros(self) -> int:
        return sum(cost(each.usage, PRICE) or 0 for each in self.served)

    def refilled(self, a_minute: int) -> float:
        """What time has added to a rate since."""
        return a_minute * (clock() - self._since) / 60


def statuses(answers: Iterable[httpx.Response]) -> Counter[int]:
    return Counter(answer.status_code for answer in answers)


async def micros_used(replica: Replica, key: str) -> int:
    """What a key has spent and holds: told by the refusal of a call that would cost more than there is."""
    refused = await replica.ask(key, max_tokens=TOO_MUCH)
    error = assert_refused(refused, "US dollars this month", code="budget_exceeded")
    told = error["message"].partition("(usd_budget), and ")[2].partition(" are used or reserved")[0]
    return round(float(told.replace(",", "")) * 1_000_000)


async def all_agree(world: World, key: str, account: Account) -> None:
    """Waits until every replica says that the key has spent what was served, and that nothing is held."""

    async def agreed() -> bool:
        return {await micros_used(each, key) for each in world.replicas} == {account.micros}

    await eventually(agreed)


# Never more than is allowed


async def test_together_they_let_in_as_many_requests_as_one_would(world: World) -> None:
    account = Account(world)
    found = statuses(await world.storm("requests", 150))
    assert set(found) == {200, 429}
    assert 90 <= found[200] <= 90 + account.refilled(90)
    assert account.received == found[200]


async def test_together_they_let_through_as_many_tokens_as_one_would(world: World) -> None:
    account = Account(world)
    words = [{"role": "user", "content": "oak " * 50}]
    found = statuses(await world.storm("tokens", 150, messages=words, max_tokens=60))
    assert set(found) == {200, 429}
    assert 3000 < account.tokens <= 6000 + account.refilled(6000)
    assert account.received == found[200]


async def test_no_more_calls_are_under_way_at_all_of_them_than_a_key_has_places(world: World) -> None:
    upstream, most = world.upstreams["well"], 0
    upstream.faults = Faults(first_token_delay=0.05)

    def look() -> bool:
        nonlocal most
        most = max(most, upstream.busy)
        return False

    watch = asyncio.get_running_loop().create_task(upstream.until(look, within=PATIENCE))
    found = statuses(await world.storm("places", 120))
    watch.cancel()
    assert set(found) == {200, 429}
    assert most == 7


async def test_together_they_spend_no_more_than_the_budget_and_agree_on_what_is_spent(world: World) -> None:
    account = Account(world)
    for _ in range(2):  # what others held in the first round may be free in the second
        found = statuses(await world.storm("budget", 60, max_tokens=5))
        assert set(found) <= {200, 429}
    assert 2_000_000 - 2 * ONE < account.micros <= 2_000_000
    await all_agree(world, "budget", account)


async def test_a_budget_is_overrun_by_no_more_than_the_calls_that_were_under_way(world: World) -> None:
    account, places, each = Account(world), 5, 300 * 1_000 + 10_000
    world.upstreams["well"].faults = Faults(first_token_delay=0.01)
    dense = [{"role": "user", "content": "a " * 300}]  # at four bytes a token, half of it is expected
    for _ in range(4):
        await world.storm("overrun", 3 * places, within=0.1, messages=dense, max_tokens=1)
    assert 3_000_000 - each < account.micros < 3_000_000 + places * each
    assert {(await each.ask("overrun", messages=dense)).status_code for each in world.replicas} == {429}


# What a refusal means


async def test_who_waits_for_as_long_as_one_says_is_let_in_by_another(world: World) -> None:
    one, other, _ = world.replicas
    async with asyncio.timeout(PATIENCE):
        while (refused := await one.ask("requests")).status_code == 200:
            pass
    await waited(refused)
    assert (await other.ask("requests")).status_code == 200


async def test_who_waits_for_room_for_all_that_a_minute_has_is_let_in_by_another(world: World) -> None:
    one, other, _ = world.replicas
    words = [{"role": "user", "content": "a " * 500}]
    assert (await one.ask("waits", messages=words, max_tokens=1)).status_code == 200
    refused = await other.ask("waits", max_tokens=60_000)
    assert_refused(refused, "tokens_per_minute")
    await waited(refused)
    assert (await one.ask("waits", max_tokens=60_000)).status_code == 200


async def waited(refused: httpx.Response) -> None:
    """Exactly as long as it says."""
    assert refused.status_code == 429
    await asyncio.sleep(int(refused.headers["retry-after-ms"]) / 1000)


async def test_a_call_that_one_refuses_has_used_nothing_at_any(world: World) -> None:
    account = Account(world)
    refused = await world.storm("refused", 60, max_tokens=TOO_MUCH)
    assert statuses(refused) == {429: 60}
    assert account.received == 0
    answer = await world.replicas[0].ask("refused")
    assert (answer.status_code, allowed(answer)["remaining-requests"]) == (200, "2")

    async def charged() -> bool:
        last = await world.replicas[1].ask("refused", max_tokens=TOO_MUCH)
        return allowed(last)["remaining-tokens"] == str(1_000_000 - USED)

    await eventually(charged)


# Replicas that die


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def killed(running: World) -> None:
    """A fourth replica was killed, after it had answered five calls, and while it held the places of two others."""
    silent = running.upstreams["silent"]
    async with replica(running.folder) as victim:
        assert statuses([await victim.ask("left") for _ in range(5)]) == {200: 5}
        calls = [asyncio.ensure_future(victim.ask("killed", model="still", max_tokens=30)) for _ in range(2)]
        await silent.until(lambda: silent.received == 2, PATIENCE)
        await victim.kill()
        await asyncio.wait(calls)
    assert all(isinstance(call.exception(), httpx.TransportError) for call in calls)


@pytest.mark.usefixtures("killed")
async def test_what_a_killed_replica_held_comes_back_within_the_lease(world: World) -> None:
    account, (one, other, _) = Account(world), world.replicas
    assert_refused(await one.ask("killed"), "concurrent_requests", "2 are used")
    assert await micros_used(other, "killed") > 600_000
    expire(world, "concurrent_requests:minute", "usd_budget:month")
    answers = await asyncio.gather(*(each.ask("killed", max_tokens=4) for each in (one, other)))
    assert statuses(answers) == {200: 2}
    await all_agree(world, "killed", account)
    assert account.micros == 2 * ONE


def expire(world: World, *limits: str) -> None:
    """What is on lease ends within the lease; and here at once, so that nobody has to wait for it."""
    for limit in limits:
        held = f"{PREFIX}key:killed:{limit}:held"
        seconds, _ = world.valkey.command("TIME")
        leases = world.valkey.command("ZRANGE", held, 0, -1, "WITHSCORES")
        assert len(leases) == 2
        for lease, ends in leases:
            assert 0 < float(ends) / 1000 - int(seconds) <= LEASE + 1
            world.valkey.command("ZADD", held, int(seconds) * 1000, lease)


@pytest.mark.usefixtures("killed")
async def test_what_a_killed_replica_had_answered_is_carried_by_the_next_one_that_starts(world: World) -> None:
    async with replica(world.folder):
        assert await in_the_ledger(world, "left", calls=5) == (5 * ONE, 5 * USED)


async def test_what_all_have_answered_is_one_sum_in_the_ledger(world: World) -> None:
    account = Account(world)
    for stream in (False, True):
        assert statuses(await world.storm("counted", 20, stream=stream)) == {200: 20}
    assert await in_the_ledger(world, "counted", calls=40) == (account.micros, account.tokens) == (40 * ONE, 40 * USED)


async def in_the_ledger(world: World, key: str, calls: int) -> tuple[int, int]:
    """What a key has used once so many calls of it are there: micro-dollars and tokens."""
    ledger = opened(world.database)

    async def complete() -> bool:
        return sum(each.calls for each in ledger.usage("key") if each.by == key) == calls

    await eventually(complete)
    sums = told(ledger.usage("key"))[key]
    ledger.close()
    return sums.cost_micros, sums.input_tokens + sums.output_tokens


# What they tell each other


async def test_a_provider_that_asks_one_for_patience_is_left_alone_by_all(world: World) -> None:
    one, *others = world.replicas
    assert (await one.ask("cooled", model="two")).headers["x-gateway-attempts"] == "2"
    await all_show(others, "gateway_target_state", 1, model="two", provider="full")
    answers = [await each.ask("cooled", model="two") for each in world.replicas]
    assert {answer.headers["x-gateway-provider"] for answer in answers} == {"well"}
    assert {answer.headers["x-gateway-attempts"] for answer in answers} == {"1"}
    assert world.upstreams["full"].received == 1


async def test_a_key_that_is_made_works_at_all_and_one_that_is_revoked_at_none_within_five_seconds(
    world: World,
) -> None:
    made = (await command(world.folder, "keys", "create", "late", "--config", CONFIGURATION)).out.strip()
    await all_answer(world.replicas, made, 200)
    await command(world.folder, "keys", "revoke", "late", "--config", CONFIGURATION)
    await all_answer(world.replicas, made, 401)


async def all_answer(replicas: Iterable[Replica], key: str, status: int, within: float = 5) -> None:
    """Waits until they do, no longer than it is promised to take."""

    async def answered() -> bool:
        return {(await post(each, key)).status_code for each in replicas} == {status}

    await eventually(answered, within)


async def post(replica: Replica, key: str) -> httpx.Response:
    return await replica.client.post("/v1/chat/completions", json=QUESTION, headers=bearer(key))


# Without PostgreSQL


async def test_while_the_database_is_away_replicas_go_on_and_start_and_take_its_keys_when_it_is_back(
    world: World,
) -> None:
    made = (await command(world.folder, "keys", "create", "kept", "--config", CONFIGURATION)).out.strip()
    await all_answer(world.replicas, made, 200)
    world.postgres.stop()
    async with AsyncExitStack() as stack:
        with started_again(world.postgres):
            everyone = (*world.replicas, await stack.enter_async_context(replica(world.folder)))
            assert statuses([await each.ask("outage") for each in everyone]) == {200: 4}
            assert [(await post(each, made)).status_code for each in everyone] == [200, 200, 200, 401]
        await all_answer(everyone, made, 200, within=10)


@contextmanager
def started_again(server: Postgres) -> Iterator[None]:
    """In the end, whatever happens."""
    try:
        yield
    finally:
        server.start()


# Without Valkey


@pytest.mark.parametrize("key", ["frozen", "lost"])
async def test_while_valkey_is_away_calls_go_on_within_their_limits_and_nothing_is_forgotten(
    world: World, key: str
) -> None:
    account, server = Account(world), world.valkey
    away, back = (server.freeze, server.thaw) if key == "frozen" else (server.kill, server.start)
    first = await asyncio.gather(*(each.ask(key) for each in world.replicas))
    away()
    try:
        during = await world.storm(key, 150)
        await all_show(world.replicas, "gateway_limits_shared", 0)
    finally:
        back()
    assert set(statuses(during)) == {200, 429}
    assert max(answer.elapsed.total_seconds() for answer in during) < 5
    assert 30 <= statuses(during)[200] <= 60 + account.refilled(60)
    await all_show(world.replicas, "gateway_limits_shared", 1)
    after = await world.storm(key, 60)
    assert statuses([*first, *during, *after])[200] <= 60 + 3 + account.refilled(60)
    await all_agree(world, key, account)
