"""The simulated Gemini, as its own SDK finds it."""

from __future__ import annotations

import warnings
from collections.abc import AsyncIterator
from typing import Any

import httpx
import orjson
import pytest

from gateway.core.call import Json
from gateway.simulator.faults import read
from gateway.simulator.server import Simulator
from tests.house.harness import PLAIN

with warnings.catch_warnings():
    # The SDK names a type of aiohttp's that is on its way out, when it is imported.
    warnings.simplefilter("ignore", DeprecationWarning)
    from google import genai
    from google.genai import errors, types

pytestmark = pytest.mark.filterwarnings("ignore:Inheritance class AiohttpClientSession:DeprecationWarning")

HI: Any = [{"role": "user", "parts": [{"text": "hi"}]}]
CITY: Json = {"type": "object", "properties": {"city": {"const": "Zürich"}}}
TOOLS: Any = [
    {
        "functionDeclarations": [
            {"name": "weather", "parametersJsonSchema": CITY},
            {"name": "time", "parameters": {"type": "OBJECT", "properties": {}}},
        ]
    }
]
THINKING: Json = {"thinkingConfig": {"includeThoughts": True}}


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    async with Simulator(type="gemini", api_key="AIza-right") as running:
        yield running


@pytest.fixture
async def client(simulator: Simulator) -> AsyncIterator[Any]:
    options = types.HttpOptions(
        base_url=simulator.origin,
        api_version="v1beta",
        client_args={"verify": PLAIN},
        async_client_args={"verify": PLAIN},
    )
    connected = genai.Client(api_key="AIza-right", http_options=options)
    yield connected.aio
    await connected.aio.aclose()
    connected.close()


def config(**fields: Any) -> Any:
    return types.GenerateContentConfig.model_validate({"automaticFunctionCalling": {"disable": True}, **fields})


async def ask(client: Any, contents: Any = HI, model: str = "gemini-2.5-flash", **fields: Any) -> Any:
    return await client.models.generate_content(model=model, contents=contents, config=config(**fields))


async def stream(client: Any, contents: Any = HI, model: str = "gemini-2.5-flash", **fields: Any) -> list[Any]:
    told = await client.models.generate_content_stream(model=model, contents=contents, config=config(**fields))
    return [chunk async for chunk in told]


def gathered(chunks: list[Any]) -> Json:
    """What an answer or its chunks say, put together."""
    parts = [part for chunk in chunks for part in chunk.candidates[0].content.parts or ()]
    return {
        "text": "".join(part.text for part in parts if part.text and not part.thought),
        "thought": "".join(part.text for part in parts if part.text and part.thought),
        "calls": [(part.function_call.name, part.function_call.args) for part in parts if part.function_call],
        "finish": chunks[-1].candidates[0].finish_reason,
        "usage": chunks[-1].usage_metadata,
    }


# Answers


async def test_a_whole_answer_says_it_back(client: Any, simulator: Simulator) -> None:
    answer = await ask(client)
    assert answer.text == "You said: hi"
    assert answer.response_id == simulator.served[0].id
    assert answer.usage_metadata.candidates_token_count == simulator.served[0].completion_tokens == 3


@pytest.mark.parametrize(
    "fields",
    [{}, {"tools": TOOLS}, {**THINKING, "tools": TOOLS}, {"maxOutputTokens": 2}, {"stopSequences": [" said"]}],
    ids=["text", "tools", "thought and tools", "limit", "stop"],
)
async def test_a_stream_gathers_to_the_whole_answer(client: Any, fields: Json) -> None:
    assert gathered(await stream(client, **fields)) == gathered([await ask(client, **fields)])


async def test_calls_end_with_stop_and_only_the_first_is_signed(client: Any) -> None:
    candidate = (await ask(client, tools=TOOLS)).candidates[0]
    assert [part.function_call.name for part in candidate.content.parts] == ["weather", "time"]
    assert [part.function_call.id for part in candidate.content.parts] == [None, None]
    assert [bool(part.thought_signature) for part in candidate.content.parts] == [True, False]
    assert candidate.finish_reason == types.FinishReason.STOP


