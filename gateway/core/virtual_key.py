"""A virtual key: one that was made at run time, as it is kept. The key itself is not in it, only its SHA-256."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class VirtualKey:
    """One key. Times are in seconds since 1970."""

    name: str
    sha256: str = field(repr=False)
    """Of the key, in hex."""
    shown: str
    """How the key begins: enough to know it by."""
    created: float
    expires: float | None = None
    revoked: float | None = None
    """Since when it is not valid any more."""
    replaced_sha256: str | None = field(default=None, repr=False)
    """Of the key that was there before this one."""
    replaced_until: float | None = None
    """How long that one is still valid."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Models, limits, budget, priority: whatever JSON holds."""
    version: int = 0
    """Given by the database."""
