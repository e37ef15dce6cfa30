"""Providers that were made at run time, over those of the configuration."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import replace
from typing import Any

import pytest

from gateway.admin.provider_overlay import Merged, Overlay
from gateway.admin.wanted_provider import place
from gateway.config.resolve import Loaded, loads_all
from gateway.core.made_provider import MadeProvider
from gateway.core.secret import Secret
from gateway.store.envelope import LocalKey, Vault
from gateway.store.sealed import KeyAway, Place

KEY = Secret("sk-of-the-test-suite")

LOADED = loads_all(
    """
providers: {here: {type: echo, models: [echo]}}
models: {"claude-*": {targets: [{provider: here, model: echo}]}}
aliases: {fast: echo}
defaults: {timeouts: {idle: 7s}}
""",
    name="g.yaml",
    environ={},
)

VAULT = Vault(LocalKey(Secret(b64encode(bytes(32)).decode())))


def made(name: str, vault: Vault = VAULT, **settings: Any) -> MadeProvider:
    """A provider with a key, as it is kept."""
    row = MadeProvider(name, 0.0, 0.0, {"type": "openai", **settings}, version=1)
    return replace(row, secrets={"api_key": vault.seal(KEY, place(row, "api_key"))})


def over(*rows: MadeProvider, loaded: Loaded = LOADED) -> Merged:
    return Overlay(VAULT).over(loaded, rows)


def test_its_models_are_published_beside_those_of_the_file() -> None:
    snapshot = over(made("openai", models=["gpt-4o", "o*"])).loaded.snapshot
    (target,) = snapshot.models["gpt-4o"].targets
    assert (target.provider, snapshot.providers["openai"].api_key) == ("openai", KEY)
    assert [model.name for model in map(snapshot.model, ("echo", "fast", "o3", "claude-3")) if model] == [
        *("echo", "echo", "o*", "claude-*")
    ]


def test_defaults_of_the_file_hold_for_them_too() -> None:
    assert over(made("openai", models=["gpt-4o"])).loaded.snapshot.models["gpt-4o"].timeouts.idle == 7.0


def test_one_that_publishes_what_it_lists_is_asked() -> None:
    assert list(over(made("openai", models="discover")).loaded.snapshot.to_discover) == ["openai"]


def test_one_that_is_inactive_is_known_and_publishes_nothing() -> None:
    snapshot = over(made("openai", models=["gpt-4o"], enabled=False)).loaded.snapshot
    assert ("openai" in snapshot.providers, snapshot.model("gpt-4o")) == (True, None)


def test_without_any_the_configuration_stays_as_it_is() -> None:
    assert over() == Merged(LOADED, {})


def test_a_provider_of_the_file_wins_over_one_of_the_same_name() -> None:
    assert over(made("here")) == Merged(LOADED, {})


@pytest.mark.parametrize("name", ["echo", "claude-*", "fast"])
def test_a_name_that_the_file_publishes_stays_the_files_and_the_rest_is_published(name: str) -> None:
    merged = over(made("openai", models=[name, "gpt-4o"]))
    snapshot = merged.loaded.snapshot
    assert (snapshot.models["echo"], snapshot.patterns) == (
        LOADED.snapshot.models["echo"],
        LOADED.snapshot.patterns,
    )
    assert "gpt-4o" in snapshot.models
    assert merged.told == {"openai": f"does not publish {name}: that is published already"}


def test_of_two_that_publish_one_name_the_first_has_it() -> None:
    merged = over(made("a", models=["m"]), made("b", models=["m", "n"]))
    models = merged.loaded.snapshot.models
    assert [models[name].targets[0].provider for name in ("m", "n")] == ["a", "b"]
    assert list(merged.told) == ["b"]


UNREADABLE = [
    (made("bad", only_from="10.0.0.0/8"), "only_from: is not a field here"),
    (made("bad", base_url="http://169.254.169.254"), "metadata service"),
    (made("bad", Vault(LocalKey(Secret(b64encode(bytes([1]) * 32).decode())))), "previous_encryption_keys"),
    (
        replace(made("bad"), settings={"type": "openai", "base_url": "https://evil.example/v1"}),
        "was changed in the data",
    ),
    (replace(made("other"), name="bad"), "moved there from elsewhere"),
    (replace(made("bad"), secrets={}), "api_key: is needed"),
    (replace(made("bad"), secrets={"api_key": "garbage"}), "was changed in the database"),
]


@pytest.mark.parametrize(("row", "why"), UNREADABLE, ids=[why for _, why in UNREADABLE])
def test_one_that_cannot_be_read_is_left_out_and_the_others_are_there(row: MadeProvider, why: str) -> None:
    merged = over(made("a", models=["m"]), row, made("c", models=["n"]))
    assert list(merged.loaded.snapshot.providers) == ["here", "a", "c"]
    assert list(merged.told) == ["bad"]
    assert why in merged.told["bad"]
    assert KEY.reveal() not in merged.told["bad"]


class Counting:
    """A vault that counts, and can be away."""

    def __init__(self) -> None:
        self.asked = 0
        self.away = False

    def open(self, sealed: str, place: Place) -> Secret:
        self.asked += 1
        if self.away:
            raise KeyAway("not now")
        return VAULT.open(sealed, place)


def test_a_key_service_that_is_away_stops_nobody_who_is_known() -> None:
    vault = Counting()
    overlay, row = Overlay(vault), made("a")
    overlay.over(LOADED, [row])
    vault.away = True
    merged = overlay.over(LOADED, [row, made("b")])
    assert list(merged.loaded.snapshot.providers) == ["here", "a"]
    assert merged.told == {"b": "is left out: not now"}
    vault.away = False
    assert "b" in overlay.over(LOADED, [row, made("b")]).loaded.snapshot.providers


def test_a_provider_that_has_changed_is_opened_anew() -> None:
    vault = Counting()
    overlay = Overlay(vault)
    for version in (1, 1, 2):
        overlay.over(LOADED, [replace(made("a"), version=version)])
    assert vault.asked == 2
