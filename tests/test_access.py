from __future__ import annotations

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config.snapshot import Key
from gateway.core.errors import Unauthorized
from gateway.policy.access import ANONYMOUS, admit, may_use


def key(text: str, **about: object) -> Key:
    return Key("k", sha256(text.encode()).digest(), **about)  # type: ignore[arg-type]


GOOD = key("good")
BRIEF = key("brief", expires=100.0)
KEYS = {each.digest: each for each in (GOOD, BRIEF)}


def test_a_known_key_is_admitted() -> None:
    assert admit(KEYS, b"good", now=0.0) is GOOD


@pytest.mark.parametrize("token", [b"", b"bad", b"good ", GOOD.digest, GOOD.digest.hex().encode()])
def test_anything_else_is_refused_and_so_is_the_stored_hash(token: bytes) -> None:
    with pytest.raises(Unauthorized):
        admit(KEYS, token, now=0.0)


def test_a_key_ends_in_the_second_it_expires() -> None:
    assert admit(KEYS, b"brief", now=99.9) is BRIEF
    with pytest.raises(Unauthorized):
        admit(KEYS, b"brief", now=100.0)


def test_unknown_and_expired_keys_hear_the_same() -> None:
    heard = []
    for token in (b"", b"bad", b"brief"):
        with pytest.raises(Unauthorized) as refusal:
            admit(KEYS, token, now=200.0)
        heard.append(refusal.value.envelope())
    assert heard[0] == heard[1] == heard[2]


def test_without_keys_everyone_is_anonymous() -> None:
    assert admit({}, b"whatever", now=0.0) is ANONYMOUS


@given(st.binary(max_size=100))
def test_no_token_is_admitted_by_luck(token: bytes) -> None:
    if token not in (b"good", b"brief"):
        with pytest.raises(Unauthorized):
            admit(KEYS, token, now=0.0)


@pytest.mark.parametrize(
    ("models", "name", "allowed"),
    [
        ((), "anything", True),
        (("gpt-4o",), "gpt-4o", True),
        (("gpt-4o",), "gpt-4o-mini", False),
        (("claude-*",), "claude-haiku", True),
        (("claude-*",), "gpt-4o", False),
        (("*-mini",), "gpt-4o-mini", True),
        (("a*a",), "a", False),
    ],
)
def test_a_key_may_use_the_models_it_names(models: tuple[str, ...], name: str, allowed: bool) -> None:
    assert may_use(key("x", models=models), name) is allowed
