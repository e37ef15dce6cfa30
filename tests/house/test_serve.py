"""The whole house, over real sockets: simulated upstreams, a real server, a real client."""

from __future__ import annotations

import asyncio
import time

import orjson
import pytest

from gateway.core.call import Json
from gateway.simulator.faults import Faults
from gateway.simulator.server import Simulator
from tests.house.harness import KEY, QUESTION, Running, config, gateway

STREAMED = QUESTION | {"stream": True}
LONG = QUESTION | {"messages": [{"role": "user", "content": "one two three four five six seven eight nine ten"}]}


def failing(fault: str) -> Faults:
    return Faults(fail=((fault, 1.0),))


def said(stream: str) -> str:
    """The text of a stream's chunks."""
    chunks = [orjson.loads(line[6:]) for line in stream.splitlines() if line.startswith("data: {")]
    deltas = [choice["delta"] for chunk in chunks for choice in chunk.get("choices", ())]
    return "".join(delta.get("content") or "" for delta in deltas)


def error_in(stream: str) -> Json:
    """The error event that ends a stream."""
    events = [line for line in stream.splitlines() if line.startswith("data: ")]
    error: Json = orjson.loads(events[-1][6:])["error"]
    return error


async def ask(running: Running, body: Json = QUESTION) -> tuple[int, str]:
    answer = await running.client.post("/v1/chat/completions", json=body)
    return answer.status_code, answer.text


FAULTS_BEFORE_OUTPUT = [
    "500",
    "503",
    "529",
    "429",
    "401",
    "404",
    "reset",
    "close",
    "html",
    "empty",
    "null",
    "error-in-200",
]


@pytest.mark.parametrize("body", [QUESTION, STREAMED], ids=["whole", "streamed"])
@pytest.mark.parametrize("fault", FAULTS_BEFORE_OUTPUT)
async def test_with_a_healthy_second_target_the_client_hears_of_no_failure(fault: str, body: Json) -> None:
    async with Simulator(failing(fault)) as ill, Simulator() as well, gateway(config(ill.url, well.url)) as running:
        answer = await running.client.post("/v1/chat/completions", json=body)
        assert answer.status_code == 200
        assert "hello there" in (said(answer.text) if body.get("stream") else answer.text)
        assert answer.headers["x-gateway-provider"] == "p1"
        assert answer.headers["x-gateway-model"] == "upstream-1"
        (entry,) = running.entries
        assert (entry.outcome, entry.tried[-1].outcome) == ("ok", "ok")
        assert answer.headers["x-gateway-attempts"] == str(len(entry.tried))


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [
        ("500", 502, "upstream_error"),
        ("503", 503, "upstream_error"),
        ("529", 503, "upstream_error"),
        ("429", 429, "rate_limit_exceeded"),
        ("401", 502, "upstream_auth_error"),
        ("403", 502, "upstream_auth_error"),
        ("404", 404, "model_not_found"),
        ("reset", 502, "upstream_unreachable"),
        ("close", 502, "upstream_unreachable"),
        ("html", 502, "upstream_error"),
        ("empty", 502, "upstream_error"),
        ("null", 502, "upstream_error"),
    ],
)
@pytest.mark.parametrize("body", [QUESTION, STREAMED], ids=["whole", "streamed"])
async def test_when_every_target_fails_the_client_gets_a_status(fault: str, status: int, code: str, body: Json) -> None:
    async with Simulator(failing(fault)) as ill, gateway(config(ill.url)) as running:
        got, text = await ask(running, body)
        assert (got, orjson.loads(text)["error"]["code"]) == (status, code)
        (entry,) = running.entries
        assert entry.status == status
        assert entry.outcome == "upstream_error"


async def test_a_refused_request_is_passed_on_and_not_tried_elsewhere() -> None:
    async with Simulator(failing("400")) as ill, Simulator() as well, gateway(config(ill.url, well.url)) as running:
        status, text = await ask(running)
        assert status == 400
        assert orjson.loads(text)["error"]["type"] == "invalid_request_error"
        assert not well.requests
        assert running.entries[0].outcome == "client_error"


async def test_a_stream_that_fails_before_its_first_output_is_tried_elsewhere() -> None:
    stillborn = Faults(fail=(("error-in-stream", 1.0),), error_after=0)
    async with Simulator(stillborn) as ill, Simulator() as well, gateway(config(ill.url, well.url)) as running:
        status, text = await ask(running, STREAMED)
        assert status == 200
        assert "hello there" in said(text)
        assert text.endswith("data: [DONE]\n\n")
        assert text.count('"role"') == 1
        assert running.entries[0].tried[0].outcome == "server_error"


