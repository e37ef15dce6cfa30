"""
What a simulator has truly served, added up: what a gateway's ledger can be held against.

A provider bills the whole prompt of every call that a model answers, and of the answer what was generated. Here that is
what was handed to the network: an answer that was cut, spoilt or left by its client has cost no more than came of it.
Calls that were refused, or lost before a model answered, are none.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from gateway.core.events import Usage
from gateway.simulator import sigv4
from gateway.simulator.http import Request, bearer


@dataclass(frozen=True, slots=True)
class Served:
    """One call that a model answered, and how much of the answer was handed to the network."""

    id: str
    model: str
    stream: bool
    prompt_tokens: int
    completion_tokens: int
    cut: bool
    """The simulator ended it before it was complete, or spoilt it, as it was asked to."""
    client_left: bool
    """The client hung up before it was complete."""
    key: str = ""
    """The credential that the client named: a key, or an access key's id."""
    cached: int = 0
    """Of the prompt's tokens, those that the API says its cache had."""
    reasoning: int = 0
    """Of the completion's, those that it says were reasoning."""

    @property
    def complete(self) -> bool:
        return not self.cut and not self.client_left

    @property
    def usage(self) -> Usage:
        """As the API tells it of a complete answer, in the gateway's own convention."""
        return Usage(self.prompt_tokens, self.completion_tokens, cache_read=self.cached, reasoning=self.reasoning)


class Truth(NamedTuple):
    """What came of all calls with one key to one model."""

    calls: int = 0
    """Those whose answer went out complete."""
    usage: Usage = Usage()
    """Of these: what the API has told, so that a ledger must have the very same."""
    cut: int = 0
    """Those whose answer did not."""
    cut_usage: Usage = Usage()
    """Of these: mostly nobody was told, so that a ledger can only come near it."""


Truths = Mapping[tuple[str, str], Truth]
"""By key and model."""


class Tally:
    """Adds up what was served. A sum for each key and model is all that it keeps."""

    def __init__(self) -> None:
        self._truths: defaultdict[tuple[str, str], Truth] = defaultdict(Truth)

    def enter(self, served: Served) -> None:
        """One more call."""
        name = (served.key, served.model)
        calls, usage, cut, cut_usage = self._truths[name]
        if served.complete:
            self._truths[name] = Truth(calls + 1, usage + served.usage, cut, cut_usage)
        else:
            self._truths[name] = Truth(calls, usage, cut + 1, cut_usage + served.usage)

    def truths(self) -> Truths:
        """The sums so far."""
        return dict(self._truths)


def key_of(request: Request) -> str:
    """The credential that a request names, in whichever way its API has it; empty where it names none."""
    named = (bearer(request), *(request.header(name) for name in (b"x-api-key", b"api-key", b"x-goog-api-key")))
    if found := next(filter(None, named), ""):
        return found
    if signed := sigv4.read(request):
        return signed.access_key
    query = request.path.partition("?")[2].split("&")
    return next((part.removeprefix("key=") for part in query if part.startswith("key=")), "")
