"""Compares what was seen of a call with what has to be seen of it. Pure: every difference is told in words."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import orjson

from gateway.core.call import Json
from gateway.core.errors import RULES, WORDS, Failure
from tests.faults.cell import SAID, Sight
from tests.faults.expected import CONTENT, ILL, WELL, Expected
from tests.faults.faults import STREAM, Cell
from tests.faults.plays import ACCOUNT, SECRET

GRACE = 0.1
"""Seconds by which a call may outlive its deadline."""

ATTEMPTS = 3
"""That a call may make, over all targets."""


def differences(cell: Cell, sight: Sight) -> list[str]:
    """What is not as it has to be. Empty: nothing."""
    return [told for check in CHECKS for told in check(cell, cell.expected, sight)]


Check = Callable[[Cell, Expected, Sight], Iterator[str]]


def _status(cell: Cell, due: Expected, sight: Sight) -> Iterator[str]:
    if sight.status != due.status:
        yield f"the status is {sight.status} and not {due.status}: {sight.body[:200]}"


def _served(cell: Cell, due: Expected, sight: Sight) -> Iterator[str]:
    """A success is whole, clean, and of one provider alone."""
    if not due.served or sight.status != 200:
        return
    said, finished = (_stream if cell.mode == STREAM else _whole)(sight.body)
    if said != SAID[due.served]:
        yield f"the answer is {said!r} and not {SAID[due.served]!r}"
    if finished != ["stop"]:
        yield f"the answer finishes {finished}"
    if sight.headers.get("x-gateway-provider") != due.served:
        yield f"x-gateway-provider is {sight.headers.get('x-gateway-provider')}"
    if cell.mode == STREAM and not sight.body.endswith("data: [DONE]\n\n"):
        yield "the stream has no [DONE] at its end"
    if any("error" in told for told in _events(sight.body) or [_object(sight.body)]):
        yield "there is an error in the answer"


def _cut(cell: Cell, due: Expected, sight: Sight) -> Iterator[str]:
    """What came is told, then the error, and nothing looks as if it were complete."""
    if not due.cut or sight.status != 200:
        return
    said, finished = _stream(sight.body)
    if not said or not SAID[ILL].startswith(said):
        yield f"the client was told {said!r}"
    if finished and cell.fault.name != "cut-full-stop":  # there the provider itself has said so
        yield f"the answer finishes {finished}, which the provider did not say"
    if "[DONE]" in sight.body:
        yield "there is a [DONE]"
    if not _events(sight.body)[-1:] or "error" not in _events(sight.body)[-1]:
        yield "the stream does not end with an error"


def _told(cell: Cell, due: Expected, sight: Sight) -> Iterator[str]:
    """A failure has the type, the code and the envelope of its row."""
    if due.row is None:
        return
    error = _error(sight.body)
    if set(error) != {"message", "type", "param", "code"} or not error["message"]:
        yield f"the error is not in the envelope: {sight.body[-200:]!r}"
        return
    if error["type"] != due.row.type and not due.row.quoted:
        yield f"the type is {error['type']} and not {due.row.type}"
    if error["code"] != due.row.code and due.row.code is not None:
        yield f"the code is {error['code']} and not {due.row.code}"
    if "[DONE]" in sight.body:
        yield "there is a [DONE] after an error"


def _headers(cell: Cell, due: Expected, sight: Sight) -> Iterator[str]:
    """What an SDK reads beside the body."""
    attempts = sight.headers.get("x-gateway-attempts")
    if attempts != str(len(due.trail)):
        yield f"x-gateway-attempts is {attempts} and not {len(due.trail)}"
    if due.row is None or due.cut:
        return
    wait = sight.headers.get("retry-after")
    if (None if wait is None else int(wait)) != due.wait:
        yield f"retry-after is {wait} and not {due.wait}"
    again = sight.headers.get("x-should-retry")
    if due.final and again != "false":
        yield f"x-should-retry is {again}, though all was tried that may help"
    if due.wait is not None and again == "false":
        yield "x-should-retry forbids what retry-after asks for"


def _requests(cell: Cell, due: Expected, sight: Sight) -> Iterator[str]:
    """Nobody is asked more often than the row allows."""
    reached = cell.fault.place == "there"
    for provider, lost in ((ILL, due.lost), (WELL, 0)):
        wanted = sum(name == provider for name, _ in due.trail) + lost
        if provider == ILL and not reached:
            wanted = 0
        if sight.asked[provider] != wanted:
            yield f"the provider {provider} got {sight.asked[provider]} requests and not {wanted}"
    if len(due.trail) > ATTEMPTS:
        yield f"{len(due.trail)} attempts are more than {ATTEMPTS}"


def _entry(cell: Cell, due: Expected, sight: Sight) -> Iterator[str]:
    """The call was settled once, and its record tells the truth."""
    if len(sight.entries) != 1:
        yield f"there are {len(sight.entries)} entries"
        return
    entry = sight.entries[0]
    if entry.outcome != due.outcome:
        yield f"the outcome is {entry.outcome} and not {due.outcome}"
    if entry.status != sight.status:
        yield f"the entry has the status {entry.status}"
    trail = tuple((tried.provider, tried.outcome) for tried in entry.tried)
    if trail != due.trail:
        yield f"the attempts were {trail} and not {due.trail}"


def _secrets(cell: Cell, due: Expected, sight: Sight) -> Iterator[str]:
    """What a provider quotes stays here: the credentials always, the rest unless its words are for the client."""
    for name, text in (("client", sight.body + str(sight.headers)), ("log", sight.log)):
        if SECRET in text:
            yield f"the {name} was told the provider's key"
    if ACCOUNT in sight.body and not (due.row and due.row.quoted):
        yield "the client was told the provider's own words"
    if due.row and due.row.quoted and due.row is not CONTENT and ACCOUNT not in sight.body:  # a filter may say nothing
        yield "the client was not told what is wrong with its request"
    if due.row and not due.row.quoted and not _in_own_words(_error(sight.body).get("message", ""), due.row.outcome):
        yield f"the client was told {_error(sight.body).get('message')!r}"


def _time(cell: Cell, due: Expected, sight: Sight) -> Iterator[str]:
    if sight.late > GRACE:
        yield f"the call outlived its deadline by {sight.late * 1000:.0f} ms"
    for name in sight.left:
        yield f"it left behind {name}"


CHECKS: tuple[Check, ...] = (_status, _served, _cut, _told, _headers, _requests, _entry, _secrets, _time)


def _in_own_words(message: str, outcome: str) -> bool:
    failure = Failure(outcome)
    return RULES[failure].own_words or message.startswith(WORDS[failure].rstrip("."))


def _whole(body: str) -> tuple[str, list[str]]:
    """The text of an answer, and how it finishes."""
    choices = _object(body).get("choices", [])
    said = "".join(choice["message"].get("content") or "" for choice in choices)
    return said, [choice["finish_reason"] for choice in choices]


def _stream(body: str) -> tuple[str, list[str]]:
    """The text of a streamed answer, and how it finishes."""
    choices = [choice for event in _events(body) for choice in event.get("choices", ())]
    said = "".join(choice["delta"].get("content") or "" for choice in choices)
    return said, [choice["finish_reason"] for choice in choices if choice.get("finish_reason")]


def _error(body: str) -> Json:
    """The error that an answer is, or ends with; empty where there is none."""
    last = _events(body)[-1:] or [_object(body)]
    error: Any = last[0].get("error")
    return error if isinstance(error, dict) else {}


def _events(body: str) -> list[Json]:
    return [_object(line[6:]) for line in body.splitlines() if line.startswith("data: {")]


def _object(text: str) -> Json:
    try:
        told = orjson.loads(text)
    except orjson.JSONDecodeError:
        return {}
    return told if isinstance(told, dict) else {}
