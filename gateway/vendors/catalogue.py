"""What is known of models before anyone has asked them: how much they take, what they cannot do, what they cost. Pure.

The facts are in `models/`, one file for each vendor that has any, written by `make prices`. A file is read when the
first of its models is looked up.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import NamedTuple

import orjson

from gateway.core.call import Json, Need, Price


class Table(NamedTuple):
    """One vendor's file. All names are in lower case."""

    models: Mapping[str, Json]
    """Rows of facts by name."""
    names: Mapping[str, str]
    """Other names, and which row holds for each."""


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of one model at one vendor."""

    context: int | None = None
    """Tokens of prompt and answer together, rather too many than too few: see `prices/table.py`."""
    lacks: frozenset[Need] = frozenset()
    price: Price | None = None


def about(vendor: str, model: str) -> Known | None:
    """What is known of a model, by the vendor's row and by the name that requests to it carry.

    Nothing is known of what the operators of a server name themselves: Azure's deployments, models served locally.
    """
    row = find(_table(vendor), model)
    return None if row is None else _known(row)


def find(table: Table, model: str) -> Json | None:
    """The row of a model, by the longest of its names that has one."""
    rows = (table.models.get(table.names.get(name, name)) for name in names_of(model))
    return next((row for row in rows if row is not None), None)


@cache
def _table(vendor: str) -> Table:
    file = files("gateway.vendors").joinpath("models", f"{vendor}.json")
    if not file.is_file():
        return Table({}, {})
    content = orjson.loads(file.read_bytes())
    return Table(content["models"], content["names"])


# Names.

_DATE = r"[-@]20\d{6}|-20\d\d-\d\d-\d\d|-\d\d-20\d\d|-\d{4}|-00\d"
"""Anthropic's, OpenAI's, Gemini's or Cohere's, Mistral's and xAI's; and the numbers of Gemini's editions."""

_EDITION = re.compile(rf"(?:{_DATE}|-latest|@latest|-v1|:\d+k?)$")
"""What a name may end with beside the model. Bedrock counts versions (`-v1:0`), some with a window (`:200k`); a second
version is another model."""

REGION = re.compile(r"^(?:[a-z]{2}|apac)\.(?=[a-z0-9]+\.)")
"""What Bedrock's inference profiles begin with. Not `global.` and not `us-gov.`, which have rows of their own where
prices are known.

https://docs.aws.amazon.com/bedrock/latest/userguide/inference-profiles-support.html
"""

_TUNED = re.compile(r"ft:[^:]+")
"""Of `ft:gpt-4o-mini-2024-07-18:organization::id` that which says what was tuned."""


def names_of(model: str) -> Iterator[str]:
    """The name itself, then what is left of it without its edition and without its region, less and less.

    An ARN ends with the name, but that of an application's own profile, which says nothing.
    """
    name = model.lower()
    if name.startswith("arn:"):
        name = name.rpartition("/")[2]
    if tuned := _TUNED.match(name):
        name = tuned[0]
    yield from _without_edition(name)
    if region := REGION.match(name):
        yield from _without_edition(name[region.end() :])


def _without_edition(name: str) -> Iterator[str]:
    """Names of calls may be anything, so there is an end to it: a date, a version, its number and a window are four."""
    yield name
    for _ in range(4):
        edition = _EDITION.search(name)
        if edition is None:
            return
        name = name[: edition.start()]
        yield name


# Rows.


def _known(row: Json) -> Known:
    return Known(row.get("context"), frozenset(row.get("lacks", ())), _price(row))


def _price(row: Json) -> Price | None:
    if "input" not in row:
        return None
    above = tuple((int(tokens), _flat(prices)) for tokens, prices in row.get("above", {}).items())
    return _flat(row)._replace(above=above)


def _flat(prices: Json) -> Price:
    """What is no answer in words, a vector, has no price for its output."""
    return Price(prices["input"], prices.get("output", 0.0), prices.get("cache_read"), prices.get("cache_write"))
