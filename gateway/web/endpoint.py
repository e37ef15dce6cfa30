"""The way of every call, from its head to its settled entry, whichever endpoint it is for."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from gateway.config.snapshot import Key, Model, Snapshot
from gateway.core.call import Call
from gateway.core.errors import GatewayError, NotServed, Overloaded, UnknownModel
from gateway.engine.entry import Entry, Sink
from gateway.engine.house import House, Live
from gateway.engine.serve import serve
from gateway.policy import access
from gateway.policy.shedding import Shedding
from gateway.ports import Clock, Random
from gateway.web.auth import Told, principal, told
from gateway.web.line import Line
from gateway.web.protocol import new_request_id
from gateway.web.refusals import shutting_down, too_large
from gateway.web.reply import HEARTBEAT, Reply
from gateway.wire.trace_context import Trace

PATIENCE_HEADERS = (b"x-stainless-read-timeout", b"x-stainless-timeout")
"""openai-python's and openai-node's. Both have 600 where nobody chose anything else."""

_SECONDS = re.compile(rb"[0-9]{1,9}(\.[0-9]{1,18})?\Z")  # what Python writes of a float, but for exponents
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,128}\Z")


@dataclass(frozen=True, slots=True)
class Office:
    """What the front door needs, for as long as the process lives."""

    live: Live
    sinks: Sequence[Sink]
    clock: Clock
    now: Callable[[], float]
    """The time of day, in seconds since 1970."""
    random: Random
    crashed: Callable[[str, BaseException], None]
    """Told of what should not have happened: a defect of ours, with the request's id."""
    entered: Callable[[int], None]
    """Told +1 and -1 as calls come and go."""
    shedding: Shedding
    keep: Callable[[Entry], None] = lambda entry: None
    """Told of each call once it is known what came of it, and before the client can tell that it has ended."""
    heartbeat: float = HEARTBEAT
    trace: Callable[[Told], Trace] | None = None
    """Begins the trace of a call, if anybody wants traces."""


class Accept(Protocol):
    """How a surface reads a request. Raises InvalidRequest for what it cannot take."""

    def __call__(self, raw: bytes, *, id: str, path_model: str | None, default_model: str | None) -> Call: ...


class Endpoint:
    """Where calls of one kind come in."""

    def __init__(self, office: Office, name: str, accept: Accept) -> None:
        self._office = office
        self._name = name
        """A label of the metrics and of the record."""
        self._accept = accept

    async def __call__(self, line: Line, path_model: str | None = None) -> None:
        """Answers one request, whatever it is, and settles its entry exactly once."""
        office = self._office
        headers = told(line.headers)
        now = office.now()
        id = request_id(headers, now)
        entry = Entry(id, self._name, office.clock(), now, record_id(id, headers, now))
        if office.trace is not None:
            entry.trace = office.trace(headers)
        house = office.live.house
        reply = Reply(line, entry, office.clock, partial(self._close_books, house, line), office.heartbeat)
        office.entered(1)
        try:
            with house:
                await self._answer(headers, house, entry, line, reply, path_model)
        except GatewayError as error:
            entry.failed(error)
            await reply.refuse(error)
        except asyncio.CancelledError:
            await self._cancelled(line, entry, reply)
        except Exception as error:
            office.crashed(entry.id, error)
            refusal = GatewayError(
                "The gateway failed. This is a defect; its log has the details under this request's id."
            )
            entry.failed(refusal)
            await reply.refuse(refusal)
        finally:
            reply.close()
            office.entered(-1)
            self._close_books(house, line, entry)
            for sink in office.sinks:
                sink(entry)

    async def _answer(
        self, headers: Told, house: House, entry: Entry, line: Line, reply: Reply, path_model: str | None
    ) -> None:
        office, snapshot = self._office, house.snapshot
        key = principal(headers, snapshot, entry.time)
        entry.key = key.name
        _shed(office.shedding.sheds(key.priority))
        most = snapshot.server.max_body
        _check_body(headers, most)
        call = self._accept(
            await line.body(most),
            id=entry.id,
            path_model=path_model,
            default_model=snapshot.default_model,
        )
        model = route(call, key, snapshot)
        entry.call, entry.model = call, model.name
        if call.stream:
            reply.keep_alive(asyncio.get_running_loop())
        if model.on_hangup == "cancel":
            _cancel_when_told(line)
        await serve(call, model, house, reply, entry, office.clock, office.random, patience(headers))

    def _close_books(self, house: House, line: Line, entry: Entry) -> None:
        """Once for each call: what it has used and cost is known, and is in the journal."""
        if not entry.ended:
            if line.gone:
                entry.hung_up()
            entry.settle(self._office.clock(), house.estimates)
            try:
                house.toll.settle(entry)
            finally:  # whatever may be wrong with limits, a call is in the books
                self._office.keep(entry)

    async def _cancelled(self, line: Line, entry: Entry, reply: Reply) -> None:
        """The client has left, or the server is being stopped under it."""
        if not line.gone:
            stopping = shutting_down()
            entry.failed(stopping)
            await reply.refuse(stopping)


def _cancel_when_told(line: Line) -> None:
    """From here on nobody reads from the client, so that only its connection can tell that it has left."""
    line.told = line.task.cancel
    if line.gone:
        raise asyncio.CancelledError


def route(call: Call, key: Key, snapshot: Snapshot) -> Model:
    """The model that a key's call goes to.

    Raises UnknownModel, in the same words for what is not there and for what is not allowed.
    """
    model = snapshot.model(call.model)
    if model is None or not access.may_use(key, call.model):
        shown = call.model if len(call.model) <= 80 else call.model[:77] + "..."
        message = (
            f"The model `{shown}` does not exist, or this key may not use it. `GET /v1/models` lists those it may."
        )
        raise UnknownModel(message, param="model")
    return model


def _shed(wait: float | None) -> None:
    """Raises Overloaded where a call is not let in."""
    if wait is not None:
        refusal = Overloaded("The gateway has more to do than it can; try again soon.")
        refusal.retry_after = wait
        raise refusal


def patience(headers: Told) -> float | None:
    """For how many seconds the client waits, where it is one of OpenAI's SDKs and says so."""
    for name in PATIENCE_HEADERS:
        if name in headers and _SECONDS.match(headers[name]):
            return float(headers[name]) or None
    return None


def request_id(headers: Told, now: float) -> str:
    """The client's own id where it is harmless, else a new one."""
    own = headers.get(b"x-request-id")
    return own.decode("ascii") if own and _REQUEST_ID.match(own) else new_request_id(now)


def record_id(id: str, headers: Told, now: float) -> str:
    """An id that is unlike any other. Whoever sends the same one with all calls would else be charged for one."""
    return f"{id}:{new_request_id(now)}" if b"x-request-id" in headers else id


def _check_body(headers: Told, limit: int) -> None:
    """Raises NotServed for a body that is known to be too large, or is not plain JSON."""
    if int(headers.get(b"content-length", 0)) > limit:
        raise too_large(limit)
    if not _is_json(headers.get(b"content-type", b"")):
        # Also what keeps web pages out: no browser sends this media type to another site without asking it first.
        raise NotServed(415, "The body must be JSON: send the header `content-type: application/json`.")
    if b"content-encoding" in headers and headers[b"content-encoding"].lower() != b"identity":
        raise NotServed(415, "Compressed requests are not accepted; send the body without a content-encoding.")


def _is_json(content_type: bytes) -> bool:
    if content_type == b"application/json":
        return True
    media = content_type.partition(b";")[0].strip().lower()
    return media == b"application/json" or (media.startswith(b"application/") and media.endswith(b"+json"))
