"""The files in `config/` work, and their schema is that of the code."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import jsonschema
import orjson
import pytest
import yaml

from gateway.config.read import ConfigError
from gateway.config.resolve import load, loads
from gateway.config.schema import json_schema_text
from gateway.config.vendor_table import VENDORS, read_vendors

CONFIG = Path(__file__).parent.parent / "config"
SCHEMA = orjson.loads((CONFIG / "gateway.schema.json").read_bytes())
EXAMPLES = {path.stem: path for path in (CONFIG / "examples").glob("*.yaml")}
FILES = [CONFIG / "gateway.yaml", *EXAMPLES.values()]
ENVIRON = {name: "a-key-of-some-vendor" for vendor in VENDORS.values() for name in vendor.env} | {
    "AZURE_OPENAI_US_API_KEY": "another-key",
    "AWS_SECRET_ACCESS_KEY": "a-secret",
}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_shipped_configuration_works(path: Path) -> None:
    assert load(path, ENVIRON).providers


def test_the_starting_point_works_with_nothing_in_the_environment() -> None:
    assert load(CONFIG / "gateway.yaml", {}).default_model == "assistant"


def test_what_the_starting_point_shows_in_comments_works_once_it_is_switched_on() -> None:
    text = (CONFIG / "gateway.yaml").read_text()
    switched = re.sub(r"^# (?=(admin|keys):|  )", "", text, flags=re.MULTILINE)
    environ = {
        "GATEWAY_ADMIN_TOKEN": "a-token-of-my-own-01",
        "FINANCE_TOKEN": "a-token-of-my-own-02",
        "GATEWAY_ENCRYPTION_KEY": "A" * 43 + "=",
        "WEB_APP_KEY": "a-key-of-my-own-0001",
    }
    snapshot = loads(switched, name="gateway.yaml", environ=environ)
    assert [token.name for token in snapshot.admin.tokens] == ["root", "finance"]
    (key,) = snapshot.keys.values()
    assert key.budget
    assert key.limits.tokens == 1_000_000


def test_every_provider_type_has_an_example() -> None:
    assert EXAMPLES.keys() == VENDORS.keys()


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_shows_the_type_it_is_named_for(name: str) -> None:
    assert name in {provider.vendor.name for provider in load(EXAMPLES[name], ENVIRON).providers.values()}


def test_the_schema_for_editors_is_up_to_date() -> None:
    written = (CONFIG / "gateway.schema.json").read_text()
    assert written == json_schema_text(), "run `python -m gateway.config.schema > config/gateway.schema.json`"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_schema_accepts_what_works(path: Path) -> None:
    jsonschema.validate(yaml.safe_load(path.read_text()), SCHEMA)


@pytest.mark.parametrize(
    "wrong",
    [
        {"provider": {}},
        {"server": {"port": 70_000}},
        {"server": {"drain": 120}},
        {"providers": {"a": {"type": "opnai"}}},
        {"providers": {"a": {}}},
        {"models": {"a": {"targets": [{"provider": "a"}]}}},
        {"models": {"a": {"targets": [], "strategy": "quickest"}}},
        {"models": {"a": {"targets": [], "unsupported": "ignore"}}},
        {"providers": {"a": {"type": "bedrock", "region": "Frankfurt"}}},
        {"defaults": {"retries": {"attempts": 0}}},
        {"defaults": {"retries": {"budget": 20}}},
        {"defaults": {"breaker": {"failures": 0}}},
        {"models": {"a": {"targets": [], "hedge": 0.6}}},
        {"models": {"a": {"targets": [{"provider": "a", "model": "m", "lacks": ["sight"]}]}}},
        {"models": {"a": {"targets": [{"provider": "a", "model": "m", "price": {"input": 1}}]}}},
        {"state": {"redis": "http://host"}},
        {"admin": {"tokens": [{"name": "ops", "token": "t", "permissions": ["key.veiw"]}]}},
        {"admin": {"encryption_key": "short"}},
        {"admin": {"encryption_key": {"kms": {"key_id": "alias/gateway"}}}},
    ],
)
def test_the_schema_refuses_what_does_not_work(wrong: dict[str, Any]) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(wrong, SCHEMA)


def test_every_field_is_described_for_editors() -> None:
    described = [
        (name, field) for part in (SCHEMA, *SCHEMA["$defs"].values()) for name, field in part["properties"].items()
    ]
    assert [name for name, field in described if not field.keys() & {"description", "$ref"}] == []


def test_a_row_of_the_vendor_table_with_a_misspelt_quirk_is_refused() -> None:
    with pytest.raises(ConfigError) as refused:
        read_vendors("acme:\n  dialect: openai_chat\n  quirks: [max_token_only]\n")
    assert str(refused.value) == (
        "vendors.yaml:3:12: acme.quirks[0]: there is no quirk `max_token_only` (did you mean `max_tokens_only`?)"
    )


def test_fifty_models_are_read_before_anyone_notices() -> None:
    model = "targets: [{provider: a, model: x, weight: 2}, {provider: a, model: y}], timeouts: {total: 60s}"
    models = "".join(f"  m{number}: {{{model}}}\n" for number in range(50))
    text = f"providers:\n  a: {{type: ollama}}\nmodels:\n{models}"
    best = min(_time_to_read(text) for _ in range(3))
    assert best < 0.1


def _time_to_read(text: str) -> float:
    begun = time.perf_counter()
    assert len(loads(text, name="g", environ={}).models) == 50
    return time.perf_counter() - begun
