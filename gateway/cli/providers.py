"""`gateway providers`: which there are, whether they are well, and which models they list."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import uvloop
from rich.console import Console
from rich.text import Text

from gateway.app.times import clock
from gateway.app.upstreams import account
from gateway.cli import tables
from gateway.cli.configuration import complain, configured
from gateway.cli.live import STYLES, Live, look
from gateway.cli.telling import counted, print_json, refuse
from gateway.config.complaints import ConfigError, did_you_mean, quoted
from gateway.config.snapshot import Provider, Snapshot
from gateway.upstream.diagnosis import Check
from gateway.upstream.discovery import check

HEADINGS = ("provider", "type", "base URL", "credentials", "public models", "state")

BUILT_IN = "built in"
"""In the place of an address: the gateway answers itself."""

INACTIVE = "inactive: kept, tested, never routed to"

WELL, UNSURE, ILL = ("\N{CHECK MARK}", "green"), ("?", "yellow"), ("\N{BALLOT X}", "red")


def show(config: Path | None, *, as_json: bool) -> int:
    """Prints the providers: where they stand in the configuration and, if a gateway runs on it, how they are there.

    They are not asked themselves. Returns the exit status.
    """
    try:
        snapshot = configured(config)[0].snapshot
    except ConfigError as error:
        complain(error, as_json=as_json)
        return 1
    live = look(snapshot)
    rows = [_described(provider, snapshot, live) for provider in snapshot.providers.values()]
    if as_json:
        print_json({"providers": rows})
        return 0
    tables.show(HEADINGS, map(_row, rows))
    return 0


def run_test(config: Path | None, names: list[str], *, model: str | None, as_json: bool) -> int:
    """Tests providers, all unless some are named. Returns the exit status: 1 if one of them fails."""
    found = _looked_at(config, names, model=model, as_json=as_json)
    if isinstance(found, int):
        return found
    if as_json:
        print_json({"ok": all(each.ok for _, each in found), "providers": [_told(*each) for each in found]})
    else:
        width = max((len(provider.name) for provider, _ in found), default=0)
        console = Console(highlight=False)
        for provider, each in found:
            console.print(_line(provider, each, width), soft_wrap=True)
    return _status(found)


def show_models(config: Path | None, names: list[str], *, as_json: bool) -> int:
    """Prints the models that providers list. Returns the exit status: 1 if one of them could not be asked."""
    found = _looked_at(config, names, model=None, as_json=as_json)
    if isinstance(found, int):
        return found
    if as_json:
        rows = [{"provider": each.provider, "models": each.models, "error": each.error} for _, each in found]
        print_json({"providers": rows})
        return _status(found)
    console = Console(highlight=False, markup=False)
    for provider, each in found:
        heading = each.error or _counted(provider, each) or each.note
        console.print(Text(f"{each.provider}: {heading}", style="bold red" if each.error else "bold"), soft_wrap=True)
        for name in each.models or ():
            console.print(f"  {name}", soft_wrap=True)
    return _status(found)


Looked = list[tuple[Provider, Check]]


def _looked_at(config: Path | None, names: list[str], *, model: str | None, as_json: bool) -> Looked | int:
    """The providers that are meant, with what one look at each has shown; or the exit status of a mistake."""
    try:
        snapshot = configured(config)[0].snapshot
    except ConfigError as error:
        complain(error, as_json=as_json)
        return 1
    for name in names:
        if name not in snapshot.providers:
            hint = did_you_mean(name, snapshot.providers)
            return refuse(f"there is no provider {quoted(name)}{hint}", 2, as_json=as_json)
    chosen = [provider for name, provider in snapshot.providers.items() if not names or name in names]
    return list(zip(chosen, look_at_all(chosen, model), strict=True))


def look_at_all(providers: Collection[Provider], model: str | None = None) -> list[Check]:
    """One look at each, all at once, while a terminal shows that it goes on."""

    async def look() -> list[Check]:
        return await asyncio.gather(*(check(account(provider), clock, model=model) for provider in providers))

    waiting = Console(stderr=True, highlight=False).status(f"Asking {counted(len(providers), 'provider')} ...")
    with waiting, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(look())


def _described(provider: Provider, snapshot: Snapshot, live: Live) -> dict[str, Any]:
    return {
        "provider": provider.name,
        "type": provider.vendor.name,
        "base_url": None if provider.vendor.in_process else provider.base_url,
        "credentials": _credentials(provider),
        "enabled": provider.enabled,
        "public_models": sorted(_public_models(provider, snapshot)),
        "state": live.worst(provider.name),
    }


def _row(said: dict[str, Any]) -> tuple[tables.Cell, ...]:
    state = said["state"] or "-" if said["enabled"] else "inactive"
    names = ", ".join(said["public_models"]) or "-"
    where = said["base_url"] or BUILT_IN
    return (said["provider"], said["type"], where, said["credentials"], names, Text(state, STYLES.get(state, "dim")))


def _credentials(provider: Provider) -> str:
    if provider.api_key:
        return "key"
    if provider.aws_keys:
        return "AWS keys"
    return "AWS default chain" if provider.vendor.signing_name else "none"


def _public_models(provider: Provider, snapshot: Snapshot) -> Iterator[str]:
    """The names, and patterns of names, that lead to a provider."""
    patterns = {f"{prefix}*{suffix}": model for prefix, suffix, model in snapshot.patterns}
    for name, model in {**snapshot.models, **patterns}.items():
        if any(target.provider == provider.name for target in model.targets):
            yield name


def _told(provider: Provider, each: Check) -> dict[str, Any]:
    return {**asdict(each), "ok": each.ok, "type": provider.vendor.name, "enabled": provider.enabled}


def _line(provider: Provider, each: Check, width: int) -> Text:
    mark, style = ILL if each.error else WELL if each.credentials == "valid" else UNSURE
    latency = f"{each.latency_ms:.0f} ms" if each.latency_ms else ""
    well = ("reachable", f"credentials {each.credentials}", _counted(provider, each), each.note)
    parts = [each.error or ", ".join(filter(None, well)), latency, "" if provider.enabled else INACTIVE]
    words = "  ".join(filter(None, parts))
    return Text.assemble((mark, style), f" {provider.name:{width}}  ", (words, style if each.error else ""))


def _counted(provider: Provider, each: Check) -> str:
    if each.models is None:
        return ""
    count = counted(len(each.models), "model")
    return f"{count} that can be deployed" if provider.vendor.names_deployments else count


def _status(found: Looked) -> int:
    return 0 if all(each.ok for _, each in found) else 1
