"""What people do with the official Python SDK, one scenario each, against a gateway as `runs` sets it up.

    python -m tests.sdk.python_scenarios BASE_URL API_KEY

A function that takes a client and nothing else is a scenario. All of them run unchanged under openai-python 1.109 to 3,
https://github.com/openai/openai-python, and import nothing that does not come with it.
"""

from __future__ import annotations

import asyncio
import json  # noqa: TID251  orjson does not come with the SDK
import sys
import time
from collections import defaultdict
from functools import partial
from typing import Any, Literal

import openai
from openai import AsyncOpenAI, AzureOpenAI, OpenAI
from pydantic import BaseModel

from tests.sdk.python_steps import ANSWER, TEXT, adds_up, ask, failure, gathering, same, scenarios, spoken, tell, user

ODD_TEXT = "Zürich 東京 👩\u200d👧 e\u0301 \u2028\u2029\x85\x00\ufeff\r\n\t \\u2028 \"'</script>\n\ndata: [DONE]\n\n"
"""What line-by-line readers, normalisers and escapers stumble over."""


# Answers


def a_question_is_answered(client: OpenAI) -> None:
    completion = ask(client)
    same((completion.object, completion.model), ("chat.completion", "gpt-4o"))
    same((completion.choices[0].message.role, completion.choices[0].message.content), ("assistant", ANSWER))
    same(completion.choices[0].finish_reason, "stop")
    adds_up(completion.usage)


def headers_tell_who_answered(client: OpenAI) -> None:
    raw = client.chat.completions.with_raw_response.create(model="gpt-4o", messages=user(TEXT))
    same((raw.headers["x-gateway-provider"], raw.headers["x-gateway-model"]), ("good", "gpt-4o"))
    same(raw.headers["x-gateway-attempts"], "1")
    same(raw.parse()._request_id, raw.headers["x-request-id"])


def headers_tell_of_a_failover(client: OpenAI) -> None:
    raw = client.chat.completions.with_raw_response.create(model="second-choice", messages=user(TEXT))
    same((raw.headers["x-gateway-provider"], raw.headers["x-gateway-attempts"]), ("good", "2"))
    same(raw.parse().choices[0].message.content, ANSWER)


def a_request_id_of_the_clients_own_is_kept(client: OpenAI) -> None:
    same(ask(client, extra_headers={"x-request-id": "order-66.b"})._request_id, "order-66.b")


def two_choices_are_told_apart(client: OpenAI) -> None:
    whole = {choice.index: choice.message.content for choice in ask(client, n=2).choices}
    same(whole, {0: ANSWER, 1: ANSWER})
    streamed = {0: "", 1: ""}
    for chunk in ask(client, n=2, stream=True):
        for choice in chunk.choices:
            streamed[choice.index] += choice.delta.content or ""
    same(streamed, whole)


