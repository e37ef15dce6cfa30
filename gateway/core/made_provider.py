"""A provider that was made at run time, as it is kept: its secrets are sealed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class MadeProvider:
    """One provider. Times are in seconds since 1970."""

    name: str
    created: float
    changed: float
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Its entry in `providers` as it was written, but for what is secret."""
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Envelopes by field: `api_key`, `headers.x-tenant`."""
    version: int = 0
    """Given by the database."""


@dataclass(frozen=True, slots=True)
class KeptTest:
    """What the last test of a provider has shown."""

    at: float
    found: Mapping[str, Any]
    """The fields of `gateway.upstream.diagnosis.Check`."""
