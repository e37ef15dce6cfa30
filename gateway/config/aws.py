"""The account at a vendor of AWS's: what requests are signed with, and where they go.

Of several credentials the first of these counts: `access_key_id` with `secret_access_key`, then `api_key`, then
whatever the machine itself has (AWS calls that the default chain).
"""

from __future__ import annotations

import re
from typing import NamedTuple

from gateway.config.complaints import Review, Steps
from gateway.config.fill import empty_because
from gateway.config.spec import ProviderSpec
from gateway.core.secret import Secret
from gateway.vendors.vendor import Vendor
from gateway.wire.sigv4 import AwsKeys

KEYS = ("access_key_id", "secret_access_key", "session_token")
FIELDS = ("region", *KEYS, "profile", "endpoint_url")
"""What means something to AWS alone."""

OTHER_CLOUDS = ("cn-", "eusc-", "us-iso", "eu-iso")
"""How regions begin whose hosts are not in `amazonaws.com`: botocore's `partitions.json` has them."""

_PAIR = re.compile(r"([A-Z0-9]{16,128}):(\S+)")
"""Both halves in the field of the key, as older programs want them. No key of Bedrock's own has a colon in it."""


class Access(NamedTuple):
    """One of the two, or neither."""

    keys: AwsKeys | None = None
    api_key: Secret | None = None


def resolve_access(written: ProviderSpec, vendor: Vendor) -> Access:
    """Which of the written credentials counts."""
    if vendor.signing_name is None:
        return Access(api_key=written.api_key)
    if written.access_key_id and written.secret_access_key:
        return Access(AwsKeys(written.access_key_id.reveal(), written.secret_access_key, written.session_token))
    if written.api_key and (pair := _PAIR.fullmatch(written.api_key.reveal())):
        return Access(AwsKeys(pair[1], Secret(pair[2]), written.session_token))
    return Access(api_key=written.api_key)


def check_aws(path: Steps, written: ProviderSpec, vendor: Vendor, review: Review) -> None:
    """Notes what is missing for AWS, and what only AWS would understand."""
    if vendor.signing_name is None:
        _check_nothing_of_aws(path, written, vendor, review)
        return
    if written.base_url:
        review.complain((*path, "base_url"), f"means nothing to the type {vendor.name}; write endpoint_url")
    _check_region(path, written, vendor, review)
    if written.enabled:
        _check_keys(path, written, review)


def _check_nothing_of_aws(path: Steps, written: ProviderSpec, vendor: Vendor, review: Review) -> None:
    for name in FIELDS:
        if getattr(written, name):
            hint = "; write base_url" if name == "endpoint_url" else ""
            review.complain((*path, name), f"means nothing to the type {vendor.name}{hint}")


def _check_region(path: Steps, written: ProviderSpec, vendor: Vendor, review: Review) -> None:
    here = (*path, "region")
    if not written.region and review.read_well(here):
        because = empty_because(review.place(here).variables) or ': write us-east-1, or "${AWS_REGION}"'
        review.complain(here, f"is needed by the type {vendor.name}{because}")
    elif written.region and written.region.startswith(OTHER_CLOUDS) and not written.endpoint_url:
        review.complain(here, "is in a cloud of AWS whose hosts are not known; write endpoint_url too")


def _check_keys(path: Steps, written: ProviderSpec, review: Review) -> None:
    api_key = written.api_key.reveal() if written.api_key else ""
    given = [name for name in KEYS if getattr(written, name)]
    pair = bool(_PAIR.fullmatch(api_key)) and given in ([], ["session_token"])
    if given and not pair:
        for name in KEYS[:2]:
            if name not in given and review.read_well((*path, name)):
                because = empty_because(review.place((*path, name)).variables)
                review.complain((*path, name), f"is needed with {given[0]}{because}")
    if ":" in api_key and not given and not pair:
        review.complain((*path, "api_key"), "holds a colon, and is not of the form access_key_id:secret_access_key")
    if written.profile and (given or api_key):
        review.complain((*path, "profile"), "would never be used: there are other credentials here")