@pytest.mark.parametrize(
    "fault",
    [Faults(cut_after=2), Faults(fail=(("error-in-stream", 1.0),), error_after=2, chunk_delay=0.02)],
    ids=["cut", "error event"],
)
async def test_a_stream_that_fails_after_output_ends_as_an_error(fault: Faults) -> None:
    async with Simulator(fault) as ill, Simulator() as well, gateway(config(ill.url, well.url)) as running:
        status, text = await ask(running, LONG | {"stream": True})
        assert status == 200
        assert said(text)
        assert error_in(text)["type"] == "upstream_error"
        assert "[DONE]" not in text
        assert not well.requests
        (entry,) = running.entries
        assert (entry.outcome, entry.usage_source) == ("truncated", "estimated")


async def test_a_stream_without_its_full_stop_is_an_error() -> None:
    async with Simulator(failing("no-done")) as ill, gateway(config(ill.url)) as running:
        _, text = await ask(running, STREAMED)
        assert error_in(text)["code"] == "upstream_stream_truncated"
        assert "[DONE]" not in text


async def test_fallbacks_serve_when_all_targets_have_failed() -> None:
    more = "    fallbacks: [other]\n  other: {targets: [{provider: p1, model: spare}]}"
    async with Simulator(failing("500")) as ill, Simulator() as well:
        text = config(ill.url, well.url).replace("      - {provider: p1, model: upstream-1}\n", more + "\n")
        async with gateway(text) as running:
            answer = await running.client.post("/v1/chat/completions", json=QUESTION)
            assert answer.status_code == 200
            assert answer.headers["x-gateway-model"] == "spare"
            assert running.entries[0].model == "m"


async def test_attempts_are_bounded_and_the_sdk_is_told_not_to_multiply_them() -> None:
    async with (
        Simulator(failing("500")) as ill,
        gateway(config(ill.url, ill.url, ill.url, model="    retries: {attempts: 4}")) as running,
    ):
        answer = await running.client.post("/v1/chat/completions", json=QUESTION)
        assert answer.status_code == 502
        assert len(ill.requests) == 4
        assert answer.headers["x-gateway-attempts"] == "4"
        assert answer.headers["x-should-retry"] == "false"


async def test_a_providers_wait_is_passed_on() -> None:
    limited = Faults(fail=(("429", 1.0),), retry_after=7)
    async with Simulator(limited) as ill, gateway(config(ill.url)) as running:
        answer = await running.client.post("/v1/chat/completions", json=QUESTION)
        assert answer.headers["retry-after"] == "7"
        assert 6500 < int(answer.headers["retry-after-ms"]) <= 7000
        assert "x-should-retry" not in answer.headers


@pytest.mark.parametrize("body", [QUESTION, STREAMED], ids=["whole", "streamed"])
async def test_no_call_outlives_its_total_time(body: Json) -> None:
    slow = config("URL", model="    timeouts: {total: 300ms, connect: 200ms}")
    async with Simulator(failing("silent")) as ill, gateway(slow.replace("URL", ill.url)) as running:
        begun = time.monotonic()
        status, text = await ask(running, body)
        assert time.monotonic() - begun < 1
        assert (status, orjson.loads(text)["error"]["code"]) == (504, "upstream_timeout")
        await ill.until(lambda: bool(ill.hangups))


async def test_a_late_first_token_sends_the_call_elsewhere() -> None:
    text = config("ILL", "WELL", model="    timeouts: {first_token: 150ms}")
    async with Simulator(Faults(stall_after=0)) as ill, Simulator() as well:
        served = text.replace("ILL", ill.url).replace("WELL", well.url)
        async with gateway(served) as running:
            status, stream = await ask(running, STREAMED)
            assert status == 200
            assert "hello there" in said(stream)
            assert [tried.outcome for tried in running.entries[0].tried] == ["first_token_timeout", "ok"]


async def test_silence_in_the_middle_of_a_stream_ends_it_as_an_error() -> None:
    text = config("URL", model="    timeouts: {idle: 150ms}")
    async with Simulator(Faults(stall_after=2)) as ill, gateway(text.replace("URL", ill.url)) as running:
        _, stream = await ask(running, LONG | {"stream": True})
        assert error_in(stream)["code"] == "upstream_timeout"
        assert running.entries[0].tried[0].outcome == "idle_timeout"


async def test_a_client_that_waits_hears_comments_and_the_call_may_still_go_elsewhere() -> None:
    text = config("ILL", "WELL", model="    timeouts: {first_token: 2500ms}")
    async with Simulator(failing("silent")) as ill, Simulator() as well:
        served = text.replace("ILL", ill.url).replace("WELL", well.url)
        async with gateway(served, heartbeat=1.0) as running:
            status, stream = await ask(running, STREAMED)
            assert status == 200
            assert stream.startswith(": ping\n\n: ping\n\ndata: {")
            assert stream.endswith("data: [DONE]\n\n")


