"""A call, and what is exchanged with an upstream on its behalf. Plain values; nothing here does anything.

What is made anew for each call is a `Struct` of msgspec: as safe from change as a frozen dataclass, and made in a
tenth of the time (800 instructions of CPython 3.11 for four fields, against 7,000). None of them shows what people
said, or a header, when it is printed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from msgspec import Struct

Json = dict[str, Any]

Headers = tuple[tuple[bytes, bytes], ...]
"""Header lines in the order they are sent. Names are lower case."""

Quirk = Callable[[Json], tuple[Json, tuple[str, ...]]]
"""What a server needs changed in a request body: the body to send instead, and the names of the fields it lost.

A quirk never edits the body it is given: a retry will use that again.
"""


class Call(Struct, frozen=True):
    """What a client asked, once. Nothing changes it: every attempt starts from the same question."""

    id: str
    endpoint: str
    """What kind of call it is: a label of the metrics and of the record, such as `chat`."""
    model: str
    """The public name the client asked for, aliases not yet resolved."""
    stream: bool
    include_usage: bool
    """Whether the client asked for the extra usage chunk at the end of a stream."""
    body: Json
    """The request in OpenAI's grammar, parsed once. Never edited."""
    size: int = 0
    """Bytes of the body as the client sent it."""

    def __repr__(self) -> str:
        return f"Call({self.id!r}, {self.endpoint!r}, {self.model!r}, stream={self.stream}, size={self.size})"


Need = Literal["images", "tools", "schema"]
"""What a request may need of a model: to see, to call tools, to answer by a JSON schema."""


class Price(NamedTuple):
    """US dollars per million tokens."""

    input: float
    output: float
    cache_read: float | None = None
    """Of tokens that were read from a cache; None: like any input."""
    cache_write: float | None = None
    """Of tokens that were written to one; None: like any input."""
    above: tuple[tuple[int, Price], ...] = ()
    """Prices of longer prompts, rising: (tokens, price). The last that a prompt has more tokens than is that of all."""


class Limits(NamedTuple):
    """How much may go through one door, a key's or a target's. What is None is not limited."""

    requests: int | None = None
    """In a minute."""
    tokens: int | None = None
    """In a minute, of prompts and answers together."""
    concurrent: int | None = None
    """Calls that may be under way at once."""


UNLIMITED = Limits()


@dataclass(frozen=True, slots=True)
class Target:
    """One model at one provider, and all that a dialect may know of it."""

    provider: str
    model: str
    """The provider's own name for the model."""
    urls: Mapping[str, str]
    """Complete URLs by operation: `chat`, `chat_stream` where a stream has an address of its own, `embeddings`."""
    headers: Headers = field(default=(), repr=False)
    """Extra headers from the configuration (organization, project, custom ones). Not shown: some hold credentials."""
    quirks: tuple[Quirk, ...] = ()
    defaults: Mapping[str, Any] = field(default_factory=dict)
    """Request fields that are filled in where the client sent nothing."""
    send_user_id: bool = False
    """Whether the request's `user` and `safety_identifier` go upstream."""
    done_marker: bool = True
    """Whether the server closes each stream with its grammar's own full stop (`[DONE]`). See `dialects/openai_chat`."""
    fetch_media: bool = False
    """Whether it takes images and documents as bytes only, so that those named by an https address must be fetched."""
    own_links: tuple[str, ...] = ()
    """How the addresses begin that it reads by itself all the same."""
    inputs_at_once: int | None = None
    """Inputs in one request for embeddings; None where no limit is known."""
    context: int | None = None
    """Tokens that the model takes in one request; None where it is not known."""
    lacks: frozenset[Need] = frozenset()
    """What it is known not to do."""
    price: Price | None = None
    concurrent: int | None = None
    """Calls that may be under way there at once; None: any number."""
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None

    @property
    def limits(self) -> Limits:
        """The three of them, as a key has them too."""
        return Limits(self.requests_per_minute, self.tokens_per_minute, self.concurrent)


class UpstreamRequest(Struct, frozen=True):
    """One HTTP request."""

    method: str
    url: str
    headers: Headers
    body: bytes
    dropped: tuple[str, ...] = ()
    """Fields of the client's request that this upstream cannot express."""

    def __repr__(self) -> str:
        return f"UpstreamRequest({self.method!r}, {self.url!r}, {len(self.body)} bytes)"


class UpstreamReply(Struct, frozen=True):
    """One HTTP answer, read to its end."""

    status: int
    headers: Headers
    body: bytes

    def __repr__(self) -> str:
        return f"UpstreamReply({self.status}, {len(self.body)} bytes)"

    def header(self, name: bytes) -> bytes:
        """The first value of a header, or nothing."""
        return next((value for key, value in self.headers if key == name), b"")
