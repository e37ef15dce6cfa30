"""Providers as they may be shown, those of the configuration and those made at run time: never a secret."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, Protocol

from gateway.admin.moments import iso
from gateway.admin.provider_overlay import closed
from gateway.admin.wanted import Unreadable
from gateway.admin.wanted_provider import alone, place, secrets_of, settings_of, with_provider
from gateway.config.resolve import Loaded
from gateway.core.call import Json
from gateway.core.made_provider import KeptTest, MadeProvider
from gateway.store.sealed import Locked, Place
from gateway.upstream.diagnosis import Check

State = Literal["active", "inactive", "shadowed", "unreadable"]
"""`inactive`: kept, tested, never routed to. `shadowed`: the configuration declares one of that name."""


class Checks(Protocol):
    """Whether a secret could be opened, without asking any key service: `gateway.store.envelope.Vault`."""

    def check(self, sealed: str, place: Place) -> None: ...


@dataclass(frozen=True, slots=True)
class Listed:
    """One provider. Times are in seconds since 1970."""

    name: str
    state: State
    settings: Mapping[str, Any]
    """Its entry in `providers`, but for what is secret."""
    secrets: tuple[str, ...]
    """Fields that hold a secret."""
    place: str | None = None
    """`FILE:LINE` of the configuration that declares it; None: it was made at run time."""
    why: str = ""
    """Of one that is unreadable."""
    created: float | None = None
    changed: float | None = None
    version: int | None = None
    """Of those that were made at run time: another one with each change."""
    test: KeptTest | None = None
    """The last one, since it was changed."""


def place_of(name: str, loaded: Loaded) -> str:
    """`FILE:LINE` of the configuration that declares a provider."""
    return f"{loaded.review.file}:{loaded.review.line(('providers', name))}"


def declared(name: str, loaded: Loaded, test: KeptTest | None) -> Listed:
    """One that the configuration declares."""
    spec = loaded.spec.providers[name]
    written = {field.name: getattr(spec, field.name) for field in fields(spec)}
    return Listed(
        name=name,
        state="active" if spec.enabled else "inactive",
        settings={**settings_of(written), "base_url": loaded.snapshot.providers[name].base_url},
        secrets=tuple(secrets_of(spec)),
        place=place_of(name, loaded),
        test=test,
    )


def made(row: MadeProvider, loaded: Loaded, vault: Checks, test: KeptTest | None = None) -> Listed:
    """One that was made at run time."""
    state, why = _state(row, loaded, vault)
    return Listed(
        name=row.name,
        state=state,
        settings=row.settings,
        secrets=tuple(row.secrets),
        why=why,
        created=row.created,
        changed=row.changed,
        version=row.version,
        test=test,
    )


def of_provider(listed: Listed) -> Json:
    """As JSON. Its fields are spelt as in the configuration; of secrets it is told which are set."""
    return {
        "name": listed.name,
        "enabled": True,
        "models": [],
        **listed.settings,
        "secrets": list(listed.secrets),
        "state": listed.state,
        "why": listed.why or None,
        "declared": listed.place or "database",
        "created": None if listed.created is None else iso(listed.created),
        "changed": None if listed.changed is None else iso(listed.changed),
        "version": listed.version,
        "test": None if listed.test is None else of_test(listed.test),
    }


def of_test(test: KeptTest) -> Json:
    """What a look at a provider has shown, as JSON."""
    return {"at": iso(test.at), "ok": not test.found["error"], **test.found}


def of_check(check: Check, at: float) -> Json:
    """The same of one that has no name yet."""
    said = of_test(KeptTest(at, asdict(check)))
    return {name: value for name, value in said.items() if name != "provider"}


def _state(row: MadeProvider, loaded: Loaded, vault: Checks) -> tuple[State, str]:
    if row.name in loaded.spec.providers:
        return "shadowed", ""
    try:
        for field, sealed in row.secrets.items():
            vault.check(sealed, place(row, field))
        found = with_provider(alone(loaded), row.name, closed(row))
    except (Locked, Unreadable) as error:
        return "unreadable", str(error)
    return ("active" if found.spec.providers[row.name].enabled else "inactive"), ""
