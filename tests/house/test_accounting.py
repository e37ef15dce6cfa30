"""What providers have served, what the gateway has charged for it, and what it shows: one and the same."""

from __future__ import annotations

import pytest
from msgspec.structs import astuple, replace

from tests.accounting.audit import CLAIMS, Found, played, total

CALLS = 2_000


@pytest.fixture(scope="module")
def found() -> Found:
    return played(CALLS)


@pytest.mark.parametrize("claim", CLAIMS)
def test_the_accounts_agree(found: Found, claim: str) -> None:
    assert list(CLAIMS[claim](found)) == []


def test_calls_of_every_kind_have_been_played(found: Found) -> None:
    """Or the accounts would agree about nothing."""
    assert len(found.records) > CALLS
    assert {record.outcome for record in found.records} >= {"ok", "client_error", "truncated", "cancelled"}
    attempts = {attempt.outcome for record in found.records for attempt in record.attempts}
    assert attempts >= {"ok", "outpaced", "cancelled", "truncated", "server_error", "unreachable"}
    assert all(astuple(replace(total(found.reported.values()), cache_write=1)))
    left = [record for record in found.records if record.outcome == "cancelled"]
    assert {record.model for record in left if record.usage_source == "reported"} == {"drained-*"}
