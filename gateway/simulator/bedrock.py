"""
Amazon Bedrock: Converse, ConverseStream, InvokeModel for embeddings, and the lists of models and of profiles.

https://docs.aws.amazon.com/bedrock/latest/APIReference/. Shapes as recorded: only a call opens its block, the usage
comes after the stop, and every event is padded. Ids of calls follow from the request: an id that was put in later, as
elsewhere, would break the checksum of its event.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any
from urllib.parse import unquote

import orjson

from gateway.core.call import Headers, Json
from gateway.core.events import Reasoning, Text, ToolCallArguments, ToolCallStarted
from gateway.simulator import eventstream, sigv4, vectors
from gateway.simulator.bedrock_reading import complaint, question
from gateway.simulator.http import (
    UNIQUE,
    Account,
    Ask,
    Frame,
    Grammar,
    Refusal,
    Reply,
    Request,
    Route,
    bearer,
    parsed,
    whole,
)
from gateway.simulator.shapes import without_nulls
from gateway.simulator.story import Block, Output, Question, Quote, Story, padding, sign, tell, token

MODELS = (
    "anthropic.claude-sonnet-4-5-20250929-v1:0",
    "amazon.nova-lite-v1:0",
    "amazon.titan-embed-text-v2:0",
    "cohere.embed-english-v3",
)
HEADERS: Headers = ((b"x-amzn-requestid", UNIQUE.encode()),)
EVENT_STREAM: Headers = ((b"content-type", b"application/vnd.amazon.eventstream"),)


def refusal(status: int, type: str, message: str, where: str = "com.amazon.bedrock") -> Refusal:
    """The type of an error is in a header, with the place that it comes from behind it."""
    kind = f"{type}:http://internal.amazon.com/coral/{where}/".encode()
    return Refusal(status, {"message": message}, ((b"x-amzn-errortype", kind),))


def invalid(message: str) -> Refusal:
    """A request that the service will not take."""
    return refusal(400, "ValidationException", message)


_not_signed = partial(refusal, 403, where="com.amazon.coral.service")
NO_TOKEN = _not_signed("MissingAuthenticationTokenException", "Missing Authentication Token")
WRONG_TOKEN = _not_signed("UnrecognizedClientException", "The security token included in the request is invalid.")
WRONG_SIGNATURE = _not_signed(
    "InvalidSignatureException",
    "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key"
    " and signing method. Consult the service documentation for details.",
)
ERRORS = {
    "400": invalid("The model returned the following errors: messages: at least one message is required"),
    "401": WRONG_TOKEN,
    "403": refusal(403, "AccessDeniedException", "You don't have access to the model with the specified model ID."),
    "404": refusal(
        404, "ResourceNotFoundException", "Could not resolve the foundation model from the provided model identifier."
    ),
    "408": refusal(408, "ModelTimeoutException", "The model timed out while processing the request."),
    "424": refusal(424, "ModelErrorException", "The model returned an unexpected error while processing the request."),
    "429": refusal(429, "ThrottlingException", "Too many requests, please wait before trying again."),
    "500": refusal(
        500,
        "InternalServerException",
        "The system encountered an unexpected error during processing. Try your request again.",
    ),
    "503": refusal(503, "ServiceUnavailableException", "Bedrock is unable to process your request."),
    "insufficient-quota": refusal(
        400, "ServiceQuotaExceededException", "Your request exceeds the service quota for your account."
    ),
    "context-length": invalid("The model returned the following errors: Input is too long for requested model."),
    "content-filter": invalid("The model returned the following errors: Output blocked by content filtering policy"),
}


def refuse(name: str, retry_after: float, message: str) -> Refusal:
    """Throttling does not say when to come back."""
    if message:
        return invalid(message)
    return ERRORS.get(name) or _by_status(int(name))


def _by_status(status: int) -> Refusal:
    kind = "ValidationException" if status < 500 else "InternalServerException"
    return refusal(status, kind, "The simulator was asked to fail.")


def turn_away(request: Request, account: Account) -> Refusal | None:
    """A request is signed with Signature Version 4, or brings one of Bedrock's own API keys as a bearer token."""
    if key := bearer(request):
        if account.secret is None and key == (account.api_key or key):
            return None
        return refusal(403, "AccessDeniedException", "Authentication failed: Please make sure your API Key is valid.")
    if not request.header(b"authorization"):
        return NO_TOKEN
    signed = sigv4.read(request)
    if signed is None:
        return _not_signed("IncompleteSignatureException", "Authorization header is not a complete SigV4 signature.")
    if signed.access_key != (account.api_key or signed.access_key):
        return WRONG_TOKEN
    if signed.service != "bedrock":
        return _not_signed("InvalidSignatureException", "Credential should be scoped to correct service: 'bedrock'.")
    if signed.region != (account.region or signed.region):
        return _not_signed(
            "InvalidSignatureException", f"Credential should be scoped to a valid region, not '{signed.region}'."
        )
    if account.secret is not None and not sigv4.verifies(request, signed, account.secret):
        return WRONG_SIGNATURE
    return None


