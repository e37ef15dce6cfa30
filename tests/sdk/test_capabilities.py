"""What docs/providers.md says of each type of provider is what was just tried with it."""

from __future__ import annotations

import pytest

from gateway.config.vendor_table import VENDORS
from gateway.dialects.registry import DIALECTS
from tests.sdk.capabilities import CAPABILITIES, LIMITS, NOTES, OWN_NAMES
from tests.sdk.provider_table import DOCUMENT, REMARKS, outcomes, surprise, tables, written
from tests.sdk.providers import PROVIDERS

pytestmark = pytest.mark.sdk


@pytest.mark.parametrize("capability", CAPABILITIES)
@pytest.mark.parametrize("type", PROVIDERS)
def test_a_provider_can_do_what_is_declared_and_nothing_else(type: str, capability: str) -> None:
    assert not surprise(type, capability)


def test_the_document_shows_what_was_tried() -> None:
    document = DOCUMENT.read_text()
    assert document == written(document, tables()), "docs/providers.md is out of date: run `make docs`"


def test_every_dialect_is_tried() -> None:
    assert {VENDORS[type].dialect for type in PROVIDERS} == set(DIALECTS)


def test_what_is_declared_is_of_a_type_and_a_capability_that_there_are() -> None:
    assert {type for type, _ in REMARKS} <= PROVIDERS.keys() == OWN_NAMES.keys()
    assert {name for _, name in REMARKS} <= CAPABILITIES.keys()
    assert not LIMITS.keys() & NOTES.keys()


MET = {
    "reasoning": "no reasoning was shown",
    "caching": "0 tokens came from the cache",
    "embeddings": "The provider tried has no embeddings.",
}


@pytest.mark.parametrize(("type", "capability"), LIMITS)
def test_what_a_provider_cannot_do_fails_for_the_declared_reason(type: str, capability: str) -> None:
    assert outcomes(type)[capability].endswith(MET[capability])