async def test_after_a_heartbeat_an_error_can_only_be_told_in_the_stream() -> None:
    text = config("URL", model="    timeouts: {first_token: 1500ms}")
    async with Simulator(failing("silent")) as ill, gateway(text.replace("URL", ill.url), heartbeat=1.0) as running:
        status, stream = await ask(running, STREAMED)
        assert status == 200
        assert error_in(stream)["code"] == "upstream_timeout"
        assert running.entries[0].outcome == "upstream_error"


async def test_a_sound_answer_is_relayed_byte_for_byte() -> None:
    async with Simulator() as upstream, gateway(config(upstream.url)) as running:
        _, through = await ask(running)
        direct = await running.client.post(upstream.url + "/chat/completions", json=QUESTION | {"model": "upstream-0"})
        assert orjson.loads(through).keys() == direct.json().keys()
        assert len(through) == len(direct.text)


@pytest.mark.parametrize("asked", [True, False])
async def test_usage_is_always_asked_for_and_told_only_to_those_who_asked(asked: bool) -> None:
    body = STREAMED | ({"stream_options": {"include_usage": True}} if asked else {})
    async with Simulator() as upstream, gateway(config(upstream.url)) as running:
        _, stream = await ask(running, body)
        sent = orjson.loads(upstream.requests[0].body)
        assert sent["stream_options"] == {"include_usage": True}
        assert ('"usage"' in stream) is asked
        (entry,), (truth,) = running.entries, upstream.served
        assert entry.usage is not None
        assert (entry.usage.input, entry.usage.output) == (truth.prompt_tokens, truth.completion_tokens)
        assert entry.usage_source == "reported"


async def test_the_provider_gets_its_own_key_and_name_of_the_model() -> None:
    async with Simulator() as upstream, gateway(config(upstream.url)) as running:
        await ask(running, QUESTION | {"user": "somebody"})
        (request,) = upstream.requests
        assert dict(request.headers)[b"authorization"] == b"Bearer sk-0"
        body = orjson.loads(request.body)
        assert body["model"] == "upstream-0"
        assert "user" not in body


async def test_a_running_call_ends_on_the_configuration_it_began_with() -> None:
    slow = Faults(chunk_delay=0.02)
    async with Simulator(slow) as old, Simulator() as new, gateway(config(old.url)) as running:
        from gateway.config.resolve import loads_all

        streaming = asyncio.get_running_loop().create_task(ask(running, LONG | {"stream": True}))
        await old.until(lambda: bool(old.requests))
        swapping = asyncio.get_running_loop().create_task(
            running.gateway.swap(loads_all(config(new.url), name="new", environ={}))
        )
        await asyncio.sleep(0)
        status, _ = await ask(running)
        assert status == 200
        assert (len(old.requests), len(new.requests)) == (1, 1)
        assert not swapping.done()
        status, stream = await streaming
        assert stream.endswith("data: [DONE]\n\n")
        await asyncio.wait_for(swapping, 2)
        await old.until(lambda: not old.open_connections)


async def test_many_calls_at_once_are_each_settled_once() -> None:
    mixed = Faults(fail=(("500", 0.2), ("reset", 0.2), ("429", 0.2)))
    async with Simulator(mixed) as flaky, Simulator() as well, gateway(config(flaky.url, well.url)) as running:
        answers = await asyncio.gather(*(ask(running, body) for body in [QUESTION, STREAMED] * 100))
        assert [status for status, _ in answers] == [200] * 200
        assert len(running.entries) == 200
        assert len({entry.id for entry in running.entries}) == 200


async def test_a_client_of_http_1_0_gets_its_stream_without_chunks_and_then_the_end() -> None:
    async with Simulator() as upstream, gateway(config(upstream.url)) as running:
        reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
        body = orjson.dumps(STREAMED)
        writer.write(
            b"POST /v1/chat/completions HTTP/1.0\r\nauthorization: Bearer %b\r\ncontent-type: application/json\r\n"
            b"content-length: %d\r\n\r\n%b" % (KEY.encode(), len(body), body)
        )
        head, _, stream = (await asyncio.wait_for(reader.read(), 5)).partition(b"\r\n\r\n")
        writer.close()
        assert b"transfer-encoding" not in head
        assert stream.startswith(b"data: {")
        assert stream.endswith(b"data: [DONE]\n\n")


async def test_what_a_provider_quotes_of_our_credentials_reaches_nobody() -> None:
    canaries = ("sk-canary-0123456789", "org-canary-0123456789")
    told = orjson.dumps({"error": {"message": " and ".join(canaries), "type": "invalid_request_error"}})

    async def quote(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 400 No\r\nconnection: close\r\ncontent-length: %d\r\n\r\n%b" % (len(told), told))
        writer.close()

    server = await asyncio.start_server(quote, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    text = config(url).replace("api_key: sk-0", f"api_key: {canaries[0]}, organization: {canaries[1]}")
    async with server, gateway(text) as running:
        status, answer = await ask(running)
        assert (status, orjson.loads(answer)["error"]["message"]) == (400, "*** and ***")
    assert not any(canary.encode() in running.log for canary in canaries)
