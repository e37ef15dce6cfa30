"""A vendor: one row of `vendors.yaml`. What is true of a kind of server, whoever's account it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import quote

CredentialKind = Literal["bearer", "api-key", "x-api-key", "x-goog-api-key", "aws", "none"]
"""How a request shows who pays: a bearer token, the key in a header of this name, AWS's signature, or not at all."""


@dataclass(frozen=True, slots=True)
class Vendor:
    """One row. The table is read, and checked against this shape, by `gateway.config.vendor_table`."""

    name: str
    dialect: str
    base_url: str | None = None
    """None: the configuration must name one. May hold `{region}`."""
    credential: CredentialKind = "bearer"
    key_required: bool = True
    env: tuple[str, ...] = ()
    """Environment variables in which people keep this vendor's key: how `gateway serve` without a file finds it."""
    needs_region: bool = False
    signing_name: str | None = None
    """The service, as AWS's signatures name it. Only for the credential `aws`."""
    paths: Mapping[str, str] = field(default_factory=dict)
    """Path by operation, joined to the base URL; may hold `{model}` and `{api_version}`."""
    paths_for: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Other paths for a base URL with this ending (Azure's `/openai/v1`). `/../` leads out of it."""
    elsewhere: Mapping[str, str] = field(default_factory=dict)
    """Base URL of the operations that another host serves. A base URL from the configuration is that of all."""
    needs_api_version: bool = False
    names_deployments: bool = False
    """Whether targets name deployments of one's own. Its list then shows what could be deployed, not what is."""
    quirks: tuple[str, ...] = ()
    """Names from `gateway.vendors.quirks`."""
    done_marker: bool = True
    """Whether its streams always end with `[DONE]`."""
    fetch_media: bool = False
    """Whether it wants images and documents as bytes, and fetches none by their https address."""
    own_links: tuple[str, ...] = ()
    """How the addresses begin that it reads by itself all the same: its own files, videos."""
    inputs_at_once: int | None = None
    """Inputs in one request for embeddings, where there is a limit that holds for all its models."""
    in_process: bool = False
    """Answered by the gateway itself, over no network."""
    models: tuple[str, ...] = ()
    """Well-known model names, as patterns: what is published when a key is found and there is no configuration file."""


def own_base_url(vendor: Vendor, region: str | None) -> str:
    """The vendor's own base URL; empty where it has none."""
    return (vendor.base_url or "").format(region=region or "")


def urls(
    vendor: Vendor, base_url: str, model: str, api_version: str | None, region: str | None = None
) -> dict[str, str]:
    """The complete URL of every operation for one model.

    The model goes into the path as one segment, so nothing in its name can lead elsewhere. Raises ValueError for a name
    that no server would take as a segment.
    """
    if model in ("", ".", ".."):
        raise ValueError(f"{model!r} cannot be a model's name in a URL")
    base = base_url.rstrip("/")
    paths = next((other for ending, other in vendor.paths_for.items() if base.endswith(ending)), vendor.paths)
    segment, version = quote(model, safe=""), quote(api_version or "", safe="")
    elsewhere = vendor.elsewhere if base == own_base_url(vendor, region) else {}
    bases = {name: elsewhere[name].format(region=region) if name in elsewhere else base for name in paths}
    return {name: _joined(bases[name], path.format(model=segment, api_version=version)) for name, path in paths.items()}


def _joined(base: str, path: str) -> str:
    return base.rpartition("/")[0] + path[len("/..") :] if path.startswith("/../") else base + path
