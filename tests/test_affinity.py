"""What a conversation is known by."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gateway.core.call import Json
from gateway.routing.affinity import prefix

START: list[Json] = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"}]
TOOLS = [{"type": "function", "function": {"name": "clock"}}]

MESSAGES = st.lists(
    st.fixed_dictionaries({"role": st.sampled_from(["assistant", "user", "tool"]), "content": st.text()}), max_size=8
)

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(MESSAGES)
def test_a_conversation_is_the_same_however_it_goes_on(more: list[Json]) -> None:
    assert prefix({"messages": START + more}) == prefix({"messages": START})


def test_settings_of_a_call_make_no_other_conversation_of_it() -> None:
    assert prefix({"messages": START, "temperature": 1, "stream": True}) == prefix({"messages": START})


def test_the_order_of_keys_does_not_matter() -> None:
    turned = [dict(reversed(message.items())) for message in START]
    assert prefix({"messages": turned}) == prefix({"messages": START})


def test_another_question_instruction_or_tool_makes_another_conversation() -> None:
    other = [START[0], {"role": "user", "content": "Hi"}]
    bodies: list[Json] = [
        {"messages": START},
        {"messages": other},
        {"messages": START[1:]},
        {"messages": START, "tools": TOOLS},
    ]
    assert len({prefix(body) for body in bodies}) == 4


def test_embeddings_go_by_their_input() -> None:
    assert prefix({"input": "a"}) == prefix({"input": "a", "dimensions": 3}) != prefix({"input": "b"})


@given(st.dictionaries(st.sampled_from(["messages", "tools", "input", "other"]), JSON))
def test_any_body_has_one(body: dict[str, Any]) -> None:
    assert len(prefix(body)) == 16
