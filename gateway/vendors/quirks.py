"""What OpenAI-shaped servers need changed in a request, one pure function each. `vendors.yaml` says who needs which.

A quirk is added on evidence: the server's documentation, or an answer it gave. It may spell a field differently, or
leave one out that the server refuses. Tools, messages and response formats are never left out: an answer to another
question is worse than none.
"""

from __future__ import annotations

from typing import Any

from gateway.core.call import Json, Quirk


def max_tokens_only(body: Json) -> tuple[Json, tuple[str, ...]]:
    """`max_completion_tokens` as `max_tokens`, for servers that document the old name alone.

    They ignore names they do not know, so the bound would be gone without a word: https://docs.ollama.com/api/openai-compatibility,
    https://api-docs.deepseek.com/api/create-chat-completion, https://docs.perplexity.ai/guides/chat-completions-guide.
    """
    if (bound := body.get("max_completion_tokens")) is None:
        return body, ()
    lost = ("max_tokens",) if body.get("max_tokens") not in (None, bound) else ()
    return {**_without(body, "max_completion_tokens"), "max_tokens": bound}, lost


def system_role_only(body: Json) -> tuple[Json, tuple[str, ...]]:
    """The role `developer` as `system`, which is what it was called before.

    DeepSeek answers 400 "unknown variant `developer`, expected one of `system`, `user`, `assistant`, `tool`"
    (github.com/earendil-works/pi, issue 1048); LM Studio "Got 'developer'", with the same four.
    """
    messages = body["messages"]
    if all(message["role"] != "developer" for message in messages):
        return body, ()
    return {**body, "messages": [_as_system(message) for message in messages]}, ()


def no_stream_options(body: Json) -> tuple[Json, tuple[str, ...]]:
    """Without `stream_options`, for servers that report usage in a stream unasked and document no such field.

    Perplexity: https://docs.perplexity.ai/guides/chat-completions-guide; recorded streams carry usage without it.
    """
    options = body.get("stream_options") or {}
    lost = ("stream_options",) if options.keys() - {"include_usage"} else ()
    return _without(body, "stream_options"), lost


def no_logprobs(body: Json) -> tuple[Json, tuple[str, ...]]:
    """Without `logprobs`, `top_logprobs` and `logit_bias`, for servers that refuse them whatever their value.

    Groq answers 400: https://console.groq.com/docs/openai.
    """
    return _leave_out(body, "logprobs", "top_logprobs", "logit_bias")


def no_cache_marks(body: Json) -> tuple[Json, tuple[str, ...]]:
    """Without `cache_control`, Anthropic's mark for its cache: OpenAI refuses fields that it does not know.

    Clients write it with Claude in mind, and the same request may come here after Claude has failed. What OpenAI caches
    it decides by itself: https://platform.openai.com/docs/guides/prompt-caching.
    """
    messages, tools = body["messages"], body.get("tools")
    if not any(map(_marked, messages)) and not any(_MARK in tool for tool in tools or ()):
        return body, ()
    bare = {**body, "messages": [_unmarked(message) for message in messages]}
    if tools:
        bare["tools"] = [_without(tool, _MARK) for tool in tools]
    return bare, (_MARK,)


_MARK = "cache_control"


def _marked(message: Json) -> bool:
    content = message.get("content")
    return _MARK in message or (type(content) is list and any(_MARK in part for part in content))


def _unmarked(message: Json) -> Json:
    if not _marked(message):
        return message
    bare, content = _without(message, _MARK), message.get("content")
    return {**bare, "content": [_without(part, _MARK) for part in content]} if type(content) is list else bare


def _leave_out(body: Json, *names: str) -> tuple[Json, tuple[str, ...]]:
    return _without(body, *names), tuple(name for name in names if body.get(name) is not None)


def _without(body: Json, *names: str) -> Json:
    return {name: value for name, value in body.items() if name not in names}


def _as_system(message: Any) -> Any:
    return {**message, "role": "system"} if message["role"] == "developer" else message


QUIRKS: dict[str, Quirk] = {
    quirk.__name__: quirk
    for quirk in (max_tokens_only, system_role_only, no_stream_options, no_logprobs, no_cache_marks)
}
