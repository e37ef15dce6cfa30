"""Looks at a provider from outside: is it there, does it take our credentials, which models does it list?

Requests go the way that calls go: the same transport, proxy, certificates, headers and credentials. None of them costs
anything, unless a model is named to be called.

What a list proves: some servers show it to everyone (OpenRouter, llama.cpp), so it says nothing of a key. The request
is made once more without credentials, and only when that one is refused are the credentials called valid.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from msgspec import structs

from gateway.config.snapshot import Provider
from gateway.core.call import Call, Headers, Target, UpstreamReply, UpstreamRequest
from gateway.core.errors import Failure, UpstreamError
from gateway.dialects.base import Dialect
from gateway.dialects.listings import LISTS, NOTHING, Page, Query, listing, page_url, read_page
from gateway.ports import Clock, Patience, Transport
from gateway.upstream import diagnosis
from gateway.upstream.authorize import Authorization
from gateway.upstream.diagnosis import Check, Verdict
from gateway.upstream.transport import read_all

TIME_LIMIT = 10.0
"""Seconds for all that one look asks."""

LARGEST_ANSWER = 16 * 2**20
"""Bytes. The longest known list, OpenRouter's with its descriptions, is about one MB."""

MOST_PAGES = 50
"""Pages of one list: of 1000 models each, more than any provider has."""

NO_LIST = frozenset({404, 405, 501})
"""How servers say that they list nothing, or that the address is wrong."""

NO_LIST_NOTE = "lists no models; name one to test it by a call"

TELLING = frozenset({Failure.CREDENTIALS, Failure.BILLING, Failure.RATE_LIMITED})
"""What the answer to an empty question says of the account. Anything else it says of the question."""

GREETING = [{"role": "user", "content": "Hi"}]
"""What is said in a call that is made for a test. Its answer is bounded to one token."""

ANY_MODEL = "any-model"
"""Stands in URLs where the model does not matter."""


@dataclass(frozen=True, slots=True)
class Account:
    """A provider, with all that is needed to ask it something."""

    provider: Provider
    dialect: Dialect
    authorization: Authorization
    target: Callable[[str], Target]
    """The way to a model of this name. Raises ValueError for what cannot be a name."""
    transport: Callable[[str], Transport]
    """Opens the way to an origin, such as `https://host`. Raises OSError or ValueError where the settings forbid it."""


async def check(account: Account, clock: Clock, *, model: str | None = None, limit: float = TIME_LIMIT) -> Check:
    """Tests a provider by its list of models or, where a model is named, by the smallest call to it."""
    vendor = account.provider.vendor
    if vendor.in_process and not model:
        return Check(account.provider.name, True, "valid", 0.0, tuple(sorted(vendor.models)), note="built in")
    async with _look(account, clock, limit) as look:
        try:
            return await (_by_call(look, model) if model else _by_list(look))
        except UpstreamError as error:
            return look.failed(error)


async def models(account: Account, clock: Clock, *, limit: float = TIME_LIMIT) -> tuple[str, ...]:
    """What the provider lists, sorted. Raises UpstreamError where it lists nothing, or the list could not be read."""
    vendor = account.provider.vendor
    if vendor.in_process:
        return tuple(sorted(vendor.models))
    async with _look(account, clock, limit) as look:
        return await look.models()


