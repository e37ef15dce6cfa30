"""What a chat request in OpenAI's grammar asks for. Mistral, Cohere and many others ask in nearly the same words."""

from __future__ import annotations

from typing import Any

from gateway.core.call import Json
from gateway.simulator.story import Question, Reading, Tool, json_schema
from gateway.simulator.words import images, texts

SHOWN = ("low", "medium", "high", "xhigh", "minimal")
"""Values of `reasoning_effort` with which models that show their reasoning do so."""


def question(body: Json, *, thinks: bool = False) -> Question:
    """Reads a request that has been checked: its messages are objects and its tools have names."""
    heard = _heard(body)
    return Question(
        said=heard.said,
        images=heard.images,
        results=tuple(heard.results),
        tools=tuple(_callable(body)),
        several=body.get("parallel_tool_calls") is not False,
        schema=_schema(body.get("response_format")),
        limit=_limit(body.get("max_completion_tokens") or body.get("max_tokens")),
        stops=_stops(body.get("stop")),
        thinks=thinks,
        prompt_tokens=heard.words,
    )


def offered(body: Json) -> list[Json]:
    """The functions among the tools."""
    return [tool["function"] for tool in body.get("tools") or [] if tool.get("type", "function") == "function"]


def named(body: Json) -> str | None:
    """The function that the client demands, by its name."""
    choice = body.get("tool_choice")
    function = choice.get("function") if isinstance(choice, dict) and choice.get("type") == "function" else None
    return function.get("name") if isinstance(function, dict) else None


def _heard(body: Json) -> Reading:
    reading = Reading()
    for message in body["messages"]:
        said = texts(message)
        match message["role"]:
            case "user":
                reading.user(said, images(message))
            case "tool" | "function":
                reading.result(" ".join(said), images(message))
            case _:
                reading.count(" ".join(said))
    for function in offered(body):
        reading.count(f"{function['name']} {function.get('description') or ''}")
    return reading


def _callable(body: Json) -> list[Tool]:
    choice, tools = body.get("tool_choice"), offered(body)
    if choice == "none":
        return []
    if isinstance(choice, dict) and choice.get("type") == "function":
        tools = [function for function in tools if function["name"] == named(body)][:1]
    return [Tool(function["name"], function.get("parameters")) for function in tools]


def _schema(wanted: Any) -> Any:
    """Of the JSON that the client wants, if it wants JSON."""
    if not isinstance(wanted, dict) or wanted.get("type") not in ("json_object", "json_schema"):
        return None
    form = wanted.get("json_schema")
    return json_schema(form.get("schema") if isinstance(form, dict) else None)


def _limit(most: Any) -> int | None:
    """Ollama takes 0 and less, and whatever else, for no limit."""
    return most if isinstance(most, int) and most > 0 else None


def _stops(stop: Any) -> tuple[str, ...]:
    marks = [stop] if isinstance(stop, str) else stop if isinstance(stop, list) else []
    return tuple(mark for mark in marks if isinstance(mark, str))


def shows_reasoning(body: Json) -> bool:
    """Whether a model that can show its reasoning was asked to."""
    return body.get("reasoning_effort") in SHOWN
