"""Traces as a collector gets them: a real gateway, real providers, a real receiver of OTLP."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys

import httpx
import orjson
import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from opentelemetry.semconv._incubating.attributes.gen_ai_attributes import GenAiProviderNameValues

from gateway.app.times import clock, now
from gateway.config.vendor_table import VENDORS
from gateway.core.call import Json
from gateway.simulator.faults import Faults
from gateway.simulator.server import Simulator
from gateway.sinks.traces import SENT_WITHIN
from gateway.sinks.traces import VENDORS as OTHERWISE
from tests.house import test_aws
from tests.house.collector import collector, told
from tests.house.commands import ROOT
from tests.house.harness import QUESTION, Running, config, gateway
from tests.house.scripted import scripted, until
from tests.house.test_hedging import race
from tests.house.test_serve import failing

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
CANARY = "canary-7f3a"
PRICED = "    price: {input: 1, output: 2}\n"


async def ask(running: Running, headers: dict[str, str] | None = None, **fields: object) -> httpx.Response:
    return await running.client.post("/v1/chat/completions", json={**QUESTION, **fields}, headers=headers)


def upstream_parents(simulator: Simulator) -> list[str]:
    """The `traceparent` of each request that a provider got; empty for one without."""
    return [dict(request.headers).get(b"traceparent", b"").decode() for request in simulator.requests]


def lines(running: Running) -> list[Json]:
    """What the log says of calls."""
    every = [orjson.loads(line) for line in running.log.splitlines()]
    return [line for line in every if line["event"] == "call"]


async def test_a_call_and_its_attempt_are_spans_of_one_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    async with collector(monkeypatch) as receiver, Simulator() as provider:
        async with gateway(config(provider.url, model=PRICED)) as running:
            began = now()
            answer = await ask(running)
            ended = now()
        call, attempt = receiver.spans
    assert (call.name, call.kind) == ("chat m", Span.SPAN_KIND_SERVER)
    assert (attempt.name, attempt.kind) == ("chat upstream-0", Span.SPAN_KIND_CLIENT)
    assert (attempt.trace_id, attempt.parent_span_id) == (call.trace_id, call.span_id)
    assert (call.parent_span_id, call.status.code, attempt.status.code) == (b"", Status.STATUS_CODE_UNSET, 0)
    usage = answer.json()["usage"]
    overhead = told(call).pop("gateway.overhead_ms")
    assert isinstance(overhead, float)
    assert told(call) == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "m",
        "gen_ai.response.model": "upstream-0",
        "gen_ai.usage.input_tokens": usage["prompt_tokens"],
        "gen_ai.usage.output_tokens": usage["completion_tokens"],
        "http.response.status_code": 200,
        "gateway.request_id": answer.headers["x-request-id"],
        "gateway.key": "tester",
        "gateway.outcome": "ok",
        "gateway.attempts": 1,
        "gateway.usage_source": "reported",
        "gateway.overhead_ms": overhead,
        "gateway.cost_usd": pytest.approx((usage["prompt_tokens"] + 2 * usage["completion_tokens"]) / 1e6, abs=1e-6),
    }
    assert told(attempt) == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "upstream-0",
        "server.address": "127.0.0.1",
        "server.port": int(provider.origin.rpartition(":")[2]),
        "gateway.provider": "p0",
        "gateway.attempt": 1,
        "gateway.outcome": "ok",
    }
    times = (call.start_time_unix_nano, attempt.start_time_unix_nano, attempt.end_time_unix_nano)
    assert [began * 1e9, *times, call.end_time_unix_nano, ended * 1e9] == sorted(
        [began * 1e9, *times, call.end_time_unix_nano, ended * 1e9]
    )
    assert receiver.paths == [b"POST /v1/traces HTTP/1.1"]


async def test_each_attempt_of_a_failover_has_a_span_and_the_failed_one_says_why(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with collector(monkeypatch) as receiver, Simulator(failing("429")) as full, Simulator() as well:
        async with gateway(config(full.url, well.url)) as running:
            await ask(running)
        call, first, second = receiver.spans
        assert upstream_parents(full) == [f"00-{call.trace_id.hex()}-{first.span_id.hex()}-01"]
        assert upstream_parents(well) == [f"00-{call.trace_id.hex()}-{second.span_id.hex()}-01"]
    assert (told(call)["gateway.attempts"], call.status.code) == (2, Status.STATUS_CODE_UNSET)
    assert (told(first)["gateway.provider"], told(second)["gateway.provider"]) == ("p0", "p1")
    assert (told(first)["error.type"], first.status.code) == ("rate_limited", Status.STATUS_CODE_ERROR)
    assert "status 429" in first.status.message
    assert ("error.type" in told(second), second.status.code) == (False, Status.STATUS_CODE_UNSET)
    assert first.end_time_unix_nano <= second.start_time_unix_nano
    assert len({call.span_id, first.span_id, second.span_id}) == 3


async def test_of_a_stream_the_first_token_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    slow = Faults(first_token_delay=0.05)
    async with collector(monkeypatch) as receiver, Simulator(slow) as provider:
        async with gateway(config(provider.url)) as running:
            await ask(running, stream=True)
        call, attempt = receiver.spans
    (event,) = call.events
    assert event.name == "gateway.first_token"
    after = (event.time_unix_nano - call.start_time_unix_nano) / 1e9
    assert 0.05 <= after < (call.end_time_unix_nano - call.start_time_unix_nano) / 1e9
    assert told(call)["gen_ai.response.time_to_first_chunk"] == pytest.approx(after, abs=0.001)
    assert told(call)["gen_ai.request.stream"] is True
    assert attempt.end_time_unix_nano <= call.end_time_unix_nano


async def test_a_call_that_is_refused_has_a_span_and_no_attempts(monkeypatch: pytest.MonkeyPatch) -> None:
    async with collector(monkeypatch) as receiver, Simulator() as provider:
        async with gateway(config(provider.url)) as running:
            await ask(running, {"authorization": "Bearer nobody's"})
            await ask(running, model=CANARY)
        stranger, lost = receiver.spans
    assert told(stranger) | {"gateway.overhead_ms": 0, "gateway.request_id": ""} == {
        "gen_ai.operation.name": "chat",
        "http.response.status_code": 401,
        "gateway.request_id": "",
        "gateway.outcome": "client_error",
        "gateway.attempts": 0,
        "gateway.overhead_ms": 0,
        "gateway.usage_source": "none",
        "error.type": "invalid_api_key",
    }
    assert (stranger.name, stranger.status.code) == ("chat", Status.STATUS_CODE_UNSET)
    assert (lost.name, told(lost)["error.type"], told(lost)["gateway.key"]) == ("chat", "model_not_found", "tester")


async def test_a_call_that_fails_at_every_provider_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    async with collector(monkeypatch) as receiver, Simulator(failing("401")) as provider:
        async with gateway(config(provider.url)) as running:
            await ask(running)
        call, attempt = receiver.spans
    assert (call.status.code, told(call)["error.type"]) == (Status.STATUS_CODE_ERROR, "credentials")
    assert "gen_ai.response.model" not in told(call)
    assert told(attempt)["gateway.outcome"] == "credentials"


async def test_embeddings_are_called_so(monkeypatch: pytest.MonkeyPatch) -> None:
    async with collector(monkeypatch) as receiver, Simulator() as provider:
        async with gateway(config(provider.url)) as running:
            await running.client.post("/v1/embeddings", json={"model": "m", "input": "a word"})
        call, attempt = receiver.spans
        assert upstream_parents(provider) == [f"00-{call.trace_id.hex()}-{attempt.span_id.hex()}-01"]
    assert (call.name, told(attempt)["gen_ai.operation.name"]) == ("embeddings m", "embeddings")


async def test_a_request_that_is_signed_carries_it_beside_its_signature(monkeypatch: pytest.MonkeyPatch) -> None:
    async with collector(monkeypatch) as receiver, scripted(test_aws.answering) as bedrock:
        async with gateway(test_aws.config(bedrock.origin, test_aws.WRITTEN)) as running:
            await ask(running)
        (received,) = bedrock.requests
        call, attempt = receiver.spans
    assert received.headers[b"traceparent"].decode() == f"00-{call.trace_id.hex()}-{attempt.span_id.hex()}-01"
    assert test_aws.signed_for(received, bedrock.origin)
    assert [told(span)["gen_ai.provider.name"] for span in (call, attempt)] == ["aws.bedrock", "aws.bedrock"]


async def test_the_slower_of_two_that_are_asked_at_once_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    async with collector(monkeypatch) as receiver:
        async with race() as (first, second, running):
            first.faults = Faults(fail=(("silent", 1.0),))
            await ask(running, stream=True)
            parents = [upstream_parents(provider)[-1] for provider in (first, second)]
            (trace_id,) = {entry.trace.hex_id for entry in running.entries if entry.trace is not None}
        call, slow, quick = [span for span in receiver.spans if span.trace_id.hex() == trace_id]
    assert parents == [f"00-{trace_id}-{span.span_id.hex()}-01" for span in (slow, quick)]
    assert [told(span)["gateway.outcome"] for span in (slow, quick)] == ["outpaced", "ok"]
    assert [span.status.code for span in (call, slow, quick)] == [Status.STATUS_CODE_UNSET] * 3
    assert slow.start_time_unix_nano < quick.start_time_unix_nano < slow.end_time_unix_nano


# The trace of a caller


async def test_a_callers_trace_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    async with collector(monkeypatch) as receiver, Simulator() as provider:
        async with gateway(config(provider.url)) as running:
            await ask(running, {"traceparent": f"00-{TRACE}-{PARENT}-01", "tracestate": f"rojo=1,who={CANARY}"})
        call, attempt = receiver.spans
        assert upstream_parents(provider) == [f"00-{TRACE}-{attempt.span_id.hex()}-01"]
        assert CANARY not in str(provider.requests[0].headers)
    assert (call.trace_id.hex(), call.parent_span_id.hex()) == (TRACE, PARENT)
    assert call.trace_state == f"rojo=1,who={CANARY}"
    assert (attempt.trace_id.hex(), attempt.parent_span_id) == (TRACE, call.span_id)
    assert [line["trace_id"] for line in lines(running)] == [TRACE]


async def test_a_caller_that_does_not_want_to_be_told_of_is_heeded(monkeypatch: pytest.MonkeyPatch) -> None:
    async with collector(monkeypatch) as receiver, Simulator() as provider:
        async with gateway(config(provider.url)) as running:
            await ask(running, {"traceparent": f"00-{TRACE}-{PARENT}-00"})
        (parent,) = upstream_parents(provider)
    assert (parent[:36], parent[-3:]) == (f"00-{TRACE}-", "-00")
    assert receiver.spans == []


async def test_a_malformed_parent_begins_a_new_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    async with collector(monkeypatch) as receiver, Simulator() as provider:
        async with gateway(config(provider.url)) as running:
            answer = await ask(running, {"traceparent": f"00-{TRACE}-{CANARY}", "tracestate": f"{CANARY}"})
        call, _ = receiver.spans
        assert answer.status_code == 200
    assert (call.parent_span_id, call.trace_id.hex() == TRACE) == (b"", False)
    assert CANARY.encode() not in b"".join(receiver.bodies) + running.log


# What is not told


async def test_spans_hold_no_prompt_no_answer_no_secret_and_no_user(monkeypatch: pytest.MonkeyPatch) -> None:
    said: Json = {"messages": [{"role": "user", "content": CANARY}], "user": CANARY, "stop": [CANARY + "!"]}
    said["metadata"] = {CANARY: CANARY}
    async with collector(monkeypatch) as receiver, Simulator() as well, Simulator(failing("400")) as ill:
        text = config(ill.url, well.url).replace("sk-", f"sk-{CANARY}-")
        async with gateway(text.replace("tester, key: a-key", f"tester, key: {CANARY}-key")) as running:
            key = {"authorization": f"Bearer {CANARY}-key-of-the-test-suite-000001"}
            answers = [await ask(running, key, stream=stream, **said) for stream in (False, True)]
            answers.append(await ask(running, {"authorization": f"Bearer {CANARY}"}, **said))
            ill.faults = Faults()
            answers += [await ask(running, key, stream=stream, **said) for stream in (False, True)]
    assert [answer.status_code for answer in answers] == [400, 400, 401, 200, 200]
    assert CANARY in answers[-1].text
    assert (len(receiver.spans), CANARY.encode() in b"".join(receiver.bodies)) == (9, False)


async def test_a_sampler_that_takes_nothing_leaves_the_ids_in_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    async with collector(monkeypatch, TRACES_SAMPLER="always_off") as receiver, Simulator() as provider:
        async with gateway(config(provider.url)) as running:
            await ask(running)
        (parent,) = upstream_parents(provider)
    assert receiver.spans == []
    assert parent.endswith("-00")
    assert [line["trace_id"] for line in lines(running)] == [parent.split("-")[1]]


async def test_a_sampler_takes_its_share_and_each_trace_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {"TRACES_SAMPLER": "traceidratio", "TRACES_SAMPLER_ARG": "0.5"}
    async with collector(monkeypatch, **settings) as receiver, Simulator() as provider:
        async with gateway(config(provider.url)) as running:
            for _ in range(40):
                await ask(running)
        taken = [parent.split("-")[1] for parent in upstream_parents(provider) if parent.endswith("-01")]
    assert 4 <= len(taken) <= 36
    assert sorted(span.trace_id.hex() for span in receiver.spans) == sorted(taken * 2)


@pytest.mark.parametrize("off", [{"SDK_DISABLED": "true"}, {"TRACES_EXPORTER": "none"}, {"EXPORTER_OTLP_ENDPOINT": ""}])
async def test_without_traces_nothing_is_read_told_or_passed_on(
    monkeypatch: pytest.MonkeyPatch, off: dict[str, str]
) -> None:
    async with collector(monkeypatch, **off) as receiver, Simulator() as provider:
        async with gateway(config(provider.url)) as running:
            await ask(running, {"traceparent": f"00-{TRACE}-{PARENT}-01"})
        assert upstream_parents(provider) == [""]
    assert receiver.bodies == []
    assert ["trace_id" in line for line in lines(running)] == [False]


async def test_the_service_is_called_as_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    async with collector(monkeypatch, RESOURCE_ATTRIBUTES="deployment.environment.name=test") as receiver:
        for name in ("", "our-gateway"):
            monkeypatch.setenv("OTEL_SERVICE_NAME", name)
            async with gateway(config("http://127.0.0.1:9")) as running:
                await ask(running, {"authorization": "Bearer nobody's"})
            assert receiver.resource["service.name"] == (name or "gateway")
            assert receiver.resource["deployment.environment.name"] == "test"


async def test_every_attribute_is_in_the_document_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    document = (ROOT / "docs" / "operations.md").read_text()
    (_, calls), (_, attempts) = re.findall(
        r"^(\| attribute of an? (?:call|attempt) .*)\n((?:\|.*\n)+)", document, re.MULTILINE
    )
    async with collector(monkeypatch) as receiver, Simulator() as provider:
        async with gateway(config(provider.url, model=PRICED)) as running:
            await ask(running, stream=True)
            provider.faults = failing("401")
            await ask(running)
        assert len(receiver.spans) == 4
    told_of = {kind: {name for span in receiver.spans if span.kind == kind for name in told(span)} for kind in (2, 3)}
    parts = {"cache_read.input_tokens", "cache_creation.input_tokens", "reasoning.output_tokens"}
    assert documented(calls) == told_of[Span.SPAN_KIND_SERVER] | {f"gen_ai.usage.{part}" for part in parts}
    assert documented(attempts) == told_of[Span.SPAN_KIND_CLIENT]


def documented(table: str) -> set[str]:
    """The names in the first column of a table."""
    return {name for row in table.splitlines()[1:] for name in re.findall("`([^`]+)`", row.split("|")[1])}


def test_vendors_that_are_called_otherwise_are_vendors() -> None:
    assert set(OTHERWISE) <= set(VENDORS)
    assert set(OTHERWISE.values()) <= {each.value for each in GenAiProviderNameValues}


# Receivers that fail


async def test_a_receiver_that_is_down_costs_calls_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    async with collector(monkeypatch, BSP_SCHEDULE_DELAY="10", EXPORTER_OTLP_TIMEOUT="1"):
        pass
    async with Simulator() as provider, gateway(config(provider.url)) as running:
        for _ in range(20):
            assert (await ask(running)).status_code == 200
        assert max(entry.overhead(entry.ended) for entry in running.entries) < 0.25
        since = clock()
    assert clock() - since < SENT_WITHIN + 1


async def test_what_waits_for_a_silent_receiver_is_bounded_and_the_rest_is_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    queue = {"BSP_SCHEDULE_DELAY": "10", "BSP_MAX_QUEUE_SIZE": "20", "BSP_MAX_EXPORT_BATCH_SIZE": "10"}
    async with collector(monkeypatch, **queue) as receiver, Simulator() as provider:
        async with gateway(config(provider.url)) as running:
            receiver.answers.clear()
            for _ in range(50):
                assert (await ask(running)).status_code == 200
            running.gateway.measured()  # so that every call has been told
            await until(lambda: len(receiver.bodies) == 1)
            receiver.answers.set()
        assert 20 <= len(receiver.spans) <= 30
        assert max(entry.overhead(entry.ended) for entry in running.entries) < 0.25


async def test_the_end_does_not_wait_for_a_silent_receiver(monkeypatch: pytest.MonkeyPatch) -> None:
    async with collector(monkeypatch, EXPORTER_OTLP_TIMEOUT="3") as receiver, Simulator() as provider:
        async with gateway(config(provider.url)) as running:
            receiver.answers.clear()
            await ask(running)
            since = clock()
        assert SENT_WITHIN * 0.9 < clock() - since < SENT_WITHIN + 1


# Starting


ALONE = """
import sys
from gateway.app.traces import open_traces
said = []
traces = open_traces({environ}, dict, lambda level, event, message: said.append((level, event, message)))
print(traces is None, said, [name for name in sys.modules if name.startswith("opentelemetry.sdk")])
"""
HERE = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}


async def alone(environ: dict[str, str], before: str = "") -> str:
    """What a fresh interpreter says of traces in this environment."""
    program = [sys.executable, "-c", before + ALONE.format(environ=environ)]
    done = await asyncio.to_thread(subprocess.run, program, capture_output=True, text=True, timeout=30, check=True)
    return done.stdout


async def test_without_the_library_the_gateway_says_what_to_install() -> None:
    absent = "import sys; sys.modules['opentelemetry'] = None"
    assert "pip install 'gateway[otel]'" in await alone(HERE, absent)


async def test_what_nobody_wants_is_not_imported() -> None:
    assert await alone({}) == "True [] []\n"


async def test_a_protocol_that_is_not_spoken_is_told() -> None:
    grpc = HERE | {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}
    told = await alone(grpc)
    assert told.startswith("True [('warning', 'traces_off', 'Traces are sent by http/protobuf")


async def test_settings_that_make_no_sense_are_told_and_the_gateway_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    senseless = collector(monkeypatch, BSP_MAX_QUEUE_SIZE="0")
    async with senseless, Simulator() as provider, gateway(config(provider.url)) as running:
        assert (await ask(running)).status_code == 200
    assert b"max_queue_size must be a positive integer" in running.log