def converse(ask: Ask) -> Reply | Refusal:
    """https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html."""
    told = _told(ask)
    if isinstance(told, Refusal):
        return told
    asked, story = told
    return _counted(whole(answer(asked, story), headers=HEADERS), ask, asked, story)


def converse_stream(ask: Ask) -> Reply | Refusal:
    """https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ConverseStream.html."""
    told = _told(ask)
    if isinstance(told, Refusal):
        return told
    asked, story = told
    reply = Reply(200, (*EVENT_STREAM, *HEADERS), frames=tuple(frames(asked, story)), full_stop=2)
    return _counted(reply, ask, asked, story)


def _told(ask: Ask) -> tuple[Question, Story] | Refusal:
    body = without_nulls(parsed(ask.body))
    if body is None:
        return refusal(400, "SerializationException", "Unexpected token at the start of the request body")
    if told := complaint(body):
        return invalid(told)
    asked = question(body)
    return asked, tell(asked, partial(_call_id, ask.body))


def _call_id(seed: bytes, index: int, name: str) -> str:
    return "tooluse_" + token(b"%d" % index + seed, 22)


def _counted(reply: Reply, ask: Ask, asked: Question, story: Story) -> Reply:
    return replace(
        reply,
        model=unquote(ask.named[0]),
        prompt_tokens=asked.prompt_tokens,
        cached=asked.marked_tokens,
        output=len(story.output),
    )


def answer(asked: Question, story: Story) -> Json:
    """The whole answer."""
    content: list[Json] = []
    if story.thought:
        thought = {"text": story.thought, "signature": sign(story.thought)}
        content.append({"reasoningContent": {"reasoningText": thought}})
    content += [_said(block) for block in story.blocks if block.kind in ("text", "quote")]
    content += [{"toolUse": {"input": call.given, "name": call.name, "toolUseId": call.id}} for call in story.calls]
    return {
        "metrics": {"latencyMs": 7},
        "output": {"message": {"content": content, "role": "assistant"}},
        "stopReason": _stop_reason(story),
        "usage": _usage(asked, story),
    }


def _said(block: Block) -> Json:
    first = block.events[0]
    if isinstance(first, Quote):
        return {"citationsContent": {"citations": [_citation(first)], "content": [{"text": first.text}]}}
    return {"text": "".join(event.text for event in block.events if isinstance(event, Text))}


def _citation(quote: Quote) -> Json:
    return {
        "location": {"documentChar": {"documentIndex": quote.document, "end": len(quote.text), "start": 0}},
        "sourceContent": [{"text": quote.text}],
        "title": quote.title,
    }


def _stop_reason(story: Story) -> str:
    if story.finish == "stop" and story.stop is not None:
        return "stop_sequence"
    return {"stop": "end_turn", "length": "max_tokens"}.get(story.finish, "tool_use")


def _usage(asked: Question, story: Story) -> Json:
    """What stands before a cache point counts as read from the cache, and not as input."""
    cached = asked.marked_tokens
    return {
        "cacheReadInputTokenCount": cached,
        "cacheReadInputTokens": cached,
        "cacheWriteInputTokenCount": 0,
        "cacheWriteInputTokens": 0,
        "inputTokens": asked.prompt_tokens - cached,
        "outputTokens": len(story.output),
        "serverToolUsage": {},
        "totalTokens": asked.prompt_tokens + len(story.output),
    }


def frames(asked: Question, story: Story) -> Iterator[Frame]:
    """The answer as a stream."""
    yield _event("messageStart", {"role": "assistant"})
    yield from _blocks(story)
    yield _event("messageStop", {"stopReason": _stop_reason(story)})
    yield _event("metadata", {"metrics": {"latencyMs": 7}, "usage": _usage(asked, story)})


def _blocks(story: Story) -> Iterator[Frame]:
    for index, block in enumerate(story.blocks):
        for event in block.events:
            if isinstance(event, Quote):
                yield _event("contentBlockDelta", {"contentBlockIndex": index, "delta": {"citation": _citation(event)}})
            yield _piece(index, event)
        if block.kind == "thought":
            signed = {"reasoningContent": {"signature": sign(story.thought)}}
            yield _event("contentBlockDelta", {"contentBlockIndex": index, "delta": signed})
        yield _event("contentBlockStop", {"contentBlockIndex": index})


def _piece(index: int, event: Output) -> Frame:
    at = {"contentBlockIndex": index}
    match event:
        case Reasoning(text=text):
            return _event("contentBlockDelta", {**at, "delta": {"reasoningContent": {"text": text}}}, 1)
        case Text(text=text) | Quote(text=text):
            return _event("contentBlockDelta", {**at, "delta": {"text": text}}, 1)
        case ToolCallStarted(id=id, name=name):
            return _event("contentBlockStart", {**at, "start": {"toolUse": {"name": name, "toolUseId": id}}}, 1)
        case ToolCallArguments(json=json):
            return _event("contentBlockDelta", {**at, "delta": {"toolUse": {"input": json}}}, 1)


