"""What a request needs of a model, and whether a target has it. Pure, and true of any request that was accepted.

A target is left out only for what is certain to fail there: what cannot be told is for the provider to say.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from gateway.core.call import Call, Json, Need, Target

SIGNS_PER_TOKEN = 8
"""More than any text has, not counting `RUNS`. Of English prose and of code there are 3 to 4 in a token, of Chinese 1.4
(OpenAI's o200k_base); the most in 4,234 recorded calls were 6.9, for one long word said a thousand times."""

RUNS = " \n\t-=_"
"""Signs that stand in long rows, as in indented code and below headings. A hundred of one kind can be one token."""

_THOUGHTS_END = "</think>"
"""Chat templates (DeepSeek R1, Qwen, GLM) show the model nothing of an earlier answer up to here: a recorded talk of
2,500 characters came to 33 tokens."""

_SHORTENERS = ("context_management", "transforms", "truncation")
"""Fields by which a client lets the server shorten a talk that is too long: Anthropic's, OpenRouter's, and OpenAI's of
the Responses API. A recorded talk of 225,000 characters came to 239 tokens."""

_IMAGES = frozenset({"image_url", "input_image", "image"})
"""Types of a content part: OpenAI's own, that of its Responses API, and Anthropic's. Some servers take all three."""


def can_serve(target: Target, call: Call) -> bool:
    """Whether a target can serve a call, as far as is known of it."""
    if call.endpoint == "embeddings":
        return "embeddings" in target.urls
    if target.lacks and _misses(target, call.body):
        return False
    return "chat" in target.urls and _fits(target, call)


def needs(body: Json) -> frozenset[Need]:
    """What the model must be able to do."""
    return frozenset(need for need, is_needed in _NEEDS.items() if is_needed(body))


def least_tokens(call: Call) -> int:
    """Tokens that the prompt has for certain, whatever the tokenizer; it has two to three times as many, mostly.

    Only what was said is counted. How tools, files and the frame around it all are told to a model, nobody says.
    """
    if any(call.body.get(field) for field in _SHORTENERS):
        return 0
    return sum(map(_signs, _said(call.body))) // SIGNS_PER_TOKEN


def _misses(target: Target, body: Json) -> bool:
    return any(_NEEDS[lack](body) for lack in target.lacks)


def _fits(target: Target, call: Call) -> bool:
    """A body holds no more signs than bytes, so most calls are known to fit without being looked at."""
    if target.context is None or call.size <= target.context * SIGNS_PER_TOKEN:
        return True
    return least_tokens(call) <= target.context


def _signs(text: str) -> int:
    return len(text) - sum(map(text.count, RUNS))


def _said(body: Json) -> Iterator[str]:
    for message in _objects(body.get("messages")):
        text = "".join(_texts(message.get("content")))
        yield text.rpartition(_THOUGHTS_END)[2] if message.get("role") == "assistant" else text


def _texts(content: Any) -> Iterator[str]:
    if isinstance(content, str):
        yield content
    for part in _objects(content):
        if _kind(part) == "text" and isinstance(text := part.get("text"), str):
            yield text


def _objects(value: Any) -> Iterator[Json]:
    """Those in a list. Servers have kinds of their own, so anything may stand where a part does."""
    return (item for item in value if isinstance(item, dict)) if isinstance(value, list) else iter(())


# Needs


def _images(body: Json) -> bool:
    """In what anyone said, results of tools included."""
    parts = (part for message in _objects(body.get("messages")) for part in _objects(message.get("content")))
    return any(_kind(part) in _IMAGES for part in parts)


def _tools(body: Json) -> bool:
    return bool(body.get("tools") or body.get("functions"))


def _schema(body: Json) -> bool:
    return _kind(body.get("response_format")) == "json_schema"


def _kind(value: Any) -> str:
    kind = value.get("type") if isinstance(value, dict) else None
    return kind if isinstance(kind, str) else ""


_NEEDS: Mapping[Need, Callable[[Json], bool]] = {"images": _images, "tools": _tools, "schema": _schema}
