"""One deadline for a call, over all its attempts: the configuration's, or the client's own where that is earlier."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import openai
import pytest

from gateway.app.times import clock
from gateway.core.call import Json
from gateway.routing.health import Standing
from gateway.simulator.faults import Faults
from gateway.simulator.server import Simulator
from tests.house.harness import KEY, QUESTION, Running, config, gateway
from tests.house.test_serve import LONG, error_in, failing, said
from tests.house.test_transport_time import unaccepting

LATE = 0.1
"""Seconds after its deadline by which a call must have been answered."""

EARLY = 0.005
"""Seconds by which timers of the event loop may ring too soon."""

SILENT = failing("silent")
STREAMED = QUESTION | {"stream": True}
READ_TIMEOUT, TIMEOUT = "x-stainless-read-timeout", "X-Stainless-Timeout"
WHOLE_AND_STREAMED = pytest.mark.parametrize("body", [QUESTION, STREAMED], ids=["whole", "streamed"])


async def ask(running: Running, body: Json, **headers: str) -> httpx.Response:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return await running.client.post("/v1/chat/completions", json=body, headers=names)


def assert_timed_out(answer: httpx.Response, running: Running, after: float) -> None:
    assert (answer.status_code, answer.json()["error"]["code"]) == (504, "upstream_timeout")
    assert_took(after, running)


def assert_took(seconds: float, running: Running) -> None:
    assert seconds - EARLY < running.entries[-1].latency < seconds + LATE


def sdk(running: Running, patience: float) -> openai.AsyncOpenAI:
    """OpenAI's own client. It says how patient it is, and then waits for longer, so that the answer can be seen."""

    async def wait_longer(request: httpx.Request) -> None:
        request.extensions["timeout"]["read"] = 10.0

    return openai.AsyncOpenAI(
        base_url=str(running.client.base_url) + "/v1",
        api_key=KEY,
        timeout=patience,
        max_retries=0,
        http_client=openai.DefaultAsyncHttpxClient(event_hooks={"request": [wait_longer]}),
    )


# The configuration's


@WHOLE_AND_STREAMED
async def test_the_total_time_holds_over_all_targets_and_fallbacks(body: Json) -> None:
    limits = "    timeouts: {first_token: 300ms, total: 700ms}\n    retries: {attempts: 9}\n"
    async with Simulator(SILENT) as silent, gateway(config(*[silent.url] * 3, model=limits)) as running:
        assert_timed_out(await ask(running, body), running, after=0.7)
        tried = [attempt.outcome for attempt in running.entries[0].tried]
        assert tried == ["first_token_timeout", "first_token_timeout", "deadline"]
        await silent.until(lambda: len(silent.hangups) == 3)


@WHOLE_AND_STREAMED
async def test_a_silent_target_leaves_time_for_the_next(body: Json) -> None:
    async with (
        Simulator(SILENT) as silent,
        Simulator() as well,
        gateway(config(silent.url, well.url, model="    timeouts: {total: 700ms}\n")) as running,
    ):
        answer = await ask(running, body)
        assert (answer.status_code, answer.headers["x-gateway-provider"]) == (200, "p1")


async def test_a_wait_for_a_full_target_that_would_outlast_the_deadline_is_not_begun() -> None:
    full = Faults(fail=(("429", 1.0),), retry_after=2)
    async with Simulator(full) as only, gateway(config(only.url, model="    timeouts: {total: 1s}\n")) as running:
        answer = await ask(running, QUESTION)
        assert (answer.status_code, answer.headers["retry-after"]) == (429, "2")
        assert running.entries[0].latency < LATE


async def test_a_stream_that_has_begun_ends_with_an_error_at_the_deadline() -> None:
    slow = Faults(chunk_delay=0.1)
    async with Simulator(slow) as only, gateway(config(only.url, model="    timeouts: {total: 500ms}\n")) as running:
        answer = await ask(running, LONG | {"stream": True})
        assert answer.status_code == 200
        assert said(answer.text)
        assert error_in(answer.text)["code"] == "upstream_timeout"
        assert "[DONE]" not in answer.text
        assert_took(0.5, running)


# The client's


