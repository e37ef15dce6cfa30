"""Recorded calls for embeddings: what their servers took we would send, and what they answered the client gets."""

from __future__ import annotations

import gzip
import struct
from base64 import b64decode
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, NamedTuple
from urllib.parse import unquote

import orjson
import pytest
from jsonschema import Draft202012Validator
from msgspec.structs import replace

from gateway.core.call import Call, Json, Target, UpstreamReply
from gateway.core.embedded import Embedded
from gateway.core.errors import Failure, Unsupported, UpstreamError
from gateway.core.events import Usage
from gateway.dialects import registry
from gateway.dialects.base import EmbeddingsDialect
from gateway.surfaces.openai_embeddings import accept, answer, number_of_inputs
from tests.conformance.test_recorded_requests import RECORDINGS, SHARED

pytestmark = [
    pytest.mark.recordings,
    pytest.mark.skipif(not RECORDINGS.is_dir(), reason="the shared recordings are not here"),
]

SPOKEN = {
    "openai.embeddings": "openai_chat",
    "azure.embeddings": "openai_chat",
    "openai_compat.embeddings": "openai_chat",
    "mistral.embeddings": "mistral",
    "cohere.embed": "cohere",
    "gemini.batchEmbedContents": "gemini",
    "gemini.embedContent": "gemini",
    "gemini.vertex-predict-embed": "gemini",
    "bedrock.invoke-embed": "bedrock",
}
"""File to dialect. Not `vllm.embeddings`: its one answer is of a version that had 64 bits for each number in base64."""

SPELT_OTHERWISE = {
    "openai_compat-001726": "Perplexity's vectors are bytes in base64, one for each number, unasked",
    "bedrock-000239": "its recorder has put the answer into a form of its own",
}
"""Answers that no reader of their grammar reads, by name."""

each_source = pytest.mark.parametrize("source", SPOKEN)


class Recorded(NamedTuple):
    name: str
    request: Any
    reply: UpstreamReply

    @property
    def told(self) -> Any:
        return orjson.loads(self.reply.body)


def recorded(source: str, *, good: bool = True) -> Iterator[Recorded]:
    """The calls that went well, or the others."""
    with gzip.open(RECORDINGS / f"{source}.jsonl.gz") as lines:
        for recording in map(orjson.loads, lines):
            response = recording["response"]
            headers = tuple((name.encode(), value.encode()) for name, value in response["headers"].items())
            reply = UpstreamReply(response["status"], headers, response["body_text"].encode())
            if (reply.status == 200) is good and recording["name"] not in SPELT_OTHERWISE:
                yield Recorded(recording["name"], recording["request"], reply)


def dialect_of(source: str) -> EmbeddingsDialect:
    dialect = registry.embeddings(SPOKEN[source])
    assert dialect is not None
    return dialect


def asking(body: Json) -> Call:
    return accept(orjson.dumps(body), id="req_1", path_model=None, default_model="public")


# Answers.


def vectors_in(told: Any) -> Iterator[list[float] | str]:
    """Every vector in an answer, by what it looks like and not by where it stands."""
    if isinstance(told, list) and told and all(isinstance(number, (int, float)) for number in told):
        yield told
    elif isinstance(told, dict) and isinstance(told.get("embedding"), str):
        yield told["embedding"]
    elif isinstance(told, (list, dict)):
        for name, inner in enumerate(told) if isinstance(told, list) else told.items():
            if name != "embeddingsByType":  # Titan says the same twice
                yield from vectors_in(inner)


TOKENS = ("prompt_tokens", "input_tokens", "promptTokenCount", "token_count", "inputTextTokenCount")
"""What a count of tokens is called, by whoever tells it."""


def tokens_in(told: Any) -> int:
    """Every count in an answer, together."""
    if isinstance(told, list):
        return sum(tokens_in(inner) for inner in told)
    if not isinstance(told, dict):
        return 0
    own = next((told[name] for name in TOKENS if name in told), 0)
    return int(own) + sum(tokens_in(inner) for inner in told.values())


def numbers(vector: list[float] | str) -> list[float]:
    """To the precision that all have in common."""
    raw = b64decode(vector) if isinstance(vector, str) else struct.pack(f"<{len(vector)}f", *vector)
    return list(struct.unpack(f"<{len(raw) // 4}f", raw))


@each_source
def test_every_vector_and_token_of_an_answer_is_read(source: str) -> None:
    dialect, checked = dialect_of(source), 0
    for name, _, reply in recorded(source):
        told: Embedded = dialect.answer(reply)
        body = orjson.loads(reply.body)
        assert list(told.vectors) == list(vectors_in(body)), name
        counted = int(reply.header(b"x-amzn-bedrock-input-token-count") or tokens_in(body))
        assert (told.usage or Usage()).input == counted, name
        checked += 1
    assert checked