class _Look:
    """One look under way: what it has opened, and how long the first answer took."""

    def __init__(self, account: Account, clock: Clock, limit: float) -> None:
        self.account = account
        self.provider = account.provider
        self.listing = listing(account.provider.vendor.dialect)
        self.latency_ms: float | None = None
        self._clock = clock
        self._limit = limit
        self._patience = Patience(clock() + limit, Failure.DEADLINE)
        self._transports: dict[str, Transport] = {}

    def lists(self, base_url: str | None = None) -> tuple[str, ...]:
        """Where the lists are that make up the whole, at the provider's base URL or at another. May be none."""
        provider = replace(self.provider, base_url=base_url) if base_url else self.provider
        found = provider.urls(ANY_MODEL)
        return tuple(found[name] for name in LISTS if name in found)

    async def models(self) -> tuple[str, ...]:
        """All names of all lists. Raises UpstreamError where the first cannot be had."""
        found: set[str] = set()
        for place, url in enumerate(self.lists()):
            try:
                found |= await self._names(url)
            except UpstreamError:
                if not place:  # AWS allows each list by a permission of its own, and one is of use without the other
                    raise
        return tuple(sorted(found))

    async def _names(self, url: str) -> set[str]:
        """One list, on all of its pages."""
        names: set[str] = set()
        more = NOTHING
        for _ in range(MOST_PAGES):
            page = await self.page(url, more)
            names.update(page.models)
            if not (more := page.more):
                break
        return names

    async def page(self, url: str, more: Query = NOTHING) -> Page:
        """One page of the list at a URL. Raises UpstreamError for whatever else comes."""
        reply = await self.ask(self.getting(page_url(self.listing, url, more)))
        if failure := self.failure(reply):
            raise failure
        try:
            return read_page(self.listing, reply.body)
        except UpstreamError:
            raise UpstreamError(Failure.MALFORMED, diagnosis.unreadable(reply)) from None

    async def proves(self, request: UpstreamRequest) -> bool:
        """Whether the credentials make a difference: the same request without them is refused."""
        if not self.account.authorization.authorize(request):
            return False
        try:
            failure = self.failure(await self.ask(request, bare=True))
        except UpstreamError:
            return False
        return failure is not None and failure.failure is Failure.CREDENTIALS

    async def ask(self, request: UpstreamRequest, *, bare: bool = False) -> UpstreamReply:
        """One exchange; `bare` leaves the credentials out. Raises UpstreamError where no answer came."""
        began = self._clock()
        credentials = () if bare else self.account.authorization.authorize(request)
        exchange = await self._way(request.url).send(
            structs.replace(request, headers=request.headers + credentials),
            connect=self._limit,
            patience=self._patience,
        )
        try:
            reply = UpstreamReply(exchange.status, exchange.headers, await read_all(exchange, LARGEST_ANSWER))
        finally:
            exchange.close()
        if self.latency_ms is None:
            self.latency_ms = (self._clock() - began) * 1000
        return reply

    def getting(self, url: str) -> UpstreamRequest:
        return UpstreamRequest("GET", url, self._headers((b"accept", b"application/json")), b"")

    def posting_nothing(self, url: str) -> UpstreamRequest:
        """An empty question: whoever understands it refuses it, so it costs nothing."""
        return UpstreamRequest("POST", url, self._headers((b"content-type", b"application/json")), b"{}")

    def failure(self, reply: UpstreamReply) -> UpstreamError | None:
        """What an answer says instead of what was asked for."""
        if 300 <= reply.status < 400:
            return UpstreamError(Failure.MALFORMED, diagnosis.moved(reply))
        return None if reply.status == 200 else self.account.dialect.refusal(reply)

    def failed(self, error: UpstreamError) -> Check:
        """The end of a look at which something failed."""
        shown = self.account.authorization
        error.conceal(shown.secrets + (shown.credentials.secrets if shown.credentials else ()))
        if diagnosis.known_but_not_allowed(error):
            return self.result("valid", note=f"may not list its models: {diagnosis.quoted(error.said)}")
        refused = self.latency_ms is not None and error.failure is Failure.CREDENTIALS
        return self.result("refused" if refused else "unknown", error=diagnosis.explained(error, self.provider))

    def result(
        self,
        credentials: Verdict = "unknown",
        *,
        models: tuple[str, ...] | None = None,
        error: str = "",
        note: str = "",
    ) -> Check:
        answered = self.latency_ms is not None
        return Check(self.provider.name, answered, credentials, self.latency_ms, models, error, note)

    async def aclose(self) -> None:
        for transport in self._transports.values():
            await transport.aclose()
        if fetched := self.account.authorization.credentials:
            await fetched.aclose()

    def _way(self, url: str) -> Transport:
        parts = urlsplit(url)
        origin = f"{parts.scheme}://{parts.netloc}"
        if origin not in self._transports:
            try:
                self._transports[origin] = self.account.transport(origin)
            except (OSError, ValueError) as error:
                raise UpstreamError(Failure.MALFORMED, f"base_url, proxy or ca_file cannot be used: {error}") from None
        return self._transports[origin]

    def _headers(self, *own: tuple[bytes, bytes]) -> Headers:
        """The provider's own headers win over those of the grammar."""
        configured = self.provider.headers
        names = {name for name, _ in configured}
        return tuple(line for line in own + self.listing.headers if line[0] not in names) + configured


