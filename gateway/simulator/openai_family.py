"""
The HTTP of every API that is OpenAI's or much like it. A `Flavour` says in what a server differs.

Any prefix may go before the paths: servers of this family are found under many.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any
from urllib.parse import unquote

from gateway.core.call import Headers, Json
from gateway.simulator import openai_chat, vectors
from gateway.simulator.http import (
    EVENT_STREAM,
    UNIQUE,
    Account,
    Ask,
    Frame,
    Grammar,
    Refusal,
    Reply,
    Request,
    Route,
    bearer,
    parsed,
    whole,
)
from gateway.simulator.openai_chat import DONE, Chunk
from gateway.simulator.openai_reading import shows_reasoning
from gateway.simulator.refusals import (
    NO_KEY,
    UNREADABLE,
    by_name,
    check,
    check_embeddings,
    no_such_method,
    no_such_model,
    no_such_url,
    wrong_key,
)

ID = f"chatcmpl-{UNIQUE}"
GARBAGE = b'data: \xff\xfe{"choices": [NaN, \x00\n\n'


def same_answer(body: Json, answer: Json) -> Json:
    """Changes nothing."""
    return answer


def same_chunks(body: Json, chunks: list[Chunk]) -> list[Chunk]:
    """Changes nothing."""
    return chunks


def same_error(refusal: Refusal) -> Refusal:
    """Changes nothing."""
    return refusal


def key_in_bearer(request: Request, account: Account) -> Refusal | None:
    """Lets anyone in where no key is set, as a local server does. Azure's clients send theirs as `api-key`."""
    if account.api_key is None:
        return None
    given = bearer(request) or request.header(b"api-key")
    if not given:
        return NO_KEY
    return None if given == account.api_key else wrong_key(given)


def listed_model(name: str, created: int) -> Json:
    """A model as OpenAI lists it."""
    return {"id": name, "object": "model", "created": created, "owned_by": "system"}


@dataclass(frozen=True, slots=True)
class Flavour:
    """In what a server differs from OpenAI's."""

    answer: Callable[[Json, Json], Json] = same_answer
    """Changes a whole answer; the request comes first."""
    chunks: Callable[[Json, list[Chunk]], list[Chunk]] = same_chunks
    """Changes the chunks of a stream; the request comes first."""
    error: Callable[[Refusal], Refusal] = same_error
    """Spells an error of OpenAI's as this server does."""
    errors: Mapping[str, Refusal] = field(default_factory=dict)
    """Errors by name or status that it has words of its own for."""
    check: Callable[[Any], tuple[int, Json] | None] = check
    """Why it would refuse a chat request."""
    reasons: bool = False
    """Whether it has models that show their reasoning."""
    headers: Headers = ()
    """In every reply."""
    details: bool = True
    """Whether its usage says how much was cached, and how much was reasoning."""
    limits: Headers = ()
    """In a model's answers, besides."""
    indented: bool = False
    listed: Callable[[str, int], Json] = listed_model
    """A model as the list shows it."""
    vector: int = 1536
    """Numbers in an embedding, where the client asks for no other size."""


def grammar(
    flavour: Flavour,
    models: tuple[str, ...],
    *,
    base: str = "/v1",
    routes: tuple[Route, ...] = (),
    turn_away: Callable[[Request, Account], Refusal | None] | None = None,
) -> Grammar:
    """The API of a flavour. `routes` come before the family's own."""

    def wants_key(request: Request, account: Account) -> Refusal | None:
        refused = key_in_bearer(request, account)
        return refused and flavour.error(refused)

    own = [*routes, *(_route(flavour, *row) for row in _ROUTES)]
    refuse = partial(_refuse, flavour)
    return Grammar(
        base=base,
        models=models,
        routes=tuple(own),
        turn_away=turn_away or wants_key,
        refuse=refuse,
        lost=partial(_lost, flavour),
        broken=openai_chat.frame(refuse("500", 0, "").envelope),
        garbage=GARBAGE,
        headers=flavour.headers,
    )


def _route(flavour: Flavour, method: str, pattern: str, respond: Callable[[Flavour, Ask], Reply | Refusal]) -> Route:
    return Route(method, pattern, partial(respond, flavour))


