"""What a model takes from the defaults: field by field, its own value, else theirs, else the gateway's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any, TypeVar

from gateway.config.complaints import Review, Steps
from gateway.config.snapshot import Breaker, Timeouts
from gateway.config.spec import BreakerSpec, Spec, TimeoutsSpec

Times = TypeVar("Times", Timeouts, Breaker)

WITHIN: Mapping[type, tuple[str, str]] = {Timeouts: ("connect", "total"), Breaker: ("ejection", "max_ejection")}
"""A time that can be no longer than another. It gives way if nobody wrote it; if somebody did, that is a mistake."""


def timeouts(common: TimeoutsSpec, own: TimeoutsSpec) -> Timeouts:
    """The limits of time of a model."""
    return _merged(Timeouts, written(common, own))


def breaker(common: BreakerSpec, own: BreakerSpec) -> Breaker:
    """When the targets of a model are ill."""
    return _merged(Breaker, written(common, own))


def check_times(spec: Spec, review: Review) -> None:
    """Notes times that another one makes impossible: at the defaults, or at the model that writes one of the two."""
    for kind, field in ((Timeouts, "timeouts"), (Breaker, "breaker")):
        common = getattr(spec.defaults, field)
        _check(kind, written(common), ("defaults", field), review)
        for name, model in spec.models.items():
            if written(own := getattr(model, field)):
                _check(kind, written(common, own), ("models", name, field), review)


def written(*records: Any) -> dict[str, Any]:
    """What was written in any of these records. The last one wins."""
    values = ((field.name, getattr(record, field.name)) for record in records for field in fields(record))
    return {name: value for name, value in values if value is not None}


def _merged(kind: type[Times], values: Mapping[str, Any]) -> Times:
    lesser, greater = WITHIN[kind]
    merged = kind(**values)
    if lesser in values:
        return merged
    return replace(merged, **{lesser: min(getattr(merged, lesser), getattr(merged, greater))})


def _check(kind: type[Timeouts | Breaker], values: Mapping[str, Any], path: Steps, review: Review) -> None:
    lesser, greater = WITHIN[kind]
    low, high = values.get(lesser, 0.0), values.get(greater, getattr(kind(), greater))
    if low > high:
        review.complain(path, f"{lesser} ({low:g}s) is longer than {greater} ({high:g}s)")
