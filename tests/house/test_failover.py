"""Which target gets a call when others are full, ill or unfit: seen from outside, over real sockets."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import orjson
import pytest

from gateway.app.times import clock
from gateway.core.call import Json
from gateway.routing.health import Standing
from gateway.simulator.faults import Faults
from gateway.simulator.server import Simulator
from tests.house.harness import QUESTION, Running, config, gateway
from tests.house.test_hangup import until
from tests.house.test_serve import failing

ONE_TRY_EACH = "    retries: {attempts: 2}\n"
SENSITIVE = ONE_TRY_EACH + "    breaker: {failures: 5, ejection: 300ms}\n"
LONG_TALK = [{"role": "user", "content": "word " * 500}]
IN_NEED = {"401": 502, "404": 404, "insufficient-quota": 503}
"""Failures that only a person can mend, and what a client hears of them."""
PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}


async def ask(running: Running, **fields: Any) -> httpx.Response:
    return await running.client.post("/v1/chat/completions", json={**QUESTION, **fields})


async def served_by(running: Running, **fields: Any) -> str:
    """The provider that answered a call. Fails if none did."""
    answer = await ask(running, **fields)
    assert answer.status_code == 200, answer.text
    return answer.headers["x-gateway-provider"]


def standing(running: Running, number: int = 0) -> Standing:
    return running.gateway.board.known()[f"p{number}", f"upstream-{number}"].standing(clock())


async def shown(running: Running, number: int = 0) -> float:
    """Where the metrics say that a target stands."""
    exposition = (await running.client.get("/metrics")).text
    row = f'gateway_target_state{{model="m",provider="p{number}",target="upstream-{number}"}} '
    return next(float(line.removeprefix(row)) for line in exposition.splitlines() if line.startswith(row))


def events(running: Running) -> list[tuple[str, str]]:
    """What the log says of targets: the event and the provider."""
    lines = [orjson.loads(line) for line in running.log.splitlines()]
    return [(line["event"], line["provider"]) for line in lines if line["event"].startswith("target_")]


async def calls(running: Running, number: int) -> None:
    """So many streams, one after the other, whatever comes of them."""
    for _ in range(number):
        await ask(running, stream=True)


async def has_its_calls_again(running: Running) -> None:
    """Calls until the first target answers. Fails if that does not come to pass."""
    async with asyncio.timeout(2):
        while await served_by(running) != "p0":
            pass


def with_others(text: str, **urls: str) -> str:
    """The configuration with more models, each of a name and at a provider of the same name."""
    providers = "".join(f"  {name}: {{type: openai, base_url: '{url}', api_key: k}}\n" for name, url in urls.items())
    models = "".join(f"  {name}: {{targets: [{{provider: {name}, model: {name}}}]}}\n" for name in urls)
    return text.replace("models:\n", providers + "models:\n").replace("keys:\n", models + "keys:\n")


# Full


async def test_a_provider_that_asks_for_a_pause_gets_it_and_then_its_calls_again() -> None:
    async with Simulator(failing("429")) as full, Simulator() as other, gateway(config(full.url, other.url)) as running:
        assert await served_by(running) == "p1"
        told = clock()
        full.faults = Faults()
        assert [await served_by(running) for _ in range(5)] == ["p1"] * 5
        assert (full.received, await shown(running)) == (1, 1)
        await until(lambda: standing(running) is Standing.READY)
        assert clock() - told > 0.9
        assert await served_by(running) == "p0"
        assert await shown(running) == 0
    assert events(running) == [("target_cooling_down", "p0")]


async def test_when_all_are_full_for_a_moment_calls_wait_for_it() -> None:
    async with Simulator(failing("429")) as a, Simulator(failing("429")) as b, gateway(config(a.url, b.url)) as running:
        since = clock()
        first = asyncio.get_running_loop().create_task(served_by(running))
        await until(lambda: a.received == b.received == 1)
        a.faults = b.faults = Faults()
        await asyncio.gather(served_by(running), served_by(running), first)
        assert 1.0 < clock() - since < 2.0
        assert a.received + b.received == 2 + 3
        assert min(entry.latency for entry in running.entries) > 0.9


async def test_when_all_are_full_for_long_the_client_is_told_the_shortest_wait_and_nobody_is_asked() -> None:
    a, b = (Simulator(Faults(fail=(("429", 1.0),), retry_after=seconds)) for seconds in (20, 30))
    async with a, b, gateway(config(a.url, b.url)) as running:
        for _ in range(3):
            answer = await ask(running)
            assert (answer.status_code, answer.json()["error"]["code"]) == (429, "rate_limit_exceeded")
            assert answer.headers["retry-after"] == "20"
            assert 18_000 < int(answer.headers["retry-after-ms"]) <= 20_000
        assert (a.received, b.received) == (1, 1)
        assert [len(entry.tried) for entry in running.entries] == [2, 0, 0]


async def test_an_overload_with_a_pause_is_told_as_a_503() -> None:
    overloaded = Faults(fail=(("503", 1.0),), retry_after=20)
    async with Simulator(overloaded) as only, gateway(config(only.url)) as running:
        for _ in range(2):
            answer = await ask(running)
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "20")
        assert only.received == 1


# In need of a person


@pytest.mark.parametrize("fault", IN_NEED)
async def test_what_only_a_person_can_mend_is_left_alone(fault: str) -> None:
    async with Simulator(failing(fault)) as ill, Simulator() as well, gateway(config(ill.url, well.url)) as running:
        assert [await served_by(running) for _ in range(3)] == ["p1"] * 3
        assert (ill.received, await shown(running)) == (1, 1)
    assert events(running) == [("target_cooling_down", "p0")]


@pytest.mark.parametrize(("fault", "status"), IN_NEED.items())
async def test_with_nobody_else_it_is_asked_each_time_so_that_mending_helps_at_once(fault: str, status: int) -> None:
    async with Simulator(failing(fault)) as ill, gateway(config(ill.url)) as running:
        assert [(await ask(running)).status_code for _ in range(3)] == [status] * 3
        assert ill.received == 3
        ill.faults = Faults()
        assert await served_by(running) == "p0"
        assert await shown(running) == 0
    assert events(running)[0] == ("target_cooling_down", "p0")
    assert events(running)[-1] == ("target_well", "p0")


# Ill


@pytest.mark.parametrize("hedge", ["", "    hedge: 50%\n"], ids=["", "hedged"])
async def test_five_failures_eject_a_target_and_one_probe_brings_it_back(hedge: str) -> None:
    async with (
        Simulator() as ill,
        Simulator() as well,
        gateway(config(ill.url, well.url, model=SENSITIVE + hedge)) as running,
    ):
        await calls(running, 25)
        ill.faults = failing("500")
        await calls(running, 5)
        assert (standing(running), await shown(running)) == (Standing.EJECTED, 2)
        await calls(running, 5)
        assert ill.received == 25 + 5
        ill.faults = Faults(first_token_delay=1.0)
        await until(lambda: standing(running) is Standing.READY)
        answered = await asyncio.gather(*(served_by(running, stream=True) for _ in range(20)))
        assert answered.count("p0") == ill.received - 30 == 1
        await has_its_calls_again(running)
        assert await shown(running) == 0
    assert events(running) == [("target_ejected", "p0"), ("target_well", "p0")]


async def test_a_probe_that_fails_ejects_again_and_for_longer() -> None:
    async with (
        Simulator(failing("500")) as ill,
        Simulator() as well,
        gateway(config(ill.url, well.url, model=SENSITIVE)) as running,
    ):
        await calls(running, 5)
        await until(lambda: standing(running) is Standing.READY)
        assert await served_by(running) == "p1"
        assert (ill.received, standing(running)) == (6, Standing.EJECTED)
        again = clock()
        await until(lambda: standing(running) is Standing.READY)
        assert 0.5 < clock() - again < 0.8
    assert events(running) == [("target_ejected", "p0")] * 2


async def test_the_last_target_is_asked_however_ill_it_is() -> None:
    async with Simulator(failing("500")) as ill, gateway(config(ill.url, model=SENSITIVE)) as running:
        await calls(running, 10)
        assert ill.received >= 10
        assert await shown(running) == 0
        ill.faults = Faults()
        assert await served_by(running) == "p0"


async def test_of_two_that_are_ill_only_one_is_shown_as_ejected() -> None:
    async with (
        Simulator(failing("500")) as a,
        Simulator(failing("500")) as b,
        gateway(config(a.url, b.url, model=SENSITIVE)) as running,
    ):
        await calls(running, 8)
        assert {await shown(running, 0), await shown(running, 1)} == {2, 0}


async def test_retries_add_no_more_than_a_fifth_to_the_load_of_a_provider_in_trouble() -> None:
    troubled = Faults(fail=(("500", 0.3),))
    patient = "    breaker: {failures: 1000}\n"
    async with Simulator(troubled) as ill, gateway(config(ill.url, model=patient)) as running:
        answers = await asyncio.gather(*(ask(running) for _ in range(200)))
        assert {answer.status_code for answer in answers} == {200, 502}
        assert 200 < ill.received <= 1.2 * 200 + 3


# Unfit


@pytest.mark.parametrize("type", ["openai", "anthropic"])
@pytest.mark.parametrize(("fault", "field"), [("context-length", "context"), ("content-filter", "content")])
async def test_what_a_provider_refuses_as_too_long_or_unseemly_goes_to_the_fallbacks_for_that(
    type: str, fault: str, field: str
) -> None:
    more = f"    {field}_fallbacks: [other]\n    fallbacks: [wrong]\n"
    async with Simulator(failing(fault), type=type) as first, Simulator() as fallback, Simulator() as wrong:
        text = with_others(config(first.url, model=more, type=type), other=fallback.url, wrong=wrong.url)
        async with gateway(text) as running:
            answer = await ask(running)
            assert (answer.status_code, answer.headers["x-gateway-provider"]) == (200, "other")
            assert (first.received, fallback.received, wrong.received) == (1, 1, 0)
            assert standing(running) is Standing.READY


async def test_a_prompt_that_is_known_to_be_too_long_goes_elsewhere_without_asking() -> None:
    more = "    context_fallbacks: [other]\n"
    async with Simulator() as small, Simulator() as large:
        text = with_others(config(small.url, model=more), other=large.url)
        async with gateway(text.replace("model: upstream-0", "model: upstream-0, context: 100")) as running:
            assert await served_by(running) == "p0"
            assert await served_by(running, messages=LONG_TALK) == "other"
            assert (small.received, large.received) == (1, 1)


async def test_an_image_goes_only_to_a_target_that_sees() -> None:
    async with Simulator() as blind, Simulator() as sees:
        text = config(blind.url, sees.url).replace("model: upstream-0", "model: upstream-0, lacks: [images]")
        async with gateway(text) as running:
            assert await served_by(running) == "p0"
            shown = [{"role": "user", "content": [{"type": "text", "text": "Which?"}, PICTURE]}]
            assert await served_by(running, messages=shown) == "p1"
            assert blind.received == 1


async def test_a_conversation_stays_with_its_target_and_moves_only_while_that_is_unwell() -> None:
    def talk(number: int, length: int) -> list[Json]:
        later = [{"role": "assistant", "content": "Yes?"}, {"role": "user", "content": "go on"}]
        return [{"role": "user", "content": f"This is talk {number}."}, *later * length]

    async with Simulator() as a, Simulator() as b:
        text = config(a.url, b.url, model="    sticky: true\n" + SENSITIVE).replace("strategy: ordered", "")
        async with gateway(text) as running:
            homes = [await served_by(running, messages=talk(number, 0)) for number in range(12)]
            assert set(homes) == {"p0", "p1"}
            for length in (1, 2):
                assert [await served_by(running, messages=talk(number, length)) for number in range(12)] == homes
            a.faults = failing("429")
            assert [await served_by(running, messages=talk(number, 3)) for number in range(12)] == ["p1"] * 12
            a.faults = Faults()
            await until(lambda: standing(running) is Standing.READY)
            assert [await served_by(running, messages=talk(number, 4)) for number in range(12)] == homes