async def test_results_are_quoted(client: Any) -> None:
    own = (await ask(client, tools=TOOLS)).candidates[0].content
    results = [{"functionResponse": {"name": name, "response": {"result": name}}} for name in ("weather", "time")]
    answer = await ask(client, [*HI, own, {"role": "user", "parts": results}], tools=TOOLS)
    assert answer.text == "The tools answered: weather; time"


async def test_newer_models_want_the_signature_back(client: Any) -> None:
    model = "gemini-3-flash-preview"
    own = (await ask(client, model=model, tools=TOOLS)).candidates[0].content
    call = own.parts[0].function_call
    result = {"functionResponse": {"name": "weather", "id": call.id, "response": {"result": "sunny"}}}
    own.parts = own.parts[:1]
    talk = [*HI, own, {"role": "user", "parts": [result]}]
    assert (await ask(client, talk, model=model, tools=TOOLS)).text == "The tools answered: sunny"
    own.parts[0].thought_signature = b"another"
    with pytest.raises(errors.ClientError, match="Corrupted thought signature"):
        await ask(client, talk, model=model, tools=TOOLS)
    own.parts[0].thought_signature = None
    with pytest.raises(errors.ClientError, match="missing a thought_signature"):
        await ask(client, talk, model=model, tools=TOOLS)


async def test_json_follows_its_schema(client: Any) -> None:
    answer = await ask(client, responseMimeType="application/json", responseJsonSchema=CITY)
    assert answer.text == '{"city":"Zürich"}'


async def test_images_are_counted(client: Any) -> None:
    parts = [
        {"text": "what?"},
        {"inlineData": {"mimeType": "image/png", "data": "iVBORw0KGgo="}},
        {"fileData": {"mimeType": "image/jpeg", "fileUri": "https://example.com/cat.jpg"}},
    ]
    assert (await ask(client, [{"role": "user", "parts": parts}])).text == "You said: what? (2 images)"


async def test_several_candidates_are_told_apart(client: Any) -> None:
    answer = await ask(client, candidateCount=2)
    assert [candidate.index for candidate in answer.candidates] == [0, 1]


async def test_embeddings_have_the_size_that_is_asked_for(client: Any) -> None:
    model, wanted = "gemini-embedding-001", types.EmbedContentConfig(output_dimensionality=8)
    answer = await client.models.embed_content(model=model, contents=["one", "two"], config=wanted)
    assert [len(embedding.values) for embedding in answer.embeddings] == [8, 8]


async def test_models_are_listed_and_found(client: Any) -> None:
    names = [model.name async for model in await client.models.list()]
    assert "models/gemini-2.5-flash" in names
    assert (await client.models.get(model="gemini-2.5-flash")).name == "models/gemini-2.5-flash"
    with pytest.raises(errors.ClientError):
        await client.models.get(model="gemini-1")


async def post(simulator: Simulator, operation: str, body: Json, key: str = "AIza-right") -> httpx.Response:
    async with httpx.AsyncClient(verify=PLAIN) as plain:
        headers = {"x-goog-api-key": key} if key else {}
        return await plain.post(f"{simulator.url}/models/gemini-2.5-flash:{operation}", json=body, headers=headers)


async def test_events_end_with_crlf_and_each_has_usage(simulator: Simulator) -> None:
    answer = await post(simulator, "streamGenerateContent?alt=sse", {"contents": HI})
    *events, rest = answer.content.split(b"\r\n\r\n")
    assert (len(events), rest) == (4, b"")
    assert all("usageMetadata" in orjson.loads(event.removeprefix(b"data: ")) for event in events)


async def test_without_events_a_stream_is_one_array(simulator: Simulator) -> None:
    chunks = (await post(simulator, "streamGenerateContent", {"contents": HI})).json()
    assert "".join(chunk["candidates"][0]["content"]["parts"][0]["text"] for chunk in chunks) == "You said: hi"


async def test_fields_may_be_in_snake_case(simulator: Simulator) -> None:
    body = {"contents": HI, "generation_config": {"max_output_tokens": 2}}
    answer = await post(simulator, "generateContent", body)
    assert answer.json()["candidates"][0]["finishReason"] == "MAX_TOKENS"


# Errors


