"""The JSON schema of the configuration, by which editors complete and check it. `python -m gateway.config.schema`."""

from __future__ import annotations

import sys
from typing import Any

import orjson
from pydantic import TypeAdapter

from gateway.config.spec import Spec
from gateway.config.vendor_table import VENDORS

NOISE = ("title", "default")
"""What pydantic adds and editors would show: class names, and defaults in seconds and bytes instead of as written."""

NULL = {"type": "null"}


def json_schema() -> dict[str, Any]:
    """The schema, draft 2020-12, made from `gateway.config.spec` and the table of vendors."""
    schema = _plain(TypeAdapter(Spec).json_schema())
    type = schema["$defs"]["ProviderSpec"]["properties"]["type"]
    type["anyOf"] = [{"enum": sorted(VENDORS)}, {"pattern": r"\$\{.+\}"}]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Gateway configuration", **schema}


def json_schema_text() -> str:
    """The content of `config/gateway.schema.json`."""
    return orjson.dumps(json_schema(), option=orjson.OPT_INDENT_2).decode() + "\n"


def _plain(node: Any) -> Any:
    """The same without noise, and without null for fields that are simply left out."""
    if isinstance(node, list):
        return [_plain(item) for item in node]
    if not isinstance(node, dict):
        return node
    choices = [choice for choice in node.get("anyOf", ()) if choice != NULL]
    if len(choices) == 1:
        node = {key: value for key, value in node.items() if key != "anyOf"} | choices[0]
    elif choices:
        node = {**node, "anyOf": choices}
    return {
        key: {name: _plain(field) for name, field in value.items()} if key == "properties" else _plain(value)
        for key, value in node.items()
        if key not in NOISE
    }


if __name__ == "__main__":
    sys.stdout.write(json_schema_text())
