"""The newest SDK, with every other type of provider behind the gateway: nobody must notice which one answers."""

from __future__ import annotations

import pytest

from tests.sdk.providers import BEYOND
from tests.sdk.runs import LEAVING, PROVIDERS_BEHIND, cases, check, check_left, run_of

pytestmark = pytest.mark.sdk

CASES = cases(PROVIDERS_BEHIND)


@pytest.mark.parametrize(("sdk", "scenario"), CASES)
def test_an_sdk_finds_everything_as_it_expects(sdk: str, scenario: str) -> None:
    check(sdk, scenario)


@pytest.mark.parametrize(("sdk", "scenario"), [case for case in CASES if case.values[1] in LEAVING])
def test_a_client_that_leaves_sets_the_provider_free_within_a_second(sdk: str, scenario: str) -> None:
    check_left(sdk, scenario)


@pytest.mark.parametrize("sdk", PROVIDERS_BEHIND)
def test_no_call_of_an_sdk_meets_a_defect(sdk: str) -> None:
    assert [entry.error for entry in run_of(sdk).entries if entry.status == 500] == []


def test_what_cannot_be_is_said_of_scenarios_that_there_are() -> None:
    scenarios = {scenario for sdk in PROVIDERS_BEHIND.values() for scenario in sdk.scenarios}
    assert {scenario for _, scenario in BEYOND} <= scenarios
