"""What became of a look at a provider, in words that say what to do next. Pure; `discovery` does the asking.

The words are for whoever runs the gateway. They hold no secret: a provider's own words come here without the
credentials that they may quote.
"""

from __future__ import annotations

import re
import socket
import ssl
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from gateway.config.snapshot import Provider
from gateway.core.call import UpstreamReply
from gateway.core.errors import Failure, UpstreamError

Verdict = Literal["valid", "refused", "unknown"]

LONGEST_QUOTE = 300
"""Characters of a provider's own words."""


@dataclass(frozen=True, slots=True)
class Check:
    """What one look at a provider has shown."""

    provider: str
    reachable: bool = False
    """Whether something at the address answered in HTTP."""
    credentials: Verdict = "unknown"
    """Valid: a request with them was served where one without was refused, or a call was answered."""
    latency_ms: float | None = None
    """From the first request, its connection included, to the end of the answer."""
    models: tuple[str, ...] | None = None
    """What the API lists, sorted. None: it lists nothing, or was not asked to."""
    error: str = ""
    """What is wrong, and what to do about it. Empty: nothing."""
    note: str = ""
    """What else is worth knowing."""

    @property
    def ok(self) -> bool:
        """Whether nothing was found that would make calls fail."""
        return not self.error


def explained(error: UpstreamError, provider: Provider) -> str:
    """What is wrong, and what to do about it."""
    if error.upstream_status:
        return _refusal(error)
    if error.failure in (Failure.MALFORMED, Failure.CREDENTIALS):
        return error.said
    if error.failure in (Failure.CONNECT_TIMEOUT, Failure.DEADLINE):
        return f"{error.said or 'no answer in time'}; check base_url, and the firewalls and proxies on the way"
    default = "check proxy" if provider.proxy else "check host, port, and http or https in base_url"
    return f"{error.said}; {next((advice for kind, advice in ADVICE if isinstance(error.__cause__, kind)), default)}"


ADVICE: tuple[tuple[type[BaseException], str], ...] = (
    (socket.gaierror, "check the host in base_url, and the name server of this machine"),
    (ssl.SSLCertVerificationError, "if an authority of your own has signed the certificate, name its file in ca_file"),
    (ssl.SSLError, "if the server speaks plain http, base_url must begin with http://"),
    (ConnectionRefusedError, "nothing listens there: start the server, or correct base_url"),
)
"""What to do, by what broke the connection; the more particular first."""

REFUSALS: dict[Failure, tuple[str, str]] = {
    Failure.CREDENTIALS: ("the credentials were refused", "check api_key, or what stands in its place"),
    Failure.BILLING: ("the account cannot pay", "see to its credit or its limits"),
    Failure.RATE_LIMITED: ("too many requests for now", "try again later"),
    Failure.MODEL_MISSING: ("there is no such model", "`gateway providers models` shows those that there are"),
    Failure.REJECTED: ("the request was refused", "check type and base_url"),
}
"""What a refusal means, and what to do. Any other is the provider's own trouble."""

TROUBLE = ("the provider fails", "try again later")


def _refusal(error: UpstreamError) -> str:
    meaning, advice = REFUSALS.get(error.failure, TROUBLE)
    return f"{meaning} ({error.upstream_status}: {quoted(error.said)}); {advice}"


MAY_NOT_LIST = re.compile(r"is not authorized to perform|missing scopes|insufficient permissions", re.IGNORECASE)
"""How a provider says that it knows who asks, and keeps the list from them: AWS (IAM), and OpenAI's restricted keys.

https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied.html
"""


def known_but_not_allowed(error: UpstreamError) -> bool:
    """Whether the credentials were recognised, and do not go as far as this."""
    return error.failure is Failure.CREDENTIALS and bool(MAY_NOT_LIST.search(error.said))


def unreadable(reply: UpstreamReply) -> str:
    """Why an answer with status 200 is no list of models."""
    start = reply.body.lstrip()[:1]
    if start == b"<" or reply.header(b"content-type").startswith(b"text/html"):
        return "a web page came instead of a list of models; base_url seems to be that of a website"
    if start not in (b"{", b"["):
        return "what came instead of a list of models is not JSON; check base_url"
    return "the answer is not a list of models; check base_url and type"


def moved(reply: UpstreamReply) -> str:
    """Where a redirection leads. It is not followed: credentials go nowhere that the configuration does not name."""
    place = urlsplit(reply.header(b"location").decode("latin-1"))
    where = f"to {place.scheme}://{place.netloc.rpartition('@')[2]}" if place.netloc else "elsewhere"
    return f"the server sends us {where} ({reply.status}); base_url must be the address that it really has"


def nothing_there(base_url: str, better: str | None) -> str:
    """A base URL with no API behind it. `better` is one that has."""
    if better:
        return f"there is no API at {base_url} but there is one at {better}; write base_url: {better}"
    return f"there is no API at {base_url} (404); check the path of base_url"


def quoted(said: str) -> str:
    """A provider's words: on one line, and not too many."""
    words = " ".join("".join(char if char.isprintable() else " " for char in said).split())
    return words if len(words) <= LONGEST_QUOTE else words[:LONGEST_QUOTE] + "..."
