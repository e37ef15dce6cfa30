from __future__ import annotations

import pytest

from gateway.core.call import Call, Target
from gateway.core.errors import Failure, GatewayError, InvalidRequest, Overloaded, UpstreamError
from gateway.core.events import Usage
from gateway.engine.entry import CLIENT_CLOSED, Entry
from gateway.policy.estimate import Estimates


def entry() -> Entry:
    return Entry("id", "chat", started=10.0, time=1e9, call=Call("id", "chat", "m", True, False, {}, size=41))


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (InvalidRequest("no"), "client_error"),
        (UpstreamError(Failure.REJECTED, "no", status=422), "client_error"),
        (UpstreamError(Failure.CONTEXT_TOO_LONG, "no"), "client_error"),
        (UpstreamError(Failure.RATE_LIMITED, "no"), "upstream_error"),
        (UpstreamError(Failure.MODEL_MISSING, "no"), "upstream_error"),
        (UpstreamError(Failure.SERVER_ERROR, "no"), "upstream_error"),
        (Overloaded("no"), "limited"),
    ],
)
def test_an_error_tells_whose_fault_it_was(error: GatewayError, outcome: str) -> None:
    told = entry()
    told.failed(error)
    assert (told.outcome, told.status) == (outcome, error.status)


def test_an_error_after_the_first_output_is_a_truncation_within_a_200() -> None:
    told = entry()
    told.status, told.first_token = 200, 11.0
    told.failed(UpstreamError(Failure.TRUNCATED, "no"))
    assert (told.outcome, told.status) == ("truncated", 200)


def test_a_client_that_left_is_neither_an_error_nor_a_success() -> None:
    told = entry()
    told.hung_up()
    assert (told.outcome, told.status) == ("cancelled", CLIENT_CLOSED)


def test_what_the_provider_reported_is_taken_as_it_is() -> None:
    told = entry()
    told.usage, told.carried = Usage(3, 4), 1000
    told.settle(12.0, Estimates())
    assert (told.usage, told.usage_source) == (Usage(3, 4), "reported")


def test_what_was_carried_without_a_report_is_estimated_and_says_so() -> None:
    told = entry()
    told.carried, told.target = 9, Target("p", "up", {})
    told.settle(12.0, Estimates())
    assert (told.usage, told.usage_source) == (Usage(10, 2), "estimated")


def test_an_upstream_that_never_answered_costs_nothing() -> None:
    told = entry()
    told.settle(12.0, Estimates())
    assert (told.usage, told.usage_source) == (None, "none")


def test_overhead_is_the_time_not_spent_waiting() -> None:
    told = entry()
    told.waited = 1.5
    told.settle(12.0, Estimates())
    assert told.latency == 2.0
    assert told.overhead(told.ended) == 0.5


def test_attempts_are_noted_in_milliseconds() -> None:
    told = entry()
    told.begin(Target("p", "m", {}), 10.0)
    told.note("ok", 10.25)
    assert [(tried.provider, tried.outcome, tried.ms) for tried in told.tried] == [("p", "ok", 250.0)]


@pytest.mark.parametrize("counted", [Usage(), Usage(-5, -5), Usage(0, 0, 80)])
def test_whoever_has_answered_and_counted_nothing_has_not_counted(counted: Usage) -> None:
    told = entry()
    told.begin(Target("p", "m", {}), 10.0)
    told.heard(counted, carried=40)
    told.settle(11.0, Estimates())
    assert told.usage_source == "estimated"
    assert told.usage is not None
    assert told.usage.input > 0
