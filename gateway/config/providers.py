"""Accounts as they were written, with what the table of vendors says of their type."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.config.aws import check_aws, resolve_access
from gateway.config.complaints import Review, did_you_mean, quoted
from gateway.config.fill import empty_because
from gateway.config.snapshot import Provider
from gateway.config.spec import ProviderSpec
from gateway.core.call import Headers
from gateway.core.secret import Secret
from gateway.vendors.vendor import Vendor, own_base_url


def resolve_provider(
    name: str, written: ProviderSpec, vendors: Mapping[str, Vendor], review: Review
) -> Provider | None:
    """The provider, or None where its type is unknown. What is wrong with it is noted in the review."""
    vendor = vendors.get(written.type)
    if vendor is None:
        path = ("providers", name, "type")
        if written.type:  # an empty one has its complaint already
            review.complain(path, f"there is no type {review.shown(path)}{did_you_mean(written.type, vendors)}")
        return None
    base_url = written.base_url or written.endpoint_url or own_base_url(vendor, written.region)
    _check(name, written, vendor, base_url, review)
    check_aws(("providers", name), written, vendor, review)
    access = resolve_access(written, vendor)
    return Provider(
        name=name,
        vendor=vendor,
        base_url=base_url,
        api_key=access.api_key,
        headers=_headers(written),
        proxy=written.proxy,
        ca_file=written.ca_file,
        api_version=written.api_version,
        region=written.region,
        aws_keys=access.keys,
        aws_profile=written.profile,
        send_user_id=written.send_user_id,
        enabled=written.enabled,
    )


def _check(name: str, written: ProviderSpec, vendor: Vendor, base_url: str, review: Review) -> None:
    def needs(field: str) -> None:
        path = ("providers", name, field)
        if review.read_well(path):
            because = empty_because(review.place(path).variables)
            review.complain(path, f"is needed by the type {vendor.name}{because}")

    if not base_url:
        needs("base_url")
    if vendor.key_required and written.enabled and not written.api_key:
        needs("api_key")
    if vendor.needs_api_version and not written.api_version and not base_url.endswith(tuple(vendor.paths_for)):
        needs("api_version")
    if written.api_version and not vendor.needs_api_version:
        review.complain(("providers", name, "api_version"), f"means nothing to the type {vendor.name}")
    if written.api_key and vendor.credential == "none":
        review.complain(("providers", name, "api_key"), f"means nothing to the type {vendor.name}")
    _check_discovery(name, written, vendor, review)
    for index, model in enumerate(written.model_names):
        if model in (".", ".."):
            review.complain(("providers", name, "models", index), f"{quoted(model)} cannot be part of a URL")


def _check_discovery(name: str, written: ProviderSpec, vendor: Vendor, review: Review) -> None:
    path = ("providers", name, "models")
    if written.discovers and vendor.names_deployments:
        review.complain(path, f"the type {vendor.name} lists what could be deployed, not your deployments; name those")
    elif written.discovers and "models" not in vendor.paths:
        review.complain(path, f"the type {vendor.name} lists no models; name them")


def _headers(written: ProviderSpec) -> Headers:
    named: dict[str, Secret | None] = {
        "openai-organization": written.organization,
        "openai-project": written.project,
        **written.headers,
    }
    return tuple((name.encode(), value.reveal().encode()) for name, value in named.items() if value)
