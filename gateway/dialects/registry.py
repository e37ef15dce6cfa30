"""Name to dialect. A dialect is imported when it is first asked for, so that one nobody uses costs nothing.

Each function returns a module as a `Dialect`, which is where mypy checks that it is one.
"""

from __future__ import annotations

from collections.abc import Callable

from gateway.dialects.base import Dialect


def _openai_chat() -> Dialect:
    from gateway.dialects import openai_chat

    return openai_chat


DIALECTS: dict[str, Callable[[], Dialect]] = {
    "openai_chat": _openai_chat,
}


def load(name: str) -> Dialect:
    """The dialect of this name. Raises KeyError for one that is not there."""
    return DIALECTS[name]()