@each_source
@pytest.mark.parametrize("encoding", ["float", "base64"])
def test_clients_get_the_same_vectors_in_either_encoding(source: str, encoding: str) -> None:
    dialect, call = dialect_of(source), asking({"input": "x", "encoding_format": encoding})
    for name, _, reply in recorded(source):
        told = dialect.answer(reply)
        body = orjson.loads(answer(told, call, told.usage or Usage(1)))
        got = [row["embedding"] for row in body["data"]]
        assert all(isinstance(vector, str) is (encoding == "base64") for vector in got), name
        assert [numbers(vector) for vector in got] == [numbers(vector) for vector in told.vectors], name
        if encoding == "float":
            assert is_valid(body), name


def is_valid(body: Json) -> bool:
    """By OpenAI's own description, in which base64 does not occur."""
    schemas = orjson.loads((SHARED / "specs/openai/openai-sdk-3.52.0.jsonschema.json").read_bytes())["schemas"]
    short = [{**row, "embedding": row["embedding"][:9]} for row in body["data"]]  # each number is looked at for long
    return bool(Draft202012Validator(schemas["CreateEmbeddingResponse"]).is_valid({**body, "data": short}))


@pytest.mark.parametrize("source", ["openai.embeddings", "azure.embeddings", "openai_compat.embeddings"])
def test_what_openai_shaped_servers_answer_goes_out_as_it_came(source: str) -> None:
    mended = [name for name, _, reply in recorded(source) if not dialect_of(source).answer(reply).spelt]
    assert mended == (["openai_compat-001192"] if source == "openai_compat.embeddings" else [])