@asynccontextmanager
async def _look(account: Account, clock: Clock, limit: float) -> AsyncIterator[_Look]:
    look = _Look(account, clock, limit)
    try:
        if fetched := account.authorization.credentials:
            await fetched.ready(limit)
        yield look
    finally:
        await look.aclose()


async def _by_list(look: _Look) -> Check:
    if not look.lists():
        return await _without_list(look)
    try:
        models = await look.models()
    except UpstreamError as error:
        if error.upstream_status not in NO_LIST:
            raise
        return await _without_list(look)
    first = look.getting(page_url(look.listing, look.lists()[0]))
    return look.result(_credentials(await look.proves(first)), models=models)


async def _without_list(look: _Look) -> Check:
    """Nothing is listed where a list would be: there is none, or the address is wrong."""
    base_url = look.provider.base_url
    if better := await _better_base_url(look):
        return look.result(error=diagnosis.nothing_there(base_url, better))
    url = look.provider.urls(ANY_MODEL)["chat"]
    if ANY_MODEL in url:  # a 404 would not tell a wrong address from a model that does not exist
        return look.result(note=NO_LIST_NOTE)
    question = look.posting_nothing(url)
    reply = await look.ask(question)
    if reply.status in NO_LIST:
        return look.result(error=diagnosis.nothing_there(base_url, None))
    if (failure := look.failure(reply)) and failure.failure in TELLING:
        raise failure
    return look.result(_credentials(await look.proves(question)), note=NO_LIST_NOTE)


async def _better_base_url(look: _Look) -> str | None:
    """A base URL like the configured one with a list behind it: people forget its end, or write a whole path."""
    base_url, vendor = look.provider.base_url, look.provider.vendor
    usual_end = urlsplit(vendor.base_url or "").path.rstrip("/") or "/v1"
    candidates = (base_url + usual_end, base_url.removesuffix(vendor.paths["chat"]))
    for candidate in candidates:
        if candidate != base_url and not candidate.endswith(usual_end * 2) and look.lists(candidate):
            try:
                await look.page(look.lists(candidate)[0])
            except UpstreamError as error:
                if error.failure is not Failure.CREDENTIALS:
                    continue
            return candidate
    return None


async def _by_call(look: _Look, model: str) -> Check:
    """The smallest call. The newer of OpenAI's models want its bound under another name, and say so."""
    try:
        target = look.account.target(model)
    except ValueError:
        return look.result(error=f"{diagnosis.quoted(model)} cannot be the name of a model")
    for bound in ("max_tokens", "max_completion_tokens"):
        body = {"model": model, "messages": GREETING, bound: 1}
        reply = await look.ask(look.account.dialect.ask(Call("check", "chat", model, False, False, body), target))
        failure = look.failure(reply)
        if failure is None or "max_completion_tokens" not in failure.said:
            break
    if failure:
        raise failure
    for _ in look.account.dialect.answer(reply):
        pass
    return look.result("valid", note=f"{model} answered")


def _credentials(proven: bool) -> Verdict:
    return "valid" if proven else "unknown"
