"""A configuration of LiteLLM's as it is, for a start without a file of ours: converted in memory, and as strict.

What is wrong with it, in its own words or in what it became, is complained of where it stands in LiteLLM's file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from gateway.config.complaints import Complaint, ConfigError, Review, spell
from gateway.config.read import read
from gateway.config.resolve import Loaded, loads_all, resolve, text_of
from gateway.config.spec import Spec
from gateway.config.vendor_table import VENDORS
from gateway.migrate.config import Converted, convert, is_litellms
from gateway.migrate.report import Line


class Taken(NamedTuple):
    """A configuration, and the report on its way here if it is LiteLLM's."""

    loaded: Loaded
    report: tuple[Line, ...] = ()


def load_either(path: Path, environ: Mapping[str, str]) -> Taken:
    """The configuration in a file, ours or LiteLLM's. Raises ConfigError, also for what the report refuses."""
    text = text_of(path)
    if not is_litellms(text):
        return Taken(loads_all(text, name=str(path), environ=environ))
    converted = convert(text, str(path))
    refused = [line for line in converted.report if line.verdict == "refused"]
    if refused:
        raise ConfigError(Complaint(each.file, each.line, each.column, each.path, each.message) for each in refused)
    return Taken(_read(converted, path, text, environ), converted.report)


def _read(converted: Converted, path: Path, text: str, environ: Mapping[str, str]) -> Loaded:
    given = {name: value.reveal() for name, value in converted.values.items()}
    review = Review(str(path))
    spec = read(Spec, converted.text, review, {**environ, **given})
    review.places = {
        steps: replace(place, mark=converted.place(spell(steps))) for steps, place in review.places.items()
    }
    review.complaints = [_moved(complaint, converted) for complaint in review.complaints]
    digest = sha256(text.encode()).hexdigest()
    return Loaded(resolve(spec, VENDORS, review, digest), spec, review)


def _moved(complaint: Complaint, converted: Converted) -> Complaint:
    mark = converted.place(complaint.path)
    return replace(complaint, line=mark.line, column=mark.column)
