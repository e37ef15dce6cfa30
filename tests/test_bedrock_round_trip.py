"""What a model said comes back to it in the next turn as it was: ids, arguments, signatures, sealed reasoning."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import orjson
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.call import Call, Json, Target, UpstreamReply
from gateway.dialects.bedrock import answer, ask
from gateway.surfaces.openai_encoder import whole

TARGET = Target("aws", "us.anthropic.claude-sonnet-4-5-20250929-v1:0", {"chat": "https://aws.example/converse"})
QUESTION = {"role": "user", "content": "When is high water?"}

words = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12).filter(lambda text: not text.isspace())
names = st.from_regex(r"[a-zA-Z0-9_-]{1,64}", fullmatch=True)
ids = st.from_regex(r"[a-zA-Z0-9_.:-]{1,64}", fullmatch=True)
seals = st.binary(min_size=1, max_size=12).map(lambda data: b64encode(data).decode())
arguments = st.dictionaries(
    words, st.none() | st.booleans() | st.integers(-(2**53), 2**53) | words | st.lists(words, max_size=2), max_size=3
)

thoughts = st.one_of(
    st.builds(lambda text, seal: {"reasoningText": {"text": text, "signature": seal}}, words, seals),
    st.builds(lambda data: {"redactedContent": data}, seals),
).map(lambda thought: {"reasoningContent": thought})
texts = words.map(lambda text: {"text": text})
calls = st.builds(
    lambda id, name, input: {"toolUse": {"toolUseId": id, "name": name, "input": input}}, ids, names, arguments
)
answers = st.builds(
    lambda thought, text, called: [*thought, *text, *called],
    st.lists(thoughts, max_size=3),
    st.lists(texts, max_size=1),
    st.lists(calls, min_size=1, max_size=3, unique_by=lambda call: call["toolUse"]["toolUseId"]),
)


@given(answers, words)
def test_an_answer_comes_back_in_the_next_turn_as_it_was(content: list[Json], output: str) -> None:
    told = {"output": {"message": {"role": "assistant", "content": content}}, "stopReason": "tool_use", "usage": {}}
    message = whole(answer(UpstreamReply(200, (), orjson.dumps(told))), created=0)["choices"][0]["message"]
    results = [{"role": "tool", "tool_call_id": call["id"], "content": output} for call in message["tool_calls"]]
    asked, said, answered = sent(QUESTION, message, *results)
    assert asked["role"] == "user"
    assert said == {"role": "assistant", "content": content}
    expected = [block["toolUse"]["toolUseId"] for block in content if "toolUse" in block]
    assert [block["toolResult"]["toolUseId"] for block in answered["content"]] == expected


def sent(*messages: Json) -> Any:
    body = orjson.loads(orjson.dumps({"model": "tide", "messages": messages}))
    return orjson.loads(ask(Call("1", "chat", "tide", False, False, body), TARGET).body)["messages"]
