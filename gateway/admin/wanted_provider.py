"""
A provider as somebody wants it at run time: an entry of `providers`, as JSON holds it.

It is read by what reads the configuration, as a part of that configuration, so the same is refused in the same words.
In the database it stands in the same spelling, but that what is secret is sealed: see `gateway.store.envelope`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from gateway.admin.reach import host_of, leads_nowhere_good
from gateway.admin.wanted import Fault, Unreadable, node
from gateway.config.complaints import Complaint, ConfigError, Review, Steps, quoted, spell
from gateway.config.fill import Filler
from gateway.config.resolve import Loaded, resolve
from gateway.config.spec import ProviderSpec, Spec
from gateway.config.values import word
from gateway.config.vendor_table import VENDORS
from gateway.core.addresses import REFUSED
from gateway.core.made_provider import MadeProvider
from gateway.core.secret import Secret
from gateway.store.sealed import Place

SECRETS = ("api_key", "access_key_id", "secret_access_key", "session_token", "organization", "project", "proxy")
"""Fields that are sealed, besides the headers."""

HEADERS = "headers"

IN_HEADERS = f"{HEADERS}."
"""How the fields of secrets begin that stand in headers."""

NOT_GIVEN = ("ca_file", "profile")
"""Fields that name files of the gateway's machine."""

ADDRESSES = ("base_url", "endpoint_url", "proxy")

BOUND = ("type", "base_url", "endpoint_url")
"""Where secrets are sent. They are sealed for there: who writes into the database cannot have them sent elsewhere."""

MOVES = (*BOUND, "proxy")
"""What sends kept secrets another way. Who may change this and does not know them must not get to see them there."""

STANDS_IN = {"proxy": "http://sealed.invalid", "api_key": "SEALED0123456789:sealed"}
"""What is read in the place of a sealed secret, while it need not be known. It has the right form, and no more: for AWS
both halves of a key may stand in one field, which is sound in whatever company a key is."""


def with_provider(loaded: Loaded, name: str, written: Mapping[str, Any]) -> Loaded:
    """The configuration with one more provider. Raises Unreadable."""
    review = Review(loaded.review.file)
    review.places = dict(loaded.review.places)
    here = ("providers", name)
    spec = _read(here, written, review)
    whole = replace(loaded.spec, providers={**loaded.spec.providers, name: spec})
    try:
        snapshot = resolve(whole, VENDORS, review, loaded.snapshot.digest)
    except ConfigError as error:
        raise Unreadable([_fault(each, spell(here)) for each in error.complaints]) from None
    return Loaded(snapshot, whole, review)


def alone(loaded: Loaded) -> Loaded:
    """A configuration with nothing but the defaults of this one: for a provider whose models do not matter."""
    return replace(loaded, spec=Spec(defaults=loaded.spec.defaults))


def check_name(name: object) -> str:
    """A name that a provider may have. Raises Unreadable."""
    if not isinstance(name, str) or not name:
        raise Unreadable([Fault("name", "is missing" if name is None else "must be text")])
    try:
        return word(name)
    except ValueError as error:
        raise Unreadable([Fault("name", f"{quoted(name)} {error}")]) from None


def secrets_of(spec: ProviderSpec) -> dict[str, Secret]:
    """What of an entry is to be sealed, by field."""
    found = {name: value for name in SECRETS if isinstance(value := getattr(spec, name), Secret)}
    return found | {IN_HEADERS + name: value for name, value in spec.headers.items()}


def settings_of(written: Mapping[str, Any]) -> dict[str, Any]:
    """What of an entry is no secret, as it was written; what says nothing is left out."""
    apart = (*SECRETS, HEADERS, "name")
    return {name: value for name, value in written.items() if name not in apart and value is not None}


def entry(settings: Mapping[str, Any], secrets: Mapping[str, Secret]) -> dict[str, Any]:
    """The two as one entry again. What is in it is in the clear: it is for reading, and then to be forgotten."""
    flat = {name: secret.reveal() for name, secret in secrets.items()}
    headers = {name.removeprefix(IN_HEADERS): flat.pop(name) for name in secrets if name.startswith(IN_HEADERS)}
    return {**settings, **flat, **({HEADERS: headers} if headers else {})}


def stand_ins(fields: Iterable[str]) -> dict[str, Secret]:
    """For reading an entry whose secrets nobody needs."""
    return {name: Secret(STANDS_IN.get(name, "sealed")) for name in fields}


def normal(patch: Mapping[str, Any]) -> dict[str, Any]:
    """A patch with its headers as they are kept: their names do not depend on case."""
    headers = patch.get(HEADERS)
    return (
        {**patch, HEADERS: {name.lower(): value for name, value in headers.items()}}
        if isinstance(headers, dict)
        else {**patch}
    )


def given(patch: Mapping[str, Any]) -> set[str]:
    """The secrets that a patch names."""
    headers = patch.get(HEADERS)
    named = {IN_HEADERS + name for name in headers} if isinstance(headers, dict) else set()
    return named | {name for name in SECRETS if name in patch}


def urls_of(spec: ProviderSpec) -> dict[str, str]:
    """The addresses in an entry, by field."""
    found = {name: getattr(spec, name) for name in ADDRESSES}
    return {name: url.reveal() if isinstance(url, Secret) else url for name, url in found.items() if url}


def place(made: MadeProvider, field: str) -> Place:
    """Where a secret of a provider belongs."""
    return Place("providers", made.name, field, tuple(str(made.settings.get(name) or "") for name in BOUND))


def _read(here: Steps, written: Mapping[str, Any], review: Review) -> ProviderSpec:
    for name in NOT_GIVEN:
        if written.get(name) is not None:
            review.complain((*here, name), "cannot be given: it names files of the gateway's machine; declare it there")
    asked = {name: value for name, value in written.items() if name not in (*NOT_GIVEN, "name")}
    spec = Filler(review, {}).record(ProviderSpec, node(asked, here, review), here)
    for name, url in urls_of(spec).items():
        if leads_nowhere_good(host_of(url)):
            review.complain((*here, name), REFUSED)
    return spec


def _fault(complaint: Complaint, here: str) -> Fault:
    """A complaint about the entry, or about what the rest of the configuration makes of it."""
    path, message = complaint.path, complaint.message
    if path == here or path.startswith((f"{here}.", f"{here}[")):
        return Fault(path.removeprefix(here).removeprefix("."), message)
    return Fault("", f"{path} {message}")