@each_source
def test_an_answer_that_is_cut_short_is_none(source: str) -> None:
    for _, _, reply in recorded(source):
        for end in range(0, len(reply.body.rstrip()), max(1, len(reply.body) // 7)):
            with pytest.raises(UpstreamError):
                dialect_of(source).answer(replace(reply, body=reply.body[:end]))


FAILURES = {
    "openai_compat-000935": Failure.REJECTED,  # "Pooling type 'none' is not OAI compatible"
    "openai_compat-001098": Failure.SERVER_ERROR,  # "This server does not support embeddings"
    "openai_compat-001164": Failure.REJECTED,  # an empty text
    "openai-000447": Failure.REJECTED,  # "-1 is less than the minimum of 1"
    "mistral-000067": Failure.REJECTED,  # "Too many inputs in request"
    "mistral-000203": Failure.MODEL_MISSING,  # "Invalid model"
    "gemini-001088": Failure.CREDENTIALS,  # "API key not valid"
}
"""Where the status does not say all. A 404 here is always a model that is not there."""
BY_STATUS = {401: Failure.CREDENTIALS, 404: Failure.MODEL_MISSING}


@each_source
def test_every_refusal_is_known_for_what_it_is(source: str) -> None:
    for name, _, reply in recorded(source, good=False):
        failure = registry.load(SPOKEN[source]).refusal(reply).failure
        assert failure is (FAILURES.get(name) or BY_STATUS[reply.status]), name


# Requests: what a provider took, asked for in OpenAI's words, is asked for again.


def without(body: Json, *names: str) -> Json:
    return {name: value for name, value in body.items() if name not in names}


def dimensions(size: int | None) -> Json:
    return {"dimensions": size} if size else {}


def _titan(body: Json) -> Json:
    return {"input": body["inputText"], **without(body, "inputText")}


def _nova(body: Json) -> Json:
    own = body["singleEmbeddingParams"]
    return {"input": own["text"]["value"], **without(own, "text")}


def _cohere(body: Json) -> Json:
    own = without(body, "texts", "output_dimension", "model")
    return {"input": body["texts"], **dimensions(body.get("output_dimension")), **own}


def _gemini(body: Json) -> Json:
    first = body["requests"][0]
    texts = [each["content"]["parts"][0]["text"] for each in body["requests"]]
    own = without(first, "model", "content", "outputDimensionality")
    return {"input": texts, **dimensions(first.get("outputDimensionality")), **own}


def _vertex(body: Json) -> Json:
    first = body["instances"][0]
    size = body.get("parameters", {}).get("outputDimensionality")
    return {"input": [each["content"] for each in body["instances"]], **dimensions(size), **without(first, "content")}


def _mistral(body: Json) -> Json:
    return {**without(body, "output_dimension", "model"), **dimensions(body.get("output_dimension"))}


IN_OPENAIS_WORDS: dict[str, Callable[[Json], Json]] = {
    "inputText": _titan,
    "singleEmbeddingParams": _nova,
    "texts": _cohere,
    "requests": _gemini,
    "instances": _vertex,
    "input": _mistral,
}
"""By the field in which a body has its texts."""


SPELLINGS = {"output_dimensionality": "outputDimensionality"}


def as_we_spell_it(body: Any) -> Any:
    """A body without what clients spell differently to the same effect."""
    if isinstance(body, list):
        return [as_we_spell_it(item) for item in body]
    if not isinstance(body, dict):
        return body
    spelt: Json = {
        str(SPELLINGS.get(name, name)): as_we_spell_it(value) for name, value in body.items() if value is not None
    }
    if "requests" in spelt or spelt.get("role") == "user":  # Gemini: the model once more, and who speaks
        return without(spelt, "model", "role")
    return {**spelt, "input": [spelt["input"]]} if isinstance(spelt.get("input"), str) else spelt


def took(source: str) -> Iterator[tuple[str, str, Json]]:
    """Name, URL and body of what can be asked for in OpenAI's words: texts, in today's version of each grammar."""
    for name, request, _ in recorded(source):
        body, old = request["body"], source == "cohere.embed" and "/v1/" in request["url"]
        if body and "images" not in body and not old and not cuts_texts(body):
            yield name, request["url"].partition("?")[0], as_we_spell_it(body)


def cuts_texts(body: Json) -> bool:
    """Whether it asks Nova to cut what is too long."""
    return bool(body.get("singleEmbeddingParams", {}).get("text", {}).get("truncationMode", "NONE") != "NONE")


@pytest.mark.parametrize(
    ("source", "count"),
    [("mistral.embeddings", 6), ("cohere.embed", 3), ("gemini.batchEmbedContents", 25),
     ("gemini.vertex-predict-embed", 5), ("bedrock.invoke-embed", 26)],
)  # fmt: skip
def test_what_a_provider_took_is_what_it_is_sent(source: str, count: int) -> None:
    requests = list(took(source))
    assert len(requests) == count
    for name, url, body in requests:
        words = next(words for field, words in IN_OPENAIS_WORDS.items() if field in body)
        named = unquote(url).rpartition("/model")[2].partition("/")[2].removesuffix("/invoke")
        model = body.get("model") or (named if source.startswith("bedrock") else named.partition(":")[0])
        (request,) = dialect_of(source).ask(asking(words(body)), Target("p", model, {"embeddings": url}))
        assert orjson.loads(request.body) == body, name
        assert not request.dropped, name


# Requests: what clients asked of OpenAI-shaped servers, through every grammar.


def strings(value: Any) -> Iterator[str]:
    """Every string in a value, however deep."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, (list, dict)):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from strings(inner)


def asked_by_clients() -> Iterator[tuple[str, Call]]:
    """The recorded requests in OpenAI's grammar, all of which their servers took."""
    for source in ("openai.embeddings", "azure.embeddings", "openai_compat.embeddings"):
        for name, request, _ in recorded(source):
            if request["body"]:
                yield name, asking(request["body"])


@pytest.mark.parametrize("name", registry.EMBEDDINGS)
def test_no_text_of_a_recorded_request_is_lost_in_any_grammar(name: str) -> None:
    dialect = registry.embeddings(name)
    assert dialect is not None
    target = Target("p", "amazon.titan-embed-text-v2:0", {"embeddings": "https://a.example/embed"}, inputs_at_once=2)
    refused = []
    for recording, call in asked_by_clients():
        try:
            requests = dialect.ask(call, target)
        except Unsupported:
            refused.append(recording)
            continue
        sent = [orjson.loads(request.body) for request in requests]
        assert set(strings(call.body["input"])) <= set(strings(sent)), recording
        assert len(requests) >= -(-number_of_inputs(call.body) // 2), recording
    assert len(refused) == (0 if name == "openai_chat" else IN_TOKENS)


IN_TOKENS = 5
"""Recorded requests with token numbers, which OpenAI-shaped servers take and no others."""


def test_mistrals_own_description_agrees_with_what_it_is_sent() -> None:
    schema = orjson.loads((SHARED / "specs/mistral/mistralai-sdk.jsonschema.json").read_bytes())
    wanted = Draft202012Validator(schema["schemas"]["EmbeddingRequest"])
    target = Target("mistral", "codestral-embed", {"embeddings": "https://a.example/embed"})
    for name, call in asked_by_clients():
        with suppress(Unsupported):
            (request,) = dialect_of("mistral.embeddings").ask(call, target)
            assert wanted.is_valid(orjson.loads(request.body)), name
