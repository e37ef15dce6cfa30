"""How requests to a provider show who pays: its key in a header, AWS's signature, or nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from gateway.config.snapshot import Provider
from gateway.core.call import Headers, UpstreamRequest
from gateway.core.secret import Secret
from gateway.ports import Authorize, Clock, Credentials
from gateway.upstream.credentials import AwsChain
from gateway.upstream.transport import proxy_login
from gateway.vendors.vendor import CredentialKind
from gateway.wire.sigv4 import AwsKeys, signer

KEY_HEADERS: dict[CredentialKind, tuple[bytes, bytes]] = {
    "bearer": (b"authorization", b"Bearer "),
    "aws": (b"authorization", b"Bearer "),
    "api-key": (b"api-key", b""),
    "x-api-key": (b"x-api-key", b""),
    "x-goog-api-key": (b"x-goog-api-key", b""),
}
"""The header that a key goes into, and what stands before it there."""

SHORTEST_SECRET = 8
"""Characters. A shorter one, such as a header's `true`, would blot out words that mean nothing secret."""


@dataclass(frozen=True, slots=True)
class Authorization:
    """What one provider is shown."""

    authorize: Authorize
    secrets: tuple[str, ...] = field(default=(), repr=False)
    """What the provider may quote to nobody, as far as the configuration holds it."""
    credentials: Credentials | None = None
    """Where `authorize` has its keys from, if the configuration has none."""


def authorization(provider: Provider, now: Clock) -> Authorization:
    """The way for this provider. `now` gives the time of day, in seconds since 1970: signatures hold it."""
    if provider.api_key:
        key = provider.api_key.reveal()
        name, before = KEY_HEADERS[provider.vendor.credential]
        return Authorization(_always(((name, before + key.encode()),)), _concealed(provider, key))
    if keys := provider.aws_keys:
        return Authorization(_signed(provider, lambda: keys, now), _concealed(provider, *keys.secrets()))
    if provider.vendor.signing_name:
        chain = AwsChain(region=provider.region or "", profile=provider.aws_profile)
        return Authorization(_signed(provider, chain.keys, now), _concealed(provider), chain)
    return Authorization(_always(()), _concealed(provider))


def _concealed(provider: Provider, *keys: str) -> tuple[str, ...]:
    """These keys, the headers that hold credentials and account names, and what a proxy is shown."""
    values = (*keys, *(value.decode("latin-1") for _, value in provider.headers), *_of_proxy(provider.proxy))
    return tuple(value for value in values if len(value) >= SHORTEST_SECRET)


def _of_proxy(proxy: Secret | None) -> tuple[str, ...]:
    """A proxy's password, as it is and as it is sent: it may stand between the provider and us, and answer for it."""
    if proxy is None:
        return ()
    password = unquote(urlsplit(proxy.reveal()).password or "")
    return (password, *(line.decode().rpartition(" ")[2] for line in proxy_login(proxy)))


def _always(headers: Headers) -> Authorize:
    def authorize(request: UpstreamRequest) -> Headers:
        return headers

    return authorize


def _signed(provider: Provider, keys: Callable[[], AwsKeys], now: Clock) -> Authorize:
    sign = signer(provider.vendor.signing_name or "", provider.region or "")

    def authorize(request: UpstreamRequest) -> Headers:
        return sign(request, keys(), now())

    return authorize
