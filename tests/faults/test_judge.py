"""The judge is not blind: a sight that is as it has to be passes, and each change of it is told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import orjson
import pytest
from msgspec import structs

from gateway.core.call import Json
from gateway.core.errors import WORDS, Failure
from gateway.engine.entry import Entry, Tried
from tests.faults.cell import SAID, Sight
from tests.faults.expected import ILL, WELL, Expected
from tests.faults.faults import FAULTS, STREAM, WHOLE, Cell
from tests.faults.judge import differences
from tests.faults.plays import ACCOUNT, SECRET


def cell(name: str, mode: str, *, company: bool) -> Cell:
    (fault,) = (fault for fault in FAULTS if fault.name == name)
    return Cell(fault, "openai", mode, company)


SERVED = cell("status-500", WHOLE, company=True)
STREAMED = cell("status-500", STREAM, company=True)
FAILED = cell("status-500", WHOLE, company=False)
LIMITED = cell("limit-seconds", STREAM, company=False)
CUT = cell("cut-close", STREAM, company=True)
REJECTED = cell("status-400", WHOLE, company=True)
RIGHT = (SERVED, STREAMED, FAILED, LIMITED, CUT, REJECTED)


def right(cell: Cell) -> Sight:
    """What is seen where all is as it has to be."""
    due = cell.expected
    headers = {"x-gateway-attempts": str(len(due.trail)), "x-gateway-provider": due.served or ILL}
    if due.wait is not None:
        headers["retry-after"] = str(due.wait)
    if due.final:
        headers["x-should-retry"] = "false"
    entry = Entry("id", "chat", 0.0, 0.0, status=due.status, outcome=due.outcome)  # type: ignore[arg-type]
    entry.tried = [Tried(provider, provider, outcome, 1.0) for provider, outcome in due.trail]
    asked = {name: sum(provider == name for provider, _ in due.trail) for name in (ILL, WELL)}
    return Sight(due.status, headers, body(cell, due), asked, (entry,), late=-1.0, left=(), log="")


def body(cell: Cell, due: Expected) -> str:
    if due.cut:
        return event(chunk("You")) + event(chunk(" said:")) + event(error(due))
    if due.row is not None:
        return text(error(due))
    if cell.mode == WHOLE:
        return text({"choices": [{"message": {"content": SAID[due.served]}, "finish_reason": "stop"}]})
    return event(chunk(SAID[due.served])) + event(chunk(None, "stop")) + "data: [DONE]\n\n"


def error(due: Expected) -> Json:
    assert due.row is not None
    message = f"It says: {ACCOUNT}" if due.row.quoted else WORDS[Failure(due.row.outcome)]
    return {"error": {"message": message, "type": due.row.type, "param": None, "code": due.row.code}}


def chunk(said: str | None, finish: str | None = None) -> Json:
    return {"choices": [{"delta": {"content": said} if said else {}, "finish_reason": finish}]}


def event(told: Json) -> str:
    return f"data: {text(told)}\n\n"


def text(told: Json) -> str:
    return orjson.dumps(told).decode()


def in_body(old: str, new: str) -> Callable[[Sight], Sight]:
    def change(sight: Sight) -> Sight:
        assert old in sight.body
        return replace(sight, body=sight.body.replace(old, new, 1))

    return change


def in_header(name: str, value: str) -> Callable[[Sight], Sight]:
    return lambda sight: replace(sight, headers={**sight.headers, name: value})


def without_header(name: str) -> Callable[[Sight], Sight]:
    return lambda sight: replace(sight, headers={key: value for key, value in sight.headers.items() if key != name})


def also(tail: str) -> Callable[[Sight], Sight]:
    return lambda sight: replace(sight, body=sight.body + tail)


def asked(name: str, number: int) -> Callable[[Sight], Sight]:
    return lambda sight: replace(sight, asked={**sight.asked, name: number})


def entered(**fields: object) -> Callable[[Sight], Sight]:
    return lambda sight: replace(sight, entries=(structs.replace(sight.entries[0], **fields),))


def seen(**fields: object) -> Callable[[Sight], Sight]:
    return lambda sight: replace(sight, **fields)  # type: ignore[arg-type]


WRONG: tuple[tuple[str, Cell, Callable[[Sight], Sight]], ...] = (
    ("another status", SERVED, seen(status=502)),
    ("the words of the wrong provider", SERVED, in_body("told", "said")),
    ("the words of both", STREAMED, in_body("You told", "You said: You told")),
    ("a word that is missing", STREAMED, in_body(" eight", "")),
    ("no finish", STREAMED, in_body('"stop"', "null")),
    ("two finishes", STREAMED, in_body("data: [DONE]", event(chunk(None, "stop")) + "data: [DONE]")),
    ("no full stop", STREAMED, in_body("data: [DONE]\n\n", "")),
    ("an error before the full stop", STREAMED, in_body("data: [DONE]", event({"error": {}}) + "data: [DONE]")),
    ("another provider in the header", SERVED, in_header("x-gateway-provider", ILL)),
    ("too few attempts in the header", SERVED, in_header("x-gateway-attempts", "1")),
    ("no attempts in the header", FAILED, without_header("x-gateway-attempts")),
    ("no error", FAILED, seen(body="{}")),
    ("a page of HTML", FAILED, seen(body="<html>")),
    ("an envelope without its param", FAILED, in_body('"param":null,', "")),
    ("another type", FAILED, in_body("upstream_error", "server_error")),
    ("another code", FAILED, in_body('"code":"upstream_error"', '"code":"internal_error"')),
    ("the provider's account", FAILED, in_body("The provider failed", f"{ACCOUNT}: The provider failed")),
    ("words of somebody else", FAILED, in_body("The provider failed", "Sorry")),
    ("the provider's key", REJECTED, in_body(ACCOUNT, SECRET)),
    ("no reason for a refusal", REJECTED, in_body(ACCOUNT, "")),
    ("the provider's key in the log", SERVED, seen(log=SECRET)),
    ("nothing about a second try", FAILED, without_header("x-should-retry")),
    ("no wait", LIMITED, without_header("retry-after")),
    ("a shorter wait", LIMITED, in_header("retry-after", "1")),
    ("a wait after which not to try", LIMITED, in_header("x-should-retry", "false")),
    ("no output before the error", CUT, seen(body=event(error(CUT.expected)))),
    ("output that was not said", CUT, in_body("You", "We")),
    ("output of the second provider", CUT, in_body(" said:", " told:")),
    ("a cut answer that finishes", CUT, in_body("null", '"stop"')),
    ("a cut answer with a full stop", CUT, also("data: [DONE]\n\n")),
    ("a cut answer without its error", CUT, seen(body=event(chunk("You")))),
    ("words after the error", CUT, also(event(chunk(" said:")))),
    ("a request too many", SERVED, asked(ILL, 3)),
    ("a request that was not made", SERVED, asked(ILL, 1)),
    ("a request to the second provider after output", CUT, asked(WELL, 1)),
    ("a request to the second provider after a refusal", REJECTED, asked(WELL, 1)),
    ("no entry", SERVED, seen(entries=())),
    ("two entries", SERVED, lambda sight: replace(sight, entries=sight.entries * 2)),
    ("another outcome", CUT, entered(outcome="ok")),
    ("another status in the entry", FAILED, entered(status=200)),
    ("an attempt that is missing", SERVED, lambda sight: entered(tried=sight.entries[0].tried[1:])(sight)),
    ("a call that takes too long", SERVED, seen(late=0.11)),
    ("something left behind", SERVED, seen(left=("a call in the house",))),
)


@pytest.mark.parametrize("cell", RIGHT, ids=str)
def test_what_is_as_it_has_to_be_passes(cell: Cell) -> None:
    assert differences(cell, right(cell)) == []


@pytest.mark.parametrize(("cell", "change"), [row[1:] for row in WRONG], ids=[row[0] for row in WRONG])
def test_a_difference_is_told(cell: Cell, change: Callable[[Sight], Sight]) -> None:
    assert differences(cell, change(right(cell)))
