"""The ways out: to each provider of a configuration, for calls and for whoever looks at it from outside."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from urllib.parse import urlsplit

from gateway.app.times import clock, now
from gateway.config.snapshot import Provider, Snapshot
from gateway.config.targets import target_of
from gateway.dialects import registry
from gateway.engine.house import House, Upstream
from gateway.ports import Transport
from gateway.upstream import discovery
from gateway.upstream.authorize import authorization
from gateway.upstream.diagnosis import Check
from gateway.upstream.discovery import Account
from gateway.upstream.echo import EchoTransport
from gateway.upstream.transport import HttpTransport


def open_upstreams(snapshot: Snapshot, before: House | None = None) -> Mapping[str, Upstream]:
    """The way to each provider. Opens no connection yet: those come with the first call.

    The ways of the house before lead on where their providers have stayed as they were, with their connections.
    """
    kept = {} if before is None else before.upstreams
    return {
        name: kept[name] if before and name in kept and before.snapshot.providers[name] == provider else _open(provider)
        for name, provider in snapshot.providers.items()
        if provider.enabled
    }


def _open(provider: Provider) -> Upstream:
    dialect = provider.vendor.dialect
    shown = authorization(provider, now)
    return Upstream(
        dialect, registry.load(dialect), _transport(provider), shown.authorize, shown.secrets, shown.credentials
    )


async def listed(provider: Provider) -> tuple[str, ...]:
    """The models that a provider publishes. Raises UpstreamError."""
    return await discovery.models(account(provider), clock)


async def look(provider: Provider, model: str | None = None) -> Check:
    """Looks at a provider from outside, by a call to a model if one is named."""
    return await discovery.check(account(provider), clock, model=model)


def account(provider: Provider) -> Account:
    """A provider as it is looked at from outside, whether calls may go there or not."""
    return Account(
        provider=provider,
        dialect=registry.load(provider.vendor.dialect),
        authorization=authorization(provider, now),
        target=partial(target_of, provider),
        transport=partial(_transport, provider),
    )


def _transport(provider: Provider, origin: str | None = None) -> Transport:
    """The way to a provider, or to another host of its vendor."""
    if provider.vendor.in_process:
        return EchoTransport(now)
    url = urlsplit(provider.base_url)
    origin = origin or f"{url.scheme}://{url.netloc}"
    return HttpTransport(origin, proxy=provider.proxy, ca_file=provider.ca_file, clock=clock)
