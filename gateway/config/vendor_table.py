"""The table of vendors, read as strictly as a configuration: a bad row fails every start, not some call."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from importlib.resources import files
from typing import Any, Literal

from gateway.config.complaints import Review, did_you_mean, quoted
from gateway.config.read import read_rows
from gateway.config.values import Address, Count, Flag, Pattern, Text, Word
from gateway.vendors.quirks import QUIRKS
from gateway.vendors.vendor import Vendor


@dataclass(frozen=True, slots=True)
class Row:
    """One row, field for field a `Vendor`."""

    dialect: Word
    base_url: Address | None = None
    credential: Literal["bearer", "api-key", "x-api-key", "x-goog-api-key", "aws", "none"] = "bearer"
    key_required: Flag = True
    env: list[Word] = field(default_factory=list)
    needs_region: Flag = False
    signing_name: Word | None = None
    paths: dict[Word, Text] = field(default_factory=dict)
    paths_for: dict[Text, dict[Word, Text]] = field(default_factory=dict)
    elsewhere: dict[Word, Address] = field(default_factory=dict)
    needs_api_version: Flag = False
    names_deployments: Flag = False
    quirks: list[Word] = field(default_factory=list)
    done_marker: Flag = True
    fetch_media: Flag = False
    own_links: list[Text] = field(default_factory=list)
    inputs_at_once: Count | None = None
    in_process: Flag = False
    models: list[Pattern] = field(default_factory=list)


def read_vendors(text: str) -> Mapping[str, Vendor]:
    """Vendors by name. Raises ConfigError, also for a quirk that does not exist."""
    review = Review("vendors.yaml")
    rows = read_rows(Row, text, review)
    for name, row in rows.items():
        for index, quirk in enumerate(row.quirks):
            if quirk and quirk not in QUIRKS:
                review.complain(
                    (name, "quirks", index), f"there is no quirk {quoted(quirk)}{did_you_mean(quirk, QUIRKS)}"
                )
    review.finish()
    return {name: _vendor(name, row) for name, row in rows.items()}


def _vendor(name: str, row: Row) -> Vendor:
    values: dict[str, Any] = {field.name: getattr(row, field.name) for field in fields(row)}
    lists = {field: tuple(value) for field, value in values.items() if isinstance(value, list)}
    return Vendor(name=name, **values | lists)


VENDORS: Mapping[str, Vendor] = read_vendors(files("gateway.vendors").joinpath("vendors.yaml").read_text("utf-8"))
"""The table that is part of the package."""
