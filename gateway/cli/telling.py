"""How a command says what came of it: in words for people, in JSON for scripts."""

from __future__ import annotations

import sys

import orjson

from gateway.config.snapshot import Key
from gateway.core.call import Json
from gateway.core.money import dollars

UNITS = ("requests a minute", "tokens a minute", "at once")
"""Of the limits of a key, in their order."""


def print_json(content: Json) -> None:
    """One object, on one line."""
    print(orjson.dumps(content).decode(), flush=True)


def refuse(message: str, status: int = 1, *, as_json: bool) -> int:
    """Tells why a command does not do what it should. Returns the exit status."""
    if as_json:
        print_json({"ok": False, "error": message})
    else:
        print(f"gateway: {message}", file=sys.stderr)
    return status


def counted(number: int, noun: str) -> str:
    """`1 model`, `2 models`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def an(noun: str) -> str:
    """`a day`, `an hour`."""
    return f"a{'n' if noun == 'hour' else ''} {noun}"


def limits_of(key: Key) -> str:
    """`600 requests a minute, 40 at once`; empty if there are none."""
    given = zip(key.limits, UNITS, strict=True)
    return ", ".join(f"{most:,} {unit}" for most, unit in given if most is not None)


def budget_of(key: Key) -> str:
    """`$50 and 10,000,000 tokens a day`; empty if there is none."""
    if key.budget is None:
        return ""
    usd = "" if key.budget.usd_micros is None else f"${dollars(key.budget.usd_micros):,.15g}"
    tokens = "" if key.budget.tokens is None else f"{key.budget.tokens:,} tokens"
    return f"{' and '.join(filter(None, (usd, tokens)))} {an(key.budget.every)}"