@pytest.mark.parametrize(
    ("key", "status", "kind"), [("", 403, "PERMISSION_DENIED"), ("AIza-x", 400, "INVALID_ARGUMENT")]
)
async def test_only_the_right_key_is_let_in(simulator: Simulator, key: str, status: int, kind: str) -> None:
    answer = await post(simulator, "generateContent", {"contents": HI}, key)
    assert (answer.status_code, answer.json()["error"]["status"]) == (status, kind)


@pytest.mark.parametrize(
    ("fault", "kind", "status"),
    [
        ("400", errors.ClientError, "INVALID_ARGUMENT"),
        ("403", errors.ClientError, "PERMISSION_DENIED"),
        ("404", errors.ClientError, "NOT_FOUND"),
        ("429", errors.ClientError, "RESOURCE_EXHAUSTED"),
        ("500", errors.ServerError, "INTERNAL"),
        ("503", errors.ServerError, "UNAVAILABLE"),
        ("insufficient-quota", errors.ClientError, "RESOURCE_EXHAUSTED"),
        ("context-length", errors.ClientError, "INVALID_ARGUMENT"),
    ],
)
async def test_errors_are_what_the_sdk_takes_them_for(
    simulator: Simulator, client: Any, fault: str, kind: type[Any], status: str
) -> None:
    simulator.faults = read(fail=[fault])
    with pytest.raises(kind) as error:
        await ask(client)
    assert error.value.status == status


async def test_a_filter_answers_without_candidates(simulator: Simulator, client: Any) -> None:
    simulator.faults = read(fail=["content-filter"])
    assert (await ask(client)).prompt_feedback.block_reason == types.BlockedReason.PROHIBITED_CONTENT


async def test_a_rate_limit_says_when_to_come_back_in_its_details(simulator: Simulator) -> None:
    simulator.faults = read(fail=["429"])
    details = (await post(simulator, "generateContent", {"contents": HI})).json()["error"]["details"]
    assert {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "1s"} in details


async def test_an_error_in_a_stream_is_raised(simulator: Simulator, client: Any) -> None:
    simulator.faults = read(fail=["error-in-stream"])
    with pytest.raises(errors.APIError, match="overloaded"):
        await stream(client)


CALL: Json = {"functionCall": {"name": "weather", "args": {}}}
RESULT: Json = {"functionResponse": {"name": "weather", "response": {}}}


def own(*parts: Json) -> Json:
    return {"role": "model", "parts": [*parts]}


def user(*parts: Json) -> Json:
    return {"role": "user", "parts": [*parts]}


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"contents": []}, "contents is not specified"),
        ({"contents": [{"role": "assistant", "parts": [{"text": "x"}]}]}, "Please use a valid role: user, model."),
        ({"contents": [user()]}, "contents.parts must not be empty."),
        ({"max_tokens": 2}, 'Unknown name "maxTokens": Cannot find field.'),
        ({"contents": [user({"type": "text", "text": "x"})]}, "Unknown name \"type\" at 'contents[0].parts[0]'"),
        ({"contents": [user(RESULT)]}, "function response turn comes immediately after a function call turn."),
        ({"contents": [*HI, own(CALL, CALL), user(RESULT)]}, "number of function response parts is equal"),
        ({"tools": [{"functionDeclarations": [{"name": "a b"}]}]}, "Invalid function name."),
        ({"tools": [{"functionDeclarations": [{"name": "f", "parameters": CITY}]}]}, 'Unknown name "const" at'),
        ({"generationConfig": {"temperature": 3}}, "temperature value of 3"),
        ({"generationConfig": {"responseSchema": {"type": "OBJECT"}}}, "only allowed when response_mime_type"),
        ({"toolConfig": {"functionCallingConfig": {"allowedFunctionNames": ["x"]}}}, "not declared: x"),
    ],
)
async def test_what_the_api_refuses_is_refused_in_its_words(simulator: Simulator, fields: Json, words: str) -> None:
    answer = await post(simulator, "generateContent", {"contents": HI, **fields})
    assert (answer.status_code, answer.json()["error"]["status"]) == (400, "INVALID_ARGUMENT")
    assert words in answer.json()["error"]["message"]
