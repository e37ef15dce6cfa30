"""What the packaged catalogue knows of a target, for where the configuration says nothing itself."""

from __future__ import annotations

from dataclasses import replace

from gateway.core.call import Target
from gateway.vendors.catalogue import about
from gateway.vendors.vendor import Vendor


def with_known(target: Target, vendor: Vendor) -> Target:
    """The same target, with its context, what it lacks and its price, where it has them not yet and they are known."""
    known = about(vendor.name, target.model)
    if known is None:
        return target
    return replace(
        target,
        context=target.context or known.context,
        lacks=target.lacks or known.lacks,
        price=target.price or known.price,
    )