def _event(kind: str, content: Json, tokens: int = 0) -> Frame:
    padded = {**content, "p": padding(orjson.dumps(content))}
    return Frame(eventstream.event(kind, orjson.dumps(padded, option=orjson.OPT_SORT_KEYS)), tokens)


# Embeddings and models


def invoke(ask: Ask) -> Reply | Refusal:
    """Embeddings by Titan or Cohere; no other model is served this way."""
    name, body = unquote(ask.named[0]), parsed(ask.body)
    embed = next((made for part, made in _EMBEDDERS.items() if part in name), None)
    if embed is None:
        return invalid(f"The simulator has no InvokeModel for {name}.")
    made = embed(body) if isinstance(body, dict) else None
    if made is None:
        return invalid("Malformed input request: #: required key is missing, please reformat your input and try again.")
    content, words = made
    counted = (b"x-amzn-bedrock-input-token-count", b"%d" % words)
    return replace(whole(content, headers=(*HEADERS, counted)), model=name, prompt_tokens=words)


def _titan(body: Json) -> tuple[Json, int] | None:
    text, size = body.get("inputText"), body.get("dimensions", 1024)
    if not isinstance(text, str) or not text or not isinstance(size, int):
        return None
    found, words = vectors.vector(text, size), len(text.split())
    return {"embedding": found, "embeddingsByType": {"float": found}, "inputTextTokenCount": words}, words


def _cohere(body: Json) -> tuple[Json, int] | None:
    texts: Any = body.get("texts")
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts) or not body.get("input_type"):
        return None
    found: Any = [vectors.vector(text, 1024) for text in texts]
    kind = "embeddings_floats"
    if body.get("embedding_types"):
        found, kind = {"float": found}, "embeddings_by_type"
    words = vectors.words(texts)
    return {"id": UNIQUE, "embeddings": found, "response_type": kind, "texts": texts}, words


def _nova(body: Json) -> tuple[Json, int] | None:
    asked: Any = body.get("singleEmbeddingParams")
    text: Any = asked.get("text") if isinstance(asked, dict) else None
    said: Any = text.get("value") if isinstance(text, dict) else None
    if not isinstance(said, str):
        return None
    size = asked.get("embeddingDimension")
    found = vectors.vector(said, size if isinstance(size, int) else 3072)
    return {"embeddings": [{"embedding": found, "embeddingType": "TEXT"}]}, len(said.split())


_EMBEDDERS = {"titan-embed": _titan, "cohere.embed": _cohere, "nova-2-multimodal-embeddings": _nova}


def foundation_models(ask: Ask) -> Reply:
    """The control plane's list: https://docs.aws.amazon.com/bedrock/latest/APIReference/API_ListFoundationModels.html."""
    return whole({"modelSummaries": [_summary(name) for name in ask.account.models]}, headers=HEADERS)


def _summary(name: str) -> Json:
    embeds = "embed" in name
    return {
        "customizationsSupported": [],
        "inferenceTypesSupported": ["ON_DEMAND"],
        "inputModalities": ["TEXT"] if embeds else ["TEXT", "IMAGE"],
        "modelArn": f"arn:aws:bedrock:us-east-1::foundation-model/{name}",
        "modelId": name,
        "modelLifecycle": {"status": "ACTIVE"},
        "modelName": name.partition(".")[2],
        "outputModalities": ["EMBEDDING" if embeds else "TEXT"],
        "providerName": name.partition(".")[0].title(),
        "responseStreamingSupported": not embeds,
    }


def inference_profiles(ask: Ask) -> Reply:
    """One for each of Claude's models: https://docs.aws.amazon.com/bedrock/latest/APIReference/API_ListInferenceProfiles.html."""
    claude = [name for name in ask.account.models if name.startswith("anthropic.")]
    return whole({"inferenceProfileSummaries": [_profile(f"us.{name}", name) for name in claude]}, headers=HEADERS)


def _profile(id: str, model: str) -> Json:
    return {
        "inferenceProfileArn": f"arn:aws:bedrock:us-east-1:000000000000:inference-profile/{id}",
        "inferenceProfileId": id,
        "inferenceProfileName": id,
        "models": [{"modelArn": f"arn:aws:bedrock:us-east-1::foundation-model/{model}"}],
        "status": "ACTIVE",
        "type": "SYSTEM_DEFINED",
    }


def lost(method: str, path: str) -> Refusal:
    """For an operation that it does not have."""
    return refusal(404, "UnknownOperationException", "The requested operation is not recognized by the service.")


GRAMMAR = Grammar(
    base="",
    models=MODELS,
    routes=(
        Route("POST", "/model/([^/]+)/converse", converse),
        Route("POST", "/model/([^/]+)/converse-stream", converse_stream),
        Route("POST", "/model/([^/]+)/invoke", invoke),
        Route("GET", "/foundation-models", foundation_models),
        Route("GET", "/inference-profiles", inference_profiles),
    ),
    turn_away=turn_away,
    refuse=refuse,
    lost=lost,
    broken=eventstream.exception("modelStreamErrorException", orjson.dumps(ERRORS["424"].envelope)),
    garbage=b"\xff\xfe\x00\x00 this is no message \x00\n\n",
    headers=HEADERS,
)
