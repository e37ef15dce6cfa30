"""A vendor: one row of `vendors.yaml`. What is true of a kind of server, whoever's account it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import quote

CredentialKind = Literal["bearer", "api_key_header", "none"]


@dataclass(frozen=True, slots=True)
class Vendor:
    """One row. The table is read, and checked against this shape, by `gateway.config.vendor_table`."""

    name: str
    dialect: str
    base_url: str | None = None
    """None: the configuration must name one."""
    credential: CredentialKind = "bearer"
    key_required: bool = True
    env: tuple[str, ...] = ()
    """Environment variables in which people keep this vendor's key: how `gateway serve` without a file finds it."""
    paths: Mapping[str, str] = field(default_factory=dict)
    """Path by operation, joined to the base URL; may hold `{model}` and `{api_version}`."""
    paths_for: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Other paths for a base URL with this ending (Azure's `/openai/v1`)."""
    needs_api_version: bool = False
    quirks: tuple[str, ...] = ()
    """Names from `gateway.vendors.quirks`."""
    done_marker: bool = True
    """Whether its streams always end with `[DONE]`."""
    in_process: bool = False
    """Answered by the gateway itself, over no network."""
    models: tuple[str, ...] = ()
    """Well-known model names, as patterns: what is published when a key is found and there is no configuration file."""


def urls(vendor: Vendor, base_url: str, model: str, api_version: str | None) -> dict[str, str]:
    """The complete URL of every operation for one model.

    The model goes into the path as one segment, so nothing in its name can lead elsewhere. Raises ValueError for a name
    that no server would take as a segment.
    """
    if model in ("", ".", ".."):
        raise ValueError(f"{model!r} cannot be a model's name in a URL")
    base = base_url.rstrip("/")
    paths = next((other for ending, other in vendor.paths_for.items() if base.endswith(ending)), vendor.paths)
    segment, version = quote(model, safe=""), quote(api_version or "", safe="")
    return {name: base + path.format(model=segment, api_version=version) for name, path in paths.items()}
