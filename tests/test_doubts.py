"""What `gateway check --online` doubts: models that are named and not listed."""

from __future__ import annotations

import pytest

from gateway.config.doubts import doubts, is_listed
from gateway.config.resolve import loads_all

FILE = """
providers:
  a: {type: openai, api_key: k, models: [gpt-4o, gpt-5o]}
  z: {type: azure, base_url: "https://h", api_key: k, api_version: v}
  s: {type: ollama}
models:
  m:
    targets:
      - {provider: a, model: gpt-4o-mni}
      - {provider: z, model: my-deployment}
      - {provider: s, model: anything}
  "claude-*": {targets: [{provider: a, model: "claude-*"}]}
  "gpt-*": {targets: [{provider: a, model: "gpt-*"}]}
"""


def test_each_doubt_has_its_place_and_what_was_probably_meant() -> None:
    loaded = loads_all(FILE, name="g", environ={})
    listed = {"a": ("gpt-4o", "gpt-4o-mini", "o3"), "z": ("gpt-4o",)}
    assert [str(each) for each in doubts(loaded.spec, loaded.snapshot.providers, listed, loaded.review)] == [
        "g:3:50: providers.a.models[1]: a lists no model `gpt-5o` (did you mean `gpt-4o`?)",
        "g:9:30: models.m.targets[0].model: a lists no model `gpt-4o-mni` (did you mean `gpt-4o-mini`?)",
        "g:12:47: models.claude-*.targets[0].model: a lists no model like `claude-*`",
    ]


def test_a_provider_that_was_not_asked_is_not_doubted() -> None:
    loaded = loads_all(FILE, name="g", environ={})
    assert doubts(loaded.spec, loaded.snapshot.providers, {}, loaded.review) == ()


@pytest.mark.parametrize(
    ("model", "listed"),
    [
        ("gpt-4o", "gpt-4o"),
        ("claude-sonnet-4-5", "claude-sonnet-4-5-20250929"),
        ("claude-sonnet-4-0", "claude-sonnet-4-20250514"),
        ("claude-opus-4-latest", "claude-opus-4-20250514"),
        ("llama3.2", "llama3.2:latest"),
        ("deepseek/deepseek-r1:free", "deepseek/deepseek-r1"),
        ("gpt-*", "gpt-4o"),
        ("*", "anything"),
        ("arn:aws:bedrock:us-east-1:1:inference-profile/x", "something-else"),
    ],
)
def test_a_name_that_servers_take_for_a_listed_one_is_not_doubted(model: str, listed: str) -> None:
    assert is_listed(model, ["other", listed])


@pytest.mark.parametrize(
    ("model", "listed"),
    [
        ("gpt-4", "gpt-4o"),
        ("gpt-4o", "gpt-4o-mini"),
        ("llama3:70b", "llama3:8b"),
        ("qwen3", "qwen3:4b"),
        ("claude-*", "gpt-4o"),
        ("claude", "claude-sonnet-4-20250514"),
    ],
)
def test_another_model_of_the_family_does_not_stand_for_it(model: str, listed: str) -> None:
    assert not is_listed(model, [listed])
