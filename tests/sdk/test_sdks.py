"""The official SDKs, with OpenAI behind the gateway."""

from __future__ import annotations

import pytest

from tests.sdk.runs import LEAVING, SDKS, cases, check, check_left, run_of

pytestmark = pytest.mark.sdk

CASES = cases(SDKS)


@pytest.mark.parametrize(("sdk", "scenario"), CASES)
def test_an_sdk_finds_everything_as_it_expects(sdk: str, scenario: str) -> None:
    check(sdk, scenario)


@pytest.mark.parametrize(("sdk", "scenario"), [case for case in CASES if case.values[1] in LEAVING])
def test_a_client_that_leaves_sets_the_provider_free_within_a_second(sdk: str, scenario: str) -> None:
    check_left(sdk, scenario)


@pytest.mark.parametrize("sdk", SDKS)
def test_an_sdk_does_not_retry_what_the_gateway_has_retried(sdk: str) -> None:
    (call,) = run_of(sdk).calls("unreachable")
    assert len(call.tried) == 2


@pytest.mark.parametrize("sdk", SDKS)
def test_an_sdk_comes_back_as_often_as_it_likes_when_told_to_wait(sdk: str) -> None:
    assert [len(call.tried) for call in run_of(sdk).calls("busy")] == [1, 1, 1]


@pytest.mark.parametrize("sdk", SDKS)
def test_no_call_of_an_sdk_meets_a_defect(sdk: str) -> None:
    assert [entry.error for entry in run_of(sdk).entries if entry.status == 500] == []


def test_the_scripts_try_the_same_things() -> None:
    python, node = SDKS["openai-python 3"].scenarios, SDKS["openai-node 6"].scenarios
    assert [name for name in python if "async" not in name] == node
