"""Keys and tokens that stand in manuals are refused wherever one's own belongs."""

from __future__ import annotations

import pytest

from gateway.config.complaints import ConfigError
from gateway.config.famous import FAMOUS, is_famous
from gateway.config.resolve import loads

EXAMPLES = (
    *("sk-1234", "change-me", "CHANGE_ME", "change-me-please-0001", "<your-secret-key>", "your-api-key-here", "sk-..."),
    *("sk-your-key-here", "my-secret-token", "replace-me-with-a-secret", "sk-xxxxxxxxxxxxxxxx", "0000000000000000"),
)

OWN = (
    *("9f86d081884c7d659a2feaa0c55ad015", "a-key-of-the-test-suite-000001", "exchange-method-8f7a21", "my-laptop-7d1f"),
    *("sk-proj-Zr8xxx4qk2N", "your-own-words-make-a-key-4711"),
)

PLACES = {
    "keys[0].key": "keys: [{{name: a, key: {}}}]",
    "admin.tokens[0].token": "admin: {{tokens: [{{name: a, token: {}, permissions: [key.view]}}]}}",
    "server.metrics_key": "server: {{metrics_key: {}}}",
}


@pytest.mark.parametrize("text", EXAMPLES)
def test_what_manuals_print_is_known(text: str) -> None:
    assert is_famous(text)


@pytest.mark.parametrize("text", OWN)
def test_what_somebody_has_made_up_is_not(text: str) -> None:
    assert not is_famous(text)


@pytest.mark.parametrize("place", PLACES)
def test_it_opens_nothing_and_comes_from_nowhere(place: str) -> None:
    for written in ("'change-me-please-0001'", "'${SECRET}'"):
        text = PLACES[place].format(written)
        with pytest.raises(ConfigError) as refused:
            loads(f"providers: {{echo: {{type: echo}}}}\n{text}", name="g", environ={"SECRET": "change-me-please-0001"})
        assert [(each.path, each.message) for each in refused.value.complaints] == [(place, FAMOUS)]
