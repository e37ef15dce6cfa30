"""Every fault of the matrix: what the upstream does, and which failure that is. Rows of facts; nothing here runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from gateway.simulator.script import End, Play
from tests.faults import plays
from tests.faults.expected import (
    BILLING,
    CONNECT_TIMEOUT,
    CONTENT,
    CONTEXT,
    CREDENTIALS,
    DEADLINE,
    FIRST_TOKEN_TIMEOUT,
    IDLE_TIMEOUT,
    LIMITED,
    MALFORMED,
    MODEL_MISSING,
    NO_ANSWER,
    OVERLOADED,
    SERVER_ERROR,
    SOUND,
    TRUNCATED,
    UNREACHABLE,
    Expected,
    Phase,
    Row,
    expected,
    rejected,
)
from tests.faults.plays import SPOKEN, WAIT

TYPES = ("openai", "anthropic", "bedrock", "gemini")
WHOLE, STREAM = "whole", "stream"
MODES = (WHOLE, STREAM)


@dataclass(frozen=True, slots=True, eq=False)
class Fault:
    """One way for an upstream to fail."""

    name: str
    does: str
    """The end of the sentence "The provider ..."."""
    row: Row
    but: Mapping[str, Row] = field(default_factory=dict)
    """By provider type or mode: where it is another failure."""
    phase: Phase = Phase.BEFORE
    simulate: str = "none"
    """What the simulator is asked to do wrong, in the words of `gateway.simulator.faults`."""
    play: Play | None = None
    """How it writes its replies."""
    place: str = "there"
    """Where the configuration says that the provider is: a name in `cell.PLACES`."""
    wait: int | None = None
    """Seconds that the provider asks to wait."""
    types: tuple[str, ...] = TYPES
    """The providers that may do so."""
    modes: tuple[str, ...] = MODES
    hasty: bool = False
    """Whether time is what decides, so that the limits have to be short."""

    def at(self, type: str, mode: str) -> Row:
        """The failure that it is, in this mode, at a provider of this type."""
        return self.but.get(type) or self.but.get(mode) or self.row


class Cell(NamedTuple):
    """One call of the matrix."""

    fault: Fault
    type: str
    mode: str
    company: bool
    """Whether there is a healthy second target."""

    def __str__(self) -> str:
        return f"{self.fault.name} / {self.type} / {self.mode} / {'in company' if self.company else 'alone'}"

    @property
    def row(self) -> Row:
        return self.fault.at(self.type, self.mode)

    @property
    def expected(self) -> Expected:
        return expected(self.row, self.fault.phase, self.fault.wait, self.company)


OVERLOADED_INSIDE = {"anthropic": OVERLOADED, "gemini": OVERLOADED}
"""These two say in a stream that they are overloaded, where the others say that they failed."""

THROTTLED = {"bedrock": OVERLOADED}
"""Its throttling is no quota of the client's that is used up: another try may go through at once."""

NO_END = {WHOLE: NO_ANSWER}
"""An unstreamed answer comes at its end: only half of the call's time bounds the wait for it, or all where no other can
be asked."""

NO_OPENING = {"gemini": MALFORMED}
"""Its streams begin with output. One that stops before has said nothing at all."""

NOT_BEDROCK = ("openai", "anthropic", "gemini")

PACED = "chunk-delay:20ms"
"""So that output is read before what comes after it: what the client has not heard could still be tried elsewhere."""


def _status(status: int, row: Row, does: str, types: tuple[str, ...] = TYPES) -> Fault:
    return Fault(f"status-{status}", f"answers {status}: {does}", row, simulate=str(status), types=types)


def _page(status: int, row: Row) -> Fault:
    return Fault(f"page-{status}", f"answers {status} with a web page of its CDN", row, play=plays.page(status))


