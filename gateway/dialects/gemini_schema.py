"""JSON schemas as Gemini takes them. Pure.

`parametersJsonSchema` and `responseJsonSchema` take plain JSON schema, so nothing has to be rewritten into the OpenAPI
subset of the older fields, which knows no `$ref`, no `additionalProperties` and no `$schema`. One rule is stricter than
the standard: beside `$ref` there may be nothing but names that begin with `$`.

https://ai.google.dev/api/generate-content#FIELDS.response_json_schema
"""

from __future__ import annotations

from typing import Any

import orjson

from gateway.core.call import Json


def taken(schema: Json) -> orjson.Fragment:
    """A schema that means the same, as JSON text.

    What stands beside a `$ref` (pydantic writes descriptions and defaults there) moves out: `anyOf` with that reference
    alone allows exactly what the reference does. The outermost schema stays as it is: recorded requests have a title
    beside its `$ref`, and one that is no object is refused.
    """
    text = orjson.dumps(schema)
    if b'"$ref"' in text:
        text = orjson.dumps({name: _apart(inner) for name, inner in schema.items()})
    return orjson.Fragment(text)


def _apart(value: Any) -> Any:
    """The same with every reference on its own."""
    if isinstance(value, list):
        return [_apart(item) for item in value]
    if not isinstance(value, dict):
        return value
    schema = {name: _apart(inner) for name, inner in value.items()}
    reference = schema.get("$ref")
    if not isinstance(reference, str) or "anyOf" in schema or all(name.startswith("$") for name in schema):
        return schema
    del schema["$ref"]
    return {"anyOf": [{"$ref": reference}], **schema}
