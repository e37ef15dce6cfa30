"""`models: discover`: what a configuration says before and after its providers have been asked."""

from __future__ import annotations

from hashlib import sha256

import pytest

from gateway.config.discovered import with_discovered
from gateway.config.read import ConfigError
from gateway.config.resolve import loads
from gateway.config.snapshot import Snapshot

PROVIDERS = """
providers:
  a: {type: openai, api_key: k, models: discover}
  b: {type: ollama, models: discover}
  c: {type: echo, models: [named]}
"""


def snapshot(rest: str = "", providers: str = PROVIDERS) -> Snapshot:
    return loads(providers + rest, name="g", environ={})


def provider_of(found: Snapshot, name: str) -> str | None:
    there = leads_to(found, name)
    return there and there[0]


def leads_to(found: Snapshot, name: str) -> tuple[str, str, str] | None:
    """The provider, its model and the URL that a name leads to."""
    model = found.model(name)
    if model is None:
        return None
    (target,) = model.targets
    return target.provider, target.model, target.urls["chat"]


def test_nothing_is_published_before_the_providers_have_been_asked() -> None:
    assert set(snapshot().models) == {"named"}


def test_what_a_provider_lists_is_published_under_its_own_name() -> None:
    found = with_discovered(snapshot(), {"a": ["gpt-4o"], "b": ["qwen3:4b"]})
    assert set(found.models) == {"gpt-4o", "qwen3:4b", "named"}
    assert leads_to(found, "gpt-4o") == ("a", "gpt-4o", "https://api.openai.com/v1/chat/completions")
    assert found.models["qwen3:4b"].name == "qwen3:4b"


def test_the_name_is_part_of_the_url_where_the_api_has_it_there() -> None:
    found = snapshot(providers="providers:\n  g: {type: gemini, api_key: k, models: discover}\n")
    _, _, url = leads_to(with_discovered(found, {"g": ["gemini-2.5-pro"]}), "gemini-2.5-pro") or ("", "", "")
    assert url.endswith("/models/gemini-2.5-pro:generateContent")


def test_of_two_providers_that_list_the_same_the_first_has_it() -> None:
    for listed in ({"a": ["m"], "b": ["m"]}, {"b": ["m"], "a": ["m"]}):
        assert provider_of(with_discovered(snapshot(), listed), "m") == "a"


def test_what_the_configuration_publishes_stays_as_it_is_written() -> None:
    rest = "models:\n  mine: {targets: [{provider: c, model: x}]}\n  'p-*': {targets: [{provider: c, model: 'p-*'}]}\n"
    found = with_discovered(snapshot(rest), {"a": ["mine", "p-1", "named", "new"]})
    assert [provider_of(found, name) for name in ("mine", "p-1", "named", "new")] == ["c", "c", "c", "a"]


def test_names_may_be_used_that_only_the_providers_know() -> None:
    key = "a-long-enough-key-1"
    rest = f"""
models: {{m: {{targets: [{{provider: c, model: x}}], fallbacks: [gpt-4o]}}}}
aliases: {{best: gpt-4o, lost: nowhere}}
default_model: gpt-4o
keys:
  - {{name: k, key: {key}, models: [gpt-4o]}}
"""
    found = with_discovered(snapshot(rest), {"a": ["gpt-4o"]})
    assert leads_to(found, "best") == leads_to(found, "gpt-4o") is not None
    assert "lost" not in found.models
    assert (found.default_model, found.models["m"].fallbacks) == ("gpt-4o", ("gpt-4o",))
    assert found.keys[sha256(key.encode()).digest()].models == ("gpt-4o",)


def test_an_alias_is_not_taken_by_a_model_of_its_name() -> None:
    found = with_discovered(snapshot("aliases: {gpt-4: gpt-4o}\n"), {"a": ["gpt-4", "gpt-4o"]})
    assert leads_to(found, "gpt-4") == leads_to(found, "gpt-4o") is not None
    lost = with_discovered(snapshot("aliases: {gpt-4: gpt-4o}\n"), {"a": ["gpt-4"]})
    assert leads_to(lost, "gpt-4") is None


@pytest.mark.parametrize("name", ["a*b", "..", "", "naïve", "x" * 300, " a", "new\nline"])
def test_a_name_that_no_configuration_could_publish_is_passed_over(name: str) -> None:
    assert set(with_discovered(snapshot(), {"a": [name, "good"]}).models) == {"named", "good"}


def test_a_disabled_provider_publishes_nothing() -> None:
    found = snapshot(providers="providers:\n  a: {type: openai, api_key: k, enabled: no, models: discover}\n")
    assert (found.to_discover, with_discovered(found, {"a": ["m"]}).models) == ({}, {})


def test_the_defaults_hold_for_what_is_discovered() -> None:
    found = with_discovered(snapshot("defaults: {timeouts: {total: 9s}, unsupported: error}\n"), {"a": ["m"]})
    assert (found.models["m"].timeouts.total, found.models["m"].unsupported) == (9.0, "error")


def test_asking_again_forgets_what_is_gone() -> None:
    first = snapshot()
    assert "old" in with_discovered(first, {"a": ["old"]}).models
    assert "old" not in with_discovered(first, {"a": ["new"]}).models


def test_without_a_discovery_a_dangling_name_is_a_mistake() -> None:
    with pytest.raises(ConfigError, match="there is no model `nmed`"):
        snapshot("default_model: nmed\n", "providers:\n  c: {type: echo, models: [named]}\n")
