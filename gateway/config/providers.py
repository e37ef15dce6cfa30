"""Accounts as they were written, with what the table of vendors says of their type."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.config.complaints import Review, did_you_mean, quoted
from gateway.config.fill import empty_because
from gateway.config.snapshot import Provider
from gateway.config.spec import PROVIDER_TYPES_NOT_YET, ProviderSpec
from gateway.core.call import Headers
from gateway.core.secret import Secret
from gateway.vendors.vendor import Vendor


def resolve_provider(
    name: str, written: ProviderSpec, vendors: Mapping[str, Vendor], review: Review
) -> Provider | None:
    """The provider, or None where its type is unknown. What is wrong with it is noted in the review."""
    vendor = vendors.get(written.type)
    if vendor is None:
        _complain_of_type(name, written.type, vendors, review)
        return None
    base_url = written.base_url or vendor.base_url or ""
    _check(name, written, vendor, base_url, review)
    return Provider(
        name=name,
        vendor=vendor,
        base_url=base_url,
        api_key=written.api_key,
        headers=_headers(written),
        proxy=written.proxy,
        ca_file=written.ca_file,
        api_version=written.api_version,
        send_user_id=written.send_user_id,
        enabled=written.enabled,
    )


def _complain_of_type(name: str, type: str, vendors: Mapping[str, Vendor], review: Review) -> None:
    path = ("providers", name, "type")
    if type in PROVIDER_TYPES_NOT_YET:
        review.complain(path, f"the type {type} is not supported yet")
    elif type:  # an empty one has its complaint already
        review.complain(path, f"there is no type {review.shown(path)}{did_you_mean(type, vendors)}")


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
    for index, model in enumerate(written.models):
        if model in (".", ".."):
            review.complain(("providers", name, "models", index), f"{quoted(model)} cannot be part of a URL")


def _headers(written: ProviderSpec) -> Headers:
    named: dict[str, Secret | None] = {
        "openai-organization": written.organization,
        "openai-project": written.project,
        **written.headers,
    }
    return tuple((name.encode(), value.reveal().encode()) for name, value in named.items() if value)