def chat(flavour: Flavour, ask: Ask) -> Reply | Refusal:
    """`ask.named` holds the model, if the path names one."""
    asked = _asked(ask)
    if asked is None:
        return flavour.error(UNREADABLE)
    if complaint := flavour.check(asked):
        return flavour.error(Refusal(*complaint))
    thinks = flavour.reasons and shows_reasoning(asked)
    head = (*flavour.headers, *flavour.limits)
    if asked.get("stream"):
        told = openai_chat.chunks(asked, created=ask.account.created, id=ID, thinks=thinks)
        frames = [Frame(openai_chat.frame(chunk.content), chunk.tokens) for chunk in flavour.chunks(asked, told)]
        reply = Reply(200, (*EVENT_STREAM, *head), frames=(*frames, Frame(DONE)))
        usage = openai_chat.usage(asked, thinks=thinks)
    else:
        content = openai_chat.answer(asked, created=ask.account.created, id=ID, thinks=thinks)
        reply, usage = whole(flavour.answer(asked, content), headers=head, indented=flavour.indented), content["usage"]
    return replace(_counted(reply, usage, flavour), model=asked["model"], id=ID)


def _counted(reply: Reply, usage: Json, flavour: Flavour) -> Reply:
    counted = replace(reply, prompt_tokens=usage["prompt_tokens"], output=usage["completion_tokens"])
    if not flavour.details:
        return counted
    cached = usage["prompt_tokens_details"]["cached_tokens"]
    return replace(counted, cached=cached, reasoning=usage["completion_tokens_details"]["reasoning_tokens"])


def embeddings(flavour: Flavour, ask: Ask) -> Reply | Refusal:
    """A vector for each input."""
    asked = _asked(ask)
    if asked is None:
        return flavour.error(UNREADABLE)
    if refused := next(check_embeddings(asked), None):
        return flavour.error(refused)
    words = vectors.words(vectors.inputs(asked))
    usage = {"prompt_tokens": words, "total_tokens": words}
    data = vectors.openai_data(asked, asked.get("dimensions") or flavour.vector)
    content = {"object": "list", "data": data, "model": asked["model"], "usage": usage}
    reply = whole(content, headers=(*flavour.headers, *flavour.limits), indented=flavour.indented)
    return replace(reply, model=asked["model"], prompt_tokens=words)


def models(flavour: Flavour, ask: Ask) -> Reply | Refusal:
    """All models, or the one that `ask.named` holds."""
    account, (name,) = ask.account, ask.named
    if name is None:
        listed = [flavour.listed(model, account.created) for model in account.models]
        return whole({"object": "list", "data": listed}, headers=flavour.headers, indented=flavour.indented)
    if unquote(name) not in account.models:
        return flavour.error(no_such_model(unquote(name)))
    return whole(flavour.listed(unquote(name), account.created), headers=flavour.headers, indented=flavour.indented)


def _asked(ask: Ask) -> Any:
    asked = parsed(ask.body)
    named = ask.named[0] if ask.named else None
    return {**asked, "model": asked.get("model") or unquote(named)} if named and isinstance(asked, dict) else asked


_ROUTES: tuple[tuple[str, str, Callable[[Flavour, Ask], Reply | Refusal]], ...] = (
    ("POST", "(?:/deployments/([^/]+))?/chat/completions", chat),
    ("POST", "(?:/deployments/([^/]+))?/embeddings", embeddings),
    ("GET", "/models(?:/(.+))?", models),
)


def _lost(flavour: Flavour, method: str, path: str) -> Refusal:
    served = path.endswith(("/chat/completions", "/embeddings"))
    return flavour.error((no_such_method if served else no_such_url)(method, path))


def _refuse(flavour: Flavour, name: str, retry_after: float, message: str) -> Refusal:
    found = flavour.errors.get(name) or flavour.error(by_name(name))
    if message:
        found = flavour.error(by_name("400"))
        found = replace(found, envelope={"error": {**found.envelope["error"], "message": message}})
    limits = rate_limits(retry_after) if found.status == 429 else ()
    return replace(found, headers=(*found.headers, *limits))


def rate_limits(retry_after: float) -> Headers:
    """When to come back, in seconds, in all the headers of OpenAI's that say so."""
    return (
        (b"retry-after", b"%d" % -(-retry_after // 1)),
        (b"retry-after-ms", b"%d" % (retry_after * 1000)),
        (b"x-ratelimit-remaining-requests", b"0"),
        (b"x-ratelimit-reset-requests", b"%gs" % retry_after),
    )