def images_reach_the_model(client: OpenAI) -> None:
    content = [
        {"type": "text", "text": "what is this?"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo=", "detail": "low"}},
        {"type": "image_url", "image_url": {"url": "https://example.com/cat.jpg?size=1&x=%20"}},
    ]
    same(ask(client, content).choices[0].message.content, "You said: what is this? (2 images)")


def any_text_survives(client: OpenAI) -> None:
    same(ask(client, ODD_TEXT).choices[0].message.content, f"You said: {ODD_TEXT}")
    same(spoken(ask(client, ODD_TEXT, stream=True)), f"You said: {ODD_TEXT}")


def a_message_of_a_megabyte_survives(client: OpenAI) -> None:
    text = "x" * 2**20
    same(ask(client, text).choices[0].message.content, f"You said: {text}")


# Streams


def a_stream_is_the_whole_answer(client: OpenAI) -> None:
    chunks = list(ask(client, stream=True))
    same(spoken(chunks), ANSWER)
    same(chunks[0].choices[0].delta.role, "assistant")
    same([chunk.choices[0].finish_reason for chunk in chunks], [None] * (len(chunks) - 1) + ["stop"])
    same(len({chunk.id for chunk in chunks}), 1)


def a_stream_with_usage_ends_with_it(client: OpenAI) -> None:
    *others, last = ask(client, stream=True, stream_options={"include_usage": True})
    same(last.choices, [])
    adds_up(last.usage)
    same([chunk.usage for chunk in others], [None] * len(others))


def a_stream_without_usage_has_none(client: OpenAI) -> None:
    chunks = list(ask(client, stream=True))
    same({("usage" in chunk.model_fields_set, len(chunk.choices)) for chunk in chunks}, {(False, 1)})


def the_stream_helper_gathers_the_answer(client: OpenAI) -> None:
    with gathering(client, stream_options={"include_usage": True}) as stream:
        same("".join(event.delta for event in stream if event.type == "content.delta"), ANSWER)
        completion = stream.get_final_completion()
    same((completion.choices[0].message.content, completion.choices[0].finish_reason), (ANSWER, "stop"))
    adds_up(completion.usage)


def an_error_inside_a_stream_is_raised(client: OpenAI) -> None:
    heard = ""

    def listen() -> None:
        nonlocal heard
        for chunk in ask(client, model="cut", stream=True):
            heard += chunk.choices[0].delta.content or ""

    same(failure(openai.APIError, listen).code, "upstream_stream_truncated")
    same(heard, ANSWER[: len(heard) or 1])


def heartbeats_are_not_heard(client: OpenAI) -> None:
    stream = ask(client, model="thinking", stream=True)
    same("x-gateway-provider" in stream.response.headers, False)  # they were sent before it was known who answers
    same(spoken(stream), ANSWER)


def an_error_after_a_heartbeat_is_raised(client: OpenAI) -> None:
    stream = ask(client, model="sorry", stream=True)
    same(failure(openai.APIError, lambda: list(stream)).code, "upstream_error")


def a_stream_may_be_left_early(client: OpenAI) -> None:
    stream = ask(client, model="stalled", stream=True)
    same(next(stream).object, "chat.completion.chunk")
    stream.close()


# Tools and structured output


def tool(name: str) -> Any:
    """Takes a city; the simulator calls it with the values below."""
    properties = {"city": {"const": "Zürich"}, "days": {"type": "integer", "minimum": 1}}
    parameters = {"type": "object", "properties": properties, "required": ["city"]}
    return {"type": "function", "function": {"name": name, "description": "By city.", "parameters": parameters}}


ARGUMENTS = {"city": "Zürich", "days": 1}


def a_tool_is_called_and_its_result_is_taken(client: OpenAI) -> None:
    tools = [tool("get_weather")]
    (choice,) = ask(client, tools=tools).choices
    (call,) = choice.message.tool_calls
    same((call.type, call.function.name, choice.finish_reason), ("function", "get_weather", "tool_calls"))
    same(json.loads(call.function.arguments), ARGUMENTS)

    # The SDK's own message goes back as it is, empty fields included: its documentation does it so.
    talk = [*user(TEXT), choice.message, {"role": "tool", "tool_call_id": call.id, "content": "sunny"}]
    completion = client.chat.completions.create(model="gpt-4o", messages=talk, tools=tools)
    same(completion.choices[0].message.content, "The tools answered: sunny")


def parallel_tools_are_streamed(client: OpenAI) -> None:
    names: dict[int, str] = {}
    ids: set[str] = set()
    arguments: dict[int, str] = defaultdict(str)
    for chunk in ask(client, tools=[tool("get_weather"), tool("get_traffic")], stream=True):
        for call in chunk.choices[0].delta.tool_calls or ():
            if call.id:
                ids.add(call.id)
                names[call.index] = call.function.name
            arguments[call.index] += call.function.arguments
    same((names, len(ids)), ({0: "get_weather", 1: "get_traffic"}, 2))
    same({index: json.loads(joined) for index, joined in arguments.items()}, {0: ARGUMENTS, 1: ARGUMENTS})
    same(chunk.choices[0].finish_reason, "tool_calls")


def the_stream_helper_gathers_tool_calls(client: OpenAI) -> None:
    with gathering(client, tools=[tool("get_weather"), tool("get_traffic")]) as stream:
        calls = stream.get_final_completion().choices[0].message.tool_calls
    same([call.function.name for call in calls], ["get_weather", "get_traffic"])
    same([json.loads(call.function.arguments) for call in calls], [ARGUMENTS, ARGUMENTS])


class Line(BaseModel):
    text: str
    amount: float


class Invoice(BaseModel):
    currency: Literal["CHF", "EUR"]
    paid: bool
    lines: list[Line]


def json_follows_its_schema(client: OpenAI) -> None:
    schema = tool("any")["function"]["parameters"]
    wanted = {"type": "json_schema", "json_schema": {"name": "place", "schema": schema, "strict": True}}
    same(json.loads(ask(client, response_format=wanted).choices[0].message.content), ARGUMENTS)


def an_answer_is_parsed_into_its_type(client: OpenAI) -> None:
    completion = client.chat.completions.parse(model="gpt-4o", messages=user(TEXT), response_format=Invoice)
    invoice = completion.choices[0].message.parsed
    same(invoice and (invoice.currency, invoice.paid, len(invoice.lines)), ("CHF", True, 1))
    with gathering(client, response_format=Invoice) as stream:
        same(stream.get_final_completion().choices[0].message.parsed, invoice)


# Models, and Azure's way of asking


def models_are_listed_and_found(client: OpenAI) -> None:
    wanted = {"gpt-4o", "meta/llama-3"}
    same(wanted & {model.id for model in client.models.list()}, wanted)
    same({client.models.retrieve(name).id for name in wanted}, wanted)
    error = failure(openai.NotFoundError, lambda: client.models.retrieve("no-such-model"))
    same(error.code, "model_not_found")


def the_azure_client_is_answered(client: OpenAI) -> None:
    endpoint = str(client.base_url).removesuffix("/v1/")
    with AzureOpenAI(azure_endpoint=endpoint, api_key=client.api_key, api_version="2024-10-21") as azure:
        same(ask(azure).choices[0].message.content, ANSWER)
        same(spoken(ask(azure, model="meta/llama-3", stream=True)), ANSWER)


# Errors


def a_bad_request_names_its_parameter(client: OpenAI) -> None:
    error = failure(openai.BadRequestError, lambda: ask(client, temperature=3))
    same((error.status_code, error.type, error.param), (400, "invalid_request_error", "temperature"))
    same(error.request_id, error.response.headers["x-request-id"])


def a_providers_bad_request_is_passed_on(client: OpenAI) -> None:
    error = failure(openai.BadRequestError, lambda: ask(client, model="picky"))
    same(error.param, "messages.[0].content")
    same("expected a string, got null" in error.message, True)


def a_wrong_key_is_an_authentication_error(client: OpenAI) -> None:
    with OpenAI(base_url=client.base_url, api_key="sk-of-someone-else") as stranger:
        error = failure(openai.AuthenticationError, lambda: ask(stranger))
    same(error.code, "invalid_api_key")


def an_unknown_model_is_not_found(client: OpenAI) -> None:
    error = failure(openai.NotFoundError, lambda: ask(client, model="no-such-model"))
    same((error.code, error.param), ("model_not_found", "model"))


def a_body_that_is_too_large_is_told_so(client: OpenAI) -> None:
    error = failure(openai.APIStatusError, lambda: ask(client, "x" * 3 * 2**20))
    same((error.status_code, error.code), (413, "request_too_large"))
    same(ask(client).choices[0].message.content, ANSWER)  # what was left of it is not taken for the next request


def a_rate_limit_says_when_to_come_back(client: OpenAI) -> None:
    error = failure(openai.RateLimitError, lambda: ask(client, model="limited"))
    same(error.code, "rate_limit_exceeded")
    same((error.response.headers["retry-after"], error.response.headers["retry-after-ms"]), ("1", "50"))


def a_rate_limit_is_waited_out_by_the_sdk(client: OpenAI) -> None:
    patient, since = client.with_options(max_retries=2), time.monotonic()
    failure(openai.RateLimitError, lambda: ask(patient, model="busy"))
    same(0.1 <= time.monotonic() - since < 1, True)  # by itself it would wait longer


def what_the_gateway_has_retried_is_not_retried_again(client: OpenAI) -> None:
    patient = client.with_options(max_retries=2)
    error = failure(openai.InternalServerError, lambda: ask(patient, model="unreachable"))
    same((error.status_code, error.code), (502, "upstream_unreachable"))
    same(error.response.headers["x-should-retry"], "false")


def failing_providers_are_server_errors(client: OpenAI) -> None:
    told = {
        "broken": (502, "upstream_error"),
        "overloaded": (503, "upstream_error"),
        "late": (504, "upstream_timeout"),
        # Here the gateway's own key is wrong: nobody must doubt the one they sent.
        "locked": (502, "upstream_auth_error"),
    }
    for model, expected in told.items():
        error = failure(openai.InternalServerError, partial(ask, client, model=model))
        same((error.status_code, error.code), expected)


def the_sdks_own_timeout_ends_the_call(client: OpenAI) -> None:
    """The gateway gives up when the SDK does. Which of the two is first is a matter of microseconds."""
    hasty = client.with_options(timeout=0.3)
    try:
        failure(openai.APITimeoutError, lambda: ask(hasty, model="silent"))
    except openai.InternalServerError as error:
        same((error.status_code, error.code), (504, "upstream_timeout"))


# The async client


async def the_async_client_keeps_calls_apart(client: AsyncOpenAI) -> None:
    asked = [client.chat.completions.create(model="gpt-4o", messages=user(f"call {n}")) for n in range(20)]
    answers = [completion.choices[0].message.content for completion in await asyncio.gather(*asked)]
    same(answers, [f"You said: call {n}" for n in range(20)])


async def the_async_client_streams(client: AsyncOpenAI) -> None:
    stream = await client.chat.completions.create(model="gpt-4o", messages=user(ODD_TEXT), stream=True)
    same(spoken([chunk async for chunk in stream]), f"You said: {ODD_TEXT}")


async def an_async_reader_may_be_cancelled(client: AsyncOpenAI) -> None:
    heard = asyncio.Event()

    async def listen() -> None:
        async for _ in await client.chat.completions.create(model="abandoned", messages=user(TEXT), stream=True):
            heard.set()

    listening = asyncio.ensure_future(listen())
    await asyncio.wait_for(heard.wait(), 5)
    listening.cancel()
    await asyncio.wait([listening])
    same(listening.cancelled(), True)


if __name__ == "__main__":
    tell(scenarios(globals()), *sys.argv[1:])