def _limit(name: str, does: str, play: Play, *, wait: int | None = WAIT, types: tuple[str, ...] = TYPES) -> Fault:
    told = f"answers 429 and {does}"
    return Fault(f"limit-{name}", told, LIMITED, THROTTLED, simulate="429", play=play, wait=wait, types=types)


def _redirect(status: int) -> Fault:
    told = f"redirects to another host ({status})"
    return Fault(f"redirect-{status}", told, MALFORMED, play=plays.redirect(status))


def _exception(kind: str, row: Row) -> Fault:
    told = f"opens its stream, and sends `{kind}`"
    return Fault(f"opening-{kind}", told, row, play=plays.exception_inside(kind), types=("bedrock",))


def _streamed(*faults: Fault) -> tuple[Fault, ...]:
    return tuple(replace(fault, modes=(STREAM,)) for fault in faults)


def _after_output(*faults: Fault) -> tuple[Fault, ...]:
    return tuple(replace(fault, phase=Phase.AFTER) for fault in _streamed(*faults))


def _harmless(name: str, does: str, *, play: Play | None = None, simulate: str = "none") -> Fault:
    return Fault(name, does, SOUND, phase=Phase.HARMLESS, play=play, simulate=simulate)


GROUPS: Mapping[str, tuple[Fault, ...]] = {
    "No answer at all": (
        Fault("refused", "refuses the connection", UNREACHABLE, place="refusing"),
        Fault("unresolved", "has a name that cannot be resolved", UNREACHABLE, place="nameless"),
        Fault("tls-to-plain", "speaks plain HTTP where TLS is expected", UNREACHABLE, place="tls"),
        Fault("blackhole", "never accepts the connection", CONNECT_TIMEOUT, place="blackhole", hasty=True),
        Fault("reset", "resets the connection instead of an answer", UNREACHABLE, simulate="reset"),
        Fault("close", "closes the connection instead of an answer", UNREACHABLE, simulate="close"),
        Fault("half-head", "hangs up within the head of its answer", UNREACHABLE, simulate="half-head"),
    ),
    "Silence": (
        Fault("silent", "takes the request and is silent", FIRST_TOKEN_TIMEOUT, NO_END, simulate="silent", hasty=True),
        Fault("no-body", "sends a head and no body", FIRST_TOKEN_TIMEOUT, NO_END, simulate="no-body", hasty=True),
        Fault(
            "opening-silence",
            "falls silent after the opening of its stream, or within its body",
            FIRST_TOKEN_TIMEOUT,
            NO_END,
            simulate="stall-after:0",
            hasty=True,
        ),
    ),
    "Bad HTTP": (
        Fault("not-http", "does not speak HTTP", MALFORMED, simulate="not-http"),
        Fault("huge-head", "sends a head without end", MALFORMED, play=plays.huge_head),
        Fault("endless-interim", "sends 103 Early Hints without end", MALFORMED, play=plays.endless_interim),
        _redirect(301),
        _redirect(302),
        _redirect(307),
        Fault("no-content", "answers 204, without a body", MALFORMED, play=plays.bare(204)),
        Fault("bad-framing", "breaks the framing of its chunks", MALFORMED, simulate="bad-framing"),
        Fault("bad-coding", "says that a plain body is compressed", MALFORMED, simulate="bad-coding"),
        Fault("odd-coding", "compresses in a way that was not asked for", MALFORMED, play=plays.coded(b"br")),
        Fault(
            "short-length",
            "names a length that ends within its answer",
            MALFORMED,
            {STREAM: TRUNCATED, **NO_OPENING},
            play=plays.short_length,
        ),
        Fault(
            "long-length",
            "names a length that is longer than its answer",
            TRUNCATED,
            simulate="cut-after:0",
            modes=(WHOLE,),
        ),
    ),
    "Statuses": (
        _status(401, CREDENTIALS, "the key is wrong"),
        _status(402, BILLING, "the account has to pay", NOT_BEDROCK),
        _status(403, CREDENTIALS, "the key may not do this"),
        _status(404, MODEL_MISSING, "there is no such model"),
        _status(408, SERVER_ERROR, "the request took too long"),
        _status(424, SERVER_ERROR, "the model returned an error", ("bedrock",)),
        _status(500, SERVER_ERROR, "an internal error"),
        _status(502, SERVER_ERROR, "a bad gateway"),
        _status(503, OVERLOADED, "unavailable"),
        Fault(
            "status-503-wait",
            "answers 503 and asks to wait",
            OVERLOADED,
            simulate=f"503, retry-after:{WAIT}",
            wait=WAIT,
        ),
        _status(504, SERVER_ERROR, "a timeout of its own"),
        _status(529, OVERLOADED, "overloaded", NOT_BEDROCK),
        _page(503, OVERLOADED),
        _page(520, SERVER_ERROR),
        _page(524, SERVER_ERROR),
        Fault(
            "not-ready",
            "has not loaded the model yet",
            OVERLOADED,
            play=plays.model_not_ready,
            types=("bedrock",),
        ),
    ),
    "Limits and money": (
        _limit("seconds", "asks to wait in seconds", plays.in_seconds),
        _limit("milliseconds", "asks to wait in milliseconds", plays.in_milliseconds),
        _limit("date", "asks to wait until a date", plays.at_a_date),
        _limit("reset", "says how long until a limit is reset", plays.at_openais_reset, types=("openai",)),
        _limit("reset-time", "says when a limit is reset", plays.at_anthropics_reset, types=("anthropic",)),
        Fault(
            "limit-retry-info",
            "answers 429 and asks to wait in `RetryInfo`, in the body",
            LIMITED,
            simulate=f"429, retry-after:{WAIT}",
            wait=WAIT,
            types=("gemini",),
        ),
        _limit("unspoken", "does not say how long to wait", plays.limited(), wait=None),
        *_streamed(
            Fault("limit-inside", "tells of a limit in its stream", LIMITED, THROTTLED, play=plays.limited_inside)
        ),
        Fault(
            "quota",
            "says in its own way that the account's quota is spent",
            BILLING,
            simulate="insufficient-quota",
            types=NOT_BEDROCK,
        ),
        Fault(
            "payment",
            "says in its own way that the account cannot pay",
            BILLING,
            play=plays.no_means_to_pay,
            types=("bedrock",),
        ),
    ),
    "The request itself": (
        _status(400, rejected(400), "the request is invalid"),
        _status(409, rejected(409), "there is a conflict"),
        _status(413, rejected(413), "the request is too large"),
        _status(422, rejected(422), "the request cannot be processed"),
        Fault("context-length", "finds the prompt too long", CONTEXT, simulate="context-length"),
        Fault("content-filter", "filters the prompt", CONTENT, simulate="content-filter"),
        *_streamed(_exception("validationException", rejected(400))),
    ),
    "No answer in a 200": (
        Fault("html", "answers with a web page", MALFORMED, simulate="html"),
        Fault("empty", "answers with nothing", MALFORMED, simulate="empty"),
        Fault("null", "answers with `null`", MALFORMED, simulate="null"),
        Fault("garbage", "answers with bytes that mean nothing", MALFORMED, simulate="garbage", modes=(WHOLE,)),
        Fault("half-json", "answers with half of its JSON", MALFORMED, simulate="truncated-json", modes=(WHOLE,)),
        Fault("error-in-200", "answers with an error", SERVER_ERROR, simulate="error-in-200"),
    ),
    "A stream that opens and says nothing": _streamed(
        Fault("opening-garbage", "goes on with garbage", MALFORMED, play=plays.meaningless),
        Fault("opening-misframed", "breaks the framing of its chunks", MALFORMED, play=plays.misframed(0)),
        Fault("opening-error", "tells of an error", SERVER_ERROR, OVERLOADED_INSIDE, simulate="error-after:0"),
        Fault(
            "opening-lingering",
            "tells of an error, and does not end",
            SERVER_ERROR,
            OVERLOADED_INSIDE,
            play=plays.lingering(0),
        ),
        Fault("opening-close", "closes the connection", TRUNCATED, simulate="cut-after:0"),
        Fault("opening-reset", "resets the connection", TRUNCATED, play=plays.ending(0, End.RESET)),
        Fault("stillborn", "ends the stream politely", TRUNCATED, NO_OPENING, play=plays.politely(0)),
        Fault("opening-damaged", "sends a wrong checksum", MALFORMED, play=plays.damaged(0), types=("bedrock",)),
        _exception("internalServerException", SERVER_ERROR),
        _exception("serviceUnavailableException", OVERLOADED),
    ),
    "A stream that breaks after output": _after_output(
        Fault("cut-close", "closes the connection", TRUNCATED, simulate=f"cut-after:{SPOKEN}"),
        Fault("cut-reset", "resets the connection", TRUNCATED, play=plays.ending(SPOKEN, End.RESET)),
        Fault("cut-politely", "ends the stream politely", TRUNCATED, play=plays.politely(SPOKEN)),
        Fault("cut-event", "ends the stream politely, within an event", TRUNCATED, simulate=f"truncated-json, {PACED}"),
        Fault("cut-full-stop", "says all but that this was all", TRUNCATED, simulate=f"no-done, {PACED}"),
        Fault(
            "cut-error",
            "tells of an error",
            SERVER_ERROR,
            OVERLOADED_INSIDE,
            simulate=f"error-after:{SPOKEN}, {PACED}",
        ),
        Fault(
            "cut-lingering",
            "tells of an error, and does not end",
            SERVER_ERROR,
            OVERLOADED_INSIDE,
            play=plays.lingering(SPOKEN),
        ),
        Fault("cut-garbage", "goes on with garbage", MALFORMED, simulate=f"garbage, {PACED}"),
        Fault("cut-misframed", "breaks the framing of its chunks", MALFORMED, play=plays.misframed(SPOKEN)),
        Fault("cut-damaged", "sends a wrong checksum", MALFORMED, play=plays.damaged(SPOKEN), types=("bedrock",)),
        Fault("cut-silence", "falls silent", IDLE_TIMEOUT, simulate=f"stall-after:{SPOKEN}", hasty=True),
        Fault("endless", "goes on for longer than the call may take", DEADLINE, play=plays.slowly, hasty=True),
    ),
    "Trouble that passes": (
        Fault("once-500", "fails once", SERVER_ERROR, phase=Phase.ONCE, simulate="500"),
        Fault("once-503", "is overloaded once", OVERLOADED, phase=Phase.ONCE, simulate="503"),
        Fault("once-reset", "resets one connection", UNREACHABLE, phase=Phase.ONCE, simulate="reset"),
        Fault(
            "once-limited",
            "is full for a moment, and says for how long",
            LIMITED,
            phase=Phase.ONCE,
            simulate="429",
            play=plays.limited((b"retry-after-ms", b"100")),
            types=NOT_BEDROCK,
        ),
        Fault(
            "stale",
            "closes a connection that it had kept, just as it is used again",
            UNREACHABLE,
            phase=Phase.STALE,
            simulate="close",
        ),
    ),
    "No trouble": (
        _harmless("drip", "sends its answer byte by byte", play=plays.byte_by_byte),
        _harmless("interim", "sends an interim answer first", play=plays.one_interim),
        _harmless("slow", "takes its time, and is in time", simulate="first-token-delay:150ms, chunk-delay:10ms"),
    ),
}
"""By what they have in common, in the order of the table in docs/failover.md."""

FAULTS = tuple(fault for group in GROUPS.values() for fault in group)


def cells() -> Iterator[Cell]:
    """The whole matrix."""
    for fault in FAULTS:
        for type in fault.types:
            for mode in fault.modes:
                yield Cell(fault, type, mode, company=False)
                yield Cell(fault, type, mode, company=True)
