"""How a command says what came of it: in words for people, in JSON for scripts."""

from __future__ import annotations

import orjson

from gateway.cli.serving import sorry
from gateway.core.call import Json


def print_json(content: Json) -> None:
    """One object, on one line."""
    print(orjson.dumps(content).decode(), flush=True)


def refuse(message: str, status: int = 1, *, as_json: bool) -> int:
    """Tells why a command does not do what it should. Returns the exit status."""
    if not as_json:
        return sorry(message, status)
    print_json({"ok": False, "error": message})
    return status


def counted(number: int, noun: str) -> str:
    """`1 model`, `2 models`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def an(noun: str) -> str:
    """`a day`, `an hour`."""
    return f"a{'n' if noun == 'hour' else ''} {noun}"