@WHOLE_AND_STREAMED
@pytest.mark.parametrize(("header", "seconds"), [(READ_TIMEOUT, "0.30000000000000004"), (TIMEOUT, "0.3")])
async def test_a_client_that_says_for_how_long_it_waits_is_answered_by_then(
    body: Json, header: str, seconds: str
) -> None:
    async with Simulator(SILENT) as only, gateway(config(only.url)) as running:
        assert_timed_out(await ask(running, body, **{header: seconds}), running, after=0.3)
        await only.until(lambda: len(only.hangups) == 1)


async def test_openais_sdk_gets_an_answer_when_it_would_give_up() -> None:
    async with Simulator(SILENT) as only, gateway(config(only.url)) as running, sdk(running, 0.5) as client:
        for stream in (False, True):
            with pytest.raises(openai.InternalServerError) as failed:
                await client.chat.completions.create(**QUESTION, stream=stream)
            assert (failed.value.status_code, failed.value.code) == (504, "upstream_timeout")
            assert_took(0.5, running)


async def test_openais_sdk_left_to_itself_waits_no_longer_than_it_said() -> None:
    async with Simulator(SILENT) as only, gateway(config(only.url)) as running:
        base_url = str(running.client.base_url) + "/v1"
        async with openai.AsyncOpenAI(base_url=base_url, api_key=KEY, timeout=0.5, max_retries=0) as client:
            since = clock()
            with pytest.raises((openai.APITimeoutError, openai.InternalServerError)):
                await client.chat.completions.create(**QUESTION)
            assert clock() - since < 0.5 + LATE
        await only.until(lambda: len(only.hangups) == 1)


async def test_the_clients_patience_ends_with_the_first_token_of_a_stream() -> None:
    lasting = Faults(chunk_delay=0.1)
    async with Simulator(lasting) as only, gateway(config(only.url)) as running, sdk(running, 0.5) as client:
        stream = await client.chat.completions.create(**LONG, stream=True)
        text = "".join([chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices])
        assert text == "You said: one two three four five six seven eight nine ten"
        (entry,) = running.entries
        assert entry.outcome == "ok"
        assert entry.latency > 1.0


@WHOLE_AND_STREAMED
async def test_a_patient_client_does_not_raise_the_total_time(body: Json) -> None:
    short = "    timeouts: {total: 300ms}\n"
    async with Simulator(SILENT) as only, gateway(config(only.url, model=short)) as running:
        assert_timed_out(await ask(running, body, **{READ_TIMEOUT: "600"}), running, after=0.3)


async def test_what_is_no_number_of_seconds_is_no_deadline() -> None:
    values = ["-1", "0", "0.0", "nan", "inf", "1e-3", "0x1", "", "soon", "0,01", "9" * 400]
    async with Simulator(Faults(first_token_delay=0.1)) as only, gateway(config(only.url)) as running:
        answers = await asyncio.gather(*(ask(running, QUESTION, **{READ_TIMEOUT: value}) for value in values))
        assert [answer.status_code for answer in answers] == [200] * len(values)


# Whose fault it was


def standing(running: Running) -> Standing:
    return running.gateway.board.known()["p0", "upstream-0"].standing(clock())


@WHOLE_AND_STREAMED
@pytest.mark.parametrize(
    ("headers", "expected"),
    [({READ_TIMEOUT: "0.1"}, Standing.READY), ({}, Standing.EJECTED)],
    ids=["the client's", "the configuration's"],
)
async def test_a_target_is_not_ill_because_a_client_was_impatient(
    body: Json, headers: dict[str, Any], expected: Standing
) -> None:
    touchy = "    breaker: {failures: 1}\n    timeouts: {total: 400ms}\n"
    async with Simulator(SILENT) as only, gateway(config(only.url, model=touchy)) as running:
        assert (await ask(running, body, **headers)).status_code == 504
        assert standing(running) is expected


async def test_nor_is_it_when_the_client_gave_no_time_to_connect() -> None:
    touchy = "    breaker: {failures: 1}\n"
    async with unaccepting() as origin, gateway(config(origin + "/v1", model=touchy)) as running:
        assert_timed_out(await ask(running, QUESTION, **{READ_TIMEOUT: "0.1"}), running, after=0.1)
        assert [tried.outcome for tried in running.entries[0].tried] == ["deadline"]
        assert standing(running) is Standing.READY
