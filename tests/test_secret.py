from __future__ import annotations

import copy
import pickle
from dataclasses import dataclass

import pytest

from gateway.core.secret import Secret

TEXT = "sk-canary-0123456789"


@pytest.mark.parametrize("shown", [repr, str, "{}".format, "{!r}".format, ascii])
def test_a_secret_is_not_shown(shown: object) -> None:
    assert callable(shown)
    assert TEXT not in shown(Secret(TEXT))


def test_a_value_that_holds_a_secret_does_not_show_it_either() -> None:
    @dataclass(frozen=True)
    class Account:
        key: Secret

    assert TEXT not in repr(Account(Secret(TEXT)))


def test_a_secret_is_revealed_on_demand() -> None:
    assert Secret(TEXT).reveal() == TEXT


def test_equal_secrets_are_equal() -> None:
    assert Secret(TEXT) == Secret(TEXT)
    assert Secret(TEXT) != Secret("other")
    assert Secret(TEXT) != TEXT


def test_an_empty_secret_counts_as_none() -> None:
    assert not Secret("")
    assert Secret(TEXT)


@pytest.mark.parametrize("smuggle", [pickle.dumps, copy.copy])
def test_a_secret_cannot_be_copied_out(smuggle: object) -> None:
    assert callable(smuggle)
    with pytest.raises(TypeError):
        smuggle(Secret(TEXT))
